//! Rings: when they run, how they are kicked and how they call, and what becomes of one that lies (vhost-user,
//! "Starting and stopping rings"; VIRTIO 1.3, 2.7).

use std::os::fd::AsFd;

use seat_frontend::control::{AckPolicy, feature, protocol, request};
use seat_frontend::gpu::{Command, GpuOptions, cmd, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::program::Program;
use seat_frontend::ring::{Desc, Layout, RingOptions, Segment};

use crate::common::{assert_answers, await_kicks_seen, boot, boot_with, options, program, realize_on, soon};

/// A command that changes nothing.
const NOTHING: Command<'static> = Command::ResourceUnref { resource_id: u32::MAX };

/// A machine whose device knows memory and rings, but whose rings are not started.
fn ready_to_start(program: &Program, options: MachineOptions) -> GpuMachine {
    let mut vm = realize_on(program, options);
    vm.front.set_features(vm.features() | 1 << feature::PROTOCOL_FEATURES).unwrap();
    announce(&mut vm);
    vm
}

/// Memory, and what there is to say of the rings before they start.
fn announce(vm: &mut GpuMachine) {
    for region in vm.driver.memory().regions() {
        vm.front.add_mem_reg(region).unwrap();
    }
    for (index, ring) in (0..).zip(vm.driver.rings()) {
        vm.front.set_vring_num(index, ring.size().into()).unwrap();
        vm.front.set_vring_base(index, 0).unwrap();
        vm.front.set_vring_addr(&ring.addresses(index, false)).unwrap();
        vm.front.set_vring_call(index, Some(ring.call_fd())).unwrap();
    }
}

/// SET_VRING_KICK for both rings.
fn kick_off(vm: &mut GpuMachine) {
    for (index, ring) in (0..).zip(vm.driver.rings()) {
        vm.front.set_vring_kick(index, Some(ring.kick_fd())).unwrap();
    }
}

fn enable_both(vm: &mut GpuMachine) {
    (0..2).for_each(|index| vm.front.set_vring_enable(index, true).unwrap());
}

/// Options with another size of the control queue.
fn sized(size: u16) -> MachineOptions {
    let control = RingOptions { size, event_idx: true };
    MachineOptions { gpu: GpuOptions { control, ..GpuOptions::default() }, ..options() }
}

fn without_event_idx() -> MachineOptions {
    let options = options();
    MachineOptions { features: options.features & !(1 << feature::EVENT_IDX), ..options }
}

#[test]
fn buffers_that_are_there_before_the_ring_starts_are_found_without_a_kick() {
    let program = program(&[]);
    let mut vm = ready_to_start(&program, options());
    vm.driver.queue(&NOTHING).unwrap();
    vm.driver.control_ring().publish();

    kick_off(&mut vm);
    enable_both(&mut vm);

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn a_ring_that_was_not_enabled_is_left_untouched_until_it_is() {
    let program = program(&[]);
    let mut vm = ready_to_start(&program, options());
    kick_off(&mut vm);
    vm.front.set_vring_enable(1, true).unwrap();

    vm.driver.queue(&NOTHING).unwrap();
    vm.driver.control_ring().publish();
    vm.driver.control_ring().kick_now();
    await_kicks_seen(&mut vm);

    assert_eq!(vm.driver.control_ring().used_idx(), 0);
    assert_eq!(vm.driver.control_ring().interrupts(), 0);
    vm.front.set_vring_enable(0, true).unwrap();
    vm.driver.next_done().unwrap();
}

#[test]
fn a_ring_that_is_disabled_while_it_runs_is_left_untouched_until_it_is_enabled_again() {
    let mut seat = boot();
    assert_answers(&mut seat.vm);
    seat.vm.front.set_vring_enable(0, false).unwrap();
    let used = seat.vm.driver.control_ring().used_idx();

    seat.vm.driver.queue(&NOTHING).unwrap();
    seat.vm.driver.control_ring().publish();
    seat.vm.driver.control_ring().kick_now();
    await_kicks_seen(&mut seat.vm);

    assert_eq!(seat.vm.driver.control_ring().used_idx(), used);
    seat.vm.front.set_vring_enable(0, true).unwrap();
    seat.vm.driver.next_done().unwrap();
}

#[test]
fn a_disabled_cursor_queue_does_not_disable_the_control_queue() {
    let mut seat = boot();

    seat.vm.front.set_vring_enable(1, false).unwrap();

    assert_answers(&mut seat.vm);
}

#[test]
fn without_bit_30_rings_are_enabled_when_they_start() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    vm.front.set_features(vm.features() & !(1 << feature::PROTOCOL_FEATURES)).unwrap();
    announce(&mut vm);

    kick_off(&mut vm);

    assert_answers(&mut vm);
}

#[test]
fn a_stopped_ring_is_left_untouched() {
    let mut seat = boot();
    assert_answers(&mut seat.vm);
    let base = seat.vm.front.get_vring_base(0).unwrap();
    let used = seat.vm.driver.control_ring().used_idx();

    seat.vm.driver.queue(&NOTHING).unwrap();
    seat.vm.driver.control_ring().publish();
    seat.vm.driver.control_ring().kick_now();
    await_kicks_seen(&mut seat.vm);

    assert_eq!(seat.vm.driver.control_ring().used_idx(), used);
    assert_eq!(seat.vm.front.get_vring_base(0).unwrap(), base, "asked again, the same");
}

#[test]
fn get_vring_base_tells_the_next_index_and_a_start_there_goes_on() {
    let mut seat = boot();
    for rounds in 1..=3u32 {
        (0..5).for_each(|_| assert_answers(&mut seat.vm));

        let base = seat.vm.front.get_vring_base(0).unwrap();

        assert_eq!(base, 5 * rounds);
        seat.vm.front.set_vring_base(0, base).unwrap();
        let kick = seat.vm.driver.rings()[0].kick_fd().try_clone_to_owned().unwrap();
        seat.vm.front.set_vring_kick(0, Some(kick.as_fd())).unwrap();
    }
}

#[test]
fn a_ring_starts_at_the_base_that_was_set() {
    for base in [1, 63, 64, 1000, 65530] {
        let program = program(&[]);
        let mut vm = realize_on(&program, options());
        vm.driver.control_ring().set_position(base);
        vm.front.set_base(0, base.into());

        vm.start().unwrap();

        (0..10).for_each(|_| assert_answers(&mut vm));
        assert_eq!(vm.front.get_vring_base(0).unwrap(), u32::from(base.wrapping_add(10)));
    }
}

#[test]
fn a_ring_that_never_started_tells_the_base_that_it_was_given() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());

    vm.front.set_vring_base(1, 77).unwrap();

    assert_eq!(vm.front.get_vring_base(0).unwrap(), 0);
    assert_eq!(vm.front.get_vring_base(1).unwrap(), 77);
}

