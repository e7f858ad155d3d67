//! Memory that was freed goes back to the host, and not only to the allocator.
//!
//! A guest can make us hold a lot and let it go again. The C library keeps what is freed for later, whole pictures too once
//! one of their size was freed, and holes between what is still used for good: a guest that frees every second picture and
//! then makes larger ones could have the program grow far beyond `--max-hostmem`.

#![allow(unsafe_code, reason = "malloc_trim has no safe wrapper")]

/// Gives all whole pages back that are free. Takes the longer the more is free: to be called once much was freed.
#[cfg(target_env = "gnu")]
pub fn trim() {
    // SAFETY: the function may be called at any time; it touches free memory alone. Needed because no other way leads from
    // the allocator to the host.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give back what they free.
#[cfg(not(target_env = "gnu"))]
pub fn trim() {}
