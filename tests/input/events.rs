//! Events on their way to the guest.

use seat_frontend::input::Shape;
use seat_frontend::input::ids::{abs, ev, key, msc, rel};
use seat_frontend::machine::InputMachineOptions;

use super::common::random::Random;
use super::common::{devices, evdev::Kernel};
use super::seat::{GRAB, MONITORS, REPORT, Seat, ringed, sized};

/// What Linux says of a moved mouse.
fn motion(n: i32) -> [(u16, u16, i32); 2] {
    [(ev::REL, rel::X, n + 1), (ev::REL, rel::Y, -n - 1)]
}

#[test]
fn frames_come_through_whole_and_in_order_under_each_monitor() {
    for monitor in MONITORS {
        let machine = InputMachineOptions::new(monitor).unwrap();
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, machine);
        for n in 0..300 {
            seat.kernel.report(&motion(n));
            assert_eq!(seat.frame(), [motion(n)[0], motion(n)[1], REPORT], "{monitor:?}");
        }
        seat.assert_silent();
    }
}

#[test]
fn bursts_come_through_queues_of_any_size_with_and_without_event_idx() {
    for size in [4, 64, 1024] {
        for event_idx in [true, false] {
            let kernel = Kernel::new(devices::mouse(), 0);
            let mut seat = Seat::boot_with(kernel, GRAB, ringed(size, event_idx));
            for burst in 0..40 {
                for n in 0..15 {
                    seat.kernel.report(&motion(burst * 15 + n));
                }
                // The scripted kernel keeps 64 events, as evdev does.
                seat.await_read();
                for n in 0..15 {
                    let motion = motion(burst * 15 + n);
                    assert_eq!(seat.frame(), [motion[0], motion[1], REPORT], "{size} {event_idx}");
                }
            }
        }
    }
}

#[test]
fn a_frame_longer_than_the_queue_is_split_and_keeps_its_order() {
    let mut seat = Seat::boot_with(Kernel::new(devices::touch_screen(), 10), GRAB, sized(4));
    let mut frame = Vec::new();
    for slot in 1..=9 {
        frame.extend([(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_TRACKING_ID, 100 + slot)]);
        frame.extend([(ev::ABS, abs::MT_POSITION_X, 10 * slot), (ev::ABS, abs::MT_POSITION_Y, 20 * slot)]);
    }
    frame.push((ev::KEY, key::BTN_TOUCH, 1));
    seat.kernel.report(&frame);
    frame.push(REPORT);
    assert_eq!(seat.frame(), frame);
    assert_eq!(seat.guest.contacts().len(), 9);
}

#[test]
fn what_finds_no_buffer_waits_for_one() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, ringed(4, event_idx));
        seat.vm.driver.set_reposting(false);
        for n in 0..20 {
            seat.kernel.report(&motion(n));
        }
        seat.await_read();
        let mut got = Vec::new();
        while got.len() < 60 {
            // One buffer after the other: each is asked for by a kick, and by nothing else.
            while let Some(event) = seat.vm.driver.poll_event().unwrap() {
                got.push((event.kind, event.code, event.value));
            }
            if got.len() < 60 && seat.vm.driver.posted() == 0 {
                seat.vm.driver.post(1).unwrap();
                let event = seat.vm.driver.next_event(super::common::soon()).unwrap();
                got.push((event.kind, event.code, event.value));
            }
        }
        let expected: Vec<_> = (0..20).flat_map(|n| [motion(n)[0], motion(n)[1], REPORT]).collect();
        assert_eq!(got, expected, "EVENT_IDX {event_idx}");
    }
}

#[test]
fn a_frame_is_one_interrupt() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, ringed(64, event_idx));
        seat.await_read();
        seat.vm.driver.event_ring().interrupts();
        for n in 0..50 {
            seat.vm.driver.event_ring().enable_interrupts();
            seat.kernel.report(&motion(n));
            seat.await_read();
            assert_eq!(seat.vm.driver.event_ring().interrupts(), 1, "EVENT_IDX {event_idx}");
            seat.frame();
        }
    }
}

#[test]
fn a_guest_that_wants_no_interrupts_gets_none() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, ringed(64, event_idx));
        seat.await_read();
        seat.vm.driver.event_ring().disable_interrupts();
        seat.vm.driver.event_ring().interrupts();
        seat.kernel.report(&motion(1));
        seat.await_read();
        assert!(seat.vm.driver.event_ring().has_used());
        assert_eq!(seat.vm.driver.event_ring().interrupts(), 0, "EVENT_IDX {event_idx}");
    }
}

#[test]
fn buffers_that_wait_for_events_need_no_kick() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, ringed(64, event_idx));
        seat.kernel.report(&motion(0));
        seat.await_read();
        seat.vm.driver.set_reposting(false);
        seat.frame();
        seat.vm.driver.post(0).unwrap();
        let ring = seat.vm.driver.event_ring();
        assert!(!ring.kick(), "EVENT_IDX {event_idx}");
        seat.vm.driver.post(3).unwrap();
        seat.kernel.report(&motion(1));
        assert_eq!(seat.frame().len(), 3);
    }
}

