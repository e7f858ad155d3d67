//! Whole sessions: the back end's own loop with a gpu or an input device in it; a front end, a guest, a display and an input
//! device's kernel around it, all in this thread. Nothing waits for anything.
//!
//! The first byte chooses the device ([`INPUT`]) and how it is; each operation after it begins with a byte, see [`op`].
//!
//! As long as the guest keeps its contract (nothing is written where the rings and buffers are) each answer is checked; a display
//! is strict always: what would crash QEMU is a find. Whatever comes, the session ends when the front end hangs up, and
//! nothing of a guest's is held then.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use nix::sys::eventfd::EventFd;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use seat_frontend::control::{VringAddr, feature, protocol, request, wire};
use seat_frontend::display::{Display, DisplayConfig};
use seat_frontend::memory::RegionSpec;
use vhost_seat::backend::{Backend, Flow};
use vhost_seat::gpu::command::Command;
use vhost_seat::gpu::{self, Gpu};
use vhost_seat::input::toggle::Keys;
use vhost_seat::input::{self, Input};
use vhost_seat::reactor::Timeout;
use vhost_seat::socket::Endpoint;
use vhost_seat::vhost_proto::device::Device;

use super::events;
use super::fds;
use super::node::{Kernel, Port};
use super::script::Script;

/// Of the first byte: the device is an input device, else a gpu.
pub const INPUT: u8 = 1;
/// Of the first byte: the input device is left to the host as well.
pub const NO_GRAB: u8 = 2;
/// Of the first byte: it has a hotkey.
pub const HOTKEY: u8 = 4;

/// What an operation's first byte says. What follows it stands at each.
pub mod op {
    /// Negotiates and starts everything as QEMU does. Flags, see [`super::boot`].
    pub const BOOT: u8 = 0;
    /// Any message: request, flags, which and how many descriptors, length, payload.
    pub const MESSAGE: u8 = 1;
    /// A message about a ring: which, its index, a number.
    pub const VRING: u8 = 2;
    /// A message about memory: which, then regions.
    pub const MEMORY: u8 = 3;
    /// What the display does.
    pub const DISPLAY: u8 = 4;
    /// The guest writes: where (in units of 8), length, bytes.
    pub const WRITE: u8 = 5;
    /// The guest kicks a queue.
    pub const KICK: u8 = 6;
    /// A gpu command: shape, kind, words.
    pub const COMMAND: u8 = 7;
    /// Turns of the loop.
    pub const TURNS: u8 = 8;
    /// The input device says something: how many events, each as [`super::events::next`] has it.
    pub const EVENTS: u8 = 9;
    /// The input device is pulled out, plugged in, taken by another program.
    pub const PLUG: u8 = 10;
    /// The config space: shape, offset, length, bytes.
    pub const CONFIG: u8 = 11;
    /// Buffers for events, or for status events: how many, length, bytes.
    pub const BUFFERS: u8 = 12;
    /// RESET_DEVICE.
    pub const RESET: u8 = 13;
    /// The front end hangs up in the middle of a message.
    pub const CUT: u8 = 14;
    /// The available index jumps.
    pub const JUMP: u8 = 15;
    pub const COUNT: u8 = 16;
}

/// Flags of [`op::BOOT`].
pub mod boot {
    pub const EVENT_IDX: u8 = 1;
    pub const ACKS: u8 = 2;
    pub const DISPLAY: u8 = 4;
    /// Four entries a ring instead of 64.
    pub const SMALL: u8 = 8;
    /// No kick eventfds.
    pub const POLLED: u8 = 16;
    /// No protocol features: rings are enabled from the start.
    pub const PLAIN: u8 = 32;
}

/// Host memory that the gpu's guest may make us hold.
pub const MAX_HOSTMEM: u64 = 4 << 20;

/// Operations of one run.
const MAX_STEPS: usize = 200;