#[test]
fn a_running_ring_keeps_its_size_place_and_base() {
    let mut seat = boot();
    let elsewhere = seat.vm.driver.rings()[1].addresses(0, false);
    seat.vm.front.set_ack_policy(AckPolicy::Always);

    seat.vm.front.set_vring_num(0, 32).unwrap_err();
    seat.vm.front.set_vring_base(0, 3).unwrap_err();
    seat.vm.front.set_vring_addr(&elsewhere).unwrap_err();

    assert_answers(&mut seat.vm);
}

#[test]
fn rings_of_all_sizes_work() {
    for size in [1, 2, 4, 16, 256, 1024] {
        let mut seat = boot_with(&[], sized(size));
        for _ in 0..2 * u32::from(size) + 1 {
            assert_answers(&mut seat.vm);
        }
    }
}

#[test]
fn a_ring_goes_on_past_index_65535() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    vm.driver.control_ring().set_position(65500);
    vm.front.set_base(0, 65500);
    vm.start().unwrap();

    for _ in 0..100 {
        assert_answers(&mut vm);
    }

    assert_eq!(vm.front.get_vring_base(0).unwrap(), 64);
}

#[test]
fn a_full_ring_is_answered_whole_and_in_order() {
    let mut seat = boot_with(&[], sized(256));
    let tickets: Vec<_> = (0..256).map(|_| seat.vm.driver.queue(&NOTHING).unwrap()).collect();

    seat.vm.driver.kick();

    for ticket in tickets {
        assert_eq!(seat.vm.driver.next_done().unwrap().ticket, ticket);
    }
}

#[test]
fn a_ring_without_a_kick_descriptor_is_polled() {
    let program = program(&[]);
    let mut vm = ready_to_start(&program, options());
    vm.front.set_vring_kick(0, None).unwrap();
    enable_both(&mut vm);

    for _ in 0..3 {
        vm.driver.queue(&NOTHING).unwrap();
        vm.driver.control_ring().publish();
        vm.driver.next_done().unwrap();
    }
}

#[test]
fn a_ring_that_runs_may_get_another_kick_or_lose_it() {
    let mut seat = boot();
    let old = seat.vm.driver.rings()[0].kick_fd().try_clone_to_owned().unwrap();

    seat.vm.front.set_vring_kick(0, None).unwrap();
    seat.vm.driver.queue(&NOTHING).unwrap();
    seat.vm.driver.control_ring().publish();
    seat.vm.driver.next_done().unwrap();

    seat.vm.front.set_vring_kick(0, Some(old.as_fd())).unwrap();
    assert_answers(&mut seat.vm);
}

