//! What one scanout shows and what its display still has to be told. No I/O.
//!
//! Pixels have two tile maps, in resource coordinates: `stale` is where the display's pixels may differ from the resource's
//! host copy; `due` is what the guest has flushed of that and the display has not got yet. Each comes with a rectangle that
//! encloses it: tiles alone would say too much. While a display is slow, `due` grows together and the newest pixels go
//! out later.
//!
//! A DMABUF ([`Frames`]) is handed over once, and then the display is told to look at it anew. It says when it did, and until
//! then is told nothing of the next frame, nor given another buffer: so nobody draws ahead of it, and no more than one buffer
//! of a scanout is on its way, however fast a guest changes them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::command::{ResourceId, Status};
use super::dmabuf::Dmabuf;
use super::frames::Frames;
use super::image::{self, Image};
use super::rect::{Rect, enclose};
use super::tiles::{Sweep, TILE_H, TILE_W, TileMap};

/// How long a guest waits for a display that does not take a frame: as long as QEMU does before it says that a window
/// hangs.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What is on a scanout.
#[derive(Debug)]
enum Content {
    Pixels(Shown),
    Frames(Frames),
}

/// What the present display was told to show; an update without it crashes QEMU.
#[derive(Debug, Default)]
enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// A surface of this size.
    Surface(u32, u32),
    /// Part of a buffer. `new`: no frame of it was sent yet. The host copy is kept (and counted) for as long as the display
    /// has its memory.
    Buffer { buffer: Rc<Dmabuf>, rect: Rect, new: bool, _image: Option<Rc<Image>> },
    /// To let its buffer go: what it shows now is of no use.
    Release,
}

/// A resource on a scanout that is shown by its pixels.
#[derive(Debug)]
struct Shown {
    id: ResourceId,
    image: Rc<Image>,
    /// The part that is shown, in resource coordinates.
    rect: Rect,
    stale: TileMap,
    /// What encloses all that is stale.
    stale_within: Option<Rect>,
    due: TileMap,
    /// What encloses all that became due since the sweep began.
    due_within: Option<Rect>,
    /// The walk over what is due, while it lasts.
    sweep: Option<Sweep>,
}

/// One scanout.
#[derive(Debug, Default)]
pub struct Scanout {
    content: Option<Content>,
    told: Told,
    /// The update that may not be wholly sent yet.
    under_way: Option<Rect>,
    /// Since when the display has a frame that it has not taken.
    frame_out: Option<Instant>,
}

/// The next thing to tell the display about a scanout.
#[derive(Debug)]
pub enum Step {
    /// Make a new surface of this size; 0×0 for none.
    Surface(u32, u32),
    /// These pixels changed.
    Update {
        /// Where, in scanout coordinates.
        at: Rect,
        /// The pixels, in resource coordinates.
        from: Rect,
        /// Their image.
        image: Rc<Image>,
    },
    /// Show this part of this buffer from now on.
    Buffer(Rc<Dmabuf>, Rect),
    /// This part of the buffer changed, in scanout coordinates. The display says when it took it: [`Scanout::taken`].
    Frame(Rect),
    /// Let the buffer go.
    Release,
}

impl Scanout {
    /// The resource that it shows.
    pub fn resource(&self) -> Option<ResourceId> {
        match self.content.as_ref()? {
            Content::Pixels(shown) => Some(shown.id),
            Content::Frames(frames) => Some(frames.id),
        }
    }

    /// Whether it shows this image, or a part of it.
    pub fn shows(&self, image: &Rc<Image>) -> bool {
        match &self.content {
            Some(Content::Pixels(shown)) => Rc::ptr_eq(&shown.image, image),
            Some(Content::Frames(frames)) => frames.image.as_ref().is_some_and(|shown| Rc::ptr_eq(shown, image)),
            None => false,
        }
    }

