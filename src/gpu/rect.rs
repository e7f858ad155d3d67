//! Rectangles of pixels, with arithmetic that no input can overflow.
//!
//! The four numbers come from the guest as they are, so nothing is assumed of them: an edge may lie past `u32::MAX`
//! and is therefore a `u64`; whatever can't be said in a `Rect` is `None`. An edge belongs to what lies beyond it:
//! `right()` and `bottom()` are the first column and line that are outside.

/// A rectangle of pixels, laid out and named as `struct virtio_gpu_rect` (VIRTIO 1.3, 5.7.6.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    /// The whole of an image of this size.
    pub const fn of_size(width: u32, height: u32) -> Rect {
        Rect { x: 0, y: 0, width, height }
    }

    /// Whether there is no pixel in it.
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The first column to the right of it.
    pub const fn right(&self) -> u64 {
        (self.x as u64).saturating_add(self.width as u64)
    }

    /// The first line below it.
    pub const fn bottom(&self) -> u64 {
        (self.y as u64).saturating_add(self.height as u64)
    }

    /// The number of its pixels.
    pub const fn area(&self) -> u64 {
        (self.width as u64).saturating_mul(self.height as u64)
    }

    /// Whether `other` lies inside, edges compared; so an empty `other` must lie inside (or on the edge) too.
    pub const fn contains(&self, other: &Rect) -> bool {
        self.x <= other.x && self.y <= other.y && other.right() <= self.right() && other.bottom() <= self.bottom()
    }

    /// The pixels that are in both, `None` where there are none.
    pub fn intersect(&self, other: &Rect) -> Option<Rect> {
        let (x, width) = overlap((self.x, self.right()), (other.x, other.right()))?;
        let (y, height) = overlap((self.y, self.bottom()), (other.y, other.bottom()))?;
        Some(Rect { x, y, width, height })
    }

    /// The same pixels, counted from `origin`'s top left corner: resource to scanout coordinates. `None` where the
    /// rectangle begins left of or above that corner.
    pub fn relative_to(&self, origin: &Rect) -> Option<Rect> {
        let x = self.x.checked_sub(origin.x)?;
        let y = self.y.checked_sub(origin.y)?;
        Some(Rect { x, y, ..*self })
    }

    /// The reverse of [`Rect::relative_to`]: scanout to resource coordinates. `None` where the corner would lie past
    /// `u32::MAX`.
    pub fn moved_into(&self, origin: &Rect) -> Option<Rect> {
        let x = self.x.checked_add(origin.x)?;
        let y = self.y.checked_add(origin.y)?;
        Some(Rect { x, y, ..*self })
    }

    /// Cuts the first `lines` lines off and returns them; what is below stays. With as many lines or more than there
    /// are, all of it is returned and an empty rectangle stays.
    pub fn cut_top(&mut self, lines: u32) -> Rect {
        let height = lines.min(self.height);
        let top = Rect { height, ..*self };
        self.y = self.y.saturating_add(height);
        self.height = self.height.saturating_sub(height);
        top
    }

    /// Cuts as many lines off as have `pixels` pixels at the most, but at least one, as [`Rect::cut_top`] does.
    pub fn cut_band(&mut self, pixels: u32) -> Rect {
        self.cut_top(pixels.checked_div(self.width).unwrap_or(1).max(1))
    }
}

/// The smallest rectangle that holds both.
pub fn enclose(a: Option<Rect>, b: &Rect) -> Rect {
    let Some(a) = a else { return *b };
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = a.right().max(b.right()).saturating_sub(u64::from(x));
    let bottom = a.bottom().max(b.bottom()).saturating_sub(u64::from(y));
    Rect::new(x, y, u32::try_from(right).unwrap_or(u32::MAX), u32::try_from(bottom).unwrap_or(u32::MAX))
}

