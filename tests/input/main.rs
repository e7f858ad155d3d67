//! `vhost-user-input` as a front end, a guest and the host see it, with a scripted device: the back end runs in a thread
//! of the test, the device is [`common::evdev`]'s. Real devices are in `tests/evdev`.
//!
//! | file | what is so |
//! |---|---|
//! | `config` | a guest under any monitor reads the device's own description, byte for byte |
//! | `events` | whole frames, in order, through queues of any size, one call a batch |
//! | `overflow` | what a guest without buffers, or a kernel that drops, leaves to be brought right |
//! | `life` | pauses, resets, reboots, front ends that come and go |
//! | `owner` | who has the device, what each side believes to be held, the hotkey |
//! | `status` | lights and sounds |
//! | `unplug` | gone and back |
//! | `lies` | devices that say what cannot be |
//! | `model` | random lives against a plain model |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;

mod config;
mod events;
mod lies;
mod life;
mod model;
mod overflow;
mod owner;
mod seat;
mod status;
mod unplug;
