//! The virtio-gpu device: control queue, cursor queue, and the display that shows what they bring.
//!
//! Commands are executed one by one ([`state`]), each answered in place and given back once a batch ([`queue`]). Two of
//! them need the display's answer, and a flush waits where the display has not taken the frame before: the control queue
//! then waits, while the cursor queue, the control socket and everything else go on. What is to be seen is painted as fast
//! as the display takes it and no faster ([`link`], [`scanout`]).

pub mod backing;
pub mod blob;
pub mod budget;
pub mod command;
pub mod compare;
pub mod cursor;
pub mod dialog;
pub mod display;
pub mod dmabuf;
pub mod edid;
pub mod fences;
pub mod frames;
pub mod image;
pub mod link;
mod options;
pub mod pixel;
pub mod pointer;
pub mod queue;
pub mod rect;
pub mod rendering;
pub mod resource;
pub mod scanout;
pub mod state;
pub mod texel;
pub mod tiles;
mod trim;
pub mod udmabuf;
pub mod view;
pub mod virgl;
mod waits;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use log::debug;

use self::command::MAX_SCANOUTS;
use self::display::DisplayError;
use self::link::Link;
use self::queue::{COMMANDS_A_TURN, Executed, Held, Queue, Waiting};
use self::rendering::Rendering;
use self::state::State;
use self::udmabuf::Exporter;
use crate::logger::Budget;
use crate::reactor::{Interest, Readiness, Watch};
use crate::vhost_proto::device::{Device, Over, Refusal, Registrar, Rings, Source, Turn};
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::vring::{Popped, Ring};

pub use self::options::{DisplayMode, Options};

/// The number that VIRTIO gives the control queue; the cursor queue is 1.
const CONTROL: usize = 0;

/// The descriptors of our own.
const DISPLAY_SOURCE: u8 = 0;
const RENDERER_SOURCE: u8 = 1;

/// As the configuration space says it.
const NUM_SCANOUTS: u32 = 16;
const _: () = assert!(NUM_SCANOUTS as usize == MAX_SCANOUTS);

const F_VIRGL: u64 = 1 << 0;
const F_EDID: u64 = 1 << 1;
const F_RESOURCE_UUID: u64 = 1 << 2;
const F_RESOURCE_BLOB: u64 = 1 << 3;
const F_CONTEXT_INIT: u64 = 1 << 4;

/// Pixels worked on (transferred, compared) before the others get their turn: some milliseconds.
const WORK_A_TURN: u64 = 4 << 20;

/// The device.
#[derive(Debug)]
pub struct Gpu {
    state: State,
    link: Option<Link>,
    /// Ready when the renderer has come to a fence.
    progress: Option<Watch<OwnedFd>>,
    /// When the last display hung up.
    hung_up: Option<Instant>,
    held: Option<Held>,
    waiting: Option<Waiting>,
    control: Queue,
    cursor: Queue,
    /// What is said of displays that fail.
    failures: Budget,
}

impl Gpu {
    /// A device that no guest has used yet.
    pub fn new(options: Options) -> Self {
        let Options { max_hostmem, renderer, display } = options;
        let rendering = renderer.map(|renderer| Rendering::new(renderer, display.shares_textures()));
        Self {
            state: State::new(max_hostmem, rendering),
            link: None,
            progress: None,
            hung_up: None,
            held: None,
            waiting: None,
            control: Queue::control(),
            cursor: Queue::cursor(),
            failures: link::FAILURES,
        }
    }

    /// Pictures that the guest draws itself go by DMABUF from now on, in memory that `exporter` makes, where that can be.
    pub fn export_by(&mut self, exporter: Exporter) {
        self.state.export_by(exporter);
    }

    /// Bytes of host memory that the guest makes us hold now.
    pub fn hostmem(&self) -> u64 {
        self.state.hostmem()
    }

