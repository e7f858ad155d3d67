//! Transfers that the library is not asked for.
//!
//! It checks them by itself, with gaps (seen in 0.10.4, and in later versions too): it lets negative first layers pass,
//! computes sizes in 32 bits, looks at the first piece of a backing that has none, and answers for layers and samples that
//! it has not read with what happens to be in its memory. So what it is asked lies within the texture's level and layers, no
//! size that follows from it overflows, layers are read one by one, and textures of several samples a texel not at all.

use crate::gpu::command::{Box3d, Create3d, Transfer3d, target};

/// `VIRGL_BIND_CUSTOM`, `VIRGL_BIND_STAGING`: a buffer of one of these is in its backing, and nowhere else.
const BIND_CUSTOM: u32 = 1 << 17;
const BIND_STAGING: u32 = 1 << 19;

/// No texel, nor a compressed block of them, has more bytes.
const LARGEST_TEXEL: u32 = 16;

/// Largest coordinate and length: they are signed to the library.
const LARGEST: u32 = i32::MAX.cast_unsigned();

/// How a read is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All at once.
    Whole,
    /// Layer by layer, so many bytes apart.
    Layers(u64),
}

/// A texture that there is.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What it was made of.
    pub made: Create3d,
    /// Bytes of its backing.
    pub backing: u64,
}

/// Whether the library may be asked for a transfer within this texture, which has rows of `stride` bytes (at most, where
/// that is not known).
pub fn is_sane(known: &Known, transfer: &Transfer3d, stride: Option<u32>) -> bool {
    let Known { made, backing } = known;
    let end = || u64::from(transfer.region.x).saturating_add(transfer.region.width.into());
    is_within(made, &transfer.region, transfer.level)
        && is_small(made, transfer, stride)
        // Where it finds less, the library ends the process, if it was built with its assertions.
        && (!lies_in_backing(made) || end() <= *backing)
}

/// Whether one picture is all that there is: of two dimensions, without layers or samples.
pub const fn is_flat(made: &Create3d) -> bool {
    matches!(made.target, target::TEXTURE_2D | target::RECT) && made.nr_samples == 0
}

/// Whether its bytes are those of its backing.
const fn lies_in_backing(made: &Create3d) -> bool {
    made.target == target::BUFFER && made.bind & (BIND_CUSTOM | BIND_STAGING) != 0
}

/// How to read, where [`is_sane`]. `None` where the library has no right way.
pub fn reading(made: &Create3d, transfer: &Transfer3d, stride: Option<u32>) -> Option<Reading> {
    if made.nr_samples > 0 {
        return None;
    }
    if transfer.region.depth <= 1 || made.target == target::BUFFER {
        return Some(Reading::Whole);
    }
    if is_compressed(made.format) {
        return (made.target != target::CUBE).then_some(Reading::Whole);
    }
    let rows = match (transfer.stride, stride) {
        (0, None) => return None,
        // A compressed block's is not met here: a texel of the level is as large as one of the first.
        (0, Some(stride)) => {
            u64::from(stride / made.width.max(1)).checked_mul(level_size(made, transfer.level)?.0.into())?
        }
        (stride, _) => stride.into(),
    };
    Some(Reading::Layers(match transfer.layer_stride {
        0 => rows.checked_mul(level_size(made, transfer.level)?.1.into())?,
        layer => layer.into(),
    }))
}

/// Width and height of `level`.
fn level_size(made: &Create3d, level: u32) -> Option<(u32, u32)> {
    let side = |side: u32| Some(side.checked_shr(level)?.max(1));
    (level <= made.last_level).then_some((side(made.width)?, side(made.height)?))
}

/// Layers of `level`: slices, faces, members of an array.
fn layers(made: &Create3d, level: u32) -> u32 {
    let layers =
        if made.target == target::TEXTURE_3D { made.depth.checked_shr(level).unwrap_or(0) } else { made.array_size };
    layers.max(1)
}

fn is_within(made: &Create3d, region: &Box3d, level: u32) -> bool {
    let Some((width, height)) = level_size(made, level) else { return false };
    let fits =
        |start: u32, length: u32, limit: u32| start.checked_add(length).is_some_and(|end| end <= limit.min(LARGEST));
    fits(region.x, region.width, width)
        && fits(region.y, region.height, height)
        && fits(region.z, region.depth, layers(made, level))
}

