//! Which tiles of an image are marked, say as changed: a bitmap, and the way to get rectangles out of it.
//!
//! A [`TileMap`] has a bit for every tile of [`TILE_W`] × [`TILE_H`] pixels. A [`Sweep`] walks over it once, from top
//! to bottom, and hands out rectangles of pixels that have no pixel in common and together are exactly the marked tiles
//! within the sweep's bounds. Runs of marked tiles become one rectangle; tile rows in which the same tiles are marked
//! are merged, so a wholly marked map gives one. [`TileMap::next_rect`] only looks, [`TileMap::take_band`] also unmarks
//! and cuts into bands.
//!
//! A sweep is a small `Copy` value that the caller keeps for as long as it likes, because a slow reader may make it
//! wait between any two bands. What is marked in the meantime and lies behind the sweep stays for the next one; what
//! lies before it is found by this one. Nothing that is marked gets lost.
//!
//! No I/O; memory is allocated in [`TileMap::new`] and nowhere else.

use super::rect::Rect;
use std::ops::Range;

pub const TILE_W: u32 = 64;
pub const TILE_H: u32 = 16;

const WORD_BITS: u32 = u64::BITS;

/// The marked tiles of an image of fixed size.
#[derive(Debug)]
pub struct TileMap {
    image: Rect,
    /// Size in tiles; the last column and row may be wider and higher than what is left of the image.
    columns: u32,
    rows: u32,
    /// Words a row, at least one. A row's first tile is the lowest bit of its first word.
    stride: usize,
    /// `rows` × `stride`; bits past `columns` are never set.
    words: Vec<u64>,
    /// How many bits are set.
    marked: u64,
}

/// A walk over a map, within a rectangle of pixels. It stands before a tile row, or in a band of tile rows in all of
/// which the same tiles were marked when it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    within: Rect,
    /// The band of tile rows that it stands in; empty between two bands.
    top: u32,
    bottom: u32,
    /// The tile column in the band before which all was handed out.
    column: u32,
    /// What was taken from the map and not handed out yet.
    rest: Rect,
}

impl Sweep {
    /// A walk from the beginning over what is marked within this rectangle of pixels.
    pub const fn over(within: Rect) -> Sweep {
        Sweep { within, top: 0, bottom: 0, column: 0, rest: Rect::of_size(0, 0) }
    }

    /// What was taken (and unmarked) and not handed out yet. Who abandons a sweep that [`TileMap::take_band`] was
    /// called with marks this again.
    pub const fn rest(&self) -> Rect {
        self.rest
    }

    /// The rectangle that it stays within.
    pub const fn within(&self) -> Rect {
        self.within
    }
}

/// A rectangle of tiles; ends are exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tiles {
    columns: Range<u32>,
    rows: Range<u32>,
}

impl Tiles {
    fn is_empty(&self) -> bool {
        self.columns.is_empty() || self.rows.is_empty()
    }

    fn intersect(&self, other: &Tiles) -> Tiles {
        Tiles {
            columns: self.columns.start.max(other.columns.start)..self.columns.end.min(other.columns.end),
            rows: self.rows.start.max(other.rows.start)..self.rows.end.min(other.rows.end),
        }
    }
}

impl TileMap {
    /// A map with no tile marked. `None` where the memory can't be had. The guest chooses the size: who lets it should
    /// count [`TileMap::bytes`] among what the guest makes us hold.
    pub fn new(width: u32, height: u32) -> Option<TileMap> {
        let count = usize::try_from(TileMap::bytes(width, height) / 8).ok()?;
        let (columns, rows) = size_in_tiles(width, height);
        let mut words = Vec::new();
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(TileMap {
            image: Rect::of_size(width, height),
            columns,
            rows,
            stride: usize::try_from(words_a_row(columns)).ok()?,
            words,
            marked: 0,
        })
    }

    /// The memory that [`TileMap::new`] allocates for an image of this size: a bit for every 4 KiB of a wide one, but
    /// 8 bytes for every [`TILE_H`] lines of a narrow one.
    pub fn bytes(width: u32, height: u32) -> u64 {
        let (columns, rows) = size_in_tiles(width, height);
        u64::from(words_a_row(columns)).saturating_mul(u64::from(rows)).saturating_mul(8)
    }

