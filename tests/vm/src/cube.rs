//! What `kmscube` shows: a cube that turns before a grey ground, looked at in whatever frame.
//!
//! Its colours tell where on the cube a pixel lies: red, green and blue are the cube's own x, y and z, from 0 to 1, times
//! the light on that face. On the face z = 1 blue is the strongest, and red:blue and green:blue are x and y, so there is a
//! way to see whether x, y and the direction to the eye are a right-handed system, as they are in any frame of a right
//! picture. A mirrored one, as of an image upside down or with red for blue, is left-handed.

use seat_guest::answer::Order;

use crate::image::Image;

/// Between two pixels that are compared, and between two places that are looked at.
const STEP: u32 = 6;
/// A picture is judged by not less.
const PLACES_MIN: usize = 200;
const COLOURS_MIN: usize = 2000;
/// Darker ones have too few different values.
const LIGHT_MIN: u8 = 60;
const SHADE_MIN: u8 = 20;

/// Draws that many frames in the guest, or goes on for ever, and then tells what it drew with and how many.
pub fn draw(frames: Option<u32>) -> Order {
    let count = frames.map(|frames| format!(" -c {frames}")).unwrap_or_default();
    // It ends when there is input, or the input's end: a terminal that nobody types on has neither.
    let script = format!("exec kmscube -D /dev/dri/card0{count} < /dev/tty1");
    let mut order = Order::new("sh", &["-c", &script]);
    order.environment.push(("MESA_SHADER_CACHE_DISABLE".to_owned(), "1".to_owned()));
    order
}

/// What `kmscube` says at its end of having drawn so many; it does not count the first.
pub fn drawn(frames: u32) -> String {
    format!("Rendered {} frames", frames.saturating_sub(1))
}

/// Says why this is no picture of the cube; `None` when it is one.
pub fn fault(screen: &Image) -> Option<String> {
    let (right, bottom) = (screen.width.saturating_sub(1), screen.height.saturating_sub(1));
    let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)].map(|(x, y)| screen.pixel(x, y).unwrap_or(0));
    let [ground, ..] = corners;
    if ![0x7f_7f7f, 0x80_8080].contains(&ground) || corners.iter().any(|corner| *corner != ground) {
        return Some(format!("the corners are not grey but {corners:06x?}"));
    }
    match screen.colours() {
        few @ ..COLOURS_MIN => Some(format!("{few} colours are too few for a cube")),
        _ => shape_fault(screen, ground).or_else(|| hand_fault(screen, ground)),
    }
}

/// The cube is one convex thing in the middle, off the borders.
fn shape_fault(screen: &Image, ground: u32) -> Option<String> {
    let (width, height) = (screen.width, screen.height);
    let rows = (0..height).map(|y| Run::of((0..width).map(|x| screen.pixel(x, y) != Some(ground))));
    let columns = (0..width).map(|x| Run::of((0..height).map(|y| screen.pixel(x, y) != Some(ground))));
    let (rows, columns) = (rows.fold(Run::NONE, Run::with), columns.fold(Run::NONE, Run::with));
    for (name, run, length) in [("horizontally", rows, width), ("vertically", columns, height)] {
        let middle = (run.first + run.last) / 2;
        if run.last.saturating_sub(run.first) < length / 8 || run.first == 0 || run.last + 1 >= length {
            return Some(format!("{name} it goes from {} to {} of {length}", run.first, run.last));
        }
        if middle.abs_diff(length / 2) > length / 8 {
            return Some(format!("{name} its middle is at {middle} of {length}"));
        }
        // The white corner may have the ground's grey.
        if run.holes > 4 {
            return Some(format!("{name} there are {} pixels of the ground in it", run.holes));
        }
    }
    None
}

/// Where a line's pixels begin and end that are not the ground's, and how many of the ground are between them.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    last: u32,
    holes: u32,
}

impl Run {
    const NONE: Run = Run { first: u32::MAX, last: 0, holes: 0 };

    fn of(line: impl Iterator<Item = bool>) -> Run {
        let (mut run, mut count) = (Run::NONE, 0);
        for (at, _) in (0..).zip(line).filter(|(_, inside)| *inside) {
            run = Run { first: run.first.min(at), last: at, holes: 0 };
            count += 1;
        }
        Run { holes: if count == 0 { 0 } else { run.last - run.first + 1 - count }, ..run }
    }

    fn with(self, other: Run) -> Run {
        Run { first: self.first.min(other.first), last: self.last.max(other.last), holes: self.holes + other.holes }
    }
}

/// The three faces whose colours tell two coordinates are seen as from outside.
fn hand_fault(screen: &Image, ground: u32) -> Option<String> {
    let at = |x, y| screen.pixel(x, y).filter(|pixel| *pixel != ground).and_then(Place::of);
    let (mut right, mut left) = (0, 0);
    for y in (0..screen.height).step_by(STEP as usize) {
        for x in (0..screen.width).step_by(STEP as usize) {
            let (Some(here), Some(beside), Some(below)) = (at(x, y), at(x + STEP, y), at(x, y + STEP)) else {
                continue;
            };
            if beside.face != here.face || below.face != here.face {
                continue;
            }
            // Rows go down, so what is right-handed turns the other way.
            match here.turn(beside, below) {
                turn if turn < 0.0 => right += 1,
                turn if turn > 0.0 => left += 1,
                _ => {}
            }
        }
    }
    if right + left < PLACES_MIN {
        return Some(format!("only {} places of it can be judged", right + left));
    }
    (left * 20 > right).then(|| format!("it is mirrored: {left} places of {} are left-handed", left + right))
}

