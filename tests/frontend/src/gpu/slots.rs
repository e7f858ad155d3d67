//! The driver's buffers in guest memory: one command and one response buffer for each chain in flight, and scratch room
//! for tails. All of it is taken at the start; only a longer tail than ever before makes it grow, in guest memory.

use super::wire::{Command, Fence, HEADER_SIZE, MAX_FIXED};
use crate::error::Result;
use crate::memory::{GuestMemory, Pages, Span};
use crate::ring::{Ring, Segment};

/// Room for one response: the largest is an EDID, or what a capset fills.
pub const RESPONSE_SIZE: usize = 2048;
const COMMAND_SIZE: usize = 128;

/// A command on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InFlight {
    pub(super) slot: u16,
    pub(super) fence: Fence,
    pub(super) response_size: usize,
    pub(super) serial: u64,
}

pub(super) struct Slots {
    memory: GuestMemory,
    pub(super) commands: Span,
    pub(super) responses: Span,
    scratch: Span,
    scratch_used: usize,
    free: Vec<u16>,
    by_head: Box<[InFlight]>,
}

impl Slots {
    pub(super) fn new(memory: &GuestMemory, pages: &mut Pages, ring: &Ring) -> Result<Slots> {
        let count = usize::from(ring.size());
        let mut area = |len: usize| pages.alloc(len as u64).map(|gpa| memory.span(gpa, len as u64));
        Ok(Slots {
            memory: memory.clone(),
            commands: area(count * COMMAND_SIZE)?,
            responses: area(count * RESPONSE_SIZE)?,
            scratch: area(16 * 1024)?,
            scratch_used: 0,
            free: (0..ring.size()).rev().collect(),
            by_head: vec![InFlight::default(); count].into(),
        })
    }

    /// Forgets everything in flight.
    pub(super) fn reset(&mut self) {
        self.free.clear();
        self.free.extend((0..self.by_head.len() as u16).rev());
        self.scratch_used = 0;
    }

    pub(super) fn idle(&self) -> bool {
        self.free.len() == self.by_head.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.by_head.len() - self.free.len()
    }

    pub(super) fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    pub(super) fn put_back(&mut self, slot: u16) {
        self.free.push(slot);
    }

    pub(super) fn enter(&mut self, head: u16, entry: InFlight) {
        self.by_head[usize::from(head)] = entry;
    }

    /// The command that came back; its slot is free again, and its response stays readable until the next is queued.
    pub(super) fn leave(&mut self, head: u16) -> InFlight {
        let entry = self.by_head[usize::from(head)];
        self.free.push(entry.slot);
        if self.idle() {
            self.scratch_used = 0;
        }
        entry
    }

    /// Writes the fixed part into the slot.
    pub(super) fn write_fixed(&self, slot: u16, command: &Command<'_>, fence: &Fence) -> Segment {
        let mut bytes = [0; MAX_FIXED];
        let len = command.encode(fence, &mut bytes);
        let at = usize::from(slot) * COMMAND_SIZE;
        self.commands.write(at, &bytes[..len]);
        Segment { gpa: self.commands.gpa() + at as u64, len: len as u32 }
    }

    /// Writes the tail into scratch room, which grows if it must.
    pub(super) fn write_tail(&mut self, pages: &mut Pages, command: &Command<'_>) -> Result<Segment> {
        let len = command.tail_len();
        let needed = (self.scratch_used + len).next_multiple_of(16);
        if needed > self.scratch.len() {
            self.grow(pages, len)?;
        }
        let start = self.scratch_used;
        command.each_tail(|at, bytes| self.scratch.write(start + at, bytes));
        self.scratch_used = (start + len).next_multiple_of(16);
        Ok(Segment { gpa: self.scratch.gpa() + start as u64, len: len as u32 })
    }

    /// A new, larger scratch area. The old one stays taken, for commands in flight may lie there.
    fn grow(&mut self, pages: &mut Pages, len: usize) -> Result<()> {
        let size = (len.next_multiple_of(16)).max(self.scratch.len() * 2) as u64;
        self.scratch = self.memory.span(pages.alloc(size)?, size);
        self.scratch_used = 0;
        Ok(())
    }

    /// The slot's response buffer, its header cleared so that an answer that never came is seen.
    pub(super) fn clear_response(&self, slot: u16, size: usize) -> Segment {
        let at = self.response_at(slot);
        self.responses.write(at, &[0; HEADER_SIZE]);
        Segment { gpa: self.responses.gpa() + at as u64, len: size as u32 }
    }

    pub(super) fn response_at(&self, slot: u16) -> usize {
        usize::from(slot) * RESPONSE_SIZE
    }
}
