//! A back end of a few lines for tests of this package: it writes down what it is told.

use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::request::*;
use super::{FrontEnd, feature, wire};
use crate::deadline::Deadline;

/// A message as the back end saw it: number, NEED_REPLY, descriptors, payload.
pub(crate) type Seen = (u32, bool, usize, Vec<u8>);

/// What the back end offers.
pub(crate) const FEATURES: u64 = 1 << feature::PROTOCOL_FEATURES | 1 << feature::VERSION_1 | 1 << feature::EVENT_IDX;

/// Answers what has an answer, acknowledges what asks for it, until the front end hangs up. `device` sees each message
/// before it is answered, and changes the payload of GET_CONFIG into the answer.
pub(crate) fn record(
    stream: UnixStream,
    protocol_features: u64,
    mut device: impl FnMut(u32, &mut [u8]) + Send + 'static,
) -> JoinHandle<Vec<Seen>> {
    std::thread::spawn(move || {
        let mut end = FrontEnd::from_stream(stream);
        let mut seen = Vec::new();
        loop {
            let (mut header, mut fds) = ([0; wire::HEADER_SIZE], Vec::new());
            if end.fill(&mut header, &mut fds, Deadline::secs(10)).is_err() {
                return seen;
            }
            let header = wire::Header::decode(&header);
            let mut payload = vec![0; header.size as usize];
            end.fill(&mut payload, &mut fds, Deadline::secs(10)).unwrap();
            let need_reply = header.flags & wire::NEED_REPLY != 0;
            seen.push((header.request, need_reply, fds.len(), payload.clone()));
            device(header.request, &mut payload);
            let answer = match header.request {
                GET_FEATURES => Some(FEATURES.to_ne_bytes().to_vec()),
                GET_PROTOCOL_FEATURES => Some(protocol_features.to_ne_bytes().to_vec()),
                GET_QUEUE_NUM => Some(2u64.to_ne_bytes().to_vec()),
                GET_MAX_MEM_SLOTS => Some(509u64.to_ne_bytes().to_vec()),
                GET_CONFIG => Some(payload),
                GET_VRING_BASE => Some(wire::vring_state(payload[0].into(), 40 + u32::from(payload[0])).to_vec()),
                _ if need_reply => Some(vec![0; 8]),
                _ => None,
            };
            if let Some(answer) = answer {
                end.send(header.request, wire::REPLY, &answer, &[]).unwrap();
            }
        }
    })
}
