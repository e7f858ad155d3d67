//! Pictures as a guest means them: a colour, 0xRRGGBB, for each pixel.

use seat_frontend::display::Surface;
use seat_frontend::gpu::{Rect, format};

use super::random::Random;

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// Row by row.
    pub rgb: Vec<u32>,
}

impl Picture {
    /// One colour all over.
    pub fn flat(width: u32, height: u32, rgb: u32) -> Picture {
        Picture { width, height, rgb: vec![rgb; (width * height) as usize] }
    }

    /// No two pixels alike, but by chance.
    pub fn noise(width: u32, height: u32, seed: u64) -> Picture {
        let mut random = Random::new(seed);
        let rgb = (0..width * height).map(|_| random.next() as u32 & 0xff_ffff).collect();
        Picture { width, height, rgb }
    }

    /// All of it.
    pub fn rect(&self) -> Rect {
        Rect::new(0, 0, self.width, self.height)
    }

    pub fn at(&self, x: u32, y: u32) -> u32 {
        self.rgb[(y * self.width + x) as usize]
    }

    /// Paints a rectangle, which must lie inside.
    pub fn fill(&mut self, rect: Rect, rgb: u32) {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                self.rgb[(y * self.width + x) as usize] = rgb;
            }
        }
    }

    /// Copies a rectangle of another picture of the same size.
    pub fn take(&mut self, from: &Picture, rect: Rect) {
        for y in rect.y..rect.y + rect.height {
            let row = (y * self.width + rect.x) as usize..(y * self.width + rect.x + rect.width) as usize;
            self.rgb[row.clone()].copy_from_slice(&from.rgb[row]);
        }
    }

    /// The part inside a rectangle.
    pub fn crop(&self, rect: Rect) -> Picture {
        let rgb = (rect.y..rect.y + rect.height)
            .flat_map(|y| (rect.x..rect.x + rect.width).map(move |x| (x, y)))
            .map(|(x, y)| self.at(x, y))
            .collect();
        Picture { width: rect.width, height: rect.height, rgb }
    }

    /// The bytes that a guest writes for it in a format. Alpha and padding bytes are 0x5a, which nobody shall see.
    pub fn bytes(&self, format: u32) -> Vec<u8> {
        self.rgb.iter().flat_map(|rgb| pixel_bytes(format, *rgb, 0x5a)).collect()
    }

    /// How what a display shows differs from this.
    pub fn difference(&self, surface: Option<&Surface>) -> String {
        let Some(surface) = surface else { return "it is off".into() };
        if (surface.width, surface.height) != (self.width, self.height) {
            return format!("it is of {} x {}", surface.width, surface.height);
        }
        let pairs = surface.pixels.chunks_exact(4).map(shown).zip(&self.rgb);
        let wrong: Vec<(usize, u32, u32)> =
            pairs.enumerate().filter(|(_, (is, due))| is != *due).map(|(at, (is, due))| (at, is, *due)).collect();
        let Some(&(at, is, due)) = wrong.first() else { return "nothing".into() };
        let place = |at: usize| (at % self.width as usize, at / self.width as usize);
        let last = wrong.last().map_or((0, 0), |last| place(last.0));
        let first = place(at);
        format!("{} pixels, from {first:?}, {is:#08x} instead of {due:#08x}, to {last:?}", wrong.len())
    }

    /// Whether a display shows exactly this.
    pub fn is_on(&self, surface: Option<&Surface>) -> bool {
        surface.is_some_and(|surface| {
            // From below: what is missing of a picture that is still coming in is found soonest there.
            (surface.width, surface.height) == (self.width, self.height)
                && surface.pixels.chunks_exact(4).zip(&self.rgb).rev().all(|(pixel, rgb)| shown(pixel) == *rgb)
        })
    }
}

/// The colour of a pixel as it stands in a display's surface.
pub fn shown(pixel: &[u8]) -> u32 {
    u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0])
}

/// A pixel in guest memory, by the names of the formats.
pub fn pixel_bytes(format: u32, rgb: u32, alpha: u8) -> [u8; 4] {
    let [b, g, r, _] = rgb.to_le_bytes();
    let a = alpha;
    match format {
        format::B8G8R8A8 | format::B8G8R8X8 => [b, g, r, a],
        format::A8R8G8B8 | format::X8R8G8B8 => [a, r, g, b],
        format::R8G8B8A8 | format::R8G8B8X8 => [r, g, b, a],
        format::A8B8G8R8 | format::X8B8G8R8 => [a, b, g, r],
        _ => panic!("no format has the number {format}"),
    }
}
