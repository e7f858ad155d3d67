//! The front end's side of the control socket.
//!
//! [`FrontEnd`] sends any bytes at all ([`FrontEnd::send`], [`FrontEnd::send_pieces`]) and reads replies under a
//! deadline. `messages` has one method for each message, `sequence` the orders in which QEMU sends them, `generic` those of
//! other machine monitors, [`wire`] the layouts. A reply is accepted as QEMU accepts it: the same number, flags exactly version 1 and REPLY.

mod generic;
mod messages;
mod sequence;
pub mod wire;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::deadline::{Deadline, wait_readable};
use crate::error::{Error, Result};
use crate::sys::{FdBuffer, receive, send_all};

pub use generic::Vmm;
pub use sequence::{DeviceKind, Offer, Qemu, Start};
pub use wire::{VringAddr, feature, protocol, request};

use sequence::Sequence;
pub(crate) use sequence::new_eventfd;

/// Which messages ask for an acknowledgement, once REPLY_ACK is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckPolicy {
    /// Those for which QEMU 10.2 and later ask.
    Qemu11,
    /// Those for which QEMU up to 10.1 asks: not KICK, CALL and ERR.
    Qemu10,
    /// All that have no reply of their own, but not GPU_SET_SOCKET (it never has an answer).
    Always,
    /// These, and all that have a reply of their own too, where the bit means nothing: rust-vmm's front ends set it in
    /// each message once REPLY_ACK is negotiated.
    Every,
    /// None.
    Never,
}

/// A reply as it came.
#[derive(Debug)]
pub struct Reply {
    /// The message number.
    pub request: u32,
    /// The flags, which have been checked.
    pub flags: u32,
    /// The payload.
    pub payload: Vec<u8>,
    /// Descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

impl Reply {
    /// The payload as the u64 that most replies are.
    pub fn u64(&self) -> Result<u64> {
        let bytes: [u8; 8] = self.payload.as_slice().try_into().map_err(|_| {
            Error::fault(format!("reply to {} has {} bytes instead of 8", self.request, self.payload.len()))
        })?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// A part of a byte stream that is sent by a sendmsg of its own, with descriptors on its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The descriptors.
    pub fds: &'a [BorrowedFd<'a>],
}

/// A vhost-user front end.
pub struct FrontEnd {
    stream: UnixStream,
    ancillary: FdBuffer,
    timeout: Duration,
    policy: AckPolicy,
    features: u64,
    protocol_features: u64,
    sequence: Sequence,
}

impl FrontEnd {
    /// Connects to a listening back end.
    pub fn connect(path: impl AsRef<Path>) -> Result<FrontEnd> {
        UnixStream::connect(path).map(FrontEnd::from_stream).map_err(|error| Error::io("connect", error))
    }

