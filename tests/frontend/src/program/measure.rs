//! What a process costs, out of /proc.

use std::fs;
use std::time::Duration;

use crate::error::{Error, Result};

/// What a process costs at one moment. Two of them bracket a stretch of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Resident memory, bytes.
    pub resident: u64,
    /// The most it was resident, bytes.
    pub peak: u64,
    /// Its anonymous part, bytes.
    pub anonymous: u64,
    /// Its part shared with others by tmpfs and memfd (guest memory), bytes.
    pub shared: u64,
    /// Times it went to sleep of itself: wake-ups, in other words.
    pub voluntary_switches: u64,
    /// Times it was put off the processor.
    pub involuntary_switches: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub fds: u64,
    /// Time on the processor, all threads.
    pub cpu: Duration,
}

impl Measure {
    /// Reads the figures of process `pid`.
    pub fn of(pid: u32) -> Result<Measure> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let field = |name: &str| number_after(&status, name);
        let (mut cpu, mut voluntary, mut involuntary) = (Duration::ZERO, 0, 0);
        for task in list(&format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let Ok(schedstat) = read(&format!("/proc/{pid}/task/{task}/schedstat")) else { continue };
            let nanos = schedstat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            cpu += Duration::from_nanos(nanos);
            let task_status = read(&format!("/proc/{pid}/task/{task}/status")).unwrap_or_default();
            voluntary += number_after(&task_status, "voluntary_ctxt_switches");
            involuntary += number_after(&task_status, "nonvoluntary_ctxt_switches");
        }
        Ok(Measure {
            resident: field("VmRSS") * 1024,
            peak: field("VmHWM") * 1024,
            anonymous: field("RssAnon") * 1024,
            shared: field("RssShmem") * 1024,
            voluntary_switches: voluntary,
            involuntary_switches: involuntary,
            threads: field("Threads"),
            fds: list(&format!("/proc/{pid}/fd"))?.len() as u64,
            cpu,
        })
    }
}

fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::io("/proc", error))
}

fn list(path: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(|error| Error::io("/proc", error))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}
