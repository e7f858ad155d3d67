//! Memory that backs a resource: in one piece, or scattered over as many entries as a test wants.

use super::MemEntry;
use crate::error::Result;
use crate::memory::{GuestMemory, Pages};

/// A resource's backing, written and read as if it were in one piece.
pub struct Backing {
    memory: GuestMemory,
    entries: Vec<MemEntry>,
    len: u64,
}

impl Backing {
    /// `len` bytes in one piece.
    pub fn contiguous(memory: &GuestMemory, pages: &mut Pages, len: u64) -> Result<Backing> {
        let entry = MemEntry { addr: pages.alloc(len)?, len: len as u32 };
        Ok(Backing { memory: memory.clone(), entries: vec![entry], len })
    }

    /// `len` bytes in `count` pieces of nearly equal length that do not join, in an order that is not that of their
    /// addresses, at addresses that are no multiples of anything when `len / count` is not.
    pub fn scattered(memory: &GuestMemory, pages: &mut Pages, len: u64, count: usize) -> Result<Backing> {
        let count = count as u64;
        assert!(count > 0 && count <= len, "{len} bytes in {count} pieces");
        let (short, longer) = (len / count, len % count);
        let stride = short + 1 + 1;
        let size_of = |index: u64| short + u64::from(index < longer);
        // An odd step is prime to a power of two, so that each place is taken once.
        let places = count.next_power_of_two();
        let start = pages.alloc(stride * places)?;
        let entry = |index: u64| {
            let place = (index * 7 + 3) % places;
            MemEntry { addr: start + place * stride, len: size_of(index) as u32 }
        };
        Ok(Backing { memory: memory.clone(), entries: (0..count).map(entry).collect(), len })
    }

    /// Entries of the caller's.
    pub fn from_entries(memory: &GuestMemory, entries: Vec<MemEntry>) -> Backing {
        let len = entries.iter().map(|entry| u64::from(entry.len)).sum();
        Backing { memory: memory.clone(), entries, len }
    }

    /// The entries, for ATTACH_BACKING.
    pub fn entries(&self) -> &[MemEntry] {
        &self.entries
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes bytes at an offset of the whole.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.pieces(offset, bytes.len(), |gpa, done, count| self.memory.write(gpa, &bytes[done..done + count]));
    }

    /// Reads bytes at an offset of the whole.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        let len = into.len();
        self.pieces(offset, len, |gpa, done, count| self.memory.read(gpa, &mut into[done..done + count]));
    }

    fn pieces(&self, offset: u64, len: usize, mut each: impl FnMut(u64, usize, usize)) {
        assert!(offset + len as u64 <= self.len, "{len} bytes at {offset} of a backing of {}", self.len);
        let (mut skip, mut done) = (offset, 0);
        for entry in &self.entries {
            let here = u64::from(entry.len);
            if skip >= here {
                skip -= here;
                continue;
            }
            let count = ((here - skip) as usize).min(len - done);
            each(entry.addr + skip, done, count);
            (skip, done) = (0, done + count);
            if done == len {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_pieces_are_distinct_and_read_back() {
        let memory = GuestMemory::flat(0x40_0000).unwrap();
        let mut pages = Pages::new(&memory);
        for count in [1, 2, 3, 100, 1000, 8192] {
            let backing = Backing::scattered(&memory, &mut pages, 100_003, count).unwrap();
            assert_eq!(backing.entries().len(), count);
            assert_eq!(backing.entries().iter().map(|e| u64::from(e.len)).sum::<u64>(), 100_003);
            let mut sorted = backing.entries().to_vec();
            sorted.sort_by_key(|entry| entry.addr);
            assert!(sorted.windows(2).all(|two| two[0].addr + u64::from(two[0].len) < two[1].addr));
            let bytes: Vec<u8> = (0..100_003u32).map(|at| (at % 251) as u8).collect();
            backing.write(0, &bytes);
            let mut back = vec![0; 70_000];
            backing.read(30_003, &mut back);
            assert!(back == bytes[30_003..]);
        }
    }
}
