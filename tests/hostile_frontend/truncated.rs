//! Files that are truncated after they were handed over: the rings are broken, the program lives.

use std::fs::File;

use seat_frontend::gpu::{Backing, MemEntry, format};
use seat_frontend::memory::{GuestMemory, RegionPlan};

use crate::common::canvas::Canvas;
use crate::common::{assert_answers, boot, boot_on, connect, options, soon};

/// A guest's memory in one file that can be truncated.
fn unsealed(size: u64) -> GuestMemory {
    GuestMemory::new(&[RegionPlan::new(0, size, 0)], false).unwrap()
}

fn truncate(memory: &GuestMemory, len: u64) {
    let file = File::from(memory.regions()[0].fd().try_clone_to_owned().unwrap());
    file.set_len(len).unwrap();
}

#[test]
fn memory_of_a_backing_that_is_truncated_breaks_the_rings_and_a_front_end_with_whole_memory_is_served() {
    let mut seat = boot();
    let extra = GuestMemory::new(&[RegionPlan::new(0x80_0000_0000, 0x10_0000, 0)], false).unwrap();
    seat.vm.front.add_mem_reg(&extra.regions()[0]).unwrap();
    let backing = Backing::from_entries(&extra, vec![MemEntry { addr: 0x80_0000_0000, len: 256 * 256 * 4 }]);
    let canvas = Canvas::with_backing(&mut seat.vm.driver, 1, format::B8G8R8X8, 256, 256, backing);
    canvas.put_on(&mut seat.vm.driver, 0);
    canvas.present_all(&mut seat.vm.driver);

    truncate(&extra, 0x1000);
    // It may be answered, or the ring be broken before: the pixels are gone either way.
    seat.vm.driver.set_timeout(std::time::Duration::from_millis(200));
    let _ = seat.vm.driver.transfer(1, canvas.rect(), 0);

    let deadline = soon();
    while seat.vm.front.ring_errors(0) == 0 {
        assert!(!deadline.passed(), "the ring is not broken");
        seat.vm.front.barrier().unwrap();
    }
    let lines = seat.program.stderr();
    assert!(lines.contains("was truncated"), "{lines:?}");
    drop(seat.vm);
    let mut vm = boot_on(&seat.program, options());
    assert_answers(&mut vm);
}

#[test]
fn rings_whose_own_memory_is_truncated_are_broken_and_the_control_socket_goes_on() {
    let program = crate::common::program(&[]);
    let memory = unsealed(64 << 20);
    let options = seat_frontend::machine::MachineOptions { memory: memory.clone(), ..options() };
    let mut vm = boot_on(&program, options);
    assert_answers(&mut vm);

    // The driver in this process must not touch it any more.
    truncate(&memory, 0);
    nix::unistd::write(vm.driver.rings()[0].kick_fd(), &1u64.to_ne_bytes()).unwrap();

    let deadline = soon();
    while vm.front.ring_errors(0) == 0 {
        assert!(!deadline.passed(), "the ring is not broken");
        vm.front.barrier().unwrap();
    }
    nix::unistd::write(vm.driver.rings()[0].kick_fd(), &1u64.to_ne_bytes()).unwrap();
    vm.front.barrier().unwrap();
    drop(vm);
    let mut vm = boot_on(&program, crate::common::options());
    assert_answers(&mut vm);
    drop(connect(&program));
}
