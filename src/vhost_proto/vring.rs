//! A split virtqueue in four verbs: pop, push, publish-and-notify, and unpop for what a stop interrupts.
//!
//! How it is set up and taken down is in `setup`.
//!
//! A ring that lies (an index or a chain that cannot be) is broken from then on: its err eventfd is written once, one
//! line is logged, nothing more is read from it or written to it, and it recovers when it is started anew.

mod setup;

use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use log::Level;
use thiserror::Error;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::chain::{self, Chain, ChainError};
use super::memory::GuestMemory;
use super::notifier::Notifier;
use super::wire::VringAddr;
use crate::log_within;
use crate::logger::Budget;
use crate::reactor::Watch;

/// Largest queue size (VIRTIO 1.3, 2.7).
pub const MAX_SIZE: u16 = 32768;

/// How often a ring may be said to be broken: a guest can break it as often as it resets the device.
const BREAKS: Budget = Budget::new(3, Duration::from_secs(60));

/// How often an eventfd may be said to be of no use: a front end can send another one each time.
const DEAF: Budget = Budget::new(3, Duration::from_secs(60));

/// "Do not interrupt": a driver's wish where EVENT_IDX was not negotiated (VIRTIO 1.3, 2.7.6).
const AVAIL_F_NO_INTERRUPT: u16 = 1;

/// Flags and index, before the entries of either ring (VIRTIO 1.3, 2.7.6 and 2.7.8).
const AVAIL_HEADER_LEN: u64 = 4;
const USED_HEADER_LEN: u64 = 4;
const USED_ELEMENT_LEN: u64 = 8;

/// Why a ring cannot start, or is broken.
#[derive(Debug, Error)]
pub enum RingError {
    #[error("a queue size of {0}")]
    Size(u32),
    #[error("its addresses were not set")]
    NoAddress,
    #[error("its {0} lies outside guest memory or is misaligned")]
    Address(&'static str),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("{0}")]
    Queue(#[from] virtio_queue::Error),
    #[error("the guest made buffers available again that it has not got back")]
    InFlight,
    #[error("its memory was taken away")]
    Memory,
    #[error("the guest's memory at {0:#x} was truncated")]
    Truncated(u64),
    #[error("it is running")]
    Running,
    #[error("a descriptor that is no eventfd")]
    NotAnEventfd,
}

/// What [`Ring::pop`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// The chain was filled.
    Chain,
    /// Nothing is available, or the ring is not to be touched.
    Nothing,
}

/// One virtqueue with its three eventfds.
#[derive(Debug)]
pub struct Ring {
    index: usize,
    queue: Queue,
    addr: Option<VringAddr>,
    base: u16,
    /// The base that GET_VRING_BASE answered last: how a pause is told from a fresh start.
    stopped_at: Option<u16>,
    kick: Option<Watch<OwnedFd>>,
    call: Option<Notifier>,
    err: Option<Notifier>,
    started: bool,
    /// Whether its parts lie in guest memory.
    placed: bool,
    enabled: bool,
    polled: bool,
    broken: bool,
    breaks: Budget,
    deaf: Budget,
    /// Where the next used element goes, and up to where the guest sees them.
    next_used: u16,
    published: u16,
    /// Chains that were popped and not given back: a guest that makes one of them available again could have more of them
    /// than the ring has entries, without end.
    in_flight: u32,
    /// Whether the driver was asked not to kick.
    disarmed: bool,
}

impl Ring {
    /// A ring that was told nothing yet.
    ///
    /// # Errors
    /// None in practice: the maximum size is a valid one.
    pub fn new(index: usize) -> Result<Self, RingError> {
        Ok(Self {
            index,
            queue: Queue::new(MAX_SIZE)?,
            addr: None,
            base: 0,
            stopped_at: None,
            kick: None,
            call: None,
            err: None,
            started: false,
            placed: false,
            enabled: false,
            polled: false,
            broken: false,
            breaks: BREAKS,
            deaf: DEAF,
            next_used: 0,
            published: 0,
            in_flight: 0,
            disarmed: false,
        })
    }

    /// Whether it was started and not stopped since.
    pub fn started(&self) -> bool {
        self.started
    }

    /// Whether it was started and enabled: the driver is there, whatever became of the ring since.
    pub fn live(&self) -> bool {
        self.started && self.enabled
    }

    /// Whether buffers may be taken and given back.
    pub fn running(&self) -> bool {
        self.live() && self.usable()
    }

    /// Whether it can be read and written.
    fn usable(&self) -> bool {
        self.placed && !self.broken
    }

    /// Whether it has no kick eventfd and must be looked at from time to time.
    pub fn polled(&self) -> bool {
        self.polled && self.running()
    }

    /// Takes the next available chain.
    pub fn pop(&mut self, memory: &GuestMemory, chain: &mut Chain) -> Popped {
        if !self.running() {
            return Popped::Nothing;
        }
        match self.try_pop(memory, chain) {
            Ok(popped) => popped,
            Err(error) => {
                self.breaks(&error);
                Popped::Nothing
            }
        }
    }

