//! `struct input_event`: bytes to values and back.

/// Type, code and value. The time is the kernel's to give.
pub type Event = (u16, u16, i32);

const TIME: usize = size_of::<libc::timeval>();
/// Bytes of an event.
pub const SIZE: usize = TIME + 8;

/// An event as it is written, at time 0: both uinput and evdev take their own.
pub fn encode((kind, code, value): Event) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[TIME..TIME + 2].copy_from_slice(&kind.to_ne_bytes());
    bytes[TIME + 2..TIME + 4].copy_from_slice(&code.to_ne_bytes());
    bytes[TIME + 4..].copy_from_slice(&value.to_ne_bytes());
    bytes
}

/// The events in what was read; the kernel gives whole ones.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = Event> {
    let (events, _) = bytes.as_chunks::<SIZE>();
    events.iter().map(|event| {
        let [.., k0, k1, c0, c1, v0, v1, v2, v3] = *event;
        (u16::from_ne_bytes([k0, k1]), u16::from_ne_bytes([c0, c1]), i32::from_ne_bytes([v0, v1, v2, v3]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_were_written() {
        let events = [(1, 30, 1), (3, 0x39, -1), (0, 0, 0)];
        let bytes: Vec<u8> = events.into_iter().flat_map(encode).collect();
        assert_eq!(decode(&bytes).collect::<Vec<_>>(), events);
    }

    #[test]
    fn an_event_is_time_type_code_and_value() {
        let event = encode((0x0102, 0x0304, -2));
        assert_eq!(event[..TIME], [0; TIME]);
        assert_eq!(event[TIME..TIME + 2], 0x0102u16.to_ne_bytes());
        assert_eq!(event[TIME + 2..TIME + 4], 0x0304u16.to_ne_bytes());
        assert_eq!(event[TIME + 4..], (-2i32).to_ne_bytes());
    }
}
