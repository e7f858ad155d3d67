//! What a command line means, and which ones mean nothing.

use std::os::unix::ffi::OsStringExt;

use super::*;

/// A program with one option of its own.
#[derive(Debug, Default)]
struct Toy {
    colour: Option<OsString>,
}

impl Program for Toy {
    const NAME: &'static str = "toy";
    const DEVICE_TYPE: &'static str = "gpu";
    const PURPOSE: &'static str = "for tests";
    const HELP: &'static str = "";

    fn features() -> Vec<&'static str> {
        Vec::new()
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        match name {
            "colour" => set(&mut self.colour, name, parser.value()?),
            _ => Err(UsageError::Unknown(name.to_owned())),
        }
    }

    fn serve(self, _start: super::super::Start) -> Result<(), super::super::Failure> {
        Ok(())
    }
}

fn read(line: &[&str]) -> Result<Request<Toy>, UsageError> {
    parse(line.iter().map(OsString::from).collect())
}

fn served(line: &[&str]) -> (Toy, SocketFrom, LevelFilter) {
    match read(line) {
        Ok(Request::Serve { program, socket, log_level }) => (program, socket, log_level),
        other => panic!("{line:?}: {other:?}"),
    }
}

fn complaint(line: &[&str]) -> String {
    read(line).expect_err("refused").to_string()
}

#[test]
fn a_value_follows_after_a_sign_or_as_the_next_argument() {
    for line in [&["--socket-path=/a/b"][..], &["--socket-path", "/a/b"]] {
        assert_eq!(served(line).1, SocketFrom::Path(PathBuf::from("/a/b")));
    }
    for line in [&["--fd=7"][..], &["--fd", "7"]] {
        assert_eq!(served(line).1, SocketFrom::Fd(7));
    }
}

#[test]
fn a_path_need_not_be_text() {
    let argument = OsString::from_vec(b"--socket-path=/tmp/\xff".to_vec());
    let Ok(Request::Serve { socket, .. }) = parse::<Toy>(vec![argument]) else { panic!("refused") };
    assert_eq!(socket, SocketFrom::Path(OsString::from_vec(b"/tmp/\xff".to_vec()).into()));
}

#[test]
fn both_sockets_or_none_is_an_error() {
    assert_eq!(complaint(&["--socket-path=/a", "--fd=3"]), "--socket-path and --fd exclude each other");
    assert_eq!(complaint(&[]), "no socket: give --socket-path=PATH or --fd=FDNUM");
}

#[test]
fn the_log_level_is_warn_unless_said() {
    assert_eq!(served(&["--fd=3"]).2, LevelFilter::Warn);
    assert_eq!(served(&["--fd=3", "--log-level=trace"]).2, LevelFilter::Trace);
    assert_eq!(
        complaint(&["--fd=3", "--log-level=loud"]),
        r#"--log-level="loud": not one of error, warn, info, debug, trace"#
    );
}

#[test]
fn a_program_takes_its_own_options() {
    assert_eq!(served(&["--colour", "red", "--fd=3"]).0.colour.as_deref(), Some(OsStr::new("red")));
}

#[test]
fn a_bad_number_is_refused() {
    for bad in ["", "x", "-1", "3x", "99999999999"] {
        assert_eq!(complaint(&[&format!("--fd={bad}")]), format!("--fd={bad:?}: not a file descriptor's number"));
    }
}

#[test]
fn an_option_given_twice_is_refused() {
    assert_eq!(complaint(&["--fd=3", "--fd=3"]), "--fd is given twice");
    assert_eq!(complaint(&["--fd=3", "--colour=a", "--colour=b"]), "--colour is given twice");
}

#[test]
fn what_is_not_an_option_is_refused() {
    for line in [&["--bogus"][..], &["--fd=3", "-x"], &["--fd=3", "word"], &["--fd=3", "--", "word"], &["--fd"]] {
        assert!(!complaint(line).is_empty(), "{line:?}");
    }
    assert_eq!(complaint(&["--print-capabilities=all"]), "--print-capabilities takes no value");
    assert!(read(&["--help=me"]).is_ok(), "the help is printed before its value is looked at");
}

#[test]
fn help_and_version_are_answered_where_they_stand() {
    assert!(matches!(read(&["--help"]), Ok(Request::Help)));
    assert!(matches!(read(&["-h", "--bogus"]), Ok(Request::Help)));
    assert!(matches!(read(&["--fd=3", "--version"]), Ok(Request::Version)));
    assert!(read(&["--bogus", "--help"]).is_err());
}
