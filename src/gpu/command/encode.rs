//! Answers to bytes (VIRTIO 1.3, 5.7.6.7 to 5.7.6.9). Every function fills an array of the response's whole size, so
//! nothing of what stood there before is left for the guest to read.

use super::{FLAG_FENCE, FLAG_INFO_RING_IDX, HEADER_SIZE, Header, MAX_SCANOUTS, Status};
use crate::gpu::rect::Rect;

/// `virtio_gpu_resp_display_info`
pub const DISPLAY_INFO_SIZE: usize = 408;
/// `virtio_gpu_resp_capset_info`
pub const CAPSET_INFO_SIZE: usize = 40;
/// `virtio_gpu_resp_edid`
pub const EDID_SIZE: usize = 1056;
/// `virtio_gpu_resp_resource_uuid`
pub const UUID_SIZE: usize = 40;
/// `virtio_gpu_resp_map_info`
pub const MAP_INFO_SIZE: usize = 32;
/// The largest EDID that a response has room for.
pub const EDID_MAX: usize = 1024;

/// One of the sixteen heads that GET_DISPLAY_INFO answers with (`virtio_gpu_display_one`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub rect: Rect,
    pub enabled: bool,
    pub flags: u32,
}

/// The header of a response, or a whole response that has nothing else.
///
/// To a fenced request it carries the fence flag, fence and context of the request; with INFO_RING_IDX also that flag
/// and the ring. To any other request those fields are 0.
pub fn encode_header(status: Status, request: &Header) -> [u8; HEADER_SIZE] {
    let mut out = [0; HEADER_SIZE];
    put_header(status.code(), request, &mut out);
    out
}

/// Gives a response made elsewhere, by the front end, the fence fields for this request; its type stays. False, and
/// nothing done, where the response is too short to have a header.
#[must_use]
pub fn patch_header(response: &mut [u8], request: &Header) -> bool {
    let Some(header) = response.first_chunk_mut::<HEADER_SIZE>() else { return false };
    let [t0, t1, t2, t3, ..] = *header;
    put_header(u32::from_le_bytes([t0, t1, t2, t3]), request, header);
    true
}

/// The answer to GET_DISPLAY_INFO (5.7.6.8).
pub fn encode_display_info(request: &Header, heads: &[Head; MAX_SCANOUTS], out: &mut [u8; DISPLAY_INFO_SIZE]) {
    let mut out = Fields::of_response(Status::OkDisplayInfo, request, out);
    for head in heads {
        out.u32(head.rect.x);
        out.u32(head.rect.y);
        out.u32(head.rect.width);
        out.u32(head.rect.height);
        out.u32(u32::from(head.enabled));
        out.u32(head.flags);
    }
}

/// The answer to GET_EDID (5.7.6.8). Of an EDID that is longer than [`EDID_MAX`] the beginning is sent.
pub fn encode_edid(request: &Header, edid: &[u8], out: &mut [u8; EDID_SIZE]) {
    let edid = edid.get(..EDID_MAX).unwrap_or(edid);
    let mut out = Fields::of_response(Status::OkEdid, request, out);
    out.u32(u32::try_from(edid.len()).unwrap_or(0)); // at most EDID_MAX
    out.u32(0);
    out.bytes(edid);
}

/// The answer to GET_CAPSET_INFO (5.7.6.8).
pub fn encode_capset_info(request: &Header, id: u32, max_version: u32, max_size: u32) -> [u8; CAPSET_INFO_SIZE] {
    let mut response = [0; CAPSET_INFO_SIZE];
    let mut out = Fields::of_response(Status::OkCapsetInfo, request, &mut response);
    out.u32(id);
    out.u32(max_version);
    out.u32(max_size);
    response
}

/// The answer to RESOURCE_ASSIGN_UUID (5.7.6.8).
pub fn encode_uuid(request: &Header, uuid: &[u8; 16]) -> [u8; UUID_SIZE] {
    let mut response = [0; UUID_SIZE];
    Fields::of_response(Status::OkResourceUuid, request, &mut response).bytes(uuid);
    response
}

