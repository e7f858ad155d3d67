//! Memory that a display can use in place: a memfd, mapped here, and the DMABUF that `/dev/udmabuf` makes of it; or, where
//! that is asked for, the guest's own pages.
//!
//! The kernel refuses what it finds too large (64 MiB, if nothing else was set) and asks for files that nobody can cut off:
//! they are sealed. Each export is a descriptor, so there are never more than [`MAX_EXPORTS`].
//!
//! Caches: where a device does not see what a processor writes, the kernel has to be told of both ends of it. Its begin
//! waits for whoever reads the buffer, which could be long, so it is said once, when nobody has the buffer yet; its end
//! ([`Export::written`]) brings over what was written and waits for nobody.

#![allow(
    unsafe_code,
    reason = "udmabuf's and DMABUFs' ioctls, and memory that is shared as a slice, have no safe wrapper"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use log::debug;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use vm_memory::FileOffset;
use vm_memory::mmap::MmapRegion;

use super::backing::{Backing, Part};

/// The device.
pub const PATH: &str = "/dev/udmabuf";
/// Most exports at a time: far more than scanouts can show.
pub const MAX_EXPORTS: usize = 128;
/// Most parts of guest memory in one DMABUF: what the kernel takes, if nothing else was set.
pub const MAX_PARTS: usize = 1024;
/// What sizes are rounded up to: no kernel has larger pages here.
const PAGE: usize = 64 * 1024;

/// `struct udmabuf_create`.
#[derive(Debug)]
#[repr(C)]
pub struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// UDMABUF_FLAGS_CLOEXEC.
const CLOEXEC: u32 = 1;

nix::ioctl_write_ptr!(
    /// UDMABUF_CREATE: a DMABUF of a part of a memfd.
    udmabuf_create,
    b'u',
    0x42,
    Create
);

nix::ioctl_write_ptr!(
    /// UDMABUF_CREATE_LIST: a DMABUF of parts of memfds. The head of the structure is followed by its parts.
    udmabuf_create_list,
    b'u',
    0x43,
    u64
);

/// DMA_BUF_SYNC_RW with DMA_BUF_SYNC_START.
const SYNC_START: u64 = 3;
/// DMA_BUF_SYNC_WRITE with DMA_BUF_SYNC_END.
const SYNC_END: u64 = 2 | 1 << 2;

nix::ioctl_write_ptr!(
    /// DMA_BUF_IOCTL_SYNC: a processor's access to a DMABUF begins or ends.
    dma_buf_sync,
    b'b',
    0,
    u64
);

/// What makes memory that displays can use in place.
#[derive(Debug)]
pub struct Exporter {
    /// `/dev/udmabuf`; without it memfds stand for DMABUFs.
    device: Option<File>,
    /// Whether the guest's pages are made DMABUFs too.
    shares_pages: bool,
    /// One for each export.
    exports: Rc<()>,
}

/// One export, of those that there can be.
#[derive(Debug)]
pub struct Export {
    is_dmabuf: bool,
    _count: Rc<()>,
}

impl Exporter {
    /// Opens the device.
    ///
    /// # Errors
    /// There is none, or it is not for us.
    pub fn open() -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(PATH)?;
        Ok(Self { device: Some(device), shares_pages: false, exports: Rc::new(()) })
    }

    /// One whose DMABUFs are the memfds themselves, which can be mapped as well: for tests of what a display is told, on
    /// hosts without the device.
    pub fn of_memfds() -> Self {
        Self { device: None, shares_pages: false, exports: Rc::new(()) }
    }

    /// Guests' own pages are shown as well, where the kernel lets them be.
    #[must_use]
    pub fn sharing_pages(self) -> Self {
        Self { shares_pages: true, ..self }
    }

    /// The DMABUF of parts of files, which have to be sealed memfds, and the parts whole pages: guest memory. `None` where
    /// it can't be had, or was not asked for.
    pub fn share(&self, backing: &Backing) -> Option<(OwnedFd, Export)> {
        let device = self.device.as_ref().filter(|_| self.shares_pages && self.has_room())?;
        let parts = backing.parts(MAX_PARTS)?;
        let fd = create_list(device, &parts).inspect_err(|error| debug!("a resource is not shown in place: {error}"));
        let (fd, export) = (fd.ok()?, Export { is_dmabuf: true, _count: Rc::clone(&self.exports) });
        export.sync(&fd, SYNC_START);
        Some((fd, export))
    }

    fn has_room(&self) -> bool {
        Rc::strong_count(&self.exports) <= MAX_EXPORTS
    }

    /// Zeroed memory of at least `len` bytes, and its DMABUF.
    ///
    /// # Errors
    /// The kernel refuses it, or there are too many already.
    pub fn export(&self, len: usize) -> io::Result<(Pages, OwnedFd, Export)> {
        if !self.has_room() || len == 0 {
            return Err(Errno::EMFILE.into());
        }
        let len = len.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
        let memfd = memfd_create("picture", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&memfd, i64::try_from(len).map_err(|_| Errno::ENOMEM)?)?;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
        let memfd = File::from(memfd);
        let fd = match &self.device {
            Some(device) => create(device, &memfd, len)?,
            None => memfd.try_clone()?.into(),
        };
        let mapping = MmapRegion::from_file(FileOffset::new(memfd, 0), len).map_err(io::Error::other)?;
        let export = Export { is_dmabuf: self.device.is_some(), _count: Rc::clone(&self.exports) };
        export.sync(&fd, SYNC_START);
        Ok((Pages(mapping), fd, export))
    }
}

