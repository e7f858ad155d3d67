//! Descriptions of input devices as scripted kernels have them.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

use seat_frontend::input::ids::{abs, ev, key, led, msc, rel, snd, sw};
use vhost_seat::input::config::{AxisInfo, Bitmap, Description, Ids};

/// Contacts of the touch screen.
pub const FINGERS: usize = 10;

/// A keyboard with lights and a bell, which repeats, and has a lid.
pub fn keyboard() -> Description {
    let mut description = named("Scripted keyboard", 0x0001);
    description.serial = b"KB-0042".to_vec();
    codes(&mut description, ev::KEY, 1..=127);
    codes(&mut description, ev::MSC, [msc::SCAN]);
    codes(&mut description, ev::LED, [led::NUML, led::CAPSL, led::SCROLLL]);
    codes(&mut description, ev::SND, [snd::BELL, snd::TONE]);
    codes(&mut description, ev::SW, [sw::LID]);
    codes(&mut description, ev::REP, [0, 1]);
    description
}

/// A mouse with five buttons.
pub fn mouse() -> Description {
    let mut description = named("Scripted mouse", 0x0002);
    codes(&mut description, ev::KEY, key::BTN_LEFT..key::BTN_LEFT + 5);
    codes(&mut description, ev::REL, [rel::X, rel::Y, rel::WHEEL, rel::WHEEL_HI_RES]);
    description
}

/// A pen tablet.
pub fn tablet() -> Description {
    let mut description = named("Scripted \u{2712} tablet", 0x0003);
    description.properties = Bitmap::of([0]);
    codes(&mut description, ev::KEY, [0x140, 0x14a, 0x14b]);
    axis(&mut description, abs::X, 0, 44_704, 200);
    axis(&mut description, abs::Y, 0, 27_940, 200);
    axis(&mut description, abs::PRESSURE, 0, 8191, 0);
    axis(&mut description, 0x1a, -64, 63, 57);
    description
}

/// A touch screen for ten fingers.
pub fn touch_screen() -> Description {
    let mut description = named("Scripted touch screen", 0x0004);
    description.properties = Bitmap::of([1]);
    codes(&mut description, ev::KEY, [key::BTN_TOUCH]);
    axis(&mut description, abs::X, 0, 4095, 20);
    axis(&mut description, abs::Y, 0, 4095, 20);
    axis(&mut description, abs::MT_SLOT, 0, FINGERS as i32 - 1, 0);
    axis(&mut description, abs::MT_POSITION_X, 0, 4095, 20);
    axis(&mut description, abs::MT_POSITION_Y, 0, 4095, 20);
    axis(&mut description, abs::MT_TRACKING_ID, 0, 0xffff, 0);
    axis(&mut description, abs::MT_PRESSURE, 0, 255, 0);
    description
}

/// All of them in one: whatever there is to be held, switched or touched.
pub fn everything() -> Description {
    let mut description = named("Scripted everything", 0x0005);
    for part in [keyboard(), mouse(), touch_screen()] {
        for (kind, codes) in (0u16..).zip(part.codes.iter()) {
            let both = (0..1024).filter(|code| codes.has(*code) || description.has(kind, *code));
            description.codes[usize::from(kind)] = Bitmap::of(both.collect::<Vec<_>>());
        }
        for (place, axis) in description.axes.iter_mut().zip(part.axes.iter()).filter(|(_, axis)| axis.max != 0) {
            *place = *axis;
        }
    }
    description
}

fn named(name: &str, product: u16) -> Description {
    let ids = Ids { bus: 0x03, vendor: 0x1d6b, product, version: 0x0111 };
    Description { name: name.as_bytes().to_vec(), ids, ..Description::default() }
}

fn codes(description: &mut Description, kind: u16, codes: impl IntoIterator<Item = u16>) {
    description.codes[usize::from(kind)] = Bitmap::of(codes);
}

fn axis(description: &mut Description, code: u16, min: i32, max: i32, resolution: i32) {
    let all = (0..abs::COUNT).filter(|axis| *axis == code || description.has(ev::ABS, *axis)).collect::<Vec<_>>();
    codes(description, ev::ABS, all);
    description.axes[usize::from(code)] = AxisInfo { min, max, fuzz: 2, flat: 3, resolution };
}
