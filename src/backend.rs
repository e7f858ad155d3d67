//! The one loop: a reactor, one front end at a time, one device.
//!
//! Everything that can wake this program is an entry of [`Source`], and [`Backend::dispatch`] shows what each does.
//! Work per turn is bounded everywhere, so neither a guest nor a front end can keep the others, or SIGTERM, waiting.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use log::{Level, info};
use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use thiserror::Error;

use crate::log_within;
use crate::logger::Budget;
use crate::reactor::{Interest, Reactor, Readiness, Timeout, Watch};
use crate::socket::{Endpoint, Listener};
use crate::vhost_proto::connection::{Connection, ConnectionError, Message};
use crate::vhost_proto::device::{Device, MAX_QUEUES, Over, Rings, Source, Turn};
use crate::vhost_proto::leash;
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::session::{self, Answer, Session, Verdict};
use crate::vhost_proto::vring::RingError;
use crate::vhost_proto::wire::{self, Reply};

/// Control messages worked off before the others get their turn.
const MESSAGES_A_TURN: usize = 16;

/// How long to sleep between looks at a ring that has no kick eventfd, or whose device asks for it.
const POLL_MILLISECONDS: u16 = 1;

/// How long no front end is taken after one could not be: what the host lacks then, other programs have.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// How often that is told.
const NOT_TAKEN: Budget = Budget::new(1, Duration::from_secs(60));

/// How often the end of a session is told that a front end broke: the next one can come at once.
const BROKEN_SESSIONS: Budget = Budget::new(20, Duration::from_secs(60));

