//! The virtio-gpu device: control queue, cursor queue, and the display that shows what they bring.
//!
//! Commands are executed one by one, each answered in place. Two of them need the display's answer: the control queue
//! then waits, while the cursor queue, the control socket and everything else go on. What is to be seen is painted
//! after the guest got its answers, as fast as the display takes it and no faster; see [`scanout`].

pub mod backing;
pub mod budget;
pub mod command;
pub mod cursor;
pub mod dialog;
pub mod display;
pub mod edid;
pub mod pixel;
pub mod pointer;
pub mod rect;
pub mod resource;
pub mod scanout;
pub mod state;
pub mod tiles;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use log::{debug, error, info};

use self::command::{
    Command, DISPLAY_INFO_SIZE, DecodeError, EDID_SIZE, Head as InfoHead, Header, MAX_FIXED, MAX_SCANOUTS, Status,
    encode_display_info, encode_edid, encode_header, encode_uuid, patch_header,
};
use self::dialog::{Answer, Dialog, Question};
use self::display::wire::Head;
use self::display::{Display, DisplayError};
use self::rect::Rect;
use self::state::{Outcome, State};
use crate::reactor::Readiness;
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::device::{Device, Refusal, Registrar, Rings, Turn};
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::vring::{Popped, Ring};

/// Commands executed before the others get their turn.
const COMMANDS_A_TURN: usize = 64;
/// Bytes sent to the display before the others get their turn.
const BYTES_A_TURN: u64 = 8 << 20;
/// Most pixels in one UPDATE. QEMU allocates, reads and copies each one whole: this many stay in its cache and under
/// its allocator's threshold for mapping memory (128 KiB).
const PIXELS_AN_UPDATE: u32 = 24 * 1024;
/// How long a transfer under way waits for a display that takes nothing.
const PATIENCE: Duration = Duration::from_millis(2);

const CONTROL: usize = 0;

/// The one descriptor of our own.
const DISPLAY_SOURCE: u8 = 0;

const F_EDID: u64 = 1 << 1;
const F_RESOURCE_UUID: u64 = 1 << 2;

/// The size that a guest is told of where no display can be asked.
const DEFAULT_SIZE: (u32, u32) = (1280, 800);

/// How the device is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of host memory that the guest can make us hold.
    pub max_hostmem: u64,
}

/// The display of one GPU_SET_SOCKET with what it was asked.
#[derive(Debug)]
struct Link {
    display: Display,
    dialog: Dialog,
    /// It broke the protocol: it is kept open, and no longer used.
    failed: bool,
    /// Since when it takes nothing, with the number of bytes that it had taken by then.
    blocked: Option<(Instant, u64)>,
}

/// A command that waits for the display's answer; its chain is the one popped last.
#[derive(Clone, Copy, Debug)]
struct Held {
    header: Header,
    question: Question,
}

/// The device.
#[derive(Debug)]
pub struct Gpu {
    state: State,
    link: Option<Link>,
    held: Option<Held>,
    /// The chain popped last, by queue: reused, so that popping allocates nothing.
    chains: [Chain; 2],
    /// Chains answered and not given back yet, by queue.
    answered: [Vec<Answered>; 2],
}

/// A chain with its response written.
#[derive(Clone, Copy, Debug)]
struct Answered {
    head: u16,
    written: u32,
}

impl Gpu {
    /// A device that no guest has used yet.
    pub fn new(options: Options) -> Self {
        Self {
            state: State::new(options.max_hostmem),
            link: None,
            held: None,
            chains: Default::default(),
            answered: std::array::from_fn(|_| Vec::with_capacity(COMMANDS_A_TURN + 1)),
        }
    }

    /// Works off one queue: executes what is there, shows it, and gives the answers back, all at once. While a large
    /// transfer is under way it is shown as it comes; the guest, who may draw anew once it has the answer, has it last.
    fn work(&mut self, queue: usize, rings: &mut Rings<'_>) -> Turn {
        let memory = rings.memory;
        let Some(ring) = rings.rings.get_mut(queue) else { return Turn::Done };
        let turn = if queue != CONTROL {
            self.execute(queue, ring, memory)
        } else if self.state.is_pulling() {
            Turn::More
        } else {
            self.execute(queue, ring, memory)
        };
        if queue == CONTROL && !self.pull(ring.running()) {
            return Turn::Later;
        }
        self.give_back(queue, ring, memory);
        turn
    }

