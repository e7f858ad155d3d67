//! One head: what the guest draws is what is seen, and what it is told of its screen.

use std::fs;
use std::path::Path;

use seat_vm::{Config, Gpu, Image, Rect, Value, picture};

use crate::seat::{Seat, no_text};

/// A usual size, and one whose width is no multiple of anything.
const SIZES: [(u32, u32); 2] = [(1280, 800), (1366, 769)];
const SMALL: (u32, u32) = (640, 480);

#[test]
fn the_text_console_is_seen_before_and_after_pictures() {
    let Some(mut seat) = Seat::boot(|config| config) else { return };
    seat.vm.wait_picture(0, no_text).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).unwrap();
    // For a human eye.
    seat.vm.screendump_png(0, &folder.join("guest-console.png")).unwrap();

    let before = seat.vm.screendump(0).unwrap();
    seat.vm.guest("console more text").unwrap();
    seat.vm.wait_picture(0, |screen| (screen.lit() <= before.lit()).then(|| "no more text".to_owned())).unwrap();
    seat.show(7, SMALL);
    seat.vm.guest("release").unwrap();
    seat.vm.wait_picture(0, no_text).unwrap();
    assert_eq!(seat.vm.screendump(0).unwrap().width, 1280);
    seat.assert_content();
}

#[test]
fn pictures_and_their_changes_are_shown_in_every_pixel() {
    let Some(mut seat) = Seat::boot(|config| config) else { return };
    for size in SIZES {
        let mut expected = seat.show(7, size);
        let corner = Rect::new(size.0 - 5, size.1 - 3, 5, 3);
        for (seed, rect) in (8..).zip([Rect::new(101, 203, 33, 17), Rect::new(0, 0, 1, 1), corner]) {
            seat.vm.guest(&format!("paint 0 {seed} {} {} {} {}", rect.x, rect.y, rect.width, rect.height)).unwrap();
            expected.paint(seed, rect);
            seat.vm.wait_screen(0, &expected).unwrap();
        }
    }
    seat.assert_content();
}

#[test]
fn a_vga_shows_pictures_too() {
    let Some(mut seat) = Seat::boot_on(|backend| Gpu::vhost_user_vga(backend.socket()), |config| config) else {
        return;
    };
    assert_eq!(seat.vm.guest("device").unwrap()["class"], "0x030000");
    seat.vm.wait_picture(0, no_text).unwrap();
    let mut expected = seat.show(7, SIZES[1]);
    seat.vm.guest("paint 0 8 101 203 33 17").unwrap();
    expected.paint(8, Rect::new(101, 203, 33, 17));
    seat.vm.wait_screen(0, &expected).unwrap();
    seat.assert_content();
}

#[test]
fn the_last_of_many_frames_stays_on_the_screen() {
    let Some(mut seat) = Seat::boot(Config::no_text_console) else { return };
    // Between two buffers that differ everywhere, by an odd and an even number of flips.
    seat.show(1, SIZES[0]);
    seat.vm.guest("flip-bench 0 301 all").unwrap();
    seat.vm.wait_screen(0, &Image::picture(picture::FLIP_SEED, 1280, 800)).unwrap();
    seat.show(2, SIZES[0]);
    seat.vm.guest("flip-bench 0 300 all").unwrap();
    seat.vm.wait_screen(0, &Image::picture(2, 1280, 800)).unwrap();
    // Between two that differ in a square.
    let mut expected = seat.show(3, SIZES[1]);
    seat.vm.guest("flip-bench 0 777 small").unwrap();
    expected.fill(picture::frame_colour(776), Rect::new(0, 0, 16, 16));
    seat.vm.wait_screen(0, &expected).unwrap();
    // In one buffer: a square that wanders, and all of it.
    let mut expected = seat.show(4, SMALL);
    seat.vm.guest("dirty-bench 0 50 small").unwrap();
    for frame in 0..50 {
        let (x, y) = (frame % 40 * 16, frame / 40 * 16);
        expected.fill(picture::frame_colour(frame), Rect::new(x, y, 16, 16));
    }
    seat.vm.wait_screen(0, &expected).unwrap();
    seat.vm.guest("dirty-bench 0 100 all").unwrap();
    expected.fill(picture::frame_colour(99), Rect::of_size(640, 480));
    seat.vm.wait_screen(0, &expected).unwrap();
    seat.assert_content();
}

#[test]
fn pixels_that_did_not_change_are_not_sent() {
    let Some(mut seat) = Seat::boot(Config::no_text_console) else { return };
    seat.show(1, (1920, 1080));
    // The kernel flushes the whole screen for each of these.
    seat.vm.guest("flip-bench 0 100 small").unwrap();
    seat.vm.guest("dirty-bench 0 100 small").unwrap();
    seat.vm.power_off().unwrap();
    let said = seat.backend.wait_for_log("a display is gone that got ").unwrap();
    let sent: u64 = said.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    let once = 1920 * 1080 * 4;
    assert!((once..once + 200 * 8192).contains(&sent), "{sent} bytes were sent");
}

#[test]
fn cursors_are_taken_and_the_guest_goes_on() {
    let Some(mut seat) = Seat::boot(|config| config) else { return };
    let picture = seat.show(1, SMALL);
    for command in
        ["cursor 0 1 3 4", "move 0 100 100", "move 0 -5 479", "cursor 0 2 0 63", "sync 0", "hide 0", "sync 0"]
    {
        assert!(seat.vm.guest(command).unwrap().is_null(), "{command}");
    }
    for step in 0..200 {
        seat.vm.guest(&format!("move 0 {} {}", step * 3, step * 2)).unwrap();
    }
    seat.vm.sync(0).unwrap();
    // It is no part of the picture.
    assert_eq!(seat.vm.screendump(0).unwrap().difference(&picture), None);
    seat.show(2, SMALL);
    seat.assert_content();
}

#[test]
fn the_guest_sees_a_virtio_gpu_with_what_we_offer() {
    let Some(mut seat) = Seat::boot(|config| config.max_outputs(4)) else { return };
    let device = seat.vm.guest("device").unwrap();
    assert_eq!((&device["pci"], &device["driver"]), (&"1af4:1050".into(), &true.into()));
    let has = |bit: u32| device["features"].as_array().unwrap().contains(&bit.into());
    // EDID, INDIRECT_DESC, EVENT_IDX, VERSION_1; neither VIRGL nor RESOURCE_BLOB.
    assert!([1, 28, 29, 32].into_iter().all(has), "{device}");
    assert!(![0, 3].into_iter().any(has), "{device}");

    let heads = seat.vm.guest("list").unwrap();
    let connected: Vec<&Value> = heads.as_array().unwrap().iter().map(|head| &head["connected"]).collect();
    assert_eq!(connected, [true, false, false, false]);
    seat.assert_content();
}

#[test]
fn the_preferred_mode_is_what_qemu_was_told() {
    let Some(mut seat) = Seat::boot(|config| config.resolution(1440, 900)) else { return };
    // The text console takes it by itself.
    seat.vm.wait_picture(0, no_text).unwrap();
    let screen = seat.vm.screendump(0).unwrap();
    assert_eq!((screen.width, screen.height), (1440, 900));
    let head = &seat.vm.guest("list").unwrap()[0];
    assert_eq!(head["modes"][0], "1440x900*");
    let edid = head["edid"].as_str().unwrap();
    // Its fixed beginning, then QEMU's three letters ("RHT") as the manufacturer: it is the front end's own EDID.
    assert!(edid.starts_with("00ffffffffffff004914"), "{edid}");
    assert_eq!(edid.len() % 256, 0);
    seat.assert_content();
}
