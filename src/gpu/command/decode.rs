//! Bytes to commands (VIRTIO 1.3, 5.7.6.7 to 5.7.6.10).

use super::{
    Box3d, Command, Create3d, CreateBlob, CtxCreate, CursorPos, HEADER_SIZE, Header, MEM_ENTRY_SIZE, MemEntry,
    ResourceId, ScanoutId, SetScanoutBlob, Transfer3d, kind,
};
use crate::gpu::rect::Rect;

/// Why a request is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The command is known, but the guest supplied less than its fixed part.
    #[error("command {kind:#x} needs {need} bytes and has {got}")]
    Short { kind: u32, need: usize, got: usize },
    /// The standard has no such command.
    #[error("unknown command {kind:#x}")]
    Unknown { kind: u32 },
}

impl Header {
    /// `None` where there are fewer than [`HEADER_SIZE`] bytes; what follows them is not looked at.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let mut fields = Fields(bytes.get(..HEADER_SIZE)?);
        Some(Header {
            kind: fields.u32()?,
            flags: fields.u32()?,
            fence_id: fields.u64()?,
            ctx_id: fields.u32()?,
            ring_idx: fields.u8()?,
        })
    }
}

impl MemEntry {
    pub fn decode(bytes: &[u8; MEM_ENTRY_SIZE]) -> MemEntry {
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, ..] = *bytes;
        MemEntry {
            addr: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
        }
    }
}

impl Command {
    /// Decodes the request that `bytes` begins with. `header` is `bytes`' own; of `bytes`, no more than
    /// [`MAX_FIXED`](super::MAX_FIXED) is looked at, and what follows a command's fixed part is not looked at either.
    ///
    /// # Errors
    /// A command that the standard does not have, or fewer bytes than it needs.
    pub fn decode(header: &Header, bytes: &[u8]) -> Result<Command, DecodeError> {
        let kind = header.kind;
        let need = Command::fixed_size(kind).ok_or(DecodeError::Unknown { kind })?;
        let short = DecodeError::Short { kind, need, got: bytes.len() };
        let fields = bytes.get(HEADER_SIZE..need).ok_or(short)?;
        Command::from_fields(kind, Fields(fields)).ok_or(short)
    }

    /// The size of a command's fixed part, header and padding included; `None` for an unknown command.
    pub const fn fixed_size(kind: u32) -> Option<usize> {
        Some(match kind {
            kind::GET_DISPLAY_INFO | kind::CTX_DESTROY => 24,
            kind::RESOURCE_UNREF
            | kind::RESOURCE_ATTACH_BACKING
            | kind::RESOURCE_DETACH_BACKING
            | kind::GET_CAPSET_INFO
            | kind::GET_CAPSET
            | kind::GET_EDID
            | kind::RESOURCE_ASSIGN_UUID
            | kind::CTX_ATTACH_RESOURCE
            | kind::CTX_DETACH_RESOURCE
            | kind::SUBMIT_3D
            | kind::RESOURCE_UNMAP_BLOB => 32,
            kind::RESOURCE_CREATE_2D | kind::RESOURCE_MAP_BLOB => 40,
            kind::SET_SCANOUT | kind::RESOURCE_FLUSH => 48,
            kind::TRANSFER_TO_HOST_2D | kind::RESOURCE_CREATE_BLOB | kind::UPDATE_CURSOR | kind::MOVE_CURSOR => 56,
            kind::RESOURCE_CREATE_3D | kind::TRANSFER_TO_HOST_3D | kind::TRANSFER_FROM_HOST_3D => 72,
            kind::SET_SCANOUT_BLOB | kind::CTX_CREATE => 96,
            _ => return None,
        })
    }

