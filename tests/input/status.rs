//! The status queue: lights and sounds of the guest's.

use seat_frontend::input::ids::{ev, key, led, msc, snd};
use seat_frontend::input::{Event, Shape};
use seat_frontend::machine::InputMachineOptions;

use super::common::{devices, evdev::Kernel};
use super::seat::{GRAB, MONITORS, Seat, ringed, with_toggle};

fn keyboard() -> Kernel {
    Kernel::new(devices::keyboard(), 0)
}

#[test]
fn lights_and_sounds_reach_the_device_under_each_monitor() {
    for monitor in MONITORS {
        let mut seat = Seat::boot_with(keyboard(), GRAB, InputMachineOptions::new(monitor).unwrap());
        let sent =
            [(ev::LED, led::CAPSL, 1), (ev::LED, led::NUML, 1), (ev::SND, snd::TONE, 440), (ev::LED, led::CAPSL, 0)];
        seat.vm.driver.send_status(&sent).unwrap();
        assert_eq!(seat.kernel.driver_heard(), sent, "{monitor:?}");
        seat.assert_silent();
    }
}

#[test]
fn what_the_device_does_not_have_and_what_would_go_round_in_circles_comes_back_and_does_nothing() {
    let mut seat = Seat::boot(keyboard());
    let junk = [
        (ev::MSC, msc::SCAN, 30),
        (ev::MSC, msc::TIMESTAMP, 1),
        (ev::LED, 9, 1),
        (ev::LED, u16::MAX, 1),
        (ev::SND, snd::CLICK, 1),
        (ev::KEY, key::A, 1),
        (ev::REP, 0, 300),
        (ev::SYN, 0, 0),
        (u16::MAX, u16::MAX, -1),
    ];
    for event in junk {
        seat.vm.driver.send_status(&[event]).unwrap();
    }
    assert_eq!(seat.kernel.driver_heard(), []);
    seat.assert_silent();
    assert_eq!(seat.kernel.truth().held(), [0; 0]);
}

#[test]
fn every_buffer_comes_back_at_once_whatever_its_shape() {
    for event_idx in [true, false] {
        let mut seat = Seat::boot_with(keyboard(), GRAB, ringed(64, event_idx));
        let light = |value| Event::new(ev::LED, led::NUML, value);
        let mut heard = Vec::new();
        for (n, shape) in (0..).zip([Shape::Whole, Shape::Split(3), Shape::Short(7), Shape::Short(1), Shape::WrongWay])
        {
            seat.vm.driver.queue_status(light(n), shape).unwrap();
            seat.vm.driver.kick_status();
            seat.vm.driver.finish_status().unwrap();
            if shape.is_sound() {
                heard.push((ev::LED, led::NUML, n));
            }
        }
        assert_eq!(seat.kernel.driver_heard(), heard, "EVENT_IDX {event_idx}");
    }
}

#[test]
fn a_flood_of_lights_comes_back_and_the_last_one_stays() {
    for size in [4, 64, 1024] {
        let mut seat = Seat::boot_with(keyboard(), GRAB, ringed(size, true));
        for _ in 0..50 {
            let events: Vec<_> = (0..i32::from(size.min(200))).map(|n| (ev::LED, led::NUML, n % 2)).collect();
            seat.vm.driver.send_status(&events).unwrap();
        }
        seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1)]).unwrap();
        assert_eq!(seat.kernel.driver_heard().last(), Some(&(ev::LED, led::NUML, 1)));
    }
}

#[test]
fn lights_work_while_the_event_queue_has_no_buffers() {
    let mut seat = Seat::boot_with(keyboard(), GRAB, ringed(4, true));
    seat.vm.driver.set_reposting(false);
    for value in [1, 0, 1, 0] {
        seat.kernel.report(&[(ev::KEY, key::A, value)]);
    }
    seat.await_read();
    seat.vm.driver.send_status(&[(ev::LED, led::CAPSL, 1)]).unwrap();
    assert_eq!(seat.kernel.driver_heard(), [(ev::LED, led::CAPSL, 1)]);
}

#[test]
fn lights_set_while_the_host_has_the_device_are_lit_when_the_guest_has_it_again() {
    let mut seat = Seat::boot_with(keyboard(), with_toggle("scrolllock"), InputMachineOptions::qemu().unwrap());
    seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1), (ev::LED, led::CAPSL, 1)]).unwrap();
    seat.kernel.driver_heard();
    let press = |seat: &mut Seat| {
        for value in [1, 0] {
            seat.kernel.report(&[(ev::KEY, key::SCROLLLOCK, value)]);
        }
        seat.await_read();
    };
    press(&mut seat);
    seat.vm.driver.send_status(&[(ev::LED, led::CAPSL, 0)]).unwrap();
    assert_eq!(seat.kernel.driver_heard(), [], "they are the host's now");
    press(&mut seat);
    assert_eq!(seat.kernel.driver_heard(), [(ev::LED, led::NUML, 1), (ev::LED, led::CAPSL, 0)]);
}

#[test]
fn a_tone_ends_when_the_guest_reboots_or_loses_the_device() {
    let mut seat = Seat::boot_with(keyboard(), with_toggle("scrolllock"), InputMachineOptions::qemu().unwrap());
    let tone = |seat: &mut Seat| {
        seat.vm.driver.send_status(&[(ev::SND, snd::TONE, 440)]).unwrap();
        assert_eq!(seat.kernel.driver_heard(), [(ev::SND, snd::TONE, 440)]);
    };
    tone(&mut seat);
    seat.vm.reboot().unwrap();
    assert_eq!(seat.kernel.driver_heard(), [(ev::SND, snd::TONE, 0)]);
    tone(&mut seat);
    for value in [1, 0] {
        seat.kernel.report(&[(ev::KEY, key::SCROLLLOCK, value)]);
    }
    seat.await_read();
    assert_eq!(seat.kernel.driver_heard(), [(ev::SND, snd::TONE, 0)]);
}
