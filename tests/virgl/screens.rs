//! What is drawn is seen: exactly, all of it, the right way up; and no more is sent than has changed.

use seat_frontend::gpu::three_d::bind;
use seat_frontend::gpu::virgl::{BlitEnd, Stream};
use seat_frontend::gpu::{Command, Rect, Texture, format, resp};

use crate::common::canvas::{Settled, await_picture, shows};
use crate::common::picture::{Picture, shown};
use crate::common::{Seat, soon};
use crate::scene::{COLOUR, Scene};
use crate::seat::{CTX, boot};
use crate::sheet::{Sheet, sheet_on_screen, submit};

/// A tile of 64 by 16 pixels in an UPDATE, at the most.
const TILE_BYTES: u64 = 64 * 16 * 4 + 32;

/// Its last row first.
fn upside_down(picture: &Picture) -> Picture {
    let rows = picture.rgb.chunks(picture.width as usize).rev();
    Picture { rgb: rows.flatten().copied().collect(), ..*picture }
}

#[test]
fn a_clear_is_seen_in_its_exact_colour_all_over() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    // Of sizes that end within a tile, too.
    for (id, (width, height)) in (1..).zip([(640, 480), (1, 1), (65, 17), (1280, 800), (333, 211)]) {
        let mut sheet = Sheet::new(&mut vm.driver, id, width, height);
        for rgb in [0xff_0000, 0x00_ff00, 0x00_00ff, 0x12_3456, 0xff_ffff, 0x01_7f_fe, 0] {
            sheet.fill(&mut vm.driver, rgb);
            sheet.flip_to(&mut vm.driver, 0);
            await_picture(&vm, 0, &sheet.picture);
        }
    }
}

#[test]
fn every_format_is_seen_in_its_own_order() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut shown = Vec::new();
    for (id, format) in (1..).zip(format::ALL) {
        let texture = Texture { format, ..Texture::picture(id, 100, 40) };
        // A renderer need not have all of them; these it must, for guests draw their screens in them.
        if !vm.driver.create_3d(&texture).unwrap().is_ok() {
            continue;
        }
        vm.driver.unref(id).unwrap().ok().unwrap();
        let mut sheet = Sheet::of(&mut vm.driver, texture);
        sheet.draw(Picture::noise(100, 40, u64::from(id)));
        sheet.bring(&mut vm.driver, sheet.rect());
        sheet.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &sheet.picture);
        shown.push(format);
    }
    for must in [format::B8G8R8A8, format::B8G8R8X8, format::R8G8B8A8, format::R8G8B8X8] {
        assert!(shown.contains(&must), "{must} is not among {shown:?}");
    }
}

#[test]
fn what_is_transferred_is_seen_the_right_way_up_whichever_row_is_first() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for (id, flags) in [(1, 0), (2, 1)] {
        let mut sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 200, 100) });
        let mut picture = Picture::flat(200, 100, 0x00_00ff);
        picture.fill(Rect::new(0, 0, 200, 30), 0xff_0000);
        picture.fill(Rect::new(0, 0, 20, 10), 0x00_ff00);
        sheet.draw(picture);
        sheet.bring(&mut vm.driver, sheet.rect());
        sheet.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &sheet.picture);
        // A part alone.
        let mut picture = sheet.picture.clone();
        picture.fill(Rect::new(50, 5, 10, 7), 0xff_ffff);
        sheet.draw(picture);
        sheet.bring(&mut vm.driver, Rect::new(50, 5, 10, 7));
        sheet.flush(&mut vm.driver, Rect::new(50, 5, 10, 7));
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn what_is_drawn_is_seen_the_right_way_up_whichever_row_is_first() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut source = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 64, 48) });
    source.draw(Picture::noise(64, 48, 3));
    source.bring(&mut vm.driver, source.rect());
    let rect = source.rect();
    for (id, flags) in [(2, 0), (3, 1)] {
        let sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 64, 48) });
        let format = sheet.texture.format;
        let (to, from) = (BlitEnd::new(id, format, rect), BlitEnd::new(1, format, rect));

        // Blits are drawn, or copied where nothing is turned.
        submit(&mut vm.driver, Stream::new().blit(to, from.flipped()));
        sheet.flip_to(&mut vm.driver, 0);
        await_picture(&vm, 0, &upside_down(&source.picture));

        // Twice as large, and cut: a texel becomes four.
        let part = BlitEnd::new(1, format, Rect::new(0, 0, 32, 24));
        submit(&mut vm.driver, Stream::new().blit(to, part));
        sheet.flush(&mut vm.driver, rect);
        let rgb = (0..48).flat_map(|y| (0..64).map(move |x| (x / 2, y / 2))).map(|(x, y)| source.picture.at(x, y));
        await_picture(&vm, 0, &Picture { rgb: rgb.collect(), ..source.picture });
    }
}

