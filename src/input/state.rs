//! What is held, switched, and where the axes and contacts are: of the device as it is, and of the guest as it was told.
//!
//! [`State::apply`] follows events as a Linux guest does. [`differences`] is the way from one state to another in events,
//! which is how everything that could not be told event by event is brought right. Neither knows of anything that was not
//! announced, so a state can be filled from whatever a device says.

use super::announced::Announced;
use super::codes::{
    ABS_MT_SLOT, ABS_MT_TRACKING_ID, AXES, EV_ABS, EV_KEY, EV_SW, EV_SYN, FIRST_SLOT_AXIS, KEYS, LAST_SLOT_AXIS,
    SWITCHES, SYN_MT_REPORT, SYN_REPORT, is_slot_axis,
};
use super::config::Description;
use super::wire::Event;

/// Axes that each slot has of its own.
pub const SLOT_AXES: usize = (LAST_SLOT_AXIS - FIRST_SLOT_AXIS + 1) as usize;

/// No contact in this slot.
const NOBODY: i32 = -1;

/// A slot of a touch screen: its contact, and the values of its axes, which outlive the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    id: i32,
    values: [i32; SLOT_AXES],
}

impl Slot {
    const EMPTY: Self = Self { id: NOBODY, values: [0; SLOT_AXES] };

    fn value(&mut self, code: u16) -> Option<&mut i32> {
        self.values.get_mut(usize::from(code.checked_sub(FIRST_SLOT_AXIS)?))
    }
}

/// The state of a device. A new one is what a guest's driver begins with: nothing held, all axes at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    announced: Announced,
    keys: [u64; KEYS as usize / 64],
    switches: u32,
    axes: [i32; AXES as usize],
    /// Which slot the next multi-touch event is about.
    slot: usize,
    /// Empty for devices without slots.
    slots: Box<[Slot]>,
    /// Whether there are contacts that have no slots (the protocol with `SYN_MT_REPORT`).
    anonymous: bool,
    /// Whether the frame under way has told of such a contact.
    anonymous_data: bool,
}

impl State {
    /// The state that a guest of this device begins with.
    pub fn new(description: &Description) -> Self {
        Self {
            announced: Announced::of(description),
            keys: [0; KEYS as usize / 64],
            switches: 0,
            axes: [0; AXES as usize],
            slot: 0,
            slots: vec![Slot::EMPTY; description.slots()].into(),
            anonymous: false,
            anonymous_data: false,
        }
    }

    /// Back to what a guest begins with.
    pub fn clear(&mut self) {
        self.keys.fill(0);
        self.switches = 0;
        self.axes.fill(0);
        self.slot = 0;
        self.slots.fill(Slot::EMPTY);
        self.anonymous = false;
        self.anonymous_data = false;
    }

    /// Takes over the values of a state of the same device.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { announced: _, keys, switches, axes, slot, slots, anonymous, anonymous_data } = other;
        (self.keys, self.switches, self.axes, self.slot) = (*keys, *switches, *axes, *slot);
        (self.anonymous, self.anonymous_data) = (*anonymous, *anonymous_data);
        for (own, other) in self.slots.iter_mut().zip(slots) {
            *own = *other;
        }
    }

    /// Nothing is held and nothing touches any longer; switches and axes stay where they are.
    pub fn release(&mut self) {
        self.keys.fill(0);
        self.slots.iter_mut().for_each(|slot| slot.id = NOBODY);
        self.anonymous = false;
        self.anonymous_data = false;
    }

    /// Whether a key is held or something touches.
    pub fn is_held(&self) -> bool {
        self.keys.iter().any(|word| *word != 0) || self.slots.iter().any(|slot| slot.id >= 0) || self.anonymous
    }

    /// Whether a guest of this device may get this event; see [`Announced`].
    pub fn announced(&self, kind: u16, code: u16) -> bool {
        self.announced.has(kind, code)
    }

    /// Follows an event.
    pub fn apply(&mut self, event: Event) {
        let Event { kind, code, value } = event;
        match (kind, code) {
            // 2 is a repeat; any other number is a press, as in Linux.
            (EV_KEY, _) if value != 2 => self.set_key(code, value != 0),
            (EV_SW, _) => self.set_switch(code, value != 0),
            (EV_ABS, ABS_MT_SLOT) => self.select_slot(value),
            (EV_ABS, _) if is_slot_axis(code) && !self.slots.is_empty() => self.set_slot_axis(self.slot, code, value),
            (EV_ABS, _) if is_slot_axis(code) => self.anonymous_data |= self.announced(kind, code),
            (EV_ABS, _) => self.set_axis(code, value),
            // A frame without contacts has this marker and no data before it.
            (EV_SYN, SYN_MT_REPORT) => self.anonymous = self.anonymous_data,
            (EV_SYN, SYN_REPORT) => self.anonymous_data = false,
            _ => {}
        }
    }

    /// A key or button.
    pub fn set_key(&mut self, code: u16, held: bool) {
        if self.announced(EV_KEY, code)
            && let Some(word) = self.keys.get_mut(usize::from(code / 64))
        {
            let bit = 1 << (code % 64);
            *word = if held { *word | bit } else { *word & !bit };
        }
    }

    /// A switch.
    pub fn set_switch(&mut self, code: u16, on: bool) {
        if self.announced(EV_SW, code) && code < SWITCHES {
            self.switches = if on { self.switches | (1 << code) } else { self.switches & !(1 << code) };
        }
    }

    /// An absolute axis that is no slot's.
    pub fn set_axis(&mut self, code: u16, value: i32) {
        if self.announced(EV_ABS, code)
            && let Some(place) = self.axes.get_mut(usize::from(code))
        {
            *place = value;
        }
    }

    /// The slot that what follows is about; one that is not there changes nothing, as in Linux.
    pub fn select_slot(&mut self, slot: i32) {
        if let Some(slot) = self.slot_number(slot) {
            self.slot = slot;
        }
    }

    /// The number of a slot that is there.
    pub fn slot_number(&self, slot: i32) -> Option<usize> {
        usize::try_from(slot).ok().filter(|slot| *slot < self.slots.len())
    }

    /// An axis of a slot, or its contact.
    pub fn set_slot_axis(&mut self, slot: usize, code: u16, value: i32) {
        let announced = self.announced(EV_ABS, code);
        let Some(slot) = self.slots.get_mut(slot).filter(|_| announced) else { return };
        if code == ABS_MT_TRACKING_ID {
            slot.id = value.max(NOBODY);
        } else if let Some(place) = slot.value(code) {
            *place = value;
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slot that what follows is about.
    pub fn slot(&self) -> usize {
        self.slot
    }
}

/// Takes the events of [`differences`]; `false` when it has no room for one more.
pub trait Sink {
    /// Takes one event.
    fn take(&mut self, event: Event) -> bool;
}

impl Sink for Vec<Event> {
    fn take(&mut self, event: Event) -> bool {
        self.push(event);
        true
    }
}

/// Tells, frame by frame, how to come from `from` to `to`. What ends (keys, contacts) ends in a frame of its own before
/// what begins: a contact that another has taken the place of ends and begins anew. `false` where the sink had no room
/// for all: whoever applied what it took asks again.
///
/// Where `released`, `to` is taken without what it holds, and nothing but the endings is told.
pub fn differences(from: &State, to: &State, released: bool, sink: &mut impl Sink) -> bool {
    let mut frame = Frame { sink, slot: from.slot, open: false };
    frame.endings(from, to, released).is_some()
        && frame.end().is_some()
        && (released || frame.beginnings(from, to).is_some())
        && frame.end().is_some()
}

/// Writes frames of multi-touch and other events; `None` when the sink is full.
struct Frame<'a, S> {
    sink: &'a mut S,
    /// The slot that the reader believes the next event to be about.
    slot: usize,
    open: bool,
}

