//! What a program gives up once everything is open, before it hears the first word from outside.
//!
//! Whoever takes the program over by what a guest or a front end sends has what it still needs, and no more. Four stages,
//! each of which makes up for what the one before leaves:
//!
//! 1. [`Stage::Privileges`]: no program that is executed from here has more rights than this one (`no_new_privs`);
//! 2. [`Stage::Capabilities`]: root becomes a user who owns root's files ([`capabilities`]);
//! 3. [`Stage::Folders`]: no file is opened or changed but in the folders that are needed; no TCP, no signals and no
//!    abstract sockets to the outside ([`folders`], Landlock);
//! 4. [`Stage::Calls`]: no system call but those listed in [`calls`], for many of them with certain arguments only
//!    ([`filter`], seccomp). Another one ends the program with one line ([`trap`]).
//!
//! What is open stays open: a front end's sockets and memory, the input device, the log.
//!
//! [`Sandbox::prepare`] comes before there is a socket, so that what cannot be had is told early; [`Sandbox::enter`] after
//! all is open. The first three stages are of the thread that enters and of those that it makes later: a program whose
//! device makes threads ([`renderer`]) goes through them before ([`Sandbox::give_up_rights`]). The last one is of all threads.

pub mod calls;
pub mod capabilities;
pub mod filter;
pub mod folders;
mod renderer;
pub mod trap;

use std::fmt;
use std::path::PathBuf;

use log::{debug, info};
use thiserror::Error;

use calls::Call;
use filter::Filter;
use folders::Folders;

/// What a program still has to be able to do while it serves.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders in which it opens devices, or devices, to read and to write.
    pub opens_in: Vec<PathBuf>,
    /// Folders and files that it reads.
    pub reads: Vec<PathBuf>,
    /// Folders of which it reads what is in them, and not the files.
    pub lists: Vec<PathBuf>,
    /// Folders in which it removes files.
    pub removes_in: Vec<PathBuf>,
    /// System calls.
    pub calls: Vec<&'static [Call]>,
    /// Whether it has threads when it enters. They have been made inside of [`Sandbox::give_up_rights`].
    pub has_threads: bool,
}

/// What becomes of a program whose kernel can't do all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// It goes on with the stages that can be had, and logs the others.
    BestEffort,
    /// It does not start.
    Required,
}

/// A part of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `no_new_privs`.
    Privileges,
    /// Capabilities.
    Capabilities,
    /// Landlock.
    Folders,
    /// seccomp.
    Calls,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileges => "no_new_privs",
            Self::Capabilities => "capabilities",
            Self::Folders => "Landlock",
            Self::Calls => "seccomp",
        })
    }
}

/// A stage that can't be had.
#[derive(Debug, Error)]
#[error("sandbox: {stage}: {reason}")]
pub struct Missing {
    /// Which one.
    pub stage: Stage,
    /// What is in its way.
    pub reason: String,
}

/// A sandbox to be entered.
#[derive(Debug)]
pub struct Sandbox {
    strictness: Strictness,
    /// Whether the rights are given up.
    is_inside: bool,
    folders: Option<Folders>,
    filter: Option<Filter>,
}

impl Sandbox {
    /// Makes all that can be made before everything is open.
    ///
    /// # Errors
    /// A stage is required that this kernel or this machine does not have.
    pub fn prepare(needs: &Needs, strictness: Strictness) -> Result<Self, Missing> {
        Ok(Self {
            strictness,
            is_inside: false,
            folders: settle(Stage::Folders, strictness, Folders::prepare(needs))?,
            filter: settle(Stage::Calls, strictness, Filter::compile(&needs.calls, needs.has_threads))?,
        })
    }

    /// Gives up what is of each thread, so that threads made from now on do not have it either: all but the system calls.
    ///
    /// # Errors
    /// A stage is required and cannot be had. Those before it are in force.
    pub fn give_up_rights(&mut self) -> Result<(), Missing> {
        if std::mem::replace(&mut self.is_inside, true) {
            return Ok(());
        }
        let strictness = self.strictness;
        settle(Stage::Privileges, strictness, nix::sys::prctl::set_no_new_privs())?;
        settle(Stage::Capabilities, strictness, capabilities::drop_all())?;
        if let Some(folders) = self.folders.take() {
            settle(Stage::Folders, strictness, folders.restrict())?;
        }
        Ok(())
    }

    /// Gives everything else up. `program` is the name that stands before the last line, should there be one.
    ///
    /// # Errors
    /// A stage is required and cannot be had. Those before it are in force.
    pub fn enter(mut self, program: &'static str) -> Result<(), Missing> {
        self.give_up_rights()?;
        if let Some(filter) = self.filter {
            settle(Stage::Calls, self.strictness, trap::set(program).map_err(filter::Error::Trap))?;
            settle(Stage::Calls, self.strictness, filter.install())?;
        }
        debug!("everything else is given up");
        Ok(())
    }
}

/// What was made, or nothing where that will do.
fn settle<T, E: fmt::Display>(
    stage: Stage,
    strictness: Strictness,
    result: Result<T, E>,
) -> Result<Option<T>, Missing> {
    match result {
        Ok(made) => Ok(Some(made)),
        Err(error) => {
            let missing = Missing { stage, reason: error.to_string() };
            if strictness == Strictness::Required {
                return Err(missing);
            }
            info!("{missing}; going on without it");
            Ok(None)
        }
    }
}