/// Why the program ends with a status that is not 0.
#[derive(Debug, Error)]
pub enum Error {
    /// The host failed: epoll, a watch.
    #[error("waiting for events: {0}")]
    Host(#[from] io::Error),
    /// No further front end can be taken.
    #[error("accepting a front end: {0}")]
    Accept(io::Error),
    /// The only front end broke the protocol.
    #[error("the front end broke the protocol: {0}")]
    FrontEnd(String),
    /// A queue could not be made.
    #[error("{0}")]
    Ring(#[from] RingError),
    /// The device can do no more.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Serves `device` at `endpoint` until a signal comes, or until the one connected front end hangs up.
///
/// # Errors
/// The host failed, or the one connected front end broke the protocol.
pub fn serve<D: Device>(device: D, endpoint: Endpoint, signals: SignalFd) -> Result<(), Error> {
    Backend::new(device, endpoint, signals)?.run()
}

/// A front end being served.
struct FrontEnd {
    connection: Watch<Connection>,
    session: Session,
}

/// How a front end's session ended.
enum End {
    HungUp,
    Broken(String),
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There is somebody to wait for.
    Go,
    /// The program's work is done.
    Stop,
}

/// The loop: [`serve`] runs it; who wants to see what each turn does (the fuzz targets) takes the turns.
pub struct Backend<D> {
    reactor: Reactor<Source>,
    device: D,
    front_end: Option<FrontEnd>,
    /// What a device sees of the guest's memory while there is no front end.
    no_memory: GuestMemory,
    listener: Option<Watch<Listener>>,
    _signals: Watch<SignalFd>,
    /// Rings with work left, by bit.
    pending: u32,
    /// Rings with work left that waits for something, by bit.
    later: u32,
    /// How long that may wait, in milliseconds.
    patience: u16,
    /// When the next front end may be taken, after one could not be.
    accept_at: Option<Instant>,
    not_taken: Budget,
    broken_sessions: Budget,
    refusals: Budget,
}

impl<D: Device> Backend<D> {
    /// Ready to serve `device` at `endpoint`.
    ///
    /// # Errors
    /// The host failed.
    pub fn new(mut device: D, endpoint: Endpoint, signals: SignalFd) -> Result<Self, Error> {
        let reactor = Reactor::new()?;
        device.attach(reactor.registrar())?;
        let signals = reactor.registrar().watch(Source::Signal, signals, Interest::Read)?;
        let mut backend = Self {
            reactor,
            device,
            front_end: None,
            no_memory: GuestMemory::default(),
            listener: None,
            _signals: signals,
            pending: 0,
            later: 0,
            patience: u16::MAX,
            accept_at: None,
            not_taken: NOT_TAKEN,
            broken_sessions: BROKEN_SESSIONS,
            refusals: session::REFUSALS,
        };
        match endpoint {
            Endpoint::Connected(stream) => backend.welcome(stream)?,
            Endpoint::Listening(listener) => {
                let watch = backend.reactor.registrar().watch(Source::Listener, listener, Interest::Read)?;
                backend.listener = Some(watch);
            }
        }
        Ok(backend)
    }

    /// The loop, until a signal comes, or until the one connected front end hangs up.
    ///
    /// # Errors
    /// The host failed, or the one connected front end broke the protocol.
    pub fn run(mut self) -> Result<(), Error> {
        while self.turn(self.timeout())? == Flow::Go {}
        Ok(())
    }

    /// Fetches what is ready, waiting for it as long as `timeout` says, and works it off.
    ///
    /// # Errors
    /// As [`serve`].
    pub fn turn(&mut self, timeout: Timeout) -> Result<Flow, Error> {
        self.reactor.wait(timeout)?;
        while let Some((source, readiness)) = self.reactor.next_ready() {
            if self.dispatch(source, readiness)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        self.work_off();
        leash::slacken();
        self.accept_again()?;
        if let Some(front_end) = &mut self.front_end {
            front_end.session.check_memory();
        }
        Ok(Flow::Go)
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    fn timeout(&self) -> Timeout {
        let polled = self.front_end.as_ref().map_or(0, |front_end| front_end.session.polled());
        if self.pending != 0 {
            Timeout::Now
        } else if polled != 0 {
            Timeout::Milliseconds(POLL_MILLISECONDS)
        } else if self.later != 0 {
            Timeout::Milliseconds(self.patience)
        } else if let Some(time) = self.accept_at {
            let left = time.saturating_duration_since(Instant::now()).as_millis();
            // Not a moment too early, for the sake of which it would have to be looked at again.
            Timeout::Milliseconds(u16::try_from(left.saturating_add(1)).unwrap_or(u16::MAX))
        } else {
            Timeout::Never
        }
    }

    fn dispatch(&mut self, source: Source, readiness: Readiness) -> Result<Flow, Error> {
        self.hold_to_time();
        match source {
            Source::Signal => {
                info!("ended by a signal");
                if let Some(front_end) = &mut self.front_end {
                    self.device.ending(&mut front_end.session.rings());
                }
                return Ok(Flow::Stop);
            }
            Source::Control => return self.control(readiness),
            Source::Listener => self.accept()?,
            Source::Device(number) => {
                let mut rings = match &mut self.front_end {
                    Some(front_end) => front_end.session.rings(),
                    None => Rings { rings: &mut [], memory: &self.no_memory },
                };
                let turn = self.device.ready(number, readiness, &mut rings)?;
                self.note(turn, 0);
            }
            Source::Kick(queue) => self.kicked(usize::from(queue)),
        }
        Ok(Flow::Go)
    }

    /// A signal shall end the program during what comes next.
    fn hold_to_time(&self) {
        if self.device.may_last() {
            leash::fasten();
        }
    }

    /// Gives every ring with work left one more turn.
    fn work_off(&mut self) {
        let polled = self.front_end.as_ref().map_or(0, |front_end| front_end.session.polled());
        let rings = std::mem::take(&mut self.pending) | std::mem::take(&mut self.later) | polled;
        self.patience = u16::MAX;
        if rings != 0 {
            self.hold_to_time();
        }
        for queue in 0..MAX_QUEUES {
            if rings & (1 << queue) != 0 {
                self.kicked(queue);
            }
        }
    }

    fn kicked(&mut self, queue: usize) {
        if let Some(front_end) = &mut self.front_end {
            let turn = self.device.kicked(queue, &mut front_end.session.rings());
            self.note(turn, queue);
        }
    }

    /// More may be left on any of the queues: which one is the device's own affair.
    fn note(&mut self, turn: Turn, queue: usize) {
        match turn {
            Turn::Done => {}
            Turn::More => self.pending = (1 << D::QUEUES) - 1,
            Turn::Later => self.wait_for(queue, POLL_MILLISECONDS),
            Turn::Within(time) => {
                // Not a moment too early, for the sake of which it would have to be looked at again.
                let left = time.as_millis().saturating_add(1);
                self.wait_for(queue, u16::try_from(left).unwrap_or(u16::MAX));
            }
        }
    }

    fn wait_for(&mut self, queue: usize, milliseconds: u16) {
        self.later |= 1 << queue;
        self.patience = self.patience.min(milliseconds);
    }

    fn accept(&mut self) -> Result<(), Error> {
        let Some(listener) = self.listener.as_ref().filter(|_| self.front_end.is_none()) else {
            return Ok(());
        };
        match listener.get().accept() {
            Ok(Some(stream)) => self.welcome(stream),
            Ok(None) => Ok(()),
            Err(error) if is_passing(&error) => {
                log_within!(self.not_taken, Level::Error, "no front end can be taken for now: {error}");
                listener.set_interest(Interest::Hangup)?;
                self.accept_at = Some(Instant::now() + ACCEPT_AGAIN);
                Ok(())
            }
            Err(error) => Err(Error::Accept(error)),
        }
    }

    /// Looks for front ends again once it is time to.
    fn accept_again(&mut self) -> Result<(), Error> {
        if self.accept_at.is_some_and(|time| time <= Instant::now()) {
            self.accept_at = None;
            if let Some(listener) = self.listener.as_ref().filter(|_| self.front_end.is_none()) {
                listener.set_interest(Interest::Read)?;
            }
        }
        Ok(())
    }

    fn welcome(&mut self, stream: UnixStream) -> Result<(), Error> {
        let connection = Connection::new(stream);
        let connection = self.reactor.registrar().watch(Source::Control, connection, Interest::Read)?;
        self.front_end = Some(FrontEnd { connection, session: Session::new(D::QUEUES)? });
        self.device.connected();
        // The next front end waits in the listener's queue until this one is gone.
        if let Some(listener) = &self.listener {
            listener.set_interest(Interest::Hangup)?;
        }
        info!("a front end is connected");
        Ok(())
    }

    fn control(&mut self, readiness: Readiness) -> Result<Flow, Error> {
        match self.serve_control(readiness) {
            Ok(()) => Ok(Flow::Go),
            Err(end) => self.farewell(end),
        }
    }

    fn serve_control(&mut self, readiness: Readiness) -> Result<(), End> {
        let Some(front_end) = &mut self.front_end else { return Ok(()) };
        if readiness.writable {
            front_end.connection.get_mut().flush()?;
        }
        for _ in 0..MESSAGES_A_TURN {
            let Some(message) = front_end.connection.get_mut().receive()? else { break };
            front_end.answer(message, &mut self.device, self.reactor.registrar(), &mut self.refusals)?;
            self.pending |= front_end.session.take_unseen();
        }
        let interest = if front_end.connection.get().reply_pending() { Interest::Write } else { Interest::Read };
        front_end.connection.set_interest(interest).map_err(|error| End::Broken(error.to_string()))
    }

    /// The front end is gone: so is all that it gave. The next one is served, or the program's work is done.
    fn farewell(&mut self, end: End) -> Result<Flow, Error> {
        self.front_end = None;
        self.pending = 0;
        self.later = 0;
        self.device.disconnected();
        match (&self.listener, end) {
            (None, End::HungUp) => Ok(Flow::Stop),
            (None, End::Broken(reason)) => Err(Error::FrontEnd(reason)),
            (Some(listener), end) => {
                match end {
                    End::HungUp => info!("the front end hung up"),
                    End::Broken(reason) => {
                        log_within!(self.broken_sessions, Level::Error, "the front end broke the protocol: {reason}");
                    }
                }
                listener.set_interest(Interest::Read)?;
                Ok(Flow::Go)
            }
        }
    }
}

impl FrontEnd {
    fn answer<D: Device>(
        &mut self,
        message: Message,
        device: &mut D,
        registrar: &crate::vhost_proto::device::Registrar,
        refusals: &mut Budget,
    ) -> Result<(), End> {
        let Message { header, request } = message;
        let number = header.request;
        // SET_PROTOCOL_FEATURES itself is acknowledged by what it sets.
        let answer = self.session.handle(request, device, registrar);
        let acknowledge = header.need_reply && self.session.acknowledges();
        let reply = match answer {
            Ok(Answer::Reply(reply)) => reply,
            Ok(Answer::Ack) if acknowledge => Reply::U64(0),
            Ok(Answer::Ack) => return Ok(()),
            Err(refused) => {
                session::log_refusal(refusals, number, &refused);
                match session::verdict(number, &refused, acknowledge) {
                    Verdict::Reply(reply) => reply,
                    Verdict::Ignore => return Ok(()),
                    Verdict::End => return Err(End::Broken(format!("{}: {refused}", wire::name(number)))),
                }
            }
        };
        Ok(self.connection.get_mut().reply(number, &reply)?)
    }
}

/// Whether the host may well be able to take a front end later: too much is open now, or there is too little memory.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS];
    error.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed => Self::HungUp,
            other => Self::Broken(other.to_string()),
        }
    }
}
