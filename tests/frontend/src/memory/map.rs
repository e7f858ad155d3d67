//! A shared mapping, and the only accesses to it.
//!
//! The back end reads and writes the same bytes from its own process or thread, so no reference into the mapping ever
//! exists: integers go by atomics, blocks by copies. One of the two files here that may say `unsafe`.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{Error, Result};

/// A file's first `len` bytes, mapped shared.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to nobody's thread, and every access goes by an atomic or by a copy whose contents may be
// any bytes; a race with another writer yields stale or mixed bytes, as it does for a real guest. Needed because the
// raw pointer alone makes the type thread-bound, while tests run the driver and a back end in two threads.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

macro_rules! integer {
    ($load:ident, $store:ident, $int:ty, $atomic:ty) => {
        pub(crate) fn $load(&self, at: usize) -> $int {
            let place = self.place(at, size_of::<$int>());
            if !place.cast::<$int>().is_aligned() {
                let mut bytes = [0; size_of::<$int>()];
                self.read(at, &mut bytes);
                return <$int>::from_le_bytes(bytes);
            }
            // SAFETY: `place` checked the bounds, the line above the alignment, and the mapping lives as long as self.
            // Needed for access to memory that another process shares.
            <$int>::from_le(unsafe { <$atomic>::from_ptr(place.as_ptr().cast()) }.load(Ordering::Acquire))
        }

        pub(crate) fn $store(&self, at: usize, value: $int) {
            let place = self.place(at, size_of::<$int>());
            if !place.cast::<$int>().is_aligned() {
                return self.write(at, &value.to_le_bytes());
            }
            // SAFETY: as for the load.
            unsafe { <$atomic>::from_ptr(place.as_ptr().cast()) }.store(value.to_le(), Ordering::Release)
        }
    };
}

impl Mapping {
    pub(crate) fn new(file: impl AsFd, len: usize) -> Result<Mapping> {
        let size = NonZeroUsize::new(len).ok_or(Error::NoRoom("a mapping of no bytes"))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use. Needed because mapping a
        // file is unsafe by its nature: others change it, hence the rules at the top.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, file, 0) };
        let start = start.map_err(|errno| Error::io("mmap", errno))?;
        Ok(Mapping { start: start.cast(), len })
    }

    integer!(load_u16, store_u16, u16, AtomicU16);
    integer!(load_u32, store_u32, u32, AtomicU32);
    integer!(load_u64, store_u64, u64, AtomicU64);

    pub(crate) fn read(&self, at: usize, into: &mut [u8]) {
        let place = self.place(at, into.len());
        // SAFETY: `place` checked the bounds; `into` is ours alone, so the two do not overlap. Needed to copy out of
        // memory to which no reference may exist.
        unsafe { std::ptr::copy_nonoverlapping(place.as_ptr(), into.as_mut_ptr(), into.len()) }
    }

    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: as for `read`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) }
    }

    pub(crate) fn fill(&self, at: usize, len: usize, byte: u8) {
        let place = self.place(at, len);
        // SAFETY: `place` checked the bounds. Needed as for `write`.
        unsafe { std::ptr::write_bytes(place.as_ptr(), byte, len) }
    }

    fn place(&self, at: usize, len: usize) -> NonNull<u8> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {at:#x} of a mapping of {:#x}", self.len);
        // SAFETY: the assertion keeps the offset within the mapping. Needed for every access.
        unsafe { self.start.add(at) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and len are those of our own mapping, and nothing refers to it any more. Needed so that tests
        // with many memories do not pile them up.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
