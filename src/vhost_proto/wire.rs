//! Control-socket messages: bytes to values and back. No I/O.
//!
//! Every message is a 12-byte header (`request`, `flags`, `size`: u32, native endian) and `size` bytes of payload
//! (vhost-user, "Message Specification"). Sizes, descriptor counts and flags are checked exactly here; what a value
//! means in the session's present state is for [`super::session`] to say.

use std::os::fd::OwnedFd;

use thiserror::Error;
use vhost::vhost_user::message::{FrontendReq, VhostUserHeaderFlag};

/// Bytes of a message header.
pub const HEADER_LEN: usize = 12;
/// Longest payload taken from a front end. The longest that a gpu or input front end sends has 268 bytes.
pub const MAX_PAYLOAD: usize = 4096;
/// Most descriptors that one message may carry (one for each region of SET_MEM_TABLE).
pub const MAX_FDS: usize = 8;
/// Longest device configuration of one message (`VHOST_USER_MAX_CONFIG_SIZE`).
pub const MAX_CONFIG: usize = 256;

const CONFIG_HEADER: usize = 12;
const VERSION: u32 = 1;
/// Bit of SET_VRING_KICK, CALL and ERR: no descriptor comes with it.
const VRING_NO_FD: u64 = 1 << 8;

/// Why bytes are no message. Each ends the session: after it, nothing that follows can be trusted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The header's version is not 1.
    #[error("message version is {0}, not 1")]
    Version(u32),
    /// The header's flags claim a reply, or have bits that nobody defined.
    #[error("message flags are {0:#x}")]
    Flags(u32),
    /// The payload would be longer than [`MAX_PAYLOAD`].
    #[error("request {request} announces {size} bytes of payload")]
    TooLong { request: u32, size: u32 },
    /// The payload's size is not what this request has.
    #[error("{request:?} has {got} bytes of payload, not {need}")]
    Size { request: FrontendReq, need: usize, got: usize },
    /// The number of descriptors is not what this request has.
    #[error("{request:?} came with {got} descriptors, not {need}")]
    Fds { request: FrontendReq, need: usize, got: usize },
    /// A field has a value that the document does not allow.
    #[error("{request:?}: {what}")]
    Value { request: FrontendReq, what: &'static str },
}

/// A message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which request it is.
    pub request: u32,
    /// Whether a front end that negotiated REPLY_ACK wants to hear how it went.
    pub need_reply: bool,
    /// Bytes of payload that follow; at most [`MAX_PAYLOAD`].
    pub size: usize,
}

impl Header {
    /// Reads a front end's header.
    ///
    /// # Errors
    /// A wrong version, flags that a request cannot have, a payload that is too long.
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, WireError> {
        let [r0, r1, r2, r3, f0, f1, f2, f3, s0, s1, s2, s3] = bytes;
        let request = u32::from_ne_bytes([r0, r1, r2, r3]);
        let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
        let size = u32::from_ne_bytes([s0, s1, s2, s3]);
        let version = flags & VhostUserHeaderFlag::VERSION.bits();
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let need_reply = VhostUserHeaderFlag::NEED_REPLY.bits();
        if flags & !(need_reply | VhostUserHeaderFlag::VERSION.bits()) != 0 {
            return Err(WireError::Flags(flags));
        }
        match usize::try_from(size) {
            Ok(size) if size <= MAX_PAYLOAD => Ok(Self { request, need_reply: flags & need_reply != 0, size }),
            _ => Err(WireError::TooLong { request, size }),
        }
    }

    /// The header of the reply to `request`: version 1 and REPLY, and nothing else (QEMU takes no other flags).
    pub fn reply(request: u32, size: usize) -> [u8; HEADER_LEN] {
        let flags = VERSION | VhostUserHeaderFlag::REPLY.bits();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mut out = [0; HEADER_LEN];
        for (field, value) in out.chunks_exact_mut(4).zip([request, flags, size]) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        out
    }
}

