//! Textures and buffers: what RESOURCE_CREATE_3D makes.
//!
//! The library keeps a pointer to the list of pieces that a texture's backing is in, and reads and writes those pieces
//! later, for some resources when the guest's commands say so. So the [`Texture`] owns that list, and keeps the memory
//! mapped, until the library has let go of it. The guest writes there at any time: nothing refers to it but pointers.

#![allow(unsafe_code, reason = "a C library's functions can't be called by safe code")]

use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::{mem, ptr};

use log::debug;
use virglrenderer_sys::virgl_renderer_resource_create_args;

use super::Refused;
use super::bounds::{self, Known, Reading};
use super::library::{RESOURCE_INFO_EXT_VERSION, ResourceInfoExt};
use super::session::Session;
use super::stream::Textures;
use crate::gpu::backing::Backing;
use crate::gpu::command::{Box3d, Create3d, FLAG_Y_0_TOP, Transfer3d, target};
use crate::gpu::dmabuf::Dmabuf;
use crate::vhost_proto::memory::MappedRegion;

/// `VIRGL_FORMAT_R8_UNORM`.
const FORMAT_BYTES: u32 = 64;

/// Most samples of a texel; 0.10.4 does not know a limit.
const MAX_SAMPLES: u32 = 64;

/// Most planes of a picture: EGL writes numbers for each.
const MAX_PLANES: usize = 4;

/// Where EGL has written no descriptor; -1 is what it writes of a plane that shares another's.
const UNWRITTEN: c_int = c_int::MIN;

/// Which way the pixels go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToHost,
    FromHost,
}

/// Which way the pixels go, and between the texture and what.
#[derive(Debug)]
pub enum Transfer<'a> {
    /// Out of its backing or into it.
    Backing(Direction),
    /// Out of these bytes.
    From(&'a [u8]),
    /// Into these bytes.
    Into(&'a mut [u8]),
}

/// The end of a transfer that the library is asked for.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The list that is attached.
    Attached,
    /// A piece of our own.
    Own(libc::iovec),
}

/// The list of pieces that the library has, and what keeps them mapped.
#[derive(Debug)]
struct Attached {
    pieces: Vec<libc::iovec>,
    bytes: u64,
    _regions: Vec<Arc<MappedRegion>>,
}

/// A texture or a buffer. Dropped, it is gone from all contexts.
#[derive(Debug)]
pub struct Texture {
    session: Rc<Session>,
    made: Create3d,
    attached: Option<Attached>,
}

impl Texture {
    /// Makes one.
    ///
    /// # Errors
    /// The number is 0 or taken; the library refuses.
    pub(super) fn new(session: &Rc<Session>, made: &Create3d) -> Result<Self, Refused> {
        let id = made.resource_id.0;
        if made.nr_samples > MAX_SAMPLES || !session.take_number(made) {
            return Err(Refused);
        }
        let mut arguments = virgl_renderer_resource_create_args {
            handle: id,
            target: made.target,
            // A buffer is of bytes. The library counts one of another format in bytes when it is mapped, and in elements
            // when it is copied (0.10.4).
            format: if made.target == target::BUFFER { FORMAT_BYTES } else { made.format },
            bind: made.bind,
            width: made.width,
            height: made.height,
            depth: made.depth,
            array_size: made.array_size,
            last_level: made.last_level,
            nr_samples: made.nr_samples,
            flags: made.flags,
        };
        let create = session.library().virgl_renderer_resource_create;
        // SAFETY: the arguments are read, and copied. Without pieces there is no list of them.
        let answer = unsafe { create(&raw mut arguments, ptr::null_mut(), 0) };
        if answer != 0 {
            session.free_number(id);
            return Err(Refused);
        }
        Ok(Self { session: Rc::clone(session), made: *made, attached: None })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.made.resource_id.0
    }

    /// Whether it is one picture, without layers and samples: those alone can be read back.
    pub fn is_flat(&self) -> bool {
        bounds::is_flat(&self.made)
    }

    /// Whether it is flat, and its texels have so many bytes.
    pub(super) fn is_flat_of(&self, bytes: u32) -> bool {
        self.is_flat() && self.made.width.checked_mul(bytes) == self.session.stride(self.id())
    }

    /// Gives it a backing, in place of one that it has. A backing whose memory is gone is none.
    pub fn attach(&mut self, backing: &Backing) {
        self.detach();
        let mut attached = Attached::new(backing);
        let Ok(number) = c_int::try_from(attached.pieces.len()) else { return };
        if number == 0 {
            return;
        }
        let attach = self.session.library().virgl_renderer_resource_attach_iov;
        // SAFETY: the list, and the memory that it is of, are there until the library has let go of them: see detach. The
        // list is only read; the memory is the guest's, who may find or write anything there.
        let answer = unsafe { attach(self.handle(), attached.pieces.as_mut_ptr().cast(), number) };
        if answer == 0 {
            self.session.set_backing(self.id(), attached.bytes);
            self.attached = Some(attached);
        } else {
            debug!("virglrenderer does not take a backing (status {answer})");
        }
    }