    /// The part of it that is shown.
    pub fn shown_rect(&self) -> Option<Rect> {
        match self.content.as_ref()? {
            Content::Pixels(shown) => Some(shown.rect),
            Content::Frames(frames) => Some(frames.rect),
        }
    }

    /// Whether the part `rect` of `image` can take the place of what is shown without all of it being sent.
    pub fn can_flip_to(&self, image: &Image, rect: Rect) -> bool {
        let Some(Content::Pixels(shown)) = &self.content else { return false };
        shown.rect == rect && shown.image.rect() == image.rect()
    }

    /// Shows the part `rect` of a resource from now on, once that is flushed. What the display already has of the same
    /// pixels in the same places (page flipping between buffers that differ in little) is not sent again. Returns how many
    /// tiles were read to find out.
    ///
    /// # Errors
    /// No memory for the tile maps; what was shown stays.
    pub fn show(&mut self, id: ResourceId, image: &Rc<Image>, rect: Rect) -> Result<u64, Status> {
        let mut read = 0;
        match &mut self.content {
            Some(Content::Pixels(shown)) if Rc::ptr_eq(&shown.image, image) && shown.rect == rect => {}
            Some(Content::Pixels(shown)) if shown.image.rect() == image.rect() && shown.rect == rect => {
                read = image::mark_difference(&shown.image, image, &mut shown.stale);
                if let Some(under_way) = self.under_way {
                    // The rest of it is read from the old image, which the guest may draw into from now on.
                    shown.stale.mark_rect(&under_way);
                }
                shown.stale_within = Some(image.rect());
                shown.id = id;
                shown.image = Rc::clone(image);
            }
            other => *other = Some(Content::Pixels(Shown::new(id, image, rect).ok_or(Status::ErrOutOfMemory)?)),
        }
        Ok(read)
    }

    /// Shows the part `rect` of a resource from now on, out of a buffer that others draw into. `false`, and nothing done,
    /// where a display can't be told of that part ([`Dmabuf::seen_as`]): its pixels have to be shown.
    #[must_use]
    pub fn show_dmabuf(&mut self, id: ResourceId, buffer: Rc<Dmabuf>, rect: Rect) -> bool {
        self.show_frames(Frames::new(id, buffer, None, rect))
    }

    /// The same out of `buffer` that is the memory of `image`: only what changed there is told.
    #[must_use]
    pub fn show_exported(&mut self, id: ResourceId, image: &Rc<Image>, buffer: Rc<Dmabuf>, rect: Rect) -> bool {
        self.show_frames(Frames::new(id, buffer, Some(Rc::clone(image)), rect))
    }

    fn show_frames(&mut self, new: Frames) -> bool {
        if new.buffer.seen_as(&new.rect).is_none() {
            return false;
        }
        match &mut self.content {
            Some(Content::Frames(frames)) if Rc::ptr_eq(&frames.buffer, &new.buffer) && frames.rect == new.rect => {
                frames.id = new.id;
            }
            content => *content = Some(Content::Frames(new)),
        }
        true
    }

    /// Shows nothing from now on.
    pub fn disable(&mut self) {
        self.content = None;
    }

    /// As new: the device was reset, and so was the display's surface. What it has of buffers and frames it still has.
    pub fn reset(&mut self) {
        let told = match std::mem::take(&mut self.told) {
            Told::Surface(..) => Told::Nothing,
            other => other,
        };
        *self = Self { told, frame_out: self.frame_out, ..Self::default() };
    }

    /// The resource's pixels changed within `rect`, in the tiles of `changed`.
    pub fn changed(&mut self, changed: &TileMap, rect: &Rect) {
        match &mut self.content {
            Some(Content::Pixels(shown)) => {
                // They are maps of the same image.
                let _ = shown.stale.union_with(changed);
                shown.stale_within = Some(enclose(shown.stale_within, rect));
            }
            Some(Content::Frames(frames)) => frames.changed(changed, rect),
            None => {}
        }
    }

