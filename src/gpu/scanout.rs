//! What one scanout shows and what its display still has to be told. No I/O.
//!
//! Two tile maps, in resource coordinates: `stale` is where the display's pixels may differ from the resource's host
//! copy; `due` is what the guest has flushed of that and the display has not got yet. Each comes with a rectangle that
//! encloses it: tiles alone would say too much. While a display is slow, `due` grows together and the newest pixels go
//! out later.

use std::rc::Rc;

use super::command::{ResourceId, Status};
use super::rect::Rect;
use super::resource::{self, Image};
use super::tiles::{Sweep, TILE_H, TILE_W, TileMap};

/// The resource on a scanout.
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
    shown: Option<Shown>,
    /// The size of the surface that the present display was told to make; an update without one crashes QEMU.
    surface: Option<(u32, u32)>,
    /// The update that may not be wholly sent yet.
    under_way: Option<Rect>,
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
}

impl Scanout {
    /// The resource that it shows.
    pub fn resource(&self) -> Option<ResourceId> {
        self.shown.as_ref().map(|shown| shown.id)
    }

    /// Whether it shows this image, or a part of it.
    pub fn shows(&self, image: &Rc<Image>) -> bool {
        self.shown.as_ref().is_some_and(|shown| Rc::ptr_eq(&shown.image, image))
    }

    /// Whether the part `rect` of `image` can take the place of what is shown without all of it being sent.
    pub fn can_flip_to(&self, image: &Image, rect: Rect) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.rect == rect && shown.image.rect() == image.rect())
    }

    /// Shows the part `rect` of a resource from now on, once that is flushed. What the display already has of the same
    /// pixels in the same places (page flipping between buffers that differ in little) is not sent again. Returns how many
    /// tiles were read to find out.
    ///
    /// # Errors
    /// No memory for the tile maps; what was shown stays.
    pub fn show(&mut self, id: ResourceId, image: &Rc<Image>, rect: Rect) -> Result<u64, Status> {
        let mut read = 0;
        match &mut self.shown {
            Some(shown) if Rc::ptr_eq(&shown.image, image) && shown.rect == rect => {}
            Some(shown) if shown.image.rect() == image.rect() && shown.rect == rect => {
                read = resource::mark_difference(&shown.image, image, &mut shown.stale);
                if let Some(under_way) = self.under_way {
                    // The rest of it is read from the old image, which the guest may draw into from now on.
                    shown.stale.mark_rect(&under_way);
                }
                shown.stale_within = Some(image.rect());
                shown.id = id;
                shown.image = Rc::clone(image);
            }
            other => *other = Some(Shown::new(id, image, rect).ok_or(Status::ErrOutOfMemory)?),
        }
        Ok(read)
    }

    /// Shows nothing from now on.
    pub fn disable(&mut self) {
        self.shown = None;
    }

    /// As new: the device was reset, and so was the display's surface.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The resource's pixels changed within `rect`, in the tiles of `changed`.
    pub fn changed(&mut self, changed: &TileMap, rect: &Rect) {
        if let Some(shown) = &mut self.shown {
            // They are maps of the same image.
            let _ = shown.stale.union_with(changed);
            shown.stale_within = Some(enclose(shown.stale_within, rect));
        }
    }

    /// The guest wants the pixels of `rect`, in resource coordinates, to be seen.
    pub fn flush(&mut self, rect: Rect) {
        if let Some(shown) = &mut self.shown {
            shown.flush(rect);
        }
    }

    /// A new display that was told nothing yet.
    pub fn new_display(&mut self) {
        self.surface = None;
        self.under_way = None;
    }

    /// The display got all that [`Scanout::next_step`] gave.
    pub fn sent(&mut self) {
        self.under_way = None;
    }

    /// What to tell the display next, as told from then on: updates have at most `max_pixels`, and whole rows.
    pub fn next_step(&mut self, max_pixels: u32) -> Option<Step> {
        let size = self.shown.as_ref().map(|shown| (shown.rect.width, shown.rect.height));
        if self.surface != size {
            self.surface = size;
            if let Some(shown) = &mut self.shown {
                shown.begin_anew();
            }
            let (width, height) = size.unwrap_or_default();
            return Some(Step::Surface(width, height));
        }
        let shown = self.shown.as_mut()?;
        let from = shown.next_band(max_pixels)?;
        let at = from.relative_to(&shown.rect)?;
        self.under_way = Some(from);
        Some(Step::Update { at, from, image: Rc::clone(&shown.image) })
    }
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

