//! What a Linux guest makes of the events that it is sent.
//!
//! Keys, switches and axes take effect at once, as in the kernel's input core. A guest that knows the device's config
//! ([`GuestInput::of`]) names what the kernel would swallow in silence as a fault: events that the config did not announce,
//! slots that are not there, values that mean nothing. One that does not ([`GuestInput::new`]) swallows it.

use super::Event;
use super::config::InputConfig;
use super::ids::{abs, ev, key, rel, sw, syn};
use super::state::{Contact, InputState, is_slot_axis};
use crate::error::{Error, Result};

/// Event types that there are room for in the counters.
const KINDS: usize = 0x20;

/// A Linux guest's view of the device.
#[derive(Clone, Debug)]
pub struct GuestInput {
    config: Option<InputConfig>,
    state: InputState,
    motion: [i64; rel::COUNT as usize],
    counts: [u64; KINDS],
    repeats: u64,
    echoes: u64,
    reports: u64,
    inside_frame: bool,
}

impl GuestInput {
    /// A guest that takes whatever comes, with so many slots.
    pub fn new(slots: usize) -> GuestInput {
        GuestInput {
            config: None,
            state: InputState::new(slots),
            motion: [0; rel::COUNT as usize],
            counts: [0; KINDS],
            repeats: 0,
            echoes: 0,
            reports: 0,
            inside_frame: false,
        }
    }

    /// A guest that has read the config: it has the slots that ABS_MT_SLOT's range tells of, and takes only what was
    /// announced.
    pub fn of(config: &InputConfig) -> GuestInput {
        GuestInput { config: Some(config.clone()), ..GuestInput::new(config.slots()) }
    }

    /// Takes the next event. A fault leaves the guest as it was, but for the counters.
    pub fn apply(&mut self, event: Event) -> Result<()> {
        let Event { kind, code, value } = event;
        if let Some(count) = self.counts.get_mut(usize::from(kind)) {
            *count += 1;
        }
        if let Some(config) = &self.config {
            check(config, event)?;
        }
        match kind {
            ev::SYN => {
                if code == syn::REPORT {
                    self.reports += 1;
                    self.inside_frame = false;
                }
                return Ok(());
            }
            ev::KEY if code < key::COUNT && value == 2 => self.repeats += 1,
            ev::KEY if code < key::COUNT => self.echoes += u64::from(!self.state.set_key(code, value != 0)),
            ev::SW if code < sw::COUNT => self.state.set_switch(code, value != 0),
            ev::REL if code < rel::COUNT => self.motion[usize::from(code)] += i64::from(value),
            ev::ABS if code < abs::COUNT => self.move_axis(code, value),
            _ => {}
        }
        self.inside_frame = true;
        Ok(())
    }

    /// Slots follow the kernel: an index that is out of range changes nothing, and without slots nothing of theirs is kept.
    fn move_axis(&mut self, code: u16, value: i32) {
        match code {
            abs::MT_SLOT => {
                if let Some(slot) = usize::try_from(value).ok().filter(|slot| *slot < self.state.slots()) {
                    self.state.set_slot(slot);
                }
            }
            code if is_slot_axis(code) => {
                if self.state.slots() > 0 {
                    self.state.set_slot_axis(self.state.slot(), code, value);
                }
            }
            code => self.state.set_axis(code, value),
        }
    }

    /// Takes several events.
    pub fn apply_all(&mut self, events: &[Event]) -> Result<()> {
        events.iter().try_for_each(|event| self.apply(*event))
    }

    /// What is held, switched and touched.
    pub fn state(&self) -> &InputState {
        &self.state
    }

    /// The keys and buttons that are held, in order.
    pub fn held(&self) -> Vec<u16> {
        self.state.held()
    }

    /// All that touches, by slot.
    pub fn contacts(&self) -> Vec<Contact> {
        self.state.contacts()
    }

    /// The value of an axis, as [`InputState::axis`] has it.
    pub fn axis(&self, code: u16) -> i32 {
        self.state.axis(code)
    }

    /// Whether a switch is on.
    pub fn switch(&self, code: u16) -> bool {
        self.state.switch(code)
    }

    /// The sum of all motion on an axis of [`ev::REL`].
    pub fn motion(&self, code: u16) -> i64 {
        self.motion[usize::from(code)]
    }

    /// Key events of value 2.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Key events that pressed what was held or released what was not: the kernel drops them.
    pub fn echoes(&self) -> u64 {
        self.echoes
    }

    /// SYN_REPORTs.
    pub fn reports(&self) -> u64 {
        self.reports
    }

    /// Events of a type, faulty ones too.
    pub fn events_of(&self, kind: u16) -> u64 {
        self.counts.get(usize::from(kind)).copied().unwrap_or(0)
    }

    /// Whether an event came since the last SYN_REPORT.
    pub fn is_inside_frame(&self) -> bool {
        self.inside_frame
    }
}

/// Two guests are equal if their state is; how they came there does not count.
impl PartialEq for GuestInput {
    fn eq(&self, other: &GuestInput) -> bool {
        self.state == other.state
    }
}

impl PartialEq<InputState> for GuestInput {
    fn eq(&self, other: &InputState) -> bool {
        self.state == *other
    }
}

