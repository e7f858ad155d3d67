//! `--evdev-path`: what is there and is no evdev device ends the program before it listens, with one line and at once.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// A user who owns nothing.
const NOBODY: u32 = 65534;

/// The program with what is at `device`: in both spellings one line names the option, the path and the cause.
#[track_caller]
fn assert_refused(device: &Path, cause: &str) {
    let (_folder, path) = place();
    let socket = subject::socket_path(&path);
    let mut joined = OsString::from("--evdev-path=");
    joined.push(device);
    for option in [vec![joined], vec![OsString::from("--evdev-path"), device.into()]] {
        for more in [None, Some("--no-grab"), Some("--exit-on-unplug")] {
            let mut line = vec![socket.clone()];
            line.extend(option.iter().cloned().chain(more.map(OsString::from)));
            let ran = without_device().run_alone(&line);
            ran.assert_refused(1, &format!("--evdev-path={device:?}: {cause}"));
        }
    }
    assert!(!path.exists(), "it fails before it listens");
}

#[test]
fn a_path_where_nothing_is_is_refused() {
    let folder = TempDir::new().unwrap();
    assert_refused(&folder.join("event0"), "No such file or directory");
    assert_refused(&folder.join("missing/event0"), "No such file or directory");
    assert_refused(Path::new(""), "No such file or directory");
    fs::write(folder.join("file"), "").unwrap();
    assert_refused(&folder.join("file/event0"), "Not a directory");
    let link = folder.join("link");
    symlink("nowhere", &link).unwrap();
    assert_refused(&link, "No such file or directory");
    symlink(&link, folder.join("nowhere")).unwrap();
    assert_refused(&link, "Too many levels of symbolic links");
}

#[test]
fn the_device_is_looked_for_before_the_socket_file_is_made() {
    let (_folder, path) = place();
    let other = UnixListener::bind(&path).unwrap();
    // Both are wrong: it does not come as far as to the second.
    without_device().run(&[subject::socket_path(&path)]).assert_refused(1, NOWHERE);
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err());
}

#[test]
fn a_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    assert_refused(folder.path(), "Is a directory");
}

#[test]
fn a_plain_file_is_refused_and_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.join("file");
    fs::write(&file, "kept").unwrap();
    assert_refused(&file, "it is not an evdev device");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn another_character_device_is_refused() {
    for device in ["/dev/null", "/dev/zero", "/dev/full"] {
        assert_refused(Path::new(device), "it is not an evdev device");
    }
}

#[test]
fn a_pipe_is_refused_without_waiting_for_its_other_end() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    assert_refused(&pipe, "it is not an evdev device");
}

#[test]
fn a_socket_is_refused_and_not_connected_to() {
    let folder = TempDir::new().unwrap();
    let path = folder.join("other");
    let listener = UnixListener::bind(&path).unwrap();
    assert_refused(&path, "No such device or address");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_path_need_not_be_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(OsString::from_vec(b"\xff\n".to_vec()));
    fs::write(&path, "").unwrap();
    // What can't be printed is escaped, and the line stays one.
    assert_refused(&path, "it is not an evdev device");
}

/// The program with what is at `device`, by a user who may do nothing that not everybody may; `folder` is for what it
/// takes.
fn run_as_nobody(folder: &TempDir, device: &Path) -> Ran {
    // That user may not look into every folder that a build lies in. It is another process that copies: a descriptor of
    // ours that may write would be seen in the children of other tests, and a file that is being written is not executed.
    let binary = folder.join("vhost-user-input");
    assert!(Command::new("cp").arg(without_device().binary).arg(&binary).status().unwrap().success());
    let mut command = Command::new(&binary);
    command.arg("--evdev-path").arg(device).arg("--socket-path").arg(folder.join("socket"));
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // With root's rights go its groups.
        command.uid(NOBODY).gid(NOBODY);
    }
    let ran = without_device().to_end(command);
    assert!(!folder.join("socket").exists());
    ran
}

#[test]
fn a_path_that_may_not_be_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.join("event0");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    let ran = run_as_nobody(&folder, &file);
    ran.assert_refused(1, &format!("--evdev-path={file:?}: Permission denied"));
}

#[test]
fn a_pipe_that_may_only_be_read_is_refused_without_waiting_for_a_writer() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH).unwrap();
    let ran = run_as_nobody(&folder, &pipe);
    ran.assert_refused(1, &format!("--evdev-path={pipe:?}: it is not an evdev device"));
}
