//! QEMU's end of the display socket, the one that GPU_SET_SOCKET hands to the back end.
//!
//! [`Display`] is a polled state machine: [`Display::pump`] handles what is there. [`DisplayThread`] runs one in a thread
//! of its own. Both are strict: a wrong size, an UPDATE without a SCANOUT before it (of which QEMU dies), one that
//! reaches outside its surface, a feature that was not negotiated, a frame that is sent before the last one was answered, a
//! stream out of step: each is a fault with a text that names it. [`Drain`] only counts, for benches.

mod drain;
mod framing;
mod kept;
mod screens;
mod thread;
pub mod wire;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::deadline::{Deadline, wait_readable};
use crate::error::{Error, Result};
use crate::gpu::Head;
use crate::sys::{FdBuffer, receive, send_all};

pub use drain::{Drain, DrainThread, Totals};
pub use kept::{Counters, Cursor, Dmabuf, Event, Surface};
pub use thread::DisplayThread;
pub use wire::{MAX_SCANOUTS, message, update_header};

use framing::Framer;
use screens::{Due, Rules, Screens};

/// Bytes taken from the socket at once.
const BUFFER: usize = 256 * 1024;
/// Receives in one [`Display::pump`], so that a sender who never pauses cannot hold it.
const TURNS: usize = 256;

/// What a display answers, keeps and forbids.
#[derive(Clone, Debug)]
pub struct DisplayConfig {
    /// The features it answers: 3 as QEMU 10 and 11, 0 as QEMU 7.2.
    pub features: u64,
    /// Scanouts that QEMU was told to have; messages for others are faults.
    pub max_outputs: u32,
    /// What GET_DISPLAY_INFO answers.
    pub heads: Vec<Head>,
    /// What GET_EDID answers, by scanout; up to 1024 bytes each.
    pub edids: Vec<Vec<u8>>,
    /// Whether surfaces keep their pixels.
    pub keep_pixels: bool,
    /// How many messages the log keeps; 0 is off.
    pub log: usize,
    /// Lets pass what QEMU's own back end does and QEMU does not mind: UPDATEs whose flags were never set, and UPDATEs of
    /// no pixels.
    pub peer_faults: bool,
    /// Says nothing, as QEMU does, when it is asked for the EDID of a scanout that it does not have. Otherwise the question
    /// is a fault.
    pub silent_edids: bool,
}

impl Default for DisplayConfig {
    fn default() -> DisplayConfig {
        DisplayConfig {
            features: 3,
            max_outputs: MAX_SCANOUTS as u32,
            heads: vec![Head::sized(1280, 800)],
            edids: (0..MAX_SCANOUTS as u32).map(wire::sample_edid).collect(),
            keep_pixels: true,
            log: 4096,
            peer_faults: false,
            silent_edids: false,
        }
    }
}

/// The display end of a vhost-user-gpu socket.
pub struct Display {
    stream: Option<UnixStream>,
    config: DisplayConfig,
    framer: Framer,
    screens: Screens,
    buffer: Box<[u8]>,
    ancillary: FdBuffer,
    received: Vec<OwnedFd>,
    reading: bool,
    withholding: bool,
    withheld: VecDeque<Due>,
}

impl Display {
    /// A display on a connected socket.
    pub fn new(stream: UnixStream, config: DisplayConfig) -> Display {
        Display::with_stream(Some(stream), config)
    }

    /// A display that is closed and will show nothing.
    pub fn spent() -> Display {
        Display::with_stream(None, DisplayConfig { log: 0, ..DisplayConfig::default() })
    }

    fn with_stream(stream: Option<UnixStream>, config: DisplayConfig) -> Display {
        let rules = Rules {
            features: config.features,
            max_outputs: config.max_outputs,
            keep_pixels: config.keep_pixels,
            peer_faults: config.peer_faults,
            silent_edids: config.silent_edids,
            log: config.log,
        };
        Display {
            stream,
            config,
            framer: Framer::default(),
            screens: Screens::new(rules),
            buffer: vec![0; BUFFER].into(),
            ancillary: FdBuffer::new(),
            received: Vec::new(),
            reading: true,
            withholding: false,
            withheld: VecDeque::new(),
        }
    }

