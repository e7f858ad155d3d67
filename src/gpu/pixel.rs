//! Pixel formats: so far those in display order (B8G8R8A8, B8G8R8X8).
#[derive(Debug, Clone, Copy)]
pub struct Format;

impl Format {
    pub fn from_u32(format: u32) -> Option<Self> {
        matches!(format, 1 | 2).then_some(Format)
    }
}
pub fn to_display_order(_: Format, _: &mut [u8]) {}
