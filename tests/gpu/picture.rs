//! What is to be seen: formats, scanouts, rectangles.

use seat_frontend::display::{Event, message};
use seat_frontend::gpu::{Rect, format};
use seat_frontend::machine::GpuMachine;

use crate::common::canvas::{Canvas, Settled, await_picture, canvas_on_screen, shows};
use crate::common::picture::Picture;
use crate::common::{boot, boot_with, roomy_options};

/// A picture with colours that no two channels share.
fn colours(width: u32, height: u32) -> Picture {
    let mut picture = Picture::noise(width, height, 5);
    for (at, rgb) in [0xff0000, 0x00ff00, 0x0000ff, 0x123456, 0xffffff, 0x000001].into_iter().enumerate() {
        picture.fill(Rect::new(at as u32, 0, 1, height), rgb);
    }
    picture
}

#[test]
fn all_eight_formats_are_shown_in_their_colours() {
    let mut seat = boot();
    for (id, format) in (1..).zip(format::ALL) {
        let mut canvas = Canvas::with_format(&mut seat.vm.driver, id, format, 100, 50);
        canvas.draw(colours(100, 50));
        canvas.put_on(&mut seat.vm.driver, 0);

        canvas.present_all(&mut seat.vm.driver);

        await_picture(&seat.vm, 0, &canvas.picture);
    }
}

#[test]
fn pictures_of_all_sorts_of_sizes_are_shown_whole() {
    let mut seat = boot();
    let sizes =
        [(1, 1), (2, 3), (63, 15), (64, 16), (65, 17), (1, 300), (300, 1), (640, 480), (1366, 768), (2000, 1001)];
    for (id, (width, height)) in (1..).zip(sizes) {
        canvas_on_screen(&mut seat.vm, id, width, height);
        seat.vm.driver.unref(id).unwrap().ok().unwrap();
    }
}

#[test]
fn a_picture_of_4k_is_shown() {
    let mut seat = boot_with(&[], roomy_options());
    canvas_on_screen(&mut seat.vm, 1, 3840, 2160);
}

#[test]
fn a_resource_without_a_transfer_is_black() {
    let mut seat = boot();
    seat.vm.driver.create_2d(1, format::B8G8R8X8, 100, 100).unwrap().ok().unwrap();

    seat.vm.driver.set_scanout(0, 1, Rect::new(0, 0, 100, 100)).unwrap().ok().unwrap();

    let black = Picture::flat(100, 100, 0);
    seat.vm.display.wait(crate::common::soon(), |display| display.counters().of(message::UPDATE) > 0).unwrap();
    await_picture(&seat.vm, 0, &black);
}