    /// Goes on with the transfer under way, band by band, each painted while it is in the cache. `false` where the
    /// display takes no more for now: the rest can wait a little.
    fn pull(&mut self, running: bool) -> bool {
        while self.state.pull_band() {
            self.paint(running);
            if self.state.is_pulling() && self.link.as_mut().is_some_and(Link::is_worth_waiting_for) {
                return false;
            }
        }
        true
    }

    fn give_back(&mut self, queue: usize, ring: &mut Ring, memory: &GuestMemory) {
        for Answered { head, written } in self.answered[queue].drain(..) {
            ring.push(memory, head, written);
        }
        ring.notify(memory);
    }

    fn execute(&mut self, queue: usize, ring: &mut Ring, memory: &GuestMemory) -> Turn {
        for _ in 0..COMMANDS_A_TURN {
            if queue == CONTROL && self.held.is_some() && !self.answer_alone(memory) {
                return Turn::Done;
            }
            match ring.pop(memory, &mut self.chains[queue]) {
                Popped::Chain => self.command(queue, memory),
                Popped::Nothing if ring.rearm(memory) => {}
                Popped::Nothing => return Turn::Done,
            }
        }
        Turn::More
    }

    /// Executes the popped command and answers it, or holds it.
    fn command(&mut self, queue: usize, memory: &GuestMemory) {
        let chain = &self.chains[queue];
        let mut bytes = [0; MAX_FIXED];
        let len = chain.read_at(memory.map(), 0, &mut bytes);
        let bytes = bytes.get(..len).unwrap_or_default();
        let Some(header) = Header::decode(bytes) else {
            debug!("a request of {len} bytes has no header");
            self.answered[queue].push(Answered { head: chain.head(), written: 0 });
            return;
        };
        let outcome = match Command::decode(&header, bytes) {
            Ok(command) => self.state.execute(&command, chain, memory),
            Err(DecodeError::Unknown { .. }) => Outcome::Status(Status::ErrUnspec),
            Err(DecodeError::Short { .. }) => Outcome::Status(Status::ErrInvalidParameter),
        };
        match outcome {
            Outcome::Status(status) => {
                if status.is_error() {
                    debug!("{} answered {status:?}", command::kind::name(header.kind).unwrap_or("unknown command"));
                }
                self.answer(queue, memory, &header, &encode_header(status, &header));
            }
            Outcome::Uuid(uuid) => self.answer(queue, memory, &header, &encode_uuid(&header, &uuid)),
            Outcome::Ask(question) if queue == CONTROL => self.ask(Held { header, question }, memory),
            Outcome::Ask(_) => self.answer(queue, memory, &header, &encode_header(Status::ErrUnspec, &header)),
        }
    }

    /// Writes the response of the chain popped last. One that does not fit becomes an error that does; where not even
    /// that fits, nothing is written.
    fn answer(&mut self, queue: usize, memory: &GuestMemory, header: &Header, response: &[u8]) {
        let chain = &self.chains[queue];
        let room = chain.writable_len();
        let short = encode_header(Status::ErrUnspec, header);
        let response = if response.len() as u64 <= room { response } else { &short };
        let written = if response.len() as u64 <= room { chain.write_at(memory.map(), 0, response) } else { 0 };
        self.answered[queue].push(Answered { head: chain.head(), written: written as u32 });
    }

    /// Answers with an EDID of our own making.
    fn answer_edid(&mut self, memory: &GuestMemory, header: &Header, (width, height): (u32, u32)) {
        let mut response = [0; EDID_SIZE];
        encode_edid(header, &edid::fallback(width, height), &mut response);
        self.answer(CONTROL, memory, header, &response);
    }

    /// Holds a command until the display has answered; without a display it is answered at once.
    fn ask(&mut self, held: Held, memory: &GuestMemory) {
        self.held = Some(held);
        match &mut self.link {
            Some(link) if !link.failed => link.dialog.ask(held.question),
            _ => {
                self.answer_alone(memory);
            }
        }
    }

    /// Answers the held command where there is no display to ask. `false` where there is one, and it is waited for.
    fn answer_alone(&mut self, memory: &GuestMemory) -> bool {
        if self.link.as_ref().is_some_and(|link| !link.failed) {
            return false;
        }
        match self.held.take() {
            Some(Held { header, question: Question::DisplayInfo }) => {
                let (width, height) = DEFAULT_SIZE;
                let mut heads = [InfoHead::default(); MAX_SCANOUTS];
                heads[0] = InfoHead { rect: Rect::of_size(width, height), enabled: true, flags: 0 };
                let mut response = [0; DISPLAY_INFO_SIZE];
                encode_display_info(&header, &heads, &mut response);
                self.answer(CONTROL, memory, &header, &response);
            }
            Some(Held { header, question: Question::Edid(_) }) => self.answer_edid(memory, &header, DEFAULT_SIZE),
            None => {}
        }
        true
    }

