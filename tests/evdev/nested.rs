//! Inputs behind a machine's border: a guest in the guest, whose kernel is to see the first one's devices as they are.
//!
//! These tests have a guest of their own, with KVM in it.

use std::time::Duration;

use seat_uinput::codes::{EV_MSC, EV_REP};
use seat_vm::{Backend, Config, InVm, Lab};

use crate::desk::Desk;
use crate::served::BINARY;

static GUEST: InVm = InVm::new().filters(&["nested::"]).nesting().patience(Duration::from_secs(900));

/// The whole of a test that boots a second guest.
fn in_vm<F: FnOnce()>(body: F) {
    GUEST.run(body);
}

/// The guest in the guest: long waits, for where its KVM does not work all of it is emulated twice.
fn config() -> Config {
    Config::nested().patience(Duration::from_secs(600))
}

/// QEMU's own device, which is known to work: what fails here is the laboratory's fault.
#[test]
fn a_second_kernel_sees_the_devices_that_qemu_passes_on() {
    in_vm(|| {
        let lab = Lab::for_test().unwrap();
        let mut desk = Desk::new();
        let config = desk.devices().iter().fold(config(), |config, device| config.input_of_node(device.node()));
        let mut vm = config.boot(lab).unwrap();
        // QEMU asks the device for neither EV_REP nor its properties.
        desk.assert_described(&mut vm, |all| all.without(EV_REP).without_properties());
        // Linux' driver sends each EV_MSC that it gets back as a status; QEMU writes that to the node, and so the guest gets
        // it again with the next frame.
        desk.assert_events_arrive(&mut vm, |event| event.0 != EV_MSC);
        desk.assert_leds_are_lit(&mut vm);
    });
}

/// Our program, once for each device: it carries everything.
#[test]
fn a_second_kernel_sees_the_devices_that_vhost_user_input_serves() {
    in_vm(|| {
        let lab = Lab::for_test().unwrap();
        let mut desk = Desk::new();
        let (mut config, mut back_ends) = (config(), Vec::new());
        for device in desk.devices() {
            let path = format!("--evdev-path={}", device.node().display());
            let back_end = Backend::start(BINARY, &[&path]).unwrap();
            config = config.input_on_socket(back_end.socket());
            back_ends.push(back_end);
        }
        let mut vm = config.boot(lab).unwrap();
        desk.assert_described(&mut vm, |all| all);
        desk.assert_events_arrive(&mut vm, |_| true);
        desk.assert_leds_are_lit(&mut vm);
    });
}
