//! QEMU's "Backend program conventions", each rule seen by running `vhost-user-gpu`.
//!
//! | rule | tests |
//! |---|---|
//! | options, `--socket-path` and `--fd` exclude each other; one line and a status not 0 | `options` |
//! | `--print-capabilities` | `capabilities` |
//! | what is asked for and can't be had stops the program early | `options` |
//! | where the socket comes from, and what becomes of its file | `socket_path`, `socket_fd` |
//! | it never daemonizes, and lives with any standard streams | `streams` |
//! | it ends on SIGTERM | `ending` |
//! | the JSON file, and where it is installed | `install` |
//!
//! Times are never asserted here: a deadline only says when to give up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod capabilities;
mod ending;
mod install;
mod options;
mod socket_fd;
mod socket_path;
mod streams;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use seat_frontend::Deadline;
use seat_frontend::control::FrontEnd;
use seat_frontend::program::{Program, TempDir};

const BINARY: &str = env!("CARGO_BIN_EXE_vhost-user-gpu");

/// When a test gives up.
fn patience() -> Deadline {
    Deadline::secs(30)
}

/// A program that was started to end by itself.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Runs it to its end.
    #[track_caller]
    fn to_end<S: AsRef<OsStr>>(arguments: &[S]) -> Self {
        let mut program = Program::spawn(BINARY, arguments).unwrap();
        let status = program.wait(patience()).expect("it ends by itself").code();
        Self { status, stdout: program.stdout(), stderr: program.stderr() }
    }

    /// It failed as it should: `status`, nothing on stdout, one line on stderr that has `part` in it.
    #[track_caller]
    fn assert_refused(&self, status: i32, part: &str) {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_one_line(&self.stderr, part);
    }
}

#[track_caller]
fn assert_one_line(stderr: &str, part: &str) {
    assert!(stderr.starts_with("vhost-user-gpu: ") && stderr.ends_with('\n'), "{stderr:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    assert!(stderr.contains(part), "{stderr:?} has no {part:?}");
}

/// Asks for the features, which every back end has.
#[track_caller]
fn assert_served(front_end: &mut FrontEnd) {
    assert_ne!(front_end.get_features().unwrap(), 0);
}

/// The program, listening at `path`.
#[track_caller]
fn listening_at(path: &Path) -> Program {
    let mut argument = std::ffi::OsString::from("--socket-path=");
    argument.push(path);
    let mut program = Program::spawn(BINARY, [argument]).unwrap();
    program.wait_listening(path, patience()).unwrap();
    program
}

/// How `child` ended; it is killed if it does not.
#[track_caller]
fn ended(mut child: Child) -> ExitStatus {
    let deadline = patience();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if deadline.passed() {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::yield_now();
    }
}

/// A folder, and a path for a socket in it.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.join("socket");
    (folder, path)
}
