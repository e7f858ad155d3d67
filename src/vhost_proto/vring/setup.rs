//! Setting a ring up, and taking it down: what the session's messages do with it.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use virtio_queue::QueueT;
use vm_memory::Bytes;

use super::{Ring, RingError, USED_HEADER_LEN};
use crate::reactor::Watch;
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::notifier::Notifier;
use crate::vhost_proto::wire::{UserAddr, VringAddr};

impl Ring {
    /// SET_VRING_NUM.
    ///
    /// # Errors
    /// A size that is 0, no power of two or above 32768; a running ring.
    pub fn set_size(&mut self, size: u32) -> Result<(), RingError> {
        if self.started {
            return Err(RingError::Running);
        }
        let valid = u16::try_from(size).map_err(|_| RingError::Size(size))?;
        self.queue.try_set_size(valid).map_err(|_| RingError::Size(size))
    }

    /// SET_VRING_ADDR. Translated when the ring starts: memory may come after it.
    ///
    /// # Errors
    /// A running ring whose addresses would change.
    pub fn set_addr(&mut self, addr: VringAddr) -> Result<(), RingError> {
        if self.started && self.addr != Some(addr) {
            return Err(RingError::Running);
        }
        self.addr = Some(addr);
        Ok(())
    }

    /// SET_VRING_BASE.
    ///
    /// # Errors
    /// A running ring; a base beyond 16 bits.
    pub fn set_base(&mut self, base: u32) -> Result<(), RingError> {
        if self.started {
            return Err(RingError::Running);
        }
        self.base = u16::try_from(base).map_err(|_| RingError::Size(base))?;
        Ok(())
    }

    /// SET_VRING_CALL. A new eventfd is written once at once: an interrupt meant for the old one is not lost.
    ///
    /// # Errors
    /// A descriptor of another kind. The old one stays.
    pub fn set_call(&mut self, call: Option<OwnedFd>) -> Result<(), RingError> {
        self.call = notifier(call)?;
        if self.started {
            self.signal_call();
        }
        Ok(())
    }

    /// SET_VRING_ERR.
    ///
    /// # Errors
    /// A descriptor of another kind. The old one stays.
    pub fn set_err(&mut self, err: Option<OwnedFd>) -> Result<(), RingError> {
        self.err = notifier(err)?;
        Ok(())
    }

    /// SET_VRING_ENABLE.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// EVENT_IDX, as negotiated.
    pub fn set_event_idx(&mut self, on: bool) {
        self.queue.set_event_idx(on);
    }

    /// SET_VRING_KICK: starts the ring, or gives a running one another kick. Without an eventfd it is polled. Returns
    /// whether it is a fresh one: not the ring that was stopped, going on where it stopped.
    ///
    /// # Errors
    /// Addresses that were not set or do not lie in guest memory. The ring does not run then.
    pub fn start(&mut self, kick: Option<Watch<OwnedFd>>, memory: &GuestMemory) -> Result<bool, RingError> {
        self.polled = kick.is_none();
        self.kick = kick;
        if self.started {
            return Ok(false);
        }
        if let Some(addr) = memory.lost() {
            return Err(RingError::Truncated(addr));
        }
        self.place(memory)?;
        self.placed = true;
        self.queue.set_next_avail(self.base);
        let used = self.queue.used_idx(memory.map(), Ordering::Acquire)?;
        self.next_used = used.0;
        self.published = used.0;
        self.in_flight = 0;
        self.queue.set_ready(true);
        self.started = true;
        self.broken = false;
        self.disarmed = false;
        let resumed = self.stopped_at == Some(self.base) && (self.base != 0 || self.was_used(memory));
        Ok(!resumed)
    }

    /// Whether the used ring bears traces: one that the driver has just set up is all zeroes. Only asked where the
    /// index says nothing, at 0.
    fn was_used(&self, memory: &GuestMemory) -> bool {
        let mut first_element = [0; 8];
        let Some(addr) = self.used_part(USED_HEADER_LEN) else { return false };
        memory.map().read_slice(&mut first_element, addr).is_ok() && first_element != [0; 8]
    }

    /// Looks the parts up in guest memory.
    fn place(&mut self, memory: &GuestMemory) -> Result<(), RingError> {
        let addr = self.addr.ok_or(RingError::NoAddress)?;
        let size = u64::from(self.queue.size());
        let find = |part: UserAddr, len: u64, align: u64, name| {
            let found = memory.translate(part, len).filter(|found| found.0.is_multiple_of(align));
            found.ok_or(RingError::Address(name))
        };
        let descriptors = find(addr.descriptors, 16 * size, 16, "descriptor table")?;
        let available = find(addr.available, 6 + 2 * size, 2, "available ring")?;
        let used = find(addr.used, 6 + 8 * size, 4, "used ring")?;
        self.queue.try_set_desc_table_address(descriptors)?;
        self.queue.try_set_avail_ring_address(available)?;
        self.queue.try_set_used_ring_address(used)?;
        Ok(())
    }

    /// The memory map changed: a running ring is looked up anew. One that is gone rests until it is back.
    pub fn memory_changed(&mut self, memory: &GuestMemory) {
        if self.started {
            self.placed = self.place(memory).is_ok();
        }
    }

    /// Memory turned out to be truncated, at this guest address: whatever was read there was never written by the guest.
    pub fn memory_lost(&mut self, addr: u64) {
        if self.started {
            self.breaks(&RingError::Truncated(addr));
        }
    }

    /// GET_VRING_BASE: stops the ring and says which available entry comes next.
    pub fn stop(&mut self) -> u16 {
        if self.started {
            self.base = self.queue.next_avail();
            self.stopped_at = Some(self.base);
        }
        self.started = false;
        self.polled = false;
        self.kick = None;
        self.queue.set_ready(false);
        self.base
    }

    /// RESET_DEVICE: disabled, stopped and forgotten but for its eventfds.
    pub fn reset(&mut self) {
        self.started = false;
        self.polled = false;
        self.enabled = false;
        self.kick = None;
        self.addr = None;
        self.base = 0;
        self.stopped_at = None;
        self.queue.reset();
    }
}

fn notifier(fd: Option<OwnedFd>) -> Result<Option<Notifier>, RingError> {
    fd.map(|fd| Notifier::new(fd).ok_or(RingError::NotAnEventfd)).transpose()
}
