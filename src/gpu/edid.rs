//! An EDID for a head whose front end can't give us one: an older QEMU (7.2), or no display socket at all.
//!
//! One block of EDID 1.4 (VESA E-EDID standard, release A, revision 2) that describes a digital sRGB monitor with the
//! wanted size as its preferred mode at 60 Hz and the usual sizes beside it, for a guest to choose from. Timings are
//! those of VESA's CVT standard with reduced blanking; nothing reads them but a guest's list of modes. No I/O.

/// The size of an EDID's base block.
pub const SIZE: usize = 128;

/// The largest width and height that a detailed timing can say.
pub const MAX_SIDE: u32 = 4095;

const REFRESH: u64 = 60;

/// A detailed timing's clock is a u16 of 10 kHz. A size that needs more gets this, and fewer pictures a second.
const MAX_CLOCK: u64 = 65535;

/// Pixels in an inch: what Linux and Windows take for a screen that needs no scaling.
const DPI: u64 = 96;

/// Three letters of five bits each. No maker of monitors has these.
const MAKER: &[u8; 3] = b"VHS";

/// 13 characters at most; a shorter one is ended by a line feed and padded with blanks.
const NAME: &[u8; 13] = b"vhost-seat\n  ";

/// The year in which this block was designed, as the model's year.
const MODEL_YEAR: u8 = 36; // 1990 + 36

/// An EDID of a monitor whose preferred mode is `width` × `height`, each brought between 1 and [`MAX_SIDE`].
pub fn fallback(width: u32, height: u32) -> [u8; SIZE] {
    let mode = Mode::new(width, height);
    let mut block = Block { bytes: [0; SIZE], used: 0 };
    block.put(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
    block.put(&maker());
    block.put(&[1, 0]); // product
    block.put(&[0; 4]); // no serial number
    block.put(&[0xff, MODEL_YEAR]);
    block.put(&[1, 4]); // the EDID's version
    block.put(&[0b1010_0000]); // digital, 8 bits a colour, no particular plug
    block.put(&[centimetres(mode.width_mm), centimetres(mode.height_mm)]);
    block.put(&[120]); // gamma 2.2
    block.put(&[0b0000_0111]); // RGB 4:4:4, sRGB, the first timing is the native one, any frequency within limits
    block.put(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]); // sRGB's primaries and white
    block.put(&[1 << 5 | 1 << 0, 1 << 3, 0]); // 640×480, 800×600 and 1024×768 at 60 Hz
    for (width, aspect) in STANDARD_MODES {
        block.put(&[width, aspect << 6]); // at 60 Hz
    }
    block.put(&mode.detailed_timing());
    block.put(&mode.range_limits());
    block.put(&[0, 0, 0, 0xfc, 0]);
    block.put(NAME);
    block.put(&[0, 0, 0, 0x10, 0]); // nothing more
    block.put(&[0; 13]);
    block.put(&[0]); // no further block
    block.sealed()
}

/// Width in units of 8 pixels beyond 248, and aspect ratio: 0 is 16:10, 1 is 4:3, 2 is 5:4, 3 is 16:9.
const STANDARD_MODES: [(u8, u8); 8] = [
    (129, 3), // 1280×720
    (129, 0), // 1280×800
    (129, 2), // 1280×1024
    (149, 0), // 1440×900
    (169, 1), // 1600×1200
    (179, 0), // 1680×1050
    (209, 3), // 1920×1080
    (209, 0), // 1920×1200
];

/// A mode with its timing, in pixels and lines, and the size of its picture. Every number but the clock is below 2^13.
struct Mode {
    width: u64,
    height: u64,
    vertical_sync: u64,
    vertical_blank: u64,
    /// In units of 10 kHz.
    clock: u64,
    width_mm: u64,
    height_mm: u64,
}

// CVT, reduced blanking: what stands between two lines is always the same.
const HORIZONTAL_BLANK: u64 = 160;
const HORIZONTAL_FRONT: u64 = 48;
const HORIZONTAL_SYNC: u64 = 32;
const VERTICAL_FRONT: u64 = 3;
const MIN_VERTICAL_BACK: u64 = 6;
/// The time between two pictures, in microseconds.
const VERTICAL_BLANK_TIME: u64 = 460;
/// Readers take a timing with a lower clock (here in pixels a second) for nonsense, so tiny pictures get more blank
/// lines than CVT gives them.
const MIN_CLOCK: u64 = 10_000_000;

impl Mode {
    fn new(width: u32, height: u32) -> Mode {
        let width = u64::from(width.clamp(1, MAX_SIDE));
        let height = u64::from(height.clamp(1, MAX_SIDE));
        let vertical_sync = vertical_sync(width, height);
        let vertical_blank = vertical_blank(width, height, vertical_sync);
        let a_second = times(times(plus(width, HORIZONTAL_BLANK), plus(height, vertical_blank)), REFRESH);
        let clock = (plus(a_second, 5000) / 10_000).min(MAX_CLOCK);
        let (width_mm, height_mm) = (millimetres(width), millimetres(height));
        Mode { width, height, vertical_sync, vertical_blank, clock, width_mm, height_mm }
    }

