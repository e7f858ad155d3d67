//! What a guest sees of each device.

use nix::sys::signal::Signal;
use seat_frontend::input::{Bitmap, InputConfig, ids::select};
use seat_frontend::machine::InputMachineOptions;
use seat_uinput::codes::*;
use seat_uinput::{Description, Device, Event, Setup, keyboard, mouse, soon as until_soon, touch_screen};

use super::{MACHINES, Served, TWO_FINGERS, machine};
use crate::desk::Desk;
use crate::in_vm;

/// The config that a guest has read is the device, byte for byte.
#[track_caller]
fn assert_is(config: &InputConfig, device: &Description) {
    assert_eq!(String::from_utf8_lossy(&config.name), device.name);
    assert_eq!(String::from_utf8_lossy(&config.serial), device.uniq);
    let ids = config.ids.unwrap();
    let (is, should) = ([ids.bustype, ids.vendor, ids.product, ids.version], &device.id);
    assert_eq!(is, [should.bus, should.vendor, should.product, should.version]);
    assert_eq!(config.props, Bitmap::of(device.properties.iter().copied()));
    for (kind, codes) in &device.codes {
        let told = config.bits.get(kind);
        match *kind {
            EV_SYN => assert_eq!(told, None),
            EV_REP => assert!(told.is_some(), "it repeats"),
            _ => assert_eq!(told, Some(&Bitmap::of(codes.iter().copied())), "{} type {kind:#x}", device.name),
        }
    }
    assert!(config.bits.keys().all(|kind| device.codes.contains_key(kind)), "and nothing else");
    let axes = device
        .axes
        .iter()
        .map(|(code, axis)| (*code, (axis.minimum, axis.maximum, axis.fuzz, axis.flat, axis.resolution)));
    let told = config.abs.iter().map(|(code, axis)| (*code, (axis.min, axis.max, axis.fuzz, axis.flat, axis.res)));
    assert!(axes.eq(told), "{}", device.name);
}

#[test]
fn each_device_is_described_byte_for_byte_under_each_monitor() {
    in_vm(|| {
        for device in Desk::new().devices() {
            for kind in MACHINES {
                let mut served = Served::boot_with(device, &[], machine(kind));
                let config = served.vm.reader.read_all(&mut served.vm.front).unwrap();
                // The kernel's own word, not what was asked of it.
                assert_is(&config, &device.open().unwrap().description().unwrap());
            }
        }
    });
}

#[test]
fn what_repeats_and_has_sounds_and_switches_says_so() {
    in_vm(|| {
        let setup =
            Setup::new("Everything else").keys([KEY_A]).repeat().switches([SW_LID]).sounds([SND_BELL, SND_TONE]);
        let mut device = setup.create().unwrap();
        device.frame(&[(EV_SW, SW_LID, 1)]).unwrap();
        let mut served = Served::boot(&device);
        let repeats = served.vm.reader.body(&mut served.vm.front, select::EV_BITS, EV_REP as u8).unwrap();
        assert_eq!(repeats, [3]);
        let node = device.open().unwrap();
        served.agree(&node);
        assert!(served.guest.switch(SW_LID), "a switch that is on is on for a guest that comes later");
        served.vm.driver.send_status(&[(EV_SND, SND_BELL, 1)]).unwrap();
        assert_eq!(device.next_told(until_soon()).unwrap(), (EV_SND, SND_BELL, 1));
    });
}

