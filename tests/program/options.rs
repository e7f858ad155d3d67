//! Command lines that make no sense, or ask for what is not there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn both_sockets_or_none_is_an_error() {
    let (_folder, path) = place();
    let path = path.to_str().unwrap();
    Ran::to_end::<&str>(&[]).assert_refused(2, "--socket-path");
    Ran::to_end(&["--log-level=info"]).assert_refused(2, "--fd");
    Ran::to_end(&[&format!("--socket-path={path}"), "--fd=3"]).assert_refused(2, "exclude");
    Ran::to_end(&["--fd", "3", "--socket-path", path]).assert_refused(2, "exclude");
    assert!(!Path::new(path).exists());
}

#[test]
fn options_that_make_no_sense_are_named_in_one_line() {
    let cases: [(&[&str], &str); 20] = [
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
        (&["--fd=3", "--max-hostmem=lots"], "lots"),
        (&["--fd=3", "--max-hostmem=0"], "--max-hostmem"),
        (&["--fd=3", "--max-hostmem=-1M"], "-1M"),
        (&["--fd=3", "--max-hostmem=99999999999G"], "99999999999G"),
        (&["--fd=3", "--print-capabilities=yes"], "--print-capabilities"),
    ];
    for (line, part) in cases {
        Ran::to_end(line).assert_refused(2, part);
    }
}

#[test]
fn arguments_that_are_no_text_are_refused_like_others() {
    for bytes in [&b"--b\xffgus"[..], b"--fd=\xff", b"--log-level=\xff", b"--max-hostmem=\xff", b"\xff", b"-\xff"] {
        Ran::to_end(&[OsString::from_vec(bytes.to_vec())]).assert_refused(2, "");
    }
}

#[test]
fn an_option_of_3d_stops_the_program_early() {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    for line in [&["--virgl"][..], &["--render-node=/dev/dri/renderD128"], &["--render-node", "/dev/null"]] {
        let mut arguments = vec![socket.as_str()];
        arguments.extend(line);
        Ran::to_end(&arguments).assert_refused(1, "not supported");
        assert!(!path.exists(), "it fails before it listens");
    }
}

#[test]
fn help_names_every_option_and_version_the_package() {
    let help = Ran::to_end(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    for option in [
        "--socket-path=PATH",
        "--fd=FDNUM",
        "--print-capabilities",
        "--max-hostmem=SIZE",
        "--log-level=LEVEL",
        "--virgl",
        "--render-node=PATH",
        "--help",
        "--version",
    ] {
        assert!(help.stdout.contains(option), "{option}");
    }
    let version = Ran::to_end(&["--version"]);
    assert_eq!(version.status, Some(0));
    assert_eq!(version.stdout, format!("vhost-user-gpu (vhost-seat) {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_log_level_and_size_is_taken() {
    for argument in ["error", "warn", "info", "debug", "trace"].map(|level| format!("--log-level={level}")) {
        let (mut program, front_end) = Program::on_fd(BINARY, &[&argument]).unwrap();
        drop(front_end);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{argument}");
    }
    for size in ["1", "65536", "64K", "256M", "2g"] {
        let (mut program, front_end) = Program::on_fd(BINARY, &["--max-hostmem", size]).unwrap();
        drop(front_end);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{size}");
    }
}
