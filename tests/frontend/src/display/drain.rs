//! A reader that only counts: the fair floor of a bench reads the same bytes by the same code as the bench itself.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use nix::sys::eventfd::EventFd;

use super::framing::{Framer, Visitor};
use super::wire::{self, MESSAGES, UPDATE_HEAD, message};
use super::{BUFFER, Counters, DisplayConfig};
use crate::control::new_eventfd;
use crate::control::wire::Header;
use crate::deadline::{Deadline, wait_readable};
use crate::error::{Error, Result};
use crate::sys::send_all;

/// Reads framed display messages into one buffer and counts them. Requests are answered as a [`DisplayConfig`] says;
/// pixels are received and forgotten.
pub struct Drain {
    config: DisplayConfig,
    framer: Framer,
    counting: Counting,
    buffer: Box<[u8]>,
}

#[derive(Default)]
struct Counting {
    counters: Counters,
    asked: Vec<(u32, u32)>,
    scanout: [u8; 4],
    /// Bytes of pixels that UPDATEs brought.
    pixels: u64,
}

impl Visitor for Counting {
    fn start(&mut self, header: Header) -> Result<()> {
        match (header.request as usize) < MESSAGES {
            true => Ok(()),
            false => Err(Error::fault(format!("{header:?}: an unknown display message, or a stream out of step"))),
        }
    }

    fn body(&mut self, header: Header, at: usize, bytes: &[u8]) -> Result<()> {
        if header.request == message::UPDATE {
            let before = at.max(UPDATE_HEAD);
            self.pixels += (at + bytes.len()).saturating_sub(before) as u64;
        }
        for (place, byte) in self.scanout.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
        Ok(())
    }

    fn end(&mut self, header: Header) -> Result<()> {
        self.counters.count(header);
        let answered =
            [message::GET_PROTOCOL_FEATURES, message::GET_DISPLAY_INFO, message::GET_EDID, message::DMABUF_UPDATE];
        if answered.contains(&header.request) {
            self.asked.push((header.request, u32::from_ne_bytes(self.scanout)));
        }
        Ok(())
    }
}

impl Drain {
    /// A reader that answers as `config` says.
    pub fn new(config: DisplayConfig) -> Drain {
        Drain { config, framer: Framer::default(), counting: Counting::default(), buffer: vec![0; BUFFER].into() }
    }

    /// One blocking receive, and answers to what came with it. Returns the number of bytes; 0 at the end.
    pub fn read_some(&mut self, mut stream: &UnixStream) -> Result<usize> {
        let count = match stream.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(Error::io("read", error)),
        };
        self.framer.feed(&self.buffer[..count], &mut self.counting)?;
        for at in 0..self.counting.asked.len() {
            let (request, scanout) = self.counting.asked[at];
            let reply = self.reply(request, scanout as usize);
            send_all(stream.as_fd(), &reply, &[], Deadline::secs(5))?;
        }
        self.counting.asked.clear();
        Ok(count)
    }

    fn reply(&self, request: u32, scanout: usize) -> Vec<u8> {
        let payload = match request {
            message::GET_PROTOCOL_FEATURES => self.config.features.to_ne_bytes().to_vec(),
            message::GET_DISPLAY_INFO => wire::display_info(&self.config.heads),
            message::GET_EDID => wire::edid(self.config.edids.get(scanout).map_or(&[], Vec::as_slice)),
            _ => Vec::new(),
        };
        wire::reply(request, &payload)
    }

    /// Messages and bytes so far.
    pub fn counters(&self) -> &Counters {
        &self.counting.counters
    }
}

/// What a [`DrainThread`] has read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All bytes, those of a message under way included.
    pub bytes: u64,
    /// Bytes of pixels in UPDATEs, that of one under way included.
    pub pixels: u64,
    /// Complete messages.
    pub messages: u64,
    /// Complete UPDATE messages.
    pub updates: u64,
}

/// What [`Shared::goal`] is while nobody waits.
const NOBODY: u64 = u64::MAX;

struct Shared {
    bytes: AtomicU64,
    pixels: AtomicU64,
    messages: AtomicU64,
    updates: AtomicU64,
    /// Somebody waits and is to be woken once this many bytes of pixels were read.
    goal: AtomicU64,
    ended: AtomicBool,
}

impl Shared {
    fn new() -> Shared {
        let zero = || AtomicU64::new(0);
        let (bytes, pixels, messages, updates) = (zero(), zero(), zero(), zero());
        Shared { bytes, pixels, messages, updates, goal: AtomicU64::new(NOBODY), ended: AtomicBool::new(false) }
    }
}

