//! What is sent to the display, and what is not: frames are compared tile by tile, and a slow display gets the newest
//! state instead of all that was.

use seat_frontend::display::{Display, Event, message};
use seat_frontend::gpu::{Command, Rect};

use crate::common::canvas::{Canvas, Settled, await_picture, canvas_on_screen, shows};
use crate::common::picture::Picture;
use crate::common::random::Random;
use crate::common::{Seat, assert_answers, boot, boot_with, roomy_options};

/// A tile at the most.
const TILE_BYTES: u64 = 64 * 16 * 4;

#[test]
fn an_unchanged_frame_is_not_sent_again() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let canvas = canvas_on_screen(&mut vm, 1, 640, 480);
    settled.events(&mut vm);

    for _ in 0..10 {
        canvas.present_all(&mut vm.driver);
    }

    assert_eq!(settled.events(&mut vm), []);
}

#[test]
fn of_a_changed_frame_only_what_changed_is_sent() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let mut canvas = canvas_on_screen(&mut vm, 1, 1280, 800);
    settled.events(&mut vm);

    // A text cursor: 8 x 16 pixels, at most four tiles.
    for (n, at) in [(0, 0), (100, 100), (632, 400), (1272, 784)].into_iter().enumerate() {
        canvas.fill(Rect::new(at.0, at.1, 8, 16), 0xff_ffff - n as u32);
        canvas.present_all(&mut vm.driver);

        let sent = settled.update_bytes(&mut vm);
        assert!((8 * 16 * 4..=4 * (TILE_BYTES + 32)).contains(&sent), "{sent} bytes for a text cursor at {at:?}");
        assert!(shows(&vm, 0, &canvas.picture));
    }
}

#[test]
fn changes_far_apart_are_sent_apart() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let mut canvas = canvas_on_screen(&mut vm, 1, 1280, 800);
    settled.events(&mut vm);

    for corner in [(0, 0), (1279, 0), (0, 799), (1279, 799)] {
        canvas.fill(Rect::new(corner.0, corner.1, 1, 1), 0x12_3456);
    }
    canvas.present_all(&mut vm.driver);

    let sent = settled.update_bytes(&mut vm);
    assert!(sent <= 4 * (TILE_BYTES + 32), "{sent} bytes for four pixels");
    assert!(shows(&vm, 0, &canvas.picture));
}

#[test]
fn page_flips_between_two_buffers_send_where_they_differ() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let front = canvas_on_screen(&mut vm, 1, 1280, 800);
    let mut back = Canvas::new(&mut vm.driver, 2, 1280, 800);
    let mut picture = front.picture.clone();
    picture.fill(Rect::new(300, 300, 20, 20), 0xab_cdef);
    back.draw(picture);
    back.transfer(&mut vm.driver, back.rect());
    settled.events(&mut vm);

    for canvas in [&back, &front, &back, &front] {
        canvas.put_on(&mut vm.driver, 0);
        canvas.present_all(&mut vm.driver);

        let sent = settled.update_bytes(&mut vm);
        assert!((20 * 20 * 4..=6 * (TILE_BYTES + 32)).contains(&sent), "{sent} bytes for a flip");
        assert!(shows(&vm, 0, &canvas.picture));
    }
}

#[test]
fn a_flip_shows_all_of_the_buffer_whatever_part_was_flushed_before_it_in_the_batch() {
    let Seat { program: _program, mut vm } = boot();
    let front = canvas_on_screen(&mut vm, 1, 256, 256);
    let mut back = Canvas::new(&mut vm.driver, 2, 256, 256);
    back.put_on(&mut vm.driver, 0);
    front.put_on(&mut vm.driver, 0);
    back.draw(Picture::noise(256, 256, 3));
    let (rect, part) = (back.rect(), Rect::new(0, 0, 64, 16));

    for command in [
        Command::TransferToHost2d { rect, offset: 0, resource_id: 2 },
        Command::ResourceFlush { rect: part, resource_id: 2 },
        Command::SetScanout { rect, scanout_id: 0, resource_id: 2 },
    ] {
        vm.driver.queue(&command).unwrap();
    }
    vm.driver.kick();
    vm.driver.finish_all().unwrap();

    await_picture(&vm, 0, &back.picture);
}

#[test]
fn a_flush_sends_nothing_outside_its_rectangle() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let mut canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    let mut shown = canvas.picture.clone();
    let mut random = Random::new(1);
    settled.events(&mut vm);
    for round in 0..50 {
        let (x, y) = (random.below(300), random.below(200));
        let rect = Rect::new(x, y, random.between(1, 300 - x), random.between(1, 200 - y));
        canvas.draw(Picture::noise(300, 200, 1000 + round));
        canvas.transfer(&mut vm.driver, canvas.rect());

        vm.driver.flush(1, rect).unwrap().ok().unwrap();

        let updates = settled.updates(&mut vm, 0);
        let inside = |part: &Rect| {
            part.x >= rect.x
                && part.y >= rect.y
                && part.x + part.width <= rect.x + rect.width
                && part.y + part.height <= rect.y + rect.height
        };
        assert!(updates.iter().all(inside), "round {round}: {updates:?} for a flush of {rect:?}");
        shown.take(&canvas.picture, rect);
        assert!(shows(&vm, 0, &shown), "round {round}: {rect:?}");
    }
}

