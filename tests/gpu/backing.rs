//! Transfers from scattered guest memory: any number of pieces, of any length, at any address.

use seat_frontend::gpu::{Backing, GpuDriver, MemEntry, Rect, format};
use seat_frontend::machine::GpuMachine;

use crate::common::boot;
use crate::common::canvas::{Canvas, await_picture};
use crate::common::picture::Picture;
use crate::common::random::Random;

/// Draws three pictures on a canvas with this backing, whole and in part.
fn assert_shows_what_is_drawn(vm: &mut GpuMachine, id: u32, width: u32, height: u32, backing: Backing) {
    let mut canvas = Canvas::with_backing(&mut vm.driver, id, format::B8G8R8X8, width, height, backing);
    canvas.put_on(&mut vm.driver, 0);
    canvas.draw(Picture::noise(width, height, id.into()));
    canvas.present_all(&mut vm.driver);
    await_picture(vm, 0, &canvas.picture);
    let mut random = Random::new(id.into());
    for seed in 0..5 {
        let (x, y) = (random.below(width), random.below(height));
        let rect = Rect::new(x, y, random.between(1, width - x), random.between(1, height - y));
        let mut picture = canvas.picture.clone();
        picture.take(&Picture::noise(width, height, seed), rect);
        canvas.draw(picture);
        canvas.present(&mut vm.driver, rect);
        await_picture(vm, 0, &canvas.picture);
    }
    vm.driver.unref(id).unwrap().ok().unwrap();
}

#[test]
fn backing_of_one_to_8192_pieces_of_any_alignment_is_read_right() {
    let mut seat = boot();
    let (width, height) = (251, 100);
    for (id, count) in (1..).zip([1, 2, 3, 7, 64, 100, 1000, 1024, 4096, 8192]) {
        let memory = seat.vm.driver.memory().clone();
        let len = u64::from(width * height * 4);
        let backing = Backing::scattered(&memory, seat.vm.driver.pages(), len, count).unwrap();
        assert_shows_what_is_drawn(&mut seat.vm, id, width, height, backing);
    }
}

#[test]
fn backing_of_pieces_of_one_byte_is_read_right() {
    let mut seat = boot();
    let memory = seat.vm.driver.memory().clone();
    let backing = Backing::scattered(&memory, seat.vm.driver.pages(), 64 * 16 * 4, 4096).unwrap();
    assert!(backing.entries().iter().all(|entry| entry.len == 1));
    assert_shows_what_is_drawn(&mut seat.vm, 1, 64, 16, backing);
}

#[test]
fn pieces_may_cross_from_one_region_into_the_next_and_lie_in_all_of_them() {
    let mut seat = boot();
    let memory = seat.vm.driver.memory().clone();
    let specs: Vec<_> = memory.regions().iter().map(|region| region.spec).collect();
    // The last two regions lie side by side for the guest, and in different files.
    assert_eq!(specs[2].gpa + specs[2].size, specs[3].gpa);
    let entries = vec![
        MemEntry { addr: specs[3].gpa - 5000, len: 10_001 },
        MemEntry { addr: specs[0].gpa + specs[0].size - 4097, len: 4097 },
        MemEntry { addr: specs[1].gpa + specs[1].size - 3, len: 3 },
        MemEntry { addr: specs[3].gpa + specs[3].size - 20_000, len: 20_000 },
    ];
    let backing = Backing::from_entries(&memory, entries);
    assert_shows_what_is_drawn(&mut seat.vm, 1, 85, 100, backing);
}

#[test]
fn pieces_of_no_bytes_between_others_are_passed_over() {
    let mut seat = boot();
    let memory = seat.vm.driver.memory().clone();
    let start = seat.vm.driver.pages().alloc(100_000).unwrap();
    let piece = |at: u64, len: u32| MemEntry { addr: start + at, len };
    let entries = vec![piece(0, 0), piece(1, 3000), piece(5000, 0), piece(6000, 0), piece(7001, 37_000), piece(0, 0)];
    assert_shows_what_is_drawn(&mut seat.vm, 1, 100, 100, Backing::from_entries(&memory, entries));
}

