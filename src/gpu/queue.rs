//! What is in flight of one of the device's queues: the chain popped last, and the answers not given back yet.

use std::time::Instant;

use log::debug;

use super::command::{
    Command, DecodeError, EDID_SIZE, HEADER_SIZE, Header, MAX_FIXED, Status, encode_capset_info, encode_edid,
    encode_header, encode_uuid, kind,
};
use super::dialog::Question;
use super::edid;
use super::fences::{Fences, Point, Timeline};
use super::state::{Outcome, State, goes_with_late};
use super::virgl::Done;
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::vring::{Popped, Ring};

/// Commands executed before the others get their turn.
pub const COMMANDS_A_TURN: usize = 64;
/// A transfer of that many pixels is rather finished at once than that the batch is cut short for it.
const SHORT_PULL: u64 = 64 * 1024;
/// So many pixels are rather read at once: a screen's.
const SHORT_READ: u64 = 2 << 20;

/// What is in flight of one queue. All of it is reused: working a queue off allocates nothing.
#[derive(Debug)]
pub struct Queue {
    /// Whether it is the cursor queue.
    for_cursor: bool,
    /// The chain popped last.
    chain: Chain,
    /// No more than a turn's commands, one that was held, and those that waited for the renderer.
    answered: Vec<Answered>,
    /// Answered, but not to be given back before the renderer has done its part.
    fences: Fences<Answered>,
    /// When that will be, for the command at hand.
    point: Option<Point>,
}

/// A chain with its response written.
#[derive(Clone, Copy, Debug)]
struct Answered {
    head: u16,
    written: u32,
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub enum Executed {
    /// It is answered.
    Answered,
    /// Only the display can answer it.
    Held(Held),
    /// It is done, and answered once the display took the frame before.
    Waits(Waiting),
    /// The transfer under way, or what is to be read, has to be done before; the chain is still to be executed.
    Postponed,
}

/// A command that waits for the display's answer; its chain is the one popped last.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Its header.
    pub header: Header,
    /// What it asks.
    pub question: Question,
}

/// A flush that waits for the display to take the frame before; its chain is the one popped last.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Its header.
    pub header: Header,
    /// The scanouts whose frames are still to be taken, by bit.
    pub scanouts: u16,
    /// Since when it waits.
    pub since: Instant,
}

impl Queue {
    /// The control queue.
    pub fn control() -> Self {
        Self::new(false)
    }

    /// The cursor queue.
    pub fn cursor() -> Self {
        Self::new(true)
    }

    fn new(for_cursor: bool) -> Self {
        let answered = Vec::with_capacity(COMMANDS_A_TURN + 1);
        Self { for_cursor, chain: Chain::default(), answered, fences: Fences::default(), point: None }
    }

