//! Pictures by DMABUF, with the program and the kernel's own buffers. These tests run in a guest that has `/dev/udmabuf` (see
//! `InVm` of the package `seat-vm`); a machine without the laboratory says so and passes them, in CI they fail.

use seat_frontend::display::message as number;
use seat_frontend::gpu::Rect;
use seat_vm::InVm;

use crate::common::canvas::{await_picture, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{Seat, await_display_features, boot_with, options, roomy_options};
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
            let canvas = canvas_on_screen(&mut vm, 1, 64, 64);
            await_picture(&vm, 0, &canvas.picture);
        }
    });
}