#[test]
fn a_resource_that_was_flushed_before_it_came_on_the_screen_is_shown_at_once() {
    let mut seat = boot();
    let mut canvas = Canvas::new(&mut seat.vm.driver, 1, 100, 100);
    canvas.draw(Picture::noise(100, 100, 3));
    canvas.present_all(&mut seat.vm.driver);

    canvas.put_on(&mut seat.vm.driver, 0);

    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn sixteen_scanouts_show_sixteen_pictures() {
    let mut seat = boot();
    let mut canvases = Vec::new();
    for scanout in 0..16 {
        let mut canvas = Canvas::new(&mut seat.vm.driver, scanout + 1, 100 + scanout, 60);
        canvas.draw(Picture::noise(100 + scanout, 60, scanout.into()));
        canvas.put_on(&mut seat.vm.driver, scanout);
        canvas.present_all(&mut seat.vm.driver);
        canvases.push(canvas);
    }
    for (scanout, canvas) in canvases.iter().enumerate() {
        await_picture(&seat.vm, scanout, &canvas.picture);
    }
}

/// Puts a part of a canvas on a scanout.
fn show_part(vm: &mut GpuMachine, canvas: &Canvas, scanout: u32, part: Rect) {
    vm.driver.set_scanout(scanout, canvas.id, part).unwrap().ok().unwrap();
}

#[test]
fn several_scanouts_side_by_side_on_one_framebuffer_show_their_parts() {
    let mut seat = boot();
    let mut canvas = Canvas::new(&mut seat.vm.driver, 1, 500, 300);
    let parts = [Rect::new(0, 0, 250, 300), Rect::new(250, 0, 250, 150), Rect::new(251, 149, 200, 100)];
    for (scanout, part) in (0..).zip(parts) {
        show_part(&mut seat.vm, &canvas, scanout, part);
    }
    for seed in 0..5 {
        canvas.draw(Picture::noise(500, 300, seed));

        canvas.present_all(&mut seat.vm.driver);

        for (scanout, part) in parts.into_iter().enumerate() {
            await_picture(&seat.vm, scanout, &canvas.picture.crop(part));
        }
    }
}

#[test]
fn mirrored_scanouts_show_the_same() {
    let mut seat = boot();
    let mut canvas = canvas_on_screen(&mut seat.vm, 1, 200, 100);
    canvas.put_on(&mut seat.vm.driver, 1);
    canvas.put_on(&mut seat.vm.driver, 7);
    for seed in 0..5 {
        canvas.draw(Picture::noise(200, 100, seed));

        canvas.present(&mut seat.vm.driver, canvas.rect());

        for scanout in [0, 1, 7] {
            await_picture(&seat.vm, scanout, &canvas.picture);
        }
    }
}

#[test]
fn a_scanout_of_an_inner_part_is_updated_in_its_own_coordinates() {
    let mut seat = boot();
    let mut canvas = canvas_on_screen(&mut seat.vm, 1, 300, 200);
    let part = Rect::new(37, 21, 150, 90);
    show_part(&mut seat.vm, &canvas, 0, part);
    await_picture(&seat.vm, 0, &canvas.picture.crop(part));

    // Outside of it, across each of its edges, and within.
    for (n, rect) in
        [Rect::new(0, 0, 30, 20), Rect::new(30, 10, 20, 20), Rect::new(180, 100, 60, 60), Rect::new(80, 60, 10, 10)]
            .into_iter()
            .enumerate()
    {
        canvas.fill(rect, 0x11_2233 * (n as u32 + 1));
        canvas.present(&mut seat.vm.driver, rect);
        await_picture(&seat.vm, 0, &canvas.picture.crop(part));
    }
}

#[test]
fn a_scanout_moved_over_its_framebuffer_shows_the_part_below_it() {
    let mut seat = boot();
    let canvas = canvas_on_screen(&mut seat.vm, 1, 300, 200);
    for (x, y) in [(0, 0), (1, 0), (0, 1), (64, 16), (100, 50), (200, 100)] {
        let part = Rect::new(x, y, 100, 100);

        show_part(&mut seat.vm, &canvas, 0, part);

        await_picture(&seat.vm, 0, &canvas.picture.crop(part));
    }
}

#[test]
fn surfaces_are_made_anew_only_when_their_size_changes() {
    let mut seat = boot();
    let mut settled = Settled::new(&mut seat.vm);
    let first = canvas_on_screen(&mut seat.vm, 1, 100, 100);
    let second = canvas_on_screen(&mut seat.vm, 2, 100, 100);
    let mut scanouts = |vm: &mut GpuMachine| {
        let mut events = settled.events(vm);
        events.retain(|event| matches!(event, Event::Scanout { .. }));
        events
    };
    assert_eq!(scanouts(&mut seat.vm).len(), 2, "this one and the one of the test itself");

    for canvas in [&first, &second, &second, &first] {
        canvas.put_on(&mut seat.vm.driver, 0);
        canvas.present_all(&mut seat.vm.driver);
    }
    show_part(&mut seat.vm, &first, 0, Rect::new(0, 0, 50, 100));
    show_part(&mut seat.vm, &first, 0, Rect::new(50, 0, 50, 100));
    show_part(&mut seat.vm, &first, 0, first.rect());

    let narrow = Event::Scanout { scanout: 0, width: 50, height: 100 };
    let whole = Event::Scanout { scanout: 0, width: 100, height: 100 };
    assert_eq!(scanouts(&mut seat.vm), [narrow, whole]);
}

#[test]
fn a_scanout_that_is_switched_off_is_off_and_gets_no_updates_until_it_is_on_again() {
    let mut seat = boot();
    let mut settled = Settled::new(&mut seat.vm);
    let mut canvas = canvas_on_screen(&mut seat.vm, 1, 100, 100);

    seat.vm.driver.set_scanout(0, 0, Rect::default()).unwrap().ok().unwrap();
    settled.events(&mut seat.vm);
    canvas.draw(Picture::noise(100, 100, 9));
    canvas.present_all(&mut seat.vm.driver);

    assert_eq!(settled.events(&mut seat.vm), []);
    assert!(seat.vm.display.with(|display| display.surface(0).is_none()));
    canvas.put_on(&mut seat.vm.driver, 0);
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn a_scanout_whose_resource_goes_is_off() {
    let mut seat = boot();
    let mut settled = Settled::new(&mut seat.vm);
    let canvas = canvas_on_screen(&mut seat.vm, 1, 100, 100);
    canvas.put_on(&mut seat.vm.driver, 3);
    let other = Canvas::new(&mut seat.vm.driver, 2, 50, 50);
    other.put_on(&mut seat.vm.driver, 4);

    seat.vm.driver.unref(1).unwrap().ok().unwrap();

    settled.wait(&mut seat.vm);
    seat.vm.display.with(|display| {
        assert!(display.surface(0).is_none() && display.surface(3).is_none());
        assert!(display.surface(4).is_some(), "the one that shows another");
    });
    let again = Canvas::new(&mut seat.vm.driver, 1, 100, 100);
    again.present_all(&mut seat.vm.driver);
    assert!(seat.vm.display.with(|display| display.surface(0).is_none()), "a new one of that id is not on it");
}

#[test]
fn a_scanout_that_shows_another_resource_is_not_switched_off_with_the_old_one() {
    let mut seat = boot();
    let mut settled = Settled::new(&mut seat.vm);
    canvas_on_screen(&mut seat.vm, 1, 100, 100);
    let second = canvas_on_screen(&mut seat.vm, 2, 100, 100);

    seat.vm.driver.unref(1).unwrap().ok().unwrap();

    settled.wait(&mut seat.vm);
    assert!(shows(&seat.vm, 0, &second.picture));
}

#[test]
fn a_transfer_alone_shows_nothing() {
    let mut seat = boot();
    let mut settled = Settled::new(&mut seat.vm);
    let mut canvas = canvas_on_screen(&mut seat.vm, 1, 100, 100);
    let before = canvas.picture.clone();
    settled.events(&mut seat.vm);

    canvas.draw(Picture::noise(100, 100, 9));
    canvas.transfer(&mut seat.vm.driver, canvas.rect());

    assert_eq!(settled.events(&mut seat.vm), []);
    assert!(shows(&seat.vm, 0, &before));
    seat.vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn what_was_not_transferred_is_not_shown() {
    let mut seat = boot();
    let mut canvas = canvas_on_screen(&mut seat.vm, 1, 100, 100);
    let before = canvas.picture.clone();
    let part = Rect::new(13, 17, 31, 23);

    canvas.draw(Picture::noise(100, 100, 9));
    canvas.transfer(&mut seat.vm.driver, part);
    seat.vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();

    let mut expected = before;
    expected.take(&canvas.picture, part);
    await_picture(&seat.vm, 0, &expected);
}