#[test]
fn pictures_made_of_clears_and_copies_are_seen_as_they_are() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let plain = |id| Texture { flags: 0, ..Texture::picture(id, 300, 200) };
    let mut sheet = Sheet::of(&mut vm.driver, plain(1));
    let mut other = Sheet::of(&mut vm.driver, plain(2));
    sheet.fill(&mut vm.driver, 0x20_2020);
    sheet.fill_part(&mut vm.driver, Rect::new(0, 0, 300, 20), 0xff_0000);
    sheet.fill_part(&mut vm.driver, Rect::new(0, 180, 10, 20), 0x00_ff00);
    sheet.fill_part(&mut vm.driver, Rect::new(299, 199, 1, 1), 0x00_00ff);
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &sheet.picture);

    other.fill(&mut vm.driver, 0x10_4080);
    submit(&mut vm.driver, Stream::new().copy(2, (100, 50), 1, Rect::new(0, 10, 200, 100)));
    let moved = sheet.picture.crop(Rect::new(0, 10, 200, 100));
    for y in 0..100 {
        for x in 0..200 {
            other.picture.fill(Rect::new(100 + x, 50 + y, 1, 1), moved.at(x, y));
        }
    }
    other.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &other.picture);
}

#[test]
fn what_shaders_draw_is_seen_where_it_was_drawn() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let scene = Scene::new(&mut vm.driver, 50);
    for (id, flags) in [(1, 0), (2, 1)] {
        let mut sheet = Sheet::of(&mut vm.driver, Texture { flags, ..Texture::picture(id, 200, 150) });
        // Each on another ground, for what is seen of the first one is no proof for the second.
        sheet.fill(&mut vm.driver, 0x00_0044 * id);
        let mut stream = Stream::new();
        stream.create_sub_context(id).set_sub_context(id);
        scene.prepare(&mut stream, &sheet.texture);
        for rect in [Rect::new(0, 0, 200, 10), Rect::new(0, 0, 7, 150), Rect::new(150, 120, 30, 25)] {
            scene.draw(&mut stream, rect);
            sheet.picture.fill(rect, COLOUR);
        }
        stream.set_sub_context(0);
        submit(&mut vm.driver, &stream);
        sheet.flip_to(&mut vm.driver, 0);
        // OpenGL's first row is the lowest: guests turn what they draw into a texture whose first row is on top.
        let seen = if flags == 0 { sheet.picture } else { upside_down(&sheet.picture) };
        await_picture(&vm, 0, &seen);
    }
}

