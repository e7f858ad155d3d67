//! The guest memory that a front end shares: regions by guest-physical and by front-end user address.
//!
//! A region's file is checked to be long enough before it is mapped; regions never overlap, in either address space.
//! Each region is reference-counted, so what a device still uses stays mapped until it lets go.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use thiserror::Error;
use vm_memory::mmap::{GuestRegionMmap, MmapRegion, MmapRegionBuilder};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use super::sigbus::{self, Guard};
use super::wire::{MemoryRegion, UserAddr};

/// Most regions at a time: what GET_MAX_MEM_SLOTS answers, and what QEMU's own library answers.
pub const MAX_SLOTS: usize = 509;

/// Why a region is not taken, or not found.
#[derive(Debug, Error)]
pub enum MemoryError {
    #[error("a memory region is empty or its addresses overflow")]
    Range,
    #[error("memory regions overlap at guest address {0:#x}")]
    Overlap(u64),
    #[error("more than {MAX_SLOTS} memory regions")]
    TooMany,
    #[error("no such memory region (guest address {0:#x})")]
    Unknown(u64),
    #[error("a memory region's file has {have} bytes, {need} were announced")]
    Short { have: u64, need: u64 },
    #[error("a memory region's descriptor is neither a file nor a device")]
    NotMemory,
    #[error("mapping a memory region: {0}")]
    Map(#[from] io::Error),
}

/// A region as it is mapped here.
pub type MappedRegion = GuestRegionMmap<Guard>;

/// All regions as they are mapped here, by guest-physical address.
pub type Map = GuestMemoryMmap<Guard>;

/// The shared memory of one front end.
#[derive(Debug, Default)]
pub struct GuestMemory {
    /// By guest address.
    slots: Vec<Slot>,
    map: Map,
    /// The losses of this process that were looked into.
    losses: usize,
}

#[derive(Debug)]
struct Slot {
    region: MemoryRegion,
    mapped: Arc<MappedRegion>,
}

impl GuestMemory {
    /// The mapped regions by guest-physical address.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Adds a region (ADD_MEM_REG).
    ///
    /// # Errors
    /// A region that is empty, overflows, overlaps another or is one too many; a file that is too short or cannot be
    /// mapped. Nothing has changed then.
    pub fn add(&mut self, region: MemoryRegion, file: OwnedFd) -> Result<(), MemoryError> {
        if self.slots.len() >= MAX_SLOTS {
            return Err(MemoryError::TooMany);
        }
        check_range(&region)?;
        if self.slots.iter().any(|other| overlap(&other.region, &region)) {
            return Err(MemoryError::Overlap(region.guest_addr));
        }
        let mapping = map_file(&region, file)?;
        let mapped = GuestRegionMmap::new(mapping, GuestAddress(region.guest_addr)).ok_or(MemoryError::Range)?;
        let mapped = Arc::new(mapped);
        let inserted = self.map.insert_region(Arc::clone(&mapped));
        self.map = inserted.map_err(|_| MemoryError::Overlap(region.guest_addr))?;
        let place = self.slots.partition_point(|slot| slot.region.guest_addr < region.guest_addr);
        self.slots.insert(place, Slot { region, mapped });
        Ok(())
    }

    /// Removes the region of the same guest address, user address and size (REM_MEM_REG); the offset is not compared.
    ///
    /// # Errors
    /// There is no such region.
    pub fn remove(&mut self, region: &MemoryRegion) -> Result<(), MemoryError> {
        let unknown = MemoryError::Unknown(region.guest_addr);
        let key = |region: &MemoryRegion| (region.guest_addr, region.user_addr, region.size);
        let Some(index) = self.slots.iter().position(|slot| key(&slot.region) == key(region)) else {
            return Err(unknown);
        };
        let (map, _) = self.map.remove_region(GuestAddress(region.guest_addr), region.size).map_err(|_| unknown)?;
        self.map = map;
        self.slots.remove(index);
        Ok(())
    }

    /// A memory of exactly these regions (SET_MEM_TABLE).
    ///
    /// # Errors
    /// As [`GuestMemory::add`].
    pub fn from_table(table: Vec<(MemoryRegion, OwnedFd)>) -> Result<Self, MemoryError> {
        let mut memory = Self::default();
        for (region, file) in table {
            memory.add(region, file)?;
        }
        Ok(memory)
    }

