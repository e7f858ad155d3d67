//! Events of an input device, as a kernel reports them and as no kernel would.

use vhost_seat::input::config::{AxisInfo, Bitmap, Description};
use vhost_seat::input::wire::Event;

use super::script::Script;

pub const EV_KEY: u16 = 1;
pub const EV_REL: u16 = 2;
pub const EV_ABS: u16 = 3;
pub const EV_SW: u16 = 5;

const SYN_MT_REPORT: u16 = 2;
const MT_SLOT: u16 = 0x2f;
const MT_POSITION_X: u16 = 0x35;
const MT_TRACKING_ID: u16 = 0x39;

/// Keys, motion, axes, switches, and so many slots as a touch screen has them; none is a device without slots.
pub fn description(slots: usize, repeats: bool) -> Description {
    let mut description = Description::default();
    let mut codes = |kind: u16, codes: &[u16]| {
        description.codes[usize::from(kind)] = Bitmap::of(codes.iter().copied());
    };
    codes(EV_KEY, &[1, 2, 3, 29, 30, 97, 0x110, 0x14a, 0x2ff]);
    codes(EV_REL, &[0, 1, 8]);
    codes(4, &[4]);
    codes(EV_SW, &[0, 5]);
    codes(0x11, &[0, 1, 2]);
    codes(0x12, &[1, 2]);
    if repeats {
        codes(0x14, &[0, 1]);
    }
    if slots > 0 {
        codes(EV_ABS, &[0, 1, MT_SLOT, MT_POSITION_X, 0x36, MT_TRACKING_ID]);
        description.axes[usize::from(MT_SLOT)] = AxisInfo { max: slots as i32 - 1, ..AxisInfo::default() };
    } else {
        codes(EV_ABS, &[0, 1, MT_POSITION_X, 0x36]);
    }
    description
}

/// The next event: its first byte's low four bits say of which kind, the others help to choose the code.
pub fn next(script: &mut Script<'_>) -> Event {
    let shape = script.u8();
    let pick = usize::from(shape >> 4);
    let small = |script: &mut Script<'_>| i32::from(script.u8());
    match shape & 15 {
        0..=3 => Event::REPORT,
        4 | 5 => Event::new(EV_KEY, [1, 2, 3, 29, 30, 97, 0x110, 0x2ff][pick % 8], i32::from(script.u8() & 1)),
        6 => Event::new(EV_KEY, [1, 29][pick % 2], small(script)),
        7 => Event::new(EV_REL, [0, 1, 8][pick % 3], small(script) - 128),
        8 => Event::new(EV_ABS, [0, 1, 0x18][pick % 3], small(script)),
        9 => Event::new(EV_SW, [0, 5][pick % 2], i32::from(script.u8() & 1)),
        10 => Event::new(EV_ABS, MT_SLOT, pick as i32 - 1),
        11 => Event::new(EV_ABS, MT_TRACKING_ID, if pick < 4 { -1 } else { small(script) }),
        12 => Event::new(EV_ABS, [MT_POSITION_X, 0x36, 0x30, 0x3d][pick % 4], small(script)),
        13 => Event::new(4, 4, small(script)),
        14 => Event::new(0, if pick % 2 == 0 { SYN_MT_REPORT } else { 3 }, 0),
        _ => Event::new(script.u16(), script.u16(), script.u32() as i32),
    }
}
