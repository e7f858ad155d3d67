//! What an evdev node is asked, and what its answers mean: bytes → values. The asking itself is [`Ask`]'s: a node's, by
//! ioctls ([`super::raw`]), or a test's.
//!
//! A driver may say what cannot be. Nothing of an answer is believed but its bytes: not its length beyond the room that
//! there is, and what an answer leaves out is as if it had not been asked before.

use nix::Result;
use nix::errno::Errno;

use super::codes::{ABS_MT_SLOT, ABS_MT_TRACKING_ID, AXES, EV_ABS, EV_REP, TYPES, is_slot_axis};
use super::config::{AxisInfo, Bitmap, Description, Ids, PAYLOAD_LEN};
use super::state::State;

const GET_ID: u16 = 0x02;
const GET_PROPERTIES: u16 = 0x09;
const GET_SLOTS: u16 = 0x0a;
/// `EVIOCGBIT(0)`: the types; by type, the codes of each follow.
const GET_BITS: u16 = 0x20;
/// `EVIOCGABS(0)`; the other axes follow.
const GET_AXIS: u16 = 0x40;

/// Most bytes of a string that are read, its terminator included.
const TEXT_LEN: usize = 256;
/// The codes of autorepeat, `REP_DELAY` and `REP_PERIOD`: the kernel does not tell them, a device that repeats has both.
const REPEAT_CODES: [u16; 2] = [0, 1];

/// Whoever answers.
pub trait Ask {
    /// Fills `answer` by the request of number `number`, and returns how many bytes of it that were. What is in `answer`
    /// before may be a part of the question.
    ///
    /// # Errors
    /// What the ioctl says.
    fn ask(&self, number: u16, answer: &mut [u8]) -> Result<usize>;
}

/// A string of the device.
#[derive(Clone, Copy, Debug)]
enum Text {
    /// `EVIOCGNAME`
    Name = 0x06,
    /// `EVIOCGPHYS`
    Place = 0x07,
    /// `EVIOCGUNIQ`
    Serial = 0x08,
}

/// A string, without its terminator; empty where the device has none.
fn text(node: &impl Ask, which: Text) -> Result<Vec<u8>> {
    let mut buffer = [0; TEXT_LEN];
    let written = match node.ask(which as u16, &mut buffer) {
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        written => written?,
    };
    let text = buffer.get(..written).unwrap_or(&buffer);
    let end = text.iter().position(|byte| *byte == 0);
    // One without an end is longer than any name is.
    end.and_then(|end| text.get(..end)).map(<[u8]>::to_vec).ok_or(Errno::ENAMETOOLONG)
}

fn ids(node: &impl Ask) -> Result<Ids> {
    let mut bytes = [0; 8];
    node.ask(GET_ID, &mut bytes)?;
    let [b0, b1, v0, v1, p0, p1, r0, r1] = bytes;
    Ok(Ids {
        bus: u16::from_ne_bytes([b0, b1]),
        vendor: u16::from_ne_bytes([v0, v1]),
        product: u16::from_ne_bytes([p0, p1]),
        version: u16::from_ne_bytes([r0, r1]),
    })
}

/// The types of events that the device has. The first question that only an evdev node answers.
///
/// # Errors
/// What the ioctl says.
pub fn types(node: &impl Ask) -> Result<Bitmap> {
    bitmap(node, GET_BITS)
}

/// The kernel writes bitmaps in machine words; on a big-endian machine bytes would have to change places here.
fn bitmap(node: &impl Ask, number: u16) -> Result<Bitmap> {
    const { assert!(cfg!(target_endian = "little"), "the kernel's bitmaps are words of the host") };
    let mut bitmap = Bitmap::default();
    let bytes: &mut [u8; PAYLOAD_LEN] = bitmap.bytes_mut();
    node.ask(number, bytes)?;
    Ok(bitmap)
}

