//! Contents that change while they are read: another processor of the guest writes over descriptors, indices, tables, requests
//! and lists all the time. Whatever the device makes of them, it lives, and writes nowhere but where some descriptor pointed.

use std::sync::atomic::{AtomicBool, Ordering};

use seat_frontend::gpu::{Command, Fence, MAX_FIXED, MemEntry, Rect, format};
use seat_frontend::memory::GuestMemory;
use seat_frontend::ring::{Desc, INDIRECT, NEXT, WRITE};

use crate::common::random::Random;
use crate::common::{Seat, assert_answers, boot, soon};
use crate::floods::Stop;

const ROUNDS: u32 = 3000;
/// All that descriptors point to.
const WINDOW: u64 = 0x1_0000;

/// Places in guest memory, and what is written there over and over.
struct Scribbler {
    memory: GuestMemory,
    window: u64,
    /// Start and length of what is written over.
    targets: Vec<(u64, u64)>,
}

impl Scribbler {
    fn scribble(&self, stop: &AtomicBool) {
        let mut random = Random::new(1);
        while !stop.load(Ordering::Relaxed) {
            let (start, len) = self.targets[random.below(self.targets.len() as u32) as usize];
            let at = u64::from(random.below((len / 8) as u32)) * 8;
            let value = match random.below(6) {
                // An address in the window, or outside of all memory.
                0 | 1 => self.window + u64::from(random.below(WINDOW as u32)),
                2 => 0x50_0000_0000 + u64::from(random.below(4096)),
                // A length, flags and next.
                3 => u64::from(random.below(64)) | u64::from(random.below(8)) << 32 | u64::from(random.below(70)) << 48,
                4 => u64::from(random.below(0x30)) + 0x100,
                _ => u64::from(u32::MAX) << (8 * random.below(5)),
            };
            self.memory.write(start + at, &value.to_le_bytes());
        }
    }
}

/// Offers chains for some thousand rounds while their contents change, then looks at all that is promised.
fn assert_survives(scribbled: fn(window: u64, desc: u64, avail: u64) -> Vec<(u64, u64)>) {
    let Seat { mut program, mut vm } = boot();
    let memory = vm.driver.memory().clone();
    let window = vm.driver.pages().alloc(WINDOW).unwrap();
    let canary = vm.driver.pages().alloc(WINDOW).unwrap();
    memory.fill(canary, WINDOW, 0xa5);
    let (desc, avail) = {
        let ring = vm.driver.control_ring();
        (ring.desc_span().gpa(), ring.avail_span().gpa())
    };
    let scribbler = Scribbler { memory: memory.clone(), window, targets: scribbled(window, desc, avail) };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        scope.spawn(|| scribbler.scribble(&stop));
        for round in 0..ROUNDS {
            let head = (round % 8 * 4) as u16;
            let len = write_command(&memory, window, round);
            let ring = vm.driver.control_ring();
            if round % 3 == 0 {
                let table = memory.span(window + 0x2000, 64);
                Desc { addr: window, len, flags: NEXT, next: 1 }.write(&table, 0);
                Desc { addr: window + 0x4000, len: 1024, flags: WRITE, next: 0 }.write(&table, 1);
                ring.write_desc(head, Desc { addr: window + 0x2000, len: 32, flags: INDIRECT, next: 0 });
            } else {
                ring.write_desc(head, Desc { addr: window, len, flags: NEXT, next: head + 1 });
                ring.write_desc(head + 1, Desc { addr: window + 0x4000, len: 1024, flags: WRITE, next: 0 });
            }
            ring.offer(head);
            ring.kick_now();
            if round % 16 == 15 {
                vm.front.barrier().unwrap();
                if vm.front.ring_errors(0) > 0 {
                    vm.reboot().unwrap();
                }
            }
        }
        drop(stopper);
    });
    vm.driver.move_cursor(0, 0, (1, 1)).unwrap();
    vm.reboot().unwrap();
    assert_answers(&mut vm);
    let mut bytes = vec![0; WINDOW as usize];
    memory.read(canary, &mut bytes);
    assert!(bytes.iter().all(|byte| *byte == 0xa5), "something was written where no descriptor pointed");
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

/// Writes a command, and says how long it is.
fn write_command(memory: &GuestMemory, at: u64, round: u32) -> u32 {
    let rect = Rect::new(0, 0, 64, 64);
    let entries = [MemEntry { addr: at, len: 64 * 64 * 4 }];
    let command = match round % 7 {
        0 => Command::ResourceCreate2d { resource_id: 1, format: format::B8G8R8X8, width: 64, height: 64 },
        1 => Command::AttachBacking { resource_id: 1, entries: &entries },
        2 => Command::SetScanout { rect, scanout_id: 0, resource_id: 1 },
        3 => Command::TransferToHost2d { rect, offset: 0, resource_id: 1 },
        4 => Command::ResourceFlush { rect, resource_id: 1 },
        5 => Command::DetachBacking { resource_id: 1 },
        _ => Command::ResourceUnref { resource_id: 1 },
    };
    let mut bytes = [0; MAX_FIXED];
    let len = command.encode(&Fence::NONE, &mut bytes);
    memory.write(at, &bytes[..len]);
    let mut all = len;
    command.each_tail(|offset, tail| {
        memory.write(at + (len + offset) as u64, tail);
        all = all.max(len + offset + tail.len());
    });
    all as u32
}

#[test]
fn descriptors_that_change_while_they_are_read() {
    assert_survives(|_, desc, _| vec![(desc, 64 * 16)]);
}

#[test]
fn the_avail_ring_that_changes_while_it_is_read() {
    assert_survives(|_, _, avail| vec![(avail, 128)]);
}

#[test]
fn indirect_tables_that_change_while_they_are_read() {
    assert_survives(|window, _, _| vec![(window + 0x2000, 64)]);
}

#[test]
fn requests_and_lists_that_change_while_they_are_read() {
    assert_survives(|window, _, _| vec![(window, 128)]);
}

#[test]
fn everything_that_changes_at_once() {
    assert_survives(|window, desc, avail| vec![(window, 128), (window + 0x2000, 64), (desc, 64 * 16), (avail, 128)]);
}
