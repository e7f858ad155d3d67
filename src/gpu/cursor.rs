//! A cursor of any size, fitted into the 64 × 64 pixels that the display takes.
//!
//! A smaller one is put into the top left corner with nothing around it, a larger one scaled down so that it keeps its
//! shape. Pixels are ARGB words whose colours are multiplied by their alpha, as Linux's cursor planes have them; so
//! each of the four channels can be averaged by itself, and no colour bleeds out of what is transparent.
//!
//! No I/O, no allocation. The guest chooses the size, so the work has a bound: `EXACT_SCALE`.

/// A pixel as it lies in memory: an ARGB word in the machine's byte order.
pub type Pixel = [u8; 4];

/// Width and height of the display's cursor.
pub const SIZE: u32 = 64;

/// The number of its pixels.
pub const PIXELS: usize = 64 * 64;

/// Up to this many times the display's size every pixel counts. Of a larger cursor only every second, third, … column
/// and row does, so that the work is bounded: 6 × 6 pixels at most for each of the display's.
const EXACT_SCALE: u64 = 4;

/// Fits a cursor of `width` × `height` pixels, which lie row after row in `src`, into `out`, and gives its hot spot
/// there, which is always within. Pixels that `src` doesn't have are transparent.
pub fn fit(src: &[Pixel], width: u32, height: u32, hot: (u32, u32), out: &mut [u32; PIXELS]) -> (u32, u32) {
    out.fill(0);
    if width == 0 || height == 0 {
        return (0, 0);
    }
    if width <= SIZE && height <= SIZE {
        pad(src, width, height, out);
    } else {
        scale(src, width, height, out);
    }
    let (fitted_width, fitted_height) = fitted(width, height);
    (scaled_hot(hot.0, width, fitted_width), scaled_hot(hot.1, height, fitted_height))
}

/// The size that a cursor gets: unchanged where it fits, else with the longer side [`SIZE`].
fn fitted(width: u32, height: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height).max(SIZE));
    let part = |side: u32| {
        let scaled = u64::from(side).saturating_mul(u64::from(SIZE)).saturating_add(longer / 2);
        u32::try_from(scaled.checked_div(longer).unwrap_or(0)).unwrap_or(SIZE).clamp(1, SIZE)
    };
    (part(width), part(height))
}

fn scaled_hot(hot: u32, from: u32, to: u32) -> u32 {
    let scaled = u64::from(hot).saturating_mul(u64::from(to)).checked_div(u64::from(from)).unwrap_or(0);
    u32::try_from(scaled).unwrap_or(u32::MAX).min(SIZE.saturating_sub(1))
}

fn pad(src: &[Pixel], width: u32, height: u32, out: &mut [u32; PIXELS]) {
    let (width, height) = (index(width), index(height));
    let rows = src.chunks(width).zip(out.chunks_exact_mut(index(SIZE))).take(height);
    for (src, out) in rows {
        for (src, out) in src.iter().zip(out) {
            *out = u32::from_ne_bytes(*src);
        }
    }
}

fn scale(src: &[Pixel], width: u32, height: u32, out: &mut [u32; PIXELS]) {
    let (out_width, out_height) = fitted(width, height);
    for (out_row, y) in out.chunks_exact_mut(index(SIZE)).zip(0..out_height) {
        let mut sums = [Sum::default(); SIZE as usize];
        for (y, weight_y) in taps(y, height, out_height) {
            let row = row(src, y, width);
            for (sum, x) in sums.iter_mut().zip(0..out_width) {
                for (x, weight_x) in taps(x, width, out_width) {
                    let pixel = row.get(index(x)).map_or(0, |pixel| u32::from_ne_bytes(*pixel));
                    sum.add(pixel, weight_x.saturating_mul(weight_y));
                }
            }
        }
        for (out, sum) in out_row.iter_mut().zip(&sums) {
            *out = sum.average();
        }
    }
}

/// The source row `y`, or as much of it as there is.
fn row(src: &[Pixel], y: u32, width: u32) -> &[Pixel] {
    let start = index(y).saturating_mul(index(width));
    let rest = src.get(start..).unwrap_or_default();
    rest.get(..index(width)).unwrap_or(rest)
}

