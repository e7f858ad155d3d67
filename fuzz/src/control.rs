//! The control socket: any bytes in any pieces, with any number of descriptors beside them, through [`Connection`] to
//! [`Request`]s; and replies to a front end that may not read them.
//!
//! | bytes | a piece of the stream |
//! |---|---|
//! | 1 | how many descriptors come along (low four bits), [`LONG`], [`READS`], [`REPLIES`], [`LEAVES`] |
//! | 1 or 2 | its length |
//! | … | the bytes themselves |
//!
//! A second reading of the vhost-user document says what must come of it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{setsockopt, sockopt};
use seat_frontend::control::{VringAddr, request, wire};
use seat_frontend::memory::RegionSpec;
use vhost_seat::vhost_proto::connection::{Connection, ConnectionError, Message};
use vhost_seat::vhost_proto::wire::{
    ConfigRange, HEADER_LEN, MAX_CONFIG, MAX_PAYLOAD, MemoryRegion, Reply, Request, VringFd, VringState,
};

use super::fds;
use super::script::Script;

/// The piece's length has two bytes.
pub const LONG: u8 = 1 << 4;
/// The front end reads the replies so far.
pub const READS: u8 = 1 << 5;
/// Messages in this piece are replied to.
pub const REPLIES: u8 = 1 << 6;
/// The front end hangs up after this piece, without reading what it was told.
pub const LEAVES: u8 = 1 << 7;

/// Pieces of one run.
const MAX_PIECES: usize = 256;

/// One front end. Returns how many messages were taken.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    let (front, back) = UnixStream::pair().unwrap();
    // So that replies that nobody reads fill it soon.
    setsockopt(&back, sockopt::SndBuf, &1).unwrap();
    let eventfd = fds::eventfd();
    let mut life =
        Life { front, connection: Connection::new(back), sent: Stream::default(), due: VecDeque::new(), taken: 0 };
    for _ in 0..MAX_PIECES {
        if script.is_empty() {
            break;
        }
        let shape = script.u8();
        let len = if shape & LONG != 0 { usize::from(script.u16()) } else { usize::from(script.u8()) };
        let bytes = script.bytes(len);
        if shape & READS != 0 {
            life.read_replies();
        }
        let fds = vec![eventfd.as_fd(); usize::from(shape & 15)];
        if !bytes.is_empty() {
            life.send(bytes, &fds);
        }
        if !life.take(shape) {
            return life.taken;
        }
        if shape & LEAVES != 0 {
            return life.leave();
        }
    }
    life.hang_up()
}

struct Life {
    front: UnixStream,
    connection: Connection,
    sent: Stream,
    /// Bytes of replies that the front end has not read.
    due: VecDeque<u8>,
    taken: usize,
}

impl Life {
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let count = fds::send(&self.front, bytes, fds);
        self.sent.push(&bytes[..count], fds.len());
    }

    /// Takes all whole messages; `false` when the connection is over.
    fn take(&mut self, shape: u8) -> bool {
        loop {
            if self.connection.reply_pending() {
                assert!(matches!(self.connection.receive(), Ok(None)), "a second reply is not taken on");
                return true;
            }
            match self.connection.receive() {
                Ok(None) => {
                    assert!(
                        self.sent.next().is_none_or(|next| next.is_ok_and(|whole| whole.is_none())),
                        "it is all there"
                    );
                    return true;
                }
                Ok(Some(message)) => {
                    let next = self.sent.next().and_then(Result::ok).flatten().expect("a whole message");
                    self.sent.drop_first(&next);
                    next.check(&message);
                    self.taken += 1;
                    if shape & REPLIES != 0 {
                        self.reply(&message);
                    }
                }
                Err(ConnectionError::Wire(_)) => {
                    assert!(self.sent.next().is_some_and(|next| next.is_err()), "it was a message");
                    return false;
                }
                Err(error) => panic!("the socket is fine, but {error}"),
            }
        }
    }

    fn reply(&mut self, message: &Message) {
        let (reply, payload) = match &message.request {
            Request::GetConfig(range) => {
                let content = [0xc5; MAX_CONFIG];
                let payload = wire::config(range.offset, range.flags, &content[..range.size]);
                (Reply::Config(*range, content), payload)
            }
            Request::GetVringBase(index) => {
                let state = VringState { index: *index, num: 77 };
                (Reply::VringState(state), wire::vring_state(*index, 77).to_vec())
            }
            _ => (Reply::U64(0x0123_4567_89ab_cdef), 0x0123_4567_89ab_cdef_u64.to_ne_bytes().to_vec()),
        };
        let number = message.header.request;
        self.due.extend(wire::message(number, wire::VERSION | wire::REPLY, &payload));
        self.connection.reply(number, &reply).unwrap();
    }

    fn read_replies(&mut self) {
        while !self.due.is_empty() {
            self.connection.flush().unwrap();
            let bytes = fds::receive(&self.front, 4096);
            assert!(!bytes.is_empty() && bytes.len() <= self.due.len(), "all of a reply goes out");
            assert!(self.due.drain(..bytes.len()).eq(bytes), "a reply is as the document has it");
        }
        assert!(fds::receive(&self.front, 1).is_empty(), "nothing is said beside replies");
    }

    fn leave(mut self) -> usize {
        drop(self.front);
        if self.connection.reply_pending() {
            assert!(matches!(self.connection.flush(), Err(ConnectionError::Closed)), "nobody will read it");
            return self.taken;
        }
        let inside = !self.sent.bytes.is_empty();
        match self.connection.receive().expect_err("nobody is there") {
            ConnectionError::Closed => assert!(!inside, "it was cut short"),
            ConnectionError::Cut => assert!(inside, "it was not cut short"),
            // The kernel says that what was not read is lost.
            ConnectionError::Io(error) => assert!(inside && error.kind() == ErrorKind::ConnectionReset, "{error}"),
            other => panic!("{other}"),
        }
        self.taken
    }

    fn hang_up(mut self) -> usize {
        self.read_replies();
        if !self.take(0) {
            return self.taken;
        }
        drop(self.front);
        let error = self.connection.receive().expect_err("nobody is there");
        match error {
            ConnectionError::Closed => assert!(self.sent.bytes.is_empty(), "it was cut short"),
            ConnectionError::Cut => assert!(!self.sent.bytes.is_empty(), "it was not cut short"),
            other => panic!("{other}"),
        }
        self.taken
    }
}