    /// Takes its backing away.
    pub fn detach(&mut self) {
        if self.attached.is_some() {
            let detach = self.session.library().virgl_renderer_resource_detach_iov;
            // SAFETY: the texture is there; null asks for no answer. The library may read the memory once more, which is
            // there still; after that it has no pointer to the list.
            unsafe { detach(self.handle(), ptr::null_mut(), ptr::null_mut()) };
            self.session.set_backing(self.id(), 0);
            self.attached = None;
        }
    }

    /// Lets a context use it.
    pub(super) fn enter(&self, ctx: u32) {
        // SAFETY: it has no pointers; a context that is not there is passed over.
        unsafe { (self.session.library().virgl_renderer_ctx_attach_resource)(ctx.cast_signed(), self.handle()) };
    }

    /// Takes it away from a context.
    pub(super) fn leave(&self, ctx: u32) {
        // SAFETY: as above.
        unsafe { (self.session.library().virgl_renderer_ctx_detach_resource)(ctx.cast_signed(), self.handle()) };
    }

    fn handle(&self) -> c_int {
        self.id().cast_signed()
    }

    /// Copies what `region` says, between it and what `between` says.
    ///
    /// # Errors
    /// The region does not lie in the texture, or not at the other end; the library refuses.
    pub(super) fn transfer(&self, ctx: u32, region: &Transfer3d, between: Transfer<'_>) -> Result<(), Refused> {
        let backing = self.attached.as_ref().map(|attached| attached.bytes);
        let (direction, end, bytes) = match between {
            Transfer::Backing(direction) => (direction, End::Attached, backing.ok_or(Refused)?),
            Transfer::From(bytes) => {
                (Direction::ToHost, End::of(bytes.as_ptr().cast_mut(), bytes.len()), bytes.len() as u64)
            }
            Transfer::Into(bytes) => {
                (Direction::FromHost, End::of(bytes.as_mut_ptr(), bytes.len()), bytes.len() as u64)
            }
        };
        let known = Known { made: self.made, backing: backing.unwrap_or(0) };
        let stride = || self.session.stride(self.id());
        if !bounds::is_sane(&known, region, None) && !bounds::is_sane(&known, region, stride()) {
            return Err(Refused);
        }
        let Box3d { width, height, depth, .. } = region.region;
        if width == 0 || height == 0 || depth == 0 {
            return Ok(());
        }
        if region.offset >= bytes {
            return Err(Refused);
        }
        if direction == Direction::ToHost {
            return self.copy(direction, ctx, region, end);
        }
        let reading = bounds::reading(&self.made, region, None);
        match reading.or_else(|| bounds::reading(&self.made, region, stride())) {
            None => Err(Refused),
            Some(Reading::Whole) => self.copy(direction, ctx, region, end),
            Some(Reading::Layers(distance)) => {
                let mut one = *region;
                one.region.depth = 1;
                for _ in 0..depth {
                    self.copy(direction, ctx, &one, end)?;
                    one.region.z = one.region.z.saturating_add(1);
                    one.offset = one.offset.saturating_add(distance);
                }
                Ok(())
            }
        }
    }

    /// Asks the library for a transfer that is sane.
    fn copy(&self, direction: Direction, ctx: u32, transfer: &Transfer3d, mut end: End) -> Result<(), Refused> {
        let mut region = virgl_box(&transfer.region);
        let region = (&raw mut region).cast();
        let (list, pieces) = match &mut end {
            End::Own(piece) => (ptr::from_mut(piece).cast(), 1),
            End::Attached => (ptr::null_mut(), 0),
        };
        let Transfer3d { offset, level, stride, layer_stride, .. } = *transfer;
        let (id, library) = (self.id(), self.session.library());
        let answer = match direction {
            Direction::ToHost => {
                let write = library.virgl_renderer_transfer_write_iov;
                // SAFETY: the region lies in the texture, and both ends of the transfer are there while it lasts: a piece
                // of ours, which `transfer` has borrowed, or what is attached. The library sees to it that it ends within
                // them, and bounds.rs to it that its sums are right. It only reads the piece.
                unsafe { write(id, ctx, level.cast_signed(), stride, layer_stride, region, offset, list, pieces) }
            }
            Direction::FromHost => {
                let read = library.virgl_renderer_transfer_read_iov;
                // SAFETY: as above; the piece is written, and `transfer` has borrowed it exclusively.
                unsafe { read(id, ctx, level, stride, layer_stride, region, offset, list, pieces.cast_signed()) }
            }
        };
        if answer == 0 { Ok(()) } else { Err(Refused) }
    }

