//! What the first process of a Linux system does, as little as a test needs of it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// The list of modules to load, one file name a line, those that others need first.
const MODULE_LIST: &str = "/modules/list";

/// Mounts what the rest needs and loads the modules. A failure is told on the console and is not the end: the host sees
/// what works.
pub fn set_up() {
    for (what, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")] {
        let done = fs::create_dir_all(place)
            .and_then(|()| Ok(mount(Some(what), place, Some(what), MsFlags::empty(), None::<&str>)?));
        if let Err(error) = done {
            println!("seat-guest: mounting {place}: {error}");
        }
    }
    for file in fs::read_to_string(MODULE_LIST).unwrap_or_default().lines() {
        if let Err(error) = load(&Path::new("/modules").join(file)) {
            println!("seat-guest: loading {file}: {error}");
        }
    }
}

fn load(module: &Path) -> io::Result<()> {
    Ok(finit_module(File::open(module)?, c"", ModuleInitFlags::empty())?)
}

/// Opens the port that commands come by, as plain bytes: no echo, no line discipline.
pub fn command_port(path: &str) -> io::Result<File> {
    let port = File::options().read(true).write(true).open(path)?;
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    tcsetattr(&port, SetArg::TCSANOW, &settings)?;
    Ok(port)
}

/// Ends the guest; does not come back unless it failed.
pub fn end(mode: RebootMode) -> String {
    match reboot(mode) {
        Ok(never) => match never {},
        Err(error) => format!("reboot: {error}"),
    }
}
