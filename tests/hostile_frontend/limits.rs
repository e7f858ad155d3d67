//! A host that has too little for a front end, and what a front end can make the log say.

use std::os::fd::AsFd;
use std::process::Command;

use nix::sys::signal::Signal;
use seat_frontend::control::{request, wire};
use seat_frontend::gpu::resp;
use seat_frontend::memory::{RegionPlan, memfd};
use seat_frontend::program::Program;

use crate::common::{boot_on, connect, options, program, soon};

/// From now on the program can open no descriptor with this number or a higher one.
fn limit_descriptors(program: &Program, limit: u64) {
    let mut command = Command::new("prlimit");
    let status = command.args(["--pid", &program.pid().to_string(), &format!("--nofile={limit}:4096")]).status();
    assert!(status.expect("prlimit is there (util-linux)").success());
}

/// Waits until the program has opened all that it needs: a socket listens before.
fn await_start(program: &Program) {
    connect(program).barrier().unwrap();
}

fn await_words(program: &Program, words: &str) {
    let deadline = soon();
    while !program.stderr().contains(words) {
        assert!(!deadline.passed(), "no {words:?} in {:?}", program.stderr());
        std::thread::yield_now();
    }
}

#[test]
fn without_a_descriptor_for_a_front_end_the_program_waits_says_so_once_and_goes_on_later() {
    let mut program = program(&[]);
    await_start(&program);
    limit_descriptors(&program, 3);

    let mut front = connect(&program);
    await_words(&program, "no front end can be taken for now");
    // It comes back to it: more than one try has failed by the time that it has slept so often.
    let before = program.measure().unwrap().voluntary_switches;
    let deadline = soon();
    while program.measure().unwrap().voluntary_switches < before + 3 {
        assert!(!deadline.passed(), "it does not try again");
        std::thread::yield_now();
    }
    limit_descriptors(&program, 1024);

    front.barrier().unwrap();
    assert_eq!(program.stderr().lines().count(), 1, "{:?}", program.stderr());
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
#[cfg_attr(asan, ignore = "the search for leaks at the program's end wants a descriptor")]
fn a_signal_ends_a_program_that_cannot_take_its_front_end() {
    let mut program = program(&[]);
    await_start(&program);
    limit_descriptors(&program, 3);
    let _front = connect(&program);
    await_words(&program, "no front end can be taken for now");

    program.signal(Signal::SIGTERM).unwrap();

    assert_eq!(program.wait(soon()).unwrap().code(), Some(0));
}

#[test]
fn descriptors_that_find_no_room_end_the_session_with_one_line_and_the_next_one_is_served() {
    let program = program(&[]);
    let mut front = connect(&program);
    front.barrier().unwrap();
    limit_descriptors(&program, program.measure().unwrap().fds + 2);
    let file = memfd(c"lost", 0x1000, true).unwrap();
    let spec = RegionPlan::new(0, 0x1000, 0).spec;

    front.send(request::ADD_MEM_REG, 0, &wire::single_region(&spec), &[file.as_fd(); 8]).unwrap();

    front.expect_close(soon()).unwrap();
    // It hangs up first, and says why then.
    await_words(&program, "descriptors were lost");
    assert_eq!(program.stderr().lines().count(), 1, "{:?}", program.stderr());
    limit_descriptors(&program, 1024);
    let mut vm = boot_on(&program, options());
    assert_eq!(vm.driver.unref(1).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
}

/// At most twenty lines a minute of each kind, and a minute may begin in the midst.
const MOST_LINES: usize = 45;

#[test]
fn refused_messages_cannot_fill_the_log() {
    let program = program(&["--log-level=info"]);
    let mut front = connect(&program);
    let offered = front.get_protocol_features().unwrap();
    front.set_protocol_features(offered).unwrap();
    for number in 0..500 {
        front.send(request::SET_VRING_NUM, 0, &wire::vring_state(number, 3), &[]).unwrap();
        front.send(0xdead, 0, &[], &[]).unwrap();
    }
    front.barrier().unwrap();

    let lines = program.stderr().lines().count();
    assert!((20..MOST_LINES).contains(&lines), "{lines} lines");
}

#[test]
fn broken_sessions_cannot_fill_the_log() {
    let program = program(&[]);
    for _ in 0..300 {
        let mut front = connect(&program);
        front.send_bytes(&[0xff; 12], &[]).unwrap();
        front.expect_close(soon()).unwrap();
    }
    connect(&program).barrier().unwrap();

    let lines = program.stderr().lines().count();
    assert!((20..MOST_LINES).contains(&lines), "{lines} lines");
}

#[test]
fn displays_that_break_the_protocol_one_after_another_cannot_fill_the_log() {
    let program = program(&[]);
    let mut front = connect(&program);
    for _ in 0..100 {
        let (mut ours, theirs) = seat_frontend::program::stream_pair().unwrap();
        std::io::Write::write_all(&mut ours, &[0xff; 64]).unwrap();
        front.gpu_set_socket(theirs.as_fd()).unwrap();
        // Two round trips: the display is heard between them.
        front.barrier().unwrap();
        front.barrier().unwrap();
    }

    let lines = program.stderr().lines().count();
    assert!((1..10).contains(&lines), "{lines} lines");
}