/// Start and length of what two spans `[start, end)` share.
fn overlap(a: (u32, u64), b: (u32, u64)) -> Option<(u32, u32)> {
    let start = a.0.max(b.0);
    let length = a.1.min(b.1).checked_sub(u64::from(start))?;
    // No longer than the shorter of the two, whose length was a u32.
    let length = u32::try_from(length).ok()?;
    (length > 0).then_some((start, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = u32::MAX;

    /// Every rectangle with corners and sizes in 0..4.
    fn small() -> Vec<Rect> {
        let mut all = Vec::new();
        for n in 0..256u32 {
            all.push(Rect::new(n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6));
        }
        all
    }

    /// The pixels of a small rectangle, a bit each in an 8×8 field.
    fn pixels(rect: &Rect) -> u64 {
        let mut bits = 0;
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                bits |= 1 << (y * 8 + x);
            }
        }
        bits
    }

    #[test]
    fn small_rectangles_agree_with_their_pixels() {
        for a in small() {
            assert_eq!(a.area(), u64::from(pixels(&a).count_ones()), "{a:?}");
            assert_eq!(a.is_empty(), pixels(&a) == 0, "{a:?}");
            for b in small() {
                let common = a.intersect(&b);
                assert_eq!(common.map_or(0, |r| pixels(&r)), pixels(&a) & pixels(&b), "{a:?} {b:?}");
                assert!(common.is_none_or(|r| !r.is_empty()), "{a:?} {b:?}");
                assert_eq!(common, b.intersect(&a));
                if !b.is_empty() {
                    assert_eq!(a.contains(&b), pixels(&a) & pixels(&b) == pixels(&b), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn small_rectangles_move_there_and_back() {
        for a in small() {
            for origin in small() {
                let moved = a.moved_into(&origin).unwrap();
                assert_eq!((moved.x, moved.y, moved.area()), (a.x + origin.x, a.y + origin.y, a.area()));
                assert_eq!(moved.relative_to(&origin), Some(a));
                assert_eq!(a.relative_to(&origin).is_some(), a.x >= origin.x && a.y >= origin.y);
            }
        }
    }

    #[test]
    fn an_empty_rectangle_is_inside_only_where_its_corner_is() {
        let image = Rect::of_size(10, 10);
        assert!(image.contains(&Rect::new(10, 10, 0, 0)));
        assert!(!image.contains(&Rect::new(11, 0, 0, 0)));
    }

    #[test]
    fn a_sum_past_u32_is_not_inside_anything_small() {
        let image = Rect::of_size(640, 480);
        for rect in [Rect::new(MAX, 0, 2, 1), Rect::new(1, 0, MAX, 1), Rect::new(0, MAX, 1, 1), Rect::new(0, 2, 1, MAX)]
        {
            assert!(!image.contains(&rect), "{rect:?}");
        }
        assert!(!image.contains(&Rect::of_size(MAX, MAX)));
        assert!(Rect::of_size(MAX, MAX).contains(&image));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let edge = [0, 1, 2, MAX / 2, MAX / 2 + 1, MAX - 1, MAX];
        let mut all = Vec::new();
        for x in edge {
            for width in edge {
                all.push(Rect::new(x, width, width, x));
                all.push(Rect::new(x, x, width, width));
            }
        }
        for a in &all {
            assert_eq!(u128::from(a.area()), u128::from(a.width) * u128::from(a.height));
            assert_eq!(u128::from(a.right()), u128::from(a.x) + u128::from(a.width));
            for b in &all {
                if let Some(common) = a.intersect(b) {
                    assert!(a.contains(&common) && b.contains(&common), "{a:?} {b:?} {common:?}");
                    assert_eq!(common.right(), a.right().min(b.right()));
                    assert_eq!(common.bottom(), a.bottom().min(b.bottom()));
                }
                let _ = (a.moved_into(b), a.relative_to(b));
            }
        }
        assert_eq!(Rect::new(MAX, 0, MAX, 1).intersect(&Rect::new(MAX, 0, 1, 1)), Some(Rect::new(MAX, 0, 1, 1)));
        assert_eq!(Rect::new(1, 0, 1, 1).moved_into(&Rect::new(MAX, 0, 0, 0)), None);
    }

    #[test]
    fn cutting_from_the_top_gives_every_line_once() {
        let mut rest = Rect::new(3, 5, 7, 10);
        assert_eq!(rest.cut_top(4), Rect::new(3, 5, 7, 4));
        assert_eq!(rest.cut_top(4), Rect::new(3, 9, 7, 4));
        assert_eq!(rest.cut_top(4), Rect::new(3, 13, 7, 2));
        assert!(rest.is_empty());
        assert!(rest.cut_top(1).is_empty());
        let mut bands = Rect::new(3, 5, 7, 5);
        assert_eq!(bands.cut_band(20), Rect::new(3, 5, 7, 2));
        assert_eq!(bands.cut_band(6), Rect::new(3, 7, 7, 1));
        assert_eq!(bands.cut_band(MAX), Rect::new(3, 8, 7, 2));
        assert!(bands.cut_band(MAX).is_empty() && Rect::new(1, 1, 0, 9).cut_band(9).is_empty());
        let mut extreme = Rect::new(0, MAX, 1, MAX);
        assert_eq!(extreme.cut_top(MAX).height, MAX);
        assert!(extreme.is_empty());
    }
}
