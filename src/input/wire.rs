//! Events as bytes: virtio-input's on the guest's side (VIRTIO 1.3, 5.8.6), the kernel's `struct input_event` on the other.

use super::codes::{EV_SYN, SYN_REPORT};

/// Bytes of a virtio-input event.
pub const EVENT_LEN: usize = 8;
/// Bytes of the kernel's record: a time stamp of two machine words, then type, code and value.
pub const RECORD_LEN: usize = size_of::<libc::input_event>();

/// An event, in Linux's numbers on both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `EV_*`.
    pub kind: u16,
    /// What of that type.
    pub code: u16,
    /// Its new value, or how far it moved.
    pub value: i32,
}

impl Event {
    /// The end of a frame.
    pub const REPORT: Self = Self::new(EV_SYN, SYN_REPORT, 0);

    /// An event of these three numbers.
    pub const fn new(kind: u16, code: u16, value: i32) -> Self {
        Self { kind, code, value }
    }

    /// Whether it ends a frame.
    pub fn is_report(&self) -> bool {
        (self.kind, self.code) == (EV_SYN, SYN_REPORT)
    }

    /// As the guest reads it: little-endian, whatever the host's order.
    pub fn to_guest(self) -> [u8; EVENT_LEN] {
        let ([t0, t1], [c0, c1], [v0, v1, v2, v3]) =
            (self.kind.to_le_bytes(), self.code.to_le_bytes(), self.value.to_le_bytes());
        [t0, t1, c0, c1, v0, v1, v2, v3]
    }

    /// As the guest wrote it.
    pub fn from_guest(bytes: [u8; EVENT_LEN]) -> Self {
        let [t0, t1, c0, c1, v0, v1, v2, v3] = bytes;
        Self {
            kind: u16::from_le_bytes([t0, t1]),
            code: u16::from_le_bytes([c0, c1]),
            value: i32::from_le_bytes([v0, v1, v2, v3]),
        }
    }

    /// As the kernel wrote it; its time stamp means nothing to a guest. `None` for a record cut short.
    pub fn from_record(record: &[u8]) -> Option<Self> {
        let (_, event) = record.get(..RECORD_LEN)?.split_last_chunk::<EVENT_LEN>()?;
        let [t0, t1, c0, c1, v0, v1, v2, v3] = *event;
        Some(Self {
            kind: u16::from_ne_bytes([t0, t1]),
            code: u16::from_ne_bytes([c0, c1]),
            value: i32::from_ne_bytes([v0, v1, v2, v3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_event_is_eight_little_endian_bytes() {
        let event = Event::new(0x0102, 0x0304, -2);
        assert_eq!(event.to_guest(), [0x02, 0x01, 0x04, 0x03, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(Event::from_guest(event.to_guest()), event);
    }

    #[test]
    fn a_record_is_read_behind_its_time_stamp_and_not_when_it_is_short() {
        let mut record = [0xaa; RECORD_LEN];
        let at = RECORD_LEN - EVENT_LEN;
        record[at..at + 2].copy_from_slice(&1u16.to_ne_bytes());
        record[at + 2..at + 4].copy_from_slice(&30u16.to_ne_bytes());
        record[at + 4..].copy_from_slice(&(-7i32).to_ne_bytes());
        assert_eq!(Event::from_record(&record), Some(Event::new(1, 30, -7)));
        assert_eq!(Event::from_record(&record[..RECORD_LEN - 1]), None);
    }
}
