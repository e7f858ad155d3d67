//! The laboratory's own devices: what was asked for is what the kernel shows, and what goes in comes out.

use std::io;

use seat_uinput::codes::*;
use seat_uinput::{Axis, Device, Node, Setup, differences, gamepad, keyboard, mouse, soon, tablet, touch_screen};

use crate::in_vm;

/// The kernel shows the device as it was asked for.
fn assert_as_asked(device: &Device) {
    let shown = device.open().unwrap().description().unwrap();
    assert_eq!(differences(&shown.to_json(), &device.description().to_json()), [""; 0]);
}

fn code(error: &io::Error) -> Option<i32> {
    error.raw_os_error()
}

#[test]
fn a_keyboard_is_what_was_asked_for() {
    in_vm(|| {
        let keyboard = keyboard().unwrap();
        assert_as_asked(&keyboard);
        let node = keyboard.open().unwrap();
        assert_eq!(node.description().unwrap().codes[&EV_KEY].len(), 104);
        assert_eq!(node.phys().unwrap(), "seat/keyboard");
        assert_eq!(node.repeat().unwrap(), (250, 33));
        assert!(seat_uinput::nodes().unwrap().iter().any(|path| path == keyboard.node()));
    });
}

#[test]
fn a_mouse_is_what_was_asked_for() {
    in_vm(|| assert_as_asked(&mouse().unwrap()));
}

#[test]
fn a_tablet_is_what_was_asked_for() {
    in_vm(|| assert_as_asked(&tablet().unwrap()));
}

#[test]
fn a_touch_screen_is_what_was_asked_for() {
    in_vm(|| assert_as_asked(&touch_screen().unwrap()));
}

#[test]
fn a_gamepad_is_what_was_asked_for() {
    in_vm(|| assert_as_asked(&gamepad().unwrap()));
}

#[test]
fn a_device_of_switches_and_sounds_is_what_was_asked_for() {
    in_vm(|| {
        let setup = Setup::new("Lid").switches([SW_LID, SW_TABLET_MODE]).sounds([SND_CLICK, SND_BELL, SND_TONE]);
        let mut device = setup.property(INPUT_PROP_BUTTONPAD).create().unwrap();
        assert_as_asked(&device);
        let mut node = device.open().unwrap();
        device.frame(&[(EV_SW, SW_LID, 1)]).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), [(EV_SW, SW_LID, 1)]);
        assert_eq!(node.switches().unwrap(), [SW_LID].into());
        node.write(&[(EV_SND, SND_BELL, 1)]).unwrap();
        assert_eq!(device.next_told(soon()).unwrap(), (EV_SND, SND_BELL, 1));
        assert_eq!(node.sounds().unwrap(), [SND_BELL].into());
    });
}

#[test]
fn keys_come_out_as_they_were_pressed_and_are_held_meanwhile() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut node = keyboard.open().unwrap();
        let frame = [(EV_MSC, MSC_SCAN, 0x1e), (EV_KEY, KEY_A, 1)];
        keyboard.frame(&frame).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), frame);
        assert_eq!(node.keys_held().unwrap(), [KEY_A].into());
        keyboard.release(KEY_A).unwrap();
        // The key may have repeated while it was down.
        let mut next = node.next_frame(soon()).unwrap();
        while next == [(EV_KEY, KEY_A, 2)] {
            next = node.next_frame(soon()).unwrap();
        }
        assert_eq!(next, [(EV_KEY, KEY_A, 0)]);
        assert_eq!(node.keys_held().unwrap(), [].into());

        keyboard.tap(KEY_B).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), [(EV_KEY, KEY_B, 1)]);
        assert_eq!(node.next_frame(soon()).unwrap(), [(EV_KEY, KEY_B, 0)]);
        assert_eq!(node.frame_at_hand().unwrap(), None);
    });
}

#[test]
fn a_held_key_repeats() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut node = keyboard.open().unwrap();
        keyboard.press(KEY_A).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), [(EV_KEY, KEY_A, 1)]);
        assert_eq!(node.next_frame(soon()).unwrap(), [(EV_KEY, KEY_A, 2)]);
    });
}

#[test]
fn a_mouse_moves_clicks_and_turns_its_wheel_in_one_frame() {
    in_vm(|| {
        let mut mouse = mouse().unwrap();
        let mut node = mouse.open().unwrap();
        let frame = [
            (EV_REL, REL_X, -3),
            (EV_REL, REL_Y, 127),
            (EV_REL, REL_WHEEL, -1),
            (EV_REL, REL_WHEEL_HI_RES, -120),
            (EV_KEY, BTN_LEFT, 1),
        ];
        mouse.frame(&frame).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), frame);
    });
}

