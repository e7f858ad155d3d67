//! Requests of a gpu's driver: decoded, and told back from what was decoded; and responses, read by another reading of the
//! standard.
//!
//! The bytes are a request. What a response repeats of it is checked against the bytes themselves.

use vhost_seat::gpu::command::{
    Command, Create3d, CreateBlob, DISPLAY_INFO_SIZE, DecodeError, EDID_MAX, EDID_SIZE, HEADER_SIZE, Head, Header,
    MAX_FIXED, MAX_SCANOUTS, MEM_ENTRY_SIZE, MemEntry, SetScanoutBlob, Status, Transfer3d, encode_capset_info,
    encode_display_info, encode_edid, encode_header, encode_map_info, encode_uuid, kind, patch_header,
};
use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::texel;

/// One request.
pub fn run(data: &[u8]) {
    let Some(header) = Header::decode(data) else {
        assert!(data.len() < HEADER_SIZE, "a whole header is one");
        return;
    };
    assert_eq!(header.kind, word(data, 0));
    assert_eq!(header.flags, word(data, 4));
    assert_eq!(header.fence_id, u64::from(word(data, 8)) | u64::from(word(data, 12)) << 32);
    assert_eq!((header.ctx_id, header.ring_idx), (word(data, 16), data[20]));
    decode(&header, data);
    respond(&header, data);
    if let Some(bytes) = data.first_chunk::<MEM_ENTRY_SIZE>() {
        let MemEntry { addr, length } = MemEntry::decode(bytes);
        assert_eq!((addr, length), (u64::from(word(data, 0)) | u64::from(word(data, 4)) << 32, word(data, 8)));
    }
}

fn decode(header: &Header, data: &[u8]) {
    let size = Command::fixed_size(header.kind);
    assert_eq!(size.is_some(), kind::name(header.kind).is_some(), "what has a size has a name");
    match Command::decode(header, data) {
        Err(DecodeError::Unknown { kind }) => assert!(size.is_none() && kind == header.kind),
        Err(DecodeError::Short { need, got, .. }) => assert!(size == Some(need) && got == data.len() && got < need),
        Ok(command) => {
            let size = size.expect("a known command");
            assert!(size <= MAX_FIXED && data.len() >= size, "enough of it was there");
            assert_eq!(command.is_for_cursor(), header.kind >> 8 == 3);
            if let Command::Create3d(made) = &command {
                charge(made);
            }
            let (words, padding) = fields(&command);
            assert_eq!(HEADER_SIZE + words.len() * 4, size, "{command:?}: every field is told");
            for (at, told) in words.into_iter().enumerate() {
                if !padding.contains(&at) {
                    assert_eq!(told, word(data, HEADER_SIZE + at * 4), "{command:?}: word {at}");
                }
            }
        }
    }
}

/// What a texture is charged for lies between its texels of a byte each and of 32 bytes each, rounded up.
fn charge(made: &Create3d) {
    let least = |side: u32, level: u32| (u128::from(side) >> level).max(1);
    let texels = |size: u128, row: u128, rows: u128| -> u128 {
        let levels = (0..=made.last_level.min(31)).map(|level| {
            let [width, height, depth] = [made.width, made.height, made.depth].map(|side| least(side, level));
            (width * size).next_multiple_of(row) * height.next_multiple_of(rows) * depth
        });
        let copies = u128::from(made.array_size.max(1)).saturating_mul(made.nr_samples.max(1).into());
        levels.fold(0, u128::saturating_add).saturating_mul(copies)
    };
    let (low, high) = match made.target {
        0 => (u128::from(made.width), u128::from(made.width)),
        _ => (texels(1, 1, 1), texels(32, 64, 4)),
    };
    match texel::cost(made) {
        Some(cost) => assert!((low..=high.saturating_add(4096)).contains(&cost.into()), "{made:?}: {cost}"),
        None => assert!(high.saturating_add(4096) > u64::MAX.into(), "{made:?}"),
    }
}