    /// Takes the display's replies and answers the held command with the one that is for it; [`Gpu::work`] gives it
    /// back.
    fn hear(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Result<(), DisplayError> {
        loop {
            let Some(Link { display, dialog, failed: false, .. }) = &mut self.link else { return Ok(()) };
            let Some(reply) = display.receive()? else { return Ok(()) };
            let Some(answer) = dialog.reply(&reply)? else { continue };
            let Some(Held { header, .. }) = self.held.take() else { continue };
            if !ring.running() {
                // Disabled meanwhile: the command is the guest's again, and will be asked anew.
                ring.unpop();
                continue;
            }
            match answer {
                Answer::DisplayInfo(payload) | Answer::Edid(payload) => {
                    let mut response = [0; EDID_SIZE];
                    let Some(response) = response.get_mut(..payload.len()) else { continue };
                    response.copy_from_slice(payload);
                    // It has room for a header: it is a whole response.
                    let _ = patch_header(response, &header);
                    self.answer(CONTROL, memory, &header, response);
                }
                Answer::EdidFor { width, height } => {
                    let size = if width == 0 || height == 0 { DEFAULT_SIZE } else { (width, height) };
                    self.answer_edid(memory, &header, size);
                }
                Answer::NoSuchScanout => {
                    let response = encode_header(Status::ErrInvalidScanoutId, &header);
                    self.answer(CONTROL, memory, &header, &response);
                }
            }
        }
    }

    /// Tells the display what it does not know yet, as far as it listens: questions first, then cursors (small, and
    /// somebody's hand is on the mouse), then pictures.
    fn paint(&mut self, running: bool) {
        let Some(link) = self.link.as_mut().filter(|link| !link.failed) else { return };
        match try_paint(link, &mut self.state, running) {
            Ok(true) => link.blocked = None,
            Ok(false) => link.note_blocked(),
            Err(error) => self.lost(&error),
        }
    }

    /// The display hung up, or is not to be trusted any longer.
    fn lost(&mut self, error: &DisplayError) {
        match error {
            DisplayError::Closed => {
                debug!("{error}");
                self.link = None;
            }
            _ => {
                error!("{error}; it is left alone until the next one comes");
                if let Some(link) = &mut self.link {
                    link.display.abandon();
                    link.failed = true;
                }
            }
        }
        self.state.new_display();
    }
}

impl Link {
    /// The display takes no more for now.
    fn note_blocked(&mut self) {
        let sent = self.display.bytes_sent();
        if self.blocked.is_none_or(|(_, before)| before != sent) {
            self.blocked = Some((Instant::now(), sent));
        }
    }

    /// Whether the display takes nothing now, but did a moment ago.
    fn is_worth_waiting_for(&mut self) -> bool {
        !self.failed && self.blocked.is_some_and(|(since, _)| since.elapsed() < PATIENCE)
    }
}

impl Device for Gpu {
    const QUEUES: usize = 2;

    fn features(&self) -> u64 {
        F_EDID | F_RESOURCE_UUID
    }

    /// `events_read`, `events_clear`, `num_scanouts`, `num_capsets` (VIRTIO 1.3, 5.7.4); QEMU puts its own values
    /// over the first three. Whatever comes after is 0.
    fn read_config(&self, offset: u32, out: &mut [u8]) {
        let mut config = [0; 16];
        config[8..12].copy_from_slice(&(MAX_SCANOUTS as u32).to_le_bytes());
        out.fill(0);
        let part = config.get(offset as usize..).unwrap_or_default();
        for (out, byte) in out.iter_mut().zip(part) {
            *out = *byte;
        }
    }

    /// Only `events_clear` can be written, and the events are the front end's own.
    fn write_config(&mut self, _offset: u32, _bytes: &[u8]) {}

