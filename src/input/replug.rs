//! Waiting for a device to come back to its path, without looking at it again and again: inotify on the folders where
//! something must happen for it to be there.
//!
//! The path may be a link (`/dev/input/by-id/…`), its folder may be gone with the last device in it, and the node's rights
//! may be set after it was made. So for the path, and for what it links to, the nearest folder that exists is watched.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Links that are followed at most; Linux's own limit.
const MAX_LINKS: usize = 40;
/// How often a folder that vanishes or appears meanwhile is looked for anew.
const TRIES: usize = 16;

/// A folder's news that may bring the device back.
fn news() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

/// The watch: readable when it is worth the while to try the path again.
#[derive(Debug)]
pub struct Replug {
    inotify: Inotify,
}

impl AsFd for Replug {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Replug {
    /// Watches for `path`. Try the path once after this: it may have come back before.
    ///
    /// # Errors
    /// This user has no inotify instances or watches left.
    pub fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let replug = Self { inotify };
        replug.aim(path)?;
        Ok(replug)
    }

    /// Takes what has come, and watches the folders that are there now. To be called when it is readable, before the path
    /// is tried.
    ///
    /// # Errors
    /// As [`Replug::new`].
    pub fn renew(&self, path: &Path) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.aim(path)
    }

    fn aim(&self, path: &Path) -> io::Result<()> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let folder = folder_of(&path);
            self.watch(&folder)?;
            match fs::read_link(&path) {
                Ok(target) => path = folder.join(target),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Watches the folder, or the nearest one above it that exists.
    fn watch(&self, folder: &Path) -> io::Result<()> {
        for _ in 0..TRIES {
            let Some(nearest) = folder.ancestors().find(|folder| folder.is_dir()) else { break };
            match self.inotify.add_watch(nearest, news()) {
                // What lies below may have come between the look and the watch.
                Ok(_) if folder.ancestors().find(|folder| folder.is_dir()) == Some(nearest) => return Ok(()),
                Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("/"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("seat-replug-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn is_readable(replug: &Replug) -> bool {
        let mut fds = [PollFd::new(replug.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn a_file_that_is_made_is_news_once() {
        let folder = Folder::new("file");
        let path = folder.0.join("event0");
        let replug = Replug::new(&path).unwrap();
        assert!(!is_readable(&replug));
        fs::write(&path, "").unwrap();
        assert!(is_readable(&replug));
        replug.renew(&path).unwrap();
        assert!(!is_readable(&replug));
    }

    #[test]
    fn rights_that_are_given_later_are_news() {
        let folder = Folder::new("rights");
        let path = folder.0.join("event0");
        fs::write(&path, "").unwrap();
        let replug = Replug::new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(is_readable(&replug));
    }

    #[test]
    fn folders_that_are_made_one_after_the_other_are_followed_down() {
        let folder = Folder::new("deep");
        let path = folder.0.join("input/by-id/event-kbd");
        let replug = Replug::new(&path).unwrap();
        for made in ["input", "input/by-id"] {
            fs::create_dir(folder.0.join(made)).unwrap();
            assert!(is_readable(&replug), "{made}");
            replug.renew(&path).unwrap();
        }
        fs::write(&path, "").unwrap();
        assert!(is_readable(&replug));
    }

    #[test]
    fn a_link_whose_target_comes_later_is_followed() {
        let folder = Folder::new("link");
        let (links, nodes) = (folder.0.join("links"), folder.0.join("nodes"));
        fs::create_dir(&links).unwrap();
        fs::create_dir(&nodes).unwrap();
        let path = links.join("by-id");
        symlink("../nodes/event1", &path).unwrap();
        let replug = Replug::new(&path).unwrap();
        assert!(!is_readable(&replug));
        fs::write(nodes.join("event1"), "").unwrap();
        assert!(is_readable(&replug));
    }

    #[test]
    fn a_folder_that_vanishes_and_comes_back_is_watched_again() {
        let folder = Folder::new("vanish");
        let inner = folder.0.join("by-id");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("event0");
        let replug = Replug::new(&path).unwrap();
        fs::remove_dir(&inner).unwrap();
        assert!(is_readable(&replug));
        replug.renew(&path).unwrap();
        fs::create_dir(&inner).unwrap();
        assert!(is_readable(&replug));
        replug.renew(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(is_readable(&replug));
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = Folder::new("circle");
        let path = folder.0.join("a");
        symlink("b", &path).unwrap();
        symlink("a", folder.0.join("b")).unwrap();
        Replug::new(&path).unwrap();
    }
}
