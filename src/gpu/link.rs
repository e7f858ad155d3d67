//! The display of one GPU_SET_SOCKET: its socket, what it was asked, and what to tell it next.
//!
//! Questions go first, then cursors (they are small, and somebody's hand is on the mouse), then pictures. Each message is
//! chosen when the one before is wholly out, from the newest state: what changes while a display is slow merges.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use log::{Level, info};

use super::command::{MAX_SCANOUTS, ScanoutId};
use super::dialog::{Dialog, Question, Told};
use super::display::wire::Head;
use super::display::{Display, DisplayError};
use super::pointer;
use super::scanout::{self, Scanout};
use super::state::State;
use crate::log_within;
use crate::logger::Budget;
use crate::vhost_proto::device::Registrar;

/// Bytes sent before the others get their turn.
const BYTES_A_TURN: u64 = 8 << 20;
/// Most pixels in one UPDATE. QEMU reads each one whole before it does anything else, so a large one keeps the machine
/// waiting; a small one costs it a turn of its main loop. From this many on its time for a pixel no longer falls.
const PIXELS_AN_UPDATE: u32 = 64 * 1024;
/// How often displays may be said to have failed: a front end can send another one at once.
pub const FAILURES: Budget = Budget::new(3, Duration::from_secs(60));
/// How long a transfer under way waits for a display that takes nothing.
const PATIENCE: Duration = Duration::from_millis(2);

/// The display of one GPU_SET_SOCKET with what it was asked.
#[derive(Debug)]
pub struct Link {
    display: Display,
    dialog: Dialog,
    /// It broke the protocol: it is kept open (QEMU would spin on a closed one) and no longer used.
    failed: bool,
    /// The scanout whose turn it is: one that always has news must not keep the others waiting.
    next_scanout: usize,
    /// Whether it was handed a DMABUF.
    has_dmabufs: bool,
    /// Since when it takes nothing, with the number of bytes that it had taken by then.
    blocked: Option<(Instant, u64)>,
}

impl Drop for Link {
    fn drop(&mut self) {
        info!("a display is gone that got {} bytes", self.display.bytes_sent());
    }
}