    /// The guest wants the pixels of `rect`, in resource coordinates, to be seen.
    pub fn flush(&mut self, rect: Rect) {
        match &mut self.content {
            Some(Content::Pixels(shown)) => shown.flush(rect),
            Some(Content::Frames(frames)) => frames.flush(rect),
            None => {}
        }
    }

    /// The same where it is shown out of a buffer that others draw into: nothing is to be read before.
    pub fn flush_frame(&mut self, rect: Rect) -> bool {
        match &mut self.content {
            Some(Content::Frames(frames)) if frames.image.is_none() => {
                frames.flush(rect);
                true
            }
            _ => false,
        }
    }

    /// The same of a part that is there before the rest of the picture: pixels can go ahead, a frame is shown whole.
    pub fn flush_part(&mut self, rect: Rect) {
        if let Some(Content::Pixels(shown)) = &mut self.content {
            shown.flush(rect);
        }
    }

    /// A new display that was told nothing yet.
    pub fn new_display(&mut self) {
        self.told = Told::Nothing;
        self.under_way = None;
        self.frame_out = None;
    }

    /// The display got all that [`Scanout::next_step`] gave.
    pub fn sent(&mut self) {
        self.under_way = None;
    }

    /// Whether the display has a frame that it has not taken, so that the next one has to wait.
    pub fn is_waiting(&self) -> bool {
        self.frame_out.is_some()
    }

    /// Whether a guest that wants the next frame to be seen should wait as well, so that it does not draw faster than frames
    /// are shown: the display has not taken the last one, and is not known to hang. With `draws` more pixels are on their
    /// way to what is shown, and count as due.
    pub fn holds_guest(&self, draws: bool) -> bool {
        self.waits_with(draws) == Some(false)
    }

    /// Whether the next frame has been waiting for the display to take the last one for longer than anybody should.
    pub fn misses_frame(&self) -> bool {
        self.waits_with(false) == Some(true)
    }

    /// Where the next frame waits: whether too long.
    fn waits_with(&self, draws: bool) -> Option<bool> {
        let due = matches!(&self.content, Some(Content::Frames(frames)) if draws || frames.is_due());
        self.frame_out.filter(|_| due).map(|since| since.elapsed() >= PATIENCE)
    }

    /// The display took the frame.
    pub fn taken(&mut self) {
        self.frame_out = None;
    }

    /// What to tell the display next, as told from then on: updates have at most `max_pixels`, and whole rows. Buffers are
    /// handed over only where the display `takes_buffers` already.
    pub fn next_step(&mut self, max_pixels: u32, takes_buffers: bool) -> Option<Step> {
        if let Told::Buffer { rect, new, .. } = &mut self.told
            && std::mem::take(new)
        {
            // Whatever is to be shown by now: the answer to this frame says that the buffer has arrived.
            return Some(send_frame(&mut self.frame_out, Rect::of_size(rect.width, rect.height)));
        }
        match &mut self.content {
            None => self.next_of_nothing(),
            Some(Content::Frames(_)) if self.frame_out.is_some() || !takes_buffers => None,
            Some(Content::Frames(frames)) => match &self.told {
                Told::Buffer { buffer, rect, .. } if Rc::ptr_eq(buffer, &frames.buffer) && *rect == frames.rect => {
                    Some(send_frame(&mut self.frame_out, frames.take_due()?))
                }
                _ => {
                    // All of it comes next.
                    frames.take_due();
                    let (buffer, rect) = (Rc::clone(&frames.buffer), frames.rect);
                    let step = Step::Buffer(Rc::clone(&buffer), rect);
                    self.told = Told::Buffer { buffer, rect, new: true, _image: frames.image.clone() };
                    Some(step)
                }
            },
            Some(Content::Pixels(shown)) => {
                let (width, height) = (shown.rect.width, shown.rect.height);
                match self.told {
                    Told::Surface(w, h) if (w, h) == (width, height) => {
                        let from = shown.next_band(max_pixels)?;
                        let at = from.relative_to(&shown.rect)?;
                        self.under_way = Some(from);
                        Some(Step::Update { at, from, image: Rc::clone(&shown.image) })
                    }
                    Told::Buffer { .. } => Some(self.release()),
                    Told::Nothing | Told::Surface(..) | Told::Release => {
                        self.told = Told::Surface(width, height);
                        shown.begin_anew();
                        Some(Step::Surface(width, height))
                    }
                }
            }
        }
    }

