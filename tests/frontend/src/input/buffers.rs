//! The driver's buffers in guest memory: one slot of 32 bytes for each descriptor, of which an event takes 8.
//!
//! What lies around an event is a pattern that must still be there when the buffer comes back, so a byte too many is
//! seen, and an event that was announced but not written as well. The slots are taken once; nothing allocates later.

use crate::error::{Error, Result};
use crate::memory::{GuestMemory, Pages, Span};
use crate::ring::{Layout, Ring, Segment, Used};

/// Bytes of an event.
pub const EVENT_SIZE: usize = 8;
const SLOT: usize = 32;
/// Where the second part of a split event lies.
const SECOND: usize = 16;
const PATTERN: u8 = 0xa5;

/// An input event, as both queues carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The type.
    pub kind: u16,
    /// The code.
    pub code: u16,
    /// The value.
    pub value: i32,
}

impl Event {
    /// An event.
    pub const fn new(kind: u16, code: u16, value: i32) -> Event {
        Event { kind, code, value }
    }

    /// Reads the wire's 8 bytes.
    pub fn decode(bytes: [u8; EVENT_SIZE]) -> Event {
        let [a, b, c, d, e, f, g, h] = bytes;
        Event {
            kind: u16::from_le_bytes([a, b]),
            code: u16::from_le_bytes([c, d]),
            value: i32::from_le_bytes([e, f, g, h]),
        }
    }

    /// The wire's 8 bytes.
    pub fn encode(&self) -> [u8; EVENT_SIZE] {
        let [a, b] = self.kind.to_le_bytes();
        let [c, d] = self.code.to_le_bytes();
        let [e, f, g, h] = self.value.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// How a buffer is laid out in its chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// 8 bytes in one segment, as Linux does it.
    #[default]
    Whole,
    /// 8 bytes in two segments, of which the first has so many (1 to 7).
    Split(u8),
    /// So many bytes (1 to 7): no event fits. The device must leave it alone.
    Short(u8),
    /// 8 bytes that go the other way: read-only on the event queue, writable on the status queue. The device must leave
    /// it alone.
    WrongWay,
}

impl Shape {
    /// Whether an event can go by it.
    pub fn is_sound(self) -> bool {
        matches!(self, Shape::Whole | Shape::Split(_))
    }

    fn check(self) {
        if let Shape::Split(count) | Shape::Short(count) = self {
            assert!((1..EVENT_SIZE as u8).contains(&count), "{self:?}: 1 to 7 bytes");
        }
    }

    /// How many of an event's bytes the first segment has, and how many the second.
    fn parts(self) -> (usize, usize) {
        match self {
            Shape::Whole | Shape::WrongWay => (EVENT_SIZE, 0),
            Shape::Split(count) => (count.into(), EVENT_SIZE - usize::from(count)),
            Shape::Short(count) => (count.into(), 0),
        }
    }
}

/// Which way a queue's sound buffers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The device writes them: the event queue.
    In,
    /// The device reads them: the status queue.
    Out,
}

/// A buffer on its way.
#[derive(Clone, Copy)]
pub(super) struct Posted {
    slot: u16,
    pub(super) shape: Shape,
    /// The slot's bytes as the driver left them.
    image: [u8; SLOT],
}

pub(super) struct Buffers {
    way: Way,
    area: Span,
    free: Vec<u16>,
    by_head: Box<[Option<Posted>]>,
}

impl Buffers {
    pub(super) fn new(memory: &GuestMemory, pages: &mut Pages, size: u16, way: Way) -> Result<Buffers> {
        let len = (usize::from(size) * SLOT) as u64;
        let area = memory.span(pages.alloc(len)?, len);
        Ok(Buffers { way, area, free: (0..size).rev().collect(), by_head: vec![None; size.into()].into() })
    }

    /// Forgets everything in flight.
    pub(super) fn reset(&mut self) {
        self.free.clear();
        self.free.extend((0..self.by_head.len() as u16).rev());
        self.by_head.fill(None);
    }

    /// How many are on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.by_head.len() - self.free.len()
    }

    /// Enters a buffer into the ring, on the status queue with `event` in it.
    pub(super) fn enter(&mut self, ring: &mut Ring, shape: Shape, event: Event, layout: Layout) -> Result<u16> {
        shape.check();
        let slot = *self.free.last().ok_or(Error::NoRoom("a buffer of the input driver"))?;
        let at = usize::from(slot) * SLOT;
        let image = self.image(shape, event);
        self.area.write(at, &image);
        let (first, second) = shape.parts();
        let segment = |at: usize, len: usize| Segment { gpa: self.area.gpa() + at as u64, len: len as u32 };
        let segments = [segment(at, first), segment(at + SECOND, second)];
        let segments = if second == 0 { &segments[..1] } else { &segments };
        let writable = (self.way == Way::In) != (shape == Shape::WrongWay);
        let head = match writable {
            true => ring.add(&[], segments, layout)?,
            false => ring.add(segments, &[], layout)?,
        };
        self.free.pop();
        self.by_head[usize::from(head)] = Some(Posted { slot, shape, image });
        Ok(head)
    }

    fn image(&self, shape: Shape, event: Event) -> [u8; SLOT] {
        let mut image = [PATTERN; SLOT];
        if self.way == Way::Out {
            let (first, second) = shape.parts();
            let bytes = event.encode();
            image[..first].copy_from_slice(&bytes[..first]);
            image[SECOND..SECOND + second].copy_from_slice(&bytes[first..first + second]);
        }
        image
    }

    /// The buffer that came back, or nothing where the chain was entered by hand.
    pub(super) fn leave(&mut self, head: u16) -> Option<Posted> {
        let posted = self.by_head[usize::from(head)].take()?;
        self.free.push(posted.slot);
        Some(posted)
    }

    /// The event in a buffer that the device used; `None` where it left alone what can hold none. Anything else is a
    /// fault.
    pub(super) fn read(&self, posted: &Posted, used: Used) -> Result<Option<Event>> {
        let Posted { slot, shape, image } = *posted;
        let mut now = [0; SLOT];
        self.area.read(usize::from(slot) * SLOT, &mut now);
        let wanted = if self.way == Way::In && shape.is_sound() { EVENT_SIZE } else { 0 };
        if used.len as usize != wanted {
            return Err(Error::fault(format!("a {shape:?} buffer came back with length {}, not {wanted}", used.len)));
        }
        let mut bytes = [PATTERN; EVENT_SIZE];
        if wanted > 0 {
            let (first, second) = shape.parts();
            bytes[..first].copy_from_slice(&now[..first]);
            bytes[first..].copy_from_slice(&now[SECOND..SECOND + second]);
            now[..first].fill(PATTERN);
            now[SECOND..SECOND + second].fill(PATTERN);
        }
        if now != image {
            return Err(Error::fault(format!("bytes were written around or into a {shape:?} buffer: {now:x?}")));
        }
        if wanted > 0 && bytes == [PATTERN; EVENT_SIZE] {
            return Err(Error::fault(format!("a {shape:?} buffer came back with length 8, but nothing was written")));
        }
        Ok((wanted > 0).then(|| Event::decode(bytes)))
    }
}
