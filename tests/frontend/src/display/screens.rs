//! The rules by which a message may change what the display shows.
//!
//! The rules are stricter than QEMU: what QEMU ignores, clips, or dies of is a fault here.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::framing::Visitor;
use super::kept::{Counters, Cursor, Dmabuf, Event, Surface};
use super::wire::{self, CURSOR_BYTES, MAX_SCANOUTS, MAX_SMALL, UPDATE_HEAD, message, word};
use crate::control::wire::Header;
use crate::error::{Error, Result};
use crate::gpu::Rect;

/// A reply that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    ProtocolFeatures,
    DisplayInfo,
    Edid(u32),
    DmabufUpdate(u32),
}

/// What a display keeps and forbids; see [`super::DisplayConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) features: u64,
    pub(super) max_outputs: u32,
    pub(super) keep_pixels: bool,
    pub(super) peer_faults: bool,
    pub(super) silent_edids: bool,
    pub(super) log: usize,
}

pub(super) struct Screens {
    rules: Rules,
    pub(super) surfaces: [Option<Surface>; MAX_SCANOUTS],
    pub(super) cursors: [Cursor; MAX_SCANOUTS],
    pub(super) dmabufs: [Option<Dmabuf>; MAX_SCANOUTS],
    /// Whether a DMABUF_UPDATE was not answered yet.
    pub(super) frame_due: [bool; MAX_SCANOUTS],
    pub(super) counters: Counters,
    pub(super) log: VecDeque<Event>,
    pub(super) due: VecDeque<Due>,
    pub(super) fds: VecDeque<OwnedFd>,
    pub(super) negotiated: Option<u64>,
    small: Box<[u8]>,
    update: (u32, Rect),
}

impl Screens {
    pub(super) fn new(rules: Rules) -> Screens {
        Screens {
            rules,
            surfaces: Default::default(),
            cursors: Default::default(),
            dmabufs: Default::default(),
            frame_due: [false; MAX_SCANOUTS],
            counters: Counters::default(),
            log: VecDeque::with_capacity(rules.log),
            due: VecDeque::with_capacity(64),
            fds: VecDeque::new(),
            negotiated: None,
            small: vec![0; MAX_SMALL].into(),
            update: Default::default(),
        }
    }

    pub(super) fn set_log(&mut self, bound: usize) {
        self.rules.log = bound;
        self.log.clear();
        self.log.reserve(bound);
    }

    pub(super) fn set_keep_pixels(&mut self, keep: bool) {
        self.rules.keep_pixels = keep;
    }

    fn note(&mut self, event: Event) {
        if self.rules.log == 0 {
            return;
        }
        if self.log.len() == self.rules.log {
            self.log.pop_front();
        }
        self.log.push_back(event);
    }

    fn scanout(&self, id: u32, message: &str) -> Result<usize> {
        match id < self.rules.max_outputs {
            true => Ok(id as usize),
            false => Err(Error::fault(format!("{message} for scanout {id} of {}", self.rules.max_outputs))),
        }
    }

    fn needs(&self, feature: u64, message: &str) -> Result<()> {
        match self.negotiated.unwrap_or(0) & feature != 0 {
            true => Ok(()),
            false => Err(Error::fault(format!("{message} without its protocol feature"))),
        }
    }

    /// An UPDATE's first 20 bytes are there: may it be?
    fn begin_update(&mut self, header: Header) -> Result<()> {
        let (id, rect) = (word(&self.small, 0), wire::rect(&self.small, 1));
        let at = self.scanout(id, "UPDATE")?;
        let Some(surface) = &mut self.surfaces[at] else {
            let text = format!("UPDATE {rect:?} for scanout {id} without a SCANOUT before it: QEMU would crash");
            return Err(Error::Fault(text));
        };
        let pixels = u64::from(rect.width) * u64::from(rect.height) * 4;
        if u64::from(header.size) != UPDATE_HEAD as u64 + pixels {
            return Err(Error::fault(format!("UPDATE {rect:?} with a payload of {} bytes", header.size)));
        }
        if pixels == 0 && !self.rules.peer_faults {
            return Err(Error::fault(format!("UPDATE {rect:?} of nothing")));
        }
        if pixels > 0 && !surface.contains(rect) {
            return Err(Error::fault(format!("UPDATE {rect:?} outside of {surface:?}")));
        }
        surface.updates += 1;
        self.update = (id, rect);
        Ok(())
    }

