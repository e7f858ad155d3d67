//! The virtio-gpu commands as values (VIRTIO 1.3, 5.7.6 "Device Operation"): requests become a [`Command`], answers are
//! made of a [`Status`] and the request's [`Header`].
//!
//! All commands of the standard are known here, also those that the device refuses: what it doesn't do can then be
//! told from what nobody knows. Nothing is judged: ids, sizes and rectangles stand as the guest wrote them, only the
//! length of the request is compared. No I/O, no allocation, and no input makes it panic; fields are little-endian.

mod decode;
mod encode;

use super::rect::Rect;

pub use decode::DecodeError;
pub use encode::{
    CAPSET_INFO_SIZE, DISPLAY_INFO_SIZE, EDID_MAX, EDID_SIZE, Head, MAP_INFO_SIZE, UUID_SIZE, encode_capset_info,
    encode_display_info, encode_edid, encode_header, encode_map_info, encode_uuid, patch_header,
};

/// The size of `virtio_gpu_ctrl_hdr`, with which every request and every response begins.
pub const HEADER_SIZE: usize = 24;

/// The largest fixed part of a request, header included: no more of it is needed to decode any command.
pub const MAX_FIXED: usize = 96;

/// The size of `virtio_gpu_mem_entry`.
pub const MEM_ENTRY_SIZE: usize = 16;

/// Where the entries of RESOURCE_ATTACH_BACKING begin in the request.
pub const ATTACH_BACKING_ENTRIES: usize = 32;

/// Where the entries of RESOURCE_CREATE_BLOB begin in the request.
pub const CREATE_BLOB_ENTRIES: usize = 56;

/// Where the commands of SUBMIT_3D begin in the request.
pub const SUBMIT_3D_COMMANDS: usize = 32;

/// VIRTIO_GPU_MAX_SCANOUTS: as many heads stand in a response to GET_DISPLAY_INFO.
pub const MAX_SCANOUTS: usize = 16;

/// The request is fenced: the response repeats this flag and the fence, and is sent when the work is done.
pub const FLAG_FENCE: u32 = 1 << 0;

/// `ring_idx` says which of the context's rings the fence belongs to.
pub const FLAG_INFO_RING_IDX: u32 = 1 << 1;

/// VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP, of RESOURCE_CREATE_3D; and of a DMABUF that a display is handed, where it means the
/// same. To the guest's transfers the first row is the top one with it and without it. With it the renderer keeps the rows
/// in OpenGL's order, the lowest one first in memory, so that a display has to turn the picture over; without it the top one
/// is first in memory as well.
pub const FLAG_Y_0_TOP: u32 = 1 << 0;

/// What [`Create3d`]'s `target` says (Gallium's `enum pipe_texture_target`), as far as it matters here.
pub mod target {
    /// A buffer: its width is in bytes.
    pub const BUFFER: u32 = 0;
    pub const TEXTURE_2D: u32 = 2;
    pub const TEXTURE_3D: u32 = 3;
    pub const CUBE: u32 = 4;
    pub const RECT: u32 = 5;
}

/// The numbers of the requests (`enum virtio_gpu_ctrl_type`; 5.7.6.7).
pub mod kind {
    pub const GET_DISPLAY_INFO: u32 = 0x100;
    pub const RESOURCE_CREATE_2D: u32 = 0x101;
    pub const RESOURCE_UNREF: u32 = 0x102;
    pub const SET_SCANOUT: u32 = 0x103;
    pub const RESOURCE_FLUSH: u32 = 0x104;
    pub const TRANSFER_TO_HOST_2D: u32 = 0x105;
    pub const RESOURCE_ATTACH_BACKING: u32 = 0x106;
    pub const RESOURCE_DETACH_BACKING: u32 = 0x107;
    pub const GET_CAPSET_INFO: u32 = 0x108;
    pub const GET_CAPSET: u32 = 0x109;
    pub const GET_EDID: u32 = 0x10a;
    pub const RESOURCE_ASSIGN_UUID: u32 = 0x10b;
    pub const RESOURCE_CREATE_BLOB: u32 = 0x10c;
    pub const SET_SCANOUT_BLOB: u32 = 0x10d;
    pub const CTX_CREATE: u32 = 0x200;
    pub const CTX_DESTROY: u32 = 0x201;
    pub const CTX_ATTACH_RESOURCE: u32 = 0x202;
    pub const CTX_DETACH_RESOURCE: u32 = 0x203;
    pub const RESOURCE_CREATE_3D: u32 = 0x204;
    pub const TRANSFER_TO_HOST_3D: u32 = 0x205;
    pub const TRANSFER_FROM_HOST_3D: u32 = 0x206;
    pub const SUBMIT_3D: u32 = 0x207;
    pub const RESOURCE_MAP_BLOB: u32 = 0x208;
    pub const RESOURCE_UNMAP_BLOB: u32 = 0x209;
    pub const UPDATE_CURSOR: u32 = 0x300;
    pub const MOVE_CURSOR: u32 = 0x301;

