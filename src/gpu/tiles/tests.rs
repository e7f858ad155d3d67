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