    /// Works the control queue off: executes what is there, shows it, and gives the answers back, all at once. While a
    /// large transfer is under way it is shown as it comes, and the guest, who may draw anew once it has the answer, has it
    /// after that.
    fn work_control(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Turn {
        self.state.begin_turn();
        let turn = if self.is_behind() { Turn::More } else { self.execute_control(ring, memory) };
        if !self.state.settle_within(WORK_A_TURN) {
            return Turn::More;
        }
        if let Some(unfinished) = self.pull(ring.live()) {
            return unfinished;
        }
        self.control.give_back(ring, memory);
        turn
    }

    /// Whether something is left of commands whose answers wait for it.
    fn is_behind(&self) -> bool {
        self.state.is_pulling() || self.state.is_settling()
    }

    fn execute_control(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Turn {
        for _ in 0..COMMANDS_A_TURN {
            if self.held.is_some() && !self.answer_alone(memory) {
                return Turn::Done;
            }
            if self.waiting.is_some() && !self.answer_flush(ring, memory) {
                return Turn::Done;
            }
            match self.control.pop(ring, memory) {
                Popped::Chain => match self.control.command(&mut self.state, memory) {
                    Executed::Answered => {}
                    Executed::Held(held) => self.ask(held, memory),
                    Executed::Waits(waiting) => self.waiting = Some(waiting),
                    Executed::Postponed => {
                        ring.unpop();
                        return Turn::More;
                    }
                },
                Popped::Nothing if ring.rearm(memory) => {}
                Popped::Nothing => return Turn::Done,
            }
            if self.state.work() >= WORK_A_TURN {
                return Turn::More;
            }
        }
        Turn::More
    }

    fn work_cursor(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Turn {
        self.state.begin_turn();
        let turn = self.execute_cursor(ring, memory);
        self.cursor.give_back(ring, memory);
        turn
    }

    fn execute_cursor(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Turn {
        for _ in 0..COMMANDS_A_TURN {
            match self.cursor.pop(ring, memory) {
                // Cursor commands neither ask nor wait.
                Popped::Chain => {
                    self.cursor.command(&mut self.state, memory);
                }
                Popped::Nothing if ring.rearm(memory) => {}
                Popped::Nothing => return Turn::Done,
            }
            if self.state.work() >= WORK_A_TURN {
                return Turn::More;
            }
        }
        Turn::More
    }

    /// Goes on with the transfer under way, band by band, each painted while it is in the cache. `None` once it is done;
    /// else when to go on: after the others had their turn, or when the display takes more.
    fn pull(&mut self, running: bool) -> Option<Turn> {
        while self.state.pull_band() {
            self.paint(running);
            if self.state.is_pulling() {
                if self.link.as_ref().is_some_and(Link::is_worth_waiting_for) {
                    return Some(Turn::Later);
                }
                if self.state.work() >= WORK_A_TURN {
                    return Some(Turn::More);
                }
            }
        }
        None
    }

    /// The renderer has come to a fence: gives back what waited for it.
    fn hear_renderer(&mut self, rings: &mut Rings<'_>) {
        self.state.retire(|done| self.control.reached(done));
        // What waits for a transfer under way, or for what is to be read, would be given back as well.
        if let Some(ring) = rings.rings.get_mut(CONTROL)
            && !self.is_behind()
        {
            self.control.give_back(ring, rings.memory);
        }
    }

    fn paint(&mut self, running: bool) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.paint(&mut self.state, running)
        {
            self.lost(&error);
        }
    }

    /// The display hung up, or is not to be trusted any longer.
    fn lost(&mut self, error: &DisplayError) {
        match (error, &mut self.link) {
            (DisplayError::Closed, link) => {
                debug!("{error}");
                *link = None;
                self.hung_up = Some(Instant::now());
            }
            (_, Some(link)) => link.fail(error, &mut self.failures),
            (_, None) => {}
        }
        self.state.new_display();
    }
}

impl Device for Gpu {
    const QUEUES: usize = 2;

    /// The renderer says when it has come to a fence.
    fn attach(&mut self, registrar: &Registrar) -> io::Result<()> {
        if let Some(rendering) = &self.state.rendering {
            let progress = rendering.renderer().poll_fd()?;
            self.progress = Some(registrar.watch(Source::Device(RENDERER_SOURCE), progress, Interest::Read)?);
        }
        Ok(())
    }

    /// Answers to fenced commands wait for the renderer, and others go ahead of them.
    fn keeps_order(&self) -> bool {
        self.state.rendering.is_none()
    }

    fn may_last(&self) -> bool {
        self.state.rendering.is_some()
    }

    fn features(&self) -> u64 {
        let rendering = if self.state.rendering.is_some() { F_VIRGL | F_CONTEXT_INIT } else { 0 };
        rendering | F_EDID | F_RESOURCE_UUID | F_RESOURCE_BLOB
    }

    /// `events_read`, `events_clear`, `num_scanouts`, `num_capsets` (VIRTIO 1.3, 5.7.4); QEMU puts its own values
    /// over the first three. Whatever comes after is 0.
    fn read_config(&self, offset: u32, out: &mut [u8]) {
        let config = [0, 0, NUM_SCANOUTS, self.state.num_capsets()].map(u32::to_le_bytes);
        out.fill(0);
        let part = config.as_flattened().get(offset as usize..).unwrap_or_default();
        for (out, byte) in out.iter_mut().zip(part) {
            *out = *byte;
        }
    }

    /// Only `events_clear` can be written, and the events are the front end's own.
    fn write_config(&mut self, _offset: u32, _bytes: &[u8]) {}

    fn set_display(&mut self, socket: OwnedFd, registrar: &Registrar) -> Result<(), Refusal> {
        let mut link = Link::new(socket, DISPLAY_SOURCE, registrar)?;
        // A command that waited for the old display's answer asks the new one.
        if let Some(held) = &self.held {
            link.ask(held.question);
        }
        self.link = Some(link);
        self.state.new_display();
        self.paint(false);
        Ok(())
    }

    fn memory_changed(&mut self, memory: &GuestMemory) {
        self.state.memory_changed(memory);
    }

    fn reset(&mut self) {
        self.withdraw();
        self.control.reset();
        self.cursor.reset();
        self.state.reset();
    }

    fn ring_started(&mut self, queue: usize, fresh: bool) {
        if queue == CONTROL && fresh {
            self.reset();
        }
    }

    fn ring_stopping(&mut self, queue: usize, ring: &mut Ring, memory: &GuestMemory) {
        if queue != CONTROL {
            self.cursor.give_back(ring, memory);
            return;
        }
        self.state.finish_pull();
        self.state.settle();
        // Whatever the renderer is at, the guest may find it done: it does not go on before the ring does.
        self.control.give_up();
        self.control.give_back(ring, memory);
        if self.withdraw() {
            ring.unpop();
        }
    }

    fn disconnected(&mut self) {
        self.link = None;
        self.hung_up = None;
        self.reset();
        self.state.new_display();
    }

    fn kicked(&mut self, queue: usize, rings: &mut Rings<'_>) -> Turn {
        let turn = match rings.rings.get_mut(queue) {
            Some(ring) if queue == CONTROL => self.work_control(ring, rings.memory),
            Some(ring) => self.work_cursor(ring, rings.memory),
            None => Turn::Done,
        };
        self.paint(rings.rings.get(CONTROL).is_some_and(Ring::live));
        self.or_waiting(turn)
    }

    fn ready(&mut self, source: u8, readiness: Readiness, rings: &mut Rings<'_>) -> Result<Turn, Over> {
        if source == RENDERER_SOURCE {
            self.hear_renderer(rings);
            return Ok(Turn::Done);
        }
        let Some(ring) = rings.rings.get_mut(CONTROL) else { return Ok(Turn::Done) };
        let waited = self.held.is_some() || self.waiting.is_some();
        if readiness.readable || readiness.hangup {
            if let Err(error) = self.hear(ring, rings.memory) {
                self.lost(&error);
            }
            if readiness.hangup && self.link.as_ref().is_some_and(|link| !link.works()) {
                self.link = None;
            }
        }
        self.paint(ring.live());
        let mut turn = Turn::Done;
        let waits = self.held.is_some() || self.waiting.is_some_and(|flush| flush.scanouts != 0);
        if waited && !waits || self.is_behind() {
            turn = self.work_control(ring, rings.memory);
            self.paint(ring.live());
        }
        Ok(self.or_waiting(turn))
    }
}
