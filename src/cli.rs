//! The programs' surface: the "Backend program conventions" of QEMU's vhost-user document, and the way out.
//!
//! Both programs run through [`run`] and differ in one [`Program`] each. The order is:
//!
//! 1. the signals are blocked, so that none is lost;
//! 2. `--print-capabilities`, wherever it stands on the command line and whatever stands beside it, prints and ends;
//! 3. the options are read, once, from left to right; the first bad one ends the program;
//! 4. an inherited socket is taken over, then the device is opened, and only then is a socket file made: whoever waits for
//!    it may rely on a device behind it;
//! 5. all else is given up ([`crate::sandbox`]); a device that has threads is opened after most of it is;
//! 6. the loop runs until SIGTERM or SIGINT, or until the one connected front end hangs up.
//!
//! The program never daemonizes. File descriptors 0, 1 and 2 always exist: Rust's runtime opens /dev/null for those that
//! are closed at the start, and manages without its standard streams being readable or writable.
//!
//! Exit status: 0 in good order; 2 for options that make no sense; 1 for all else. Whatever is not 0 comes with one line
//! on standard error that begins with the program's name.

mod gpu;
mod input;
mod options;
mod size;
mod trial;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use thiserror::Error;

use crate::backend::{self, Backend};
use crate::gpu::virgl;
use crate::input::node::OpenError;
use crate::sandbox::{Missing, Needs, Sandbox, Strictness, calls};
use crate::socket::{self, Endpoint, SocketError};
use crate::vhost_proto::device::Device;
use crate::{last_resort, logger, signals};
use options::{Request, SocketFrom, UsageError};

/// The program `vhost-user-gpu`.
#[must_use]
pub fn gpu_main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match trial::asked(&arguments) {
        Some(node) => trial::run(node.as_deref()),
        None => run::<gpu::GpuProgram>(arguments),
    }
}

/// The program `vhost-user-input`.
#[must_use]
pub fn input_main() -> ExitCode {
    run::<input::InputProgram>(std::env::args_os().skip(1).collect())
}

/// What one program has of its own.
trait Program: Default {
    /// Its name, as it stands before each message.
    const NAME: &'static str;
    /// The device type, one of vhost-user.json's `VHostUserBackendType`.
    const DEVICE_TYPE: &'static str;
    /// The first line of `--help`, after the name.
    const PURPOSE: &'static str;
    /// What `--help` says of its own options.
    const HELP: &'static str;

    /// What this host lets it do, in the words of vhost-user.json; each is the name of an option that works here and now.
    fn features() -> Vec<&'static str>;

    /// Takes option `--NAME`, and its value out of `parser` if it has one.
    ///
    /// # Errors
    /// The program has no such option, the value is bad, or what it asks for is not to be had.
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), UsageError>;

    /// Sees whether its options make sense together, once all are taken.
    ///
    /// # Errors
    /// One is missing, or two exclude each other.
    fn check(&self) -> Result<(), UsageError> {
        Ok(())
    }

    /// Opens the device, and serves it by `start`.
    ///
    /// # Errors
    /// The host failed, or the only front end broke the protocol.
    fn serve(self, start: Start) -> Result<(), Failure>;
}

