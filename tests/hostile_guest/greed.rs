//! Guests that take all they can get: there is an end to it, it comes back, and the whole program stays below a size.

use std::os::fd::AsFd;

use seat_frontend::gpu::{Command, GpuDriver, MemEntry, Rect, format, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::Program;

use crate::common::canvas::canvas_on_screen;
use crate::common::{Seat, assert_answers, assert_memory, boot_with, options, soon};

/// What the program may be at its largest, with the default `--max-hostmem` of 256 MiB and 16 MiB of the guest's.
const LARGEST: u64 = 300 << 20;
/// What the renderer's libraries take beside it, where these run with `--virgl --max-hostmem=256M`: see `common::program`.
const RENDERER: u64 = 100 << 20;

fn largest() -> u64 {
    let has_3d = std::env::var("VHOST_SEAT_ARGUMENTS").is_ok_and(|arguments| arguments.contains("--virgl"));
    LARGEST + if has_3d { RENDERER } else { 0 }
}

fn small_guest() -> Seat {
    boot_with(&[], MachineOptions { memory: GuestMemory::scattered(16 << 20).unwrap(), ..options() })
}

/// Sends these, as many at once as the ring takes, and says how many were answered without an error.
fn batch<'a>(driver: &mut GpuDriver, commands: impl Iterator<Item = Command<'a>>) -> u32 {
    let mut done = 0;
    let mut take = |driver: &mut GpuDriver| done += u32::from(driver.next_done().unwrap().response.is_ok());
    let mut in_flight = 0;
    for command in commands {
        if in_flight == 32 {
            driver.kick();
            (0..32).for_each(|_| take(driver));
            in_flight = 0;
        }
        driver.queue(&command).unwrap();
        in_flight += 1;
    }
    driver.kick();
    (0..in_flight).for_each(|_| take(driver));
    done
}

#[test]
fn a_hundred_thousand_resources_are_counted_and_come_back() {
    let Seat { mut program, mut vm } = small_guest();
    let before = program.measure().unwrap();
    for _ in 0..2 {
        let created = batch(
            &mut vm.driver,
            (1..=100_000).map(|resource_id| Command::ResourceCreate2d {
                resource_id,
                format: format::B8G8R8X8,
                width: 1,
                height: 1,
            }),
        );
        assert!(
            (20_000..100_000).contains(&created),
            "{created} are more than 256 MiB, or the others are refused early"
        );
        vm.reboot().unwrap();
        assert_answers(&mut vm);
    }
    vm.front.barrier().unwrap();
    let after = program.measure().unwrap();
    assert_memory(after.peak < largest(), after);
    assert_memory(after.anonymous < before.anonymous + (16 << 20), (before, after));
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

/// Makes resources of a size until none is to be had, all with this backing, and brings pixels into each.
fn fill(driver: &mut GpuDriver, first: u32, side: u32, backing: &[MemEntry]) -> u32 {
    let rect = Rect::new(0, 0, side, side);
    for id in first.. {
        let answer = driver.create_2d(id, format::B8G8R8X8, side, side).unwrap().kind;
        if answer != resp::OK_NODATA {
            assert_eq!(answer, resp::ERR_OUT_OF_MEMORY);
            return id;
        }
        if driver.attach_backing(id, backing).unwrap().is_ok() {
            driver.transfer(id, rect, 0).unwrap().ok().unwrap();
        }
        driver.set_scanout(id % 16, id, rect).unwrap().ok().unwrap();
        driver.update_cursor(id % 16, id, (1, 1), (0, 0)).unwrap();
    }
    panic!("there is no limit");
}

#[test]
fn holes_between_resources_do_not_let_the_program_grow_beyond_its_limit() {
    let Seat { mut program, mut vm } = small_guest();
    let backing = [MemEntry { addr: 0, len: 0x20_0000 }];
    let size = |width: u32| (Rect::new(0, 0, width, 64), width);
    let mut next = 1;
    // Each as large as four thirds of the one before: none fits into a hole that every second of those leaves.
    for (rect, width) in [90, 120, 160, 213, 284].map(size) {
        let first = next;
        while vm.driver.create_2d(next, format::B8G8R8X8, width, 64).unwrap().is_ok() {
            vm.driver.attach_backing(next, &backing).unwrap();
            vm.driver.transfer(next, rect, 0).unwrap();
            next += 1;
        }
        for id in (first..next).step_by(2) {
            vm.driver.unref(id).unwrap().ok().unwrap();
        }
    }
    let measure = program.measure().unwrap();
    assert!(measure.peak > 200 << 20, "{measure:?}");
    assert_memory(measure.peak < largest(), measure);
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

/// All that a guest and a front end can make the program hold at once.
fn take_all(program: &Program, vm: &mut GpuMachine) {
    vm.display.with(|display| display.set_reading(false));
    let memory = vm.driver.memory().clone();
    // Noise: nothing is the same as before.
    let bytes: Vec<u8> = (0..0x4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let start = vm.driver.pages().alloc(0x4000).unwrap();
    memory.write(start, &bytes);
    let backing = vec![MemEntry { addr: start, len: 0x4000 }; 1024];
    let mut next = 1;
    for side in [2048, 1024, 256, 32, 1] {
        next = fill(&mut vm.driver, next, side, &backing);
    }
    assert!(program.measure().unwrap().peak > 200 << 20, "the guest did not get what it may have");
    for region in 0..500u64 {
        let extra = &memory.regions()[0];
        let spec = seat_frontend::memory::RegionSpec {
            gpa: 0x100_0000_0000 + region * 0x1_0000,
            size: 0x1000,
            uva: 0x6000_0000_0000 + region * 0x1_0000,
            mmap_offset: 0,
        };
        vm.front.add_mem_reg_raw(&spec, &[extra.fd().as_fd()]).unwrap();
    }
}

#[test]
fn the_program_stays_below_300_mib_whatever_a_guest_takes_with_the_default_limit() {
    let Seat { mut program, mut vm } = small_guest();
    take_all(&program, &mut vm);
    // And again, after it was given back.
    let memory = GuestMemory::scattered(16 << 20).unwrap();
    drop(vm);
    let mut vm = crate::common::boot_on(&program, MachineOptions { memory, ..options() });
    take_all(&program, &mut vm);
    drop(vm);
    let memory = GuestMemory::scattered(16 << 20).unwrap();
    let mut vm = crate::common::boot_on(&program, MachineOptions { memory, ..options() });
    canvas_on_screen(&mut vm, 1, 64, 64);

    let measure = program.measure().unwrap();
    assert_memory(measure.peak < largest(), measure);
    assert_memory(measure.anonymous < 32 << 20, ("it was not given back", measure));
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}
