//! Devices that say what cannot be: of themselves, of what happens, of what is held. The guest hears nothing that it was
//! not told of, nothing sticks, and the program goes on. What the ioctls' own answers may be is tried where they are read,
//! in `src/input/describe`.

use nix::errno::Errno;
use seat_frontend::control::FrontEnd;
use seat_frontend::input::InputConfig;
use seat_frontend::input::ids::{abs, ev, key, led, rel, sw, syn};
use seat_frontend::machine::InputMachineOptions;
use seat_frontend::program::TempDir;
use vhost_seat::input::config::{AxisInfo, Bitmap, Description};
use vhost_seat::input::node::OpenError;
use vhost_seat::input::state::State;
use vhost_seat::input::{HOLD, Input};

use super::common::devices::{self, FINGERS};
use super::common::evdev::Kernel;
use super::common::{patient, soon};
use super::seat::{BackEnd, GRAB, MONITORS, REPORT, Seat, await_turns, boot_on, sized};

/// Numbers at the edges.
const NUMBERS: [i32; 6] = [i32::MIN, -1, 0, 1, 2, i32::MAX];
/// Codes at the edges, those of the types' last ones among them.
const CODES: [u16; 17] = [0, 1, 2, 4, 7, 0x10, 0x1f, 0x20, 0x2f, 0x39, 0x3f, 0x40, 0x100, 0x2ff, 0x300, 0x3ff, 0xffff];
/// As many events as a kernel has at once.
const AT_ONCE: usize = 60;

fn everything() -> Kernel {
    Kernel::new(devices::everything(), FINGERS)
}

/// It still follows its device, and its guest.
#[track_caller]
fn assert_goes_on(seat: &mut Seat) {
    let code = if seat.vm.config.has(ev::KEY, key::ESC) { key::ESC } else { key::BTN_LEFT };
    for value in [1, 0] {
        seat.kernel.report(&[(ev::KEY, code, value)]);
        assert_eq!(seat.frame(), [(ev::KEY, code, value), REPORT]);
    }
}

/// A device that announces every bit of every type.
fn braggart() -> Description {
    let mut description = devices::mouse();
    description.codes.fill(Bitmap::of(0..1024));
    description.properties = Bitmap::of(0..1024);
    description
}

/// The config as a guest reads all of it, whatever monitor it has.
fn config_of(description: &Description) -> InputConfig {
    let configs = MONITORS.map(|monitor| {
        let kernel = Kernel::new(description.clone(), 0);
        let (_back_end, front) = BackEnd::on_pair(kernel.place(), GRAB);
        let mut vm = boot_on(front, InputMachineOptions::new(monitor).unwrap());
        vm.reader.read_all(&mut vm.front).unwrap()
    });
    assert!(configs.iter().all(|config| *config == configs[0]));
    configs[0].clone()
}

#[test]
fn events_of_codes_and_types_that_were_not_announced_are_passed_over() {
    for description in [devices::keyboard(), devices::mouse(), devices::touch_screen()] {
        let mut seat = Seat::boot(Kernel::new(description.clone(), description.slots()));
        seat.agree();
        let kinds = (1..=0x20).chain([0xff, 0x7fff, 0xffff]);
        let told =
            |kind, code| [ev::KEY, ev::REL, ev::ABS, ev::MSC, ev::SW].contains(&kind) && description.has(kind, code);
        let others = kinds.flat_map(|kind| CODES.map(|code| (kind, code))).filter(|(kind, code)| !told(*kind, *code));
        let events: Vec<_> = others.flat_map(|(kind, code)| NUMBERS.map(|value| (kind, code, value))).collect();
        assert!(events.len() > 1000);
        for events in events.chunks(AT_ONCE) {
            seat.kernel.utter(events);
            seat.kernel.utter(&[REPORT]);
            seat.assert_silent();
        }
        for code in CODES.into_iter().filter(|code| ![syn::REPORT, syn::MT_REPORT, syn::DROPPED].contains(code)) {
            seat.kernel.utter(&[(ev::SYN, code, 1), REPORT]);
            seat.assert_silent();
        }
        seat.kernel.utter(&[(ev::KEY, 0x2ff, 1), (ev::REL, 0xffff, 5)]);
        let code = (0..key::COUNT).find(|code| description.has(ev::KEY, *code)).unwrap();
        seat.kernel.utter(&[(ev::KEY, code, 1), (0xffff, 0, 1), REPORT]);
        assert_eq!(seat.frame(), [(ev::KEY, code, 1), REPORT], "of a mixed frame what was announced comes through");
    }
}

