//! Numbers of event types, codes and config selectors, those that tests name.
#![allow(missing_docs)]

/// What the config's `select` asks for.
pub mod select {
    pub const UNSET: u8 = 0x00;
    pub const ID_NAME: u8 = 0x01;
    pub const ID_SERIAL: u8 = 0x02;
    pub const ID_DEVIDS: u8 = 0x03;
    pub const PROP_BITS: u8 = 0x10;
    pub const EV_BITS: u8 = 0x11;
    pub const ABS_INFO: u8 = 0x12;
}

/// Event types.
pub mod ev {
    pub const SYN: u16 = 0x00;
    pub const KEY: u16 = 0x01;
    pub const REL: u16 = 0x02;
    pub const ABS: u16 = 0x03;
    pub const MSC: u16 = 0x04;
    pub const SW: u16 = 0x05;
    pub const LED: u16 = 0x11;
    pub const SND: u16 = 0x12;
    pub const REP: u16 = 0x14;
    pub const FF: u16 = 0x15;
}

/// Codes of [`ev::SYN`].
pub mod syn {
    pub const REPORT: u16 = 0;
    pub const CONFIG: u16 = 1;
    pub const MT_REPORT: u16 = 2;
    pub const DROPPED: u16 = 3;
}

/// Codes of [`ev::KEY`]: a few keys and buttons.
pub mod key {
    pub const ESC: u16 = 1;
    pub const LEFTCTRL: u16 = 29;
    pub const A: u16 = 30;
    pub const S: u16 = 31;
    pub const LEFTSHIFT: u16 = 42;
    pub const LEFTALT: u16 = 56;
    pub const CAPSLOCK: u16 = 58;
    pub const NUMLOCK: u16 = 69;
    pub const SCROLLLOCK: u16 = 70;
    pub const RIGHTCTRL: u16 = 97;
    pub const RIGHTSHIFT: u16 = 54;
    pub const RIGHTALT: u16 = 100;
    pub const LEFTMETA: u16 = 125;
    pub const RIGHTMETA: u16 = 126;
    pub const BTN_LEFT: u16 = 0x110;
    pub const BTN_RIGHT: u16 = 0x111;
    pub const BTN_MIDDLE: u16 = 0x112;
    pub const BTN_TOUCH: u16 = 0x14a;
    /// How many codes there are.
    pub const COUNT: u16 = 0x300;
}

/// Codes of [`ev::REL`].
pub mod rel {
    pub const X: u16 = 0;
    pub const Y: u16 = 1;
    pub const HWHEEL: u16 = 6;
    pub const WHEEL: u16 = 8;
    pub const WHEEL_HI_RES: u16 = 11;
    /// How many codes there are.
    pub const COUNT: u16 = 0x10;
}

/// Codes of [`ev::ABS`].
pub mod abs {
    pub const X: u16 = 0x00;
    pub const Y: u16 = 0x01;
    pub const PRESSURE: u16 = 0x18;
    pub const MT_SLOT: u16 = 0x2f;
    pub const MT_TOUCH_MAJOR: u16 = 0x30;
    pub const MT_POSITION_X: u16 = 0x35;
    pub const MT_POSITION_Y: u16 = 0x36;
    pub const MT_TRACKING_ID: u16 = 0x39;
    pub const MT_PRESSURE: u16 = 0x3a;
    /// The last one that belongs to a slot.
    pub const MT_TOOL_Y: u16 = 0x3d;
    /// How many codes there are.
    pub const COUNT: u16 = 0x40;
}

/// Codes of [`ev::MSC`].
pub mod msc {
    pub const SCAN: u16 = 4;
    pub const TIMESTAMP: u16 = 5;
}

/// Codes of [`ev::SW`].
pub mod sw {
    pub const LID: u16 = 0;
    pub const TABLET_MODE: u16 = 1;
    /// How many codes there are.
    pub const COUNT: u16 = 0x11;
}

/// Codes of [`ev::LED`].
pub mod led {
    pub const NUML: u16 = 0;
    pub const CAPSL: u16 = 1;
    pub const SCROLLL: u16 = 2;
}

/// Codes of [`ev::SND`].
pub mod snd {
    pub const CLICK: u16 = 0;
    pub const BELL: u16 = 1;
    pub const TONE: u16 = 2;
}
