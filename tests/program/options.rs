//! Command lines that make no sense, or ask for what is not there.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::*;

pub fn both_sockets_or_none_is_an_error(subject: &Subject) {
    let (_folder, path) = place();
    let path = path.to_str().unwrap();
    subject.run::<&str>(&[]).assert_refused(2, "--socket-path");
    subject.run_alone::<&str>(&[]).assert_refused(2, "--socket-path");
    subject.run(&["--log-level=info"]).assert_refused(2, "--fd");
    subject.run(&[&format!("--socket-path={path}"), "--fd=3"]).assert_refused(2, "exclude");
    subject.run(&["--fd", "3", "--socket-path", path]).assert_refused(2, "exclude");
    assert!(!Path::new(path).exists());
}

pub fn options_that_make_no_sense_are_named_in_one_line(subject: &Subject) {
    let cases: [(&[&str], &str); 22] = [
        (&["--bogus"], "--bogus"),
        (&["--two\nlines"], "--two"),
        (&["-x"], "-x"),
        (&["word"], "word"),
        (&["--fd=3", "--", "word"], "word"),
        (&["--fd"], "--fd"),
        (&["--socket-path"], "--socket-path"),
        (&["--fd="], "--fd"),
        (&["--fd=three"], "three"),
        (&["--fd=-1"], "-1"),
        (&["--fd=99999999999999999999"], "99999999999999999999"),
        (&["--fd=3", "--fd=4"], "twice"),
        (&["--socket-path=/a", "--socket-path=/b"], "twice"),
        (&["--fd=3", "--log-level=loud"], "loud"),
        (&["--fd=3", "--log-level"], "--log-level"),
        (&["--fd=3", "--print-capabilities=yes"], "--print-capabilities"),
        (&["--fd=3", "--sandbox=auto"], "--sandbox=\"auto\": not require"),
        (&["--fd=3", "--sandbox"], "--sandbox"),
        (&["--fd=3", "--sandbox=require", "--sandbox=require"], "twice"),
        (&["--fd=3", "--no-sandbox", "--no-sandbox"], "twice"),
        (&["--fd=3", "--no-sandbox=yes"], "--no-sandbox"),
        (&["--fd=3", "--no-sandbox", "--sandbox=require"], "exclude"),
    ];
    for (line, part) in cases {
        subject.run(line).assert_refused(2, part);
    }
}

pub fn arguments_that_are_no_text_are_refused_like_others(subject: &Subject) {
    for bytes in [&b"--b\xffgus"[..], b"--fd=\xff", b"--log-level=\xff", b"\xff", b"-\xff"] {
        subject.run(&[OsString::from_vec(bytes.to_vec())]).assert_refused(2, "");
    }
}

pub fn help_names_every_option_and_version_the_package(subject: &Subject) {
    let help = subject.run_alone(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    let common = [
        "--socket-path=PATH",
        "--fd=FDNUM",
        "--print-capabilities",
        "--log-level=LEVEL",
        "--no-sandbox",
        "--sandbox=require",
        "--help",
        "--version",
    ];
    for option in common.iter().chain(subject.own_options) {
        assert!(help.stdout.contains(option), "{option}");
    }
    let version = subject.run_alone(&["--version"]);
    assert_eq!(version.status, Some(0));
    assert_eq!(version.stdout, format!("{} (vhost-seat) {}\n", subject.name, env!("CARGO_PKG_VERSION")));
}

pub fn descriptors_that_are_no_vhost_user_socket_are_refused(subject: &Subject) {
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
        let mut program = subject.with_fd(fd);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(1));
        subject.assert_one_line(&program.stderr(), reason);
    }
}

pub fn numbers_that_are_not_open_or_are_standard_streams_are_refused(subject: &Subject) {
    subject.run(&["--fd=99"]).assert_refused(1, "--fd=99: not open");
    for number in ["0", "1", "2"] {
        subject.run(&[format!("--fd={number}")]).assert_refused(1, "must be 3 or more");
    }
}
