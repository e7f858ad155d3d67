//! `recvmsg` with the descriptors that came beside the bytes.
//!
//! nix and vmm-sys-util hand out raw descriptor numbers and lose those of a truncated control message; here every
//! descriptor that the kernel installed is an `OwnedFd` at once.

#![allow(unsafe_code, reason = "no safe wrapper of recvmsg owns the descriptors that arrive, see above")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The kernel's `SCM_MAX_FD`: no message carries more.
const SCM_MAX_FD: usize = 253;
/// `CMSG_SPACE` of that many descriptors, in u64s so that the buffer is aligned for `cmsghdr`.
const CONTROL_WORDS: usize = (16 + SCM_MAX_FD * 4).div_ceil(8);

/// Receives at most `buffer.len()` bytes without blocking and appends the descriptors to `fds`. Returns the number
/// of bytes; 0 is the end of the stream.
///
/// # Errors
/// What `recvmsg` says (`WouldBlock` when nothing is there), and `InvalidData` when descriptors were lost because
/// this process cannot hold more.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain data for which all zeroes is a valid (empty) value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` points to `buffer` and `control`, both alive, writable and of the lengths given.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    take_fds(&message, fds);
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost: too many are open"));
    }
    Ok(received)
}

#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one walk over one buffer, sound for one reason")]
fn take_fds(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel filled `msg_control` up to `msg_controllen` with well-formed control messages; the CMSG macros
    // stay within it. Every descriptor of an SCM_RIGHTS message was installed for this process just now and belongs to
    // nobody else, so each becomes an `OwnedFd` exactly once. Reads are unaligned-safe.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let bytes = (*header).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                for index in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
