//! How many frames a second the guest can show. Time runs until the device has done the last of them, which stays on the
//! screen: the host can compute it and see that it was the last indeed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use seat_guest::picture::{self, Rect};
use serde_json::{Value, json};

use crate::drm::Buffer;
use crate::kms::{Kms, clip};

/// What changes from frame to frame.
#[derive(Clone, Copy, PartialEq)]
pub enum Change {
    /// Every pixel on the screen.
    All,
    /// A square of 16×16.
    Small,
}

const SQUARE: u32 = 16;

impl Change {
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "all" => Ok(Change::All),
            "small" => Ok(Change::Small),
            _ => Err(format!("neither all nor small: {word}")),
        }
    }
}

/// Flips between two buffers: two whole pictures that were painted before (`all`), or two equal ones of which the hidden
/// one gets a square of a new colour before each flip (`small`).
pub fn flip(kms: &mut Kms, head: usize, frames: u32, change: Change) -> Result<Value, String> {
    let card = Rc::clone(&kms.card);
    let state = kms.head(head)?;
    let front = Rc::clone(state.buffer.as_ref().ok_or("show a picture first")?);
    let (width, height) = (front.borrow().width, front.borrow().height);
    let mut back = Buffer::screen(&card, width, height).map_err(|e| format!("buffer: {e}"))?;
    if change == Change::Small {
        back.pixels().copy_from_slice(front.borrow_mut().pixels());
    } else {
        let stride = back.stride;
        picture::paint(back.pixels(), stride, picture::FLIP_SEED, Rect::of_size(width, height));
    }
    let back = Rc::new(RefCell::new(back));
    let crtc = state.crtc;
    kms.sync(head)?;

    let start = Instant::now();
    for frame in 0..frames {
        let mut next = if frame % 2 == 0 { back.borrow_mut() } else { front.borrow_mut() };
        if change == Change::Small {
            square(&mut next, frame, Rect::of_size(SQUARE, SQUARE));
        }
        card.flip(crtc, next.fb_id).map_err(|e| format!("PAGE_FLIP: {e}"))?;
    }
    kms.sync(head)?;
    let took = start.elapsed();
    // The buffer on the screen must stay, whichever it is.
    if frames % 2 == 1 {
        kms.head(head)?.buffer = Some(back);
    }
    Ok(answer(frames, took))
}

/// Draws into the buffer that is shown and says so, by DIRTYFB with a clip: all of it in one new colour (`all`; the
/// drawing itself is in the time), or a square that wanders (`small`).
pub fn dirty(kms: &mut Kms, head: usize, frames: u32, change: Change) -> Result<Value, String> {
    let card = Rc::clone(&kms.card);
    let shown = Rc::clone(kms.head(head)?.buffer.as_ref().ok_or("show a picture first")?);
    let mut buffer = shown.borrow_mut();
    let (width, height) = (buffer.width, buffer.height);
    kms.sync(head)?;

    let start = Instant::now();
    for frame in 0..frames {
        let rect = match change {
            Change::All => {
                buffer.pixels().fill(picture::frame_colour(frame));
                Rect::of_size(width, height)
            }
            Change::Small => {
                let (columns, rows) = ((width / SQUARE).max(1), (height / SQUARE).max(1));
                let (x, y) = (frame % columns * SQUARE, frame / columns % rows * SQUARE);
                let rect = Rect::new(x, y, SQUARE, SQUARE);
                square(&mut buffer, frame, rect);
                rect
            }
        };
        card.dirty(buffer.fb_id, &[clip(rect)?]).map_err(|e| format!("DIRTYFB: {e}"))?;
    }
    drop(buffer);
    kms.sync(head)?;
    Ok(answer(frames, start.elapsed()))
}

fn answer(frames: u32, took: Duration) -> Value {
    json!({"frames": frames, "ns": took.as_nanos() as u64})
}

fn square(buffer: &mut Buffer, frame: u32, rect: Rect) {
    let stride = buffer.stride;
    picture::fill(buffer.pixels(), stride, picture::frame_colour(frame), rect);
}
