//! The screen: not for a frame, not for a cursor, not for a question, not for a display that is slow.

use std::sync::MutexGuard;
use std::thread::JoinHandle;

use seat_frontend::control::FrontEnd;
use seat_frontend::display::Display;
use seat_frontend::gpu::{Backing, Command, GpuDriver, Rect, format};
use seat_frontend::machine::GpuMachine;
use vhost_seat::gpu::udmabuf::Exporter;
use vhost_seat::gpu::{Gpu, Options};

use super::common::canvas::{Canvas, Settled, await_picture};
use super::common::picture::Picture;
use super::common::random::Random;
use super::common::{options, patient, soon};
use super::{ROUNDS, WARM_UP};

/// A guest, and the back end in a watched thread.
struct Watched {
    vm: GpuMachine,
    settled: Settled,
    back_end: JoinHandle<()>,
    _turn: MutexGuard<'static, ()>,
}

impl Watched {
    fn boot() -> Watched {
        let turn = super::turn();
        let (front, theirs) = FrontEnd::pair().unwrap();
        let back_end = std::thread::spawn(move || super::serve(Gpu::new(Options::new(256 << 20)), theirs));
        let mut vm = GpuMachine::boot(patient(front), options()).unwrap();
        vm.driver.set_timeout(std::time::Duration::from_secs(60));
        let settled = Settled::new(&mut vm);
        Watched { vm, settled, back_end, _turn: turn }
    }

    /// Does `round` over and over and counts what the back end allocates, until the display has seen all of it.
    fn assert_allocates_nothing(mut self, mut round: impl FnMut(&mut GpuMachine, u32)) {
        for n in 0..WARM_UP {
            round(&mut self.vm, n);
        }
        self.come_to_rest();
        super::assert_allocates_nothing(|| {
            for n in 0..ROUNDS {
                round(&mut self.vm, n);
            }
            self.come_to_rest();
        });
        drop(self.vm);
        self.back_end.join().unwrap();
    }

    fn come_to_rest(&mut self) {
        self.vm.display.with(|display| display.set_reading(true));
        self.settled.wait(&mut self.vm);
    }
}

/// A canvas on scanout 0.
fn on_screen(vm: &mut GpuMachine, id: u32, width: u32, height: u32) -> Canvas {
    let canvas = Canvas::new(&mut vm.driver, id, width, height);
    canvas.put_on(&mut vm.driver, 0);
    canvas.present_all(&mut vm.driver);
    await_picture(vm, 0, &canvas.picture);
    canvas
}

/// Changes a byte in each of many tiles.
fn scribble(canvas: &Canvas, n: u32) {
    for at in (0..canvas.backing.len()).step_by(3001) {
        canvas.backing.write(at, &[n as u8 ^ at as u8]);
    }
}

#[test]
fn frames_that_change_all_over() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 320, 200);
    watched.assert_allocates_nothing(|vm, n| {
        scribble(&canvas, n);
        canvas.present_all(&mut vm.driver);
    });
}

#[test]
fn frames_that_do_not_change() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 320, 200);
    watched.assert_allocates_nothing(|vm, _| canvas.present_all(&mut vm.driver));
}

#[test]
fn frames_that_change_and_are_transferred_in_part() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 320, 200);
    let mut random = Random::new(1);
    watched.assert_allocates_nothing(|vm, n| {
        scribble(&canvas, n);
        let (x, y) = (random.below(320), random.below(200));
        let rect = Rect::new(x, y, random.between(1, 320 - x), random.between(1, 200 - y));
        canvas.transfer(&mut vm.driver, rect);
        let (x, y) = (random.below(320), random.below(200));
        let rect = Rect::new(x, y, random.between(1, 320 - x), random.between(1, 200 - y));
        vm.driver.flush(1, rect).unwrap().ok().unwrap();
    });
}

#[test]
fn large_frames() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 1280, 800);
    watched.assert_allocates_nothing(|vm, n| {
        if n % 32 == 0 {
            scribble(&canvas, n / 32);
            canvas.present_all(&mut vm.driver);
        }
    });
}

#[test]
fn frames_from_scattered_memory() {
    let mut watched = Watched::boot();
    let memory = watched.vm.driver.memory().clone();
    let backing = Backing::scattered(&memory, watched.vm.driver.pages(), 160 * 100 * 4, 1000).unwrap();
    let driver = &mut watched.vm.driver;
    let canvas = Canvas::with_backing(driver, 1, format::R8G8B8A8, 160, 100, backing);
    canvas.put_on(driver, 0);
    watched.assert_allocates_nothing(|vm, n| {
        scribble(&canvas, n);
        canvas.present_all(&mut vm.driver);
    });
}

#[test]
fn frames_for_a_display_that_is_slow() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 400, 300);
    watched.assert_allocates_nothing(|vm, n| {
        vm.display.with(|display| display.set_reading(n % 8 == 7));
        scribble(&canvas, n);
        canvas.present_all(&mut vm.driver);
        vm.driver.move_cursor(0, 0, (n, n)).unwrap();
    });
}

#[test]
fn page_flips() {
    let mut watched = Watched::boot();
    let canvases = [on_screen(&mut watched.vm, 1, 320, 200), on_screen(&mut watched.vm, 2, 320, 200)];
    watched.assert_allocates_nothing(|vm, n| {
        let canvas = &canvases[n as usize % 2];
        scribble(canvas, n);
        canvas.put_on(&mut vm.driver, 0);
        canvas.present_all(&mut vm.driver);
    });
}

