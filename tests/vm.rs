//! Our back end as the screen of a real Linux guest in a real QEMU: what the guest meant to draw is what QEMU shows.
//!
//! The laboratory is the package `seat-vm` (tests/vm), which proves itself with devices that are not ours. On a machine
//! without what it needs these tests say so and pass; in CI they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

#[path = "vm_cases/display.rs"]
mod display;
#[path = "vm_cases/heads.rs"]
mod heads;
#[path = "vm_cases/life.rs"]
mod life;
#[path = "vm_cases/nested.rs"]
mod nested;
#[path = "vm_cases/seat.rs"]
mod seat;
#[path = "vm_cases/virgl.rs"]
mod virgl;
