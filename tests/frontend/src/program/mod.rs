//! A back-end program: started as a manager starts it, watched, measured, ended.
//!
//! Its output goes to files, so that it can neither block on a full pipe nor be lost. A [`Program`] that is dropped is
//! killed; one that is asked to end is given until a deadline.

mod measure;

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control::FrontEnd;
use crate::deadline::{Deadline, wait_readable};
use crate::error::{Error, Result};
use crate::sys;

pub use measure::Measure;

/// What every program that is to serve is given: nothing, but under AddressSanitizer, whose own system calls, and the report
/// that it writes at the end, are none of the program's.
pub const SERVING: &[&str] = if cfg!(asan) { &["--no-sandbox"] } else { &[] };

/// A folder of a short name for sockets and output files, removed with all its contents when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one.
    pub fn new() -> Result<TempDir> {
        // Process numbers come again, and who is killed leaves its folders behind.
        let template = std::env::temp_dir().join("seat-XXXXXX");
        let folder = nix::unistd::mkdtemp(&template).map(TempDir).map_err(|error| Error::io("mkdtemp", error))?;
        // Others may look into it, as into any folder: some tests run programs as others.
        std::fs::set_permissions(&folder.0, Permissions::from_mode(0o755))
            .map_err(|error| Error::io("chmod", error))?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// How long it took from the request, or from the start of the wait.
    pub took: Duration,
}

impl Ended {
    /// The exit status, if it was not killed.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that killed it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// A running back end.
pub struct Program {
    child: Child,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
    socket: Option<PathBuf>,
    dir: TempDir,
}

impl Program {
    /// Runs `binary` with `args`. Its stdin is /dev/null.
    pub fn spawn<I, S>(binary: impl AsRef<Path>, args: I) -> Result<Program>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(binary.as_ref());
        command.args(args);
        Program::from_command(command)
    }

    /// Runs a command that the caller has made; stdin, stdout and stderr are set here.
    pub fn from_command(command: Command) -> Result<Program> {
        Program::launch(command, TempDir::new()?, None)
    }

    /// Runs `binary --socket-path=PATH`, `more`, with a socket in the program's own folder, and waits until it listens.
    pub fn listening(binary: impl AsRef<Path>, more: &[&str], deadline: Deadline) -> Result<Program> {
        let dir = TempDir::new()?;
        let socket = dir.join("socket");
        let mut command = Command::new(binary.as_ref());
        command.arg(format!("--socket-path={}", socket.display())).args(more).args(SERVING);
        let mut program = Program::launch(command, dir, Some(socket.clone()))?;
        program.wait_listening(&socket, deadline)?;
        Ok(program)
    }

    /// Runs `binary --fd=N`, `more`, on one end of a socket pair, as libvirt does, and returns the front end on the
    /// other.
    pub fn on_fd(binary: impl AsRef<Path>, more: &[&str]) -> Result<(Program, FrontEnd)> {
        let (front, theirs) = FrontEnd::pair()?;
        let program = Program::with_fd(binary, theirs.into(), more)?;
        Ok((program, front))
    }

    /// Runs `binary --fd=N`, `more`, on a listening socket, and returns the path to connect to.
    pub fn on_listening_fd(binary: impl AsRef<Path>, more: &[&str]) -> Result<(Program, PathBuf)> {
        let dir = TempDir::new()?;
        let socket = dir.join("socket");
        let listener = UnixListener::bind(&socket).map_err(|error| Error::io("bind", error))?;
        let command = command_with_fd(binary.as_ref(), listener.into(), more);
        Ok((Program::launch(command, dir, Some(socket.clone()))?, socket))
    }

    /// Runs `binary --fd=N`, `more`, with any descriptor.
    pub fn with_fd(binary: impl AsRef<Path>, fd: OwnedFd, more: &[&str]) -> Result<Program> {
        Program::launch(command_with_fd(binary.as_ref(), fd, more), TempDir::new()?, None)
    }

