//! Pictures: what the guest meant to draw, what QEMU shows, and where the two differ.

use seat_guest::picture::{self, Rect};

use crate::error::{Error, Result};

/// Pixels as 0x00RRGGBB, row after row.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    pub width: u32,
    pub height: u32,
    pixels: Vec<u32>,
}

impl Image {
    /// A black picture.
    pub fn new(width: u32, height: u32) -> Self {
        Image { width, height, pixels: vec![0; width as usize * height as usize] }
    }

    /// The picture that the guest's `show SEED` paints.
    pub fn picture(seed: u32, width: u32, height: u32) -> Self {
        let mut image = Image::new(width, height);
        image.paint(seed, Rect::of_size(width, height));
        image
    }

    /// The picture that the guest's `draw` draws.
    pub fn fractal(size: u32) -> Self {
        let mut image = Image::new(size, size);
        for (i, p) in (0..).zip(&mut image.pixels) {
            *p = picture::fractal(size, i % size, i / size);
        }
        image
    }

    /// Does what the guest's `paint` does.
    pub fn paint(&mut self, seed: u32, rect: Rect) {
        picture::paint(&mut self.pixels, self.width as usize, seed, rect);
    }

    /// Fills a rectangle with one colour.
    pub fn fill(&mut self, colour: u32, rect: Rect) {
        picture::fill(&mut self.pixels, self.width as usize, colour, rect);
    }

    /// A part of it: what a head shows of a larger buffer. What lies outside is black.
    pub fn crop(&self, part: Rect) -> Image {
        let mut image = Image::new(part.width, part.height);
        for (i, p) in image.pixels.iter_mut().enumerate() {
            let (x, y) = (part.x + i as u32 % part.width, part.y + i as u32 / part.width);
            *p = self.pixel(x, y).unwrap_or(0);
        }
        image
    }

    pub fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        if x >= self.width {
            return None;
        }
        self.pixels.get(y as usize * self.width as usize + x as usize).copied()
    }

    /// Sets a pixel, if there is one at that place.
    pub fn set(&mut self, x: u32, y: u32, pixel: u32) {
        let place = self.pixels.get_mut(y as usize * self.width as usize + x as usize).filter(|_| x < self.width);
        place.into_iter().for_each(|p| *p = pixel);
    }

    /// How many different colours there are: one for an empty screen, a few for a text console.
    pub fn colours(&self) -> usize {
        let mut all = self.pixels.clone();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// How many pixels are not black.
    pub fn lit(&self) -> usize {
        self.pixels.iter().filter(|&&p| p != 0).count()
    }

    /// Says how this picture differs from the one expected; `None` when it does not.
    pub fn difference(&self, expected: &Image) -> Option<String> {
        if (self.width, self.height) != (expected.width, expected.height) {
            let (w, h) = (expected.width, expected.height);
            return Some(format!("it is {}x{} and should be {w}x{h}", self.width, self.height));
        }
        let wrong = |i: &usize| self.pixels[*i] != expected.pixels[*i];
        let wrong: Vec<usize> = (0..self.pixels.len()).filter(wrong).collect();
        let first = *wrong.first()?;
        let place = |i: usize| (i as u32 % self.width, i as u32 / self.width);
        let (mut left, mut right, mut bottom) = (self.width, 0, 0);
        for (x, y) in wrong.iter().map(|&i| place(i)) {
            (left, right, bottom) = (left.min(x), right.max(x), bottom.max(y));
        }
        let ((x, y), is, should) = (place(first), self.pixels[first], expected.pixels[first]);
        Some(format!(
            "{} of {} pixels differ, within {left},{y} to {right},{bottom}; at {x},{y} stands {is:06x} and should {should:06x}",
            wrong.len(),
            self.pixels.len()
        ))
    }

    /// Reads a PPM (P6, 8 bits) as QEMU's screendump writes it. QEMU pads each row to 4 bytes, which the format does not
    /// know and the header does not tell; a file of the right length without padding is read as well.
    pub fn from_ppm(bytes: &[u8]) -> Result<Self> {
        let bad = |what: &str| Error::Failed(format!("PPM: {what}"));
        let mut at = 0;
        let mut word = || {
            while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                at += 1;
            }
            let start = at;
            while bytes.get(at).is_some_and(|b| !b.is_ascii_whitespace()) {
                at += 1;
            }
            let word = std::str::from_utf8(bytes.get(start..at).unwrap_or_default()).unwrap_or_default();
            at += 1;
            word
        };
        let (magic, width, height, max) = (word(), word(), word(), word());
        if magic != "P6" || max != "255" {
            return Err(bad("not P6 with 8 bits"));
        }
        let size = |text: &str| text.parse::<u32>().ok().filter(|n| (1..=65536).contains(n)).ok_or(bad("size"));
        let (width, height) = (size(width)?, size(height)?);
        let data = bytes.get(at..).unwrap_or_default();
        let row = width as usize * 3;
        let padded = row.next_multiple_of(4);
        let stride = if data.len() == row * height as usize { row } else { padded };
        if data.len() != stride * height as usize {
            return Err(bad(&format!("{} bytes of data are no {width}x{height} picture", data.len())));
        }
        let rows = data.chunks_exact(stride).flat_map(|r| r[..row].chunks_exact(3));
        let pixels = rows.map(|p| u32::from_be_bytes([0, p[0], p[1], p[2]])).collect();
        Ok(Image { width, height, pixels })
    }

    /// A PPM as the format has it, without padding.
    pub fn to_ppm(&self) -> Vec<u8> {
        let mut bytes = format!("P6\n{} {}\n255\n", self.width, self.height).into_bytes();
        bytes.extend(self.pixels.iter().flat_map(|p| [(p >> 16) as u8, (p >> 8) as u8, *p as u8]));
        bytes
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image {}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppm_with_and_without_qemus_padding_is_the_same_picture() {
        let image = Image::picture(3, 5, 2);
        let packed = image.to_ppm();
        let header = packed.len() - 30;
        let mut padded = packed[..header].to_vec();
        for row in packed[header..].chunks_exact(15) {
            padded.extend_from_slice(row);
            padded.push(0xee);
        }
        assert_eq!(Image::from_ppm(&packed).unwrap(), image);
        assert_eq!(Image::from_ppm(&padded).unwrap(), image);
    }

    #[test]
    fn a_ppm_cut_short_is_an_error() {
        let mut bytes = Image::picture(3, 8, 8).to_ppm();
        bytes.pop();
        for bytes in [&bytes[..], b"", b"P6\n", b"P6\n0 0\n255\n", b"P5\n1 1\n255\n\0"] {
            assert!(Image::from_ppm(bytes).is_err());
        }
    }

    #[test]
    fn a_difference_names_place_and_pixels() {
        let expected = Image::picture(1, 40, 30);
        let mut shown = expected.clone();
        assert_eq!(shown.difference(&expected), None);
        shown.paint(2, Rect::new(10, 20, 4, 5));
        let text = shown.difference(&expected).unwrap();
        assert!(text.starts_with("20 of 1200 pixels differ, within 10,20 to 13,24"), "{text}");
        assert_eq!(shown.crop(Rect::new(0, 0, 10, 30)), expected.crop(Rect::new(0, 0, 10, 30)));
    }
}
