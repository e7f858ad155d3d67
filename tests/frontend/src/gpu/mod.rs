//! A virtio-gpu guest driver: control and cursor queue, every 2D and 3D command, one at a time or in batches; what is drawn by
//! 3D commands is written with [`virgl`].
//!
//! One command: [`GpuDriver::call`] and the methods named after commands; each returns the [`Response`], which has been
//! checked for its header, its length and its fence fields. Many: [`GpuDriver::queue`] as often as wanted, one
//! [`GpuDriver::kick`], then [`GpuDriver::next_done`] for each. Commands without a tail allocate nothing.

mod backing;
mod calls;
mod calls_3d;
pub mod ids;
mod response;
mod slots;
pub mod three_d;
pub mod virgl;
mod wire;

use std::time::Duration;

use crate::deadline::Deadline;
use crate::display::Display;
use crate::error::{Error, Result};
use crate::memory::{GuestMemory, Pages, Span};
use crate::ring::{Layout, Ring, RingOptions, Segment, Used};

pub use backing::Backing;
pub use ids::{cmd, feature, format, resp};
pub use response::{CapsetInfo, Edid, Head, Response};
pub use slots::RESPONSE_SIZE;
pub use three_d::{Region, Texture, Transfer3d};
pub use wire::{
    Command, DISPLAY_INFO_SIZE, EDID_SIZE, FLAG_FENCE, FLAG_INFO_RING_IDX, Fence, HEADER_SIZE, MAX_FIXED, MemEntry,
    NAME_SIZE, Rect,
};

use slots::{InFlight, Slots};

/// A command that was queued, by its place in the sequence of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A command that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which one.
    pub ticket: Ticket,
    /// Its response.
    pub response: Response,
}

/// How the driver lays out its chains and rings.
#[derive(Clone, Copy, Debug)]
pub struct GpuOptions {
    /// The control queue.
    pub control: RingOptions,
    /// The cursor queue.
    pub cursor: RingOptions,
    /// Indirect tables, as Linux always uses them, or the ring's own descriptors.
    pub layout: Layout,
}

impl Default for GpuOptions {
    fn default() -> GpuOptions {
        let cursor = RingOptions { size: 16, event_idx: true };
        GpuOptions { control: RingOptions::default(), cursor, layout: Layout::Indirect }
    }
}

/// A virtio-gpu guest driver.
pub struct GpuDriver {
    memory: GuestMemory,
    pages: Pages,
    control: Ring,
    cursor: Ring,
    slots: Slots,
    cursor_slots: Slots,
    layout: Layout,
    timeout: Duration,
    serial: u64,
    last_slot: u16,
    last_len: usize,
}

impl GpuDriver {
    /// Makes both rings and the buffers in `memory`.
    pub fn new(memory: &GuestMemory, options: GpuOptions) -> Result<GpuDriver> {
        let mut pages = Pages::new(memory);
        let control = Ring::new(memory, &mut pages, options.control)?;
        let cursor = Ring::new(memory, &mut pages, options.cursor)?;
        Ok(GpuDriver {
            memory: memory.clone(),
            slots: Slots::new(memory, &mut pages, &control)?,
            cursor_slots: Slots::new(memory, &mut pages, &cursor)?,
            pages,
            control,
            cursor,
            layout: options.layout,
            timeout: Duration::from_secs(5),
            serial: 0,
            last_slot: 0,
            last_len: 0,
        })
    }

    /// Both rings, control first, as a start wants them.
    pub fn rings(&self) -> [&Ring; 2] {
        [&self.control, &self.cursor]
    }

    /// The control queue.
    pub fn control_ring(&mut self) -> &mut Ring {
        &mut self.control
    }