    /// E-EDID 3.10.2, "Detailed Timing Descriptor".
    fn detailed_timing(&self) -> [u8; 18] {
        let (sync, v_sync) = (HORIZONTAL_SYNC, self.vertical_sync);
        [
            low(self.clock),
            low(self.clock >> 8),
            low(self.width),
            low(HORIZONTAL_BLANK),
            low(self.width >> 8 << 4 | HORIZONTAL_BLANK >> 8),
            low(self.height),
            low(self.vertical_blank),
            low(self.height >> 8 << 4 | self.vertical_blank >> 8),
            low(HORIZONTAL_FRONT),
            low(sync),
            low((VERTICAL_FRONT & 0xf) << 4 | v_sync & 0xf),
            low(HORIZONTAL_FRONT >> 8 << 6 | sync >> 8 << 4 | VERTICAL_FRONT >> 4 << 2 | v_sync >> 4),
            low(self.width_mm),
            low(self.height_mm),
            low(self.width_mm >> 8 << 4 | self.height_mm >> 8),
            0,
            0,           // no border
            0b0001_1010, // separate syncs, horizontal +, vertical -: CVT's mark of reduced blanking
        ]
    }

    /// E-EDID 3.10.3.3, "Display Range Limits": the preferred mode and the usual ones up to 75 Hz.
    fn range_limits(&self) -> [u8; 18] {
        let (h_total, v_total) = (plus(self.width, HORIZONTAL_BLANK), plus(self.height, self.vertical_blank));
        let lines_a_second = per(times(self.clock, 10_000), h_total);
        let refresh = per(lines_a_second, v_total);
        let h_min = (lines_a_second / 1000).min(30);
        let h_max = lines_a_second.div_ceil(1000).max(100);
        let clock = self.clock.div_ceil(1000).max(25);
        let (v_min, v_max) = (refresh.min(50), 75);
        let [v_min, v_max, h_min, h_max, clock] = [v_min, v_max, h_min, h_max, clock].map(low);
        let only_limits = 0x01;
        [0, 0, 0, 0xfd, 0, v_min, v_max, h_min, h_max, clock, only_limits, b'\n', 32, 32, 32, 32, 32, 32]
    }
}

/// CVT tells a mode's shape by the length of its vertical sync.
fn vertical_sync(width: u64, height: u64) -> u64 {
    let is = |x, y| times(width, y) == times(height, x);
    match () {
        () if is(4, 3) => 4,
        () if is(16, 9) => 5,
        () if is(16, 10) => 6,
        () if is(5, 4) || is(15, 9) => 7,
        () => 10,
    }
}

/// The lines that pass in VERTICAL_BLANK_TIME, rounded up; more where the clock would be below MIN_CLOCK.
fn vertical_blank(width: u64, height: u64, vertical_sync: u64) -> u64 {
    const BLANK: u64 = VERTICAL_BLANK_TIME * REFRESH;
    const ACTIVE: u64 = 1_000_000 - BLANK;
    let lines = plus(times(height, BLANK) / ACTIVE, 1);
    let total = plus(per(MIN_CLOCK / REFRESH, plus(width, HORIZONTAL_BLANK)), 1);
    let least = plus(plus(VERTICAL_FRONT, vertical_sync), MIN_VERTICAL_BACK);
    lines.max(least).max(total.saturating_sub(height))
}

/// Not less than a reader believes.
fn millimetres(pixels: u64) -> u64 {
    (plus(times(pixels, 254), DPI * 5) / (DPI * 10)).max(100)
}

fn centimetres(millimetres: u64) -> u8 {
    low(plus(millimetres, 5) / 10)
}

fn maker() -> [u8; 2] {
    let letters = MAKER.iter().fold(0u16, |id, letter| id << 5 | u16::from(letter & 0x1f));
    letters.to_be_bytes()
}

/// The lowest eight bits.
fn low(n: u64) -> u8 {
    n.to_le_bytes()[0]
}

