//! What one front end has negotiated and set up, and what each request does to it.
//!
//! A request ends in one of three ways: it is answered or done, it is refused (the front end hears of it where it
//! asked to), or the session is over because nobody could go on from there. Ring and memory state live here; what the
//! device itself makes of things is behind [`Device`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use log::{Level, debug};
use thiserror::Error;
use vhost::vhost_user::message::{VhostUserProtocolFeatures as Protocol, VhostUserVirtioFeatures};
use virtio_bindings::virtio_config::{
    VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

use super::device::{Device, Refusal, Registrar, Rings, Source};
use super::memory::{GuestMemory, MAX_SLOTS, MemoryError};
use super::notifier::is_eventfd;
use super::vring::{Ring, RingError};
use super::wire::{self, MAX_CONFIG, Reply, Request, VringFd, VringState};
use crate::log_within;
use crate::logger::Budget;
use crate::reactor::Interest;

/// Virtio features that every device here has, beside its own.
const GENERIC: u64 = (1 << VIRTIO_F_VERSION_1) | (1 << VIRTIO_RING_F_INDIRECT_DESC) | (1 << VIRTIO_RING_F_EVENT_IDX);

/// Bits that some front ends acknowledge although nobody offered them: QEMU's gpu does not ask the back end about generic
/// bits. The first two ask nothing of a device; IN_ORDER is kept by those that say so.
const TOLERATED: u64 = (1 << VIRTIO_F_NOTIFY_ON_EMPTY) | (1 << VIRTIO_F_RING_RESET) | (1 << VIRTIO_F_IN_ORDER);

/// Protocol features that every device here has. Not LOG_SHMFD: with it QEMU would migrate a device whose state stays
/// behind. Neither INBAND_NOTIFICATIONS nor XEN_MMAP: QEMU acknowledges both without speaking them.
const PROTOCOL: Protocol = Protocol::MQ
    .union(Protocol::REPLY_ACK)
    .union(Protocol::CONFIG)
    .union(Protocol::CONFIGURE_MEM_SLOTS)
    .union(Protocol::RESET_DEVICE);

/// Why a request was refused. The session goes on.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("there is no ring {0}")]
    NoRing(u32),
    #[error("ring {index}: {error}")]
    Ring { index: u32, error: RingError },
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("virtio features {0:#x} were never offered{hint}", hint = feature_hint(*.0))]
    Features(u64),
    #[error("protocol features {0:#x} were never offered")]
    ProtocolFeatures(u64),
    #[error("a ring is switched by 0 or 1, not {0}")]
    Switch(u32),
    #[error("not supported")]
    Unsupported,
    #[error(transparent)]
    Device(#[from] Refusal),
    #[error("watching a kick: {0}")]
    Watch(io::Error),
}

/// What an operator can do about features that a front end turned on by itself.
fn feature_hint(features: u64) -> &'static str {
    if features & (1 << VIRTIO_F_RING_PACKED) != 0 {
        " (packed rings: leave out packed=on)"
    } else if features & (1 << VIRTIO_F_IN_ORDER) != 0 {
        " (buffers in order, which fences are not: leave out in_order=on)"
    } else if features & (1 << VIRTIO_F_ACCESS_PLATFORM) != 0 {
        " (an IOMMU: leave out iommu_platform=on)"
    } else {
        ""
    }
}

/// How a request ended, if the session goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has an answer of its own.
    Reply(Reply),
    /// It has none: the acknowledgement, if the front end negotiated and asked for one.
    Ack,
}

/// One front end's session.
#[derive(Debug)]
pub struct Session {
    features: u64,
    protocol: Protocol,
    memory: GuestMemory,
    rings: Vec<Ring>,
    /// Bit by queue: a ring to be looked at without having been kicked.
    unseen: u32,
}

impl Session {
    /// A session in which nothing was said yet.
    ///
    /// # Errors
    /// None in practice, see [`Ring::new`].
    pub fn new(queues: usize) -> Result<Self, RingError> {
        Ok(Self {
            features: 0,
            protocol: Protocol::empty(),
            memory: GuestMemory::default(),
            rings: (0..queues).map(Ring::new).collect::<Result<_, _>>()?,
            unseen: 0,
        })
    }

