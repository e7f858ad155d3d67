//! A page allocator for guest memory: first fit over a sorted list of free ranges.

use super::GuestMemory;
use crate::error::{Error, Result};

/// A guest page.
pub const PAGE: u64 = 4096;

/// Hands out page-aligned pieces of guest memory. Each piece lies within one region.
pub struct Pages {
    free: Vec<(u64, u64)>,
}

impl Pages {
    /// All of `memory`, but the first page: guest physical address 0 is left for tests that want it.
    pub fn new(memory: &GuestMemory) -> Pages {
        let mut free: Vec<(u64, u64)> = memory.regions().iter().map(|r| (r.spec.gpa, r.spec.size)).collect();
        free.sort_unstable();
        if let Some(first) = free.first_mut().filter(|first| first.0 == 0) {
            *first = (PAGE, first.1 - PAGE);
        }
        Pages { free }
    }

    /// At least `len` bytes at the returned address, with whatever they held before.
    pub fn alloc(&mut self, len: u64) -> Result<u64> {
        let len = len.max(1).next_multiple_of(PAGE);
        let fits = self.free.iter_mut().find(|(_, size)| *size >= len);
        let (start, size) = fits.ok_or(Error::NoRoom("guest memory is used up"))?;
        let found = *start;
        (*start, *size) = (*start + len, *size - len);
        Ok(found)
    }

    /// Gives back what [`Pages::alloc`] returned for `len`. Neighbours grow together only as far as whole frees allow.
    pub fn free(&mut self, gpa: u64, len: u64) {
        let len = len.max(1).next_multiple_of(PAGE);
        if let Some(range) = self.free.iter_mut().find(|(start, _)| *start == gpa + len) {
            *range = (gpa, range.1 + len);
            return;
        }
        if let Some(range) = self.free.iter_mut().find(|(start, size)| start + size == gpa) {
            range.1 += len;
            return;
        }
        self.free.push((gpa, len));
    }

    /// How many bytes are free.
    pub fn left(&self) -> u64 {
        self.free.iter().map(|(_, size)| size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_overlap_and_come_back() {
        let memory = GuestMemory::flat(0x10_000).unwrap();
        let mut pages = Pages::new(&memory);
        let before = pages.left();
        let (one, two) = (pages.alloc(1).unwrap(), pages.alloc(5000).unwrap());
        assert_eq!((one, two), (PAGE, 2 * PAGE));
        pages.free(two, 5000);
        pages.free(one, 1);
        assert_eq!(pages.left(), before);
        assert_eq!(pages.alloc(before).unwrap(), PAGE);
    }

    #[test]
    fn a_piece_never_crosses_regions() {
        let memory = GuestMemory::scattered(0x10_000).unwrap();
        let mut pages = Pages::new(&memory);
        assert!(pages.alloc(0x4000).is_ok());
        assert!(pages.alloc(0x4001).is_err());
    }
}
