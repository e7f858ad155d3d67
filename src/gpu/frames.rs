//! A DMABUF on a scanout: which part is shown, and what of it the display has not been told to look at. No I/O.
//!
//! Damage is one rectangle, for the display gets no pixels: how much of them changed costs next to nothing.

use std::rc::Rc;

use super::command::ResourceId;
use super::dmabuf::Dmabuf;
use super::image::Image;
use super::rect::{Rect, enclose};
use super::tiles::{Sweep, TileMap};

/// What a scanout shows out of a DMABUF.
#[derive(Debug)]
pub struct Frames {
    /// The resource.
    pub id: ResourceId,
    /// Its pixels.
    pub buffer: Rc<Dmabuf>,
    /// The part that is shown, in resource coordinates.
    pub rect: Rect,
    /// The host copy whose memory the buffer is, if it is: who draws there tells what changed.
    pub image: Option<Rc<Image>>,
    /// What encloses all that changed and was not flushed; in a buffer that others draw into, all of it always may have.
    stale: Option<Rect>,
    /// What encloses all that was flushed and not told yet.
    due: Option<Rect>,
}

impl Frames {
    /// All of it is due.
    pub fn new(id: ResourceId, buffer: Rc<Dmabuf>, image: Option<Rc<Image>>, rect: Rect) -> Self {
        Self { id, buffer, rect, image, stale: None, due: Some(rect) }
    }

    /// Pixels changed within `rect`, in the tiles of `changed`.
    pub fn changed(&mut self, changed: &TileMap, rect: &Rect) {
        let Some(within) = rect.intersect(&self.rect) else { return };
        let mut sweep = Sweep::over(within);
        while let Some(part) = changed.next_rect(&mut sweep) {
            self.stale = Some(enclose(self.stale, &part));
        }
    }

    /// The guest wants the pixels of `rect`, in resource coordinates, to be seen.
    pub fn flush(&mut self, rect: Rect) {
        let stale = if self.image.is_some() { self.stale } else { Some(self.rect) };
        let Some(seen) = stale.and_then(|stale| stale.intersect(&rect.intersect(&self.rect)?)) else { return };
        self.due = Some(enclose(self.due, &seen));
        if self.stale == Some(seen) {
            self.stale = None;
        }
    }

    /// Whether the display is still to be told of something.
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What the display has to be told of next, in scanout coordinates; as told from then on.
    pub fn take_due(&mut self) -> Option<Rect> {
        self.due.take()?.relative_to(&self.rect)
    }
}
