//! Messages out of a byte stream that comes in pieces of any size. Pure, and copies nothing.

use crate::control::wire::{HEADER_SIZE, Header};
use crate::error::Result;

/// What is told about each message while it comes in.
pub(super) trait Visitor {
    /// A header is complete.
    fn start(&mut self, header: Header) -> Result<()>;
    /// Some of the payload, from offset `at` on.
    fn body(&mut self, header: Header, at: usize, bytes: &[u8]) -> Result<()>;
    /// The payload is complete.
    fn end(&mut self, header: Header) -> Result<()>;
}

#[derive(Default)]
pub(super) struct Framer {
    head: [u8; HEADER_SIZE],
    have: usize,
    message: Option<(Header, usize)>,
}

impl Framer {
    /// Whether a message has begun that is not complete.
    pub(super) fn is_inside(&self) -> bool {
        self.have > 0 || self.message.is_some()
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], visitor: &mut impl Visitor) -> Result<()> {
        while !bytes.is_empty() {
            let (header, done) = match self.message {
                Some(message) => message,
                None => {
                    let count = bytes.len().min(HEADER_SIZE - self.have);
                    self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                    (self.have, bytes) = (self.have + count, &bytes[count..]);
                    if self.have < HEADER_SIZE {
                        return Ok(());
                    }
                    self.have = 0;
                    let header = Header::decode(&self.head);
                    visitor.start(header)?;
                    (header, 0)
                }
            };
            let count = bytes.len().min(header.size as usize - done);
            if count > 0 {
                visitor.body(header, done, &bytes[..count])?;
                bytes = &bytes[count..];
            }
            self.message = Some((header, done + count));
            if done + count == header.size as usize {
                self.message = None;
                visitor.end(header)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::message;

    #[derive(Default)]
    struct Seen(Vec<(u32, Vec<u8>)>);

    impl Visitor for Seen {
        fn start(&mut self, header: Header) -> Result<()> {
            self.0.push((header.request, Vec::new()));
            Ok(())
        }
        fn body(&mut self, _: Header, at: usize, bytes: &[u8]) -> Result<()> {
            let last = &mut self.0.last_mut().unwrap().1;
            assert_eq!(last.len(), at);
            last.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self, header: Header) -> Result<()> {
            assert_eq!(self.0.last().unwrap().1.len(), header.size as usize);
            Ok(())
        }
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let stream =
            [message(3, 0, &[]), message(7, 0, &[1; 12]), message(1, 0, &[]), message(8, 0, &[2; 60])].concat();
        for step in 1..=stream.len() {
            let (mut framer, mut seen) = (Framer::default(), Seen::default());
            for piece in stream.chunks(step) {
                framer.feed(piece, &mut seen).unwrap();
            }
            assert!(!framer.is_inside());
            let sizes: Vec<_> = seen.0.iter().map(|(request, body)| (*request, body.len())).collect();
            assert_eq!(sizes, [(3, 0), (7, 12), (1, 0), (8, 60)], "pieces of {step}");
        }
    }

    #[test]
    fn half_a_message_is_noticed() {
        let mut framer = Framer::default();
        framer.feed(&message(7, 0, &[1; 12])[..20], &mut Seen::default()).unwrap();
        assert!(framer.is_inside());
    }
}