    /// How many planes it has, and the layout of their memory (`DRM_FORMAT_MOD_*`), where the library tells.
    fn layout(&self) -> Option<(c_int, u64)> {
        let get = self.session.library().virgl_renderer_resource_get_info_ext?;
        // SAFETY: it is of numbers and a pointer, for all of which zero is a value.
        let mut info: ResourceInfoExt = unsafe { mem::zeroed() };
        info.version = RESOURCE_INFO_EXT_VERSION;
        // SAFETY: it writes the structure, of this version, and EGL modifiers of more planes into the room behind it.
        let answer = unsafe { get(self.handle(), &raw mut info) };
        (answer == 0 && info.has_dmabuf_export).then_some((info.planes, info.modifiers))
    }

    /// Its memory, for others to map or to show.
    ///
    /// # Errors
    /// There is no GPU, or it can't be exported, or not as one plane.
    pub(super) fn export(&self) -> Result<Dmabuf, Refused> {
        // Without a GPU, Mesa 22.3 crashes when it is asked.
        if !self.session.has_node() || self.made.target == target::BUFFER {
            return Err(Refused);
        }
        // SAFETY: it has no pointers. An export is of the current context's.
        unsafe { (self.session.library().virgl_renderer_force_ctx_0)() };
        let (answer, info) = self.session.info(self.id());
        if answer != 0 {
            return Err(Refused);
        }
        let (mut fds, mut strides, mut offsets) = ([UNWRITTEN; MAX_PLANES], [0; MAX_PLANES], [0; MAX_PLANES]);
        let export = self.session.library().virgl_renderer_get_fd_for_texture2;
        // SAFETY: the library has EGL write to these three, one number for each plane: there is room for as many as there
        // can be.
        let answer = unsafe { export(info.tex_id, fds.as_mut_ptr(), strides.as_mut_ptr(), offsets.as_mut_ptr()) };
        if answer != 0 {
            return Err(Refused);
        }
        let planes = fds.iter().filter(|fd| **fd != UNWRITTEN).count();
        // SAFETY: each was made for us just now, and stands there once.
        let fds = fds.map(|fd| (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) }));
        let ([Some(fd), ..], [stride, ..], [offset, ..]) = (fds, strides, offsets) else { return Err(Refused) };
        let layout = self.layout();
        // A display is told of one plane.
        if planes != 1 || layout.is_some_and(|(planes, _)| planes > 1) {
            return Err(Refused);
        }
        // Who shows it is not told of a place within it.
        let stride = u32::try_from(stride).ok().filter(|stride| *stride > 0 && offset == 0).ok_or(Refused)?;
        Ok(Dmabuf {
            fd,
            width: self.made.width,
            height: self.made.height,
            stride,
            fourcc: info.drm_fourcc.cast_unsigned(),
            modifier: layout.map(|(_, modifier)| modifier),
            y_0_top: self.made.flags & FLAG_Y_0_TOP != 0,
            charge: None,
        })
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        // Contexts may hold it for longer: the list goes first.
        self.detach();
        self.session.release(self.id());
        // SAFETY: the texture is there, and has no list of ours any more. No shader has it in a slot, where the library would
        // look for it.
        unsafe { (self.session.library().virgl_renderer_resource_unref)(self.id()) };
        self.session.free_number(self.id());
    }
}

impl End {
    fn of(start: *mut u8, len: usize) -> Self {
        Self::Own(libc::iovec { iov_base: start.cast(), iov_len: len })
    }
}

impl Attached {
    fn new(backing: &Backing) -> Self {
        let mut pieces = Vec::with_capacity(backing.pieces().len());
        let mut regions: Vec<Arc<MappedRegion>> = Vec::new();
        let mut bytes: u64 = 0;
        for (region, start, len) in backing.pieces() {
            if !regions.last().is_some_and(|last| Arc::ptr_eq(last, region)) {
                regions.push(Arc::clone(region));
            }
            bytes = bytes.saturating_add(len as u64);
            pieces.push(libc::iovec { iov_base: start.cast(), iov_len: len });
        }
        Self { pieces, bytes, _regions: regions }
    }
}

/// `struct virgl_box`, which is not in the library's header.
#[repr(C)]
struct VirglBox {
    x: u32,
    y: u32,
    z: u32,
    width: u32,
    height: u32,
    depth: u32,
}

fn virgl_box(region: &Box3d) -> VirglBox {
    let Box3d { x, y, z, width, height, depth } = *region;
    VirglBox { x, y, z, width, height, depth }
}