    /// Whether one of its regions turned out to be truncated since this was asked last: that region's guest address. One
    /// comparison where nothing did.
    pub fn newly_lost(&mut self) -> Option<u64> {
        let losses = sigbus::losses();
        if std::mem::replace(&mut self.losses, losses) == losses { None } else { self.lost() }
    }

    /// The guest address of a region that was truncated after it was mapped.
    pub fn lost(&self) -> Option<u64> {
        let lost = self.slots.iter().find(|slot| slot.mapped.bitmap().is_lost());
        lost.map(|slot| slot.region.guest_addr)
    }

    /// Where the guest sees the `len` bytes that the front end has at `addr`; they must lie in one region.
    pub fn translate(&self, addr: UserAddr, len: u64) -> Option<GuestAddress> {
        self.slots.iter().find_map(|Slot { region, .. }| {
            let offset = addr.0.checked_sub(region.user_addr)?;
            let end = offset.checked_add(len)?;
            (end <= region.size).then(|| region.guest_addr.checked_add(offset).map(GuestAddress))?
        })
    }

    /// The region that holds `addr`, how far into it that is, and how many bytes there are from there to its end.
    pub fn locate(&self, addr: GuestAddress) -> Option<(&Arc<MappedRegion>, u64, u64)> {
        let after = self.slots.partition_point(|slot| slot.region.guest_addr <= addr.0);
        let slot = self.slots.get(after.checked_sub(1)?)?;
        let offset = addr.0.checked_sub(slot.region.guest_addr)?;
        let rest = slot.region.size.checked_sub(offset).filter(|rest| *rest > 0)?;
        Some((&slot.mapped, offset, rest))
    }
}

fn check_range(region: &MemoryRegion) -> Result<(), MemoryError> {
    let fits = |start: u64| start.checked_add(region.size).is_some();
    if region.size == 0 || !fits(region.guest_addr) || !fits(region.user_addr) || !fits(region.mmap_offset) {
        return Err(MemoryError::Range);
    }
    Ok(())
}

/// Whether the two share an address of either kind. Both are known not to overflow.
fn overlap(a: &MemoryRegion, b: &MemoryRegion) -> bool {
    let meet = |a_start: u64, b_start: u64| {
        a_start < b_start.saturating_add(b.size) && b_start < a_start.saturating_add(a.size)
    };
    meet(a.guest_addr, b.guest_addr) || meet(a.user_addr, b.user_addr)
}

fn map_file(region: &MemoryRegion, file: OwnedFd) -> Result<MmapRegion<Guard>, MemoryError> {
    let file = File::from(file);
    let metadata = file.metadata()?;
    let need = region.mmap_offset.saturating_add(region.size);
    if metadata.is_file() {
        if metadata.len() < need {
            return Err(MemoryError::Short { have: metadata.len(), need });
        }
    } else if !metadata.file_type().is_char_device() {
        // A device (DAX) checks the range itself when it is mapped.
        return Err(MemoryError::NotMemory);
    }
    let size = usize::try_from(region.size).map_err(|_| MemoryError::Range)?;
    let mapping = MmapRegionBuilder::new_with_bitmap(size, Guard::default())
        .with_file_offset(FileOffset::new(file, region.mmap_offset))
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_NORESERVE | libc::MAP_SHARED)
        .build()
        .map_err(|error| MemoryError::Map(io::Error::other(error)))?;
    // It may be truncated later.
    if mapping.bitmap().watch(mapping.as_ptr(), size) { Ok(mapping) } else { Err(MemoryError::TooMany) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use vm_memory::Bytes;

    fn memfd(len: u64) -> OwnedFd {
        let file = File::from(memfd_create("test", MFdFlags::empty()).unwrap());
        file.set_len(len).unwrap();
        file.into()
    }

    fn region(guest_addr: u64, user_addr: u64, size: u64) -> MemoryRegion {
        MemoryRegion { guest_addr, size, user_addr, mmap_offset: 0 }
    }

    #[test]
    fn a_user_address_becomes_the_guest_address_of_the_same_byte_of_its_region() {
        let mut memory = GuestMemory::default();
        memory.add(region(0x10_0000, 0x7000_0000, 0x2000), memfd(0x2000)).unwrap();
        assert_eq!(memory.translate(UserAddr(0x7000_1ff0), 16), Some(GuestAddress(0x10_1ff0)));
        assert_eq!(memory.translate(UserAddr(0x7000_1ff0), 17), None, "beyond the end");
        assert_eq!(memory.translate(UserAddr(0x6fff_ffff), 1), None, "before the start");
        assert_eq!(memory.translate(UserAddr(u64::MAX), u64::MAX), None);
    }

    #[test]
    fn a_file_shorter_than_announced_is_refused() {
        let mut memory = GuestMemory::default();
        let error = memory.add(region(0, 0x1000, 0x2000), memfd(0x1fff)).unwrap_err();
        assert!(matches!(error, MemoryError::Short { have: 0x1fff, need: 0x2000 }), "{error}");
    }

    #[test]
    fn regions_that_overlap_in_either_space_are_refused_and_neighbours_are_not() {
        let mut memory = GuestMemory::default();
        memory.add(region(0x1000, 0x10_0000, 0x1000), memfd(0x1000)).unwrap();
        assert!(memory.add(region(0x1fff, 0x20_0000, 0x1000), memfd(0x1000)).is_err(), "guest addresses");
        assert!(memory.add(region(0x9000, 0x10_0fff, 0x1000), memfd(0x1000)).is_err(), "user addresses");
        memory.add(region(0x2000, 0x10_1000, 0x1000), memfd(0x1000)).unwrap();
        let bytes = [7; 32];
        memory.map().write_slice(&bytes, GuestAddress(0x1ff0)).expect("a range may cross neighbours");
    }

    #[test]
    fn absurd_regions_are_refused() {
        let mut memory = GuestMemory::default();
        for absurd in [region(0, 0, 0), region(u64::MAX, 0, 2), region(0, u64::MAX, 2)] {
            assert!(matches!(memory.add(absurd, memfd(0x1000)), Err(MemoryError::Range)));
        }
        let offset = MemoryRegion { mmap_offset: u64::MAX - 4, ..region(0, 0, 0x1000) };
        assert!(matches!(memory.add(offset, memfd(0x1000)), Err(MemoryError::Range)));
        let unaligned = MemoryRegion { mmap_offset: 12, ..region(0, 0, 0x1000) };
        assert!(matches!(memory.add(unaligned, memfd(0x2000)), Err(MemoryError::Map(_))));
    }

    #[test]
    fn a_removed_region_is_gone_whatever_offset_the_removal_names() {
        let mut memory = GuestMemory::default();
        memory.add(region(0x1000, 0x10_0000, 0x1000), memfd(0x1000)).unwrap();
        assert!(memory.remove(&region(0x1000, 0x10_0000, 0x2000)).is_err(), "another size is another region");
        memory.remove(&MemoryRegion { mmap_offset: 0x5000, ..region(0x1000, 0x10_0000, 0x1000) }).unwrap();
        assert!(memory.translate(UserAddr(0x10_0000), 1).is_none());
        assert!(memory.map().read_obj::<u8>(GuestAddress(0x1000)).is_err());
    }

    #[test]
    fn a_file_that_is_truncated_later_is_lost_from_there_on_and_the_rest_stays() {
        let file = memfd(0x4000);
        let theirs = File::from(file.try_clone().unwrap());
        let mut memory = GuestMemory::default();
        memory.add(region(0x1_0000, 0x10_0000, 0x4000), file).unwrap();
        memory.add(region(0x2_0000, 0x20_0000, 0x1000), memfd(0x1000)).unwrap();
        memory.map().write_slice(&[7; 0x4000], GuestAddress(0x1_0000)).unwrap();
        memory.newly_lost();
        assert_eq!(memory.lost(), None);

        theirs.set_len(0x2000).unwrap();
        let mut bytes = [1; 0x4000];
        memory.map().read_slice(&mut bytes, GuestAddress(0x1_0000)).unwrap();
        assert_eq!((&bytes[..0x2000], &bytes[0x2000..]), (&[7; 0x2000][..], &[0; 0x2000][..]));
        memory.map().write_slice(&[9; 0x4000], GuestAddress(0x1_0000)).expect("writes go nowhere and harm nobody");
        assert_eq!((memory.newly_lost(), memory.lost()), (Some(0x1_0000), Some(0x1_0000)));
        assert_eq!(memory.newly_lost(), None, "it is told once");
        memory.remove(&region(0x1_0000, 0x10_0000, 0x4000)).unwrap();
        assert_eq!(memory.lost(), None);
    }

    #[test]
    fn mappings_leave_the_table_when_they_go() {
        for _ in 0..20_000 {
            let mut memory = GuestMemory::default();
            memory.add(region(0, 0x1000, 0x1000), memfd(0x1000)).unwrap();
        }
    }
}
