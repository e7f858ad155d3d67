use super::super::{MAX_FIXED, Status};
use super::*;
use std::mem::{offset_of, size_of};
// The kernel's own header, as another project's generator reads it.
use virtio_bindings::virtio_gpu as linux;

/// A request whose byte at `n` is `n`, from the end of the header on.
fn counting(kind: u32) -> [u8; MAX_FIXED] {
    let mut bytes: [u8; MAX_FIXED] = std::array::from_fn(|n| n as u8);
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes
}

fn decode(kind: u32) -> Command {
    let bytes = counting(kind);
    Command::decode(&Header::decode(&bytes).unwrap(), &bytes).unwrap()
}

/// What [`counting`] has at an offset.
fn w(offset: usize) -> u32 {
    let at = offset as u8;
    u32::from_le_bytes([at, at + 1, at + 2, at + 3])
}

fn q(offset: usize) -> u64 {
    u64::from(w(offset + 4)) << 32 | u64::from(w(offset))
}

fn r(offset: usize) -> Rect {
    Rect { x: w(offset), y: w(offset + 4), width: w(offset + 8), height: w(offset + 12) }
}

fn res(offset: usize) -> ResourceId {
    ResourceId(w(offset))
}

const KINDS: [u32; 26] = [
    kind::GET_DISPLAY_INFO,
    kind::RESOURCE_CREATE_2D,
    kind::RESOURCE_UNREF,
    kind::SET_SCANOUT,
    kind::RESOURCE_FLUSH,
    kind::TRANSFER_TO_HOST_2D,
    kind::RESOURCE_ATTACH_BACKING,
    kind::RESOURCE_DETACH_BACKING,
    kind::GET_CAPSET_INFO,
    kind::GET_CAPSET,
    kind::GET_EDID,
    kind::RESOURCE_ASSIGN_UUID,
    kind::RESOURCE_CREATE_BLOB,
    kind::SET_SCANOUT_BLOB,
    kind::CTX_CREATE,
    kind::CTX_DESTROY,
    kind::CTX_ATTACH_RESOURCE,
    kind::CTX_DETACH_RESOURCE,
    kind::RESOURCE_CREATE_3D,
    kind::TRANSFER_TO_HOST_3D,
    kind::TRANSFER_FROM_HOST_3D,
    kind::SUBMIT_3D,
    kind::RESOURCE_MAP_BLOB,
    kind::RESOURCE_UNMAP_BLOB,
    kind::UPDATE_CURSOR,
    kind::MOVE_CURSOR,
];

#[test]
fn numbers_are_those_of_the_kernels_header() {
    use linux::*;
    let theirs = [
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_DISPLAY_INFO,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_UNREF,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SET_SCANOUT,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_FLUSH,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_CAPSET_INFO,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_CAPSET,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_GET_EDID,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SET_SCANOUT_BLOB,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_CREATE,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_DESTROY,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_SUBMIT_3D,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_UPDATE_CURSOR,
        virtio_gpu_ctrl_type_VIRTIO_GPU_CMD_MOVE_CURSOR,
    ];
    assert_eq!(KINDS, theirs);
    let statuses = [
        (Status::OkNoData, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_NODATA),
        (Status::OkDisplayInfo, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_DISPLAY_INFO),
        (Status::OkCapsetInfo, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_CAPSET_INFO),
        (Status::OkCapset, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_CAPSET),
        (Status::OkEdid, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_EDID),
        (Status::OkResourceUuid, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_RESOURCE_UUID),
        (Status::OkMapInfo, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_OK_MAP_INFO),
        (Status::ErrUnspec, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_UNSPEC),
        (Status::ErrOutOfMemory, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY),
        (Status::ErrInvalidScanoutId, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID),
        (Status::ErrInvalidResourceId, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID),
        (Status::ErrInvalidContextId, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID),
        (Status::ErrInvalidParameter, virtio_gpu_ctrl_type_VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER),
    ];
    for (ours, theirs) in statuses {
        assert_eq!(ours.code(), theirs);
        assert_eq!(ours.is_error(), theirs >= 0x1200);
    }
}

