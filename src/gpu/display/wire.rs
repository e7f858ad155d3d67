//! Messages of the display socket (QEMU's `docs/interop/vhost-user-gpu.rst`): bytes to values and back. No I/O.
//!
//! Each is a 12-byte header (`request`, `flags`, `size`: u32, native endian) and `size` bytes of payload. Here we are
//! the one who asks; the display answers some requests, in their order.

use thiserror::Error;
use vhost::vhost_user::gpu_message::GpuBackendReq;

use crate::gpu::command::FLAG_Y_0_TOP;
use crate::gpu::dmabuf::Dmabuf;
use crate::gpu::rect::Rect;

/// Bytes of a message header.
pub const HEADER_LEN: usize = 12;
/// Longest reply's payload: that of GET_EDID.
pub const MAX_REPLY: usize = EDID_LEN;
/// Payload of GET_DISPLAY_INFO's reply: a control header and 16 heads.
pub const DISPLAY_INFO_LEN: usize = 408;
/// Payload of GET_EDID's reply: a control header, size, padding and 1024 bytes.
pub const EDID_LEN: usize = 1056;
/// Longest head of a message: everything but pixels.
pub const MAX_HEAD: usize = HEADER_LEN + 48;
/// Width and height of a cursor.
pub const CURSOR_SIDE: u32 = 64;
/// Bytes of a cursor's pixels.
pub const CURSOR_LEN: usize = CURSOR_BYTES as usize;
/// As a message says it.
const CURSOR_BYTES: u32 = CURSOR_SIDE * CURSOR_SIDE * 4;

/// VHOST_USER_GPU_PROTOCOL_F_EDID.
pub const F_EDID: u64 = 1 << 0;
/// VHOST_USER_GPU_PROTOCOL_F_DMABUF2.
pub const F_DMABUF2: u64 = 1 << 1;

const FLAG_REPLY: u32 = 1 << 2;

/// Why what the display sent is no reply. Nothing that follows can be trusted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    #[error("the display sent a message without being asked ({0})")]
    Unexpected(u32),
    #[error("the display's answer has flags {0:#x}")]
    Flags(u32),
    #[error("the display's answer to {request:?} has {got} bytes, not {need}")]
    Size { request: GpuBackendReq, need: usize, got: u32 },
}

/// A reply's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// What it answers.
    pub request: GpuBackendReq,
    /// Bytes of payload that follow: exactly those of that answer.
    pub size: usize,
}

impl ReplyHeader {
    /// Reads a reply's header.
    ///
    /// # Errors
    /// It is no reply, or not of the size that its request's reply has.
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, ReplyError> {
        let [r0, r1, r2, r3, f0, f1, f2, f3, s0, s1, s2, s3] = bytes;
        let number = u32::from_ne_bytes([r0, r1, r2, r3]);
        let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
        let got = u32::from_ne_bytes([s0, s1, s2, s3]);
        let request = GpuBackendReq::try_from(number).map_err(|()| ReplyError::Unexpected(number))?;
        let need = match request {
            GpuBackendReq::GET_PROTOCOL_FEATURES => 8,
            GpuBackendReq::GET_DISPLAY_INFO => DISPLAY_INFO_LEN,
            GpuBackendReq::GET_EDID => EDID_LEN,
            GpuBackendReq::DMABUF_UPDATE => 0,
            _ => return Err(ReplyError::Unexpected(number)),
        };
        if flags & FLAG_REPLY == 0 {
            return Err(ReplyError::Flags(flags));
        }
        if got as usize != need {
            return Err(ReplyError::Size { request, need, got });
        }
        Ok(Self { request, size: need })
    }
}

