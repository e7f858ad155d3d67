//! The end of a program that makes a system call which its sandbox forbids: one line, and status 1.
//!
//! The filter answers such a call with SIGSYS. The handler never returns; what it calls allocates nothing and locks
//! nothing. Where the signal is blocked, in the handler itself or where the C library makes a thread, the kernel ends the
//! process without a word.

#![allow(
    unsafe_code,
    reason = "a signal handler can't be installed, nor its siginfo_t read, nor the process be ended at once, by safe code"
)]

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::sync::OnceLock;

use nix::Result;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::logger;

/// The name before the last line.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// `siginfo_t` as the kernel fills it for SIGSYS; libc has no name for these fields.
#[repr(C)]
struct Info {
    signal: c_int,
    error: c_int,
    code: c_int,
    address: *const c_void,
    call: c_int,
    processor: u32,
}

const _: () = assert!(offset_of!(Info, address) == 16 && offset_of!(Info, call) == 24, "a 64-bit kernel's layout");

/// From now on SIGSYS ends the program with a line that names the call.
///
/// # Errors
/// What sigaction(2) says; no known kernel refuses.
pub fn set(program: &'static str) -> Result<()> {
    PROGRAM.get_or_init(|| program);
    let action = SigAction::new(SigHandler::SigAction(trapped), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler may run at any point of the program: it touches only atomics and its own stack, and calls poll,
    // write and _exit.
    unsafe { sigaction(Signal::SIGSYS, &action)? };
    Ok(())
}

extern "C" fn trapped(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a siginfo_t of 128 bytes, aligned as Info is, which lives as long as the handler runs; for
    // SIGSYS it has these fields, and any bytes are a value of each.
    let call = unsafe { (*info.cast::<Info>()).call };
    let program = PROGRAM.get().copied().unwrap_or_default();
    logger::say(
        program,
        format_args!("system call {call} ({}) is not allowed by the sandbox: please report it", std::env::consts::ARCH),
    );
    // SAFETY: it ends the process as it is; nothing of it is used any more.
    unsafe { libc::_exit(1) }
}
