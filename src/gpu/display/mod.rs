//! The display socket: one message at a time out, replies in, never blocking.
//!
//! QEMU reads each message to its end before it does anything else, so a message once begun is finished before the
//! next one; what the next one says is decided only then, from the newest state. Pixels go from the image into the
//! socket without a buffer between. This end is never closed first while the device runs: QEMU would spin.

pub mod wire;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg, setsockopt, sockopt};
use thiserror::Error;
use vhost::vhost_user::gpu_message::GpuBackendReq;

use self::wire::{CURSOR_LEN, HEADER_LEN, Head, MAX_REPLY, ReplyError, ReplyHeader};
use super::dmabuf::Dmabuf;
use super::image::Image;
use super::pixel::PIXEL;
use super::rect::Rect;
use crate::reactor::{Interest, Watch};
use crate::vhost_proto::device::{Registrar, Source};

/// Room asked for in the socket, in bytes.
const SEND_BUFFER: usize = 1 << 20;
/// Rows of pixels handed to one system call.
const MAX_ROWS: usize = 128;

/// Why the display is of no further use.
#[derive(Debug, Error)]
pub enum DisplayError {
    /// It closed its end: the guest was stopped or reset, or QEMU ended.
    #[error("the display hung up")]
    Closed,
    /// What it sent is no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// It answered something else than what was asked.
    #[error("the display answered {0:?} out of order")]
    Order(GpuBackendReq),
    /// The socket failed.
    #[error("display socket: {0}")]
    Io(#[from] io::Error),
}

/// A reply and its payload.
#[derive(Debug)]
pub struct Reply<'a> {
    /// What it answers.
    pub request: GpuBackendReq,
    /// Its payload, of the size that this answer has.
    pub payload: &'a [u8],
}

/// What follows a message's head.
#[derive(Debug)]
enum Tail {
    Nothing,
    /// No bytes: the descriptor goes with the message's first one.
    Descriptor(Rc<Dmabuf>),
    Pixels(Rc<Image>, Rect),
    Cursor(Box<[u8; CURSOR_LEN]>),
}

/// The message being sent.
#[derive(Debug)]
struct Outgoing {
    head: Head,
    tail: Tail,
    len: usize,
    sent: usize,
}

/// The socket of one GPU_SET_SOCKET.
#[derive(Debug)]
pub struct Display {
    socket: Watch<OwnedFd>,
    outgoing: Option<Outgoing>,
    reply: [u8; HEADER_LEN + MAX_REPLY],
    received: usize,
    /// A cursor's pixels, when no cursor is being sent.
    spare: Option<Box<[u8; CURSOR_LEN]>>,
    /// Bytes sent so far.
    bytes_sent: u64,
    /// Nothing more is read from it, and no message is begun.
    abandoned: bool,
}

