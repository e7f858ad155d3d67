//! Event types and codes that this device looks at, by their names in Linux's `input-event-codes.h`.

use evdev::{AbsoluteAxisCode as Abs, EventType, KeyCode, MiscCode, SynchronizationCode as Syn};

/// Markers between frames.
pub const EV_SYN: u16 = EventType::SYNCHRONIZATION.0;
/// Keys and buttons.
pub const EV_KEY: u16 = EventType::KEY.0;
/// Relative motion.
pub const EV_REL: u16 = EventType::RELATIVE.0;
/// Absolute axes, multi-touch among them.
pub const EV_ABS: u16 = EventType::ABSOLUTE.0;
/// What fits nowhere else: scan codes, time stamps.
pub const EV_MSC: u16 = EventType::MISC.0;
/// Switches: a lid, a headphone's plug.
pub const EV_SW: u16 = EventType::SWITCH.0;
/// Lights.
pub const EV_LED: u16 = EventType::LED.0;
/// Bell and tone.
pub const EV_SND: u16 = EventType::SOUND.0;
/// Autorepeat.
pub const EV_REP: u16 = EventType::REPEAT.0;

/// The end of a frame.
pub const SYN_REPORT: u16 = Syn::SYN_REPORT.0;
/// The end of one contact's data, in the protocol without slots.
pub const SYN_MT_REPORT: u16 = Syn::SYN_MT_REPORT.0;
/// The kernel's buffer ran over; what follows up to the next report belongs to nothing.
pub const SYN_DROPPED: u16 = Syn::SYN_DROPPED.0;

/// Which slot the multi-touch events after it are about.
pub const ABS_MT_SLOT: u16 = Abs::ABS_MT_SLOT.0;
/// The number of a contact; negative where there is none.
pub const ABS_MT_TRACKING_ID: u16 = Abs::ABS_MT_TRACKING_ID.0;
/// The first of the axes that each slot has of its own.
pub const FIRST_SLOT_AXIS: u16 = Abs::ABS_MT_TOUCH_MAJOR.0;
/// The last of them.
pub const LAST_SLOT_AXIS: u16 = Abs::ABS_MT_TOOL_Y.0;

/// The scan code of the key whose event follows.
pub const MSC_SCAN: u16 = MiscCode::MSC_SCAN.0;

/// Keys of the hotkeys.
pub const KEY_LEFTCTRL: u16 = KeyCode::KEY_LEFTCTRL.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_RIGHTCTRL: u16 = KeyCode::KEY_RIGHTCTRL.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_LEFTSHIFT: u16 = KeyCode::KEY_LEFTSHIFT.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_RIGHTSHIFT: u16 = KeyCode::KEY_RIGHTSHIFT.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_LEFTALT: u16 = KeyCode::KEY_LEFTALT.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_RIGHTALT: u16 = KeyCode::KEY_RIGHTALT.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_LEFTMETA: u16 = KeyCode::KEY_LEFTMETA.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_RIGHTMETA: u16 = KeyCode::KEY_RIGHTMETA.0;
/// See [`KEY_LEFTCTRL`].
pub const KEY_SCROLLLOCK: u16 = KeyCode::KEY_SCROLLLOCK.0;

/// How many event types there can be (`EV_CNT`).
pub const TYPES: u16 = 0x20;
/// How many keys and buttons (`KEY_CNT`).
pub const KEYS: u16 = 0x300;
/// How many absolute axes (`ABS_CNT`).
pub const AXES: u16 = 0x40;
/// How many switches, with some to spare (`SW_CNT` is 17).
pub const SWITCHES: u16 = 32;
/// Most slots of a touch screen: Linux's own limit.
pub const MAX_SLOTS: i32 = 1024;

/// How many codes a type of events can have: Linux's number, and for the small types some to spare. A code beyond is none,
/// whatever a device says: nobody would keep account of it.
pub const fn count(kind: u16) -> u16 {
    match kind {
        EV_KEY => KEYS,
        EV_ABS => AXES,
        _ => SWITCHES,
    }
}

/// Whether each slot has a value of its own for this absolute axis.
pub const fn is_slot_axis(code: u16) -> bool {
    code >= FIRST_SLOT_AXIS && code <= LAST_SLOT_AXIS
}