    fn update_body(&mut self, header: Header, at: usize, bytes: &[u8]) -> Result<()> {
        let head = bytes.len().min(UPDATE_HEAD.saturating_sub(at));
        if head > 0 {
            self.small[at..at + head].copy_from_slice(&bytes[..head]);
            if at + head == UPDATE_HEAD {
                self.begin_update(header)?;
            }
        }
        let (id, rect) = self.update;
        if self.rules.keep_pixels && bytes.len() > head {
            let surface = self.surfaces[id as usize].as_mut().expect("begin_update found it");
            surface.put(rect, at + head - UPDATE_HEAD, &bytes[head..]);
        }
        Ok(())
    }

    fn set_scanout(&mut self) -> Result<()> {
        let (id, width, height) = (word(&self.small, 0), word(&self.small, 1), word(&self.small, 2));
        let at = self.scanout(id, "SCANOUT")?;
        if (width == 0) != (height == 0) || width > 1 << 14 || height > 1 << 14 {
            return Err(Error::fault(format!("SCANOUT of {width} x {height}")));
        }
        if self.dmabufs[at].is_some() {
            return Err(Error::fault(format!("SCANOUT {id} of pixels where a DMABUF was not let go")));
        }
        let size = if self.rules.keep_pixels { width as usize * height as usize * 4 } else { 0 };
        self.surfaces[at] = (width > 0).then(|| Surface { width, height, pixels: vec![0; size], updates: 0 });
        self.note(Event::Scanout { scanout: id, width, height });
        Ok(())
    }

    fn move_cursor(&mut self, header: Header) -> Result<()> {
        let (scanout, x, y) = (word(&self.small, 0), word(&self.small, 1), word(&self.small, 2));
        let at = self.scanout(scanout, "a cursor message")?;
        let cursor = &mut self.cursors[at];
        (cursor.at, cursor.visible) = ((x, y), header.request != message::CURSOR_POS_HIDE);
        let event = match header.request {
            message::CURSOR_POS => Event::CursorPos { scanout, x, y },
            message::CURSOR_POS_HIDE => Event::CursorHide { scanout, x, y },
            _ => {
                let (hot_x, hot_y) = (word(&self.small, 3), word(&self.small, 4));
                cursor.shape.resize(CURSOR_BYTES, 0);
                cursor.shape.copy_from_slice(&self.small[20..]);
                (cursor.hot, cursor.shapes) = ((hot_x, hot_y), cursor.shapes + 1);
                Event::CursorUpdate { scanout, x, y, hot_x, hot_y }
            }
        };
        self.note(event);
        Ok(())
    }

    fn dmabuf_scanout(&mut self, header: Header) -> Result<()> {
        let second = header.request == message::DMABUF_SCANOUT2;
        if second {
            self.needs(wire::FEATURE_DMABUF2, "DMABUF_SCANOUT2")?;
        }
        let (id, rect) = (word(&self.small, 0), wire::rect(&self.small, 1));
        let at = self.scanout(id, "DMABUF_SCANOUT")?;
        let rest = |index: usize| word(&self.small, 5 + index);
        let modifier = second.then(|| u64::from(rest(5)) | u64::from(rest(6)) << 32);
        let (fd_width, fd_height, stride, flags, fourcc) = (rest(0), rest(1), rest(2), rest(3), rest(4));
        // One receive may have brought this message and a later one that the descriptor belongs to.
        let is_empty = self.small[4..40].iter().all(|byte| *byte == 0);
        let fd = if is_empty { None } else { self.fds.pop_front() };
        self.note(Event::DmabufScanout { scanout: id, rect, has_fd: fd.is_some() });
        if is_empty {
            self.dmabufs[at] = None;
            return Ok(());
        }
        let Some(fd) = fd else {
            return Err(Error::fault(format!("DMABUF_SCANOUT {rect:?} for scanout {id} without a descriptor")));
        };
        // QEMU looks at neither x nor y, and before 9.1 not at the width and height.
        if (rect.x, rect.y, rect.width, rect.height) != (0, 0, fd_width, fd_height)
            || rect.width == 0
            || rect.height == 0
        {
            return Err(Error::fault(format!("DMABUF_SCANOUT {rect:?} of a buffer of {fd_width} x {fd_height}")));
        }
        if u64::from(stride) < u64::from(fd_width) * 4 {
            return Err(Error::fault(format!("DMABUF_SCANOUT of {fd_width} pixels in {stride} bytes")));
        }
        if self.frame_due[at] {
            return Err(Error::fault(format!("another DMABUF for scanout {id} before the last frame was answered")));
        }
        // Pixels need a new SCANOUT after this.
        self.surfaces[at] = None;
        self.dmabufs[at] = Some(Dmabuf { rect, fd_width, fd_height, stride, flags, fourcc, modifier, fd, updates: 0 });
        Ok(())
    }