/// A message's head: all of it, but for the pixels that follow an update or a cursor.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Head {
    fn new(request: GpuBackendReq, fields: &[u32], pixels: u32) -> Self {
        let mut head = Self { bytes: [0; MAX_HEAD], len: 0 };
        let fields_len = u32::try_from(size_of_val(fields)).unwrap_or(u32::MAX);
        let size = fields_len.saturating_add(pixels);
        for field in [request as u32, 0, size].iter().chain(fields) {
            head.put(&field.to_ne_bytes());
        }
        head
    }

    fn put(&mut self, field: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len.saturating_add(field.len())) {
            place.copy_from_slice(field);
            self.len += field.len();
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// GET_PROTOCOL_FEATURES.
    pub fn get_protocol_features() -> Self {
        Self::new(GpuBackendReq::GET_PROTOCOL_FEATURES, &[], 0)
    }

    /// SET_PROTOCOL_FEATURES.
    pub fn set_protocol_features(features: u64) -> Self {
        let mut head = Self::new(GpuBackendReq::SET_PROTOCOL_FEATURES, &[], 8);
        head.put(&features.to_ne_bytes());
        head
    }

    /// GET_DISPLAY_INFO.
    pub fn get_display_info() -> Self {
        Self::new(GpuBackendReq::GET_DISPLAY_INFO, &[], 0)
    }

    /// GET_EDID.
    pub fn get_edid(scanout: u32) -> Self {
        Self::new(GpuBackendReq::GET_EDID, &[scanout], 0)
    }

    /// SCANOUT: a new surface of that size, 0×0 for none.
    pub fn scanout(scanout: u32, width: u32, height: u32) -> Self {
        Self::new(GpuBackendReq::SCANOUT, &[scanout, width, height], 0)
    }

    /// UPDATE of `rect`, in scanout coordinates; its pixels follow.
    pub fn update(scanout: u32, rect: &Rect) -> Self {
        let pixels = rect.width.saturating_mul(rect.height).saturating_mul(4);
        Self::new(GpuBackendReq::UPDATE, &[scanout, rect.x, rect.y, rect.width, rect.height], pixels)
    }

    /// DMABUF_SCANOUT of the part `rect` of `buffer`, or DMABUF_SCANOUT2 where the display acknowledged DMABUF2 and the order
    /// of the pixels is known; the buffer's descriptor goes with it.
    pub fn dmabuf_scanout(scanout: u32, buffer: &Dmabuf, rect: &Rect, dmabuf2: bool) -> Self {
        let (width, height) = buffer.seen_as(rect).unwrap_or((buffer.width, buffer.height));
        let flags = if buffer.y_0_top { FLAG_Y_0_TOP } else { 0 };
        let place = [scanout, rect.x, rect.y, rect.width, rect.height];
        let layout = [width, height, buffer.stride, flags, buffer.fourcc];
        let mut fields = [0; 10];
        for (field, value) in fields.iter_mut().zip(place.into_iter().chain(layout)) {
            *field = value;
        }
        let Some(modifier) = buffer.modifier.filter(|_| dmabuf2) else {
            return Self::new(GpuBackendReq::DMABUF_SCANOUT, &fields, 0);
        };
        let mut head = Self::new(GpuBackendReq::DMABUF_SCANOUT2, &fields, 8);
        head.put(&modifier.to_ne_bytes());
        head
    }

    /// DMABUF_SCANOUT without a descriptor: the display lets its buffer go.
    pub fn dmabuf_release(scanout: u32) -> Self {
        Self::new(GpuBackendReq::DMABUF_SCANOUT, &[scanout, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0)
    }

    /// DMABUF_UPDATE of `rect`, in scanout coordinates. The display answers once it took the frame.
    pub fn dmabuf_update(scanout: u32, rect: &Rect) -> Self {
        Self::new(GpuBackendReq::DMABUF_UPDATE, &[scanout, rect.x, rect.y, rect.width, rect.height], 0)
    }

    /// CURSOR_POS, or CURSOR_POS_HIDE.
    pub fn cursor_pos(scanout: u32, x: u32, y: u32, visible: bool) -> Self {
        let request = if visible { GpuBackendReq::CURSOR_POS } else { GpuBackendReq::CURSOR_POS_HIDE };
        Self::new(request, &[scanout, x, y], 0)
    }

    /// CURSOR_UPDATE; its 64×64 pixels follow.
    pub fn cursor_update(scanout: u32, x: u32, y: u32, hot: (u32, u32)) -> Self {
        Self::new(GpuBackendReq::CURSOR_UPDATE, &[scanout, x, y, hot.0, hot.1], CURSOR_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(request: u32, flags: u32, size: u32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        for (place, field) in bytes.chunks_exact_mut(4).zip([request, flags, size]) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn replies_have_exactly_the_size_of_their_request() {
        for (request, size) in [(1, 8), (3, 408), (11, 1056), (10, 0)] {
            assert_eq!(ReplyHeader::parse(header(request, 4, size)).unwrap().size, size as usize);
            assert!(matches!(ReplyHeader::parse(header(request, 4, size + 1)), Err(ReplyError::Size { .. })));
            assert_eq!(ReplyHeader::parse(header(request, 0, size)), Err(ReplyError::Flags(0)));
        }
    }

    #[test]
    fn what_answers_no_question_is_no_reply() {
        for request in [0, 2, 4, 5, 6, 7, 8, 9, 12, 13, u32::MAX] {
            assert_eq!(ReplyHeader::parse(header(request, 4, 0)), Err(ReplyError::Unexpected(request)));
        }
    }

    fn words(head: &Head) -> Vec<u32> {
        head.bytes().chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn an_update_announces_its_pixels() {
        let head = Head::update(3, &Rect::new(1, 2, 10, 20));
        assert_eq!(words(&head), [8, 0, 20 + 10 * 20 * 4, 3, 1, 2, 10, 20]);
    }

    #[test]
    fn a_cursor_announces_64_by_64_pixels() {
        let head = Head::cursor_update(1, 5, 6, (7, 8));
        assert_eq!(words(&head), [6, 0, 16404, 1, 5, 6, 7, 8]);
    }

    #[test]
    fn a_buffer_goes_with_its_modifier_where_there_is_one_and_the_display_takes_it() {
        let fd = std::fs::File::open("/dev/null").unwrap().into();
        let modifier = Some(0x0123_4567_89ab_cdef);
        let mut buffer = Dmabuf {
            fd,
            width: 640,
            height: 480,
            stride: 2624,
            fourcc: 0x3432_5258,
            modifier,
            y_0_top: true,
            charge: None,
        };
        let fields = [5, 0, 0, 640, 480, 640, 480, 2624, 1, 0x3432_5258];
        let rect = buffer.rect();
        let second = words(&Head::dmabuf_scanout(5, &buffer, &rect, true));
        let halves =
            if cfg!(target_endian = "little") { [0x89ab_cdef, 0x0123_4567] } else { [0x0123_4567, 0x89ab_cdef] };
        assert_eq!(second, [&[12, 0, 48], &fields[..], &halves].concat());
        let first = [&[9, 0, 40], &fields[..]].concat();
        assert_eq!(words(&Head::dmabuf_scanout(5, &buffer, &rect, false)), first);
        buffer.modifier = None;
        assert_eq!(words(&Head::dmabuf_scanout(5, &buffer, &rect, true)), first);
    }

    #[test]
    fn a_part_of_a_buffer_is_told_as_a_buffer_of_that_size() {
        let fd = std::fs::File::open("/dev/null").unwrap().into();
        let buffer = Dmabuf {
            fd,
            width: 640,
            height: 480,
            stride: 2560,
            fourcc: 7,
            modifier: Some(0),
            y_0_top: false,
            charge: None,
        };
        let head = Head::dmabuf_scanout(0, &buffer, &Rect::of_size(320, 240), false);
        assert_eq!(words(&head), [9, 0, 40, 0, 0, 0, 320, 240, 320, 240, 2560, 0, 7]);
    }

    #[test]
    fn a_buffer_is_let_go_by_a_scanout_of_nothing_and_updated_by_a_rectangle() {
        assert_eq!(words(&Head::dmabuf_release(3)), [&[9, 0, 40, 3][..], &[0; 9]].concat());
        assert_eq!(words(&Head::dmabuf_update(3, &Rect::new(1, 2, 10, 20))), [10, 0, 20, 3, 1, 2, 10, 20]);
    }
}
