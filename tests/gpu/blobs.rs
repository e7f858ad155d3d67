//! Blobs: guest memory that is shown as it is, without transfers.

use seat_frontend::Result;
use seat_frontend::display::Display;
use seat_frontend::gpu::{Backing, Command, GpuDriver, MemEntry, Rect, Response, format, resp};

use crate::common::canvas::{Settled, await_picture};
use crate::common::picture::Picture;
use crate::common::{Seat, boot, boot_with, options, soon};

/// As large as a page and a little more.
const WIDTH: u32 = 70;
const HEIGHT: u32 = 33;
/// Rows are further apart than they are long, and begin late.
const STRIDE: u32 = 70 * 4 + 12;
const OFFSET: u32 = 1000;
const LEN: u64 = OFFSET as u64 + STRIDE as u64 * HEIGHT as u64;

fn kind(response: Result<Response>) -> u32 {
    response.unwrap().kind
}

fn create(driver: &mut GpuDriver, id: u32, size: u64, entries: &[MemEntry]) -> u32 {
    let blob = Command::CreateBlob { resource_id: id, blob_mem: 1, blob_flags: 2, blob_id: 0, size, entries };
    kind(driver.call(&blob))
}

/// SET_SCANOUT_BLOB of all of a blob.
fn show(driver: &mut GpuDriver, scanout_id: u32, resource_id: u32, rect: Rect) -> u32 {
    let (width, height, format, stride, offset) = (WIDTH, HEIGHT, format::B8G8R8X8, STRIDE, OFFSET);
    kind(driver.call(&Command::SetScanoutBlob { rect, scanout_id, resource_id, width, height, format, stride, offset }))
}

/// A blob with its memory.
struct Film {
    id: u32,
    backing: Backing,
    picture: Picture,
}

impl Film {
    fn new(driver: &mut GpuDriver, id: u32, pieces: usize) -> Film {
        let memory = driver.memory().clone();
        let backing = Backing::scattered(&memory, driver.pages(), LEN, pieces).unwrap();
        assert_eq!(create(driver, id, LEN, backing.entries()), resp::OK_NODATA);
        Film { id, backing, picture: Picture::flat(WIDTH, HEIGHT, 0) }
    }

    fn rect() -> Rect {
        Rect::new(0, 0, WIDTH, HEIGHT)
    }

    /// Draws a picture into guest memory; the device is not told.
    fn draw(&mut self, picture: Picture) {
        let bytes = picture.bytes(format::B8G8R8X8);
        for (row, bytes) in (0..).zip(bytes.chunks(WIDTH as usize * 4)) {
            self.backing.write(u64::from(OFFSET) + row * u64::from(STRIDE), bytes);
        }
        self.picture = picture;
    }

    fn put_on(&self, driver: &mut GpuDriver, scanout: u32) {
        assert_eq!(show(driver, scanout, self.id, Film::rect()), resp::OK_NODATA);
    }

    fn flush(&self, driver: &mut GpuDriver, rect: Rect) {
        driver.flush(self.id, rect).unwrap().ok().unwrap();
    }
}

#[test]
fn a_blob_is_shown_as_it_lies_in_guest_memory() {
    let Seat { program: _program, mut vm } = boot();
    for (id, pieces) in [(1, 1), (2, 7), (3, 700)] {
        let mut film = Film::new(&mut vm.driver, id, pieces);
        film.draw(Picture::noise(WIDTH, HEIGHT, id.into()));
        film.put_on(&mut vm.driver, 0);
        await_picture(&vm, 0, &film.picture);

        film.draw(Picture::noise(WIDTH, HEIGHT, 100 + u64::from(id)));
        film.flush(&mut vm.driver, Film::rect());
        await_picture(&vm, 0, &film.picture);
    }
}