/// Frames that no kernel changes on their way.
fn script(device: &Description, n: i32) -> Vec<Vec<Event>> {
    let has = |kind: u16, code: u16| device.codes.get(&kind).is_some_and(|codes| codes.contains(&code));
    let mut frames = Vec::new();
    if has(EV_KEY, KEY_A) {
        frames.push(vec![(EV_MSC, MSC_SCAN, 0x7_0004), (EV_KEY, KEY_A, 1)]);
        frames.push(vec![(EV_MSC, MSC_SCAN, 0x7_0004), (EV_KEY, KEY_A, 0)]);
    }
    if has(EV_REL, REL_X) {
        frames.push(vec![(EV_REL, REL_X, n + 1), (EV_REL, REL_Y, -n - 1)]);
        frames.push(vec![(EV_REL, REL_WHEEL, -1), (EV_REL, REL_WHEEL_HI_RES, -120)]);
    }
    if has(EV_ABS, ABS_X) {
        // Far from the last value, for the kernel filters small moves.
        let axis = device.axes[&ABS_X];
        let third = (axis.maximum - axis.minimum) / 3;
        frames.push(vec![(EV_ABS, ABS_X, axis.minimum + third * (1 + n % 2))]);
    }
    if has(EV_ABS, ABS_MT_SLOT) {
        frames.push(vec![
            (EV_ABS, ABS_MT_SLOT, 1 + n % 2),
            (EV_ABS, ABS_MT_TRACKING_ID, 2 * n),
            (EV_ABS, ABS_MT_POSITION_X, 1000 * (1 + n % 3)),
        ]);
        frames.push(vec![(EV_ABS, ABS_MT_TRACKING_ID, -1)]);
    }
    frames
}

#[test]
fn events_of_each_device_arrive_in_frames_and_in_order_through_queues_of_each_size() {
    in_vm(|| {
        for kind in MACHINES {
            let mut desk = Desk::new();
            let devices =
                [&mut desk.keyboard, &mut desk.mouse, &mut desk.tablet, &mut desk.touch_screen, &mut desk.gamepad];
            for device in devices {
                let mut served = Served::boot_with(device, &[], machine(kind));
                let name = device.description().name.clone();
                for n in 0..20 {
                    for frame in script(&device.description().clone(), n) {
                        device.frame(&frame).unwrap();
                        assert_eq!(served.frame(), frame, "{name}, round {n}");
                    }
                }
            }
        }
    });
}

#[test]
fn what_is_held_and_touched_is_the_guests_to_know_at_boot_after_a_pause_and_after_a_reboot() {
    in_vm(|| {
        for kind in MACHINES {
            let (mut keyboard, mut screen) = (keyboard().unwrap(), touch_screen().unwrap());
            keyboard.press(KEY_LEFTSHIFT).unwrap();
            screen.frame(&TWO_FINGERS).unwrap();
            let (keys, touches) = (keyboard.open().unwrap(), screen.open().unwrap());
            let mut typing = Served::boot_with(&keyboard, &[], machine(kind));
            let mut touching = Served::boot_with(&screen, &[], machine(kind));
            typing.agree(&keys);
            touching.agree(&touches);
            assert_eq!((typing.guest.held(), touching.guest.contacts().len()), (vec![KEY_LEFTSHIFT], 2));

            typing.vm.pause().unwrap();
            touching.vm.pause().unwrap();
            keyboard.release(KEY_LEFTSHIFT).unwrap();
            keyboard.press(KEY_A).unwrap();
            screen.frame(&[(EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, ABS_MT_TRACKING_ID, 31)]).unwrap();
            screen.frame(&[(EV_ABS, ABS_MT_SLOT, 5), (EV_ABS, ABS_MT_TRACKING_ID, -1)]).unwrap();
            typing.vm.resume().unwrap();
            touching.vm.resume().unwrap();
            typing.agree(&keys);
            touching.agree(&touches);

            typing.vm.reboot().unwrap();
            touching.vm.reboot().unwrap();
            (typing.guest, touching.guest) = (typing.vm.guest(), touching.vm.guest());
            typing.agree(&keys);
            touching.agree(&touches);
            assert_eq!((typing.guest.held(), touching.guest.contacts().len()), (vec![KEY_A], 1));
        }
    });
}

#[test]
fn lights_reach_the_device_and_what_a_guest_sends_back_does_not() {
    in_vm(|| {
        for kind in MACHINES {
            let mut keyboard = keyboard().unwrap();
            let mut served = Served::boot_with(&keyboard, &[], machine(kind));
            // Linux sends each EV_MSC back that it was given; a device that got it would send it again.
            served.vm.driver.send_status(&[(EV_MSC, MSC_SCAN, 0x7_0004), (EV_LED, LED_CAPSL, 1)]).unwrap();
            assert_eq!(keyboard.next_told(until_soon()).unwrap(), (EV_LED, LED_CAPSL, 1));
            served.vm.driver.send_status(&[(EV_LED, LED_NUML, 1), (EV_LED, LED_CAPSL, 0)]).unwrap();
            assert_eq!(keyboard.next_told(until_soon()).unwrap(), (EV_LED, LED_NUML, 1));
            assert_eq!(keyboard.next_told(until_soon()).unwrap(), (EV_LED, LED_CAPSL, 0));
            assert_eq!(keyboard.open().unwrap().leds().unwrap(), [LED_NUML].into());
            keyboard.press(KEY_A).unwrap();
            assert_eq!(served.frame(), [(EV_KEY, KEY_A, 1)], "the light is no news to the guest");
        }
    });
}