    /// A display, and the other end of its socket for GPU_SET_SOCKET.
    pub fn pair(config: DisplayConfig) -> Result<(Display, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io("socketpair", error))?;
        Ok((Display::new(ours, config), theirs))
    }

    /// Handles what is there, without waiting. Returns how many messages were completed.
    pub fn pump(&mut self) -> Result<u64> {
        let before = self.screens.counters.all_messages();
        for _ in 0..TURNS {
            if !self.reading || !self.turn()? {
                break;
            }
        }
        Ok(self.screens.counters.all_messages() - before)
    }

    /// One receive and what follows from it; false when there was nothing.
    fn turn(&mut self) -> Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        let got = receive(stream.as_fd(), &mut self.buffer, &mut self.ancillary, &mut self.received)?;
        let count = match got {
            None => return Ok(false),
            Some(0) => return self.end(),
            Some(count) => count,
        };
        self.screens.fds.extend(self.received.drain(..));
        self.framer.feed(&self.buffer[..count], &mut self.screens)?;
        if !self.framer.is_inside() && !self.screens.fds.is_empty() {
            return Err(Error::fault("a descriptor came with a message that takes none"));
        }
        self.answer()?;
        Ok(true)
    }

    fn end(&mut self) -> Result<bool> {
        self.stream = None;
        match self.framer.is_inside() {
            true => Err(Error::fault("the display socket ended in the middle of a message")),
            false => Ok(false),
        }
    }

    fn answer(&mut self) -> Result<()> {
        while let Some(due) = self.screens.due.pop_front() {
            match self.withholding {
                true => self.withheld.push_back(due),
                false => self.send_reply(due)?,
            }
        }
        Ok(())
    }

    fn send_reply(&mut self, due: Due) -> Result<()> {
        let bytes = match due {
            Due::ProtocolFeatures => wire::reply(message::GET_PROTOCOL_FEATURES, &self.config.features.to_ne_bytes()),
            Due::DisplayInfo => wire::reply(message::GET_DISPLAY_INFO, &wire::display_info(&self.config.heads)),
            Due::Edid(scanout) => {
                let none = Vec::new();
                let block = self.config.edids.get(scanout as usize).unwrap_or(&none);
                wire::reply(message::GET_EDID, &wire::edid(block))
            }
            Due::DmabufUpdate(scanout) => {
                self.screens.frame_due[scanout as usize] = false;
                wire::reply(message::DMABUF_UPDATE, &[])
            }
        };
        match &self.stream {
            Some(stream) => send_all(stream.as_fd(), &bytes, &[], Deadline::secs(5)),
            None => Ok(()),
        }
    }

    /// Waits for messages until `deadline` and handles them until `done` holds.
    pub fn pump_until(&mut self, deadline: Deadline, mut done: impl FnMut(&Display) -> bool) -> Result<()> {
        loop {
            self.pump()?;
            if done(self) {
                return Ok(());
            }
            let Some(stream) = &self.stream else { return Err(Error::Closed("end of the display socket")) };
            if !wait_readable(stream.as_fd(), deadline)? {
                return Err(Error::TimedOut("display message"));
            }
        }
    }

    /// Sends any bytes to the back end: replies nobody asked for, replies that are wrong.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.as_ref().ok_or(Error::Closed("the display socket is closed"))?;
        send_all(stream.as_fd(), bytes, &[], Deadline::secs(5))
    }

    /// From now on replies are kept back, or the kept ones go out and further ones at once.
    pub fn withhold_replies(&mut self, withhold: bool) -> Result<()> {
        self.withholding = withhold;
        if !withhold {
            self.release_replies(usize::MAX)?;
        }
        Ok(())
    }

    /// Sends the first `count` replies of those kept back. Returns how many are still kept.
    pub fn release_replies(&mut self, count: usize) -> Result<usize> {
        for _ in 0..count {
            let Some(due) = self.withheld.pop_front() else { break };
            self.send_reply(due)?;
        }
        Ok(self.withheld.len())
    }

    /// Forgets the first `count` replies of those kept back, as QEMU forgets frames over a pause.
    pub fn lose_replies(&mut self, count: usize) {
        for due in self.withheld.drain(..count) {
            if let Due::DmabufUpdate(scanout) = due {
                self.screens.frame_due[scanout as usize] = false;
            }
        }
    }

    /// Replies kept back.
    pub fn withheld(&self) -> usize {
        self.withheld.len()
    }

    /// Stops or goes on reading the socket, as a display that is slow.
    pub fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
    }

    /// Whether it reads: neither told not to, nor at the end of the socket.
    pub fn is_reading(&self) -> bool {
        self.reading && self.stream.is_some()
    }

    /// Closes the socket, as QEMU does when the device stops. What was shown stays readable here.
    pub fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            // At once, even where a poll in another thread holds a second descriptor for a moment.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Whether the socket is closed, by either side.
    pub fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Whether a message has begun that is not complete.
    pub fn is_inside_message(&self) -> bool {
        self.framer.is_inside()
    }

    /// The socket, while it is open.
    pub fn stream(&self) -> Option<&UnixStream> {
        self.stream.as_ref()
    }

    pub(crate) fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().filter(|_| self.reading).map(AsFd::as_fd)
    }

    /// What it answers; changes count from the next request on.
    pub fn answers(&mut self) -> (&mut Vec<Head>, &mut Vec<Vec<u8>>) {
        (&mut self.config.heads, &mut self.config.edids)
    }

    /// A scanout's picture; `None` while it is off.
    pub fn surface(&self, scanout: usize) -> Option<&Surface> {
        self.screens.surfaces[scanout].as_ref()
    }

    /// A scanout's cursor.
    pub fn cursor(&self, scanout: usize) -> &Cursor {
        &self.screens.cursors[scanout]
    }

    /// A scanout's DMABUF.
    pub fn dmabuf(&self, scanout: usize) -> Option<&Dmabuf> {
        self.screens.dmabufs[scanout].as_ref()
    }

    /// What a scanout shows, by whichever way it came: out of its DMABUF once a frame of that was told of.
    pub fn picture(&self, scanout: usize) -> Option<Cow<'_, Surface>> {
        match self.dmabuf(scanout) {
            Some(dmabuf) if dmabuf.updates > 0 => dmabuf.surface().ok().map(Cow::Owned),
            Some(_) => None,
            None => self.surface(scanout).map(Cow::Borrowed),
        }
    }

    /// The features that the back end set, once it did.
    pub fn negotiated(&self) -> Option<u64> {
        self.screens.negotiated
    }

    /// Messages and bytes so far.
    pub fn counters(&self) -> &Counters {
        &self.screens.counters
    }

    /// Counters back to 0.
    pub fn reset_counters(&mut self) {
        self.screens.counters = Counters::default();
    }

    /// The last messages, oldest first.
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.screens.log.iter()
    }

    /// Takes the log, which is empty then.
    pub fn take_log(&mut self) -> Vec<Event> {
        self.screens.log.drain(..).collect()
    }

    /// Keeps a log of `bound` messages from now on; 0 switches it off.
    pub fn set_log(&mut self, bound: usize) {
        self.screens.set_log(bound);
    }

    /// Whether surfaces keep the pixels of UPDATEs; to be chosen before the first SCANOUT.
    pub fn set_keep_pixels(&mut self, keep: bool) {
        self.screens.set_keep_pixels(keep);
    }
}

#[cfg(test)]
mod tests;
