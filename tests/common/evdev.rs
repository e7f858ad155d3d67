//! A scripted input device: a kernel's input core and evdev in miniature, for tests on hosts that have neither.
//!
//! [`Kernel`] is the device with all its clients. A test plays the driver ([`Kernel::report`]) and, as [`Kernel::host`],
//! another program that has the node open; the program under test opens it by [`Place`]. What is modelled after Linux:
//! events that change nothing are swallowed, whole frames come to each client, one that grabs gets them alone, a client's
//! buffer of 64 events runs over into SYN_DROPPED, events that a client writes go through the same core, and a device that
//! is unplugged lets go of its keys, but not of its contacts.
//!
//! It can also lie ([`Kernel::utter`], [`Kernel::lie`]), past that core, to the program under test alone.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use seat_frontend::input::ids::{abs, ev, key, syn};
use seat_frontend::input::{Event, InputState};
use seat_frontend::program::TempDir;
use vhost_seat::input::config::Description;
use vhost_seat::input::node::{EVENTS_A_READ, Node, OpenError, Place as SeatPlace};
use vhost_seat::input::state::State;
use vhost_seat::input::wire;

/// Events that evdev keeps for a client.
const CLIENT_BUFFER: usize = 64;

/// The device, all its clients, and the path of its node.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Mutex<Shared>>,
    folder: Arc<TempDir>,
}

struct Shared {
    description: Description,
    state: InputState,
    slots: usize,
    /// The frame under way.
    frame: Vec<Event>,
    clients: Vec<Client>,
    /// Which client has it alone.
    grab: Option<u64>,
    next_client: u64,
    /// What was written to the device itself: lights and sounds.
    driver_heard: Vec<Event>,
    plugged: bool,
    /// What the driver reports the moment before somebody takes the device alone.
    before_grab: Vec<Event>,
    /// Whether nodes may be written.
    writable: bool,
    lies: Lies,
}

/// What the program under test is told that is not so.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// Each read brings one SYN_DROPPED, as often as there is one.
    pub dropping: bool,
    /// When it is looked at: keys that are held,
    pub keys: Vec<u16>,
    /// switches that are on,
    pub switches: Vec<u16>,
    /// axes and their values,
    pub axes: Vec<(u16, i32)>,
    /// of slots: their number, the axis, its value,
    pub slot_axes: Vec<(usize, u16, i32)>,
    /// and the slot that is meant.
    pub slot: Option<i32>,
    /// What fails: to open it,
    pub open: Option<Errno>,
    /// to look at it, once its keys are told,
    pub look: Option<Errno>,
    /// to take it or to give it back,
    pub grab: Option<Errno>,
    /// to write to it.
    pub write: Option<Errno>,
}

/// Somebody who has the node open.
struct Client {
    id: u64,
    is_host: bool,
    events: VecDeque<Event>,
    /// Has a byte in it while there are events; `None` once the device is gone.
    signal: Option<UnixStream>,
    signalled: bool,
}

impl Client {
    fn take(&mut self, frame: &[Event]) {
        for event in frame {
            if self.events.len() == CLIENT_BUFFER {
                self.events.clear();
                self.events.push_back(Event::new(ev::SYN, syn::DROPPED, 0));
            }
            self.events.push_back(*event);
        }
        if !self.signalled
            && let Some(signal) = &mut self.signal
        {
            signal.write_all(&[1]).unwrap();
            self.signalled = true;
        }
    }
}