#[test]
fn a_ring_without_a_call_descriptor_is_worked_off_in_silence() {
    let mut seat = boot();
    seat.vm.front.set_vring_call(0, None).unwrap();
    seat.vm.front.barrier().unwrap();
    seat.vm.driver.control_ring().interrupts();
    let deadline = soon();

    seat.vm.driver.queue(&NOTHING).unwrap();
    seat.vm.driver.kick();
    while seat.vm.driver.poll_done().unwrap().is_none() {
        assert!(!deadline.passed(), "the command was not answered");
        std::thread::yield_now();
    }

    await_kicks_seen(&mut seat.vm);
    assert_eq!(seat.vm.driver.control_ring().interrupts(), 0);
}

#[test]
fn no_interrupt_is_lost_while_call_descriptors_are_swapped() {
    let mut seat = boot();
    for round in 0..500 {
        // What wait_used() cannot see on the new descriptor, it reports as a missing interrupt.
        seat.vm.driver.queue(&NOTHING).unwrap();
        seat.vm.driver.control_ring().enable_interrupts();
        seat.vm.driver.kick();
        let _old = seat.vm.driver.control_ring().swap_call_fd().unwrap();
        let new = seat.vm.driver.rings()[0].call_fd().try_clone_to_owned().unwrap();
        seat.vm.front.set_vring_call(0, Some(new.as_fd())).unwrap();

        seat.vm.driver.next_done().unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

#[test]
fn a_new_call_descriptor_of_a_running_ring_is_written_at_once_for_what_the_old_one_may_have_missed() {
    let mut seat = boot();
    // An interrupt that comes while nobody looks at the old descriptor any more.
    let old = seat.vm.driver.control_ring().swap_call_fd().unwrap();
    seat.vm.driver.queue(&NOTHING).unwrap();
    seat.vm.driver.kick();
    await_kicks_seen(&mut seat.vm);
    drop(old);

    let new = seat.vm.driver.rings()[0].call_fd().try_clone_to_owned().unwrap();
    seat.vm.front.set_vring_call(0, Some(new.as_fd())).unwrap();
    seat.vm.front.barrier().unwrap();

    assert_ne!(seat.vm.driver.control_ring().interrupts(), 0);
    assert!(seat.vm.driver.poll_done().unwrap().is_some());
}

#[test]
fn a_swapped_call_descriptor_is_no_longer_written() {
    let mut seat = boot();
    let old = seat.vm.driver.control_ring().swap_call_fd().unwrap();
    let new = seat.vm.driver.rings()[0].call_fd().try_clone_to_owned().unwrap();
    seat.vm.front.set_vring_call(0, Some(new.as_fd())).unwrap();
    let _ = old.read();

    (0..10).for_each(|_| assert_answers(&mut seat.vm));

    assert!(old.read().is_err(), "nothing is to be read from it");
}

#[test]
fn with_event_idx_a_batch_brings_one_interrupt_when_the_driver_asks_for_one() {
    let mut seat = boot();
    seat.vm.driver.control_ring().interrupts();
    for _ in 0..10 {
        seat.vm.driver.queue(&NOTHING).unwrap();
    }
    seat.vm.driver.control_ring().enable_interrupts_after(10);

    seat.vm.driver.kick();
    for _ in 0..10 {
        seat.vm.driver.spin_done().unwrap();
    }

    await_kicks_seen(&mut seat.vm);
    assert_eq!(seat.vm.driver.control_ring().interrupts(), 1);
}

#[test]
fn with_event_idx_no_interrupt_comes_for_what_the_driver_does_not_wait_for() {
    let mut seat = boot();
    assert_answers(&mut seat.vm);
    let ring = seat.vm.driver.control_ring();
    ring.interrupts();
    ring.disable_interrupts();

    for _ in 0..10 {
        seat.vm.driver.queue(&NOTHING).unwrap();
    }
    seat.vm.driver.kick();
    for _ in 0..10 {
        seat.vm.driver.spin_done().unwrap();
    }

    await_kicks_seen(&mut seat.vm);
    assert_eq!(seat.vm.driver.control_ring().interrupts(), 0);
}

#[test]
fn with_event_idx_an_idle_device_asks_for_the_next_kick() {
    let mut seat = boot();
    for _ in 0..20 {
        assert_answers(&mut seat.vm);
        await_kicks_seen(&mut seat.vm);

        let ring = seat.vm.driver.control_ring();
        assert_eq!(ring.avail_event(), ring.avail_idx());
    }
}

#[test]
fn without_event_idx_every_batch_brings_an_interrupt() {
    let mut seat = boot_with(&[], without_event_idx());
    for _ in 0..5 {
        seat.vm.driver.control_ring().interrupts();

        seat.vm.driver.queue(&NOTHING).unwrap();
        seat.vm.driver.kick();
        seat.vm.driver.spin_done().unwrap();

        await_kicks_seen(&mut seat.vm);
        assert_ne!(seat.vm.driver.control_ring().interrupts(), 0);
    }
}

#[test]
fn without_event_idx_the_no_interrupt_flag_is_honoured() {
    let mut seat = boot_with(&[], without_event_idx());
    seat.vm.driver.control_ring().interrupts();
    seat.vm.driver.control_ring().disable_interrupts();

    (0..10).for_each(|_| {
        seat.vm.driver.queue(&NOTHING).unwrap();
        seat.vm.driver.kick();
        seat.vm.driver.spin_done().unwrap();
    });

    await_kicks_seen(&mut seat.vm);
    assert_eq!(seat.vm.driver.control_ring().interrupts(), 0);
}

#[test]
fn without_event_idx_kicks_are_wanted() {
    let mut seat = boot_with(&[], without_event_idx());
    for _ in 0..20 {
        assert_answers(&mut seat.vm);
        await_kicks_seen(&mut seat.vm);
        assert_eq!(seat.vm.driver.control_ring().used_flags(), 0);
    }
}

#[test]
fn chains_may_be_direct_or_indirect() {
    let mut seat = boot();
    for layout in [Layout::Direct, Layout::Indirect, Layout::Direct] {
        seat.vm.driver.set_layout(layout);
        (0..70).for_each(|_| assert_answers(&mut seat.vm));
    }
}

#[test]
fn requests_and_responses_may_be_cut_into_segments_anywhere() {
    let mut seat = boot();
    let memory = seat.vm.driver.memory().clone();
    let page = seat.vm.driver.pages().alloc(4096).unwrap();
    let request = [&cmd::RESOURCE_UNREF.to_le_bytes()[..], &[0; 20], &77u32.to_le_bytes(), &[0; 4]].concat();
    for layout in [Layout::Direct, Layout::Indirect] {
        seat.vm.driver.set_layout(layout);
        for (cut_in, cut_out) in (1..32).zip((1..24).cycle()) {
            // Both parts at addresses that are no multiples of anything.
            let (head, tail, answer, rest) = (page + 1, page + 101, page + 201, page + 301);
            memory.write(head, &request[..cut_in]);
            memory.write(tail, &request[cut_in..]);
            memory.fill(answer, 200, 0);
            let segment = |gpa: u64, len: usize| Segment { gpa, len: len as u32 };
            let readable = [segment(head, cut_in), segment(tail, 32 - cut_in)];
            let writable = [segment(answer, cut_out), segment(rest, 24 - cut_out)];

            let used = seat.vm.driver.raw_call(&readable, &writable).unwrap();

            let mut response = [0; 24];
            memory.read(answer, &mut response[..cut_out]);
            memory.read(rest, &mut response[cut_out..]);
            assert_eq!(used.len, 24);
            assert_eq!(response[..4], resp::ERR_INVALID_RESOURCE_ID.to_le_bytes(), "cut at {cut_in} and {cut_out}");
        }
    }
}

#[test]
fn a_request_of_the_drivers_longest_chain_is_taken() {
    let mut seat = boot();
    let page = seat.vm.driver.pages().alloc(4096).unwrap();
    let memory = seat.vm.driver.memory().clone();
    memory.write(page, &cmd::RESOURCE_UNREF.to_le_bytes());
    memory.write(page + 24, &77u32.to_le_bytes());
    // An indirect table of one-byte buffers: 1000 of the request, then the response's.
    let table = seat.vm.driver.pages().alloc(1024 * Desc::SIZE as u64).unwrap();
    let table = memory.span(table, 1024 * Desc::SIZE as u64);
    let byte = |at: u64| Segment { gpa: page + at, len: 1 };
    let readable: Vec<_> = (0..1000).map(byte).collect();
    let writable: Vec<_> = (1024..1048).map(byte).collect();

    seat.vm.driver.control_ring().add_with_table(&readable, &writable, &table).unwrap();
    seat.vm.driver.control_ring().submit();
    let used = seat.vm.driver.control_ring().wait_used(soon()).unwrap();

    assert_eq!(used.len, 24);
    assert_eq!(memory.read_u32(page + 1024), resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn reset_device_stops_disables_and_forgets_the_rings() {
    let mut seat = boot();
    assert_answers(&mut seat.vm);
    assert!(seat.vm.front.has(protocol::RESET_DEVICE));

    seat.vm.front.reset_device().unwrap();

    assert_eq!(seat.vm.front.get_vring_base(0).unwrap(), 0);
    let kick = seat.vm.driver.rings()[0].kick_fd().try_clone_to_owned().unwrap();
    let value = seat.vm.front.ack_value(request::SET_VRING_KICK, &0u64.to_ne_bytes(), &[kick.as_fd()]).unwrap();
    assert_ne!(value, 0, "its addresses are forgotten too");
    seat.vm.driver.reset();
    seat.vm.start().unwrap();
    assert_answers(&mut seat.vm);
}