#[test]
fn codes_beyond_those_of_their_type_are_neither_announced_nor_told() {
    let config = config_of(&braggart());
    for (kind, bytes) in
        [(ev::KEY, 96), (ev::ABS, 8), (ev::REL, 4), (ev::MSC, 4), (ev::SW, 4), (ev::LED, 4), (ev::SND, 4)]
    {
        assert_eq!(config.bits[&kind].bytes(), vec![0xff; bytes], "type {kind:#x}");
    }
    assert_eq!(config.props.bytes().len(), 128);
    assert_eq!(config.abs.len(), usize::from(abs::COUNT));

    let mut seat = Seat::boot(Kernel::new(braggart(), 1));
    seat.agree();
    for (kind, code) in
        [(ev::KEY, 0x300), (ev::KEY, 0x3ff), (ev::ABS, 0x40), (ev::REL, 32), (ev::MSC, 32), (ev::SW, 32)]
    {
        seat.kernel.utter(&[(kind, code, 1), REPORT]);
        seat.assert_silent();
    }
    seat.kernel.report(&[(ev::KEY, 0x2ff, 1)]);
    assert_eq!(seat.frame(), [(ev::KEY, 0x2ff, 1), REPORT]);
    seat.kernel.unplug();
    seat.let_go();
}

#[test]
fn a_description_of_nothing_but_names_of_any_bytes_is_a_config_of_nothing_else() {
    for byte in [0, b'n', 0xff] {
        let description = Description { name: vec![byte; 256], serial: vec![byte; 1000], ..Description::default() };
        let config = config_of(&description);
        assert_eq!((config.name, config.serial), (vec![byte; 128], vec![byte; 128]));
        assert!(config.bits.is_empty() && config.abs.is_empty() && config.props.bytes().is_empty());
    }
}

#[test]
fn ranges_of_any_numbers_are_passed_on_and_so_are_values_outside_of_them() {
    for (min, max) in [(i32::MIN, i32::MAX), (i32::MAX, i32::MIN), (5, 4), (0, 0), (-1, -1)] {
        let mut description = devices::everything();
        let axis = AxisInfo { min, max, fuzz: i32::MIN, flat: i32::MAX, resolution: -1 };
        for code in [abs::X, abs::MT_POSITION_X, abs::MT_TRACKING_ID] {
            description.axes[usize::from(code)] = axis;
        }
        let config = config_of(&description);
        let told = config.abs[&abs::X];
        assert_eq!((told.min, told.max, told.fuzz, told.flat, told.res), (min, max, i32::MIN, i32::MAX, -1));
        let mut seat = Seat::boot(Kernel::new(description, FINGERS));
        for value in [i32::MAX, i32::MIN, 1] {
            seat.kernel.report(&[(ev::ABS, abs::X, value), (ev::ABS, abs::MT_POSITION_X, value)]);
            seat.agree();
            assert_eq!(seat.guest.axis(abs::X), value);
        }
        assert_goes_on(&mut seat);
    }
}

#[test]
fn slots_by_the_billion_are_as_many_as_linux_takes() {
    for (max, slots) in [(i32::MAX, 1024), (1024, 1024), (1023, 1024), (0, 1), (-1, 0), (-2, 0), (i32::MIN, 0)] {
        let mut description = devices::everything();
        description.axes[usize::from(abs::MT_SLOT)] = AxisInfo { max, ..AxisInfo::default() };
        assert_eq!(State::new(&description).slots(), slots, "and no memory for more");
        assert_eq!(config_of(&description).abs[&abs::MT_SLOT].max, slots as i32 - 1);
        let mut seat = Seat::boot(Kernel::new(description, slots));
        assert_eq!(seat.vm.config.slots(), slots);
        seat.agree();
        if slots > 1 {
            seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, 1023), (ev::ABS, abs::MT_TRACKING_ID, 7)]);
            seat.agree();
            assert_eq!(seat.guest.contacts().len(), 1);
        }
        assert_goes_on(&mut seat);
    }
}

