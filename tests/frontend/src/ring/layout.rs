//! Layout of the split ring's three parts, after VIRTIO 1.3, section 2.7.

use crate::memory::Span;

/// Descriptor flag: another follows.
pub const NEXT: u16 = 1;
/// Descriptor flag: the device writes here.
pub const WRITE: u16 = 2;
/// Descriptor flag: a table of descriptors lies here.
pub const INDIRECT: u16 = 4;
/// Avail flag, without EVENT_IDX: no interrupts, please.
pub const AVAIL_NO_INTERRUPT: u16 = 1;
/// Used flag, without EVENT_IDX: no kicks, please.
pub const USED_NO_NOTIFY: u16 = 1;

pub(super) const FLAGS: usize = 0;
pub(super) const IDX: usize = 2;

/// A descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Desc {
    /// Guest physical address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// [`NEXT`], [`WRITE`], [`INDIRECT`].
    pub flags: u16,
    /// The next descriptor, with [`NEXT`].
    pub next: u16,
}

impl Desc {
    /// Bytes of a descriptor.
    pub const SIZE: usize = 16;

    /// Writes it as entry `index` of a table.
    pub fn write(&self, table: &Span, index: usize) {
        let mut bytes = [0; Desc::SIZE];
        bytes[0..8].copy_from_slice(&self.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.next.to_le_bytes());
        table.write(index * Desc::SIZE, &bytes);
    }

    /// Reads entry `index` of a table.
    pub fn read(table: &Span, index: usize) -> Desc {
        let at = index * Desc::SIZE;
        Desc { addr: table.u64(at), len: table.u32(at + 8), flags: table.u16(at + 12), next: table.u16(at + 14) }
    }
}

pub(super) fn avail_size(size: u16) -> usize {
    used_event(size) + 2
}

pub(super) fn used_size(size: u16) -> usize {
    avail_event(size) + 2
}

pub(super) fn avail_entry(slot: u16) -> usize {
    4 + usize::from(slot) * 2
}

pub(super) fn used_entry(slot: u16) -> usize {
    4 + usize::from(slot) * 8
}

pub(super) fn used_event(size: u16) -> usize {
    avail_entry(size)
}

pub(super) fn avail_event(size: u16) -> usize {
    used_entry(size)
}

/// Whether moving an index from `old` to `new` passes the event that the other side asked for (section 2.7.7).
pub fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