#[test]
fn backing_longer_than_the_resource_is_read_as_far_as_that_goes() {
    let mut seat = boot();
    let memory = seat.vm.driver.memory().clone();
    let backing = Backing::scattered(&memory, seat.vm.driver.pages(), 100_000, 33).unwrap();
    assert_shows_what_is_drawn(&mut seat.vm, 1, 100, 100, backing);
}

/// A transfer from any offset: row by row at the resource's own stride.
#[test]
fn a_transfer_begins_at_its_offset_and_goes_on_at_the_resources_stride() {
    let mut seat = boot();
    let (width, height) = (97, 60);
    let memory = seat.vm.driver.memory().clone();
    let backing = Backing::scattered(&memory, seat.vm.driver.pages(), 200_000, 77).unwrap();
    let bytes: Vec<u8> = Picture::noise(500, 100, 1).bytes(format::B8G8R8X8);
    let mut canvas = Canvas::with_backing(&mut seat.vm.driver, 1, format::B8G8R8X8, width, height, backing);
    canvas.backing.write(0, &bytes);
    canvas.put_on(&mut seat.vm.driver, 0);
    let mut random = Random::new(9);
    for round in 0..40 {
        let (x, y) = (random.below(width), random.below(height));
        let rect = Rect::new(x, y, random.between(1, width - x), random.between(1, height - y));
        // Of any alignment; the last byte that is read lies within.
        let offset = random.below(150_000);

        seat.vm.driver.transfer(1, rect, offset.into()).unwrap().ok().unwrap();
        seat.vm.driver.flush(1, canvas.rect()).unwrap().ok().unwrap();

        for row in 0..rect.height {
            for column in 0..rect.width {
                let at = (offset + row * width * 4 + column * 4) as usize;
                let rgb = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
                canvas.picture.fill(Rect::new(rect.x + column, rect.y + row, 1, 1), rgb);
            }
        }
        let waited = seat.vm.display.wait(crate::common::soon(), |display| canvas.picture.is_on(display.surface(0)));
        waited.unwrap_or_else(|error| panic!("round {round}: {rect:?} from {offset}: {error}"));
    }
}

#[test]
fn other_backing_attached_later_is_what_is_read_then() {
    let mut seat = boot();
    let mut canvas = Canvas::new(&mut seat.vm.driver, 1, 64, 64);
    canvas.put_on(&mut seat.vm.driver, 0);
    let attach = |driver: &mut GpuDriver, backing: &Backing| {
        driver.detach_backing(1).unwrap().ok().unwrap();
        driver.attach_backing(1, backing.entries()).unwrap().ok().unwrap();
    };
    for seed in 0..4 {
        let memory = seat.vm.driver.memory().clone();
        canvas.backing = Backing::scattered(&memory, seat.vm.driver.pages(), 64 * 64 * 4, 10).unwrap();
        attach(&mut seat.vm.driver, &canvas.backing);

        canvas.draw(Picture::noise(64, 64, seed));
        canvas.present_all(&mut seat.vm.driver);

        await_picture(&seat.vm, 0, &canvas.picture);
    }
}

#[test]
fn pixels_stay_when_their_backing_goes() {
    let mut seat = boot();
    let mut canvas = Canvas::new(&mut seat.vm.driver, 1, 64, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.transfer(&mut seat.vm.driver, canvas.rect());
    seat.vm.driver.detach_backing(1).unwrap().ok().unwrap();

    canvas.put_on(&mut seat.vm.driver, 0);

    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn two_resources_may_have_the_same_backing() {
    let mut seat = boot();
    let mut first = Canvas::new(&mut seat.vm.driver, 1, 64, 64);
    let entries = first.backing.entries().to_vec();
    let memory = seat.vm.driver.memory().clone();
    let shared = Backing::from_entries(&memory, entries);
    let second = Canvas::with_backing(&mut seat.vm.driver, 2, format::B8G8R8X8, 64, 64, shared);
    first.draw(Picture::noise(64, 64, 1));

    for (scanout, canvas) in [(0, &first), (1, &second)] {
        canvas.put_on(&mut seat.vm.driver, scanout);
        canvas.present_all(&mut seat.vm.driver);
        await_picture(&seat.vm, scanout as usize, &first.picture);
    }
}
