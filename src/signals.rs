//! The signals that end the program, taken from a descriptor instead of a handler.
//!
//! SIGTERM and SIGINT are blocked before anything else happens ([`block`]), so one that comes while the program is still
//! starting is not lost and kills nothing half-way: it waits until the loop reads it from the signalfd and leaves in good
//! order, the socket file unlinked. A blocked signal reaches a signalfd even where the parent left it ignored.
//!
//! SIGPIPE is blocked for good. Every socket write here asks for `MSG_NOSIGNAL` anyway; this covers a standard error
//! whose reader is gone. Rust's runtime ignores SIGPIPE as well, but says nowhere that it always will.
//!
//! SIGHUP is left alone on purpose: taken by a signalfd it would end a program that was started under nohup.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The proof that the signals are blocked, without which a signalfd would see nothing.
#[derive(Debug)]
pub struct Blocked(SigSet);

/// Blocks SIGTERM, SIGINT and SIGPIPE in this thread, and so in all that it starts. To be called first of all.
///
/// # Errors
/// What sigprocmask(2) says; no known kernel refuses.
pub fn block() -> Result<Blocked, Errno> {
    let ending: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    let mut blocked = ending;
    blocked.add(Signal::SIGPIPE);
    blocked.thread_block()?;
    Ok(Blocked(ending))
}

impl Blocked {
    /// A descriptor that is readable once the program shall end: non-blocking, closed on exec.
    ///
    /// # Errors
    /// What signalfd4(2) says: no descriptor or no memory is left.
    pub fn into_fd(self) -> Result<SignalFd, Errno> {
        SignalFd::with_flags(&self.0, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_sent_before_the_descriptor_exists_is_read_from_it() {
        // raise() signals this thread alone, and the mask is this thread's own: other tests are not touched.
        let blocked = block().unwrap();
        raise(Signal::SIGTERM).unwrap();

        let signals = blocked.into_fd().unwrap();

        let got = signals.read_signal().unwrap().expect("SIGTERM is pending");
        assert_eq!(got.ssi_signo, Signal::SIGTERM as u32);
        assert!(signals.read_signal().unwrap().is_none(), "an empty signalfd does not block");
    }

    #[test]
    fn sigpipe_does_not_end_the_thread_that_raised_it() {
        block().unwrap();
        raise(Signal::SIGPIPE).unwrap();
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
    }
}
