//! A private bus for QEMU's D-Bus display, and the one call that a window's size goes by.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{Process, deadline};
use crate::workdir::Workdir;

pub struct Bus {
    _daemon: Process,
    address: String,
}

impl Bus {
    /// Starts the daemon and waits until it listens.
    pub fn start(folder: &Workdir, patience: Duration) -> Result<Self> {
        let socket: PathBuf = folder.join("bus");
        let address = format!("unix:path={}", socket.display());
        let arguments = ["--session", "--nofork", "--nopidfile", "--print-address=1", &format!("--address={address}")];
        let daemon = Process::start("dbus-daemon", "dbus-daemon", arguments, &folder.join("bus.log"))?;
        // It prints its address once it can be called.
        daemon.log().wait_for("unix:path=", deadline(patience))?;
        Ok(Bus { _daemon: daemon, address })
    }

    /// Tells QEMU that a window of this size shows the head; 0×0 says that none does.
    pub fn set_ui_info(&self, head: u32, width: u32, height: u32) -> Result<()> {
        let output = Command::new("dbus-send")
            .args(["--session", "--print-reply", "--reply-timeout=20000", "--dest=org.qemu"])
            .arg(format!("/org/qemu/Display1/Console_{head}"))
            .arg("org.qemu.Display1.Console.SetUIInfo")
            .args(["uint16:300", "uint16:200", "int32:0", "int32:0"])
            .args([format!("uint32:{width}"), format!("uint32:{height}")])
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .output()
            .map_err(|e| Error::Missing(format!("dbus-send ({e}); run tests/vm/setup.sh")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Failed(format!("SetUIInfo of head {head}: {}", String::from_utf8_lossy(&output.stderr))))
    }
}
