//! Accesses to the ring that keep no account of anything: for tests of a hostile or broken driver.

use super::Ring;
use super::layout::{self, Desc, FLAGS, IDX};
use crate::memory::Span;

impl Ring {
    /// The descriptor table.
    pub fn desc_span(&self) -> &Span {
        &self.desc
    }

    /// The avail ring.
    pub fn avail_span(&self) -> &Span {
        &self.avail
    }

    /// The used ring.
    pub fn used_span(&self) -> &Span {
        &self.used
    }

    /// The tables of the ring's own indirect chains, [`super::TABLE_ENTRIES`] entries for each head.
    pub fn table_span(&self) -> &Span {
        &self.tables
    }

    /// Writes descriptor `index`, whoever may be using it.
    pub fn write_desc(&self, index: u16, desc: Desc) {
        desc.write(&self.desc, usize::from(index));
    }

    /// Reads descriptor `index`.
    pub fn read_desc(&self, index: u16) -> Desc {
        Desc::read(&self.desc, usize::from(index))
    }

    /// Enters `head` into the avail ring as it stands and publishes it, whatever it names. Its use by the device comes
    /// out of [`Ring::poll_used`] if `head` is marked by [`Ring::mark_in_flight`], and as a fault otherwise.
    pub fn offer(&mut self, head: u16) {
        self.enter(head);
        self.publish();
    }

    /// Makes [`Ring::poll_used`] accept `head` as a chain that was written by hand. It must be free, and no chain may
    /// be added the regular way until it came back.
    pub fn mark_in_flight(&mut self, head: u16) {
        let index = usize::from(head);
        assert_eq!(self.taken[index], 0, "head {head} is in flight");
        let mut before = None;
        let mut free = self.first_free;
        while free != head {
            before = Some(usize::from(free));
            free = self.next_free[usize::from(free)];
        }
        match before {
            Some(before) => self.next_free[before] = self.next_free[index],
            None => self.first_free = self.next_free[index],
        }
        (self.taken[index], self.free) = (1, self.free - 1);
    }

    /// The avail index as the device sees it.
    pub fn avail_idx(&self) -> u16 {
        self.avail.u16(IDX)
    }

    /// Sets the avail index that the device sees; the driver's own account stays.
    pub fn set_avail_idx(&self, idx: u16) {
        self.avail.set_u16(IDX, idx);
    }

    /// Sets an entry of the avail ring.
    pub fn set_avail_entry(&self, slot: u16, head: u16) {
        self.avail.set_u16(layout::avail_entry(slot), head);
    }

    /// Sets the avail ring's flags.
    pub fn set_avail_flags(&self, flags: u16) {
        self.avail.set_u16(FLAGS, flags);
    }

    /// Sets the index at which the driver wants an interrupt.
    pub fn set_used_event(&self, idx: u16) {
        self.avail.set_u16(layout::used_event(self.size), idx);
    }

    /// The used index as the device wrote it.
    pub fn used_idx(&self) -> u16 {
        self.used.u16(IDX)
    }

    /// An element of the used ring: id and length.
    pub fn used_element(&self, slot: u16) -> (u32, u32) {
        let at = layout::used_entry(slot);
        (self.used.u32(at), self.used.u32(at + 4))
    }

    /// The used ring's flags.
    pub fn used_flags(&self) -> u16 {
        self.used.u16(FLAGS)
    }

    /// The index at which the device wants a kick.
    pub fn avail_event(&self) -> u16 {
        self.used.u16(layout::avail_event(self.size))
    }

    /// Makes driver and rings start at `idx` instead of 0, to bring the wrap-around near. Only for an idle ring; the
    /// base of the next start must be the same.
    pub fn set_position(&mut self, idx: u16) {
        assert!(!self.is_busy(), "the position cannot change while chains are in flight");
        (self.avail_idx, self.kicked_idx, self.used_idx) = (idx, idx, idx);
        self.avail.set_u16(IDX, idx);
        self.used.set_u16(IDX, idx);
        self.used.set_u16(layout::avail_event(self.size), idx);
    }
}
