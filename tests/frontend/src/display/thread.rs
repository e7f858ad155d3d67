//! A display in a thread of its own, as QEMU's main loop would serve it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::EventFd;

use super::{Display, DisplayConfig};
use crate::control::new_eventfd;
use crate::deadline::{Deadline, wait_any, wait_readable};
use crate::error::{Error, Result};

struct Shared {
    display: Mutex<(Display, Option<Error>)>,
    changed: Condvar,
    wake: EventFd,
    stop: AtomicBool,
}

/// A [`Display`] that a thread pumps. A fault of the back end shows as a panic in whatever looks at the display next, and
/// as an error of [`DisplayThread::wait`] and [`DisplayThread::finish`].
pub struct DisplayThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl DisplayThread {
    /// Runs `display` in a thread.
    pub fn spawn(display: Display) -> Result<DisplayThread> {
        let shared = Arc::new(Shared {
            display: Mutex::new((display, None)),
            changed: Condvar::new(),
            wake: new_eventfd()?,
            stop: AtomicBool::new(false),
        });
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || run(&ours));
        let thread = thread.map_err(|error| Error::io("thread", error))?;
        Ok(DisplayThread { shared, thread: Some(thread) })
    }

    /// A display in a thread, and the other end of its socket for GPU_SET_SOCKET.
    pub fn pair(config: DisplayConfig) -> Result<(DisplayThread, UnixStream)> {
        let (display, socket) = Display::pair(config)?;
        Ok((DisplayThread::spawn(display)?, socket))
    }

    /// Looks at the display, or changes what it does. Panics if the back end broke a rule.
    pub fn with<R>(&self, look: impl FnOnce(&mut Display) -> R) -> R {
        let mut guard = self.lock();
        if let Some(fault) = &guard.1 {
            panic!("display: {fault}");
        }
        let result = look(&mut guard.0);
        drop(guard);
        let _ = self.shared.wake.write(1);
        result
    }

    /// Waits until `done` holds of the display.
    pub fn wait(&self, deadline: Deadline, mut done: impl FnMut(&Display) -> bool) -> Result<()> {
        let mut guard = self.lock();
        loop {
            if let Some(fault) = &guard.1 {
                return Err(Error::fault(format!("display: {fault}")));
            }
            if done(&guard.0) {
                return Ok(());
            }
            let left = deadline.remaining();
            if left == Duration::ZERO {
                return Err(Error::TimedOut("display message"));
            }
            let wait = self.shared.changed.wait_timeout(guard, left);
            guard = wait.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// What the back end did wrong, if it did.
    pub fn fault(&self) -> Option<String> {
        self.lock().1.as_ref().map(ToString::to_string)
    }

    /// Closes the socket, as QEMU does when the device stops.
    pub fn close(&self) {
        self.lock().0.close();
        let _ = self.shared.wake.write(1);
    }

    /// Ends the thread and returns the display, to be pumped by hand from here on. Panics if the back end broke a rule.
    pub fn into_display(mut self) -> Display {
        self.end();
        let spent = Display::spent();
        self.with(|display| std::mem::replace(display, spent))
    }

    /// Ends the thread and checks that the back end broke no rule.
    pub fn finish(mut self) -> Result<()> {
        self.end();
        match self.lock().1.take() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Display, Option<Error>)> {
        self.shared.display.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for DisplayThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// Pumps until told to stop. The socket is polled through a descriptor of our own, so that closing it under the lock
/// needs no agreement with the poll.
fn run(shared: &Shared) {
    let forever = Duration::from_secs(3600);
    while !shared.stop.load(Ordering::Acquire) {
        let mut guard = shared.display.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (display, fault) = &mut *guard;
        if fault.is_none() {
            *fault = display.pump().err();
        }
        let socket = match fault {
            None => display.wait_fd().and_then(|fd| fd.try_clone_to_owned().ok()),
            Some(_) => None,
        };
        drop(guard);
        shared.changed.notify_all();
        let wake = shared.wake.as_fd();
        let woken = match &socket {
            Some(socket) => wait_any([wake, socket.as_fd()], Deadline::after(forever)).map(|[woken, _]| woken),
            None => wait_readable(wake, Deadline::after(forever)),
        };
        if woken.unwrap_or(true) {
            let _ = shared.wake.read();
        }
    }
}
