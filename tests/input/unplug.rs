//! A device that is pulled out, and comes back.

use std::fs;
use std::os::unix::fs::symlink;

use seat_frontend::control::FrontEnd;
use seat_frontend::input::ids::{abs, ev, key, led};
use seat_frontend::machine::InputMachineOptions;
use seat_frontend::program::TempDir;
use vhost_seat::backend::Error;
use vhost_seat::input::Options;
use vhost_seat::input::config::{AxisInfo, Description};

use super::common::{devices, evdev::Kernel, patient, soon};
use super::seat::{BackEnd, GRAB, REPORT, Seat, await_turns, boot_on, sized};

const EXIT: Options = Options { exit_on_unplug: true, ..GRAB };

fn everything() -> Kernel {
    Kernel::new(devices::everything(), devices::FINGERS)
}

/// A guest that holds keys and contacts.
fn holding(options: Options, size: u16) -> Seat {
    let mut seat = Seat::boot_with(everything(), options, sized(size));
    seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::KEY, key::BTN_TOUCH, 1)]);
    seat.kernel.report(&[
        (ev::ABS, abs::MT_SLOT, 4),
        (ev::ABS, abs::MT_TRACKING_ID, 9),
        (ev::ABS, abs::MT_POSITION_Y, 5),
    ]);
    seat.agree();
    seat
}

#[test]
fn keys_and_contacts_are_let_go_when_it_is_pulled_out() {
    for size in [4, 64, 1024] {
        let mut seat = holding(GRAB, size);
        seat.kernel.unplug();
        seat.let_go();
        assert!(!seat.guest.is_inside_frame());
    }
}

#[test]
fn it_goes_on_when_it_comes_back() {
    let mut seat = holding(GRAB, 4);
    for turn in 0..3 {
        seat.kernel.unplug();
        seat.let_go();
        seat.kernel.plug();
        seat.kernel.report(&[(ev::KEY, key::S, 1), (ev::ABS, abs::X, 10 + turn)]);
        seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
        assert!(seat.kernel.is_grabbed());
        seat.kernel.report(&[(ev::KEY, key::S, 0)]);
        seat.agree();
    }
}

#[test]
fn its_lights_are_lit_as_the_guest_wants_them() {
    let mut seat = Seat::boot(everything());
    seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1)]).unwrap();
    seat.kernel.unplug();
    seat.vm.driver.send_status(&[(ev::LED, led::CAPSL, 1)]).unwrap();
    seat.kernel.driver_heard();
    seat.kernel.plug();
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
    assert_eq!(seat.kernel.driver_heard(), [(ev::LED, led::NUML, 1), (ev::LED, led::CAPSL, 1)]);
}

#[test]
fn a_link_in_a_folder_that_vanishes_with_it_is_followed_when_both_are_back() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (by_id, link) = (folder.join("by-id"), folder.join("by-id/usb-Scripted-event-kbd"));
    fs::create_dir(&by_id).unwrap();
    symlink(kernel.path(), &link).unwrap();
    let (_back_end, front) = BackEnd::on_pair(kernel.place().by(link.clone()), GRAB);
    let mut vm = boot_on(front, InputMachineOptions::qemu().unwrap());
    let mut guest = vm.guest();
    kernel.report(&[(ev::KEY, key::A, 1)]);
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
    kernel.unplug();
    vm.driver.feed(&mut guest, soon(), |guest| guest.held().is_empty()).unwrap();
    fs::remove_file(&link).unwrap();
    fs::remove_dir(&by_id).unwrap();
    // As udev does it: the node, then the folder, then the link.
    kernel.plug();
    fs::create_dir(&by_id).unwrap();
    symlink(kernel.path(), &link).unwrap();
    kernel.report(&[(ev::KEY, key::S, 1)]);
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
}

#[test]
fn another_kind_of_device_is_not_taken_for_it() {
    let mut seat = holding(GRAB, 64);
    let strangers: [fn(&mut Description); 4] = [
        |device| device.name = b"Another".to_vec(),
        |device| device.ids.product += 1,
        |device| device.codes[usize::from(ev::KEY)] = devices::mouse().codes[usize::from(ev::KEY)],
        |device| device.axes[usize::from(abs::X)] = AxisInfo { max: 1, ..AxisInfo::default() },
    ];
    for stranger in strangers {
        let mut description = devices::everything();
        stranger(&mut description);
        seat.kernel.unplug();
        seat.let_go();
        seat.kernel.become_another(description);
        seat.kernel.plug();
        seat.kernel.report(&[(ev::KEY, key::S, 1)]);
        await_turns(&mut seat.vm);
        assert_eq!(seat.vm.driver.poll_event().unwrap(), None);
        assert!(!seat.kernel.is_grabbed());
        seat.kernel.unplug();
        seat.kernel.become_another(devices::everything());
        seat.kernel.plug();
        seat.kernel.report(&[(ev::KEY, key::ESC, 1)]);
        seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
    }
}

