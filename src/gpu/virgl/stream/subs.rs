//! The sub contexts that streams make, each an OpenGL context of its own: so many and no more. No I/O.

use super::Refused;

/// Sub contexts of a context beside its first one: Mesa makes one or two, and each takes megabytes.
pub const MAX_SUB_CONTEXTS: usize = 16;

/// The sub contexts of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubContexts {
    /// The numbers of those beside number 0, which is there from the beginning to the end; 0 where there is room for one.
    numbers: [u32; MAX_SUB_CONTEXTS],
    /// The one that commands are for.
    current: u32,
}

impl SubContexts {
    /// A command makes that one.
    pub fn create(&mut self, number: u32) -> Result<(), Refused> {
        // The library passes over one that is there.
        if !self.has(number) {
            let free = self.numbers.iter_mut().find(|taken| **taken == 0).ok_or(Refused)?;
            *free = number;
            self.current = number;
        }
        Ok(())
    }

    /// A command ends that one.
    pub fn destroy(&mut self, number: u32) {
        if let Some(taken) = self.numbers.iter_mut().find(|taken| number != 0 && **taken == number) {
            *taken = 0;
            if self.current == number {
                self.current = 0;
            }
        }
    }

    /// The commands that follow are for that one, if there is one.
    pub fn set(&mut self, number: u32) {
        if self.has(number) {
            self.current = number;
        }
    }

    /// The one that commands are for.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(0).chain(self.numbers.iter().copied().filter(|number| *number != 0))
    }

    fn has(&self, number: u32) -> bool {
        number == 0 || self.numbers.contains(&number)
    }
}
