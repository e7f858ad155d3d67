//! On which processor who runs.
//!
//! A wake-up from one core to an idle other one costs 5 µs or 50, as the machine (and the one below a virtual machine)
//! pleases, and the scheduler moves programs together or apart as it pleases: without a fixed place the same program
//! took 6 µs in one run and 50 in the next. So where single commands are timed all run on one core, and a time is the
//! work of all who have a part in it. Where two must work at once, to send and to read pixels, the scheduler decides: it
//! knows which core a neighbour has taken.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Result;

/// The processors that we may use.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    all: CpuSet,
    home: usize,
}

impl Places {
    /// Looks where we may run. Home is the last of those processors: the first has most of the interrupts.
    pub fn look() -> Result<Places> {
        let all = sched_getaffinity(myself())?;
        let home = (0..CpuSet::count()).rev().find(|cpu| all.is_set(*cpu).unwrap_or(false)).unwrap_or(0);
        Ok(Places { all, home })
    }

    /// From now on this process, and what it starts, stays on one processor.
    pub fn together(&self) -> Result<()> {
        let mut one = CpuSet::new();
        one.set(self.home)?;
        Ok(sched_setaffinity(myself(), &one)?)
    }

    /// From now on this process, and what it starts, runs anywhere.
    pub fn anywhere(&self) -> Result<()> {
        Ok(sched_setaffinity(myself(), &self.all)?)
    }
}

fn myself() -> Pid {
    Pid::from_raw(0)
}
