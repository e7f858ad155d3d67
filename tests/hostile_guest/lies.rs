//! Rings that lie: each lie on the cursor queue, the event queue and the status queue. On the control queue:
//! `tests/gpu/broken_rings`.

use seat_frontend::input::ids::{ev, key, led};
use seat_frontend::memory::GuestMemory;
use seat_frontend::ring::{Desc, INDIRECT, NEXT, Ring, WRITE};

use crate::common::evdev::Kernel;
use crate::common::{Seat, assert_answers, boot, devices, soon};
use crate::input_seat::{self, GRAB, await_turns, sized};

/// Room for the largest table that is tried.
const TABLE: u64 = 5 * 4096;

/// Sound descriptors everywhere: a table that is taken though it should not be finds nothing wrong in it.
fn fill(memory: &GuestMemory, page: u64) {
    let span = memory.span(page, TABLE);
    (0..span.len() / Desc::SIZE).for_each(|index| Desc { addr: page, len: 8, flags: 0, next: 0 }.write(&span, index));
}

/// What a guest writes into its ring, of 64 entries, and into these pages.
type Lie = fn(&mut Ring, &GuestMemory, u64);

fn offer(ring: &mut Ring, addr: u64, len: u32, flags: u16, next: u16) {
    ring.write_desc(0, Desc { addr, len, flags, next });
    ring.offer(0);
}

fn nested(ring: &mut Ring, memory: &GuestMemory, page: u64, flags: u16) {
    Desc { addr: page + 64, len: 32, flags, next: 0 }.write(&memory.span(page, 4096), 0);
    offer(ring, page, 16, INDIRECT, 0);
}

/// One byte before the first hole in the guest's memory.
fn edge(memory: &GuestMemory) -> u64 {
    memory.regions()[0].spec.gpa + memory.regions()[0].spec.size - 1
}

const LIES: [(&str, Lie); 30] = [
    ("avail index 65 ahead", |ring, _, _| ring.set_avail_idx(ring.avail_idx().wrapping_add(65))),
    ("avail index 1000 ahead", |ring, _, _| ring.set_avail_idx(ring.avail_idx().wrapping_add(1000))),
    ("avail index behind", |ring, _, _| ring.set_avail_idx(ring.avail_idx().wrapping_sub(1))),
    ("head 64", |ring, _, _| ring.offer(64)),
    ("head 65535", |ring, _, _| ring.offer(65535)),
    ("next 64", |ring, _, page| offer(ring, page, 8, NEXT, 64)),
    ("next 65535", |ring, _, page| offer(ring, page, 8, NEXT, 65535)),
    ("a loop of one", |ring, _, page| offer(ring, page, 8, NEXT, 0)),
    ("a loop of two", |ring, _, page| {
        ring.write_desc(1, Desc { addr: page, len: 8, flags: NEXT, next: 0 });
        offer(ring, page, 8, NEXT, 1);
    }),
    ("a loop of writable ones", |ring, _, page| offer(ring, page, 8, NEXT | WRITE, 0)),
    ("outside", |ring, _, _| offer(ring, 0x50_0000_0000, 8, 0, 0)),
    ("the last address", |ring, _, _| offer(ring, u64::MAX, 1, 0, 0)),
    ("beyond the last address", |ring, _, _| offer(ring, u64::MAX - 3, 8, WRITE, 0)),
    ("into a hole", |ring, memory, _| offer(ring, edge(memory), 2, 0, 0)),
    ("into a hole, writable", |ring, memory, _| offer(ring, edge(memory), 2, WRITE, 0)),
    ("4 GiB", |ring, _, page| offer(ring, page, u32::MAX, 0, 0)),
    ("4 GiB, writable", |ring, _, page| offer(ring, page, u32::MAX, WRITE, 0)),
    ("nothing", |ring, _, page| offer(ring, page, 0, 0, 0)),
    ("nothing, writable", |ring, _, page| offer(ring, page, 0, WRITE, 0)),
    ("readable after writable", |ring, _, page| {
        ring.write_desc(1, Desc { addr: page, len: 8, flags: 0, next: 0 });
        offer(ring, page, 8, NEXT | WRITE, 1);
    }),
    ("an empty table", |ring, _, page| offer(ring, page, 0, INDIRECT, 0)),
    ("a part of an entry", |ring, _, page| offer(ring, page, 15, INDIRECT, 0)),
    ("a table and a part", |ring, _, page| offer(ring, page, 17, INDIRECT, 0)),
    ("an oversized table", |ring, _, page| offer(ring, page, 1025 * 16, INDIRECT, 0)),
    ("a table of 4 GiB", |ring, _, page| offer(ring, page, 0xffff_fff0, INDIRECT, 0)),
    ("a table outside", |ring, _, _| offer(ring, 0x50_0000_0000, 16, INDIRECT, 0)),
    ("a table into a hole", |ring, memory, _| offer(ring, edge(memory) - 7, 16, INDIRECT, 0)),
    ("a table with a next", |ring, _, page| offer(ring, page, 16, INDIRECT | NEXT, 1)),
    ("a table in a table", |ring, memory, page| nested(ring, memory, page, INDIRECT)),
    ("a table in a table, writable", |ring, memory, page| nested(ring, memory, page, INDIRECT | WRITE)),
];

