//! A scripted input device: no kernel, but its outside. Whoever holds a [`Kernel`] makes it say things, pulls it out and
//! plugs it in again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use seat_frontend::program::TempDir;
use vhost_seat::input::config::Description;
use vhost_seat::input::node::{EVENTS_A_READ, Node, OpenError, Place};
use vhost_seat::input::state::State;
use vhost_seat::input::wire::Event;

/// Events that wait to be read, at most.
const MAX_WAITING: usize = 512;

/// The device and what its one client has not read.
pub struct Kernel(Rc<RefCell<Shared>>);

struct Shared {
    folder: TempDir,
    description: Description,
    state: State,
    waiting: VecDeque<Event>,
    /// The other end of the open node's descriptor: readable while events wait, hung up once it is unplugged.
    signal: Option<UnixStream>,
    signalled: bool,
    plugged: bool,
    /// Another program has it alone.
    busy: bool,
    /// What the device was told.
    written: usize,
}

impl Kernel {
    pub fn new(description: Description) -> Kernel {
        Kernel(Rc::new(RefCell::new(Shared {
            folder: TempDir::new().unwrap(),
            state: State::new(&description),
            description,
            waiting: VecDeque::new(),
            signal: None,
            signalled: false,
            plugged: true,
            busy: false,
            written: 0,
        })))
    }

    pub fn place(&self) -> Port {
        let path = self.0.borrow().folder.join("event0");
        Port { shared: Rc::clone(&self.0), path }
    }

    pub fn say(&self, event: Event) {
        let mut shared = self.0.borrow_mut();
        let shared = &mut *shared;
        if !shared.plugged || shared.waiting.len() == MAX_WAITING {
            return;
        }
        shared.state.apply(event);
        shared.waiting.push_back(event);
        let Some(signal) = shared.signal.as_mut().filter(|_| !shared.signalled) else { return };
        match signal.write_all(&[1]) {
            Ok(()) => shared.signalled = true,
            // Opened, found to be another kind of device, and closed: nobody reads it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => shared.signal = None,
            Err(error) => panic!("the node's signal: {error}"),
        }
    }

    pub fn unplug(&self) {
        let mut shared = self.0.borrow_mut();
        shared.plugged = false;
        shared.signal = None;
        let _ = std::fs::remove_file(shared.folder.join("event0"));
    }

    /// Plugs it in, as another kind of device where `other`.
    pub fn plug(&self, other: bool) {
        let mut shared = self.0.borrow_mut();
        if !shared.plugged {
            shared.plugged = true;
            shared.waiting.clear();
            shared.signalled = false;
            shared.description.name = if other { b"another".to_vec() } else { Vec::new() };
            shared.state = State::new(&shared.description);
            std::fs::write(shared.folder.join("event0"), "").unwrap();
        }
    }

    pub fn set_busy(&self, busy: bool) {
        self.0.borrow_mut().busy = busy;
    }

    /// Events that the device was told.
    pub fn written(&self) -> usize {
        self.0.borrow().written
    }
}

/// Where it is plugged in.
pub struct Port {
    shared: Rc<RefCell<Shared>>,
    path: PathBuf,
}

impl Place for Port {
    type Node = Open;

    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Open, OpenError> {
        let mut shared = self.shared.borrow_mut();
        if !shared.plugged {
            return Err(OpenError::Open(Errno::ENODEV.into()));
        }
        let (ours, theirs) = UnixStream::pair().map_err(OpenError::Open)?;
        shared.signal = Some(theirs);
        shared.signalled = false;
        shared.waiting.clear();
        Ok(Open { shared: Rc::clone(&self.shared), description: shared.description.clone(), signal: ours })
    }
}

/// An open node.
pub struct Open {
    shared: Rc<RefCell<Shared>>,
    description: Description,
    signal: UnixStream,
}

impl Open {
    fn is_there(&self) -> io::Result<()> {
        if self.shared.borrow().plugged { Ok(()) } else { Err(Errno::ENODEV.into()) }
    }
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

impl Node for Open {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self, events: &mut [Event; EVENTS_A_READ]) -> io::Result<usize> {
        self.is_there()?;
        let mut shared = self.shared.borrow_mut();
        let count = shared.waiting.len().min(EVENTS_A_READ);
        for (place, event) in events.iter_mut().zip(shared.waiting.drain(..count)) {
            *place = event;
        }
        if shared.waiting.is_empty() && std::mem::take(&mut shared.signalled) {
            self.signal.read_exact(&mut [0])?;
        }
        Ok(count)
    }

    fn is_idle(&self) -> bool {
        self.shared.borrow().waiting.is_empty()
    }

    fn look(&mut self, state: &mut State) -> io::Result<()> {
        self.is_there()?;
        state.copy_from(&self.shared.borrow().state);
        Ok(())
    }

    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        self.is_there()?;
        self.shared.borrow_mut().written += events.len();
        Ok(())
    }

    fn set_grabbed(&mut self, _grabbed: bool) -> io::Result<()> {
        self.is_there()?;
        if self.shared.borrow().busy { Err(Errno::EBUSY.into()) } else { Ok(()) }
    }
}
