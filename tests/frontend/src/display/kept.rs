//! What a display keeps of the messages: pictures, cursors, DMABUFs, a log, figures.

use std::os::fd::OwnedFd;

use super::wire::MESSAGES;
use crate::control::wire::{HEADER_SIZE, Header};
use crate::error::Result;
use crate::gpu::Rect;
use crate::memory::read_file;

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

    pub(super) fn contains(&self, rect: Rect) -> bool {
        let inside = |start: u32, len: u32, limit: u32| start.checked_add(len).is_some_and(|end| end <= limit);
        inside(rect.x, rect.width, self.width) && inside(rect.y, rect.height, self.height)
    }

    /// Takes bytes of an UPDATE's pixels, from offset `at` of them on.
    pub(super) fn put(&mut self, rect: Rect, mut at: usize, mut bytes: &[u8]) {
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

impl Dmabuf {
    /// What a display shows of it now, read out of the buffer itself; the format is taken to be XRGB8888.
    pub fn surface(&self) -> Result<Surface> {
        let (width, height) = (self.rect.width, self.rect.height);
        let row = width as usize * 4;
        let bytes = read_file(&self.fd, (height as usize - 1) * self.stride as usize + row)?;
        let pixels = bytes.chunks(self.stride as usize).flat_map(|line| &line[..row]).copied().collect();
        Ok(Surface { width, height, pixels, updates: self.updates })
    }
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
        self.bytes[at] += (HEADER_SIZE + header.size as usize) as u64;
    }
}