/// Whether every size that the library computes, of the transfer and of the whole level, fits into 32 bits.
fn is_small(made: &Create3d, transfer: &Transfer3d, stride: Option<u32>) -> bool {
    let Some((width, height)) = level_size(made, transfer.level) else { return false };
    if made.target == target::BUFFER {
        return transfer.offset.saturating_add(width.into()) <= u32::MAX.into();
    }
    // Rounded up by a block.
    let rows = stride.map_or_else(
        || u64::from(width) * u64::from(LARGEST_TEXEL),
        |stride| u64::from(stride.checked_shr(transfer.level).unwrap_or(0)) + u64::from(LARGEST_TEXEL),
    );
    let whole = rows.saturating_mul(height.into()).saturating_mul(layers(made, transfer.level).into());
    let rows = if transfer.stride == 0 { rows } else { transfer.stride.into() };
    let layer = match transfer.layer_stride {
        0 => rows.saturating_mul(height.into()),
        layer => layer.into(),
    };
    let last = rows.saturating_mul(transfer.region.height.into());
    let before = layer.saturating_mul(transfer.region.depth.saturating_sub(1).into());
    let end = before.saturating_add(last).saturating_add(transfer.offset);
    whole <= u32::MAX.into() && end <= u32::MAX.into()
}

/// Whether `format` (of `enum virgl_formats`) has blocks of several texels: S3TC, RGTC, LATC, ETC, BPTC and ASTC.
const fn is_compressed(format: u32) -> bool {
    matches!(format, 105..=116 | 143..=146 | 226 | 255..=258 | 269..=306)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::command::ResourceId;

    const TARGET_2D_ARRAY: u32 = 7;

    fn made(target: u32, width: u32, height: u32, depth: u32, array_size: u32) -> Create3d {
        let (format, bind, last_level) = (1, 8, 2);
        let resource_id = ResourceId(1);
        Create3d {
            resource_id,
            target,
            format,
            bind,
            width,
            height,
            depth,
            array_size,
            last_level,
            nr_samples: 0,
            flags: 0,
        }
    }

    fn transfer(region: [u32; 6]) -> Transfer3d {
        let [x, y, z, width, height, depth] = region;
        let region = Box3d { x, y, z, width, height, depth };
        Transfer3d { region, offset: 0, resource_id: ResourceId(1), level: 0, stride: 0, layer_stride: 0 }
    }

    fn is_sane(made: &Create3d, transfer: &Transfer3d, stride: Option<u32>) -> bool {
        super::is_sane(&Known { made: *made, backing: 0 }, transfer, stride)
    }

    #[test]
    fn what_lies_in_the_level_and_its_layers_is_sane() {
        let flat = made(target::TEXTURE_2D, 64, 32, 1, 1);
        assert!(is_sane(&flat, &transfer([0, 0, 0, 64, 32, 1]), None));
        assert!(is_sane(&flat, &transfer([63, 31, 0, 1, 1, 1]), None));
        let level = Transfer3d { level: 2, ..transfer([0, 0, 0, 16, 8, 1]) };
        assert!(is_sane(&flat, &level, None));
        assert!(!is_sane(&flat, &Transfer3d { level: 2, ..transfer([0, 0, 0, 17, 8, 1]) }, None));
        assert!(!is_sane(&flat, &Transfer3d { level: 3, ..transfer([0, 0, 0, 1, 1, 1]) }, None));
        assert!(!is_sane(&flat, &Transfer3d { level: u32::MAX, ..transfer([0, 0, 0, 1, 1, 1]) }, None));
        for outside in [
            [1, 0, 0, 64, 32, 1],
            [0, 1, 0, 64, 32, 1],
            [0, 0, 1, 64, 32, 1],
            [0, 0, 0, 64, 32, 2],
            [0, 0, u32::MAX, 64, 32, 1],
            [u32::MAX, 0, 0, 2, 1, 1],
            [0, 0, 0, u32::MAX, 1, 1],
            [0, 0, 0x8000_0000, 1, 1, 0x8000_0000],
        ] {
            assert!(!is_sane(&flat, &transfer(outside), None), "{outside:?}");
        }
        let volume = made(target::TEXTURE_3D, 8, 8, 8, 1);
        assert!(is_sane(&volume, &transfer([0, 0, 4, 8, 8, 4]), None));
        assert!(!is_sane(&volume, &Transfer3d { level: 1, ..transfer([0, 0, 4, 4, 4, 1]) }, None));
        let array = made(TARGET_2D_ARRAY, 8, 8, 1, 5);
        assert!(is_sane(&array, &Transfer3d { level: 1, ..transfer([0, 0, 4, 4, 4, 1]) }, None));
    }

    #[test]
    fn sizes_that_do_not_fit_into_32_bits_are_not() {
        let array = made(TARGET_2D_ARRAY, 8, 8, 1, 5);
        let whole = transfer([0, 0, 0, 8, 8, 5]);
        assert!(is_sane(&array, &whole, None));
        assert!(!is_sane(&array, &Transfer3d { stride: 0x2000_0000, ..whole }, None));
        assert!(!is_sane(&array, &Transfer3d { layer_stride: 0x4000_0000, ..whole }, None));
        assert!(!is_sane(&array, &Transfer3d { offset: u64::from(u32::MAX), ..whole }, None));
        assert!(!is_sane(&array, &Transfer3d { offset: u64::MAX, ..whole }, None));
    }

    #[test]
    fn a_large_texture_is_sane_once_its_texels_are_known_to_be_small() {
        let large = made(target::TEXTURE_2D, 16384, 16384, 1, 1);
        let whole = transfer([0, 0, 0, 16384, 16384, 1]);
        assert!(!is_sane(&large, &whole, None));
        assert!(is_sane(&large, &whole, Some(16384 * 4)));
    }

    #[test]
    fn several_layers_are_read_one_by_one() {
        let array = made(TARGET_2D_ARRAY, 8, 4, 1, 5);
        let two = transfer([0, 0, 0, 8, 4, 2]);
        assert_eq!(reading(&array, &transfer([0, 0, 3, 8, 4, 1]), None), Some(Reading::Whole));
        assert_eq!(reading(&array, &two, None), None, "their distance is not known");
        assert_eq!(reading(&array, &two, Some(32)), Some(Reading::Layers(32 * 4)));
        assert_eq!(reading(&array, &Transfer3d { level: 1, ..two }, Some(32)), Some(Reading::Layers(16 * 2)));
        assert_eq!(reading(&array, &Transfer3d { stride: 40, ..two }, None), Some(Reading::Layers(40 * 4)));
        assert_eq!(
            reading(&array, &Transfer3d { stride: 40, layer_stride: 999, ..two }, None),
            Some(Reading::Layers(999))
        );
    }

    #[test]
    fn several_samples_a_texel_are_not_read() {
        let one = transfer([0, 0, 0, 8, 4, 1]);
        let samples = Create3d { nr_samples: 1, ..made(target::TEXTURE_2D, 8, 4, 1, 1) };
        assert_eq!(reading(&samples, &one, Some(32)), None);
        assert_eq!(reading(&Create3d { nr_samples: 0, ..samples }, &one, None), Some(Reading::Whole));
    }

    #[test]
    fn a_buffer_that_is_its_backing_ends_where_that_ends() {
        let region = transfer([4000, 0, 0, 96, 1, 1]);
        for (bind, lies_there) in [(16, false), (BIND_CUSTOM, true), (BIND_STAGING, true)] {
            let made = Create3d { bind, last_level: 0, ..made(target::BUFFER, 4096, 1, 1, 1) };
            assert!(super::is_sane(&Known { made, backing: 4096 }, &region, None));
            assert_eq!(super::is_sane(&Known { made, backing: 4095 }, &region, None), !lies_there, "{bind}");
        }
    }

    #[test]
    fn a_flat_one_has_neither_layers_nor_samples() {
        for target in 0..10 {
            let made = made(target, 8, 4, 1, 1);
            assert_eq!(is_flat(&made), target == target::TEXTURE_2D || target == target::RECT, "{target}");
            assert!(!is_flat(&Create3d { nr_samples: 4, ..made }));
        }
    }
}