    fn next_of_nothing(&mut self) -> Option<Step> {
        match self.told {
            Told::Nothing => None,
            Told::Buffer { .. } => Some(self.release()),
            Told::Surface(..) | Told::Release => {
                self.told = Told::Nothing;
                Some(Step::Surface(0, 0))
            }
        }
    }

    fn release(&mut self) -> Step {
        self.told = Told::Release;
        Step::Release
    }
}

fn send_frame(frame_out: &mut Option<Instant>, rect: Rect) -> Step {
    *frame_out = Some(Instant::now());
    Step::Frame(rect)
}

impl Shown {
    /// All of it is due as soon as it is shown: the display has nothing of it.
    fn new(id: ResourceId, image: &Rc<Image>, rect: Rect) -> Option<Self> {
        let map = || TileMap::new(image.width(), image.height());
        let (stale, due) = (map()?, map()?);
        let image = Rc::clone(image);
        let mut shown = Self { id, image, rect, stale, stale_within: None, due, due_within: None, sweep: None };
        shown.begin_anew();
        Some(shown)
    }

    /// The display has nothing of it (any more).
    fn begin_anew(&mut self) {
        self.sweep = None;
        self.stale.set_all();
        self.stale_within = Some(self.image.rect());
        self.flush(self.rect);
    }

    fn flush(&mut self, rect: Rect) {
        let Some(damage) = self.stale_within.and_then(|stale| stale.intersect(&self.rect)) else { return };
        let Some(seen) = rect.intersect(&damage) else { return };
        if self.stale.is_empty() {
            return;
        }
        if self.sweep.is_none() && self.due_within.is_none() {
            // Tiles of which the last sweep could take a part only.
            self.due.clear_all();
        }
        self.due.union_within(&self.stale, &seen);
        self.due_within = Some(enclose(self.due_within, &seen));
        if seen == damage {
            self.stale.clear_all();
            self.stale_within = None;
        } else {
            // A tile that sticks out of the scanout is settled once all of it that is seen is.
            self.stale.unmark_covered(&grown(&seen, &self.rect));
        }
    }

    /// The next piece of what is due, as taken from then on.
    fn next_band(&mut self, max_pixels: u32) -> Option<Rect> {
        loop {
            let sweep = match &mut self.sweep {
                Some(sweep) => sweep,
                None => self.sweep.insert(Sweep::over(self.due_within.take()?)),
            };
            if let Some(band) = self.due.take_band(sweep, max_pixels) {
                return Some(band);
            }
            self.sweep = None;
        }
    }
}

/// `rect` with those of its edges that lie on `bounds` moved out to the next tile's edge.
fn grown(rect: &Rect, bounds: &Rect) -> Rect {
    let down = |value: u32, tile: u32| value / tile * tile;
    let up = |value: u64, tile: u32| value.next_multiple_of(u64::from(tile));
    let x = if rect.x == bounds.x { down(rect.x, TILE_W) } else { rect.x };
    let y = if rect.y == bounds.y { down(rect.y, TILE_H) } else { rect.y };
    let right = if rect.right() == bounds.right() { up(rect.right(), TILE_W) } else { rect.right() };
    let bottom = if rect.bottom() == bounds.bottom() { up(rect.bottom(), TILE_H) } else { rect.bottom() };
    let length = |end: u64, start: u32| u32::try_from(end.saturating_sub(u64::from(start))).unwrap_or(u32::MAX);
    Rect::new(x, y, length(right, x), length(bottom, y))
}

#[cfg(test)]
mod tests;