/// A command's fields as the standard orders them (VIRTIO 1.3, 5.7.6.8 to 5.7.6.10), and which words are padding.
fn fields(command: &Command) -> (Vec<u32>, &'static [usize]) {
    let rect = |rect: Rect| [rect.x, rect.y, rect.width, rect.height];
    let long = |value: u64| [value as u32, (value >> 32) as u32];
    match *command {
        Command::GetDisplayInfo | Command::CtxDestroy => (vec![], &[]),
        Command::GetEdid { scanout_id } => (vec![scanout_id.0, 0], &[1]),
        Command::Create2d { resource_id, format, width, height } => (vec![resource_id.0, format, width, height], &[]),
        Command::Unref { resource_id }
        | Command::DetachBacking { resource_id }
        | Command::AssignUuid { resource_id }
        | Command::CtxAttachResource { resource_id }
        | Command::CtxDetachResource { resource_id }
        | Command::UnmapBlob { resource_id } => (vec![resource_id.0, 0], &[1]),
        Command::SetScanout { rect: r, scanout_id, resource_id } => {
            ([&rect(r)[..], &[scanout_id.0, resource_id.0]].concat(), &[])
        }
        Command::Flush { rect: r, resource_id } => ([&rect(r)[..], &[resource_id.0, 0]].concat(), &[5]),
        Command::TransferToHost2d { rect: r, offset, resource_id } => {
            ([&rect(r)[..], &long(offset), &[resource_id.0, 0]].concat(), &[7])
        }
        Command::AttachBacking { resource_id, nr_entries } => (vec![resource_id.0, nr_entries], &[]),
        Command::GetCapsetInfo { index } => (vec![index, 0], &[1]),
        Command::GetCapset { id, version } => (vec![id, version], &[]),
        Command::CreateBlob(CreateBlob { resource_id, blob_mem, blob_flags, nr_entries, blob_id, size }) => {
            ([&[resource_id.0, blob_mem, blob_flags, nr_entries][..], &long(blob_id), &long(size)].concat(), &[])
        }
        Command::SetScanoutBlob(SetScanoutBlob {
            rect: r,
            scanout_id,
            resource_id,
            width,
            height,
            format,
            strides,
            offsets,
        }) => {
            let middle = [scanout_id.0, resource_id.0, width, height, format, 0];
            ([&rect(r)[..], &middle, &strides, &offsets].concat(), &[9])
        }
        Command::CtxCreate(context) => {
            let name = context.name.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk));
            ([context.name_len, context.context_init].into_iter().chain(name).collect(), &[])
        }
        Command::Create3d(make) => (
            vec![
                make.resource_id.0,
                make.target,
                make.format,
                make.bind,
                make.width,
                make.height,
                make.depth,
                make.array_size,
                make.last_level,
                make.nr_samples,
                make.flags,
                0,
            ],
            &[11],
        ),
        Command::TransferToHost3d(transfer) | Command::TransferFromHost3d(transfer) => (transfer_3d(&transfer), &[]),
        Command::Submit3d { size, nr_in_fences } => (vec![size, nr_in_fences], &[]),
        Command::MapBlob { resource_id, offset } => ([&[resource_id.0, 0][..], &long(offset)].concat(), &[1]),
        Command::UpdateCursor { pos, resource_id, hot_x, hot_y } => {
            (vec![pos.scanout_id.0, pos.x, pos.y, 0, resource_id.0, hot_x, hot_y, 0], &[3, 7])
        }
        // It has the size of UPDATE_CURSOR; only the position counts.
        Command::MoveCursor { pos } => (vec![pos.scanout_id.0, pos.x, pos.y, 0, 0, 0, 0, 0], &[3, 4, 5, 6, 7]),
    }
}

fn transfer_3d(transfer: &Transfer3d) -> Vec<u32> {
    let Transfer3d { region, offset, resource_id, level, stride, layer_stride } = *transfer;
    vec![
        region.x,
        region.y,
        region.z,
        region.width,
        region.height,
        region.depth,
        offset as u32,
        (offset >> 32) as u32,
        resource_id.0,
        level,
        stride,
        layer_stride,
    ]
}