fn check(config: &InputConfig, event: Event) -> Result<()> {
    let Event { kind, code, value } = event;
    let announced = match kind {
        ev::SYN => [syn::REPORT, syn::MT_REPORT].contains(&code),
        kind => config.has(kind, code),
    };
    let sensible = match kind {
        ev::KEY => (0..=2).contains(&value),
        ev::SW => (0..=1).contains(&value),
        ev::ABS if code == abs::MT_SLOT => usize::try_from(value).is_ok_and(|slot| slot < config.slots()),
        _ => true,
    };
    match (announced, sensible) {
        (false, _) => Err(Error::fault(format!("{event:?} is nothing that the config announced"))),
        (_, false) => Err(Error::fault(format!("{event:?} has a value that means nothing"))),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{AbsInfo, Bitmap};

    fn touchscreen() -> InputConfig {
        let mut config = InputConfig::default();
        config.bits.insert(ev::KEY, Bitmap::of([key::A, key::BTN_TOUCH]));
        config.bits.insert(ev::ABS, Bitmap::of([abs::X, abs::MT_SLOT, abs::MT_POSITION_X, abs::MT_TRACKING_ID]));
        config.bits.insert(ev::REL, Bitmap::of([rel::X]));
        config.bits.insert(ev::SW, Bitmap::of([sw::LID]));
        config.abs.insert(abs::MT_SLOT, AbsInfo { max: 1, ..AbsInfo::default() });
        config
    }

    fn event(kind: u16, code: u16, value: i32) -> Event {
        Event::new(kind, code, value)
    }

    #[test]
    fn keys_are_held_until_released_and_repeats_are_counted() {
        let mut guest = GuestInput::of(&touchscreen());
        let [down, again, up] = [1, 2, 0].map(|value| event(ev::KEY, key::A, value));
        guest.apply_all(&[down, again, again, down]).unwrap();
        assert_eq!((guest.held(), guest.repeats(), guest.echoes()), (vec![key::A], 2, 1));
        guest.apply(up).unwrap();
        assert_eq!((guest.held(), guest.repeats(), guest.echoes()), (vec![], 2, 1));
    }

    #[test]
    fn contacts_live_in_the_current_slot() {
        let mut guest = GuestInput::of(&touchscreen());
        guest
            .apply_all(&[
                event(ev::ABS, abs::MT_TRACKING_ID, 4),
                event(ev::ABS, abs::MT_POSITION_X, 10),
                event(ev::ABS, abs::MT_SLOT, 1),
                event(ev::ABS, abs::MT_TRACKING_ID, 5),
                event(ev::ABS, abs::MT_POSITION_X, 20),
                event(ev::ABS, abs::MT_SLOT, 0),
                event(ev::ABS, abs::MT_TRACKING_ID, -1),
            ])
            .unwrap();
        let contacts = guest.contacts();
        assert_eq!(contacts.len(), 1);
        assert_eq!((contacts[0].slot, contacts[0].tracking_id, contacts[0].axis(abs::MT_POSITION_X)), (1, 5, 20));
        assert_eq!(guest.axis(abs::MT_SLOT), 0);
    }

    #[test]
    fn motion_adds_up_and_frames_end_at_a_report() {
        let mut guest = GuestInput::of(&touchscreen());
        guest.apply_all(&[event(ev::REL, rel::X, 5), event(ev::REL, rel::X, -8)]).unwrap();
        assert!(guest.is_inside_frame());
        guest.apply(event(ev::SYN, syn::REPORT, 0)).unwrap();
        assert_eq!((guest.motion(rel::X), guest.reports(), guest.is_inside_frame()), (-3, 1, false));
    }

    #[test]
    fn what_was_not_announced_is_a_fault_for_those_who_know() {
        let strange = [
            event(ev::KEY, key::S, 1),
            event(ev::KEY, key::A, 3),
            event(ev::SW, sw::LID, 2),
            event(ev::ABS, abs::MT_SLOT, 2),
            event(ev::ABS, abs::MT_SLOT, -1),
            event(ev::LED, 0, 1),
            event(ev::SYN, syn::DROPPED, 0),
            event(0xa5a5, 0, 0),
        ];
        for event in strange {
            let mut guest = GuestInput::of(&touchscreen());
            assert!(matches!(guest.apply(event), Err(Error::Fault(_))), "{event:?}");
            assert_eq!(guest, GuestInput::of(&touchscreen()), "{event:?}");
            GuestInput::new(2).apply(event).unwrap();
        }
    }

    #[test]
    fn a_guest_without_slots_keeps_no_contacts() {
        let mut guest = GuestInput::new(0);
        guest.apply_all(&[event(ev::ABS, abs::MT_SLOT, 1), event(ev::ABS, abs::MT_TRACKING_ID, 1)]).unwrap();
        assert!(guest.contacts().is_empty());
    }

    #[test]
    fn a_guest_is_compared_with_the_devices_true_state() {
        let mut guest = GuestInput::of(&touchscreen());
        let mut truth = InputState::new(2);
        truth.set_switch(sw::LID, true);
        truth.set_axis(abs::X, 77);
        assert_ne!(guest, truth);
        guest.apply_all(&[event(ev::SW, sw::LID, 1), event(ev::ABS, abs::X, 77)]).unwrap();
        assert_eq!(guest, truth);
    }
}
