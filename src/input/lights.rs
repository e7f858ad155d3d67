//! What the guest says on the status queue: lights and sounds. Nothing else of it reaches the device: scan codes and time
//! stamps that a guest's kernel sends back would go round in circles, and what the device does not have it need not hear.

use super::codes::{EV_LED, EV_SND};
use super::config::Description;
use super::wire::Event;

/// As many lights as Linux knows, with some to spare (`LED_CNT` is 16).
const LIGHTS: u16 = 32;

/// The guest's lights: which it has spoken of, and which are on; and its sounds that have not ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lights {
    known: u32,
    on: u32,
    sounding: u32,
}

impl Lights {
    /// Takes note of an event of the guest's and says whether it is one for this device.
    pub fn take(&mut self, event: Event, device: &Description) -> bool {
        let wanted = [EV_LED, EV_SND].contains(&event.kind) && device.has(event.kind, event.code);
        if wanted && event.kind == EV_LED && event.code < LIGHTS {
            self.known |= 1 << event.code;
            set(&mut self.on, event);
        }
        if wanted && event.kind == EV_SND && event.code < LIGHTS {
            set(&mut self.sounding, event);
        }
        wanted
    }

    /// The lights as the guest last wanted them, for a device that has been the host's, or unplugged.
    pub fn all(self) -> impl Iterator<Item = Event> {
        let Self { known, on, .. } = self;
        (0..LIGHTS)
            .filter(move |code| known >> code & 1 == 1)
            .map(move |code| Event::new(EV_LED, code, i32::from(on >> code & 1 == 1)))
    }

    /// The ends of the sounds that have not ended, for a device that the guest loses. Told once.
    pub fn silence(&mut self) -> impl Iterator<Item = Event> {
        let sounding = std::mem::take(&mut self.sounding);
        (0..LIGHTS).filter(move |code| sounding >> code & 1 == 1).map(|code| Event::new(EV_SND, code, 0))
    }
}

fn set(bits: &mut u32, Event { code, value, .. }: Event) {
    *bits = if value == 0 { *bits & !(1 << code) } else { *bits | (1 << code) };
}

#[cfg(test)]
mod tests {
    use super::super::codes::{EV_KEY, EV_MSC, EV_REP};
    use super::super::config::Bitmap;
    use super::*;

    fn keyboard() -> Description {
        let mut description = Description::default();
        description.codes[usize::from(EV_LED)] = Bitmap::of([0, 1]);
        description.codes[usize::from(EV_SND)] = Bitmap::of([1, 2]);
        description.codes[usize::from(EV_MSC)] = Bitmap::of([4]);
        description.codes[usize::from(EV_KEY)] = Bitmap::of([30]);
        description.codes[usize::from(EV_REP)] = Bitmap::of([0, 1]);
        description
    }

    #[test]
    fn lights_and_sounds_of_the_device_are_taken_and_nothing_else() {
        let mut lights = Lights::default();
        for event in [Event::new(EV_LED, 0, 1), Event::new(EV_SND, 2, 440)] {
            assert!(lights.take(event, &keyboard()), "{event:?}");
        }
        for (kind, code) in
            [(EV_LED, 2), (EV_LED, 40), (EV_SND, 0), (EV_MSC, 4), (EV_KEY, 30), (EV_REP, 0), (0, 0), (0xffff, 0xffff)]
        {
            assert!(!lights.take(Event::new(kind, code, 1), &keyboard()), "{kind} {code}");
        }
    }

    #[test]
    fn sounds_that_have_not_ended_are_ended_once() {
        let mut lights = Lights::default();
        for (code, value) in [(2, 440), (1, 1), (1, 0)] {
            lights.take(Event::new(EV_SND, code, value), &keyboard());
        }
        assert_eq!(lights.silence().collect::<Vec<_>>(), [Event::new(EV_SND, 2, 0)]);
        assert_eq!(lights.silence().count(), 0);
    }

    #[test]
    fn the_lights_of_which_the_guest_spoke_are_remembered_on_and_off() {
        let mut lights = Lights::default();
        for (code, value) in [(0, 1), (1, 1), (1, 0)] {
            lights.take(Event::new(EV_LED, code, value), &keyboard());
        }
        let all: Vec<Event> = lights.all().collect();
        assert_eq!(all, [Event::new(EV_LED, 0, 1), Event::new(EV_LED, 1, 0)]);
    }
}
