//! A device that is pulled out, and comes back.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use nix::sys::stat::{Mode, SFlag, mknod};
use seat_frontend::machine::InputMachineOptions;
use seat_frontend::program::TempDir;
use seat_uinput::codes::*;
use seat_uinput::{Device, keyboard, mouse, touch_screen};

use super::{MACHINES, Served, TWO_FINGERS, listening, machine, soon};
use crate::in_vm;

/// A link as udev makes one in /dev/input/by-id.
struct Link {
    folder: TempDir,
}

impl Link {
    fn to(device: &Device) -> Link {
        let link = Link { folder: TempDir::new().unwrap() };
        link.point_to(device);
        link
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.join("by-id/usb-Seat-event-kbd")
    }

    fn point_to(&self, device: &Device) {
        self.point_at(device.node());
    }

    fn point_at(&self, node: &Path) {
        fs::create_dir(self.folder.join("by-id")).unwrap();
        symlink(node, self.path()).unwrap();
    }

    fn vanish(&self) {
        fs::remove_dir_all(self.folder.join("by-id")).unwrap();
    }
}

fn served_by(path: &Path, arguments: &[&str], machine: InputMachineOptions) -> Served {
    Served::on(listening(path, arguments), machine)
}

/// Waits until the program has said so, and returns all that it has said.
#[track_caller]
fn await_words(served: &mut Served, part: &str) -> String {
    let deadline = soon();
    loop {
        let words = served.program.stderr();
        if words.contains(part) {
            return words;
        }
        assert!(!deadline.passed() && served.program.is_running().unwrap(), "it has said: {words}");
        std::thread::yield_now();
    }
}

#[test]
fn keys_and_fingers_are_let_go_in_the_guest_and_one_line_says_why() {
    in_vm(|| {
        for kind in MACHINES {
            let mut keyboard = keyboard().unwrap();
            let node = keyboard.open().unwrap();
            let mut served = Served::boot_with(&keyboard, &[], machine(kind));
            [KEY_A, KEY_S, KEY_LEFTSHIFT].into_iter().for_each(|code| keyboard.press(code).unwrap());
            served.agree(&node);
            let path = keyboard.node().to_owned();
            keyboard.unplug();
            served.let_go();
            // The kernel itself lets go of keys, before the device is gone.
            let words = await_words(&mut served, "was unplugged");
            assert_eq!(words.lines().count(), 1, "{words}");
            assert!(words.contains(path.to_str().unwrap()), "{words}");

            let mut screen = touch_screen().unwrap();
            let node = screen.open().unwrap();
            let mut served = Served::boot_with(&screen, &[], machine(kind));
            screen.frame(&TWO_FINGERS).unwrap();
            served.agree(&node);
            screen.unplug();
            served.let_go();
        }
    });
}

#[test]
fn the_same_kind_of_device_is_taken_when_it_is_there_again() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let link = Link::to(&keyboard);
        let mut served = served_by(&link.path(), &[], InputMachineOptions::qemu().unwrap());
        served.vm.driver.send_status(&[(EV_LED, LED_NUML, 1)]).unwrap();
        for turn in 0..3 {
            keyboard.press(KEY_A).unwrap();
            let node = keyboard.open().unwrap();
            served.agree(&node);
            assert_eq!(served.guest.held(), [KEY_A]);
            keyboard.unplug();
            link.vanish();
            served.let_go();
            keyboard = seat_uinput::keyboard().unwrap();
            link.point_to(&keyboard);
            keyboard.press(KEY_S).unwrap();
            let node = keyboard.open().unwrap();
            served.agree(&node);
            assert_eq!(node.leds().unwrap(), [LED_NUML].into(), "turn {turn}: lit as the guest wants it");
            keyboard.release(KEY_S).unwrap();
            served.let_go();
        }
    });
}

#[test]
fn a_node_of_its_own_number_is_as_good_as_a_link() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let path = keyboard.node().to_owned();
        let mut served = Served::boot(&keyboard);
        keyboard.press(KEY_A).unwrap();
        served.agree(&keyboard.open().unwrap());
        keyboard.unplug();
        served.let_go();
        let mut again = seat_uinput::keyboard().unwrap();
        assert_eq!(again.node(), path, "the kernel gives the lowest number that is free");
        again.press(KEY_S).unwrap();
        served.agree(&again.open().unwrap());
    });
}

