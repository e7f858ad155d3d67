//! Cursors: shown, moved, hidden and shown again, of any size, on any scanout.

use seat_frontend::display::{Cursor, Display, Event};
use seat_frontend::gpu::{Command, GpuDriver, Rect, format};
use seat_frontend::machine::GpuMachine;

use crate::common::canvas::{Canvas, Settled};
use crate::common::random::Random;
use crate::common::{Seat, boot, soon};

/// A resource whose pixels are `pixels` (B, G, R, A), brought over.
fn shape(driver: &mut GpuDriver, id: u32, side: (u32, u32), pixels: &[u8]) -> Canvas {
    let canvas = Canvas::with_format(driver, id, format::B8G8R8A8, side.0, side.1);
    canvas.backing.write(0, pixels);
    canvas.transfer(driver, canvas.rect());
    canvas
}

/// Pixels with all sorts of alphas.
fn pixels(side: (u32, u32), seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..side.0 * side.1 * 4).map(|_| random.next() as u8).collect()
}

/// Waits until a cursor is as it should be.
fn await_cursor(vm: &GpuMachine, scanout: usize, done: impl Fn(&Cursor) -> bool) {
    let waited = vm.display.wait(soon(), |display| done(display.cursor(scanout)));
    let cursor = vm.display.with(|display| Cursor { shape: Vec::new(), ..display.cursor(scanout).clone() });
    waited.unwrap_or_else(|error| panic!("{cursor:?}: {error}"));
}

#[test]
fn a_cursor_is_shown_with_its_pixels_place_and_hot_spot() {
    let Seat { program: _program, mut vm } = boot();
    let bytes = pixels((64, 64), 1);
    shape(&mut vm.driver, 1, (64, 64), &bytes);

    vm.driver.update_cursor(0, 1, (100, 200), (3, 4)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.visible && cursor.at == (100, 200) && cursor.hot == (3, 4));
    assert!(vm.display.with(|display| display.cursor(0).shape == bytes));
}

#[test]
fn the_alpha_of_a_format_that_has_none_is_kept_for_linux_draws_its_cursors_so() {
    let Seat { program: _program, mut vm } = boot();
    let bytes = pixels((64, 64), 2);
    let canvas = Canvas::with_format(&mut vm.driver, 1, format::B8G8R8X8, 64, 64);
    canvas.backing.write(0, &bytes);
    canvas.transfer(&mut vm.driver, canvas.rect());

    vm.driver.update_cursor(0, 1, (0, 0), (0, 0)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.shape == bytes);
}

#[test]
fn cursors_of_all_formats_have_their_colours() {
    let Seat { program: _program, mut vm } = boot();
    let picture = crate::common::picture::Picture::noise(64, 64, 3);
    let expected = picture.bytes(format::B8G8R8A8);
    for (id, format) in (1..).zip(format::ALL) {
        let canvas = Canvas::with_format(&mut vm.driver, id, format, 64, 64);
        canvas.backing.write(0, &picture.bytes(format));
        canvas.transfer(&mut vm.driver, canvas.rect());

        vm.driver.update_cursor(0, id, (id, 0), (0, 0)).unwrap();

        await_cursor(&vm, 0, |cursor| cursor.at == (id, 0));
        assert!(vm.display.with(|display| display.cursor(0).shape == expected), "format {format}");
    }
}

#[test]
fn a_cursor_moves_without_its_pixels_being_sent_again() {
    let Seat { program: _program, mut vm } = boot();
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    vm.driver.update_cursor(0, 1, (0, 0), (0, 0)).unwrap();

    for at in 1..100 {
        vm.driver.move_cursor(0, 1, (at, 2 * at)).unwrap();
    }

    await_cursor(&vm, 0, |cursor| cursor.at == (99, 198));
    assert_eq!(vm.display.with(|display| display.cursor(0).shapes), 1);
}

#[test]
fn a_cursor_can_be_left_of_and_above_the_screen() {
    let Seat { program: _program, mut vm } = boot();
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    let outside = (-5i32 as u32, -7i32 as u32);

    vm.driver.update_cursor(0, 1, outside, (0, 0)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.at == outside && cursor.visible);
}

#[test]
fn a_cursor_is_hidden_by_resource_0_and_shown_again() {
    let Seat { program: _program, mut vm } = boot();
    let bytes = pixels((64, 64), 1);
    shape(&mut vm.driver, 1, (64, 64), &bytes);
    for round in 1..4 {
        vm.driver.update_cursor(0, 1, (round, 0), (0, 0)).unwrap();
        await_cursor(&vm, 0, |cursor| cursor.visible && cursor.at == (round, 0) && cursor.shape == bytes);

        vm.driver.update_cursor(0, 0, (round, 0), (0, 0)).unwrap();
        await_cursor(&vm, 0, |cursor| !cursor.visible);
    }
}