    /// Pops the next chain.
    pub fn pop(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Popped {
        ring.pop(memory, &mut self.chain)
    }

    /// Forgets what is in flight: the ring was reset.
    pub fn reset(&mut self) {
        self.answered.clear();
        self.fences.clear();
        self.point = None;
    }

    /// The renderer says that something is done.
    pub fn reached(&mut self, done: Done) {
        // The command at hand may be waiting for the display: it need not wait for this any more.
        self.point = self.point.filter(|own| !own.is_reached_by(done));
        self.fences.reached(done, |answer| self.answered.push(answer));
    }

    /// Nothing is waited for any longer.
    pub fn give_up(&mut self) {
        self.point = None;
        self.fences.give_up(|answer| self.answered.push(answer));
    }

    /// Executes the popped command and answers it, if it may.
    pub fn command(&mut self, state: &mut State, memory: &GuestMemory) -> Executed {
        self.point = None;
        let mut bytes = [0; MAX_FIXED];
        let len = self.chain.read_at(memory.map(), 0, &mut bytes);
        let bytes = bytes.get(..len).unwrap_or_default();
        let Some(header) = Header::decode(bytes) else {
            debug!("a request of {len} bytes has no header");
            self.answered.push(Answered { head: self.chain.head(), written: 0 });
            return Executed::Answered;
        };
        let outcome = match Command::decode(&header, bytes) {
            // A transfer there would run into one on the control queue (VIRTIO 1.3, 5.7.2).
            Ok(command) if self.for_cursor && !command.is_for_cursor() => Outcome::Status(Status::ErrUnspec),
            Ok(command) => {
                // The queues are not ordered to each other: the cursor queue waits for no transfer.
                if !self.for_cursor && !state.goes_with_pull(&command) {
                    if state.pull_left() > SHORT_PULL {
                        return Executed::Postponed;
                    }
                    state.finish_pull();
                }
                if !self.for_cursor && !goes_with_late(&command) && state.unread() > SHORT_READ {
                    return Executed::Postponed;
                }
                let outcome = state.execute(&header, &command, &self.chain, memory);
                // The cursor queue gives the renderer nothing to do, and nobody tells it what is done.
                if header.is_fenced() && !self.for_cursor {
                    self.point = state.fence(Timeline::of(&header));
                }
                outcome
            }
            Err(DecodeError::Unknown { .. }) => Outcome::Status(Status::ErrUnspec),
            Err(DecodeError::Short { .. }) => Outcome::Status(Status::ErrInvalidParameter),
        };
        match outcome {
            Outcome::Status(status) => {
                if status.is_error() {
                    debug!("{} answered {status:?}", kind::name(header.kind).unwrap_or("unknown command"));
                }
                self.answer(memory, &header, &encode_header(status, &header));
            }
            Outcome::Uuid(uuid) => self.answer(memory, &header, &encode_uuid(&header, &uuid)),
            Outcome::CapsetInfo { id, max_version, max_size } => {
                self.answer(memory, &header, &encode_capset_info(&header, id, max_version, max_size));
            }
            Outcome::Capset { id, version } => {
                let capset = state.capset(id, version).unwrap_or_default();
                self.answer_with(memory, &header, &encode_header(Status::OkCapset, &header), capset);
            }
            Outcome::Ask(question) => return Executed::Held(Held { header, question }),
            Outcome::Wait(scanouts) => return Executed::Waits(Waiting { header, scanouts, since: Instant::now() }),
        }
        Executed::Answered
    }

    /// Writes the response of the chain popped last. One that does not fit becomes an error that does; where not even
    /// that fits, nothing is written.
    ///
    /// The guest has it with the next [`Queue::give_back`]; that of a fenced command once the renderer is there, and after
    /// those before it on its timeline.
    pub fn answer(&mut self, memory: &GuestMemory, header: &Header, response: &[u8]) {
        self.answer_with(memory, header, response, &[]);
    }

    /// The same, of a response in two parts.
    fn answer_with(&mut self, memory: &GuestMemory, header: &Header, response: &[u8], rest: &[u8]) {
        let room = self.chain.writable_len();
        let map = memory.map();
        let written = if (response.len() as u64).saturating_add(rest.len() as u64) <= room {
            let written = self.chain.write_at(map, 0, response);
            written.saturating_add(self.chain.write_at(map, written as u64, rest))
        } else if HEADER_SIZE as u64 <= room {
            self.chain.write_at(map, 0, &encode_header(Status::ErrUnspec, header))
        } else {
            0
        };
        let answer = Answered { head: self.chain.head(), written: u32::try_from(written).unwrap_or(0) };
        let timeline = Timeline::of(header);
        let point = self.point.take();
        let point = point.or_else(|| self.fences.last_on(timeline).filter(|_| header.is_fenced()));
        match point {
            Some(point) => self.fences.wait(timeline, point, answer),
            None => self.answered.push(answer),
        }
    }

    /// Answers with an EDID of our own making.
    pub fn answer_edid(&mut self, memory: &GuestMemory, header: &Header, (width, height): (u32, u32)) {
        let mut response = [0; EDID_SIZE];
        encode_edid(header, &edid::fallback(width, height), &mut response);
        self.answer(memory, header, &response);
    }

    /// Gives back what was answered, and tells the guest once.
    pub fn give_back(&mut self, ring: &mut Ring, memory: &GuestMemory) {
        for Answered { head, written } in self.answered.drain(..) {
            ring.push(memory, head, written);
        }
        ring.notify(memory);
    }
}
