//! Descriptor chains, walked strictly (VIRTIO 1.3, 2.7.5).
//!
//! [`Chain::walk`] reads each descriptor once and either collects the whole chain or says what is wrong with it: a
//! malformed chain is never taken for a finished one. A collected chain's buffers all lie in guest memory, device-
//! readable ones before device-writable ones, so reading and writing them cannot fail later; contents are read and
//! written in place. The segments' storage is reused: no allocation once a chain has reached its usual length.

use thiserror::Error;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, VolatileSlice};

use super::memory::Map;

/// Most buffers in a chain, indirect tables included; also QEMU's limit.
pub const MAX_SEGMENTS: usize = 1024;

const DESCRIPTOR_LEN: u32 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What is wrong with a chain. The guest broke its contract: the ring is of no further use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    #[error("descriptor index {index} is beyond the table of {size}")]
    Index { index: u16, size: u32 },
    #[error("a chain is longer than its table, or than {MAX_SEGMENTS} buffers")]
    TooLong,
    #[error("a buffer of {len} bytes at {addr:#x} is not in guest memory")]
    Outside { addr: u64, len: u32 },
    #[error("a buffer is empty")]
    Empty,
    #[error("a device-readable buffer follows a device-writable one")]
    Order,
    #[error("an indirect table of {0} bytes")]
    IndirectSize(u32),
    #[error("an indirect table within an indirect table, or with a next descriptor")]
    IndirectFlags,
    #[error("the descriptor table is not in guest memory")]
    Table,
}

/// One buffer in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where.
    pub addr: GuestAddress,
    /// Bytes; never 0.
    pub len: u32,
}

/// A popped chain: its head, its device-readable and its device-writable buffers.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    segments: Vec<Segment>,
    /// How many of `segments` are readable; the others are writable.
    readable: usize,
}

