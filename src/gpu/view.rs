//! A host copy of pixels that live elsewhere: in the guest's memory, or in the renderer.
//!
//! It is in the display's pixel order, whatever the pixels' own format. It is brought up to date by comparing: tiles whose
//! pixels are the same as before are neither written nor marked, and are never sent.

use std::rc::Rc;

use super::backing::Backing;
use super::budget::Budget;
use super::command::Status;
use super::image::{Image, MAX_SIDE};
use super::pixel::{self, Format, PIXEL};
use super::rect::{Rect, enclose};
use super::tiles::{TILE_H, TILE_W, TileMap};

/// Bytes copied at a time where nothing is compared: few enough that the copy is not left to the processor's string
/// instruction, which for lines that are half in the cache takes twice as long (measured).
const PIECE: usize = 512;
/// Pixels compared at a time: they and their host copies stay in the first-level cache.
const CHUNK: u32 = 16 * TILE_W;
/// Most pixels that are read at a time.
pub const BAND_PIXELS: u32 = 1 << 20;

/// A host copy, and what is known to differ from it.
#[derive(Debug)]
pub struct View {
    image: Rc<Image>,
    format: Format,
    /// The tiles that were changed last.
    changed: TileMap,
    /// What encloses all that a display shall be shown once it was read from where it lives.
    unread: Option<Rect>,
}

impl View {
    /// A black one, of pixels of `format`.
    ///
    /// # Errors
    /// An unknown format or an impossible size; more memory than the budget has.
    pub fn new(format: u32, width: u32, height: u32, budget: &Rc<Budget>) -> Result<Self, Status> {
        let format = Format::from_u32(format).ok_or(Status::ErrInvalidParameter)?;
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(Status::ErrInvalidParameter);
        }
        let image = Image::new(width, height, budget).ok_or(Status::ErrOutOfMemory)?;
        let changed = TileMap::new(width, height).ok_or(Status::ErrOutOfMemory)?;
        Ok(Self { image, format, changed, unread: None })
    }

    /// The host copy.
    pub fn image(&self) -> &Rc<Image> {
        &self.image
    }

    /// The format that its pixels have where they live.
    pub fn format(&self) -> Format {
        self.format
    }

    /// `rect` shall be seen as it is now, as soon as it was read.
    pub fn note_unread(&mut self, rect: &Rect) {
        let Some(rect) = rect.intersect(&self.image.rect()) else { return };
        self.unread = Some(enclose(self.unread, &rect));
    }

    /// How many pixels are to be read.
    pub fn unread(&self) -> u64 {
        self.unread.map_or(0, |rect| rect.area())
    }

    /// The next band of what is to be read, as read from then on.
    pub fn take_unread(&mut self) -> Option<Rect> {
        let mut rest = self.unread.take()?;
        let band = rest.cut_band(BAND_PIXELS);
        self.unread = Some(rest).filter(|rest| !rest.is_empty());
        Some(band)
    }

    /// It can't be read: nothing is to be read any more.
    pub fn give_up(&mut self) {
        self.unread = None;
    }

    /// Brings the pixels of `rect` over from a backing, in which they begin at byte `offset`, and their rows are `stride`
    /// bytes apart. Returns the tiles that changed, for the caller to clear once they are told. Each call has another `number`,
    /// whichever view it is of.
    pub fn read_backing(
        &mut self,
        backing: &Backing,
        rect: &Rect,
        offset: u64,
        stride: usize,
        number: u64,
    ) -> &mut TileMap {
        // A backing that ends early leaves the rest as it was.
        let _ = self.copy(backing, rect, offset, stride);
        self.image.note_changes(rect, &self.changed, number);
        &mut self.changed
    }

    /// The same, from rows without gaps.
    pub fn read_rows(&mut self, rows: &mut [u8], rect: &Rect, number: u64) -> &mut TileMap {
        pixel::to_display_order(self.format, rows);
        let stride = self.image.stride();
        let len = rect.width as usize * PIXEL;
        self.image.with_pixels_mut(|pixels| {
            for (y, new) in (rect.y..).zip(rows.chunks_exact(len.max(1))) {
                let at = y as usize * stride + rect.x as usize * PIXEL;
                let Some(old) = pixels.get_mut(at..at + len) else { break };
                take_changes(old, new, rect.x, y / TILE_H, &mut self.changed);
            }
        });
        self.image.note_changes(rect, &self.changed, number);
        &mut self.changed
    }

    fn copy(&mut self, backing: &Backing, rect: &Rect, offset: u64, stride: usize) -> Option<()> {
        let Self { image, format, changed, .. } = self;
        image.with_pixels_mut(|pixels| {
            let row = image.stride();
            let mut reader = backing.reader();
            let mut fresh = [0; CHUNK as usize * PIXEL];
            let end = rect.x.checked_add(rect.width)?;
            let as_it_is = format.is_display_order();
            for (line, y) in (rect.y..rect.y.checked_add(rect.height)?).enumerate() {
                let tile_y = y / TILE_H;
                let mut from = offset + (stride * line) as u64;
                let mut x = rect.x;
                while x < end {
                    let at = y as usize * row + x as usize * PIXEL;
                    if changed.all_marked(x / TILE_W..end.div_ceil(TILE_W), tile_y) {
                        // An earlier line has told all there is to learn of the tiles that are left of this one.
                        let row = pixels.get_mut(at..at + (end - x) as usize * PIXEL)?;
                        for piece in row.chunks_mut(PIECE) {
                            if !reader.read(from, piece) {
                                return None;
                            }
                            from += piece.len() as u64;
                        }
                        pixel::to_display_order(*format, row);
                        break;
                    }
                    // Piece by piece, each within whole tiles but at the rectangle's edges.
                    let next = (x / TILE_W * TILE_W).saturating_add(CHUNK).min(end);
                    let len = (next - x) as usize * PIXEL;
                    let old = pixels.get_mut(at..at + len)?;
                    if !(as_it_is && reader.holds(from, old)) {
                        let new = fresh.get_mut(..len)?;
                        if !reader.read(from, new) {
                            return None;
                        }
                        pixel::to_display_order(*format, new);
                        take_changes(old, new, x, tile_y, changed);
                    }
                    from += len as u64;
                    x = next;
                }
            }
            Some(())
        })
    }
}

/// Brings `old`, a piece of one row from column `x` on, up to `new`, and marks the tiles in which they differed.
///
/// Tile by tile, so that what is written has just been read, and for [`PIECE`]'s reason.
fn take_changes(old: &mut [u8], new: &[u8], x: u32, tile_y: u32, changed: &mut TileMap) {
    let tile = TILE_W as usize * PIXEL;
    // The first tile may begin before the piece.
    let into = (x % TILE_W) as usize * PIXEL;
    let first = (tile - into).min(old.len());
    let (old_head, old_rest) = old.split_at_mut(first);
    let (new_head, new_rest) = new.split_at(first);
    let pieces = std::iter::once((old_head, new_head)).chain(old_rest.chunks_mut(tile).zip(new_rest.chunks(tile)));
    for (tile_x, (old, new)) in (x / TILE_W..).zip(pieces) {
        if old != new {
            old.copy_from_slice(new);
            changed.mark(tile_x, tile_y);
        }
    }
}
