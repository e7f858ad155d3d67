//! The display socket's bytes: message numbers, exact sizes, replies. Pure.

use crate::control::wire::{HEADER_SIZE, Header, REPLY};
use crate::gpu::{DISPLAY_INFO_SIZE, EDID_SIZE, Head, Rect, resp};

/// Message numbers.
#[allow(missing_docs)]
pub mod message {
    pub const GET_PROTOCOL_FEATURES: u32 = 1;
    pub const SET_PROTOCOL_FEATURES: u32 = 2;
    pub const GET_DISPLAY_INFO: u32 = 3;
    pub const CURSOR_POS: u32 = 4;
    pub const CURSOR_POS_HIDE: u32 = 5;
    pub const CURSOR_UPDATE: u32 = 6;
    pub const SCANOUT: u32 = 7;
    pub const UPDATE: u32 = 8;
    pub const DMABUF_SCANOUT: u32 = 9;
    pub const DMABUF_UPDATE: u32 = 10;
    pub const GET_EDID: u32 = 11;
    pub const DMABUF_SCANOUT2: u32 = 12;
}

/// One more than the highest message number.
pub const MESSAGES: usize = 13;
/// Scanouts there can be.
pub const MAX_SCANOUTS: usize = 16;
/// Display protocol feature: GET_EDID is understood.
pub const FEATURE_EDID: u64 = 1 << 0;
/// Display protocol feature: DMABUF_SCANOUT2 is understood.
pub const FEATURE_DMABUF2: u64 = 1 << 1;
/// Width and height of a cursor.
pub const CURSOR_SIDE: usize = 64;
/// Bytes of a cursor's picture.
pub const CURSOR_BYTES: usize = CURSOR_SIDE * CURSOR_SIDE * 4;
/// Bytes of an UPDATE before its pixels.
pub const UPDATE_HEAD: usize = 20;
/// The longest payload but for UPDATE's pixels.
pub(super) const MAX_SMALL: usize = 20 + CURSOR_BYTES;

/// The payload's exact length; for UPDATE the least. `None` for an unknown message.
pub fn payload_size(request: u32) -> Option<usize> {
    Some(match request {
        message::GET_PROTOCOL_FEATURES | message::GET_DISPLAY_INFO => 0,
        message::SET_PROTOCOL_FEATURES => 8,
        message::CURSOR_POS | message::CURSOR_POS_HIDE | message::SCANOUT => 12,
        message::CURSOR_UPDATE => MAX_SMALL,
        message::UPDATE | message::DMABUF_UPDATE => UPDATE_HEAD,
        message::DMABUF_SCANOUT => 40,
        message::GET_EDID => 4,
        message::DMABUF_SCANOUT2 => 48,
        _ => return None,
    })
}

/// Word `index` of a payload.
pub(super) fn word(payload: &[u8], index: usize) -> u32 {
    let at = index * 4;
    u32::from_ne_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]])
}

/// The rectangle that starts at word `index` of a payload.
pub(super) fn rect(payload: &[u8], index: usize) -> Rect {
    Rect::new(word(payload, index), word(payload, index + 1), word(payload, index + 2), word(payload, index + 3))
}

/// An UPDATE's 32 bytes before its pixels, for benches that send the same bytes without a back end.
pub fn update_header(scanout: u32, rect: Rect) -> [u8; HEADER_SIZE + UPDATE_HEAD] {
    let pixels = rect.width as usize * rect.height as usize * 4;
    let header = Header { request: message::UPDATE, flags: 0, size: (UPDATE_HEAD + pixels) as u32 };
    let mut bytes = [0; HEADER_SIZE + UPDATE_HEAD];
    bytes[..HEADER_SIZE].copy_from_slice(&header.encode());
    for (at, value) in [scanout, rect.x, rect.y, rect.width, rect.height].into_iter().enumerate() {
        bytes[HEADER_SIZE + at * 4..HEADER_SIZE + at * 4 + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// A reply.
pub fn reply(request: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header { request, flags: REPLY, size: payload.len() as u32 }.encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a reply to GET_DISPLAY_INFO: a virtio response, little-endian.
pub fn display_info(heads: &[Head]) -> Vec<u8> {
    let mut payload = vec![0; DISPLAY_INFO_SIZE];
    payload[0..4].copy_from_slice(&resp::OK_DISPLAY_INFO.to_le_bytes());
    for (at, head) in heads.iter().take(MAX_SCANOUTS).enumerate() {
        payload[24 + at * Head::SIZE..24 + (at + 1) * Head::SIZE].copy_from_slice(&head.encode());
    }
    payload
}

/// The payload of a reply to GET_EDID: a virtio response, little-endian.
pub fn edid(block: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; EDID_SIZE];
    payload[0..4].copy_from_slice(&resp::OK_EDID.to_le_bytes());
    payload[24..28].copy_from_slice(&(block.len() as u32).to_le_bytes());
    payload[32..32 + block.len()].copy_from_slice(block);
    payload
}

/// A well-formed EDID block of 128 bytes that tells one head from another by its serial number.
pub fn sample_edid(head: u32) -> Vec<u8> {
    let mut block = vec![0; 128];
    block[0..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    block[12..16].copy_from_slice(&(0x5ea7_0000 + head).to_le_bytes());
    block[18..20].copy_from_slice(&[1, 4]);
    let sum = block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    block[127] = sum.wrapping_neg();
    block
}
