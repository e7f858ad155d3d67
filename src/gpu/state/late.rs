//! What is shown of textures and blobs: read and put on its scanouts once the commands at hand are done.
//!
//! A page flip is two commands, SET_SCANOUT and RESOURCE_FLUSH, and both want the picture read: here it is read once. And
//! only after that is it compared with what the scanout showed before, so that no more is sent than has changed.
//!
//! It is read in bands, so that others get their turn between two of them; the answers and all commands that could change
//! what is read wait for the last one.

use std::rc::Rc;

use super::{FREED_AT_ONCE, State, flush_all, shown_on};
use crate::gpu::blob::Frame;
use crate::gpu::command::{Command, ResourceId, ScanoutId, Status};
use crate::gpu::image::Image;
use crate::gpu::rect::Rect;
use crate::gpu::resource::{Pixels, Resource};
use crate::gpu::tiles::TileMap;
use crate::gpu::view::View;

/// A cursor in a blob, which does not say how it lies there: 64 by 64 pixels, as QEMU has it.
const CURSOR: Frame = Frame { width: 64, height: 64, format: 1, stride: 64 * 4, offset: 0 };

/// Most pixels of a cursor that is a texture: each time it is set, all of it is read at once.
const MAX_CURSOR: u64 = 1 << 22;

/// What reading a band takes at the least, in pixels copied: the renderer has to come to an end with what it draws.
const WORK_OF_READING: u64 = 16 * 1024;

/// What is to be read and shown.
#[derive(Debug, Default)]
pub struct Late {
    /// The resources that have something to be read, each once ([`Resource::is_due`]).
    unread: Vec<ResourceId>,
    shows: Vec<Show>,
}

/// An image that is about to be put on a scanout.
#[derive(Debug)]
struct Show {
    scanout: ScanoutId,
    id: ResourceId,
    image: Rc<Image>,
    rect: Rect,
}

impl Late {
    /// Forgets it.
    pub fn clear(&mut self) {
        self.unread = Vec::new();
        self.shows.clear();
    }

    /// A view of that resource is to be read.
    fn read(&mut self, id: ResourceId, resource: &mut Resource) {
        if !std::mem::replace(&mut resource.is_due, true) {
            self.unread.push(id);
        }
    }
}

/// Whether what is to be read late may be read after `command`. All others may change it, or what it is shown on; a cursor
/// is read by itself.
pub fn goes_with_late(command: &Command) -> bool {
    matches!(command, Command::Flush { .. } | Command::MoveCursor { .. } | Command::UpdateCursor { .. })
}

impl State {
    /// Puts the part `rect` of a texture on a scanout.
    pub(super) fn show_late(&mut self, scanout: ScanoutId, id: ResourceId, rect: Rect) -> Result<(), Status> {
        if self.show_shared(scanout, id, rect) {
            return Ok(());
        }
        self.show_when_read(scanout, id, None, rect)
    }

    /// The same out of its own memory. `false` where that can't be.
    fn show_shared(&mut self, number: ScanoutId, id: ResourceId, rect: Rect) -> bool {
        let (Some(resource), Some(rendering)) = (self.resources.get_mut(&id), &mut self.rendering) else {
            return false;
        };
        let Some(buffer) = rendering.share(resource) else { return false };
        let Some(scanout) = self.scanouts.get_mut(number.0 as usize) else { return false };
        let before = scanout.resource();
        let shown = scanout.show_dmabuf(id, buffer, rect);
        if shown {
            scanout.flush_frame(rect);
            rendering.flush();
            self.shown_instead(number, before, id);
        }
        shown
    }

    /// The same by its host copy, of a blob as `frame`.
    pub(super) fn show_when_read(
        &mut self,
        scanout: ScanoutId,
        id: ResourceId,
        frame: Option<Frame>,
        rect: Rect,
    ) -> Result<(), Status> {
        let image = self.late_image(id, frame, &rect)?;
        let Self { resources, late, .. } = self;
        if let Some(resource) = resources.get_mut(&id) {
            late.read(id, resource);
        }
        late.shows.push(Show { scanout, id, image, rect });
        Ok(())
    }

    /// The part `rect` of a texture or a blob shall be seen. Whether something is read for that.
    pub(super) fn flush_late(&mut self, rect: Rect, id: ResourceId) -> bool {
        let Self { resources, scanouts, late, rendering, .. } = self;
        let Some(resource) = resources.get_mut(&id) else { return false };
        let bits = resource.shown_on;
        let mut frames = false;
        for scanout in shown_on(scanouts, bits) {
            frames |= scanout.flush_frame(rect);
        }
        if let Some(rendering) = rendering.as_mut().filter(|_| frames) {
            rendering.flush();
        }
        let mut is_due = false;
        for view in resource.views_mut() {
            if shown_on(scanouts, bits).any(|scanout| scanout.shows(view.image())) {
                view.note_unread(&rect);
                is_due = true;
            }
        }
        if is_due {
            late.read(id, resource);
        }
        is_due
    }