    fn launch(mut command: Command, dir: TempDir, socket: Option<PathBuf>) -> Result<Program> {
        let file = |name| File::create(dir.join(name)).map_err(|error| Error::io("output file", error));
        command.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
        let mut child = command.spawn().map_err(|error| Error::io("spawn", error))?;
        let pidfd = sys::pidfd(child.id()).inspect_err(|_| drop(child.kill()))?;
        Ok(Program { child, pidfd, status: None, socket, dir })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The socket it was given, if it was given one.
    pub fn socket(&self) -> &Path {
        self.socket.as_deref().expect("the program was started without a socket")
    }

    /// Connects a front end to the socket it was given.
    pub fn connect(&self) -> Result<FrontEnd> {
        FrontEnd::connect(self.socket())
    }

    /// Waits until `path` is a listening socket, without connecting to it.
    pub fn wait_listening(&mut self, path: &Path, deadline: Deadline) -> Result<()> {
        while !is_listening(path)? {
            let ended = wait_readable(self.pidfd.as_fd(), Deadline::millis(1))?;
            if ended {
                return Err(Error::fault(format!("the program ended instead of listening: {}", self.stderr())));
            }
            if deadline.passed() {
                return Err(Error::TimedOut("listening socket"));
            }
        }
        Ok(())
    }

    /// What it has written to stdout.
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// What it has written to stderr.
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, name: &str) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(self.dir.join(name)) {
            let _ = file.take(1 << 20).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> Result<bool> {
        if self.status.is_none() {
            self.status = self.child.try_wait().map_err(|error| Error::io("wait", error))?;
        }
        Ok(self.status.is_none())
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Deadline) -> Result<Ended> {
        let started = Instant::now();
        if !wait_readable(self.pidfd.as_fd(), deadline)? {
            return Err(Error::TimedOut("end of the program"));
        }
        let took = started.elapsed();
        let status = self.child.wait().map_err(|error| Error::io("wait", error))?;
        self.status = Some(status);
        Ok(Ended { status, took })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.pid() as i32), signal).map_err(|errno| Error::io("kill", errno))
    }

    /// Sends SIGTERM and waits for its end.
    pub fn terminate(&mut self, deadline: Deadline) -> Result<Ended> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline)
    }

    /// What it costs now.
    pub fn measure(&self) -> Result<Measure> {
        Measure::of(self.pid())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn command_with_fd(binary: &Path, fd: OwnedFd, more: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.arg(format!("--fd={}", fd.as_raw_fd())).args(more).args(SERVING);
    sys::inherit(&mut command, fd);
    command
}

/// Whether `path` is the address of a listening socket of this machine, as /proc/net/unix tells it.
pub fn is_listening(path: &Path) -> Result<bool> {
    const ACCEPTS: &str = "00010000";
    // Any program's address is in there, and an address need not be text.
    let table = std::fs::read("/proc/net/unix").map_err(|error| Error::io("/proc/net/unix", error))?;
    let table = String::from_utf8_lossy(&table);
    Ok(table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(ACCEPTS) && fields.nth(3).is_some_and(|name| Path::new(name) == path)
    }))
}

/// QEMU's own back end, for comparison: `/usr/lib/qemu/vhost-user-gpu`, or what VHOST_SEAT_PEER names. Where there is none
/// it says loudly on stderr that something was skipped.
pub fn peer() -> Option<PathBuf> {
    let path = std::env::var_os("VHOST_SEAT_PEER").unwrap_or_else(|| "/usr/lib/qemu/vhost-user-gpu".into());
    let path = PathBuf::from(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no {}; install QEMU's vhost-user-gpu or set VHOST_SEAT_PEER", path.display());
    None
}

/// A connected pair whose ends are plain streams, for what is neither a front end nor a display.
pub fn stream_pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(|error| Error::io("socketpair", error))
}

#[cfg(test)]
mod tests;
