//! The orders in which QEMU sends its messages: realize, start, stop, reset.
//!
//! As seen from QEMU 11.1 and 10.0. What differs between them: which messages ask for an acknowledgement, which
//! protocol bits are acknowledged, the size of the gpu's config space, and how often a new ring is kicked.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::wire::{feature, protocol};
use super::{AckPolicy, FrontEnd, Vmm};
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::ring::Ring;

/// Which QEMU is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qemu {
    /// 7.2: protocol bits up to STATUS, a gpu config of 16 bytes, a display without features.
    V7_2,
    /// 10.0: protocol bits up to DEVICE_STATE, a gpu config of 16 bytes.
    V10_0,
    /// 11.1: protocol bits up to SHMEM, a gpu config of 20 bytes, notifiers are set synchronously.
    #[default]
    V11_1,
}

impl Qemu {
    /// The protocol bits that this QEMU acknowledges where offered: it masks by its highest, known or not.
    pub fn protocol_mask(self) -> u64 {
        match self {
            Qemu::V7_2 => (1 << (protocol::STATUS + 1)) - 1,
            Qemu::V10_0 => (1 << (protocol::DEVICE_STATE + 1)) - 1,
            Qemu::V11_1 => ((1 << (protocol::SHMEM + 1)) - 1) & !(1 << protocol::GET_VRING_BASE_INFLIGHT),
        }
    }

    /// How many bytes of gpu config it reads.
    pub fn gpu_config_size(self) -> u32 {
        match self {
            Qemu::V7_2 | Qemu::V10_0 => 16,
            Qemu::V11_1 => 20,
        }
    }

    /// How many entries the queues of its input device have.
    pub fn input_queue_size(self) -> u16 {
        match self {
            Qemu::V7_2 => 64,
            Qemu::V10_0 | Qemu::V11_1 => 4,
        }
    }

    /// The features that its display answers: EDID and DMABUF2, or none.
    pub fn display_features(self) -> u64 {
        match self {
            Qemu::V7_2 => 0,
            Qemu::V10_0 | Qemu::V11_1 => 3,
        }
    }

    pub(super) fn policy(self) -> AckPolicy {
        match self {
            Qemu::V7_2 | Qemu::V10_0 => AckPolicy::Qemu10,
            Qemu::V11_1 => AckPolicy::Qemu11,
        }
    }

    fn first_kicks(self) -> u64 {
        match self {
            Qemu::V7_2 | Qemu::V10_0 => 1,
            Qemu::V11_1 => 2,
        }
    }
}

/// Which device is played; their start messages come in different orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// vhost-user-gpu-pci.
    #[default]
    Gpu,
    /// vhost-user-input-pci.
    Input,
}

/// What the back end offered during [`FrontEnd::realize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Virtio features.
    pub features: u64,
    /// Protocol features, before QEMU's mask.
    pub protocol_features: u64,
    /// Number of queues, where MQ is offered.
    pub queues: Option<u64>,
    /// Number of memory slots, where CONFIGURE_MEM_SLOTS is offered.
    pub mem_slots: Option<u64>,
}

/// What a start tells the back end.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The guest's RAM.
    pub memory: &'a [Region],
    /// The rings, by index.
    pub rings: &'a [&'a Ring],
    /// Features that the guest's driver accepted; bit 30 is added where it was offered, as QEMU does.
    pub features: u64,
    /// The back end's end of a new display socket; `None` for input, and for a front end without a display.
    pub gpu_socket: Option<BorrowedFd<'a>>,
}

/// What the sequences remember.
#[derive(Default)]
pub(super) struct Sequence {
    pub(super) vmm: Vmm,
    pub(super) kind: DeviceKind,
    pub(super) masked: Vec<EventFd>,
    pub(super) errors: Vec<EventFd>,
    pub(super) bases: Vec<u32>,
    pub(super) back_channel: Option<UnixStream>,
    pub(super) memory_sent: bool,
    pub(super) started: bool,
    /// Paused by a monitor that only disables the rings.
    pub(super) disabled: bool,
}

