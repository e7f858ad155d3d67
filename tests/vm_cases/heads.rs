//! Two heads, plugged and resized by windows while the guest runs.

use seat_vm::{Image, Rect, Vm};

use crate::seat::Seat;

/// A window of that size is opened, or dragged to it; the guest is told by its EDID.
fn plug(vm: &mut Vm, head: u8, (width, height): (u32, u32)) {
    vm.set_ui_info(head.into(), width, height).unwrap();
    let preferred = format!("{width}x{height}*");
    let head = usize::from(head);
    vm.guest_until("list", |heads| heads[head]["connected"] == true && heads[head]["modes"][0] == *preferred).unwrap();
}

fn unplug(vm: &mut Vm, head: u8) {
    vm.set_ui_info(head.into(), 0, 0).unwrap();
    vm.guest_until("list", |heads| heads[usize::from(head)]["connected"] == false).unwrap();
}

#[test]
fn a_head_is_plugged_resized_and_unplugged_by_its_window() {
    let Some(mut seat) = Seat::boot(|config| config.max_outputs(2).dbus()) else { return };
    let vm = &mut seat.vm;
    assert_eq!(vm.guest("list").unwrap()[1]["connected"], false);
    vm.guest("show 1 1280x800 0=1280x800+0+0").unwrap();
    for (seed, (width, height)) in (2..).zip([(1366, 700), (800, 600), (1920, 1080)]) {
        plug(vm, 1, (width, height));
        vm.guest(&format!("show {seed} {width}x{height} 1={width}x{height}+0+0")).unwrap();
        vm.wait_screen(1, &Image::picture(seed, width, height)).unwrap();
    }
    // The other head as well, while it shows something.
    plug(vm, 0, (1024, 768));
    vm.guest("show 9 1024x768 0=1024x768+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(9, 1024, 768)).unwrap();

    unplug(vm, 1);
    vm.guest("off 1").unwrap();
    assert_eq!(vm.guest("list").unwrap()[1]["enabled"], false);
    vm.guest("paint 0 10 0 0 1024 768").unwrap();
    vm.wait_screen(0, &Image::picture(10, 1024, 768)).unwrap();
    // And again.
    plug(vm, 1, (640, 480));
    vm.guest("show 11 640x480 1=640x480+0+0").unwrap();
    vm.wait_screen(1, &Image::picture(11, 640, 480)).unwrap();
    vm.wait_screen(0, &Image::picture(10, 1024, 768)).unwrap();
    seat.assert_content();
}

#[test]
fn two_heads_show_two_pictures_or_two_parts_of_one_or_the_same() {
    let Some(mut seat) = Seat::boot(|config| config.max_outputs(2).dbus()) else { return };
    let vm = &mut seat.vm;
    plug(vm, 1, (800, 600));
    vm.guest("show 1 1280x800 0=1280x800+0+0").unwrap();
    vm.guest("show 2 800x600 1=800x600+0+0").unwrap();
    let (mut first, second) = (Image::picture(1, 1280, 800), Image::picture(2, 800, 600));
    vm.wait_screen(0, &first).unwrap();
    vm.wait_screen(1, &second).unwrap();
    // A change of one is no change of the other.
    vm.guest("paint 0 3 50 60 70 80").unwrap();
    first.paint(3, Rect::new(50, 60, 70, 80));
    vm.wait_screen(0, &first).unwrap();
    assert_eq!(vm.screendump(1).unwrap().difference(&second), None);

    // One buffer across both: the second begins inside of it, at places that are no multiples of anything, and the
    // parts overlap.
    vm.guest("show 4 1600x900 0=1280x800+0+0 1=800x600+777+255").unwrap();
    let mut whole = Image::picture(4, 1600, 900);
    let parts = [Rect::new(0, 0, 1280, 800), Rect::new(777, 255, 800, 600)];
    for (head, part) in (0..).zip(parts) {
        vm.wait_screen(head, &whole.crop(part)).unwrap();
    }
    vm.guest("paint 0 5 1200 700 300 150").unwrap();
    whole.paint(5, Rect::new(1200, 700, 300, 150));
    for (head, part) in (0..).zip(parts) {
        vm.wait_screen(head, &whole.crop(part)).unwrap();
    }

    // Both on the same part.
    vm.guest("show 6 800x600 0=800x600+0+0 1=800x600+0+0").unwrap();
    let mut mirrored = Image::picture(6, 800, 600);
    vm.guest("paint 1 7 300 200 99 55").unwrap();
    mirrored.paint(7, Rect::new(300, 200, 99, 55));
    vm.wait_screen(0, &mirrored).unwrap();
    vm.wait_screen(1, &mirrored).unwrap();
    // One leaves; the other keeps the buffer.
    vm.guest("off 0").unwrap();
    vm.guest("paint 1 8 0 0 800 600").unwrap();
    vm.wait_screen(1, &Image::picture(8, 800, 600)).unwrap();
    seat.assert_content();
}
