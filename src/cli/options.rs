//! The command line: what both programs understand, and the order in which it is read.
//!
//! `--option=value` and `--option value` are the same. Each option may stand there once: of two values for one option, one
//! was surely not meant.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use log::LevelFilter;
use thiserror::Error;

use super::Program;
use crate::sandbox::Strictness;

/// What `--help` says of the common options.
pub const HELP: &str = "  --socket-path=PATH      listen on this Unix socket, for one front end after another
  --fd=FDNUM              use this inherited Unix socket, connected or listening
  --print-capabilities    print what this program can do here, as JSON, and exit
  --log-level=LEVEL       error, warn (default), info, debug or trace
  --no-sandbox            keep all rights; else they are given up, as far as this kernel can, before a front end is served
  --sandbox=require       do not start where the kernel can't do all of that
  --help                  print this and exit
  --version               print the version and exit
";

/// What a command line asks for.
#[derive(Debug)]
pub enum Request<P> {
    Help,
    Version,
    Serve { program: P, socket: SocketFrom, log_level: LevelFilter, sandbox: Option<Strictness> },
}

/// Where the vhost-user socket shall come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketFrom {
    Path(PathBuf),
    Fd(RawFd),
}

/// What is wrong with a command line. One line each; whatever the caller wrote is quoted and escaped.
#[derive(Debug, Error)]
pub enum UsageError {
    #[error("{0}")]
    Syntax(String),
    #[error("unknown option --{0}")]
    Unknown(String),
    #[error("--{0} takes no value")]
    TakesNoValue(&'static str),
    #[error("--{0} is given twice")]
    Twice(String),
    #[error("--{option}={value:?}: {expected}")]
    Value { option: String, value: OsString, expected: &'static str },
    #[error("no socket: give --socket-path=PATH or --fd=FDNUM")]
    NoSocket,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} and {1} exclude each other")]
    Excluded(&'static str, &'static str),
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

impl UsageError {
    /// `value` is not what `option` takes, which is `expected`.
    pub fn value(option: &str, value: OsString, expected: &'static str) -> Self {
        Self::Value { option: option.to_owned(), value, expected }
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The first thing that is wrong, from left to right; last of all, that there is no socket.
pub fn parse<P: Program>(arguments: Vec<OsString>) -> Result<Request<P>, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut program = P::default();
    let (mut path, mut fd, mut log_level) = (None, None, None);
    let (mut no_sandbox, mut strictness) = (None, None);
    while let Some(argument) = parser.next()? {
        let name = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Request::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Request::Version),
            // Without a value it was found before: it comes before all else.
            Arg::Long("print-capabilities") => return Err(UsageError::TakesNoValue("print-capabilities")),
            Arg::Long(name) => name.to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected().into()),
        };
        match name.as_str() {
            "socket-path" => set(&mut path, &name, PathBuf::from(parser.value()?))?,
            "fd" => set(&mut fd, &name, fd_number(&name, parser.value()?)?)?,
            "log-level" => set(&mut log_level, &name, level(&name, parser.value()?)?)?,
            "no-sandbox" => set(&mut no_sandbox, &name, ())?,
            "sandbox" => set(&mut strictness, &name, required(&name, parser.value()?)?)?,
            _ => program.take(&name, &mut parser)?,
        }
    }
    let socket = match (path, fd) {
        (Some(_), Some(_)) => return Err(UsageError::Excluded("--socket-path", "--fd")),
        (None, None) => return Err(UsageError::NoSocket),
        (Some(path), None) => SocketFrom::Path(path),
        (None, Some(number)) => SocketFrom::Fd(number),
    };
    let sandbox = match (no_sandbox, strictness) {
        (Some(()), Some(_)) => return Err(UsageError::Excluded("--no-sandbox", "--sandbox=require")),
        (Some(()), None) => None,
        (None, strictness) => Some(strictness.unwrap_or(Strictness::BestEffort)),
    };
    program.check()?;
    Ok(Request::Serve { program, socket, log_level: log_level.unwrap_or(LevelFilter::Warn), sandbox })
}

/// Notes the value of an option that may stand there once.
///
/// # Errors
/// It stood there before.
pub fn set<T>(place: &mut Option<T>, option: &str, value: T) -> Result<(), UsageError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError::Twice(option.to_owned())),
    }
}

fn fd_number(option: &str, value: OsString) -> Result<RawFd, UsageError> {
    let number = value.to_str().and_then(|text| text.parse::<RawFd>().ok()).filter(|number| *number >= 0);
    number.ok_or_else(|| UsageError::value(option, value, "not a file descriptor's number"))
}

fn required(option: &str, value: OsString) -> Result<Strictness, UsageError> {
    if value == "require" { Ok(Strictness::Required) } else { Err(UsageError::value(option, value, "not require")) }
}

fn level(option: &str, value: OsString) -> Result<LevelFilter, UsageError> {
    let levels = [
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ];
    let found = levels.iter().find(|(name, _)| OsStr::new(name) == value).map(|(_, level)| *level);
    found.ok_or_else(|| UsageError::value(option, value, "not one of error, warn, info, debug, trace"))
}

#[cfg(test)]
mod tests;
