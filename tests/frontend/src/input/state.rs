//! What is held, switched, where the axes are and what touches: the state in which a device and its guest must agree.
//!
//! Filled from events by [`super::GuestInput`], or by hand with what the device itself says. Two states are equal if no
//! program that reads the device could tell them apart: the axis values of a slot that nothing touches do not count.

use std::fmt::{Arguments, Write};

use super::ids::{abs, key};

/// Axes that each slot has: [`abs::MT_TOUCH_MAJOR`] to [`abs::MT_TOOL_Y`].
const SLOT_AXES: usize = (abs::MT_TOOL_Y - abs::MT_TOUCH_MAJOR + 1) as usize;
const TRACKING_ID: usize = (abs::MT_TRACKING_ID - abs::MT_TOUCH_MAJOR) as usize;

/// Whether `code` is an axis of a slot.
pub(super) fn is_slot_axis(code: u16) -> bool {
    (abs::MT_TOUCH_MAJOR..=abs::MT_TOOL_Y).contains(&code)
}

/// Something that touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its slot.
    pub slot: usize,
    /// Its tracking id, not negative.
    pub tracking_id: i32,
    values: [i32; SLOT_AXES],
}

impl Contact {
    /// Its value on an axis of slots, [`abs::MT_TOUCH_MAJOR`] to [`abs::MT_TOOL_Y`].
    pub fn axis(&self, code: u16) -> i32 {
        assert!(is_slot_axis(code), "axis {code:#x} is not one of a slot");
        self.values[usize::from(code - abs::MT_TOUCH_MAJOR)]
    }
}

/// The state of an input device.
#[derive(Clone, Debug)]
pub struct InputState {
    keys: [u64; key::COUNT as usize / 64],
    switches: u64,
    axes: [i32; abs::COUNT as usize],
    slot: usize,
    slots: Vec<[i32; SLOT_AXES]>,
}

impl InputState {
    /// Nothing held, all axes at 0, and so many slots that nothing touches.
    pub fn new(slots: usize) -> InputState {
        let mut untouched = [0; SLOT_AXES];
        untouched[TRACKING_ID] = -1;
        InputState {
            keys: [0; key::COUNT as usize / 64],
            switches: 0,
            axes: [0; abs::COUNT as usize],
            slot: 0,
            slots: vec![untouched; slots],
        }
    }

    /// Presses or releases a key or button. False where it was so already.
    pub fn set_key(&mut self, code: u16, down: bool) -> bool {
        let was = self.is_held(code);
        self.keys[usize::from(code) / 64] ^= u64::from(was != down) << (code % 64);
        was != down
    }

    /// Turns a switch on or off.
    pub fn set_switch(&mut self, code: u16, on: bool) {
        let was = self.switch(code);
        self.switches ^= u64::from(was != on) << code;
    }

    /// Moves an axis that is none of a slot's.
    pub fn set_axis(&mut self, code: u16, value: i32) {
        assert!(!is_slot_axis(code) && code != abs::MT_SLOT, "axis {code:#x} belongs to slots");
        self.axes[usize::from(code)] = value;
    }

    /// Makes a slot the one that further events are for.
    pub fn set_slot(&mut self, slot: usize) {
        assert!(slot < self.slots.len(), "slot {slot} of {}", self.slots.len());
        self.slot = slot;
    }

    /// Sets one axis of a slot, the tracking id among them.
    pub fn set_slot_axis(&mut self, slot: usize, code: u16, value: i32) {
        assert!(is_slot_axis(code), "axis {code:#x} is not one of a slot");
        self.slots[slot][usize::from(code - abs::MT_TOUCH_MAJOR)] = value;
    }

    /// One axis of a slot, whether anything touches there or not.
    pub fn slot_axis(&self, slot: usize, code: u16) -> i32 {
        assert!(is_slot_axis(code), "axis {code:#x} is not one of a slot");
        self.slots[slot][usize::from(code - abs::MT_TOUCH_MAJOR)]
    }

    /// Whether a key or button is held.
    pub fn is_held(&self, code: u16) -> bool {
        self.keys[usize::from(code) / 64] >> (code % 64) & 1 == 1
    }

    /// The keys and buttons that are held, in order.
    pub fn held(&self) -> Vec<u16> {
        (0..key::COUNT).filter(|code| self.is_held(*code)).collect()
    }

    /// Whether a switch is on.
    pub fn switch(&self, code: u16) -> bool {
        self.switches >> code & 1 == 1
    }

