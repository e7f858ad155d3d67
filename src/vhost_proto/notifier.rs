//! The front end's eventfds, written without ever being held up by them for long.
//!
//! An eventfd is written with a plain write(2): one system call, the price of a call to the guest. That write waits where
//! the count is full and the eventfd is a blocking one, and both are the front end's to choose at any time, for it holds
//! the same open file description: O_NONBLOCK set here would change the eventfd under its other readers and could be taken
//! away again, a look before each write costs half as much again as the write and leaves a gap between the two, and
//! pwritev2(2) knows no RWF_NOWAIT for eventfds (EOPNOTSUPP up to Linux 6.18). So a write that waits is ended from outside
//! ([`leash`]): it fails with EINTR, which no other write to an eventfd does, and that eventfd is not written again.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::leash;

/// What /proc says of an eventfd.
const EVENTFD: &str = "anon_inode:[eventfd]";

/// Why an eventfd is not written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It was full and made us wait.
    #[error("it is full, and makes those wait who write to it")]
    Held,
    /// It can't be written.
    #[error("{0}")]
    Write(Errno),
}

/// Whether `fd` is an eventfd, as far as can be told: where there is no /proc, all are taken for eventfds. Asks nothing of
/// the file itself, whose file system could be the front end's own and slow to answer.
pub fn is_eventfd(fd: BorrowedFd<'_>) -> bool {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.map_or(true, |target| target.as_os_str() == EVENTFD)
}

/// An eventfd that the back end writes.
#[derive(Debug)]
pub struct Notifier(OwnedFd);

impl Notifier {
    /// `None` for a descriptor of another kind.
    pub fn new(fd: OwnedFd) -> Option<Self> {
        is_eventfd(fd.as_fd()).then_some(Self(fd))
    }

    /// Adds one to its count. A full count stays as it is: whoever reads it is told already.
    ///
    /// # Errors
    /// It held us up, or it can't be written: it should not be written again.
    pub fn signal(&self) -> Result<(), NotifyError> {
        leash::fasten();
        match nix::unistd::write(&self.0, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(Errno::EINTR) => Err(NotifyError::Held),
            Err(error) => Err(NotifyError::Write(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    fn notifier(count: u64, flags: EfdFlags) -> (Notifier, File) {
        let fd: OwnedFd = EventFd::from_flags(flags).unwrap().into();
        nix::unistd::write(&fd, &count.to_ne_bytes()).unwrap();
        let other = File::from(fd.try_clone().unwrap());
        (Notifier::new(fd).unwrap(), other)
    }

    fn count(mut file: &File) -> u64 {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes).unwrap();
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn only_eventfds_are_taken() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        for other in [reader, writer, socket.into(), File::open("/dev/zero").unwrap().into()] {
            assert!(Notifier::new(other).is_none());
        }
    }

    #[test]
    fn a_signal_adds_one_whether_the_eventfd_blocks_or_not() {
        for flags in [EfdFlags::empty(), EfdFlags::EFD_NONBLOCK] {
            let (notifier, other) = notifier(5, flags);
            notifier.signal().unwrap();
            assert_eq!(count(&other), 6);
        }
    }

    #[test]
    fn a_full_eventfd_that_does_not_block_is_left_full() {
        let (notifier, other) = notifier(u64::MAX - 1, EfdFlags::EFD_NONBLOCK);
        assert_eq!(notifier.signal(), Ok(()));
        assert_eq!(count(&other), u64::MAX - 1);
    }

    #[test]
    fn a_full_eventfd_that_blocks_holds_nobody_for_good_again_and_again() {
        let (notifier, _other) = notifier(u64::MAX - 1, EfdFlags::empty());
        for _ in 0..3 {
            assert_eq!(notifier.signal(), Err(NotifyError::Held));
            // Between two of them the loop had nothing to tell, twice.
            leash::slacken();
        }
    }
}