/// Which of the `from` source pixels of a line fall on pixel `at` of the `to` that it is scaled to, each with the
/// width of the part of it that does, in units of a `to`th part of a source pixel.
fn taps(at: u32, from: u32, to: u32) -> impl Iterator<Item = (u32, u32)> {
    let (from, to) = (u64::from(from), u64::from(to.max(1)));
    let start = u64::from(at).saturating_mul(from);
    let end = start.saturating_add(from);
    let step = from.div_ceil(to.saturating_mul(EXACT_SCALE)).max(1);
    let first = start.checked_div(to).unwrap_or(0);
    let left = move |pixel: u64| pixel.saturating_mul(to);
    std::iter::successors(Some(first), move |pixel| Some(pixel.saturating_add(step)))
        .take_while(move |pixel| left(*pixel) < end)
        .map(move |pixel| {
            let part = left(pixel).saturating_add(to).min(end).saturating_sub(left(pixel).max(start));
            (narrow(pixel), narrow(part))
        })
}

/// The weighted sums of a pixel's four channels, two in each word. A weight is at most 64 × 64 and there are at most
/// 6 × 6 of them, so each sum stays below 2^26 and none runs into the next.
#[derive(Clone, Copy, Default)]
struct Sum {
    blue_red: u64,
    green_alpha: u64,
    weight: u32,
}

impl Sum {
    fn add(&mut self, pixel: u32, weight: u32) {
        let pixel = u64::from(pixel);
        let blue_red = pixel & 0xff | (pixel & 0xff_0000) << 16;
        let green_alpha = pixel >> 8 & 0xff | (pixel & 0xff00_0000) << 8;
        self.blue_red = self.blue_red.wrapping_add(blue_red.wrapping_mul(u64::from(weight)));
        self.green_alpha = self.green_alpha.wrapping_add(green_alpha.wrapping_mul(u64::from(weight)));
        self.weight = self.weight.wrapping_add(weight);
    }

    fn average(&self) -> u32 {
        let channel = |sums: u64, shift: u32| {
            let sum = sums >> shift & u64::from(u32::MAX);
            let rounded = sum.saturating_add(u64::from(self.weight / 2)).checked_div(u64::from(self.weight));
            rounded.unwrap_or(0).min(0xff)
        };
        let [blue, red] = [channel(self.blue_red, 0), channel(self.blue_red, 32)];
        let [green, alpha] = [channel(self.green_alpha, 0), channel(self.green_alpha, 32)];
        narrow(alpha << 24 | red << 16 | green << 8 | blue)
    }
}

