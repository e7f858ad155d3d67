//! One front end's control socket: whole messages in, one reply at a time out, never blocking.
//!
//! A message may come in any pieces and several may come at once; what came so far is kept until the rest is there.
//! Exactly the bytes of one message are read, so descriptors always belong to the message that they came with. While a
//! reply waits for room in the socket no further message is taken: a front end cannot make us hold a second one.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use thiserror::Error;

use super::scm;
use super::wire::{HEADER_LEN, Header, MAX_PAYLOAD, MAX_REPLY, Reply, Request, WireError};

/// Why a connection is over.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The front end closed its end between two messages: the ordinary end.
    #[error("the front end hung up")]
    Closed,
    /// The front end closed its end within a message.
    #[error("the front end hung up within a message")]
    Cut,
    /// What came is no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The socket failed.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
}

/// A whole message.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What it asks.
    pub request: Request,
}

/// The control socket with the message being received and the reply being sent.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    header: [u8; HEADER_LEN],
    payload: Box<[u8; MAX_PAYLOAD]>,
    /// Bytes of header and payload received so far.
    received: usize,
    parsed: Option<Header>,
    fds: Vec<OwnedFd>,
    reply: [u8; MAX_REPLY],
    reply_len: usize,
    reply_sent: usize,
}

impl Connection {
    /// Takes over a connected socket; whether it is blocking does not matter.
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            header: [0; HEADER_LEN],
            payload: Box::new([0; MAX_PAYLOAD]),
            received: 0,
            parsed: None,
            fds: Vec::new(),
            reply: [0; MAX_REPLY],
            reply_len: 0,
            reply_sent: 0,
        }
    }

    /// The next whole message, or `None` until more bytes are there.
    ///
    /// # Errors
    /// The end of the connection, whoever's fault.
    pub fn receive(&mut self) -> Result<Option<Message>, ConnectionError> {
        if self.reply_pending() {
            return Ok(None);
        }
        let header = match self.parsed {
            Some(header) => header,
            None => {
                if !self.fill(0)? {
                    return Ok(None);
                }
                *self.parsed.insert(Header::parse(self.header)?)
            }
        };
        if !self.fill(header.size)? {
            return Ok(None);
        }
        self.parsed = None;
        self.received = 0;
        let payload = self.payload.get(..header.size).unwrap_or_default();
        let request = Request::parse(&header, payload, std::mem::take(&mut self.fds))?;
        Ok(Some(Message { header, request }))
    }

    /// Receives until the header and `payload` bytes are there; `false` when the socket has no more for now.
    fn fill(&mut self, payload: usize) -> Result<bool, ConnectionError> {
        loop {
            let rest = match self.received.checked_sub(HEADER_LEN) {
                None => self.header.get_mut(self.received..),
                Some(at) => self.payload.get_mut(at..payload),
            };
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
                return Ok(true);
            };
            match scm::receive(self.socket.as_fd(), rest, &mut self.fds) {
                Ok(0) if self.received == 0 => return Err(ConnectionError::Closed),
                Ok(0) => return Err(ConnectionError::Cut),
                Ok(count) => self.received += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(false),
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset if self.received == 0 => return Err(ConnectionError::Closed),
                    _ => return Err(error.into()),
                },
            }
        }
    }

    /// Sends the reply to `request`; what the socket does not take now goes out with [`Connection::flush`].
    ///
    /// # Errors
    /// The socket's, of which a closed other end is one.
    pub fn reply(&mut self, request: u32, reply: &Reply) -> Result<(), ConnectionError> {
        self.reply_len = reply.encode(request, &mut self.reply);
        self.reply_sent = 0;
        self.flush()
    }

    /// Goes on sending the reply under way.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn flush(&mut self) -> Result<(), ConnectionError> {
        while let Some(rest) = self.reply.get(self.reply_sent..self.reply_len).filter(|rest| !rest.is_empty()) {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.reply_sent += count,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(ConnectionError::Closed),
                Err(error) => return Err(ConnectionError::Io(error.into())),
            }
        }
        Ok(())
    }

    /// Whether a reply still waits for room in the socket.
    pub fn reply_pending(&self) -> bool {
        self.reply_sent < self.reply_len
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
