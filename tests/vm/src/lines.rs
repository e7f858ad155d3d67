//! Lines over a stream socket, with deadlines: the QMP connection and the guest's command port.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Context, Error, Result};

/// Accepts one connection; `None` when none came in time.
pub fn accept(listener: &UnixListener, patience: Duration) -> Result<Option<UnixStream>> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, timeout).context("poll")? == 0 {
        return Ok(None);
    }
    listener.accept().map(|(stream, _)| Some(stream)).context("accept")
}

pub struct Lines {
    name: &'static str,
    stream: UnixStream,
    /// What came behind the last line.
    rest: Vec<u8>,
}

impl Lines {
    pub fn new(name: &'static str, stream: UnixStream) -> Self {
        Lines { name, stream, rest: Vec::new() }
    }

    pub fn send(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes()).context(self.name)
    }

    /// The next line without its end.
    pub fn next(&mut self, deadline: Instant) -> Result<String> {
        let mut buffer = [0u8; 8192];
        loop {
            if let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Failed(format!("{}: no answer in time", self.name)));
            }
            self.stream.set_read_timeout(Some(left)).context(self.name)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Error::Failed(format!("{}: the other side hung up", self.name))),
                Ok(n) => self.rest.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e).context(self.name),
            }
        }
    }
}
