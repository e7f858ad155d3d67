//! The status queue: what the guest tells the device, one event in each buffer, each kicked by itself as Linux does.

use super::{Event, InputDriver, Shape};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::ring::Used;

impl InputDriver {
    /// Sends events (type, code, value) and waits until each buffer came back, which must be with length 0 and unchanged.
    pub fn send_status(&mut self, events: &[(u16, u16, i32)]) -> Result<()> {
        for (kind, code, value) in events.iter().copied() {
            if self.status.free() == 0 {
                self.finish_one_status()?;
            }
            self.queue_status(Event { kind, code, value }, Shape::Whole)?;
            self.kick_status();
        }
        self.finish_status()
    }

    /// Enters a status buffer of any shape, unseen by the device until [`InputDriver::kick_status`]. Returns its head.
    pub fn queue_status(&mut self, event: Event, shape: Shape) -> Result<u16> {
        self.status_buffers.enter(&mut self.status, shape, event, self.layout)
    }

    /// Shows the device what was queued. Says whether the device wanted to be told.
    pub fn kick_status(&mut self) -> bool {
        self.status.submit()
    }

    /// Waits until the device has no status buffer any more.
    pub fn finish_status(&mut self) -> Result<()> {
        while self.status_buffers.in_flight() > 0 {
            self.finish_one_status()?;
        }
        Ok(())
    }

    /// Status buffers that the device has.
    pub fn status_in_flight(&self) -> usize {
        self.status_buffers.in_flight()
    }

    fn finish_one_status(&mut self) -> Result<()> {
        let used = self.status.wait_used(Deadline::after(self.timeout))?;
        self.take_status(used)
    }

    fn take_status(&mut self, used: Used) -> Result<()> {
        let Some(posted) = self.status_buffers.leave(used.head) else {
            return Err(Error::fault(format!("{used:?} is a chain that was entered into the status queue by hand")));
        };
        self.status_buffers.read(&posted, used).map(drop)
    }
}
