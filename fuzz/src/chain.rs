//! Descriptor chains over a synthetic guest memory, compared with a walker that knows nothing of the first one.
//!
//! | bytes | |
//! |---|---|
//! | 2 | the table's size |
//! | 2 | the head |
//! | 1 | where the table lies, by [`TABLES`] (low bits); whether it is filled with one long chain first ([`FILLED`]) |
//! | … | descriptors, written one after another from the table's start on |
//!
//! A descriptor begins with its shape: its three flags, then what is spelt out (see [`ADDR`] and its neighbours); what is
//! not continues the descriptor before.

use std::cell::RefCell;

use vhost_seat::vhost_proto::chain::{Chain, MAX_SEGMENTS};
use vhost_seat::vhost_proto::memory::GuestMemory;
use vhost_seat::vhost_proto::wire::MemoryRegion;
use vm_memory::{Bytes, GuestAddress};

use super::fds;
use super::script::Script;

/// Three flag bits, as the ring has them.
pub const NEXT: u8 = 1;
pub const WRITE: u8 = 2;
pub const INDIRECT: u8 = 4;
/// Two bytes of address follow, in units of 16.
pub const ADDR: u8 = 1 << 3;
/// Eight bytes of address follow.
pub const LONG_ADDR: u8 = 1 << 4;
/// A length follows, see [`Script::word`].
pub const LEN: u8 = 1 << 5;
/// Two bytes of next follow.
pub const LINK: u8 = 1 << 6;
/// Two bytes follow that say where the next descriptors are written, in units of 16.
pub const ELSEWHERE: u8 = 1 << 7;

/// All three bits: the whole table is one chain of buffers of a byte before anything is written.
pub const FILLED: u8 = 7 << 5;
const FILLED_ENTRIES: u16 = 0x800;

/// Where tables lie: at the start, across two regions, at an end, in a gap, nowhere near, beyond the last address.
const TABLES: [u64; 8] = [0, 0x7fe0, 0xbff0, 0xc000, 0x1_4000, u64::MAX - 15, 0x8000, 0x1_0000_0000];

/// Guest memory: two regions side by side, a gap, a third one.
const REGIONS: [(u64, u64); 3] = [(0, 0x8000), (0x8000, 0x4000), (0x1_4000, 0x8000)];
/// Where they end.
const END: u64 = 0x1_c000;

/// Descriptors of one run.
const MAX_DESCRIPTORS: usize = 512;

struct Guest {
    memory: GuestMemory,
    /// What was written since it was all zeroes: from, to.
    touched: (u64, u64),
    /// A table that is one chain.
    filled: Vec<u8>,
}

thread_local! {
    static GUEST: RefCell<Guest> = RefCell::new(Guest::new());
}

impl Guest {
    fn new() -> Guest {
        let table = REGIONS.map(|(start, size)| {
            let region = MemoryRegion { guest_addr: start, size, user_addr: 0x7000_0000 + start, mmap_offset: 0 };
            (region, fds::memfd(size).into())
        });
        Guest { memory: GuestMemory::from_table(table.into()).unwrap(), touched: (END, 0), filled: filled() }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let Some(end) = at.checked_add(bytes.len() as u64).filter(|_| mapped(at, bytes.len() as u64)) else { return };
        self.memory.map().write_slice(bytes, GuestAddress(at)).unwrap();
        self.touched = (self.touched.0.min(at), self.touched.1.max(end));
    }

    fn read(&self, at: u64, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        if !mapped(at, count as u64) {
            return None;
        }
        self.memory.map().read_slice(&mut bytes, GuestAddress(at)).unwrap();
        Some(bytes)
    }

    /// All zeroes again.
    fn clear(&mut self) {
        let (from, to) = self.touched;
        for (start, size) in REGIONS {
            let (from, to) = (from.max(start), to.min(start + size));
            if from < to {
                self.memory.map().write_slice(&vec![0; (to - from) as usize], GuestAddress(from)).unwrap();
            }
        }
        self.touched = (END, 0);
    }
}