#[test]
fn a_flush_shows_its_rectangle_and_no_more_is_sent() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    let mut sheet = sheet_on_screen(&mut vm, 1, 640, 480);
    settled.events(&mut vm);

    // All of it is another, a part of it is flushed.
    let before = sheet.picture.clone();
    sheet.fill(&mut vm.driver, 0x12_3456);
    let part = Rect::new(64, 32, 64, 16);
    sheet.flush(&mut vm.driver, part);
    let sent = settled.update_bytes(&mut vm);
    assert!((1..=TILE_BYTES).contains(&sent), "{sent} bytes for one tile");
    let mut expected = before;
    expected.fill(part, 0x12_3456);
    assert!(shows(&vm, 0, &expected), "no more than what was flushed");

    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
    settled.events(&mut vm);
    // The same again, drawn anew: nothing.
    for _ in 0..5 {
        sheet.fill(&mut vm.driver, 0x12_3456);
        sheet.flush(&mut vm.driver, sheet.rect());
    }
    assert_eq!(settled.events(&mut vm), []);
}

#[test]
fn two_flushes_of_one_batch_show_both_their_rectangles() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 640, 480) });
    sheet.flip_to(&mut vm.driver, 0);
    for (round, order) in (1..).zip([[0, 1], [1, 0]]) {
        let parts = [Rect::new(10, 20, 30, 40), Rect::new(500, 400, 100, 50)];
        for part in parts {
            sheet.fill_part(&mut vm.driver, part, 0x0a_0b0c * round);
        }
        for rect in order.map(|which: usize| parts[which]) {
            vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 1 }).unwrap();
        }
        vm.driver.kick();
        vm.driver.finish_all().unwrap();
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn of_a_frame_in_which_little_changed_little_is_sent() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 1280, 800) });
    sheet.fill(&mut vm.driver, 0x40_4040);
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &sheet.picture);
    settled.events(&mut vm);

    for (n, at) in (0..).zip([(0, 0), (100, 100), (632, 400), (1272, 784)]) {
        sheet.fill_part(&mut vm.driver, Rect::new(at.0, at.1, 8, 16), 0xff_ffff - n);
        sheet.flush(&mut vm.driver, sheet.rect());
        let sent = settled.update_bytes(&mut vm);
        assert!((8 * 16 * 4..=4 * TILE_BYTES).contains(&sent), "{sent} bytes for a text cursor at {at:?}");
        assert!(shows(&vm, 0, &sheet.picture));
    }
}

#[test]
fn page_flips_between_two_textures_send_where_they_differ() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    let front = sheet_on_screen(&mut vm, 1, 1280, 800);
    let mut back = Sheet::new(&mut vm.driver, 2, 1280, 800);
    let mut picture = front.picture.clone();
    picture.fill(Rect::new(300, 300, 20, 20), 0xab_cdef);
    back.draw(picture);
    back.bring(&mut vm.driver, back.rect());
    settled.events(&mut vm);

    for sheet in [&back, &front, &back, &front] {
        sheet.flip_to(&mut vm.driver, 0);
        let sent = settled.update_bytes(&mut vm);
        assert!((20 * 20 * 4..=6 * TILE_BYTES).contains(&sent), "{sent} bytes for 20 x 20 pixels");
        assert!(shows(&vm, 0, &sheet.picture));
        // The flip alone, with no flush, to what is there already.
        sheet.put_on(&mut vm.driver, 0);
        assert_eq!(settled.update_bytes(&mut vm), 0);
    }
}

#[test]
fn what_is_drawn_between_two_flips_of_one_batch_is_not_seen_too_early() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut front = sheet_on_screen(&mut vm, 1, 200, 100);
    let mut back = Sheet::new(&mut vm.driver, 2, 200, 100);
    // Draw, flip, draw into the other, flip: all in one kick, as often as the ring takes.
    for round in 0..20u32 {
        let streams: Vec<(u32, u32, Stream)> = (0..4)
            .map(|n| {
                let (id, rgb) = (1 + n % 2, (round * 4 + n + 1) * 0x01_0203);
                let mut stream = Stream::new();
                stream.fill(id, front.texture.format, rgb);
                (id, rgb, stream)
            })
            .collect();
        for (id, rgb, stream) in &streams {
            let ctx = seat_frontend::gpu::Fence::in_context(CTX);
            vm.driver.queue_fenced(&Command::Submit3d { words: stream.words() }, ctx).unwrap();
            let rect = front.rect();
            vm.driver.queue(&Command::SetScanout { rect, scanout_id: 0, resource_id: *id }).unwrap();
            vm.driver.queue(&Command::ResourceFlush { rect, resource_id: *id }).unwrap();
            let sheet = if *id == 1 { &mut front } else { &mut back };
            sheet.picture = Picture::flat(200, 100, *rgb);
        }
        vm.driver.kick();
        vm.driver.finish_all().unwrap();
        await_picture(&vm, 0, &back.picture);
    }
    front.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &front.picture);
}

