//! What is printed, with standard streams that are closed, full, or have nobody at the other end.

use std::fs::File;
use std::io::pipe;

use super::*;

pub fn help_and_capabilities_do_not_need_standard_streams(subject: &Subject) {
    for option in ["--help", "--version", "--print-capabilities"] {
        let mut shell = subject.shell(r#"exec "$0" "$@" <&- >&- 2>&-"#, &[option]);
        assert_eq!(shell.status().unwrap().code(), Some(0), "{option} with all closed");

        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let status = subject.command(&[option]).stdout(writer).status().unwrap();
        assert_eq!(status.code(), Some(0), "{option} with no reader");
    }
}

pub fn output_that_does_not_get_through_is_an_error(subject: &Subject) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = subject.command(&["--print-capabilities"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    subject.assert_one_line(&String::from_utf8(output.stderr).unwrap(), "standard output");
}

pub fn errors_that_cannot_be_written_keep_their_status(subject: &Subject) {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let status = subject.command(&["--bogus"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
