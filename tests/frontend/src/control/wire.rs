//! The control socket's bytes: message numbers, flags, payload layouts. Pure; nothing is sent here.

use crate::memory::RegionSpec;

/// Message numbers of the front end (the back end's replies carry the same).
#[allow(missing_docs)]
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_LOG_BASE: u32 = 6;
    pub const SET_LOG_FD: u32 = 7;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SEND_RARP: u32 = 19;
    pub const NET_SET_MTU: u32 = 20;
    pub const SET_BACKEND_REQ_FD: u32 = 21;
    pub const IOTLB_MSG: u32 = 22;
    pub const SET_VRING_ENDIAN: u32 = 23;
    pub const GET_CONFIG: u32 = 24;
    pub const SET_CONFIG: u32 = 25;
    pub const CREATE_CRYPTO_SESSION: u32 = 26;
    pub const CLOSE_CRYPTO_SESSION: u32 = 27;
    pub const POSTCOPY_ADVISE: u32 = 28;
    pub const POSTCOPY_LISTEN: u32 = 29;
    pub const POSTCOPY_END: u32 = 30;
    pub const GET_INFLIGHT_FD: u32 = 31;
    pub const SET_INFLIGHT_FD: u32 = 32;
    pub const GPU_SET_SOCKET: u32 = 33;
    pub const RESET_DEVICE: u32 = 34;
    pub const VRING_KICK: u32 = 35;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
    pub const SET_STATUS: u32 = 39;
    pub const GET_STATUS: u32 = 40;
    pub const GET_SHARED_OBJECT: u32 = 41;
    pub const SET_DEVICE_STATE_FD: u32 = 42;
    pub const CHECK_DEVICE_STATE: u32 = 43;
    pub const GET_SHMEM_CONFIG: u32 = 44;
    pub const GET_VRING_BASE_SKIP_DRAIN: u32 = 45;
}

/// Virtio feature bits that the transport uses, as bit numbers.
#[allow(missing_docs)]
pub mod feature {
    pub const NOTIFY_ON_EMPTY: u32 = 24;
    pub const LOG_ALL: u32 = 26;
    pub const INDIRECT_DESC: u32 = 28;
    pub const EVENT_IDX: u32 = 29;
    pub const PROTOCOL_FEATURES: u32 = 30;
    pub const VERSION_1: u32 = 32;
    pub const IOMMU_PLATFORM: u32 = 33;
    pub const RING_PACKED: u32 = 34;
    pub const IN_ORDER: u32 = 35;
    pub const RING_RESET: u32 = 40;
}

/// Protocol feature bits, as bit numbers.
#[allow(missing_docs)]
pub mod protocol {
    pub const MQ: u32 = 0;
    pub const LOG_SHMFD: u32 = 1;
    pub const RARP: u32 = 2;
    pub const REPLY_ACK: u32 = 3;
    pub const MTU: u32 = 4;
    pub const BACKEND_REQ: u32 = 5;
    pub const CROSS_ENDIAN: u32 = 6;
    pub const CRYPTO_SESSION: u32 = 7;
    pub const PAGEFAULT: u32 = 8;
    pub const CONFIG: u32 = 9;
    pub const BACKEND_SEND_FD: u32 = 10;
    pub const HOST_NOTIFIER: u32 = 11;
    pub const INFLIGHT_SHMFD: u32 = 12;
    pub const RESET_DEVICE: u32 = 13;
    pub const INBAND_NOTIFICATIONS: u32 = 14;
    pub const CONFIGURE_MEM_SLOTS: u32 = 15;
    pub const STATUS: u32 = 16;
    pub const XEN_MMAP: u32 = 17;
    pub const SHARED_OBJECT: u32 = 18;
    pub const DEVICE_STATE: u32 = 19;
    pub const GET_VRING_BASE_INFLIGHT: u32 = 20;
    pub const GPA_ADDRESSES: u32 = 21;
    pub const SHMEM: u32 = 22;
}