    /// What the standard calls a request, `None` for a number that it doesn't have.
    pub const fn name(kind: u32) -> Option<&'static str> {
        Some(match kind {
            GET_DISPLAY_INFO => "GET_DISPLAY_INFO",
            RESOURCE_CREATE_2D => "RESOURCE_CREATE_2D",
            RESOURCE_UNREF => "RESOURCE_UNREF",
            SET_SCANOUT => "SET_SCANOUT",
            RESOURCE_FLUSH => "RESOURCE_FLUSH",
            TRANSFER_TO_HOST_2D => "TRANSFER_TO_HOST_2D",
            RESOURCE_ATTACH_BACKING => "RESOURCE_ATTACH_BACKING",
            RESOURCE_DETACH_BACKING => "RESOURCE_DETACH_BACKING",
            GET_CAPSET_INFO => "GET_CAPSET_INFO",
            GET_CAPSET => "GET_CAPSET",
            GET_EDID => "GET_EDID",
            RESOURCE_ASSIGN_UUID => "RESOURCE_ASSIGN_UUID",
            RESOURCE_CREATE_BLOB => "RESOURCE_CREATE_BLOB",
            SET_SCANOUT_BLOB => "SET_SCANOUT_BLOB",
            CTX_CREATE => "CTX_CREATE",
            CTX_DESTROY => "CTX_DESTROY",
            CTX_ATTACH_RESOURCE => "CTX_ATTACH_RESOURCE",
            CTX_DETACH_RESOURCE => "CTX_DETACH_RESOURCE",
            RESOURCE_CREATE_3D => "RESOURCE_CREATE_3D",
            TRANSFER_TO_HOST_3D => "TRANSFER_TO_HOST_3D",
            TRANSFER_FROM_HOST_3D => "TRANSFER_FROM_HOST_3D",
            SUBMIT_3D => "SUBMIT_3D",
            RESOURCE_MAP_BLOB => "RESOURCE_MAP_BLOB",
            RESOURCE_UNMAP_BLOB => "RESOURCE_UNMAP_BLOB",
            UPDATE_CURSOR => "UPDATE_CURSOR",
            MOVE_CURSOR => "MOVE_CURSOR",
            _ => return None,
        })
    }
}

/// A resource's number, chosen by the guest. 0 is no resource: a scanout that is off, a cursor that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u32);

impl ResourceId {
    pub const NONE: ResourceId = ResourceId(0);
}

/// A scanout's number, from 0; the guest may name any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanoutId(pub u32);

/// What every request and every response begins with (`virtio_gpu_ctrl_hdr`; 5.7.6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub kind: u32,
    pub flags: u32,
    pub fence_id: u64,
    pub ctx_id: u32,
    pub ring_idx: u8,
}

impl Header {
    /// Whether the request is fenced.
    pub const fn is_fenced(&self) -> bool {
        self.flags & FLAG_FENCE != 0
    }
}

/// A piece of guest memory (`virtio_gpu_mem_entry`; 5.7.6.8, RESOURCE_ATTACH_BACKING).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemEntry {
    pub addr: u64,
    pub length: u32,
}

/// Where the cursor is (`virtio_gpu_cursor_pos`; 5.7.6.10). A cursor that hangs out on the left or the top has its
/// coordinate as a negative number's two's complement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorPos {
    pub scanout_id: ScanoutId,
    pub x: u32,
    pub y: u32,
}