/// Why the program ends with a status that is not 0.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error("--evdev-path={0:?}: {1}")]
    Evdev(PathBuf, OpenError),
    #[error(transparent)]
    Sandbox(#[from] Missing),
    #[error("the thread that makes the socket: {0}")]
    Thread(io::Error),
    #[error("cannot take signals: {0}")]
    Signals(Errno),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot put the standard streams aside: {0}")]
    Streams(io::Error),
    #[error(transparent)]
    Renderer(#[from] virgl::OpenError),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

/// What is left to open once the device is there.
struct Start {
    program: &'static str,
    socket: Socket,
    signals: signals::Blocked,
    /// None where there shall be no sandbox.
    sandbox: Option<Strictness>,
}

/// The socket before the device is there.
enum Socket {
    Inherited(Endpoint),
    Path(PathBuf),
}

impl Socket {
    /// What it takes while it is served.
    fn add_needs(&self, needs: &mut Needs) {
        match self {
            Self::Inherited(Endpoint::Connected(_)) => {}
            Self::Inherited(Endpoint::Listening(_)) => needs.calls.push(calls::LISTENER),
            Self::Path(path) => {
                needs.calls.extend([calls::LISTENER, calls::SOCKET_FILE]);
                needs.removes_in.extend(socket::folder_of(path).map(PathBuf::from));
            }
        }
    }

    fn open(self) -> Result<Endpoint, SocketError> {
        match self {
            Self::Inherited(endpoint) => Ok(endpoint),
            Self::Path(path) => Ok(Endpoint::Listening(socket::listen(&path)?)),
        }
    }
}

impl Start {
    /// Opens the device and serves it at the socket, with no more rights than what the device `needs` and what all programs
    /// do.
    fn serve<D: Device>(self, mut needs: Needs, open: impl FnOnce() -> Result<D, Failure>) -> Result<(), Failure> {
        needs.calls.extend(calls::COMMON);
        self.socket.add_needs(&mut needs);
        let mut sandbox = self.sandbox.map(|strictness| Sandbox::prepare(&needs, strictness)).transpose()?;
        let (device, endpoint) = match &mut sandbox {
            Some(sandbox) if needs.has_threads => {
                let socket = Later::new(self.socket).map_err(Failure::Thread)?;
                sandbox.give_up_rights()?;
                (open()?, socket.open()?)
            }
            _ => (open()?, self.socket.open()?),
        };
        let signals = self.signals.into_fd().map_err(Failure::Signals)?;
        last_resort::prepare(self.program, &signals, &endpoint).map_err(backend::Error::Host)?;
        let backend = Backend::new(device, endpoint, signals)?;
        if let Some(sandbox) = sandbox {
            sandbox.enter(self.program)?;
        }
        Ok(backend.run()?)
    }
}

/// A thread that keeps the rights to make the socket file, until it has made it.
struct Later {
    go: SyncSender<()>,
    thread: JoinHandle<Option<Result<Endpoint, SocketError>>>,
}

impl Later {
    fn new(socket: Socket) -> io::Result<Self> {
        let (go, gone) = mpsc::sync_channel(1);
        // Dropped, it ends.
        let thread = thread::Builder::new().spawn(move || gone.recv().ok().map(|()| socket.open()))?;
        Ok(Self { go, thread })
    }

    fn open(self) -> Result<Endpoint, Failure> {
        let _ = self.go.send(());
        let nothing = || Failure::Thread(io::Error::other("it ended by itself"));
        Ok(self.thread.join().ok().flatten().ok_or_else(nothing)??)
    }
}

fn run<P: Program>(arguments: Vec<OsString>) -> ExitCode {
    match try_run::<P>(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logger::say(P::NAME, format_args!("{failure}"));
            ExitCode::from(failure.status())
        }
    }
}

fn try_run<P: Program>(arguments: Vec<OsString>) -> Result<(), Failure> {
    let signals = signals::block().map_err(Failure::Signals)?;
    if arguments.iter().any(|argument| argument == "--print-capabilities") {
        return print(&capabilities::<P>());
    }
    match options::parse::<P>(arguments)? {
        Request::Help => print(&help::<P>()),
        Request::Version => print(&format!("{} (vhost-seat) {}", P::NAME, env!("CARGO_PKG_VERSION"))),
        Request::Serve { program, socket, log_level, sandbox } => {
            // There is one logger only if somebody else runs this as a library; theirs is as good.
            let _ = logger::init(P::NAME, log_level);
            let socket = match socket {
                SocketFrom::Fd(number) => Socket::Inherited(socket::inherited(number)?),
                SocketFrom::Path(path) => Socket::Path(path),
            };
            program.serve(Start { program: P::NAME, socket, signals, sandbox })
        }
    }
}

/// vhost-user.json's `VHostUserBackendCapabilities`.
fn capabilities<P: Program>() -> String {
    format!("{:#}", serde_json::json!({ "type": P::DEVICE_TYPE, "features": P::features() }))
}

fn help<P: Program>() -> String {
    let (name, purpose, own, common) = (P::NAME, P::PURPOSE, P::HELP, options::HELP);
    format!("{name}: {purpose}\n\nUsage: {name} (--socket-path=PATH | --fd=FDNUM) [OPTION]...\n\n{common}\n{own}")
}

/// Writes `text` and a newline to standard output. A reader that has gone away has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{}", text.trim_end()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_capabilities<P: Program>() {
        let text = capabilities::<P>();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], P::DEVICE_TYPE);
        assert!(value["features"].as_array().unwrap().iter().all(serde_json::Value::is_string));
        assert_eq!(value.as_object().unwrap().len(), 2);
    }

    #[test]
    fn the_capabilities_are_the_object_that_vhost_user_json_describes() {
        assert_capabilities::<gpu::GpuProgram>();
        assert_capabilities::<input::InputProgram>();
    }

    #[test]
    fn the_help_names_every_common_option() {
        for text in [help::<gpu::GpuProgram>(), help::<input::InputProgram>()] {
            for option in ["--socket-path=", "--fd=", "--print-capabilities", "--log-level=", "--help", "--version"]
                .into_iter()
                .chain(["--no-sandbox", "--sandbox=require"])
            {
                assert!(text.contains(option), "{option}");
            }
        }
    }
}
