//! Where the vhost-user socket comes from: a path to listen on, or a descriptor that somebody opened for us.
//!
//! `--socket-path`: [`listen`] makes the socket file and [`Listener`] owns it: dropping the listener unlinks the file, but
//! only if it is still the one that was bound. A socket file that nobody listens on any more is replaced; a live one, and
//! anything that is no socket, is left alone and is an error.
//!
//! `--fd`: [`inherited`] takes the descriptor over. vhost-user.txt leaves open whether it listens or is connected (libvirt
//! passes one end of a socketpair, a service manager would pass a listener), so the socket itself is asked.
//!
//! A listener is set non-blocking, for accept4(2) has no flag that keeps the call itself from waiting. That flag is part
//! of the open file description: whoever shares an inherited listener with us sees it. A connected socket's flags are
//! never touched; its user passes `MSG_DONTWAIT`.

mod adopt;
mod file;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use thiserror::Error;

use file::{FolderLock, SocketFile};
pub use file::{Removal, folder_of};

/// The vhost-user socket, as the program was given it.
#[derive(Debug)]
pub enum Endpoint {
    /// Front ends connect here, one after another.
    Listening(Listener),
    /// The one front end.
    Connected(UnixStream),
}

impl Endpoint {
    /// How the socket file goes, if this program made one.
    pub fn removal(&self) -> Option<Removal> {
        match self {
            Self::Listening(listener) => listener.file.as_ref().map(SocketFile::removal),
            Self::Connected(_) => None,
        }
    }
}

/// Why there is no vhost-user socket. One line each, the path or the number named.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Something that is not a socket stands at the path.
    #[error("{0:?} exists and is not a socket: left as it is")]
    NotASocket(PathBuf),
    /// Another program listens there.
    #[error("{0:?} is in use: another program listens there")]
    InUse(PathBuf),
    /// The path can't be listened on.
    #[error("cannot listen on {path:?}: {error}")]
    Path {
        /// As given.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// The descriptor can't be used.
    #[error("--fd={number}: {error}")]
    Fd {
        /// As given.
        number: RawFd,
        /// What is wrong with it.
        error: FdError,
    },
}

/// What is wrong with an inherited descriptor.
#[derive(Debug, Error)]
pub enum FdError {
    /// 0, 1, 2, or negative.
    #[error("must be 3 or more")]
    Standard,
    /// No such descriptor.
    #[error("not open")]
    Closed,
    /// Opened here, by this program.
    #[error("was not passed to this program")]
    NotInherited,
    /// A file, a pipe, ...
    #[error("not a socket")]
    NotASocket,
    /// Datagram, TCP, ...
    #[error("not a Unix stream socket")]
    WrongKind,
    /// Neither connect(2) nor listen(2) was called.
    #[error("neither connected nor listening")]
    Idle,
    /// The host failed.
    #[error("{0}")]
    Host(Errno),
}

/// A listening socket, and the socket file if this program made it.
#[derive(Debug)]
pub struct Listener {
    /// Unlinked when dropped. It stands before the socket, so it goes first: while the socket is open the kernel keeps the
    /// file's inode, so no other file can have its number, and nobody takes the file for a stale one.
    file: Option<SocketFile>,
    socket: UnixListener,
}

impl Listener {
    /// The next front end that waits, as a socket that closes on exec; `None` if there is none (any more).
    ///
    /// # Errors
    /// The host failed: no descriptor or no memory is left.
    pub fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Listens at `path`, replacing a socket file that nobody listens on.
///
/// Two programs of ours that start on one path at the same time take turns ([`FolderLock`]), so neither takes the other's
/// fresh socket for a stale one.
///
/// # Errors
/// Something else stands there, another program listens there, or the path can't be used: its folder is missing or not
/// writable, or it is longer than `sun_path` holds (107 bytes).
pub fn listen(path: &Path) -> Result<Listener, SocketError> {
    let unusable = |error| SocketError::Path { path: path.to_owned(), error };
    if path.as_os_str().is_empty() {
        // Bound as it is, Linux would pick an abstract address.
        return Err(unusable(Errno::ENOENT.into()));
    }
    let _turn = FolderLock::take(path);
    let socket = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            file::remove_stale(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let socket = socket.map_err(unusable)?;
    let file = SocketFile::at(path).map_err(unusable)?;
    socket.set_nonblocking(true).map_err(unusable)?;
    Ok(Listener { file: Some(file), socket })
}

/// Takes over descriptor `number`: a connected or a listening Unix stream socket.
///
/// # Errors
/// It is anything else, or is not there.
pub fn inherited(number: RawFd) -> Result<Endpoint, SocketError> {
    take_over(number).map_err(|error| SocketError::Fd { number, error })
}

fn take_over(number: RawFd) -> Result<Endpoint, FdError> {
    let fd = adopt::adopt(number)?;
    match getsockopt(&fd, sockopt::SockType) {
        Ok(SockType::Stream) => {}
        Err(Errno::ENOTSOCK) => return Err(FdError::NotASocket),
        _ => return Err(FdError::WrongKind),
    }
    let listens = getsockopt(&fd, sockopt::AcceptConn).map_err(FdError::Host)?;
    let stream = UnixStream::from(fd);
    // std refuses an address of another family.
    stream.local_addr().map_err(|_| FdError::WrongKind)?;
    if listens {
        let socket = UnixListener::from(std::os::fd::OwnedFd::from(stream));
        socket
            .set_nonblocking(true)
            .map_err(|error| FdError::Host(Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
        return Ok(Endpoint::Listening(Listener { file: None, socket }));
    }
    stream.peer_addr().map_err(|_| FdError::Idle)?;
    Ok(Endpoint::Connected(stream))
}

#[cfg(test)]
mod tests;
