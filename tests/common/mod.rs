//! What the test crates share: the program under test, a booted machine, pictures and what is drawn with them.
#![allow(dead_code, reason = "each crate uses a part of this")]

pub mod canvas;
pub mod devices;
pub mod evdev;
pub mod picture;
pub mod random;

use std::time::Duration;

use nix::unistd::Pid;
use seat_frontend::Deadline;
use seat_frontend::control::{FrontEnd, Qemu};
use seat_frontend::gpu::{Command, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::Program;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_vhost-user-gpu");

/// How long anything may take that must happen: far longer than it takes, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The point by which something must have happened.
pub fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// A listening program. All of them have what `VHOST_SEAT_ARGUMENTS` says as well: `--virgl`, for one.
pub fn program(arguments: &[&str]) -> Program {
    let more = std::env::var("VHOST_SEAT_ARGUMENTS").unwrap_or_default();
    let arguments: Vec<&str> = arguments.iter().copied().chain(more.split_whitespace()).collect();
    Program::listening(BINARY, &arguments, soon()).unwrap()
}

/// Checks a bound of a process's memory. Under AddressSanitizer, which keeps what was freed and a shadow of everything,
/// none holds; that is said instead.
#[track_caller]
#[allow(clippy::print_stderr, reason = "whoever runs the tests is to know")]
pub fn assert_memory(holds: bool, what: impl std::fmt::Debug) {
    if cfg!(asan) {
        eprintln!("NOT CHECKED, for memory is the sanitizer's: {what:?}");
    } else {
        assert!(holds, "{what:?}");
    }
}

/// A front end that has said nothing yet.
pub fn connect(program: &Program) -> FrontEnd {
    patient(program.connect().unwrap())
}

/// The same front end, which waits long enough on a loaded machine.
pub fn patient(mut front: FrontEnd) -> FrontEnd {
    front.set_timeout(PATIENCE);
    front
}

/// A plain guest under QEMU 11.1.
pub fn options() -> MachineOptions {
    MachineOptions::new(Qemu::V11_1).unwrap()
}

/// A guest with memory enough for large pictures.
pub fn roomy_options() -> MachineOptions {
    MachineOptions { memory: GuestMemory::scattered(512 << 20).unwrap(), ..options() }
}

/// A machine on a program of its own.
pub struct Seat {
    pub program: Program,
    pub vm: GpuMachine,
}

/// A plain guest that has booted.
pub fn boot() -> Seat {
    boot_with(&[], options())
}

/// A guest that has booted on a program with these arguments.
pub fn boot_with(arguments: &[&str], options: MachineOptions) -> Seat {
    let program = program(arguments);
    let vm = boot_on(&program, options);
    Seat { program, vm }
}

/// A guest that has booted on a program that runs already.
pub fn boot_on(program: &Program, options: MachineOptions) -> GpuMachine {
    let booted = GpuMachine::boot(connect(program), options);
    let mut vm = booted.unwrap_or_else(|error| panic!("{error}; the program says: {}", program.stderr()));
    vm.driver.set_timeout(PATIENCE);
    vm
}

/// A device that was realized and not started.
pub fn realize_on(program: &Program, options: MachineOptions) -> GpuMachine {
    realize_with(connect(program), options)
}

/// The same, with a front end that is there already.
pub fn realize_with(front: FrontEnd, options: MachineOptions) -> GpuMachine {
    let mut vm = GpuMachine::realize(front, options).unwrap();
    vm.driver.set_timeout(PATIENCE);
    vm
}

/// Checks that the control queue answers, by a command that changes nothing.
pub fn assert_answers(vm: &mut GpuMachine) {
    let response = vm.driver.call(&Command::ResourceUnref { resource_id: u32::MAX }).unwrap();
    assert_eq!(response.kind, resp::ERR_INVALID_RESOURCE_ID);
}

/// How often a thread of this process has gone to sleep so far.
pub fn sleeps(thread: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// Waits until the back end has worked off all kicks of the control queue that came before: it works the cursor queue
/// off after that, and these are round trips on the cursor queue. More than one, for the first may be found by a look at
/// the queue that began before the kicks.
pub fn await_kicks_seen(vm: &mut GpuMachine) {
    for _ in 0..4 {
        // For a scanout that is not there: nothing changes.
        vm.driver.move_cursor(u32::MAX, 0, (0, 0)).unwrap();
    }
}

/// Waits until the back end and the display have agreed on features, after which the display is asked by guests alone.
pub fn await_display_features(vm: &GpuMachine) {
    vm.display.wait(soon(), |display| display.negotiated().is_some()).unwrap();
}
