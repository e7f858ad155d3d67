//! The program with a renderer, and a guest with a context on it; or a loud word that there is no renderer here.

use std::io::Write;

use seat_frontend::machine::{GpuMachine, LINUX_3D_FEATURES, MachineOptions};
use seat_frontend::program::Program;

use crate::common::{self, BINARY, Seat, boot_on, soon};

/// The context that guests have from the start.
pub const CTX: u32 = 1;

/// A guest with Linux's 3D driver.
pub fn options() -> MachineOptions {
    MachineOptions { features: LINUX_3D_FEATURES, ..common::options() }
}

/// The listening program; `None` where this machine has no renderer.
pub fn program(arguments: &[&str]) -> Option<Program> {
    let arguments: Vec<&str> = ["--virgl"].iter().chain(arguments).copied().collect();
    match Program::listening(BINARY, &arguments, soon()) {
        Ok(program) => Some(program),
        Err(error) if error.to_string().contains("virglrenderer") && std::env::var_os("CI").is_none() => {
            // Past the capture of the test's output, which would hide it.
            let _ = writeln!(std::io::stderr(), "SKIPPED, not on this machine: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A guest that has booted and made its context.
pub fn boot() -> Option<Seat> {
    boot_with(&[])
}

/// The same, on a program with these arguments.
pub fn boot_with(arguments: &[&str]) -> Option<Seat> {
    let program = program(arguments)?;
    let vm = guest_on(&program);
    Some(Seat { program, vm })
}

/// Such a guest on a program that runs already.
pub fn guest_on(program: &Program) -> GpuMachine {
    let mut vm = boot_on(program, options());
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    vm
}

/// A reboot, after which the context is there again.
pub fn reboot(vm: &mut GpuMachine) {
    vm.reboot().unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
}