/// A front end's memory region ("Memory region description").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// Where the guest sees it.
    pub guest_addr: u64,
    /// Bytes.
    pub size: u64,
    /// Where the front end has it; ring addresses are given in these terms.
    pub user_addr: u64,
    /// Where it begins in the file.
    pub mmap_offset: u64,
}

/// A ring's index with a number ("Vring state description").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VringState {
    /// Which ring.
    pub index: u32,
    /// The number: size, base or switch, by the request.
    pub num: u32,
}

/// A ring's three parts, as front-end user addresses ("Vring address description").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VringAddr {
    /// Which ring.
    pub index: u32,
    /// Bit 0: log writes to the used ring.
    pub flags: u32,
    /// The descriptor table.
    pub descriptors: UserAddr,
    /// The used ring.
    pub used: UserAddr,
    /// The available ring.
    pub available: UserAddr,
}

/// An address in the front end's own address space; never a guest-physical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserAddr(pub u64);

/// A ring's index with an eventfd; without one the ring is polled, or nobody wants to be called.
#[derive(Debug)]
pub struct VringFd {
    /// Which ring.
    pub index: u8,
    /// The eventfd.
    pub fd: Option<OwnedFd>,
}

/// A piece of the device configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigRange {
    /// First byte.
    pub offset: u32,
    /// Bytes; at most [`MAX_CONFIG`].
    pub size: usize,
    /// 0 for a guest's write, 1 for a restore after migration.
    pub flags: u32,
}

/// What a front end asks. The names are the document's.
#[derive(Debug)]
pub enum Request {
    GetFeatures,
    SetFeatures(u64),
    SetOwner,
    ResetOwner,
    SetMemTable(Vec<(MemoryRegion, OwnedFd)>),
    SetVringNum(VringState),
    SetVringAddr(VringAddr),
    SetVringBase(VringState),
    GetVringBase(u32),
    SetVringKick(VringFd),
    SetVringCall(VringFd),
    SetVringErr(VringFd),
    GetProtocolFeatures,
    SetProtocolFeatures(u64),
    GetQueueNum,
    SetVringEnable(VringState),
    SetBackendReqFd(OwnedFd),
    GetConfig(ConfigRange),
    SetConfig(ConfigRange, [u8; MAX_CONFIG]),
    GpuSetSocket(OwnedFd),
    ResetDevice,
    GetMaxMemSlots,
    AddMemReg(MemoryRegion, OwnedFd),
    RemMemReg(MemoryRegion),
    /// A request that the document has and this back end does not offer, or one that it does not have.
    Unsupported(u32),
}

impl Request {
    /// Reads the request whose `payload` came under `header`, with the descriptors that came beside it. Descriptors
    /// that the request has no use for are closed.
    ///
    /// # Errors
    /// A payload or a number of descriptors that this request cannot have.
    pub fn parse(header: &Header, payload: &[u8], fds: Vec<OwnedFd>) -> Result<Self, WireError> {
        let Ok(request) = FrontendReq::try_from(header.request) else {
            return Ok(Self::Unsupported(header.request));
        };
        let body = Body { request, payload };
        Ok(match request {
            FrontendReq::GET_FEATURES => body.empty(Self::GetFeatures)?,
            FrontendReq::SET_FEATURES => Self::SetFeatures(body.u64()?),
            FrontendReq::SET_OWNER => body.empty(Self::SetOwner)?,
            FrontendReq::RESET_OWNER => body.empty(Self::ResetOwner)?,
            FrontendReq::SET_MEM_TABLE => Self::SetMemTable(body.mem_table(fds)?),
            FrontendReq::SET_VRING_NUM => Self::SetVringNum(body.vring_state()?),
            FrontendReq::SET_VRING_ADDR => Self::SetVringAddr(body.vring_addr()?),
            FrontendReq::SET_VRING_BASE => Self::SetVringBase(body.vring_state()?),
            FrontendReq::GET_VRING_BASE => Self::GetVringBase(body.vring_state()?.index),
            FrontendReq::SET_VRING_KICK => Self::SetVringKick(body.vring_fd(fds)?),
            FrontendReq::SET_VRING_CALL => Self::SetVringCall(body.vring_fd(fds)?),
            FrontendReq::SET_VRING_ERR => Self::SetVringErr(body.vring_fd(fds)?),
            FrontendReq::GET_PROTOCOL_FEATURES => body.empty(Self::GetProtocolFeatures)?,
            FrontendReq::SET_PROTOCOL_FEATURES => Self::SetProtocolFeatures(body.u64()?),
            FrontendReq::GET_QUEUE_NUM => body.empty(Self::GetQueueNum)?,
            FrontendReq::SET_VRING_ENABLE => Self::SetVringEnable(body.vring_state()?),
            FrontendReq::SET_BACKEND_REQ_FD => Self::SetBackendReqFd(body.only_fd(fds)?),
            FrontendReq::GET_CONFIG => Self::GetConfig(body.config()?.0),
            FrontendReq::SET_CONFIG => {
                let (range, content) = body.config()?;
                Self::SetConfig(range, content)
            }
            FrontendReq::GPU_SET_SOCKET => Self::GpuSetSocket(body.only_fd(fds)?),
            FrontendReq::RESET_DEVICE => body.empty(Self::ResetDevice)?,
            FrontendReq::GET_MAX_MEM_SLOTS => body.empty(Self::GetMaxMemSlots)?,
            FrontendReq::ADD_MEM_REG => {
                let region = body.single_region()?;
                Self::AddMemReg(region, body.one_fd(fds)?)
            }
            FrontendReq::REM_MEM_REG => Self::RemMemReg(body.single_region()?),
            _ => Self::Unsupported(header.request),
        })
    }
}