/// More than is read in one turn: what comes behind it in the same batch waits for it.
#[test]
fn a_blob_that_is_much_to_read_is_seen_whole_and_commands_behind_it_wait() {
    const WIDE: u32 = 2048;
    const ROWS: u32 = 128;
    const TIMES: u32 = 20;
    let Seat { program: _program, mut vm } = boot();
    let memory = vm.driver.memory().clone();
    let piece_len = u64::from(WIDE * ROWS * 4);
    let piece = Backing::contiguous(&memory, vm.driver.pages(), piece_len).unwrap();
    // The same memory over and over.
    let entries = piece.entries().repeat(TIMES as usize);
    assert_eq!(create(&mut vm.driver, 1, piece_len * u64::from(TIMES), &entries), resp::OK_NODATA);
    let (rect, format, stride) = (Rect::new(0, 0, WIDE, ROWS * TIMES), format::B8G8R8X8, WIDE * 4);

    for seed in 0..3 {
        let part = Picture::noise(WIDE, ROWS, seed);
        piece.write(0, &part.bytes(format));
        let (width, height) = (rect.width, rect.height);
        let show =
            Command::SetScanoutBlob { rect, scanout_id: 0, resource_id: 1, width, height, format, stride, offset: 0 };
        vm.driver.queue(&show).unwrap();
        vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 1 }).unwrap();
        vm.driver.queue(&Command::ResourceCreate2d { resource_id: 2, format, width: 4, height: 4 }).unwrap();
        vm.driver.queue(&Command::ResourceUnref { resource_id: 2 }).unwrap();
        vm.driver.kick();
        vm.driver.finish_all().unwrap();

        let rgb = part.rgb.repeat(TIMES as usize);
        await_picture(&vm, 0, &Picture { width, height, rgb });
    }
}

#[test]
fn of_a_flushed_blob_only_what_changed_is_sent() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let mut film = Film::new(&mut vm.driver, 1, 3);
    film.draw(Picture::flat(WIDTH, HEIGHT, 0));
    film.put_on(&mut vm.driver, 0);
    film.flush(&mut vm.driver, Film::rect());
    settled.events(&mut vm);

    film.flush(&mut vm.driver, Film::rect());
    assert_eq!(settled.events(&mut vm), []);
    let mut picture = film.picture.clone();
    picture.fill(Rect::new(65, 30, 2, 2), 0x12_3456);
    film.draw(picture);
    film.flush(&mut vm.driver, Film::rect());

    assert_eq!(settled.updates(&mut vm, 0), [Rect::new(64, 16, 6, 16)]);
    await_picture(&vm, 0, &film.picture);
}

#[test]
fn a_page_flip_between_blobs_sends_what_they_differ_in() {
    let Seat { program: _program, mut vm } = boot();
    let mut settled = Settled::new(&mut vm);
    let picture = Picture::noise(WIDTH, HEIGHT, 5);
    let mut films = [1, 2].map(|id| Film::new(&mut vm.driver, id, 2));
    for film in &mut films {
        film.draw(picture.clone());
        film.put_on(&mut vm.driver, 0);
        film.flush(&mut vm.driver, Film::rect());
    }
    settled.events(&mut vm);

    // Each frame is drawn into the buffer that is not shown, as any compositor does.
    for turn in 0..4u32 {
        let film = &mut films[turn as usize % 2];
        let mut next = picture.clone();
        next.fill(Rect::new(turn, 0, 1, 1), 0xff_ffff);
        film.draw(next);
        let queue = |driver: &mut GpuDriver, command| driver.queue(&command).unwrap();
        queue(
            &mut vm.driver,
            Command::SetScanoutBlob {
                rect: Film::rect(),
                scanout_id: 0,
                resource_id: film.id,
                width: WIDTH,
                height: HEIGHT,
                format: format::B8G8R8X8,
                stride: STRIDE,
                offset: OFFSET,
            },
        );
        queue(&mut vm.driver, Command::ResourceFlush { rect: Film::rect(), resource_id: film.id });
        vm.driver.kick();
        vm.driver.finish_all().unwrap();

        assert_eq!(settled.updates(&mut vm, 0), [Rect::new(0, 0, 64, 16)], "frame {turn}");
        await_picture(&vm, 0, &films[turn as usize % 2].picture);
    }
}

