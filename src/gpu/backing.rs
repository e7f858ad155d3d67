//! A resource's backing: the scattered pieces of guest memory that the guest draws into.
//!
//! The guest's list is resolved once, when it is attached, into runs of mapped memory, each with its place in the
//! whole. A transfer finds its first run by bisection and walks on from there, so its cost is that of its bytes,
//! whatever the number of pieces. The mapped regions are kept alive by the backing.

use std::fs::File;
use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemoryRegion, MemoryRegionAddress, VolatileSlice};

use super::compare;
use crate::vhost_proto::memory::{GuestMemory, MappedRegion};

/// Most entries of one backing: QEMU's limit too.
pub const MAX_ENTRIES: u32 = 16384;

/// How often the entries of one backing may cross from one memory region into the next.
const MAX_CROSSINGS: usize = 1024;

/// One entry of the guest's list (`struct virtio_gpu_mem_entry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Guest-physical address.
    pub addr: GuestAddress,
    /// Bytes.
    pub len: u32,
}

/// A piece of backing that lies in one mapped region.
#[derive(Debug)]
struct Run {
    /// The first byte's place in the backing.
    start: u64,
    region: Arc<MappedRegion>,
    /// The first byte's place in the region.
    offset: u64,
    len: u64,
}

/// A part of a file of guest memory.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The file.
    pub file: &'a File,
    /// Where in it the part begins.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

/// The attached backing of one resource.
#[derive(Debug)]
pub struct Backing {
    entries: Vec<Entry>,
    runs: Vec<Run>,
    len: u64,
}

impl Backing {
    /// Resolves the guest's list, or `None` where a part of it is not in guest memory.
    pub fn new(entries: Vec<Entry>, memory: &GuestMemory) -> Option<Self> {
        let runs = resolve(&entries, memory)?;
        let len = entries.iter().map(|entry| u64::from(entry.len)).sum();
        Some(Self { entries, runs, len })
    }

    /// Resolves the list anew after the memory map changed. What is no longer there cannot be read until it is.
    pub fn memory_changed(&mut self, memory: &GuestMemory) {
        self.runs = resolve(&self.entries, memory).unwrap_or_default();
    }

    /// Bytes that can be read; 0 while its memory is gone.
    pub fn len(&self) -> u64 {
        if self.runs.is_empty() { 0 } else { self.len }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of host memory that it takes, its list for the renderer included.
    pub fn cost(&self) -> u64 {
        const FOR_RENDERER: usize = 24;
        let entries = self.entries.capacity().saturating_mul(size_of::<Entry>());
        let runs = self.runs.capacity().saturating_mul(size_of::<Run>() + FOR_RENDERER);
        entries.saturating_add(runs) as u64
    }

    /// The pieces of memory that it is: the region that keeps each mapped, where it begins, its bytes.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = (&Arc<MappedRegion>, *mut u8, usize)> {
        self.runs.iter().map(|run| {
            // A run lies in its region.
            let piece = usize::try_from(run.len).ok().and_then(|len| {
                let slice = run.region.get_slice(MemoryRegionAddress(run.offset), len).ok()?;
                Some((slice.ptr_guard_mut().as_ptr(), len))
            });
            let (start, len) = piece.unwrap_or((std::ptr::NonNull::dangling().as_ptr(), 0));
            (&run.region, start, len)
        })
    }

    /// The parts of files that its bytes are, in their order; `None` where there are more than `limit`.
    pub fn parts(&self, limit: usize) -> Option<Vec<Part<'_>>> {
        if self.runs.len() > limit {
            return None;
        }
        let parts = self.runs.iter().map(|run| {
            let place = run.region.file_offset()?;
            Some(Part { file: place.file(), offset: place.start().checked_add(run.offset)?, len: run.len })
        });
        parts.collect()
    }

    /// A reader from byte `offset` on.
    pub fn reader(&self) -> Reader<'_> {
        Reader { runs: &self.runs, current: 0 }
    }
}

