//! What `vhost-user-gpu` costs: each figure beside its floor, and beside QEMU's own back end where that is installed.
//!
//! ```text
//! cargo bench --bench gpu -- [--quick] [FILTER]...
//! ```
//!
//! `common` says how it is measured. A floor (`floor`) is a bare answer, or a bare send of the same bytes.
//!
//! Each other file measures one thing: `latency` (one command, batches), `frames` (pixels), `flat` (what must not grow
//! with the guest's riches), `upkeep` (system calls, heap, memory, wake-ups, start).

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
mod flat;
mod floor;
mod frames;
mod latency;
mod upkeep;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use common::place::Places;
use common::runner::{self, Group, Request};
use common::{Result, heap, role, series, strace, table};

/// Where Debian has QEMU's back end.
const PEER: &str = "/usr/lib/qemu/vhost-user-gpu";

/// What is measured, and how long.
pub struct Bench {
    /// Our program: the binary of this build's own profile, which is the release one.
    pub ours: &'static Path,
    /// QEMU's, where it is installed.
    pub peer: Option<PathBuf>,
    /// Who runs where.
    pub places: Places,
    /// For each figure that takes turns.
    pub time: Duration,
    /// For watching a program do nothing.
    pub idle: Duration,
}

impl Bench {
    /// The programs to be measured, ours first.
    pub fn programs(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.ours).chain(self.peer.as_deref())
    }
}

const GROUPS: [Group<Bench>; 10] = [
    ("round-trip", latency::round_trip),
    ("batch", latency::batches),
    ("frame-1080", frames::full_hd),
    ("frame-2160", frames::ultra_hd),
    ("small-update", frames::small_update),
    ("resources", flat::resources),
    ("backing", flat::backing),
    ("calls", upkeep::calls),
    ("start", upkeep::start),
    ("idle", upkeep::idle),
];

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
    let bench = Bench {
        places,
        ours: Path::new(env!("CARGO_BIN_EXE_vhost-user-gpu")),
        peer: peer(),
        time: request.time(5000, 700),
        idle: request.time(2000, 500),
    };
    runner::heading();
    match &bench.peer {
        Some(path) => println!("peer: {}\n", path.display()),
        None => println!("peer: none; {PEER} is in Debian's qemu-system-gui, or set VHOST_SEAT_PEER\n"),
    }
    request.run(&bench, &GROUPS)
}

fn peer() -> Option<PathBuf> {
    let path = std::env::var_os("VHOST_SEAT_PEER").map_or_else(|| PathBuf::from(PEER), PathBuf::from);
    path.exists().then_some(path)
}