impl<S: Sink> Frame<'_, S> {
    fn put(&mut self, kind: u16, code: u16, value: i32) -> Option<()> {
        self.open = true;
        self.sink.take(Event::new(kind, code, value)).then_some(())
    }

    fn end(&mut self) -> Option<()> {
        if std::mem::take(&mut self.open) {
            return self.sink.take(Event::REPORT).then_some(());
        }
        Some(())
    }

    fn go_to_slot(&mut self, slot: usize) -> Option<()> {
        if self.slot != slot {
            self.put(EV_ABS, ABS_MT_SLOT, i32::try_from(slot).ok()?)?;
            self.slot = slot;
        }
        Some(())
    }

    fn endings(&mut self, from: &State, to: &State, released: bool) -> Option<()> {
        let remains = |kept: bool| kept && !released;
        for (number, (was, is)) in from.slots.iter().zip(&to.slots).enumerate() {
            if was.id >= 0 && !remains(was.id == is.id) {
                self.go_to_slot(number)?;
                self.put(EV_ABS, ABS_MT_TRACKING_ID, NOBODY)?;
            }
        }
        if from.anonymous && !remains(to.anonymous) {
            self.put(EV_SYN, SYN_MT_REPORT, 0)?;
        }
        for (first, (was, is)) in (0u16..).step_by(64).zip(from.keys.iter().zip(&to.keys)) {
            let ended = was & !(if released { 0 } else { *is });
            self.keys(first, ended, 0)?;
        }
        Some(())
    }

    fn beginnings(&mut self, from: &State, to: &State) -> Option<()> {
        for code in 0..SWITCHES {
            let [was, is] = [from.switches, to.switches].map(|switches| switches >> code & 1);
            if was != is {
                self.put(EV_SW, code, i32::from(is == 1))?;
            }
        }
        for (code, (was, is)) in (0u16..).zip(from.axes.iter().zip(&to.axes)) {
            if was != is {
                self.put(EV_ABS, code, *is)?;
            }
        }
        for (number, (was, is)) in from.slots.iter().zip(&to.slots).enumerate() {
            if is.id >= 0 && was.id != is.id {
                self.go_to_slot(number)?;
                self.put(EV_ABS, ABS_MT_TRACKING_ID, is.id)?;
            }
            for (code, (was, is)) in (FIRST_SLOT_AXIS..).zip(was.values.iter().zip(&is.values)) {
                if was != is {
                    self.go_to_slot(number)?;
                    self.put(EV_ABS, code, *is)?;
                }
            }
        }
        self.go_to_slot(to.slot)?;
        for (first, (was, is)) in (0u16..).step_by(64).zip(from.keys.iter().zip(&to.keys)) {
            self.keys(first, is & !was, 1)?;
        }
        Some(())
    }

    /// The keys whose bits are set, counted from `first`.
    fn keys(&mut self, first: u16, bits: u64, value: i32) -> Option<()> {
        for bit in 0..64 {
            if bits >> bit & 1 == 1 {
                self.put(EV_KEY, first + bit, value)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
