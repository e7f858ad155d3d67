//! One method for each front-end message.
//!
//! A message without a reply of its own goes out with NEED_REPLY where the front end's [`AckPolicy`] says so and
//! REPLY_ACK is negotiated; an answer other than 0 is [`Error::Refused`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::wire::{self, VringAddr, protocol, request};
use super::{AckPolicy, FrontEnd, Reply};
use crate::error::{Error, Result};
use crate::memory::{Region, RegionSpec};

impl FrontEnd {
    /// Sends a message that has a reply of its own and returns the reply.
    pub fn ask(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Reply> {
        let every = self.policy == AckPolicy::Every && self.has(protocol::REPLY_ACK);
        self.send(request, if every { wire::NEED_REPLY } else { 0 }, payload, fds)?;
        self.reply(request)
    }

    /// Sends a message that has no reply of its own, with or without NEED_REPLY as the policy says.
    pub fn tell(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        if self.wants_ack(request) {
            return self.tell_acked(request, payload, fds);
        }
        self.send(request, 0, payload, fds)
    }

    /// Sends a message with NEED_REPLY whatever the policy says, and checks the answer.
    pub fn tell_acked(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.ack_value(request, payload, fds)? {
            0 => Ok(()),
            value => Err(Error::Refused { request, value }),
        }
    }

    /// Sends a message with NEED_REPLY and returns the answer's value.
    pub fn ack_value(&mut self, request: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<u64> {
        self.send(request, wire::NEED_REPLY, payload, fds)?;
        self.reply(request)?.u64()
    }

    fn wants_ack(&self, message: u32) -> bool {
        let notifiers = [request::SET_VRING_KICK, request::SET_VRING_CALL, request::SET_VRING_ERR];
        let always_synchronous = [
            request::SET_MEM_TABLE,
            request::ADD_MEM_REG,
            request::REM_MEM_REG,
            request::SET_VRING_ENABLE,
            request::SET_CONFIG,
            request::SET_BACKEND_REQ_FD,
        ];
        self.has(protocol::REPLY_ACK)
            && message != request::GPU_SET_SOCKET
            && match self.policy {
                AckPolicy::Always | AckPolicy::Every => true,
                AckPolicy::Never => false,
                AckPolicy::Qemu10 => always_synchronous.contains(&message),
                AckPolicy::Qemu11 => always_synchronous.contains(&message) || notifiers.contains(&message),
            }
    }

    /// A round trip that changes nothing: all messages before it have been handled when it returns.
    pub fn barrier(&mut self) -> Result<()> {
        self.ask(request::GET_FEATURES, &[], &[])?.u64().map(drop)
    }

    /// GET_FEATURES.
    pub fn get_features(&mut self) -> Result<u64> {
        self.features = self.ask(request::GET_FEATURES, &[], &[])?.u64()?;
        Ok(self.features)
    }

    /// SET_FEATURES.
    pub fn set_features(&mut self, features: u64) -> Result<()> {
        self.tell(request::SET_FEATURES, &features.to_ne_bytes(), &[])
    }

    /// GET_PROTOCOL_FEATURES.
    pub fn get_protocol_features(&mut self) -> Result<u64> {
        self.ask(request::GET_PROTOCOL_FEATURES, &[], &[])?.u64()
    }

    /// SET_PROTOCOL_FEATURES; from here on they count as negotiated.
    pub fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.tell(request::SET_PROTOCOL_FEATURES, &features.to_ne_bytes(), &[])?;
        self.protocol_features = features;
        Ok(())
    }

    /// SET_OWNER.
    pub fn set_owner(&mut self) -> Result<()> {
        self.tell(request::SET_OWNER, &[], &[])
    }

    /// RESET_OWNER.
    pub fn reset_owner(&mut self) -> Result<()> {
        self.tell(request::RESET_OWNER, &[], &[])
    }

    /// GET_QUEUE_NUM.
    pub fn get_queue_num(&mut self) -> Result<u64> {
        self.ask(request::GET_QUEUE_NUM, &[], &[])?.u64()
    }

    /// GET_MAX_MEM_SLOTS.
    pub fn get_max_mem_slots(&mut self) -> Result<u64> {
        self.ask(request::GET_MAX_MEM_SLOTS, &[], &[])?.u64()
    }

    /// SET_MEM_TABLE with regions of our guest memory.
    pub fn set_mem_table(&mut self, regions: &[Region]) -> Result<()> {
        let specs: Vec<RegionSpec> = regions.iter().map(|region| region.spec).collect();
        let fds: Vec<BorrowedFd<'_>> = regions.iter().map(Region::fd).collect();
        self.set_mem_table_raw(&specs, &fds)
    }

    /// SET_MEM_TABLE with any regions and any descriptors.
    pub fn set_mem_table_raw(&mut self, specs: &[RegionSpec], fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.tell(request::SET_MEM_TABLE, &wire::mem_table(specs), fds)
    }

    /// ADD_MEM_REG with a region of our guest memory.
    pub fn add_mem_reg(&mut self, region: &Region) -> Result<()> {
        self.add_mem_reg_raw(&region.spec, &[region.fd()])
    }

    /// ADD_MEM_REG with any region and any descriptors.
    pub fn add_mem_reg_raw(&mut self, spec: &RegionSpec, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.tell(request::ADD_MEM_REG, &wire::single_region(spec), fds)
    }

    /// REM_MEM_REG.
    pub fn rem_mem_reg(&mut self, spec: &RegionSpec) -> Result<()> {
        self.tell(request::REM_MEM_REG, &wire::single_region(spec), &[])
    }

    /// SET_VRING_NUM.
    pub fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        self.tell(request::SET_VRING_NUM, &wire::vring_state(index, size), &[])
    }