/// All responses to this request, with contents from its bytes.
fn respond(header: &Header, data: &[u8]) {
    for status in [Status::OkNoData, Status::ErrUnspec, Status::ErrInvalidParameter] {
        assert_eq!(status.is_error(), status != Status::OkNoData);
        assert_header(&encode_header(status, header), status, header);
    }
    let rect = Rect { x: word(data, 24), y: word(data, 28), width: word(data, 32), height: word(data, 36) };
    let mut heads = [Head::default(); MAX_SCANOUTS];
    let place = usize::from(data[21]) % MAX_SCANOUTS;
    heads[place] = Head { rect, enabled: data[22] & 1 != 0, flags: word(data, 40) };
    let mut info = [0xa5; DISPLAY_INFO_SIZE];
    encode_display_info(header, &heads, &mut info);
    assert_header(&info, Status::OkDisplayInfo, header);
    let head: Vec<u32> = (0..6).map(|field| word(&info, 24 + 24 * place + 4 * field)).collect();
    assert_eq!(head, [rect.x, rect.y, rect.width, rect.height, u32::from(data[22] & 1), word(data, 40)]);
    assert_eq!(info[24..].iter().filter(|byte| **byte != 0).count(), nonzero(&head), "nothing else is said");

    let mut edid = [0xa5; EDID_SIZE];
    encode_edid(header, data, &mut edid);
    assert_header(&edid, Status::OkEdid, header);
    let len = data.len().min(EDID_MAX);
    assert_eq!((word(&edid, 24) as usize, word(&edid, 28)), (len, 0));
    assert_eq!(&edid[32..32 + len], &data[..len]);
    assert!(edid[32 + len..].iter().all(|byte| *byte == 0), "nothing of before is left");

    let capset = encode_capset_info(header, 1, 2, header.kind);
    assert_header(&capset, Status::OkCapsetInfo, header);
    assert_eq!([24, 28, 32, 36].map(|at| word(&capset, at)), [1, 2, header.kind, 0]);
    let map = encode_map_info(header, header.flags);
    assert_header(&map, Status::OkMapInfo, header);
    assert_eq!([24, 28].map(|at| word(&map, at)), [header.flags, 0]);
    let uuid = *data.first_chunk().expect("it has a header");
    let response = encode_uuid(header, &uuid);
    assert_header(&response, Status::OkResourceUuid, header);
    assert_eq!(response[24..], uuid);

    let mut patched = data.to_vec();
    assert!(patch_header(&mut patched, header));
    assert_eq!(word(&patched, 0), header.kind, "the type stays");
    assert_eq!(patched[24..], data[24..]);
    assert_fence(&patched, header);
    assert!(!patch_header(&mut patched[..HEADER_SIZE - 1], header), "no room for a header");
}

fn nonzero(words: &[u32]) -> usize {
    words.iter().flat_map(|word| word.to_le_bytes()).filter(|byte| *byte != 0).count()
}

fn assert_header(response: &[u8], status: Status, request: &Header) {
    assert_eq!(word(response, 0), status.code());
    assert_fence(response, request);
}

/// VIRTIO 1.3, 5.7.6.7: a fenced request's fence comes back, anything else does not.
fn assert_fence(response: &[u8], request: &Header) {
    let fenced = request.flags & 1 != 0;
    assert_eq!(fenced, request.is_fenced());
    let of_ring = fenced && request.flags & 2 != 0;
    assert_eq!(word(response, 4), u32::from(fenced) | u32::from(of_ring) << 1);
    let fence = u64::from(word(response, 8)) | u64::from(word(response, 12)) << 32;
    assert_eq!(fence, if fenced { request.fence_id } else { 0 });
    assert_eq!(word(response, 16), if fenced { request.ctx_id } else { 0 });
    assert_eq!(response[20..24], [if of_ring { request.ring_idx } else { 0 }, 0, 0, 0]);
}

/// The u32 at `at`, zeroes beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes.get(at + byte).copied().unwrap_or(0)))
}
