//! Rings that lie. Each is broken from then on: its err eventfd says so once, the control socket and the other ring go on,
//! and it runs again after the next start.

use seat_frontend::gpu::GpuDriver;
use seat_frontend::ring::{Desc, INDIRECT, NEXT, WRITE};

use crate::common::{Seat, assert_answers, await_kicks_seen, boot};

/// Makes the guest lie, and looks at all that is promised then.
fn assert_breaks_the_ring(what: &str, lie: impl FnOnce(&mut GpuDriver)) {
    let Seat { program, mut vm } = boot();
    assert_answers(&mut vm);

    lie(&mut vm.driver);
    vm.driver.control_ring().kick_now();
    await_kicks_seen(&mut vm);

    assert_eq!(vm.front.ring_errors(0), 1, "{what}: the err eventfd");
    vm.driver.control_ring().kick_now();
    await_kicks_seen(&mut vm);
    assert_eq!(vm.front.ring_errors(0), 0, "{what}: it was told already");
    assert_eq!(program.stderr().lines().count(), 1, "{what}: {:?}", program.stderr());
    await_kicks_seen(&mut vm);
    vm.reboot().unwrap();
    assert_answers(&mut vm);
    assert_eq!(vm.front.ring_errors(0), 0, "{what}: after the start");
}

/// A chain of one hand-written descriptor.
fn offer(driver: &mut GpuDriver, desc: Desc) {
    let ring = driver.control_ring();
    ring.write_desc(0, desc);
    ring.offer(0);
}

#[test]
fn an_avail_index_too_far_ahead_breaks_the_ring() {
    for ahead in [65, 1000, 0x8000, 0xffff] {
        assert_breaks_the_ring("avail index", |driver| {
            let ring = driver.control_ring();
            ring.set_avail_idx(ring.avail_idx().wrapping_add(ahead));
        });
    }
}

#[test]
fn a_head_beyond_the_table_breaks_the_ring() {
    for head in [64, 0xffff] {
        assert_breaks_the_ring("head", |driver| driver.control_ring().offer(head));
    }
}

#[test]
fn a_next_beyond_the_table_breaks_the_ring() {
    assert_breaks_the_ring("next", |driver| {
        let addr = driver.memory().regions()[0].spec.gpa;
        offer(driver, Desc { addr, len: 32, flags: NEXT, next: 64 });
    });
}

#[test]
fn a_chain_that_loops_breaks_the_ring() {
    assert_breaks_the_ring("loop", |driver| {
        let addr = driver.memory().regions()[0].spec.gpa;
        offer(driver, Desc { addr, len: 32, flags: NEXT, next: 0 });
    });
}

#[test]
fn a_buffer_outside_memory_breaks_the_ring() {
    for (addr, len) in [(0x50_0000_0000, 32), (u64::MAX, 1), (u64::MAX - 8, 32), (0, u32::MAX)] {
        assert_breaks_the_ring("outside", |driver| offer(driver, Desc { addr, len, flags: 0, next: 0 }));
    }
}

#[test]
fn an_empty_buffer_breaks_the_ring() {
    assert_breaks_the_ring("empty", |driver| offer(driver, Desc { addr: 0x1000, len: 0, flags: 0, next: 0 }));
}

#[test]
fn a_readable_buffer_after_a_writable_one_breaks_the_ring() {
    assert_breaks_the_ring("order", |driver| {
        driver.control_ring().write_desc(1, Desc { addr: 0x1000, len: 32, flags: 0, next: 0 });
        offer(driver, Desc { addr: 0x1000, len: 32, flags: NEXT | WRITE, next: 1 });
    });
}

#[test]
fn an_indirect_table_that_cannot_be_breaks_the_ring() {
    let desc = |addr: u64, len: u32, flags: u16| Desc { addr, len, flags, next: 0 };
    for (what, table) in [
        ("no entries", desc(0x1000, 0, INDIRECT)),
        ("a part of an entry", desc(0x1000, 17, INDIRECT)),
        ("too long", desc(0x1000, 1025 * 16, INDIRECT)),
        ("outside memory", desc(0x50_0000_0000, 32, INDIRECT)),
        ("with a next", desc(0x1000, 32, INDIRECT | NEXT)),
        ("absurd", desc(u64::MAX - 3, 0xffff_fff0, INDIRECT)),
    ] {
        assert_breaks_the_ring(what, |driver| offer(driver, table));
    }
}

#[test]
fn an_indirect_table_in_an_indirect_table_breaks_the_ring() {
    assert_breaks_the_ring("nested", |driver| {
        let page = driver.pages().alloc(4096).unwrap();
        let span = driver.memory().span(page, 4096);
        Desc { addr: page + 64, len: 16, flags: INDIRECT, next: 0 }.write(&span, 0);
        // A sound one: nothing but the nesting is wrong.
        Desc { addr: page, len: 32, flags: 0, next: 0 }.write(&span, 4);
        offer(driver, Desc { addr: page, len: 16, flags: INDIRECT, next: 0 });
    });
}

#[test]
fn a_lying_guest_cannot_fill_the_log() {
    let Seat { program, mut vm } = boot();
    for _ in 0..200 {
        vm.driver.control_ring().offer(999);
        vm.driver.control_ring().kick_now();
        await_kicks_seen(&mut vm);
        vm.reboot().unwrap();
    }

    let lines = program.stderr().lines().count();
    assert!((1..50).contains(&lines), "{lines} lines");
    assert_answers(&mut vm);
}