#[test]
fn a_pen_comes_near_and_writes() {
    in_vm(|| {
        let mut tablet = tablet().unwrap();
        let mut node = tablet.open().unwrap();
        let frame = [
            (EV_KEY, BTN_TOOL_PEN, 1),
            (EV_ABS, ABS_X, 40_000),
            (EV_ABS, ABS_Y, 20_000),
            (EV_ABS, ABS_PRESSURE, 5000),
            (EV_ABS, ABS_TILT_X, -30),
            (EV_MSC, MSC_SERIAL, 0x1234_5678),
        ];
        tablet.frame(&frame).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), frame);
        assert_eq!((node.value(ABS_X).unwrap(), node.value(ABS_TILT_X).unwrap()), (40_000, -30));
    });
}

#[test]
fn fingers_have_slots() {
    in_vm(|| {
        let mut screen = touch_screen().unwrap();
        let mut node = screen.open().unwrap();
        let fingers = [
            (EV_ABS, ABS_MT_TRACKING_ID, 7),
            (EV_ABS, ABS_MT_POSITION_X, 100),
            (EV_ABS, ABS_MT_SLOT, 9),
            (EV_ABS, ABS_MT_TRACKING_ID, 8),
            (EV_ABS, ABS_MT_POSITION_X, 4000),
            (EV_KEY, BTN_TOUCH, 1),
        ];
        screen.frame(&fingers).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), fingers);
        let free = -1;
        assert_eq!(node.slots(ABS_MT_TRACKING_ID).unwrap(), [7, free, free, free, free, free, free, free, free, 8]);
        assert_eq!(node.slots(ABS_MT_POSITION_X).unwrap()[9], 4000);
    });
}

#[test]
fn sticks_go_both_ways() {
    in_vm(|| {
        let mut gamepad = gamepad().unwrap();
        let mut node = gamepad.open().unwrap();
        let frame = [
            (EV_ABS, ABS_X, -32_768),
            (EV_ABS, ABS_RY, 32_767),
            (EV_ABS, ABS_HAT0Y, -1),
            (EV_ABS, ABS_RZ, 1023),
            (EV_KEY, BTN_SOUTH, 1),
        ];
        gamepad.frame(&frame).unwrap();
        assert_eq!(node.next_frame(soon()).unwrap(), frame);
    });
}

#[test]
fn a_led_that_a_client_lights_is_told_to_the_device() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut node = keyboard.open().unwrap();
        let mut other = keyboard.open().unwrap();
        node.set_led(LED_CAPSL, true).unwrap();
        assert_eq!(keyboard.next_told(soon()).unwrap(), (EV_LED, LED_CAPSL, 1));
        // All clients see it, the one that wrote it as well.
        for reader in [&mut node, &mut other] {
            assert_eq!(reader.next_frame(soon()).unwrap(), [(EV_LED, LED_CAPSL, 1)]);
        }
        assert_eq!(node.leds().unwrap(), [LED_CAPSL].into());
    });
}

#[test]
fn a_device_that_is_grabbed_speaks_to_one_client_and_no_other_can_grab_it() {
    in_vm(|| {
        let mut mouse = mouse().unwrap();
        let (mut first, mut second) = (mouse.open().unwrap(), mouse.open().unwrap());
        first.grab().unwrap();
        assert_eq!(second.grab().map_err(|e| code(&e)), Err(Some(libc::EBUSY)));
        mouse.tap(BTN_LEFT).unwrap();
        assert_eq!(first.next_frame(soon()).unwrap(), [(EV_KEY, BTN_LEFT, 1)]);
        assert_eq!(second.frame_at_hand().unwrap(), None);

        first.ungrab().unwrap();
        second.grab().unwrap();
        mouse.tap(BTN_RIGHT).unwrap();
        assert_eq!(second.next_frame(soon()).unwrap(), [(EV_KEY, BTN_RIGHT, 1)]);
    });
}

#[test]
fn a_device_that_is_unplugged_is_gone_for_its_readers() {
    in_vm(|| {
        let mouse = mouse().unwrap();
        let path = mouse.node().to_owned();
        let mut node = mouse.open().unwrap();
        mouse.unplug();
        assert_eq!(node.next_frame(soon()).map_err(|e| code(&e)), Err(Some(libc::ENODEV)));
        assert_eq!(Node::open(&path).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    });
}

#[test]
fn a_reader_that_is_too_slow_is_told_that_events_were_dropped() {
    in_vm(|| {
        let setup = Setup::new("Dial").axis(ABS_X, Axis::range(0, 100_000)).keys([BTN_LEFT]);
        let mut dial = setup.create().unwrap();
        let mut node = dial.open().unwrap();
        for value in 1..=1000 {
            dial.frame(&[(EV_ABS, ABS_X, value)]).unwrap();
        }
        let mut dropped = false;
        let mut last = 0;
        while let Some(frame) = node.frame_at_hand().unwrap() {
            dropped |= frame.contains(&(EV_SYN, SYN_DROPPED, 0));
            last = frame.iter().find(|e| e.1 == ABS_X && e.0 == EV_ABS).map_or(last, |e| e.2);
        }
        assert!(dropped);
        assert_eq!((last, node.value(ABS_X).unwrap()), (1000, 1000));
    });
}
