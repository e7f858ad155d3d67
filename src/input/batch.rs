//! From the device's events to the guest's: whole frames, in order, split where buffers are short; and the truth where not
//! everything can be told.
//!
//! Pure: events go in by [`Batch::feed`] and come out by [`Batch::upcoming`] and [`Batch::delivered`]; nobody reads or writes
//! anything here. Two states are kept: the device's, which follows every event, and the guest's, which follows what it was
//! given. While all goes well the events themselves are told. Whatever else happens (the hold runs over, the kernel drops
//! events, the guest was paused or is new, the device is unplugged or handed to the host) ends in *settling*: nothing new is
//! taken up until what waits has gone out, and then the differences between the two states are told. So no key and no
//! contact can stick, whatever was lost.
//!
//! What the guest is not told: repeats of the kernel where it was told that the device repeats (its own would come on
//! top), lights and sounds (they are the guest's own doing, come back), what virtio-input has no use for, and what the
//! device did not announce. Of keys and switches it is told the numbers that mean something, whatever the device's were.

use super::codes::{ABS_MT_SLOT, EV_ABS, EV_KEY, EV_REP, EV_SW, EV_SYN, SYN_DROPPED, SYN_MT_REPORT, SYN_REPORT};
use super::config::Description;
use super::hold::Hold;
use super::state::{Sink, State, differences};
use super::wire::Event;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It was taken into account.
    Taken,
    /// The kernel has dropped events: the device must be looked at ([`Batch::look`]) before it is followed further.
    Dropped,
}

/// The way from one device to one guest.
#[derive(Debug)]
pub struct Batch {
    device: State,
    guest: State,
    hold: Hold,
    /// Nothing new is taken up until the guest has been told the differences.
    settling: bool,
    /// Motion was dropped: the differences are to be told once nothing waits.
    owing: bool,
    /// Whether the guest has the device: it is plugged in, and not the host's.
    present: bool,
    /// Whether the device is in the middle of a frame.
    in_frame: bool,
    /// Whether the guest repeats keys by itself.
    guest_repeats: bool,
}

impl Batch {
    /// For a device that nobody has looked at yet, and a guest that has not come yet.
    pub fn new(description: &Description) -> Self {
        Self {
            device: State::new(description),
            guest: State::new(description),
            hold: Hold::default(),
            settling: true,
            owing: false,
            present: false,
            in_frame: false,
            guest_repeats: description.has_type(EV_REP),
        }
    }

    // The device's side.

    /// Follows one event of the device.
    pub fn feed(&mut self, event: Event) -> Fed {
        if (event.kind, event.code) == (EV_SYN, SYN_DROPPED) {
            return Fed::Dropped;
        }
        let event = meant(event);
        self.device.apply(event);
        self.in_frame = !event.is_report();
        if self.is_following() && self.is_told(event) && !self.hold(event) {
            self.stop_following();
        }
        Fed::Taken
    }

    /// Replaces the device's state by what it is found to be: `look` fills it in. What was taken up before goes out, the
    /// differences after it.
    ///
    /// # Errors
    /// What `look` says.
    pub fn look<E>(&mut self, look: impl FnOnce(&mut State) -> Result<(), E>) -> Result<(), E> {
        self.stop_following();
        self.in_frame = false;
        look(&mut self.device)
    }

    /// The device's state.
    pub fn device(&self) -> &State {
        &self.device
    }

    /// The guest gets the device, or loses it.
    pub fn set_present(&mut self, present: bool) {
        if self.present != present {
            self.present = present;
            self.stop_following();
        }
    }

    /// Whether the guest has the device.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// The device is gone in the middle of whatever it did.
    pub fn unplug(&mut self) {
        self.device.release();
        self.in_frame = false;
        self.set_present(false);
    }

    // The guest's side.

    /// Nobody reads at the moment: events from now on are not kept. What waited already still does.
    pub fn pause(&mut self) {
        self.stop_following();
    }

    /// There is a new guest, which knows nothing.
    pub fn new_guest(&mut self) {
        self.hold.reset();
        self.guest.clear();
        self.settling = true;
        self.owing = false;
    }

    /// The guest loses the device at once: what waited is dropped, what it holds is let go.
    pub fn part(&mut self) {
        self.hold.forget();
        self.unplug();
        // Where it was gone before, the endings were taken up already, and are among what was forgotten.
        self.stop_following();
    }

    /// What the guest is to be told next.
    pub fn upcoming(&mut self) -> Option<Event> {
        // The endings need not wait: what is left of the device's frame may have been passed over while it changed hands.
        let between_frames = !(self.in_frame && self.present);
        if self.hold.is_empty() && (self.settling || self.owing) && between_frames {
            self.settle();
        }
        self.hold.front()
    }

    /// The guest was told what [`Batch::upcoming`] returned.
    pub fn delivered(&mut self) {
        if let Some(event) = self.hold.pop() {
            self.guest.apply(event);
        }
    }

    /// Whether the guest knows all there is to know.
    #[cfg(test)]
    pub fn is_quiet(&mut self) -> bool {
        self.upcoming().is_none() && !self.in_frame
    }

    /// What the guest knows.
    #[cfg(test)]
    pub fn guest(&self) -> &State {
        &self.guest
    }

    /// Whether events are told as they come.
    fn is_following(&self) -> bool {
        self.present && !self.settling
    }

    fn stop_following(&mut self) {
        self.settling = true;
        self.hold.forget_open();
    }

    /// Whether this is an event for guests.
    fn is_told(&self, event: Event) -> bool {
        let Event { kind, code, value } = event;
        match (kind, code) {
            // A frame of which nothing was told has no end either.
            (EV_SYN, SYN_REPORT) => self.hold.is_open(),
            (EV_SYN, _) => code == SYN_MT_REPORT,
            _ if !self.device.announced(kind, code) => false,
            (EV_KEY, _) => value != 2 || !self.guest_repeats,
            (EV_ABS, ABS_MT_SLOT) => self.device.slot_number(value).is_some(),
            _ => true,
        }
    }

    /// Takes an event up; when there is no room, motion makes some. `false` where that was not enough.
    fn hold(&mut self, event: Event) -> bool {
        if self.hold.push(event) {
            return true;
        }
        self.hold.drop_motion(self.guest.slot());
        self.owing = true;
        self.hold.push(event)
    }

    /// Nothing waits: takes up the differences, and events again once they all have room.
    fn settle(&mut self) {
        let Self { device, guest, hold, present, .. } = self;
        let told = differences(guest, device, !*present, &mut Tail(hold));
        if hold.is_open() {
            hold.push(Event::REPORT);
        }
        self.settling = !told;
        self.owing = false;
    }
}

/// The event with a number that its type knows: of a key up, down or again; of a switch on or off. What else a device says
/// is down, and on, as in Linux.
fn meant(event: Event) -> Event {
    match (event.kind, event.value) {
        (EV_KEY, 0..=2) | (EV_SW, 0..=1) => event,
        (EV_KEY | EV_SW, _) => Event { value: 1, ..event },
        _ => event,
    }
}

/// The hold as a place for differences, of which the last place is kept for the end of a frame cut short.
struct Tail<'a>(&'a mut Hold);

impl Sink for Tail<'_> {
    fn take(&mut self, event: Event) -> bool {
        self.0.room() > 1 && self.0.push(event)
    }
}

#[cfg(test)]
mod tests;
