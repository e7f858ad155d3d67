//! Contexts: made, refused, ended; and what becomes of one that has an error.

use seat_frontend::gpu::three_d::capset;
use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Command, Fence, NAME_SIZE, Texture, resp};
use seat_frontend::machine::GpuMachine;

use crate::common::canvas::await_picture;
use crate::common::{Seat, soon};
use crate::seat::{CTX, boot, boot_with};
use crate::sheet::{Sheet, sheet_on_screen, submit};

fn create(vm: &mut GpuMachine, ctx: u32, context_init: u32, name: &[u8]) -> u32 {
    vm.driver.call_in(ctx, &Command::CtxCreate { context_init, name }).unwrap().kind
}

#[test]
fn a_context_has_a_number_of_its_own_that_is_free_once_it_ends() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };

    for id in [2, 3, 0x8000_0000, u32::MAX] {
        assert_eq!(create(&mut vm, id, 0, b"one"), resp::OK_NODATA, "{id}");
        assert_eq!(create(&mut vm, id, 0, b"one"), resp::ERR_INVALID_CONTEXT_ID, "{id} again");
        assert_eq!(vm.driver.destroy_context(id).unwrap().kind, resp::OK_NODATA, "{id}");
        assert_eq!(vm.driver.destroy_context(id).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID, "{id} again");
        assert_eq!(create(&mut vm, id, 0, b"one"), resp::OK_NODATA, "{id} anew");
    }
    assert_eq!(create(&mut vm, 0, 0, b"none"), resp::ERR_INVALID_CONTEXT_ID);
    assert_eq!(vm.driver.destroy_context(0).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID);
}

#[test]
fn a_context_is_of_a_capability_set_that_is_there() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };

    for (id, set) in [(10, 0), (11, capset::VIRGL), (12, capset::VIRGL2)] {
        assert_eq!(create(&mut vm, id, set, b"good"), resp::OK_NODATA, "set {set}");
        assert_eq!(vm.driver.submit_3d(id, Stream::new().nop(0).words()).unwrap().kind, resp::OK_NODATA, "set {set}");
    }
    // Venus, cross-domain, DRM; numbers that nothing has; bits beside the set.
    for set in [3, 4, 5, 6, 63, 64, 255, 1 << 8, 2 | 1 << 31, u32::MAX] {
        assert_eq!(create(&mut vm, 20, set, b"bad"), resp::ERR_INVALID_PARAMETER, "{set:#x}");
    }
    assert_eq!(create(&mut vm, 20, 0, b"good"), resp::OK_NODATA);
}

#[test]
fn a_context_may_have_any_name() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };

    let names: [&[u8]; 5] = [b"", b"glxgears", &[0xff; NAME_SIZE], &[0; NAME_SIZE], b"%s%n\n"];
    for (id, name) in (2..).zip(names) {
        assert_eq!(create(&mut vm, id, 0, name), resp::OK_NODATA, "{name:?}");
    }
    // A length that lies.
    let mut body = [b'x'; 72];
    body[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    body[4..8].fill(0);
    let lie = Command::Raw { kind: seat_frontend::gpu::cmd::CTX_CREATE, body: &body, tail: &[] };
    assert_eq!(vm.driver.call_in(100, &lie).unwrap().kind, resp::OK_NODATA);
}

#[test]
fn what_is_done_in_a_context_that_is_not_there_is_refused() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = Sheet::new(&mut vm.driver, 1, 16, 16);

    for ctx in [0, 2, u32::MAX] {
        let nothing = vm.driver.submit_3d(ctx, Stream::new().nop(0).words()).unwrap();
        assert_eq!(nothing.kind, resp::ERR_INVALID_CONTEXT_ID, "{ctx}");
        assert_eq!(vm.driver.attach_to_context(ctx, 1).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID, "{ctx}");
        assert_eq!(vm.driver.detach_from_context(ctx, 1).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID, "{ctx}");
    }
    let transfer = sheet.transfer(sheet.rect());
    assert_eq!(vm.driver.to_host_3d(2, &transfer).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID);
    assert_eq!(vm.driver.from_host_3d(2, &transfer).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID);
    // The guest's kernel has none.
    assert_eq!(vm.driver.to_host_3d(0, &transfer).unwrap().kind, resp::OK_NODATA);
    assert_eq!(vm.driver.from_host_3d(0, &transfer).unwrap().kind, resp::OK_NODATA);
}

