//! Another look, after a while, at a device that has come back and is not yet what it was.
//!
//! udev makes the node and its links first; only then does it set the key codes and axis ranges that its hardware database
//! has for the device (`EVIOCSKEYCODE`, `EVIOCSABS`), and no news of the folder tells of that. So a node with the right name
//! and numbers is looked at again, by a timer, for some seconds.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::Expiration;
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::reactor::{Interest, Watch};
use crate::vhost_proto::device::{Registrar, Source};

/// Looks after each piece of news.
const LOOKS: u32 = 20;
/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// The looks that are left, and the timer of the next one.
#[derive(Debug, Default)]
pub struct Again {
    left: u32,
    timer: Option<Watch<TimerFd>>,
}

impl Again {
    /// Something is new: all looks are left, and none is due.
    pub fn begin(&mut self) {
        *self = Self { left: LOOKS, timer: None };
    }

    /// Makes `source` ready for the next look, after a while. `false` if there were enough.
    ///
    /// # Errors
    /// The timer cannot be had or watched.
    pub fn arm(&mut self, registrar: &Registrar, source: Source) -> io::Result<bool> {
        self.timer = None;
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        self.left = left;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(PAUSE)), TimerSetTimeFlags::empty())?;
        self.timer = Some(registrar.watch(source, timer, Interest::Read)?);
        Ok(true)
    }

    /// The look is taken.
    pub fn stop(&mut self) {
        self.timer = None;
    }
}