    fn dmabuf_update(&mut self) -> Result<()> {
        let (id, rect) = (word(&self.small, 0), wire::rect(&self.small, 1));
        let at = self.scanout(id, "DMABUF_UPDATE")?;
        let Some(dmabuf) = &mut self.dmabufs[at] else {
            return Err(Error::fault(format!("DMABUF_UPDATE for scanout {id} without a DMABUF_SCANOUT before it")));
        };
        let whole = Surface { width: dmabuf.rect.width, height: dmabuf.rect.height, ..Surface::default() };
        if rect.width == 0 || rect.height == 0 || !whole.contains(rect) {
            return Err(Error::fault(format!("DMABUF_UPDATE {rect:?} outside of {whole:?}")));
        }
        if std::mem::replace(&mut self.frame_due[at], true) {
            return Err(Error::fault(format!("DMABUF_UPDATE for scanout {id} before the last one was answered")));
        }
        dmabuf.updates += 1;
        self.due.push_back(Due::DmabufUpdate(id));
        self.note(Event::DmabufUpdate { scanout: id, rect });
        Ok(())
    }

    fn set_protocol_features(&mut self) -> Result<()> {
        let features = u64::from(word(&self.small, 0)) | u64::from(word(&self.small, 1)) << 32;
        if features & !self.rules.features != 0 {
            let text = format!("SET_PROTOCOL_FEATURES {features:#x} where {:#x} is offered", self.rules.features);
            return Err(Error::Fault(text));
        }
        self.negotiated = Some(features);
        self.note(Event::SetProtocolFeatures(features));
        Ok(())
    }

    fn get_edid(&mut self) -> Result<()> {
        self.needs(wire::FEATURE_EDID, "GET_EDID")?;
        let scanout = word(&self.small, 0);
        self.note(Event::GetEdid { scanout });
        if scanout >= self.rules.max_outputs && self.rules.silent_edids {
            return Ok(());
        }
        self.scanout(scanout, "GET_EDID, which QEMU never answers,")?;
        self.due.push_back(Due::Edid(scanout));
        Ok(())
    }
}

impl Visitor for Screens {
    fn start(&mut self, header: Header) -> Result<()> {
        let Some(size) = wire::payload_size(header.request) else {
            return Err(Error::fault(format!("{header:?}: an unknown display message, or a stream out of step")));
        };
        let fits = match header.request {
            message::UPDATE => header.size as usize >= size,
            _ => header.size as usize == size,
        };
        let flags = header.flags == 0 || self.rules.peer_faults && header.request == message::UPDATE;
        match fits && flags {
            true => Ok(()),
            false => Err(Error::fault(format!("{header:?}: the payload has {size} bytes and flags are 0"))),
        }
    }

    fn body(&mut self, header: Header, at: usize, bytes: &[u8]) -> Result<()> {
        if header.request == message::UPDATE {
            return self.update_body(header, at, bytes);
        }
        self.small[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, header: Header) -> Result<()> {
        self.counters.count(header);
        match header.request {
            message::GET_PROTOCOL_FEATURES => {
                self.due.push_back(Due::ProtocolFeatures);
                self.note(Event::GetProtocolFeatures);
            }
            message::GET_DISPLAY_INFO => {
                self.due.push_back(Due::DisplayInfo);
                self.note(Event::GetDisplayInfo);
            }
            message::UPDATE => self.note(Event::Update { scanout: self.update.0, rect: self.update.1 }),
            message::SET_PROTOCOL_FEATURES => self.set_protocol_features()?,
            message::CURSOR_POS | message::CURSOR_POS_HIDE | message::CURSOR_UPDATE => self.move_cursor(header)?,
            message::SCANOUT => self.set_scanout()?,
            message::DMABUF_SCANOUT | message::DMABUF_SCANOUT2 => self.dmabuf_scanout(header)?,
            message::DMABUF_UPDATE => self.dmabuf_update()?,
            message::GET_EDID => self.get_edid()?,
            _ => unreachable!("start() lets no other through"),
        }
        Ok(())
    }
}
