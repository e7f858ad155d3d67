//! What the display shows: surfaces, cursors, DMABUFs; and the rules by which a message may change them.
//!
//! The rules are stricter than QEMU: what QEMU ignores, clips, or dies of is a fault here.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::framing::Visitor;
use super::wire::{self, CURSOR_BYTES, MAX_SCANOUTS, MAX_SMALL, MESSAGES, UPDATE_HEAD, message, word};
use crate::control::wire::Header;
use crate::error::{Error, Result};
use crate::gpu::Rect;

/// A scanout's picture, as UPDATE messages left it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Rows of pixels, four bytes each, B, G, R, X; empty when pixels are not kept.
    pub pixels: Vec<u8>,
    /// UPDATE messages since the surface was made.
    pub updates: u64,
}

impl Surface {
    /// A pixel's bytes.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 4] {
        assert!(x < self.width && y < self.height, "pixel {x}, {y} of {} x {}", self.width, self.height);
        let at = (y as usize * self.width as usize + x as usize) * 4;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2], self.pixels[at + 3]]
    }

    /// A pixel's colour, 0xRRGGBB.
    pub fn rgb(&self, x: u32, y: u32) -> u32 {
        u32::from_le_bytes(self.pixel(x, y)) & 0xff_ffff
    }

    fn contains(&self, rect: Rect) -> bool {
        let inside = |start: u32, len: u32, limit: u32| start.checked_add(len).is_some_and(|end| end <= limit);
        inside(rect.x, rect.width, self.width) && inside(rect.y, rect.height, self.height)
    }

    /// Takes bytes of an UPDATE's pixels, from offset `at` of them on.
    fn put(&mut self, rect: Rect, mut at: usize, mut bytes: &[u8]) {
        let row = rect.width as usize * 4;
        while !bytes.is_empty() {
            let (line, column) = (at / row, at % row);
            let count = bytes.len().min(row - column);
            let to = ((rect.y as usize + line) * self.width as usize + rect.x as usize) * 4 + column;
            self.pixels[to..to + count].copy_from_slice(&bytes[..count]);
            (at, bytes) = (at + count, &bytes[count..]);
        }
    }
}

impl std::fmt::Debug for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Surface({} x {}, {} updates)", self.width, self.height, self.updates)
    }
}

/// A scanout's cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// 64 rows of 64 pixels, B, G, R, A; empty before the first shape.
    pub shape: Vec<u8>,
    /// Hot spot.
    pub hot: (u32, u32),
    /// Position.
    pub at: (u32, u32),
    /// Whether it is shown.
    pub visible: bool,
    /// Shapes that came.
    pub shapes: u64,
}

/// A DMABUF_SCANOUT or DMABUF_SCANOUT2.
#[derive(Debug)]
pub struct Dmabuf {
    /// The scanout's part of the buffer.
    pub rect: Rect,
    /// Width of the whole buffer.
    pub fd_width: u32,
    /// Height of the whole buffer.
    pub fd_height: u32,
    /// Bytes in a row.
    pub stride: u32,
    /// Flags.
    pub flags: u32,
    /// DRM format.
    pub fourcc: u32,
    /// DRM modifier; DMABUF_SCANOUT2 only.
    pub modifier: Option<u64>,
    /// The buffer.
    pub fd: OwnedFd,
    /// DMABUF_UPDATE messages since.
    pub updates: u64,
}

/// A message as it came, without its pixels.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    GetProtocolFeatures,
    SetProtocolFeatures(u64),
    GetDisplayInfo,
    GetEdid { scanout: u32 },
    CursorPos { scanout: u32, x: u32, y: u32 },
    CursorHide { scanout: u32, x: u32, y: u32 },
    CursorUpdate { scanout: u32, x: u32, y: u32, hot_x: u32, hot_y: u32 },
    Scanout { scanout: u32, width: u32, height: u32 },
    Update { scanout: u32, rect: Rect },
    DmabufScanout { scanout: u32, rect: Rect, has_fd: bool },
    DmabufUpdate { scanout: u32, rect: Rect },
}

/// Messages and bytes, by message number; bytes count headers too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Complete messages.
    pub messages: [u64; MESSAGES],
    /// Their bytes.
    pub bytes: [u64; MESSAGES],
}

impl Counters {
    /// Complete messages with this number.
    pub fn of(&self, request: u32) -> u64 {
        self.messages[request as usize]
    }

    /// Complete messages.
    pub fn all_messages(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// Their bytes.
    pub fn all_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    pub(super) fn count(&mut self, header: Header) {
        let at = header.request as usize;
        self.messages[at] += 1;
        self.bytes[at] += (crate::control::wire::HEADER_SIZE + header.size as usize) as u64;
    }
}

/// A reply that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    ProtocolFeatures,
    DisplayInfo,
    Edid(u32),
    DmabufUpdate,
}

/// What a display keeps and forbids; see [`super::DisplayConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) features: u64,
    pub(super) max_outputs: u32,
    pub(super) keep_pixels: bool,
    pub(super) empty_updates: bool,
    pub(super) log: usize,
}

pub(super) struct Screens {
    rules: Rules,
    pub(super) surfaces: [Option<Surface>; MAX_SCANOUTS],
    pub(super) cursors: [Cursor; MAX_SCANOUTS],
    pub(super) dmabufs: [Option<Dmabuf>; MAX_SCANOUTS],
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
        if pixels == 0 && !self.rules.empty_updates {
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
        let fd = self.fds.pop_front();
        self.note(Event::DmabufScanout { scanout: id, rect, has_fd: fd.is_some() });
        self.dmabufs[at] =
            fd.map(|fd| Dmabuf { rect, fd_width, fd_height, stride, flags, fourcc, modifier, fd, updates: 0 });
        Ok(())
    }

    fn dmabuf_update(&mut self) -> Result<()> {
        let (id, rect) = (word(&self.small, 0), wire::rect(&self.small, 1));
        let at = self.scanout(id, "DMABUF_UPDATE")?;
        let Some(dmabuf) = &mut self.dmabufs[at] else {
            return Err(Error::fault(format!("DMABUF_UPDATE for scanout {id} without a DMABUF_SCANOUT before it")));
        };
        dmabuf.updates += 1;
        self.due.push_back(Due::DmabufUpdate);
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
        self.scanout(scanout, "GET_EDID, which QEMU never answers,")?;
        self.due.push_back(Due::Edid(scanout));
        self.note(Event::GetEdid { scanout });
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
        match fits && header.flags == 0 {
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
