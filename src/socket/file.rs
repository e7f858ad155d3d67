//! The socket file: whose it is, whether anybody listens on it, and who may remove it.

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::lstat;
use nix::unistd::unlink;

use super::SocketError;

/// A socket file. Removed when dropped.
#[derive(Debug)]
pub struct SocketFile(Removal);

/// How a file goes: it is told from a later one at the same path by device and inode.
#[derive(Clone, Debug)]
pub struct Removal {
    path: CString,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

impl SocketFile {
    /// The file that was just bound at `path`.
    ///
    /// # Errors
    /// Somebody removed it meanwhile.
    pub fn at(path: &Path) -> io::Result<Self> {
        Removal::of(path, &fs::symlink_metadata(path)?).map(Self)
    }

    /// How it goes.
    pub fn removal(&self) -> Removal {
        self.0.clone()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing can be done about a file that can't be removed: the next start finds it stale and replaces it.
        let _ = self.0.remove();
    }
}

impl Removal {
    fn of(path: &Path, found: &Metadata) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        Ok(Self { path, identity: (found.dev(), found.ino()) })
    }

    /// Removes the file if it is still that one: a file that came in its place is somebody else's. May be called in a
    /// signal's handler.
    ///
    /// # Errors
    /// It is not there any more, or may not be removed.
    pub fn remove(&self) -> Result<(), Errno> {
        let found = lstat(self.path.as_c_str())?;
        if (found.st_dev, found.st_ino) == self.identity { unlink(self.path.as_c_str()) } else { Ok(()) }
    }
}

/// Removes the socket file at `path` if nobody listens on it.
///
/// A socket that is bound but does not listen yet looks just like a stale one. Our own programs can't meet in that
/// moment ([`FolderLock`]); others can, for some microseconds.
///
/// # Errors
/// It is no socket, somebody listens on it, or it can't be looked at or removed.
pub fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let unusable = |error| SocketError::Path { path: path.to_owned(), error };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(unusable)?,
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match knock(path) {
        Err(Errno::ECONNREFUSED) => {}
        // It went away by itself.
        Err(Errno::ENOENT) => return Ok(()),
        // Connected; or its queue is full, which takes a listener; or it is alive but of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => return Err(SocketError::InUse(path.to_owned())),
        Err(error) => return Err(unusable(error.into())),
    }
    match Removal::of(path, &found).map_err(unusable)?.remove() {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(unusable(error.into())),
    }
}

/// Connects, without waiting, and hangs up at once.
fn knock(path: &Path) -> nix::Result<()> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(probe.as_raw_fd(), &address)
}

/// The folder that `path` is in; the root is in none.
pub fn folder_of(path: &Path) -> Option<&Path> {
    match path.parent()? {
        here if here.as_os_str().is_empty() => Some(Path::new(".")),
        folder => Some(folder),
    }
}

/// How often the folder's lock is tried, and how long to sleep between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// An flock(2) on the folder, held while a socket file in it is looked at and replaced. It leaves no file behind.
///
/// It keeps our own programs from mistaking each other's socket, no more: where the folder can't be opened, or somebody
/// sits on the lock (anybody can, in /tmp), the program goes on without it after half a second.
pub struct FolderLock {
    _lock: Flock<File>,
}

impl FolderLock {
    /// The lock of the folder that `path` is in, or `None` where it is not to be had.
    pub fn take(path: &Path) -> Option<Self> {
        let folder = folder_of(path)?;
        // O_DIRECTORY: opening a pipe that stands there would wait for its writer.
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder).ok()?;
        for _ in 0..TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Some(Self { _lock: lock }),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err(_) => return None,
            }
            thread::sleep(PAUSE);
        }
        None
    }
}
