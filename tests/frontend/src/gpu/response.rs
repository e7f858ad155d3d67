//! Responses, read back from guest memory.

use super::ids::resp;
use super::wire::{FLAG_FENCE, FLAG_INFO_RING_IDX, Fence, HEADER_SIZE, Rect};
use crate::error::{Error, Result};
use crate::memory::Span;

/// A response's header, and how much the device says it wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The number; 0 when the device wrote none.
    pub kind: u32,
    /// The flags.
    pub flags: u32,
    /// The fence.
    pub fence_id: u64,
    /// The context.
    pub ctx_id: u32,
    /// The context's ring.
    pub ring_idx: u8,
    /// The length in the used element.
    pub len: u32,
}

impl Response {
    pub(super) fn read(from: &Span, at: usize, len: u32) -> Response {
        let mut bytes = [0; HEADER_SIZE];
        from.read(at, &mut bytes);
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Response {
            kind: word(0),
            flags: word(4),
            fence_id: u64::from(word(8)) | u64::from(word(12)) << 32,
            ctx_id: word(16),
            ring_idx: bytes[20],
            len,
        }
    }

    /// Whether it is one of the OK responses.
    pub fn is_ok(&self) -> bool {
        (resp::OK_NODATA..=resp::OK_MAP_INFO).contains(&self.kind)
    }

    /// Itself if its number is `kind`; a fault otherwise.
    pub fn expect(self, kind: u32) -> Result<Response> {
        match self.kind == kind {
            true => Ok(self),
            false => Err(Error::fault(format!("response {:#x} where {kind:#x} was due", self.kind))),
        }
    }

    /// Itself if it is OK_NODATA; a fault otherwise.
    pub fn ok(self) -> Result<Response> {
        self.expect(resp::OK_NODATA)
    }

    /// Checks what holds for every response: a complete header, a used length that covers it and no more than was
    /// offered, a known number, the fence fields of the command.
    pub(super) fn check(&self, fence: &Fence, offered: usize) -> Result<()> {
        let known = self.is_ok() || (resp::ERR_UNSPEC..=resp::ERR_INVALID_PARAMETER).contains(&self.kind);
        if !known {
            return Err(Error::fault(format!("response number {:#x}", self.kind)));
        }
        if (self.len as usize) < HEADER_SIZE || self.len as usize > offered {
            return Err(Error::fault(format!("a used length of {} for a response of {offered}", self.len)));
        }
        let fenced = fence.flags & FLAG_FENCE != 0;
        let wanted = if fenced { fence.flags & (FLAG_FENCE | FLAG_INFO_RING_IDX) } else { 0 };
        let same = !fenced
            || (self.fence_id, self.ctx_id) == (fence.id, fence.ctx_id)
                && (wanted & FLAG_INFO_RING_IDX == 0 || self.ring_idx == fence.ring_idx);
        match self.flags == wanted && same {
            true => Ok(()),
            false => Err(Error::fault(format!("{self:?} does not carry {fence:?}"))),
        }
    }
}

/// A head as DISPLAY_INFO tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Place and size.
    pub rect: Rect,
    /// Whether a display is connected.
    pub enabled: bool,
    /// Flags.
    pub flags: u32,
}

impl Head {
    /// Bytes of a head on the wire.
    pub const SIZE: usize = 24;

    /// A connected head of a size, at 0, 0.
    pub fn sized(width: u32, height: u32) -> Head {
        Head { rect: Rect::new(0, 0, width, height), enabled: true, flags: 0 }
    }

    /// The head's bytes.
    pub fn encode(&self) -> [u8; Head::SIZE] {
        let Rect { x, y, width, height } = self.rect;
        let mut bytes = [0; Head::SIZE];
        for (at, word) in [x, y, width, height, self.enabled.into(), self.flags].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(super) fn read(from: &Span, at: usize) -> Head {
        let word = |index: usize| from.u32(at + index * 4);
        Head { rect: Rect::new(word(0), word(1), word(2), word(3)), enabled: word(4) != 0, flags: word(5) }
    }
}

/// What GET_EDID brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edid {
    /// How many bytes of the block count.
    pub size: u32,
    /// The block.
    pub bytes: [u8; 1024],
}

/// What GET_CAPSET_INFO brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapsetInfo {
    /// The capset's number.
    pub id: u32,
    /// Its newest version.
    pub max_version: u32,
    /// Its size.
    pub max_size: u32,
}
