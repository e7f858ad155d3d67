//! Guests that pause, reset and reboot, front ends that come and go.

use seat_frontend::control::{FrontEnd, Vmm};
use seat_frontend::input::ids::{abs, ev, key, rel, sw};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use seat_frontend::program::TempDir;

use super::common::{devices, evdev::Kernel, patient, soon};
use super::seat::{BackEnd, GRAB, MONITORS, REPORT, Seat, await_read, boot_on, sized};

fn everything() -> Kernel {
    Kernel::new(devices::everything(), devices::FINGERS)
}

#[test]
fn a_guest_begins_with_what_is_held_switched_and_touched_and_with_where_the_axes_are() {
    for monitor in MONITORS {
        let kernel = everything();
        kernel.report(&[
            (ev::KEY, key::LEFTSHIFT, 1),
            (ev::SW, sw::LID, 1),
            (ev::ABS, abs::X, 700),
            (ev::REL, rel::X, 9),
        ]);
        kernel.report(&[
            (ev::ABS, abs::MT_SLOT, 5),
            (ev::ABS, abs::MT_TRACKING_ID, 1),
            (ev::ABS, abs::MT_POSITION_X, 3),
        ]);
        let mut seat = Seat::boot_with(kernel, GRAB, InputMachineOptions::new(monitor).unwrap());
        seat.agree();
        assert_eq!(seat.guest.held(), [key::LEFTSHIFT], "{monitor:?}");
        assert_eq!(seat.guest.motion(rel::X), 0, "what happened before it came is not played to it");
        seat.kernel.report(&[(ev::KEY, key::LEFTSHIFT, 0)]);
        seat.agree();
    }
}

#[test]
fn what_changed_during_a_pause_is_told_at_resume() {
    for monitor in MONITORS {
        let mut seat = Seat::boot_with(everything(), GRAB, InputMachineOptions::new(monitor).unwrap());
        seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::KEY, key::S, 1)]);
        seat.agree();
        seat.vm.pause().unwrap();
        seat.kernel.report(&[(ev::KEY, key::A, 0), (ev::REL, rel::X, 50)]);
        seat.kernel.report(&[(ev::KEY, key::ESC, 1)]);
        seat.kernel.report(&[(ev::KEY, key::ESC, 0)]);
        seat.kernel.report(&[(ev::KEY, key::LEFTALT, 1), (ev::ABS, abs::Y, 5)]);
        seat.await_read();
        assert!(!seat.vm.driver.event_ring().has_used(), "{monitor:?}: a ring that rests is not written");
        seat.vm.resume().unwrap();
        seat.agree();
        assert_eq!(seat.guest.held(), [key::S, key::LEFTALT], "{monitor:?}");
        assert_eq!(seat.guest.motion(rel::X), 0, "{monitor:?}: what moved meanwhile is not played");
    }
}

#[test]
fn what_moved_during_a_pause_or_before_a_start_is_not_played_though_nobody_has_read_it_by_then() {
    let mut seat = Seat::boot_with(everything(), GRAB, sized(64));
    for n in 0..40 {
        let restart = if n % 2 == 0 { InputMachine::resume } else { InputMachine::reboot };
        seat.vm.pause().unwrap();
        seat.kernel.report(&[(ev::REL, rel::X, 1), (ev::KEY, 1 + n, 1)]);
        restart(&mut seat.vm).unwrap();
        if n % 2 != 0 {
            seat.guest = seat.vm.guest();
        }
        seat.agree();
        assert_eq!(seat.guest.motion(rel::X), 0, "round {n}");
    }
}