#[test]
fn a_slot_that_is_not_there_leaves_the_current_one_current() {
    let mut seat = Seat::boot(everything());
    seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, 3), (ev::ABS, abs::MT_TRACKING_ID, 7)]);
    seat.agree();
    for (n, slot) in (0..).zip([i32::MIN, -1, FINGERS as i32, 1023, 1024, 0x1_0003, i32::MAX]) {
        seat.kernel.utter(&[(ev::ABS, abs::MT_SLOT, slot), REPORT]);
        seat.assert_silent();
        seat.kernel.utter(&[(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_POSITION_X, n), REPORT]);
        assert_eq!(seat.frame(), [(ev::ABS, abs::MT_POSITION_X, n), REPORT], "slot {slot}");
    }
    assert_eq!(seat.guest.state().slot(), 3);
    assert_goes_on(&mut seat);
}

#[test]
fn slots_of_a_device_that_has_none_are_passed_over() {
    let mut seat = Seat::boot(Kernel::new(devices::mouse(), 0));
    for value in NUMBERS {
        for code in [abs::MT_SLOT, abs::MT_TRACKING_ID, abs::MT_POSITION_X] {
            seat.kernel.utter(&[(ev::ABS, code, value), (ev::ABS, abs::MT_SLOT, value), REPORT]);
            seat.assert_silent();
        }
    }
    // Contacts without slots, and without the data that would make them contacts.
    seat.kernel.utter(&[(ev::ABS, abs::MT_POSITION_X, 1), (ev::SYN, syn::MT_REPORT, 0), REPORT]);
    assert_eq!(seat.frame(), [(ev::SYN, syn::MT_REPORT, 0), REPORT]);
    seat.kernel.unplug();
    await_turns(&mut seat.vm);
    assert_eq!(seat.vm.driver.poll_event().unwrap(), None, "there was no contact to end");
}

#[test]
fn contacts_of_any_number_end_when_the_device_does() {
    let mut seat = Seat::boot(everything());
    for (slot, id) in (0..).zip([i32::MAX, 0x1_0000, 0]) {
        seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_TRACKING_ID, id)]);
    }
    seat.agree();
    assert_eq!(seat.guest.contacts().len(), 3);
    for id in [-2, i32::MIN] {
        seat.kernel.report(&[(ev::ABS, abs::MT_SLOT, 0), (ev::ABS, abs::MT_TRACKING_ID, id)]);
        seat.agree();
        assert_eq!(seat.guest.contacts().len(), 2, "{id} is none");
        seat.kernel.report(&[(ev::ABS, abs::MT_TRACKING_ID, 5)]);
        seat.agree();
    }
    seat.kernel.unplug();
    seat.let_go();
}

#[test]
fn keys_and_switches_of_any_number_are_down_and_on_or_not() {
    let mut seat = Seat::boot(everything());
    for value in [3, 138, -1, i32::MIN, i32::MAX] {
        seat.kernel.utter(&[(ev::KEY, key::A, value), (ev::SW, sw::LID, value), REPORT]);
        assert_eq!(seat.frame(), [(ev::KEY, key::A, 1), (ev::SW, sw::LID, 1), REPORT], "{value}");
        seat.kernel.utter(&[(ev::KEY, key::A, 0), (ev::SW, sw::LID, 0), REPORT]);
        assert_eq!(seat.frame(), [(ev::KEY, key::A, 0), (ev::SW, sw::LID, 0), REPORT]);
    }
}

#[test]
fn a_key_that_is_pressed_and_never_let_go_ends_when_the_device_does() {
    let mut seat = Seat::boot(everything());
    for _ in 0..3 {
        seat.kernel.utter(&[(ev::KEY, key::A, 1), REPORT]);
        assert_eq!(seat.frame(), [(ev::KEY, key::A, 1), REPORT]);
    }
    seat.kernel.unplug();
    seat.let_go();
}

#[test]
fn what_a_look_finds_and_was_not_announced_is_not_there() {
    for description in [devices::mouse(), devices::touch_screen()] {
        let touch = description.has(ev::ABS, abs::X);
        let mut seat = Seat::boot(Kernel::new(description, if touch { FINGERS } else { 0 }));
        seat.agree();
        seat.kernel.lie(|lies| {
            lies.keys = vec![0, key::A, 0x2ff, 0x300, 0xffff];
            lies.switches = vec![sw::LID, 31, 32, 0xffff];
            lies.axes = vec![(2, 5), (abs::PRESSURE, 5), (0x3f, 5), (0x40, 5), (0xffff, 5)];
            lies.slot_axes = vec![(0, abs::MT_TOUCH_MAJOR, 5), (FINGERS, abs::MT_TRACKING_ID, 5)];
            lies.slot_axes.extend([(usize::MAX, abs::MT_TRACKING_ID, 5), (0, abs::X, 5), (0, 0xffff, 5)]);
            lies.slot = Some(i32::MAX);
        });
        seat.kernel.utter(&[(ev::SYN, syn::DROPPED, 0)]);
        seat.assert_silent();
        seat.vm.pause().unwrap();
        seat.vm.resume().unwrap();
        seat.assert_silent();
        if touch {
            seat.kernel.report(&[(ev::KEY, key::BTN_TOUCH, 1)]);
            seat.agree();
        } else {
            assert_goes_on(&mut seat);
        }
        seat.kernel.unplug();
        seat.let_go();
    }
}

