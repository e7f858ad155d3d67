//! The rules for a program that serves. They take an evdev device, so these tests run in a guest whose kernel has uinput
//! (see `InVm` of the package `seat-vm`); a machine without the laboratory says so and passes them, in CI they fail.

use seat_vm::InVm;

static GUEST: InVm = InVm::new().filters(&["input::in_guest::"]);

serving!(crate::input::in_guest::run, crate::input::with_keyboard);

fn run(test: impl FnOnce()) {
    GUEST.run(test);
}