impl Kernel {
    /// A device of this description, plugged in.
    pub fn new(description: Description, slots: usize) -> Kernel {
        let shared = Shared {
            description,
            state: InputState::new(slots),
            slots,
            frame: Vec::with_capacity(CLIENT_BUFFER),
            clients: Vec::new(),
            grab: None,
            next_client: 0,
            driver_heard: Vec::with_capacity(CLIENT_BUFFER),
            plugged: true,
            before_grab: Vec::new(),
            writable: true,
            lies: Lies::default(),
        };
        let kernel = Kernel { shared: Arc::new(Mutex::new(shared)), folder: Arc::new(TempDir::new().unwrap()) };
        File::create(kernel.path()).unwrap();
        kernel
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's path: a file that is there while the device is plugged in.
    pub fn path(&self) -> PathBuf {
        self.folder.join("event0")
    }

    /// What the program under test opens.
    pub fn place(&self) -> Place {
        Place { kernel: self.clone(), path: self.path() }
    }

    /// Another program that has the node open.
    pub fn host(&self) -> ScriptedNode {
        ScriptedNode::open(self, true).unwrap()
    }

    /// The driver reports a frame; its SYN_REPORT is added.
    pub fn report(&self, events: &[(u16, u16, i32)]) {
        let mut shared = self.lock();
        for (kind, code, value) in events {
            shared.handle(Event::new(*kind, *code, *value), None);
        }
        shared.handle(Event::new(ev::SYN, syn::REPORT, 0), None);
    }

    /// Says these events to the program under test, whatever they are, and does not add their report.
    pub fn utter(&self, events: &[(u16, u16, i32)]) {
        let events: Vec<_> = events.iter().map(|(kind, code, value)| Event::new(*kind, *code, *value)).collect();
        self.lock().clients.iter_mut().filter(|client| !client.is_host).for_each(|client| client.take(&events));
    }

    /// Changes what the program under test is told that is not so.
    pub fn lie(&self, change: impl FnOnce(&mut Lies)) {
        let mut shared = self.lock();
        change(&mut shared.lies);
        let ours = shared.clients.iter_mut().filter(|client| !client.is_host);
        // One that lies about what was dropped has something to say from now on.
        ours.for_each(|client| client.take(&[]));
    }

    /// The driver reports a frame the moment before the device is next taken alone.
    pub fn report_before_grab(&self, events: &[(u16, u16, i32)]) {
        let events = events.iter().map(|(kind, code, value)| Event::new(*kind, *code, *value));
        self.lock().before_grab = events.chain([Event::new(ev::SYN, syn::REPORT, 0)]).collect();
    }

    /// What is held, and where everything is.
    pub fn truth(&self) -> InputState {
        self.lock().state.clone()
    }

    /// Whether somebody has it alone.
    pub fn is_grabbed(&self) -> bool {
        self.lock().grab.is_some()
    }

    /// What the driver was told since the last look: lights and sounds.
    pub fn driver_heard(&self) -> Vec<(u16, u16, i32)> {
        self.lock().driver_heard.drain(..).map(|event| (event.kind, event.code, event.value)).collect()
    }

    /// How many events wait for the program under test.
    pub fn unread(&self) -> usize {
        self.lock().clients.iter().filter(|client| !client.is_host).map(|client| client.events.len()).sum()
    }

    /// Whoever opens the node from now on may write to it, or not.
    pub fn set_writable(&self, writable: bool) {
        self.lock().writable = writable;
    }

    /// The device is pulled out. Its keys are let go before that, its contacts are not.
    pub fn unplug(&self) {
        let mut shared = self.lock();
        for code in shared.state.held() {
            shared.handle(Event::new(ev::KEY, code, 0), None);
        }
        shared.handle(Event::new(ev::SYN, syn::REPORT, 0), None);
        shared.plugged = false;
        shared.grab = None;
        shared.clients.iter_mut().for_each(|client| client.signal = None);
        drop(shared);
        std::fs::remove_file(self.path()).unwrap();
    }

    /// The device is plugged in again, with nothing held.
    pub fn plug(&self) {
        let mut shared = self.lock();
        shared.plugged = true;
        shared.state = InputState::new(shared.slots);
        shared.clients.clear();
        drop(shared);
        File::create(self.path()).unwrap();
    }

    /// From now on it is a device of this description.
    pub fn become_another(&self, description: Description) {
        self.lock().description = description;
    }
}

impl Shared {
    /// The input core: `from` is the client that writes, or the driver.
    fn handle(&mut self, event: Event, from: Option<u64>) {
        if from.is_some() && self.grab.is_some() && self.grab != from {
            return;
        }
        let Event { kind, code, value } = event;
        let passed = match kind {
            ev::SYN if code == syn::REPORT => {
                self.end_frame();
                return;
            }
            ev::KEY if value == 2 => true,
            ev::KEY => self.state.set_key(code, value != 0),
            ev::SW => {
                let changed = self.state.switch(code) != (value != 0);
                self.state.set_switch(code, value != 0);
                changed
            }
            ev::ABS => self.absolute(code, value),
            ev::LED | ev::SND => {
                self.driver_heard.push(event);
                true
            }
            _ => true,
        };
        if passed {
            self.frame.push(event);
        }
    }

