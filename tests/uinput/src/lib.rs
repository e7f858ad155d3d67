//! Real input devices, made by uinput as a test wants them, and what a program sees of them by evdev.
//!
//! [`Setup`] describes a device and [`Device`] is one that is plugged in: it is there while the value lives. [`Node`] is a
//! client of an evdev node. Both speak of a device in the same [`Description`], so what was asked for, what the kernel
//! shows and what another kernel shows behind a virtual machine's border can be compared. Nothing here is shared with the
//! programs under test: the kernel's ABI (linux/input.h, linux/uinput.h) stands here a second time.
//!
//! ```no_run
//! use seat_uinput::codes::{EV_KEY, KEY_A};
//!
//! let mut keyboard = seat_uinput::keyboard()?;
//! let mut node = keyboard.open()?;
//! keyboard.press(KEY_A)?;
//! assert_eq!(node.next_frame(seat_uinput::soon())?, [(EV_KEY, KEY_A, 1)]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! uinput needs root and a kernel that has it: the tests run in a virtual machine.
#![deny(unsafe_code)]

pub mod codes;
mod description;
mod device;
mod event;
mod ioctl;
mod kinds;
mod node;
mod poll;

use std::time::{Duration, Instant};

pub use description::{Axis, Description, Id, differences};
pub use device::{Device, Setup};
pub use event::Event;
pub use kinds::{gamepad, keyboard, mouse, tablet, touch_screen};
pub use node::{Node, nodes};

/// A deadline for what comes at once or never, generous enough for an emulated machine on a busy host.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}