// Sizes are at most 4095 and what is made of them stays far below 2^64.
fn plus(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

fn per(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(0)
}

/// A block that is being written from its beginning.
struct Block {
    bytes: [u8; SIZE],
    used: usize,
}

impl Block {
    fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.used).zip(bytes) {
            *to = *from;
        }
        self.used = self.used.saturating_add(bytes.len());
    }

    /// With the last byte such that the sum of all is 0.
    fn sealed(mut self) -> [u8; SIZE] {
        let [bytes @ .., checksum] = &mut self.bytes;
        *checksum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a detailed timing says, as a reader takes it apart.
    struct Timing {
        clock: u64,
        active: [u64; 2],
        blank: [u64; 2],
        front: [u64; 2],
        sync: [u64; 2],
        millimetres: [u64; 2],
    }

    impl Timing {
        fn of(edid: &[u8; SIZE]) -> Timing {
            let b: Vec<u64> = edid[54..72].iter().map(|byte| u64::from(*byte)).collect();
            Timing {
                clock: b[0] | b[1] << 8,
                active: [b[2] | b[4] >> 4 << 8, b[5] | b[7] >> 4 << 8],
                blank: [b[3] | (b[4] & 15) << 8, b[6] | (b[7] & 15) << 8],
                front: [b[8] | b[11] >> 6 << 8, b[10] >> 4 | (b[11] >> 2 & 3) << 4],
                sync: [b[9] | (b[11] >> 4 & 3) << 8, b[10] & 15 | (b[11] & 3) << 4],
                millimetres: [b[12] | b[14] >> 4 << 8, b[13] | (b[14] & 15) << 8],
            }
        }

        fn totals(&self) -> [u64; 2] {
            [self.active[0] + self.blank[0], self.active[1] + self.blank[1]]
        }

        fn refresh(&self) -> f64 {
            self.clock as f64 * 10_000.0 / (self.totals()[0] * self.totals()[1]) as f64
        }
    }

    const SIZES: [(u32, u32); 15] = [
        (1, 1),
        (1, 4095),
        (4095, 1),
        (16, 16),
        (320, 200),
        (640, 480),
        (800, 600),
        (1024, 768),
        (1280, 800),
        (1366, 768),
        (1920, 1080),
        (2560, 1440),
        (3840, 2160),
        (1080, 1920),
        (4095, 4095),
    ];

    #[test]
    fn header_version_and_checksum_are_right_for_every_size() {
        for (width, height) in SIZES {
            let edid = fallback(width, height);
            assert_eq!(edid[..8], [0, 255, 255, 255, 255, 255, 255, 0]);
            assert_eq!(edid[8..10], [0x59, 0x13]); // V = 22, H = 8, S = 19: 0 10110 01000 10011
            assert_eq!(edid[18..20], [1, 4]);
            assert_eq!(edid[126], 0, "no extension");
            assert_eq!(edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
    }

    #[test]
    fn the_preferred_mode_is_the_wanted_size_at_60_hz() {
        for (width, height) in SIZES {
            let timing = Timing::of(&fallback(width, height));
            assert_eq!(timing.active, [u64::from(width), u64::from(height)]);
            let slow = timing.clock == MAX_CLOCK;
            assert!(timing.clock >= 1000, "{width}x{height}");
            assert!(slow || (timing.refresh() - 60.0).abs() < 0.5, "{width}x{height}: {}", timing.refresh());
            assert_eq!(slow, (width, height) == (4095, 4095));
            for n in 0..2 {
                assert!(timing.front[n] > 0 && timing.sync[n] > 0);
                assert!(timing.front[n] + timing.sync[n] < timing.blank[n], "{width}x{height}");
            }
        }
    }

    #[test]
    fn blanks_have_room_for_syncs_whatever_the_shape() {
        for width in (1..=MAX_SIDE).step_by(31) {
            for height in (1..=MAX_SIDE).step_by(7) {
                let timing = Timing::of(&fallback(width, height));
                assert!(timing.front[1] + timing.sync[1] < timing.blank[1], "{width}x{height}");
                assert!(timing.clock >= 1000, "{width}x{height}");
            }
        }
    }

    /// `cvt -r 1920 1080 60`: 1920 1968 2000 2080 × 1080 1083 1088 1111, 138.5 MHz (which CVT rounds down).
    #[test]
    fn full_hd_has_the_timing_of_cvt_with_reduced_blanking() {
        let timing = Timing::of(&fallback(1920, 1080));
        assert_eq!((timing.front, timing.sync, timing.totals()), ([48, 3], [32, 5], [2080, 1111]));
        assert_eq!(timing.clock, 13865);
        assert_eq!(timing.millimetres, [508, 286]);
    }

    #[test]
    fn sizes_that_a_timing_cannot_say_become_those_that_it_can() {
        assert_eq!(fallback(0, 0), fallback(1, 1));
        assert_eq!(fallback(u32::MAX, 4096), fallback(4095, 4095));
        assert_eq!(fallback(0, u32::MAX), fallback(1, 4095));
    }

    #[test]
    fn range_limits_include_the_preferred_mode() {
        for (width, height) in SIZES {
            let edid = fallback(width, height);
            let timing = Timing::of(&edid);
            assert_eq!(edid[72..77], [0, 0, 0, 0xfd, 0]);
            let limit: Vec<f64> = edid[77..82].iter().map(|byte| f64::from(*byte)).collect();
            let line_khz = timing.clock as f64 * 10.0 / timing.totals()[0] as f64;
            assert!(limit[0] <= timing.refresh() && timing.refresh() <= limit[1], "{width}x{height}");
            assert!(limit[2] <= line_khz && line_khz <= limit[3], "{width}x{height}: {line_khz}");
            assert!(timing.clock as f64 / 100.0 <= limit[4] * 10.0, "{width}x{height}");
        }
    }

    #[test]
    fn the_name_is_there_and_nothing_is_behind_the_last_descriptor() {
        let edid = fallback(1024, 768);
        assert_eq!(&edid[90..108], b"\0\0\0\xfc\0vhost-seat\n  ");
        assert_eq!(edid[108..126], [0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
