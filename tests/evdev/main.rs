//! Real evdev devices. These tests run in a guest whose kernel has uinput (see `InVm` of the package `seat-vm`); a machine
//! without the laboratory says so and passes them, in CI they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod devices;

use seat_vm::InVm;

/// The guest of all tests here.
static GUEST: InVm = InVm::new();

/// The whole of a test that needs uinput.
fn in_vm<F: FnOnce()>(body: F) {
    GUEST.run(body);
}