#[test]
fn another_kind_of_device_at_its_place_is_left_to_the_host() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let link = Link::to(&keyboard);
        let mut served = served_by(&link.path(), &[], InputMachineOptions::qemu().unwrap());
        keyboard.press(KEY_A).unwrap();
        served.agree(&keyboard.open().unwrap());
        keyboard.unplug();
        link.vanish();
        served.let_go();
        let mut stranger = mouse().unwrap();
        link.point_to(&stranger);
        stranger.frame(&[(EV_REL, REL_X, 5)]).unwrap();
        await_words(&mut served, "another kind of device");
        let node = stranger.open().unwrap();
        node.grab().expect("nobody has it");
        drop(node);
        stranger.unplug();
        link.vanish();
        let mut keyboard = seat_uinput::keyboard().unwrap();
        link.point_to(&keyboard);
        keyboard.press(KEY_S).unwrap();
        served.agree(&keyboard.open().unwrap());
    });
}

#[test]
fn nothing_is_burned_while_it_is_out() {
    in_vm(|| {
        let keyboard = keyboard().unwrap();
        let mut served = Served::boot(&keyboard);
        keyboard.unplug();
        await_words(&mut served, "was unplugged");
        // A loop that spins would not go to sleep after a message.
        for _ in 0..50 {
            let before = served.program.measure().unwrap().voluntary_switches;
            served.vm.front.get_features().unwrap();
            let deadline = soon();
            while served.program.measure().unwrap().voluntary_switches == before {
                assert!(!deadline.passed(), "it does not go to sleep");
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn the_program_ends_with_it_where_that_is_asked_for() {
    in_vm(|| {
        let mut keyboard = keyboard().unwrap();
        let node = keyboard.open().unwrap();
        let machine = InputMachineOptions::qemu().unwrap();
        let mut served = Served::boot_with(&keyboard, &["--exit-on-unplug"], machine);
        [KEY_A, KEY_S, KEY_LEFTSHIFT].into_iter().for_each(|code| keyboard.press(code).unwrap());
        served.agree(&node);
        keyboard.unplug();
        served.let_go();
        assert_eq!(served.program.wait(soon()).unwrap().code(), Some(1));
        let words = served.program.stderr();
        assert!(words.lines().count() == 1 && words.contains("was unplugged"), "{words}");
    });
}

/// Makes another node of the same device, in a folder of its own.
fn node_elsewhere(device: &Device) -> TempDir {
    let folder = TempDir::new().unwrap();
    let number = fs::metadata(device.node()).unwrap().rdev();
    mknod(&folder.join("event0"), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, number).unwrap();
    folder
}

#[test]
fn a_node_outside_of_the_folder_that_it_was_in_is_taken_without_sandbox_alone() {
    in_vm(|| {
        let has_landlock = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .is_ok();
        for (argument, is_taken) in [("--sandbox=require", false), ("--no-sandbox", true)] {
            if argument == "--sandbox=require" && !has_landlock {
                continue;
            }
            let keyboard = keyboard().unwrap();
            let link = Link::to(&keyboard);
            let machine = InputMachineOptions::qemu().unwrap();
            let mut served = served_by(&link.path(), &[argument, "--log-level=debug"], machine);
            keyboard.unplug();
            await_words(&mut served, "was unplugged");
            link.vanish();
            let mut keyboard = seat_uinput::keyboard().unwrap();
            keyboard.press(KEY_S).unwrap();
            let elsewhere = node_elsewhere(&keyboard);
            link.point_at(&elsewhere.join("event0"));
            if is_taken {
                served.agree(&keyboard.open().unwrap());
            } else {
                await_words(&mut served, "is not back: Permission denied");
            }
        }
    });
}

#[test]
fn a_device_alone_in_its_folder_is_warned_of_once_and_taken_again_while_that_stays() {
    in_vm(|| {
        let keyboard = keyboard().unwrap();
        let folder = node_elsewhere(&keyboard);
        let path = folder.join("event0");
        let mut served = served_by(&path, &[], InputMachineOptions::qemu().unwrap());
        let words = await_words(&mut served, "is alone in");
        assert_eq!(words.lines().count(), 1, "{words}");
        keyboard.unplug();
        fs::remove_file(&path).unwrap();
        await_words(&mut served, "was unplugged");
        let mut keyboard = seat_uinput::keyboard().unwrap();
        keyboard.press(KEY_S).unwrap();
        let number = fs::metadata(keyboard.node()).unwrap().rdev();
        mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, number).unwrap();
        served.agree(&keyboard.open().unwrap());
    });
}