    fn absolute(&mut self, code: u16, value: i32) -> bool {
        let slot = self.state.slot();
        match code {
            abs::MT_SLOT if self.slots > 0 => {
                self.state.set_slot(value as usize);
                slot != value as usize
            }
            abs::MT_TOUCH_MAJOR..=abs::MT_TOOL_Y if self.slots > 0 => {
                let before = self.state.slot_axis(slot, code);
                self.state.set_slot_axis(slot, code, value);
                before != value
            }
            // Contacts without slots have no state.
            abs::MT_TOUCH_MAJOR..=abs::MT_TOOL_Y => true,
            _ => {
                let before = self.state.axis(code);
                self.state.set_axis(code, value);
                before != value
            }
        }
    }

    fn end_frame(&mut self) {
        if self.frame.is_empty() {
            return;
        }
        self.frame.push(Event::new(ev::SYN, syn::REPORT, 0));
        let Shared { frame, clients, grab, .. } = self;
        for client in clients.iter_mut().filter(|client| grab.is_none_or(|grab| grab == client.id)) {
            client.take(frame);
        }
        frame.clear();
    }

    fn client(&mut self, id: u64) -> io::Result<&mut Client> {
        let found = self.clients.iter_mut().find(|client| client.id == id);
        found.filter(|_| self.plugged).ok_or_else(|| Errno::ENODEV.into())
    }
}

/// The path that the program under test opens.
pub struct Place {
    kernel: Kernel,
    path: PathBuf,
}

impl Place {
    /// The same device by another path, a link for example.
    pub fn by(mut self, path: PathBuf) -> Place {
        self.path = path;
        self
    }
}

impl SeatPlace for Place {
    type Node = ScriptedNode;

    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<ScriptedNode, OpenError> {
        File::open(&self.path).map_err(OpenError::Open)?;
        ScriptedNode::open(&self.kernel, false)
    }
}

/// An open node.
pub struct ScriptedNode {
    kernel: Kernel,
    id: u64,
    description: Description,
    signal: UnixStream,
    writable: bool,
}

impl ScriptedNode {
    fn open(kernel: &Kernel, is_host: bool) -> Result<ScriptedNode, OpenError> {
        let mut shared = kernel.lock();
        if !shared.plugged {
            return Err(OpenError::Open(Errno::ENODEV.into()));
        }
        if let Some(errno) = shared.lies.open.filter(|_| !is_host) {
            return Err(OpenError::Description(errno.into()));
        }
        let (ours, theirs) = UnixStream::pair().map_err(OpenError::Open)?;
        let id = shared.next_client;
        shared.next_client += 1;
        let events = VecDeque::with_capacity(CLIENT_BUFFER + 1);
        shared.clients.push(Client { id, is_host, events, signal: Some(theirs), signalled: false });
        let (description, writable) = (shared.description.clone(), shared.writable);
        drop(shared);
        Ok(ScriptedNode { kernel: kernel.clone(), id, description, signal: ours, writable })
    }

    /// All events that have come, as another program on the host reads them.
    pub fn read_all(&mut self) -> Vec<(u16, u16, i32)> {
        let mut events = [wire::Event::default(); EVENTS_A_READ];
        let mut all = Vec::new();
        while let Ok(count @ 1..) = self.read(&mut events) {
            all.extend(events[..count].iter().map(|event| (event.kind, event.code, event.value)));
        }
        all
    }

