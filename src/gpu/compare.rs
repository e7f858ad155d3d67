//! Whether guest memory holds certain bytes.
//!
//! Most of what a guest transfers has not changed, and then this is all that is done with it. Copying it first, so that
//! safe code could compare, costs half as much again: the copy reads one stream of memory, then the comparison another,
//! and neither waits for its first lines while the other runs.

#![allow(unsafe_code, reason = "no safe interface compares volatile memory in place")]

use vm_memory::VolatileSlice;

/// Whether `memory` holds exactly `bytes`. While the guest writes there, the answer may be either.
pub fn holds(memory: &VolatileSlice<'_>, bytes: &[u8]) -> bool {
    if memory.len() != bytes.len() {
        return false;
    }
    let guard = memory.ptr_guard();
    // SAFETY: both ranges are mapped for `bytes.len()` bytes: one is a slice, the other's pointer is good for the
    // volatile slice's length (just compared) as long as the guard lives. No reference to guest memory is made; memcmp
    // only reads, and bytes that change under it can change its result, not what it touches.
    unsafe { libc::memcmp(guard.as_ptr().cast(), bytes.as_ptr().cast(), bytes.len()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_same() {
        let mut memory = [1, 2, 3, 4];
        let memory = VolatileSlice::from(memory.as_mut_slice());
        assert!(holds(&memory, &[1, 2, 3, 4]));
        assert!(!holds(&memory, &[1, 2, 3, 5]));
        assert!(!holds(&memory, &[1, 2, 3]));
        assert!(!holds(&memory, &[1, 2, 3, 4, 0]));
    }
}