/// The fields of one payload. Each reader first checks the exact size.
struct Body<'a> {
    request: FrontendReq,
    payload: &'a [u8],
}

impl Body<'_> {
    fn sized<const N: usize>(&self) -> Result<[u8; N], WireError> {
        self.payload.try_into().map_err(|_| self.size_error(N))
    }

    fn size_error(&self, need: usize) -> WireError {
        WireError::Size { request: self.request, need, got: self.payload.len() }
    }

    fn value_error(&self, what: &'static str) -> WireError {
        WireError::Value { request: self.request, what }
    }

    fn empty(&self, request: Request) -> Result<Request, WireError> {
        self.sized::<0>().map(|_| request)
    }

    fn u64(&self) -> Result<u64, WireError> {
        Ok(u64::from_ne_bytes(self.sized()?))
    }

    fn vring_state(&self) -> Result<VringState, WireError> {
        let bytes = self.sized::<8>()?;
        Ok(VringState { index: u32_at(&bytes, 0), num: u32_at(&bytes, 4) })
    }

    /// Mind the document's order: descriptors, used, available.
    fn vring_addr(&self) -> Result<VringAddr, WireError> {
        let bytes = self.sized::<40>()?;
        Ok(VringAddr {
            index: u32_at(&bytes, 0),
            flags: u32_at(&bytes, 4),
            descriptors: UserAddr(u64_at(&bytes, 8)),
            used: UserAddr(u64_at(&bytes, 16)),
            available: UserAddr(u64_at(&bytes, 24)),
        })
    }

    fn vring_fd(&self, fds: Vec<OwnedFd>) -> Result<VringFd, WireError> {
        let value = self.u64()?;
        if value & !(VRING_NO_FD | 0xff) != 0 {
            return Err(self.value_error("bits beyond the ring's index and \"no descriptor\" are set"));
        }
        let [index, ..] = value.to_le_bytes();
        if value & VRING_NO_FD != 0 {
            return Ok(VringFd { index, fd: None });
        }
        Ok(VringFd { index, fd: Some(self.one_fd(fds)?) })
    }

    /// A descriptor and no payload.
    fn only_fd(&self, fds: Vec<OwnedFd>) -> Result<OwnedFd, WireError> {
        self.sized::<0>()?;
        self.one_fd(fds)
    }

    fn one_fd(&self, fds: Vec<OwnedFd>) -> Result<OwnedFd, WireError> {
        let got = fds.len();
        let mut fds = fds.into_iter();
        match (fds.next(), got) {
            (Some(fd), 1) => Ok(fd),
            _ => Err(WireError::Fds { request: self.request, need: 1, got }),
        }
    }

    fn mem_table(&self, fds: Vec<OwnedFd>) -> Result<Vec<(MemoryRegion, OwnedFd)>, WireError> {
        let Some((head, rest)) = self.payload.split_first_chunk::<8>() else {
            return Err(self.size_error(8));
        };
        let count = u32_at(head, 0) as usize;
        if count > MAX_FDS {
            return Err(self.value_error("more than 8 regions"));
        }
        let (regions, tail) = rest.as_chunks::<32>();
        if regions.len() != count || !tail.is_empty() {
            return Err(self.size_error(8 + 32 * count));
        }
        if fds.len() != count {
            return Err(WireError::Fds { request: self.request, need: count, got: fds.len() });
        }
        Ok(regions.iter().map(region).zip(fds).collect())
    }

    fn single_region(&self) -> Result<MemoryRegion, WireError> {
        let bytes = self.sized::<40>()?;
        // Eight bytes of padding, then the region.
        bytes.last_chunk().map(region).ok_or_else(|| self.size_error(40))
    }

    fn config(&self) -> Result<(ConfigRange, [u8; MAX_CONFIG]), WireError> {
        let Some((head, data)) = self.payload.split_first_chunk::<CONFIG_HEADER>() else {
            return Err(self.size_error(CONFIG_HEADER));
        };
        let size = u32_at(head, 4) as usize;
        if size > MAX_CONFIG {
            return Err(self.value_error("more than 256 bytes of configuration"));
        }
        let mut content = [0; MAX_CONFIG];
        match content.get_mut(..size) {
            Some(part) if data.len() == size => part.copy_from_slice(data),
            _ => return Err(self.size_error(CONFIG_HEADER + size)),
        }
        Ok((ConfigRange { offset: u32_at(head, 0), size, flags: u32_at(head, 8) }, content))
    }
}

