//! Answers that wait until the renderer has done what the guest asked for. No I/O.
//!
//! A fenced command is answered when its work is done (VIRTIO 1.3, 5.7.6.7), while those after it are executed already.
//! A fence is on a timeline: the device's own, or one of a context's rings. Linux takes the answer to a fence for the
//! answers to all before it on that timeline, so on each timeline answers stay in order, those of commands that the
//! renderer has no part in too.
//!
//! The guest's fence ids are only echoed: the renderer counts in our numbers ([`Point`]).

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

/// A place in the renderer's work. When it is there, so is it at all earlier ones of the same kind (of the same ring).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// In all of its work; the numbers wrap.
    Global(u32),
    /// In that of a context's ring.
    Ring { ctx: u32, ring: u32, fence: u64 },
}

impl Point {
    /// Whether the renderer is here once it says that it is at `reached`.
    pub fn is_reached_at(self, reached: Self) -> bool {
        match (self, reached) {
            // Fewer than 2^31 are ever under way.
            (Self::Global(own), Self::Global(reached)) => reached.wrapping_sub(own) < 1 << 31,
            (Self::Ring { ctx, ring, fence }, Self::Ring { ctx: other_ctx, ring: other_ring, fence: reached }) => {
                (ctx, ring) == (other_ctx, other_ring) && fence <= reached
            }
            _ => false,
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

    /// The renderer is at `point`: gives out what waited for that.
    pub fn reached(&mut self, point: Point, mut give: impl FnMut(T)) {
        self.release(|waiting| waiting.point.is_reached_at(point), &mut give);
    }

    /// A context is gone, and with it those who would tell how far it is.
    pub fn context_gone(&mut self, gone: u32, mut give: impl FnMut(T)) {
        self.release(|waiting| matches!(waiting.point, Point::Ring { ctx, .. } if ctx == gone), &mut give);
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

    fn at(fence: u64) -> Point {
        Point::Ring { ctx: 7, ring: 1, fence }
    }

    fn reached(fences: &mut Fences<u32>, point: Point) -> Vec<u32> {
        let mut out = Vec::new();
        fences.reached(point, |answer| out.push(answer));
        out
    }

    #[test]
    fn a_point_brings_all_before_it_and_none_after_it() {
        let mut fences = Fences::default();
        for number in 1..=4 {
            fences.wait(Timeline::Device, Point::Global(number), number * 10);
        }
        assert_eq!(reached(&mut fences, Point::Global(0)), [0; 0]);
        assert_eq!(reached(&mut fences, Point::Global(2)), [10, 20]);
        assert_eq!(reached(&mut fences, Point::Global(2)), [0; 0]);
        assert_eq!(reached(&mut fences, Point::Global(9)), [30, 40]);
    }

    #[test]
    fn numbers_wrap() {
        let mut fences = Fences::default();
        fences.wait(Timeline::Device, Point::Global(u32::MAX), 1);
        fences.wait(Timeline::Device, Point::Global(0), 2);
        assert_eq!(reached(&mut fences, Point::Global(u32::MAX)), [1]);
        assert_eq!(reached(&mut fences, Point::Global(3)), [2]);
    }

    #[test]
    fn timelines_do_not_wait_for_each_other() {
        let mut fences = Fences::default();
        fences.wait(Timeline::Device, Point::Global(1), 1);
        fences.wait(RING, at(1), 2);
        fences.wait(Timeline::Ring { ctx: 7, ring: 2 }, Point::Ring { ctx: 7, ring: 2, fence: 1 }, 3);
        assert_eq!(reached(&mut fences, at(5)), [2]);
        assert_eq!(reached(&mut fences, Point::Global(5)), [1]);
        assert_eq!(reached(&mut fences, Point::Ring { ctx: 8, ring: 2, fence: 5 }), [0; 0]);
        assert_eq!(reached(&mut fences, Point::Ring { ctx: 7, ring: 2, fence: 1 }), [3]);
    }

    #[test]
    fn what_needs_no_renderer_waits_for_the_last_of_its_timeline() {
        let mut fences = Fences::default();
        assert_eq!(fences.last_on(Timeline::Device), None);
        fences.wait(Timeline::Device, Point::Global(1), 1);
        fences.wait(RING, at(1), 2);
        fences.wait(Timeline::Device, Point::Global(2), 3);
        assert_eq!(fences.last_on(Timeline::Device), Some(Point::Global(2)));
        fences.wait(Timeline::Device, Point::Global(2), 4);
        assert_eq!(reached(&mut fences, Point::Global(2)), [1, 3, 4]);
        assert_eq!(fences.last_on(RING), Some(at(1)));
    }

    #[test]
    fn a_context_that_goes_releases_its_own() {
        let mut fences = Fences::default();
        fences.wait(Timeline::Device, Point::Global(1), 1);
        fences.wait(RING, at(1), 2);
        fences.wait(RING, Point::Global(2), 3);
        let mut out = Vec::new();
        fences.context_gone(7, |answer| out.push(answer));
        assert_eq!(out, [2], "the renderer still tells of global points");
        assert_eq!(reached(&mut fences, Point::Global(2)), [1, 3]);
    }
}
