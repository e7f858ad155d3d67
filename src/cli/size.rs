//! Sizes on the command line: a whole number of bytes, or of K, M or G (powers of 1024).

use std::ffi::OsStr;

/// Reads `512`, `64K`, `256M`, `1G` (either case) as bytes; `None` for anything else, and for more than 2⁶⁴ - 1.
pub fn parse(value: &OsStr) -> Option<u64> {
    let text = value.to_str()?;
    let (digits, shift) = match text.char_indices().next_back()? {
        (end, 'k' | 'K') => (text.get(..end)?, 10),
        (end, 'm' | 'M') => (text.get(..end)?, 20),
        (end, 'g' | 'G') => (text.get(..end)?, 30),
        _ => (text, 0),
    };
    // parse() alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64K", Some(65_536)),
            ("256M", Some(268_435_456)),
            ("1g", Some(1_073_741_824)),
            ("17179869183G", Some(17_179_869_183 << 30)),
            ("17179869184G", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("M", None),
            ("+1", None),
            ("-1", None),
            ("1.5G", None),
            ("1MB", None),
            ("256 M", None),
            ("1é", None),
        ];
        for (text, size) in cases {
            assert_eq!(parse(OsStr::new(text)), size, "{text:?}");
        }
    }
}
