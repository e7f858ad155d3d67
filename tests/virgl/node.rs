//! On a GPU: what it draws is handed to the display as it lies in the GPU's memory.
//!
//! These tests run in a guest (see `InVm` of the package `seat-vm`) whose GPU the same program serves, in software: what is
//! a guest to the program under test is a guest's guest to this machine.

use std::os::fd::AsFd;

use seat_frontend::display::{Dmabuf, message as number};
use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Rect, Texture, format};
use seat_frontend::machine::GpuMachine;
use seat_vm::{InVm, RenderNode};

use crate::common::canvas::await_picture;
use crate::common::picture::Picture;
use crate::common::{BINARY, Seat, await_display_features, soon};
use crate::scene::{COLOUR, Scene};
use crate::seat::{self, reboot};
use crate::sheet::{Sheet, submit};

const NODE: &str = "/dev/dri/renderD128";
const ON_NODE: &str = "--render-node=/dev/dri/renderD128";

static GUEST: InVm = InVm::new()
    .filters(&["node::"])
    .environment(&[("CI", "in a guest nothing is skipped")])
    .gpu(BINARY, &["--virgl"])
    .memory_mib(1024);

/// The whole of a test on a GPU: a guest of a program with these arguments beside the node, in its sandbox.
fn on_gpu(arguments: &[&str], body: impl FnOnce(&mut GpuMachine)) {
    let arguments: Vec<&str> = [ON_NODE, "--sandbox=require"].iter().chain(arguments).copied().collect();
    let Seat { program, mut vm } = seat::boot_with(&arguments).unwrap();
    await_display_features(&vm);
    body(&mut vm);
    assert_eq!(program.stderr(), "");
}

/// Waits until a scanout's buffer has exactly this picture.
#[track_caller]
fn await_buffer(vm: &GpuMachine, scanout: usize, wanted: &Picture) {
    let gpu = RenderNode::open(NODE).unwrap();
    let until = soon();
    loop {
        // A frame is shown once the display was told of it.
        vm.display.wait(until, |display| display.dmabuf(scanout).is_some_and(|buffer| buffer.updates > 0)).unwrap();
        let shown = vm.display.with(|display| display.dmabuf(scanout).map(|buffer| picture_in(&gpu, buffer)));
        let differs = shown.as_ref().map(|shown| first_difference(shown, wanted));
        match differs {
            Some(None) => return,
            Some(Some(text)) if until.passed() => panic!("{text}"),
            _ => {}
        }
    }
}

/// What QEMU's displays show of a buffer: from below where the flag says so.
fn picture_in(gpu: &RenderNode, buffer: &Dmabuf) -> Picture {
    let image = gpu.pixels(buffer.fd.as_fd(), (buffer.fd_width, buffer.fd_height), buffer.fourcc).unwrap();
    let row = |y| if buffer.flags & 1 == 0 { y } else { buffer.fd_height - 1 - y };
    let places = (0..buffer.rect.height).flat_map(|y| (0..buffer.rect.width).map(move |x| (x, y)));
    let rgb = places.map(|(x, y)| image.pixel(x, row(y)).unwrap()).collect();
    Picture { width: buffer.rect.width, height: buffer.rect.height, rgb }
}

fn first_difference(shown: &Picture, wanted: &Picture) -> Option<String> {
    if (shown.width, shown.height) != (wanted.width, wanted.height) {
        return Some(format!("it is {} x {}", shown.width, shown.height));
    }
    let at = shown.rgb.iter().zip(&wanted.rgb).position(|(is, should)| is != should)?;
    let (x, y) = (at as u32 % shown.width, at as u32 / shown.width);
    Some(format!("at {x}, {y} stands {:06x} and should {:06x}", shown.rgb[at], wanted.rgb[at]))
}

fn assert_no_pixels_were_sent(vm: &GpuMachine) {
    vm.display.with(|display| assert_eq!(display.counters().of(number::UPDATE), 0));
}

#[test]
fn what_is_transferred_lies_in_the_displays_buffer_whichever_row_is_first() {
    GUEST.run(|| {
        on_gpu(&[], |vm| {
            let kinds = [format::B8G8R8X8, format::B8G8R8A8, format::R8G8B8A8].map(|kind| [(kind, 0), (kind, 1)]);
            for (id, (format, flags)) in (1..).zip(kinds.into_iter().flatten()) {
                let mut sheet = Sheet::of(&mut vm.driver, Texture { format, flags, ..Texture::picture(id, 150, 70) });
                sheet.draw(Picture::noise(150, 70, u64::from(id)));
                sheet.bring(&mut vm.driver, sheet.rect());
                sheet.flip_to(&mut vm.driver, 0);
                await_buffer(vm, 0, &sheet.picture);
                vm.display.with(|display| assert_eq!(display.dmabuf(0).unwrap().flags, flags));
                vm.driver.set_scanout(0, 0, Rect::default()).unwrap().ok().unwrap();
            }
            assert_no_pixels_were_sent(vm);
        });
    });
}

