//! What `vhost-user-input` costs: each figure beside its floor.
//!
//! ```text
//! cargo bench --bench input -- [--quick] [FILTER]...
//! ```
//!
//! `common` says how it is measured. Hosts that build and test this have no `/dev/input`, so the device is the bench's own:
//! a pipe of the kernel's records (`script`), which the library reads in a child process of this same file, one read(2) a
//! turn as from an evdev node. The floor (`floor`) is a child that waits for the same pipe, reads the same records and
//! writes the call eventfd: the least that brings an event to a guest. Where there is a node, `floor-events PATH` reads that
//! instead. There is no peer: rust-vmm's vhost-device-input opens a path and asks it for evdev's ioctls.
//!
//! Each other file measures one thing: `latency` (one frame), `burst` (as much as one read brings), `mouse` (8 kHz, nothing
//! lost), `config` (a guest's look at the device), `upkeep` (system calls, heap, memory, wake-ups).

// A bench is a program for people: it prints, and it stops with a message where its own set-up fails.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what it is for")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    reason = "all numbers are its own, and where they are wrong it may stop"
)]
#![deny(unsafe_code)]

mod burst;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each bench uses its part of it")]
mod common;
mod config;
mod floor;
mod latency;
mod mouse;
mod records;
mod script;
mod upkeep;
mod vm;

use std::process::ExitCode;
use std::time::Duration;

use common::place::Places;
use common::runner::{self, Group, Request};
use common::{Result, heap, role, series, strace, table};

/// What is measured, and how long.
pub struct Bench {
    /// Who runs where.
    pub places: Places,
    /// For each figure that takes turns.
    pub time: Duration,
    /// How long the mouse moves.
    pub mouse: Duration,
    /// For watching a program do nothing.
    pub idle: Duration,
}

const GROUPS: [Group<Bench>; 6] = [
    ("latency", latency::frames),
    ("burst", burst::bursts),
    ("mouse", mouse::eight_khz),
    ("config", config::probes),
    ("calls", upkeep::calls),
    ("idle", upkeep::idle),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first() {
        Some(name) if name == vm::OURS => return role::play(name, vm::serve),
        Some(name) if name.starts_with("floor-") => return role::play(name, || floor::child(name, &args[1..])),
        _ => {}
    }
    let request = Request::new(&args);
    let places = match Places::look() {
        Ok(places) => places,
        Err(error) => {
            eprintln!("no processor to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let bench = Bench {
        places,
        time: request.time(5000, 700),
        mouse: request.time(60_000, 3000),
        idle: request.time(2000, 500),
    };
    runner::heading();
    println!();
    request.run(&bench, &GROUPS)
}