#[test]
fn what_waited_before_a_pause_arrives_after_it() {
    let mut seat = Seat::boot_with(everything(), GRAB, sized(4));
    seat.agree();
    seat.vm.driver.set_reposting(false);
    for code in [key::A, key::S, key::ESC] {
        seat.kernel.report(&[(ev::KEY, code, 1)]);
        seat.kernel.report(&[(ev::KEY, code, 0)]);
    }
    seat.await_read();
    seat.vm.pause().unwrap();
    seat.vm.resume().unwrap();
    seat.vm.driver.set_reposting(true);
    for code in [key::A, key::S, key::ESC] {
        for value in [1, 0] {
            assert_eq!(seat.frame(), [(ev::KEY, code, value), REPORT]);
            seat.vm.driver.post_all().unwrap();
        }
    }
}

#[test]
fn a_guest_that_reboots_holds_nothing_of_the_old_one_and_all_that_is_held() {
    for monitor in MONITORS {
        let mut seat = Seat::boot_with(everything(), GRAB, InputMachineOptions::new(monitor).unwrap());
        seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::KEY, key::S, 1)]);
        seat.agree();
        seat.vm.reset().unwrap();
        seat.kernel.report(&[(ev::KEY, key::A, 0)]);
        seat.vm.reboot().unwrap();
        seat.guest = seat.vm.guest();
        seat.agree();
        assert_eq!(seat.guest.held(), [key::S], "{monitor:?}");
    }
}

#[test]
fn twenty_reboots_with_traffic() {
    let mut seat = Seat::boot_with(everything(), GRAB, sized(4));
    for n in 0..20 {
        seat.kernel.report(&[(ev::KEY, 1 + n, 1), (ev::REL, rel::X, 4)]);
        seat.agree();
        seat.kernel.report(&[(ev::REL, rel::X, 4)]);
        seat.vm.reboot().unwrap();
        seat.guest = seat.vm.guest();
    }
    seat.agree();
    assert_eq!(seat.guest.held(), (1..=20).collect::<Vec<_>>());
}

#[test]
fn one_front_end_after_another_gets_the_device() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    for (n, monitor) in MONITORS.into_iter().enumerate() {
        let code = 10 + n as u16;
        let mut vm = boot_on(patient(FrontEnd::connect(&path).unwrap()), InputMachineOptions::new(monitor).unwrap());
        let mut guest = vm.guest();
        kernel.report(&[(ev::KEY, code, 1)]);
        await_read(&kernel, &mut vm);
        vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
        assert_eq!(guest.held(), (10..=code).collect::<Vec<_>>(), "{monitor:?}");
        vm.quit().unwrap();
    }
    back_end.terminate();
    back_end.ended().unwrap();
}

#[test]
fn a_ring_that_lies_is_healed_by_the_next_start() {
    let mut seat = Seat::boot(everything());
    seat.agree();
    let size = seat.vm.driver.event_ring().size();
    seat.vm.driver.event_ring().set_avail_idx(size * 3);
    seat.vm.driver.event_ring().kick_now();
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.await_read();
    assert_eq!(seat.vm.front.ring_errors(0), 1);
    seat.kernel.report(&[(ev::KEY, key::S, 1)]);
    seat.kernel.report(&[(ev::KEY, key::A, 0)]);
    seat.await_read();
    seat.vm.reboot().unwrap();
    seat.guest = seat.vm.guest();
    seat.agree();
    assert_eq!(seat.guest.held(), [key::S]);
}

#[test]
fn the_program_ends_with_its_guest_holding_nothing() {
    for (monitor, size) in [(MONITORS[2], 4), (MONITORS[2], 64), (Vmm::CloudHypervisor, 64)] {
        let mut machine = InputMachineOptions::new(monitor).unwrap();
        machine.input = sized(size).input;
        let mut seat = Seat::boot_with(everything(), GRAB, machine);
        seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::KEY, key::BTN_TOUCH, 1)]);
        seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, 5), (ev::ABS, abs::MT_TRACKING_ID, 1)]);
        seat.agree();
        seat.back_end.terminate();
        seat.let_go();
        assert!(!seat.guest.is_inside_frame());
        let Seat { back_end, .. } = seat;
        back_end.ended().unwrap();
    }
}
