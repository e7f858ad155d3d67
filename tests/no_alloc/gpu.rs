//! In steady state the back end allocates nothing: not for a frame, not for a cursor, not for a question, not for a display
//! that is slow. It runs in a thread of this process, under an allocator that counts what that thread asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the tests' own")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use seat_frontend::control::FrontEnd;
use seat_frontend::gpu::{Backing, Command, GpuDriver, Rect, format};
use seat_frontend::machine::GpuMachine;
use vhost_seat::backend;
use vhost_seat::gpu::{Gpu, Options};
use vhost_seat::socket::Endpoint;

use common::canvas::{Canvas, Settled, await_picture};
use common::picture::Picture;
use common::random::Random;
use common::{options, patient};

/// Rounds until everything that grows has grown.
const WARM_UP: u32 = 300;
/// Rounds that are counted.
const ROUNDS: u32 = 3000;

/// Counts the allocations of the threads that are watched, while it is armed.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static ARMED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Where the first one came from.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    if !ARMED.load(Ordering::Relaxed) || !WATCHED.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    if COUNT.fetch_add(1, Ordering::Relaxed) == 0 {
        // Taking the trace allocates too.
        WATCHED.set(false);
        let trace = Backtrace::force_capture().to_string();
        *FIRST.lock().unwrap() = Some(trace);
        WATCHED.set(true);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; the counters touch no memory that it hands out. Needed
// because a global allocator can be had no other way.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// A guest, and the back end in a watched thread. One at a time, for there is one count.
struct Watched {
    vm: GpuMachine,
    settled: Settled,
    back_end: JoinHandle<()>,
    _turn: MutexGuard<'static, ()>,
}

impl Watched {
    fn boot() -> Watched {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (front, theirs) = FrontEnd::pair().unwrap();
        let back_end = std::thread::spawn(move || {
            WATCHED.set(true);
            let signals = SignalFd::new(&SigSet::empty()).unwrap();
            let gpu = Gpu::new(Options { max_hostmem: 256 << 20 });
            backend::serve(gpu, Endpoint::Connected(theirs), signals).unwrap();
        });
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
        COUNT.store(0, Ordering::SeqCst);
        ARMED.store(true, Ordering::SeqCst);
        for n in 0..ROUNDS {
            round(&mut self.vm, n);
        }
        self.come_to_rest();
        ARMED.store(false, Ordering::SeqCst);

        let count = COUNT.load(Ordering::SeqCst);
        let first = FIRST.lock().unwrap().take().unwrap_or_default();
        assert_eq!(count, 0, "allocations in {ROUNDS} rounds, the first one here:\n{first}");
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
