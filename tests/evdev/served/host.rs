//! What the host keeps of a device, and what the program says when it can't have it.

use std::collections::BTreeSet;

use seat_frontend::machine::InputMachineOptions;
use seat_frontend::program::{Program, TempDir};
use seat_uinput::codes::*;
use seat_uinput::{Device, Node, keyboard, soon as until_soon, touch_screen};

use super::{BINARY, Served, TWO_FINGERS, boot_on, listening, soon, truth};
use crate::in_vm;

/// What another program on the host believes to be held.
struct Host {
    node: Node,
    held: BTreeSet<u16>,
}

impl Host {
    fn of(device: &Device) -> Host {
        Host { node: device.open().unwrap(), held: BTreeSet::new() }
    }

    /// Waits until it believes so.
    #[track_caller]
    fn assert_holds(&mut self, keys: &[u16]) {
        let expected: BTreeSet<u16> = keys.iter().copied().collect();
        while self.held != expected {
            let frame = self.node.next_frame(until_soon());
            let frame = frame.unwrap_or_else(|error| panic!("{error}: it holds {:?}, not {keys:?}", self.held));
            for (kind, code, value) in frame {
                match (kind, value) {
                    (EV_KEY, 0) => drop(self.held.remove(&code)),
                    (EV_KEY, 1) => drop(self.held.insert(code)),
                    _ => {}
                }
            }
        }
    }
}

fn is_grabbed(device: &Device) -> bool {
    let node = device.open().unwrap();
    match node.grab() {
        Ok(()) => {
            node.ungrab().unwrap();
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
            true
        }
    }
}

#[test]
fn the_guest_has_the_device_alone_and_neither_side_believes_what_is_not_so() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut host = Host::of(&keyboard);
        let mut program = listening(keyboard.node(), &[]);
        assert!(!is_grabbed(&keyboard), "nobody is connected");
        keyboard.press(KEY_A).unwrap();
        host.assert_holds(&[KEY_A]);

        let vm = boot_on(&program, InputMachineOptions::qemu().unwrap());
        let mut served = Served { guest: vm.guest(), vm, program };
        assert!(is_grabbed(&keyboard));
        host.assert_holds(&[]);
        served.agree(&host.node);
        assert_eq!(served.guest.held(), [KEY_A], "the key is down, and nobody has let it go");
        keyboard.press(KEY_S).unwrap();
        keyboard.release(KEY_A).unwrap();
        served.agree(&host.node);
        assert_eq!(host.node.frame_at_hand().unwrap(), None, "it is no business of the host's");

        program = served.program;
        served.vm.quit().unwrap();
        host.assert_holds(&[KEY_S]);
        assert!(!is_grabbed(&keyboard));
        keyboard.release(KEY_S).unwrap();
        host.assert_holds(&[]);
        assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
    });
}

#[test]
fn fingers_change_hands_without_leaving_the_screen() {
    in_vm(|| {
        let mut screen = touch_screen().unwrap();
        screen.frame(&TWO_FINGERS).unwrap();
        let mut host = screen.open().unwrap();
        let before = truth(&host);
        let mut served = Served::boot(&screen);
        let ended = host.next_frame(until_soon()).unwrap();
        let ids = ended.iter().filter(|event| event.1 == ABS_MT_TRACKING_ID && event.0 == EV_ABS);
        assert_eq!(ids.map(|event| event.2).collect::<Vec<_>>(), [-1, -1], "both are gone for the host");
        assert!(ended.contains(&(EV_KEY, BTN_TOUCH, 0)));
        assert_eq!(truth(&host).difference(&before), None, "nothing has changed in truth");
        served.agree(&host);
        assert_eq!(served.guest.contacts().len(), 2);
        screen.frame(&[(EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, ABS_MT_POSITION_X, 50)]).unwrap();
        served.agree(&host);
    });
}

#[test]
fn without_grab_the_host_reads_on() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut host = Host::of(&keyboard);
        let mut served = Served::boot_with(&keyboard, &["--no-grab"], InputMachineOptions::qemu().unwrap());
        assert!(!is_grabbed(&keyboard));
        keyboard.press(KEY_A).unwrap();
        host.assert_holds(&[KEY_A]);
        served.agree(&host.node);
        assert_eq!(served.guest.held(), [KEY_A]);
    });
}

#[test]
fn the_hotkey_gives_the_keyboard_to_the_host_and_back() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut host = Host::of(&keyboard);
        let machine = InputMachineOptions::qemu().unwrap();
        let mut served = Served::boot_with(&keyboard, &["--grab-toggle=ctrl-ctrl"], machine);
        let chord = |keyboard: &mut Device| {
            for code in [KEY_LEFTCTRL, KEY_RIGHTCTRL] {
                keyboard.press(code).unwrap();
            }
            for code in [KEY_LEFTCTRL, KEY_RIGHTCTRL] {
                keyboard.release(code).unwrap();
            }
        };
        keyboard.press(KEY_LEFTSHIFT).unwrap();
        served.agree(&host.node);
        chord(&mut keyboard);
        host.assert_holds(&[KEY_LEFTSHIFT]);
        served.let_go();
        assert!(!is_grabbed(&keyboard));

        chord(&mut keyboard);
        host.assert_holds(&[]);
        // In truth too it is up for a moment, while the device changes hands.
        served.vm.driver.feed(&mut served.guest, soon(), |guest| guest.held() == [KEY_LEFTSHIFT]).unwrap();
        served.agree(&host.node);
        assert!(is_grabbed(&keyboard));
    });
}

#[test]
fn a_program_that_ends_leaves_the_guest_nothing_and_the_host_what_is_held() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let mut host = Host::of(&keyboard);
        let mut served = Served::boot(&keyboard);
        keyboard.press(KEY_A).unwrap();
        served.agree(&host.node);
        assert_eq!(served.program.terminate(soon()).unwrap().code(), Some(0));
        served.let_go();
        host.assert_holds(&[KEY_A]);
    });
}

/// Runs the program with this path to its end, which must be an early one, and gives its words.
#[track_caller]
fn refused(path: &str) -> String {
    let folder = TempDir::new().unwrap();
    let socket = format!("--socket-path={}", folder.join("socket").display());
    let mut program = Program::spawn(BINARY, [socket.as_str(), &format!("--evdev-path={path}")]).unwrap();
    assert_eq!(program.wait(soon()).unwrap().code(), Some(1));
    assert!(!folder.join("socket").exists());
    let words = program.stderr();
    assert_eq!(words.lines().count(), 1, "{words}");
    words
}

#[test]
fn a_device_that_cannot_be_had_is_an_early_error_that_says_why() {
    in_vm(|| {
        let keyboard = keyboard().unwrap();
        let path = keyboard.node().to_str().unwrap().to_owned();
        let other = keyboard.open().unwrap();
        other.grab().unwrap();
        let words = refused(&path);
        assert!(words.contains(&path) && words.contains("another program has grabbed it"), "{words}");
        other.ungrab().unwrap();

        let served = Served::boot(&keyboard);
        assert!(refused(&path).contains("another program has grabbed it"), "a second one of ours");
        drop(served);

        keyboard.unplug();
        let words = refused(&path);
        assert!(words.contains(&path) && words.contains("No such file"), "{words}");
        assert!(refused("/dev/uinput").contains("not an evdev device"));
    });
}