    /// The image that it is a map of.
    pub const fn image(&self) -> Rect {
        self.image
    }

    /// How many tiles are marked.
    pub const fn marked(&self) -> u64 {
        self.marked
    }

    pub const fn is_empty(&self) -> bool {
        self.marked == 0
    }

    pub fn clear_all(&mut self) {
        if self.marked > 0 {
            self.words.fill(0);
            self.marked = 0;
        }
    }

    pub fn set_all(&mut self) {
        let all = Tiles { columns: 0..self.columns, rows: 0..self.rows };
        self.update(&all, |word, mask| word | mask);
    }

    /// Marks one tile; a tile outside the image is ignored.
    pub fn mark(&mut self, tile_x: u32, tile_y: u32) {
        if tile_x >= self.columns || tile_y >= self.rows {
            return;
        }
        let at = index(tile_y).saturating_mul(self.stride).saturating_add(index(tile_x / WORD_BITS));
        if let Some(word) = self.words.get_mut(at) {
            let bit = 1 << (tile_x % WORD_BITS);
            self.marked = self.marked.saturating_add(u64::from(*word & bit == 0));
            *word |= bit;
        }
    }

    /// Whether a tile is marked; outside the image none is.
    pub fn is_marked(&self, tile_x: u32, tile_y: u32) -> bool {
        let word = self.row(tile_y).get(index(tile_x / WORD_BITS));
        tile_x < self.columns && word.is_some_and(|word| word & 1 << (tile_x % WORD_BITS) != 0)
    }

    /// Whether all of some tiles of one row are marked.
    pub fn all_marked(&self, columns: Range<u32>, tile_y: u32) -> bool {
        let row = self.row(tile_y);
        columns.end <= self.columns
            && masks(&columns).all(|(at, mask)| row.get(index(at)).is_some_and(|word| word & mask == mask))
    }

    /// Marks every tile that has a pixel in `rect`.
    pub fn mark_rect(&mut self, rect: &Rect) {
        self.update(&self.touched(rect), |word, mask| word | mask);
    }

    /// Unmarks every tile whose pixels are all in `rect`. Of a tile at the image's right or lower edge only the pixels
    /// that the image has count.
    pub fn unmark_covered(&mut self, rect: &Rect) {
        self.update(&self.covered(rect), |word, mask| word & !mask);
    }

