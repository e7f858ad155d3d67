//! Guest RAM: memfds, mapped here and offered to the back end as regions.
//!
//! A region's guest physical address, front-end user address and place in its file are chosen freely and differ from one
//! another by default, so that a back end that mixes them up does not get by. Accesses outside all regions panic: the
//! test itself would be wrong. What is *announced* to the back end is another matter; a [`RegionSpec`] can say anything.

mod map;
mod pages;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::error::{Error, Result};
use map::Mapping;

pub use pages::{PAGE, Pages};

/// Distance between guest physical and user addresses, where a test does not choose them.
pub const UVA_BASE: u64 = 0x7f40_0000_0000;

/// A region as the memory messages announce it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSpec {
    /// Guest physical address.
    pub gpa: u64,
    /// Length in bytes.
    pub size: u64,
    /// Front-end user address.
    pub uva: u64,
    /// Where it starts in its file.
    pub mmap_offset: u64,
}

/// A region to be made: what is announced, and which file holds it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionPlan {
    /// What is announced.
    pub spec: RegionSpec,
    /// Number of the file; regions with the same number share one.
    pub file: usize,
}

impl RegionPlan {
    /// A region at the start of file number `file`, its user address [`UVA_BASE`] above the guest's.
    pub fn new(gpa: u64, size: u64, file: usize) -> RegionPlan {
        RegionPlan { spec: RegionSpec { gpa, size, uva: UVA_BASE + gpa, mmap_offset: 0 }, file }
    }

    /// The same, `offset` bytes into the file.
    pub fn at_offset(mut self, offset: u64) -> RegionPlan {
        self.spec.mmap_offset = offset;
        self
    }

    /// The same, at another user address.
    pub fn at_uva(mut self, uva: u64) -> RegionPlan {
        self.spec.uva = uva;
        self
    }
}

/// A region of [`GuestMemory`].
#[derive(Clone)]
pub struct Region {
    /// What is announced.
    pub spec: RegionSpec,
    file: Arc<OwnedFd>,
    mapping: Arc<Mapping>,
}

impl Region {
    /// The file that holds it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn contains(&self, gpa: u64, len: u64) -> bool {
        gpa >= self.spec.gpa && gpa - self.spec.gpa <= self.spec.size.saturating_sub(len) && len <= self.spec.size
    }
}

/// The guest's RAM. A clone is another handle to the same bytes.
#[derive(Clone)]
pub struct GuestMemory {
    regions: Arc<[Region]>,
}

impl GuestMemory {
    /// Makes the files and maps them; `sealed` files can neither shrink nor grow.
    pub fn new(plans: &[RegionPlan], sealed: bool) -> Result<GuestMemory> {
        let count = plans.iter().map(|plan| plan.file + 1).max().unwrap_or(0);
        let files = (0..count).map(|file| backing_file(plans, file, sealed)).collect::<Result<Vec<_>>>()?;
        let region = |plan: &RegionPlan| {
            let (file, mapping) = files[plan.file].clone();
            Region { spec: plan.spec, file, mapping }
        };
        Ok(GuestMemory { regions: plans.iter().map(region).collect() })
    }

    /// One sealed region of `size` bytes, from guest physical address 0 on, as a small QEMU machine has.
    pub fn flat(size: u64) -> Result<GuestMemory> {
        GuestMemory::new(&[RegionPlan::new(0, size, 0)], true)
    }

    /// Four regions with gaps: one at 0, one 64 KiB into a file it shares with one above 4 GiB, one directly behind
    /// another. `size` bytes in all, which must be a multiple of 16 KiB.
    pub fn scattered(size: u64) -> Result<GuestMemory> {
        let quarter = size / 4;
        assert_eq!(quarter % PAGE, 0, "a quarter of the memory is a number of whole pages");
        let high = 0x1_0000_0000;
        let plans = [
            RegionPlan::new(0, quarter, 0),
            RegionPlan::new(quarter + 0x10_0000, quarter, 1).at_offset(0x1_0000),
            RegionPlan::new(high, quarter, 1).at_offset(0x1_0000 + quarter).at_uva(0x5500_0000_0000),
            RegionPlan::new(high + quarter, quarter, 2).at_uva(0x5400_0000_0000),
        ];
        GuestMemory::new(&plans, true)
    }

    /// All regions, as they are announced.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// `len` bytes that must lie within one region.
    pub fn span(&self, gpa: u64, len: u64) -> Span {
        let region = self.region_at(gpa, len);
        let offset = gpa - region.spec.gpa;
        Span {
            mapping: region.mapping.clone(),
            start: (region.spec.mmap_offset + offset) as usize,
            len: len as usize,
            gpa,
            uva: region.spec.uva + offset,
        }
    }

