//! Pictures by DMABUF, with the program and the kernel's own buffers. These tests run in a guest that has `/dev/udmabuf` (see
//! `InVm` of the package `seat-vm`); a machine without the laboratory says so and passes them, in CI they fail.

use seat_frontend::display::message as number;
use seat_frontend::gpu::{Backing, Rect, format};
use seat_frontend::machine::GpuMachine;
use seat_vm::InVm;

use crate::common::canvas::{Canvas, await_picture, canvas_on_screen, shows};
use crate::common::picture::{Picture, shown};
use crate::common::{Seat, await_display_features, await_kicks_seen, boot_with, options, roomy_options, soon};
use crate::dmabuf::{await_dmabuf, canvas_on};

static GUEST: InVm = InVm::new().filters(&["udmabuf::"]);

/// A guest's guest on a program that shows by DMABUF, in its sandbox.
fn boot() -> Seat {
    let seat = boot_with(&["--display=dmabuf", "--sandbox=require"], options());
    await_display_features(&seat.vm);
    seat
}

#[test]
fn what_is_drawn_is_in_the_buffer_that_the_display_has() {
    GUEST.run(|| {
        let Seat { program, mut vm } = boot();
        let mut canvas = canvas_on(&mut vm, 0, 1, 333, 222);
        for seed in 0..5 {
            canvas.draw(Picture::noise(333, 222, seed));
            canvas.present(&mut vm.driver, Rect::new(0, 0, 333, 222));
            await_dmabuf(&vm, 0, &canvas.picture);
        }
        let other = canvas_on(&mut vm, 0, 2, 640, 480);
        await_dmabuf(&vm, 0, &other.picture);
        canvas.put_on(&mut vm.driver, 0);
        await_dmabuf(&vm, 0, &canvas.picture);
        vm.display.with(|display| assert_eq!(display.counters().of(number::UPDATE), 0));
        vm.reboot().unwrap();
        canvas_on(&mut vm, 1, 1, 100, 100);
        assert_eq!(program.stderr(), "");
    });
}

#[test]
fn a_picture_that_the_kernel_finds_too_large_goes_as_pixels() {
    GUEST.run(|| {
        std::fs::write("/sys/module/udmabuf/parameters/size_limit_mb", "1").unwrap();
        let seat = boot_with(&["--display=dmabuf", "--sandbox=require"], roomy_options());
        let Seat { program: _program, mut vm } = seat;
        await_display_features(&vm);
        let large = canvas_on_screen(&mut vm, 1, 1024, 512);
        await_picture(&vm, 0, &large.picture);
        canvas_on(&mut vm, 0, 2, 100, 100);
        large.put_on(&mut vm.driver, 0);
        await_picture(&vm, 0, &large.picture);
        std::fs::write("/sys/module/udmabuf/parameters/size_limit_mb", "64").unwrap();
    });
}

#[test]
fn without_the_option_nothing_goes_by_dmabuf() {
    GUEST.run(|| {
        for arguments in [&[][..], &["--display=auto"], &["--display=pixels"]] {
            let Seat { program: _program, mut vm } = boot_with(arguments, options());
            canvas_on_screen(&mut vm, 1, 64, 64);
            vm.display.with(|display| assert!(display.dmabuf(0).is_none(), "{arguments:?}"));
        }
    });
}

// `--direct-scanout`: out of the guest's own pages, of which pictures take a whole number, as Linux's do.

/// A program that shows the guest's own pages, in its sandbox.
fn boot_direct() -> Seat {
    let seat = boot_with(&["--direct-scanout", "--sandbox=require"], options());
    await_display_features(&seat.vm);
    seat
}

/// Draws another picture, and only flushes it.
fn draw_and_flush(vm: &mut GpuMachine, canvas: &mut Canvas, seed: u64) {
    canvas.draw(Picture::noise(canvas.picture.width, canvas.picture.height, 1000 + seed));
    vm.driver.flush(canvas.id, canvas.rect()).unwrap().ok().unwrap();
}

/// The display has the guest's own pages.
fn assert_in_place(vm: &mut GpuMachine, canvas: &mut Canvas, seed: u64) {
    draw_and_flush(vm, canvas, seed);
    await_dmabuf(vm, 0, &canvas.picture);
}

/// The display has a copy, which takes a transfer.
fn assert_copied(vm: &mut GpuMachine, canvas: &mut Canvas, seed: u64) {
    draw_and_flush(vm, canvas, seed);
    await_kicks_seen(vm);
    assert!(!shows(vm, 0, &canvas.picture));
    canvas.present_all(&mut vm.driver);
    await_picture(vm, 0, &canvas.picture);
}