impl Link {
    /// Takes the socket over and watches it as the device's source of that number.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn new(socket: OwnedFd, source: u8, registrar: &Registrar) -> io::Result<Self> {
        let display = Display::new(socket, source, registrar)?;
        Ok(Self {
            display,
            dialog: Dialog::default(),
            failed: false,
            next_scanout: 0,
            has_dmabufs: false,
            blocked: None,
        })
    }

    /// Whether it can be asked and shown things.
    pub fn works(&self) -> bool {
        !self.failed
    }

    /// Asks for the guest; the next [`Link::paint`] sends it.
    pub fn ask(&mut self, question: Question) {
        self.dialog.ask(question);
    }

    /// The guest no longer waits for an answer.
    pub fn withdraw(&mut self) {
        self.dialog.withdraw();
    }

    /// Takes the next reply.
    ///
    /// # Errors
    /// The display hung up, or is not to be trusted any longer.
    pub fn hear(&mut self) -> Result<Heard<'_>, DisplayError> {
        if self.failed {
            return Ok(Heard::NoMore);
        }
        let Some(reply) = self.display.receive()? else { return Ok(Heard::NoMore) };
        self.dialog.reply(&reply).map(Heard::Reply)
    }

    /// Sends what the display does not know yet, as far as it takes it; pictures and cursors only while the device is
    /// `running`.
    ///
    /// # Errors
    /// The display hung up, or its socket failed.
    pub fn paint(&mut self, state: &mut State, running: bool) -> Result<(), DisplayError> {
        if self.failed {
            // QEMU sits in a blocking read for the rest of a message that was begun.
            self.display.advance()?;
        } else if self.try_paint(state, running)? {
            self.blocked = None;
        } else {
            self.note_blocked();
        }
        Ok(())
    }

    /// Sends until nothing is left to say (`true`) or the display takes no more for now (`false`).
    fn try_paint(&mut self, state: &mut State, running: bool) -> Result<bool, DisplayError> {
        let limit = self.display.bytes_sent().saturating_add(BYTES_A_TURN);
        while self.display.advance()? {
            if self.display.bytes_sent() >= limit {
                self.display.rest(true)?;
                return Ok(true);
            }
            if !self.begin_next(state, running) {
                self.display.rest(false)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Begins the next message, if there is one.
    fn begin_next(&mut self, state: &mut State, running: bool) -> bool {
        state.scanouts.iter_mut().for_each(Scanout::sent);
        if running && state.scanouts.iter().any(Scanout::misses_frame) {
            self.dialog.misses_frame();
        }
        if let Some(head) = self.dialog.next_message() {
            self.display.begin(head);
            return true;
        }
        running && (begin_cursor(state, &mut self.display) || self.begin_picture(state))
    }

    /// Begins the next message about a picture, if there is one.
    fn begin_picture(&mut self, state: &mut State) -> bool {
        for turn in 0..MAX_SCANOUTS {
            let scanout = (self.next_scanout + turn) % MAX_SCANOUTS;
            let step = state.scanouts.get_mut(scanout).and_then(|picture| {
                let takes_buffers = self.dialog.dmabuf2().is_some();
                picture.next_step(PIXELS_AN_UPDATE, takes_buffers)
            });
            let Some(step) = step else { continue };
            // After a new surface or buffer comes what is to be seen on it.
            self.next_scanout = scanout;
            let number = u32::try_from(scanout).unwrap_or(0);
            match step {
                scanout::Step::Surface(width, height) => self.display.begin(Head::scanout(number, width, height)),
                scanout::Step::Update { at, from, image } => {
                    self.next_scanout = scanout + 1;
                    self.display.begin_update(Head::update(number, &at), image, from);
                }
                scanout::Step::Buffer(buffer, rect) => {
                    self.note_dmabuf(number);
                    let dmabuf2 = self.dialog.dmabuf2().unwrap_or(false);
                    let head = Head::dmabuf_scanout(number, &buffer, &rect, dmabuf2);
                    self.display.begin_handover(head, buffer);
                }
                scanout::Step::Frame(at) => {
                    self.next_scanout = scanout + 1;
                    self.dialog.sends_frame(ScanoutId(number));
                    self.display.begin(Head::dmabuf_update(number, &at));
                }
                scanout::Step::Release => self.display.begin(Head::dmabuf_release(number)),
            }
            return true;
        }
        false
    }

    fn note_dmabuf(&mut self, scanout: u32) {
        if !std::mem::replace(&mut self.has_dmabufs, true) {
            info!(
                "scanout {scanout} is shown by DMABUF; a display without OpenGL shows nothing of it: --display=pixels"
            );
        }
    }

    fn note_blocked(&mut self) {
        let sent = self.display.bytes_sent();
        if self.blocked.is_none_or(|(_, before)| before != sent) {
            self.blocked = Some((Instant::now(), sent));
        }
    }

    /// Whether the display takes nothing now, but did a moment ago.
    pub fn is_worth_waiting_for(&self) -> bool {
        !self.failed && self.blocked.is_some_and(|(since, _)| since.elapsed() < PATIENCE)
    }

    /// The display broke the protocol: it is left alone from now on.
    pub fn fail(&mut self, error: &DisplayError, complaints: &mut Budget) {
        // Said once: what is left to be sent to it may fail again and again.
        if !std::mem::replace(&mut self.failed, true) {
            log_within!(
                complaints,
                Level::Error,
                "{error}: the picture stays as it is until the guest starts its display anew"
            );
            self.display.abandon();
        }
    }
}

/// What [`Link::hear`] heard.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A reply.
    Reply(Told<'a>),
    /// Nothing more for now.
    NoMore,
}

/// Begins the next message about a cursor, if there is one.
fn begin_cursor(state: &mut State, display: &mut Display) -> bool {
    for (scanout, pointer) in (0..).zip(&mut state.pointers) {
        match pointer.next_step() {
            Some(pointer::Step::Shape { x, y, hot, pixels }) => {
                display.begin_cursor(Head::cursor_update(scanout, x, y, hot), pixels);
                return true;
            }
            Some(pointer::Step::Place { x, y, visible }) => {
                display.begin(Head::cursor_pos(scanout, x, y, visible));
                return true;
            }
            None => {}
        }
    }
    false
}
