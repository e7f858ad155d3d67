//! One line of text in a fixed buffer.

use std::fmt::{self, Write};

/// Most bytes of a line, its newline included.
const LONGEST: usize = 1024;

/// What a cut line ends with, and room for that and the newline.
const CUT: &str = "…";
const TAIL: usize = CUT.len() + 1;

/// A line: never longer than [`LONGEST`], never more than one line, always ended by its newline.
pub struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Line {
    /// The line that says `message`, and that `lost` earlier ones (if any) could not be written.
    pub fn new(lost: u64, message: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; LONGEST], length: 0 };
        let written = match lost {
            0 => line.write_fmt(message),
            _ => write!(line, "{message} ({lost} lines before it were lost)"),
        };
        if written.is_err() {
            line.put(CUT, 1);
        }
        line.put("\n", 0);
        line
    }

    /// The line, newline included.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Appends `text` if it fits and leaves `spare` bytes free.
    fn put(&mut self, text: &str, spare: usize) -> bool {
        let end = self.length.saturating_add(text.len());
        match self.bytes.get_mut(self.length..end) {
            Some(place) if end.saturating_add(spare) <= LONGEST => {
                place.copy_from_slice(text.as_bytes());
                self.length = end;
                true
            }
            _ => false,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let fits = if character.is_control() {
                character.escape_default().all(|part| self.put(part.encode_utf8(&mut [0; 4]), TAIL))
            } else {
                self.put(character.encode_utf8(&mut [0; 4]), TAIL)
            };
            if !fits {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lost: u64, message: fmt::Arguments<'_>) -> String {
        String::from_utf8(Line::new(lost, message).bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_line_ends_with_its_newline() {
        assert_eq!(text(0, format_args!("a {} c", "b")), "a b c\n");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(text(0, format_args!("a\nb\x1b[31m\tc")), "a\\nb\\u{1b}[31m\\tc\n");
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        let line = text(0, format_args!("{}", "ä".repeat(LONGEST)));
        assert!(line.len() <= LONGEST && line.len() > LONGEST - 8, "{}", line.len());
        assert!(line.ends_with("ää…\n"));
    }

    #[test]
    fn lost_lines_are_owned_up_to() {
        assert_eq!(text(7, format_args!("here again")), "here again (7 lines before it were lost)\n");
    }
}
