//! System calls of a running program, counted by strace(1) where that is installed and may trace.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seat_frontend::Deadline;
use seat_frontend::program::TempDir;

use super::Result;

/// How many system calls process `pid` makes during `work`.
pub fn count(pid: u32, work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let dir = TempDir::new()?;
    let summary = dir.join("summary");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-p", &pid.to_string(), "-o"]).arg(&summary);
    let mut strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let until = Deadline::secs(3);
    while !traced(pid) {
        if until.passed() || strace.try_wait()?.is_some() {
            let _ = strace.kill();
            let _ = strace.wait();
            return Err("strace cannot trace here".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let result = work();
    kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT)?;
    strace.wait()?;
    result?;
    total(&std::fs::read_to_string(summary)?).ok_or_else(|| "strace's summary has no total".into())
}

fn traced(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// `100.00    0.012345           5      2001         1 total`
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
