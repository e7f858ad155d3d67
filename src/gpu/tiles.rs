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
        let lines = max_pixels.checked_div(sweep.rest.width)?.max(1);
        Some(sweep.rest.cut_top(lines))
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
mod tests {
    use super::*;

    /// xorshift64*; the seed is in the test that fails.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u32) -> u32 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % u64::from(end)) as u32
        }

        /// Inside, across and outside of the image; at times on tile borders.
        fn rect(&mut self, image: &Rect) -> Rect {
            let (w, h) = (image.width + 70, image.height + 20);
            let (x, y) = (self.below(w), self.below(h));
            let rect = Rect::new(x, y, self.below(w - x), self.below(h - y));
            match self.below(4) {
                0 => Rect::new(x / 64 * 64, y / 16 * 16, rect.width / 64 * 64, rect.height / 16 * 16),
                1 => *image,
                _ => rect,
            }
        }
    }

    const IMAGES: [(u32, u32); 8] =
        [(1, 1), (64, 16), (65, 17), (200, 100), (640, 50), (63, 133), (4096, 17), (64 * 66 + 3, 33)];

    /// The plain account: one bool for every tile, all questions answered pixel by pixel.
    struct Model {
        image: Rect,
        tiles: Vec<bool>,
    }

    impl Model {
        fn new(image: Rect) -> Model {
            let count = image.width.div_ceil(64) * image.height.div_ceil(16);
            Model { image, tiles: vec![false; count as usize] }
        }

        fn tile(&self, x: u32, y: u32) -> usize {
            (y / 16 * self.image.width.div_ceil(64) + x / 64) as usize
        }

        /// For each tile: how many pixels it has, and how many of them are in the rectangle.
        fn pixels_in(&self, rect: &Rect) -> Vec<(u32, u32)> {
            let mut counts = vec![(0, 0); self.tiles.len()];
            for y in 0..self.image.height {
                for x in 0..self.image.width {
                    let count = &mut counts[self.tile(x, y)];
                    count.0 += 1;
                    count.1 += u32::from(rect.contains(&Rect::new(x, y, 1, 1)));
                }
            }
            counts
        }

        fn mark_rect(&mut self, rect: &Rect) {
            for (tile, (_, inside)) in self.pixels_in(rect).into_iter().enumerate() {
                self.tiles[tile] |= inside > 0;
            }
        }

        fn unmark_covered(&mut self, rect: &Rect) {
            for (tile, (all, inside)) in self.pixels_in(rect).into_iter().enumerate() {
                self.tiles[tile] &= inside < all;
            }
        }

        fn is_wanted(&self, x: u32, y: u32, within: &Rect) -> bool {
            self.tiles[self.tile(x, y)] && within.contains(&Rect::new(x, y, 1, 1))
        }

        /// The rectangles have no pixel in common and together are the marked pixels within.
        fn assert_exact(&self, within: &Rect, rects: &[Rect]) {
            let mut seen = vec![false; (self.image.width * self.image.height) as usize];
            for rect in rects {
                assert!(!rect.is_empty() && self.image.contains(rect) && within.contains(rect), "{rect:?}");
                for y in rect.y..rect.y + rect.height {
                    for x in rect.x..rect.x + rect.width {
                        let seen = &mut seen[(y * self.image.width + x) as usize];
                        assert!(!*seen, "{x},{y} twice");
                        *seen = true;
                    }
                }
            }
            for y in 0..self.image.height {
                for x in 0..self.image.width {
                    let seen = seen[(y * self.image.width + x) as usize];
                    assert_eq!(seen, self.is_wanted(x, y, within), "{x},{y} within {within:?}");
                }
            }
        }

        fn assert_same(&self, map: &TileMap) {
            let mut marked = 0;
            for y in (0..self.image.height).step_by(16) {
                for x in (0..self.image.width).step_by(64) {
                    assert_eq!(map.is_marked(x / 64, y / 16), self.tiles[self.tile(x, y)], "{x},{y}");
                    marked += u64::from(self.tiles[self.tile(x, y)]);
                }
            }
            assert_eq!((map.marked(), map.is_empty()), (marked, marked == 0));
        }

        fn change_both(&mut self, map: &mut TileMap, random: &mut Random) {
            let rect = random.rect(&self.image);
            match random.below(8) {
                0 => {
                    map.unmark_covered(&rect);
                    self.unmark_covered(&rect);
                }
                1 => {
                    map.set_all();
                    self.tiles.fill(true);
                }
                2 => {
                    map.clear_all();
                    self.tiles.fill(false);
                }
                3 => {
                    map.mark_rect(&rect);
                    self.mark_rect(&rect);
                }
                _ => {
                    let (x, y) = (random.below(self.image.width), random.below(self.image.height));
                    map.mark(x / 64, y / 16);
                    let tile = self.tile(x, y);
                    self.tiles[tile] = true;
                }
            }
        }
    }

    /// Maps after random changes, each with its model.
    fn each_random_map(seed: u64, mut test: impl FnMut(&mut TileMap, &mut Model, &mut Random)) {
        let mut random = Random(seed);
        for (width, height) in IMAGES {
            let mut map = TileMap::new(width, height).unwrap();
            let mut model = Model::new(map.image());
            for _ in 0..12 {
                for _ in 0..random.below(9) {
                    model.change_both(&mut map, &mut random);
                }
                test(&mut map, &mut model, &mut random);
            }
        }
    }

    fn look(map: &TileMap, within: Rect) -> Vec<Rect> {
        let mut sweep = Sweep::over(within);
        std::iter::from_fn(|| map.next_rect(&mut sweep)).collect()
    }

    fn take(map: &mut TileMap, within: Rect, max_pixels: u32) -> Vec<Rect> {
        let mut sweep = Sweep::over(within);
        std::iter::from_fn(|| map.take_band(&mut sweep, max_pixels)).collect()
    }

    #[test]
    fn marks_agree_with_the_plain_account() {
        each_random_map(1, |map, model, _| model.assert_same(map));
    }

    #[test]
    fn looking_gives_exactly_the_marked_pixels_within_and_changes_nothing() {
        each_random_map(2, |map, model, random| {
            let within = random.rect(&model.image);
            model.assert_exact(&within, &look(map, within));
            model.assert_same(map);
        });
    }

    #[test]
    fn taking_gives_exactly_the_marked_pixels_within_and_unmarks_what_is_covered() {
        each_random_map(3, |map, model, random| {
            let within = random.rect(&model.image);
            let max_pixels = [0, 100, 5000, u32::MAX][random.below(4) as usize];
            let bands = take(map, within, max_pixels);
            model.assert_exact(&within, &bands);
            for band in bands {
                assert!(band.area() <= u64::from(max_pixels) || band.height == 1, "{band:?} of {max_pixels}");
            }
            model.unmark_covered(&within);
            model.assert_same(map);
        });
    }

    #[test]
    fn union_has_the_marks_of_both() {
        each_random_map(4, |map, model, random| {
            let mut other = TileMap::new(model.image.width, model.image.height).unwrap();
            for _ in 0..5 {
                let rect = random.rect(&model.image);
                other.mark_rect(&rect);
                model.mark_rect(&rect);
            }
            assert!(map.union_with(&other));
            model.assert_same(map);
        });
        let mut map = TileMap::new(64, 16).unwrap();
        let mut other = TileMap::new(64, 17).unwrap();
        other.set_all();
        assert!(!map.union_with(&other));
        assert!(map.is_empty());
    }

    /// An image that keeps changing while a slow display takes bands of it: no change may get lost.
    #[test]
    fn all_of_some_tiles_are_marked_only_when_each_is() {
        let mut map = TileMap::new(64 * 130, 32).unwrap();
        map.mark_rect(&Rect::new(64 * 60, 16, 64 * 70, 16));
        assert!(map.all_marked(60..130, 1));
        assert!(map.all_marked(64..128, 1));
        assert!(!map.all_marked(59..130, 1));
        assert!(!map.all_marked(60..131, 1), "beyond the image");
        assert!(!map.all_marked(60..61, 0));
        assert!(!map.all_marked(60..61, 2), "beyond the image");
    }

    #[test]
    fn what_changes_between_two_bands_is_seen_sooner_or_later() {
        let mut random = Random(5);
        for (width, height) in IMAGES {
            let mut map = TileMap::new(width, height).unwrap();
            let image = map.image();
            let mut guest = vec![0u32; image.area() as usize];
            let mut display = guest.clone();
            let show = |band: Rect, guest: &[u32], display: &mut [u32]| {
                for y in band.y..band.y + band.height {
                    let row = (y * width + band.x) as usize..(y * width + band.x + band.width) as usize;
                    display[row.clone()].copy_from_slice(&guest[row]);
                }
            };
            let mut sweep = Sweep::over(image);
            for n in 1..400 {
                let rect = random.rect(&image);
                let Some(rect) = rect.intersect(&Rect { width: 90, height: 30, ..rect }) else { continue };
                let Some(rect) = rect.intersect(&image) else { continue };
                for y in rect.y..rect.y + rect.height {
                    let start = (y * width + rect.x) as usize;
                    guest[start..start + rect.width as usize].fill(n);
                }
                map.mark_rect(&rect);
                for _ in 0..random.below(4) {
                    match map.take_band(&mut sweep, 1500) {
                        Some(band) => show(band, &guest, &mut display),
                        // A sweep may be abandoned at any time, if its rest is marked again.
                        None => sweep = Sweep::over(random.rect(&image)),
                    }
                    if random.below(10) == 0 {
                        map.mark_rect(&sweep.rest());
                        sweep = Sweep::over(random.rect(&image));
                    }
                }
            }
            map.mark_rect(&sweep.rest());
            for band in take(&mut map, image, 1500) {
                show(band, &guest, &mut display);
            }
            assert!(guest == display, "{width}x{height}");
            assert!(map.is_empty());
        }
    }

    #[test]
    fn a_wholly_marked_map_is_one_rectangle() {
        for (width, height) in IMAGES {
            let mut map = TileMap::new(width, height).unwrap();
            map.set_all();
            assert_eq!(look(&map, map.image()), [map.image()]);
            let within = Rect::new(width / 3, height / 3, width.div_ceil(2), height.div_ceil(2));
            assert_eq!(look(&map, within), [within]);
        }
    }

    #[test]
    fn equal_rows_are_merged_and_others_are_not() {
        let mut map = TileMap::new(640, 160).unwrap();
        map.mark_rect(&Rect::new(0, 0, 64, 80));
        map.mark_rect(&Rect::new(128, 0, 64, 80));
        map.mark_rect(&Rect::new(64, 80, 64, 32));
        let expected = [Rect::new(0, 0, 64, 80), Rect::new(128, 0, 64, 80), Rect::new(64, 80, 64, 32)];
        assert_eq!(look(&map, map.image()), expected);
    }

    #[test]
    fn bands_have_as_many_lines_as_fit_and_at_least_one() {
        let mut map = TileMap::new(100, 40).unwrap();
        map.set_all();
        let bands = take(&mut map, Rect::of_size(100, 40), 1599);
        assert_eq!(bands, [Rect::new(0, 0, 100, 15), Rect::new(0, 15, 100, 15), Rect::new(0, 30, 100, 10)]);
        map.set_all();
        assert_eq!(take(&mut map, Rect::of_size(100, 40), 99).len(), 40);
    }

    #[test]
    fn a_tile_partly_within_is_handed_out_in_part_and_stays_marked() {
        let mut map = TileMap::new(200, 50).unwrap();
        map.set_all();
        let within = Rect::new(10, 0, 118, 16);
        assert_eq!(take(&mut map, within, u32::MAX), [within]);
        assert!(map.is_marked(0, 0) && !map.is_marked(1, 0) && map.is_marked(2, 0));
        assert_eq!(take(&mut map, within, u32::MAX), [Rect::new(10, 0, 54, 16)]);
    }

    #[test]
    fn a_sweep_that_ended_stays_at_its_end() {
        let mut map = TileMap::new(64, 64).unwrap();
        let mut sweep = Sweep::over(map.image());
        assert_eq!(map.take_band(&mut sweep, 9), None);
        map.set_all();
        assert_eq!(map.take_band(&mut sweep, 9), None);
    }

    #[test]
    fn no_number_is_too_large() {
        const MAX: u32 = u32::MAX;
        for (width, height) in [(0, 0), (0, 5), (5, 0), (MAX, 1), (MAX, 40), (0, MAX)] {
            let mut map = TileMap::new(width, height).unwrap();
            assert_eq!(TileMap::bytes(width, height), map.words.len() as u64 * 8);
            map.set_all();
            for rect in [Rect::of_size(MAX, MAX), Rect::new(MAX, MAX, MAX, MAX), Rect::new(1, 1, MAX, MAX)] {
                map.mark_rect(&rect);
                let _ = (look(&map, rect), take(&mut map, rect, MAX), take(&mut map, rect, 1 << 27));
                map.unmark_covered(&rect);
            }
            map.mark(MAX, MAX);
            assert!(!map.is_marked(MAX, MAX) && !map.is_marked(map.columns, 0) && !map.is_marked(0, map.rows));
            map.mark(map.columns, 0);
            map.mark(0, map.rows);
        }
        assert!(TileMap::new(MAX, MAX).is_none());
        assert_eq!(TileMap::bytes(3840, 2160), 135 * 8);
    }
}
