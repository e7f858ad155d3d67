//! Sessions as lists of steps: messages with their descriptors, and writes into guest memory in between.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use seat_frontend::control::wire::{self, VERSION, VringAddr, message};
use seat_frontend::control::{feature, request};
use seat_frontend::gpu::{Command, Fence, MAX_FIXED, MemEntry, Rect, format};
use seat_frontend::memory::{GuestMemory, RegionPlan, RegionSpec, memfd};
use seat_frontend::program::stream_pair;
use seat_frontend::ring::{Desc, NEXT, WRITE};

use crate::serving::{BackEnd, Kind};

const GPA: u64 = 0x4000_0000;
const UVA: u64 = 0x7f00_0000_0000;
/// The guest's memory: two rings, then commands and buffers.
pub const MEMORY: u64 = 0x4_0000;
const RING_SIZE: u16 = 16;
/// Where a ring's parts lie in its share of the memory.
const RING_SHARE: u64 = 0x1000;
const AVAIL: u64 = 0x400;
const USED: u64 = 0x800;
const COMMANDS: u64 = 0x4000;
const COMMAND: u64 = 0x100;
const RESPONSES: u64 = 0x8000;
const RESPONSE: u64 = 0x800;
const PIXELS: u64 = 0x2_0000;

/// A descriptor that a message can carry. All are made once, and stay the front end's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fd {
    Memory,
    ShortFile,
    Kick(usize),
    Call,
    FullCall,
    /// Full, and it blocks.
    Trap,
    Display,
    Pipe,
    Null,
}

/// What a mutation may put in a descriptor's place; [`Fd::Trap`] is too slow to be common.
pub const FDS: [Fd; 9] =
    [Fd::Memory, Fd::ShortFile, Fd::Kick(0), Fd::Kick(1), Fd::Call, Fd::FullCall, Fd::Display, Fd::Pipe, Fd::Null];

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sent by one system call.
    Send { bytes: Vec<u8>, fds: Vec<Fd> },
    /// Written into guest memory.
    Poke { at: u64, bytes: Vec<u8> },
    /// A ring is kicked.
    Kick(usize),
    /// The guest looks whether its first buffer is back, a bounded number of times: what was sent is worked off meanwhile.
    Look(usize),
}

/// The front end's side of many sessions.
pub struct Player {
    memory: GuestMemory,
    short: OwnedFd,
    kicks: [EventFd; 2],
    call: EventFd,
    full: EventFd,
    trap: EventFd,
    display: (OwnedFd, OwnedFd),
    pipe: (OwnedFd, OwnedFd),
    null: OwnedFd,
}

impl Player {
    pub fn new() -> Player {
        let eventfd = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let (full, trap) = (eventfd(), EventFd::from_flags(EfdFlags::empty()).unwrap());
        full.write(u64::MAX - 1).unwrap();
        trap.write(u64::MAX - 1).unwrap();
        let (ours, theirs) = stream_pair().unwrap();
        Player {
            memory: GuestMemory::new(&[RegionPlan::new(GPA, MEMORY, 0).at_uva(UVA)], true).unwrap(),
            short: memfd(c"short", 0x1000, true).unwrap(),
            kicks: [eventfd(), eventfd()],
            call: eventfd(),
            full,
            trap,
            display: (ours.into(), theirs.into()),
            pipe: nix::unistd::pipe().unwrap(),
            null: std::fs::File::open("/dev/null").unwrap().into(),
        }
    }

    fn fd(&self, fd: Fd) -> BorrowedFd<'_> {
        match fd {
            Fd::Memory => self.memory.regions()[0].fd(),
            Fd::ShortFile => self.short.as_fd(),
            Fd::Kick(ring) => self.kicks[ring].as_fd(),
            Fd::Call => self.call.as_fd(),
            Fd::FullCall => self.full.as_fd(),
            Fd::Trap => self.trap.as_fd(),
            Fd::Display => self.display.1.as_fd(),
            Fd::Pipe => self.pipe.1.as_fd(),
            Fd::Null => self.null.as_fd(),
        }
    }

    /// Up to where the guest's buffers of a ring are back.
    pub fn used(&self, ring: usize) -> u16 {
        self.memory.read_u16(GPA + ring as u64 * RING_SHARE + USED + 2)
    }

    fn look(&self, ring: usize) {
        const LOOKS: u32 = 100;
        for _ in 0..LOOKS {
            if self.used(ring) != 0 {
                break;
            }
            std::thread::yield_now();
        }
    }

    /// Plays a session to its end: all of the steps, then a hang-up; `abrupt` ones read no answer before it. The back end
    /// has ended the session too when this returns, but for abrupt ones. Returns the answers' bytes.
    pub fn play(&self, back_end: &BackEnd, steps: &[Step], abrupt: bool) -> Vec<u8> {
        self.memory.fill(GPA, COMMANDS, 0);
        let mut front = back_end.connect();
        for step in steps {
            match step {
                Step::Send { bytes, fds } => {
                    let fds: Vec<_> = fds.iter().map(|fd| self.fd(*fd)).collect();
                    if !bytes.is_empty() && front.send_bytes(bytes, &fds).is_err() {
                        break;
                    }
                }
                Step::Poke { at, bytes } => self.memory.write(GPA + at, bytes),
                Step::Kick(ring) => {
                    let _ = self.kicks[*ring].write(1);
                }
                Step::Look(ring) => self.look(*ring),
            }
        }
        let mut answers = Vec::new();
        if abrupt {
            return answers;
        }
        let mut stream = front.stream();
        // It may be gone already.
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return answers,
                Ok(count) => answers.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answers,
                Err(error) => panic!("the session does not end: {error}"),
            }
        }
    }
}