    /// The rings and the memory, for the device.
    pub fn rings(&mut self) -> Rings<'_> {
        Rings { rings: &mut self.rings, memory: &self.memory }
    }

    /// Which rings are to be looked at although nobody kicked: those just started or enabled, by bit. Asked once.
    pub fn take_unseen(&mut self) -> u32 {
        std::mem::take(&mut self.unseen)
    }

    /// Rings without a kick eventfd, by bit.
    pub fn polled(&self) -> u32 {
        self.rings.iter().rev().fold(0, |bits, ring| (bits << 1) | u32::from(ring.polled()))
    }

    /// Breaks the rings where the front end has truncated memory under them. To be called once a turn.
    pub fn check_memory(&mut self) {
        if let Some(addr) = self.memory.newly_lost() {
            self.rings.iter_mut().for_each(|ring| ring.memory_lost(addr));
        }
    }

    /// Whether `need_reply` of a message without an answer of its own is honoured.
    pub fn acknowledges(&self) -> bool {
        self.protocol.contains(Protocol::REPLY_ACK)
    }

    /// Does what `request` says.
    ///
    /// # Errors
    /// The request is refused, and changed nothing.
    pub fn handle<D: Device>(
        &mut self,
        request: Request,
        device: &mut D,
        registrar: &Registrar,
    ) -> Result<Answer, Refused> {
        Ok(match request {
            Request::GetFeatures => {
                let transport = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
                Answer::Reply(Reply::U64(device.features() | GENERIC | transport))
            }
            Request::SetFeatures(features) => self.set_features(features, device)?,
            Request::GetProtocolFeatures => Answer::Reply(Reply::U64((PROTOCOL | device.protocol_features()).bits())),
            Request::SetProtocolFeatures(features) => self.set_protocol_features(features, device)?,
            Request::GetQueueNum => Answer::Reply(Reply::U64(self.rings.len() as u64)),
            Request::GetMaxMemSlots => Answer::Reply(Reply::U64(MAX_SLOTS as u64)),
            // Ownership means nothing to a back end with one front end; RESET_OWNER is deprecated and ignored.
            Request::SetOwner | Request::ResetOwner => Answer::Ack,
            Request::SetMemTable(table) => {
                self.memory = GuestMemory::from_table(table)?;
                self.memory_changed(device)
            }
            Request::AddMemReg(region, file) => {
                self.memory.add(region, file)?;
                self.memory_changed(device)
            }
            Request::RemMemReg(region) => {
                self.memory.remove(&region)?;
                self.memory_changed(device)
            }
            Request::SetVringNum(VringState { index, num }) => self.ring(index, |ring| ring.set_size(num))?,
            Request::SetVringAddr(addr) => self.ring(addr.index, |ring| ring.set_addr(addr))?,
            Request::SetVringBase(VringState { index, num }) => self.ring(index, |ring| ring.set_base(num))?,
            Request::GetVringBase(index) => self.stop(index, device)?,
            Request::SetVringKick(kick) => self.start(kick, device, registrar)?,
            Request::SetVringCall(VringFd { index, fd }) => self.ring(u32::from(index), |ring| ring.set_call(fd))?,
            Request::SetVringErr(VringFd { index, fd }) => self.ring(u32::from(index), |ring| ring.set_err(fd))?,
            Request::SetVringEnable(state) => self.enable(state)?,
            Request::GetConfig(range) => {
                let mut content = [0; MAX_CONFIG];
                if let Some(part) = content.get_mut(..range.size) {
                    device.read_config(range.offset, part);
                }
                Answer::Reply(Reply::Config(range, content))
            }
            Request::SetConfig(range, content) => {
                device.write_config(range.offset, content.get(..range.size).unwrap_or_default());
                Answer::Ack
            }
            Request::GpuSetSocket(socket) => {
                device.set_display(socket, registrar)?;
                Answer::Ack
            }
            Request::ResetDevice => {
                self.rings.iter_mut().for_each(Ring::reset);
                device.reset();
                Answer::Ack
            }
            // Only offered by devices that have something to say on it.
            Request::SetBackendReqFd(_) | Request::Unsupported(_) => return Err(Refused::Unsupported),
        })
    }

    fn set_features<D: Device>(&mut self, features: u64, device: &D) -> Result<Answer, Refused> {
        let transport = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let kept = if device.keeps_order() { TOLERATED } else { TOLERATED & !(1 << VIRTIO_F_IN_ORDER) };
        let strange = features & !(device.features() | GENERIC | kept | transport);
        if strange != 0 {
            return Err(Refused::Features(strange));
        }
        debug!("virtio features {features:#x}");
        self.features = features;
        Ok(Answer::Ack)
    }

    fn set_protocol_features<D: Device>(&mut self, features: u64, device: &D) -> Result<Answer, Refused> {
        let offered = PROTOCOL | device.protocol_features();
        let strange = features & !offered.bits();
        if strange != 0 {
            return Err(Refused::ProtocolFeatures(strange));
        }
        debug!("protocol features {features:#x}");
        self.protocol = Protocol::from_bits_truncate(features);
        Ok(Answer::Ack)
    }

    fn memory_changed<D: Device>(&mut self, device: &mut D) -> Answer {
        for ring in &mut self.rings {
            ring.memory_changed(&self.memory);
        }
        // One that was gone may be back.
        self.unseen |= (1 << self.rings.len()) - 1;
        device.memory_changed(&self.memory);
        Answer::Ack
    }

    fn ring(&mut self, index: u32, change: impl FnOnce(&mut Ring) -> Result<(), RingError>) -> Result<Answer, Refused> {
        let ring = find(&mut self.rings, index)?;
        change(ring).map_err(|error| Refused::Ring { index, error })?;
        Ok(Answer::Ack)
    }

    /// A ring starts with its kick ("Starting and stopping rings"), and is looked at at once: buffers may be there.
    fn start<D: Device>(&mut self, kick: VringFd, device: &mut D, registrar: &Registrar) -> Result<Answer, Refused> {
        let VringFd { index, fd } = kick;
        let queue = usize::from(index);
        let watch = |fd: OwnedFd| registrar.watch(Source::Kick(index), fd, Interest::ReadEdge);
        let index = u32::from(index);
        let ring = find(&mut self.rings, index)?;
        if fd.as_ref().is_some_and(|fd| !is_eventfd(fd.as_fd())) {
            return Err(Refused::Ring { index, error: RingError::NotAnEventfd });
        }
        let kick = fd.map(watch).transpose().map_err(Refused::Watch)?;
        let was_started = ring.started();
        ring.set_event_idx(self.features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0);
        let fresh = ring.start(kick, &self.memory).map_err(|error| Refused::Ring { index, error })?;
        if self.features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
            ring.set_enabled(true);
        }
        if !was_started {
            debug!("ring {queue} starts{}", if fresh { "" } else { " where it stopped" });
            device.ring_started(queue, fresh);
        }
        self.unseen |= 1 << queue;
        Ok(Answer::Ack)
    }

    fn stop<D: Device>(&mut self, index: u32, device: &mut D) -> Result<Answer, Refused> {
        let ring = find(&mut self.rings, index)?;
        if ring.started() {
            device.ring_stopping(index as usize, ring, &self.memory);
        }
        let base = ring.stop();
        debug!("ring {index} stops at {base}");
        Ok(Answer::Reply(Reply::VringState(VringState { index, num: u32::from(base) })))
    }

    fn enable(&mut self, state: VringState) -> Result<Answer, Refused> {
        let on = match state.num {
            0 => false,
            1 => true,
            other => return Err(Refused::Switch(other)),
        };
        find(&mut self.rings, state.index)?.set_enabled(on);
        if on {
            self.unseen |= 1 << state.index;
        }
        Ok(Answer::Ack)
    }
}