#[test]
fn several_scanouts_on_one_framebuffer() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 400, 200);
    for (scanout, rect) in (1..).zip([Rect::new(0, 0, 200, 200), Rect::new(200, 0, 200, 200), Rect::new(33, 9, 99, 99)])
    {
        watched.vm.driver.set_scanout(scanout, 1, rect).unwrap().ok().unwrap();
    }
    watched.assert_allocates_nothing(|vm, n| {
        scribble(&canvas, n);
        canvas.present_all(&mut vm.driver);
    });
}

#[test]
fn cursor_moves() {
    let mut watched = Watched::boot();
    let canvas = on_screen(&mut watched.vm, 1, 64, 64);
    watched.vm.driver.update_cursor(0, canvas.id, (0, 0), (0, 0)).unwrap();
    watched.assert_allocates_nothing(|vm, n| vm.driver.move_cursor(0, 1, (n, 2 * n)).unwrap());
}

/// Two pictures, brought over.
fn two_shapes(driver: &mut GpuDriver, side: u32) {
    for id in [1, 2] {
        let mut canvas = Canvas::with_format(driver, id, format::B8G8R8A8, side, side);
        canvas.draw(Picture::noise(side, side, id.into()));
        canvas.transfer(driver, canvas.rect());
    }
}

#[test]
fn cursor_shapes() {
    let mut watched = Watched::boot();
    two_shapes(&mut watched.vm.driver, 64);
    watched.assert_allocates_nothing(|vm, n| vm.driver.update_cursor(0, 1 + n % 2, (n, n), (1, 1)).unwrap());
}

#[test]
fn cursor_shapes_that_must_be_scaled_and_hidden_for_a_display_that_is_slow() {
    let mut watched = Watched::boot();
    two_shapes(&mut watched.vm.driver, 100);
    watched.assert_allocates_nothing(|vm, n| {
        if n % 4 != 0 {
            return;
        }
        vm.display.with(|display| display.set_reading(n % 32 == 28));
        vm.driver.update_cursor(0, 1 + n / 4 % 2, (n, n), (1, 1)).unwrap();
        vm.driver.update_cursor(0, 0, (n, n), (1, 1)).unwrap();
    });
}

#[test]
fn questions_to_the_display() {
    let watched = Watched::boot();
    watched.assert_allocates_nothing(|vm, n| {
        vm.driver.display_info().unwrap();
        vm.driver.edid(n % 16).unwrap();
    });
}

#[test]
fn commands_that_are_refused() {
    let watched = Watched::boot();
    watched.assert_allocates_nothing(|vm, n| {
        for command in [
            Command::ResourceUnref { resource_id: 1000 + n },
            Command::ResourceCreate2d { resource_id: 1, format: 99, width: 10, height: 10 },
            Command::ResourceCreate2d { resource_id: 1, format: 1, width: 30_000, height: 30_000 },
            Command::SetScanout { rect: Rect::new(0, 0, 1, 1), scanout_id: 16, resource_id: 1 },
            Command::GetCapsetInfo { index: n },
            Command::Raw { kind: n | 0x8000, body: &[], tail: &[] },
        ] {
            assert!(!vm.driver.call(&command).unwrap().is_ok());
        }
    });
}

#[test]
fn reads_and_writes_of_the_config_space() {
    let watched = Watched::boot();
    watched.assert_allocates_nothing(|vm, n| {
        vm.front.get_config(0, n % 257).unwrap();
        vm.front.set_config(0, 0, &[0; 20]).unwrap();
        vm.front.get_features().unwrap();
    });
}

#[test]
fn frames_by_dmabuf_for_a_display_that_takes_them_late() {
    let _turn = super::turn();
    let (front, theirs) = FrontEnd::pair().unwrap();
    let back_end = std::thread::spawn(move || {
        let mut gpu = Gpu::new(Options::new(256 << 20));
        gpu.export_by(Exporter::of_memfds());
        super::serve(gpu, theirs);
    });
    let mut vm = GpuMachine::boot(patient(front), options()).unwrap();
    vm.driver.set_timeout(std::time::Duration::from_secs(60));
    let canvas = Canvas::new(&mut vm.driver, 1, 320, 200);
    canvas.put_on(&mut vm.driver, 0);
    let taken = |vm: &GpuMachine, frames: u64| {
        let enough = |display: &Display| display.dmabuf(0).is_some_and(|buffer| buffer.updates >= frames);
        vm.display.wait(soon(), enough).unwrap();
    };
    taken(&vm, 1);
    // Two flushes: the second waits where the display has not taken the first one's frame yet.
    let round = |vm: &mut GpuMachine, n: u32| {
        for step in [0, 1] {
            scribble(&canvas, n * 2 + step);
            canvas.present_all(&mut vm.driver);
        }
    };
    (0..WARM_UP).for_each(|n| round(&mut vm, n));
    super::assert_allocates_nothing(|| {
        (0..ROUNDS).for_each(|n| round(&mut vm, n));
        taken(&vm, u64::from(ROUNDS));
    });
    drop(vm);
    back_end.join().unwrap();
}
