//! Who has the device, the guest or the host, and what each side believes to be held.

use std::collections::BTreeSet;

use seat_frontend::input::ids::{abs, ev, key, msc};
use seat_frontend::machine::InputMachineOptions;
use seat_frontend::program::TempDir;
use vhost_seat::input::config::Bitmap;
use vhost_seat::input::node::{Node, OpenError};
use vhost_seat::input::{Input, Options};

use super::common::evdev::ScriptedNode;
use super::common::{devices, evdev::Kernel, patient, soon};
use super::seat::{BackEnd, GRAB, REPORT, Seat, await_read, boot_on, with_toggle};

const SHARED: Options = Options { grab: false, ..GRAB };

fn everything() -> Kernel {
    Kernel::new(devices::everything(), devices::FINGERS)
}

/// What another program on the host believes to be held, from what it has read so far.
struct Host {
    node: ScriptedNode,
    held: BTreeSet<u16>,
}

impl Host {
    fn of(kernel: &Kernel) -> Host {
        Host { node: kernel.host(), held: BTreeSet::new() }
    }

    fn held(&mut self) -> Vec<u16> {
        let events = self.node.read_all();
        self.held = ScriptedNode::keys_after(&events, std::mem::take(&mut self.held));
        self.held.iter().copied().collect()
    }
}

/// Types the keys, all of them down before the first is up.
fn chord(kernel: &Kernel, keys: &[u16]) {
    for value in [1, 0] {
        for code in keys {
            kernel.report(&[(ev::KEY, *code, value)]);
        }
    }
}

const CTRLS: [u16; 2] = [key::LEFTCTRL, key::RIGHTCTRL];

#[test]
fn the_device_is_the_guests_alone_while_a_front_end_is_there() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let mut host = Host::of(&kernel);
    let (back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    assert!(!kernel.is_grabbed(), "nobody is there yet");
    kernel.report(&[(ev::KEY, key::A, 1)]);
    assert_eq!(host.held(), [key::A]);

    let front = patient(seat_frontend::control::FrontEnd::connect(&path).unwrap());
    let mut vm = boot_on(front, InputMachineOptions::qemu().unwrap());
    let mut guest = vm.guest();
    assert!(kernel.is_grabbed());
    assert_eq!(host.held(), [0; 0], "the key was let go for the host");
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
    assert_eq!(guest.held(), [key::A], "and is held for the guest, as it is in truth");
    kernel.report(&[(ev::KEY, key::S, 1)]);
    kernel.report(&[(ev::KEY, key::A, 0)]);
    await_read(&kernel, &mut vm);
    assert_eq!(host.held(), [0; 0], "what happens now is no business of the host's");

    vm.quit().unwrap();
    back_end.terminate();
    back_end.ended().unwrap();
    assert!(!kernel.is_grabbed());
    assert_eq!(host.held(), [key::S], "the host gets the key that is still held");
    assert_eq!(kernel.truth().held(), [key::S]);
}

/// A key is already held when a front end comes, and another event happens in the moment before the device is taken.
/// What the host and the guest then believe to be held, and what is.
fn taken_while(happens: &[(u16, u16, i32)]) -> [Vec<u16>; 3] {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let mut host = Host::of(&kernel);
    let (_back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    kernel.report(&[(ev::KEY, key::A, 1)]);
    kernel.report_before_grab(happens);
    let front = patient(seat_frontend::control::FrontEnd::connect(&path).unwrap());
    let mut vm = boot_on(front, InputMachineOptions::qemu().unwrap());
    let mut guest = vm.guest();
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
    assert!(kernel.is_grabbed());
    [host.held(), guest.held(), kernel.truth().held()]
}

#[test]
fn a_key_that_is_pressed_while_the_device_is_taken_is_let_go_for_the_host() {
    let both = vec![key::A, key::S];
    assert_eq!(taken_while(&[(ev::KEY, key::S, 1)]), [vec![], both.clone(), both]);
    // A scan code might have been the release of the other key, which would then be held for good.
    assert_eq!(taken_while(&[(ev::MSC, msc::SCAN, 31), (ev::KEY, key::S, 1)]), [vec![], vec![key::S], vec![key::S]]);
}

#[test]
fn a_key_that_is_let_go_while_the_device_is_taken_is_held_by_nobody() {
    assert_eq!(taken_while(&[(ev::MSC, msc::SCAN, 30), (ev::KEY, key::A, 0)]), [[0; 0]; 3]);
}

#[test]
fn half_of_a_hotkey_pressed_for_one_front_end_is_no_half_for_the_next() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (_back_end, path) = BackEnd::listening(kernel.place(), with_toggle("ctrl-ctrl"), &folder);
    let boot = || {
        boot_on(
            patient(seat_frontend::control::FrontEnd::connect(&path).unwrap()),
            InputMachineOptions::qemu().unwrap(),
        )
    };
    let mut vm = boot();
    kernel.report(&[(ev::KEY, key::LEFTCTRL, 1)]);
    await_read(&kernel, &mut vm);
    vm.quit().unwrap();
    let deadline = soon();
    while kernel.is_grabbed() {
        assert!(!deadline.passed(), "the device is not given back");
        std::thread::yield_now();
    }
    kernel.report(&[(ev::KEY, key::LEFTCTRL, 0)]);
    let mut vm = boot();
    for code in [key::RIGHTCTRL, key::LEFTCTRL] {
        chord(&kernel, &[code]);
        await_read(&kernel, &mut vm);
        assert!(kernel.is_grabbed());
    }
}

