//! The pixels of a DMABUF that a virtio GPU made, for a test that runs in a machine with such a GPU.
//!
//! The picture itself is on the other side of that GPU; what can be mapped is a page that the driver copies through. So it
//! is fetched row by row, by the requests of linux/virtio_gpu_drm.h.
//!
//! `unsafe` is for those requests and for the page: neither has a safe wrapper.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{Context, Error, Result};
use crate::image::Image;

/// `DRM_IOCTL_PRIME_FD_TO_HANDLE` with handle, flags and descriptor.
const FD_TO_HANDLE: (libc::c_ulong, usize) = (0xc00c_642e, 3);
/// `DRM_IOCTL_VIRTGPU_RESOURCE_INFO` with handle, the host's handle, size and 0.
const RESOURCE_INFO: (libc::c_ulong, usize) = (0xc010_6445, 4);
/// `DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST` with handle, x, y, z, width, height, depth, level, offset and two strides.
const FROM_HOST: (libc::c_ulong, usize) = (0xc02c_6446, 11);
/// `DRM_IOCTL_VIRTGPU_WAIT` with handle and flags.
const WAIT: (libc::c_ulong, usize) = (0xc008_6448, 2);
const PIXEL: usize = 4;

/// A GPU of this machine.
pub struct RenderNode(File);

impl RenderNode {
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        File::options().read(true).write(true).open(path).map(RenderNode).context(path.display())
    }

    /// What is in the DMABUF now, with the first row in memory first. `fourcc` is one of DRM's codes of 8 bits a colour: it
    /// may be AR24 or XR24, and AB24 or XB24 with red and blue in each other's place.
    pub fn pixels(&self, buffer: BorrowedFd<'_>, (width, height): (u32, u32), fourcc: u32) -> Result<Image> {
        let blue_first = match &fourcc.to_le_bytes() {
            b"AR24" | b"XR24" => true,
            b"AB24" | b"XB24" => false,
            _ => return Err(Error::Failed(format!("no order of four bytes: {fourcc:#x}"))),
        };
        let [handle, ..] = self.ask(FD_TO_HANDLE, [0, 0, buffer.as_raw_fd().cast_unsigned()])?;
        let [_, _, size, _] = self.ask(RESOURCE_INFO, [handle, 0, 0, 0])?;
        let page = Page::map(buffer, size as usize)?;
        let piece = (size as usize / PIXEL).min(width as usize).max(1) as u32;
        let mut image = Image::new(width, height);
        for y in 0..height {
            for x in (0..width).step_by(piece as usize) {
                let count = piece.min(width - x);
                self.ask(FROM_HOST, [handle, x, y, 0, count, 1, 1, 0, 0, 0, 0])?;
                self.ask(WAIT, [handle, 0])?;
                let bytes = page.read(count as usize * PIXEL);
                let pixels = bytes.chunks_exact(PIXEL).map(|p| match blue_first {
                    true => u32::from_be_bytes([0, p[2], p[1], p[0]]),
                    false => u32::from_be_bytes([0, p[0], p[1], p[2]]),
                });
                (x..).zip(pixels).for_each(|(x, pixel)| image.set(x, y, pixel));
            }
        }
        Ok(image)
    }

    /// Makes a request whose structure is words.
    fn ask<const N: usize>(
        &self,
        (request, words): (libc::c_ulong, usize),
        mut argument: [u32; N],
    ) -> Result<[u32; N]> {
        assert_eq!(words, N);
        // SAFETY: each of the four requests reads and writes as many words behind the pointer as stand beside its number,
        // and these are there.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument.as_mut_ptr()) };
        match answer {
            0.. => Ok(argument),
            _ => Err(io::Error::last_os_error()).context(format_args!("request {request:#x}")),
        }
    }
}

/// What of a DMABUF can be mapped.
struct Page {
    start: NonNull<libc::c_void>,
    size: NonZeroUsize,
}

impl Page {
    fn map(buffer: BorrowedFd<'_>, size: usize) -> Result<Self> {
        let size = NonZeroUsize::new(size).ok_or_else(|| Error::Failed("a buffer of no bytes".to_owned()))?;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, buffer.as_fd(), 0) };
        Ok(Page { start: start.context("mapping a buffer")?, size })
    }

    /// The first bytes, not more than there are.
    fn read(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length.min(self.size.get())];
        // SAFETY: as many bytes are mapped and readable, and the vector is of that length and elsewhere. The driver may
        // write to them meanwhile, which it does only when asked; they are bytes whatever they are.
        unsafe { self.start.cast::<u8>().as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        bytes
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start, self.size.get()) };
    }
}