/// For what is known to be less than a u32 was.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`super::fit`] of words.
    fn fit(src: &[u32], width: u32, height: u32, hot: (u32, u32), out: &mut [u32; PIXELS]) -> (u32, u32) {
        let src: Vec<Pixel> = src.iter().map(|word| word.to_ne_bytes()).collect();
        super::fit(&src, width, height, hot, out)
    }

    const RED: u32 = 0xffff_0000;
    const BLUE: u32 = 0xff00_00ff;

    fn at(out: &[u32; PIXELS], x: u32, y: u32) -> u32 {
        out[(y * 64 + x) as usize]
    }

    /// What a box filter is by its definition, in floating point: every source pixel, weighted by the area it shares.
    fn reference(src: &[u32], width: u32, height: u32, out_width: u32, out_height: u32, x: u32, y: u32) -> [f64; 4] {
        let span = |from: u32, target: u32, to: u32| {
            let scale = f64::from(from) / f64::from(to);
            (f64::from(target) * scale, f64::from(target + 1) * scale)
        };
        let share = |source: u32, (start, end): (f64, f64)| {
            ((f64::from(source) + 1.0).min(end) - f64::from(source).max(start)).max(0.0) / (end - start)
        };
        let (columns, rows) = (span(width, x, out_width), span(height, y, out_height));
        let mut sums = [0.0; 4];
        for sy in rows.0 as u32..height.min(rows.1 as u32 + 1) {
            for sx in columns.0 as u32..width.min(columns.1 as u32 + 1) {
                let weight = share(sx, columns) * share(sy, rows);
                let pixel = src[(sy * width + sx) as usize].to_le_bytes();
                for (sum, channel) in sums.iter_mut().zip(pixel) {
                    *sum += weight * f64::from(channel);
                }
            }
        }
        sums
    }

    /// Pixels of which the colours are not above their alpha.
    fn noise(count: u32) -> Vec<u32> {
        let pixel = |n: u32| {
            let [a, r, g, b] = n.wrapping_mul(0x9e37_79b9).rotate_left(n % 31).to_be_bytes();
            u32::from_be_bytes([a, r.min(a), g.min(a), b.min(a)])
        };
        (0..count).map(pixel).collect()
    }

    #[test]
    fn a_cursor_of_the_displays_size_is_copied() {
        let src = noise(4096);
        let mut out = [1; PIXELS];
        assert_eq!(fit(&src, 64, 64, (63, 5), &mut out), (63, 5));
        assert_eq!(out[..], src[..]);
    }

    #[test]
    fn a_smaller_cursor_stands_in_the_corner_with_nothing_around_it() {
        let src = noise(24 * 32);
        let mut out = [1; PIXELS];
        assert_eq!(fit(&src, 24, 32, (3, 4), &mut out), (3, 4));
        for y in 0..64 {
            for x in 0..64 {
                let expected = if x < 24 && y < 32 { src[(y * 24 + x) as usize] } else { 0 };
                assert_eq!(at(&out, x, y), expected, "{x},{y}");
            }
        }
    }

    #[test]
    fn a_larger_cursor_is_averaged_as_the_definition_has_it() {
        for (width, height, out_width, out_height) in [
            (128, 128, 64, 64),
            (65, 64, 64, 63),
            (96, 48, 64, 32),
            (256, 255, 64, 64),
            (100, 250, 26, 64),
            (70, 1, 64, 1),
            (3, 200, 1, 64),
        ] {
            let src = noise(width * height);
            let mut out = [1; PIXELS];
            fit(&src, width, height, (0, 0), &mut out);
            for y in 0..64 {
                for x in 0..64 {
                    let found = at(&out, x, y);
                    if x >= out_width || y >= out_height {
                        assert_eq!(found, 0, "{width}x{height}: {x},{y}");
                        continue;
                    }
                    let expected = reference(&src, width, height, out_width, out_height, x, y);
                    for (found, expected) in found.to_le_bytes().into_iter().zip(expected) {
                        assert!((f64::from(found) - expected).abs() < 0.501, "{width}x{height}: {x},{y}");
                    }
                    let [a, r, g, b] = found.to_be_bytes();
                    assert!(r <= a && g <= a && b <= a, "still multiplied by alpha");
                }
            }
        }
    }

    #[test]
    fn no_colour_bleeds_out_of_transparent_pixels() {
        let src: Vec<u32> = (0..128 * 128).map(|n| if n % 2 == 0 { RED } else { 0 }).collect();
        let mut out = [0; PIXELS];
        fit(&src, 128, 128, (0, 0), &mut out);
        assert_eq!(out, [0x8080_0000; PIXELS]);
    }

    #[test]
    fn a_hot_spot_moves_with_its_picture_and_never_outside() {
        let mut out = [0; PIXELS];
        let src = noise(256 * 128);
        assert_eq!(fit(&src, 128, 128, (127, 64), &mut out), (63, 32));
        assert_eq!(fit(&src, 256, 128, (255, 127), &mut out), (63, 31));
        assert_eq!(fit(&src, 32, 32, (64, u32::MAX), &mut out), (63, 63));
        assert_eq!(fit(&src, 256, 128, (u32::MAX, u32::MAX), &mut out), (63, 63));
    }

    #[test]
    fn what_the_source_does_not_have_is_transparent() {
        let mut out = [1; PIXELS];
        fit(&[BLUE; 100], 64, 64, (0, 0), &mut out);
        assert_eq!((out[99], out[100], out[4095]), (BLUE, 0, 0));
        fit(&[BLUE; 128 * 64], 128, 128, (0, 0), &mut out);
        assert_eq!((at(&out, 63, 31), at(&out, 0, 32)), (BLUE, 0));
        fit(&[], 200, 200, (0, 0), &mut out);
        assert_eq!(out, [0; PIXELS]);
    }

    #[test]
    fn any_size_is_fitted_without_overflow() {
        let src = vec![RED; 16384 * 4];
        let sizes = [0, 1, 64, 65, 1025, 16384, u32::MAX];
        for width in sizes {
            for height in sizes {
                let mut out = [1; PIXELS];
                let (x, y) = fit(&src, width, height, (width, height), &mut out);
                assert!(x < 64 && y < 64);
                assert!(out.iter().all(|&pixel| pixel != 1));
                let first = if width == 0 || height == 0 { 0 } else { RED };
                if u64::from(width) * u64::from(height) <= src.len() as u64 {
                    assert_eq!(out[0], first, "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_huge_cursor_of_one_colour_keeps_it() {
        let mut out = [0; PIXELS];
        fit(&vec![BLUE; 1500 * 1500], 1500, 1500, (1499, 1499), &mut out);
        assert_eq!(out, [BLUE; PIXELS]);
    }
}