/// What was sent and not taken, with the number of descriptors beside each byte.
#[derive(Default)]
struct Stream {
    bytes: VecDeque<u8>,
    fds: VecDeque<usize>,
}

impl Stream {
    fn push(&mut self, bytes: &[u8], fds: usize) {
        self.bytes.extend(bytes);
        self.fds.extend((0..bytes.len()).map(|at| if at == 0 { fds } else { 0 }));
    }

    /// What must come next: nothing sent, an end, not enough (`Ok(None)`), a message.
    fn next(&self) -> Option<Result<Option<Expected>, ()>> {
        if self.bytes.is_empty() {
            return None;
        }
        if self.bytes.len() < HEADER_LEN {
            return Some(Ok(None));
        }
        let head: [u8; HEADER_LEN] = std::array::from_fn(|at| self.bytes[at]);
        let header = wire::Header::decode(&head);
        if header.flags & 3 != 1 || header.flags & !(3 | wire::NEED_REPLY) != 0 || header.size as usize > MAX_PAYLOAD {
            return Some(Err(()));
        }
        let len = HEADER_LEN + header.size as usize;
        if self.bytes.len() < len {
            return Some(Ok(None));
        }
        let payload: Vec<u8> = self.bytes.range(HEADER_LEN..len).copied().collect();
        let fds = self.fds.range(..len).sum();
        Some(if allowed(header.request, &payload, fds) { Ok(Some(Expected { header, payload, fds })) } else { Err(()) })
    }

    fn drop_first(&mut self, message: &Expected) {
        let len = HEADER_LEN + message.payload.len();
        self.bytes.drain(..len);
        self.fds.drain(..len);
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |field| u32::from_ne_bytes(field.try_into().unwrap()))
}

/// Whether the document has such a message (vhost-user, "Front-end message types").
fn allowed(kind: u32, payload: &[u8], fds: usize) -> bool {
    use request::*;
    let len = payload.len();
    match kind {
        GET_FEATURES
        | SET_OWNER
        | RESET_OWNER
        | GET_PROTOCOL_FEATURES
        | GET_QUEUE_NUM
        | RESET_DEVICE
        | GET_MAX_MEM_SLOTS => len == 0,
        SET_FEATURES | SET_PROTOCOL_FEATURES | SET_VRING_NUM | SET_VRING_BASE | GET_VRING_BASE | SET_VRING_ENABLE => {
            len == 8
        }
        SET_VRING_ADDR | REM_MEM_REG => len == 40,
        ADD_MEM_REG => len == 40 && fds == 1,
        SET_BACKEND_REQ_FD | GPU_SET_SOCKET => len == 0 && fds == 1,
        SET_VRING_KICK | SET_VRING_CALL | SET_VRING_ERR => {
            let value = u64::from(number(payload, 0)) | u64::from(number(payload, 4)) << 32;
            len == 8 && value < 0x200 && (value & wire::NO_FD != 0 || fds == 1)
        }
        SET_MEM_TABLE => {
            let regions = number(payload, 0) as usize;
            regions <= 8 && len == 8 + 32 * regions && fds == regions
        }
        GET_CONFIG | SET_CONFIG => {
            let size = number(payload, 4) as usize;
            size <= MAX_CONFIG && len == 12 + size
        }
        _ => true,
    }
}