#[test]
fn a_hidden_cursor_that_moves_stays_hidden() {
    let Seat { program: _program, mut vm } = boot();
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    vm.driver.update_cursor(0, 1, (1, 1), (0, 0)).unwrap();
    vm.driver.update_cursor(0, 0, (1, 1), (0, 0)).unwrap();
    await_cursor(&vm, 0, |cursor| !cursor.visible && cursor.shapes == 1);

    vm.driver.move_cursor(0, 0, (9, 9)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.at == (9, 9));
    assert!(!vm.display.with(|display| display.cursor(0).visible));
}

#[test]
fn a_shape_that_changed_in_its_resource_is_taken_with_the_next_update() {
    let Seat { program: _program, mut vm } = boot();
    let canvas = shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    vm.driver.update_cursor(0, 1, (0, 0), (0, 0)).unwrap();
    let other = pixels((64, 64), 2);
    canvas.backing.write(0, &other);
    canvas.transfer(&mut vm.driver, canvas.rect());

    vm.driver.update_cursor(0, 1, (0, 0), (0, 0)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.shape == other);
}

#[test]
fn a_cursor_shows_what_a_transfer_before_it_on_the_same_queue_brings() {
    let Seat { program: _program, mut vm } = boot();
    let canvas = shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    for seed in 2..20 {
        let bytes = pixels((64, 64), seed);
        canvas.backing.write(0, &bytes);
        vm.driver.queue(&Command::TransferToHost2d { rect: canvas.rect(), offset: 0, resource_id: 1 }).unwrap();
        let (x, hot_x) = (seed as u32, 0);
        vm.driver.queue(&Command::UpdateCursor { scanout_id: 0, x, y: 0, resource_id: 1, hot_x, hot_y: 0 }).unwrap();

        vm.driver.kick();
        vm.driver.finish_all().unwrap();

        await_cursor(&vm, 0, |cursor| cursor.at == (x, 0));
        assert!(vm.display.with(|display| display.cursor(0).shape == bytes), "seed {seed}");
    }
}

#[test]
fn an_unchanged_cursor_is_not_sent_again() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    vm.driver.update_cursor(0, 1, (5, 5), (1, 1)).unwrap();
    settled.events(&mut vm);

    for _ in 0..10 {
        vm.driver.update_cursor(0, 1, (5, 5), (1, 1)).unwrap();
        vm.driver.move_cursor(0, 1, (5, 5)).unwrap();
    }

    assert_eq!(settled.events(&mut vm), []);
}

#[test]
fn a_cursor_outlives_its_resource() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let bytes = pixels((64, 64), 1);
    shape(&mut vm.driver, 1, (64, 64), &bytes);
    vm.driver.update_cursor(0, 1, (5, 5), (1, 1)).unwrap();

    vm.driver.unref(1).unwrap().ok().unwrap();
    vm.driver.move_cursor(0, 1, (6, 6)).unwrap();

    settled.wait(&mut vm);
    await_cursor(&vm, 0, |cursor| cursor.visible && cursor.at == (6, 6) && cursor.shape == bytes);
}

#[test]
fn smaller_cursors_stand_in_the_upper_left_corner_of_nothing() {
    let Seat { program: _program, mut vm } = boot();
    for (id, side) in (1..).zip([(1, 1), (16, 16), (32, 32), (24, 40), (64, 10), (63, 63)]) {
        let bytes = pixels(side, id.into());
        shape(&mut vm.driver, id, side, &bytes);
        let mut expected = vec![0; 64 * 64 * 4];
        for (row, line) in bytes.chunks(side.0 as usize * 4).enumerate() {
            expected[row * 256..row * 256 + line.len()].copy_from_slice(line);
        }

        vm.driver.update_cursor(0, id, (id, 0), (0, 0)).unwrap();

        await_cursor(&vm, 0, |cursor| cursor.at == (id, 0));
        assert!(vm.display.with(|display| display.cursor(0).shape == expected), "{side:?}");
    }
}

