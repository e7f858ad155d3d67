//! What an input device is to this one: a descriptor with events, a state, lights, and a right to have it alone. The
//! real one is [`super::evdev`]; tests have one that plays from a script.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use thiserror::Error;

use super::config::Description;
use super::state::State;
use super::wire::Event;

/// Events taken by one read, and so by one turn.
pub const EVENTS_A_READ: usize = 64;

/// Why there is no device at a path.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nothing there, or no right to it.
    #[error("{0}")]
    Open(io::Error),
    /// Something else is there.
    #[error("it is not an evdev device")]
    NotEvdev,
    /// Its driver says what cannot be.
    #[error("it does not describe itself: {0}")]
    Description(io::Error),
    /// Another program has it alone.
    #[error("another program has grabbed it")]
    Grabbed,
    /// The hotkey of this name can't be typed on it.
    #[error("it has no keys for {0}")]
    NoHotkey(&'static str),
    /// It cannot be had alone.
    #[error("it cannot be grabbed: {0}")]
    Grab(io::Error),
}

/// An open input device.
pub trait Node: AsFd {
    /// What it is.
    fn description(&self) -> &Description;

    /// Puts what has come into `events`, as much as one read brings, and returns how many that are: 0 when nothing is
    /// there, or at the end of a script.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, events: &mut [Event; EVENTS_A_READ]) -> io::Result<usize>;

    /// Whether nothing is there to be read.
    fn is_idle(&self) -> bool;

    /// Puts in what is held, switched, and where the axes and contacts are.
    ///
    /// # Errors
    /// The device is gone.
    fn look(&mut self, state: &mut State) -> io::Result<()>;

    /// Hands events to the device: lights and sounds to its driver, all else to whoever reads it.
    ///
    /// # Errors
    /// The device is gone, or was opened for reading alone.
    fn write(&mut self, events: &[Event]) -> io::Result<()>;

    /// Takes the device for this program alone, or gives it back to all.
    ///
    /// # Errors
    /// Another program has it (`EBUSY`), or the device is gone.
    fn set_grabbed(&mut self, grabbed: bool) -> io::Result<()>;
}

/// Where a device is opened, and where it comes back after it was unplugged.
pub trait Place {
    /// What is opened there.
    type Node: Node;

    /// Its path.
    fn path(&self) -> &Path;

    /// Opens the device that is there now, without blocking.
    ///
    /// # Errors
    /// There is none, or none that can be used.
    fn open(&self) -> Result<Self::Node, OpenError>;
}