#[test]
fn a_cursor_queue_that_lies_is_broken_until_the_next_start_and_the_control_queue_goes_on() {
    let Seat { mut program, mut vm } = boot();
    for (what, lie) in LIES {
        let memory = vm.driver.memory().clone();
        let page = vm.driver.pages().alloc(TABLE).unwrap();
        fill(&memory, page);
        lie(vm.driver.cursor_ring(), &memory, page);
        vm.driver.cursor_ring().kick_now();

        let deadline = soon();
        while vm.front.ring_errors(1) == 0 {
            assert!(!deadline.passed(), "{what}: the ring is not broken");
            assert_answers(&mut vm);
        }
        vm.driver.cursor_ring().kick_now();
        assert_answers(&mut vm);
        vm.front.barrier().unwrap();
        assert_eq!((vm.front.ring_errors(0), vm.front.ring_errors(1)), (0, 0), "{what}: told once");

        vm.reboot().unwrap();
        vm.driver.move_cursor(0, 0, (1, 2)).unwrap_or_else(|error| panic!("{what}: after the start: {error}"));
        assert_answers(&mut vm);
        vm.driver.pages().free(page, TABLE);
    }
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

/// A keyboard whose guest has posted no buffers.
fn keyboard() -> input_seat::Seat {
    let mut machine = sized(64);
    machine.input.buffers = 0;
    input_seat::Seat::boot_with(Kernel::new(devices::keyboard(), 0), GRAB, machine)
}

#[track_caller]
fn await_broken(seat: &mut input_seat::Seat, ring: usize, what: &str) {
    let deadline = soon();
    while seat.vm.front.ring_errors(ring) == 0 {
        assert!(!deadline.passed(), "{what}: the ring is not broken");
        seat.vm.front.barrier().unwrap();
    }
}

fn reboot(seat: &mut input_seat::Seat, buffers: u16) {
    seat.vm.driver.set_buffers(buffers);
    seat.vm.reboot().unwrap();
    seat.guest = seat.vm.guest();
}

#[test]
fn an_event_queue_that_lies_is_broken_until_the_next_start_and_the_status_queue_goes_on() {
    let mut seat = keyboard();
    for (what, lie) in LIES {
        let memory = seat.vm.driver.memory().clone();
        let page = seat.vm.driver.pages().alloc(TABLE).unwrap();
        fill(&memory, page);
        lie(seat.vm.driver.event_ring(), &memory, page);
        // It looks for a buffer when there is something to put into one.
        seat.kernel.report(&[(ev::KEY, key::A, 1)]);
        seat.vm.driver.event_ring().kick_now();
        await_broken(&mut seat, 0, what);
        seat.vm.driver.send_status(&[(ev::LED, led::CAPSL, 1)]).unwrap();
        assert_eq!(seat.kernel.driver_heard(), [(ev::LED, led::CAPSL, 1)], "{what}: the other ring");
        seat.kernel.report(&[(ev::KEY, key::A, 0)]);
        seat.await_read();
        assert_eq!((seat.vm.front.ring_errors(0), seat.vm.front.ring_errors(1)), (0, 0), "{what}: told once");

        seat.kernel.report(&[(ev::KEY, key::S, 1)]);
        reboot(&mut seat, 64);
        seat.agree();
        assert_eq!(seat.guest.held(), [key::S], "{what}: after the start");
        seat.kernel.report(&[(ev::KEY, key::S, 0)]);
        seat.agree();
        reboot(&mut seat, 0);
        seat.vm.driver.pages().free(page, TABLE);
    }
    seat.back_end.terminate();
    seat.back_end.ended().unwrap();
}

#[test]
fn a_status_queue_that_lies_is_broken_until_the_next_start_and_the_event_queue_goes_on() {
    let mut seat = keyboard();
    for (what, lie) in LIES {
        reboot(&mut seat, 32);
        let memory = seat.vm.driver.memory().clone();
        let page = seat.vm.driver.pages().alloc(TABLE).unwrap();
        fill(&memory, page);
        lie(seat.vm.driver.status_ring(), &memory, page);
        seat.vm.driver.status_ring().kick_now();
        await_broken(&mut seat, 1, what);
        for value in [1, 0] {
            seat.kernel.report(&[(ev::KEY, key::A, value)]);
            seat.agree();
        }
        seat.vm.driver.status_ring().kick_now();
        await_turns(&mut seat.vm);
        assert_eq!((seat.vm.front.ring_errors(0), seat.vm.front.ring_errors(1)), (0, 0), "{what}: told once");

        reboot(&mut seat, 32);
        seat.kernel.driver_heard();
        seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1)]).unwrap();
        assert_eq!(seat.kernel.driver_heard(), [(ev::LED, led::NUML, 1)], "{what}: after the start");
        seat.vm.driver.pages().free(page, TABLE);
    }
    seat.back_end.terminate();
    seat.back_end.ended().unwrap();
}