#[test]
fn a_device_that_gets_its_key_codes_and_axes_after_it_is_there_is_taken_then() {
    let mut seat = holding(GRAB, 64);
    seat.kernel.unplug();
    seat.let_go();
    let mut unfinished = devices::everything();
    unfinished.codes[usize::from(ev::KEY)] = devices::keyboard().codes[usize::from(ev::KEY)];
    unfinished.axes[usize::from(abs::X)].max += 1;
    seat.kernel.become_another(unfinished);
    seat.kernel.plug();
    await_turns(&mut seat.vm);
    assert!(!seat.kernel.is_grabbed());
    // As udev does it: of this, nothing in the folder tells.
    seat.kernel.become_another(devices::everything());
    seat.kernel.report(&[(ev::KEY, key::ESC, 1)]);
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
    assert!(seat.kernel.is_grabbed());
}

#[test]
fn another_serial_number_is_no_other_kind() {
    let mut seat = holding(GRAB, 64);
    seat.kernel.unplug();
    seat.kernel.become_another(Description { serial: b"second".to_vec(), ..devices::everything() });
    seat.kernel.plug();
    seat.kernel.report(&[(ev::KEY, key::ESC, 1)]);
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
}

#[test]
fn it_may_go_and_come_while_the_guest_is_paused_or_away() {
    let mut seat = holding(GRAB, 64);
    seat.vm.pause().unwrap();
    seat.kernel.unplug();
    seat.kernel.plug();
    await_turns(&mut seat.vm);
    seat.kernel.report(&[(ev::KEY, key::S, 1)]);
    seat.vm.resume().unwrap();
    seat.agree();
    seat.vm.reset().unwrap();
    seat.kernel.unplug();
    seat.vm.reboot().unwrap();
    seat.guest = seat.vm.guest();
    seat.kernel.plug();
    seat.kernel.report(&[(ev::KEY, key::ESC, 1)]);
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
    assert_eq!(seat.guest.held(), [key::ESC]);
}

#[test]
fn a_front_end_that_comes_while_it_is_out_gets_it_later() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (_back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    kernel.unplug();
    let mut vm = boot_on(patient(FrontEnd::connect(&path).unwrap()), InputMachineOptions::qemu().unwrap());
    let mut guest = vm.guest();
    assert_eq!(vm.config.name, devices::everything().name, "the guest is told of it all the same");
    kernel.plug();
    kernel.report(&[(ev::KEY, key::A, 1)]);
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
}

#[test]
fn the_program_ends_with_a_reason_where_that_is_asked_for() {
    for size in [4, 64] {
        let mut seat = holding(EXIT, size);
        seat.kernel.unplug();
        seat.let_go();
        let path = seat.kernel.path();
        let Seat { back_end, .. } = seat;
        let error = back_end.ended().unwrap_err();
        assert!(matches!(error, Error::Over(_)), "{error}");
        assert_eq!(error.to_string(), format!("{} was unplugged", path.display()));
    }
}

#[test]
fn the_program_ends_where_that_is_asked_for_though_no_front_end_is_there() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (back_end, path) = BackEnd::listening(kernel.place(), EXIT, &folder);
    kernel.unplug();
    assert!(back_end.ended().is_err());
    assert!(!path.exists(), "its socket is gone with it");
}

#[test]
fn nothing_is_burned_while_it_is_out() {
    let mut seat = holding(GRAB, 64);
    seat.kernel.unplug();
    seat.let_go();
    seat.vm.front.get_features().unwrap();
    // Other tests' threads have a share in this process's time; the back end's own is told by its turns: a loop that
    // spins would take the front end's messages one a turn and never sleep, a sleeping one is woken by each.
    let before = seat.back_end.sleeps();
    for _ in 0..20 {
        seat.vm.front.get_features().unwrap();
    }
    assert!(seat.back_end.sleeps() > before, "it sleeps between two messages");
    assert_eq!(seat.frame_or_nothing(), None);
}

impl Seat {
    fn frame_or_nothing(&mut self) -> Option<(u16, u16, i32)> {
        let event = self.vm.driver.poll_event().unwrap()?;
        Some((event.kind, event.code, event.value)).filter(|event| *event != REPORT)
    }
}
