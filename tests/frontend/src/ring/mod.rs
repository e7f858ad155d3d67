//! The driver's half of a split virtqueue.
//!
//! [`Ring`] owns the table, the avail and the used ring in guest memory, and the eventfds. The four verbs are
//! [`Ring::add`], [`Ring::publish`], [`Ring::kick`] and [`Ring::poll_used`] (or [`Ring::wait_used`]); none of them
//! allocates. The driver keeps its own account of which descriptors are in flight, so whatever the back end writes into
//! shared memory can only make it report a fault. `raw` has the accesses that break the rules on purpose.

mod layout;
mod notify;
mod raw;

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::EventFd;

use crate::control::VringAddr;
use crate::error::{Error, Result};
use crate::memory::{GuestMemory, Pages, Span};

pub use layout::{AVAIL_NO_INTERRUPT, Desc, INDIRECT, NEXT, USED_NO_NOTIFY, WRITE, need_event};

/// Descriptors in each chain's own indirect table.
pub const TABLE_ENTRIES: usize = 16;

/// A guest-physical piece of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u32,
}

/// How a chain is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One descriptor of the ring for each segment.
    Direct,
    /// One descriptor of the ring, for a table of up to [`TABLE_ENTRIES`] that belongs to it.
    #[default]
    Indirect,
}

/// What the driver negotiated for the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Number of descriptors.
    pub size: u16,
    /// EVENT_IDX; without it the NO_INTERRUPT flag is used.
    pub event_idx: bool,
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions { size: 64, event_idx: true }
    }
}

/// A used element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The chain's first descriptor, as [`Ring::add`] returned it.
    pub head: u16,
    /// How many bytes the device says it wrote.
    pub len: u32,
}

/// The driver's half of a split virtqueue.
pub struct Ring {
    size: u16,
    event_idx: bool,
    desc: Span,
    avail: Span,
    used: Span,
    tables: Span,
    /// Next free descriptor after this one; meaningful for free ones only.
    next_free: Box<[u16]>,
    /// Descriptors taken by the chain that starts here; 0 when none does.
    taken: Box<[u16]>,
    first_free: u16,
    free: u16,
    avail_idx: u16,
    kicked_idx: u16,
    used_idx: u16,
    interrupts: bool,
    kick: EventFd,
    call: EventFd,
    err: EventFd,
}

impl Ring {
    /// Makes a ring in guest memory, its three parts in pages of their own.
    pub fn new(memory: &GuestMemory, pages: &mut Pages, options: RingOptions) -> Result<Ring> {
        let size = options.size;
        assert!(size > 0 && size <= 1 << 15, "a ring of {size} descriptors");
        let mut part = |len: usize| pages.alloc(len as u64).map(|gpa| memory.span(gpa, len as u64));
        let entries = usize::from(size);
        let mut ring = Ring {
            size,
            event_idx: options.event_idx,
            desc: part(entries * Desc::SIZE)?,
            avail: part(layout::avail_size(size))?,
            used: part(layout::used_size(size))?,
            tables: part(entries * TABLE_ENTRIES * Desc::SIZE)?,
            next_free: vec![0; entries].into(),
            taken: vec![0; entries].into(),
            first_free: 0,
            free: size,
            avail_idx: 0,
            kicked_idx: 0,
            used_idx: 0,
            interrupts: true,
            kick: crate::control::new_eventfd()?,
            call: crate::control::new_eventfd()?,
            err: crate::control::new_eventfd()?,
        };
        ring.reset();
        Ok(ring)
    }

    /// Back to an empty ring, as a driver leaves it before it starts the device. What is in flight is forgotten.
    pub fn reset(&mut self) {
        [&self.desc, &self.avail, &self.used, &self.tables].into_iter().for_each(|span| span.fill(0));
        self.taken.fill(0);
        (0..self.size).for_each(|index| self.next_free[usize::from(index)] = index.wrapping_add(1));
        (self.first_free, self.free) = (0, self.size);
        (self.avail_idx, self.kicked_idx, self.used_idx) = (0, 0, 0);
        self.interrupts = true;
        for fd in [&self.kick, &self.call, &self.err] {
            let _ = fd.read();
        }
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Number of free descriptors.
    pub fn free(&self) -> u16 {
        self.free
    }

    /// Whether chains are in flight.
    pub fn is_busy(&self) -> bool {
        self.free < self.size
    }

    /// Switches EVENT_IDX, to follow what was negotiated. Only for an idle ring.
    pub fn set_event_idx(&mut self, event_idx: bool) {
        assert!(!self.is_busy(), "EVENT_IDX cannot change while chains are in flight");
        self.event_idx = event_idx;
    }

    /// The ring's place as SET_VRING_ADDR tells it, by guest physical addresses where GPA_ADDRESSES is negotiated.
    pub fn addresses(&self, index: u32, guest_physical: bool) -> VringAddr {
        let address = |span: &Span| if guest_physical { span.gpa() } else { span.uva() };
        let (desc, used, avail) = (address(&self.desc), address(&self.used), address(&self.avail));
        VringAddr { index, flags: 0, desc, used, avail, log: 0 }
    }

    /// The eventfd by which the driver notifies the device.
    pub fn kick_fd(&self) -> BorrowedFd<'_> {
        self.kick.as_fd()
    }

