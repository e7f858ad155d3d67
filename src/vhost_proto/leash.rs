//! A leash for system calls that a front end could make wait for ever: a timer of this thread interrupts what waits.
//!
//! [`fasten`] before such a call sees to it that the timer runs; [`slacken`], once a turn of the loop, stops it after a
//! whole [`PERIOD`] without such a call. So the calls themselves cost nothing more: two system calls for each stretch of
//! them. The timer goes on until it is stopped, so it does not matter whether it strikes before a call begins to wait. Its
//! signal does nothing but end, with EINTR, what waits just then; all other calls of the loop never wait, or begin again.
//!
//! It also tells how long a turn of the loop lasts, to whoever asked for it by [`when_long`].

#![allow(unsafe_code, reason = "timers that signal one thread, and handlers, have no safe form")]

use std::cell::Cell;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use nix::errno::Errno;

/// How long a call may wait, or twice that.
pub const PERIOD: Duration = Duration::from_millis(100);

/// Strikes in one turn of the loop after which it has lasted for long.
const LONG: u32 = 50;

/// What is called then, and at each strike after it, by the signal's handler.
static LOOK: OnceLock<fn()> = OnceLock::new();

/// What [`STRUCK`] was when a turn ended last.
static TURN: AtomicU32 = AtomicU32::new(0);

/// How often a timer of this process struck.
static STRUCK: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static LEASH: Leash = const { Leash { timer: Cell::new(None), tight: Cell::new(false), used: Cell::new(false), seen: Cell::new(0) } };
}

/// What one thread has.
struct Leash {
    /// None before the first call, or where the kernel has none to give.
    timer: Cell<Option<libc::timer_t>>,
    /// Whether it runs.
    tight: Cell<bool>,
    /// Whether there was a call since [`slacken`] looked last.
    used: Cell<bool>,
    /// What [`STRUCK`] was then.
    seen: Cell<u32>,
}

/// Has `look` called during turns that last for five seconds and longer, in a signal's handler, from time to time. The first
/// one counts.
pub fn when_long(look: fn()) {
    let _ = LOOK.set(look);
}

/// A call that may wait comes next, or one that may last for long.
pub fn fasten() {
    LEASH.with(|leash| {
        leash.used.set(true);
        if !leash.tight.get() {
            leash.tight.set(leash.run(PERIOD));
        }
    });
}

/// A turn ends. No call that may wait comes before the next [`fasten`].
pub fn slacken() {
    TURN.store(STRUCK.load(Ordering::Relaxed), Ordering::Relaxed);
    LEASH.with(|leash| {
        if !leash.tight.get() {
            return;
        }
        let struck = STRUCK.load(Ordering::Relaxed);
        if leash.seen.replace(struck) != struck && !leash.used.replace(false) {
            leash.tight.set(!leash.run(Duration::ZERO));
        }
    });
}

impl Leash {
    /// Lets the timer strike every `period`, or stops it where that is zero. `false` where there is none to be had: then
    /// nothing is held to its time.
    fn run(&self, period: Duration) -> bool {
        let Some(timer) = self.timer.get().or_else(make_timer) else { return false };
        self.timer.set(Some(timer));
        // SAFETY: all zeroes is a valid itimerspec: stopped.
        let mut when: libc::itimerspec = unsafe { mem::zeroed() };
        when.it_value.tv_nsec = libc::c_long::from(period.subsec_nanos());
        when.it_interval = when.it_value;
        // SAFETY: the timer was made by `make_timer` and is deleted by nobody else; `when` is whole, and the old value is
        // not asked for.
        unsafe { libc::timer_settime(timer, 0, &when, ptr::null_mut()) == 0 }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // SAFETY: it was made by `make_timer`, and nobody uses it after this.
            unsafe { libc::timer_delete(timer) };
        }
    }
}

/// A timer that sends SIGALRM to this thread.
fn make_timer() -> Option<libc::timer_t> {
    handle_alarms();
    // SAFETY: all zeroes is a valid sigevent.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGALRM;
    event.sigev_notify_thread_id = nix::unistd::gettid().as_raw();
    let mut timer = ptr::null_mut();
    // SAFETY: `event` is whole, `timer` is where the new timer's name goes.
    let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
    (made == 0).then_some(timer)
}

/// Whoever started the program may have left SIGALRM blocked or ignored.
fn handle_alarms() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeroes is a valid sigaction: no handler, no flags (so that calls are interrupted), an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        let handler: extern "C" fn(libc::c_int) = strike;
        action.sa_sigaction = handler as usize;
        // SAFETY: `action` is whole, and its handler only touches an atomic.
        let done = unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) };
        // It fails for a signal that does not exist, and for no other reason.
        debug_assert_eq!(done, 0);
    });
    let mut alarm = nix::sys::signal::SigSet::empty();
    alarm.add(nix::sys::signal::Signal::SIGALRM);
    // It fails for arguments that this is not.
    let _ = alarm.thread_unblock();
}

extern "C" fn strike(_signal: libc::c_int) {
    let struck = STRUCK.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let is_long = struck.wrapping_sub(TURN.load(Ordering::Relaxed)) >= LONG;
    if let Some(look) = LOOK.get().filter(|_| is_long) {
        // Who was interrupted may be about to read it.
        let before = Errno::last_raw();
        look();
        Errno::set_raw(before);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn is_tight() -> bool {
        LEASH.with(|leash| leash.tight.get())
    }

    #[test]
    fn a_leash_that_nobody_needs_any_more_is_slack_after_a_while() {
        fasten();
        assert!(is_tight());
        slacken();
        assert!(is_tight(), "it has just been needed");
        let begun = Instant::now();
        while is_tight() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is never stopped");
            slacken();
            std::thread::yield_now();
        }
        fasten();
        assert!(is_tight(), "it can be fastened again");
    }
}
