//! virtio-gpu commands and responses as bytes. Pure.
//!
//! A [`Command`] encodes into at most [`MAX_FIXED`] bytes; what has no fixed size (backing entries, a 3D stream) follows
//! as a tail of its own, which Linux too sends as a second readable segment.

use super::ids::cmd;
use super::three_d::{Region, Texture, Transfer3d};

/// Bytes of a command or response header.
pub const HEADER_SIZE: usize = 24;
/// The longest fixed part of a command.
pub const MAX_FIXED: usize = 96;
/// Bytes of a DISPLAY_INFO response.
pub const DISPLAY_INFO_SIZE: usize = 408;
/// Bytes of an EDID response.
pub const EDID_SIZE: usize = 1056;
/// Room for a context's name in CTX_CREATE.
pub const NAME_SIZE: usize = 64;

/// Header flag: answer only when the work is done, and copy the fence fields into the response.
pub const FLAG_FENCE: u32 = 1;
/// Header flag: ring_idx counts.
pub const FLAG_INFO_RING_IDX: u32 = 2;

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    /// A rectangle by its four numbers.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }
}

/// A piece of guest memory that backs a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemEntry {
    /// Guest physical address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
}

impl MemEntry {
    /// Bytes of an entry on the wire.
    pub const SIZE: usize = 16;

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; MemEntry::SIZE] {
        let mut bytes = [0; MemEntry::SIZE];
        bytes[0..8].copy_from_slice(&self.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }
}

/// The fence fields of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// [`FLAG_FENCE`], [`FLAG_INFO_RING_IDX`].
    pub flags: u32,
    /// The fence.
    pub id: u64,
    /// The context it belongs to.
    pub ctx_id: u32,
    /// The context's ring.
    pub ring_idx: u8,
}

impl Fence {
    /// No fence.
    pub const NONE: Fence = Fence { flags: 0, id: 0, ctx_id: 0, ring_idx: 0 };

    /// A fence of the device at large.
    pub fn new(id: u64) -> Fence {
        Fence { flags: FLAG_FENCE, id, ..Fence::NONE }
    }

    /// No fence, in a context.
    pub fn in_context(ctx_id: u32) -> Fence {
        Fence { ctx_id, ..Fence::NONE }
    }

    /// The same command, in a context.
    pub fn of_context(self, ctx_id: u32) -> Fence {
        Fence { ctx_id, ..self }
    }

    /// The same fence, on a ring of its context.
    pub fn on_ring(self, ring_idx: u8) -> Fence {
        Fence { flags: self.flags | FLAG_INFO_RING_IDX, ring_idx, ..self }
    }
}

/// A command. Fields are named as in the VIRTIO document.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    GetDisplayInfo,
    ResourceCreate2d {
        resource_id: u32,
        format: u32,
        width: u32,
        height: u32,
    },
    ResourceUnref {
        resource_id: u32,
    },
    SetScanout {
        rect: Rect,
        scanout_id: u32,
        resource_id: u32,
    },
    ResourceFlush {
        rect: Rect,
        resource_id: u32,
    },
    TransferToHost2d {
        rect: Rect,
        offset: u64,
        resource_id: u32,
    },
    AttachBacking {
        resource_id: u32,
        entries: &'a [MemEntry],
    },
    DetachBacking {
        resource_id: u32,
    },
    GetCapsetInfo {
        index: u32,
    },
    GetCapset {
        id: u32,
        version: u32,
    },
    GetEdid {
        scanout: u32,
    },
    AssignUuid {
        resource_id: u32,
    },
    CreateBlob {
        resource_id: u32,
        blob_mem: u32,
        blob_flags: u32,
        blob_id: u64,
        size: u64,
        entries: &'a [MemEntry],
    },
    SetScanoutBlob {
        rect: Rect,
        scanout_id: u32,
        resource_id: u32,
        width: u32,
        height: u32,
        format: u32,
        stride: u32,
        offset: u32,
    },
    UpdateCursor {
        scanout_id: u32,
        x: u32,
        y: u32,
        resource_id: u32,
        hot_x: u32,
        hot_y: u32,
    },
    /// The document says that only the position counts; Linux repeats the last resource, and QEMU hides the cursor at 0.
    MoveCursor {
        scanout_id: u32,
        x: u32,
        y: u32,
        resource_id: u32,
    },
    CtxCreate {
        context_init: u32,
        /// Up to [`NAME_SIZE`] bytes.
        name: &'a [u8],
    },
    CtxDestroy,
    CtxAttachResource {
        resource_id: u32,
    },
    CtxDetachResource {
        resource_id: u32,
    },
    ResourceCreate3d(Texture),
    TransferToHost3d(Transfer3d),
    TransferFromHost3d(Transfer3d),
    Submit3d {
        words: &'a [u32],
    },
    /// Any bytes after the header, for what the others do not cover.
    Raw {
        kind: u32,
        body: &'a [u8],
        tail: &'a [u8],
    },
}

