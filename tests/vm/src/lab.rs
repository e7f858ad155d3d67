//! What every guest needs, made once: the kernel's image, the guest's program, an initramfs for each set of drivers.
//!
//! In a guest that runs our tests (see `in_vm.rs`) nothing can be made, and the outer laboratory's files are used.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};

use crate::cpio::Archive;
use crate::error::{Context, Error, Result};
use crate::kernel::{Kernel, write_whole};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const QEMU: &str = "qemu-system-x86_64";
/// The oldest QEMU whose vhost-user-gpu does without KVM.
const QEMU_MAJOR_MIN: u32 = 9;
/// What tells a laboratory inside of a guest where the outer one's files are.
const GIVEN: &str = "VHOST_SEAT_VM_GIVEN";

/// What a guest loads, with all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drivers {
    /// A virtio gpu.
    Gpu,
    /// The same, the host's root, and vgem: a second GPU that is none.
    GpuAndRoot,
    /// The same and KVM: the emulated processor is an AMD that has SVM.
    GpuRootAndKvm,
    /// uinput and evdev, and the host's root.
    Uinput,
    /// The same and KVM.
    UinputAndKvm,
    /// virtio inputs and evdev.
    Input,
}

impl Drivers {
    fn modules(self) -> &'static [&'static str] {
        match self {
            Drivers::Gpu => &["virtio_pci", "virtio_gpu"],
            Drivers::GpuAndRoot => &["virtio_pci", "virtio_gpu", "9pnet_virtio", "9p", "vgem"],
            Drivers::GpuRootAndKvm => &["virtio_pci", "virtio_gpu", "9pnet_virtio", "9p", "kvm_amd"],
            Drivers::Uinput => &["virtio_pci", "9pnet_virtio", "9p", "evdev", "uinput"],
            Drivers::UinputAndKvm => &["virtio_pci", "9pnet_virtio", "9p", "evdev", "uinput", "kvm_amd"],
            Drivers::Input => &["virtio_pci", "evdev", "virtio_input"],
        }
    }

    fn file(self) -> &'static str {
        match self {
            Drivers::Gpu => "initramfs-gpu.cpio",
            Drivers::GpuAndRoot => "initramfs-gpu-root.cpio",
            Drivers::GpuRootAndKvm => "initramfs-gpu-root-kvm.cpio",
            Drivers::Uinput => "initramfs-uinput.cpio",
            Drivers::UinputAndKvm => "initramfs-uinput-kvm.cpio",
            Drivers::Input => "initramfs-input.cpio",
        }
    }
}

/// A prepared laboratory.
pub struct Lab {
    /// QEMU's program, as found by the `PATH`.
    pub qemu: &'static str,
    /// The kernel as ELF.
    pub kernel: PathBuf,
    /// Where the rest is made, or was.
    folder: PathBuf,
    /// What it is made of; nothing where it is given.
    parts: Option<Parts>,
    made: [OnceLock<Result<PathBuf>>; 6],
}

struct Parts {
    kernel: Kernel,
    program: Vec<u8>,
}

