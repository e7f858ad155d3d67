//! Transfers of 2D resources, done in bands while their answer waits (VIRTIO 1.3, 5.7.6.8, TRANSFER_TO_HOST_2D).

use super::{State, flush_all, shown_on};
use crate::gpu::command::{Command, ResourceId, ScanoutId, Status};
use crate::gpu::rect::Rect;
use crate::gpu::resource::Pixels;
use crate::gpu::tiles::TILE_H;

/// A transfer under way. The guest does not see its answer before it is done, so it may be done in bands, each shown
/// while it is still in the cache.
#[derive(Debug)]
pub(super) struct Pull {
    id: ResourceId,
    /// What is left of it.
    rect: Rect,
    /// Where in the backing that begins.
    offset: u64,
    /// What the guest wants seen of the resource, once it is there.
    flush: Option<Rect>,
}

/// Pixels of a band of a transfer, at the least; whole rows of tiles.
const BAND_PIXELS: u32 = 32 * 1024;

impl State {
    /// Whether a scanout goes from one buffer to another that it, or its like, showed before. Then few pixels, or those
    /// of the transfer under way, differ. Else all of it is due at once: the pixels should be there, or those of before
    /// the transfer would be sent first.
    pub(super) fn is_flip(&self, rect: Rect, scanout_id: ScanoutId, id: ResourceId) -> bool {
        let scanout = self.scanouts.get(scanout_id.0 as usize);
        let resource = self.resources.get(&id).filter(|resource| resource.was_shown && !resource.is_read_late());
        let image = resource.and_then(|resource| resource.image());
        scanout.zip(image).is_some_and(|(scanout, image)| scanout.can_flip_to(image, rect))
    }

    /// Leaves it to the transfer under way to show `rect` as it gets there, if that brings this resource's pixels.
    pub(super) fn flush_with_pull(&mut self, rect: Rect, id: ResourceId) -> bool {
        let Some(pull) = self.pull.as_mut().filter(|pull| pull.id == id) else { return false };
        pull.flush.get_or_insert(rect);
        true
    }

    /// Whether `command` can be executed while a transfer is under way: it has no use for the pixels that are not there
    /// yet, or can be shown along with them.
    pub fn goes_with_pull(&self, command: &Command) -> bool {
        let Some(pull) = &self.pull else { return true };
        match *command {
            // What is read late is read from the renderer, which has to have the pixels first.
            Command::Flush { rect, resource_id } => {
                resource_id != pull.id || pull.shows(&rect) && !self.is_read_late(resource_id)
            }
            Command::SetScanout { rect, scanout_id, resource_id } => {
                self.is_flip(rect, scanout_id, resource_id) && (resource_id != pull.id || pull.shows(&rect))
            }
            // They may use any resource that the renderer has.
            Command::Submit3d { .. } | Command::TransferToHost3d(_) | Command::TransferFromHost3d(_) => {
                self.resources.get(&pull.id).is_none_or(|resource| resource.texture.is_none())
            }
            Command::Unref { resource_id }
            | Command::CtxAttachResource { resource_id }
            | Command::AttachBacking { resource_id, .. }
            | Command::DetachBacking { resource_id }
            | Command::UpdateCursor { resource_id, .. } => resource_id != pull.id,
            Command::TransferToHost2d { .. } => false,
            _ => true,
        }
    }

    fn is_read_late(&self, id: ResourceId) -> bool {
        self.resources.get(&id).is_some_and(|resource| resource.is_read_late())
    }

    /// What is left of the transfer under way, in pixels.
    pub fn pull_left(&self) -> u64 {
        self.pull.as_ref().map_or(0, |pull| pull.rect.area())
    }

    pub(super) fn transfer(&mut self, rect: Rect, offset: u64, id: ResourceId) -> Result<(), Status> {
        let resource = self.resource(id)?;
        if !matches!(resource.pixels, Pixels::Copy(_)) {
            return self.transfer_2d_of_other(rect, offset, id);
        }
        resource.check_transfer(&rect, offset)?;
        if resource.is_shared() {
            if resource.is_in_place(&rect, offset) {
                return Ok(());
            }
            self.unshare(id);
        }
        if !rect.is_empty() {
            self.pull = Some(Pull { id, rect, offset, flush: None });
        }
        Ok(())
    }

    /// Whether a transfer is under way.
    pub fn is_pulling(&self) -> bool {
        self.pull.is_some()
    }

    /// Does all that is left of the transfer under way.
    pub fn finish_pull(&mut self) {
        while self.pull_band() {}
    }

    /// Does the next band of the transfer under way and shows what was flushed of it. `false` where there is none.
    pub fn pull_band(&mut self) -> bool {
        let Some(pull) = &mut self.pull else { return false };
        let Some(resource) = self.resources.get_mut(&pull.id) else {
            self.pull = None;
            return false;
        };
        let shown = resource.shown_on;
        if pull.rect.is_empty() {
            resource.image().iter().for_each(|image| image.written());
            if let Some(flush) = pull.flush {
                flush_all(&mut self.scanouts, shown, flush);
            }
            self.pull = None;
            return false;
        }
        let band = pull.next_band();
        let offset = pull.offset;
        let stride = resource.image().map_or(0, |image| image.stride());
        pull.offset += stride as u64 * u64::from(band.height);
        self.work += band.area();
        self.bands += 1;
        if let Some(changed) = resource.transfer(&band, offset, self.bands)
            && !changed.is_empty()
        {
            for scanout in shown_on(&mut self.scanouts, shown) {
                scanout.changed(changed, &band);
                if let Some(seen) = pull.flush.and_then(|flush| flush.intersect(&band)) {
                    scanout.flush_part(seen);
                }
            }
            changed.clear_all();
        }
        if let Some(rendering) = &mut self.rendering {
            rendering.bring_over(resource, &band);
        }
        true
    }
}

impl Pull {
    /// Whether it can show `rect` as it gets there: it shows one rectangle.
    fn shows(&self, rect: &Rect) -> bool {
        self.flush.is_none_or(|flush| flush.contains(rect))
    }

    /// Cuts the next band off: it ends at a tile's edge.
    fn next_band(&mut self) -> Rect {
        let rows = BAND_PIXELS.checked_div(self.rect.width).unwrap_or(1).next_multiple_of(TILE_H).max(TILE_H);
        self.rect.cut_top(rows - self.rect.y % TILE_H)
    }
}