#[test]
fn sizes_are_those_of_the_kernels_structs() {
    use linux::*;
    let pairs = [
        (kind::GET_DISPLAY_INFO, size_of::<virtio_gpu_ctrl_hdr>()),
        (kind::RESOURCE_CREATE_2D, size_of::<virtio_gpu_resource_create_2d>()),
        (kind::RESOURCE_UNREF, size_of::<virtio_gpu_resource_unref>()),
        (kind::SET_SCANOUT, size_of::<virtio_gpu_set_scanout>()),
        (kind::RESOURCE_FLUSH, size_of::<virtio_gpu_resource_flush>()),
        (kind::TRANSFER_TO_HOST_2D, size_of::<virtio_gpu_transfer_to_host_2d>()),
        (kind::RESOURCE_ATTACH_BACKING, size_of::<virtio_gpu_resource_attach_backing>()),
        (kind::RESOURCE_DETACH_BACKING, size_of::<virtio_gpu_resource_detach_backing>()),
        (kind::GET_CAPSET_INFO, size_of::<virtio_gpu_get_capset_info>()),
        (kind::GET_CAPSET, size_of::<virtio_gpu_get_capset>()),
        (kind::GET_EDID, size_of::<virtio_gpu_cmd_get_edid>()),
        (kind::RESOURCE_ASSIGN_UUID, size_of::<virtio_gpu_resource_assign_uuid>()),
        (kind::RESOURCE_CREATE_BLOB, size_of::<virtio_gpu_resource_create_blob>()),
        (kind::SET_SCANOUT_BLOB, size_of::<virtio_gpu_set_scanout_blob>()),
        (kind::CTX_CREATE, size_of::<virtio_gpu_ctx_create>()),
        (kind::CTX_DESTROY, size_of::<virtio_gpu_ctx_destroy>()),
        (kind::CTX_ATTACH_RESOURCE, size_of::<virtio_gpu_ctx_resource>()),
        (kind::CTX_DETACH_RESOURCE, size_of::<virtio_gpu_ctx_resource>()),
        (kind::RESOURCE_CREATE_3D, size_of::<virtio_gpu_resource_create_3d>()),
        (kind::TRANSFER_TO_HOST_3D, size_of::<virtio_gpu_transfer_host_3d>()),
        (kind::TRANSFER_FROM_HOST_3D, size_of::<virtio_gpu_transfer_host_3d>()),
        (kind::SUBMIT_3D, size_of::<virtio_gpu_cmd_submit>()),
        (kind::RESOURCE_MAP_BLOB, size_of::<virtio_gpu_resource_map_blob>()),
        (kind::RESOURCE_UNMAP_BLOB, size_of::<virtio_gpu_resource_unmap_blob>()),
        (kind::UPDATE_CURSOR, size_of::<virtio_gpu_update_cursor>()),
        (kind::MOVE_CURSOR, size_of::<virtio_gpu_update_cursor>()),
    ];
    assert_eq!(pairs.map(|(kind, _)| kind), KINDS);
    for (kind, size) in pairs {
        assert_eq!(Command::fixed_size(kind), Some(size), "{kind:#x}");
        assert!(size <= MAX_FIXED);
    }
    assert_eq!(size_of::<virtio_gpu_ctrl_hdr>(), HEADER_SIZE);
    assert_eq!(size_of::<virtio_gpu_mem_entry>(), MEM_ENTRY_SIZE);
}

#[test]
fn header_fields_are_where_the_kernel_has_them() {
    use linux::virtio_gpu_ctrl_hdr as H;
    let bytes: [u8; 24] = std::array::from_fn(|n| n as u8);
    let expected = Header {
        kind: w(offset_of!(H, type_)),
        flags: w(offset_of!(H, flags)),
        fence_id: q(offset_of!(H, fence_id)),
        ctx_id: w(offset_of!(H, ctx_id)),
        ring_idx: offset_of!(H, ring_idx) as u8,
    };
    assert_eq!(Header::decode(&bytes), Some(expected));
    assert_eq!(Header::decode(&bytes[..23]), None);
    assert_eq!(Header::decode(&[]), None);
}