// Guest memory, and where in it things are. One file holds all of it.
const GUEST_LEN: u64 = 0x4_0000;
const HALF: u64 = GUEST_LEN / 2;
/// Where the guest sees the second half; the first is at 0.
const HIGH: u64 = 0x10_0000;
/// Where the front end sees the guest's address 0.
const USER: u64 = 0x7000_0000_0000;
const RING_STRIDE: u64 = 0x3000;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const REQUESTS: u64 = 0x8000;
const REQUEST_LEN: u64 = 0x200;
const RESPONSES: u64 = 0xa000;
const RESPONSE_LEN: u64 = 0x480;
/// Slots for commands, each with its four descriptors.
const SLOTS: u16 = 8;

/// What came of a run, for those who want to know how deep it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Replies on the control socket.
    pub replies: usize,
    /// Buffers given back, and how many of them with an answer that is no error.
    pub used: usize,
    pub good: usize,
    /// Messages that displays understood.
    pub shown: u64,
    /// Events that the input device was told.
    pub lit: usize,
}

/// One session.
pub fn run(data: &[u8]) -> Depth {
    let mut script = Script::new(data);
    let shape = script.u8();
    if shape & INPUT == 0 {
        let gpu = Gpu::new(gpu::Options::new(MAX_HOSTMEM));
        return Life::new(gpu, None).run(&mut script, |gpu: &Gpu| assert_eq!(gpu.hostmem(), 0, "held for nobody"));
    }
    let kernel = Kernel::new(events::description([0, 4][usize::from(shape >> 3 & 1)], shape & 0x10 != 0));
    let toggle = (shape & HOTKEY != 0).then(|| Keys::by_name("ctrl-ctrl").unwrap());
    let options = input::Options { grab: shape & NO_GRAB == 0, exit_on_unplug: false, toggle };
    let input = Input::open(kernel.place(), options).unwrap();
    Life::new(input, Some(kernel)).run(&mut script, |_: &Input<Port>| {})
}

/// A buffer that the device has.
#[derive(Clone, Copy)]
struct InFlight {
    room: u64,
    fence: Option<u64>,
}

/// The driver's half of a ring.
struct Queue {
    avail: u16,
    used: u16,
    kick: EventFd,
    call: EventFd,
    err: EventFd,
    /// By slot.
    in_flight: [Option<InFlight>; SLOTS as usize],
}

struct Life<D> {
    back: Backend<D>,
    front: UnixStream,
    memory: File,
    size: u16,
    queues: [Queue; 2],
    display: Option<Display>,
    kernel: Option<Kernel>,
    /// Requests in whole messages that may be replied to, and what came back so far.
    asked: VecDeque<u32>,
    replies: Vec<u8>,
    /// Nobody has broken the guest's contract, or changed what was set up.
    clean: bool,
    booted: bool,
    serial: u64,
    over: bool,
    depth: Depth,
}

impl<D: Device> Life<D> {
    fn new(device: D, kernel: Option<Kernel>) -> Life<D> {
        let (front, back) = UnixStream::pair().unwrap();
        let signals = SignalFd::new(&SigSet::empty()).unwrap();
        let queue = || Queue {
            avail: 0,
            used: 0,
            kick: fds::eventfd(),
            call: fds::eventfd(),
            err: fds::eventfd(),
            in_flight: [None; SLOTS as usize],
        };
        Life {
            back: Backend::new(device, Endpoint::Connected(back), signals).unwrap(),
            front,
            memory: fds::memfd(GUEST_LEN),
            size: 64,
            queues: [queue(), queue()],
            display: None,
            kernel,
            asked: VecDeque::new(),
            replies: Vec::new(),
            clean: true,
            booted: false,
            serial: 0,
            over: false,
            depth: Depth::default(),
        }
    }

