//! Descriptors to send along, and how to send them.

use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// An eventfd that never blocks.
pub fn eventfd() -> EventFd {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap()
}

/// A file in memory of that many zeroes.
pub fn memfd(len: u64) -> File {
    let file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(len).unwrap();
    file
}

/// Another descriptor of the same open file.
pub fn copy(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// Sends the bytes with the descriptors beside the first of them. How many went: the socket may be full, or closed.
pub fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> usize {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &rights[..0] } else { &rights };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None) {
        Ok(count) => count,
        Err(Errno::EAGAIN | Errno::EPIPE | Errno::ECONNRESET) => 0,
        Err(error) => panic!("sendmsg: {error}"),
    }
}

/// Whatever is there to be read, at most that much. Empty where nothing is, or nobody is there.
pub fn receive(socket: &UnixStream, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let count = loop {
        match nix::sys::socket::recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => break count,
            Err(Errno::EINTR) => {}
            Err(error) => match std::io::Error::from(error).kind() {
                ErrorKind::WouldBlock | ErrorKind::ConnectionReset => break 0,
                _ => panic!("recv: {error}"),
            },
        }
    };
    bytes.truncate(count);
    bytes
}