#[test]
fn fields_of_2d_commands_are_where_the_kernel_has_them() {
    use linux::*;
    {
        use virtio_gpu_resource_create_2d as S;
        let expected = Command::Create2d {
            resource_id: res(offset_of!(S, resource_id)),
            format: w(offset_of!(S, format)),
            width: w(offset_of!(S, width)),
            height: w(offset_of!(S, height)),
        };
        assert_eq!(decode(kind::RESOURCE_CREATE_2D), expected);
    }
    {
        use virtio_gpu_set_scanout as S;
        let expected = Command::SetScanout {
            rect: r(offset_of!(S, r)),
            scanout_id: ScanoutId(w(offset_of!(S, scanout_id))),
            resource_id: res(offset_of!(S, resource_id)),
        };
        assert_eq!(decode(kind::SET_SCANOUT), expected);
    }
    {
        use virtio_gpu_resource_flush as S;
        let expected = Command::Flush { rect: r(offset_of!(S, r)), resource_id: res(offset_of!(S, resource_id)) };
        assert_eq!(decode(kind::RESOURCE_FLUSH), expected);
    }
    {
        use virtio_gpu_transfer_to_host_2d as S;
        let expected = Command::TransferToHost2d {
            rect: r(offset_of!(S, r)),
            offset: q(offset_of!(S, offset)),
            resource_id: res(offset_of!(S, resource_id)),
        };
        assert_eq!(decode(kind::TRANSFER_TO_HOST_2D), expected);
    }
    {
        use virtio_gpu_resource_attach_backing as S;
        let expected = Command::AttachBacking {
            resource_id: res(offset_of!(S, resource_id)),
            nr_entries: w(offset_of!(S, nr_entries)),
        };
        assert_eq!(decode(kind::RESOURCE_ATTACH_BACKING), expected);
    }
    assert_eq!(decode(kind::GET_DISPLAY_INFO), Command::GetDisplayInfo);
    assert_eq!(decode(kind::GET_EDID), Command::GetEdid { scanout_id: ScanoutId(w(24)) });
    assert_eq!(decode(kind::RESOURCE_UNREF), Command::Unref { resource_id: res(24) });
    assert_eq!(decode(kind::RESOURCE_DETACH_BACKING), Command::DetachBacking { resource_id: res(24) });
    assert_eq!(decode(kind::GET_CAPSET_INFO), Command::GetCapsetInfo { index: w(24) });
    assert_eq!(decode(kind::GET_CAPSET), Command::GetCapset { id: w(24), version: w(28) });
    assert_eq!(decode(kind::RESOURCE_ASSIGN_UUID), Command::AssignUuid { resource_id: res(24) });
}

#[test]
fn fields_of_blob_commands_are_where_the_kernel_has_them() {
    use linux::*;
    {
        use virtio_gpu_resource_create_blob as S;
        let expected = Command::CreateBlob(CreateBlob {
            resource_id: res(offset_of!(S, resource_id)),
            blob_mem: w(offset_of!(S, blob_mem)),
            blob_flags: w(offset_of!(S, blob_flags)),
            nr_entries: w(offset_of!(S, nr_entries)),
            blob_id: q(offset_of!(S, blob_id)),
            size: q(offset_of!(S, size)),
        });
        assert_eq!(decode(kind::RESOURCE_CREATE_BLOB), expected);
    }
    {
        use virtio_gpu_set_scanout_blob as S;
        let four = |at: usize| [w(at), w(at + 4), w(at + 8), w(at + 12)];
        let expected = Command::SetScanoutBlob(SetScanoutBlob {
            rect: r(offset_of!(S, r)),
            scanout_id: ScanoutId(w(offset_of!(S, scanout_id))),
            resource_id: res(offset_of!(S, resource_id)),
            width: w(offset_of!(S, width)),
            height: w(offset_of!(S, height)),
            format: w(offset_of!(S, format)),
            strides: four(offset_of!(S, strides)),
            offsets: four(offset_of!(S, offsets)),
        });
        assert_eq!(decode(kind::SET_SCANOUT_BLOB), expected);
    }
    {
        use virtio_gpu_resource_map_blob as S;
        let expected =
            Command::MapBlob { resource_id: res(offset_of!(S, resource_id)), offset: q(offset_of!(S, offset)) };
        assert_eq!(decode(kind::RESOURCE_MAP_BLOB), expected);
    }
    assert_eq!(decode(kind::RESOURCE_UNMAP_BLOB), Command::UnmapBlob { resource_id: res(24) });
}

