//! An input device that is pulled out at each step of a front end's session, and comes back.

use seat_frontend::input::ids::{ev, key, led};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use seat_frontend::program::TempDir;

use crate::common::evdev::Kernel;
use crate::common::{devices, patient, soon};
use crate::input_seat::{BackEnd, GRAB, await_turns};

const STEPS: usize = 8;

/// A session in which `at` is done before the step of that number.
fn live(path: &std::path::Path, kernel: &Kernel, at: usize, disturb: impl Fn()) {
    let mut steps = 0;
    let mut step = || {
        if steps == at {
            disturb();
        }
        steps += 1;
    };
    step();
    let front = patient(seat_frontend::control::FrontEnd::connect(path).unwrap());
    step();
    let mut vm = InputMachine::realize(front, InputMachineOptions::qemu().unwrap()).unwrap();
    vm.driver.set_timeout(std::time::Duration::from_secs(60));
    step();
    vm.probe().unwrap();
    step();
    vm.start().unwrap();
    step();
    vm.driver.post_all().unwrap();
    kernel.report(&[(ev::KEY, key::A, 1)]);
    step();
    vm.driver.send_status(&[(ev::LED, led::CAPSL, 1)]).unwrap();
    vm.pause().unwrap();
    step();
    vm.resume().unwrap();
    step();
    vm.reset().unwrap();
    await_turns(&mut vm);
    assert_eq!(steps, STEPS);
}

#[test]
fn a_device_may_go_before_each_step_of_a_session_and_come_back_before_any_other() {
    let kernel = Kernel::new(devices::keyboard(), 0);
    let folder = TempDir::new().unwrap();
    let (back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    for gone in 0..STEPS {
        live(&path, &kernel, gone, || kernel.unplug());
        for back in 0..STEPS {
            live(&path, &kernel, back, || kernel.plug());
            live(&path, &kernel, gone, || kernel.unplug());
        }
        kernel.plug();
        // It is the next guest's as ever.
        let front = patient(seat_frontend::control::FrontEnd::connect(&path).unwrap());
        let mut vm = InputMachine::boot(front, InputMachineOptions::qemu().unwrap()).unwrap();
        let mut guest = vm.guest();
        let deadline = soon();
        while !kernel.is_grabbed() {
            assert!(!deadline.passed(), "it is not taken");
            vm.front.barrier().unwrap();
        }
        kernel.report(&[(ev::KEY, key::S, 1)]);
        vm.driver.feed(&mut guest, soon(), |guest| guest.held() == [key::S]).unwrap();
        kernel.report(&[(ev::KEY, key::S, 0)]);
        vm.driver.feed(&mut guest, soon(), |guest| guest.held().is_empty()).unwrap();
    }
    back_end.terminate();
    back_end.ended().unwrap();
}
