//! What the library has to say: into our log, within a budget, for a guest can cause it without end.
//!
//! Before version 1.0 its messages have no level, and tell good and bad news alike: they are logged as information.

#![allow(unsafe_code, reason = "the library calls back with C strings and C's variable arguments")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Mutex;
use std::time::Duration;

use log::Level;

use super::library::{Library, VaList};
use crate::log_within;
use crate::logger::Budget;

/// Longest message, with the zero at its end; the rest is cut off. A shader that does not compile comes as a whole.
const LONGEST: usize = 512;

static BUDGET: Mutex<Budget> = Mutex::new(Budget::new(20, Duration::from_secs(60)));

unsafe extern "C" {
    // The C library's; the crate libc leaves functions with variable arguments in a list out.
    fn vsnprintf(buffer: *mut c_char, size: usize, format: *const c_char, arguments: VaList) -> c_int;
}

/// From now on the library's messages come here.
pub fn take(library: &Library) {
    if let Some(set) = library.virgl_set_log_callback {
        // SAFETY: the callback is a function of the type that is asked for, and there is no data to be freed.
        unsafe { set(Some(hear), std::ptr::null_mut(), None) };
    } else {
        // SAFETY: the callback is a function of the type that is asked for.
        unsafe { (library.virgl_set_debug_callback)(Some(hear_formatted)) };
    }
}

/// Any thread of the library's may call.
unsafe extern "C" fn hear(level: u32, message: *const c_char, _data: *mut c_void) {
    if message.is_null() {
        return;
    }
    // SAFETY: the library passes a string, which stays as it is during the call.
    let message = unsafe { CStr::from_ptr(message) };
    let level = match level {
        0 => Level::Debug,
        1 => Level::Info,
        _ => Level::Warn,
    };
    say(level, message);
}

/// As [`hear`].
unsafe extern "C" fn hear_formatted(format: *const c_char, arguments: VaList) {
    let mut text = [0; LONGEST];
    // SAFETY: the format and its arguments belong together and are used once, here; no more than the buffer's size is
    // written, its end included.
    unsafe { vsnprintf(text.as_mut_ptr().cast(), LONGEST, format, arguments) };
    if let Ok(text) = CStr::from_bytes_until_nul(&text) {
        say(Level::Info, text);
    }
}

fn say(level: Level, message: &CStr) {
    // Nobody waits for a lock here, and a panic elsewhere is no reason to be silent.
    let Ok(mut budget) = BUDGET.try_lock() else { return };
    let message = String::from_utf8_lossy(message.to_bytes());
    let message = message.trim_end();
    if !message.is_empty() {
        log_within!(budget, level, "virglrenderer: {message}");
    }
}
