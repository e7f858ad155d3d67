//! What a texture costs. No I/O.
//!
//! The renderer does not tell what it takes, so it is estimated: generously for what is odd, closely for what is usual.

#![warn(clippy::arithmetic_side_effects)]

use super::command::{Create3d, target};

/// What a texture takes beside its texels, in the renderer and in the driver.
const OVERHEAD: u64 = 4096;
/// What a row's bytes, and the number of rows, are multiples of.
const ROW: u64 = 64;
const ROWS: u64 = 4;

/// Bytes that a 3D resource is charged for; `None` where they are too many to count.
pub fn cost(args: &Create3d) -> Option<u64> {
    let bytes = if args.target == target::BUFFER { u64::from(args.width) } else { texels(args)? };
    bytes.checked_add(OVERHEAD)
}

/// Bytes of all levels, layers and samples. Rows and their number are rounded up: a texture of one column takes as much as
/// one of sixteen (seen in Mesa's software driver).
fn texels(args: &Create3d) -> Option<u64> {
    let size = u64::from(size(args.format));
    let mut all: u64 = 0;
    // No side has more halves.
    for level in 0..=args.last_level.min(31) {
        let side = |side: u32| u64::from(side.checked_shr(level).unwrap_or(0).max(1));
        let row = side(args.width).checked_mul(size)?.checked_next_multiple_of(ROW)?;
        let rows = side(args.height).checked_next_multiple_of(ROWS)?;
        all = all.checked_add(row.checked_mul(rows)?.checked_mul(side(args.depth))?)?;
    }
    all.checked_mul(u64::from(args.array_size.max(1)))?.checked_mul(u64::from(args.nr_samples.max(1)))
}

/// Bytes of a texel of that format (`enum virgl_formats`), or a little more.
fn size(format: u32) -> u32 {
    /// Bytes of a texel of one to four components, whose formats have numbers in a row.
    fn components(format: u32, first: u32, size: u32) -> u32 {
        (format.saturating_sub(first) % 4).saturating_add(1).saturating_mul(size)
    }
    match format {
        // Components of 64, 32 and 16 bits.
        24..=27 => components(format, 24, 8),
        28..=47 => components(format, 28, 4),
        87..=90 => components(format, 87, 4),
        193..=200 => components(format, 193, 4),
        48..=63 => components(format, 48, 2),
        91..=94 => components(format, 91, 2),
        185..=192 => components(format, 185, 2),
        // Four of 32 bits, four of 16, two of 32; a depth with a stencil beside it.
        239..=241 => 16,
        126 | 138 | 161 | 220 | 224 | 234..=238 | 246 | 251 | 252 => 8,
        // One byte: luminance, alpha, intensity, a red one, a stencil; and what is compressed.
        9..=11
        | 23
        | 64
        | 69
        | 74
        | 82
        | 95
        | 105..=116
        | 143..=148
        | 150
        | 177
        | 181
        | 201..=203
        | 205..=207
        | 226
        | 255..=258
        | 269..=278 => 1,
        // Two: 5, 6 and 5 bits, and their like.
        5..=7 | 12 | 13 | 16 | 65 | 70 | 75 | 83 | 96 | 122 | 135 | 141 | 142 | 178 | 182 => 2,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::command::ResourceId;

    const PLAIN: Create3d = Create3d {
        resource_id: ResourceId(1),
        target: 2,
        format: 1,
        bind: 2,
        width: 100,
        height: 10,
        depth: 1,
        array_size: 1,
        last_level: 0,
        nr_samples: 0,
        flags: 0,
    };

    #[test]
    fn a_texture_costs_its_texels() {
        let wide = Create3d { width: 128, height: 12, ..PLAIN };
        assert_eq!(cost(&wide), Some(128 * 12 * 4 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 64, ..wide }), Some(128 * 12 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 31, ..wide }), Some(128 * 12 * 16 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 94, ..wide }), Some(128 * 12 * 8 + OVERHEAD));
        assert_eq!(cost(&Create3d { nr_samples: 4, array_size: 6, ..wide }), Some(24 * 128 * 12 * 4 + OVERHEAD));
        assert_eq!(cost(&Create3d { depth: 3, ..wide }), Some(3 * 128 * 12 * 4 + OVERHEAD));
        assert_eq!(cost(&Create3d { target: 0, width: 77, height: 1, ..PLAIN }), Some(77 + OVERHEAD));
    }

    #[test]
    fn thin_ones_cost_what_they_take_and_not_what_they_show() {
        let thin = Create3d { format: 64, width: 1, height: 16384, ..PLAIN };
        assert_eq!(cost(&thin), Some((1 << 20) + OVERHEAD));
        assert!(cost(&Create3d { last_level: 14, ..thin }).is_some_and(|bytes| bytes > 2 << 20));
        let many = Create3d { format: 64, width: 1, height: 1, array_size: 2048, ..PLAIN };
        assert_eq!(cost(&many), Some((512 << 10) + OVERHEAD));
    }

    #[test]
    fn absurd_ones_cost_more_than_anybody_has() {
        let all = u32::MAX;
        let absurd = Create3d {
            width: all,
            height: all,
            depth: all,
            array_size: all,
            nr_samples: all,
            last_level: all,
            ..PLAIN
        };
        assert_eq!(cost(&absurd), None);
        assert!(cost(&Create3d { width: all, height: 1 << 27, ..PLAIN }).is_some_and(|bytes| bytes > 1 << 60));
    }
}
