//! Fences that the library was asked for and has not told of, and contexts that cannot end before theirs. No I/O.
//!
//! The library has two kinds: on all of its work, of 32 bits, and on a context's own, of 64. They are numbered together
//! here. It waits for them in a thread, one after the other, and tells of them in their order.

use std::collections::{HashMap, VecDeque};

/// What the library says is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A fence on all of its work.
    Whole(u32),
    /// A fence on a context's.
    Context { ctx: u32, fence: u64 },
}

/// How far the renderer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All fences up to that number.
    Through(u64),
    /// The fence of that number, and those before it on its context.
    Alone(u64),
}

impl Done {
    /// The fence that is done.
    pub fn fence(self) -> u64 {
        match self {
            Self::Through(fence) | Self::Alone(fence) => fence,
        }
    }
}

/// The numbers begin shortly before their low half, by which the library knows some, wraps: so it does that in all tests.
const BEGIN: u64 = 0xffff_fff0;

/// With so many fences put there again no context ends: each is an object of the GPU's, and a guest can make contexts and end
/// them behind work that does not.
const MAX_AGAIN: usize = 64;

/// What is under way.
#[derive(Debug)]
pub struct Pending {
    /// The number that was given last: numbers grow.
    given: u64,
    /// The newest that is done.
    done: u64,
    /// The newest fence on the whole.
    whole: Option<u64>,
    /// The newest of each context that has one.
    contexts: HashMap<u32, u64>,
    /// Those that were put there again.
    again: VecDeque<u64>,
    /// Contexts that are to end.
    ending: Vec<u32>,
}

impl Default for Pending {
    fn default() -> Self {
        Self::from(BEGIN)
    }
}

impl From<u64> for Pending {
    /// The first number is the next one.
    fn from(given: u64) -> Self {
        let (contexts, again, ending) = Default::default();
        Self { given, done: given, whole: None, contexts, again, ending }
    }
}

impl Pending {
    /// The number of the next fence. It is under way only once it was added.
    pub fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    /// A fence on the whole is asked for: the number that the library takes.
    pub fn add(&mut self, fence: u64) -> u32 {
        self.whole = Some(fence);
        low(fence)
    }

    /// A context has a fence.
    pub fn add_of_context(&mut self, ctx: u32, fence: u64) {
        self.contexts.insert(ctx, fence);
    }

    /// The library told of a fence.
    pub fn told(&mut self, told: Told) -> Done {
        let done = self.settle(told);
        self.done = done.fence().clamp(self.done, self.given);
        done
    }

    fn settle(&mut self, told: Told) -> Done {
        match told {
            Told::Whole(number) => {
                // Fewer than 2^32 are ever under way.
                let behind = low(self.given).wrapping_sub(number);
                let fence = self.given.saturating_sub(behind.into());
                self.whole = self.whole.filter(|newest| *newest > fence);
                self.contexts.retain(|_, newest| *newest > fence);
                while self.again.front().is_some_and(|again| *again <= fence) {
                    self.again.pop_front();
                }
                Done::Through(fence)
            }
            Told::Context { ctx, fence } => {
                if self.contexts.get(&ctx).is_some_and(|newest| *newest <= fence) {
                    self.contexts.remove(&ctx);
                }
                Done::Alone(fence)
            }
        }
    }

    /// Whether a context cannot end yet: it is given out by [`Pending::take_ended`] once it can.
    pub fn puts_off(&mut self, ctx: u32) -> bool {
        let waits = !self.may_end(ctx);
        if waits && !self.ending.contains(&ctx) {
            self.ending.push(ctx);
        }
        waits
    }

    /// A context that was put off and may end now.
    pub fn take_ended(&mut self) -> Option<u32> {
        let at = self.ending.iter().position(|ctx| self.may_end(*ctx))?;
        Some(self.ending.swap_remove(at))
    }

    fn may_end(&self, ctx: u32) -> bool {
        !self.contexts.contains_key(&ctx) && self.again.len() < MAX_AGAIN
    }

    /// The fence that stands for all that are under way, if any are, to be put there again.
    pub fn again(&mut self) -> Option<u64> {
        let is_under_way = self.whole.is_some() || !self.contexts.is_empty();
        is_under_way.then(|| {
            self.again.push_back(self.given);
            self.given
        })
    }

