//! A child with its own process group and its output in a log; the whole group is killed when this is dropped, and the
//! child also when this process is killed itself and drops nothing.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::log::Log;

/// The number under which a program finds the descriptor that it was given.
pub const INHERITED: i32 = 9;

/// A running program.
pub struct Process {
    name: &'static str,
    child: Child,
    log: Log,
    /// Set by a thread that waits for the end without reaping: until this value is dropped the pid stays ours.
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Process {
    /// Starts `program` (a path, or a name to be found by `PATH`) with its input on /dev/null and both outputs in one log.
    pub fn start<S: AsRef<OsStr>>(
        name: &'static str,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = S>,
        log: &Path,
    ) -> Result<Self> {
        Process::start_with(name, program, arguments, log, None)
    }

    /// The same with one more open descriptor for the program, under the number [`INHERITED`].
    pub fn start_with<S: AsRef<OsStr>>(
        name: &'static str,
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = S>,
        log: &Path,
        inherited: Option<OwnedFd>,
    ) -> Result<Self> {
        let program = find_program(program.as_ref())?;
        // These execute the program in their own place, so the child's number is the program's.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if inherited.is_some() {
            // It travels as the standard input, so that no other child can get it by chance, and is moved.
            let script = format!("exec {INHERITED}<&0 </dev/null; exec \"$@\"");
            command.args(["sh", "-c", &script, "sh"]);
        }
        command.arg(&program).args(arguments);
        let (ours, theirs) = UnixStream::pair().context("socketpair")?;
        let also_theirs = theirs.try_clone().context("dup")?;
        command.stdin(inherited.map_or_else(Stdio::null, Stdio::from));
        command.stdout(OwnedFd::from(theirs)).stderr(OwnedFd::from(also_theirs)).process_group(0);
        // The command holds the other ends of the log; it is gone when the spawner has spawned, and so the log's end is
        // seen when the program's are gone.
        let child = spawn(command).map_err(|e| Error::Failed(format!("{} by setpriv: {e}", program.display())))?;
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

    /// Called when something went wrong: gives a program that is about to end the time to do so, and its last words the
    /// time to arrive, so that the error can tell of them.
    pub(crate) fn settle(&self) {
        const MOMENT: Duration = Duration::from_millis(500);
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.1.wait_timeout_while(ended, MOMENT, |ended| !*ended);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            self.log.wait_end(deadline(MOMENT));
        }
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

/// The program's file; that there is none is a thing to install, or a wrong path.
fn find_program(program: &Path) -> Result<PathBuf> {
    let found = if program.components().count() > 1 {
        Some(program.to_owned()).filter(|p| p.exists())
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|p| p.exists())
    };
    found.ok_or_else(|| Error::Missing(format!("the program {}; run tests/vm/setup.sh", program.display())))
}

/// Starts a child from a thread that never ends: the signal that a child gets at its parent's death comes when the thread
/// that started it ends, and a test's thread may end before what it has started.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, incoming) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                let child = command.spawn();
                drop(command);
                let _ = answer.send(child);
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = channel();
    let gone = |_| std::io::Error::other("the thread that starts programs is gone");
    spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).map_err(|_| gone(()))?;
    child.recv().map_err(|_| gone(()))?
}

/// The moment until which to wait.
pub fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}