/// The range of an absolute axis, and its value now.
fn axis(node: &impl Ask, code: u16) -> Result<(AxisInfo, i32)> {
    let mut bytes = [0; 24];
    node.ask(GET_AXIS + code, &mut bytes)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let &[value, min, max, fuzz, flat, resolution] = numbers else { return Err(Errno::EINVAL) };
    let [min, max, fuzz, flat, resolution] = [min, max, fuzz, flat, resolution].map(i32::from_ne_bytes);
    Ok((AxisInfo { min, max, fuzz, flat, resolution }, i32::from_ne_bytes(value)))
}

/// Reads all that a guest is to be told.
///
/// # Errors
/// What an ioctl says; `ENAMETOOLONG` for a string without an end.
pub fn describe(node: &impl Ask) -> Result<Description> {
    // Not for the guest: the evdev crate asks for it too, and takes none that does not end.
    text(node, Text::Place)?;
    let mut description = Description {
        name: text(node, Text::Name)?,
        serial: text(node, Text::Serial)?,
        ids: ids(node)?,
        properties: bitmap(node, GET_PROPERTIES)?,
        ..Description::default()
    };
    let types = types(node)?;
    for (kind, codes) in (1..TYPES).zip(description.codes.iter_mut().skip(1)) {
        *codes = match kind {
            _ if !types.has(kind) => Bitmap::default(),
            EV_REP => Bitmap::of(REPEAT_CODES),
            // Of some types the kernel does not tell the codes.
            _ => match bitmap(node, GET_BITS + kind) {
                Err(Errno::EINVAL) => Bitmap::default(),
                codes => codes?,
            },
        };
    }
    for code in 0..AXES {
        if description.has(EV_ABS, code)
            && let Some(place) = description.axes.get_mut(usize::from(code))
        {
            *place = axis(node, code)?.0;
        }
    }
    Ok(description)
}

/// Where the axes and contacts of a device are.
#[derive(Debug)]
pub struct Axes {
    /// The absolute axes that are not the slots'.
    plain: Vec<u16>,
    /// The slots' axes that it has.
    of_slots: Vec<u16>,
    /// The answer to `EVIOCGMTSLOTS`: the axis, then its value in each slot.
    slots: Vec<u8>,
}

impl Axes {
    /// Of the device that is so described.
    pub fn new(description: &Description) -> Self {
        let axes = |wanted: fn(u16) -> bool| {
            (0..AXES).filter(|code| description.has(EV_ABS, *code) && wanted(*code)).collect::<Vec<_>>()
        };
        Self {
            plain: axes(|code| !is_slot_axis(code) && code != ABS_MT_SLOT),
            of_slots: axes(is_slot_axis),
            slots: vec![0; description.slots().saturating_add(1).saturating_mul(4)],
        }
    }

    /// Asks for all of them.
    ///
    /// # Errors
    /// What an ioctl says.
    pub fn look(&mut self, node: &impl Ask, state: &mut State) -> Result<()> {
        for code in &self.plain {
            state.set_axis(*code, axis(node, *code)?.1);
        }
        if state.slots() == 0 {
            return Ok(());
        }
        state.select_slot(axis(node, ABS_MT_SLOT)?.1);
        for code in &self.of_slots {
            // Nobody touches, at 0, in a slot that the answer leaves out.
            self.slots.fill(if *code == ABS_MT_TRACKING_ID { 0xff } else { 0 });
            if let Some(first) = self.slots.first_chunk_mut::<4>() {
                *first = u32::from(*code).to_ne_bytes();
            }
            match node.ask(GET_SLOTS, &mut self.slots) {
                // Joysticks of many axes have this number among them, and no slots: to Linux nothing touches there.
                Err(Errno::EINVAL) => break,
                asked => asked?,
            };
            let (numbers, _) = self.slots.as_chunks::<4>();
            for (slot, value) in numbers.iter().skip(1).enumerate() {
                state.set_slot_axis(slot, *code, i32::from_ne_bytes(*value));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
