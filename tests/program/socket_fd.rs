//! `--fd`: connected, listening, and what is neither.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::*;

#[test]
fn a_connected_socket_is_served_until_the_front_end_hangs_up() {
    let (mut program, mut front_end) = Program::on_fd(BINARY, &[]).unwrap();
    assert_served(&mut front_end);
    assert!(program.is_running().unwrap());
    drop(front_end);
    assert_eq!(program.wait(patience()).unwrap().code(), Some(0));
    assert_eq!(program.stderr(), "");
}

#[test]
fn a_front_end_that_hung_up_before_the_start_is_no_error() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let mut program = Program::with_fd(BINARY, theirs.into(), &[]).unwrap();
    assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{}", program.stderr());
}

#[test]
fn the_only_front_end_breaking_the_protocol_is_an_error() {
    let (mut program, mut front_end) = Program::on_fd(BINARY, &[]).unwrap();
    front_end.send_bytes(&[0xff; 12], &[]).unwrap();
    assert_eq!(program.wait(patience()).unwrap().code(), Some(1));
    assert!(program.stderr().contains("the front end broke the protocol"), "{}", program.stderr());
}

#[test]
fn a_listening_socket_serves_one_front_end_after_another_and_keeps_its_file() {
    let (mut program, path) = Program::on_listening_fd(BINARY, &[]).unwrap();
    for _ in 0..3 {
        assert_served(&mut FrontEnd::connect(&path).unwrap());
    }
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
    assert!(path.exists(), "whoever made the file removes it");
}

#[test]
fn the_number_may_follow_as_an_argument_of_its_own() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$0" --fd 0009 9<&0"#, BINARY]).stdin(OwnedFd::from(theirs));
    let child = shell.spawn().unwrap();
    let mut front_end = FrontEnd::from_stream(ours);
    assert_served(&mut front_end);
    drop(front_end);
    assert!(ended(child).success());
}

#[test]
fn descriptors_that_are_no_vhost_user_socket_are_refused() {
    let datagram = UnixDatagram::unbound().unwrap();
    let unix = |kind| socket(AddressFamily::Unix, kind, SockFlag::empty(), None).unwrap();
    let cases: [(OwnedFd, &str); 6] = [
        (File::open("/dev/null").unwrap().into(), "not a socket"),
        (std::io::pipe().unwrap().0.into(), "not a socket"),
        (datagram.into(), "not a Unix stream socket"),
        (unix(SockType::SeqPacket), "not a Unix stream socket"),
        (TcpListener::bind("127.0.0.1:0").unwrap().into(), "not a Unix stream socket"),
        (unix(SockType::Stream), "neither connected nor listening"),
    ];
    for (fd, reason) in cases {
        let mut program = Program::with_fd(BINARY, fd, &[]).unwrap();
        assert_eq!(program.wait(patience()).unwrap().code(), Some(1));
        assert_one_line(&program.stderr(), reason);
    }
}

#[test]
fn numbers_that_are_not_open_or_are_standard_streams_are_refused() {
    Ran::to_end(&["--fd=99"]).assert_refused(1, "--fd=99: not open");
    for number in ["0", "1", "2"] {
        Ran::to_end(&[format!("--fd={number}")]).assert_refused(1, "must be 3 or more");
    }
}
