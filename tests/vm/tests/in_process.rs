//! The laboratory shown with QEMU's own gpu, which is known to work: what fails here is the laboratory's fault.

use std::time::Duration;

use seat_vm::{Config, Gpu, Image, Lab, Rect, Vm};

/// What every test compares with; an odd width as well as a plain one.
const PLAIN: (u32, u32) = (1280, 800);
const ODD: (u32, u32) = (1366, 769);

fn boot(config: Config) -> Option<Vm> {
    Lab::for_test().map(|lab| config.boot(lab).unwrap())
}

fn text(image: &Image) -> Option<String> {
    (image.colours() < 2 || image.lit() < 200).then(|| format!("no text: {} pixels are lit", image.lit()))
}

#[test]
fn the_text_console_comes_first_then_pictures_and_their_changes() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess)) else { return };
    vm.wait_picture(0, text).unwrap();

    for (width, height) in [PLAIN, ODD] {
        vm.guest(&format!("show 7 {width}x{height} 0={width}x{height}+0+0")).unwrap();
        let mut expected = Image::picture(7, width, height);
        vm.wait_screen(0, &expected).unwrap();

        vm.guest("paint 0 8 101 203 33 17").unwrap();
        expected.paint(8, Rect::new(101, 203, 33, 17));
        vm.wait_screen(0, &expected).unwrap();
    }

    vm.guest("release").unwrap();
    vm.wait_picture(0, text).unwrap();
    assert!(vm.power_off().unwrap().success());
}

#[test]
fn a_second_head_is_plugged_resized_and_unplugged_by_its_window() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess).max_outputs(2).dbus()) else { return };
    let heads = vm.guest("list").unwrap();
    assert_eq!((&heads[0]["connected"], &heads[1]["connected"]), (&true.into(), &false.into()));

    for (width, height) in [(1366, 700), (800, 600)] {
        vm.set_ui_info(1, width, height).unwrap();
        let preferred = format!("{width}x{height}*");
        vm.guest_until("list", |l| l[1]["connected"] == true && l[1]["modes"][0] == *preferred).unwrap();
    }
    // One buffer across both, the second head in the middle of it.
    vm.guest("show 3 1600x900 0=1280x800+0+0 1=800x600+700+250").unwrap();
    let whole = Image::picture(3, 1600, 900);
    vm.wait_screen(0, &whole.crop(Rect::new(0, 0, 1280, 800))).unwrap();
    vm.wait_screen(1, &whole.crop(Rect::new(700, 250, 800, 600))).unwrap();
    // Both on the same part.
    vm.guest("show 4 800x600 0=800x600+0+0 1=800x600+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(4, 800, 600)).unwrap();
    vm.wait_screen(1, &Image::picture(4, 800, 600)).unwrap();

    assert_eq!(vm.guest("list").unwrap()[1]["enabled"], true);

    vm.set_ui_info(1, 0, 0).unwrap();
    vm.guest_until("list", |l| l[1]["connected"] == false).unwrap();
    vm.guest("off 1").unwrap();
    assert_eq!(vm.guest("list").unwrap()[1]["enabled"], false);
}

#[test]
fn the_guest_reboots_resets_and_gets_its_driver_back() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess).reboots().resolution(1024, 768)) else { return };
    for round in 0..3 {
        match round {
            0 => {}
            1 => vm.reset().unwrap(),
            _ => vm.reboot().unwrap(),
        }
        let heads = vm.guest("list").unwrap();
        assert_eq!(heads[0]["modes"][0], "1024x768*");
        vm.guest(&format!("show {round} 1024x768 0=1024x768+0+0")).unwrap();
        vm.wait_screen(0, &Image::picture(round, 1024, 768)).unwrap();
    }
    vm.guest("rebind").unwrap();
    vm.guest("show 9 640x480 0=640x480+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(9, 640, 480)).unwrap();
}

