//! What the fuzz targets are run from, and what they found, once more: each file in `fuzz/seeds` through its target's body,
//! on stable and without a fuzzer.
//!
//! Seeds of valid traffic are written by [`seeds`]: `cargo test --test fuzz_replay -- --ignored write` after a change of what
//! the bytes of a target mean. Other files are finds and what a fuzzer came upon; they stay as they are. With
//! `FUZZ_CORPUS=fuzz/corpus` in the environment (`make fuzz-coverage`) that folder is replayed as well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are the tests' own")]

#[path = "../fuzz/src/lib.rs"]
mod bodies;
#[path = "fuzz_replay/seeds.rs"]
mod seeds;

use std::path::{Path, PathBuf};
use std::{fs, panic};

/// A target and its body; what comes of a run is the body's own to judge.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 7] = [
    ("control", |data| {
        bodies::control::run(data);
    }),
    ("session", |data| {
        bodies::session::run(data);
    }),
    ("chain", |data| {
        bodies::chain::run(data);
    }),
    ("command", bodies::command::run),
    ("display", |data| {
        bodies::display::run(data);
    }),
    ("input", |data| {
        bodies::input::run(data);
    }),
    ("stream", |data| {
        bodies::stream::run(data);
    }),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[track_caller]
fn replay(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let seeds = files(&folder("seeds").join(target));
    assert!(!seeds.is_empty(), "fuzz/seeds/{target} is empty");
    let corpus = std::env::var_os("FUZZ_CORPUS").map(PathBuf::from);
    let corpus = corpus.map_or(Vec::new(), |corpus| files(&corpus.join(target)));
    for file in seeds.into_iter().chain(corpus) {
        let bytes = fs::read(&file).unwrap();
        let run = panic::catch_unwind(|| body(&bytes));
        assert!(run.is_ok(), "see above: {}", file.display());
    }
}

#[test]
fn control() {
    replay("control");
}

#[test]
fn session() {
    replay("session");
}

#[test]
fn chain() {
    replay("chain");
}

#[test]
fn command() {
    replay("command");
}

#[test]
fn display() {
    replay("display");
}

#[test]
fn input() {
    replay("input");
}

#[test]
fn stream() {
    replay("stream");
}

#[test]
fn every_folder_of_seeds_has_a_target_and_every_target_a_program() {
    let mut named: Vec<_> = TARGETS.map(|(name, _)| name.to_owned()).into();
    named.sort();
    let stems = |folder: PathBuf| -> Vec<String> {
        files(&folder).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(stems(folder("seeds")), named);
    assert_eq!(stems(folder("fuzz_targets")), named);
}

#[test]
fn the_seeds_of_valid_traffic_are_those_that_are_written_today() {
    for seed in seeds::all() {
        let path = folder("seeds").join(seed.target).join(seed.name);
        assert!(fs::read(&path).is_ok_and(|bytes| bytes == seed.bytes), "{} is out of date", path.display());
    }
}

#[test]
#[ignore = "writes the seeds of valid traffic into the source tree"]
fn write() {
    for seed in seeds::all() {
        let folder = folder("seeds").join(seed.target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(seed.name), seed.bytes).unwrap();
    }
}

// Valid traffic is of use only as long as the bodies understand it.

#[test]
fn control_messages_of_valid_traffic_are_all_taken() {
    for seed in seeds::control() {
        let taken = bodies::control::run(&seed.bytes);
        assert!(taken >= seed.good, "{}: {taken}", seed.name);
    }
}

#[test]
fn sessions_of_valid_traffic_go_deep() {
    for seed in seeds::session() {
        let depth = bodies::session::run(&seed.bytes);
        assert!(depth.good >= seed.good && depth.replies > 0, "{}: {depth:?}", seed.name);
    }
}

#[test]
fn chains_of_drivers_are_chains() {
    for seed in seeds::chain() {
        assert_eq!(bodies::chain::run(&seed.bytes), seed.good > 0, "{}", seed.name);
    }
}

#[test]
fn replies_of_a_display_are_all_taken() {
    for seed in seeds::display() {
        assert_eq!(bodies::display::run(&seed.bytes), seed.good, "{}", seed.name);
    }
}

#[test]
fn what_guests_do_with_an_input_device_is_answered() {
    for seed in seeds::input() {
        let good = bodies::input::run(&seed.bytes);
        assert!(good >= seed.good, "{}: {good}", seed.name);
    }
}

#[test]
fn streams_of_valid_commands_pass() {
    for seed in seeds::stream() {
        assert_eq!(bodies::stream::run(&seed.bytes), seed.good, "{}", seed.name);
    }
}