/// A [`Drain`] in a thread of its own. In steady state neither side allocates.
pub struct DrainThread {
    shared: Arc<Shared>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<Result<()>>>,
    stream: UnixStream,
}

impl DrainThread {
    /// Reads `stream` until its end in a thread.
    pub fn spawn(stream: UnixStream, config: DisplayConfig) -> Result<DrainThread> {
        let (shared, wake) = (Arc::new(Shared::new()), Arc::new(new_eventfd()?));
        let ours = stream.try_clone().map_err(|error| Error::io("dup", error))?;
        let (theirs, signal) = (shared.clone(), wake.clone());
        let body = move || {
            let result = drain(&stream, Drain::new(config), &theirs, &signal);
            theirs.ended.store(true, Ordering::SeqCst);
            let _ = signal.write(1);
            result
        };
        let thread = std::thread::Builder::new().name("drain".into()).spawn(body);
        let thread = thread.map_err(|error| Error::io("thread", error))?;
        Ok(DrainThread { shared, wake, thread: Some(thread), stream: ours })
    }

    /// A reader in a thread, and the other end of its socket, for GPU_SET_SOCKET or for a bare send.
    pub fn pair(config: DisplayConfig) -> Result<(DrainThread, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io("socketpair", error))?;
        Ok((DrainThread::spawn(ours, config)?, theirs))
    }

    /// What was read so far.
    pub fn totals(&self) -> Totals {
        Totals {
            bytes: self.shared.bytes.load(Ordering::SeqCst),
            pixels: self.shared.pixels.load(Ordering::SeqCst),
            messages: self.shared.messages.load(Ordering::SeqCst),
            updates: self.shared.updates.load(Ordering::SeqCst),
        }
    }

    /// Waits until `done` holds of what was read; looks at it after each receive.
    pub fn wait(&self, deadline: Deadline, done: impl FnMut(Totals) -> bool) -> Result<Totals> {
        self.wait_from(0, deadline, done)
    }

    /// Waits until `bytes` have been read in all.
    pub fn wait_bytes(&self, bytes: u64, deadline: Deadline) -> Result<Totals> {
        self.wait(deadline, |totals| totals.bytes >= bytes)
    }

    /// Waits until UPDATEs have brought `bytes` of pixels in all, however cut. Sleeps until then, so that the wait costs
    /// the reader nothing.
    pub fn wait_pixels(&self, bytes: u64, deadline: Deadline) -> Result<Totals> {
        self.wait_from(bytes, deadline, |totals| totals.pixels >= bytes)
    }

    fn wait_from(&self, goal: u64, deadline: Deadline, mut done: impl FnMut(Totals) -> bool) -> Result<Totals> {
        self.shared.goal.store(goal, Ordering::SeqCst);
        let result = loop {
            let totals = self.totals();
            if done(totals) {
                break Ok(totals);
            }
            if self.shared.ended.load(Ordering::SeqCst) {
                break Err(Error::Closed("end of the display socket"));
            }
            match wait_readable(self.wake.as_fd(), deadline) {
                Ok(true) => drop(self.wake.read()),
                Ok(false) => break Err(Error::TimedOut("display message")),
                Err(error) => break Err(error),
            }
        };
        self.shared.goal.store(NOBODY, Ordering::SeqCst);
        result
    }

    /// Closes the socket and ends the thread.
    pub fn finish(mut self) -> Result<Totals> {
        let result = self.end();
        result.map(|()| self.totals())
    }

    fn end(&mut self) -> Result<()> {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(Error::fault("the drain thread panicked"))),
            None => Ok(()),
        }
    }
}

impl Drop for DrainThread {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn drain(stream: &UnixStream, mut drain: Drain, shared: &Shared, wake: &EventFd) -> Result<()> {
    loop {
        let count = drain.read_some(stream)?;
        if count == 0 {
            return Ok(());
        }
        let counters = drain.counters();
        shared.messages.store(counters.all_messages(), Ordering::SeqCst);
        shared.updates.store(counters.of(message::UPDATE), Ordering::SeqCst);
        shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
        shared.pixels.store(drain.counting.pixels, Ordering::SeqCst);
        if drain.counting.pixels >= shared.goal.load(Ordering::SeqCst) {
            let _ = wake.write(1);
        }
    }
}
