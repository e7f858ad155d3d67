//! What the guest is still to be told, in order: a queue of events with a fixed size, frame by frame.
//!
//! Events of a frame that the device has not ended yet wait at the tail, out of the guest's sight. When the queue is full,
//! frames that only tell of motion can be dropped; those with a key, a contact or a switch keep their places and order.

use std::collections::VecDeque;

use super::codes::{ABS_MT_SLOT, ABS_MT_TRACKING_ID, EV_ABS, EV_MSC, EV_REL, EV_SYN, SYN_MT_REPORT, is_slot_axis};
use super::wire::Event;

/// Most events that wait for buffers of the guest. A second's worth of an 8 kHz mouse does not fit and is not meant to:
/// a guest that takes nothing for that long has lost its place anyway, and is told where things are once it is back.
pub const HOLD: usize = 1024;

/// The queue. Its storage is made once.
#[derive(Debug)]
pub struct Hold {
    events: VecDeque<Event>,
    /// How many of them, from the front, are whole frames.
    whole: usize,
    /// Whether the guest has a part of the first frame already.
    begun: bool,
}

impl Default for Hold {
    fn default() -> Self {
        Self { events: VecDeque::with_capacity(HOLD), whole: 0, begun: false }
    }
}

impl Hold {
    /// Whether nothing waits, not even a part of a frame.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many more events fit.
    pub fn room(&self) -> usize {
        HOLD - self.events.len()
    }

    /// The next event for the guest.
    pub fn front(&self) -> Option<Event> {
        self.events.front().copied().filter(|_| self.whole > 0)
    }

    /// The guest has the front event.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.front()?;
        self.events.pop_front();
        self.whole -= 1;
        self.begun = !event.is_report();
        Some(event)
    }

    /// One more event of the frame at the tail, which its report makes whole. `false` if there is no room.
    pub fn push(&mut self, event: Event) -> bool {
        if self.room() == 0 {
            return false;
        }
        self.events.push_back(event);
        if event.is_report() {
            self.whole = self.events.len();
        }
        true
    }

    /// Whether the frame at the tail has events and no report yet.
    pub fn is_open(&self) -> bool {
        self.whole < self.events.len()
    }

    /// Forgets the frame at the tail.
    pub fn forget_open(&mut self) {
        self.events.truncate(self.whole);
    }

    /// Forgets everything. Where the guest has a part of a frame, that frame's end is what remains.
    pub fn forget(&mut self) {
        self.events.clear();
        self.whole = 0;
        if self.begun {
            self.push(Event::REPORT);
        }
    }

    /// Forgets everything, and that the guest has a part of something: it is another guest.
    pub fn reset(&mut self) {
        self.begun = false;
        self.forget();
    }

    /// Drops the frames that tell of nothing but motion; the one that the guest has a part of, and the one at the tail,
    /// stay. `slot` is the slot that the guest believes to be current. What relied on a slot named in a frame that was
    /// dropped gets that name in front, the next event too, which must be pushed now: each dropped name leaves room for one.
    pub fn drop_motion(&mut self, slot: usize) {
        let mut slots = Slots { told: slot, meant: slot };
        let (mut left, mut first) = (self.events.len(), true);
        let mut whole = self.whole;
        self.whole = 0;
        while left > 0 {
            // A frame, or what there is of one at the tail.
            let len = if whole > 0 { self.frame_len(whole) } else { left };
            let tail = whole == 0;
            let keep = tail || (first && self.begun) || !self.events.range(..len).all(is_motion);
            for _ in 0..len {
                let Some(event) = self.events.pop_front() else { break };
                slots.pass(event, keep, &mut self.events);
            }
            left -= len;
            whole = whole.saturating_sub(len);
            first = false;
            if !tail {
                self.whole = self.events.len() - left;
            }
        }
        slots.name(&mut self.events);
    }

    /// How many of the first `whole` events the first frame has.
    fn frame_len(&self, whole: usize) -> usize {
        self.events.range(..whole).position(Event::is_report).map_or(whole, |last| last + 1)
    }
}

/// Whether an event may be dropped without anything being held, or let go, for good.
fn is_motion(event: &Event) -> bool {
    match (event.kind, event.code) {
        (EV_ABS, code) => code != ABS_MT_TRACKING_ID,
        (EV_SYN, code) => code != SYN_MT_REPORT,
        (EV_REL | EV_MSC, _) => true,
        _ => false,
    }
}

/// Which slot the events are about, while some are left out.
struct Slots {
    /// The slot that the reader of what is kept believes in.
    told: usize,
    /// The one that was meant.
    meant: usize,
}

impl Slots {
    /// Passes an event by, and on to the back of `kept` where it is kept.
    fn pass(&mut self, event: Event, keep: bool, kept: &mut VecDeque<Event>) {
        if event.kind == EV_ABS {
            if event.code == ABS_MT_SLOT {
                self.meant = usize::try_from(event.value).unwrap_or(self.meant);
                if keep {
                    self.told = self.meant;
                }
            } else if keep && is_slot_axis(event.code) {
                self.name(kept);
            }
        }
        if keep {
            kept.push_back(event);
        }
    }

    /// Names the slot that is meant where the reader does not believe in it.
    fn name(&mut self, kept: &mut VecDeque<Event>) {
        if self.told != self.meant {
            kept.push_back(Event::new(EV_ABS, ABS_MT_SLOT, i32::try_from(self.meant).unwrap_or_default()));
            self.told = self.meant;
        }
    }
}

#[cfg(test)]
mod tests;
