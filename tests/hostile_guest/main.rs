//! Guests that break their contract. They get an error where VIRTIO has one; else their ring is broken, its err eventfd says so,
//! the control socket, the other ring and SIGTERM go on, and the next start recovers.
//!
//! The screen is the real program, the input device runs in a thread with a scripted kernel.
//!
//! | case | where |
//! |---|---|
//! | chain loops, indices beyond the table, avail index jumps | [`lies`]; `tests/gpu/broken_rings` |
//! | indirect tables: nested, odd, empty, oversized, outside memory | [`lies`]; `tests/gpu/broken_rings` |
//! | lengths of zero and of 4 GiB, addresses outside or across regions | [`lies`]; `tests/gpu/broken_rings`, `tests/gpu/backing` |
//! | readable after writable | [`lies`]; `tests/gpu/broken_rings` |
//! | requests cut short, response buffers too small or absent | `tests/gpu/commands`; event and status buffers: `tests/input/events`, `tests/input/status` |
//! | ids 0, unknown, reused | `tests/gpu/commands`; [`numbers`] |
//! | sizes 0×0 and 2^31, counts of `u32::MAX` | `tests/gpu/commands`; [`numbers`] |
//! | backing: counts, addresses, memory that goes | `tests/gpu/commands`, `tests/gpu/backing`, `tests/gpu/memory`; [`numbers`] |
//! | contents that change between two reads | [`racing`] |
//! | 100,000 resources; all that `--max-hostmem` allows | [`greed`]; `tests/gpu/hostmem` |
//! | floods without end | [`floods`]; `tests/gpu/ending` |
//! | input devices: event floods, unplugged at each step | [`floods`], [`unplugged`]; `tests/input/overflow`, `tests/input/unplug` |
//! | any sequence of commands against a plain model | `tests/model`, `tests/input/model` |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../input/seat.rs"]
#[allow(dead_code, reason = "the input device's own tests use all of it")]
mod input_seat;

mod floods;
mod greed;
mod lies;
mod numbers;
mod racing;
mod unplugged;
