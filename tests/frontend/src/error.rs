//! What can go wrong on this side of the sockets.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Why something did not happen as the documents say it should.
#[derive(Debug)]
pub enum Error {
    /// A system call of ours failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// The deadline passed first.
    TimedOut(&'static str),
    /// The back end hung up.
    Closed(&'static str),
    /// The back end answered a message that asked for an acknowledgement with something other than 0.
    Refused {
        /// The message's number.
        request: u32,
        /// The answer.
        value: u64,
    },
    /// The back end did what the documents forbid.
    Fault(String),
    /// A ring or the guest's memory has no room for what was asked.
    NoRoom(&'static str),
}

/// A result with this package's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(doing: &'static str, source: impl Into<io::Error>) -> Error {
        Error::Io { doing, source: source.into() }
    }

    pub(crate) fn fault(text: impl Into<String>) -> Error {
        Error::Fault(text.into())
    }

    /// Whether the other side is gone, be it by an orderly end or by a reset.
    pub fn is_closed(&self) -> bool {
        match self {
            Error::Closed(_) => true,
            Error::Io { source, .. } => {
                let gone = [Errno::EPIPE, Errno::ECONNRESET].map(|errno| errno as i32);
                source.raw_os_error().is_some_and(|code| gone.contains(&code))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::TimedOut(what) => write!(f, "no {what} before the deadline"),
            Error::Closed(what) => write!(f, "the back end hung up: {what}"),
            Error::Refused { request, value } => write!(f, "message {request} was refused with {value}"),
            Error::Fault(text) => write!(f, "the back end broke a rule: {text}"),
            Error::NoRoom(what) => write!(f, "no room: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