impl Lab {
    /// The laboratory of this process; made by the first call. [`Error::Missing`] says what to install.
    pub fn prepare() -> Result<&'static Lab> {
        static LAB: OnceLock<Result<Lab>> = OnceLock::new();
        LAB.get_or_init(Lab::make).as_ref().map_err(Clone::clone)
    }

    /// For tests: `None`, and a loud line, where this machine lacks something. A panic instead when `CI` or
    /// `VHOST_SEAT_VM_REQUIRED` is set: there nothing is skipped.
    pub fn for_test() -> Option<&'static Lab> {
        let required = ["CI", "VHOST_SEAT_VM_REQUIRED"].iter().any(|name| std::env::var_os(name).is_some());
        match Lab::prepare() {
            Ok(lab) => Some(lab),
            Err(Error::Missing(what)) if !required => {
                // Not by a macro: the test runner would keep those words of a test that passes to itself.
                let _ = writeln!(std::io::stderr(), "SKIPPED, not on this machine: {what}");
                None
            }
            Err(error) => panic!("no virtual machine: {error}"),
        }
    }

    fn make() -> Result<Lab> {
        check_qemu()?;
        let made = Default::default();
        if let Some(given) = std::env::var_os(GIVEN) {
            let mut paths = std::env::split_paths(&given);
            let (Some(kernel), Some(folder)) = (paths.next(), paths.next()) else {
                return Err(Error::Failed(format!("{GIVEN} names no kernel and no folder")));
            };
            return Ok(Lab { qemu: QEMU, kernel, folder, parts: None, made });
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = std::env::var_os("VHOST_SEAT_VM_CACHE").map_or_else(|| source.join("cache"), PathBuf::from);
        let kernel = Kernel::find(&cache)?;
        let root = source.ancestors().nth(2).unwrap_or(source);
        let built = root.join("target/vm-guest");
        fs::create_dir_all(&built).context(built.display())?;

        // One process at a time; what another has made is found made.
        let lock = File::create(built.join("lock")).context("lock file")?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| Error::Failed(format!("lock: {e}")))?;
        let program = build_guest(root, &built)?;
        Ok(Lab { qemu: QEMU, kernel: kernel.image()?, folder: built, parts: Some(Parts { kernel, program }), made })
    }

    /// The initramfs with these drivers and the guest's program as `/init`.
    pub fn initramfs(&self, drivers: Drivers) -> Result<PathBuf> {
        let make = || {
            let path = self.folder.join(drivers.file());
            if let Some(Parts { kernel, program }) = &self.parts {
                write_whole(&path, &archive(kernel, drivers.modules(), program)?)?;
            }
            Ok(path)
        };
        self.made[drivers as usize].get_or_init(make).clone()
    }

    /// The variable by which a laboratory in a guest finds this one's files, in the host's root.
    pub(crate) fn for_guest(&self) -> Result<(String, String)> {
        for drivers in [Drivers::Input, Drivers::GpuAndRoot] {
            self.initramfs(drivers)?;
        }
        let paths = [&self.kernel, &self.folder].map(|path| std::path::absolute(path).context(path.display()));
        let [kernel, folder] = paths;
        let joined = std::env::join_paths([kernel?, folder?]).map_err(|e| Error::Failed(e.to_string()))?;
        Ok((GIVEN.to_owned(), joined.to_string_lossy().into_owned()))
    }
}

fn check_qemu() -> Result<()> {
    let missing = |what: String| Error::Missing(format!("{what}; run tests/vm/setup.sh"));
    let output = Command::new(QEMU).arg("--version").output().map_err(|e| missing(format!("{QEMU} ({e})")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("version ").map(|(_, rest)| rest).unwrap_or_default();
    let major = version.split('.').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    if major < QEMU_MAJOR_MIN {
        let first = text.lines().next().unwrap_or_default();
        return Err(missing(format!("QEMU {QEMU_MAJOR_MIN} or newer (there is: {first})")));
    }
    Ok(())
}

/// Builds the guest's program, static, in a target folder of its own: the flags differ from those of the build that runs
/// us, whose folder may be locked.
fn build_guest(root: &Path, target_folder: &Path) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--locked", "--package", "seat-guest", "--bin", "seat-guest", "--release"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_folder)
        .current_dir(root)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    // What the build around us was given for itself alone.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(name);
    }
    let output = command.output().context("cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Failed(format!("building seat-guest: {}\n{text}", output.status)));
    }
    let program = target_folder.join(TARGET).join("release/seat-guest");
    fs::read(&program).context(program.display())
}

fn archive(kernel: &Kernel, names: &[&str], program: &[u8]) -> Result<Vec<u8>> {
    let modules = kernel.modules(names)?;
    let list: String = modules.iter().map(|m| format!("{}\n", m.file)).collect();
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp", "modules"] {
        archive.folder(folder);
    }
    // The kernel opens it for init before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.file("modules/list", 0o644, list.as_bytes());
    for module in &modules {
        archive.file(&format!("modules/{}", module.file), 0o644, &module.content);
    }
    archive.file("init", 0o755, program);
    Ok(archive.finish())
}
