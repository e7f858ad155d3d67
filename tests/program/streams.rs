//! "File descriptors 0, 1 and 2 will exist": on /dev/null, closed all the same, or full with
//! nobody who reads. What is only printed stands in `printing`.

use std::fs;
use std::io::pipe;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

/// Runs `script` in a shell that becomes the program (`exec "$0" "$@" ...`), with one end of a pair as descriptor 9.
fn on_pair(subject: &Subject, script: &str) -> (Child, FrontEnd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = subject.shell(script, &["--fd=9", "--log-level=trace"]);
    (shell.stdin(OwnedFd::from(theirs)).spawn().unwrap(), FrontEnd::from_stream(ours))
}

fn stream(child: &Child, number: u32) -> PathBuf {
    fs::read_link(format!("/proc/{}/fd/{number}", child.id())).unwrap()
}

pub fn dev_null_is_enough(subject: &Subject) {
    let (child, mut front_end) = on_pair(subject, r#"exec "$0" "$@" 9<&0 </dev/null >/dev/null 2>&1"#);
    assert_served(&mut front_end);
    drop(front_end);
    assert!(ended(child).success());
}

pub fn closed_ones_become_dev_null_before_anything_else_can_take_their_numbers(subject: &Subject) {
    let (child, mut front_end) = on_pair(subject, r#"exec "$0" "$@" 9<&0 <&- >&- 2>&-"#);
    assert_served(&mut front_end);
    for number in 0..3 {
        assert_eq!(stream(&child, number), Path::new("/dev/null"));
    }
    drop(front_end);
    assert!(ended(child).success());
}

pub fn every_log_level_is_taken(subject: &Subject) {
    for argument in ["error", "warn", "info", "debug", "trace"].map(|level| format!("--log-level={level}")) {
        let (mut program, front_end) = subject.on_fd(&[&argument]);
        drop(front_end);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{argument}");
    }
}

pub fn a_log_that_nobody_reads_holds_nothing_up(subject: &Subject) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = subject.shell(r#"exec "$0" "$@" 9<&0"#, &["--fd=9", "--log-level=trace"]);
    let child = shell.stdin(OwnedFd::from(theirs)).stderr(writer).spawn().unwrap();
    let mut front_end = FrontEnd::from_stream(ours);
    for _ in 0..100 {
        assert_served(&mut front_end);
    }
    drop(front_end);
    assert!(ended(child).success());
    drop(reader);
}

pub fn it_stays_the_process_that_was_started(subject: &Subject) {
    let mut program = subject.listening();
    assert_served(&mut program.connect().unwrap());
    assert!(program.is_running().unwrap(), "a daemon's parent would have ended");
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("PPid:"), std::process::id().to_string());
    assert_eq!(field("Threads:"), "1");
    assert_eq!(fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap_or_default(), "");
}
