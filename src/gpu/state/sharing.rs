//! 2D resources that a display is shown in place: in their host copy's memory, or in the guest's own pages.

use std::rc::Rc;

use super::{State, shown_on};
use crate::gpu::command::{ResourceId, ScanoutId, Status};
use crate::gpu::image::Image;
use crate::gpu::rect::Rect;
use crate::gpu::scanout::Scanout;
use crate::gpu::tiles::{TILE_H, TILE_W};

impl State {
    /// Puts the part `rect` of `image`, the host copy of resource `id`, on a scanout: in place, or as pixels.
    ///
    /// # Errors
    /// No memory for what a scanout has to know; it keeps what it shows.
    pub(super) fn show_image(
        &mut self,
        number: ScanoutId,
        id: ResourceId,
        image: &Rc<Image>,
        rect: Rect,
    ) -> Result<(), Status> {
        let Self { scanouts, exporter, work, .. } = self;
        let scanout = scanouts.get_mut(number.0 as usize).ok_or(Status::ErrInvalidScanoutId)?;
        let before = scanout.resource();
        let buffer = exporter.as_ref().and_then(|exporter| {
            *work += if image.export_is_known() { 0 } else { image.rect().area() };
            image.export(exporter)
        });
        if !buffer.is_some_and(|buffer| scanout.show_exported(id, image, buffer, rect)) {
            *work += scanout.show(id, image, rect)? * u64::from(TILE_W * TILE_H);
        }
        self.shown_instead(number, before, id);
        Ok(())
    }

    /// Displays no longer show the guest's own pages of this resource, if they do, but a copy.
    pub(super) fn unshare(&mut self, id: ResourceId) {
        let Some(resource) = self.resources.get_mut(&id).filter(|resource| resource.is_shared()) else { return };
        self.bands += 1;
        self.work += resource.size().map_or(0, |size| size.area());
        resource.unshare(self.bands);
        let Some(image) = resource.image().map(Rc::clone) else { return };
        let bits = resource.shown_on;
        for number in (0..).map(ScanoutId).take(self.scanouts.len()).filter(|number| bits & 1 << number.0 != 0) {
            let shown = self.scanouts.get(number.0 as usize).and_then(Scanout::shown_rect);
            let Some(rect) = shown else { continue };
            // Without the memory for it what is shown stays: the display has the pages still.
            let _ = self.show_image(number, id, &image, rect);
            shown_on(&mut self.scanouts, 1 << number.0).for_each(|scanout| scanout.flush(rect));
        }
    }
}
