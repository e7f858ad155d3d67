//! The system calls that have no safe wrapper: descriptors out of a socket, pidfd, descriptors handed to a child.
//!
//! One of the two files here that may say `unsafe`; the other is `memory/map.rs`.
#![allow(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::deadline::{Deadline, wait_writable};
use crate::error::{Error, Result};

/// As many descriptors as one message may bring us; the kernel's own limit is 253.
const MAX_FDS: usize = 32;

/// A buffer for ancillary data, made once and used for every receive.
pub(crate) struct FdBuffer(Vec<u8>);

impl FdBuffer {
    pub(crate) fn new() -> FdBuffer {
        FdBuffer(nix::cmsg_space!([RawFd; MAX_FDS]))
    }
}

/// Receives what is there, without waiting: how many bytes came (0 is the end), descriptors appended to `fds`.
/// `None` when nothing is there now. No allocation unless descriptors come.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    ancillary: &mut FdBuffer,
    fds: &mut Vec<OwnedFd>,
) -> Result<Option<usize>> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut ancillary.0), flags) {
            Ok(message) => break message,
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(Error::io("recvmsg", errno)),
        }
    };
    for control in message.cmsgs().map_err(|errno| Error::io("ancillary data", errno))? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just opened these descriptors for us with this recvmsg; nobody else owns them.
            // Needed because no safe call turns received descriptor numbers into owned ones.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(Some(message.bytes))
}

/// Sends all of `bytes` with `fds` on the first of them, by the deadline. One sendmsg if the socket takes it whole.
pub(crate) fn send_all(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], deadline: Deadline) -> Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let mut sent = 0;
    while sent < bytes.len() {
        let control = if sent == 0 && !raw.is_empty() { &rights[..] } else { &[] };
        match send_some(socket, &bytes[sent..], control)? {
            Some(count) => sent += count,
            None if wait_writable(socket, deadline)? => {}
            None => return Err(Error::TimedOut("room in the socket")),
        }
    }
    Ok(())
}

/// Sends what the socket takes now; `None` when it takes nothing.
pub(crate) fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], control: &[ControlMessage<'_>]) -> Result<Option<usize>> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(Error::io("sendmsg", errno)),
        }
    }
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd(pid: u32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours. Needed because neither std (stable) nor nix
    // wraps it.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return Err(Error::io("pidfd_open", Errno::last()));
    }
    // SAFETY: the call above has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes the child of `command` inherit `fd` under its number. The descriptor stays close-on-exec in this process, so
/// other children, started at the same time by other threads, do not get it.
pub(crate) fn inherit(command: &mut Command, fd: OwnedFd) {
    let clear = move || fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one fcntl call, which is async-signal-safe, and allocates nothing.
    // Needed because std offers no other way to pass a descriptor to one child only.
    unsafe { command.pre_exec(clear) };
}
