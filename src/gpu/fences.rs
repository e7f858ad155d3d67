//! Answers that wait until the renderer has done what the guest asked for. No I/O.
//!
//! A fenced command is answered when its work is done (VIRTIO 1.3, 5.7.6.7), while those after it are executed already.
//! A fence is on a timeline: the device's own, or one of a context's rings. Linux takes the answer to a fence for the
//! answers to all before it on that timeline, so on each timeline answers stay in order, those of commands that the
//! renderer has no part in too.
//!
//! The guest's fence ids are only echoed: the renderer counts in our numbers ([`Point`]), which grow whatever the timeline.
//! It tells of a fence of the device's when all is done that was asked before, and of a ring's when its context's is.

use std::collections::VecDeque;

use super::command::{FLAG_INFO_RING_IDX, Header};
use super::virgl::Done;

/// What a fence is ordered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// The device's own.
    Device,
    /// A ring of a context.
    Ring { ctx: u32, ring: u8 },
}

impl Timeline {
    /// The timeline of a fenced command.
    pub fn of(header: &Header) -> Self {
        if header.flags & FLAG_INFO_RING_IDX == 0 {
            Self::Device
        } else {
            Self::Ring { ctx: header.ctx_id, ring: header.ring_idx }
        }
    }
}

/// A place in the renderer's work: a fence of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(pub u64);

impl Point {
    /// Whether the renderer says of this fence that it is done. Those before it on its timeline are as well.
    pub fn is_reached_by(self, done: Done) -> bool {
        match done {
            Done::Through(fence) => self.0 <= fence,
            Done::Alone(fence) => self.0 == fence,
        }
    }
}

/// The answers that wait, in the order of their commands.
#[derive(Debug)]
pub struct Fences<T> {
    waiting: VecDeque<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    timeline: Timeline,
    point: Point,
    answer: T,
}

impl<T> Default for Fences<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T: Copy> Fences<T> {
    /// The point of the last answer that waits on a timeline: what comes after it there cannot be given back before.
    pub fn last_on(&self, timeline: Timeline) -> Option<Point> {
        self.waiting.iter().rev().find(|waiting| waiting.timeline == timeline).map(|waiting| waiting.point)
    }

    /// `answer` waits until the renderer is at `point`.
    pub fn wait(&mut self, timeline: Timeline, point: Point, answer: T) {
        self.waiting.push_back(Waiting { timeline, point, answer });
    }

    /// The renderer says that something is done: gives out what waited for that.
    pub fn reached(&mut self, done: Done, mut give: impl FnMut(T)) {
        match done {
            Done::Through(_) => self.release(|waiting| waiting.point.is_reached_by(done), &mut give),
            Done::Alone(fence) => {
                let of_it = self.waiting.iter().find(|waiting| waiting.point.is_reached_by(done));
                let Some(timeline) = of_it.map(|waiting| waiting.timeline) else { return };
                self.release(|waiting| waiting.timeline == timeline && waiting.point.0 <= fence, &mut give);
            }
        }
    }

    /// Gives everything out, for there is no more time.
    pub fn give_up(&mut self, mut give: impl FnMut(T)) {
        self.release(|_| true, &mut give);
    }

    /// Forgets all of them: the guest was reset.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    fn release(&mut self, done: impl Fn(&Waiting<T>) -> bool, give: &mut impl FnMut(T)) {
        self.waiting.retain(|waiting| {
            let done = done(waiting);
            if done {
                give(waiting.answer);
            }
            !done
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: Timeline = Timeline::Ring { ctx: 7, ring: 1 };

    #[test]
    fn a_ring_is_a_contexts_and_without_one_a_fence_is_the_devices() {
        let of = |flags, ctx_id, ring_idx| Timeline::of(&Header { kind: 0, flags, fence_id: 0, ctx_id, ring_idx });
        assert_eq!(of(FLAG_INFO_RING_IDX, 7, 1), RING);
        assert_ne!(of(FLAG_INFO_RING_IDX, 7, 0), RING);
        assert_ne!(of(FLAG_INFO_RING_IDX, 8, 1), RING);
        assert_eq!(of(!FLAG_INFO_RING_IDX, 7, 1), Timeline::Device);
    }

    fn reached(fences: &mut Fences<u32>, done: Done) -> Vec<u32> {
        let mut out = Vec::new();
        fences.reached(done, |answer| out.push(answer));
        out
    }

    #[test]
    fn a_point_brings_all_before_it_and_none_after_it() {
        let mut fences = Fences::default();
        for number in 1..=4 {
            fences.wait(Timeline::Device, Point(number.into()), number * 10);
        }
        assert_eq!(reached(&mut fences, Done::Through(0)), [0; 0]);
        assert_eq!(reached(&mut fences, Done::Through(2)), [10, 20]);
        assert_eq!(reached(&mut fences, Done::Through(2)), [0; 0]);
        assert_eq!(reached(&mut fences, Done::Through(9)), [30, 40]);
    }

    #[test]
    fn a_fence_of_a_ring_brings_those_before_it_on_its_ring_alone() {
        let mut fences = Fences::default();
        let other = Timeline::Ring { ctx: 8, ring: 1 };
        for (number, timeline) in [Timeline::Device, RING, other, RING, RING].into_iter().enumerate() {
            fences.wait(timeline, Point(number as u64 + 1), number as u32 + 1);
        }
        // Nobody waits for that one.
        assert_eq!(reached(&mut fences, Done::Alone(6)), [0; 0]);
        assert_eq!(reached(&mut fences, Done::Alone(4)), [2, 4]);
        assert_eq!(reached(&mut fences, Done::Through(3)), [1, 3]);
        assert_eq!(reached(&mut fences, Done::Alone(5)), [5]);
    }

    #[test]
    fn what_needs_no_renderer_waits_for_the_last_of_its_timeline_and_no_other() {
        let mut fences = Fences::default();
        assert_eq!(fences.last_on(Timeline::Device), None);
        fences.wait(Timeline::Device, Point(1), 1);
        fences.wait(RING, Point(2), 2);
        fences.wait(Timeline::Device, Point(3), 3);
        assert_eq!(fences.last_on(Timeline::Device), Some(Point(3)));
        assert_eq!(fences.last_on(RING), Some(Point(2)));
        assert_eq!(fences.last_on(Timeline::Ring { ctx: 7, ring: 2 }), None);
        fences.wait(Timeline::Device, Point(3), 4);
        assert_eq!(reached(&mut fences, Done::Through(3)), [1, 2, 3, 4]);
        assert_eq!(fences.last_on(RING), None);
    }
}