    /// The fields after the header, in the order in which they stand there.
    fn from_fields(kind: u32, mut f: Fields<'_>) -> Option<Command> {
        Some(match kind {
            kind::GET_DISPLAY_INFO => Command::GetDisplayInfo,
            kind::GET_EDID => Command::GetEdid { scanout_id: f.scanout_id()? },
            kind::RESOURCE_CREATE_2D => {
                Command::Create2d { resource_id: f.resource_id()?, format: f.u32()?, width: f.u32()?, height: f.u32()? }
            }
            kind::RESOURCE_UNREF => Command::Unref { resource_id: f.resource_id()? },
            kind::SET_SCANOUT => {
                Command::SetScanout { rect: f.rect()?, scanout_id: f.scanout_id()?, resource_id: f.resource_id()? }
            }
            kind::RESOURCE_FLUSH => Command::Flush { rect: f.rect()?, resource_id: f.resource_id()? },
            kind::TRANSFER_TO_HOST_2D => {
                Command::TransferToHost2d { rect: f.rect()?, offset: f.u64()?, resource_id: f.resource_id()? }
            }
            kind::RESOURCE_ATTACH_BACKING => {
                Command::AttachBacking { resource_id: f.resource_id()?, nr_entries: f.u32()? }
            }
            kind::RESOURCE_DETACH_BACKING => Command::DetachBacking { resource_id: f.resource_id()? },
            kind::GET_CAPSET_INFO => Command::GetCapsetInfo { index: f.u32()? },
            kind::GET_CAPSET => Command::GetCapset { id: f.u32()?, version: f.u32()? },
            kind::RESOURCE_ASSIGN_UUID => Command::AssignUuid { resource_id: f.resource_id()? },
            kind::RESOURCE_CREATE_BLOB => Command::CreateBlob(f.create_blob()?),
            kind::SET_SCANOUT_BLOB => Command::SetScanoutBlob(f.set_scanout_blob()?),
            kind::CTX_CREATE => {
                Command::CtxCreate(CtxCreate { name_len: f.u32()?, context_init: f.u32()?, name: f.take()? })
            }
            kind::CTX_DESTROY => Command::CtxDestroy,
            kind::CTX_ATTACH_RESOURCE => Command::CtxAttachResource { resource_id: f.resource_id()? },
            kind::CTX_DETACH_RESOURCE => Command::CtxDetachResource { resource_id: f.resource_id()? },
            kind::RESOURCE_CREATE_3D => Command::Create3d(f.create_3d()?),
            kind::TRANSFER_TO_HOST_3D => Command::TransferToHost3d(f.transfer_3d()?),
            kind::TRANSFER_FROM_HOST_3D => Command::TransferFromHost3d(f.transfer_3d()?),
            kind::SUBMIT_3D => Command::Submit3d { size: f.u32()?, nr_in_fences: f.u32()? },
            kind::RESOURCE_MAP_BLOB => {
                let resource_id = f.resource_id()?;
                f.u32()?; // padding
                Command::MapBlob { resource_id, offset: f.u64()? }
            }
            kind::RESOURCE_UNMAP_BLOB => Command::UnmapBlob { resource_id: f.resource_id()? },
            kind::UPDATE_CURSOR => Command::UpdateCursor {
                pos: f.cursor_pos()?,
                resource_id: f.resource_id()?,
                hot_x: f.u32()?,
                hot_y: f.u32()?,
            },
            kind::MOVE_CURSOR => Command::MoveCursor { pos: f.cursor_pos()? },
            _ => return None,
        })
    }
}

/// What is left of a request's fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn four_u32(&mut self) -> Option<[u32; 4]> {
        Some([self.u32()?, self.u32()?, self.u32()?, self.u32()?])
    }

    fn resource_id(&mut self) -> Option<ResourceId> {
        self.u32().map(ResourceId)
    }

    fn scanout_id(&mut self) -> Option<ScanoutId> {
        self.u32().map(ScanoutId)
    }

    fn rect(&mut self) -> Option<Rect> {
        Some(Rect { x: self.u32()?, y: self.u32()?, width: self.u32()?, height: self.u32()? })
    }

    fn cursor_pos(&mut self) -> Option<CursorPos> {
        let pos = CursorPos { scanout_id: self.scanout_id()?, x: self.u32()?, y: self.u32()? };
        self.u32()?; // padding
        Some(pos)
    }

    fn create_blob(&mut self) -> Option<CreateBlob> {
        Some(CreateBlob {
            resource_id: self.resource_id()?,
            blob_mem: self.u32()?,
            blob_flags: self.u32()?,
            nr_entries: self.u32()?,
            blob_id: self.u64()?,
            size: self.u64()?,
        })
    }

    fn set_scanout_blob(&mut self) -> Option<SetScanoutBlob> {
        let rect = self.rect()?;
        let scanout_id = self.scanout_id()?;
        let resource_id = self.resource_id()?;
        let (width, height, format) = (self.u32()?, self.u32()?, self.u32()?);
        self.u32()?; // padding
        let strides = self.four_u32()?;
        let offsets = self.four_u32()?;
        Some(SetScanoutBlob { rect, scanout_id, resource_id, width, height, format, strides, offsets })
    }

    fn create_3d(&mut self) -> Option<Create3d> {
        Some(Create3d {
            resource_id: self.resource_id()?,
            target: self.u32()?,
            format: self.u32()?,
            bind: self.u32()?,
            width: self.u32()?,
            height: self.u32()?,
            depth: self.u32()?,
            array_size: self.u32()?,
            last_level: self.u32()?,
            nr_samples: self.u32()?,
            flags: self.u32()?,
        })
    }

    fn transfer_3d(&mut self) -> Option<Transfer3d> {
        Some(Transfer3d {
            region: Box3d {
                x: self.u32()?,
                y: self.u32()?,
                z: self.u32()?,
                width: self.u32()?,
                height: self.u32()?,
                depth: self.u32()?,
            },
            offset: self.u64()?,
            resource_id: self.resource_id()?,
            level: self.u32()?,
            stride: self.u32()?,
            layer_stride: self.u32()?,
        })
    }
}

#[cfg(test)]
mod tests;