/// Buffers of one byte, each followed by the next.
fn filled() -> Vec<u8> {
    let one = |next: u16| {
        let flags = u16::from(next < FILLED_ENTRIES);
        [&[0u8; 8][..], &1u32.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
    };
    (1..=FILLED_ENTRIES).flat_map(one).collect()
}

/// Whether each byte lies in one region or another: slow and plain on purpose.
fn mapped(at: u64, len: u64) -> bool {
    let mut at = at;
    let mut left = len;
    while left > 0 {
        let Some((start, size)) = REGIONS.iter().find(|(start, size)| (*start..start + size).contains(&at)) else {
            return false;
        };
        let here = left.min(start + size - at);
        (at, left) = (at + here, left - here);
    }
    true
}

/// One chain. Returns whether it is one.
pub fn run(data: &[u8]) -> bool {
    GUEST.with_borrow_mut(|guest| {
        guest.clear();
        walk(guest, data)
    })
}

fn walk(guest: &mut Guest, data: &[u8]) -> bool {
    let mut script = Script::new(data);
    let (size, head, place) = (script.u16(), script.u16(), script.u8());
    let table = TABLES[usize::from(place) % TABLES.len()];
    if place & FILLED == FILLED {
        let filled = guest.filled.clone();
        guest.write(table, &filled[..16 * usize::from(size.min(FILLED_ENTRIES))]);
    }
    write_descriptors(guest, table, &mut script);
    let mut chain = Chain::default();
    let walked = chain.walk(guest.memory.map(), GuestAddress(table), size, head);
    let naive = naive_walk(guest, table, size, head);
    assert_eq!(walked.is_ok(), naive.is_some(), "{walked:?}, {naive:?}");
    let Some(naive) = naive else { return false };
    let segments =
        |writable: bool| naive.iter().filter(move |buffer| buffer.2 == writable).map(|buffer| (buffer.0, buffer.1));
    assert_eq!(chain.head(), head);
    assert!(chain.readable().iter().map(|part| (part.addr.0, part.len)).eq(segments(false)));
    assert!(chain.writable().iter().map(|part| (part.addr.0, part.len)).eq(segments(true)));
    let total = |writable| segments(writable).map(|(_, len)| u64::from(len)).sum::<u64>();
    assert_eq!((chain.readable_len(), chain.writable_len()), (total(false), total(true)));
    let bytes = |writable, offset, count| addresses(segments(writable), offset, count);
    for offset in [0, 1, 24, total(false).saturating_sub(3), total(false), u64::MAX] {
        let mut out = [0xee; 40];
        let count = chain.read_at(guest.memory.map(), offset, &mut out);
        let expected: Vec<u8> = bytes(false, offset, 40).into_iter().map(|at| guest.read(at, 1).unwrap()[0]).collect();
        assert_eq!(out[..count], expected, "from {offset}");
        assert!(out[count..].iter().all(|byte| *byte == 0xee));
    }
    for offset in [0, 5, total(true).saturating_sub(7), total(true), u64::MAX] {
        // Buffers may lie over each other: what counts is what was written last.
        let content: [u8; 24] = std::array::from_fn(|at| at as u8 + 1);
        let places = bytes(true, offset, 24);
        places.iter().for_each(|at| guest.write(*at, &[0]));
        assert_eq!(chain.write_at(guest.memory.map(), offset, &content), places.len(), "at {offset}");
        for (number, at) in places.iter().enumerate() {
            let last = places.iter().rposition(|other| other == at).unwrap();
            assert_eq!(guest.read(*at, 1).unwrap()[0], content[last], "byte {number} at {offset}");
        }
    }
    true
}

/// Where the bytes from `offset` on lie, at most so many.
fn addresses(segments: impl Iterator<Item = (u64, u32)>, mut offset: u64, count: usize) -> Vec<u64> {
    let mut places = Vec::new();
    for (at, len) in segments.map(|(at, len)| (at, u64::from(len))) {
        let skip = offset.min(len);
        offset -= skip;
        places.extend((at + skip..at + len).take(count - places.len()));
    }
    places
}

fn write_descriptors(guest: &mut Guest, table: u64, script: &mut Script<'_>) {
    let (mut place, mut addr, mut len, mut next) = (table, 0x4000u64, 16u32, 0u16);
    for _ in 0..MAX_DESCRIPTORS {
        if script.is_empty() {
            break;
        }
        let shape = script.u8();
        next = next.wrapping_add(1);
        if shape & ADDR != 0 {
            addr = u64::from(script.u16()) * 16;
        }
        if shape & LONG_ADDR != 0 {
            addr = script.u64();
        }
        if shape & LEN != 0 {
            len = script.word();
        }
        if shape & LINK != 0 {
            next = script.u16();
        }
        let flags = u16::from(shape & 7);
        let bytes = [&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat();
        guest.write(place, &bytes);
        place = place.saturating_add(16);
        if shape & ELSEWHERE != 0 {
            place = u64::from(script.u16()) * 16;
            next = 0;
        }
    }
}

/// Buffers with their addresses, lengths and whether they are writable; `None` for what is no chain (VIRTIO 1.3, 2.7.5).
fn naive_walk(guest: &Guest, table: u64, size: u16, head: u16) -> Option<Vec<(u64, u32, bool)>> {
    let mut buffers = Vec::new();
    let mut visited = std::collections::HashSet::new();
    let (mut table, mut size, mut index, mut indirect) = (table, u64::from(size), u64::from(head), false);
    loop {
        if index >= size || !visited.insert((indirect, index)) {
            return None;
        }
        let bytes = guest.read(table.checked_add(index * 16)?, 16)?;
        let addr = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let (flags, next) = (bytes[12], u16::from_le_bytes([bytes[14], bytes[15]]));
        if flags & INDIRECT != 0 {
            if indirect || flags & NEXT != 0 || len == 0 || len % 16 != 0 || len as usize / 16 > MAX_SEGMENTS {
                return None;
            }
            (table, size, index, indirect) = (addr, u64::from(len / 16), 0, true);
            continue;
        }
        let writable = flags & WRITE != 0;
        let follows_writable = buffers.last().is_some_and(|last: &(u64, u32, bool)| last.2);
        if len == 0 || !mapped(addr, len.into()) || (follows_writable && !writable) || buffers.len() == MAX_SEGMENTS {
            return None;
        }
        buffers.push((addr, len, writable));
        if flags & NEXT == 0 {
            return Some(buffers);
        }
        index = u64::from(next);
    }
}
