//! Kicks and interrupts, and waiting for used elements.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::layout::{self, AVAIL_NO_INTERRUPT, FLAGS, IDX, USED_NO_NOTIFY, need_event};
use super::{Ring, Used};
use crate::deadline::{Deadline, wait_any};
use crate::error::{Error, Result};

/// How long an interrupt may take that follows an element, on a machine that has much else to do.
const GRACE: Duration = Duration::from_secs(2);

/// How a wait ended.
enum Woken {
    Call,
    Other,
    Late,
}

impl Ring {
    /// Makes the chains that were added visible to the device.
    pub fn publish(&mut self) {
        self.avail.set_u16(IDX, self.avail_idx);
    }

    /// Notifies the device if it wants to know of what was published since the last kick. Says whether it did.
    pub fn kick(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let wanted = match self.event_idx {
            true => need_event(self.used.u16(layout::avail_event(self.size)), self.avail_idx, self.kicked_idx),
            false => self.used.u16(FLAGS) & USED_NO_NOTIFY == 0,
        };
        self.kicked_idx = self.avail_idx;
        if wanted {
            self.kick_now();
        }
        wanted
    }

    /// Notifies the device whether it wants to know or not.
    pub fn kick_now(&self) {
        let _ = self.kick.write(1);
    }

    /// Publishes and kicks.
    pub fn submit(&mut self) -> bool {
        self.publish();
        self.kick()
    }

    /// Plays an interrupt.
    pub fn interrupt(&self) -> Result<()> {
        self.call.write(1).map(drop).map_err(|errno| Error::io("write to the call eventfd", errno))
    }

    /// Asks for an interrupt at the next used element.
    pub fn enable_interrupts(&mut self) {
        self.enable_interrupts_after(1);
    }

    /// Asks for an interrupt once `count` more used elements are there; without EVENT_IDX at each.
    pub fn enable_interrupts_after(&mut self, count: u16) {
        match self.event_idx {
            true => {
                let event = self.used_idx.wrapping_add(count.wrapping_sub(1));
                self.avail.set_u16(layout::used_event(self.size), event);
            }
            false => self.avail.set_u16(FLAGS, 0),
        }
        self.interrupts = true;
        fence(Ordering::SeqCst);
    }

    /// Asks for no interrupts: by the flag, or by an event index that is far away.
    pub fn disable_interrupts(&mut self) {
        match self.event_idx {
            true => self.avail.set_u16(layout::used_event(self.size), self.used_idx.wrapping_sub(0x8000)),
            false => self.avail.set_u16(FLAGS, AVAIL_NO_INTERRUPT),
        }
        self.interrupts = false;
    }

    /// Interrupts since the last look.
    pub fn interrupts(&self) -> u64 {
        self.call.read().unwrap_or(0)
    }

    /// Waits for the next used element, asking for an interrupt where there is none yet. Elements that moved without the
    /// interrupt that was due are a fault.
    pub fn wait_used(&mut self, deadline: Deadline) -> Result<Used> {
        self.wait(deadline, None, 1)?.ok_or(Error::TimedOut("used element"))
    }

    /// As [`Ring::wait_used`], but asks to be interrupted only when `count` elements are there: for the first of a batch
    /// of which all are wanted. What is there earlier is returned earlier.
    pub fn wait_used_of(&mut self, count: u16, deadline: Deadline) -> Result<Used> {
        self.wait(deadline, None, count)?.ok_or(Error::TimedOut("used element"))
    }

    /// As [`Ring::wait_used`], but returns `None` as soon as `other` is readable and nothing is used.
    pub fn wait_used_or(&mut self, other: BorrowedFd<'_>, deadline: Deadline) -> Result<Option<Used>> {
        self.wait(deadline, Some(other), 1)
    }

    /// Looks for the next used element without ever sleeping, for benches of the device alone.
    pub fn spin_used(&mut self, deadline: Deadline) -> Result<Used> {
        for turn in 1u32.. {
            if let Some(used) = self.poll_used()? {
                return Ok(used);
            }
            if turn.is_multiple_of(1024) && deadline.passed() {
                break;
            }
            std::hint::spin_loop();
        }
        Err(Error::TimedOut("used element"))
    }

    /// Checks that nothing is used until `deadline`.
    pub fn expect_unused(&mut self, deadline: Deadline) -> Result<()> {
        match self.wait_used(deadline) {
            Err(Error::TimedOut(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(used) => Err(Error::fault(format!("{used:?} came where nothing may be used"))),
        }
    }

    fn wait(&mut self, deadline: Deadline, other: Option<BorrowedFd<'_>>, count: u16) -> Result<Option<Used>> {
        loop {
            if let Some(used) = self.poll_used()? {
                return Ok(Some(used));
            }
            self.enable_interrupts_after(count);
            if let Some(used) = self.poll_used()? {
                return Ok(Some(used));
            }
            match self.sleep(deadline, other)? {
                Woken::Call => drop(self.call.read()),
                Woken::Other => return self.poll_used(),
                Woken::Late => return self.late(count),
            }
        }
    }

    fn sleep(&self, deadline: Deadline, other: Option<BorrowedFd<'_>>) -> Result<Woken> {
        let call = self.call.as_fd();
        let [called, second] = wait_any([call, other.unwrap_or(call)], deadline)?;
        // Without another descriptor both are the call, which may have come between the kernel's two looks.
        Ok(match (called, second) {
            (true, _) => Woken::Call,
            (_, true) if other.is_none() => Woken::Call,
            (_, true) => Woken::Other,
            _ => Woken::Late,
        })
    }

    /// The deadline passed without an interrupt, which is right only while fewer than `count` elements are there; or where
    /// they came just now, for an element is there before the interrupt that tells of it.
    pub(super) fn late(&mut self, count: u16) -> Result<Option<Used>> {
        let due = self.used.u16(IDX).wrapping_sub(self.used_idx) >= count;
        match self.poll_used()? {
            Some(used) if due => match self.sleep(Deadline::after(GRACE), None)? {
                Woken::Late => Err(Error::fault(format!("{used:?} came without the interrupt that was asked for"))),
                _ => {
                    let _ = self.call.read();
                    Ok(Some(used))
                }
            },
            Some(used) => Ok(Some(used)),
            None => Err(Error::TimedOut("used element")),
        }
    }
}