fn region(bytes: &[u8; 32]) -> MemoryRegion {
    MemoryRegion {
        guest_addr: u64_at(bytes, 0),
        size: u64_at(bytes, 8),
        user_addr: u64_at(bytes, 16),
        mmap_offset: u64_at(bytes, 24),
    }
}

/// The u32 at `offset`, 0 where the bytes end before: callers have checked the size.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |field| u32::from_ne_bytes(*field))
}

/// As [`u32_at`].
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |field| u64::from_ne_bytes(*field))
}

/// What goes back under a reply header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A u64: features, counts, and the acknowledgement of REPLY_ACK (0 is success).
    U64(u64),
    /// GET_VRING_BASE's answer.
    VringState(VringState),
    /// GET_CONFIG's answer: as asked, with the content.
    Config(ConfigRange, [u8; MAX_CONFIG]),
}

/// Longest encoded reply, header included.
pub const MAX_REPLY: usize = HEADER_LEN + CONFIG_HEADER + MAX_CONFIG;

impl Reply {
    /// Writes header and payload of the reply to `request` and returns how many bytes that were.
    pub fn encode(&self, request: u32, out: &mut [u8; MAX_REPLY]) -> usize {
        let mut payload = [0; CONFIG_HEADER + MAX_CONFIG];
        let len = match self {
            Self::U64(value) => put(&mut payload, 0, &value.to_ne_bytes()),
            Self::VringState(state) => {
                let at = put(&mut payload, 0, &state.index.to_ne_bytes());
                put(&mut payload, at, &state.num.to_ne_bytes())
            }
            Self::Config(range, content) => {
                let size = range.size.min(MAX_CONFIG);
                let mut at = put(&mut payload, 0, &range.offset.to_ne_bytes());
                at = put(&mut payload, at, &u32::try_from(size).unwrap_or(0).to_ne_bytes());
                at = put(&mut payload, at, &range.flags.to_ne_bytes());
                put(&mut payload, at, content.get(..size).unwrap_or_default())
            }
        };
        let at = put(out, 0, &Header::reply(request, len));
        put(out, at, payload.get(..len).unwrap_or_default())
    }
}