#[test]
fn a_key_that_is_held_at_every_look_ends_when_the_device_does() {
    let mut seat = Seat::boot(everything());
    seat.kernel.lie(|lies| lies.keys = vec![key::A]);
    seat.kernel
        .lie(|lies| lies.slot_axes = vec![(2, abs::MT_TRACKING_ID, i32::MAX), (3, abs::MT_TRACKING_ID, i32::MIN)]);
    seat.kernel.utter(&[(ev::SYN, syn::DROPPED, 0)]);
    seat.vm.driver.feed(&mut seat.guest, soon(), |guest| !guest.is_inside_frame() && guest.held() == [key::A]).unwrap();
    assert_eq!(seat.guest.contacts().len(), 1);
    seat.kernel.unplug();
    seat.let_go();
}

#[test]
fn a_kernel_that_drops_without_end_keeps_nobody_from_anything() {
    let mut seat = Seat::boot(everything());
    seat.agree();
    seat.kernel.lie(|lies| lies.dropping = true);
    await_turns(&mut seat.vm);
    seat.vm.driver.send_status(&[(ev::LED, led::NUML, 1)]).unwrap();
    assert_eq!(seat.vm.driver.poll_event().unwrap(), None);
    seat.kernel.lie(|lies| lies.dropping = false);
    assert_goes_on(&mut seat);
    seat.kernel.lie(|lies| lies.dropping = true);
    await_turns(&mut seat.vm);
    seat.back_end.terminate();
    seat.back_end.ended().unwrap();
}

#[test]
fn a_frame_without_an_end_is_not_kept_and_what_is_so_is_told_after_it() {
    let mut seat = Seat::boot(everything());
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.agree();
    for n in 0..4 * HOLD / AT_ONCE {
        let event = [(ev::REL, rel::X, 1), (ev::KEY, key::S, n as i32 % 2), (0x1f, 0, 0)];
        seat.kernel.utter(&event.repeat(AT_ONCE / event.len()));
        seat.assert_silent();
    }
    seat.kernel.utter(&[(ev::KEY, key::S, 0)]);
    seat.kernel.report(&[(ev::KEY, key::A, 0)]);
    assert_eq!(seat.frame(), [(ev::KEY, key::A, 0), REPORT], "the differences");
    assert_goes_on(&mut seat);
}

#[test]
fn what_is_held_in_a_frame_without_an_end_is_let_go_when_the_device_goes() {
    let mut seat = Seat::boot(everything());
    seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::ABS, abs::MT_SLOT, 2), (ev::ABS, abs::MT_TRACKING_ID, 5)]);
    seat.agree();
    seat.kernel.utter(&[(ev::KEY, key::S, 1), (ev::ABS, abs::MT_SLOT, 1), (ev::ABS, abs::MT_TRACKING_ID, 6)]);
    seat.assert_silent();
    seat.kernel.unplug();
    seat.let_go();
}

#[test]
fn markers_without_end_are_followed_like_events() {
    let mut seat = Seat::boot_with(everything(), GRAB, sized(4));
    seat.agree();
    for _ in 0..HOLD / AT_ONCE {
        seat.kernel.utter(&[(ev::SYN, syn::MT_REPORT, 0); AT_ONCE]);
        seat.kernel.utter(&[REPORT; 2]);
        seat.await_read();
    }
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.agree();
}

#[test]
fn a_device_that_fails_while_it_is_opened_is_not_opened() {
    let kernel = everything();
    for errno in [Errno::EIO, Errno::ENODEV, Errno::EINVAL] {
        kernel.lie(|lies| lies.open = Some(errno));
        assert!(matches!(Input::open(kernel.place(), GRAB), Err(OpenError::Description(_))), "{errno}");
    }
    kernel.lie(|lies| lies.open = None);
    for errno in [Errno::EIO, Errno::EINVAL] {
        kernel.lie(|lies| lies.grab = Some(errno));
        assert!(matches!(Input::open(kernel.place(), GRAB), Err(OpenError::Grab(_))), "{errno}");
    }
    kernel.lie(|lies| lies.grab = Some(Errno::EBUSY));
    assert!(matches!(Input::open(kernel.place(), GRAB), Err(OpenError::Grabbed)));
    kernel.lie(|lies| lies.grab = None);
    Input::open(kernel.place(), GRAB).unwrap();
}

