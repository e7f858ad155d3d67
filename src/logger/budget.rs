//! How often one thing may be said.

use std::time::{Duration, Instant};

/// At most `burst` lines in each period; what is kept back is counted.
///
/// A period begins with the first line after the last period's end, so two bursts can meet at its edge, no more.
#[derive(Debug)]
pub struct Budget {
    burst: u32,
    per: Duration,
    /// When the current period began; none before the first line.
    since: Option<Instant>,
    /// Lines said in the current period.
    said: u32,
    /// Lines kept back since the last one said.
    kept_back: u64,
}

impl Budget {
    /// `burst` lines in each `per`.
    #[must_use]
    pub const fn new(burst: u32, per: Duration) -> Self {
        Self { burst, per, since: None, said: 0, kept_back: 0 }
    }

    /// Whether one more line may be said now: how many were kept back since the last one, or `None` to keep this one back
    /// too.
    pub fn allow(&mut self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    /// [`Budget::allow`] at the time `now`. A time before an earlier call's counts as that call's.
    pub fn allow_at(&mut self, now: Instant) -> Option<u64> {
        let running = self.since.is_some_and(|since| now.saturating_duration_since(since) < self.per);
        if !running {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said < self.burst {
            self.said = self.said.saturating_add(1);
            Some(std::mem::take(&mut self.kept_back))
        } else {
            self.kept_back = self.kept_back.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER: Duration = Duration::from_secs(10);

    #[test]
    fn a_burst_is_said_and_the_rest_kept_back_until_the_period_ends() {
        let start = Instant::now();
        let mut budget = Budget::new(2, PER);
        assert_eq!(budget.allow_at(start), Some(0));
        assert_eq!(budget.allow_at(start), Some(0));
        assert_eq!(budget.allow_at(start), None);
        assert_eq!(budget.allow_at(start + PER - Duration::from_nanos(1)), None);
        assert_eq!(budget.allow_at(start + PER), Some(2));
        assert_eq!(budget.allow_at(start + PER), Some(0));
        assert_eq!(budget.allow_at(start + PER), None);
    }

    #[test]
    fn time_running_backwards_ends_no_period() {
        let start = Instant::now();
        let mut budget = Budget::new(1, PER);
        assert_eq!(budget.allow_at(start + PER), Some(0));
        assert_eq!(budget.allow_at(start), None);
    }

    #[test]
    fn a_budget_of_nothing_says_nothing() {
        let mut budget = Budget::new(0, PER);
        assert_eq!(budget.allow_at(Instant::now()), None);
    }

    #[test]
    fn the_macro_takes_a_field() {
        struct Module {
            budget: Budget,
        }
        let mut module = Module { budget: Budget::new(1, PER) };
        // No logger is set here, so nothing is enabled and the budget is not spent.
        crate::log_within!(module.budget, log::Level::Warn, "queue {} is broken", 1);
        assert_eq!(module.budget.allow_at(Instant::now()), Some(0));
    }
}
