//! seccomp: lists of system calls become the filter that the kernel asks before each call.
//!
//! A call that is not listed traps ([`super::trap`]): the program ends, with one line that names it. An error in its place
//! (`EPERM`) would leave a mistake in a list to be found by its consequences, and whoever took the program over free to try
//! on; a kill without words would leave a user with "Bad system call".
//!
//! The kernel (from 5.11 on) knows of each call whether it is allowed whatever its arguments are, and does not run the
//! filter for those: so the calls of each turn of the loop stand in the lists without conditions. That is also why the
//! order of the calls does not matter.

use std::collections::BTreeMap;

use nix::errno::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use thiserror::Error;

use super::calls::Call;

/// Why there is no filter.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be made, for this processor for example.
    #[error("{0}")]
    Compile(#[from] BackendError),
    /// The kernel does not take it.
    #[error("{0}")]
    Install(#[from] seccompiler::Error),
    /// The last line can't be arranged for.
    #[error("SIGSYS cannot be taken: {0}")]
    Trap(Errno),
}

/// A filter to be installed.
#[derive(Debug)]
pub struct Filter {
    program: BpfProgram,
    for_all_threads: bool,
}

impl Filter {
    /// Makes the filter that allows what is on the lists. A call that is listed several times may be made in each of these
    /// ways.
    ///
    /// # Errors
    /// This processor's calls are not known.
    pub fn compile(lists: &[&[Call]], for_all_threads: bool) -> Result<Self, Error> {
        let mut ways: BTreeMap<i64, Vec<&Call>> = BTreeMap::new();
        for call in lists.iter().copied().flatten() {
            ways.entry(call.number).or_default().push(call);
        }
        let mut rules = BTreeMap::new();
        for (number, calls) in ways {
            rules.insert(number, conditions(&calls)?);
        }
        let processor = TargetArch::try_from(std::env::consts::ARCH)?;
        let filter = SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, processor)?;
        Ok(Self { program: filter.try_into()?, for_all_threads })
    }

    /// Puts this thread, or all that there are, under the filter, for good; threads that they make later are under it too.
    ///
    /// # Errors
    /// The kernel has no seccomp, or does not allow it.
    pub fn install(&self) -> Result<(), Error> {
        let apply =
            if self.for_all_threads { seccompiler::apply_filter_all_threads } else { seccompiler::apply_filter };
        Ok(apply(&self.program)?)
    }
}

/// The rules for one call, one of which must hold; none where it is allowed whatever its arguments are.
fn conditions(calls: &[&Call]) -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for call in calls {
        let Some(way) = &call.way else { return Ok(Vec::new()) };
        // These arguments are 32 bits wide, and the kernel looks at no more of them.
        let (mask, value) = (u64::from(way.mask), u64::from(way.value));
        let is_it = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(way.argument, SeccompCmpArgLen::Dword, is_it, value)?;
        rules.push(SeccompRule::new(vec![condition])?);
    }
    Ok(rules)
}