    /// Marks what `other` has marked. False, and nothing done, where the images differ in size.
    #[must_use]
    pub fn union_with(&mut self, other: &TileMap) -> bool {
        if self.image != other.image {
            return false;
        }
        let mut marked = 0u64;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
            marked = marked.saturating_add(u64::from(word.count_ones()));
        }
        self.marked = marked;
        true
    }

    /// Marks those tiles marked in `other` that have a pixel in `rect`. Nothing is done where the images differ in size.
    pub fn union_within(&mut self, other: &TileMap, rect: &Rect) {
        if self.image != other.image {
            return;
        }
        let tiles = self.touched(rect);
        let range = self.range(&tiles.rows);
        let ours = self.words.get_mut(range.clone()).unwrap_or_default().chunks_exact_mut(self.stride);
        let theirs = other.words.get(range).unwrap_or_default().chunks_exact(other.stride);
        for (ours, theirs) in ours.zip(theirs) {
            for (at, mask) in masks(&tiles.columns) {
                let (Some(word), Some(other)) = (ours.get_mut(index(at)), theirs.get(index(at))) else { break };
                let added = other & mask & !*word;
                *word |= added;
                self.marked = self.marked.saturating_add(u64::from(added.count_ones()));
            }
        }
    }

    /// The sweep's next rectangle of marked pixels, `None` at its end. Nothing is unmarked.
    pub fn next_rect(&self, sweep: &mut Sweep) -> Option<Rect> {
        let tiles = self.next_tiles(sweep)?;
        self.pixels(&tiles).intersect(&sweep.within)
    }

    /// Takes a rectangle of marked pixels off the map and hands it out, from the top in bands of as many lines as
    /// `max_pixels` allows (but at least one line). `None` at the sweep's end.
    ///
    /// A tile is unmarked as soon as a rectangle with it is taken, before its pixels are handed out: what changes then
    /// is marked anew and found by the next sweep. Only tiles that the sweep's bounds cover (as
    /// [`TileMap::unmark_covered`] has it) are unmarked: a tile of which only a part lies within stays marked for who
    /// wants its other part, though this sweep doesn't come back to it.
    pub fn take_band(&mut self, sweep: &mut Sweep, max_pixels: u32) -> Option<Rect> {
        if sweep.rest.is_empty() {
            let tiles = self.next_tiles(sweep)?;
            sweep.rest = self.pixels(&tiles).intersect(&sweep.within)?;
            let covered = self.covered(&sweep.within).intersect(&tiles);
            self.update(&covered, |word, mask| word & !mask);
        }
        Some(sweep.rest.cut_band(max_pixels))
    }

    /// The sweep's next rectangle of tiles. If marks changed since the sweep got into its present band, tiles may be
    /// among them that aren't marked, but none that is marked is left out.
    fn next_tiles(&self, sweep: &mut Sweep) -> Option<Tiles> {
        let bounds = self.touched(&sweep.within);
        if self.is_empty() || bounds.is_empty() {
            sweep.top = self.rows;
            sweep.bottom = self.rows;
            return None;
        }
        sweep.top = sweep.top.max(bounds.rows.start);
        loop {
            if sweep.bottom <= sweep.top {
                let band = self.next_band(sweep.top..bounds.rows.end, &bounds.columns);
                (sweep.top, sweep.bottom) = (band.start, band.end);
                sweep.column = bounds.columns.start;
                if band.is_empty() {
                    return None;
                }
            }
            let rows = sweep.top..sweep.bottom;
            if let Some(columns) = self.next_run(&rows, sweep.column..bounds.columns.end) {
                sweep.column = columns.end;
                return Some(Tiles { columns, rows });
            }
            sweep.top = sweep.bottom;
        }
    }

    /// The first of `rows` with a mark in `columns`, and those after it that have the same marks. Empty, at the end
    /// of `rows`, where there is none.
    fn next_band(&self, rows: Range<u32>, columns: &Range<u32>) -> Range<u32> {
        let (words, stride) = (self.rows(&rows), self.stride);
        let mut lines = words.chunks_exact(stride).zip(rows.clone());
        let is_marked = |words: &[u64]| masked(words, columns).any(|word| word != 0);
        let Some((first, top)) = lines.find(|(words, _)| is_marked(words)) else { return rows.end..rows.end };
        let differs = |words: &[u64]| masked(words, columns).ne(masked(first, columns));
        let bottom = lines.find(|(words, _)| differs(words)).map_or(rows.end, |(_, row)| row);
        top..bottom
    }

    /// The first of `columns` that is marked in any of `rows`, and those after it that are too.
    fn next_run(&self, rows: &Range<u32>, columns: Range<u32>) -> Option<Range<u32>> {
        let start = self.find(rows, &columns, true)?;
        let end = self.find(rows, &(start..columns.end), false).unwrap_or(columns.end);
        Some(start..end)
    }

    /// The first of `columns` that is marked in any of `rows`, or (not `marked`) in none of them.
    fn find(&self, rows: &Range<u32>, columns: &Range<u32>, marked: bool) -> Option<u32> {
        let words = self.rows(rows);
        let flip = if marked { 0 } else { u64::MAX };
        for (at, mask) in masks(columns) {
            let any = words.get(index(at)..)?.iter().step_by(self.stride).fold(0, |any, word| any | word);
            let found = (any ^ flip) & mask;
            if found != 0 {
                return at.checked_mul(WORD_BITS)?.checked_add(found.trailing_zeros());
            }
        }
        None
    }

    /// The tiles that have a pixel in `rect`.
    fn touched(&self, rect: &Rect) -> Tiles {
        match rect.intersect(&self.image) {
            Some(rect) => Tiles {
                columns: rect.x / TILE_W..ceil(rect.right(), TILE_W).min(self.columns),
                rows: rect.y / TILE_H..ceil(rect.bottom(), TILE_H).min(self.rows),
            },
            None => Tiles { columns: 0..0, rows: 0..0 },
        }
    }

    /// The tiles all of whose pixels in the image are in `rect`.
    fn covered(&self, rect: &Rect) -> Tiles {
        let end = |end: u64, of_image: u64, tile: u32, all: u32| match end >= of_image {
            true => all,
            false => floor(end, tile).min(all),
        };
        Tiles {
            columns: rect.x.div_ceil(TILE_W)..end(rect.right(), self.image.right(), TILE_W, self.columns),
            rows: rect.y.div_ceil(TILE_H)..end(rect.bottom(), self.image.bottom(), TILE_H, self.rows),
        }
    }

    /// The pixels of some tiles, which may go beyond the image's edge.
    fn pixels(&self, tiles: &Tiles) -> Rect {
        let tiles = Rect {
            x: tiles.columns.start.saturating_mul(TILE_W),
            y: tiles.rows.start.saturating_mul(TILE_H),
            width: length(&tiles.columns).saturating_mul(TILE_W),
            height: length(&tiles.rows).saturating_mul(TILE_H),
        };
        tiles.intersect(&self.image).unwrap_or_default()
    }

    /// Puts `change(word, mask)` in place of every word that has some of the tiles, `mask` being their bits.
    fn update(&mut self, tiles: &Tiles, change: impl Fn(u64, u64) -> u64) {
        if tiles.is_empty() {
            return;
        }
        let range = self.range(&tiles.rows);
        let words = self.words.get_mut(range).unwrap_or_default();
        for row in words.chunks_exact_mut(self.stride) {
            for (at, mask) in masks(&tiles.columns) {
                let Some(word) = row.get_mut(index(at)) else { break };
                let before = u64::from(word.count_ones());
                *word = change(*word, mask);
                self.marked = self.marked.saturating_sub(before).saturating_add(u64::from(word.count_ones()));
            }
        }
    }

    fn row(&self, row: u32) -> &[u64] {
        self.rows(&(row..row.saturating_add(1)))
    }

    /// The words of some rows, none where they aren't all in the map.
    fn rows(&self, rows: &Range<u32>) -> &[u64] {
        self.words.get(self.range(rows)).unwrap_or_default()
    }

    fn range(&self, rows: &Range<u32>) -> Range<usize> {
        index(rows.start).saturating_mul(self.stride)..index(rows.end).saturating_mul(self.stride)
    }
}

