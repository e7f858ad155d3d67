//! What a renderer takes beside its system calls: the files of its libraries, and the GPU's device.
//!
//! The renderer is opened inside of this. Its threads come with it, and Linux gives up no rights of a thread but the
//! calling one's: what they shall not have has to be gone before. So what Mesa reads while it starts is on the list too, of
//! whichever distribution; none of it is a user's.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use nix::sys::stat::{major, minor};

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

/// NVIDIA's number among the makers of PCI devices.
const NVIDIA: &str = "0x10de";

impl Needs {
    /// Adds what a renderer takes, in software or on the GPU of `node`.
    pub fn add_renderer(&mut self, node: Option<&Path>) {
        self.has_threads = true;
        self.calls.push(calls::RENDERER);
        self.reads.extend(READ.iter().map(PathBuf::from));
        self.reads.extend(PLACES.iter().filter_map(env::var_os).flat_map(|list| places(&list)));
        if let Some(node) = node {
            self.calls.push(calls::GPU);
            self.opens_in.push(node.to_owned());
            // Mesa finds out there which of all GPUs it was given.
            self.lists.push(PathBuf::from("/dev/dri"));
            if is_of(NVIDIA, node, Path::new("/sys")) {
                self.calls.push(calls::NVIDIA);
                self.opens_in.extend(nvidia(Path::new("/dev")));
            }
        }
    }
}

/// The folders of a list: what stands there of the folder where the program happens to run is nobody's library.
fn places(list: &OsStr) -> Vec<PathBuf> {
    env::split_paths(list).filter(|path| path.is_absolute()).collect()
}

/// Whether the GPU of `node` was made by `vendor`, as the kernel has it in `sysfs`.
fn is_of(vendor: &str, node: &Path, sysfs: &Path) -> bool {
    let Ok(number) = fs::metadata(node).map(|node| node.rdev()) else { return false };
    let device = format!("dev/char/{}:{}/device/vendor", major(number), minor(number));
    fs::read_to_string(sysfs.join(device)).is_ok_and(|is| is.trim() == vendor)
}

/// The devices of NVIDIA's own driver, which it opens beside the node.
fn nvidia(dev: &Path) -> impl Iterator<Item = PathBuf> {
    let devices = fs::read_dir(dev).into_iter().flatten().flatten();
    let is_one =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("nvidia"));
    devices.map(|entry| entry.path()).filter(is_one)
}

#[cfg(test)]
mod tests {
    use seat_frontend::program::TempDir;

    use super::*;

    #[test]
    fn the_maker_of_a_gpu_is_who_its_device_says() {
        let sysfs = TempDir::new().unwrap();
        // The number of /dev/null.
        let device = sysfs.join("dev/char/1:3/device");
        let is_nvidia = || is_of(NVIDIA, Path::new("/dev/null"), sysfs.path());
        assert!(!is_nvidia(), "one of no maker");
        fs::create_dir_all(&device).unwrap();
        for (vendor, expected) in [("0x10de\n", true), ("0x1002\n", false), ("0x10de1\n", false), ("", false)] {
            fs::write(device.join("vendor"), vendor).unwrap();
            assert_eq!(is_nvidia(), expected, "{vendor:?}");
        }
        assert!(!is_of(NVIDIA, Path::new("/nowhere"), sysfs.path()));
    }

    #[test]
    fn nvidias_devices_are_those_of_its_name() {
        let dev = TempDir::new().unwrap();
        for name in ["nvidia0", "nvidiactl", "null", "dri"] {
            fs::write(dev.join(name), "").unwrap();
        }
        let mut found: Vec<PathBuf> = nvidia(dev.path()).collect();
        found.sort();
        assert_eq!(found, ["nvidia0", "nvidiactl"].map(|name| dev.join(name)));
    }

    #[test]
    fn what_is_read_is_nobodys_own() {
        let mut needs = Needs::default();
        needs.add_renderer(None);
        for own in
            ["/etc/shadow", "/home/me", "/root/.ssh", "/tmp/it", "/var/lib", "/run/user/0", "/proc/1", "/dev/sda"]
        {
            assert!(!needs.reads.iter().any(|folder| Path::new(own).starts_with(folder)), "{own}");
        }
        assert_eq!(places(OsStr::new(":lib:/opt/mesa/lib::../x:/usr")), ["/opt/mesa/lib", "/usr"].map(PathBuf::from));
    }

    #[test]
    fn in_software_no_device_is_opened() {
        let mut needs = Needs::default();
        needs.add_renderer(None);
        assert!(needs.opens_in.is_empty() && needs.lists.is_empty());
        assert!(needs.calls.contains(&calls::RENDERER) && !needs.calls.contains(&calls::GPU));
    }

    #[test]
    fn another_makers_gpu_opens_its_node_and_nothing_else() {
        let (mut needs, node) = (Needs::default(), Path::new("/dev/null"));
        needs.add_renderer(Some(node));
        assert_eq!(needs.opens_in, [node]);
        assert!(!needs.calls.contains(&calls::NVIDIA));
    }
}
