//! SIGTERM and SIGINT end the program in good order: status 0, the socket file gone.
//!
//! How long it takes is a bench's business: a loaded machine must not fail these.

use nix::sys::signal::Signal;

use super::*;

const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

#[track_caller]
fn assert_ends(mut program: Program, signal: Signal) {
    program.signal(signal).unwrap();
    let ended = program.wait(patience()).unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None), "{signal}: {}", program.stderr());
    assert_eq!(program.stderr(), "", "a good end needs no words");
}

#[test]
fn while_it_listens() {
    for signal in SIGNALS {
        let (_folder, path) = place();
        assert_ends(listening_at(&path), signal);
        assert!(!path.exists());
    }
}

#[test]
fn while_a_front_end_is_connected() {
    for signal in SIGNALS {
        let (_folder, path) = place();
        let program = listening_at(&path);
        let mut front_end = FrontEnd::connect(&path).unwrap();
        assert_served(&mut front_end);
        assert_ends(program, signal);
        assert!(!path.exists());
        front_end.expect_close(patience()).unwrap();
    }
}

#[test]
fn while_a_message_is_half_there() {
    for signal in SIGNALS {
        let (program, mut front_end) = Program::on_fd(BINARY, &[]).unwrap();
        assert_served(&mut front_end);
        front_end.send_bytes(&[1, 0, 0, 0, 1, 0], &[]).unwrap();
        assert_ends(program, signal);
    }
}

#[test]
fn while_it_is_still_starting() {
    for _ in 0..50 {
        let (_folder, path) = place();
        let mut program = Program::spawn(BINARY, ["--socket-path".as_ref(), path.as_os_str()]).unwrap();
        program.signal(Signal::SIGTERM).unwrap();
        let ended = program.wait(patience()).unwrap();
        // Before main there is nobody yet to block the signal, but nothing to leave behind either.
        assert!(ended.code() == Some(0) || ended.signal() == Some(Signal::SIGTERM as i32), "{ended:?}");
        assert!(!path.exists());
    }
}

#[test]
fn though_the_parent_left_them_ignored() {
    for signal in SIGNALS {
        let (_folder, path) = place();
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" TERM INT; exec "$0" "$@""#, BINARY]);
        shell.arg("--socket-path").arg(&path);
        let mut program = Program::from_command(shell).unwrap();
        program.wait_listening(&path, patience()).unwrap();
        assert_ends(program, signal);
        assert!(!path.exists());
    }
}
