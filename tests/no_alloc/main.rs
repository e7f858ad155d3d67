//! In steady state the back ends allocate nothing: not for a frame, not for an event. Each runs in a thread of this process,
//! under an allocator that counts what that thread asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;

mod gpu;
mod input;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use vhost_seat::backend;
use vhost_seat::socket::Endpoint;
use vhost_seat::vhost_proto::device::Device;

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

/// One test at a time, for there is one count.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a front end in this thread, and watches it.
fn serve<D: Device>(device: D, front_end: std::os::unix::net::UnixStream) {
    WATCHED.set(true);
    let signals = SignalFd::new(&SigSet::empty()).unwrap();
    backend::serve(device, Endpoint::Connected(front_end), signals).unwrap();
}

/// What the watched thread allocated while `work` was done.
fn assert_allocates_nothing(work: impl FnOnce()) {
    COUNT.store(0, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    work();
    ARMED.store(false, Ordering::SeqCst);
    let count = COUNT.load(Ordering::SeqCst);
    let first = FIRST.lock().unwrap().take().unwrap_or_default();
    assert_eq!(count, 0, "allocations, the first one here:\n{first}");
}