#[test]
fn contacts_are_handed_over_like_keys() {
    let kernel = everything();
    let mut host = kernel.host();
    let touch = [(ev::ABS, abs::MT_SLOT, 3), (ev::ABS, abs::MT_TRACKING_ID, 77), (ev::ABS, abs::MT_POSITION_X, 9)];
    kernel.report(&touch);
    host.read_all();
    let mut seat = Seat::boot(kernel);
    assert_eq!(host.read_all(), [(ev::ABS, abs::MT_TRACKING_ID, -1), REPORT]);
    seat.agree();
    let contact = seat.guest.contacts()[0];
    assert_eq!((contact.slot, contact.tracking_id, contact.axis(abs::MT_POSITION_X)), (3, 77, 9));
}

#[test]
fn several_contacts_keep_their_slots() {
    let kernel = everything();
    for slot in [0, 3, 8] {
        kernel.report(&[(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_TRACKING_ID, 10 + slot)]);
    }
    kernel.report(&[(ev::ABS, abs::MT_SLOT, 0), (ev::ABS, abs::MT_POSITION_X, 5)]);
    let before = kernel.truth();
    let mut seat = Seat::boot(kernel);
    assert_eq!(seat.kernel.truth().difference(&before), None, "nothing has changed in truth");
    seat.agree();
    assert_eq!(seat.guest.contacts().len(), 3);
}

#[test]
fn without_grab_both_sides_read_and_nobody_writes() {
    let kernel = everything();
    kernel.report(&[(ev::KEY, key::A, 1)]);
    let mut host = kernel.host();
    let mut seat = Seat::boot_with(kernel, SHARED, InputMachineOptions::qemu().unwrap());
    assert!(!seat.kernel.is_grabbed());
    seat.agree();
    assert_eq!(seat.guest.held(), [key::A]);
    seat.kernel.report(&[(ev::KEY, key::A, 0)]);
    seat.agree();
    assert_eq!(host.read_all(), [(ev::KEY, key::A, 0), REPORT]);
}

#[test]
fn a_device_that_another_program_has_alone_is_refused_early() {
    let kernel = everything();
    let mut other = kernel.host();
    other.set_grabbed(true).unwrap();
    for options in [GRAB, SHARED] {
        assert!(matches!(Input::open(kernel.place(), options), Err(OpenError::Grabbed)));
    }
    other.set_grabbed(false).unwrap();
    Input::open(kernel.place(), GRAB).map(drop).unwrap();
}

#[test]
fn a_device_that_another_program_took_meanwhile_gives_the_guest_nothing_and_both_sides_stay_right() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (_back_end, path) = BackEnd::listening(kernel.place(), GRAB, &folder);
    let mut other = kernel.host();
    kernel.report(&[(ev::KEY, key::A, 1)]);
    other.set_grabbed(true).unwrap();
    let front = patient(seat_frontend::control::FrontEnd::connect(&path).unwrap());
    let mut vm = boot_on(front, InputMachineOptions::qemu().unwrap());
    assert_eq!(vm.driver.poll_event().unwrap(), None);
    let held = ScriptedNode::keys_after(&other.read_all(), BTreeSet::new());
    assert_eq!(held.into_iter().collect::<Vec<_>>(), [key::A]);
    other.set_grabbed(false).unwrap();
    // A start is another chance.
    vm.reboot().unwrap();
    let mut guest = vm.guest();
    vm.driver.feed_until(&mut guest, &kernel.truth(), soon()).unwrap();
    assert!(kernel.is_grabbed());
}

