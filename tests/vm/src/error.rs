//! What can go wrong, by what the caller would do about it.

use std::fmt;
use std::io;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Clone)]
pub enum Error {
    /// This machine lacks something; the text says what to install. A test may skip, but not in CI.
    Missing(String),
    /// The guest answered a command with ERR, or QEMU a QMP command with an error; both live on.
    Refused(String),
    /// Something did not come in time, or broke.
    Failed(String),
}

impl Error {
    /// The same error with a line before it that says what was being done.
    pub fn context(self, what: impl fmt::Display) -> Self {
        match self {
            Error::Missing(text) => Error::Missing(format!("{what}: {text}")),
            Error::Refused(text) => Error::Refused(format!("{what}: {text}")),
            Error::Failed(text) => Error::Failed(format!("{what}: {text}")),
        }
    }

    /// Whether it is an answer that says no, and nothing is broken.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(text) => write!(f, "not on this machine: {text}"),
            Error::Refused(text) => write!(f, "refused: {text}"),
            Error::Failed(text) => f.write_str(text),
        }
    }
}

/// As `Display`: `unwrap` in a test shows the logs in lines, not as one string with `\n` in it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// Turns foreign errors into ours, with what was being done.
pub(crate) trait Context<T> {
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::Failed(format!("{what}: {error}")))
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::Failed(format!("{what}: {error}")))
    }
}