#[test]
fn a_device_that_fails_when_it_is_back_is_waited_for() {
    let mut seat = Seat::boot(everything());
    seat.kernel.lie(|lies| lies.open = Some(Errno::EIO));
    seat.kernel.unplug();
    seat.kernel.plug();
    await_turns(&mut seat.vm);
    seat.kernel.unplug();
    seat.kernel.lie(|lies| lies.open = None);
    seat.kernel.plug();
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
}

#[test]
fn a_device_that_cannot_be_looked_at_is_followed_all_the_same() {
    let mut seat = Seat::boot(everything());
    seat.kernel.report(&[(ev::KEY, key::A, 1), (ev::ABS, abs::MT_SLOT, 2), (ev::ABS, abs::MT_TRACKING_ID, 5)]);
    seat.agree();
    seat.kernel.lie(|lies| lies.look = Some(Errno::EIO));
    seat.kernel.utter(&[(ev::SYN, syn::DROPPED, 0)]);
    seat.await_read();
    seat.kernel.report(&[(ev::KEY, key::A, 0), (ev::KEY, key::S, 1)]);
    seat.vm.driver.feed(&mut seat.guest, soon(), |guest| !guest.is_inside_frame() && guest.held() == [key::S]).unwrap();
    seat.kernel.lie(|lies| lies.look = None);
    seat.kernel.utter(&[(ev::SYN, syn::DROPPED, 0)]);
    seat.agree();
}

#[test]
fn a_device_that_cannot_be_looked_at_goes_back_to_the_host() {
    let (kernel, folder) = (everything(), TempDir::new().unwrap());
    let (back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    let vm = boot_on(patient(FrontEnd::connect(&path).unwrap()), InputMachineOptions::qemu().unwrap());
    assert!(kernel.is_grabbed());
    kernel.lie(|lies| lies.look = Some(Errno::EIO));
    drop(vm);
    let deadline = soon();
    while kernel.is_grabbed() {
        assert!(!deadline.passed(), "the host does not get it back");
        std::thread::yield_now();
    }
    back_end.terminate();
    back_end.ended().unwrap();
}

#[test]
fn a_device_that_cannot_be_looked_at_or_written_comes_to_the_guest() {
    let kernel = everything();
    kernel.report(&[(ev::KEY, key::S, 1)]);
    kernel.lie(|lies| (lies.look, lies.write) = (Some(Errno::EIO), Some(Errno::EIO)));
    let mut seat = Seat::boot(kernel);
    seat.await_read();
    assert!(seat.kernel.is_grabbed());
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    let has_it = |guest: &seat_frontend::input::GuestInput| guest.held().contains(&key::A);
    seat.vm.driver.feed(&mut seat.guest, soon(), has_it).unwrap();
}

#[test]
fn lights_that_cannot_be_written_are_taken_from_the_guest() {
    let mut seat = Seat::boot(everything());
    seat.kernel.lie(|lies| lies.write = Some(Errno::EIO));
    for n in 0..200 {
        seat.vm.driver.send_status(&[(ev::LED, led::NUML, n % 2)]).unwrap();
    }
    assert_goes_on(&mut seat);
}

#[test]
fn a_device_that_cannot_be_had_is_tried_again_by_the_next_guest() {
    let (kernel, folder) = (everything(), TempDir::new().unwrap());
    let (back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    kernel.lie(|lies| lies.grab = Some(Errno::EIO));
    let front = patient(FrontEnd::connect(&path).unwrap());
    let vm = boot_on(front, InputMachineOptions::qemu().unwrap());
    let guest = vm.guest();
    let mut seat = Seat { kernel, vm, guest, back_end };
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    await_turns(&mut seat.vm);
    assert_eq!(seat.vm.driver.poll_event().unwrap(), None);
    seat.kernel.lie(|lies| lies.grab = None);
    seat.vm.reboot().unwrap();
    seat.guest = seat.vm.guest();
    seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon()).unwrap();
    assert!(seat.kernel.is_grabbed());
    seat.back_end.terminate();
    seat.back_end.ended().unwrap();
}