    /// The keys that another program believes to be held after these events.
    pub fn keys_after(events: &[(u16, u16, i32)], mut held: BTreeSet<u16>) -> BTreeSet<u16> {
        for (kind, code, value) in events {
            match (*kind, *value) {
                (ev::KEY, 0) => drop(held.remove(code)),
                (ev::KEY, 1) => drop(held.insert(*code)),
                _ => {}
            }
        }
        held
    }
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        let mut shared = self.kernel.lock();
        shared.clients.retain(|client| client.id != self.id);
        if shared.grab == Some(self.id) {
            shared.grab = None;
        }
    }
}

impl AsFd for ScriptedNode {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

impl Node for ScriptedNode {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self, events: &mut [wire::Event; EVENTS_A_READ]) -> io::Result<usize> {
        let mut shared = self.kernel.lock();
        let dropping = shared.lies.dropping;
        let client = shared.client(self.id)?;
        if dropping && !client.is_host {
            events[0] = wire::Event::new(ev::SYN, syn::DROPPED, 0);
            return Ok(1);
        }
        let mut count = 0;
        for place in events.iter_mut() {
            let Some(event) = client.events.pop_front() else { break };
            *place = wire::Event::new(event.kind, event.code, event.value);
            count += 1;
        }
        if client.events.is_empty() && std::mem::take(&mut client.signalled) {
            self.signal.read_exact(&mut [0])?;
        }
        Ok(count)
    }

    fn is_idle(&self) -> bool {
        let mut shared = self.kernel.lock();
        let dropping = shared.lies.dropping;
        shared.client(self.id).is_ok_and(|client| client.events.is_empty() && (!dropping || client.is_host))
    }

    fn look(&mut self, state: &mut State) -> io::Result<()> {
        let mut shared = self.kernel.lock();
        // EVIOCGKEY takes the key events that wait with it.
        shared.client(self.id)?.events.retain(|event| event.kind != ev::KEY);
        let truth = &shared.state;
        state.clear();
        (0..key::COUNT).for_each(|code| state.set_key(code, truth.is_held(code)));
        (0..17).for_each(|code| state.set_switch(code, truth.switch(code)));
        for code in (0..0x40).filter(|code| shared.description.has(ev::ABS, *code)) {
            let slotted = (abs::MT_SLOT..=abs::MT_TOOL_Y).contains(&code);
            if !slotted {
                state.set_axis(code, truth.axis(code));
            }
            for slot in 0..truth.slots() {
                if slotted && code != abs::MT_SLOT {
                    state.set_slot_axis(slot, code, truth.slot_axis(slot, code));
                }
            }
        }
        state.select_slot(truth.slot() as i32);
        let lies = &shared.lies;
        lies.keys.iter().for_each(|code| state.set_key(*code, true));
        lies.switches.iter().for_each(|code| state.set_switch(*code, true));
        if let Some(errno) = lies.look {
            return Err(errno.into());
        }
        lies.axes.iter().for_each(|(code, value)| state.set_axis(*code, *value));
        lies.slot_axes.iter().for_each(|(slot, code, value)| state.set_slot_axis(*slot, *code, *value));
        lies.slot.iter().for_each(|slot| state.select_slot(*slot));
        Ok(())
    }

    fn write(&mut self, events: &[wire::Event]) -> io::Result<()> {
        let mut shared = self.kernel.lock();
        shared.client(self.id)?;
        if !self.writable {
            return Err(Errno::EBADF.into());
        }
        if let Some(errno) = shared.lies.write {
            return Err(errno.into());
        }
        for event in events {
            shared.handle(Event::new(event.kind, event.code, event.value), Some(self.id));
        }
        Ok(())
    }

    fn set_grabbed(&mut self, grabbed: bool) -> io::Result<()> {
        let mut shared = self.kernel.lock();
        shared.client(self.id)?;
        if let Some(errno) = shared.lies.grab {
            return Err(errno.into());
        }
        match (shared.grab, grabbed) {
            (Some(other), _) if other != self.id => Err(Errno::EBUSY.into()),
            (None, false) => Err(Errno::EINVAL.into()),
            _ => {
                if grabbed {
                    for event in std::mem::take(&mut shared.before_grab) {
                        shared.handle(event, None);
                    }
                }
                shared.grab = grabbed.then_some(self.id);
                Ok(())
            }
        }
    }
}
