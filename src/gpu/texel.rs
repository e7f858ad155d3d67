//! What a texture costs. No I/O.
//!
//! The renderer does not tell what it takes, so it is estimated: generously for what is odd, closely for what is usual.

#![warn(clippy::arithmetic_side_effects)]

use super::command::Create3d;

/// A buffer: its width is in bytes (`PIPE_BUFFER`).
const BUFFER: u32 = 0;
/// What a texture takes beside its texels, in the renderer and in the driver.
const OVERHEAD: u64 = 4096;

/// Bytes that a 3D resource is charged for; `None` where they are too many to count.
pub fn cost(args: &Create3d) -> Option<u64> {
    let bytes = if args.target == BUFFER {
        u64::from(args.width)
    } else {
        let mut bytes = u64::from(size(args.format));
        for factor in [args.width, args.height, args.depth, args.array_size, args.nr_samples] {
            bytes = bytes.checked_mul(u64::from(factor.max(1)))?;
        }
        // All smaller levels together are a third of the first one.
        if args.last_level > 0 { bytes.checked_add(bytes / 3)? } else { bytes }
    };
    bytes.checked_add(OVERHEAD)
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
        assert_eq!(cost(&PLAIN), Some(4000 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 64, ..PLAIN }), Some(1000 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 31, ..PLAIN }), Some(16_000 + OVERHEAD));
        assert_eq!(cost(&Create3d { format: 94, ..PLAIN }), Some(8000 + OVERHEAD));
        assert_eq!(cost(&Create3d { nr_samples: 4, array_size: 6, last_level: 3, ..PLAIN }), Some(128_000 + OVERHEAD));
        assert_eq!(cost(&Create3d { target: 0, width: 77, height: 1, ..PLAIN }), Some(77 + OVERHEAD));
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
