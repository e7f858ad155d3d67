//! The floors: what any back end has to do for an event, and for a look at the config, and no more.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use seat_frontend::wait_readable;
use vhost_seat::input::node::EVENTS_A_READ;
use vhost_seat::input::wire::RECORD_LEN;

use crate::Result;
use crate::records::{deadline, to_call};
use crate::role::Role;
use crate::vm::pipe;

/// `floor-events [PATH]`: without a path the device is stdin.
const EVENTS: &str = "floor-events";
const ECHO: &str = "floor-echo";

/// Most bytes of a message of the echo.
const MESSAGE: usize = 256;

/// What a child process of this bench does.
pub fn child(role: &str, args: &[String]) -> Result<()> {
    match (role, args) {
        (EVENTS, []) => events(&io::stdin().as_fd().try_clone_to_owned()?),
        (EVENTS, [path]) => events(&OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?.into()),
        (ECHO, []) => echo(),
        _ => Err("not a floor".into()),
    }
}

/// Calls `act` whenever `fd` is readable.
fn whenever_readable(fd: impl AsFd, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let mut events = [EpollEvent::empty()];
    loop {
        match epoll.wait(&mut events, EpollTimeout::NONE) {
            // A tracer that comes and goes.
            Err(Errno::EINTR) => {}
            waited => {
                waited?;
                act()?;
            }
        }
    }
}

/// Answers what a device says, as much as one read brings, with a call.
fn events(device: &OwnedFd) -> Result<()> {
    let mut records = [0; EVENTS_A_READ * RECORD_LEN];
    whenever_readable(device, || match nix::unistd::read(device, &mut records) {
        Ok(0) => Err("the device is gone".into()),
        Err(Errno::EAGAIN) => Ok(()),
        read => read.and_then(|_| nix::unistd::write(io::stdout(), &1u64.to_ne_bytes())).map(drop).map_err(Into::into),
    })
}

/// Answers each message with as many bytes as its first byte says.
fn echo() -> Result<()> {
    let mut message = [0; MESSAGE];
    whenever_readable(io::stdin(), || {
        let len = nix::unistd::read(io::stdin(), &mut message)?;
        let answer = if len == 0 { 0 } else { usize::from(message[0]) };
        if answer == 0 {
            return Err("nobody asks any more".into());
        }
        Ok(nix::unistd::write(io::stdout(), &message[..answer]).map(drop)?)
    })
}

/// From a device's events to calls.
pub struct Floor {
    /// The child.
    pub role: Role,
    /// The device's other end.
    pub device: File,
    /// What is called.
    pub call: EventFd,
}

impl Floor {
    /// Starts the other process.
    pub fn start() -> Result<Floor> {
        let (events, device) = pipe()?;
        let call = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let role = Role::start(EVENTS, &[], events, call.as_fd().try_clone_to_owned()?)?;
        Ok(Floor { role, device, call })
    }

    /// One write, timed as [`crate::vm::Guest::events`] does.
    pub fn events(&mut self, records: &[u8]) -> Result<Duration> {
        let took = to_call(&mut self.device, records, self.call.as_fd())?;
        self.call.read()?;
        Ok(took)
    }
}

/// Messages and answers between two processes.
pub struct Echo {
    _role: Role,
    socket: UnixStream,
}

impl Echo {
    /// Starts the other process.
    pub fn start() -> Result<Echo> {
        let (socket, theirs) = UnixStream::pair()?;
        let role = Role::start(ECHO, &[], theirs.try_clone()?.into(), theirs.into())?;
        Ok(Echo { _role: role, socket })
    }

    /// Sends `ask` bytes, and waits for `answer` bytes.
    pub fn round(&mut self, ask: usize, answer: u8) -> Result<()> {
        let mut message = [answer; MESSAGE];
        self.socket.write_all(&message[..ask])?;
        if !wait_readable(self.socket.as_fd(), deadline())? {
            return Err("the floor does not answer".into());
        }
        Ok(self.socket.read_exact(&mut message[..usize::from(answer)])?)
    }
}