    /// The eventfd by which the device interrupts the driver.
    pub fn call_fd(&self) -> BorrowedFd<'_> {
        self.call.as_fd()
    }

    /// The eventfd by which the back end says that the ring is broken; for SET_VRING_ERR sent by hand.
    pub fn err_fd(&self) -> BorrowedFd<'_> {
        self.err.as_fd()
    }

    /// Puts a new call eventfd in place of the old, which is returned, still open. It must be announced by
    /// SET_VRING_CALL.
    pub fn swap_call_fd(&mut self) -> Result<EventFd> {
        Ok(std::mem::replace(&mut self.call, crate::control::new_eventfd()?))
    }

    /// How often the back end signalled the ring as broken by [`Ring::err_fd`] since the last look.
    pub fn errors(&self) -> u64 {
        self.err.read().unwrap_or(0)
    }

    /// Lays out a chain, readable segments first, and enters it into the avail ring, where the device does not see it
    /// before [`Ring::publish`]. Returns its head.
    pub fn add(&mut self, readable: &[Segment], writable: &[Segment], layout: Layout) -> Result<u16> {
        let count = readable.len() + writable.len();
        assert!(count > 0, "a chain has one segment at least");
        let head = match layout {
            Layout::Direct => self.lay_direct(readable, writable)?,
            Layout::Indirect => {
                assert!(count <= TABLE_ENTRIES, "{count} segments in a table of {TABLE_ENTRIES}");
                self.lay_indirect(readable, writable, None)?
            }
        };
        self.enter(head);
        Ok(head)
    }

    /// As [`Ring::add`], with an indirect table in memory of the caller's.
    pub fn add_with_table(&mut self, readable: &[Segment], writable: &[Segment], table: &Span) -> Result<u16> {
        let head = self.lay_indirect(readable, writable, Some(table))?;
        self.enter(head);
        Ok(head)
    }

    fn lay_direct(&mut self, readable: &[Segment], writable: &[Segment]) -> Result<u16> {
        let count = readable.len() + writable.len();
        if count > usize::from(self.free) {
            return Err(Error::NoRoom("descriptors for a chain"));
        }
        let head = self.first_free;
        let mut index = head;
        for (at, (segment, flags)) in segments(readable, writable).enumerate() {
            let next = self.next_free[usize::from(index)];
            let more = if at + 1 < count { NEXT } else { 0 };
            let desc = Desc { addr: segment.gpa, len: segment.len, flags: flags | more, next: next * more };
            desc.write(&self.desc, usize::from(index));
            index = next;
        }
        self.take(head, count as u16, index);
        Ok(head)
    }

    fn lay_indirect(&mut self, readable: &[Segment], writable: &[Segment], table: Option<&Span>) -> Result<u16> {
        if self.free == 0 {
            return Err(Error::NoRoom("a descriptor for an indirect chain"));
        }
        let head = self.first_free;
        let count = readable.len() + writable.len();
        let (span, first) = match table {
            Some(span) => (span, 0),
            None => (&self.tables, usize::from(head) * TABLE_ENTRIES),
        };
        for (at, (segment, flags)) in segments(readable, writable).enumerate() {
            let more = if at + 1 < count { NEXT } else { 0 };
            let next = (at as u16 + 1) * more;
            let desc = Desc { addr: segment.gpa, len: segment.len, flags: flags | more, next };
            desc.write(span, first + at);
        }
        let addr = span.gpa() + (first * Desc::SIZE) as u64;
        let desc = Desc { addr, len: (count * Desc::SIZE) as u32, flags: INDIRECT, next: 0 };
        desc.write(&self.desc, usize::from(head));
        self.take(head, 1, self.next_free[usize::from(head)]);
        Ok(head)
    }

    fn take(&mut self, head: u16, count: u16, first_free: u16) {
        self.taken[usize::from(head)] = count;
        self.first_free = first_free;
        self.free -= count;
    }

    fn enter(&mut self, head: u16) {
        self.avail.set_u16(layout::avail_entry(self.avail_idx % self.size), head);
        self.avail_idx = self.avail_idx.wrapping_add(1);
    }

    /// Whether a used element is there to be taken.
    pub fn has_used(&self) -> bool {
        self.used.u16(layout::IDX) != self.used_idx
    }

    /// Takes the next used element, if there is one. An element that names no chain in flight is a fault.
    pub fn poll_used(&mut self) -> Result<Option<Used>> {
        let ahead = self.used.u16(layout::IDX).wrapping_sub(self.used_idx);
        if ahead == 0 {
            return Ok(None);
        }
        if ahead > self.size {
            return Err(Error::fault(format!("used idx is {ahead} ahead of the driver in a ring of {}", self.size)));
        }
        let entry = layout::used_entry(self.used_idx % self.size);
        let (id, len) = (self.used.u32(entry), self.used.u32(entry + 4));
        let Some(count) = self.taken.get(id as usize).copied().filter(|count| *count > 0) else {
            return Err(Error::fault(format!("used element {id} ({len} bytes) names no chain in flight")));
        };
        let head = id as u16;
        self.give_back(head, count);
        self.used_idx = self.used_idx.wrapping_add(1);
        Ok(Some(Used { head, len }))
    }

    /// The chain's descriptors go to the front of the free list; its links there are still those from before.
    fn give_back(&mut self, head: u16, count: u16) {
        let last = (1..count).fold(head, |index, _| self.next_free[usize::from(index)]);
        self.next_free[usize::from(last)] = self.first_free;
        self.first_free = head;
        self.free += count;
        self.taken[usize::from(head)] = 0;
    }
}

fn segments<'a>(readable: &'a [Segment], writable: &'a [Segment]) -> impl Iterator<Item = (Segment, u16)> + 'a {
    let readable = readable.iter().map(|segment| (*segment, 0));
    readable.chain(writable.iter().map(|segment| (*segment, WRITE)))
}

#[cfg(test)]
mod tests;