#[test]
fn what_is_drawn_comes_into_the_buffer_that_the_display_has() {
    GUEST.run(|| {
        on_gpu(&[], |vm| {
            let scene = Scene::new(&mut vm.driver, 50);
            for (id, flags) in [(1, 0), (2, 1)] {
                let mut sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 200, 150) });
                sheet.flip_to(&mut vm.driver, 0);
                for rgb in [0xff_0000, 0x00_ff00, 0x00_00ff, 0x12_3456] {
                    sheet.fill(&mut vm.driver, rgb);
                    sheet.flush(&mut vm.driver, sheet.rect());
                    await_buffer(vm, 0, &sheet.picture);
                }
            }
            // Last the one whose first row is the lowest: virglrenderer 0.10 turns the others' scissors only where it has
            // OpenGL 4.5, and on this GPU it has 4.3.
            let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(3, 200, 150) });
            sheet.flip_to(&mut vm.driver, 0);
            let mut stream = Stream::new();
            scene.prepare(&mut stream, &sheet.texture);
            for rect in [Rect::new(0, 0, 200, 10), Rect::new(0, 0, 7, 150), Rect::new(150, 120, 30, 25)] {
                scene.draw(&mut stream, rect);
                sheet.picture.fill(rect, COLOUR);
            }
            submit(&mut vm.driver, &stream);
            sheet.flush(&mut vm.driver, sheet.rect());
            await_buffer(vm, 0, &sheet.picture);
            assert_no_pixels_were_sent(vm);
        });
    });
}

#[test]
fn page_flips_hand_over_one_buffer_and_the_other() {
    GUEST.run(|| {
        on_gpu(&[], |vm| {
            let mut pages = [1, 2].map(|id| Sheet::new(&mut vm.driver, id, 128, 64));
            for round in 0..6 {
                let page = &mut pages[round as usize % 2];
                page.fill(&mut vm.driver, 0x10_1010 * (round + 1));
                page.flip_to(&mut vm.driver, 0);
                await_buffer(vm, 0, &page.picture);
            }
            assert_no_pixels_were_sent(vm);
        });
    });
}

#[test]
fn after_a_reboot_another_guest_has_buffers() {
    GUEST.run(|| {
        on_gpu(&[], |vm| {
            for rgb in [0x11_2233, 0x44_5566, 0x77_8899] {
                let mut sheet = Sheet::new(&mut vm.driver, 1, 100, 50);
                sheet.fill(&mut vm.driver, rgb);
                sheet.flip_to(&mut vm.driver, 0);
                await_buffer(vm, 0, &sheet.picture);
                reboot(vm);
            }
        });
    });
}

/// Nothing says where it lies in the GPU's memory, so the display can't be told of a part.
#[test]
fn a_part_of_a_texture_goes_as_pixels() {
    GUEST.run(|| {
        on_gpu(&[], |vm| {
            let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 300, 200) });
            sheet.draw(Picture::noise(300, 200, 1));
            sheet.bring(&mut vm.driver, sheet.rect());
            let part = Rect::new(23, 17, 101, 103);
            vm.driver.set_scanout(0, 1, part).unwrap().ok().unwrap();
            sheet.flush(&mut vm.driver, sheet.rect());
            await_picture(vm, 0, &sheet.picture.crop(part));
            vm.display.with(|display| assert!(display.dmabuf(0).is_none()));
        });
    });
}

/// vgem's: Mesa draws in software there, and shares no texture.
#[test]
fn where_no_texture_can_be_shared_all_is_read_back() {
    GUEST.run(|| {
        let Seat { program, mut vm } = seat::boot_with(&["--render-node=/dev/dri/renderD129"]).unwrap();
        await_display_features(&vm);
        for (id, flags) in [(1, 0), (2, 1)] {
            let mut sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 300, 200) });
            sheet.fill(&mut vm.driver, 0x12_3456);
            sheet.flip_to(&mut vm.driver, 0);
            await_picture(&vm, 0, &sheet.picture);
        }
        vm.display.with(|display| assert!(display.dmabuf(0).is_none()));
        let said = program.stderr();
        assert!(said.lines().count() == 1 && said.contains("can't be shared"), "{said}");
    });
}

#[test]
fn with_display_pixels_all_is_read_back() {
    GUEST.run(|| {
        on_gpu(&["--display=pixels"], |vm| {
            for (id, flags) in [(1, 0), (2, 1)] {
                let mut sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 300, 200) });
                sheet.draw(Picture::noise(300, 200, u64::from(id)));
                sheet.bring(&mut vm.driver, sheet.rect());
                sheet.flip_to(&mut vm.driver, 0);
                await_picture(vm, 0, &sheet.picture);
                sheet.fill(&mut vm.driver, 0x12_3456);
                sheet.flush(&mut vm.driver, sheet.rect());
                await_picture(vm, 0, &sheet.picture);
            }
            vm.display.with(|display| assert_eq!(display.counters().of(number::DMABUF_SCANOUT2), 0));
        });
    });
}