    fn run(mut self, script: &mut Script<'_>, left: impl Fn(&D)) -> Depth {
        for _ in 0..MAX_STEPS {
            if script.is_empty() || self.over {
                break;
            }
            self.step(script);
        }
        if !self.over {
            self.come_to_rest();
        }
        self.hang_up();
        left(self.back.device());
        self.depth.lit = self.kernel.as_ref().map_or(0, Kernel::written);
        self.depth
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % op::COUNT {
            op::BOOT => self.boot(script.u8()),
            op::MESSAGE => self.message(script),
            op::VRING => self.vring(script),
            op::MEMORY => self.change_memory(script),
            op::DISPLAY => self.display(script),
            op::WRITE => {
                let at = u64::from(script.u16()) * 8 % GUEST_LEN;
                let len = usize::from(script.u8());
                // The second half is the guest's own: what it shows lies there.
                self.clean &= at >= HALF;
                let bytes = script.bytes(len.min((GUEST_LEN - at) as usize));
                self.memory.write_all_at(bytes, at).unwrap();
            }
            op::KICK => self.kick(usize::from(script.u8() & 1)),
            op::COMMAND => self.command(script),
            op::TURNS => {
                for _ in 0..=script.u8() & 7 {
                    self.turn();
                }
            }
            op::EVENTS => {
                for _ in 0..=script.u8() & 63 {
                    let event = events::next(script);
                    if let Some(kernel) = &self.kernel {
                        kernel.say(event);
                    }
                }
            }
            op::PLUG => self.plug(script.u8()),
            op::CONFIG => self.config(script),
            op::BUFFERS => self.buffers(script),
            op::RESET => {
                self.clean = false;
                self.tell(request::RESET_DEVICE, &[], &[]);
            }
            op::CUT => {
                self.send(
                    &wire::Header { request: 1, flags: 1, size: 8 }.encode()[..usize::from(script.u8() % 12)],
                    &[],
                );
                self.hang_up();
            }
            op::JUMP.. => {
                let queue = &mut self.queues[usize::from(script.u8() & 1)];
                queue.avail = queue.avail.wrapping_add(script.u16());
                self.clean = false;
                self.publish(0);
                self.publish(1);
            }
        }
        self.turn();
    }

    // The loop.

    fn turn(&mut self) {
        if self.over {
            return;
        }
        match self.back.turn(Timeout::Now) {
            Ok(Flow::Go) => {}
            Ok(Flow::Stop) => panic!("nobody hung up"),
            Err(error) => {
                assert!(matches!(error, vhost_seat::backend::Error::FrontEnd(_)), "the host is fine, but {error}");
                // What was under way is cut short now.
                self.over = true;
                return;
            }
        }
        self.look();
    }

    /// Reads all that came back, and holds it against what may come.
    fn look(&mut self) {
        self.replies.extend(fds::receive(&self.front, 2048));
        while let Some(head) = self.replies.first_chunk::<{ wire::HEADER_SIZE }>() {
            let header = wire::Header::decode(head);
            assert_eq!(header.flags, wire::VERSION | wire::REPLY);
            let len = wire::HEADER_SIZE + header.size as usize;
            if self.replies.len() < len {
                break;
            }
            while self.asked.pop_front().expect("nobody asked") != header.request {}
            match header.request {
                request::GET_CONFIG => assert!((12..=268).contains(&header.size)),
                _ => assert_eq!(header.size, 8, "{header:?}"),
            }
            self.replies.drain(..len);
            self.depth.replies += 1;
        }
        if let Some(display) = &mut self.display {
            self.depth.shown += display.pump().unwrap();
        }
        for queue in 0..2 {
            self.collect(queue);
        }
    }