#[test]
fn direct_what_the_guest_draws_is_seen_without_a_transfer() {
    GUEST.run(|| {
        let Seat { program, mut vm } = boot_direct();
        let mut canvas = canvas_on(&mut vm, 0, 1, 640, 480);
        (0..3).for_each(|seed| assert_in_place(&mut vm, &mut canvas, seed));
        vm.pause().unwrap();
        vm.resume().unwrap();
        await_dmabuf(&vm, 0, &canvas.picture);
        assert_in_place(&mut vm, &mut canvas, 9);
        vm.display.with(|display| assert_eq!(display.counters().of(number::UPDATE), 0));
        vm.reboot().unwrap();
        let mut canvas = canvas_on(&mut vm, 0, 1, 128, 64);
        assert_in_place(&mut vm, &mut canvas, 3);
        assert_eq!(program.stderr(), "");
    });
}

#[test]
fn direct_other_formats_and_pages_that_begin_anywhere_are_shown_by_their_copy() {
    GUEST.run(|| {
        let Seat { program: _program, mut vm } = boot_direct();
        let mut other = Canvas::with_format(&mut vm.driver, 1, format::R8G8B8X8, 320, 200);
        other.put_on(&mut vm.driver, 0);
        assert_copied(&mut vm, &mut other, 1);
        let memory = vm.driver.memory().clone();
        let backing = Backing::scattered(&memory, vm.driver.pages(), 320 * 200 * 4, 99).unwrap();
        let mut crooked = Canvas::with_backing(&mut vm.driver, 2, format::B8G8R8X8, 320, 200, backing);
        crooked.put_on(&mut vm.driver, 0);
        assert_copied(&mut vm, &mut crooked, 2);
        vm.display.with(|display| assert!(display.dmabuf(0).is_some(), "of the copy"));
    });
}

#[test]
fn direct_what_cannot_be_shown_in_place_any_longer_is_shown_by_its_copy() {
    GUEST.run(|| {
        let Seat { program: _program, mut vm } = boot_direct();
        // A transfer from elsewhere: the picture is not where a display looks for it.
        let mut canvas = canvas_on(&mut vm, 0, 1, 320, 256);
        assert_in_place(&mut vm, &mut canvas, 1);
        vm.driver.transfer(1, Rect::new(0, 0, 320, 128), 320 * 128 * 4).unwrap().ok().unwrap();
        vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
        let mut seen = canvas.picture.clone();
        let lower = canvas.picture.crop(Rect::new(0, 128, 320, 128));
        seen.rgb[..320 * 128].copy_from_slice(&lower.rgb);
        await_dmabuf(&vm, 0, &seen);

        // A part that begins inside.
        let mut canvas = canvas_on(&mut vm, 0, 2, 320, 256);
        let part = Rect::new(50, 20, 200, 100);
        vm.driver.set_scanout(1, 2, part).unwrap().ok().unwrap();
        await_picture(&vm, 1, &canvas.picture.crop(part));
        await_dmabuf(&vm, 0, &canvas.picture);
        assert_copied(&mut vm, &mut canvas, 3);
        await_picture(&vm, 1, &canvas.picture.crop(part));

        // A cursor of what is drawn now.
        let mut small = canvas_on(&mut vm, 0, 3, 64, 64);
        assert_in_place(&mut vm, &mut small, 4);
        vm.driver.update_cursor(0, 3, (1, 1), (0, 0)).unwrap();
        let expected: Vec<u32> = small.picture.rgb.clone();
        vm.display
            .wait(soon(), |display| {
                let shape = &display.cursor(0).shape;
                shape.len() == 64 * 64 * 4 && shape.chunks_exact(4).map(shown).eq(expected.iter().copied())
            })
            .unwrap();
        await_dmabuf(&vm, 0, &small.picture);

        // Pages that are taken away: the picture stays, whatever is drawn there.
        let mut canvas = canvas_on(&mut vm, 0, 4, 320, 256);
        assert_in_place(&mut vm, &mut canvas, 5);
        let before = canvas.picture.clone();
        vm.driver.detach_backing(4).unwrap().ok().unwrap();
        canvas.draw(Picture::flat(320, 256, 0));
        vm.driver.flush(4, canvas.rect()).unwrap().ok().unwrap();
        await_dmabuf(&vm, 0, &before);
        // And others that are given may be shown in place.
        vm.driver.attach_backing(4, canvas.backing.entries()).unwrap().ok().unwrap();
        canvas.put_on(&mut vm.driver, 0);
        assert_in_place(&mut vm, &mut canvas, 6);
    });
}
