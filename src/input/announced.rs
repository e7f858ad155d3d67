//! Which events a guest was told that it may get. A device that reports others has them passed over: the guest has no
//! place for them, and a key that nobody keeps account of would be held for good.
//!
//! A copy of the description's bits, small enough to be looked at for each event.

use super::codes::{EV_ABS, EV_KEY, EV_MSC, EV_REL, EV_SW, KEYS, count};
use super::config::Description;

/// The types of events that guests get, but for the markers between frames.
const KINDS: [u16; 5] = [EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW];

/// The codes of a device, of the types that guests get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    keys: [u64; KEYS as usize / 64],
    /// By type, those types that have at most 64 codes.
    others: [u64; EV_SW as usize + 1],
}

impl Announced {
    /// What is announced of this device.
    pub fn of(description: &Description) -> Self {
        let mut announced = Self { keys: [0; KEYS as usize / 64], others: [0; EV_SW as usize + 1] };
        for kind in KINDS {
            for code in (0..count(kind)).filter(|code| description.has(kind, *code)) {
                let Self { keys, others } = &mut announced;
                let word =
                    if kind == EV_KEY { keys.get_mut(key_word(code)) } else { others.get_mut(usize::from(kind)) };
                if let Some(word) = word {
                    *word |= 1 << (code % 64);
                }
            }
        }
        announced
    }

    /// Whether this is a code of a type that guests get.
    pub fn has(&self, kind: u16, code: u16) -> bool {
        let word = if kind == EV_KEY {
            self.keys.get(key_word(code))
        } else {
            self.others.get(usize::from(kind)).filter(|_| code < 64)
        };
        word.is_some_and(|word| word >> (code % 64) & 1 == 1)
    }
}

/// Which word a key's bit is in.
fn key_word(code: u16) -> usize {
    usize::from(code / 64)
}

#[cfg(test)]
mod tests {
    use super::super::codes::{EV_LED, EV_SYN, TYPES};
    use super::super::config::Bitmap;
    use super::*;

    #[test]
    fn it_has_what_the_description_has_of_the_types_that_guests_get_and_nothing_else() {
        let mut description = Description::default();
        for kind in 0..TYPES {
            description.codes[usize::from(kind)] = Bitmap::of((0..1024).filter(|code| code % 7 == kind % 7));
        }
        let announced = Announced::of(&description);
        for kind in (0..TYPES).chain([0x7fff, u16::MAX]) {
            for code in (0..1100).chain([0x7fff, u16::MAX]) {
                let told = KINDS.contains(&kind) && description.has(kind, code);
                assert_eq!(announced.has(kind, code), told, "{kind:#x} {code:#x}");
            }
        }
        assert!(!announced.has(EV_SYN, 0) && !announced.has(EV_LED, 3));
    }
}
