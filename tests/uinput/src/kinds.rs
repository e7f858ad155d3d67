//! Ready-made devices, one of each kind that people have on their desks.

use std::io;

use crate::codes::*;
use crate::description::Axis;
use crate::device::{Device, Setup};

impl Setup {
    /// 104 keys, three LEDs, scan codes, autorepeat.
    pub fn keyboard() -> Self {
        let keys = (KEY_ESC..=KEY_KPDOT)
            .chain([KEY_F11, KEY_F12])
            .chain(KEY_KPENTER..=KEY_RIGHTALT)
            .chain(KEY_HOME..=KEY_DELETE)
            .chain([KEY_PAUSE])
            .chain(KEY_LEFTMETA..=KEY_COMPOSE);
        Setup::new("Seat Keyboard")
            .id(BUS_USB, 0x1d6b, 0x0101, 0x0111)
            .phys("seat/keyboard")
            .keys(keys)
            .misc([MSC_SCAN])
            .leds([LED_NUML, LED_CAPSL, LED_SCROLLL])
            .repeat()
    }

    /// Eight buttons, two wheels in both resolutions, scan codes.
    pub fn mouse() -> Self {
        Setup::new("Seat Mouse")
            .id(BUS_USB, 0x1d6b, 0x0102, 0x0112)
            .phys("seat/mouse")
            .keys(BTN_LEFT..=BTN_TASK)
            .relative([REL_X, REL_Y, REL_HWHEEL, REL_WHEEL, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES])
            .misc([MSC_SCAN])
    }

    /// A pen with a rubber end, two buttons, pressure and tilt, on a tablet that is no screen.
    pub fn tablet() -> Self {
        Setup::new("Seat Tablet")
            .id(BUS_USB, 0x1d6b, 0x0103, 0x0113)
            .phys("seat/tablet")
            .property(INPUT_PROP_POINTER)
            .keys([BTN_TOOL_PEN, BTN_TOOL_RUBBER, BTN_TOUCH, BTN_STYLUS, BTN_STYLUS2])
            .axis(ABS_X, Axis::range(0, 44_704).fuzz(4).resolution(200))
            .axis(ABS_Y, Axis::range(0, 27_940).fuzz(4).resolution(200))
            .axis(ABS_PRESSURE, Axis::range(0, 8191))
            .axis(ABS_TILT_X, Axis::range(-64, 63).resolution(57))
            .axis(ABS_TILT_Y, Axis::range(-64, 63).resolution(57))
            .misc([MSC_SERIAL])
    }

    /// Ten fingers, by slots (protocol B).
    pub fn touch_screen() -> Self {
        Setup::new("Seat Touch Screen")
            .id(BUS_I2C, 0x1d6b, 0x0104, 0x0114)
            .phys("seat/touch")
            .property(INPUT_PROP_DIRECT)
            .keys([BTN_TOUCH])
            .axis(ABS_X, Axis::range(0, 4095).resolution(12))
            .axis(ABS_Y, Axis::range(0, 2303).resolution(12))
            .axis(ABS_MT_SLOT, Axis::range(0, 9))
            .axis(ABS_MT_TOUCH_MAJOR, Axis::range(0, 255))
            .axis(ABS_MT_POSITION_X, Axis::range(0, 4095).resolution(12))
            .axis(ABS_MT_POSITION_Y, Axis::range(0, 2303).resolution(12))
            .axis(ABS_MT_TRACKING_ID, Axis::range(0, 65_535))
            .axis(ABS_MT_PRESSURE, Axis::range(0, 255))
    }

    /// Two sticks whose middle is 0, two triggers, a hat, eleven buttons.
    pub fn gamepad() -> Self {
        let stick = Axis::range(-32_768, 32_767).fuzz(16).flat(128);
        let face = [BTN_SOUTH, BTN_EAST, BTN_NORTH, BTN_WEST];
        let rest = [BTN_TL, BTN_TR, BTN_SELECT, BTN_START, BTN_MODE, BTN_THUMBL, BTN_THUMBR];
        Setup::new("Seat Gamepad")
            .id(BUS_BLUETOOTH, 0x1d6b, 0x0105, 0x0115)
            .phys("seat/gamepad")
            .keys(face.into_iter().chain(rest))
            .axis(ABS_X, stick)
            .axis(ABS_Y, stick)
            .axis(ABS_RX, stick)
            .axis(ABS_RY, stick)
            .axis(ABS_Z, Axis::range(0, 1023))
            .axis(ABS_RZ, Axis::range(0, 1023))
            .axis(ABS_HAT0X, Axis::range(-1, 1))
            .axis(ABS_HAT0Y, Axis::range(-1, 1))
    }
}

pub fn keyboard() -> io::Result<Device> {
    Setup::keyboard().create()
}

pub fn mouse() -> io::Result<Device> {
    Setup::mouse().create()
}

pub fn tablet() -> io::Result<Device> {
    Setup::tablet().create()
}

pub fn touch_screen() -> io::Result<Device> {
    Setup::touch_screen().create()
}

pub fn gamepad() -> io::Result<Device> {
    Setup::gamepad().create()
}
