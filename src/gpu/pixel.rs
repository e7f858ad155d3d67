//! The eight pixel formats of virtio-gpu, and the way from each of them to the display's.
//!
//! The display's order, which is also the host's copy's and the cursor's, is a `u32` 0xAARRGGBB in the machine's byte
//! order: what the vhost-user-gpu protocol calls XRGB8888, and on a little-endian machine bytes B, G, R, A in memory.
//! In formats whose fourth byte has no meaning (X) that byte is kept as it stands: Linux draws its cursors, which are
//! transparent, into buffers that are called B8G8R8X8.
//!
//! No I/O, no allocation; loops over whole rows, which the compiler turns into vector instructions.

/// `enum virtio_gpu_formats` (VIRTIO 1.3, 5.7.6.8, RESOURCE_CREATE_2D): names give the bytes in the order in which they
/// lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Format {
    B8G8R8A8 = 1,
    B8G8R8X8 = 2,
    A8R8G8B8 = 3,
    X8R8G8B8 = 4,
    R8G8B8A8 = 67,
    X8B8G8R8 = 68,
    A8B8G8R8 = 121,
    R8G8B8X8 = 134,
}

/// Bytes of a pixel, in each of the formats.
pub const PIXEL: usize = 4;

impl Format {
    /// `None` for a number that the standard doesn't have.
    pub const fn from_u32(number: u32) -> Option<Format> {
        Some(match number {
            1 => Format::B8G8R8A8,
            2 => Format::B8G8R8X8,
            3 => Format::A8R8G8B8,
            4 => Format::X8R8G8B8,
            67 => Format::R8G8B8A8,
            68 => Format::X8B8G8R8,
            121 => Format::A8B8G8R8,
            134 => Format::R8G8B8X8,
            _ => return None,
        })
    }

    /// Whether it already is the display's order, so that pixels can be copied as they are.
    pub const fn is_display_order(self) -> bool {
        cfg!(target_endian = "little") && matches!(self, Format::B8G8R8A8 | Format::B8G8R8X8)
    }
}

/// Converts pixels where they are: from `format`'s bytes to the display's. Bytes beyond the last whole pixel stay.
pub fn to_display_order(format: Format, pixels: &mut [u8]) {
    match format {
        Format::B8G8R8A8 | Format::B8G8R8X8 if format.is_display_order() => {}
        Format::B8G8R8A8 | Format::B8G8R8X8 => each(pixels, from_bgra),
        Format::A8R8G8B8 | Format::X8R8G8B8 => each(pixels, from_argb),
        Format::R8G8B8A8 | Format::R8G8B8X8 => each(pixels, from_rgba),
        Format::A8B8G8R8 | Format::X8B8G8R8 => each(pixels, from_abgr),
    }
}

/// The way back: from the display's order to `format`'s.
pub fn from_display_order(format: Format, pixels: &mut [u8]) {
    match format {
        // The only one that is not its own way back: its bytes are turned by one place.
        Format::A8B8G8R8 | Format::X8B8G8R8 => {
            for pixel in pixels.as_chunks_mut::<4>().0 {
                *pixel = u32::from_ne_bytes(*pixel).rotate_left(8).to_le_bytes();
            }
        }
        _ => to_display_order(format, pixels),
    }
}

fn each(pixels: &mut [u8], convert: impl Fn([u8; 4]) -> u32) {
    for pixel in pixels.as_chunks_mut::<4>().0 {
        *pixel = convert(*pixel).to_ne_bytes();
    }
}

fn from_bgra(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

fn from_argb(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

fn from_rgba(bytes: [u8; 4]) -> u32 {
    let abgr = u32::from_le_bytes(bytes);
    abgr & 0xff00_ff00 | abgr >> 16 & 0xff | (abgr & 0xff) << 16
}

fn from_abgr(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes).rotate_right(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_bindings::virtio_gpu as linux;

    const FORMATS: [(Format, u32, &str); 8] = [
        (Format::B8G8R8A8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, "BGRA"),
        (Format::B8G8R8X8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, "BGRX"),
        (Format::A8R8G8B8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, "ARGB"),
        (Format::X8R8G8B8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, "XRGB"),
        (Format::R8G8B8A8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, "RGBA"),
        (Format::X8B8G8R8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, "XBGR"),
        (Format::A8B8G8R8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, "ABGR"),
        (Format::R8G8B8X8, linux::virtio_gpu_formats_VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, "RGBX"),
    ];

    /// The bytes of a pixel, in the order that the format's name says.
    fn in_memory(order: &str, [a, r, g, b]: [u8; 4]) -> Vec<u8> {
        let byte = |c| match c {
            'R' => r,
            'G' => g,
            'B' => b,
            _ => a,
        };
        order.chars().map(byte).collect()
    }

    #[test]
    fn formats_have_the_kernels_numbers_and_there_are_no_others() {
        for (format, number, _) in FORMATS {
            assert_eq!(Format::from_u32(number), Some(format));
            assert_eq!(format as u32, number);
        }
        assert_eq!((0..1000).filter_map(Format::from_u32).count(), 8);
        assert_eq!(Format::from_u32(u32::MAX), None);
    }

    #[test]
    fn every_format_arrives_as_argb_words_with_its_fourth_byte_kept() {
        for (format, _, order) in FORMATS {
            let mut src = Vec::new();
            let mut expected = Vec::new();
            for n in 0..1000u32 {
                let argb = n.wrapping_mul(0x9e37_79b9);
                src.extend(in_memory(order, argb.to_be_bytes()));
                expected.push(argb);
            }
            to_display_order(format, &mut src);
            let words: Vec<u32> = src.as_chunks().0.iter().map(|pixel| u32::from_ne_bytes(*pixel)).collect();
            assert_eq!(words, expected, "{format:?}");
        }
    }

    #[test]
    fn bytes_beyond_the_last_whole_pixel_stay() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7];
        to_display_order(Format::A8R8G8B8, &mut bytes);
        assert_eq!(bytes[..4], 0x0102_0304u32.to_ne_bytes());
        assert_eq!(bytes[4..], [5, 6, 7]);
    }
}
