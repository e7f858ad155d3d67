//! The ioctls of evdev and uinput. Structures go in and out as bytes of exactly the size that stands in the request's
//! number, which is how much the kernel reads or writes.
//!
//! This is the only file with `unsafe` in it: the requests have no safe wrapper that takes their size at run time.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_ulong};
use std::io;
use std::os::fd::AsRawFd;

/// `EVIOC…` of linux/input.h.
pub const EVDEV: u8 = b'E';
/// `UI_…` of linux/uinput.h.
pub const UINPUT: u8 = b'U';

const NONE: u64 = 0;
const WRITE: u64 = 1;
const READ: u64 = 2;

/// A request's number: direction, size, group and number in the group, as asm-generic/ioctl.h packs them.
const fn request(direction: u64, group: u8, number: u8, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (group as u64) << 8 | number as u64
}

fn check(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Lets the kernel fill `bytes`, which ask something themselves in one case; gives what the call returned, for strings and
/// bitmaps the number of bytes.
pub fn read(file: &impl AsRawFd, group: u8, number: u8, bytes: &mut [u8]) -> io::Result<usize> {
    exchange(file, READ, group, number, bytes)
}

/// Gives the kernel `bytes`.
pub fn write(file: &impl AsRawFd, group: u8, number: u8, bytes: &mut [u8]) -> io::Result<()> {
    exchange(file, WRITE, group, number, bytes).map(drop)
}

fn exchange(file: &impl AsRawFd, direction: u64, group: u8, number: u8, bytes: &mut [u8]) -> io::Result<usize> {
    let request: c_ulong = request(direction, group, number, bytes.len());
    // SAFETY: all requests of the two groups that carry a structure, a string or a bitmap touch at most the size in
    // their number behind the pointer, and that is this exclusive slice's own.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, bytes.as_mut_ptr()) })
}

/// A request whose argument is a number and no pointer (`UI_SET_…BIT`, `EVIOCGRAB`).
pub fn set(file: &impl AsRawFd, group: u8, number: u8, value: i32) -> io::Result<()> {
    let request: c_ulong = request(WRITE, group, number, size_of::<i32>());
    // SAFETY: the argument is a plain number to the kernel.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, libc::c_long::from(value)) }).map(drop)
}

/// A request without an argument.
pub fn order(file: &impl AsRawFd, group: u8, number: u8) -> io::Result<()> {
    // SAFETY: the kernel looks at no argument.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request(NONE, group, number, 0) as c_ulong) }).map(drop)
}

/// A request that takes a string up to its end (`UI_SET_PHYS`).
pub fn set_string(file: &impl AsRawFd, group: u8, number: u8, text: &CStr) -> io::Result<()> {
    let request: c_ulong = request(WRITE, group, number, size_of::<*const c_char>());
    // SAFETY: the string has an end and outlives the call; the kernel reads to that end and writes nothing.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, text.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_numbers_of_the_kernels_headers() {
        // EVIOCGNAME(256), EVIOCGRAB, UI_DEV_CREATE, UI_DEV_SETUP.
        assert_eq!(request(READ, EVDEV, 0x06, 256), 0x8100_4506);
        assert_eq!(request(WRITE, EVDEV, 0x90, 4), 0x4004_4590);
        assert_eq!(request(NONE, UINPUT, 1, 0), 0x5501);
        assert_eq!(request(WRITE, UINPUT, 3, 92), 0x405c_5503);
    }
}