#[test]
fn a_resource_is_a_contexts_while_it_is_attached() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let mut fill = Stream::new();
    fill.fill(1, sheet.texture.format, 0x11_2233);

    // Not attached: an error, after which that context is in error.
    vm.driver.create_context(2).unwrap().ok().unwrap();
    assert_eq!(vm.driver.submit_3d(2, fill.words()).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    // Attached twice, detached once: not attached.
    vm.driver.create_context(3).unwrap().ok().unwrap();
    vm.driver.attach_to_context(3, 1).unwrap().ok().unwrap();
    vm.driver.attach_to_context(3, 1).unwrap().ok().unwrap();
    vm.driver.detach_from_context(3, 1).unwrap().ok().unwrap();
    assert_eq!(vm.driver.submit_3d(3, fill.words()).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    for (ctx, unknown) in [(CTX, 0), (CTX, 77), (CTX, u32::MAX)] {
        assert_eq!(vm.driver.attach_to_context(ctx, unknown).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
        assert_eq!(vm.driver.detach_from_context(ctx, unknown).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    }
    // The one that has it still has it.
    sheet.fill(&mut vm.driver, 0x44_5566);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_context_that_has_an_error_answers_errors_and_the_others_go_on() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    vm.driver.create_context(2).unwrap().ok().unwrap();
    vm.driver.attach_to_context(2, 1).unwrap().ok().unwrap();
    let mut fill = Stream::new();
    fill.fill(1, sheet.texture.format, 0x11_2233);
    vm.driver.submit_3d(2, fill.words()).unwrap().ok().unwrap();

    // A surface of a resource that is not there.
    let mut wrong = Stream::new();
    wrong.create_surface(9, 4711, 1);
    assert_eq!(vm.driver.submit_3d(2, wrong.words()).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    // The library refuses it for good once it has worked for another one.
    sheet.fill(&mut vm.driver, 0x33_4455);
    for _ in 0..3 {
        assert_eq!(vm.driver.submit_3d(2, fill.words()).unwrap().kind, resp::ERR_INVALID_PARAMETER, "it stays so");
    }
    // Fenced ones come back all the same.
    for id in 1..=3 {
        let fence = Fence::new(id).of_context(2);
        let response = vm.driver.call_fenced(&Command::Submit3d { words: fill.words() }, fence).unwrap();
        assert_eq!(response.kind, resp::ERR_INVALID_PARAMETER);
    }

    for rgb in [0x77_8899, 0xaa_bbcc] {
        sheet.fill(&mut vm.driver, rgb);
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
    // Its number begins anew.
    vm.driver.destroy_context(2).unwrap().ok().unwrap();
    vm.driver.create_context(2).unwrap().ok().unwrap();
    vm.driver.attach_to_context(2, 1).unwrap().ok().unwrap();
    vm.driver.submit_3d(2, fill.words()).unwrap().ok().unwrap();
}

#[test]
fn what_the_renderer_complains_of_is_logged_and_not_without_end() {
    let Some(Seat { mut program, mut vm }) = boot_with(&["--log-level=info"]) else { return };
    // A surface of a resource that is not there.
    let mut wrong = Stream::new();
    wrong.create_surface(9, 4711, 1);
    for ctx in 2..102 {
        vm.driver.create_context(ctx).unwrap().ok().unwrap();
        assert!(!vm.driver.submit_3d(ctx, wrong.words()).unwrap().is_ok());
        vm.driver.destroy_context(ctx).unwrap().ok().unwrap();
    }
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
    let stderr = program.stderr();
    let said = stderr.lines().filter(|line| line.contains("virglrenderer: ")).count();
    assert!((1..50).contains(&said), "{stderr}");
}

#[test]
fn each_sub_context_has_its_own_objects() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let format = sheet.texture.format;

    // The same handle in each, of another texture.
    let other = Sheet::new(&mut vm.driver, 2, 64, 64);
    let mut stream = Stream::new();
    for (sub, texture) in [(5, sheet.id), (6, other.id)] {
        stream.create_sub_context(sub).set_sub_context(sub).create_surface(1, texture, format).framebuffer(&[1]);
    }
    stream.set_sub_context(5).clear([1.0, 0.0, 0.0, 1.0]);
    stream.set_sub_context(6).clear([0.0, 0.0, 1.0, 1.0]);
    stream.destroy_sub_context(5).destroy_sub_context(6).set_sub_context(0);
    submit(&mut vm.driver, &stream);

    for (sheet, rgb) in [(&sheet, 0xff_0000), (&other, 0x00_00ff)] {
        sheet.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &crate::common::picture::Picture::flat(64, 64, rgb));
    }
}

#[test]
fn contexts_are_counted_and_come_back() {
    // A context is charged three mebibytes.
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=40M"]) else { return };
    for _ in 0..3 {
        let made: Vec<u32> = (2..1000).take_while(|id| vm.driver.create_context(*id).unwrap().is_ok()).collect();
        assert!((8..16).contains(&made.len()), "{} contexts", made.len());
        assert_eq!(create(&mut vm, 1000, 0, b"too many"), resp::ERR_OUT_OF_MEMORY);
        let texture = Texture::picture(1, 2048, 2048);
        assert_eq!(vm.driver.create_3d(&texture).unwrap().kind, resp::ERR_OUT_OF_MEMORY);
        for id in made {
            vm.driver.destroy_context(id).unwrap().ok().unwrap();
        }
    }
}