fn resolve(entries: &[Entry], memory: &GuestMemory) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::with_capacity(entries.len());
    let mut start = 0;
    for entry in entries {
        let mut addr = entry.addr;
        let mut left = u64::from(entry.len);
        // An entry may cross from one region into the next.
        while left > 0 {
            let (region, offset, rest) = memory.locate(addr)?;
            let len = rest.min(left);
            let crossed_much = runs.len() >= entries.len().saturating_add(MAX_CROSSINGS);
            match runs.last_mut() {
                Some(last)
                    if Arc::ptr_eq(&last.region, region) && last.offset.checked_add(last.len) == Some(offset) =>
                {
                    last.len = last.len.saturating_add(len);
                }
                // A list that crosses regions all the time is no driver's, and would take much more memory than it says.
                _ if crossed_much => return None,
                _ => runs.push(Run { start, region: Arc::clone(region), offset, len }),
            }
            start = start.saturating_add(len);
            left = left.saturating_sub(len);
            if left > 0 {
                addr = GuestAddress(addr.0.checked_add(len)?);
            }
        }
    }
    Some(runs)
}

/// Reads a backing here and there, mostly onwards.
#[derive(Debug)]
pub struct Reader<'a> {
    runs: &'a [Run],
    current: usize,
}

impl Reader<'_> {
    /// Fills `out` from byte `offset` of the backing on. `false` where the backing ends before.
    #[must_use]
    pub fn read(&mut self, offset: u64, out: &mut [u8]) -> bool {
        let mut rest = out;
        self.each_piece(offset, rest.len(), |piece| {
            let Some((part, after)) = std::mem::take(&mut rest).split_at_mut_checked(piece.len()) else { return false };
            piece.copy_to(part);
            rest = after;
            true
        })
    }

    /// Whether the backing holds exactly `bytes` from byte `offset` on. Where it does not, or ends before, reading shows
    /// which.
    pub fn holds(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.each_piece(offset, bytes.len(), |piece| {
            let Some((part, after)) = rest.split_at_checked(piece.len()) else { return false };
            rest = after;
            compare::holds(piece, part)
        })
    }

    /// Gives the pieces of memory that are the `len` bytes from byte `offset` on to `use_piece`, until that says `false`.
    /// `false` then, and where the backing ends before.
    fn each_piece(&mut self, offset: u64, len: usize, mut use_piece: impl FnMut(&VolatileSlice<'_>) -> bool) -> bool {
        if !self.is_at(offset) {
            self.current = self.runs.partition_point(|run| run.start <= offset).saturating_sub(1);
        }
        let mut place = offset;
        let mut left = len;
        while left > 0 {
            let Some(run) = self.runs.get(self.current) else { return false };
            let Some(skip) = place.checked_sub(run.start).filter(|skip| *skip < run.len) else { return false };
            let now = usize::try_from(run.len - skip).unwrap_or(usize::MAX).min(left);
            let Ok(piece) = run.region.get_slice(MemoryRegionAddress(run.offset.saturating_add(skip)), now) else {
                return false;
            };
            if !use_piece(&piece) {
                return false;
            }
            place = place.saturating_add(now as u64);
            left -= now;
            if left > 0 {
                self.current = self.current.saturating_add(1);
            }
        }
        true
    }

    fn is_at(&self, offset: u64) -> bool {
        self.runs.get(self.current).is_some_and(|run| offset.checked_sub(run.start).is_some_and(|into| into < run.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhost_proto::wire::MemoryRegion;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use vm_memory::Bytes;

    const SIZE: u64 = 0x1_0000;

    /// Three regions: two that touch, one behind a hole. Each byte tells its address.
    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::default();
        for (index, guest_addr) in [0, SIZE, 4 * SIZE].into_iter().enumerate() {
            let file = File::from(memfd_create("backing", MFdFlags::empty()).unwrap());
            file.set_len(SIZE).unwrap();
            let user_addr = 0x7000_0000 + index as u64 * SIZE;
            memory.add(MemoryRegion { guest_addr, size: SIZE, user_addr, mmap_offset: 0 }, file.into()).unwrap();
            let bytes: Vec<u8> = (guest_addr..guest_addr + SIZE).map(telling).collect();
            memory.map().write_slice(&bytes, GuestAddress(guest_addr)).unwrap();
        }
        memory
    }

    fn telling(addr: u64) -> u8 {
        (addr ^ (addr >> 8) ^ (addr >> 16)) as u8
    }

    fn entries(list: &[(u64, u32)]) -> Vec<Entry> {
        list.iter().map(|(addr, len)| Entry { addr: GuestAddress(*addr), len: *len }).collect()
    }

    #[test]
    fn any_piece_of_a_scattered_backing_reads_as_the_guest_wrote_it() {
        let memory = memory();
        let list = [(0x8003, 1), (SIZE - 5, 11), (0, 0), (4 * SIZE + 1, 300), (7, 64), (0x9000, 1000), (0xa000, 3)];
        let whole: Vec<u8> =
            list.iter().flat_map(|(addr, len)| (*addr..*addr + u64::from(*len)).map(telling)).collect();
        let backing = Backing::new(entries(&list), &memory).unwrap();
        assert_eq!(backing.len(), whole.len() as u64);
        let mut reader = backing.reader();
        for start in 0..whole.len() {
            for len in [1, 2, 63, whole.len() - start] {
                let mut out = vec![0; len.min(whole.len() - start)];
                assert!(reader.read(start as u64, &mut out));
                assert_eq!(out, whole[start..start + out.len()], "{len} bytes at {start}");
                assert!(reader.holds(start as u64, &out), "{len} bytes at {start}");
                out[len.min(whole.len() - start) - 1] ^= 1;
                assert!(!reader.holds(start as u64, &out), "{len} bytes at {start}, the last another");
            }
        }
        assert!(!reader.read(whole.len() as u64, &mut [0]), "there is nothing beyond the end");
        assert!(!reader.read(whole.len() as u64 - 1, &mut [0; 2]));
        assert!(!reader.read(u64::MAX, &mut [0]));
        assert!(!reader.holds(whole.len() as u64, &[0]) && !reader.holds(u64::MAX, &[0]));
    }

    #[test]
    fn entries_that_follow_each_other_in_memory_are_one_run() {
        let backing = Backing::new(entries(&[(0x1000, 0x1000), (0x2000, 0x1000), (0x5000, 1)]), &memory()).unwrap();
        assert_eq!(backing.runs.len(), 2);
    }

    #[test]
    fn a_backing_costs_what_its_runs_take_however_many_come_of_an_entry() {
        let memory = memory();
        let run = (size_of::<Run>() + size_of::<Entry>()) as u64;
        let apart: Vec<(u64, u32)> = (0..500).map(|n| (n * 64, 2)).collect();
        let across = [(SIZE - 1, 2); 500];
        let cost = |list: &[(u64, u32)]| Backing::new(entries(list), &memory).unwrap().cost();
        assert!((500 * run..1000 * run).contains(&cost(&apart)));
        assert!(cost(&across) > 1000 * size_of::<Run>() as u64, "each is two runs");
    }

    #[test]
    fn a_backing_that_is_partly_outside_memory_is_refused() {
        let memory = memory();
        for outside in [(2 * SIZE - 1, 2), (3 * SIZE, 1), (5 * SIZE, 1), (u64::MAX, 1), (4 * SIZE, u32::MAX)] {
            assert!(Backing::new(entries(&[(0, 16), outside]), &memory).is_none(), "{outside:x?}");
        }
    }

    #[test]
    fn a_backing_whose_memory_went_is_empty_until_it_comes_back() {
        let memory = memory();
        let mut backing = Backing::new(entries(&[(4 * SIZE, 16)]), &memory).unwrap();
        backing.memory_changed(&GuestMemory::default());
        assert_eq!(backing.len(), 0);
        assert!(!backing.reader().read(0, &mut [0]));
        backing.memory_changed(&memory);
        assert_eq!(backing.len(), 16);
    }
}
