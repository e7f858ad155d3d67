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

pub fn while_it_listens(subject: &Subject) {
    for signal in SIGNALS {
        let (_folder, path) = place();
        assert_ends(subject.listening_at(&path), signal);
        assert!(!path.exists());
    }
}

pub fn while_a_front_end_is_connected(subject: &Subject) {
    for signal in SIGNALS {
        let (_folder, path) = place();
        let program = subject.listening_at(&path);
        let mut front_end = FrontEnd::connect(&path).unwrap();
        assert_served(&mut front_end);
        assert_ends(program, signal);
        assert!(!path.exists());
        front_end.expect_close(patience()).unwrap();
    }
}

pub fn while_a_message_is_half_there(subject: &Subject) {
    for signal in SIGNALS {
        let (program, mut front_end) = subject.on_fd(&[]);
        assert_served(&mut front_end);
        front_end.send_bytes(&[1, 0, 0, 0, 1, 0], &[]).unwrap();
        assert_ends(program, signal);
    }
}

pub fn while_it_is_still_starting(subject: &Subject) {
    for _ in 0..50 {
        let (_folder, path) = place();
        let mut program = subject.spawn_at(&path);
        program.signal(Signal::SIGTERM).unwrap();
        let ended = program.wait(patience()).unwrap();
        // Before main there is nobody yet to block the signal, but nothing to leave behind either.
        assert!(ended.code() == Some(0) || ended.signal() == Some(Signal::SIGTERM as i32), "{ended:?}");
        assert!(!path.exists());
    }
}

pub fn though_the_parent_left_them_ignored(subject: &Subject) {
    for signal in SIGNALS {
        let (_folder, path) = place();
        let mut shell = subject.shell(r#"trap "" TERM INT; exec "$0" "$@""#, &[]);
        shell.arg("--socket-path").arg(&path);
        let mut program = Program::from_command(shell).unwrap();
        program.wait_listening(&path, patience()).unwrap();
        assert_ends(program, signal);
        assert!(!path.exists());
    }
}