struct Descriptor {
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn read(memory: &Map, table: GuestAddress, index: u32) -> Result<Self, ChainError> {
        let addr = table.checked_add(u64::from(index) * u64::from(DESCRIPTOR_LEN)).ok_or(ChainError::Table)?;
        let mut bytes = [0; DESCRIPTOR_LEN as usize];
        if !read(memory, addr, &mut bytes) {
            return Err(ChainError::Table);
        }
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Ok(Self {
            addr: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

impl Chain {
    /// Collects the chain that begins at `head` of the descriptor table of `size` entries at `table`.
    ///
    /// # Errors
    /// What is wrong with it; what was collected is of no use then.
    pub fn walk(&mut self, memory: &Map, table: GuestAddress, size: u16, head: u16) -> Result<(), ChainError> {
        self.head = head;
        self.segments.clear();
        self.readable = 0;
        self.walk_table(memory, table, u32::from(size), head, false)
    }

    fn walk_table(
        &mut self,
        memory: &Map,
        table: GuestAddress,
        size: u32,
        first: u16,
        indirect: bool,
    ) -> Result<(), ChainError> {
        let mut index = first;
        // A chain visits each entry of its table at most once: more steps than entries mean a loop.
        for _ in 0..size {
            if u32::from(index) >= size {
                return Err(ChainError::Index { index, size });
            }
            let descriptor = Descriptor::read(memory, table, u32::from(index))?;
            if descriptor.flags & INDIRECT != 0 {
                if indirect || descriptor.flags & NEXT != 0 {
                    return Err(ChainError::IndirectFlags);
                }
                let entries = descriptor.len / DESCRIPTOR_LEN;
                if !descriptor.len.is_multiple_of(DESCRIPTOR_LEN) || entries == 0 || entries as usize > MAX_SEGMENTS {
                    return Err(ChainError::IndirectSize(descriptor.len));
                }
                return self.walk_table(memory, GuestAddress(descriptor.addr), entries, 0, true);
            }
            self.push(memory, &descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next;
        }
        Err(ChainError::TooLong)
    }

    fn push(&mut self, memory: &Map, descriptor: &Descriptor) -> Result<(), ChainError> {
        let Descriptor { addr, len, .. } = *descriptor;
        if self.segments.len() >= MAX_SEGMENTS {
            return Err(ChainError::TooLong);
        }
        if len == 0 {
            return Err(ChainError::Empty);
        }
        if !is_mapped(memory, GuestAddress(addr), len as usize) {
            return Err(ChainError::Outside { addr, len });
        }
        if descriptor.flags & WRITE == 0 {
            if self.readable != self.segments.len() {
                return Err(ChainError::Order);
            }
            self.readable += 1;
        }
        self.segments.push(Segment { addr: GuestAddress(addr), len });
        Ok(())
    }

    /// The head's index: what goes into the used ring.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// The buffers that the device reads.
    pub fn readable(&self) -> &[Segment] {
        self.segments.get(..self.readable).unwrap_or_default()
    }

    /// The buffers that the device writes.
    pub fn writable(&self) -> &[Segment] {
        self.segments.get(self.readable..).unwrap_or_default()
    }

    /// Bytes that the device can read.
    pub fn readable_len(&self) -> u64 {
        total(self.readable())
    }

    /// Bytes that the device can write.
    pub fn writable_len(&self) -> u64 {
        total(self.writable())
    }

    /// Reads from byte `offset` of the readable part. Returns how many bytes of `out` it filled: fewer than all where
    /// the part ends before.
    pub fn read_at(&self, memory: &Map, offset: u64, out: &mut [u8]) -> usize {
        let mut done = 0usize;
        for (addr, len) in pieces(self.readable(), offset, out.len()) {
            let Some(part) = out.get_mut(done..done.saturating_add(len)) else { break };
            // The range was checked when the chain was walked.
            if !read(memory, addr, part) {
                break;
            }
            done += len;
        }
        done
    }

    /// Writes from byte `offset` of the writable part on. Returns how many of `bytes` found room.
    pub fn write_at(&self, memory: &Map, offset: u64, bytes: &[u8]) -> usize {
        let mut done = 0usize;
        for (addr, len) in pieces(self.writable(), offset, bytes.len()) {
            let Some(part) = bytes.get(done..done.saturating_add(len)) else { break };
            if !write(memory, addr, part) {
                break;
            }
            done += len;
        }
        done
    }
}

// A guest's ring and its small buffers lie in one region each. The crate's own ways to read, write and check go through
// an iterator over regions, which costs more than the rest of a small command; they are left those ranges that do cross
// from one region into the next.

/// The bytes as one slice, where they all lie in one region.
fn in_one_region(memory: &Map, addr: GuestAddress, len: usize) -> Option<VolatileSlice<'_>> {
    let region = memory.find_region(addr)?;
    region.get_slice(region.to_region_addr(addr)?, len).ok()
}

/// Whether all of a range is in guest memory.
fn is_mapped(memory: &Map, addr: GuestAddress, len: usize) -> bool {
    in_one_region(memory, addr, len).is_some() || memory.check_range(addr, len)
}

/// Fills `out` from `addr` on; `false` where not all of it is in guest memory.
fn read(memory: &Map, addr: GuestAddress, out: &mut [u8]) -> bool {
    match in_one_region(memory, addr, out.len()) {
        Some(slice) => slice.copy_to(out) == out.len(),
        None => memory.read_slice(out, addr).is_ok(),
    }
}

/// Writes `bytes` from `addr` on; `false` where not all of it is in guest memory.
pub(super) fn write(memory: &Map, addr: GuestAddress, bytes: &[u8]) -> bool {
    match in_one_region(memory, addr, bytes.len()) {
        Some(slice) => {
            slice.copy_from(bytes);
            true
        }
        None => memory.write_slice(bytes, addr).is_ok(),
    }
}

fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// Where `len` bytes from byte `offset` of `segments` lie: address and length of each piece.
fn pieces(segments: &[Segment], offset: u64, len: usize) -> impl Iterator<Item = (GuestAddress, usize)> {
    let mut skip = offset;
    let mut left = len;
    segments
        .iter()
        .map_while(move |segment| {
            if left == 0 {
                return None;
            }
            let start = u32::try_from(skip).unwrap_or(u32::MAX).min(segment.len);
            skip -= u64::from(start);
            let take = ((segment.len - start) as usize).min(left);
            left -= take;
            Some((segment.addr.unchecked_add(u64::from(start)), take))
        })
        .filter(|(_, take)| *take > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: u64 = 0x1000;
    const INDIRECT_TABLE: u64 = 0x4000;

    fn memory() -> Map {
        // Two regions that touch, then a hole, then one more.
        let ranges = [(GuestAddress(0), 0x8000), (GuestAddress(0x8000), 0x8000), (GuestAddress(0x2_0000), 0x1000)];
        Map::from_ranges(&ranges).unwrap()
    }

    fn put(memory: &Map, table: u64, index: u64, addr: u64, len: u32, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        memory.write_obj(bytes, GuestAddress(table + 16 * index)).unwrap();
    }

    fn walk(memory: &Map, head: u16) -> Result<Chain, ChainError> {
        let mut chain = Chain::default();
        chain.walk(memory, GuestAddress(TABLE), 4, head).map(|()| chain)
    }

    #[test]
    fn a_chain_is_its_readable_buffers_then_its_writable_ones() {
        let memory = memory();
        put(&memory, TABLE, 2, 0x5000, 3, NEXT, 0);
        put(&memory, TABLE, 0, 0x6000, 5, NEXT, 1);
        put(&memory, TABLE, 1, 0x7000, 4, WRITE, 99);
        memory.write_slice(b"abc", GuestAddress(0x5000)).unwrap();
        memory.write_slice(b"defgh", GuestAddress(0x6000)).unwrap();
        let chain = walk(&memory, 2).unwrap();
        assert_eq!((chain.head(), chain.readable_len(), chain.writable_len()), (2, 8, 4));
        let mut out = [0; 8];
        assert_eq!(chain.read_at(&memory, 2, &mut out), 6);
        assert_eq!(&out[..6], b"cdefgh");
        assert_eq!(chain.write_at(&memory, 1, b"12345"), 3, "three bytes have room");
        assert_eq!(memory.read_obj::<[u8; 4]>(GuestAddress(0x7000)).unwrap(), *b"\x00123");
    }

    #[test]
    fn an_indirect_table_stands_for_its_own_chain_whatever_its_write_flag_says() {
        let memory = memory();
        put(&memory, TABLE, 3, INDIRECT_TABLE, 32, INDIRECT | WRITE, 0);
        put(&memory, INDIRECT_TABLE, 0, 0x5000, 8, NEXT, 1);
        put(&memory, INDIRECT_TABLE, 1, 0x6000, 8, WRITE, 0);
        let chain = walk(&memory, 3).unwrap();
        assert_eq!((chain.readable().len(), chain.writable().len()), (1, 1));
    }

    #[test]
    fn loops_end_as_errors_in_both_kinds_of_table() {
        let memory = memory();
        put(&memory, TABLE, 0, 0x5000, 1, NEXT, 1);
        put(&memory, TABLE, 1, 0x5000, 1, NEXT, 0);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::TooLong);
        put(&memory, TABLE, 2, INDIRECT_TABLE, 16, INDIRECT, 0);
        put(&memory, INDIRECT_TABLE, 0, 0x5000, 1, NEXT, 0);
        assert_eq!(walk(&memory, 2).unwrap_err(), ChainError::TooLong);
    }

    #[test]
    fn indices_beyond_the_table_are_errors() {
        let memory = memory();
        assert_eq!(walk(&memory, 4).unwrap_err(), ChainError::Index { index: 4, size: 4 });
        put(&memory, TABLE, 0, 0x5000, 1, NEXT, 4);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::Index { index: 4, size: 4 });
    }

    #[test]
    fn indirect_tables_of_odd_or_absurd_size_nested_or_with_a_successor_are_errors() {
        let memory = memory();
        for len in [0, 15, 17, u32::MAX, 16 * (MAX_SEGMENTS as u32 + 1)] {
            put(&memory, TABLE, 0, INDIRECT_TABLE, len, INDIRECT, 0);
            assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::IndirectSize(len));
        }
        put(&memory, TABLE, 0, INDIRECT_TABLE, 16, INDIRECT | NEXT, 1);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::IndirectFlags);
        put(&memory, TABLE, 0, INDIRECT_TABLE, 16, INDIRECT, 0);
        put(&memory, INDIRECT_TABLE, 0, INDIRECT_TABLE, 16, INDIRECT, 0);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::IndirectFlags);
        put(&memory, TABLE, 0, 0x1_8000, 16, INDIRECT, 0);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::Table);
    }

    #[test]
    fn buffers_may_cross_touching_regions_and_must_lie_in_memory() {
        let memory = memory();
        put(&memory, TABLE, 0, 0x7ff0, 0x20, 0, 0);
        assert!(walk(&memory, 0).is_ok());
        for (addr, len) in [(0xfff0, 0x20), (0x1_8000, 1), (u64::MAX, 1), (u64::MAX - 1, u32::MAX), (0, u32::MAX)] {
            put(&memory, TABLE, 0, addr, len, 0, 0);
            assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::Outside { addr, len });
        }
    }

    #[test]
    fn empty_buffers_and_readable_after_writable_are_errors() {
        let memory = memory();
        put(&memory, TABLE, 0, 0x5000, 0, 0, 0);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::Empty);
        put(&memory, TABLE, 0, 0x5000, 1, NEXT | WRITE, 1);
        put(&memory, TABLE, 1, 0x5000, 1, 0, 0);
        assert_eq!(walk(&memory, 0).unwrap_err(), ChainError::Order);
    }
}
