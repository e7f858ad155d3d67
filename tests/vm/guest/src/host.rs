//! The host's own root, and programs of it that run here.
//!
//! QEMU shows the host's `/` by 9p, read-only. Over it stand this guest's /dev, /proc and /sys, and empty /tmp and /run
//! that can be written. A program is started by our own in a second life ([`enter`]): it changes its root and becomes that
//! program. What it prints goes to the console as it comes, and into the answer at its end.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, chdir, chroot};
use seat_guest::answer::Order;
use serde_json::{Value, json};

const ROOT: &str = "/host";
/// The mount tag that QEMU was told.
const TAG: &str = "host";
/// How the first argument tells the second life from init.
pub const ENTER: &str = "enter-the-host-root";
/// Of each of the two streams the last bytes are kept for the answer.
const KEPT: usize = 256 << 10;

/// Mounts the host's root and what stands over it.
pub fn mount_root() -> Result<(), String> {
    let options = "trans=virtio,version=9p2000.L,cache=loose,msize=512000";
    // The folders under it are the host's own.
    for (what, place, kind, flags, options) in [
        (TAG, "", "9p", MsFlags::MS_RDONLY, Some(options)),
        ("devtmpfs", "/dev", "devtmpfs", MsFlags::empty(), None),
        ("proc", "/proc", "proc", MsFlags::empty(), None),
        ("sysfs", "/sys", "sysfs", MsFlags::empty(), None),
        ("tmpfs", "/tmp", "tmpfs", MsFlags::empty(), None),
        ("tmpfs", "/run", "tmpfs", MsFlags::empty(), None),
    ] {
        let place = format!("{ROOT}{place}");
        std::fs::create_dir_all(&place)
            .and_then(|()| Ok(mount(Some(what), place.as_str(), Some(kind), flags, options)?))
            .map_err(|e| format!("mounting {place}: {e}"))?;
    }
    Ok(())
}

/// A program that runs.
pub struct Started {
    child: Child,
    /// Its standard input, if it has one that stays silent.
    silence: Option<ChildStdin>,
    output: Option<JoinHandle<Vec<u8>>>,
    errors: Option<JoinHandle<Vec<u8>>>,
}

impl Started {
    /// Starts a program; `input` is what it is to read, /dev/null or a pipe on which nothing comes.
    pub fn new(order: &Order, input: Stdio) -> Result<Self, String> {
        let mut child = Command::new("/proc/self/exe")
            .args([ENTER, &order.folder, &order.program])
            .args(&order.arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/tmp")
            .envs(order.environment.iter().map(|(name, value)| (name, value)))
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("starting myself: {e}"))?;
        let output = child.stdout.take().map(relay);
        let errors = child.stderr.take().map(relay);
        Ok(Started { silence: child.stdin.take(), child, output, errors })
    }

    /// Ends its input, for programs that end with it.
    pub fn hang_up(&mut self) {
        self.silence = None;
    }

    /// Waits for its end: `{"status":0,"signal":null,"output":"…","errors":"…"}`.
    pub fn wait(mut self) -> Result<Value, String> {
        // Not by Child::wait, which closes the input first.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let ended = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let status =
            ended.map_err(io::Error::from).and_then(|_| self.child.wait()).map_err(|e| format!("wait: {e}"))?;
        // What it left behind would keep the pipes open.
        let _ = killpg(pid, Signal::SIGKILL);
        let text = |thread: Option<JoinHandle<Vec<u8>>>| {
            let bytes = thread.and_then(|t| t.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(json!({
            "status": status.code(),
            "signal": status.signal(),
            "output": text(self.output),
            "errors": text(self.errors),
        }))
    }
}

/// Copies a stream to the console, until its end, and keeps the last of it.
fn relay(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            let _ = io::stdout().write_all(&buffer[..n]).and_then(|()| io::stdout().flush());
            kept.extend_from_slice(&buffer[..n]);
            let excess = kept.len().saturating_sub(KEPT);
            kept.drain(..excess);
        }
        kept
    })
}

/// The second life: FOLDER PROGRAM ARGUMENTS, in the host's root. Comes back only with the reason why it could not.
pub fn enter(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let (Some(folder), Some(program)) = (arguments.next(), arguments.next()) else {
        return io::Error::other("no folder or no program");
    };
    let in_root = chroot(ROOT).and_then(|()| chdir(folder.as_os_str()));
    match in_root {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error.into(),
    }
}
