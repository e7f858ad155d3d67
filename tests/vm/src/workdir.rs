//! A folder of its own for sockets and logs of one machine, with a path short enough for sockets.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::mkdtemp;

use crate::error::{Context, Result};

/// Removed when dropped, but kept when a test fails: its logs are wanted then.
pub struct Workdir {
    path: PathBuf,
}

impl Workdir {
    pub fn new() -> Result<Self> {
        // Process numbers come again, and who is killed leaves its folder behind.
        let template = std::env::temp_dir().join("seat-vm-XXXXXX");
        let path = mkdtemp(&template).context(template.display())?;
        Ok(Workdir { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seat-vm: the logs are kept in {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
