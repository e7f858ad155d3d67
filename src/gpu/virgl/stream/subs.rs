//! The sub contexts that streams make, each an OpenGL context of its own: so many and no more. No I/O.

use super::Refused;

/// Sub contexts of a context beside its first one: Mesa makes one or two, and each takes megabytes.
pub const MAX_SUB_CONTEXTS: usize = 16;

/// The sub contexts of a context, beside number 0, which is there from the beginning to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubContexts {
    /// Their numbers; 0 where there is room for one.
    numbers: [u32; MAX_SUB_CONTEXTS],
    /// Whether the stream that was seen last makes or ends some.
    changed: bool,
    /// Whether it is not known any more which there are.
    lost: bool,
}

impl SubContexts {
    /// A stream begins.
    pub fn begin(&mut self) {
        self.changed = false;
    }

    /// Those that are there when the library took a part of that stream: if it changes them, nobody knows, and the context
    /// makes no more.
    pub fn after_failure(self) -> Self {
        Self { lost: self.lost || self.changed, ..self }
    }

    /// A command makes that one.
    pub fn create(&mut self, number: u32) -> Result<(), Refused> {
        if self.lost {
            return Err(Refused);
        }
        // The library passes over one that is there.
        if number != 0 && !self.numbers.contains(&number) {
            let free = self.numbers.iter_mut().find(|taken| **taken == 0).ok_or(Refused)?;
            *free = number;
            self.changed = true;
        }
        Ok(())
    }

    /// A command ends that one.
    pub fn destroy(&mut self, number: u32) {
        if let Some(taken) = self.numbers.iter_mut().find(|taken| number != 0 && **taken == number) {
            *taken = 0;
            self.changed = true;
        }
    }
}
