//! Host memory that a guest can make us hold, counted against one limit.

use std::cell::Cell;
use std::rc::Rc;

/// The limit and what is held now.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    held: Cell<u64>,
    /// Bytes given back since [`Budget::take_freed`].
    freed: Cell<u64>,
}

impl Budget {
    /// Nothing held yet.
    pub fn new(limit: u64) -> Rc<Self> {
        Rc::new(Self { limit, held: Cell::new(0), freed: Cell::new(0) })
    }

    /// Takes `bytes` out of the budget until the charge is dropped; `None` where they would exceed the limit.
    pub fn charge(self: &Rc<Self>, bytes: u64) -> Option<Charge> {
        let held = self.held.get().checked_add(bytes).filter(|held| *held <= self.limit)?;
        self.held.set(held);
        Some(Charge { budget: Rc::clone(self), bytes })
    }

    /// Whether more than `bytes` were given back since this was last so.
    pub fn take_freed(&self, bytes: u64) -> bool {
        let much = self.freed.get() > bytes;
        if much {
            self.freed.set(0);
        }
        much
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.get()
    }
}

/// So many bytes taken out of a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Rc<Budget>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.set(self.budget.held.get().saturating_sub(self.bytes));
        self.budget.freed.set(self.budget.freed.get().saturating_add(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_beyond_the_limit_are_refused_and_dropped_ones_come_back() {
        let budget = Budget::new(100);
        let first = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none());
        let second = budget.charge(40).unwrap();
        assert_eq!(budget.held(), 100);
        drop(first);
        assert_eq!(budget.held(), 40);
        assert!(budget.charge(u64::MAX).is_none());
        drop(second);
        assert_eq!(budget.held(), 0);
        assert!(!budget.take_freed(100), "60 and 40 were given back");
        assert!(budget.take_freed(99));
        assert!(!budget.take_freed(0), "it begins anew");
    }
}
