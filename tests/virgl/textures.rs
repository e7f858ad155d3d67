//! Textures: made, refused, counted, gone.

use seat_frontend::gpu::three_d::{bind, target};
use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Rect, Texture, format, resp};
use seat_frontend::machine::GpuMachine;

use crate::common::Seat;
use crate::common::canvas::await_picture;
use crate::common::picture::Picture;
use crate::seat::{CTX, boot, boot_with, reboot};
use crate::sheet::{Sheet, sheet_on_screen, submit};

#[test]
fn a_resource_has_a_number_of_its_own_whatever_it_is() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let texture = Texture::picture(1, 16, 16);

    for id in [1, 0x8000_0000, u32::MAX] {
        let texture = Texture { resource_id: id, ..texture };
        assert_eq!(vm.driver.create_3d(&texture).unwrap().kind, resp::OK_NODATA, "{id}");
        assert_eq!(vm.driver.create_3d(&texture).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID, "{id} again");
        assert_eq!(vm.driver.create_2d(id, 1, 4, 4).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID, "{id} in 2D");
        vm.driver.unref(id).unwrap().ok().unwrap();
        assert_eq!(vm.driver.unref(id).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID, "{id} gone");
        vm.driver.create_2d(id, 1, 4, 4).unwrap().ok().unwrap();
        assert_eq!(vm.driver.create_3d(&texture).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID, "{id} after 2D");
        vm.driver.unref(id).unwrap().ok().unwrap();
    }
    let none = Texture { resource_id: 0, ..texture };
    assert_eq!(vm.driver.create_3d(&none).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn textures_of_every_kind_are_made() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let plain = Texture { flags: 0, ..Texture::picture(1, 16, 16) };
    let kinds = [
        Texture::buffer(1, 1),
        Texture::buffer(1, 1 << 20),
        Texture { target: target::TEXTURE_1D, height: 1, ..plain },
        plain,
        Texture { last_level: 4, ..plain },
        Texture { target: target::TEXTURE_3D, depth: 8, ..plain },
        Texture { target: target::TEXTURE_CUBE, array_size: 6, ..plain },
        Texture { target: target::TEXTURE_RECT, ..plain },
        Texture { target: target::TEXTURE_2D_ARRAY, array_size: 5, ..plain },
        // VIRGL_FORMAT_S8_UINT_Z24_UNORM
        Texture { format: 20, bind: bind::DEPTH_STENCIL, ..plain },
    ];
    for (id, kind) in (1..).zip(kinds) {
        let texture = Texture { resource_id: id, ..kind };
        assert_eq!(vm.driver.create_3d(&texture).unwrap().kind, resp::OK_NODATA, "{texture:?}");
        vm.driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
        assert_ne!(vm.driver.assign_uuid(id).unwrap(), [0; 16]);
    }
}

#[test]
fn impossible_textures_are_refused() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let plain = Texture { flags: 0, ..Texture::picture(1, 16, 16) };
    let all = u32::MAX;
    let bad = [
        Texture { target: 99, ..plain },
        Texture { target: all, ..plain },
        Texture { format: 0, ..plain },
        Texture { format: 100_000, ..plain },
        Texture { format: all, ..plain },
        Texture { bind: 0, ..plain },
        Texture { width: 0, ..plain },
        Texture { height: 0, ..plain },
        Texture { width: 1 << 20, height: 1, ..plain },
        Texture { depth: 7, ..plain },
        Texture { array_size: 7, ..plain },
        Texture { last_level: 40, ..plain },
        Texture { format: 1, nr_samples: 65, ..plain },
        Texture { flags: 0x8000_0000, ..plain },
    ];
    for texture in bad {
        let kind = vm.driver.create_3d(&texture).unwrap().kind;
        assert_eq!(kind, resp::ERR_INVALID_PARAMETER, "{texture:?}");
    }
    let absurd = [
        Texture { width: all, height: all, ..plain },
        Texture { width: all, height: all, depth: all, array_size: all, last_level: all, nr_samples: all, ..plain },
        Texture::buffer(1, all),
    ];
    for texture in absurd {
        let kind = vm.driver.create_3d(&texture).unwrap().kind;
        assert_eq!(kind, resp::ERR_OUT_OF_MEMORY, "{texture:?}");
    }
    assert_eq!(vm.driver.create_3d(&plain).unwrap().kind, resp::OK_NODATA);
}