#[test]
fn keys_are_not_repeated_twice() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut node = keyboard.open().unwrap();
        let mut served = Served::boot_with(&keyboard, &["--no-grab"], InputMachineOptions::qemu().unwrap());
        keyboard.press(KEY_A).unwrap();
        // Until the host's kernel has repeated it: another client sees that.
        while !node.next_frame(until_soon()).unwrap().contains(&(EV_KEY, KEY_A, 2)) {}
        keyboard.release(KEY_A).unwrap();
        assert_eq!(served.frame(), [(EV_KEY, KEY_A, 1)]);
        assert_eq!(served.frame(), [(EV_KEY, KEY_A, 0)]);
    });
}

/// Whatever happens while the program does not get to read.
fn while_it_sleeps(served: &Served, work: impl FnOnce()) {
    served.program.signal(Signal::SIGSTOP).unwrap();
    work();
    served.program.signal(Signal::SIGCONT).unwrap();
}

#[test]
fn what_the_kernel_dropped_is_made_good() {
    in_vm(|| {
        for kind in MACHINES {
            let mut keyboard = keyboard().unwrap();
            let node = keyboard.open().unwrap();
            let mut served = Served::boot_with(&keyboard, &[], machine(kind));
            keyboard.press(KEY_LEFTSHIFT).unwrap();
            served.agree(&node);
            while_it_sleeps(&served, || {
                keyboard.release(KEY_LEFTSHIFT).unwrap();
                (0..100).for_each(|_| keyboard.tap(KEY_A).unwrap());
                keyboard.press(KEY_S).unwrap();
            });
            served.agree(&node);
            assert_eq!(served.guest.held(), [KEY_S]);

            let mut screen = touch_screen().unwrap();
            let node = screen.open().unwrap();
            let mut served = Served::boot_with(&screen, &[], machine(kind));
            screen.frame(&TWO_FINGERS).unwrap();
            served.agree(&node);
            while_it_sleeps(&served, || {
                screen.frame(&[(EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, ABS_MT_TRACKING_ID, -1)]).unwrap();
                for n in 0..400 {
                    screen.frame(&[(EV_ABS, ABS_MT_SLOT, 5), (EV_ABS, ABS_MT_POSITION_X, 100 + n % 2 * 900)]).unwrap();
                }
                screen.frame(&[(EV_ABS, ABS_MT_TRACKING_ID, 51), (EV_ABS, ABS_MT_POSITION_Y, 77)]).unwrap();
            });
            served.agree(&node);
            let contacts = served.guest.contacts();
            assert_eq!(
                contacts.iter().map(|contact| (contact.slot, contact.tracking_id)).collect::<Vec<_>>(),
                [(5, 51)]
            );
        }
    });
}

#[test]
fn an_8_khz_mouse_loses_nothing() {
    in_vm(|| {
        let mut mouse: Device = mouse().unwrap();
        let mut served = Served::boot(&mouse);
        let (mut sent, mut received) = (0i64, 0i64);
        // As fast as the device can be made to send: it is waited for where the kernel's buffer would run over.
        for burst in 0..400 {
            for n in 1..=16 {
                mouse.frame(&[(EV_REL, REL_X, n), (EV_REL, REL_Y, 1 + burst % 7)]).unwrap();
                sent += i64::from(n);
            }
            while received < sent {
                let frame = served.frame();
                let x = frame.iter().find(|event| (event.0, event.1) == (EV_REL, REL_X)).unwrap();
                received += i64::from(x.2);
            }
        }
        assert_eq!(served.guest.motion(REL_X), sent);
    });
}