    fn set_display(&mut self, socket: OwnedFd, registrar: &Registrar) -> Result<(), Refusal> {
        let display = Display::new(socket, DISPLAY_SOURCE, registrar)?;
        self.link = Some(Link { display, dialog: Dialog::default(), failed: false, blocked: None });
        self.state.new_display();
        // A command that waited for the old display's answer asks the new one.
        if let (Some(link), Some(held)) = (&mut self.link, &self.held) {
            link.dialog.ask(held.question);
        }
        self.paint(false);
        Ok(())
    }

    fn memory_changed(&mut self, memory: &GuestMemory) {
        self.state.memory_changed(memory);
    }

    fn reset(&mut self) {
        self.withdraw();
        self.answered.iter_mut().for_each(Vec::clear);
        self.state.reset();
    }

    fn ring_started(&mut self, queue: usize, fresh: bool) {
        if queue == CONTROL && fresh {
            self.reset();
        }
    }

    fn ring_stopping(&mut self, queue: usize, ring: &mut Ring, memory: &GuestMemory) {
        if queue == CONTROL {
            self.state.finish_pull();
        }
        self.give_back(queue, ring, memory);
        if queue == CONTROL && self.withdraw() {
            ring.unpop();
        }
    }

    fn disconnected(&mut self) {
        if let Some(link) = &self.link {
            info!("{} bytes went to the last display", link.display.bytes_sent());
        }
        self.link = None;
        self.reset();
        self.state.new_display();
    }

    fn kicked(&mut self, queue: usize, rings: &mut Rings<'_>) -> Turn {
        let turn = self.work(queue, rings);
        self.paint(control_runs(rings));
        turn
    }

    fn ready(&mut self, _source: u8, readiness: Readiness, rings: &mut Rings<'_>) -> Turn {
        let mut turn = Turn::Done;
        if readiness.readable || readiness.hangup {
            let memory = rings.memory;
            let waited = self.held.is_some();
            if let Some(ring) = rings.rings.get_mut(CONTROL)
                && let Err(error) = self.hear(ring, memory)
            {
                self.lost(&error);
            }
            if readiness.hangup && self.link.as_ref().is_some_and(|link| link.failed) {
                self.link = None;
            }
            if waited && self.held.is_none() {
                turn = self.work(CONTROL, rings);
            }
        }
        self.paint(control_runs(rings));
        if self.state.is_pulling() {
            turn = self.work(CONTROL, rings);
        }
        turn
    }
}

impl Gpu {
    /// Forgets the held command. `true` where there was one.
    fn withdraw(&mut self) -> bool {
        if let Some(link) = &mut self.link {
            link.dialog.withdraw();
        }
        self.held.take().is_some()
    }
}

/// Sends until nothing is left to say (`true`) or the display takes no more for now (`false`).
fn try_paint(link: &mut Link, state: &mut State, running: bool) -> Result<bool, DisplayError> {
    let Link { display, dialog, .. } = link;
    let limit = display.bytes_sent().saturating_add(BYTES_A_TURN);
    while display.advance()? {
        if display.bytes_sent() >= limit {
            display.rest(true)?;
            return Ok(true);
        }
        let begun = if let Some(head) = dialog.next() {
            display.begin(head);
            true
        } else {
            running && (paint_pointer(state, display) || paint_scanout(state, display))
        };
        if !begun {
            display.rest(false)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn control_runs(rings: &Rings<'_>) -> bool {
    rings.rings.get(CONTROL).is_some_and(Ring::running)
}

/// Begins the next message about a cursor, if there is one.
fn paint_pointer(state: &mut State, display: &mut Display) -> bool {
    for (scanout, pointer) in (0..).zip(&mut state.pointers) {
        match pointer.next_step() {
            Some(pointer::Step::Shape { x, y, hot, pixels }) => {
                display.begin_cursor(Head::cursor_update(scanout, x, y, hot), pixels);
                return true;
            }
            Some(pointer::Step::Place { x, y, visible }) => {
                display.begin(Head::cursor_pos(scanout, x, y, visible));
                return true;
            }
            None => {}
        }
    }
    false
}

/// Begins the next message about a picture, if there is one.
fn paint_scanout(state: &mut State, display: &mut Display) -> bool {
    for (scanout, picture) in (0..).zip(&mut state.scanouts) {
        match picture.next_step(PIXELS_AN_UPDATE) {
            Some(scanout::Step::Surface(width, height)) => {
                display.begin(Head::scanout(scanout, width, height));
                return true;
            }
            Some(scanout::Step::Update { at, from, image }) => {
                display.begin_update(Head::update(scanout, &at), image, from);
                return true;
            }
            None => {}
        }
    }
    false
}