/// Columns and rows; an image without pixels has neither.
fn size_in_tiles(width: u32, height: u32) -> (u32, u32) {
    if width == 0 || height == 0 { (0, 0) } else { (width.div_ceil(TILE_W), height.div_ceil(TILE_H)) }
}

fn words_a_row(columns: u32) -> u32 {
    columns.div_ceil(WORD_BITS).max(1)
}

/// The words that have some of the columns: each one's place in the row, and the bits of those columns.
fn masks(columns: &Range<u32>) -> impl Iterator<Item = (u32, u64)> + use<> {
    let Range { start, end } = columns.clone();
    let words = if start < end { start / WORD_BITS..end.div_ceil(WORD_BITS) } else { 0..0 };
    words.map(move |at| {
        let base = at.saturating_mul(WORD_BITS);
        (at, bits_from(start.saturating_sub(base)) & !bits_from(end.saturating_sub(base)))
    })
}

/// All bits but the `n` lowest.
fn bits_from(n: u32) -> u64 {
    u64::MAX.checked_shl(n).unwrap_or(0)
}

/// Those words of a row that have some of the columns, without the bits of other columns.
fn masked<'a>(row: &'a [u64], columns: &Range<u32>) -> impl Iterator<Item = u64> + use<'a> {
    masks(columns).map(move |(at, mask)| row.get(index(at)).map_or(0, |word| word & mask))
}

fn ceil(pixels: u64, tile: u32) -> u32 {
    u32::try_from(pixels.div_ceil(u64::from(tile))).unwrap_or(u32::MAX)
}

fn floor(pixels: u64, tile: u32) -> u32 {
    u32::try_from(pixels.checked_div(u64::from(tile)).unwrap_or(0)).unwrap_or(u32::MAX)
}

fn length(range: &Range<u32>) -> u32 {
    range.end.saturating_sub(range.start)
}

/// A row or word number as an index; there is no such row or word where it doesn't fit.
fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
