//! More than fits: a guest that gives no buffers, a kernel that drops events. Nothing sticks.

use seat_frontend::input::ids::{abs, ev, key, rel, sw};
use vhost_seat::input::HOLD;

use super::common::{devices, evdev::Kernel};
use super::seat::{GRAB, REPORT, Seat, sized};

/// A guest with an empty event queue that knows the device.
fn starving(kernel: Kernel) -> Seat {
    let mut seat = Seat::boot_with(kernel, GRAB, sized(4));
    seat.agree();
    seat.vm.driver.set_reposting(false);
    // Four events use the four buffers up.
    for x in [1, 2] {
        seat.kernel.report(&[(ev::REL, rel::X, x)]);
        seat.frame();
    }
    assert_eq!(seat.vm.driver.posted(), 0);
    seat
}

/// Gives the guest buffers again and collects what comes until it knows the truth.
fn feed(seat: &mut Seat) -> Vec<(u16, u16, i32)> {
    seat.vm.driver.set_reposting(true);
    seat.vm.driver.post_all().unwrap();
    let mut all = Vec::new();
    loop {
        // The kick for what was taken goes out when there is nothing more to take.
        while let Some(event) = seat.vm.driver.poll_event().unwrap() {
            seat.guest.apply(event).unwrap();
            all.push((event.kind, event.code, event.value));
        }
        seat.await_read();
        if !seat.vm.driver.event_ring().has_used() {
            break;
        }
    }
    assert_eq!(seat.guest.state().difference(&seat.kernel.truth()), None);
    assert!(!seat.guest.is_inside_frame());
    all
}

fn keys(events: &[(u16, u16, i32)]) -> Vec<(u16, u16, i32)> {
    events.iter().copied().filter(|(kind, ..)| *kind == ev::KEY).collect()
}

#[test]
fn as_much_as_the_hold_has_room_for_arrives_in_order() {
    let mut seat = starving(Kernel::new(devices::everything(), 10));
    let mut sent = Vec::new();
    for n in 0..HOLD as i32 / 2 {
        let frame = [(ev::REL, rel::Y, n + 1)];
        seat.kernel.report(&frame);
        seat.await_read();
        sent.extend([frame[0], REPORT]);
    }
    assert_eq!(feed(&mut seat), sent);
}

#[test]
fn motion_gives_way_to_keys() {
    let mut seat = starving(Kernel::new(devices::everything(), 10));
    let mut sent = Vec::new();
    for n in 0..2 * HOLD {
        seat.kernel.report(&[(ev::REL, rel::X, 1), (ev::REL, rel::Y, 1)]);
        if n % 16 == 0 {
            let frame = [(ev::KEY, key::A, i32::from(n % 32 == 0))];
            seat.kernel.report(&frame);
            sent.push(frame[0]);
        }
        seat.await_read();
    }
    assert_eq!(keys(&feed(&mut seat)), sent, "every press and release, in order");
}

#[test]
fn where_keys_alone_run_over_each_ends_as_it_is() {
    let mut seat = starving(Kernel::new(devices::everything(), 10));
    for n in 0..HOLD as u16 {
        // An odd number of changes for half of the keys.
        let code = 1 + n % 100;
        let held = seat.kernel.truth().is_held(code);
        seat.kernel.report(&[(ev::KEY, code, i32::from(!held))]);
        seat.await_read();
    }
    seat.kernel.report(&[(ev::KEY, 120, 1)]);
    seat.kernel.report(&[(ev::SW, sw::LID, 1)]);
    feed(&mut seat);
    assert!(seat.guest.held().contains(&120));
    seat.kernel.report(&[(ev::KEY, 120, 0)]);
    assert_eq!(seat.frame(), [(ev::KEY, 120, 0), REPORT], "and events are followed again");
}

#[test]
fn contacts_that_came_and_went_meanwhile_do_not_stick() {
    let mut seat = starving(Kernel::new(devices::everything(), 10));
    for n in 0..3 * HOLD as i32 {
        let slot = n % 10;
        let id = if n / 10 % 2 == 0 { n } else { -1 };
        let mut frame = vec![(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_TRACKING_ID, id)];
        if id >= 0 {
            frame.extend([(ev::ABS, abs::MT_POSITION_X, n % 4096), (ev::ABS, abs::MT_POSITION_Y, n * 7 % 4096)]);
        }
        seat.kernel.report(&frame);
        if n % 8 == 0 {
            seat.await_read();
        }
    }
    feed(&mut seat);
    assert_eq!(seat.guest.contacts(), seat.kernel.truth().contacts());
}

#[test]
fn events_that_the_kernel_dropped_are_made_good_at_once() {
    for size in [4, 64, 1024] {
        let mut seat = Seat::boot_with(Kernel::new(devices::everything(), 10), GRAB, sized(size));
        seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::ABS, abs::MT_SLOT, 3), (ev::ABS, abs::MT_TRACKING_ID, 7)]);
        seat.agree();
        // More than evdev keeps, in one frame: the program cannot be quick enough.
        let mut frame: Vec<_> = (1..=80).filter(|code| *code != key::A).map(|code| (ev::KEY, code, 1)).collect();
        frame.extend([(ev::KEY, key::A, 0), (ev::SW, sw::LID, 1), (ev::ABS, abs::X, 99)]);
        frame.extend([
            (ev::ABS, abs::MT_TRACKING_ID, -1),
            (ev::ABS, abs::MT_SLOT, 4),
            (ev::ABS, abs::MT_TRACKING_ID, 8),
        ]);
        seat.kernel.report(&frame);
        seat.agree();
        assert_eq!(seat.guest.contacts().len(), 1);
        assert!(!seat.guest.held().contains(&key::A));
        seat.kernel.report(&[(ev::ABS, abs::MT_POSITION_X, 5)]);
        seat.agree();
        assert_eq!(seat.guest.contacts()[0].axis(abs::MT_POSITION_X), 5, "the slot is the right one");
    }
}

#[test]
fn a_contact_whose_slot_was_taken_by_another_ends_before_that_begins() {
    let mut seat = Seat::boot(Kernel::new(devices::touch_screen(), 10));
    seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, 2), (ev::ABS, abs::MT_TRACKING_ID, 7), (ev::KEY, key::BTN_TOUCH, 1)]);
    seat.agree();
    let mut frame = vec![(ev::ABS, abs::MT_TRACKING_ID, -1)];
    frame.extend((0..80).map(|n| (ev::ABS, abs::X, n + 1)));
    frame.push((ev::ABS, abs::MT_TRACKING_ID, 8));
    seat.kernel.report(&frame);
    let ended = seat.frame();
    assert_eq!(ended, [(ev::ABS, abs::MT_TRACKING_ID, -1), REPORT]);
    let begun = seat.frame();
    assert!(begun.contains(&(ev::ABS, abs::MT_TRACKING_ID, 8)), "{begun:?}");
    seat.agree();
}
