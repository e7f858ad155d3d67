//! What is shown of textures and blobs: read and put on its scanouts once the commands at hand are done.
//!
//! A page flip is two commands, SET_SCANOUT and RESOURCE_FLUSH, and both want the picture read: here it is read once. And
//! only after that is it compared with what the scanout showed before, so that no more is sent than has changed.

use std::rc::Rc;

use super::{State, flush_all, shown_on};
use crate::gpu::blob::Frame;
use crate::gpu::command::{Command, ResourceId, ScanoutId, Status};
use crate::gpu::image::Image;
use crate::gpu::rect::Rect;
use crate::gpu::resource::Pixels;
use crate::gpu::tiles::TileMap;
use crate::gpu::view::View;

/// A cursor in a blob, which does not say how it lies there: 64 by 64 pixels, as QEMU has it.
const CURSOR: Frame = Frame { width: 64, height: 64, format: 1, stride: 64 * 4, offset: 0 };

/// What is to be read and shown.
#[derive(Debug, Default)]
pub struct Late {
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
        self.unread.clear();
        self.shows.clear();
    }

    /// A view of that resource is to be read.
    pub fn read(&mut self, id: ResourceId) {
        if !self.unread.contains(&id) {
            self.unread.push(id);
        }
    }
}

/// Whether what is to be read late may be read after `command`. All others may change it, or what it is shown on.
pub fn goes_with_late(command: &Command) -> bool {
    matches!(command, Command::Flush { .. } | Command::MoveCursor { .. })
}

impl State {
    /// Puts the part `rect` of a texture on a scanout.
    pub(super) fn show_late(&mut self, scanout: ScanoutId, id: ResourceId, rect: Rect) -> Result<(), Status> {
        if self.show_shared(scanout, id, rect) {
            return Ok(());
        }
        let image = self.late_image(id, None, &rect)?;
        self.late.shows.push(Show { scanout, id, image, rect });
        Ok(())
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

    /// The part `rect` of a texture or a blob shall be seen.
    pub(super) fn flush_late(&mut self, rect: Rect, id: ResourceId) {
        let Self { resources, scanouts, late, rendering, .. } = self;
        let Some(resource) = resources.get_mut(&id) else { return };
        let bits = resource.shown_on;
        let mut frames = false;
        for scanout in shown_on(scanouts, bits) {
            frames |= scanout.flush_frame(rect);
        }
        if let Some(rendering) = rendering.as_mut().filter(|_| frames) {
            rendering.flush();
        }
        for view in resource.views_mut() {
            if shown_on(scanouts, bits).any(|scanout| scanout.shows(view.image())) {
                view.note_unread(&rect);
                late.read(id);
            }
        }
    }

    /// Puts the part `rect` of a blob on a scanout, as `frame`.
    pub(super) fn show_blob_late(
        &mut self,
        scanout: ScanoutId,
        id: ResourceId,
        frame: Frame,
        rect: Rect,
    ) -> Result<(), Status> {
        let image = self.late_image(id, Some(frame), &rect)?;
        self.late.shows.push(Show { scanout, id, image, rect });
        Ok(())
    }

    /// The picture of a cursor.
    pub(super) fn cursor_image(&mut self, id: ResourceId) -> Result<Rc<Image>, Status> {
        let resource = self.resource(id)?;
        if resource.is_read_late() {
            let image = self.late_image(id, Some(CURSOR), &Rect::of_size(u32::MAX, u32::MAX))?;
            self.settle();
            return Ok(image);
        }
        resource.image().map(Rc::clone).ok_or(Status::ErrUnspec)
    }

    /// The host copy of a resource that is read late, of which `rect` shall be read; of a blob, as `frame`.
    fn late_image(&mut self, id: ResourceId, frame: Option<Frame>, rect: &Rect) -> Result<Rc<Image>, Status> {
        let budget = Rc::clone(&self.budget);
        let resource = self.resource(id)?;
        let view = match (&mut resource.pixels, frame) {
            (Pixels::Copy(view), _) => Ok(view),
            (Pixels::Texture(drawn), _) => drawn.view(&budget),
            (Pixels::Blob(blob), Some(frame)) => blob.view(frame, &budget),
            (Pixels::Blob(_), None) => Err(Status::ErrUnspec),
        };
        let image = view.map(|view| {
            view.note_unread(rect);
            Rc::clone(view.image())
        });
        let image = self.complain(image)?;
        self.late.read(id);
        Ok(image)
    }

    /// Reads and shows what there is to. To be called before the answers reach the guest, who may draw anew then.
    pub fn settle(&mut self) {
        if self.late.unread.is_empty() {
            return;
        }
        let mut unread = std::mem::take(&mut self.late.unread);
        for id in unread.drain(..) {
            self.read_late(id);
        }
        self.late.unread = unread;
        let mut shows = std::mem::take(&mut self.late.shows);
        for Show { scanout: number, id, image, rect } in shows.drain(..) {
            // Without memory for its tile maps the scanout keeps what it shows.
            if self.show_image(number, id, &image, rect).is_ok() {
                flush_all(&mut self.scanouts, 1u16.checked_shl(number.0).unwrap_or(0), rect);
            }
        }
        self.late.shows = shows;
    }

    fn read_late(&mut self, id: ResourceId) {
        let Self { resources, rendering, scanouts, bands, work, .. } = self;
        let Some(resource) = resources.get_mut(&id) else { return };
        let shown = resource.shown_on;
        let show = |image: &Rc<Image>, changed: &mut TileMap, rect: &Rect| {
            for scanout in shown_on(scanouts, shown).filter(|scanout| scanout.shows(image)) {
                scanout.changed(changed, rect);
                scanout.flush(*rect);
            }
            changed.clear_all();
            image.written();
        };
        *work += match (&resource.pixels, rendering) {
            (Pixels::Blob(_), _) => resource.read_blob(bands, show),
            (_, Some(rendering)) => rendering.read_back(resource, bands, show),
            (_, None) => 0,
        };
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
