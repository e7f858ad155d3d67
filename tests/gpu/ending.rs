//! SIGTERM and SIGINT in every state: status 0, no socket file left, nothing said.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use seat_frontend::control::request;
use seat_frontend::control::wire::{VERSION, config, message};
use seat_frontend::gpu::Command;
use seat_frontend::program::Program;

use crate::common::canvas::{Canvas, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{Seat, assert_answers, boot, connect, program, soon};

/// Sends the signal and looks at all that is promised then.
fn assert_ends_well(mut program: Program, signal: Signal) {
    let socket: PathBuf = program.socket().to_owned();

    program.signal(signal).unwrap();

    assert_eq!(program.wait(soon()).unwrap().code(), Some(0));
    assert!(!socket.exists(), "the socket file is still there");
    assert_eq!(program.stderr(), "");
}

#[test]
fn a_signal_ends_a_program_that_listens() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert_ends_well(program(&[]), signal);
    }
}

#[test]
fn a_signal_ends_a_program_whose_front_end_says_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let program = program(&[]);
        let mut front = connect(&program);
        front.barrier().unwrap();
        assert_ends_well(program, signal);
    }
}

#[test]
fn a_signal_ends_a_program_in_the_middle_of_a_message() {
    let program = program(&[]);
    let mut front = connect(&program);
    front.send_bytes(&message(request::GET_FEATURES, VERSION, &[])[..7], &[]).unwrap();

    assert_ends_well(program, Signal::SIGTERM);
}

#[test]
fn a_signal_ends_a_program_with_a_guest() {
    let Seat { program, mut vm } = boot();
    canvas_on_screen(&mut vm, 1, 64, 64);

    assert_ends_well(program, Signal::SIGTERM);
}

#[test]
fn a_signal_ends_a_program_whose_display_does_not_read() {
    let Seat { program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 1024, 768);
    vm.display.with(|display| display.set_reading(false));
    canvas.draw(Picture::noise(1024, 768, 2));
    canvas.present_all(&mut vm.driver);

    assert_ends_well(program, Signal::SIGTERM);
}

#[test]
fn a_signal_ends_a_program_whose_front_end_does_not_read() {
    let program = program(&[]);
    let mut front = connect(&program);
    front.set_timeout(std::time::Duration::from_millis(50));
    let one = message(request::GET_CONFIG, VERSION, &config(0, 0, &[0; 256]));
    while front.send_bytes(&one, &[]).is_ok() {}

    assert_ends_well(program, Signal::SIGTERM);
}

#[test]
fn a_signal_ends_a_program_under_load() {
    let Seat { program, mut vm } = boot();
    let canvas = canvas_on_screen(&mut vm, 1, 640, 480);
    let other = Canvas::new(&mut vm.driver, 2, 640, 480);
    let rect = canvas.rect();
    // A guest that never stops: flips between two pictures and never waits for an answer in particular.
    let load = std::thread::spawn(move || {
        vm.driver.set_timeout(std::time::Duration::from_millis(200));
        let mut rounds = 0u64;
        loop {
            for id in [canvas.id, other.id] {
                if vm.driver.queue(&Command::SetScanout { rect, scanout_id: 0, resource_id: id }).is_ok() {
                    rounds += 1;
                }
            }
            vm.driver.kick();
            if vm.driver.next_done().is_err() {
                return rounds;
            }
        }
    });

    assert_ends_well(program, Signal::SIGTERM);
    assert!(load.join().unwrap() > 0);
}

#[test]
fn a_signal_ends_a_program_that_polls_a_ring() {
    let Seat { program, mut vm } = boot();
    vm.front.set_vring_kick(0, None).unwrap();
    assert_answers(&mut vm);

    assert_ends_well(program, Signal::SIGTERM);
}