impl FrontEnd {
    /// The monitor's messages when the device is made, before the guest runs.
    pub fn realize(&mut self, vmm: impl Into<Vmm>, kind: DeviceKind, queues: usize) -> Result<Offer> {
        let vmm = vmm.into();
        self.set_ack_policy(vmm.policy());
        let Vmm::Qemu(qemu) = vmm else { return self.realize_generic(vmm, kind, queues) };
        let mut offer = Offer { features: self.get_features()?, ..Offer::default() };
        if !self.offers(feature::PROTOCOL_FEATURES) {
            return Err(Error::fault("PROTOCOL_FEATURES is not offered, so there can be no config space"));
        }
        offer.protocol_features = self.get_protocol_features()?;
        if offer.protocol_features >> protocol::CONFIG & 1 == 0 {
            return Err(Error::fault("CONFIG is not offered; QEMU refuses such a back end"));
        }
        self.set_protocol_features(offer.protocol_features & qemu.protocol_mask())?;
        if self.has(protocol::MQ) {
            offer.queues = Some(self.get_queue_num()?);
        }
        if self.has(protocol::CONFIGURE_MEM_SLOTS) {
            offer.mem_slots = Some(self.get_max_mem_slots()?);
        }
        let back_channel = self.has(protocol::BACKEND_REQ).then(|| self.set_backend_req_fd()).transpose()?;
        self.set_owner()?;
        offer.features = self.get_features()?;
        self.sequence = Sequence { vmm, kind, back_channel, ..Sequence::default() };
        for index in 0..queues {
            let (masked, error) = (new_eventfd()?, new_eventfd()?);
            self.set_vring_call(index as u32, Some(masked.as_fd()))?;
            self.set_vring_err(index as u32, Some(error.as_fd()))?;
            self.sequence.masked.push(masked);
            self.sequence.errors.push(error);
        }
        self.sequence.bases = vec![0; queues];
        if self.has(protocol::RESET_DEVICE) {
            self.reset_device()?;
            self.reset_device()?;
        }
        Ok(offer)
    }

    /// What QEMU sends at DRIVER_OK, and at `cont` after a `stop`: then the bases are those of the last stop.
    pub fn start(&mut self, start: &Start<'_>) -> Result<()> {
        assert_eq!(start.rings.len(), self.sequence.bases.len(), "one ring for each queue that was realized");
        let Vmm::Qemu(qemu) = self.sequence.vmm else { return self.start_generic(start) };
        let kind = self.sequence.kind;
        if kind == DeviceKind::Gpu {
            if let Some(socket) = start.gpu_socket {
                self.gpu_set_socket(socket)?;
            }
            self.call_masked()?;
        }
        self.set_features(start.features | self.offered_features() & 1 << feature::PROTOCOL_FEATURES)?;
        self.status_features_ok()?;
        self.send_memory(start.memory)?;
        for (index, ring) in start.rings.iter().enumerate() {
            self.start_ring(index as u32, ring, qemu.first_kicks())?;
            if kind == DeviceKind::Input {
                self.masked_call(index)?;
            }
        }
        for index in 0..start.rings.len() {
            self.set_vring_enable(index as u32, true)?;
        }
        for (index, ring) in start.rings.iter().enumerate() {
            self.set_vring_call(index as u32, Some(ring.call_fd()))?;
            self.unmask(index, ring)?;
        }
        self.sequence.started = true;
        Ok(())
    }

    /// What QEMU sends when the driver lets go of the device, when the guest is paused, and before it exits. The caller
    /// closes its end of the display socket first. Returns the rings' next avail indices.
    pub fn stop(&mut self) -> Result<Vec<u32>> {
        let Vmm::Qemu(_) = self.sequence.vmm else { return self.stop_generic() };
        let queues = self.sequence.bases.len() as u32;
        for index in 0..queues {
            self.set_vring_enable(index, false)?;
        }
        for index in 0..queues {
            self.sequence.bases[index as usize] = self.get_vring_base(index)?;
        }
        self.call_masked()?;
        self.sequence.started = false;
        Ok(self.sequence.bases.clone())
    }

    /// A virtio reset: a stop where the device runs, RESET_DEVICE where it is negotiated, bases back to 0.
    pub fn reset(&mut self) -> Result<()> {
        if self.sequence.started {
            self.stop()?;
        }
        if self.has(protocol::RESET_DEVICE) {
            self.reset_device()?;
        }
        self.sequence.bases.fill(0);
        Ok(())
    }