    /// The value of an axis; of a slot's axis that of the current slot, of [`abs::MT_SLOT`] the slot's number.
    pub fn axis(&self, code: u16) -> i32 {
        match code {
            abs::MT_SLOT => self.slot as i32,
            code if is_slot_axis(code) && !self.slots.is_empty() => {
                self.slots[self.slot][usize::from(code - abs::MT_TOUCH_MAJOR)]
            }
            code => self.axes[usize::from(code)],
        }
    }

    /// The slot that events are for.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What touches in a slot.
    pub fn contact(&self, slot: usize) -> Option<Contact> {
        let values = *self.slots.get(slot)?;
        let tracking_id = values[TRACKING_ID];
        (tracking_id >= 0).then_some(Contact { slot, tracking_id, values })
    }

    /// All that touches, by slot.
    pub fn contacts(&self) -> Vec<Contact> {
        (0..self.slots.len()).filter_map(|slot| self.contact(slot)).collect()
    }

    /// What is here otherwise than in `truth`, in words; `None` where nothing is.
    pub fn difference(&self, truth: &InputState) -> Option<String> {
        let mut text = String::new();
        self.each_difference(truth, &mut |what| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{what}", if text.is_empty() { "" } else { "; " });
        });
        (!text.is_empty()).then_some(text)
    }

    /// Tells `say` of each difference; allocates nothing itself.
    fn each_difference(&self, truth: &InputState, say: &mut impl FnMut(Arguments<'_>)) {
        for code in (0..key::COUNT).filter(|code| self.is_held(*code) != truth.is_held(*code)) {
            say(format_args!("key {code} is {}", if self.is_held(code) { "held" } else { "not held" }));
        }
        for code in (0..64).filter(|code| self.switch(*code) != truth.switch(*code)) {
            say(format_args!("switch {code} is {}", if self.switch(code) { "on" } else { "off" }));
        }
        for (code, (is, should)) in
            self.axes.iter().zip(&truth.axes).enumerate().filter(|(_, (is, should))| is != should)
        {
            say(format_args!("axis {code:#x} is {is}, not {should}"));
        }
        if self.slots.len() != truth.slots.len() {
            say(format_args!("there are {} slots, not {}", self.slots.len(), truth.slots.len()));
        }
        if self.slot != truth.slot {
            say(format_args!("the slot is {}, not {}", self.slot, truth.slot));
        }
        for slot in 0..self.slots.len().max(truth.slots.len()) {
            contact_difference(slot, self.contact(slot), truth.contact(slot), say);
        }
    }
}

fn contact_difference(slot: usize, is: Option<Contact>, should: Option<Contact>, say: &mut impl FnMut(Arguments<'_>)) {
    match (is, should) {
        (Some(is), None) => say(format_args!("slot {slot} has contact {}, not none", is.tracking_id)),
        (None, Some(should)) => say(format_args!("slot {slot} has no contact, not {}", should.tracking_id)),
        (Some(is), Some(should)) => {
            for at in (0..SLOT_AXES).filter(|at| is.values[*at] != should.values[*at]) {
                let code = abs::MT_TOUCH_MAJOR + at as u16;
                say(format_args!("slot {slot} axis {code:#x} is {}, not {}", is.values[at], should.values[at]));
            }
        }
        (None, None) => {}
    }
}

impl PartialEq for InputState {
    fn eq(&self, other: &InputState) -> bool {
        let mut same = true;
        self.each_difference(other, &mut |_| same = false);
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched() -> InputState {
        let mut state = InputState::new(2);
        state.set_slot_axis(1, abs::MT_TRACKING_ID, 7);
        state.set_slot_axis(1, abs::MT_POSITION_X, 100);
        state
    }

    #[test]
    fn a_difference_names_all_that_differs() {
        let (mut is, should) = (touched(), InputState::new(2));
        is.set_key(key::A, true);
        is.set_switch(0, true);
        is.set_axis(abs::X, 5);
        is.set_slot(1);
        let text = is.difference(&should).unwrap();
        let wanted = "key 30 is held; switch 0 is on; axis 0x0 is 5, not 0; the slot is 1, not 0; \
                      slot 1 has contact 7, not none";
        assert_eq!(text, wanted);
    }

    #[test]
    fn contacts_are_compared_axis_by_axis() {
        let (is, mut should) = (touched(), touched());
        assert_eq!(is, should);
        should.set_slot_axis(1, abs::MT_POSITION_X, 101);
        assert_eq!(is.difference(&should).unwrap(), "slot 1 axis 0x35 is 100, not 101");
    }

    #[test]
    fn what_an_untouched_slot_remembers_does_not_count() {
        let mut lifted = touched();
        lifted.set_slot_axis(1, abs::MT_TRACKING_ID, -1);
        assert_eq!(lifted, InputState::new(2));
    }
}