impl Display {
    /// Takes the socket over and watches it.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn new(socket: OwnedFd, source: u8, registrar: &Registrar) -> io::Result<Self> {
        // More room means fewer turns for a large picture; the system's limit cuts it down, and less will do.
        let _ = setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER);
        let socket = registrar.watch(Source::Device(source), socket, Interest::Read)?;
        Ok(Self {
            socket,
            outgoing: None,
            reply: [0; HEADER_LEN + MAX_REPLY],
            received: 0,
            spare: Some(Box::new([0; CURSOR_LEN])),
            bytes_sent: 0,
            abandoned: false,
        })
    }

    /// Whether the last message is wholly out: only then may another begin.
    pub fn idle(&self) -> bool {
        self.outgoing.is_none()
    }

    /// Bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Begins a message without pixels.
    pub fn begin(&mut self, head: Head) {
        self.start(head, Tail::Nothing, 0);
    }

    /// Begins a message that hands `buffer` over.
    pub fn begin_handover(&mut self, head: Head, buffer: Rc<Dmabuf>) {
        self.start(head, Tail::Descriptor(buffer), 0);
    }

    /// Begins an UPDATE: the pixels `from` of `image`.
    pub fn begin_update(&mut self, head: Head, image: Rc<Image>, from: Rect) {
        let len = from.width as usize * from.height as usize * PIXEL;
        self.start(head, Tail::Pixels(image, from), len);
    }

    /// Begins a CURSOR_UPDATE.
    pub fn begin_cursor(&mut self, head: Head, pixels: &[u8; CURSOR_LEN]) {
        let mut buffer = self.spare.take().unwrap_or_else(|| Box::new([0; CURSOR_LEN]));
        buffer.copy_from_slice(pixels);
        self.start(head, Tail::Cursor(buffer), CURSOR_LEN);
    }

    fn start(&mut self, head: Head, tail: Tail, tail_len: usize) {
        debug_assert!(self.idle(), "a message is finished before the next one");
        let len = head.bytes().len() + tail_len;
        self.outgoing = Some(Outgoing { head, tail, len, sent: 0 });
    }

    /// Sends what the socket takes. `true` once the message is wholly out.
    ///
    /// # Errors
    /// The display hung up, or the socket failed.
    pub fn advance(&mut self) -> Result<bool, DisplayError> {
        while let Some(outgoing) = &mut self.outgoing {
            match outgoing.send(self.socket.get()) {
                Ok(count) => {
                    self.bytes_sent += count as u64;
                    if outgoing.sent >= outgoing.len {
                        self.finish();
                    }
                }
                // Short of memory, or with too many descriptors on their way, the kernel says so instead of waiting: later,
                // then.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::ETOOMANYREFS) => {
                    let interest = if self.abandoned { Interest::Write } else { Interest::ReadWrite };
                    self.socket.set_interest(interest)?;
                    return Ok(false);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(DisplayError::Closed),
                Err(error) => return Err(DisplayError::Io(error.into())),
            }
        }
        if self.abandoned {
            self.socket.set_interest(Interest::Hangup)?;
        }
        Ok(true)
    }

    fn finish(&mut self) {
        if let Some(Outgoing { tail: Tail::Cursor(buffer), .. }) = self.outgoing.take() {
            self.spare = Some(buffer);
        }
    }

    /// Nothing is left to send: wait for replies alone. With `more`, come back as soon as there is room.
    ///
    /// # Errors
    /// The watch cannot be changed.
    pub fn rest(&mut self, more: bool) -> Result<(), DisplayError> {
        Ok(self.socket.set_interest(if more { Interest::ReadWrite } else { Interest::Read })?)
    }

    /// The next whole reply, or `None` until more bytes are there.
    ///
    /// # Errors
    /// The display hung up, the socket failed, or what came is no reply.
    pub fn receive(&mut self) -> Result<Option<Reply<'_>>, DisplayError> {
        loop {
            let mut need = HEADER_LEN;
            if self.received >= HEADER_LEN {
                let header = self.header()?;
                need += header.size;
                if self.received == need {
                    self.received = 0;
                    let payload = self.reply.get(HEADER_LEN..need).unwrap_or_default();
                    return Ok(Some(Reply { request: header.request, payload }));
                }
            }
            let Some(rest) = self.reply.get_mut(self.received..need) else { return Ok(None) };
            match recv(self.socket.get().as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(DisplayError::Closed),
                Ok(count) => self.received += count,
                Err(error) => match io::Error::from(error).kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => return Err(DisplayError::Closed),
                    _ => return Err(DisplayError::Io(error.into())),
                },
            }
        }
    }

    fn header(&self) -> Result<ReplyHeader, ReplyError> {
        ReplyHeader::parse(self.reply.first_chunk().copied().unwrap_or_default())
    }

    /// It broke the protocol: nothing more is read from it, and no message is begun. One under way is finished by
    /// [`Display::advance`].
    pub fn abandon(&mut self) {
        self.abandoned = true;
        let interest = if self.idle() { Interest::Hangup } else { Interest::Write };
        // Where even that fails the descriptor is dead anyway.
        let _ = self.socket.set_interest(interest);
    }
}

impl Outgoing {
    fn send(&mut self, socket: &OwnedFd) -> Result<usize, Errno> {
        let head = self.head.bytes();
        let head_rest = head.get(self.sent..).unwrap_or_default();
        let tail_sent = self.sent.saturating_sub(head.len());
        let count = match &self.tail {
            // Whatever is sent of the message, its first byte is; a descriptor that goes again would be another message's.
            Tail::Descriptor(buffer) if self.sent == 0 => {
                send_with(socket, &[IoSlice::new(head_rest)], &[ControlMessage::ScmRights(&[buffer.fd.as_raw_fd()])])
            }
            Tail::Nothing | Tail::Descriptor(_) => send(socket, &[IoSlice::new(head_rest)]),
            Tail::Cursor(pixels) => {
                send(socket, &[IoSlice::new(head_rest), IoSlice::new(pixels.get(tail_sent..).unwrap_or_default())])
            }
            Tail::Pixels(image, rect) => image.with_pixels(|pixels| {
                let mut parts = [IoSlice::new(&[]); MAX_ROWS + 1];
                let mut used = 0;
                for (part, bytes) in
                    parts.iter_mut().zip(std::iter::once(head_rest).chain(rows(image, pixels, rect, tail_sent)))
                {
                    *part = IoSlice::new(bytes);
                    used += 1;
                }
                send(socket, parts.get(..used).unwrap_or_default())
            }),
        }?;
        self.sent += count;
        Ok(count)
    }
}

/// The rows of `rect` from its byte `skip` on; rows that follow each other without a gap come as one.
fn rows<'a>(image: &Image, pixels: &'a [u8], rect: &Rect, skip: usize) -> impl Iterator<Item = &'a [u8]> {
    let stride = image.stride();
    let row_len = rect.width as usize * PIXEL;
    let (row_len, row_count) =
        if row_len == stride { (row_len * rect.height as usize, 1) } else { (row_len, rect.height as usize) };
    let first = rect.y as usize * stride + rect.x as usize * PIXEL;
    let done = skip.checked_div(row_len).unwrap_or(row_count);
    let mut into = skip.checked_rem(row_len).unwrap_or(0);
    (done..row_count).map(move |row| {
        let start = first + row * stride;
        let part = pixels.get(start + into..start + row_len).unwrap_or_default();
        into = 0;
        part
    })
}

fn send(socket: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    send_with(socket, parts, &[])
}

fn send_with(socket: &OwnedFd, parts: &[IoSlice<'_>], beside: &[ControlMessage<'_>]) -> Result<usize, Errno> {
    sendmsg::<()>(socket.as_raw_fd(), parts, beside, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, None)
}