impl Command<'_> {
    /// The command's number.
    pub fn kind(&self) -> u32 {
        match self {
            Command::GetDisplayInfo => cmd::GET_DISPLAY_INFO,
            Command::ResourceCreate2d { .. } => cmd::RESOURCE_CREATE_2D,
            Command::ResourceUnref { .. } => cmd::RESOURCE_UNREF,
            Command::SetScanout { .. } => cmd::SET_SCANOUT,
            Command::ResourceFlush { .. } => cmd::RESOURCE_FLUSH,
            Command::TransferToHost2d { .. } => cmd::TRANSFER_TO_HOST_2D,
            Command::AttachBacking { .. } => cmd::RESOURCE_ATTACH_BACKING,
            Command::DetachBacking { .. } => cmd::RESOURCE_DETACH_BACKING,
            Command::GetCapsetInfo { .. } => cmd::GET_CAPSET_INFO,
            Command::GetCapset { .. } => cmd::GET_CAPSET,
            Command::GetEdid { .. } => cmd::GET_EDID,
            Command::AssignUuid { .. } => cmd::RESOURCE_ASSIGN_UUID,
            Command::CreateBlob { .. } => cmd::RESOURCE_CREATE_BLOB,
            Command::SetScanoutBlob { .. } => cmd::SET_SCANOUT_BLOB,
            Command::UpdateCursor { .. } => cmd::UPDATE_CURSOR,
            Command::MoveCursor { .. } => cmd::MOVE_CURSOR,
            Command::CtxCreate { .. } => cmd::CTX_CREATE,
            Command::CtxDestroy => cmd::CTX_DESTROY,
            Command::CtxAttachResource { .. } => cmd::CTX_ATTACH_RESOURCE,
            Command::CtxDetachResource { .. } => cmd::CTX_DETACH_RESOURCE,
            Command::ResourceCreate3d(_) => cmd::RESOURCE_CREATE_3D,
            Command::TransferToHost3d(_) => cmd::TRANSFER_TO_HOST_3D,
            Command::TransferFromHost3d(_) => cmd::TRANSFER_FROM_HOST_3D,
            Command::Submit3d { .. } => cmd::SUBMIT_3D,
            Command::Raw { kind, .. } => *kind,
        }
    }

    /// How many bytes a complete response has; for GET_CAPSET the most that the driver takes.
    pub fn response_size(&self) -> usize {
        match self.kind() {
            cmd::GET_DISPLAY_INFO => DISPLAY_INFO_SIZE,
            cmd::GET_EDID => EDID_SIZE,
            cmd::GET_CAPSET_INFO | cmd::RESOURCE_ASSIGN_UUID => 40,
            cmd::RESOURCE_MAP_BLOB => 32,
            cmd::GET_CAPSET => super::slots::RESPONSE_SIZE,
            _ => HEADER_SIZE,
        }
    }

    /// Writes header and fixed part; returns their length.
    pub fn encode(&self, fence: &Fence, out: &mut [u8; MAX_FIXED]) -> usize {
        let mut out = Cursor { out, at: 0 };
        out.u32(self.kind()).u32(fence.flags).u64(fence.id).u32(fence.ctx_id).u32(fence.ring_idx.into());
        match *self {
            Command::GetDisplayInfo | Command::CtxDestroy => &mut out,
            Command::ResourceCreate2d { resource_id, format, width, height } => {
                out.u32(resource_id).u32(format).u32(width).u32(height)
            }
            Command::ResourceUnref { resource_id }
            | Command::DetachBacking { resource_id }
            | Command::AssignUuid { resource_id }
            | Command::CtxAttachResource { resource_id }
            | Command::CtxDetachResource { resource_id } => out.u32(resource_id).u32(0),
            Command::SetScanout { rect, scanout_id, resource_id } => out.rect(rect).u32(scanout_id).u32(resource_id),
            Command::ResourceFlush { rect, resource_id } => out.rect(rect).u32(resource_id).u32(0),
            Command::TransferToHost2d { rect, offset, resource_id } => {
                out.rect(rect).u64(offset).u32(resource_id).u32(0)
            }
            Command::AttachBacking { resource_id, entries } => out.u32(resource_id).u32(entries.len() as u32),
            Command::GetCapsetInfo { index } => out.u32(index).u32(0),
            Command::GetCapset { id, version } => out.u32(id).u32(version),
            Command::GetEdid { scanout } => out.u32(scanout).u32(0),
            Command::CreateBlob { resource_id, blob_mem, blob_flags, blob_id, size, entries } => {
                out.u32(resource_id).u32(blob_mem).u32(blob_flags).u32(entries.len() as u32).u64(blob_id).u64(size)
            }
            Command::SetScanoutBlob { rect, scanout_id, resource_id, width, height, format, stride, offset } => {
                out.rect(rect).u32(scanout_id).u32(resource_id).u32(width).u32(height).u32(format).u32(0);
                out.u32(stride).zeros(12).u32(offset).zeros(12)
            }
            Command::UpdateCursor { scanout_id, x, y, resource_id, hot_x, hot_y } => {
                out.u32(scanout_id).u32(x).u32(y).u32(0).u32(resource_id).u32(hot_x).u32(hot_y).u32(0)
            }
            Command::MoveCursor { scanout_id, x, y, resource_id } => {
                out.u32(scanout_id).u32(x).u32(y).u32(0).u32(resource_id).zeros(12)
            }
            Command::CtxCreate { context_init, name } => {
                out.u32(name.len() as u32).u32(context_init).bytes(name).zeros(NAME_SIZE - name.len())
            }
            Command::ResourceCreate3d(texture) => out.texture(&texture),
            Command::TransferToHost3d(transfer) | Command::TransferFromHost3d(transfer) => out.transfer(&transfer),
            Command::Submit3d { words } => out.u32((words.len() * 4) as u32).u32(0),
            Command::Raw { body, .. } => out.bytes(body),
        };
        out.at
    }

    /// The length of the tail.
    pub fn tail_len(&self) -> usize {
        match self {
            Command::AttachBacking { entries, .. } | Command::CreateBlob { entries, .. } => {
                entries.len() * MemEntry::SIZE
            }
            Command::Submit3d { words } => words.len() * 4,
            Command::Raw { tail, .. } => tail.len(),
            _ => 0,
        }
    }

    /// Passes the tail on in pieces, with the offset of each.
    pub fn each_tail(&self, mut put: impl FnMut(usize, &[u8])) {
        match self {
            Command::AttachBacking { entries, .. } | Command::CreateBlob { entries, .. } => {
                entries.iter().enumerate().for_each(|(at, entry)| put(at * MemEntry::SIZE, &entry.encode()));
            }
            Command::Submit3d { words } => {
                words.iter().enumerate().for_each(|(at, word)| put(at * 4, &word.to_le_bytes()));
            }
            Command::Raw { tail, .. } => put(0, tail),
            _ => {}
        }
    }
}

