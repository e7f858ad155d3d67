//! A descriptor number from the command line becomes an owned descriptor: the one place that takes a bare number for real.

#![allow(unsafe_code, reason = "an inherited descriptor is only a number; no safe interface makes an owner of it")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::FdError;

/// Takes over descriptor `number`, which whoever started the program must have left open for it, and closes it on exec
/// from now on.
///
/// # Errors
/// The number is one of the standard three, is not open, or belongs to a descriptor that this program opened itself.
pub fn adopt(number: RawFd) -> Result<OwnedFd, FdError> {
    if number <= libc::STDERR_FILENO {
        return Err(FdError::Standard);
    }
    // SAFETY: F_GETFD takes no pointer and changes nothing; a number that is not open gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 {
        return Err(FdError::Closed);
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(FdError::NotInherited);
    }
    // SAFETY: the number is open (above), and nobody in this process owns it: it survived execve(2), which closes all that
    // has FD_CLOEXEC, while all that this process opens has FD_CLOEXEC (std and nix set it) but for the standard three,
    // refused above. A number adopted once has the flag from the next line on, so there are never two owners.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(FdError::Host)?;
    Ok(fd)
}
