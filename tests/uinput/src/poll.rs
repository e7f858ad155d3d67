//! Waiting for a descriptor, up to a moment.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until `file` has something to say, its end included; [`io::ErrorKind::TimedOut`] when the moment has passed.
pub fn wait_readable(file: &File, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a remainder of less than a millisecond is waited for, not spun through.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if Instant::now() >= until => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no event in time"));
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