/// Copies `bytes` to `offset` and returns where they end. The buffers here are made long enough for all replies.
fn put(out: &mut [u8], offset: usize, bytes: &[u8]) -> usize {
    let end = offset.saturating_add(bytes.len());
    if let Some(place) = out.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
    end
}

/// The request's name in the document, or its number.
pub fn name(request: u32) -> String {
    FrontendReq::try_from(request).map_or_else(|()| format!("request {request}"), |request| format!("{request:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(request: u32, flags: u32, size: u32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        for (place, field) in bytes.chunks_exact_mut(4).zip([request, flags, size]) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    fn fds(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    fn parse(request: FrontendReq, payload: &[u8], fds: Vec<OwnedFd>) -> Result<Request, WireError> {
        let header = Header { request: request as u32, need_reply: false, size: payload.len() };
        Request::parse(&header, payload, fds)
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_header_is_version_1_with_no_flag_but_need_reply() {
        assert_eq!(Header::parse(header(1, 1, 0)), Ok(Header { request: 1, need_reply: false, size: 0 }));
        assert_eq!(Header::parse(header(1, 9, 8)), Ok(Header { request: 1, need_reply: true, size: 8 }));
        assert_eq!(Header::parse(header(1, 0, 0)), Err(WireError::Version(0)));
        assert_eq!(Header::parse(header(1, 2, 0)), Err(WireError::Version(2)));
        assert_eq!(Header::parse(header(1, 5, 0)), Err(WireError::Flags(5)), "a reply");
        assert_eq!(Header::parse(header(1, 0x11, 0)), Err(WireError::Flags(0x11)));
        let long = MAX_PAYLOAD as u32 + 1;
        assert_eq!(Header::parse(header(7, 1, long)), Err(WireError::TooLong { request: 7, size: long }));
    }

    #[test]
    fn a_reply_has_flags_5_even_where_one_was_asked_for() {
        let mut out = [0; MAX_REPLY];
        let len = Reply::U64(0x1122).encode(15, &mut out);
        assert_eq!(out[..12], header(15, 5, 8));
        assert_eq!((len, &out[12..20]), (20, &0x1122u64.to_ne_bytes()[..]));
    }

    #[test]
    fn a_configuration_goes_back_in_the_layout_it_was_asked_in() {
        let mut out = [0; MAX_REPLY];
        let mut content = [0; MAX_CONFIG];
        content[..3].copy_from_slice(b"abc");
        let range = ConfigRange { offset: 2, size: 3, flags: 7 };
        let len = Reply::Config(range, content).encode(24, &mut out);
        assert_eq!(out[..12], header(24, 5, 15));
        assert_eq!(out[12..24], header(2, 3, 7));
        assert_eq!((&out[24..27], len), (&b"abc"[..], 27));
    }

    #[test]
    fn payloads_have_exactly_their_requests_size() {
        for (request, size) in [
            (FrontendReq::GET_FEATURES, 0),
            (FrontendReq::SET_FEATURES, 8),
            (FrontendReq::SET_VRING_NUM, 8),
            (FrontendReq::SET_VRING_ADDR, 40),
            (FrontendReq::SET_VRING_ENABLE, 8),
            (FrontendReq::REM_MEM_REG, 40),
            (FrontendReq::RESET_DEVICE, 0),
        ] {
            assert!(parse(request, &vec![0; size], vec![]).is_ok(), "{request:?}");
            for wrong in [size + 1, size.saturating_sub(1)].into_iter().filter(|wrong| *wrong != size) {
                let error = parse(request, &vec![0; wrong], vec![]).unwrap_err();
                assert_eq!(error, WireError::Size { request, need: size, got: wrong });
            }
        }
    }

    #[test]
    fn a_request_that_is_a_descriptor_has_no_payload() {
        for request in [FrontendReq::GPU_SET_SOCKET, FrontendReq::SET_BACKEND_REQ_FD] {
            assert!(parse(request, &[], fds(1)).is_ok(), "{request:?}");
            assert_eq!(parse(request, &[0; 8], fds(1)).unwrap_err(), WireError::Size { request, need: 0, got: 8 });
            assert_eq!(parse(request, &[], fds(2)).unwrap_err(), WireError::Fds { request, need: 1, got: 2 });
        }
    }

    #[test]
    fn a_memory_table_has_as_many_descriptors_as_regions_and_at_most_eight() {
        let table = |count: u64| {
            let mut payload = words(&[count]);
            payload.extend((0..count).flat_map(|n| words(&[n << 32, 0x1000, n << 40, n << 12])));
            payload
        };
        let Ok(Request::SetMemTable(regions)) = parse(FrontendReq::SET_MEM_TABLE, &table(2), fds(2)) else {
            panic!("two regions are fine");
        };
        let second = MemoryRegion { guest_addr: 1 << 32, size: 0x1000, user_addr: 1 << 40, mmap_offset: 1 << 12 };
        assert_eq!(regions[1].0, second);
        assert!(matches!(parse(FrontendReq::SET_MEM_TABLE, &table(2), fds(1)), Err(WireError::Fds { got: 1, .. })));
        assert!(matches!(parse(FrontendReq::SET_MEM_TABLE, &table(9), fds(9)), Err(WireError::Value { .. })));
        let mut cut = table(2);
        cut.pop();
        assert!(matches!(parse(FrontendReq::SET_MEM_TABLE, &cut, fds(2)), Err(WireError::Size { .. })));
    }

    #[test]
    fn the_used_ring_comes_before_the_available_one() {
        let payload = words(&[1, 0xd, 0x0a, 0xa, 0]);
        let Ok(Request::SetVringAddr(addr)) = parse(FrontendReq::SET_VRING_ADDR, &payload, vec![]) else {
            panic!("it is an address message");
        };
        assert_eq!((addr.index, addr.flags), (1, 0));
        assert_eq!((addr.descriptors, addr.used, addr.available), (UserAddr(0xd), UserAddr(0xa), UserAddr(0xa)));
    }

    #[test]
    fn a_kick_has_a_descriptor_unless_it_says_that_it_has_none() {
        let kick = |value: u64, count| parse(FrontendReq::SET_VRING_KICK, &value.to_ne_bytes(), fds(count));
        assert!(matches!(kick(1, 1), Ok(Request::SetVringKick(VringFd { index: 1, fd: Some(_) }))));
        assert!(matches!(kick(0x101, 0), Ok(Request::SetVringKick(VringFd { index: 1, fd: None }))));
        assert!(matches!(kick(1, 0), Err(WireError::Fds { .. })));
        assert!(matches!(kick(1, 2), Err(WireError::Fds { .. })));
        assert!(matches!(kick(0x201, 1), Err(WireError::Value { .. })));
    }

    #[test]
    fn a_configuration_message_holds_as_much_as_it_says_up_to_256_bytes() {
        let config = |size: u32, data: usize| {
            let mut payload: Vec<u8> = [4u32, size, 0].iter().flat_map(|field| field.to_ne_bytes()).collect();
            payload.resize(12 + data, 0xcc);
            parse(FrontendReq::GET_CONFIG, &payload, vec![])
        };
        assert!(matches!(config(20, 20), Ok(Request::GetConfig(ConfigRange { offset: 4, size: 20, flags: 0 }))));
        assert!(config(256, 256).is_ok());
        assert!(matches!(config(257, 257), Err(WireError::Value { .. })));
        assert!(matches!(config(20, 19), Err(WireError::Size { .. })));
        assert!(matches!(config(u32::MAX, 0), Err(WireError::Value { .. })));
    }

    #[test]
    fn what_is_not_offered_or_not_known_is_unsupported_whatever_its_payload() {
        for request in [6, 7, 19, 22, 26, 28, 31, 35, 39, 41, 44] {
            let header = Header { request, need_reply: true, size: 5 };
            assert!(matches!(Request::parse(&header, &[0; 5], fds(1)), Ok(Request::Unsupported(n)) if n == request));
        }
        let header = Header { request: 0xdead, need_reply: false, size: 0 };
        assert!(matches!(Request::parse(&header, &[], vec![]), Ok(Request::Unsupported(0xdead))));
    }
}
