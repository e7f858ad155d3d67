//! 2D resources and blobs beside textures; and a 2D resource that contexts draw into.

use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Command, Rect, Region, Texture, Transfer3d, format, resp};
use seat_frontend::machine::GpuMachine;

use crate::common::Seat;
use crate::common::canvas::{Canvas, Settled, await_picture, canvas_on_screen, shows};
use crate::common::picture::{Picture, shown};
use crate::seat::{CTX, boot, boot_with, reboot};
use crate::sheet::{Sheet, sheet_on_screen, submit};

#[test]
fn a_2d_resource_keeps_its_picture_when_a_context_gets_it() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    for (id, format) in [(1, format::B8G8R8X8), (3, format::R8G8B8A8)] {
        let mut canvas = Canvas::with_format(&mut vm.driver, id, format, 300, 200);
        canvas.draw(Picture::noise(300, 200, id.into()));
        canvas.put_on(&mut vm.driver, 0);
        canvas.present_all(&mut vm.driver);
        settled.events(&mut vm);

        vm.driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
        assert!(shows(&vm, 0, &canvas.picture));
        vm.driver.flush(id, canvas.rect()).unwrap().ok().unwrap();
        assert_eq!(settled.events(&mut vm), [], "it is the same picture");

        // The texture has it: copied from there it is seen as it is.
        let copy = Sheet::of(&mut vm.driver, Texture { format, ..Texture::picture(id + 1, 300, 200) });
        submit(&mut vm.driver, Stream::new().copy(id + 1, (0, 0), id, canvas.rect()));
        copy.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &canvas.picture);
    }
}

#[test]
fn transfers_to_a_2d_resource_reach_its_texture() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
    let copy = Sheet::new(&mut vm.driver, 2, 300, 200);
    copy.put_on(&mut vm.driver, 1);

    for seed in 0..3 {
        canvas.draw(Picture::noise(300, 200, 50 + seed));
        canvas.present_all(&mut vm.driver);
        await_picture(&vm, 0, &canvas.picture);
        submit(&mut vm.driver, Stream::new().copy(2, (0, 0), 1, canvas.rect()));
        copy.flush(&mut vm.driver, copy.rect());
        await_picture(&vm, 1, &canvas.picture);
        // A part, and the copy in the same batch.
        let part = Rect::new(40, 30, 100, 50);
        canvas.fill(part, 0x31_4159);
        let mut stream = Stream::new();
        stream.copy(2, (0, 0), 1, canvas.rect());
        let (rect, offset) = (part, canvas.offset(part));
        vm.driver.queue(&Command::TransferToHost2d { rect, offset, resource_id: 1 }).unwrap();
        let ctx = seat_frontend::gpu::Fence::in_context(CTX);
        vm.driver.queue_fenced(&Command::Submit3d { words: stream.words() }, ctx).unwrap();
        vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 1 }).unwrap();
        vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 2 }).unwrap();
        vm.driver.kick();
        vm.driver.finish_all().unwrap();
        await_picture(&vm, 0, &canvas.picture);
        await_picture(&vm, 1, &canvas.picture);
    }
}

#[test]
fn the_transfers_of_three_dimensions_bring_a_2d_resource_both_ways() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
    let whole = Transfer3d::new(1, Region::flat(0, 0, 300, 200));

    canvas.draw(Picture::noise(300, 200, 9));
    vm.driver.to_host_3d(CTX, &whole).unwrap().ok().unwrap();
    vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    await_picture(&vm, 0, &canvas.picture);

    submit(&mut vm.driver, Stream::new().fill(1, canvas.format, 0x55_aa11));
    vm.driver.from_host_3d(CTX, &whole).unwrap().ok().unwrap();
    let mut bytes = vec![0; 300 * 200 * 4];
    canvas.backing.read(0, &mut bytes);
    assert!(bytes.chunks(4).all(|pixel| shown(pixel) == 0x55_aa11));
}

#[test]
fn what_is_drawn_into_a_2d_resource_is_seen() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
    let mut source = Sheet::new(&mut vm.driver, 2, 300, 200);
    source.draw(Picture::noise(300, 200, 4));
    source.bring(&mut vm.driver, source.rect());

    submit(&mut vm.driver, Stream::new().copy(1, (0, 0), 2, source.rect()));
    vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    await_picture(&vm, 0, &source.picture);
    submit(&mut vm.driver, Stream::new().fill(1, canvas.format, 0x55_aa11));
    vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    await_picture(&vm, 0, &Picture::flat(300, 200, 0x55_aa11));

    // A transfer of a part comes over what was drawn.
    let part = Rect::new(10, 20, 30, 40);
    canvas.transfer(&mut vm.driver, part);
    vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    let mut expected = Picture::flat(300, 200, 0x55_aa11);
    expected.take(&canvas.picture, part);
    await_picture(&vm, 0, &expected);
}

