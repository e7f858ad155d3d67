//! A scanout's cursor: its shape, its place, and what the display still has to be told of them. No I/O.

use super::cursor;
use super::display::wire::CURSOR_LEN;
use super::image::Image;

/// One scanout's cursor.
#[derive(Debug, Default)]
pub struct Pointer {
    /// 64×64 pixels, B, G, R, A. Made with the first cursor.
    shape: Option<Box<[u8; CURSOR_LEN]>>,
    hot: (u32, u32),
    x: u32,
    y: u32,
    visible: bool,
    shape_due: bool,
    place_due: bool,
}

/// The next thing to tell the display about a cursor.
#[derive(Debug)]
pub enum Step<'a> {
    /// A new shape, shown at this place.
    Shape { x: u32, y: u32, hot: (u32, u32), pixels: &'a [u8; CURSOR_LEN] },
    /// A new place, or that it is hidden.
    Place { x: u32, y: u32, visible: bool },
}

impl Pointer {
    /// UPDATE_CURSOR: another shape, fitted into 64×64, at a place.
    pub fn set_shape(&mut self, image: &Image, hot: (u32, u32), x: u32, y: u32) {
        let mut fitted = [0; cursor::PIXELS];
        let (width, height) = (image.width(), image.height());
        let hot = image.with_pixels(|pixels| cursor::fit(pixels.as_chunks().0, width, height, hot, &mut fitted));
        let shape = self.shape.get_or_insert_with(|| Box::new([0; CURSOR_LEN]));
        let mut differs = self.hot != hot || !self.visible;
        for (old, new) in shape.as_chunks_mut::<4>().0.iter_mut().zip(fitted) {
            let new = new.to_ne_bytes();
            differs |= *old != new;
            *old = new;
        }
        self.hot = hot;
        self.shape_due |= differs;
        self.move_to(x, y);
        self.visible = true;
    }

    /// MOVE_CURSOR.
    pub fn move_to(&mut self, x: u32, y: u32) {
        self.place_due |= (self.x, self.y) != (x, y);
        (self.x, self.y) = (x, y);
    }

    /// UPDATE_CURSOR without a resource.
    pub fn hide(&mut self) {
        self.place_due |= self.visible;
        self.visible = false;
        self.shape_due = false;
    }

    /// A new display, which shows no cursor yet.
    pub fn new_display(&mut self) {
        self.shape_due = self.visible;
        self.place_due = false;
    }

    /// What to tell the display next, as told from then on.
    pub fn next_step(&mut self) -> Option<Step<'_>> {
        let Self { hot, x, y, visible, .. } = *self;
        let place_due = std::mem::take(&mut self.place_due);
        if std::mem::take(&mut self.shape_due)
            && let Some(pixels) = self.shape.as_deref()
        {
            return Some(Step::Shape { x, y, hot, pixels });
        }
        place_due.then_some(Step::Place { x, y, visible })
    }
}