fn create(device: &File, memfd: &File, len: usize) -> io::Result<OwnedFd> {
    let memfd = u32::try_from(memfd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let size = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    let create = Create { memfd, flags: CLOEXEC, offset: 0, size };
    // SAFETY: the ioctl reads one structure of that layout, which lives until it returns. Needed because no crate has it.
    let fd = unsafe { udmabuf_create(device.as_raw_fd(), &raw const create) }?;
    Ok(new_descriptor(fd))
}

fn create_list(device: &File, parts: &[Part<'_>]) -> io::Result<OwnedFd> {
    let pair = |low: u32, high: u32| {
        let [[a, b, c, d], [e, f, g, h]] = [low.to_ne_bytes(), high.to_ne_bytes()];
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    // `struct udmabuf_create_list` (flags, count), then each `struct udmabuf_create_item` (memfd, padding, offset, size).
    let count = u32::try_from(parts.len()).map_err(|_| Errno::EINVAL)?;
    let mut list = vec![pair(CLOEXEC, count)];
    for part in parts {
        let memfd = u32::try_from(part.file.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        list.extend([pair(memfd, 0), part.offset, part.len]);
    }
    // SAFETY: the ioctl reads the head and as many parts as that says, all of which are there until it returns. Needed
    // because no crate has it.
    let fd = unsafe { udmabuf_create_list(device.as_raw_fd(), list.as_ptr()) }?;
    Ok(new_descriptor(fd))
}

fn new_descriptor(fd: i32) -> OwnedFd {
    // SAFETY: this is called with the answer of one of the two ioctls above and with nothing else: the kernel has just made
    // this descriptor for us, and nobody else knows of it. Needed because an ioctl's answer is a number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl Export {
    /// What was written to the memory so far is seen by those who use its DMABUF.
    pub fn written(&self, fd: &OwnedFd) {
        self.sync(fd, SYNC_END);
    }

    fn sync(&self, fd: &OwnedFd, flags: u64) {
        if self.is_dmabuf {
            // Where there are caches to care for it fails only if interrupted, before it has begun; the next one makes up.
            // SAFETY: the ioctl reads one number, which lives until it returns. Needed because no crate has it.
            let _ = unsafe { dma_buf_sync(fd.as_raw_fd(), &raw const flags) };
        }
    }
}

/// Memory that displays can use in place, as the bytes that it is to us.
#[derive(Debug)]
pub struct Pages(MmapRegion);

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is that long, lives as long as `self`, and stays whole: its file is sealed against being cut
        // off. All bytes are valid values. Nobody is to write there but us: a display reads, one that is so bold as to write
        // gets wrong pixels on itself, of which we check nothing but whether they are others than the guest's. Needed because
        // the code that compares and copies pixels is the same for memory that nobody shares.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.size()) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the mapping can be written, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), self.0.size()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_written_to_the_memory_is_in_the_file_that_is_handed_over() {
        let exporter = Exporter::of_memfds();
        let (mut pages, fd, export) = exporter.export(5000).unwrap();
        assert!(pages.len() >= 5000 && pages.iter().all(|byte| *byte == 0));
        pages[4999] = 7;
        export.written(&fd);
        let file = File::from(fd);
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4999).unwrap();
        assert_eq!(byte, [7]);
        assert!(ftruncate(&file, 0).is_err(), "it can't be cut off");
    }

    #[test]
    fn there_are_never_more_exports_than_the_bound_and_one_that_goes_makes_room() {
        let exporter = Exporter::of_memfds();
        let mut all: Vec<_> = (0..MAX_EXPORTS).map(|_| exporter.export(1).unwrap()).collect();
        assert!(exporter.export(1).is_err());
        all.pop();
        assert!(exporter.export(1).is_ok());
    }
}