    /// Takes what the device has given back.
    fn collect(&mut self, number: usize) {
        let ring = RING_STRIDE * number as u64;
        let index = u16::from_le_bytes(self.read(ring + USED + 2));
        if !self.clean || !self.booted {
            return;
        }
        assert!(index.wrapping_sub(self.queues[number].used) <= SLOTS, "more is given back than was there");
        while self.queues[number].used != index {
            let at = u64::from(self.queues[number].used % self.size);
            let [id, len] = [0, 4].map(|part| u32::from_le_bytes(self.read(ring + USED + 4 + 8 * at + part)));
            let slot = id as usize / 4;
            assert!(id.is_multiple_of(4), "no such head");
            let buffer = self.queues[number].in_flight.get_mut(slot).and_then(Option::take).expect("not in flight");
            assert!(u64::from(len) <= buffer.room, "{len} bytes in a buffer of {}", buffer.room);
            self.queues[number].used = self.queues[number].used.wrapping_add(1);
            self.depth.used += 1;
            self.depth.good += usize::from(self.is_good(number, slot, len, buffer));
        }
    }

    fn is_good(&self, number: usize, slot: usize, len: u32, buffer: InFlight) -> bool {
        let at = place(RESPONSES, RESPONSE_LEN, number, slot as u16);
        if self.kernel.is_some() {
            assert!([0, 8].contains(&len), "an event has 8 bytes");
            return len == 8 || number == 1;
        }
        if buffer.room < 24 {
            assert_eq!(len, 0, "no room for a response");
            return false;
        }
        let Some(fence) = buffer.fence else { return false };
        assert!(len >= 24, "no response");
        let [kind, flags] = [0, 4].map(|part| u32::from_le_bytes(self.read(at + part)));
        assert!((0x1100..=0x1106).contains(&kind) || (0x1200..=0x1205).contains(&kind), "{kind:#x} is no response");
        assert_eq!((flags & 1, u64::from_le_bytes(self.read(at + 8))), (u32::from(fence != 0), fence), "the fence");
        kind < 0x1200
    }

    fn come_to_rest(&mut self) {
        // A question to a display that hung up waits for the next one, by the clock.
        let patient = self.display.as_ref().is_some_and(|display| display.is_closed() || display.withheld() > 0);
        let is_reading = self.display.as_ref().is_none_or(Display::is_reading);
        self.kick(0);
        self.kick(1);
        for _ in 0..if self.clean && self.booted { 200 } else { 4 } {
            if self.over || self.queues.iter().all(|queue| queue.in_flight.iter().all(Option::is_none)) {
                break;
            }
            self.turn();
        }
        if self.clean && self.booted && !self.over && self.kernel.is_none() && !patient && is_reading {
            let left = self.queues.iter().flat_map(|queue| queue.in_flight).flatten().count();
            assert_eq!(left, 0, "commands that nobody answers");
            assert!(self.queues.iter().all(|queue| fds_count(&queue.err) == 0), "a ring is broken for nothing");
        }
    }

    fn hang_up(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.front.shutdown(std::net::Shutdown::Both).unwrap();
        for _ in 0..100 {
            match self.back.turn(Timeout::Now) {
                Ok(Flow::Go) => {}
                Ok(Flow::Stop) | Err(vhost_seat::backend::Error::FrontEnd(_)) => return,
                Err(error) => panic!("the host is fine, but {error}"),
            }
        }
        panic!("the session does not end");
    }