    /// The picture of a cursor.
    pub(super) fn cursor_image(&mut self, id: ResourceId) -> Result<Rc<Image>, Status> {
        let resource = self.resource(id)?;
        if !resource.is_read_late() {
            return resource.image().map(Rc::clone).ok_or(Status::ErrUnspec);
        }
        if resource.size().is_some_and(|size| size.area() > MAX_CURSOR) {
            return Err(Status::ErrInvalidParameter);
        }
        let image = self.late_image(id, Some(CURSOR), &Rect::of_size(u32::MAX, u32::MAX))?;
        while self.read_band(id) {}
        Ok(image)
    }

    /// A context has resource `id` no longer. A 2D resource that no other one has goes by its host copy alone again, once
    /// what contexts drew is read.
    pub(super) fn left_context(&mut self, id: ResourceId) {
        let Self { resources, late, .. } = self;
        let Some(resource) = resources.get_mut(&id) else { return };
        resource.contexts = resource.contexts.saturating_sub(1);
        if let (0, Pixels::Copy(view)) = (resource.contexts, &mut resource.pixels) {
            let all = view.image().rect();
            view.note_unread(&all);
            late.read(id, resource);
        }
    }

    /// The host copy of a resource that is read late, of which `rect` is to be read; of a blob, as `frame`.
    fn late_image(&mut self, id: ResourceId, frame: Option<Frame>, rect: &Rect) -> Result<Rc<Image>, Status> {
        let Self { resources, budget, .. } = self;
        let resource = resources.get_mut(&id).ok_or(Status::ErrInvalidResourceId)?;
        let view = match (&mut resource.pixels, frame) {
            (Pixels::Copy(view), _) => Ok(view),
            (Pixels::Texture(drawn), _) => drawn.view(budget),
            (Pixels::Blob(blob), Some(frame)) => blob.view(frame, budget),
            (Pixels::Blob(_), None) => Err(Status::ErrUnspec),
        }?;
        view.note_unread(rect);
        Ok(Rc::clone(view.image()))
    }

    /// Whether there is something to be read.
    pub fn is_settling(&self) -> bool {
        !self.late.unread.is_empty()
    }

    /// What is to be read, in pixels.
    pub fn unread(&mut self) -> u64 {
        let Self { resources, late, .. } = self;
        let unread =
            |id| resources.get_mut(id).map_or(0, |resource| resource.views_mut().map(|view| view.unread()).sum());
        late.unread.iter().map(unread).sum::<u64>()
    }

    /// Reads and shows what there is to. To be called before the answers reach the guest, who may draw anew then.
    pub fn settle(&mut self) {
        // No work is too much.
        let _ = self.settle_within(u64::MAX);
    }

    /// The same until the turn's [`State::work`] is as much as `work`. Whether all of it is done.
    #[must_use]
    pub fn settle_within(&mut self, work: u64) -> bool {
        while let Some(id) = self.late.unread.last().copied() {
            if self.work >= work {
                return false;
            }
            if !self.read_band(id) {
                self.late.unread.pop();
                self.is_read(id);
            }
        }
        let mut shows = std::mem::take(&mut self.late.shows);
        for Show { scanout: number, id, image, rect } in shows.drain(..) {
            // Without memory for its tile maps the scanout keeps what it shows.
            if self.show_image(number, id, &image, rect).is_ok() {
                flush_all(&mut self.scanouts, 1u16.checked_shl(number.0).unwrap_or(0), rect);
            }
        }
        self.late.shows = shows;
        true
    }

    /// Reads the next band of a resource. `false` where nothing is left to be read.
    fn read_band(&mut self, id: ResourceId) -> bool {
        let Self { resources, rendering, scanouts, bands, work, .. } = self;
        let Some(resource) = resources.get_mut(&id) else { return false };
        let shown = resource.shown_on;
        let show = |image: &Rc<Image>, changed: &mut TileMap, rect: &Rect| {
            for scanout in shown_on(scanouts, shown).filter(|scanout| scanout.shows(image)) {
                scanout.changed(changed, rect);
                scanout.flush(*rect);
            }
            changed.clear_all();
            image.written();
        };
        let read = match (&resource.pixels, rendering) {
            (Pixels::Blob(_), _) => resource.read_blob(bands, show),
            (_, Some(rendering)) => rendering.read_back(resource, bands, show),
            (_, None) => None,
        };
        *work += read.map_or(0, |pixels| pixels + WORK_OF_READING);
        read.is_some()
    }

    /// All of a resource is read that was to be.
    fn is_read(&mut self, id: ResourceId) {
        let Some(resource) = self.resources.get_mut(&id) else { return };
        resource.is_due = false;
        if resource.contexts == 0 {
            resource.drop_texture();
            self.trim(FREED_AT_ONCE);
        }
    }
}

