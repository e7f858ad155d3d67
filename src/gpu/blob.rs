//! Blobs: guest memory that is shown as pixels (VIRTIO 1.3, 5.7.6.8, RESOURCE_CREATE_BLOB and SET_SCANOUT_BLOB).
//!
//! Here are those whose memory is the guest's (`VIRTIO_GPU_BLOB_MEM_GUEST`). How their bytes are pixels is said by each
//! scanout for itself, so a blob has a host copy for each way in which it is shown.

use std::rc::Rc;

use super::budget::{Budget, Charge};
use super::command::{CreateBlob, SetScanoutBlob, Status};
use super::image::MAX_SIDE;
use super::pixel::{Format, PIXEL};
use super::rect::Rect;
use super::resource::end_of;
use super::view::View;

/// VIRTIO_GPU_BLOB_MEM_GUEST: the memory is the guest's own.
pub const MEM_GUEST: u32 = 1;
/// All flags that there are: mappable, shareable, cross-device. They are about host memory and other devices, and ask for
/// nothing where the memory is the guest's.
const FLAGS: u32 = 7;
/// What a blob takes beside its list of entries, generously.
const OVERHEAD: u64 = 512;

/// How a blob's bytes are pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
    pub format: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Where the first row begins.
    pub offset: u32,
}

impl Frame {
    /// The frame that SET_SCANOUT_BLOB describes. The formats that there are have one plane, the first.
    pub fn of(command: &SetScanoutBlob) -> Self {
        let SetScanoutBlob { width, height, format, strides: [stride, ..], offsets: [offset, ..], .. } = *command;
        Self { width, height, format, stride, offset }
    }

    /// Whether it is one, and lies in a blob of `size` bytes.
    fn is_within(&self, size: u64) -> bool {
        let all = Rect::of_size(self.width, self.height);
        let row = u64::from(self.width) * PIXEL as u64;
        Format::from_u32(self.format).is_some()
            && (1..=MAX_SIDE).contains(&self.width)
            && (1..=MAX_SIDE).contains(&self.height)
            && u64::from(self.stride) >= row
            && end_of(&all, u64::from(self.offset), u64::from(self.stride)).is_some_and(|end| end <= size)
    }

    /// Where the first pixel of `rect`, which lies in it, begins in the blob.
    pub fn start_of(&self, rect: &Rect) -> u64 {
        let rows = u64::from(rect.y).saturating_mul(u64::from(self.stride));
        let columns = u64::from(rect.x).saturating_mul(PIXEL as u64);
        u64::from(self.offset).saturating_add(rows).saturating_add(columns)
    }
}

/// A blob of guest memory.
#[derive(Debug)]
pub struct Blob {
    size: u64,
    _charge: Charge,
    /// A host copy for each way in which it was shown.
    views: Vec<(Frame, View)>,
}

impl Blob {
    /// The blob that the guest asks for.
    ///
    /// # Errors
    /// A kind of memory that is not there, flags that nobody knows, no size; more memory than the budget has.
    pub fn new(command: &CreateBlob, budget: &Rc<Budget>) -> Result<Self, Status> {
        if command.blob_mem != MEM_GUEST || command.blob_flags & !FLAGS != 0 || command.size == 0 {
            return Err(Status::ErrInvalidParameter);
        }
        let charge = budget.charge(OVERHEAD).ok_or(Status::ErrOutOfMemory)?;
        Ok(Self { size: command.size, _charge: charge, views: Vec::new() })
    }

    /// The host copy of it as `frame`. Those that no scanout has any longer make room.
    ///
    /// # Errors
    /// No frame within the blob; more memory than the budget has.
    pub fn view(&mut self, frame: Frame, budget: &Rc<Budget>) -> Result<&mut View, Status> {
        if !frame.is_within(self.size) {
            return Err(Status::ErrInvalidParameter);
        }
        self.views.retain(|(known, view)| *known == frame || Rc::strong_count(view.image()) > 1);
        let place = match self.views.iter().position(|(known, _)| *known == frame) {
            Some(place) => place,
            None => {
                self.views.push((frame, View::new(frame.format, frame.width, frame.height, budget)?));
                self.views.len() - 1
            }
        };
        self.views.get_mut(place).map(|(_, view)| view).ok_or(Status::ErrUnspec)
    }

    /// Its host copies.
    pub fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.views.iter_mut().map(|(_, view)| view)
    }

    /// Its host copies, each with its frame.
    pub fn shown_mut(&mut self) -> impl Iterator<Item = (&Frame, &mut View)> {
        self.views.iter_mut().map(|(frame, view)| (&*frame, view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { width: 10, height: 4, format: 2, stride: 64, offset: 100 };

    #[test]
    fn a_frame_ends_with_its_last_pixel_and_not_with_its_last_stride() {
        let end = 100 + 3 * 64 + 40;
        assert!(FRAME.is_within(end) && !FRAME.is_within(end - 1));
        assert_eq!(FRAME.start_of(&Rect::new(3, 2, 1, 1)), 100 + 128 + 12);
    }

    #[test]
    fn absurd_frames_are_none() {
        let absurd = [
            Frame { width: 0, ..FRAME },
            Frame { height: 0, ..FRAME },
            Frame { width: MAX_SIDE + 1, stride: u32::MAX, ..FRAME },
            Frame { height: u32::MAX, stride: u32::MAX, offset: u32::MAX, ..FRAME },
            Frame { stride: 39, ..FRAME },
            Frame { format: 0, ..FRAME },
        ];
        for frame in absurd {
            assert!(!frame.is_within(u64::MAX), "{frame:?}");
        }
    }

    #[test]
    fn views_that_nobody_shows_make_room() {
        let budget = Budget::new(1 << 20);
        let create = CreateBlob {
            resource_id: crate::gpu::command::ResourceId(1),
            blob_mem: MEM_GUEST,
            blob_flags: 0,
            nr_entries: 1,
            blob_id: 0,
            size: 4096,
        };
        let mut blob = Blob::new(&create, &budget).unwrap();
        let shown = Rc::clone(blob.view(FRAME, &budget).unwrap().image());
        let one = budget.held() - OVERHEAD;
        blob.view(Frame { offset: 0, ..FRAME }, &budget).unwrap();
        blob.view(Frame { offset: 4, ..FRAME }, &budget).unwrap();
        assert_eq!(budget.held() - OVERHEAD, 2 * one);
        assert!(Rc::ptr_eq(blob.view(FRAME, &budget).unwrap().image(), &shown), "what is shown stays");
    }
}
