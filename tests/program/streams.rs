//! "File descriptors 0, 1 and 2 will exist": on /dev/null, closed all the same, full, or with nobody at the other end.

use std::fs::{self, File};
use std::io::pipe;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

/// Runs `script` in a shell that becomes the program (`exec "$0" "$@" ...`), with one end of a pair as descriptor 9.
fn on_pair(script: &str) -> (Child, FrontEnd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", script, BINARY, "--fd=9", "--log-level=trace"]).stdin(OwnedFd::from(theirs));
    (shell.spawn().unwrap(), FrontEnd::from_stream(ours))
}

fn stream(child: &Child, number: u32) -> PathBuf {
    fs::read_link(format!("/proc/{}/fd/{number}", child.id())).unwrap()
}

#[test]
fn dev_null_is_enough() {
    let (child, mut front_end) = on_pair(r#"exec "$0" "$@" 9<&0 </dev/null >/dev/null 2>&1"#);
    assert_served(&mut front_end);
    drop(front_end);
    assert!(ended(child).success());
}

#[test]
fn closed_ones_become_dev_null_before_anything_else_can_take_their_numbers() {
    let (child, mut front_end) = on_pair(r#"exec "$0" "$@" 9<&0 <&- >&- 2>&-"#);
    assert_served(&mut front_end);
    for number in 0..3 {
        assert_eq!(stream(&child, number), Path::new("/dev/null"));
    }
    drop(front_end);
    assert!(ended(child).success());
}

#[test]
fn help_and_capabilities_do_not_need_them() {
    for option in ["--help", "--version", "--print-capabilities"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec "$0" "$@" <&- >&- 2>&-"#, BINARY, option]);
        assert_eq!(shell.status().unwrap().code(), Some(0), "{option} with all closed");

        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let status = Command::new(BINARY).arg(option).stdout(writer).status().unwrap();
        assert_eq!(status.code(), Some(0), "{option} with no reader");
    }
}

#[test]
fn output_that_does_not_get_through_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(BINARY).arg("--print-capabilities").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_one_line(&String::from_utf8(output.stderr).unwrap(), "standard output");
}

#[test]
fn errors_that_cannot_be_written_keep_their_status() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let status = Command::new(BINARY).arg("--bogus").stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();

    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" "$@" 9<&0"#, BINARY, "--fd=9", "--log-level=trace"]);
    let child = shell.stdin(OwnedFd::from(theirs)).stderr(writer).spawn().unwrap();
    let mut front_end = FrontEnd::from_stream(ours);
    for _ in 0..100 {
        assert_served(&mut front_end);
    }
    drop(front_end);
    assert!(ended(child).success());
    drop(reader);
}

#[test]
fn it_stays_the_process_that_was_started() {
    let mut program = Program::listening(BINARY, &[], patience()).unwrap();
    assert_served(&mut program.connect().unwrap());
    assert!(program.is_running().unwrap(), "a daemon's parent would have ended");
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("PPid:"), std::process::id().to_string());
    assert_eq!(field("Threads:"), "1");
    assert_eq!(fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap_or_default(), "");
}