    fn try_pop(&mut self, memory: &GuestMemory, chain: &mut Chain) -> Result<Popped, RingError> {
        let Some(available) = self.queue.iter(memory.map())?.next() else {
            return Ok(Popped::Nothing);
        };
        if self.in_flight >= u32::from(self.queue.size()) {
            return Err(RingError::InFlight);
        }
        let head = available.head_index();
        chain.walk(memory.map(), GuestAddress(self.queue.desc_table()), self.queue.size(), head)?;
        self.in_flight = self.in_flight.saturating_add(1);
        Ok(Popped::Chain)
    }

    /// Undoes the latest pop: the chain is available again, for after a pause.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Gives a chain back with `written` bytes written into it; the guest sees it with [`Ring::notify`]. A ring that was
    /// disabled meanwhile takes it still: what was popped is in flight, and is given back before the ring stops.
    pub fn push(&mut self, memory: &GuestMemory, head: u16, written: u32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if !self.started || !self.usable() {
            return;
        }
        let slot = u64::from(self.next_used % self.queue.size());
        let ([h0, h1], [w0, w1, w2, w3]) = (head.to_le_bytes(), written.to_le_bytes());
        let element = [h0, h1, 0, 0, w0, w1, w2, w3];
        match self.used_part(USED_HEADER_LEN + slot * USED_ELEMENT_LEN) {
            Some(addr) if chain::write(memory.map(), addr, &element) => self.next_used = self.next_used.wrapping_add(1),
            _ => self.breaks(&RingError::Memory),
        }
    }

    /// Shows the guest what was pushed since the last time, all at once, and tells it so if it wants to hear of it: one
    /// call a batch.
    pub fn notify(&mut self, memory: &GuestMemory) {
        if self.published == self.next_used || !self.started || !self.usable() {
            return;
        }
        match self.publish(memory) {
            Ok(true) => self.signal_call(),
            Ok(false) => {}
            Err(error) => self.breaks(&error),
        }
    }

    /// Returns whether the guest wants a call for it (VIRTIO 1.3, 2.7.7 and 2.7.10).
    fn publish(&mut self, memory: &GuestMemory) -> Result<bool, RingError> {
        let memory = memory.map();
        let old = std::mem::replace(&mut self.published, self.next_used);
        let index = self.used_part(2).ok_or(RingError::Memory)?;
        memory.store(self.next_used.to_le(), index, Ordering::Release).map_err(|_| RingError::Memory)?;
        // The guest writes its wish, then looks at the index; here it is the other way round.
        fence(Ordering::SeqCst);
        let event_idx = self.queue.event_idx_enabled();
        let wish = if event_idx { AVAIL_HEADER_LEN + 2 * u64::from(self.queue.size()) } else { 0 };
        let wish = self.queue.avail_ring().checked_add(wish).map(GuestAddress).ok_or(RingError::Memory)?;
        let wish: u16 = memory.load(wish, Ordering::Relaxed).map_err(|_| RingError::Memory)?;
        let wish = u16::from_le(wish);
        Ok(if event_idx { passes(wish, old, self.next_used) } else { wish & AVAIL_F_NO_INTERRUPT == 0 })
    }

    fn used_part(&self, offset: u64) -> Option<GuestAddress> {
        self.queue.used_ring().checked_add(offset).map(GuestAddress)
    }

    /// Tells the guest that it need not kick until [`Ring::rearm`]: buffers are taken when they are needed.
    pub fn disarm(&mut self, memory: &GuestMemory) {
        if self.running() && !std::mem::replace(&mut self.disarmed, true) {
            // With EVENT_IDX there is nothing to do: the index that it was asked to kick for is passed once.
            if let Err(error) = self.queue.disable_notification(memory.map()) {
                self.breaks(&error.into());
            }
        }
    }

    /// Asks the guest to kick again for what comes next. Returns whether something has come already: look once more.
    pub fn rearm(&mut self, memory: &GuestMemory) -> bool {
        if !self.running() {
            return false;
        }
        self.disarmed = false;
        self.queue.enable_notification(memory.map()).unwrap_or_else(|error| {
            self.breaks(&error.into());
            false
        })
    }

    fn signal_call(&mut self) {
        signal(&mut self.call, self.index, &mut self.deaf);
    }

    /// The guest broke its contract.
    fn breaks(&mut self, error: &RingError) {
        if !std::mem::replace(&mut self.broken, true) {
            let index = self.index;
            log_within!(self.breaks, Level::Error, "ring {index} is broken until it is started anew: {error}");
            signal(&mut self.err, self.index, &mut self.deaf);
        }
    }
}

/// Whether an index that moves from `old` to `new` passes the one after `event` (VIRTIO 1.3, 2.7.7.1).
fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Adds one to an eventfd's count. One that can't be written is forgotten.
fn signal(place: &mut Option<Notifier>, index: usize, deaf: &mut Budget) {
    if let Some(eventfd) = place
        && let Err(error) = eventfd.signal()
    {
        *place = None;
        log_within!(deaf, Level::Warn, "an eventfd of ring {index} is not written any more: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn an_event_is_passed_by_the_move_from_it_to_the_next_and_by_no_other() {
        for old in [0u16, 5, 65530, 65535] {
            for moved in 0..12u16 {
                let new = old.wrapping_add(moved);
                for event in 0..=u16::MAX {
                    // The index of the element that the guest waits for lies in [old, new).
                    let expected = event.wrapping_sub(old) < moved;
                    assert_eq!(passes(event, old, new), expected, "event {event}, {old} to {new}");
                }
            }
        }
    }
}
