//! A back end beside QEMU: any program that follows the conventions and takes `--socket-path`, or `--fd`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::{Context, Error, Result};
use crate::log::Log;
use crate::process::{INHERITED, Process, deadline};
use crate::workdir::Workdir;

const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it listens; nothing tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// QEMU's own program, for comparison.
const PACKAGED: [&str; 2] = ["/usr/lib/qemu/vhost-user-gpu", "/usr/libexec/vhost-user-gpu"];

/// A running back end; killed when dropped.
pub struct Backend {
    // Before the folder: the program goes first.
    process: Process,
    socket: PathBuf,
    _folder: Workdir,
}

impl Backend {
    /// Starts `program --socket-path=… ARGUMENTS` and waits until it listens.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Result<Self> {
        let folder = Workdir::new()?;
        let socket = folder.join("vhost");
        let path = format!("--socket-path={}", socket.display());
        let arguments = std::iter::once(path.as_str()).chain(arguments.iter().copied());
        let process = Process::start("back end", program, arguments, &folder.join("backend.log"))?;
        let backend = Backend { process, socket, _folder: folder };
        backend.wait_listening()?;
        Ok(backend)
    }

    /// Starts `program --fd=… ARGUMENTS` with one end of a new pair of sockets, as libvirt does; the other end is for
    /// [`Gpu::connected`](crate::Gpu::connected).
    pub fn start_connected(program: impl AsRef<Path>, arguments: &[&str]) -> Result<(Self, OwnedFd)> {
        let folder = Workdir::new()?;
        let (theirs, ours) = UnixStream::pair().context("socketpair")?;
        let fd = format!("--fd={INHERITED}");
        let arguments = std::iter::once(fd.as_str()).chain(arguments.iter().copied());
        let log = folder.join("backend.log");
        let process = Process::start_with("back end", program, arguments, &log, Some(theirs.into()))?;
        let backend = Backend { process, socket: folder.join("vhost"), _folder: folder };
        Ok((backend, ours.into()))
    }

    /// QEMU's packaged `vhost-user-gpu`, where it is installed.
    pub fn packaged() -> Result<PathBuf> {
        let found = PACKAGED.iter().map(PathBuf::from).find(|path| path.exists());
        found.ok_or_else(|| Error::Missing("QEMU's own vhost-user-gpu; run tests/vm/setup.sh".to_owned()))
    }

    /// Where it listens, unless it was started connected.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// Waits until it has said `marker`, and gives the last line that has it.
    pub fn wait_for_log(&self, marker: &str) -> Result<String> {
        self.log().wait_for(marker, deadline(PATIENCE))?;
        Ok(self.log().text().lines().rfind(|line| line.contains(marker)).unwrap_or_default().to_owned())
    }

    /// Asks it to end, and waits for that.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_exit(PATIENCE)
    }

    /// Waits until it has ended by itself.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        self.process.wait_exit(PATIENCE)
    }

    /// Waits until the socket listens, by the kernel's table: a connection made to find out would be a session, and some
    /// programs serve but one.
    fn wait_listening(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let path = self.socket.to_string_lossy();
        while !listens(&path) {
            if !self.process.is_running() || Instant::now() >= until {
                self.process.settle();
                let why = if self.process.is_running() { "does not listen" } else { "has ended" };
                return Err(Error::Failed(format!("the back end {why}\n{}", self.log().tail(40))));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

/// Whether a socket at `path` is in the listening state, as /proc/net/unix has it: the flag SO_ACCEPTCON.
fn listens(path: &str) -> bool {
    const ACCEPTS: &str = "00010000";
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(3);
        fields.next() == Some(ACCEPTS) && line.ends_with(path)
    })
}