struct Cursor<'a> {
    out: &'a mut [u8; MAX_FIXED],
    at: usize,
}

impl Cursor<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn rect(&mut self, rect: Rect) -> &mut Self {
        self.u32(rect.x).u32(rect.y).u32(rect.width).u32(rect.height)
    }

    fn texture(&mut self, texture: &Texture) -> &mut Self {
        let Texture { resource_id, target, format, bind, width, height, depth, .. } = *texture;
        self.u32(resource_id).u32(target).u32(format).u32(bind).u32(width).u32(height).u32(depth);
        let Texture { array_size, last_level, nr_samples, flags, .. } = *texture;
        self.u32(array_size).u32(last_level).u32(nr_samples).u32(flags).u32(0)
    }

    fn transfer(&mut self, transfer: &Transfer3d) -> &mut Self {
        let Region { x, y, z, width, height, depth } = transfer.region;
        self.u32(x).u32(y).u32(z).u32(width).u32(height).u32(depth);
        let Transfer3d { offset, resource_id, level, stride, layer_stride, .. } = *transfer;
        self.u64(offset).u32(resource_id).u32(level).u32(stride).u32(layer_stride)
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.out[self.at..self.at + count].fill(0);
        self.at += count;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(command: Command<'_>) -> (usize, usize) {
        (command.encode(&Fence::NONE, &mut [0; MAX_FIXED]), command.tail_len())
    }

    #[test]
    fn fixed_parts_have_the_documents_sizes() {
        let rect = Rect::new(1, 2, 3, 4);
        let entries = &[MemEntry::default(); 3];
        let raw = Command::Raw { kind: 0x200, body: &[0; 72], tail: &[] };
        let blob = Command::CreateBlob { resource_id: 1, blob_mem: 1, blob_flags: 0, blob_id: 0, size: 0, entries };
        let scanout_blob = Command::SetScanoutBlob {
            rect,
            scanout_id: 0,
            resource_id: 1,
            width: 3,
            height: 4,
            format: 2,
            stride: 12,
            offset: 0,
        };
        assert_eq!(sizes(Command::GetDisplayInfo), (24, 0));
        assert_eq!(sizes(Command::ResourceCreate2d { resource_id: 1, format: 2, width: 3, height: 4 }), (40, 0));
        assert_eq!(sizes(Command::ResourceUnref { resource_id: 1 }), (32, 0));
        assert_eq!(sizes(Command::SetScanout { rect, scanout_id: 0, resource_id: 1 }), (48, 0));
        assert_eq!(sizes(Command::ResourceFlush { rect, resource_id: 1 }), (48, 0));
        assert_eq!(sizes(Command::TransferToHost2d { rect, offset: 0, resource_id: 1 }), (56, 0));
        assert_eq!(sizes(Command::AttachBacking { resource_id: 1, entries }), (32, 48));
        assert_eq!(sizes(Command::GetEdid { scanout: 0 }), (32, 0));
        assert_eq!(sizes(blob), (56, 48));
        assert_eq!(sizes(scanout_blob), (96, 0));
        assert_eq!(sizes(Command::MoveCursor { scanout_id: 0, x: 1, y: 2, resource_id: 3 }), (56, 0));
        assert_eq!(sizes(raw), (96, 0));
    }

    #[test]
    fn fixed_parts_of_3d_commands_have_the_documents_sizes() {
        let transfer = Transfer3d::new(1, Region::flat(0, 0, 1, 1));
        assert_eq!(sizes(Command::CtxCreate { context_init: 2, name: b"name" }), (96, 0));
        assert_eq!(sizes(Command::CtxDestroy), (24, 0));
        assert_eq!(sizes(Command::CtxAttachResource { resource_id: 1 }), (32, 0));
        assert_eq!(sizes(Command::CtxDetachResource { resource_id: 1 }), (32, 0));
        assert_eq!(sizes(Command::ResourceCreate3d(Texture::picture(1, 2, 3))), (72, 0));
        assert_eq!(sizes(Command::TransferToHost3d(transfer)), (72, 0));
        assert_eq!(sizes(Command::TransferFromHost3d(transfer)), (72, 0));
        assert_eq!(sizes(Command::Submit3d { words: &[1, 2, 3] }), (32, 12));
    }

    #[test]
    fn the_fence_goes_into_the_header() {
        let mut out = [0; MAX_FIXED];
        let fence = Fence { flags: 3, id: 0x1_0000_0002, ctx_id: 7, ring_idx: 9 };
        Command::GetDisplayInfo.encode(&fence, &mut out);
        assert_eq!(out[4..8], 3u32.to_le_bytes());
        assert_eq!(out[8..16], 0x1_0000_0002u64.to_le_bytes());
        assert_eq!(out[16..20], 7u32.to_le_bytes());
        assert_eq!(out[20..24], [9, 0, 0, 0]);
    }
}
