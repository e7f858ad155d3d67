//! Standard output and standard error, kept from libraries.
//!
//! The renderer's libraries write to both when a guest makes them, without end and without asking whether there is room:
//! a log would fill a disk, and a pipe that nobody reads would hold the program up. So they find /dev/null in their place,
//! and what is ours to say goes where they were.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic;

use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::logger;

/// Puts both aside for good: from now on only the logger's lines reach standard error, and the last words of a panic are
/// one of them.
///
/// # Errors
/// There is no /dev/null, or there are no descriptors left.
pub fn keep(program: &'static str) -> io::Result<()> {
    let nowhere = File::options().write(true).open("/dev/null")?;
    logger::write_to(io::stderr().as_fd().try_clone_to_owned()?);
    panic::set_hook(Box::new(move |panic| logger::say(program, format_args!("{panic}"))));
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}
