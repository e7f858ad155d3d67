//! Each stage of the sandbox keeps its promise: what it forbids fails, what the programs need goes on.
//!
//! | stage | what is tried | test |
//! |---|---|---|
//! | no_new_privs | to run a program that gives root's rights to whoever runs it | `privileges` |
//! | capabilities | files that are another user's | `capabilities` |
//! | Landlock | files, folders, TCP, signals, abstract sockets | `folders` |
//! | seccomp | a list of calls, each in a process of its own that it ends | `calls`, `acts` |
//!
//! All of it is of one thread, so all but the last is given up in a thread of the test. What a kernel does not have is
//! found out by asking it, and then it is the refusal that is tested.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod acts;
mod calls;
mod capabilities;
mod folders;
mod privileges;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

/// Runs `body` in a thread of its own, which keeps what it gives up to itself.
fn in_thread(body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(body);
    });
}

/// Whether these tests have rights to lose.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A user who owns nothing.
const NOBODY: u32 = 65534;