    /// Connects as soon as the back end listens; for a program that was started a moment ago.
    pub fn connect_by(path: impl AsRef<Path>, deadline: Deadline) -> Result<FrontEnd> {
        loop {
            match FrontEnd::connect(path.as_ref()) {
                Err(_) if !deadline.passed() => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    /// Takes a connected socket.
    pub fn from_stream(stream: UnixStream) -> FrontEnd {
        FrontEnd {
            stream,
            ancillary: FdBuffer::new(),
            timeout: Duration::from_secs(5),
            policy: AckPolicy::Qemu11,
            features: 0,
            protocol_features: 0,
            sequence: Sequence::default(),
        }
    }

    /// A front end and the other end of its socket, for a back end by `--fd` or in this process.
    pub fn pair() -> Result<(FrontEnd, UnixStream)> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io("socketpair", error))?;
        Ok((FrontEnd::from_stream(ours), theirs))
    }

    /// How long a reply may take; 5 s to begin with.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Which messages ask for an acknowledgement; QEMU 11's to begin with.
    pub fn set_ack_policy(&mut self, policy: AckPolicy) {
        self.policy = policy;
    }

    /// The virtio features that the back end offered last.
    pub fn offered_features(&self) -> u64 {
        self.features
    }

    /// The protocol features that are negotiated.
    pub fn protocol_features(&self) -> u64 {
        self.protocol_features
    }

    /// Whether protocol feature `bit` is negotiated.
    pub fn has(&self, bit: u32) -> bool {
        self.protocol_features >> bit & 1 == 1
    }

    /// The socket, for what this type does not do.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends one message in one sendmsg, with `flags` on top of the version.
    pub fn send(&mut self, request: u32, flags: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.send_bytes(&wire::message(request, wire::VERSION | flags, payload), fds)
    }

    /// Sends any bytes in one sendmsg: a lying header, half a message, several messages at once.
    pub fn send_bytes(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        send_all(self.stream.as_fd(), bytes, fds, Deadline::after(self.timeout))
    }

    /// Sends a byte stream in pieces, each by its own sendmsg with its own descriptors.
    pub fn send_pieces(&mut self, pieces: &[Piece<'_>]) -> Result<()> {
        pieces.iter().try_for_each(|piece| self.send_bytes(piece.bytes, piece.fds))
    }

    /// Sends `bytes` in pieces that end at the offsets `cuts`, all of `fds` on the first piece.
    pub fn send_cut(&mut self, bytes: &[u8], cuts: &[usize], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let mut start = 0;
        for end in cuts.iter().copied().chain([bytes.len()]) {
            let fds = if start == 0 { fds } else { &[] };
            self.send_bytes(&bytes[start..end], fds)?;
            start = end;
        }
        Ok(())
    }

    /// Reads one reply to `request`, by the front end's own time limit.
    pub fn reply(&mut self, request: u32) -> Result<Reply> {
        self.recv_reply(request, Deadline::after(self.timeout))
    }

    /// Reads one reply to `request`: its number must match and its flags be exactly version 1 and REPLY.
    pub fn recv_reply(&mut self, request: u32, deadline: Deadline) -> Result<Reply> {
        let mut fds = Vec::new();
        let mut header = [0; wire::HEADER_SIZE];
        self.fill(&mut header, &mut fds, deadline)?;
        let header = wire::Header::decode(&header);
        if header.request != request {
            return Err(Error::fault(format!("a reply to {} came, one to {request} was due", header.request)));
        }
        if header.flags != wire::VERSION | wire::REPLY {
            return Err(Error::fault(format!("reply to {request} has flags {:#x} instead of 0x5", header.flags)));
        }
        if header.size > 4096 {
            return Err(Error::fault(format!("reply to {request} announces {} bytes", header.size)));
        }
        let mut payload = vec![0; header.size as usize];
        self.fill(&mut payload, &mut fds, deadline)?;
        Ok(Reply { request, flags: header.flags, payload, fds })
    }

    /// Waits for the end of the connection; anything else that comes is a fault.
    pub fn expect_close(&mut self, deadline: Deadline) -> Result<()> {
        let mut byte = [0];
        match self.fill(&mut byte, &mut Vec::new(), deadline) {
            Err(error) if error.is_closed() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::fault("bytes came where the end of the connection was due")),
        }
    }

    /// Checks that nothing to read is there now, neither bytes nor the end.
    pub fn expect_silence(&mut self, until: Deadline) -> Result<()> {
        match wait_readable(self.stream.as_fd(), until)? {
            true => Err(Error::fault("the back end said something, or hung up, where it had to be silent")),
            false => Ok(()),
        }
    }

    fn fill(&mut self, into: &mut [u8], fds: &mut Vec<OwnedFd>, deadline: Deadline) -> Result<()> {
        let mut have = 0;
        while have < into.len() {
            match receive(self.stream.as_fd(), &mut into[have..], &mut self.ancillary, fds)? {
                Some(0) => return Err(Error::Closed("end of the control socket instead of a reply")),
                Some(count) => have += count,
                None if wait_readable(self.stream.as_fd(), deadline)? => {}
                None => return Err(Error::TimedOut("reply on the control socket")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod recorder;
#[cfg(test)]
mod tests;