    /// The cursor queue.
    pub fn cursor_ring(&mut self) -> &mut Ring {
        &mut self.cursor
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The allocator of what the driver does not use itself.
    pub fn pages(&mut self) -> &mut Pages {
        &mut self.pages
    }

    /// How long an answer may take; 5 s to begin with.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Lays out further chains this way.
    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// Both rings back to empty, as after a reset of the device.
    pub fn reset(&mut self) {
        self.control.reset();
        self.cursor.reset();
        self.slots.reset();
        self.cursor_slots.reset();
    }

    /// Commands in flight on the control queue.
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// Enters a command into the control queue, without a fence, unseen by the device until [`GpuDriver::kick`].
    pub fn queue(&mut self, command: &Command<'_>) -> Result<Ticket> {
        self.queue_fenced(command, Fence::NONE)
    }

    /// As [`GpuDriver::queue`], with fence fields of the caller's choice.
    pub fn queue_fenced(&mut self, command: &Command<'_>, fence: Fence) -> Result<Ticket> {
        self.queue_sized(command, fence, command.response_size())
    }

    /// As [`GpuDriver::queue_fenced`], with a response buffer of another size, for a driver that is stingy or generous.
    pub fn queue_sized(&mut self, command: &Command<'_>, fence: Fence, response_size: usize) -> Result<Ticket> {
        let slot = self.slots.take().ok_or(Error::NoRoom("a slot on the control queue"))?;
        let added = self.add_control(slot, command, &fence, response_size);
        let head = added.inspect_err(|_| self.slots.put_back(slot))?;
        self.serial += 1;
        self.slots.enter(head, InFlight { slot, fence, response_size, serial: self.serial });
        Ok(Ticket(self.serial))
    }

    fn add_control(&mut self, slot: u16, command: &Command<'_>, fence: &Fence, response_size: usize) -> Result<u16> {
        let fixed = self.slots.write_fixed(slot, command, fence);
        let response = self.slots.clear_response(slot, response_size);
        if command.tail_len() == 0 {
            return self.control.add(&[fixed], &[response], self.layout);
        }
        let tail = self.slots.write_tail(&mut self.pages, command)?;
        self.control.add(&[fixed, tail], &[response], self.layout)
    }

    /// Shows the device what was queued. Says whether the device wanted to be told.
    pub fn kick(&mut self) -> bool {
        self.control.submit()
    }

    /// Waits for the next command to come back.
    pub fn next_done(&mut self) -> Result<Done> {
        if let Some(done) = self.poll_done()? {
            return Ok(done);
        }
        let used = self.control.wait_used(Deadline::after(self.timeout))?;
        self.finish(used)
    }

    /// The next command that came back already.
    pub fn poll_done(&mut self) -> Result<Option<Done>> {
        self.control.poll_used()?.map(|used| self.finish(used)).transpose()
    }

    /// The next command that comes back, looked for without sleeping.
    pub fn spin_done(&mut self) -> Result<Done> {
        let used = self.control.spin_used(Deadline::after(self.timeout))?;
        self.finish(used)
    }

    /// Waits until nothing is in flight, asking for one interrupt at the last; every response must be one of the OK ones.
    pub fn finish_all(&mut self) -> Result<()> {
        let deadline = Deadline::after(self.timeout);
        while !self.slots.idle() {
            let left = self.slots.in_flight() as u16;
            let used = self.control.wait_used_of(left, deadline)?;
            let done = self.finish(used)?;
            if !done.response.is_ok() {
                return Err(Error::fault(format!("a batch was answered with {:#x}", done.response.kind)));
            }
        }
        Ok(())
    }

    /// Sends one command and waits for its response. Nothing else may be in flight.
    pub fn call(&mut self, command: &Command<'_>) -> Result<Response> {
        self.call_fenced(command, Fence::NONE)
    }

    /// As [`GpuDriver::call`], fenced.
    pub fn call_fenced(&mut self, command: &Command<'_>, fence: Fence) -> Result<Response> {
        assert!(self.slots.idle(), "a call while others are in flight");
        self.queue_fenced(command, fence)?;
        self.kick();
        Ok(self.next_done()?.response)
    }

    /// As [`GpuDriver::call`], serving a display of the same thread meanwhile: for commands whose answer needs it.
    pub fn call_pumping(&mut self, command: &Command<'_>, display: &mut Display) -> Result<Response> {
        assert!(self.slots.idle(), "a call while others are in flight");
        let deadline = Deadline::after(self.timeout);
        self.queue(command)?;
        self.kick();
        loop {
            display.pump()?;
            let used = match display.wait_fd() {
                Some(fd) => self.control.wait_used_or(fd, deadline)?,
                None => Some(self.control.wait_used(deadline)?),
            };
            if let Some(used) = used {
                return Ok(self.finish(used)?.response);
            }
            if deadline.passed() {
                return Err(Error::TimedOut("used element"));
            }
        }
    }

    fn finish(&mut self, used: Used) -> Result<Done> {
        let entry = self.slots.leave(used.head);
        let at = self.slots.response_at(entry.slot);
        let response = Response::read(&self.slots.responses, at, used.len);
        (self.last_slot, self.last_len) = (entry.slot, entry.response_size);
        if entry.response_size >= HEADER_SIZE {
            response.check(&entry.fence, entry.response_size)?;
        }
        Ok(Done { ticket: Ticket(entry.serial), response })
    }

    /// Reads the last response's bytes from offset `at`; valid until the next command is queued.
    pub fn read_body(&self, at: usize, into: &mut [u8]) {
        assert!(at + into.len() <= self.last_len, "{} bytes at {at} of a response of {}", into.len(), self.last_len);
        self.slots.responses.read(self.slots.response_at(self.last_slot) + at, into);
    }

    fn body(&self) -> (&Span, usize) {
        (&self.slots.responses, self.slots.response_at(self.last_slot) + HEADER_SIZE)
    }

    /// Enters a command into the cursor queue, without a response buffer, as Linux does.
    pub fn queue_cursor(&mut self, command: &Command<'_>) -> Result<()> {
        let slot = self.cursor_slots.take().ok_or(Error::NoRoom("a slot on the cursor queue"))?;
        let fixed = self.cursor_slots.write_fixed(slot, command, &Fence::NONE);
        let added = self.cursor.add(&[fixed], &[], self.layout);
        let head = added.inspect_err(|_| self.cursor_slots.put_back(slot))?;
        self.cursor_slots.enter(head, InFlight { slot, ..InFlight::default() });
        Ok(())
    }

    /// Shows the device what was queued on the cursor queue.
    pub fn kick_cursor(&mut self) -> bool {
        self.cursor.submit()
    }

    /// Waits until the cursor queue is empty.
    pub fn finish_cursor(&mut self) -> Result<()> {
        while self.cursor.is_busy() {
            let used = self.cursor.wait_used(Deadline::after(self.timeout))?;
            self.cursor_slots.leave(used.head);
            if used.len != 0 {
                return Err(Error::fault(format!("{} bytes written into a cursor command", used.len)));
            }
        }
        Ok(())
    }

    /// Sends any segments on the control queue by hand and waits until they are used. Nothing is checked.
    pub fn raw_call(&mut self, readable: &[Segment], writable: &[Segment]) -> Result<Used> {
        self.control.add(readable, writable, self.layout)?;
        self.control.submit();
        self.control.wait_used(Deadline::after(self.timeout))
    }
}