#[test]
fn what_a_flush_left_out_is_sent_with_a_later_one() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 300, 200);
    canvas.draw(Picture::noise(300, 200, 2));
    canvas.transfer(&mut vm.driver, canvas.rect());

    for (x, y) in [(0, 0), (150, 0), (0, 100), (150, 100)] {
        vm.driver.flush(1, Rect::new(x, y, 150, 100)).unwrap().ok().unwrap();
    }

    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn many_small_flushes_in_one_batch_are_all_shown() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 256, 256);
    canvas.draw(Picture::noise(256, 256, 2));
    for y in 0..8 {
        for x in 0..4 {
            let rect = Rect::new(x * 64, y * 32, 64, 32);
            let (offset, resource_id) = (canvas.offset(rect), 1);
            let transfer = Command::TransferToHost2d { rect, offset, resource_id };
            vm.driver.queue(&transfer).unwrap();
            vm.driver.queue(&Command::ResourceFlush { rect, resource_id }).unwrap();
        }
    }

    vm.driver.kick();
    vm.driver.finish_all().unwrap();

    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn a_display_that_does_not_read_does_not_hold_the_guest_up_and_gets_the_newest_picture_in_the_end() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 800, 600);
    vm.display.with(|display| {
        display.reset_counters();
        display.set_reading(false);
    });

    let frames = 40;
    for seed in 0..frames {
        canvas.draw(Picture::noise(800, 600, seed));
        canvas.present_all(&mut vm.driver);
    }
    vm.display.with(|display| display.set_reading(true));

    await_picture(&vm, 0, &canvas.picture);
    let bytes = vm.display.with(|display| display.counters().bytes[message::UPDATE as usize]);
    let frame = 800 * 600 * 4;
    assert!(bytes < 4 * frame, "{bytes} bytes for {frames} frames of {frame} that were merged");
}

#[test]
fn a_display_that_reads_now_and_then_shows_the_newest_picture_in_the_end() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 400, 300);
    let mut random = Random::new(3);
    for seed in 0..200 {
        vm.display.with(|display| display.set_reading(!random.once_in(2)));
        let (x, y) = (random.below(400), random.below(300));
        let rect = Rect::new(x, y, random.between(1, 400 - x), random.between(1, 300 - y));
        let mut picture = canvas.picture.clone();
        picture.take(&Picture::noise(400, 300, seed), rect);
        canvas.draw(picture);
        canvas.present(&mut vm.driver, rect);
    }

    vm.display.with(|display| display.set_reading(true));

    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn a_resource_that_goes_while_the_display_is_slow_is_not_missed_by_anybody() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 800, 600);
    vm.display.with(|display| display.set_reading(false));
    canvas.draw(Picture::noise(800, 600, 4));
    canvas.present_all(&mut vm.driver);

    vm.driver.unref(1).unwrap().ok().unwrap();
    let other = Canvas::new(&mut vm.driver, 2, 320, 200);
    other.put_on(&mut vm.driver, 0);
    assert_answers(&mut vm);
    vm.display.with(|display| display.set_reading(true));

    await_picture(&vm, 0, &other.picture);
}

#[test]
fn cursors_go_before_pictures_to_a_slow_display() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 1920, 1080);
    vm.display.with(|display| {
        display.set_reading(false);
        display.take_log();
    });
    canvas.draw(Picture::noise(1920, 1080, 4));
    canvas.present_all(&mut vm.driver);
    vm.driver.move_cursor(0, 0, (7, 7)).unwrap();

    vm.display.with(|display| display.set_reading(true));
    await_picture(&vm, 0, &canvas.picture);

    let log = vm.display.with(Display::take_log);
    let moved = |event: &Event| matches!(event, Event::CursorPos { x: 7, .. } | Event::CursorHide { x: 7, .. });
    let place = log.iter().position(moved).expect("the cursor moved");
    assert!(place < log.len() / 2, "message {place} of {}", log.len());
}

#[test]
fn an_update_does_not_keep_qemu_in_one_read_for_long() {
    let Seat { program: _program, mut vm } = boot_with(&[], roomy_options());
    let mut settled = Settled::new(&mut vm);
    canvas_on_screen(&mut vm, 1, 3840, 2160);

    let updates = settled.updates(&mut vm, 0);

    let largest = updates.iter().map(|rect| rect.width * rect.height * 4 + 20).max();
    assert!(largest <= Some(256 * 1024 + 20), "{largest:?} bytes in one UPDATE");
}