fn find(rings: &mut [Ring], index: u32) -> Result<&mut Ring, Refused> {
    rings.get_mut(index as usize).ok_or(Refused::NoRing(index))
}

/// What becomes of a refused request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The front end gets this and goes on.
    Reply(Reply),
    /// It goes on without hearing of it.
    Ignore,
    /// There is no way to tell it, and no sane way on.
    End,
}

/// How the front end hears that the request of number `request` was refused: by the acknowledgement where it
/// negotiated and asked for one; else, what it would wait for or build upon ends the session, and what it can live without
/// is passed over.
pub fn verdict(request: u32, refused: &Refused, acknowledge: bool) -> Verdict {
    use vhost::vhost_user::message::FrontendReq as Req;
    let kind = Req::try_from(request).ok();
    let waits = matches!(
        kind,
        Some(
            Req::GET_VRING_BASE
                | Req::SET_LOG_BASE
                | Req::GET_INFLIGHT_FD
                | Req::GET_STATUS
                | Req::IOTLB_MSG
                | Req::POSTCOPY_ADVISE
                | Req::POSTCOPY_END
                | Req::CREATE_CRYPTO_SESSION
                | Req::GET_SHARED_OBJECT
                | Req::SET_DEVICE_STATE_FD
                | Req::CHECK_DEVICE_STATE
                | Req::GET_SHMEM_CONFIG
        )
    );
    let built_upon =
        matches!(refused, Refused::Memory(_) | Refused::Features(_) | Refused::ProtocolFeatures(_) | Refused::Watch(_));
    match kind {
        _ if waits => Verdict::End,
        _ if acknowledge => Verdict::Reply(Reply::U64(1)),
        _ if built_upon => Verdict::End,
        _ => Verdict::Ignore,
    }
}

/// How often refusals are told: a front end can make one of each message.
pub const REFUSALS: Budget = Budget::new(20, Duration::from_secs(60));

/// Logs a refusal.
pub fn log_refusal(budget: &mut Budget, request: u32, refused: &Refused) {
    let name = wire::name(request);
    match refused {
        Refused::Unsupported => log_within!(budget, Level::Info, "{name} is not supported"),
        _ => log_within!(budget, Level::Warn, "{name} refused: {refused}"),
    }
}
