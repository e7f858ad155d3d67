//! `vhost-user-input`: the rules for all back-end programs, and its own options.

mod evdev_path;
mod in_guest;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use seat_uinput::Device;

use super::*;

before_serving!(crate::input::here, crate::input::without_device);

/// It needs nothing that this machine may not have.
fn here(test: impl FnOnce()) {
    test();
}

const NOWHERE: &str = "/nowhere/event0";

/// The program with a path where no device is, for all that comes before it is opened.
fn without_device() -> Subject {
    Subject { another: without_device, ..on(Path::new(NOWHERE), None) }
}

/// The program with a keyboard of its own. That takes a machine that has uinput.
fn with_keyboard() -> Subject {
    let keyboard = seat_uinput::keyboard().unwrap();
    let path = keyboard.node().to_owned();
    Subject { another: with_keyboard, ..on(&path, Some(keyboard)) }
}

fn on(path: &Path, device: Option<Device>) -> Subject {
    Subject {
        name: "vhost-user-input",
        binary: env!("CARGO_BIN_EXE_vhost-user-input"),
        device_type: "input",
        known_features: &["evdev-path", "no-grab"],
        own_options: &["--evdev-path=PATH", "--no-grab", "--exit-on-unplug", "--grab-toggle=KEYS"],
        arguments: vec![format!("--evdev-path={}", path.display())],
        _device: device,
        another: without_device,
    }
}

/// The line makes sense: the program comes as far as opening the device that is not there.
#[track_caller]
fn assert_taken(line: &[&str]) {
    let (_folder, path) = place();
    let socket = subject::socket_path(&path);
    let mut arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
    arguments.push(socket);
    without_device().run_alone(&arguments).assert_refused(1, NOWHERE);
    assert!(!path.exists());
}

#[test]
fn it_can_be_given_a_path_and_not_to_grab_whatever_stands_beside_print_capabilities() {
    let lines: [&[&str]; 5] = [
        &["--print-capabilities"],
        &["--evdev-path=/nowhere", "--print-capabilities"],
        &["--evdev-path", "--print-capabilities"],
        &["--no-grab=maybe", "--print-capabilities", "--grab-toggle=thumb"],
        &["--no-grab", "--grab-toggle=scrolllock", "--print-capabilities", "--exit-on-unplug", "--virgl"],
    ];
    for line in lines {
        let subject = without_device();
        let features = crate::capabilities::assert_printed(&subject, &subject.run_alone(line));
        assert_eq!(features, ["evdev-path", "no-grab"], "{line:?}");
    }
}

#[test]
fn a_line_without_a_device_is_refused() {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    for line in [&[socket.as_str()][..], &["--fd=99"], &[&socket, "--no-grab", "--exit-on-unplug"]] {
        without_device().run_alone(line).assert_refused(2, "--evdev-path=PATH is missing");
    }
    assert!(!path.exists());
}

#[test]
fn options_that_make_no_sense_are_named_in_one_line() {
    let names = ["ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"];
    let refused = |line: &[&str], part: &str| without_device().run(line).assert_refused(2, part);
    for value in ["", "thumb", "ctrl", "CTRL-CTRL", "scroll-lock", "ctrl-ctrl "] {
        let argument = format!("--grab-toggle={value}");
        for name in names {
            refused(&["--fd=3", &argument], name);
        }
        refused(&["--fd=3", &argument], &format!("--grab-toggle={value:?}"));
    }
    refused(&["--fd=3", "--grab-toggle"], "--grab-toggle");
    refused(&["--fd=3", "--evdev-path"], "--evdev-path");
    refused(&["--fd=3", "--evdev-path=/dev/input/event1"], "twice");
    refused(&["--fd=3", "--no-grab", "--no-grab"], "twice");
    refused(&["--fd=3", "--exit-on-unplug", "--exit-on-unplug"], "twice");
    refused(&["--fd=3", "--grab-toggle=alt-alt", "--grab-toggle=alt-alt"], "twice");
    refused(&["--fd=3", "--max-hostmem=1G"], "--max-hostmem");
    let no_text = OsString::from_vec(b"--grab-toggle=\xff".to_vec());
    without_device().run(&[OsString::from("--fd=3"), no_text]).assert_refused(2, "--grab-toggle");
}

#[test]
fn a_flag_that_is_given_a_value_is_refused() {
    for flag in ["--no-grab", "--exit-on-unplug"] {
        for value in ["yes", "no", ""] {
            without_device().run(&["--fd=3", &format!("{flag}={value}")]).assert_refused(2, flag);
        }
        // An argument of its own is not its value either.
        without_device().run(&["--fd=3", flag, "yes"]).assert_refused(2, "yes");
    }
}

#[test]
fn a_hotkey_for_a_device_that_is_never_grabbed_is_refused() {
    for line in [["--no-grab", "--grab-toggle=ctrl-ctrl"], ["--grab-toggle=scrolllock", "--no-grab"]] {
        let ran = without_device().run(&[line[0], "--fd=3", line[1]]);
        ran.assert_refused(2, "--no-grab and --grab-toggle exclude each other");
    }
}

#[test]
fn every_option_is_taken_with_its_value_after_a_sign_or_as_the_next_argument() {
    let path = format!("--evdev-path={NOWHERE}");
    assert_taken(&[&path]);
    assert_taken(&["--evdev-path", NOWHERE]);
    assert_taken(&["--no-grab", "--evdev-path", NOWHERE, "--exit-on-unplug"]);
    for keys in ["ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"] {
        assert_taken(&[&path, &format!("--grab-toggle={keys}"), "--exit-on-unplug"]);
        assert_taken(&["--grab-toggle", keys, &path]);
    }
    for level in ["error", "warn", "info", "debug", "trace"] {
        assert_taken(&["--log-level", level, &path]);
    }
}
