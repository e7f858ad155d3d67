//! What `vhost-user-gpu --virgl` costs beside the renderer itself: the same calls made by a process that has nothing else to
//! do.
//!
//! ```text
//! cargo bench --bench virgl -- [--quick] [FILTER]...
//! ```
//!
//! `common` says how it is measured; `draw` is what is measured, `floor` the process beside it. All of it is in software.

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

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each bench uses its part of it")]
mod common;
mod draw;
mod floor;
#[path = "../gpu/vm.rs"]
#[allow(dead_code, reason = "the gpu's own bench uses all of it")]
mod vm;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use common::place::Places;
use common::runner::{self, Group, Request};
use common::{Result, role, series, table};

/// What is measured, and how long.
pub struct Bench {
    /// Our program: the binary of this build's own profile, which is the release one.
    pub ours: &'static Path,
    /// Who runs where.
    pub places: Places,
    /// For each figure.
    pub time: Duration,
}

const GROUPS: [Group<Bench>; 2] = [("submit", draw::submit), ("upload", draw::upload)];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = args.first().filter(|arg| arg.starts_with("floor-")) {
        return floor::child(role, &args[1..]);
    }
    let request = Request::new(&args);
    let places = match Places::look() {
        Ok(places) => places,
        Err(error) => {
            eprintln!("no processor to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ours = Path::new(env!("CARGO_BIN_EXE_vhost-user-gpu"));
    runner::heading();
    request.run(&Bench { places, ours, time: request.time(5000, 700) }, &GROUPS)
}