/// The answer to RESOURCE_MAP_BLOB (5.7.6.9).
pub fn encode_map_info(request: &Header, map_info: u32) -> [u8; MAP_INFO_SIZE] {
    let mut response = [0; MAP_INFO_SIZE];
    Fields::of_response(Status::OkMapInfo, request, &mut response).u32(map_info);
    response
}

/// 5.7.6.7, "Device Operation: Request header": what a response repeats of the request.
fn put_header(kind: u32, request: &Header, out: &mut [u8; HEADER_SIZE]) {
    out.fill(0);
    let mut out = Fields(out);
    out.u32(kind);
    if !request.is_fenced() {
        return;
    }
    let ring_flag = request.flags & FLAG_INFO_RING_IDX;
    out.u32(FLAG_FENCE | ring_flag);
    out.bytes(&request.fence_id.to_le_bytes());
    out.u32(request.ctx_id);
    out.bytes(&[if ring_flag != 0 { request.ring_idx } else { 0 }]);
}

/// The part of a response that isn't written yet.
struct Fields<'a>(&'a mut [u8]);

impl<'a> Fields<'a> {
    /// What follows the header, zeroed; the header is written.
    fn of_response(status: Status, request: &Header, response: &'a mut [u8]) -> Fields<'a> {
        match response.split_first_chunk_mut() {
            Some((header, rest)) => {
                put_header(status.code(), request, header);
                rest.fill(0);
                Fields(rest)
            }
            None => Fields(&mut []),
        }
    }

    /// Writes as much of `bytes` as there is room for, which in this file is always all of it.
    fn bytes(&mut self, bytes: &[u8]) {
        let room = std::mem::take(&mut self.0);
        if let Some((field, rest)) = room.split_at_mut_checked(bytes.len()) {
            field.copy_from_slice(bytes);
            self.0 = rest;
        }
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FLAG_FENCE, FLAG_INFO_RING_IDX, kind};
    use super::*;
    use std::mem::{offset_of, size_of};
    use virtio_bindings::virtio_gpu as linux;

    fn request(flags: u32) -> Header {
        Header { kind: kind::GET_EDID, flags, fence_id: 0x1122_3344_5566_7788, ctx_id: 0x99aa_bbcc, ring_idx: 0xdd }
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_fenced_request_gets_its_fence_back() {
        let bytes = encode_header(Status::ErrUnspec, &request(FLAG_FENCE));
        let expected = Header { kind: 0x1200, flags: FLAG_FENCE, ring_idx: 0, ..request(0) };
        assert_eq!(Header::decode(&bytes), Some(expected));
    }

    #[test]
    fn a_fenced_request_for_a_ring_gets_the_ring_back() {
        let bytes = encode_header(Status::OkNoData, &request(FLAG_FENCE | FLAG_INFO_RING_IDX));
        let expected = Header { kind: 0x1100, flags: FLAG_FENCE | FLAG_INFO_RING_IDX, ..request(0) };
        assert_eq!(Header::decode(&bytes), Some(expected));
        assert_eq!(bytes[21..], [0; 3]);
    }

    #[test]
    fn flags_that_nobody_defined_are_not_sent_back() {
        let bytes = encode_header(Status::OkNoData, &request(u32::MAX));
        assert_eq!(word(&bytes, 4), FLAG_FENCE | FLAG_INFO_RING_IDX);
    }

    #[test]
    fn without_a_fence_nothing_is_repeated() {
        for flags in [0, FLAG_INFO_RING_IDX, !FLAG_FENCE] {
            let bytes = encode_header(Status::OkNoData, &request(flags));
            assert_eq!(Header::decode(&bytes), Some(Header { kind: 0x1100, ..Header::default() }));
        }
    }

    #[test]
    fn a_patched_response_keeps_type_and_body_and_gets_this_requests_fence() {
        let mut response: [u8; 30] = std::array::from_fn(|n| n as u8);
        assert!(patch_header(&mut response, &request(FLAG_FENCE)));
        let expected = Header { kind: 0x0302_0100, flags: FLAG_FENCE, ring_idx: 0, ..request(0) };
        assert_eq!(Header::decode(&response), Some(expected));
        assert_eq!(response[24..], [24, 25, 26, 27, 28, 29]);
        let mut short = [7; 23];
        assert!(!patch_header(&mut short, &request(FLAG_FENCE)));
        assert_eq!(short, [7; 23]);
    }

    #[test]
    fn display_info_has_sixteen_heads_where_the_kernel_has_them() {
        use linux::{virtio_gpu_resp_display_info as S, virtio_gpu_resp_display_info_virtio_gpu_display_one as D};
        let mut heads = [Head::default(); MAX_SCANOUTS];
        heads[0] = Head { rect: Rect::new(1, 2, 3, 4), enabled: true, flags: 5 };
        heads[15] = Head { rect: Rect::new(6, 7, 8, 9), enabled: false, flags: 10 };
        let mut out = [0xff; DISPLAY_INFO_SIZE];
        encode_display_info(&request(FLAG_FENCE), &heads, &mut out);
        assert_eq!(size_of::<S>(), out.len());
        assert_eq!(Header::decode(&out).unwrap().fence_id, request(0).fence_id);
        assert_eq!(word(&out, 0), 0x1101);
        for (n, head) in heads.iter().enumerate() {
            let at = offset_of!(S, pmodes) + n * size_of::<D>();
            let rect = at + offset_of!(D, r);
            let found = [rect, rect + 4, rect + 8, rect + 12].map(|at| word(&out, at));
            assert_eq!(found, [head.rect.x, head.rect.y, head.rect.width, head.rect.height]);
            assert_eq!(word(&out, at + offset_of!(D, enabled)), u32::from(head.enabled));
            assert_eq!(word(&out, at + offset_of!(D, flags)), head.flags);
        }
    }

    #[test]
    fn an_edid_is_sent_with_its_size_and_zeros_behind() {
        use linux::virtio_gpu_resp_edid as S;
        let mut out = [0xff; EDID_SIZE];
        encode_edid(&request(0), &[9; 128], &mut out);
        assert_eq!(size_of::<S>(), out.len());
        assert_eq!(word(&out, 0), 0x1104);
        assert_eq!(word(&out, offset_of!(S, size)), 128);
        let body = &out[offset_of!(S, edid)..];
        assert_eq!(body.len(), EDID_MAX);
        assert_eq!((&body[..128], &body[128..]), (&[9; 128][..], &[0; 896][..]));
    }

    #[test]
    fn of_a_too_long_edid_the_beginning_is_sent() {
        let mut out = [0; EDID_SIZE];
        encode_edid(&request(0), &[9; EDID_MAX + 1], &mut out);
        assert_eq!(word(&out, 24), 1024);
        assert_eq!(out[32..], [9; EDID_MAX]);
        encode_edid(&request(0), &[], &mut out);
        assert_eq!(out[24..], [0; 1032]);
    }

    #[test]
    fn small_answers_have_their_fields_where_the_kernel_has_them() {
        use linux::*;
        let capset = encode_capset_info(&request(0), 1, 2, 3);
        assert_eq!(capset.len(), size_of::<virtio_gpu_resp_capset_info>());
        assert_eq!(word(&capset, 0), 0x1102);
        assert_eq!(word(&capset, offset_of!(virtio_gpu_resp_capset_info, capset_id)), 1);
        assert_eq!(word(&capset, offset_of!(virtio_gpu_resp_capset_info, capset_max_version)), 2);
        assert_eq!(word(&capset, offset_of!(virtio_gpu_resp_capset_info, capset_max_size)), 3);
        let uuid = encode_uuid(&request(0), &[8; 16]);
        assert_eq!(uuid.len(), size_of::<virtio_gpu_resp_resource_uuid>());
        assert_eq!((word(&uuid, 0), &uuid[24..]), (0x1105, &[8; 16][..]));
        let map = encode_map_info(&request(0), 7);
        assert_eq!(map.len(), size_of::<virtio_gpu_resp_map_info>());
        assert_eq!((word(&map, 0), word(&map, 24), word(&map, 28)), (0x1106, 7, 0));
    }
}