#[test]
fn larger_cursors_are_scaled_down_and_keep_their_shape_and_hot_spot() {
    let Seat { program: _program, mut vm } = boot();
    // Left half opaque red, right half transparent; twice as wide as high.
    for (id, width) in (1..).zip([128, 256, 512, 132, 2000]) {
        let height = width / 2;
        let pixel = |x: u32| if x < width / 2 { [0, 0, 0xff, 0xff] } else { [0; 4] };
        let bytes: Vec<u8> = (0..height).flat_map(|_| (0..width).flat_map(pixel)).collect();
        shape(&mut vm.driver, id, (width, height), &bytes);

        vm.driver.update_cursor(0, id, (id, 0), (width / 2, height / 2)).unwrap();

        await_cursor(&vm, 0, |cursor| cursor.at == (id, 0));
        vm.display.with(|display| {
            let cursor = display.cursor(0);
            let at = |x: usize, y: usize| &cursor.shape[(y * 64 + x) * 4..][..4];
            assert_eq!((at(5, 5), at(30, 30)), (&[0, 0, 0xff, 0xff][..], &[0, 0, 0xff, 0xff][..]), "width {width}");
            assert_eq!((at(34, 5), at(60, 20)), (&[0; 4][..], &[0; 4][..]), "width {width}");
            assert_eq!((at(5, 34), at(5, 60)), (&[0; 4][..], &[0; 4][..]), "width {width}: only 32 rows");
            assert_eq!(cursor.hot, (32, 16), "width {width}");
        });
    }
}

#[test]
fn a_hot_spot_outside_the_cursor_is_brought_inside() {
    let Seat { program: _program, mut vm } = boot();
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));

    vm.driver.update_cursor(0, 1, (0, 0), (u32::MAX, 64)).unwrap();

    await_cursor(&vm, 0, |cursor| cursor.visible);
    let hot = vm.display.with(|display| display.cursor(0).hot);
    assert!(hot.0 < 64 && hot.1 < 64, "{hot:?}");
}

#[test]
fn each_scanout_has_a_cursor_of_its_own() {
    let Seat { program: _program, mut vm } = boot();
    let shapes: Vec<_> = (0..16).map(|seed| pixels((64, 64), seed)).collect();
    for (scanout, bytes) in (0..).zip(&shapes) {
        shape(&mut vm.driver, scanout + 1, (64, 64), bytes);
        vm.driver.update_cursor(scanout, scanout + 1, (10 * scanout, scanout), (scanout, 0)).unwrap();
    }
    vm.driver.move_cursor(3, 4, (33, 33)).unwrap();
    vm.driver.update_cursor(5, 0, (0, 0), (0, 0)).unwrap();

    for (scanout, bytes) in shapes.iter().enumerate() {
        let at = if scanout == 3 { (33, 33) } else { (10 * scanout as u32, scanout as u32) };
        match scanout {
            // Whether it was ever shown before it was hidden depends on how fast the display is.
            5 => await_cursor(&vm, 5, |cursor| !cursor.visible),
            _ => await_cursor(&vm, scanout, |cursor| cursor.visible && cursor.at == at && cursor.shape == *bytes),
        }
    }
}

#[test]
fn a_cursor_for_a_scanout_or_a_resource_that_is_not_there_changes_nothing() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    shape(&mut vm.driver, 1, (64, 64), &pixels((64, 64), 1));
    settled.events(&mut vm);

    vm.driver.update_cursor(16, 1, (5, 5), (0, 0)).unwrap();
    vm.driver.update_cursor(u32::MAX, 1, (5, 5), (0, 0)).unwrap();
    vm.driver.update_cursor(0, 77, (5, 5), (0, 0)).unwrap();
    vm.driver.move_cursor(16, 1, (5, 5)).unwrap();

    assert_eq!(settled.events(&mut vm), []);
}

#[test]
fn of_many_moves_a_slow_display_gets_the_last() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = Canvas::new(&mut vm.driver, 9, 1024, 768);
    canvas.put_on(&mut vm.driver, 0);
    vm.display.with(|display| display.set_reading(false));
    canvas.fill(Rect::new(0, 0, 1024, 768), 0x77_7777);
    canvas.present_all(&mut vm.driver);

    for at in 1..1000 {
        vm.driver.move_cursor(0, 0, (at, 1)).unwrap();
    }
    vm.display.with(|display| display.set_reading(true));

    vm.display.wait(soon(), |display| display.cursor(0).at == (999, 1)).unwrap();
    let log = vm.display.with(Display::take_log);
    let moves = log.iter().filter(|event| matches!(event, Event::CursorPos { .. } | Event::CursorHide { .. }));
    assert!(moves.count() < 100);
}