    /// QMP `stop`: the same messages as at a reset, but no RESET_DEVICE, and the bases stay. Monitors other than QEMU only
    /// disable the rings, and no bases are known.
    pub fn pause(&mut self) -> Result<Vec<u32>> {
        match self.sequence.vmm {
            Vmm::Qemu(_) => self.stop(),
            _ => self.disable_generic().map(|()| Vec::new()),
        }
    }

    /// QMP `cont`: the same messages as at DRIVER_OK, with the bases of the last stop and a new display socket. Monitors
    /// other than QEMU only enable the rings again.
    pub fn resume(&mut self, start: &Start<'_>) -> Result<()> {
        self.start(start)
    }

    /// The guest's look at the device config, at the size that this QEMU reads, twice as Linux makes it do.
    pub fn probe_config(&mut self) -> Result<Vec<u8>> {
        let size = match (self.sequence.kind, self.sequence.vmm) {
            (DeviceKind::Gpu, Vmm::Qemu(qemu)) => qemu.gpu_config_size(),
            (DeviceKind::Gpu, _) => Qemu::default().gpu_config_size(),
            (DeviceKind::Input, _) => 136,
        };
        self.get_config(0, size)?;
        self.get_config(0, size)
    }

    /// How often the back end signalled ring `index` as broken since the last look, by the descriptor of
    /// [`FrontEnd::realize`]; 0 where the monitor announced none.
    pub fn ring_errors(&self, index: usize) -> u64 {
        self.sequence.errors.get(index).map_or(0, |error| error.read().unwrap_or(0))
    }

    /// Our end of the back end's own channel, where BACKEND_REQ is negotiated.
    pub fn back_channel(&self) -> Option<&UnixStream> {
        self.sequence.back_channel.as_ref()
    }

    /// The rings' bases for the next start.
    pub fn bases(&self) -> &[u32] {
        &self.sequence.bases
    }

    /// Sets a base for the next start, to play a front end that remembers another one.
    pub fn set_base(&mut self, index: usize, base: u32) {
        self.sequence.bases[index] = base;
    }

    fn start_ring(&mut self, index: u32, ring: &Ring, kicks: u64) -> Result<()> {
        self.set_vring_num(index, ring.size().into())?;
        self.set_vring_base(index, self.sequence.bases[index as usize])?;
        self.set_vring_addr(&ring.addresses(index, self.has(protocol::GPA_ADDRESSES)))?;
        (0..kicks).for_each(|_| ring.kick_now());
        self.set_vring_kick(index, Some(ring.kick_fd()))
    }

    /// QEMU sends FEATURES_OK and never DRIVER_OK to these devices.
    fn status_features_ok(&mut self) -> Result<()> {
        if self.has(protocol::STATUS) {
            let status = self.get_status()?;
            self.set_status(status | 8)?;
        }
        Ok(())
    }

    /// Regions are sent one by one, once; without memory slots the whole table goes out on each start.
    fn send_memory(&mut self, memory: &[Region]) -> Result<()> {
        if !self.has(protocol::CONFIGURE_MEM_SLOTS) {
            return self.set_mem_table(memory);
        }
        if !self.sequence.memory_sent {
            memory.iter().try_for_each(|region| self.add_mem_reg(region))?;
            self.sequence.memory_sent = true;
        }
        Ok(())
    }

    fn masked_call(&mut self, index: usize) -> Result<()> {
        let masked = self.sequence.masked[index].as_fd().try_clone_to_owned();
        let masked = masked.map_err(|error| Error::io("dup", error))?;
        self.set_vring_call(index as u32, Some(masked.as_fd()))
    }

    fn call_masked(&mut self) -> Result<()> {
        (0..self.sequence.masked.len()).try_for_each(|index| self.masked_call(index))
    }

    /// An interrupt that came while the guest's notifier was masked is handed on.
    fn unmask(&self, index: usize, ring: &Ring) -> Result<()> {
        match self.sequence.masked[index].read() {
            Ok(_) => ring.interrupt(),
            Err(_) => Ok(()),
        }
    }
}

pub(crate) fn new_eventfd() -> Result<EventFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    EventFd::from_value_and_flags(0, flags).map_err(|errno| Error::io("eventfd", errno))
}
