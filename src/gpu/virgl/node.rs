//! A GPU's render node, as `--render-node` names it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use thiserror::Error;

/// The major number of DRM's devices.
const DRM_MAJOR: u64 = 226;

/// The minor numbers from here on are render nodes; below are primary nodes, for which one has to be the screen's master.
const FIRST_RENDER_MINOR: u64 = 128;

/// Why a render node can't be had.
#[derive(Debug, Error)]
pub enum NodeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a render node of a GPU (/dev/dri/renderD*)")]
    Other,
}

/// Opens the render node at `path`, to read and to write.
///
/// # Errors
/// It is not there, is something else, or may not be opened.
pub fn open(path: &Path) -> Result<OwnedFd, NodeError> {
    // Looked at before: opening another device can do something.
    let metadata = fs::metadata(path)?;
    if !metadata.file_type().is_char_device() || !is_of_render_node(metadata.rdev()) {
        return Err(NodeError::Other);
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    Ok(fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// Whether a render node's device has that number.
fn is_of_render_node(number: u64) -> bool {
    major(number) == DRM_MAJOR && minor(number) >= FIRST_RENDER_MINOR
}

/// All render nodes of this host, in the order of their numbers.
pub fn all() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    let mut nodes: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_named_like_one(path)).collect();
    nodes.sort();
    nodes
}

fn is_named_like_one(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("renderD"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::makedev;

    #[test]
    fn render_nodes_are_told_by_their_numbers_and_names() {
        for (number, expected) in [((226, 128), true), ((226, 191), true), ((226, 127), false), ((29, 128), false)] {
            assert_eq!(is_of_render_node(makedev(number.0, number.1)), expected, "{number:?}");
        }
        for (name, expected) in [("renderD128", true), ("card0", false), ("by-path", false)] {
            assert_eq!(is_named_like_one(&Path::new("/dev/dri").join(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_render_node_is_not_opened() {
        assert!(matches!(open(Path::new("/dev/null")), Err(NodeError::Other)));
        assert!(matches!(open(Path::new("/")), Err(NodeError::Other)));
        assert!(matches!(open(Path::new("/dev/dri/none-of-these")), Err(NodeError::Io(_))));
    }
}