#[test]
fn one_blob_can_be_several_pictures() {
    let Seat { program: _program, mut vm } = boot();
    let mut film = Film::new(&mut vm.driver, 1, 4);
    film.draw(Picture::noise(WIDTH, HEIGHT, 3));
    film.put_on(&mut vm.driver, 0);
    assert_eq!(show(&mut vm.driver, 1, 1, Rect::new(10, 5, 20, 10)), resp::OK_NODATA);
    // The same memory with the same stride, half as high.
    let half = Command::SetScanoutBlob {
        rect: Rect::new(0, 0, WIDTH, 10),
        scanout_id: 2,
        resource_id: 1,
        width: WIDTH,
        height: 10,
        format: format::R8G8B8X8,
        stride: STRIDE,
        offset: OFFSET,
    };
    assert_eq!(kind(vm.driver.call(&half)), resp::OK_NODATA);

    for seed in 0..4 {
        film.draw(Picture::noise(WIDTH, HEIGHT, 30 + seed));
        film.flush(&mut vm.driver, Film::rect());

        await_picture(&vm, 0, &film.picture);
        await_picture(&vm, 1, &film.picture.crop(Rect::new(10, 5, 20, 10)));
        let mut turned = film.picture.crop(Rect::new(0, 0, WIDTH, 10));
        for rgb in &mut turned.rgb {
            *rgb = rgb.swap_bytes() >> 8;
        }
        await_picture(&vm, 2, &turned);
    }
}

#[test]
fn a_blob_as_a_cursor_is_64_by_64_pixels() {
    let Seat { program: _program, mut vm } = boot();
    let memory = vm.driver.memory().clone();
    let backing = Backing::contiguous(&memory, vm.driver.pages(), 16384).unwrap();
    backing.write(0, &[0x7f; 16384]);
    assert_eq!(create(&mut vm.driver, 1, 16384, backing.entries()), resp::OK_NODATA);
    assert_eq!(create(&mut vm.driver, 2, 16380, backing.entries()), resp::OK_NODATA);
    // The smaller one is no cursor: what is shown then is the other one.
    vm.driver.update_cursor(0, 2, (3, 4), (0, 0)).unwrap();
    vm.driver.update_cursor(0, 1, (5, 6), (0, 0)).unwrap();

    let shown = |display: &Display| display.cursor(0).at == (5, 6) && display.cursor(0).shape == [0x7f; 16384];
    vm.display.wait(soon(), shown).unwrap();
}

#[test]
fn blobs_that_cannot_be_are_refused() {
    let Seat { program: _program, mut vm } = boot();
    let driver = &mut vm.driver;
    let memory = driver.memory().clone();
    let backing = Backing::contiguous(&memory, driver.pages(), LEN).unwrap();
    let entries = backing.entries();
    let blob = |resource_id, blob_mem, blob_flags, size| Command::CreateBlob {
        resource_id,
        blob_mem,
        blob_flags,
        blob_id: 0,
        size,
        entries,
    };
    for (command, expected) in [
        (blob(0, 1, 0, LEN), resp::ERR_INVALID_RESOURCE_ID),
        // Host memory, which was not offered; no kind of memory at all.
        (blob(1, 2, 0, LEN), resp::ERR_INVALID_PARAMETER),
        (blob(1, 3, 0, LEN), resp::ERR_INVALID_PARAMETER),
        (blob(1, 0, 0, LEN), resp::ERR_INVALID_PARAMETER),
        (blob(1, 1, 8, LEN), resp::ERR_INVALID_PARAMETER),
        (blob(1, 1, 0, 0), resp::ERR_INVALID_PARAMETER),
        // More than its memory has.
        (blob(1, 1, 0, LEN + 1), resp::ERR_INVALID_PARAMETER),
        (blob(1, 1, 0, u64::MAX), resp::ERR_INVALID_PARAMETER),
        (blob(1, 1, 7, LEN), resp::OK_NODATA),
        (blob(1, 1, 0, LEN), resp::ERR_INVALID_RESOURCE_ID),
        (Command::SetScanout { rect: Film::rect(), scanout_id: 0, resource_id: 1 }, resp::ERR_UNSPEC),
        (Command::AttachBacking { resource_id: 1, entries }, resp::ERR_UNSPEC),
        // Its memory is the guest's own: there is nothing to be done.
        (Command::TransferToHost2d { rect: Film::rect(), offset: 0, resource_id: 1 }, resp::OK_NODATA),
    ] {
        assert_eq!(kind(driver.call(&command)), expected, "{command:?}");
    }
    let outside = [MemEntry { addr: u64::MAX - 4096, len: 4096 }];
    assert_eq!(create(driver, 2, 4096, &outside), resp::ERR_UNSPEC);
}