/// A session in which all is right, as its steps.
pub fn valid_session(kind: Kind) -> Vec<Step> {
    let mut session = Session(Vec::new());
    session.ask(request::GET_FEATURES, &[]);
    session.ask(request::GET_PROTOCOL_FEATURES, &[]);
    // MQ, REPLY_ACK, CONFIG, RESET_DEVICE, CONFIGURE_MEM_SLOTS.
    session.tell(request::SET_PROTOCOL_FEATURES, &(1u64 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15).to_ne_bytes(), &[]);
    session.ask(request::GET_QUEUE_NUM, &[]);
    session.ask(request::GET_MAX_MEM_SLOTS, &[]);
    session.tell(request::SET_OWNER, &[], &[]);
    let own = if kind == Kind::Gpu { 1 << 1 | 1 << 2 } else { 0 };
    let bits = [feature::INDIRECT_DESC, feature::EVENT_IDX, feature::PROTOCOL_FEATURES, feature::VERSION_1];
    let features = bits.iter().fold(own, |all, bit| all | 1u64 << bit);
    session.tell(request::SET_FEATURES, &features.to_ne_bytes(), &[]);
    if kind == Kind::Input {
        session.tell(request::SET_CONFIG, &wire::config(0, 0, &[0x11, 1]), &[]);
    }
    session.ask(request::GET_CONFIG, &wire::config(0, 0, &[0; 136]));
    let spec = RegionSpec { gpa: GPA, size: MEMORY, uva: UVA, mmap_offset: 0 };
    session.tell(request::ADD_MEM_REG, &wire::single_region(&spec), &[Fd::Memory]);
    if kind == Kind::Gpu {
        session.tell(request::GPU_SET_SOCKET, &[], &[Fd::Display]);
    }
    for ring in 0..2u32 {
        session.ring(ring);
    }
    let heads = if kind == Kind::Gpu { session.gpu_commands() } else { session.input_buffers() };
    for (ring, heads) in (0..).zip(heads) {
        session.publish(ring, &heads);
    }
    session.0.push(Step::Look(1));
    session.0.push(Step::Look(0));
    session.ask(request::GET_FEATURES, &[]);
    session.tell(request::SET_VRING_ENABLE, &wire::vring_state(0, 0), &[]);
    session.ask(request::GET_VRING_BASE, &wire::vring_state(0, 0));
    session.ask(request::GET_VRING_BASE, &wire::vring_state(1, 0));
    session.tell(request::RESET_DEVICE, &[], &[]);
    session.ring(0);
    session.tell(request::SET_MEM_TABLE, &wire::mem_table(&[spec]), &[Fd::Memory]);
    session.tell(request::REM_MEM_REG, &wire::single_region(&spec), &[]);
    session.0
}

struct Session(Vec<Step>);

impl Session {
    fn ask(&mut self, number: u32, payload: &[u8]) {
        self.0.push(Step::Send { bytes: message(number, VERSION, payload), fds: Vec::new() });
    }

    fn tell(&mut self, number: u32, payload: &[u8], fds: &[Fd]) {
        let bytes = message(number, VERSION | wire::NEED_REPLY, payload);
        self.0.push(Step::Send { bytes, fds: fds.to_vec() });
    }

    fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.0.push(Step::Poke { at, bytes: bytes.to_vec() });
    }

    fn ring(&mut self, ring: u32) {
        let base = UVA + u64::from(ring) * RING_SHARE;
        let addr = VringAddr { index: ring, flags: 0, desc: base, avail: base + AVAIL, used: base + USED, log: 0 };
        self.tell(request::SET_VRING_NUM, &wire::vring_state(ring, RING_SIZE.into()), &[]);
        self.tell(request::SET_VRING_BASE, &wire::vring_state(ring, 0), &[]);
        self.tell(request::SET_VRING_ADDR, &addr.encode(), &[]);
        let fd = u64::from(ring).to_ne_bytes();
        self.tell(request::SET_VRING_CALL, &fd, &[Fd::Call]);
        self.tell(request::SET_VRING_ERR, &fd, &[Fd::FullCall]);
        self.tell(request::SET_VRING_KICK, &fd, &[Fd::Kick(ring as usize)]);
        self.tell(request::SET_VRING_ENABLE, &wire::vring_state(ring, 1), &[]);
    }

    fn desc(&mut self, ring: u64, index: u16, desc: Desc) {
        let mut bytes = [0; 16];
        bytes[0..8].copy_from_slice(&desc.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&desc.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&desc.flags.to_le_bytes());
        bytes[14..16].copy_from_slice(&desc.next.to_le_bytes());
        self.poke(ring * RING_SHARE + u64::from(index) * 16, &bytes);
    }

    /// Commands with their chains; returns the heads of each ring.
    fn gpu_commands(&mut self) -> [Vec<u16>; 2] {
        let rect = Rect::new(0, 0, 64, 48);
        let entries = [MemEntry { addr: GPA + PIXELS, len: 64 * 48 * 4 }];
        let commands = [
            Command::ResourceCreate2d { resource_id: 1, format: format::B8G8R8X8, width: 64, height: 48 },
            Command::AttachBacking { resource_id: 1, entries: &entries },
            Command::SetScanout { rect, scanout_id: 0, resource_id: 1 },
            Command::TransferToHost2d { rect, offset: 0, resource_id: 1 },
            Command::ResourceFlush { rect, resource_id: 1 },
            Command::AssignUuid { resource_id: 1 },
            Command::GetDisplayInfo,
        ];
        let mut heads = Vec::new();
        for (n, command) in (0u16..).zip(&commands) {
            self.command(0, n, command);
            heads.push(2 * n);
        }
        self.command(1, 0, &Command::MoveCursor { scanout_id: 0, x: 1, y: 2, resource_id: 1 });
        self.command(1, 1, &Command::UpdateCursor { scanout_id: 0, x: 1, y: 2, resource_id: 1, hot_x: 1, hot_y: 1 });
        [heads, vec![0, 2]]
    }

    fn command(&mut self, ring: u64, n: u16, command: &Command<'_>) {
        let slot = ring * 8 + u64::from(n);
        let mut fixed = [0; MAX_FIXED];
        let len = command.encode(&Fence::NONE, &mut fixed);
        let mut bytes = fixed[..len].to_vec();
        command.each_tail(|_, tail| bytes.extend_from_slice(tail));
        let addr = COMMANDS + slot * COMMAND;
        self.poke(addr, &bytes);
        let readable = Desc { addr: GPA + addr, len: bytes.len() as u32, flags: NEXT, next: 2 * n + 1 };
        let response = GPA + RESPONSES + slot * RESPONSE;
        self.desc(ring, 2 * n, readable);
        self.desc(ring, 2 * n + 1, Desc { addr: response, len: RESPONSE as u32, flags: WRITE, next: 0 });
    }

    fn input_buffers(&mut self) -> [Vec<u16>; 2] {
        for n in 0..8u16 {
            let addr = GPA + RESPONSES + u64::from(n) * 8;
            self.desc(0, n, Desc { addr, len: 8, flags: WRITE, next: 0 });
            // Lights: type 0x11.
            let addr = COMMANDS + u64::from(n) * 8;
            self.poke(addr, &[0x11, 0, (n % 3) as u8, 0, 1, 0, 0, 0]);
            self.desc(1, n, Desc { addr: GPA + addr, len: 8, flags: 0, next: 0 });
        }
        [(0..8).collect(), (0..8).collect()]
    }

    fn publish(&mut self, ring: usize, heads: &[u16]) {
        let at = ring as u64 * RING_SHARE + AVAIL;
        let entries: Vec<u8> = heads.iter().flat_map(|head| head.to_le_bytes()).collect();
        self.poke(at + 4, &entries);
        self.poke(at + 2, &(heads.len() as u16).to_le_bytes());
        self.0.push(Step::Kick(ring));
    }
}

/// What a mutation begins with is right, and gets to the guest's buffers.
#[test]
fn the_recorded_sessions_are_valid_to_their_last_message() {
    for kind in crate::serving::BOTH {
        let back_end = BackEnd::new(kind);
        let player = Player::new();
        let session = valid_session(kind);
        // The looks are bounded, so that on a busy machine a session may be over before its buffers are seen.
        let deadline = crate::common::soon();
        loop {
            let answers = player.play(&back_end, &session, false);
            assert_all_answered(&session, &answers);
            let used = [player.used(0), player.used(1)];
            if used[1] >= 2 && (used[0] >= 6 || kind == Kind::Input) {
                break;
            }
            assert!(!deadline.passed(), "{kind:?}: {used:?} buffers came back");
        }
        back_end.assert_well("after a valid session");
    }
}

/// Each message that waits for an answer has one, and each acknowledgement is 0.
fn assert_all_answered(session: &[Step], answers: &[u8]) {
    let mut rest = answers;
    for step in session {
        let Step::Send { bytes, .. } = step else { continue };
        let sent = wire::Header::decode(bytes[..12].try_into().unwrap());
        let (head, after) = rest.split_at(12);
        let got = wire::Header::decode(head.try_into().unwrap());
        assert_eq!((got.request, got.flags), (sent.request, VERSION | wire::REPLY));
        let (payload, after) = after.split_at(got.size as usize);
        if sent.flags & wire::NEED_REPLY != 0 {
            assert_eq!(payload, [0; 8], "message {}", sent.request);
        }
        rest = after;
    }
    assert!(rest.is_empty(), "more answers than questions");
}