#[test]
fn a_stopped_machine_keeps_its_picture_and_goes_on() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess)) else { return };
    vm.guest("show 5 640x480 0=640x480+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(5, 640, 480)).unwrap();
    vm.qmp("stop", seat_vm::json!({})).unwrap();
    vm.wait_event("STOP").unwrap();
    vm.wait_screen(0, &Image::picture(5, 640, 480)).unwrap();
    vm.qmp("cont", seat_vm::json!({})).unwrap();
    vm.wait_event("RESUME").unwrap();
    vm.guest("paint 0 6 0 0 640 480").unwrap();
    vm.wait_screen(0, &Image::picture(6, 640, 480)).unwrap();
}

#[test]
fn cursor_facts_and_benches_are_answered() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess).no_text_console()) else { return };
    let device = vm.guest("device").unwrap();
    assert_eq!(device["pci"], "1af4:1050");
    assert!(device["features"].as_array().unwrap().contains(&32.into()), "{device}");
    assert!(!vm.guest("dmesg 20").unwrap().as_array().unwrap().is_empty());
    vm.guest("console hello").unwrap();

    vm.guest("show 1 640x480 0=640x480+0+0").unwrap();
    for command in ["cursor 0 1 3 4", "move 0 100 100", "move 0 -5 479", "sync 0", "hide 0", "sync 0"] {
        assert!(vm.guest(command).unwrap().is_null(), "{command}");
    }
    for bench in ["flip-bench 0 31 all", "flip-bench 0 31 small", "dirty-bench 0 31 all", "dirty-bench 0 31 small"] {
        let answer = vm.guest(bench).unwrap();
        assert_eq!(answer["frames"], 31);
        assert!(answer["ns"].as_u64().unwrap() > 0);
    }
    vm.guest("show 2 640x480 0=640x480+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(2, 640, 480)).unwrap();
}

#[test]
fn a_wrong_screen_is_told_with_place_and_picture() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess)) else { return };
    vm.guest("show 5 640x480 0=640x480+0+0").unwrap();
    vm.guest("paint 0 6 600 400 1 1").unwrap();
    vm.sync(0).unwrap();
    vm.set_patience(Duration::from_secs(1));
    let error = vm.wait_screen(0, &Image::picture(5, 640, 480)).unwrap_err().to_string();
    assert!(error.contains("1 of 307200 pixels differ, within 600,400 to 600,400"), "{error}");
    let file = error.split("the screen is in ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    assert!(std::fs::read(file).unwrap().starts_with(b"\x89PNG"));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn bad_commands_are_refused_and_the_next_one_works() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess)) else { return };
    for bad in ["nonsense", "show", "show 1 640x480 9=1x1+0+0", "show 1 0x0", "paint 0 1 0 0 1 1", "cursor 0", "off 7"]
    {
        assert!(vm.guest(bad).unwrap_err().is_refusal(), "{bad}");
    }
    assert!(vm.qmp("no-such-command", seat_vm::json!({})).unwrap_err().is_refusal());
    assert_eq!(vm.guest("ping").unwrap(), "pong");
    vm.kill().unwrap();
    assert!(!vm.guest("ping").unwrap_err().is_refusal());
}

#[test]
fn a_guest_that_crashes_ends_qemu_and_the_error_shows_its_console() {
    let Some(mut vm) = boot(Config::new(Gpu::InProcess).patience(Duration::from_secs(30))) else { return };
    vm.guest("crash").unwrap();
    vm.wait_exit().unwrap();
    let error = vm.guest("ping").unwrap_err().to_string();
    assert!(error.contains("QEMU has ended") && error.contains("--- guest console"), "{error}");
    assert!(vm.console().text().contains("Kernel panic"), "{error}");
}

#[test]
fn a_qemu_that_does_not_start_says_why_at_once() {
    let Some(lab) = Lab::for_test() else { return };
    let error = Config::new(Gpu::vhost_user("/nowhere/to/be/found")).start(lab).err().unwrap().to_string();
    assert!(error.contains("Failed to connect to '/nowhere/to/be/found'"), "{error}");
}