#[test]
fn what_is_drawn_after_the_flush_is_not_shown_before_the_next() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    sheet.fill(&mut vm.driver, 0x11_1111);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
    settled.events(&mut vm);

    let (mut second, mut third) = (Stream::new(), Stream::new());
    second.fill(1, sheet.texture.format, 0x22_2222);
    third.fill(1, sheet.texture.format, 0x33_3333);
    let (rect, ctx) = (sheet.rect(), seat_frontend::gpu::Fence::in_context(CTX));
    vm.driver.queue_fenced(&Command::Submit3d { words: second.words() }, ctx).unwrap();
    vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 1 }).unwrap();
    vm.driver.queue_fenced(&Command::Submit3d { words: third.words() }, ctx).unwrap();
    vm.driver.kick();
    vm.driver.finish_all().unwrap();

    settled.wait(&mut vm);
    assert!(shows(&vm, 0, &Picture::flat(64, 64, 0x22_2222)));
}

#[test]
fn a_part_of_a_texture_is_on_a_scanout() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut settled = Settled::new(&mut vm);
    let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 640, 480) });
    sheet.draw(Picture::noise(640, 480, 1));
    sheet.bring(&mut vm.driver, sheet.rect());
    let part = Rect::new(123, 77, 301, 203);

    vm.driver.set_scanout(0, 1, part).unwrap().ok().unwrap();
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture.crop(part));
    settled.events(&mut vm);

    // Outside of it: nothing is sent. Across its edge: what is in it.
    sheet.fill_part(&mut vm.driver, Rect::new(0, 0, 123, 77), 0xff_ffff);
    sheet.flush(&mut vm.driver, Rect::new(0, 0, 123, 77));
    assert_eq!(settled.update_bytes(&mut vm), 0);
    sheet.fill_part(&mut vm.driver, Rect::new(100, 60, 60, 60), 0x00_ff00);
    sheet.flush(&mut vm.driver, Rect::new(100, 60, 60, 60));
    await_picture(&vm, 0, &sheet.picture.crop(part));
    for wrong in [Rect::new(340, 0, 301, 480), Rect::new(0, 0, 0, 480), Rect::new(u32::MAX, 0, 2, 2)] {
        assert!(!vm.driver.set_scanout(0, 1, wrong).unwrap().is_ok(), "{wrong:?}");
    }
    for wrong in [Rect::new(600, 400, 41, 80), Rect::new(0, u32::MAX, 1, 1)] {
        assert!(!vm.driver.flush(1, wrong).unwrap().is_ok(), "{wrong:?}");
    }
    assert!(shows(&vm, 0, &sheet.picture.crop(part)));
}