#[test]
fn fields_of_3d_commands_are_where_the_kernel_has_them() {
    use linux::*;
    {
        use virtio_gpu_ctx_create as S;
        let at = offset_of!(S, debug_name);
        let expected = Command::CtxCreate(CtxCreate {
            name_len: w(offset_of!(S, nlen)),
            context_init: w(offset_of!(S, context_init)),
            name: std::array::from_fn(|n| (at + n) as u8),
        });
        assert_eq!(decode(kind::CTX_CREATE), expected);
    }
    {
        use virtio_gpu_resource_create_3d as S;
        let expected = Command::Create3d(Create3d {
            resource_id: res(offset_of!(S, resource_id)),
            target: w(offset_of!(S, target)),
            format: w(offset_of!(S, format)),
            bind: w(offset_of!(S, bind)),
            width: w(offset_of!(S, width)),
            height: w(offset_of!(S, height)),
            depth: w(offset_of!(S, depth)),
            array_size: w(offset_of!(S, array_size)),
            last_level: w(offset_of!(S, last_level)),
            nr_samples: w(offset_of!(S, nr_samples)),
            flags: w(offset_of!(S, flags)),
        });
        assert_eq!(decode(kind::RESOURCE_CREATE_3D), expected);
    }
    {
        use virtio_gpu_box as B;
        use virtio_gpu_transfer_host_3d as S;
        let at = offset_of!(S, box_);
        let expected = Transfer3d {
            region: Box3d {
                x: w(at + offset_of!(B, x)),
                y: w(at + offset_of!(B, y)),
                z: w(at + offset_of!(B, z)),
                width: w(at + offset_of!(B, w)),
                height: w(at + offset_of!(B, h)),
                depth: w(at + offset_of!(B, d)),
            },
            offset: q(offset_of!(S, offset)),
            resource_id: res(offset_of!(S, resource_id)),
            level: w(offset_of!(S, level)),
            stride: w(offset_of!(S, stride)),
            layer_stride: w(offset_of!(S, layer_stride)),
        };
        assert_eq!(decode(kind::TRANSFER_TO_HOST_3D), Command::TransferToHost3d(expected));
        assert_eq!(decode(kind::TRANSFER_FROM_HOST_3D), Command::TransferFromHost3d(expected));
    }
    assert_eq!(decode(kind::CTX_DESTROY), Command::CtxDestroy);
    assert_eq!(decode(kind::CTX_ATTACH_RESOURCE), Command::CtxAttachResource { resource_id: res(24) });
    assert_eq!(decode(kind::CTX_DETACH_RESOURCE), Command::CtxDetachResource { resource_id: res(24) });
    assert_eq!(decode(kind::SUBMIT_3D), Command::Submit3d { size: w(24), nr_in_fences: w(28) });
}

#[test]
fn fields_of_cursor_commands_are_where_the_kernel_has_them() {
    use linux::{virtio_gpu_cursor_pos as P, virtio_gpu_update_cursor as S};
    let at = offset_of!(S, pos);
    let pos = CursorPos {
        scanout_id: ScanoutId(w(at + offset_of!(P, scanout_id))),
        x: w(at + offset_of!(P, x)),
        y: w(at + offset_of!(P, y)),
    };
    let expected = Command::UpdateCursor {
        pos,
        resource_id: res(offset_of!(S, resource_id)),
        hot_x: w(offset_of!(S, hot_x)),
        hot_y: w(offset_of!(S, hot_y)),
    };
    assert_eq!(decode(kind::UPDATE_CURSOR), expected);
    assert_eq!(decode(kind::MOVE_CURSOR), Command::MoveCursor { pos });
}

#[test]
fn a_memory_entry_is_an_address_and_a_length() {
    let bytes: [u8; 16] = std::array::from_fn(|n| n as u8);
    assert_eq!(MemEntry::decode(&bytes), MemEntry { addr: q(0), length: w(8) });
}

#[test]
fn a_request_shorter_than_its_fixed_part_is_short() {
    for kind in KINDS {
        let bytes = counting(kind);
        let header = Header::decode(&bytes).unwrap();
        let need = Command::fixed_size(kind).unwrap();
        for got in 0..need {
            assert_eq!(
                Command::decode(&header, &bytes[..got]),
                Err(DecodeError::Short { kind, need, got }),
                "{kind:#x}"
            );
        }
        assert_eq!(Command::decode(&header, &bytes[..need]), Command::decode(&header, &bytes), "{kind:#x}");
    }
}

#[test]
fn every_known_command_decodes_and_has_a_name_and_no_other_does() {
    for kind in (0..0x2000).chain([u32::MAX, 0x8000_0100]) {
        let known = KINDS.contains(&kind);
        assert_eq!(kind::name(kind).is_some(), known, "{kind:#x}");
        let bytes = counting(kind);
        let result = Command::decode(&Header::decode(&bytes).unwrap(), &bytes);
        match known {
            true => assert!(result.is_ok(), "{kind:#x}"),
            false => assert_eq!(result, Err(DecodeError::Unknown { kind })),
        }
    }
}
