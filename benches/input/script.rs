//! A device at the end of a pipe: it says what is written into the other end, and does nothing else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost_seat::input::config::{AxisInfo, Bitmap, Description, Ids};
use vhost_seat::input::node::{EVENTS_A_READ, Node, OpenError, Place};
use vhost_seat::input::state::State;
use vhost_seat::input::wire::{Event, RECORD_LEN};

/// Where the pipe is. It does not block.
pub struct Pipe(pub OwnedFd);

impl Place for Pipe {
    type Node = Script;

    fn path(&self) -> &Path {
        Path::new("/dev/input/pipe")
    }

    fn open(&self) -> Result<Script, OpenError> {
        Ok(Script {
            pipe: self.0.try_clone().map_err(OpenError::Open)?,
            description: description(),
            records: Box::new([0; EVENTS_A_READ * RECORD_LEN]),
        })
    }
}

/// The device.
pub struct Script {
    pipe: OwnedFd,
    description: Description,
    records: Box<[u8; EVENTS_A_READ * RECORD_LEN]>,
}

/// A keyboard with a mouse and two absolute axes. A Linux guest asks 109 questions about it.
fn description() -> Description {
    // Types and codes by `linux/input-event-codes.h`.
    let codes: [(usize, &[std::ops::RangeInclusive<u16>]); 6] = [
        (1, &[1..=248, 0x110..=0x117]), // EV_KEY: all keys, eight buttons of a mouse
        (2, &[0..=1, 8..=8]),           // EV_REL: x, y, wheel
        (3, &[0..=1]),                  // EV_ABS: x, y
        (4, &[4..=4]),                  // EV_MSC: scan code
        (0x11, &[0..=2]),               // EV_LED: num, caps, scroll
        (0x14, &[0..=1]),               // EV_REP: delay, period
    ];
    let mut description = Description {
        name: b"Bench device".to_vec(),
        ids: Ids { bus: 3, vendor: 1, product: 1, version: 1 },
        properties: Bitmap::of([0]),
        ..Description::default()
    };
    for (kind, ranges) in codes {
        description.codes[kind] = Bitmap::of(ranges.iter().cloned().flatten());
    }
    for axis in &mut description.axes[..2] {
        *axis = AxisInfo { max: 32767, ..AxisInfo::default() };
    }
    description
}

impl AsFd for Script {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Node for Script {
    fn description(&self) -> &Description {
        &self.description
    }

    /// As from an evdev node: one read of whole records.
    fn read(&mut self, events: &mut [Event; EVENTS_A_READ]) -> io::Result<usize> {
        let len = match nix::unistd::read(&self.pipe, self.records.as_mut_slice()) {
            Ok(0) => return Err(Errno::ENODEV.into()),
            Ok(len) => len,
            Err(Errno::EAGAIN) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut count = 0;
        for (place, event) in events.iter_mut().zip(self.records[..len].chunks(RECORD_LEN)) {
            *place = Event::from_record(event).ok_or(io::ErrorKind::UnexpectedEof)?;
            count += 1;
        }
        Ok(count)
    }

    fn is_idle(&self) -> bool {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    fn look(&mut self, state: &mut State) -> io::Result<()> {
        state.clear();
        Ok(())
    }

    fn write(&mut self, _events: &[Event]) -> io::Result<()> {
        Ok(())
    }

    fn set_grabbed(&mut self, _grabbed: bool) -> io::Result<()> {
        Ok(())
    }
}
