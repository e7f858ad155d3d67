//! The end where the loop does not come back: a guest's commands can hold the renderer for minutes.
//!
//! SIGTERM and SIGINT wait until the loop reads them ([`signals`](crate::signals)). So that the program ends all the same,
//! the [`leash`]'s timer looks at the turn that it interrupts: where that has lasted for long, and a signal waits, the
//! socket file goes, and the program, at once and with status 0. There is nothing else that it would leave behind.
//!
//! All of this happens in a signal's handler, wherever the thread was just then: no memory is allocated and no lock is
//! taken.

#![allow(unsafe_code, reason = "the way out of a handler has no safe form")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use crate::logger;
use crate::socket::{Endpoint, Removal};
use crate::vhost_proto::leash;

static PLAN: OnceLock<Plan> = OnceLock::new();

struct Plan {
    program: &'static str,
    /// Readable while a signal waits.
    signals: OwnedFd,
    file: Option<Removal>,
}

/// Ends the program from now on when one of `signals` waits and the loop that serves `endpoint` does not come back. To be
/// called once.
///
/// # Errors
/// No descriptor is left.
pub fn prepare(program: &'static str, signals: &SignalFd, endpoint: &Endpoint) -> io::Result<()> {
    let plan = Plan { program, signals: signals.as_fd().try_clone_to_owned()?, file: endpoint.removal() };
    // A second one would be another loop's, whose turns the leash does not tell from those of the first.
    if PLAN.set(plan).is_ok() {
        leash::when_long(look);
    }
    Ok(())
}

/// In the handler.
fn look() {
    let Some(plan) = PLAN.get() else { return };
    let mut signals = [PollFd::new(plan.signals.as_fd(), PollFlags::POLLIN)];
    if poll(&mut signals, PollTimeout::ZERO) != Ok(1) {
        return;
    }
    logger::say(plan.program, format_args!("ended by a signal, while what the guest asked for was still being done"));
    if let Some(file) = &plan.file {
        // Nobody is there to be told.
        let _ = file.remove();
    }
    // SAFETY: it may be called at any moment, and does not come back.
    unsafe { libc::_exit(0) }
}