/// Bytes of a message header: request, flags, payload size.
pub const HEADER_SIZE: usize = 12;
/// Protocol version 1, as every message carries it.
pub const VERSION: u32 = 1;
/// Set in a reply.
pub const REPLY: u32 = 1 << 2;
/// Set in a message that wants an acknowledgement.
pub const NEED_REPLY: u32 = 1 << 3;
/// In the u64 of SET_VRING_KICK, CALL and ERR: no descriptor comes along.
pub const NO_FD: u64 = 1 << 8;

/// A message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message number.
    pub request: u32,
    /// Version, REPLY, NEED_REPLY.
    pub flags: u32,
    /// Bytes of payload that follow.
    pub size: u32,
}

impl Header {
    /// Reads a header.
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Header {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Header { request: word(0), flags: word(4), size: word(8) }
    }

    /// Writes a header.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[0..4].copy_from_slice(&self.request.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_ne_bytes());
        bytes
    }
}

/// A whole message whose header tells the truth about its payload.
pub fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header { request, flags, size: payload.len() as u32 }.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Where a ring lies, as SET_VRING_ADDR tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VringAddr {
    /// The ring.
    pub index: u32,
    /// Bit 0: log.
    pub flags: u32,
    /// Descriptor table.
    pub desc: u64,
    /// Used ring.
    pub used: u64,
    /// Avail ring.
    pub avail: u64,
    /// Log.
    pub log: u64,
}

impl VringAddr {
    /// The 40 bytes of payload; note the order: table, *used*, avail.
    pub fn encode(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[0..4].copy_from_slice(&self.index.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_ne_bytes());
        for (at, value) in [self.desc, self.used, self.avail, self.log].into_iter().enumerate() {
            bytes[8 + at * 8..16 + at * 8].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }
}

/// The payload of SET_VRING_NUM, BASE, ENABLE, ENDIAN and GET_VRING_BASE.
pub fn vring_state(index: u32, value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0..4].copy_from_slice(&index.to_ne_bytes());
    bytes[4..8].copy_from_slice(&value.to_ne_bytes());
    bytes
}

/// One region as the memory messages carry it.
pub fn region(spec: &RegionSpec) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (at, value) in [spec.gpa, spec.size, spec.uva, spec.mmap_offset].into_iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// The payload of SET_MEM_TABLE.
pub fn mem_table(regions: &[RegionSpec]) -> Vec<u8> {
    let mut bytes = vring_state(regions.len() as u32, 0).to_vec();
    regions.iter().for_each(|spec| bytes.extend_from_slice(&region(spec)));
    bytes
}

/// The payload of ADD_MEM_REG and REM_MEM_REG.
pub fn single_region(spec: &RegionSpec) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[8..].copy_from_slice(&region(spec));
    bytes
}

/// The payload of GET_CONFIG and SET_CONFIG: offset, size, flags, then the bytes.
pub fn config(offset: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + body.len());
    for word in [offset, body.len() as u32, flags] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_used_ring_comes_before_the_avail_ring() {
        let bytes = VringAddr { index: 1, flags: 0, desc: 0x10, used: 0x20, avail: 0x30, log: 0 }.encode();
        assert_eq!(bytes[16..24], 0x20u64.to_ne_bytes());
        assert_eq!(bytes[24..32], 0x30u64.to_ne_bytes());
    }

    #[test]
    fn a_table_of_eight_regions_has_264_bytes() {
        let spec = RegionSpec { gpa: 0, size: 4096, uva: 0x7000_0000, mmap_offset: 0 };
        assert_eq!(mem_table(&[spec; 8]).len(), 264);
        assert_eq!(single_region(&spec).len(), 40);
    }

    #[test]
    fn a_header_reads_back() {
        let header = Header { request: 24, flags: VERSION | NEED_REPLY, size: 268 };
        assert_eq!(Header::decode(&header.encode()), header);
    }
}
