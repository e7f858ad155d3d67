//! Answers that wait until the renderer has done what the guest asked for. No I/O.
//!
//! A fenced command is answered when its work is done (VIRTIO 1.3, 5.7.6.7), while those after it are executed already.
//! A fence is on a timeline: the device's own, or one of a context's rings. Linux takes the answer to a fence for the
//! answers to all before it on that timeline, so on each timeline answers stay in order, those of commands that the
//! renderer has no part in too.
//!
//! The guest's fence ids are only echoed: the renderer counts in our numbers ([`Point`]), on one timeline. It has others, of
//! contexts, which are not used: a context of virgl's has one ring only, so they would tell nothing else, and virglrenderer
//! crashes where a context ends that has a fence of its own under way.

use std::collections::VecDeque;

use super::command::{FLAG_INFO_RING_IDX, Header};

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

/// A place in the renderer's work: when it is there, all earlier ones are behind it. The numbers wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(pub u32);

impl Point {
    /// Whether the renderer is here once it says that it is at `reached`.
    pub fn is_reached_at(self, reached: Self) -> bool {
        // Fewer than 2^31 are ever under way.
        reached.0.wrapping_sub(self.0) < 1 << 31
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

    /// The renderer is at `point`: gives out what waited for that.
    pub fn reached(&mut self, point: Point, mut give: impl FnMut(T)) {
        self.release(|waiting| waiting.point.is_reached_at(point), &mut give);
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

    fn reached(fences: &mut Fences<u32>, point: u32) -> Vec<u32> {
        let mut out = Vec::new();
        fences.reached(Point(point), |answer| out.push(answer));
        out
    }

    #[test]
    fn a_point_brings_all_before_it_and_none_after_it() {
        let mut fences = Fences::default();
        for number in 1..=4 {
            fences.wait(Timeline::Device, Point(number), number * 10);
        }
        assert_eq!(reached(&mut fences, 0), [0; 0]);
        assert_eq!(reached(&mut fences, 2), [10, 20]);
        assert_eq!(reached(&mut fences, 2), [0; 0]);
        assert_eq!(reached(&mut fences, 9), [30, 40]);
    }

    #[test]
    fn numbers_wrap() {
        let mut fences = Fences::default();
        fences.wait(Timeline::Device, Point(u32::MAX), 1);
        fences.wait(RING, Point(0), 2);
        assert_eq!(reached(&mut fences, u32::MAX), [1]);
        assert_eq!(reached(&mut fences, 3), [2]);
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
        assert_eq!(reached(&mut fences, 3), [1, 2, 3, 4]);
        assert_eq!(fences.last_on(RING), None);
    }
}
