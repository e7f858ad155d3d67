//! Deterministic test pictures: a pixel is a function of a seed and its place, of nothing else.
//!
//! A picture is a patchwork of 32×32 tiles that an eye can tell apart, with noise in the low bits, so that no two
//! neighbours are alike: a row that is shifted by one pixel, or an old tile left standing, is seen.

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    pub fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Rect { x, y, width, height }
    }

    /// The whole of a `width`×`height` area.
    pub fn of_size(width: u32, height: u32) -> Self {
        Rect::new(0, 0, width, height)
    }
}

/// The picture that `flip-bench all` flips to, and back from.
pub const FLIP_SEED: u32 = 0xf11b;

/// Side of a tile of one base colour.
const TILE_SHIFT: u32 = 5;

/// The pixel of picture `seed` at `x`,`y` as 0x00RRGGBB.
pub fn pixel(seed: u32, x: u32, y: u32) -> u32 {
    let tile = mix(seed, x >> TILE_SHIFT, y >> TILE_SHIFT);
    let noise = mix(seed ^ 0x5eed, x, y);
    (tile ^ (noise & 0x001f_1f1f)) & 0x00ff_ffff
}

/// The pixel of cursor `seed` at `x`,`y` as 0xAARRGGBB with colours multiplied by alpha: an arrow's triangle, opaque at
/// its left edge, half transparent inside, nothing outside.
pub fn cursor_pixel(seed: u32, x: u32, y: u32) -> u32 {
    if x > y || y >= 48 {
        return 0;
    }
    let colour = pixel(seed, x, y);
    if x == 0 || x == y { 0xff00_0000 | colour } else { 0x8000_0000 | ((colour >> 1) & 0x007f_7f7f) }
}

/// Paints picture `seed` into the part of `pixels` (rows of `stride` pixels) that `rect` names. The picture's origin is
/// the area's origin, not the rectangle's. Parts outside of the area are left out.
pub fn paint(pixels: &mut [u32], stride: usize, seed: u32, rect: Rect) {
    for (y, row) in rows(pixels, stride, rect) {
        for (x, p) in (rect.x..).zip(row) {
            *p = pixel(seed, x, y);
        }
    }
}

/// Fills the part of `pixels` that `rect` names with one colour.
pub fn fill(pixels: &mut [u32], stride: usize, colour: u32, rect: Rect) {
    rows(pixels, stride, rect).for_each(|(_, row)| row.fill(colour));
}

/// The colour of the bench's frame of that number.
pub fn frame_colour(frame: u32) -> u32 {
    frame.wrapping_add(1).wrapping_mul(0x9e37_79b1) >> 8
}

/// The parts of the rows that `rect` covers, with the numbers of the rows.
fn rows(pixels: &mut [u32], stride: usize, rect: Rect) -> impl Iterator<Item = (u32, &mut [u32])> {
    let right = (rect.x.saturating_add(rect.width) as usize).min(stride);
    let left = (rect.x as usize).min(right);
    let rows = pixels.chunks_exact_mut(stride.max(1)).map(move |row| &mut row[left..right]);
    (0..).zip(rows).skip(rect.y as usize).take(rect.height as usize)
}

/// A hash with no pattern that an eye, or a compression by tiles, could find.
fn mix(seed: u32, x: u32, y: u32) -> u32 {
    let mut h =
        seed.wrapping_mul(0x9e37_79b1) ^ x.wrapping_mul(0x85eb_ca6b) ^ y.wrapping_mul(0xc2b2_ae35).rotate_left(15);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_rows_and_seeds_differ() {
        let same = (0..1000u32).filter(|&i| pixel(1, i, 7) == pixel(1, i + 1, 7) || pixel(1, i, 7) == pixel(2, i, 7));
        assert_eq!(same.count(), 0);
        assert_ne!(pixel(1, 3, 7), pixel(1, 7, 3));
    }

    #[test]
    fn painting_stays_inside_its_rectangle_and_keeps_the_origin() {
        let mut area = vec![0xdead_beef; 10 * 4];
        paint(&mut area, 10, 9, Rect::new(8, 1, 100, 2));
        assert_eq!(area[10 + 8], pixel(9, 8, 1));
        assert_eq!(area[2 * 10 + 9], pixel(9, 9, 2));
        assert_eq!(area.iter().filter(|&&p| p != 0xdead_beef).count(), 4);
    }
}