#[test]
fn the_hotkey_gives_the_device_to_the_host_and_back() {
    let kernel = everything();
    let mut host = Host::of(&kernel);
    let mut seat = Seat::boot_with(kernel, with_toggle("ctrl-ctrl"), InputMachineOptions::qemu().unwrap());
    seat.kernel.report(&[(ev::KEY, key::LEFTSHIFT, 1)]);
    seat.agree();
    chord(&seat.kernel, &CTRLS);
    seat.await_read();
    assert!(!seat.kernel.is_grabbed());
    seat.let_go();
    assert_eq!(host.held(), [key::LEFTSHIFT], "what is held is the host's now");
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.kernel.report(&[(ev::KEY, key::A, 0)]);
    seat.assert_silent();

    chord(&seat.kernel, &CTRLS);
    seat.await_read();
    assert!(seat.kernel.is_grabbed());
    assert_eq!(host.held(), [0; 0]);
    seat.agree();
    assert_eq!(seat.guest.held(), [key::LEFTSHIFT]);
}

#[test]
fn every_hotkey_works_by_its_name() {
    let hotkeys: [(&str, &[u16]); 6] = [
        ("ctrl-ctrl", &CTRLS),
        ("alt-alt", &[key::LEFTALT, key::RIGHTALT]),
        ("shift-shift", &[key::LEFTSHIFT, key::RIGHTSHIFT]),
        ("meta-meta", &[key::LEFTMETA, key::RIGHTMETA]),
        ("scrolllock", &[key::SCROLLLOCK]),
        ("ctrl-scrolllock", &[key::LEFTCTRL, key::SCROLLLOCK]),
    ];
    for (name, keys) in hotkeys {
        let mut seat = Seat::boot_with(everything(), with_toggle(name), InputMachineOptions::qemu().unwrap());
        for grabbed in [false, true] {
            chord(&seat.kernel, keys);
            seat.await_read();
            assert_eq!(seat.kernel.is_grabbed(), grabbed, "{name}");
        }
        seat.let_go();
    }
}

#[test]
fn a_hotkey_that_the_device_has_no_keys_for_is_refused_early() {
    let mouse = Kernel::new(devices::mouse(), 0);
    for name in ["ctrl-ctrl", "scrolllock", "ctrl-scrolllock"] {
        let refused = Input::open(mouse.place(), with_toggle(name)).map(drop).unwrap_err();
        assert_eq!(refused.to_string(), format!("it has no keys for {name}"));
    }
    let mut one_ctrl = devices::mouse();
    one_ctrl.codes[usize::from(ev::KEY)] = Bitmap::of([key::LEFTCTRL, key::SCROLLLOCK]);
    let kernel = Kernel::new(one_ctrl, 0);
    assert!(Input::open(kernel.place(), with_toggle("ctrl-ctrl")).is_err());
    assert!(Input::open(kernel.place(), with_toggle("ctrl-scrolllock")).is_ok());
}

#[test]
fn a_new_front_end_gets_the_device_whoever_had_it_last() {
    let folder = TempDir::new().unwrap();
    let kernel = everything();
    let (_back_end, path) = BackEnd::listening(kernel.place(), with_toggle("ctrl-ctrl"), &folder);
    for _ in 0..2 {
        let front = patient(seat_frontend::control::FrontEnd::connect(&path).unwrap());
        let mut vm = boot_on(front, InputMachineOptions::qemu().unwrap());
        assert!(kernel.is_grabbed());
        chord(&kernel, &CTRLS);
        await_read(&kernel, &mut vm);
        assert!(!kernel.is_grabbed());
        vm.quit().unwrap();
    }
}

#[test]
fn a_device_that_may_only_be_read_is_handed_over_without_writing() {
    let kernel = everything();
    kernel.set_writable(false);
    kernel.report(&[(ev::KEY, key::A, 1)]);
    let mut seat = Seat::boot(kernel);
    assert!(seat.kernel.is_grabbed());
    seat.agree();
    assert_eq!(seat.guest.held(), [key::A]);
    seat.kernel.report(&[(ev::KEY, key::A, 0)]);
    seat.agree();
}

#[test]
fn a_program_that_ends_gives_back_what_is_held() {
    let kernel = everything();
    let mut host = Host::of(&kernel);
    let mut seat = Seat::boot(kernel);
    seat.kernel.report(&[(ev::KEY, key::A, 1)]);
    seat.agree();
    assert_eq!(host.held(), [0; 0]);
    seat.back_end.terminate();
    seat.let_go();
    let Seat { back_end, kernel, .. } = seat;
    back_end.ended().unwrap();
    assert!(!kernel.is_grabbed());
    assert_eq!(host.held(), [key::A]);
}
