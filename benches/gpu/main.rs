//! What `vhost-user-gpu` costs: each figure beside its floor, and beside QEMU's own back end where that is installed.
//!
//! ```text
//! cargo bench --bench gpu -- [--quick] [FILTER]...
//! ```
//!
//! A runner of our own, and no bench crate: every figure here is a ratio of two or three programs that take turns, and
//! what a harness is good at (finding the one small time of one closure, and comparing it with last week's) is what a
//! shared machine makes meaningless. A floor is the least that any back end would have to do, done by a child process
//! that is woken in the same way, towards the same reader (`floor`). Samples go round and round (`series`), so that a
//! neighbour's noise meets all alike. Times are shown and never asserted.
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

mod flat;
mod floor;
mod frames;
mod heap;
mod latency;
mod place;
mod series;
mod strace;
mod table;
mod upkeep;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use place::Places;
use table::Row;

/// What a bench's own set-up can fail with.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

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

/// A group of figures that share their set-up.
type Group = (&'static str, fn(&Bench) -> Result<Vec<Row>>);

const GROUPS: [Group; 10] = [
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
    let quick = args.iter().any(|arg| arg == "--quick");
    // cargo itself adds --bench.
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let millis = Duration::from_millis;
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
        time: if quick { millis(700) } else { millis(5000) },
        idle: if quick { millis(500) } else { millis(2000) },
    };
    heading(&bench);
    let mut rows = Vec::new();
    for (name, run) in GROUPS {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        eprintln!("… {name}");
        match run(&bench) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    table::print(&rows);
    ExitCode::SUCCESS
}

fn peer() -> Option<PathBuf> {
    let path = std::env::var_os("VHOST_SEAT_PEER").map_or_else(|| PathBuf::from(PEER), PathBuf::from);
    path.exists().then_some(path)
}

/// On what machine, and against what.
fn heading(bench: &Bench) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_machine = if cpu.contains(" hypervisor") { ", a virtual machine" } else { "" };
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("{}, {cores} cores{virtual_machine}, Linux {}", model.unwrap_or("unknown processor"), kernel.trim());
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    println!("load before the start: {load}");
    match &bench.peer {
        Some(path) => println!("peer: {}\n", path.display()),
        None => println!("peer: none; {PEER} is in Debian's qemu-system-gui, or set VHOST_SEAT_PEER\n"),
    }
}
