//! A virtio-input guest driver, after Linux's: an event queue that the device fills and a status queue that it reads.
//!
//! [`InputDriver::post_all`] hands out buffers, [`InputDriver::next_event`] takes an event back and, unless
//! [`InputDriver::set_reposting`] says otherwise, hands its buffer out again; one kick goes out when all that was used has
//! been seen. Each buffer is checked for its length and for the bytes around it. A [`Shape`] makes buffers that break the
//! rules on purpose. [`GuestInput`] is what a Linux guest makes of the events, [`config`] how it reads the config.
//! Taking and posting allocate nothing.

mod buffers;
pub mod config;
mod guest;
pub mod ids;
mod state;
mod status;

use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::memory::{GuestMemory, Pages};
use crate::ring::{Layout, Ring, RingOptions, Used};

use buffers::{Buffers, Way};
pub use buffers::{EVENT_SIZE, Event, Shape};
pub use config::{AbsInfo, Bitmap, ConfigReader, ConfigStyle, Ids, InputConfig};
pub use guest::GuestInput;
pub use state::{Contact, InputState};

use ids::{ev, syn};

/// How many event buffers Linux posts at most.
pub const LINUX_BUFFERS: u16 = 64;

/// How the driver lays out its chains and rings.
#[derive(Clone, Copy, Debug)]
pub struct InputOptions {
    /// The event queue.
    pub events: RingOptions,
    /// The status queue.
    pub status: RingOptions,
    /// The ring's own descriptors, as Linux uses them for chains of one segment, or indirect tables.
    pub layout: Layout,
    /// How many event buffers [`InputDriver::post_all`] posts, as far as the ring goes.
    pub buffers: u16,
}

impl InputOptions {
    /// Two rings of `size` entries.
    pub fn sized(size: u16) -> InputOptions {
        let ring = RingOptions { size, event_idx: true };
        InputOptions { events: ring, status: ring, layout: Layout::Direct, buffers: LINUX_BUFFERS }
    }
}

impl Default for InputOptions {
    fn default() -> InputOptions {
        InputOptions::sized(64)
    }
}

/// A virtio-input guest driver.
pub struct InputDriver {
    memory: GuestMemory,
    pages: Pages,
    events: Ring,
    status: Ring,
    event_buffers: Buffers,
    status_buffers: Buffers,
    layout: Layout,
    buffers: u16,
    reposting: bool,
    refused: u64,
    timeout: Duration,
    frame: Vec<Event>,
    frame_done: bool,
}

impl InputDriver {
    /// Makes both rings and the buffers in `memory`.
    pub fn new(memory: &GuestMemory, options: InputOptions) -> Result<InputDriver> {
        let mut pages = Pages::new(memory);
        let events = Ring::new(memory, &mut pages, options.events)?;
        let status = Ring::new(memory, &mut pages, options.status)?;
        Ok(InputDriver {
            memory: memory.clone(),
            event_buffers: Buffers::new(memory, &mut pages, events.size(), Way::In)?,
            status_buffers: Buffers::new(memory, &mut pages, status.size(), Way::Out)?,
            pages,
            events,
            status,
            layout: options.layout,
            buffers: options.buffers,
            reposting: true,
            refused: 0,
            timeout: Duration::from_secs(5),
            frame: Vec::with_capacity(1024),
            frame_done: false,
        })
    }

    /// Both rings, events first, as a start wants them.
    pub fn rings(&self) -> [&Ring; 2] {
        [&self.events, &self.status]
    }

    /// The event queue. A chain that is entered here by hand must be taken back here too.
    pub fn event_ring(&mut self) -> &mut Ring {
        &mut self.events
    }

