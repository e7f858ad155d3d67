//! What every guest needs, made once: the kernel's image, the guest's program, the initramfs.

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
/// What the guest loads, with all that it depends on.
const MODULES: &[&str] = &["virtio_pci", "virtio_gpu"];

/// A prepared laboratory.
pub struct Lab {
    /// QEMU's program, as found by the `PATH`.
    pub qemu: &'static str,
    /// The kernel as ELF.
    pub kernel: PathBuf,
    /// Modules and the guest's program as `/init`.
    pub initramfs: PathBuf,
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
        let initramfs = built.join("initramfs.cpio");
        write_whole(&initramfs, &archive(&kernel, &program)?)?;
        Ok(Lab { qemu: QEMU, kernel: kernel.image()?, initramfs })
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

fn archive(kernel: &Kernel, program: &[u8]) -> Result<Vec<u8>> {
    let modules = kernel.modules(MODULES)?;
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