/// A message as it was sent.
struct Expected {
    header: wire::Header,
    payload: Vec<u8>,
    fds: usize,
}

impl Expected {
    fn check(&self, message: &Message) {
        let wire::Header { request, flags, size } = self.header;
        let header = message.header;
        assert_eq!((header.request, header.size), (request, size as usize));
        assert_eq!(header.need_reply, flags & wire::NEED_REPLY != 0);
        let (number, told) = tell(&message.request, self);
        assert_eq!(number, request, "{:?}", message.request);
        assert_eq!(told, self.payload, "{:?}", message.request);
    }
}

/// The message's number and payload, told from what was understood; fields that nobody looks at are as they were sent.
fn tell(taken: &Request, sent: &Expected) -> (u32, Vec<u8>) {
    use request::*;
    let spec = |region: &MemoryRegion| {
        let MemoryRegion { guest_addr, size, user_addr, mmap_offset } = *region;
        RegionSpec { gpa: guest_addr, size, uva: user_addr, mmap_offset }
    };
    let single = |region| [&sent.payload[..8], &wire::single_region(&spec(region))[8..]].concat();
    let state = |state: &VringState| wire::vring_state(state.index, state.num).to_vec();
    let eventfd = |ring: &VringFd| {
        let no_fd = if ring.fd.is_none() { wire::NO_FD } else { 0 };
        (u64::from(ring.index) | no_fd).to_ne_bytes().to_vec()
    };
    let config = |range: &ConfigRange, content: &[u8]| wire::config(range.offset, range.flags, &content[..range.size]);
    match taken {
        Request::GetFeatures => (GET_FEATURES, vec![]),
        Request::SetFeatures(features) => (SET_FEATURES, features.to_ne_bytes().to_vec()),
        Request::SetOwner => (SET_OWNER, vec![]),
        Request::ResetOwner => (RESET_OWNER, vec![]),
        Request::SetMemTable(table) => {
            assert_eq!(table.len(), sent.fds);
            let mut payload = wire::mem_table(&table.iter().map(|(region, _)| spec(region)).collect::<Vec<_>>());
            payload[4..8].copy_from_slice(&sent.payload[4..8]);
            (SET_MEM_TABLE, payload)
        }
        Request::SetVringNum(ring) => (SET_VRING_NUM, state(ring)),
        Request::SetVringAddr(addr) => {
            let (index, flags, desc, used, avail) =
                (addr.index, addr.flags, addr.descriptors.0, addr.used.0, addr.available.0);
            let payload = VringAddr { index, flags, desc, used, avail, log: 0 }.encode();
            (SET_VRING_ADDR, [&payload[..32], &sent.payload[32..]].concat())
        }
        Request::SetVringBase(ring) => (SET_VRING_BASE, state(ring)),
        Request::GetVringBase(index) => (GET_VRING_BASE, [&index.to_ne_bytes()[..], &sent.payload[4..]].concat()),
        Request::SetVringKick(ring) => (SET_VRING_KICK, eventfd(ring)),
        Request::SetVringCall(ring) => (SET_VRING_CALL, eventfd(ring)),
        Request::SetVringErr(ring) => (SET_VRING_ERR, eventfd(ring)),
        Request::GetProtocolFeatures => (GET_PROTOCOL_FEATURES, vec![]),
        Request::SetProtocolFeatures(features) => (SET_PROTOCOL_FEATURES, features.to_ne_bytes().to_vec()),
        Request::GetQueueNum => (GET_QUEUE_NUM, vec![]),
        Request::SetVringEnable(ring) => (SET_VRING_ENABLE, state(ring)),
        Request::SetBackendReqFd(_) => (SET_BACKEND_REQ_FD, vec![]),
        Request::GetConfig(range) => (GET_CONFIG, config(range, &sent.payload[12..])),
        Request::SetConfig(range, content) => (SET_CONFIG, config(range, content)),
        Request::GpuSetSocket(_) => (GPU_SET_SOCKET, vec![]),
        Request::ResetDevice => (RESET_DEVICE, vec![]),
        Request::GetMaxMemSlots => (GET_MAX_MEM_SLOTS, vec![]),
        Request::AddMemReg(region, _) => (ADD_MEM_REG, single(region)),
        Request::RemMemReg(region) => (REM_MEM_REG, single(region)),
        Request::Unsupported(number) => (*number, sent.payload.clone()),
    }
}
