//! The `EVIOCG*` requests whose answers virtio-input wants byte for byte, and the one for slots. The evdev crate keeps the
//! former to itself and does not know the latter.

#![allow(unsafe_code, reason = "an ioctl is a raw system call; no wrapper hands these bytes out, see above")]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::Result;
use nix::errno::Errno;

use super::config::{AxisInfo, Bitmap, Ids, PAYLOAD_LEN};

const TYPE: u8 = b'E';
const GET_ID: u8 = 0x02;
/// `EVIOCGBIT(0)`: the types; by type, the codes of each follow.
const GET_BITS: u16 = 0x20;
/// `EVIOCGABS(0)`; the other axes follow.
const GET_AXIS: u16 = 0x40;

/// A string of the device.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// `EVIOCGNAME`
    Name = 0x06,
    /// `EVIOCGPHYS`
    Place = 0x07,
    /// `EVIOCGUNIQ`
    Serial = 0x08,
}

/// Most bytes of a string that are read, its terminator included.
const TEXT_LEN: usize = 256;

/// Fills `buffer` by the request of number `number` and returns how many bytes the kernel wrote.
fn get(fd: BorrowedFd<'_>, number: u16, buffer: &mut [u8]) -> Result<usize> {
    let request = nix::request_code_read!(TYPE, number, buffer.len());
    loop {
        // SAFETY: the request's code says how long the buffer is, and evdev writes no more than that; the buffer is alive
        // and ours alone. Of a descriptor that is no evdev device these codes read at most as many bytes into the buffer.
        let written = unsafe { libc::ioctl(fd.as_raw_fd(), request, buffer.as_mut_ptr()) };
        match Errno::result(written) {
            // The node's lock was another program's for a moment, and a signal came in it.
            Err(Errno::EINTR) => {}
            other => return other.map(|written| usize::try_from(written).unwrap_or(0)),
        }
    }
}

/// A string, without its terminator. `None` for one that is longer than any name is.
///
/// # Errors
/// The device has no such string (`ENOENT`), or is none.
pub fn text(fd: BorrowedFd<'_>, which: Text) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0; TEXT_LEN];
    let written = get(fd, which as u16, &mut buffer)?;
    let text = buffer.get(..written).unwrap_or_default();
    Ok(text.iter().position(|byte| *byte == 0).and_then(|end| text.get(..end)).map(<[u8]>::to_vec))
}

/// The device's numbers.
///
/// # Errors
/// What the ioctl says.
pub fn ids(fd: BorrowedFd<'_>) -> Result<Ids> {
    let mut bytes = [0; 8];
    get(fd, u16::from(GET_ID), &mut bytes)?;
    let [b0, b1, v0, v1, p0, p1, r0, r1] = bytes;
    Ok(Ids {
        bus: u16::from_ne_bytes([b0, b1]),
        vendor: u16::from_ne_bytes([v0, v1]),
        product: u16::from_ne_bytes([p0, p1]),
        version: u16::from_ne_bytes([r0, r1]),
    })
}

/// `INPUT_PROP_*`.
///
/// # Errors
/// What the ioctl says.
pub fn properties(fd: BorrowedFd<'_>) -> Result<Bitmap> {
    bitmap(fd, 0x09)
}

/// The codes of a type; of type 0, the types.
///
/// # Errors
/// What the ioctl says: `EINVAL` for types whose codes the kernel does not tell.
pub fn codes(fd: BorrowedFd<'_>, kind: u16) -> Result<Bitmap> {
    bitmap(fd, GET_BITS + kind)
}

/// The kernel writes bitmaps in machine words; on a big-endian machine bytes would have to change places here.
fn bitmap(fd: BorrowedFd<'_>, number: u16) -> Result<Bitmap> {
    const { assert!(cfg!(target_endian = "little"), "the kernel's bitmaps are words of the host") };
    let mut bitmap = Bitmap::default();
    let bytes: &mut [u8; PAYLOAD_LEN] = bitmap.bytes_mut();
    get(fd, number, bytes)?;
    Ok(bitmap)
}

/// The range of an absolute axis, and its value now.
///
/// # Errors
/// What the ioctl says: `EINVAL` where the device has no absolute axes.
pub fn axis(fd: BorrowedFd<'_>, code: u16) -> Result<(AxisInfo, i32)> {
    let mut bytes = [0; 24];
    get(fd, GET_AXIS + code, &mut bytes)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let &[value, min, max, fuzz, flat, resolution] = numbers else { return Err(Errno::EINVAL) };
    let [min, max, fuzz, flat, resolution] = [min, max, fuzz, flat, resolution].map(i32::from_ne_bytes);
    Ok((AxisInfo { min, max, fuzz, flat, resolution }, i32::from_ne_bytes(value)))
}

/// The values of one axis in all slots (`EVIOCGMTSLOTS`).
#[derive(Debug)]
pub struct SlotValues(Vec<u8>);

impl SlotValues {
    /// For a device of so many slots.
    pub fn new(slots: usize) -> Self {
        Self(vec![0; slots.saturating_add(1).saturating_mul(4)])
    }

    /// Asks for the axis `code`: the values by slot.
    ///
    /// # Errors
    /// What the ioctl says.
    pub fn get(&mut self, fd: BorrowedFd<'_>, code: u16) -> Result<impl Iterator<Item = i32>> {
        if let Some(first) = self.0.first_chunk_mut::<4>() {
            *first = u32::from(code).to_ne_bytes();
        }
        get(fd, 0x0a, &mut self.0)?;
        let (numbers, _) = self.0.as_chunks::<4>();
        Ok(numbers.iter().skip(1).copied().map(i32::from_ne_bytes))
    }
}
