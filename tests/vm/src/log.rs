//! What a program says, drained by a thread so that it never blocks, kept in a file up to a size.
//!
//! A QEMU whose back end died can print gigabytes: the file stops at [`FILE_LIMIT`], the end of what came is kept in
//! memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::{Context, Error, Result};

const FILE_LIMIT: usize = 8 << 20;
const MEMORY_LIMIT: usize = 256 << 10;

/// A log that grows beside us. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    name: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    recent: VecDeque<u8>,
    closed: bool,
}

impl State {
    fn text(&self) -> String {
        let (front, back) = self.recent.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

impl Log {
    /// Drains `source` until its end.
    pub(crate) fn drain(name: &'static str, mut source: impl Read + Send + 'static, path: &Path) -> Result<Self> {
        let mut file = File::create(path).context(path.display())?;
        let shared = Arc::new(Shared { state: Mutex::default(), grown: Condvar::new() });
        let log = Log { name, shared };
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut room = FILE_LIMIT;
            let mut buffer = [0u8; 16384];
            while let Ok(n @ 1..) = source.read(&mut buffer) {
                // A full disk loses the file, not the run.
                let _ = file.write_all(&buffer[..n.min(room)]);
                room = room.saturating_sub(n);
                let mut state = writer.lock();
                state.recent.extend(&buffer[..n]);
                let excess = state.recent.len().saturating_sub(MEMORY_LIMIT);
                state.recent.drain(..excess);
                writer.shared.grown.notify_all();
            }
            writer.lock().closed = true;
            writer.shared.grown.notify_all();
        });
        Ok(log)
    }

    /// All that is still in memory: the last 256 KiB.
    pub fn text(&self) -> String {
        self.lock().text()
    }

    /// The last lines, under a heading, for an error message.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        let shown = &all[all.len().saturating_sub(lines)..];
        format!("--- {} ({} of {} lines) ---\n{}\n", self.name, shown.len(), all.len(), shown.join("\n"))
    }

    /// Waits until `marker` stands in the log.
    pub fn wait_for(&self, marker: &str, deadline: Instant) -> Result<()> {
        let mut state = self.lock();
        while !state.text().contains(marker) {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let why = if state.closed { "the log ended without" } else { "in time there came no" };
                drop(state);
                return Err(Error::Failed(format!("{}: {why} \"{marker}\"\n{}", self.name, self.tail(40))));
            }
            let woken = self.shared.grown.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits until nothing more can come.
    pub(crate) fn wait_end(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = self.shared.grown.wait_timeout_while(self.lock(), left, |state| !state.closed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