/// A place on one of the faces x = 1, y = 1, z = 1 by the two coordinates that follow in this order.
#[derive(Clone, Copy)]
struct Place {
    face: usize,
    u: f64,
    v: f64,
}

impl Place {
    /// `None` where the colour does not tell.
    fn of(pixel: u32) -> Option<Place> {
        let [_, channels @ ..] = pixel.to_be_bytes();
        let strongest = channels.into_iter().max().unwrap_or(0);
        let (mut faces, weakest) =
            ((0..3).filter(|i| channels[*i] == strongest), channels.into_iter().min().unwrap_or(0));
        let (Some(face), None) = (faces.next(), faces.next()) else { return None };
        if strongest < LIGHT_MIN || weakest < SHADE_MIN {
            return None;
        }
        let part = |i: usize| f64::from(channels[i % 3]) / f64::from(strongest);
        Some(Place { face, u: part(face + 1), v: part(face + 2) })
    }

    /// Positive when u, v turn as the way to `beside` and the way to `below` do.
    fn turn(self, beside: Place, below: Place) -> f64 {
        (beside.u - self.u) * (below.v - self.v) - (below.u - self.u) * (beside.v - self.v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (640, 400);
    const GROUND: u32 = 0x80_8080;

    /// The cube turned about x and then y, without perspective, its y upwards.
    fn cube(about_x: f64, about_y: f64) -> Image {
        picture(|x, y| {
            let scale = f64::from(SIZE.1) / 4.0;
            let (sx, sy) =
                ((f64::from(x) - f64::from(SIZE.0) / 2.0) / scale, (f64::from(SIZE.1) / 2.0 - f64::from(y)) / scale);
            // The turns undone for the eye's ray instead.
            let back = |[x, y, z]: [f64; 3]| {
                let (x, z) = (x * about_y.cos() - z * about_y.sin(), x * about_y.sin() + z * about_y.cos());
                [x, y * about_x.cos() + z * about_x.sin(), z * about_x.cos() - y * about_x.sin()]
            };
            let (from, way) = (back([sx, sy, 0.0]), back([0.0, 0.0, 1.0]));
            // The nearest to the eye is the least of where the ray leaves the three pairs of planes.
            let leaves = |i: usize| (way[i].signum() - from[i]) / way[i];
            let enters = |i: usize| (-way[i].signum() - from[i]) / way[i];
            let (out, into) =
                ((0..3).map(leaves).fold(f64::MAX, f64::min), (0..3).map(enters).fold(f64::MIN, f64::max));
            if into >= out {
                return GROUND;
            }
            let light = (0..3).find(|i| leaves(*i) == out).map_or(0.0, |i| way[i].abs());
            let channel = |i: usize| (255.0 * light * ((from[i] + out * way[i]).clamp(-1.0, 1.0) + 1.0) / 2.0) as u32;
            channel(0) << 16 | channel(1) << 8 | channel(2)
        })
    }

    fn picture(pixel: impl Fn(u32, u32) -> u32) -> Image {
        let mut image = Image::new(SIZE.0, SIZE.1);
        for y in 0..SIZE.1 {
            for x in 0..SIZE.0 {
                image.fill(pixel(x, y), crate::Rect::new(x, y, 1, 1));
            }
        }
        image
    }

    fn assert_fault(screen: &Image, words: &str) {
        let fault = fault(screen).unwrap_or_default();
        assert!(fault.contains(words), "{words}: {fault}");
    }

    #[test]
    fn a_cube_is_one_however_it_is_turned() {
        for (about_x, about_y) in [(0.7, -0.6), (-0.5, -0.9), (0.6, 0.5), (0.5, -1.2)] {
            assert_eq!(fault(&cube(about_x, about_y)), None, "{about_x} {about_y}");
        }
    }

    #[test]
    fn a_mirrored_cube_and_one_with_red_for_blue_are_none() {
        let right = cube(0.7, -0.6);
        let at = |x, y| right.pixel(x, y).unwrap_or(0);
        assert_fault(&picture(|x, y| at(x, SIZE.1 - 1 - y)), "mirrored");
        assert_fault(&picture(|x, y| at(SIZE.0 - 1 - x, y)), "mirrored");
        assert_fault(&picture(|x, y| at(x, y).swap_bytes() >> 8), "mirrored");
    }

    #[test]
    fn what_is_left_of_an_earlier_frame_is_seen() {
        let mut screen = cube(0.7, -0.6);
        screen.fill(0x12_3456, crate::Rect::new(60, 190, 64, 16));
        assert_fault(&screen, "pixels of the ground in it");
    }

    #[test]
    fn a_cube_cut_or_moved_or_on_black_is_none() {
        let right = cube(0.7, -0.6);
        let at = |x, y| right.pixel(x, y).unwrap_or(GROUND);
        assert_fault(&picture(|x, y| at(x + 130, y)), "its middle is at");
        assert_fault(&picture(|x, y| at(x, y + 160)), "it goes from 0");
        assert_fault(&picture(|x, y| if at(x, y) == GROUND { 0 } else { at(x, y) }), "not grey");
        assert_fault(&Image::picture(1, SIZE.0, SIZE.1), "not grey");
        assert_fault(&picture(|_, _| GROUND), "too few");
    }
}
