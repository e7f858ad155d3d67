//! Pixels that another program or a GPU can use in place: a DMABUF and what one has to know to read it.
//!
//! The display socket's messages say of a scanout where it lies in its buffer, but no QEMU looks at x and y, and those
//! before 9.1 not at the width and height either: they show the whole buffer. So a part can be shown only where it is made
//! to look like a whole ([`Dmabuf::seen_as`]): the top left of rows that simply follow each other.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::budget::Charge;
use super::rect::Rect;

/// `DRM_FORMAT_XRGB8888`, a little-endian `u32` 0xXXRRGGBB, on a little-endian machine: the order of the display and of host
/// copies. On others that is `DRM_FORMAT_BGRX8888`.
pub const DISPLAY_ORDER: u32 = u32::from_le_bytes(if cfg!(target_endian = "little") { *b"XR24" } else { *b"BX24" });
/// `DRM_FORMAT_MOD_LINEAR`: row after row.
pub const LINEAR: u64 = 0;

/// A DMABUF with one plane that begins at its first byte.
#[derive(Debug)]
pub struct Dmabuf {
    /// The buffer.
    pub fd: OwnedFd,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// DRM's code of the pixel format.
    pub fourcc: u32,
    /// DRM's code of the order of pixels in memory, where it is known.
    pub modifier: Option<u64>,
    /// [`FLAG_Y_0_TOP`](super::command::FLAG_Y_0_TOP): the first row in memory is the lowest one of the picture, and the
    /// display turns it over. Of pictures that no GPU drew it never is.
    pub y_0_top: bool,
    /// What its memory is counted by, where nothing else that a display's buffer holds is: for as long as anybody shows it,
    /// though the guest has let go of what it drew there.
    pub charge: Option<Rc<Charge>>,
}

impl Dmabuf {
    /// All of it.
    pub fn rect(&self) -> Rect {
        Rect::of_size(self.width, self.height)
    }

    /// Width and height to tell the display of the buffer so that it shows `rect` of it; `None` where it can't be made to,
    /// and `rect` has to be shown in another way.
    pub fn seen_as(&self, rect: &Rect) -> Option<(u32, u32)> {
        let at_its_corner = rect.x == 0 && rect.y == 0 && !rect.is_empty() && self.rect().contains(rect);
        let whole = *rect == self.rect();
        (at_its_corner && (whole || self.modifier == Some(LINEAR) && !self.y_0_top))
            .then_some((rect.width, rect.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn dmabuf(modifier: Option<u64>, y_0_top: bool) -> Dmabuf {
        let fd = File::open("/dev/null").unwrap().into();
        Dmabuf { fd, width: 640, height: 480, stride: 2560, fourcc: DISPLAY_ORDER, modifier, y_0_top, charge: None }
    }

    #[test]
    fn the_whole_of_a_buffer_can_be_shown_whatever_its_order() {
        for modifier in [None, Some(LINEAR), Some(0x0100_0000_0000_0002)] {
            for y_0_top in [false, true] {
                let whole = Rect::of_size(640, 480);
                assert_eq!(dmabuf(modifier, y_0_top).seen_as(&whole), Some((640, 480)));
            }
        }
    }

    #[test]
    fn a_part_can_be_shown_at_the_corner_of_rows_that_follow_each_other_and_nowhere_else() {
        let corner = Rect::of_size(320, 240);
        assert_eq!(dmabuf(Some(LINEAR), false).seen_as(&corner), Some((320, 240)));
        assert_eq!(dmabuf(Some(LINEAR), true).seen_as(&corner), None, "its first row is the lowest");
        assert_eq!(dmabuf(Some(1), false).seen_as(&corner), None, "tiles");
        assert_eq!(dmabuf(None, false).seen_as(&corner), None, "tiles, for all that is known");
        for other in [Rect::new(1, 0, 639, 480), Rect::new(0, 1, 640, 479), Rect::of_size(641, 480), Rect::default()] {
            assert_eq!(dmabuf(Some(LINEAR), false).seen_as(&other), None, "{other:?}");
        }
    }
}
