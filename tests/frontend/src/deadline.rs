//! Deadlines, and waiting for a descriptor until one.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};

/// A point in time by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The point `time` from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// The point `millis` milliseconds from now.
    pub fn millis(millis: u64) -> Deadline {
        Deadline::after(Duration::from_millis(millis))
    }

    /// The point `secs` seconds from now.
    pub fn secs(secs: u64) -> Deadline {
        Deadline::after(Duration::from_secs(secs))
    }

    /// What is left of it; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// What is left as poll(2) wants it, rounded up so that a wait never ends early.
    pub(crate) fn poll_timeout(&self) -> PollTimeout {
        let millis = self.remaining().as_micros().div_ceil(1000).min(i32::MAX as u128);
        PollTimeout::try_from(millis as i32).unwrap_or(PollTimeout::MAX)
    }
}

/// Waits until one of `fds` is readable, hung up or in error, and says which; all false when the deadline passed first.
pub(crate) fn wait_any<const N: usize>(fds: [BorrowedFd<'_>; N], deadline: Deadline) -> Result<[bool; N]> {
    let mut set = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    loop {
        match poll(&mut set, deadline.poll_timeout()) {
            Ok(_) => break,
            Err(Errno::EINTR) if !deadline.passed() => continue,
            Err(Errno::EINTR) => break,
            Err(errno) => return Err(Error::io("poll", errno)),
        }
    }
    Ok(set.map(|entry| entry.revents().is_some_and(|events| !events.is_empty())))
}

/// Waits until `fd` is readable, hung up or in error; false when the deadline passed first.
pub fn wait_readable(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    Ok(wait_any([fd], deadline)?[0])
}

/// Waits until `fd` takes bytes; false when the deadline passed first.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    let mut set = [PollFd::new(fd, PollFlags::POLLOUT)];
    loop {
        match poll(&mut set, deadline.poll_timeout()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) if !deadline.passed() => continue,
            Err(Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(Error::io("poll", errno)),
        }
    }
}
