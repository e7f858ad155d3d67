//! Debian's kernel, unpacked: the ELF image that QEMU boots by PVH, and modules with all that they depend on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Result};

/// A module as the guest loads it: file name and inflated content.
pub struct Module {
    pub file: String,
    pub content: Vec<u8>,
}

/// The folder that `setup.sh` unpacked the kernel's package into.
pub struct Kernel {
    root: PathBuf,
}

impl Kernel {
    pub fn find(cache: &Path) -> Result<Self> {
        let root = cache.join("kernel");
        if !root.join("complete").exists() {
            return Err(Error::Missing("the guest's kernel; run tests/vm/setup.sh".to_owned()));
        }
        Ok(Kernel { root })
    }

    /// The uncompressed ELF image, made once and kept beside the package. Booting it spares the guest, which is
    /// emulated, the inflating.
    pub fn image(&self) -> Result<PathBuf> {
        let image = self.root.join("vmlinux");
        if image.exists() {
            return Ok(image);
        }
        let packed = only_file(&self.root.join("boot"), |name| name.starts_with("vmlinuz-"))?;
        let bytes = fs::read(&packed).context(packed.display())?;
        let payload = payload(&bytes).ok_or_else(|| Error::Failed(format!("{}: not a bzImage", packed.display())))?;
        let elf = inflate(payload).map_err(|e| e.context(packed.display()))?;
        write_whole(&image, &elf)?;
        Ok(image)
    }

    /// The named modules and all that they need, those first that others need. A name that the kernel has built in, or
    /// does not have, is left out.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<Module>> {
        let folder = self.root.join("lib/modules");
        let mut found = Vec::new();
        walk(&folder, &mut found)?;
        let mut order: Vec<(String, Module)> = Vec::new();
        for name in names {
            add_module(&found, &canonical(name), &mut order)?;
        }
        Ok(order.into_iter().map(|(_, module)| module).collect())
    }
}

fn add_module(found: &[(String, PathBuf)], name: &str, order: &mut Vec<(String, Module)>) -> Result<()> {
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let Some((_, path)) = found.iter().find(|(known, _)| known == name) else { return Ok(()) };
    let packed = fs::read(path).context(path.display())?;
    let content = if path.extension().is_some_and(|e| e == "ko") { packed } else { inflate(&packed)? };
    for needed in depends(&content) {
        add_module(found, &canonical(&needed), order)?;
    }
    order.push((name.to_owned(), Module { file: format!("{name}.ko"), content }));
    Ok(())
}

/// Names are written with `-` in file names and with `_` in lists.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// What a module's `.modinfo` names as needed.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|w| w == key) else { return Vec::new() };
    let rest = &module[at + key.len()..];
    let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end]).split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

fn walk(folder: &Path, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, found)?;
        } else if let Some((name, _)) = name.split_once(".ko") {
            found.push((canonical(name), path));
        }
    }
    Ok(())
}

fn only_file(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).context(folder.display())?;
    let mut names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).filter(|n| wanted(n));
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(folder.join(name)),
        _ => Err(Error::Failed(format!("{}: not exactly one kernel in it", folder.display()))),
    }
}

/// The compressed image inside of a bzImage, as the boot protocol's header tells its place.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match image.get(0x1f1)? {
        0 => 4,
        n => usize::from(*n),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    // The last four bytes are the inflated size, appended by the kernel's build.
    image.get(start..start.checked_add(word(0x24c)?)?.checked_sub(4)?)
}

/// Inflates zstd or xz by the programs of that name.
fn inflate(packed: &[u8]) -> Result<Vec<u8>> {
    let program = match packed {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        _ => return Err(Error::Failed("neither zstd nor xz".to_owned())),
    };
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Error::Missing(format!("{program} ({e}); run tests/vm/setup.sh")))?;
    let input = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // A program that ends early says why by its status; that the pipe broke is no news then.
        scope.spawn(move || input.map(|mut pipe| std::io::Write::write_all(&mut pipe, packed)));
        child.wait_with_output()
    });
    let output = output.context(program)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed(format!("{program}: {}", output.status)))
    }
}

/// Writes a file that appears whole or not at all, whoever else writes it at the same time.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, content).and_then(|()| fs::rename(&part, path)).context(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(depends(b"x\0depends=drm,drm_kms_helper\0y"), ["drm", "drm_kms_helper"]);
        assert!(depends(b"x\0depends=\0y").is_empty());
        assert!(depends(b"no modinfo").is_empty());
    }

    #[test]
    fn a_file_without_the_header_has_no_payload() {
        assert!(payload(&[0; 4096]).is_none());
        assert!(payload(b"short").is_none());
    }
}
