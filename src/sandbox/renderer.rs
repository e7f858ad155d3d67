//! What a renderer takes beside its system calls: the files of its libraries, and the GPU's device.
//!
//! The renderer is opened inside of this. Its threads come with it, and Linux gives up no rights of a thread but the
//! calling one's: what they shall not have has to be gone before. So what Mesa reads while it starts is on the list too, of
//! whichever distribution; none of it is a user's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::Needs;
use super::calls;

/// Libraries, drivers and their settings; the processors, the memory and the PCI devices of this host; this process.
const READ: [&str; 22] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/run/current-system",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/drirc",
    "/etc/glvnd",
    "/etc/egl",
    "/etc/nvidia",
    "/sys",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/devices",
    "/proc/driver",
    "/dev/urandom",
];

/// Variables that name other places for the same.
const PLACES: [&str; 5] =
    ["LD_LIBRARY_PATH", "LIBGL_DRIVERS_PATH", "GBM_BACKENDS_PATH", "__EGL_VENDOR_LIBRARY_DIRS", "DRIRC_CONFIGDIR"];

impl Needs {
    /// Adds what a renderer takes, in software or on the GPU of `node`.
    pub fn add_renderer(&mut self, node: Option<&Path>) {
        self.has_threads = true;
        self.calls.push(calls::RENDERER);
        self.reads.extend(READ.iter().map(PathBuf::from));
        for place in PLACES {
            self.reads.extend(env::var_os(place).iter().flat_map(env::split_paths).filter(|path| path.is_absolute()));
        }
        if let Some(node) = node {
            self.calls.push(calls::GPU);
            self.opens_in.push(node.to_owned());
            // Mesa finds out there which of all GPUs it was given.
            self.lists.push(PathBuf::from("/dev/dri"));
            self.opens_in.extend(nvidia());
        }
    }
}

/// The devices of NVIDIA's own driver, which it opens beside the node.
fn nvidia() -> impl Iterator<Item = PathBuf> {
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_one =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("nvidia"));
    devices.map(|entry| entry.path()).filter(is_one)
}