    /// Reads bytes; they may cross from one region into the next.
    pub fn read(&self, gpa: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let (region, offset, count) = self.piece(gpa + done as u64, into.len() - done);
            region.mapping.read(offset, &mut into[done..done + count]);
            done += count;
        }
    }

    /// Writes bytes; they may cross from one region into the next.
    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (region, offset, count) = self.piece(gpa + done as u64, bytes.len() - done);
            region.mapping.write(offset, &bytes[done..done + count]);
            done += count;
        }
    }

    /// Sets bytes; they may cross from one region into the next.
    pub fn fill(&self, gpa: u64, len: u64, byte: u8) {
        let mut done = 0;
        while done < len {
            let (region, offset, count) = self.piece(gpa + done, (len - done) as usize);
            region.mapping.fill(offset, count, byte);
            done += count as u64;
        }
    }

    /// Reads a little-endian u16.
    pub fn read_u16(&self, gpa: u64) -> u16 {
        let (region, offset) = self.place(gpa, 2);
        region.mapping.load_u16(offset)
    }

    /// Writes a little-endian u16.
    pub fn write_u16(&self, gpa: u64, value: u16) {
        let (region, offset) = self.place(gpa, 2);
        region.mapping.store_u16(offset, value)
    }

    /// Reads a little-endian u32.
    pub fn read_u32(&self, gpa: u64) -> u32 {
        let (region, offset) = self.place(gpa, 4);
        region.mapping.load_u32(offset)
    }

    /// Writes a little-endian u32.
    pub fn write_u32(&self, gpa: u64, value: u32) {
        let (region, offset) = self.place(gpa, 4);
        region.mapping.store_u32(offset, value)
    }

    /// Reads a little-endian u64.
    pub fn read_u64(&self, gpa: u64) -> u64 {
        let (region, offset) = self.place(gpa, 8);
        region.mapping.load_u64(offset)
    }

    /// Writes a little-endian u64.
    pub fn write_u64(&self, gpa: u64, value: u64) {
        let (region, offset) = self.place(gpa, 8);
        region.mapping.store_u64(offset, value)
    }

    fn place(&self, gpa: u64, len: u64) -> (&Region, usize) {
        let region = self.region_at(gpa, len);
        (region, (region.spec.mmap_offset + gpa - region.spec.gpa) as usize)
    }

    fn piece(&self, gpa: u64, want: usize) -> (&Region, usize, usize) {
        let (region, offset) = self.place(gpa, 1);
        let left = region.spec.gpa + region.spec.size - gpa;
        (region, offset, want.min(left as usize))
    }

    fn region_at(&self, gpa: u64, len: u64) -> &Region {
        let found = self.regions.iter().find(|region| region.contains(gpa, len));
        found.unwrap_or_else(|| panic!("{len} bytes at guest physical {gpa:#x} lie in no region"))
    }
}

fn backing_file(plans: &[RegionPlan], file: usize, sealed: bool) -> Result<(Arc<OwnedFd>, Arc<Mapping>)> {
    let ends = plans.iter().filter(|plan| plan.file == file).map(|plan| plan.spec.mmap_offset + plan.spec.size);
    let len = ends.max().unwrap_or(0);
    let fd = memfd(c"guest-ram", len, sealed)?;
    let mapping = Mapping::new(fd.as_fd(), len as usize)?;
    Ok((Arc::new(fd), Arc::new(mapping)))
}

/// The first `len` bytes of a file that others may change meanwhile, by a mapping.
pub(crate) fn read_file(file: impl AsFd, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    Mapping::new(file, len)?.read(0, &mut bytes);
    Ok(bytes)
}

/// A memfd of `len` bytes, for memory and for DMABUF stand-ins; `sealed` against shrinking and growing.
pub fn memfd(name: &CStr, len: u64, sealed: bool) -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(name, flags).map_err(|errno| Error::io("memfd_create", errno))?;
    ftruncate(&fd, len as i64).map_err(|errno| Error::io("ftruncate", errno))?;
    if sealed {
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| Error::io("F_ADD_SEALS", errno))?;
    }
    Ok(fd)
}

/// A contiguous piece of guest memory, found once and then accessed by offset.
#[derive(Clone)]
pub struct Span {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
    gpa: u64,
    uva: u64,
}

impl Span {
    /// Its guest physical address.
    pub fn gpa(&self) -> u64 {
        self.gpa
    }

    /// Its front-end user address.
    pub fn uva(&self) -> u64 {
        self.uva
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a little-endian u16 at an offset.
    pub fn u16(&self, at: usize) -> u16 {
        self.mapping.load_u16(self.at(at, 2))
    }

    /// Writes a little-endian u16 at an offset.
    pub fn set_u16(&self, at: usize, value: u16) {
        self.mapping.store_u16(self.at(at, 2), value)
    }

    /// Reads a little-endian u32 at an offset.
    pub fn u32(&self, at: usize) -> u32 {
        self.mapping.load_u32(self.at(at, 4))
    }

    /// Writes a little-endian u32 at an offset.
    pub fn set_u32(&self, at: usize, value: u32) {
        self.mapping.store_u32(self.at(at, 4), value)
    }

    /// Reads a little-endian u64 at an offset.
    pub fn u64(&self, at: usize) -> u64 {
        self.mapping.load_u64(self.at(at, 8))
    }

    /// Writes a little-endian u64 at an offset.
    pub fn set_u64(&self, at: usize, value: u64) {
        self.mapping.store_u64(self.at(at, 8), value)
    }

    /// Reads bytes at an offset.
    pub fn read(&self, at: usize, into: &mut [u8]) {
        self.mapping.read(self.at(at, into.len()), into)
    }

    /// Writes bytes at an offset.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        self.mapping.write(self.at(at, bytes.len()), bytes)
    }

    /// Sets all bytes.
    pub fn fill(&self, byte: u8) {
        self.mapping.fill(self.start, self.len, byte)
    }

    fn at(&self, at: usize, len: usize) -> usize {
        assert!(at + len <= self.len, "{len} bytes at {at:#x} of a span of {:#x}", self.len);
        self.start + at
    }
}

#[cfg(test)]
mod tests;