#[test]
fn frames_that_do_not_lie_in_their_blob_are_refused() {
    let Seat { program: _program, mut vm } = boot();
    let film = Film::new(&mut vm.driver, 1, 1);
    vm.driver.create_2d(2, format::B8G8R8X8, WIDTH, HEIGHT).unwrap().ok().unwrap();
    let plain = (Film::rect(), 0, 1, WIDTH, HEIGHT, format::B8G8R8X8, (STRIDE, OFFSET));
    let mut refused = |(rect, scanout_id, resource_id, width, height, format, (stride, offset)), expected| {
        let command = Command::SetScanoutBlob { rect, scanout_id, resource_id, width, height, format, stride, offset };
        assert_eq!(kind(vm.driver.call(&command)), expected, "{command:?}");
    };
    let (rect, _, _, width, height, pixels, rows) = plain;
    for absurd in [
        (rect, 0, 1, width, height + 1, pixels, rows),
        (rect, 0, 1, width, height, pixels, (STRIDE + 1, OFFSET)),
        (rect, 0, 1, width, height, pixels, (STRIDE, OFFSET + 13)),
        (rect, 0, 1, width, height, pixels, (width * 4 - 1, OFFSET)),
        (rect, 0, 1, width, height, 0, rows),
        (rect, 0, 1, 0, height, pixels, rows),
        (rect, 0, 1, u32::MAX, u32::MAX, pixels, (u32::MAX, u32::MAX)),
        (Rect::new(1, 0, width, height), 0, 1, width, height, pixels, rows),
        (Rect::new(0, 0, 0, 0), 0, 1, width, height, pixels, rows),
        (Rect::new(u32::MAX, 0, 2, 1), 0, 1, width, height, pixels, rows),
    ] {
        refused(absurd, resp::ERR_INVALID_PARAMETER);
    }
    refused((rect, 16, 1, width, height, pixels, rows), resp::ERR_INVALID_SCANOUT_ID);
    refused((rect, 0, 3, width, height, pixels, rows), resp::ERR_INVALID_RESOURCE_ID);
    // A 2D resource is no blob.
    refused((rect, 0, 2, width, height, pixels, rows), resp::ERR_UNSPEC);
    refused(plain, resp::OK_NODATA);
    refused((rect, 0, 0, 0, 0, 0, (0, 0)), resp::OK_NODATA);
    drop(film);
}

#[test]
fn blobs_are_counted_against_max_hostmem_and_give_it_back() {
    let Seat { program: _program, mut vm } = boot_with(&["--max-hostmem=1M"], options());
    let memory = vm.driver.memory().clone();
    let backing = Backing::contiguous(&memory, vm.driver.pages(), 4096).unwrap();
    let mut count = 0;
    while create(&mut vm.driver, count + 1, 4096, backing.entries()) == resp::OK_NODATA {
        count += 1;
    }
    assert!((500..3000).contains(&count), "{count} blobs in 1 MiB");
    for id in 1..=count {
        vm.driver.unref(id).unwrap().ok().unwrap();
    }
    assert_eq!(create(&mut vm.driver, 1, 4096, backing.entries()), resp::OK_NODATA);
}
