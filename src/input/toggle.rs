//! The hotkey that gives the device to the host and back, with the names of QEMU's input-linux.
//!
//! The hand-over is due when the keys of the combination are up again, so that neither side is left with half of it.

use super::codes::{
    EV_KEY, KEY_LEFTALT, KEY_LEFTCTRL, KEY_LEFTMETA, KEY_LEFTSHIFT, KEY_RIGHTALT, KEY_RIGHTCTRL, KEY_RIGHTMETA,
    KEY_RIGHTSHIFT, KEY_SCROLLLOCK,
};
use super::wire::Event;

/// A combination: of each group one key at least must be held, all groups at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Its name on the command line.
    pub name: &'static str,
    groups: [&'static [u16]; 2],
}

/// All combinations, by QEMU's names for them.
pub const COMBINATIONS: [Keys; 6] = [
    Keys { name: "ctrl-ctrl", groups: [&[KEY_LEFTCTRL], &[KEY_RIGHTCTRL]] },
    Keys { name: "alt-alt", groups: [&[KEY_LEFTALT], &[KEY_RIGHTALT]] },
    Keys { name: "shift-shift", groups: [&[KEY_LEFTSHIFT], &[KEY_RIGHTSHIFT]] },
    Keys { name: "meta-meta", groups: [&[KEY_LEFTMETA], &[KEY_RIGHTMETA]] },
    Keys { name: "scrolllock", groups: [&[KEY_SCROLLLOCK], &[KEY_SCROLLLOCK]] },
    Keys { name: "ctrl-scrolllock", groups: [&[KEY_LEFTCTRL, KEY_RIGHTCTRL], &[KEY_SCROLLLOCK]] },
];

impl Keys {
    /// The combination of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        COMBINATIONS.into_iter().find(|keys| keys.name == name)
    }

    /// Whether it can be typed where there are the keys that `has` says are there.
    pub fn can_be_typed(&self, has: impl Fn(u16) -> bool) -> bool {
        self.groups.iter().all(|group| group.iter().any(|code| has(*code)))
    }

    /// The keys that it is made of.
    pub fn codes(&self) -> impl Iterator<Item = u16> {
        self.groups.into_iter().flatten().copied()
    }
}

/// Watches for a combination.
#[derive(Debug)]
pub struct Toggle {
    keys: Keys,
    /// Which of the combination's keys are held, in the order of [`Keys::codes`].
    held: u8,
    /// The combination was held; it is waited for that all its keys are up.
    armed: bool,
}

impl Toggle {
    /// Watches for `keys`.
    pub fn new(keys: Keys) -> Self {
        Self { keys, held: 0, armed: false }
    }

    /// Follows an event; whether the hand-over is due now.
    pub fn feed(&mut self, event: Event) -> bool {
        if event.kind != EV_KEY || !(0..=1).contains(&event.value) {
            return false;
        }
        for (place, code) in self.keys.codes().enumerate() {
            if code == event.code {
                let bit = 1u8 << place;
                self.held = if event.value == 1 { self.held | bit } else { self.held & !bit };
            }
        }
        self.armed |= self.is_complete();
        self.held == 0 && std::mem::take(&mut self.armed)
    }

    /// Nothing of it is held, whatever was seen before.
    pub fn reset(&mut self) {
        self.held = 0;
        self.armed = false;
    }

    fn is_complete(&self) -> bool {
        let mut place = 0;
        self.keys.groups.iter().all(|group| {
            let mask = ((1u8 << group.len()) - 1) << place;
            place += group.len();
            self.held & mask != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_A: u16 = 30;

    fn press(code: u16) -> Event {
        Event::new(EV_KEY, code, 1)
    }

    fn release(code: u16) -> Event {
        Event::new(EV_KEY, code, 0)
    }

    /// How often the hand-over is due.
    fn due(name: &str, events: &[Event]) -> usize {
        let mut toggle = Toggle::new(Keys::by_name(name).unwrap());
        events.iter().filter(|event| toggle.feed(**event)).count()
    }

    #[test]
    fn both_keys_at_once_are_a_combination_once_they_are_up() {
        for (name, left, right) in
            [("ctrl-ctrl", 29, 97), ("alt-alt", 56, 100), ("shift-shift", 42, 54), ("meta-meta", 125, 126)]
        {
            let mut toggle = Toggle::new(Keys::by_name(name).unwrap());
            for event in [press(left), press(right), release(left)] {
                assert!(!toggle.feed(event), "{name}: too early");
            }
            assert!(toggle.feed(release(right)), "{name}");
            assert!(!toggle.feed(release(right)), "{name}: once");
        }
    }

    #[test]
    fn one_key_after_the_other_is_none() {
        assert_eq!(due("ctrl-ctrl", &[press(29), release(29), press(97), release(97)]), 0);
    }

    #[test]
    fn scroll_lock_alone_and_with_either_ctrl() {
        assert_eq!(due("scrolllock", &[press(70), release(70), press(70), release(70)]), 2);
        assert_eq!(due("ctrl-scrolllock", &[press(70), release(70)]), 0);
        assert_eq!(due("ctrl-scrolllock", &[press(29), press(70), release(70), release(29)]), 1);
        assert_eq!(due("ctrl-scrolllock", &[press(97), press(70), release(97), release(70)]), 1);
    }

    #[test]
    fn other_keys_and_repeats_neither_help_nor_disturb() {
        let events =
            [press(KEY_A), press(29), Event::new(EV_KEY, 29, 2), press(97), release(KEY_A), release(97), release(29)];
        assert_eq!(due("ctrl-ctrl", &events), 1);
        assert_eq!(due("ctrl-ctrl", &[press(29), Event::new(EV_KEY, 97, 2), release(29)]), 0);
    }

    #[test]
    fn what_was_held_before_a_reset_does_not_count() {
        let mut toggle = Toggle::new(Keys::by_name("ctrl-ctrl").unwrap());
        toggle.feed(press(29));
        toggle.reset();
        toggle.feed(press(97));
        assert!(!toggle.feed(release(97)));
    }

    #[test]
    fn other_names_are_none() {
        assert_eq!(Keys::by_name("ctrl"), None);
        assert_eq!(Keys::by_name(""), None);
    }
}