#[test]
fn textures_are_counted_and_come_back() {
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=64M"]) else { return };
    // Of a mebibyte each.
    let picture = |id: u32| Texture::picture(id, 512, 512);
    for round in 0..3 {
        let made = (1..100).take_while(|id| vm.driver.create_3d(&picture(*id)).unwrap().is_ok()).count() as u32;
        assert!((50..64).contains(&made), "{made} textures");
        assert_eq!(vm.driver.create_3d(&picture(100)).unwrap().kind, resp::ERR_OUT_OF_MEMORY);
        match round {
            0 => (1..=made).for_each(|id| assert!(vm.driver.unref(id).unwrap().is_ok())),
            _ => reboot(&mut vm),
        }
    }
}

#[test]
fn what_contexts_have_attached_is_counted_and_comes_back() {
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=5M"]) else { return };
    // Of a byte each, until there is no room for another one; what an attachment takes is much less than that.
    let made = (1..10_000).take_while(|id| vm.driver.create_3d(&Texture::buffer(*id, 1)).unwrap().is_ok()).count();
    let made = made as u32;
    assert!(made > 100, "{made}");

    for _ in 0..3 {
        let attach = |vm: &mut GpuMachine, id| vm.driver.attach_to_context(CTX, id).unwrap().kind;
        let attached = (1..=made).take_while(|id| attach(&mut vm, *id) == resp::OK_NODATA).count() as u32;
        assert!(attached < 100, "{attached} of {made}");
        assert_eq!(attach(&mut vm, attached + 1), resp::ERR_OUT_OF_MEMORY);
        assert_eq!(attach(&mut vm, 1), resp::OK_NODATA, "it is attached already");
        // One that is detached makes room for another one, and one that goes for as many as it was charged.
        vm.driver.detach_from_context(CTX, 1).unwrap().ok().unwrap();
        assert_eq!(attach(&mut vm, attached + 1), resp::OK_NODATA);
        assert_eq!(attach(&mut vm, attached + 2), resp::ERR_OUT_OF_MEMORY);
        vm.driver.unref(2).unwrap().ok().unwrap();
        assert_eq!(attach(&mut vm, attached + 2), resp::OK_NODATA);
        // And so does the context, with all that it has.
        vm.driver.destroy_context(CTX).unwrap().ok().unwrap();
        vm.driver.create_context(CTX).unwrap().ok().unwrap();
        vm.driver.create_3d(&Texture::buffer(2, 1)).unwrap().ok().unwrap();
    }
}

#[test]
fn a_guest_with_3d_may_have_more_than_a_quarter_of_a_gibibyte() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    // Of sixteen mebibytes each.
    (1..=20).for_each(|id| assert!(vm.driver.create_3d(&Texture::picture(id, 2048, 2048)).unwrap().is_ok()));
}

#[test]
fn a_2d_resource_in_a_context_is_counted_with_its_texture() {
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=64M"]) else { return };
    // A mebibyte each, and as much again.
    for _ in 0..3 {
        let mut make = |id: u32| {
            vm.driver.create_2d(id, format::B8G8R8X8, 512, 512).unwrap().is_ok()
                && vm.driver.attach_to_context(CTX, id).unwrap().is_ok()
        };
        let made = (1..100).take_while(|id| make(*id)).count() as u32;
        assert!((24..32).contains(&made), "{made} resources");
        for id in 1..=made {
            vm.driver.unref(id).unwrap().ok().unwrap();
        }
        // The last one is there or not.
        vm.driver.unref(made + 1).unwrap();
    }
}

