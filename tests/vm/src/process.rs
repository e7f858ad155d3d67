//! A child with its own process group and its output in a log; the whole group is killed when this is dropped.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::log::Log;

/// A running program.
pub struct Process {
    name: &'static str,
    child: Child,
    log: Log,
    /// Set by a thread that waits for the end without reaping: until this value is dropped the pid stays ours.
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Process {
    /// Starts `command` with its input on /dev/null and both outputs in one log.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("socketpair")?;
        let also_theirs = theirs.try_clone().context("dup")?;
        command.stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).stderr(OwnedFd::from(also_theirs)).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(format!("{program}; run tests/vm/setup.sh")),
            _ => Error::Failed(format!("{program}: {e}")),
        })?;
        // The command holds the other ends of the log; without them its end is seen when the program's are gone.
        drop(command);
        let log = Log::drain(name, ours, log)?;
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (pid, told) = (Pid::from_raw(child.id() as i32), Arc::clone(&ended));
        std::thread::spawn(move || {
            let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            *told.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            told.1.notify_all();
        });
        Ok(Process { name, child, log, ended })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.raw_pid(), signal).context(format_args!("{signal} to {}", self.name))
    }

    /// Sends a signal by its number, for callers without `nix`: 9 is SIGKILL, 15 is SIGTERM.
    pub fn signal_number(&self, number: i32) -> Result<()> {
        self.signal(Signal::try_from(number).context("signal")?)
    }

    pub fn is_running(&self) -> bool {
        !*self.ended.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the program's end.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.1.wait_timeout_while(ended, patience, |ended| !*ended);
        let (ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            drop(ended);
            return Err(Error::Failed(format!("{} still runs after {patience:?}\n{}", self.name, self.log.tail(40))));
        }
        drop(ended);
        self.child.wait().context(self.name)
    }

    /// Processor time used so far, in user mode and in the kernel, by all threads. The kernel counts it in 10 ms.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = std::fs::read_to_string(&path).context(&path)?;
        // The second field is the name in brackets, which may hold anything; fields 14 and 15 are wanted.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as u64;
        Ok(Duration::from_millis(ticks * 1000 / per_second.max(1)))
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the reaping: while the child is a zombie at least, the group's number is not given to others.
        let _ = killpg(self.raw_pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The moment until which to wait.
pub fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}