    /// How many fences were asked for since the newest that is done.
    pub fn count(&self) -> u64 {
        self.given.saturating_sub(self.done)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the library's numbers have no more")]
fn low(fence: u64) -> u32 {
    fence as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that has given so many numbers.
    fn given(count: u64) -> Pending {
        let mut pending = Pending::from(0);
        for number in 1..=count {
            assert_eq!(pending.next(), number);
        }
        pending
    }

    #[test]
    fn a_fence_on_the_whole_is_told_by_its_low_half() {
        let mut pending = Pending::from(0xffff_fffe);
        for (fence, number) in [(0xffff_ffff, u32::MAX), (0x1_0000_0000, 0), (0x1_0000_0001, 1)] {
            assert_eq!(pending.next(), fence);
            assert_eq!(pending.add(fence), number);
        }
        assert_eq!(pending.told(Told::Whole(u32::MAX)), Done::Through(0xffff_ffff));
        assert_eq!(pending.told(Told::Whole(0)), Done::Through(0x1_0000_0000));
        assert_eq!(pending.again(), Some(0x1_0000_0001));
        assert_eq!(pending.told(Told::Whole(1)), Done::Through(0x1_0000_0001));
        assert_eq!(pending.again(), None);
    }

    #[test]
    fn what_was_never_asked_for_ends_nothing() {
        let mut pending = given(5);
        pending.add(5);
        pending.add_of_context(2, 4);
        assert_eq!(pending.told(Told::Whole(9)), Done::Through(0));
        assert_eq!(pending.told(Told::Context { ctx: 1, fence: 4 }), Done::Alone(4));
        assert_eq!(pending.again(), Some(5));
        assert!(pending.puts_off(2));
    }

    #[test]
    fn the_newest_stands_for_all_until_all_are_told() {
        let mut pending = given(3);
        pending.add(1);
        pending.add_of_context(7, 2);
        pending.add_of_context(8, 3);
        assert_eq!(pending.again(), Some(3));
        pending.told(Told::Context { ctx: 8, fence: 3 });
        assert_eq!(pending.again(), Some(3));
        pending.told(Told::Whole(1));
        assert_eq!(pending.again(), Some(3));
        pending.told(Told::Context { ctx: 7, fence: 2 });
        assert_eq!(pending.again(), None);
    }

    #[test]
    fn a_context_ends_after_its_newest_fence_or_one_on_the_whole_behind_that() {
        let mut pending = given(4);
        assert!(!pending.puts_off(7));
        for (fence, ctx) in [(1, 7), (2, 7), (3, 8)] {
            pending.add_of_context(ctx, fence);
        }
        pending.add(4);
        assert!(pending.puts_off(7) && pending.puts_off(7) && pending.puts_off(8));
        assert_eq!(pending.told(Told::Context { ctx: 7, fence: 1 }), Done::Alone(1));
        assert_eq!(pending.take_ended(), None);
        pending.told(Told::Context { ctx: 7, fence: 2 });
        assert_eq!((pending.take_ended(), pending.take_ended()), (Some(7), None));
        pending.told(Told::Whole(4));
        assert_eq!((pending.take_ended(), pending.take_ended()), (Some(8), None));
        assert_eq!(pending.again(), None);
    }

    #[test]
    fn those_since_the_newest_that_was_told_are_counted() {
        let mut pending = Pending::default();
        assert_eq!(pending.count(), 0);
        let fences = [pending.next(), pending.next(), pending.next()];
        assert_eq!(pending.count(), 3);
        pending.told(Told::Context { ctx: 7, fence: fences[1] });
        assert_eq!(pending.count(), 1);
        // Told again, or never asked for.
        pending.told(Told::Whole(low(fences[0])));
        pending.told(Told::Context { ctx: 7, fence: u64::MAX });
        assert_eq!(pending.count(), 0);
        assert_eq!(pending.next(), fences[2] + 1);
        assert_eq!(pending.count(), 1);
    }

    #[test]
    fn with_many_put_there_again_no_context_ends_until_they_are_told() {
        let mut pending = given(2);
        pending.add(1);
        assert_eq!((0..MAX_AGAIN).filter(|_| pending.again() == Some(2)).count(), MAX_AGAIN);
        assert!(pending.puts_off(7));
        pending.told(Told::Whole(1));
        assert_eq!(pending.take_ended(), None);
        pending.told(Told::Whole(2));
        assert_eq!(pending.take_ended(), Some(7));
        assert!(!pending.puts_off(7));
    }
}
