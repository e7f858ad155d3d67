//! seccomp: lists of system calls become the filter that the kernel asks before each call.
//!
//! A call that is not listed traps ([`super::trap`]): the program ends, with one line that names it. An error in its place
//! (`EPERM`) would leave a mistake in a list to be found by its consequences, and whoever took the program over free to try
//! on; a kill without words would leave a user with "Bad system call". A few calls are [absent](Call::is_absent) all the same:
//! libraries try them, and are known to go on without. They need a filter of their own, for one filter has one answer to what
//! it refuses; of two filters' answers the kernel takes the sterner one.
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

use super::calls::{Call, Way};

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
    /// What answers for absent calls, if there are any, and what ends the program.
    programs: Vec<BpfProgram>,
    for_all_threads: bool,
}

impl Filter {
    /// Makes the filter that allows, to this process, what is on the lists. A call that is listed several times may be made
    /// in each of these ways; one that is absent on any list is absent.
    ///
    /// # Errors
    /// This processor's calls are not known.
    pub fn compile(lists: &[&[Call]], for_all_threads: bool) -> Result<Self, Error> {
        let mut ways: BTreeMap<i64, Vec<&Call>> = BTreeMap::new();
        for call in lists.iter().copied().flatten() {
            ways.entry(call.number).or_default().push(call);
        }
        let absent: Rules =
            ways.iter().filter(|(_, calls)| is_absent(calls)).map(|(call, _)| (*call, vec![])).collect();
        let mut allowed = Rules::new();
        for (number, calls) in ways {
            allowed.insert(number, conditions(&calls)?);
        }
        let processor = TargetArch::try_from(std::env::consts::ARCH)?;
        let mut programs = Vec::new();
        // It comes first: once the other one is in force, no filter can be put on it.
        if !absent.is_empty() {
            let answer = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
            programs.push(SeccompFilter::new(absent, SeccompAction::Allow, answer, processor)?.try_into()?);
        }
        programs.push(SeccompFilter::new(allowed, SeccompAction::Trap, SeccompAction::Allow, processor)?.try_into()?);
        Ok(Self { programs, for_all_threads })
    }

    /// Puts this thread, or all that there are, under the filter, for good; threads that they make later are under it too.
    ///
    /// # Errors
    /// The kernel has no seccomp, or does not allow it.
    pub fn install(&self) -> Result<(), Error> {
        let apply =
            if self.for_all_threads { seccompiler::apply_filter_all_threads } else { seccompiler::apply_filter };
        for program in &self.programs {
            apply(program)?;
        }
        Ok(())
    }
}

/// By a call's number.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn is_absent(calls: &[&Call]) -> bool {
    calls.iter().any(|call| call.is_absent)
}

/// The rules for one call, one of which must hold; none where it is allowed whatever its arguments are.
fn conditions(calls: &[&Call]) -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = Vec::new();
    for call in calls {
        let named = (0..call.processes).map(|argument| Way { argument, mask: u32::MAX, value: std::process::id() });
        let ways: Vec<Way> = call.way.into_iter().chain(named).collect();
        if ways.is_empty() {
            return Ok(Vec::new());
        }
        rules.push(SeccompRule::new(ways.iter().map(condition).collect::<Result<_, _>>()?)?);
    }
    Ok(rules)
}

fn condition(way: &Way) -> Result<SeccompCondition, BackendError> {
    // These arguments are 32 bits wide, and the kernel looks at no more of them.
    let is_it = SeccompCmpOp::MaskedEq(way.mask.into());
    SeccompCondition::new(way.argument, SeccompCmpArgLen::Dword, is_it, way.value.into())
}
