//! Floods without end: a ring that always has more. The control socket, the other ring and SIGTERM are answered meanwhile.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use seat_frontend::gpu::{Command, Fence, GpuDriver, MAX_FIXED, MemEntry, Rect, format};
use seat_frontend::input::ids::{ev, key, led, rel};
use seat_frontend::memory::Span;
use seat_frontend::ring::{Desc, NEXT, Ring, WRITE};

use crate::common::evdev::Kernel;
use crate::common::{Seat, boot, devices, soon};
use crate::input_seat::{self, GRAB, sized};

/// Ends the flood with the test, however that ends.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A guest's processor that offers the ring's 64 entries anew as soon as they are used, and kicks.
struct Pump {
    avail: Span,
    used: Span,
    kick: OwnedFd,
}

impl Pump {
    /// Of this ring, whose entries are all written.
    fn of(ring: &Ring) -> Pump {
        let kick = ring.kick_fd().try_clone_to_owned().unwrap();
        Pump { avail: ring.avail_span().clone(), used: ring.used_span().clone(), kick }
    }

    /// Waits until the used index is not `first` any more.
    #[track_caller]
    fn await_begun(&self, first: u16) {
        let deadline = soon();
        while self.used.u16(2) == first {
            assert!(!deadline.passed(), "the flood does not begin");
            std::thread::yield_now();
        }
    }

    fn pump(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let next = self.used.u16(2).wrapping_add(64);
            if self.avail.u16(2) != next {
                self.avail.set_u16(2, next);
                nix::unistd::write(&self.kick, &1u64.to_ne_bytes()).unwrap();
            }
            std::thread::yield_now();
        }
    }
}

/// Enters the same command everywhere: a chain that is offered for ever.
fn fill_ring(driver: &mut GpuDriver, commands: &[Command<'_>]) -> Pump {
    let memory = driver.memory().clone();
    let page = driver.pages().alloc(0x10_0000).unwrap();
    let mut heads = Vec::new();
    for (n, command) in (0u16..).zip(commands) {
        let at = page + u64::from(n) * 0x4_0000;
        let mut bytes = [0; MAX_FIXED];
        let len = command.encode(&Fence::NONE, &mut bytes);
        memory.write(at, &bytes[..len]);
        command.each_tail(|offset, tail| memory.write(at + (len + offset) as u64, tail));
        let len = (len + command.tail_len()) as u32;
        let ring = driver.control_ring();
        ring.write_desc(2 * n, Desc { addr: at, len, flags: NEXT, next: 2 * n + 1 });
        ring.write_desc(2 * n + 1, Desc { addr: at + 0x3_f000, len: 2048, flags: WRITE, next: 0 });
        heads.push(2 * n);
    }
    let ring = driver.control_ring();
    for slot in 0..64 {
        ring.set_avail_entry(slot, heads[usize::from(slot) % heads.len()]);
    }
    Pump::of(ring)
}

/// Lets the ring run full of these commands for ever, and looks at all that is promised meanwhile.
fn assert_goes_on_under(prepare: impl FnOnce(&mut GpuDriver), commands: &[Command<'_>]) {
    let Seat { mut program, mut vm } = boot();
    prepare(&mut vm.driver);
    let pump = fill_ring(&mut vm.driver, commands);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        let first = pump.used.u16(2);
        scope.spawn(|| pump.pump(&stop));
        pump.await_begun(first);
        for n in 0..20 {
            vm.front.get_features().unwrap();
            vm.driver.move_cursor(0, 0, (n, n)).unwrap();
        }
        // It recovers, though the flood does not stop for that.
        assert_eq!(vm.front.ring_errors(0), 0);
        let ended = program.terminate(soon());
        drop(stopper);
        assert_eq!(ended.unwrap().code(), Some(0));
    });
}

#[test]
fn a_flood_of_commands_that_are_refused() {
    assert_goes_on_under(|_| (), &[Command::ResourceUnref { resource_id: 77 }]);
}

#[test]
fn a_flood_of_large_transfers() {
    let rect = Rect::new(0, 0, 2048, 1024);
    let prepare = |driver: &mut GpuDriver| {
        driver.create_2d(1, format::B8G8R8X8, 2048, 1024).unwrap().ok().unwrap();
        // Inside of the first region of a guest of 64 MiB.
        driver.attach_backing(1, &[MemEntry { addr: 0, len: 2048 * 1024 * 4 }]).unwrap().ok().unwrap();
        driver.set_scanout(0, 1, rect).unwrap().ok().unwrap();
    };
    let commands = [
        Command::TransferToHost2d { rect, offset: 0, resource_id: 1 },
        Command::ResourceFlush { rect, resource_id: 1 },
    ];
    assert_goes_on_under(prepare, &commands);
}

#[test]
fn a_flood_of_backings_of_ten_thousand_pieces() {
    let entries: Vec<_> = (0..10_000u64).map(|n| MemEntry { addr: n * 64, len: 32 }).collect();
    let prepare = |driver: &mut GpuDriver| {
        driver.create_2d(1, format::B8G8R8X8, 64, 64).unwrap().ok().unwrap();
    };
    let commands =
        [Command::AttachBacking { resource_id: 1, entries: &entries }, Command::DetachBacking { resource_id: 1 }];
    assert_goes_on_under(prepare, &commands);
}

#[test]
fn a_flood_of_large_resources_made_and_dropped() {
    let commands = [
        Command::ResourceCreate2d { resource_id: 9, format: format::B8G8R8X8, width: 4096, height: 4096 },
        Command::ResourceUnref { resource_id: 9 },
    ];
    assert_goes_on_under(|_| (), &commands);
}

#[test]
fn a_flood_of_lights() {
    let mut seat = input_seat::Seat::boot_with(Kernel::new(devices::keyboard(), 0), GRAB, sized(64));
    let page = seat.vm.driver.pages().alloc(4096).unwrap();
    let memory = seat.vm.driver.memory().clone();
    // A light that the keyboard does not have: nothing is written to the device.
    memory.write(page, &[ev::LED as u8, 0, 9, 0, 1, 0, 0, 0]);
    let ring = seat.vm.driver.status_ring();
    ring.write_desc(0, Desc { addr: page, len: 8, flags: 0, next: 0 });
    (0..64).for_each(|slot| ring.set_avail_entry(slot, 0));
    let pump = Pump::of(ring);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        scope.spawn(|| pump.pump(&stop));
        pump.await_begun(0);
        for value in [1, 0, 1, 0] {
            seat.vm.front.get_features().unwrap();
            seat.kernel.report(&[(ev::KEY, key::A, value)]);
            seat.agree();
        }
        seat.back_end.terminate();
        let ended = seat.back_end.ended();
        drop(stopper);
        ended.unwrap();
    });
}

#[test]
fn a_flood_of_events() {
    let mut seat = input_seat::Seat::boot_with(Kernel::new(devices::everything(), devices::FINGERS), GRAB, sized(64));
    let kernel = seat.kernel.clone();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0i32.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                kernel.report(&[(ev::REL, rel::X, 1), (ev::KEY, key::A, n % 2), (ev::KEY, key::S, n / 2 % 2)]);
            }
        });
        let stopper = Stop(&stop);
        for _ in 0..20 {
            seat.vm.front.get_features().unwrap();
            seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1)]).unwrap();
            seat.vm.driver.frame(soon()).unwrap();
        }
        seat.back_end.terminate();
        let ended = seat.back_end.ended();
        drop(stopper);
        ended.unwrap();
    });
}
