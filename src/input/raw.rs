//! The `EVIOCG*` requests whose answers virtio-input wants byte for byte, and the one for slots. The evdev crate keeps the
//! former to itself and does not know the latter. What the answers mean is [`super::describe`]'s.

#![allow(unsafe_code, reason = "an ioctl is a raw system call; no wrapper hands these bytes out, see above")]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;
use nix::errno::Errno;

use super::describe::Ask;

const TYPE: u8 = b'E';

impl Ask for BorrowedFd<'_> {
    fn ask(&self, number: u16, answer: &mut [u8]) -> Result<usize> {
        let request = nix::request_code_read!(TYPE, number, answer.len());
        loop {
            // SAFETY: the request's code says how long the buffer is, and evdev writes no more than that; the buffer is
            // alive and ours alone. Of a descriptor that is no evdev device these codes read at most as many bytes into
            // the buffer.
            let written = unsafe { libc::ioctl(self.as_raw_fd(), request, answer.as_mut_ptr()) };
            match Errno::result(written) {
                // The node's lock was another program's for a moment, and a signal came in it.
                Err(Errno::EINTR) => {}
                other => return other.map(|written| usize::try_from(written).unwrap_or(0)),
            }
        }
    }
}
