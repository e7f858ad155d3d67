//! Real evdev devices. These tests run in a guest whose kernel has uinput (see `InVm` of the package `seat-vm`); a machine
//! without the laboratory says so and passes them, in CI they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are the tests' own")]

mod desk;
mod devices;
mod nested;
mod served;

use seat_vm::InVm;

/// The guest of all tests here but the nested ones, which have one of their own beside it: they take minutes.
static GUEST: InVm = InVm::new().filters(&["--skip=nested::"]);

/// The whole of a test that needs uinput.
fn in_vm<F: FnOnce()>(body: F) {
    GUEST.run(body);
}