#[test]
fn two_scanouts_show_one_texture_each_its_part() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 640, 240) });
    let (left, right) = (Rect::new(0, 0, 320, 240), Rect::new(320, 0, 320, 240));
    vm.driver.set_scanout(0, 1, left).unwrap().ok().unwrap();
    vm.driver.set_scanout(3, 1, right).unwrap().ok().unwrap();

    for seed in 0..3 {
        sheet.draw(Picture::noise(640, 240, seed));
        sheet.bring(&mut vm.driver, sheet.rect());
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture.crop(left));
        await_picture(&vm, 3, &sheet.picture.crop(right));
    }
    // Across both.
    sheet.fill_part(&mut vm.driver, Rect::new(300, 100, 40, 40), 0xfe_dcba);
    sheet.flush(&mut vm.driver, Rect::new(300, 100, 40, 40));
    await_picture(&vm, 0, &sheet.picture.crop(left));
    await_picture(&vm, 3, &sheet.picture.crop(right));
    // One goes on alone, and both show the same.
    vm.driver.set_scanout(0, 0, Rect::default()).unwrap().ok().unwrap();
    vm.display.wait(soon(), |display| display.surface(0).is_none()).unwrap();
    sheet.fill(&mut vm.driver, 0x77_0077);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 3, &sheet.picture.crop(right));
    sheet.put_on(&mut vm.driver, 0);
    sheet.put_on(&mut vm.driver, 3);
    await_picture(&vm, 0, &sheet.picture);
    await_picture(&vm, 3, &sheet.picture);
}

#[test]
fn set_scanout_alone_shows_what_is_there() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = Sheet::new(&mut vm.driver, 1, 320, 200);
    sheet.fill(&mut vm.driver, 0x44_8811);
    sheet.put_on(&mut vm.driver, 0);
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_new_display_is_told_what_is_on_the_screen() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 320, 200);
    sheet.fill(&mut vm.driver, 0x44_8811);
    sheet.flush(&mut vm.driver, sheet.rect());
    vm.pause().unwrap();
    vm.resume().unwrap();
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_large_texture_is_seen_whole() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    // More than is read back at a time.
    let mut sheet = Sheet::of(&mut vm.driver, Texture { flags: 0, ..Texture::picture(1, 1920, 1080) });
    sheet.draw(Picture::noise(1920, 1080, 8));
    sheet.bring(&mut vm.driver, sheet.rect());
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_cursor_comes_from_a_texture() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for (id, flags) in [(1, 0), (2, 1)] {
        let texture =
            Texture { format: format::B8G8R8A8, bind: bind::SAMPLER_VIEW, flags, ..Texture::picture(id, 64, 64) };
        let mut sheet = Sheet::of(&mut vm.driver, texture);
        for seed in 0..2 {
            sheet.draw(Picture::noise(64, 64, seed));
            sheet.bring(&mut vm.driver, sheet.rect());
            vm.driver.update_cursor(0, id, (10, 20), (3, 4)).unwrap();

            let wanted = &sheet.picture;
            let waited = vm.display.wait(soon(), |display| {
                let cursor = display.cursor(0);
                cursor.visible && cursor.shape.chunks(4).map(shown).eq(wanted.rgb.iter().copied())
            });
            waited.unwrap();
            let (at, hot, alpha) = vm.display.with(|display| {
                let cursor = display.cursor(0);
                (cursor.at, cursor.hot, cursor.shape.chunks(4).all(|pixel| pixel[3] == 0x5a))
            });
            assert_eq!((at, hot, alpha), ((10, 20), (3, 4), true));
        }
    }
    vm.driver.update_cursor(0, 0, (0, 0), (0, 0)).unwrap();
    vm.display.wait(soon(), |display| !display.cursor(0).visible).unwrap();
}

#[test]
fn a_cursor_that_is_much_to_read_is_refused() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for (width, kind) in [(2048, resp::OK_NODATA), (2049, resp::ERR_INVALID_PARAMETER)] {
        vm.driver.create_3d(&Texture::picture(1, width, 2048)).unwrap().ok().unwrap();
        let cursor = Command::UpdateCursor { scanout_id: 0, x: 0, y: 0, resource_id: 1, hot_x: 0, hot_y: 0 };
        assert_eq!(vm.driver.call(&cursor).unwrap().kind, kind, "{width}");
        vm.driver.unref(1).unwrap().ok().unwrap();
    }
}
