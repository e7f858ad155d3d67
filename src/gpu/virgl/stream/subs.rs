//! The sub contexts that streams make, each an OpenGL context of its own: so many and no more. No I/O.

use super::{CREATE_SUB_CTX, DESTROY_SUB_CTX, Refused};

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
    /// A command makes that one, ends it, or has those that follow be for it.
    ///
    /// # Errors
    /// There are too many.
    pub fn take(&mut self, command: u32, number: u32) -> Result<(), Refused> {
        match command {
            CREATE_SUB_CTX => self.create(number)?,
            DESTROY_SUB_CTX => self.destroy(number),
            _ if self.has(number) => self.current = number,
            _ => {}
        }
        Ok(())
    }

    fn create(&mut self, number: u32) -> Result<(), Refused> {
        // The library passes over one that is there.
        if !self.has(number) {
            let free = self.numbers.iter_mut().find(|taken| **taken == 0).ok_or(Refused)?;
            *free = number;
            self.current = number;
        }
        Ok(())
    }

    fn destroy(&mut self, number: u32) {
        if let Some(taken) = self.numbers.iter_mut().find(|taken| number != 0 && **taken == number) {
            *taken = 0;
            if self.current == number {
                self.current = 0;
            }
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

    /// Whether there is that one.
    pub fn has(&self, number: u32) -> bool {
        number == 0 || self.numbers.contains(&number)
    }
}
