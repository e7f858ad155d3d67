//! A child process that runs this same file in another role: a floor, or the library with a device of the bench's own.
//!
//! Its descriptors come as stdin and stdout, which a child can use without any `unsafe`. It ends with its parent.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitCode};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::Result;

/// A child in its role; ended when dropped.
pub struct Role(Child);

impl Role {
    /// Starts this file with `role` and `args` as its arguments.
    pub fn start(role: &str, args: &[String], stdin: OwnedFd, stdout: OwnedFd) -> Result<Role> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).args(args).stdin(stdin).stdout(stdout);
        Ok(Role(command.spawn()?))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays a role, in the child. A role goes on until it is ended, so whatever comes out of it is a failure.
pub fn play(role: &str, act: impl FnOnce() -> Result<()>) -> ExitCode {
    let result = set_pdeathsig(Signal::SIGKILL).map_err(Into::into).and_then(|()| act());
    if let Err(error) = result {
        eprintln!("{role}: {error}");
    }
    ExitCode::FAILURE
}