#[test]
fn a_2d_resource_that_no_context_has_any_longer_is_what_was_drawn_and_costs_what_it_did_before() {
    // A picture, its texture and the guest's context have about three mebibytes each.
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=10M"]) else { return };
    let mut canvas = canvas_on_screen(&mut vm, 1, 1024, 768);
    let another = |vm: &mut GpuMachine| vm.driver.create_2d(2, canvas.format, 1024, 768).unwrap().kind;

    for (round, ends) in (1..).zip([detach, end_context, detach]) {
        vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
        assert_eq!(another(&mut vm), resp::ERR_OUT_OF_MEMORY, "round {round}");
        let drawn = Picture::flat(1024, 768, round * 0x10_2030);
        submit(&mut vm.driver, Stream::new().fill(1, canvas.format, round * 0x10_2030));
        ends(&mut vm);

        assert_eq!(another(&mut vm), resp::OK_NODATA, "round {round}");
        vm.driver.unref(2).unwrap().ok().unwrap();
        vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
        await_picture(&vm, 0, &drawn);
    }
    // And it is as it was before.
    canvas.draw(Picture::noise(1024, 768, 6));
    canvas.present_all(&mut vm.driver);
    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn a_2d_resource_stays_a_texture_while_one_context_has_it() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    vm.driver.create_context(2).unwrap().ok().unwrap();
    for ctx in [CTX, 2, 2] {
        vm.driver.attach_to_context(ctx, 1).unwrap().ok().unwrap();
    }
    // One of the two has it no longer, is told so again, and ends.
    for _ in 0..2 {
        detach(&mut vm);
    }
    end_context(&mut vm);

    let mut stream = Stream::new();
    stream.fill(1, canvas.format, 0x55_aa11);
    vm.driver.submit_3d(2, stream.words()).unwrap().ok().unwrap();
    vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    await_picture(&vm, 0, &Picture::flat(300, 200, 0x55_aa11));
}

fn detach(vm: &mut GpuMachine) {
    vm.driver.detach_from_context(CTX, 1).unwrap().ok().unwrap();
}

fn end_context(vm: &mut GpuMachine) {
    vm.driver.destroy_context(CTX).unwrap().ok().unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
}

#[test]
fn a_2d_transfer_to_a_texture_is_done_as_to_a_2d_resource() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 300, 200);
    for (seed, rect) in (0..).zip([sheet.rect(), Rect::new(17, 9, 100, 50), Rect::new(299, 199, 1, 1)]) {
        let next = Picture::noise(300, 200, seed);
        let mut picture = sheet.picture.clone();
        picture.take(&next, rect);
        sheet.draw(picture);
        let offset = sheet.transfer(rect).offset;
        vm.driver.transfer_and_flush(1, rect, offset).unwrap();
        await_picture(&vm, 0, &sheet.picture);
    }
    let outside = vm.driver.transfer(1, Rect::new(299, 199, 2, 1), 0).unwrap();
    assert_eq!(outside.kind, resp::ERR_INVALID_PARAMETER);
}

#[test]
fn two_dimensions_go_on_beside_three() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut canvas = Canvas::new(&mut vm.driver, 1, 200, 150);
    canvas.put_on(&mut vm.driver, 1);
    let mut sheet = sheet_on_screen(&mut vm, 2, 200, 150);
    for n in 0..10 {
        canvas.draw(Picture::noise(200, 150, n));
        canvas.present_all(&mut vm.driver);
        sheet.fill(&mut vm.driver, 0x01_0305 * (n as u32 + 1));
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
        await_picture(&vm, 1, &canvas.picture);
    }
    // One scanout goes from one to the other and back.
    for _ in 0..3 {
        canvas.put_on(&mut vm.driver, 0);
        await_picture(&vm, 0, &canvas.picture);
        sheet.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn a_blob_of_guest_memory_is_shown_beside_a_texture() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let memory = vm.driver.memory().clone();
    let backing = seat_frontend::gpu::Backing::scattered(&memory, vm.driver.pages(), 64 * 64 * 4, 5).unwrap();
    let (entries, rect) = (backing.entries(), sheet.rect());
    let create =
        Command::CreateBlob { resource_id: 2, blob_mem: 1, blob_flags: 1, blob_id: 0, size: 64 * 64 * 4, entries };
    vm.driver.call(&create).unwrap().ok().unwrap();
    let picture = Picture::noise(64, 64, 12);
    backing.write(0, &picture.bytes(2));
    let show = Command::SetScanoutBlob {
        rect,
        scanout_id: 1,
        resource_id: 2,
        width: 64,
        height: 64,
        format: 2,
        stride: 256,
        offset: 0,
    };
    vm.driver.call(&show).unwrap().ok().unwrap();
    await_picture(&vm, 1, &picture);
    assert!(shows(&vm, 0, &sheet.picture));
    // The renderer can do nothing with it.
    assert_eq!(vm.driver.attach_to_context(CTX, 2).unwrap().kind, resp::ERR_UNSPEC);
    // And it may be memory that only the renderer has: not offered.
    for blob_mem in [0, 2, 3, 4, u32::MAX] {
        let create = Command::CreateBlob { resource_id: 3, blob_mem, blob_flags: 1, blob_id: 0, size: 4096, entries };
        assert_eq!(vm.driver.call_in(CTX, &create).unwrap().kind, resp::ERR_INVALID_PARAMETER, "{blob_mem}");
    }
}

#[test]
fn a_2d_resource_in_a_context_is_gone_after_a_reboot() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for round in 0..3 {
        let canvas = canvas_on_screen(&mut vm, 1, 100, 100);
        vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
        let region = Region::flat(0, 0, 10, 10);
        submit(&mut vm.driver, Stream::new().clear_texture(1, region, [round, 1, 2, 3]));
        vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
        reboot(&mut vm);
        assert_eq!(vm.driver.flush(1, canvas.rect()).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    }
}