    /// SET_VRING_BASE.
    pub fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.tell(request::SET_VRING_BASE, &wire::vring_state(index, base), &[])
    }

    /// SET_VRING_ADDR.
    pub fn set_vring_addr(&mut self, addr: &VringAddr) -> Result<()> {
        self.tell(request::SET_VRING_ADDR, &addr.encode(), &[])
    }

    /// GET_VRING_BASE: stops the ring and returns the next avail index.
    pub fn get_vring_base(&mut self, index: u32) -> Result<u32> {
        let reply = self.ask(request::GET_VRING_BASE, &wire::vring_state(index, 0), &[])?;
        let value = reply.u64()?.to_ne_bytes();
        let word = |at: usize| u32::from_ne_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
        match word(0) == index {
            true => Ok(word(4)),
            false => Err(Error::fault(format!("GET_VRING_BASE of {index} answered for {}", word(0)))),
        }
    }

    /// SET_VRING_KICK; `None` asks the back end to poll the ring.
    pub fn set_vring_kick(&mut self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_KICK, index, fd)
    }

    /// SET_VRING_CALL; `None` says that no interrupt is wanted.
    pub fn set_vring_call(&mut self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_CALL, index, fd)
    }

    /// SET_VRING_ERR.
    pub fn set_vring_err(&mut self, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.set_vring_fd(request::SET_VRING_ERR, index, fd)
    }

    fn set_vring_fd(&mut self, request: u32, index: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let value = u64::from(index) | if fd.is_none() { wire::NO_FD } else { 0 };
        self.tell(request, &value.to_ne_bytes(), fd.as_slice())
    }

    /// SET_VRING_ENABLE.
    pub fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.tell(request::SET_VRING_ENABLE, &wire::vring_state(index, enable.into()), &[])
    }

    /// SET_VRING_ENDIAN.
    pub fn set_vring_endian(&mut self, index: u32, big: bool) -> Result<()> {
        self.tell(request::SET_VRING_ENDIAN, &wire::vring_state(index, big.into()), &[])
    }

    /// VRING_KICK, the in-band one that QEMU never sends.
    pub fn vring_kick(&mut self, index: u32) -> Result<()> {
        self.tell(request::VRING_KICK, &wire::vring_state(index, 0), &[])
    }

    /// GET_CONFIG; the reply must have the same layout and size. An empty reply, the document's error, is
    /// [`Error::Refused`].
    pub fn get_config(&mut self, offset: u32, size: u32) -> Result<Vec<u8>> {
        let asked = wire::config(offset, 0, &vec![0; size as usize]);
        let reply = self.ask(request::GET_CONFIG, &asked, &[])?;
        if reply.payload.is_empty() {
            return Err(Error::Refused { request: request::GET_CONFIG, value: 0 });
        }
        if reply.payload.len() != asked.len() || reply.payload[..12] != asked[..12] {
            let text = format!("GET_CONFIG of {size} bytes at {offset} answered with {:?}", reply.payload);
            return Err(Error::Fault(text));
        }
        Ok(reply.payload[12..].to_vec())
    }

    /// SET_CONFIG; `flags` 0 is a guest's write.
    pub fn set_config(&mut self, offset: u32, flags: u32, bytes: &[u8]) -> Result<()> {
        self.tell(request::SET_CONFIG, &wire::config(offset, flags, bytes), &[])
    }

    /// SET_BACKEND_REQ_FD; returns our end of the new channel.
    pub fn set_backend_req_fd(&mut self) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io("socketpair", error))?;
        self.tell(request::SET_BACKEND_REQ_FD, &[], &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// GPU_SET_SOCKET, which is never answered.
    pub fn gpu_set_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        self.send(request::GPU_SET_SOCKET, 0, &[], &[socket])
    }

    /// RESET_DEVICE.
    pub fn reset_device(&mut self) -> Result<()> {
        self.tell(request::RESET_DEVICE, &[], &[])
    }

    /// SET_LOG_BASE: `size` bytes of dirty log at `offset` of the file; answered when LOG_SHMFD is negotiated.
    pub fn set_log_base(&mut self, size: u64, offset: u64, file: BorrowedFd<'_>) -> Result<()> {
        let payload = [size.to_ne_bytes(), offset.to_ne_bytes()].concat();
        match self.has(protocol::LOG_SHMFD) {
            true => self.ask(request::SET_LOG_BASE, &payload, &[file]).map(drop),
            false => self.tell(request::SET_LOG_BASE, &payload, &[file]),
        }
    }

    /// SET_LOG_FD.
    pub fn set_log_fd(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        self.tell(request::SET_LOG_FD, &[], &[fd])
    }

    /// IOTLB_MSG, raw; the reply's value.
    pub fn iotlb(&mut self, payload: &[u8; 32]) -> Result<u64> {
        self.ask(request::IOTLB_MSG, payload, &[])?.u64()
    }

    /// SET_STATUS.
    pub fn set_status(&mut self, status: u64) -> Result<()> {
        self.tell(request::SET_STATUS, &status.to_ne_bytes(), &[])
    }

    /// GET_STATUS.
    pub fn get_status(&mut self) -> Result<u64> {
        self.ask(request::GET_STATUS, &[], &[])?.u64()
    }

    /// GET_INFLIGHT_FD for `queues` rings of `size`: the reply's payload and its descriptor.
    pub fn get_inflight_fd(&mut self, queues: u16, size: u16) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut payload = vec![0; 16];
        payload.extend_from_slice(&queues.to_ne_bytes());
        payload.extend_from_slice(&size.to_ne_bytes());
        payload.extend_from_slice(&[0; 4]);
        let mut reply = self.ask(request::GET_INFLIGHT_FD, &payload, &[])?;
        Ok((reply.payload, reply.fds.pop()))
    }

    /// SET_DEVICE_STATE_FD (direction 0 save, 1 load): the reply's value and its descriptor.
    pub fn set_device_state_fd(&mut self, direction: u32, fd: BorrowedFd<'_>) -> Result<(u64, Option<OwnedFd>)> {
        let mut reply = self.ask(request::SET_DEVICE_STATE_FD, &wire::vring_state(direction, 0), &[fd])?;
        Ok((reply.u64()?, reply.fds.pop()))
    }

    /// CHECK_DEVICE_STATE.
    pub fn check_device_state(&mut self) -> Result<u64> {
        self.ask(request::CHECK_DEVICE_STATE, &[], &[])?.u64()
    }

    /// GET_SHMEM_CONFIG: the 2056 bytes of its reply.
    pub fn get_shmem_config(&mut self) -> Result<Vec<u8>> {
        Ok(self.ask(request::GET_SHMEM_CONFIG, &[], &[])?.payload)
    }

    /// Whether the back end offered virtio feature `bit` when last asked.
    pub fn offers(&self, bit: u32) -> bool {
        self.features >> bit & 1 == 1
    }
}
