//! `--socket-path`: what may stand there before, and what stands there afterwards.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};

use super::*;

/// A socket file that nobody listens on.
///
/// Its socket never listened: a child that another test is just forking holds a copy of every descriptor until its exec,
/// and a listener would live on in there for a moment.
fn leave_stale(path: &Path) {
    let once = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(once.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
}

#[track_caller]
fn run_at(subject: &Subject, path: &Path) -> Ran {
    subject.run(&["--socket-path".as_ref(), path.as_os_str()])
}

pub fn one_front_end_after_another_is_served_until_sigterm(subject: &Subject) {
    let mut program = subject.listening();
    for _ in 0..5 {
        assert_served(&mut program.connect().unwrap());
    }
    // One that says nothing.
    drop(program.connect().unwrap());
    assert_served(&mut program.connect().unwrap());
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
    assert!(!program.socket().exists());
    assert_eq!(program.stderr(), "");
}

pub fn a_front_end_that_waits_is_served_when_the_one_before_it_goes(subject: &Subject) {
    let program = subject.listening();
    let mut first = program.connect().unwrap();
    assert_served(&mut first);
    let mut second = program.connect().unwrap();
    drop(first);
    assert_served(&mut second);
}

pub fn a_front_end_that_breaks_the_protocol_does_not_end_the_program(subject: &Subject) {
    let mut program = subject.listening();
    let mut broken = program.connect().unwrap();
    broken.send_bytes(&[0xff; 12], &[]).unwrap();
    broken.expect_close(patience()).unwrap();
    // Another hangs up within a message.
    program.connect().unwrap().send_bytes(&[1, 0, 0], &[]).unwrap();
    assert_served(&mut program.connect().unwrap());
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
}

pub fn a_stale_socket_is_replaced(subject: &Subject) {
    let (_folder, path) = place();
    leave_stale(&path);
    let mut program = subject.listening_at(&path);
    assert_served(&mut FrontEnd::connect(&path).unwrap());
    program.terminate(patience()).unwrap();
    assert!(!path.exists());
}

pub fn the_socket_that_a_killed_program_left_is_replaced(subject: &Subject) {
    let (_folder, path) = place();
    drop(subject.listening_at(&path));
    assert!(path.exists(), "SIGKILL leaves it");
    let _program = subject.listening_at(&path);
    assert_served(&mut FrontEnd::connect(&path).unwrap());
}

pub fn a_live_socket_is_left_alone(subject: &Subject) {
    let (_folder, path) = place();
    let mut first = subject.listening_at(&path);
    run_at(subject, &path).assert_refused(1, "in use");
    assert_served(&mut FrontEnd::connect(&path).unwrap());
    assert!(first.is_running().unwrap());
}

pub fn what_is_no_socket_is_left_alone(subject: &Subject) {
    let (folder, path) = place();
    fs::write(&path, "kept").unwrap();
    run_at(subject, &path).assert_refused(1, "not a socket");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");

    let link = folder.join("link");
    symlink(&path, &link).unwrap();
    run_at(subject, &link).assert_refused(1, "not a socket");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    run_at(subject, folder.path()).assert_refused(1, "not a socket");
}

pub fn unusable_paths_are_errors_that_name_them(subject: &Subject) {
    let (folder, path) = place();
    let missing = folder.join("missing/socket");
    run_at(subject, &missing).assert_refused(1, &format!("{missing:?}"));
    let long = folder.join(&"x".repeat(108));
    run_at(subject, &long).assert_refused(1, &format!("{long:?}"));
    run_at(subject, Path::new("")).assert_refused(1, "\"\"");
    run_at(subject, Path::new("/proc/socket")).assert_refused(1, "/proc/socket");
    fs::write(&path, "").unwrap();
    run_at(subject, &path.join("socket")).assert_refused(1, "socket");
}

pub fn a_path_need_not_be_text(subject: &Subject) {
    let (folder, _) = place();
    let path = folder.path().join(OsString::from_vec(b"\xff\n".to_vec()));
    let program = subject.spawn_at(&path);
    assert_served(&mut FrontEnd::connect_by(&path, patience()).unwrap());
    drop(program);
    // What can't be printed is escaped, and the line stays one.
    let plain = folder.path().join(OsString::from_vec(b"\xfe\n".to_vec()));
    fs::write(&plain, "").unwrap();
    run_at(subject, &plain).assert_refused(1, r"\xFE\n");
}

pub fn a_relative_path_is_taken_from_the_working_folder(subject: &Subject) {
    let (folder, path) = place();
    let mut command = subject.command(&["--socket-path=socket"]);
    command.args(SERVING).current_dir(folder.path());
    let mut program = Program::from_command(command).unwrap();
    assert_served(&mut FrontEnd::connect_by(&path, patience()).unwrap());
    program.terminate(patience()).unwrap();
    assert!(!path.exists());
}

pub fn a_socket_that_came_in_place_of_ours_is_not_unlinked(subject: &Subject) {
    let (_folder, path) = place();
    let mut program = subject.listening_at(&path);
    // By then it knows which file is its own.
    assert_served(&mut FrontEnd::connect(&path).unwrap());
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    UnixStream::connect(&path).unwrap();
    drop(other);
}

pub fn of_programs_started_at_once_on_one_stale_socket_one_serves(subject: &Subject) {
    let (_folder, path) = place();
    // Of one device they would see each other trying whether it can be had.
    let others: Vec<_> = (0..4).map(|_| (subject.another)()).collect();
    for _ in 0..5 {
        leave_stale(&path);
        let mut all: Vec<_> = others.iter().map(|other| other.spawn_at(&path)).collect();
        let deadline = patience();
        while all.iter_mut().filter_map(|program| program.is_running().unwrap().then_some(())).count() > 1 {
            assert!(!deadline.passed(), "more than one runs");
            std::thread::yield_now();
        }
        assert_served(&mut FrontEnd::connect_by(&path, patience()).unwrap());
        for program in &mut all {
            if program.is_running().unwrap() {
                assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
            } else {
                subject.assert_one_line(&program.stderr(), "in use");
            }
        }
        assert!(!path.exists());
    }
}