impl crate::gpu::resource::Drawn {
    /// The host copy that it is shown by, made when it is first wanted.
    fn view(&mut self, budget: &Rc<crate::gpu::budget::Budget>) -> Result<&mut View, Status> {
        let view = match self.view.take() {
            Some(view) => view,
            None => View::new(self.format, self.width, self.height, budget)?,
        };
        Ok(self.view.insert(view))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::sys::memfd::{MFdFlags, memfd_create};
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::gpu::backing::{Backing, Entry};
    use crate::gpu::blob::{Blob, MEM_GUEST};
    use crate::gpu::command::{CreateBlob, SetScanoutBlob};
    use crate::gpu::scanout::Step;
    use crate::gpu::udmabuf::Exporter;
    use crate::gpu::view::BAND_PIXELS;
    use crate::vhost_proto::memory::GuestMemory;
    use crate::vhost_proto::wire::MemoryRegion;

    const SIDE: u32 = 2048;
    const SIZE: u32 = SIDE * SIDE * 4;
    const BLOB: ResourceId = ResourceId(1);
    const ON_SCREEN: SetScanoutBlob = SetScanoutBlob {
        rect: Rect::of_size(SIDE, SIDE),
        scanout_id: ScanoutId(0),
        resource_id: BLOB,
        width: SIDE,
        height: SIDE,
        format: 2,
        strides: [SIDE * 4, 0, 0, 0],
        offsets: [0; 4],
    };

    fn memory() -> GuestMemory {
        let mut memory = GuestMemory::default();
        let file = File::from(memfd_create("late", MFdFlags::empty()).unwrap());
        file.set_len(SIZE.into()).unwrap();
        memory
            .add(MemoryRegion { guest_addr: 0, size: SIZE.into(), user_addr: 0, mmap_offset: 0 }, file.into())
            .unwrap();
        memory
    }

    /// A guest with a blob that is larger than what is read at a time.
    fn with_blob(memory: &GuestMemory) -> State {
        let mut state = State::new(1 << 30, None);
        let (resource_id, size) = (BLOB, SIZE.into());
        let made = CreateBlob { resource_id, blob_mem: MEM_GUEST, blob_flags: 0, nr_entries: 1, blob_id: 0, size };
        let mut resource = Resource::new_blob(Blob::new(&made, &state.budget).unwrap());
        let backing = Backing::new(vec![Entry { addr: GuestAddress(0), len: SIZE }], memory).unwrap();
        resource.attach(backing, state.budget.charge(0).unwrap());
        state.resources.insert(BLOB, Box::new(resource));
        state
    }

    #[test]
    fn what_is_much_to_read_is_read_in_several_turns_and_shown_after_the_last() {
        let memory = memory();
        let mut state = with_blob(&memory);
        state.set_scanout_blob(&ON_SCREEN).unwrap();
        assert_eq!(state.unread(), u64::from(SIDE * SIDE));

        let mut turns = 0;
        loop {
            state.begin_turn();
            turns += 1;
            if state.settle_within(BAND_PIXELS.into()) {
                break;
            }
            assert!(state.is_settling() && state.scanouts[0].resource().is_none(), "turn {turns}");
            assert!(state.work() < 2 * u64::from(BAND_PIXELS), "turn {turns}");
        }
        assert_eq!(turns, SIDE * SIDE / BAND_PIXELS + 1);
        assert!(!state.is_settling());
        assert_eq!(state.scanouts[0].resource(), Some(BLOB));
    }

    #[test]
    fn what_was_read_in_bands_is_the_picture() {
        let memory = memory();
        let pixels: Vec<u8> = (0..SIZE).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 20) as u8).collect();
        memory.map().write_slice(&pixels, GuestAddress(0)).unwrap();
        let mut state = with_blob(&memory);
        state.set_scanout_blob(&ON_SCREEN).unwrap();
        while !state.settle_within(1) {
            state.begin_turn();
        }
        let view = state.resources.get_mut(&BLOB).unwrap().views_mut().next().unwrap();
        assert!(view.image().with_pixels(|read| read == pixels));
    }

    #[test]
    fn a_cursor_leaves_nothing_to_be_read() {
        let memory = memory();
        let mut state = with_blob(&memory);
        state.cursor_image(BLOB).unwrap();
        assert!(!state.is_settling());
        // While something else is due, that stays so.
        state.set_scanout_blob(&ON_SCREEN).unwrap();
        state.cursor_image(BLOB).unwrap();
        assert!(state.is_settling() && state.scanouts[0].resource().is_none());
        state.settle();
        assert_eq!(state.scanouts[0].resource(), Some(BLOB));
    }

    #[test]
    fn a_flush_of_what_is_read_late_waits_for_the_frame_before() {
        let memory = memory();
        let mut state = with_blob(&memory);
        state.export_by(Exporter::of_memfds());
        state.set_scanout_blob(&ON_SCREEN).unwrap();
        state.settle();
        let mut next = || state.scanouts[0].next_step(u32::MAX, true);
        assert!(matches!([next(), next()], [Some(Step::Buffer(..)), Some(Step::Frame(_))]));

        assert_eq!(state.flush(ON_SCREEN.rect, BLOB), Ok(1));
        state.settle();
        state.taken(1);
        assert_eq!(state.flush(ON_SCREEN.rect, BLOB), Ok(0));
    }
}