    // The front end.

    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        if fds::send(&self.front, bytes, fds) < bytes.len() {
            // The rest would be out of step.
            self.hang_up();
        }
    }

    fn tell(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.asked.push_back(request);
        self.send(&wire::message(request, wire::VERSION | wire::NEED_REPLY, payload), fds);
    }

    fn boot(&mut self, flags: u8) {
        // What was made available before lies where a ring of another size would have it.
        if self.booted || self.queues.iter().any(|queue| queue.avail != 0) {
            self.clean = false;
        }
        self.booted = true;
        self.size = if flags & boot::SMALL != 0 { 4 } else { 64 };
        let plain = flags & boot::PLAIN != 0;
        self.tell(request::GET_FEATURES, &[], &[]);
        let mut features = 1u64 << feature::VERSION_1 | 1 << feature::INDIRECT_DESC;
        if self.kernel.is_none() {
            features |= 2;
        }
        if flags & boot::EVENT_IDX != 0 {
            features |= 1 << feature::EVENT_IDX;
        }
        if !plain {
            features |= 1 << feature::PROTOCOL_FEATURES;
            self.tell(request::GET_PROTOCOL_FEATURES, &[], &[]);
            let acks = if flags & boot::ACKS != 0 { 1 << protocol::REPLY_ACK } else { 0 };
            let wanted = acks | 1 << protocol::CONFIG | 1 << protocol::MQ | 1u64 << protocol::RESET_DEVICE;
            self.tell(request::SET_PROTOCOL_FEATURES, &wanted.to_ne_bytes(), &[]);
            self.tell(request::GET_QUEUE_NUM, &[], &[]);
        }
        self.tell(request::SET_OWNER, &[], &[]);
        self.tell(request::SET_FEATURES, &features.to_ne_bytes(), &[]);
        let table = wire::mem_table(&[region(0, HALF, 0), region(HIGH, HALF, HALF)]);
        let files = [fds::copy(&self.memory), fds::copy(&self.memory)];
        self.tell(request::SET_MEM_TABLE, &table, &[files[0].as_fd(), files[1].as_fd()]);
        if flags & boot::DISPLAY != 0 {
            self.new_display(3, 4);
        }
        for index in 0..2u32 {
            self.turn();
            self.tell(request::SET_VRING_NUM, &wire::vring_state(index, self.size.into()), &[]);
            self.tell(request::SET_VRING_BASE, &wire::vring_state(index, 0), &[]);
            self.tell(request::SET_VRING_ADDR, &address(index, 0), &[]);
            let queue = &self.queues[index as usize];
            let [kick, call, err] = [&queue.kick, &queue.call, &queue.err].map(fds::copy);
            let value = u64::from(index);
            if flags & boot::POLLED != 0 {
                self.tell(request::SET_VRING_KICK, &(value | wire::NO_FD).to_ne_bytes(), &[]);
            } else {
                self.tell(request::SET_VRING_KICK, &value.to_ne_bytes(), &[kick.as_fd()]);
            }
            self.tell(request::SET_VRING_CALL, &value.to_ne_bytes(), &[call.as_fd()]);
            self.tell(request::SET_VRING_ERR, &value.to_ne_bytes(), &[err.as_fd()]);
            if !plain {
                self.tell(request::SET_VRING_ENABLE, &wire::vring_state(index, 1), &[]);
            }
        }
        for _ in 0..3 {
            self.turn();
        }
    }

    fn message(&mut self, script: &mut Script<'_>) {
        self.clean = false;
        let (number, flags, fds, len) = (u32::from(script.u8()), script.u8(), script.u8(), usize::from(script.u8()));
        let payload = script.bytes(len);
        let number = if number == 255 { script.u32() } else { number };
        let flags = match flags {
            0..=63 => wire::VERSION | wire::NEED_REPLY,
            64..=127 => wire::VERSION,
            other => u32::from(other & 15) | u32::from(other >> 4 & 7) << 29,
        };
        let (files, _kept) = self.files(fds);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        if number == request::GPU_SET_SOCKET {
            // It ends in the middle of whatever was said.
            self.display = None;
        }
        self.asked.push_back(number);
        self.send(&wire::message(number, flags, payload), &files);
    }

    /// Descriptors of a kind (high four bits), so many (low four bits); and the other end where they have one.
    fn files(&self, which: u8) -> (Vec<OwnedFd>, Option<UnixStream>) {
        let count = usize::from(which & 15);
        match which >> 4 {
            0..=3 => ((0..count).map(|_| fds::copy(&self.memory)).collect(), None),
            4..=7 => ((0..count).map(|_| fds::copy(&self.queues[0].kick)).collect(), None),
            8..=11 => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                ((0..count).map(|_| fds::copy(&theirs)).collect(), Some(ours))
            }
            12 | 13 => ((0..count).map(|_| fds::memfd(100).into()).collect(), None),
            _ => ((0..count).map(|_| fds::copy(&self.front)).collect(), None),
        }
    }

    fn vring(&mut self, script: &mut Script<'_>) {
        let (which, index, number) = (script.u8(), u32::from(script.u8() & 3), script.u16());
        self.clean = false;
        let state = wire::vring_state(index, number.into());
        let queue = &self.queues[index as usize & 1];
        let value = u64::from(index).to_ne_bytes();
        let none = (u64::from(index) | wire::NO_FD).to_ne_bytes();
        let kick = fds::copy(&queue.kick);
        match which % 12 {
            0 => self.tell(request::SET_VRING_NUM, &state, &[]),
            1 => self.tell(request::SET_VRING_BASE, &state, &[]),
            2 => self.tell(request::SET_VRING_ENABLE, &wire::vring_state(index, u32::from(number & 1)), &[]),
            3 => self.tell(request::GET_VRING_BASE, &state, &[]),
            4 => self.tell(request::SET_VRING_KICK, &value, &[kick.as_fd()]),
            5 => self.tell(request::SET_VRING_CALL, &value, &[kick.as_fd()]),
            6 => self.tell(request::SET_VRING_ERR, &value, &[kick.as_fd()]),
            7 => self.tell(request::SET_VRING_KICK, &none, &[]),
            8 => self.tell(request::SET_VRING_CALL, &none, &[]),
            9 => self.tell(request::SET_VRING_ADDR, &address(index, number.into()), &[]),
            10 => self.tell(request::SET_VRING_ADDR, &address(index, 0), &[]),
            _ => self.tell(request::SET_VRING_ENABLE, &state, &[]),
        }
    }

    fn change_memory(&mut self, script: &mut Script<'_>) {
        self.clean = false;
        let which = script.u8();
        let regions: Vec<_> = (0..1 + (which >> 4 & 3))
            .map(|_| {
                let page = |script: &mut Script<'_>| u64::from(script.word()) << 12;
                region(page(script), page(script), page(script))
            })
            .collect();
        let file = fds::copy(&self.memory);
        match which & 3 {
            0 => {
                let fds = vec![file.as_fd(); regions.len()];
                self.tell(request::SET_MEM_TABLE, &wire::mem_table(&regions), &fds);
            }
            1 => self.tell(request::ADD_MEM_REG, &wire::single_region(&regions[0]), &[file.as_fd()]),
            2 => self.tell(request::REM_MEM_REG, &wire::single_region(&regions[0]), &[]),
            _ => self.tell(request::REM_MEM_REG, &wire::single_region(&region(HIGH, HALF, HALF)), &[]),
        }
    }

    fn config(&mut self, script: &mut Script<'_>) {
        let (shape, offset, len) = (script.u8(), script.word(), usize::from(script.u8()));
        if shape & 1 == 0 {
            self.tell(request::GET_CONFIG, &wire::config(offset, 0, &vec![0; len]), &[]);
        } else {
            let bytes = script.bytes(len).to_vec();
            self.tell(request::SET_CONFIG, &wire::config(offset, u32::from(shape >> 1 & 1), &bytes), &[]);
        }
    }

    // The display.

    fn new_display(&mut self, features: u64, max_outputs: u32) {
        let config = DisplayConfig {
            features,
            // The gpu offers sixteen whatever the display has: QEMU's is told as many.
            max_outputs: 16,
            heads: (0..max_outputs).map(|head| seat_frontend::gpu::Head::sized(640 + head, 480)).collect(),
            keep_pixels: false,
            log: 0,
            silent_edids: true,
            ..DisplayConfig::default()
        };
        let (display, theirs) = Display::pair(config).unwrap();
        self.tell(request::GPU_SET_SOCKET, &[], &[theirs.as_fd()]);
        self.display = Some(display);
    }

    fn display(&mut self, script: &mut Script<'_>) {
        let shape = script.u8();
        let number = shape >> 3;
        match (shape & 7, &mut self.display) {
            (0, _) => self.new_display(u64::from(number & 3), u32::from(number >> 2)),
            (1, Some(display)) => display.close(),
            (2, Some(display)) => display.set_reading(number & 1 != 0),
            (3, Some(display)) => {
                let _ = display.withhold_replies(number & 1 != 0);
            }
            (4, Some(display)) => {
                let _ = display.release_replies(usize::from(number));
            }
            (5, Some(display)) => {
                // What it says then is not to be trusted, and what waits for it may wait for ever.
                self.clean = false;
                let _ = display.send_raw(script.bytes(usize::from(number) * 2));
            }
            (6, Some(display)) => {
                let (heads, _) = display.answers();
                heads.truncate(usize::from(number));
            }
            _ => {}
        }
    }

    // The guest.

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).unwrap();
    }

    fn kick(&mut self, queue: usize) {
        self.queues[queue].kick.write(1).unwrap();
    }

    fn publish(&mut self, number: usize) {
        self.write(RING_STRIDE * number as u64 + AVAIL + 2, &self.queues[number].avail.to_le_bytes());
    }

    /// A slot whose four descriptors are free; where the ring is small there is one.
    fn slot(&self, number: usize) -> Option<u16> {
        let slots = usize::from(SLOTS.min(self.size / 4));
        let free = self.queues[number].in_flight[..slots].iter().position(Option::is_none);
        if self.clean { free.map(|slot| slot as u16) } else { Some(self.queues[number].avail % slots as u16) }
    }

    /// Makes a chain of these buffers (address, length, writable) available.
    fn offer(&mut self, number: usize, slot: u16, buffers: &[(u64, u64, bool)], indirect: bool, buffer: InFlight) {
        let ring = RING_STRIDE * number as u64;
        let table: Vec<u8> = buffers
            .iter()
            .enumerate()
            .flat_map(|(at, (addr, len, writable))| {
                let last = at + 1 == buffers.len();
                let flags = u16::from(!last) | if *writable { 2 } else { 0 };
                let next = if indirect { at as u16 + 1 } else { slot * 4 + at as u16 + 1 };
                [&addr.to_le_bytes()[..], &(*len as u32).to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()]
                    .concat()
            })
            .collect();
        let place = ring + 64 * u64::from(slot);
        if indirect {
            let at = self::place(REQUESTS, REQUEST_LEN, number, slot) + 0x180;
            self.write(at, &table);
            let entry = [&at.to_le_bytes()[..], &(table.len() as u32).to_le_bytes(), &4u16.to_le_bytes(), &[0; 2]];
            self.write(place, &entry.concat());
        } else {
            self.write(place, &table);
        }
        let queue = &mut self.queues[number];
        let entry = ring + AVAIL + 4 + 2 * u64::from(queue.avail % self.size);
        queue.avail = queue.avail.wrapping_add(1);
        queue.in_flight[usize::from(slot)] = Some(buffer);
        self.write(entry, &(slot * 4).to_le_bytes());
        self.publish(number);
    }

    /// A gpu command. Shape: bit 0 the cursor queue, 1 no kick, 2 an indirect table, 3 fenced, 4 the request in two
    /// buffers, 5 cut short, 6 and 7 the response's room.
    fn command(&mut self, script: &mut Script<'_>) {
        let (shape, kind) = (script.u8(), script.u8());
        let kind = match kind & 0x3f {
            kind @ 0..=0xd => 0x100 + u32::from(kind),
            kind @ 0x20..=0x29 => 0x200 + u32::from(kind & 15),
            kind @ 0x30..=0x31 => 0x300 + u32::from(kind & 1),
            // The everyday ones come up more often.
            kind @ 0x10..=0x1f => 0x101 + u32::from(kind & 15) % 6,
            kind => 0x300 + u32::from(kind),
        };
        self.serial += 1;
        let fence = if shape & 8 != 0 { self.serial } else { 0 };
        let mut words = vec![kind, u32::from(fence != 0), fence as u32, (fence >> 32) as u32, 0, 0];
        let fixed = Command::fixed_size(kind).unwrap_or(32) / 4;
        words.extend((words.len()..fixed).map(|_| script.word()));
        if kind == 0x106 {
            for _ in 0..words[7].min(12) {
                // In the second half of the memory, page by page, or anywhere.
                let page = script.word();
                let addr = if page < 0x80 { HIGH + u64::from(page) * 0x400 } else { u64::from(page) };
                words.extend([addr as u32, (addr >> 32) as u32, script.word().wrapping_mul(16) % (1 << 20), 0]);
            }
        }
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(0x180);
        if shape & 0x20 != 0 {
            bytes.truncate(usize::from(script.u8()).max(1));
        }
        let number = usize::from(shape & 1);
        let Some(slot) = self.slot(number) else { return };
        let at = place(REQUESTS, REQUEST_LEN, number, slot);
        self.write(at, &bytes);
        let len = bytes.len() as u64;
        let room = [RESPONSE_LEN, 24, 10, 0][usize::from(shape >> 6)];
        let cut = if shape & 0x10 != 0 && len > 1 { 1 + u64::from(script.u8()) % (len - 1) } else { len };
        let mut buffers = vec![
            (at, cut, false),
            (at + cut, len - cut, false),
            (place(RESPONSES, RESPONSE_LEN, number, slot), room, true),
        ];
        buffers.retain(|(_, len, _)| *len > 0);
        let fence = (len >= 24 && room >= 24).then_some(fence);
        self.offer(number, slot, &buffers, shape & 4 != 0, InFlight { room, fence });
        if shape & 2 == 0 {
            self.kick(number);
        }
    }

    /// Buffers for the input device: on queue 0 for it to write, on queue 1 with a status event in each.
    fn buffers(&mut self, script: &mut Script<'_>) {
        let (shape, len) = (script.u8(), u64::from(script.u8() & 31) + 1);
        let number = usize::from(shape & 1);
        for _ in 0..=shape >> 4 {
            let Some(slot) = self.slot(number) else { break };
            let at = place(RESPONSES, RESPONSE_LEN, number, slot);
            if number == 1 {
                self.write(at, script.bytes(len as usize));
            }
            let room = if number == 0 { len } else { 0 };
            self.offer(number, slot, &[(at, len, number == 0)], shape & 2 != 0, InFlight { room, fence: None });
        }
        self.kick(number);
    }

    // The input device's kernel.

    fn plug(&mut self, shape: u8) {
        let Some(kernel) = &self.kernel else { return };
        match shape & 7 {
            0 | 1 => kernel.unplug(),
            2..=4 => kernel.plug(shape & 0x78 == 0x78),
            other => kernel.set_busy(other & 1 != 0),
        }
    }
}

/// Where a slot's bytes of length `len` are, of all those from `first` on.
fn place(first: u64, len: u64, number: usize, slot: u16) -> u64 {
    first + len * (number as u64 * u64::from(SLOTS) + u64::from(slot))
}

fn fds_count(eventfd: &EventFd) -> u64 {
    eventfd.read().unwrap_or(0)
}

fn region(gpa: u64, size: u64, mmap_offset: u64) -> RegionSpec {
    RegionSpec { gpa, size, uva: USER.wrapping_add(gpa), mmap_offset }
}

/// SET_VRING_ADDR of a ring; `off` moves it where it should not be.
fn address(index: u32, off: u64) -> [u8; 40] {
    let at = USER + RING_STRIDE * u64::from(index) + off * 0x401;
    VringAddr { index, flags: 0, desc: at, used: at + USED, avail: at + AVAIL + off, log: 0 }.encode()
}