    /// The status queue. A chain that is entered here by hand must be taken back here too.
    pub fn status_ring(&mut self) -> &mut Ring {
        &mut self.status
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The allocator of what the driver does not use itself.
    pub fn pages(&mut self) -> &mut Pages {
        &mut self.pages
    }

    /// How long status buffers may take; 5 s to begin with.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Lays out further chains this way.
    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// How many buffers [`InputDriver::post_all`] fills up to.
    pub fn set_buffers(&mut self, buffers: u16) {
        self.buffers = buffers;
    }

    /// Whether a buffer is handed out again as soon as its event was taken; so it is to begin with.
    pub fn set_reposting(&mut self, reposting: bool) {
        self.reposting = reposting;
    }

    /// Both rings back to empty, as after a reset of the device. A frame that had begun is forgotten.
    pub fn reset(&mut self) {
        self.events.reset();
        self.status.reset();
        self.event_buffers.reset();
        self.status_buffers.reset();
        self.frame.clear();
        self.frame_done = false;
    }

    /// Event buffers that the device has.
    pub fn posted(&self) -> usize {
        self.event_buffers.in_flight()
    }

    /// Unsound event buffers that came back untouched, as they must.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Posts up to `count` more event buffers, as far as the ring has room, and kicks where the device wants it. Says how
    /// many were posted.
    pub fn post(&mut self, count: u16) -> Result<u16> {
        let count = count.min(self.events.free());
        for _ in 0..count {
            self.enter_event_buffer(Shape::Whole)?;
        }
        self.events.submit();
        Ok(count)
    }

    /// Posts event buffers until the device has as many as the options say.
    pub fn post_all(&mut self) -> Result<u16> {
        let missing = usize::from(self.buffers).saturating_sub(self.posted());
        self.post(missing.min(usize::from(u16::MAX)) as u16)
    }

    /// Posts one event buffer of any shape and kicks where the device wants it. Returns its head.
    pub fn post_shaped(&mut self, shape: Shape) -> Result<u16> {
        let head = self.enter_event_buffer(shape)?;
        self.events.submit();
        Ok(head)
    }

    fn enter_event_buffer(&mut self, shape: Shape) -> Result<u16> {
        self.event_buffers.enter(&mut self.events, shape, Event::default(), self.layout)
    }

    /// The next event that is there already.
    pub fn poll_event(&mut self) -> Result<Option<Event>> {
        while let Some(used) = self.events.poll_used()? {
            if let Some(event) = self.take_event(used)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Waits for the next event. One that came without the interrupt that was due is a fault.
    pub fn next_event(&mut self, deadline: Deadline) -> Result<Event> {
        loop {
            let used = self.events.wait_used(deadline)?;
            if let Some(event) = self.take_event(used)? {
                return Ok(event);
            }
        }
    }

    /// Looks for the next event without ever sleeping, for benches of the device alone.
    pub fn spin_event(&mut self, deadline: Deadline) -> Result<Event> {
        loop {
            let used = self.events.spin_used(deadline)?;
            if let Some(event) = self.take_event(used)? {
                return Ok(event);
            }
        }
    }

    fn take_event(&mut self, used: Used) -> Result<Option<Event>> {
        let Some(posted) = self.event_buffers.leave(used.head) else {
            return Err(Error::fault(format!("{used:?} is a chain that was entered into the event queue by hand")));
        };
        let event = self.event_buffers.read(&posted, used)?;
        self.refused += u64::from(event.is_none());
        if self.reposting {
            self.enter_event_buffer(Shape::Whole)?;
            self.events.publish();
            if !self.events.has_used() {
                self.events.kick();
            }
        }
        Ok(event)
    }

    /// Waits for a whole frame: events up to and with SYN_REPORT. What came of a frame before the deadline stays for the
    /// next call, and in [`InputDriver::partial`].
    pub fn frame(&mut self, deadline: Deadline) -> Result<&[Event]> {
        if std::mem::take(&mut self.frame_done) {
            self.frame.clear();
        }
        while !self.frame_done {
            let event = self.next_event(deadline)?;
            self.frame.push(event);
            self.frame_done = (event.kind, event.code) == (ev::SYN, syn::REPORT);
        }
        Ok(&self.frame)
    }

    /// What [`InputDriver::frame`] saw of a frame that has not ended.
    pub fn partial(&self) -> &[Event] {
        if self.frame_done { &[] } else { &self.frame }
    }

    /// Checks that no event comes until `deadline`.
    pub fn expect_silence(&mut self, deadline: Deadline) -> Result<()> {
        match self.next_event(deadline) {
            Err(Error::TimedOut(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(event) => Err(Error::fault(format!("{event:?} came where nothing may come"))),
        }
    }

    /// Plays events into `guest` until `done` says that it has what was waited for.
    pub fn feed(
        &mut self,
        guest: &mut GuestInput,
        deadline: Deadline,
        done: impl Fn(&GuestInput) -> bool,
    ) -> Result<()> {
        while !done(guest) {
            let event = self.next_event(deadline)?;
            guest.apply(event)?;
        }
        Ok(())
    }

    /// Plays events into `guest` until its state is `truth` and no frame is open; what still differs at the deadline is
    /// the fault.
    pub fn feed_until(&mut self, guest: &mut GuestInput, truth: &InputState, deadline: Deadline) -> Result<()> {
        match self.feed(guest, deadline, |guest| !guest.is_inside_frame() && guest.state() == truth) {
            Err(Error::TimedOut(_)) => {
                let text = guest.state().difference(truth).unwrap_or_else(|| "a frame has not ended".to_owned());
                Err(Error::fault(format!("the guest's state is not the device's: {text}")))
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests;