/// The smallest rectangle that holds both.
fn enclose(a: Option<Rect>, b: &Rect) -> Rect {
    let Some(a) = a else { return *b };
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = a.right().max(b.right()).saturating_sub(u64::from(x));
    let bottom = a.bottom().max(b.bottom()).saturating_sub(u64::from(y));
    Rect::new(x, y, u32::try_from(right).unwrap_or(u32::MAX), u32::try_from(bottom).unwrap_or(u32::MAX))
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
mod tests {
    use super::*;
    use crate::gpu::budget::Budget;

    const ALL: u32 = u32::MAX;

    fn image(width: u32, height: u32) -> Rc<Image> {
        Image::new(width, height, &Budget::new(1 << 30)).unwrap()
    }

    /// What the display is told: a surface's size, or an update's place there and in the resource.
    fn told(scanout: &mut Scanout, max_pixels: u32) -> Vec<(Rect, Option<Rect>)> {
        let steps = std::iter::from_fn(|| scanout.next_step(max_pixels));
        steps
            .map(|step| match step {
                Step::Surface(width, height) => (Rect::of_size(width, height), None),
                Step::Update { at, from, .. } => (at, Some(from)),
            })
            .collect()
    }

    /// A scanout whose display knows everything.
    fn settled(image: &Rc<Image>, rect: Rect) -> Scanout {
        let mut scanout = Scanout::default();
        scanout.show(ResourceId(1), image, rect).unwrap();
        told(&mut scanout, ALL);
        scanout.sent();
        scanout
    }

    fn changed(image: &Image, rect: Rect) -> TileMap {
        let mut tiles = TileMap::new(image.width(), image.height()).unwrap();
        tiles.mark_rect(&rect);
        tiles
    }

    #[test]
    fn a_new_surface_is_followed_by_all_of_its_pixels_in_its_own_coordinates() {
        let image = image(300, 200);
        let mut scanout = Scanout::default();
        let rect = Rect::new(100, 50, 130, 70);
        scanout.show(ResourceId(1), &image, rect).unwrap();
        assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(130, 70), None), (Rect::of_size(130, 70), Some(rect))]);
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn a_large_update_comes_in_bands_that_cover_it_once() {
        let image = image(300, 200);
        let mut scanout = Scanout::default();
        scanout.show(ResourceId(1), &image, image.rect()).unwrap();
        let bands = told(&mut scanout, 300 * 30);
        let mut next = 0;
        for (at, from) in &bands[1..] {
            assert_eq!((at.x, at.width, at.y, Some(*at)), (0, 300, next, *from));
            assert!(at.height <= 30);
            next += at.height;
        }
        assert_eq!(next, 200);
    }

    #[test]
    fn only_what_changed_and_was_flushed_is_told() {
        let image = image(300, 200);
        let mut scanout = settled(&image, image.rect());
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), [], "nothing changed");
        let damage = Rect::new(64, 16, 64, 32);
        scanout.changed(&changed(&image, damage), &damage);
        assert_eq!(told(&mut scanout, ALL), [], "nothing was flushed");
        let seen = Rect::new(100, 20, 60, 60);
        scanout.flush(seen);
        let part = Rect::new(100, 20, 28, 28);
        assert_eq!(told(&mut scanout, ALL), [(part, Some(part))], "the part that was flushed");
        scanout.flush(image.rect());
        let rest = Rect::new(64, 16, 64, 32);
        assert_eq!(told(&mut scanout, ALL), [(rest, Some(rest))], "the tiles that were flushed in part only");
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn tiles_that_stick_out_of_the_scanout_are_told_once() {
        let image = image(300, 200);
        let rect = Rect::new(10, 10, 100, 100);
        let mut scanout = settled(&image, rect);
        scanout.changed(&changed(&image, image.rect()), &image.rect());
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(100, 100), Some(rect))]);
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn flushes_merge_while_nobody_listens() {
        let image = image(300, 200);
        let mut scanout = settled(&image, image.rect());
        let tile = Rect::new(64, 16, 64, 16);
        for _ in 0..3 {
            scanout.changed(&changed(&image, tile), &tile);
            scanout.flush(image.rect());
        }
        assert_eq!(told(&mut scanout, ALL), [(tile, Some(tile))]);
    }

    #[test]
    fn what_changes_behind_a_walk_under_way_is_told_after_it() {
        let image = image(128, 64);
        let mut scanout = settled(&image, image.rect());
        scanout.changed(&changed(&image, image.rect()), &image.rect());
        scanout.flush(image.rect());
        assert!(scanout.next_step(128 * 48).is_some());
        let tile = Rect::new(0, 0, 64, 16);
        scanout.changed(&changed(&image, tile), &tile);
        scanout.flush(tile);
        let rest = Rect::new(0, 48, 128, 16);
        assert_eq!(told(&mut scanout, ALL), [(rest, Some(rest)), (tile, Some(tile))]);
    }

    #[test]
    fn a_flip_to_a_buffer_of_the_same_size_makes_no_new_surface() {
        let (front, back) = (image(128, 64), image(128, 64));
        let mut scanout = settled(&front, front.rect());
        scanout.show(ResourceId(2), &back, back.rect()).unwrap();
        scanout.flush(back.rect());
        assert_eq!(scanout.resource(), Some(ResourceId(2)));
        assert_eq!(told(&mut scanout, ALL), [], "both are black");
    }

    #[test]
    fn a_scanout_of_another_size_or_place_is_told_anew() {
        let image = image(128, 64);
        let mut scanout = settled(&image, image.rect());
        let half = Rect::new(64, 0, 64, 64);
        scanout.show(ResourceId(1), &image, half).unwrap();
        let surface = Rect::of_size(64, 64);
        assert_eq!(told(&mut scanout, ALL), [(surface, None), (surface, Some(half))]);
        scanout.disable();
        assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(0, 0), None)]);
        assert_eq!(told(&mut scanout, ALL), [], "it is told once");
    }

    #[test]
    fn a_new_display_is_told_everything_and_nothing_of_what_is_not_shown() {
        let image = image(128, 64);
        let mut scanout = settled(&image, image.rect());
        scanout.new_display();
        assert_eq!(told(&mut scanout, ALL), [(image.rect(), None), (image.rect(), Some(image.rect()))]);
        scanout.disable();
        scanout.new_display();
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn another_part_of_the_same_size_is_all_told_on_the_surface_that_is_there() {
        let image = image(128, 64);
        let left = Rect::of_size(64, 64);
        let mut scanout = settled(&image, left);
        let right = Rect::new(64, 0, 64, 64);
        scanout.show(ResourceId(1), &image, right).unwrap();
        assert_eq!(told(&mut scanout, ALL), [(left, Some(right))]);
    }

    #[test]
    fn damage_that_fills_no_tile_is_told_once_and_not_beyond_its_edges() {
        let image = image(300, 200);
        let mut scanout = settled(&image, image.rect());
        let damage = Rect::new(10, 10, 20, 20);
        scanout.changed(&changed(&image, damage), &damage);
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), [(damage, Some(damage))]);
        scanout.flush(damage);
        scanout.flush(image.rect());
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn an_update_that_a_flip_finds_half_sent_is_told_again() {
        let (front, back) = (image(128, 64), image(128, 64));
        let mut scanout = settled(&front, front.rect());
        scanout.changed(&changed(&front, front.rect()), &front.rect());
        scanout.flush(front.rect());
        assert!(scanout.next_step(ALL).is_some(), "and the display takes nothing of it yet");
        scanout.show(ResourceId(2), &back, back.rect()).unwrap();
        scanout.flush(back.rect());
        assert_eq!(told(&mut scanout, ALL), [(back.rect(), Some(back.rect()))]);
    }

    #[test]
    fn a_flip_after_the_last_update_was_sent_tells_only_what_differs() {
        let (front, back) = (image(128, 64), image(128, 64));
        let mut scanout = settled(&front, front.rect());
        scanout.sent();
        scanout.show(ResourceId(2), &back, back.rect()).unwrap();
        scanout.flush(back.rect());
        assert_eq!(told(&mut scanout, ALL), []);
    }

    #[test]
    fn after_a_reset_a_surface_of_the_same_size_is_told_again() {
        let image = image(128, 64);
        let mut scanout = settled(&image, image.rect());
        scanout.reset();
        scanout.show(ResourceId(1), &image, image.rect()).unwrap();
        assert_eq!(told(&mut scanout, ALL)[0], (image.rect(), None));
    }
}
