//! The orders of machine monitors that know vhost-user but not the device behind it.
//!
//! As Cloud Hypervisor's generic device sends them: the owner comes first, the whole memory table goes out at each start
//! (also where memory slots are negotiated: those serve hot-plug), a pause only disables the rings, and a reset stops
//! them one by one. New rings are not kicked, there is neither RESET_DEVICE nor a masked notifier.

use super::sequence::Sequence;
use super::wire::{feature, protocol};
use super::{AckPolicy, DeviceKind, FrontEnd, Offer, Qemu, Start};
use crate::error::{Error, Result};

/// Which virtual machine monitor is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmm {
    /// QEMU.
    Qemu(Qemu),
    /// Cloud Hypervisor with its generic vhost-user device. A guest's write of config carries flag 1, as rust-vmm's
    /// crates number "writable"; the back channel is made after the rings run; each message asks for a reply. In-flight
    /// tracking, dirty logs and device state, which it would take as well, are not played.
    CloudHypervisor,
    /// The least that can drive a device: MQ, REPLY_ACK and CONFIG, messages in the same order, no back channel.
    Plain,
}

impl Default for Vmm {
    fn default() -> Vmm {
        Vmm::Qemu(Qemu::default())
    }
}

impl From<Qemu> for Vmm {
    fn from(qemu: Qemu) -> Vmm {
        Vmm::Qemu(qemu)
    }
}

impl Vmm {
    /// The protocol bits that it acknowledges where offered.
    pub fn protocol_mask(self) -> u64 {
        let plain = 1 << protocol::MQ | 1 << protocol::REPLY_ACK | 1 << protocol::CONFIG;
        match self {
            Vmm::Qemu(qemu) => qemu.protocol_mask(),
            Vmm::CloudHypervisor => plain | 1 << protocol::CONFIGURE_MEM_SLOTS | 1 << protocol::BACKEND_REQ,
            Vmm::Plain => plain,
        }
    }

    /// How many entries the queues of an input device have; outside QEMU that is the user's choice.
    pub fn input_queue_size(self) -> u16 {
        match self {
            Vmm::Qemu(qemu) => qemu.input_queue_size(),
            Vmm::CloudHypervisor | Vmm::Plain => 64,
        }
    }

    pub(super) fn policy(self) -> AckPolicy {
        match self {
            Vmm::Qemu(qemu) => qemu.policy(),
            Vmm::CloudHypervisor => AckPolicy::Every,
            Vmm::Plain => AckPolicy::Always,
        }
    }
}

impl FrontEnd {
    pub(super) fn realize_generic(&mut self, vmm: Vmm, kind: DeviceKind, queues: usize) -> Result<Offer> {
        self.set_owner()?;
        let mut offer = Offer { features: self.get_features()?, ..Offer::default() };
        if !self.offers(feature::PROTOCOL_FEATURES) {
            return Err(Error::fault("PROTOCOL_FEATURES is not offered, so there can be no config space"));
        }
        offer.protocol_features = self.get_protocol_features()?;
        self.set_protocol_features(offer.protocol_features & vmm.protocol_mask())?;
        if !self.has(protocol::CONFIG) {
            return Err(Error::fault("CONFIG is not offered, so there can be no config space"));
        }
        if self.has(protocol::MQ) {
            let offered = self.get_queue_num()?;
            if offered < queues as u64 {
                return Err(Error::fault(format!("{offered} queues are offered, the device has {queues}")));
            }
            offer.queues = Some(offered);
        }
        self.sequence = Sequence { vmm, kind, bases: vec![0; queues], ..Sequence::default() };
        Ok(offer)
    }

    pub(super) fn start_generic(&mut self, start: &Start<'_>) -> Result<()> {
        if std::mem::take(&mut self.sequence.disabled) {
            return self.enable_generic(true);
        }
        self.set_features(start.features | self.offered_features() & 1 << feature::PROTOCOL_FEATURES)?;
        self.set_mem_table(start.memory)?;
        for (index, ring) in start.rings.iter().enumerate() {
            self.set_vring_num(index as u32, ring.size().into())?;
        }
        for (index, ring) in start.rings.iter().enumerate() {
            self.set_vring_addr(&ring.addresses(index as u32, false))?;
            self.set_vring_base(index as u32, self.sequence.bases[index])?;
            self.set_vring_call(index as u32, Some(ring.call_fd()))?;
            self.set_vring_kick(index as u32, Some(ring.kick_fd()))?;
        }
        self.enable_generic(true)?;
        if self.has(protocol::BACKEND_REQ) {
            self.sequence.back_channel = Some(self.set_backend_req_fd()?);
        }
        self.sequence.started = true;
        Ok(())
    }

    /// The stop that a reset makes.
    pub(super) fn stop_generic(&mut self) -> Result<Vec<u32>> {
        for index in 0..self.sequence.bases.len() {
            self.set_vring_enable(index as u32, false)?;
            self.sequence.bases[index] = self.get_vring_base(index as u32)?;
        }
        (self.sequence.started, self.sequence.disabled) = (false, false);
        Ok(self.sequence.bases.clone())
    }

    pub(super) fn disable_generic(&mut self) -> Result<()> {
        self.sequence.disabled = self.sequence.started;
        self.enable_generic(false)
    }

    fn enable_generic(&mut self, enable: bool) -> Result<()> {
        (0..self.sequence.bases.len()).try_for_each(|index| self.set_vring_enable(index as u32, enable))
    }
}