#[test]
fn a_texture_on_a_screen_is_counted_with_its_host_copy() {
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=11M"]) else { return };
    // Of four mebibytes; the copy that is shown has as many, and the guest's context has three.
    vm.driver.create_3d(&Texture::picture(1, 1024, 1024)).unwrap().ok().unwrap();
    vm.driver.create_3d(&Texture::picture(2, 512, 512)).unwrap().ok().unwrap();
    let whole = Rect::new(0, 0, 1024, 1024);

    assert_eq!(vm.driver.set_scanout(0, 1, whole).unwrap().kind, resp::ERR_OUT_OF_MEMORY);

    vm.driver.unref(2).unwrap().ok().unwrap();
    reboot(&mut vm);
    sheet_on_screen(&mut vm, 1, 512, 512);
}

#[test]
fn a_texture_that_goes_while_it_is_attached_and_shown_takes_its_scanout_along() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let format = sheet.texture.format;
    // A surface of it that is bound.
    submit(&mut vm.driver, Stream::new().create_surface(7, 1, format).framebuffer(&[7]));

    vm.driver.unref(1).unwrap().ok().unwrap();

    vm.display.wait(crate::common::soon(), |display| display.surface(0).is_none()).unwrap();
    // What is drawn now goes where nobody sees it, or is refused; either way it harms nobody.
    vm.driver.submit_3d(CTX, Stream::new().clear([1.0; 4]).words()).unwrap();
    assert_eq!(vm.driver.flush(1, sheet.rect()).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    // The number stands for another one now, of another size.
    vm.driver.destroy_context(CTX).unwrap().ok().unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    sheet = sheet_on_screen(&mut vm, 1, 100, 30);
    sheet.fill(&mut vm.driver, 0x12_3456);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_resource_keeps_its_uuid() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let first = Sheet::new(&mut vm.driver, 1, 16, 16);
    Sheet::new(&mut vm.driver, 2, 16, 16);

    let uuid = vm.driver.assign_uuid(1).unwrap();
    assert_eq!(vm.driver.assign_uuid(1).unwrap(), uuid);
    assert_ne!(vm.driver.assign_uuid(2).unwrap(), uuid);
    let unknown = seat_frontend::gpu::Command::AssignUuid { resource_id: 3 };
    assert_eq!(vm.driver.call(&unknown).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    vm.driver.unref(first.id).unwrap().ok().unwrap();
    Sheet::new(&mut vm.driver, 1, 16, 16);
    assert_ne!(vm.driver.assign_uuid(1).unwrap(), uuid, "it is another one");
}

#[test]
fn what_is_no_picture_is_not_shown() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let plain = Texture { flags: 0, ..Texture::picture(1, 16, 16) };
    // VIRGL_FORMAT_R8_UNORM, VIRGL_FORMAT_R16G16B16A16_FLOAT, VIRGL_FORMAT_S8_UINT_Z24_UNORM
    let depth = Texture { format: 20, bind: bind::DEPTH_STENCIL, ..plain };
    let (red, floats) = (Texture { format: 64, ..plain }, Texture { format: 94, ..plain });
    let [one, four] = [1, 4].map(|nr_samples| Texture { nr_samples, bind: bind::RENDER_TARGET, ..plain });
    for texture in [red, floats, depth, one, four, Texture::buffer(1, 256)] {
        vm.driver.create_3d(&texture).unwrap().ok().unwrap();
        let rect = Rect::new(0, 0, texture.width, texture.height);
        assert_eq!(vm.driver.set_scanout(0, 1, rect).unwrap().kind, resp::ERR_INVALID_PARAMETER, "{texture:?}");
        vm.driver.unref(1).unwrap().ok().unwrap();
    }
    let mut sheet = sheet_on_screen(&mut vm, 1, 32, 32);
    sheet.draw(Picture::noise(32, 32, 5));
    sheet.bring(&mut vm.driver, sheet.rect());
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}
