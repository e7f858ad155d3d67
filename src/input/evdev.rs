//! A real input device: a node of Linux's evdev, `/dev/input/event*` or a link to one.
//!
//! Opened for reading and writing, so that lights can be lit; for reading alone where more is not allowed. Nothing here
//! blocks: the descriptor is `O_NONBLOCK`, and evdev's ioctls and writes wait for nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use evdev::raw_stream::RawDevice;
use evdev::{AttributeSet, InputEvent, KeyCode, SwitchCode};
use log::warn;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::codes::{EV_KEY, EV_SW};
use super::config::Description;
use super::describe::{self, Axes};
use super::node::{EVENTS_A_READ, Node, OpenError, Place};
use super::state::State;
use super::wire::{Event, RECORD_LEN};

/// The path of an evdev node, or of a link to one.
#[derive(Debug)]
pub struct EvdevPath(pub PathBuf);

impl Place for EvdevPath {
    type Node = Evdev;

    fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> Result<Evdev, OpenError> {
        Evdev::open(&self.0)
    }
}

/// An open evdev node.
#[derive(Debug)]
pub struct Evdev {
    raw: RawDevice,
    description: Description,
    axes: Axes,
    /// What one read brings: whole records.
    records: Box<[u8; EVENTS_A_READ * RECORD_LEN]>,
    /// What one write takes.
    outgoing: Vec<InputEvent>,
}

impl Evdev {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let (file, writable) = open_node(path).map_err(OpenError::Open)?;
        if !file.metadata().map_err(OpenError::Open)?.file_type().is_char_device() {
            return Err(OpenError::NotEvdev);
        }
        describe::types(&file.as_fd()).map_err(|_| OpenError::NotEvdev)?;
        let description = describe::describe(&file.as_fd()).map_err(|errno| OpenError::Description(errno.into()))?;
        let raw = RawDevice::from_fd(file.into()).map_err(OpenError::Description)?;
        if !writable {
            warn!("{path:?} may be read and not written: its lights stay as they are");
        }
        Ok(Self {
            raw,
            axes: Axes::new(&description),
            description,
            records: Box::new([0; EVENTS_A_READ * RECORD_LEN]),
            outgoing: Vec::with_capacity(EVENTS_A_READ),
        })
    }
}

/// Opens whatever is there, and says whether it may be written.
fn open_node(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok((options.write(false).open(path)?, false))
        }
        opened => Ok((opened?, true)),
    }
}

impl AsFd for Evdev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl Node for Evdev {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self, events: &mut [Event; EVENTS_A_READ]) -> io::Result<usize> {
        let len = match nix::unistd::read(&self.raw, self.records.as_mut_slice()) {
            Ok(0) => return Err(Errno::ENODEV.into()),
            Ok(len) => len,
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let records = self.records.get(..len).unwrap_or_default();
        let mut count = 0;
        for (place, event) in events.iter_mut().zip(records.chunks(RECORD_LEN).filter_map(Event::from_record)) {
            *place = event;
            count += 1;
        }
        Ok(count)
    }

    fn is_idle(&self) -> bool {
        let mut fds = [PollFd::new(self.raw.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    fn look(&mut self, state: &mut State) -> io::Result<()> {
        state.clear();
        if self.description.has_type(EV_KEY) {
            let mut held = AttributeSet::<KeyCode>::new();
            uninterrupted(|| self.raw.update_key_state(&mut held))?;
            held.iter().for_each(|key| state.set_key(key.0, true));
        }
        if self.description.has_type(EV_SW) {
            let mut on = AttributeSet::<SwitchCode>::new();
            uninterrupted(|| self.raw.update_switch_state(&mut on))?;
            on.iter().for_each(|switch| state.set_switch(switch.0, true));
        }
        Ok(self.axes.look(&self.raw.as_fd(), state)?)
    }

    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        self.outgoing.clear();
        self.outgoing.extend(events.iter().map(|event| InputEvent::new(event.kind, event.code, event.value)));
        let Self { raw, outgoing, .. } = self;
        // The kernel is interrupted before it takes the first event, never between two.
        uninterrupted(|| raw.send_events(outgoing))
    }

    fn set_grabbed(&mut self, grabbed: bool) -> io::Result<()> {
        uninterrupted(|| if grabbed { self.raw.grab() } else { self.raw.ungrab() })
    }
}

/// Asks anew where a signal came while another program had the node's lock.
fn uninterrupted(mut ask: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
