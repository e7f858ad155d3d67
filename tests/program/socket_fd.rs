//! `--fd`: connected or listening. What is neither stands in `options`.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;

pub fn a_connected_socket_is_served_until_the_front_end_hangs_up(subject: &Subject) {
    let (mut program, mut front_end) = subject.on_fd(&[]);
    assert_served(&mut front_end);
    assert!(program.is_running().unwrap());
    drop(front_end);
    assert_eq!(program.wait(patience()).unwrap().code(), Some(0));
    assert_eq!(program.stderr(), "");
}

pub fn a_front_end_that_hung_up_before_the_start_is_no_error(subject: &Subject) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let mut program = subject.with_fd(theirs.into());
    assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{}", program.stderr());
}

pub fn the_only_front_end_breaking_the_protocol_is_an_error(subject: &Subject) {
    let (mut program, mut front_end) = subject.on_fd(&[]);
    front_end.send_bytes(&[0xff; 12], &[]).unwrap();
    assert_eq!(program.wait(patience()).unwrap().code(), Some(1));
    assert!(program.stderr().contains("the front end broke the protocol"), "{}", program.stderr());
}

pub fn a_listening_socket_serves_one_front_end_after_another_and_keeps_its_file(subject: &Subject) {
    let (mut program, path) = subject.on_listening_fd();
    for _ in 0..3 {
        assert_served(&mut FrontEnd::connect(&path).unwrap());
    }
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
    assert!(path.exists(), "whoever made the file removes it");
}

pub fn the_number_may_follow_as_an_argument_of_its_own(subject: &Subject) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut shell = subject.shell(r#"exec "$0" "$@" 9<&0"#, &["--fd", "0009"]);
    let child = shell.stdin(OwnedFd::from(theirs)).spawn().unwrap();
    let mut front_end = FrontEnd::from_stream(ours);
    assert_served(&mut front_end);
    drop(front_end);
    assert!(ended(child).success());
}
