//! The bodies of the fuzz targets: what each does with its bytes, and what must hold whatever they are.
//!
//! `fuzz_targets/` hands them to libFuzzer; `tests/fuzz_replay.rs` of the project replays `seeds/` with them. A body panics
//! where something does not hold. Each says how it reads its bytes; all read zeroes where the bytes end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a find"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unreachable,
    reason = "the numbers are the targets' own"
)]

pub mod chain;
pub mod command;
pub mod control;
pub mod display;
mod events;
mod fds;
pub mod input;
mod node;
mod script;
pub mod session;
pub mod stream;