#[test]
fn buffers_need_no_kick_again_once_the_events_that_waited_have_theirs() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, ringed(4, event_idx));
        seat.vm.driver.set_reposting(false);
        for n in 0..2 {
            seat.kernel.report(&motion(n));
        }
        seat.await_read();
        seat.frame();
        // Two of the second frame's three events wait; the kick for these buffers is asked for.
        seat.vm.driver.post(3).unwrap();
        seat.frame();
        seat.await_read();
        seat.vm.driver.post(0).unwrap();
        assert!(!seat.vm.driver.event_ring().kick(), "EVENT_IDX {event_idx}");
    }
}

#[test]
fn buffers_of_a_strange_shape_come_back_untouched_and_the_event_goes_into_the_next() {
    let mut seat = Seat::boot_with(Kernel::new(devices::mouse(), 0), GRAB, sized(64));
    seat.vm.driver.set_reposting(false);
    while seat.vm.driver.posted() > 0 {
        seat.kernel.report(&motion(0));
        seat.await_read();
        while seat.vm.driver.poll_event().unwrap().is_some() {}
    }
    seat.await_read();
    let before = seat.vm.driver.refused();
    for shape in [Shape::Short(1), Shape::Short(7), Shape::WrongWay, Shape::Split(1), Shape::Split(7), Shape::Whole] {
        seat.vm.driver.post_shaped(shape).unwrap();
    }
    seat.vm.driver.set_reposting(true);
    seat.vm.driver.post_all().unwrap();
    for n in 0..20 {
        seat.kernel.report(&motion(n));
        seat.await_read();
        while seat.vm.driver.poll_event().unwrap().is_some() {}
    }
    assert_eq!(seat.vm.driver.refused() - before, 3);
}

#[test]
fn a_key_that_the_guest_repeats_by_itself_is_not_repeated_by_the_host() {
    let mut seat = Seat::boot(Kernel::new(devices::keyboard(), 0));
    seat.kernel.report(&[(ev::MSC, msc::SCAN, 30), (ev::KEY, key::A, 1)]);
    for _ in 0..5 {
        seat.kernel.report(&[(ev::KEY, key::A, 2)]);
    }
    seat.kernel.report(&[(ev::MSC, msc::SCAN, 30), (ev::KEY, key::A, 0)]);
    for value in [1, 0] {
        assert_eq!(seat.frame(), [(ev::MSC, msc::SCAN, 30), (ev::KEY, key::A, value), REPORT]);
    }
    seat.assert_silent();
}

#[test]
fn lights_that_the_host_changes_are_not_news_to_the_guest() {
    let mut seat = Seat::boot(Kernel::new(devices::keyboard(), 0));
    seat.kernel.report(&[(ev::LED, 1, 1)]);
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    assert_eq!(seat.frame(), [(ev::KEY, key::A, 1), REPORT]);
}

#[test]
fn contacts_without_slots_come_through_as_they_are() {
    let mut description = devices::mouse();
    let axes = [abs::MT_POSITION_X, abs::MT_POSITION_Y];
    description.codes[usize::from(ev::ABS)] = vhost_seat::input::config::Bitmap::of(axes);
    let mut seat = Seat::boot(Kernel::new(description, 0));
    let frame = [
        (ev::ABS, abs::MT_POSITION_X, 4),
        (ev::ABS, abs::MT_POSITION_Y, 5),
        (ev::SYN, 2, 0),
        (ev::ABS, abs::MT_POSITION_X, 9),
        (ev::ABS, abs::MT_POSITION_Y, 9),
        (ev::SYN, 2, 0),
        REPORT,
    ];
    seat.kernel.report(&frame[..6]);
    assert_eq!(seat.frame(), frame);
}

#[test]
fn random_traffic_of_every_kind_arrives_as_it_was_sent() {
    for size in [4, 64, 1024] {
        let mut random = Random::new(u64::from(size));
        let mut seat = Seat::boot_with(Kernel::new(devices::everything(), 10), GRAB, sized(size));
        seat.agree();
        for _ in 0..400 {
            let mut frame = vec![(ev::REL, rel::WHEEL, 1)];
            for _ in 0..random.below(4) {
                frame.push((ev::REL, rel::X, random.between(1, 100) as i32));
            }
            // A key that was up goes down, or the other way round: nothing that the kernel would swallow.
            let code = random.between(1, 127) as u16;
            frame.push((ev::KEY, code, i32::from(!seat.guest.held().contains(&code))));
            seat.kernel.report(&frame);
            frame.push(REPORT);
            assert_eq!(seat.frame(), frame);
        }
        seat.agree();
    }
}
