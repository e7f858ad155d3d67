//! Stand-in, replaced by the real loop: takes front ends and lets each hang up.

use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use thiserror::Error;

use crate::socket::Endpoint;

/// Why the program ends with a status that is not 0.
#[derive(Debug, Error)]
pub enum Error {
    /// The host failed.
    #[error("{0}")]
    Host(#[from] io::Error),
}

/// Serves until a signal comes, or until the one connected front end hangs up.
///
/// # Errors
/// The host failed.
pub fn serve<D>(_device: D, endpoint: Endpoint, signals: SignalFd) -> Result<(), Error> {
    let (listener, mut stream) = match endpoint {
        Endpoint::Listening(listener) => (Some(listener), None),
        Endpoint::Connected(stream) => (None, Some(stream)),
    };
    loop {
        let source = match (&stream, &listener) {
            (Some(stream), _) => stream.as_fd(),
            (None, Some(listener)) => listener.as_fd(),
            (None, None) => return Ok(()),
        };
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(source, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).map_err(io::Error::from)?;
        let [signal, _] = fds;
        if signal.any() == Some(true) {
            return Ok(());
        }
        if let Some(front_end) = &mut stream {
            if front_end.read(&mut [0; 64])? == 0 {
                stream = None;
            }
        } else if let Some(listener) = &listener {
            stream = listener.accept()?;
        }
    }
}