/// RESOURCE_CREATE_BLOB without its entries (5.7.6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateBlob {
    pub resource_id: ResourceId,
    pub blob_mem: u32,
    pub blob_flags: u32,
    pub nr_entries: u32,
    pub blob_id: u64,
    pub size: u64,
}

/// SET_SCANOUT_BLOB (5.7.6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetScanoutBlob {
    pub rect: Rect,
    pub scanout_id: ScanoutId,
    pub resource_id: ResourceId,
    pub width: u32,
    pub height: u32,
    pub format: u32,
    pub strides: [u32; 4],
    pub offsets: [u32; 4],
}

/// CTX_CREATE (5.7.6.9). `name_len` is as the guest wrote it and may be more than `name` holds; the context's id is in
/// the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtxCreate {
    pub name_len: u32,
    pub context_init: u32,
    pub name: [u8; 64],
}

/// RESOURCE_CREATE_3D (5.7.6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create3d {
    pub resource_id: ResourceId,
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub array_size: u32,
    pub last_level: u32,
    pub nr_samples: u32,
    pub flags: u32,
}

/// A block of texels (`virtio_gpu_box`; 5.7.6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Box3d {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

/// TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D (5.7.6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer3d {
    pub region: Box3d,
    pub offset: u64,
    pub resource_id: ResourceId,
    pub level: u32,
    pub stride: u32,
    pub layer_stride: u32,
}

/// A request. What follows its fixed part (memory entries, 3D commands) is not here: the numbers say how much the guest
/// claims that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    // 5.7.6.8, controlq, 2d
    GetDisplayInfo,
    GetEdid { scanout_id: ScanoutId },
    Create2d { resource_id: ResourceId, format: u32, width: u32, height: u32 },
    Unref { resource_id: ResourceId },
    SetScanout { rect: Rect, scanout_id: ScanoutId, resource_id: ResourceId },
    Flush { rect: Rect, resource_id: ResourceId },
    TransferToHost2d { rect: Rect, offset: u64, resource_id: ResourceId },
    AttachBacking { resource_id: ResourceId, nr_entries: u32 },
    DetachBacking { resource_id: ResourceId },
    GetCapsetInfo { index: u32 },
    GetCapset { id: u32, version: u32 },
    AssignUuid { resource_id: ResourceId },
    CreateBlob(CreateBlob),
    SetScanoutBlob(SetScanoutBlob),
    // 5.7.6.9, controlq, 3d; the context is the header's ctx_id
    CtxCreate(CtxCreate),
    CtxDestroy,
    CtxAttachResource { resource_id: ResourceId },
    CtxDetachResource { resource_id: ResourceId },
    Create3d(Create3d),
    TransferToHost3d(Transfer3d),
    TransferFromHost3d(Transfer3d),
    Submit3d { size: u32, nr_in_fences: u32 },
    MapBlob { resource_id: ResourceId, offset: u64 },
    UnmapBlob { resource_id: ResourceId },
    // 5.7.6.10, cursorq
    UpdateCursor { pos: CursorPos, resource_id: ResourceId, hot_x: u32, hot_y: u32 },
    MoveCursor { pos: CursorPos },
}

impl Command {
    /// Whether it belongs on the cursor queue.
    pub const fn is_for_cursor(&self) -> bool {
        matches!(self, Command::UpdateCursor { .. } | Command::MoveCursor { .. })
    }
}

/// What a response says (`enum virtio_gpu_ctrl_type`; 5.7.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    OkNoData = 0x1100,
    OkDisplayInfo = 0x1101,
    OkCapsetInfo = 0x1102,
    OkCapset = 0x1103,
    OkEdid = 0x1104,
    OkResourceUuid = 0x1105,
    OkMapInfo = 0x1106,
    ErrUnspec = 0x1200,
    ErrOutOfMemory = 0x1201,
    ErrInvalidScanoutId = 0x1202,
    ErrInvalidResourceId = 0x1203,
    ErrInvalidContextId = 0x1204,
    ErrInvalidParameter = 0x1205,
}

impl Status {
    /// The number that stands in the response.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Whether it refuses the request.
    pub const fn is_error(self) -> bool {
        self.code() >= Status::ErrUnspec.code()
    }
}
