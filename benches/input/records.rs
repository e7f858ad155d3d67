//! What a device says, in the kernel's records (`struct input_event`), and the way from there to a call.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use seat_frontend::input::Event;
use seat_frontend::input::ids::{ev, key, msc, rel, syn};
use seat_frontend::{Deadline, wait_readable};
use vhost_seat::input::node::EVENTS_A_READ;
use vhost_seat::input::wire::RECORD_LEN;

use crate::Result;

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until when an event must have come.
pub fn deadline() -> Deadline {
    Deadline::after(PATIENCE)
}

/// The end of a frame.
pub const REPORT: Event = Event::new(ev::SYN, syn::REPORT, 0);
const SCAN_OF_A: i32 = 0x70004;

/// A mouse that moved.
pub const fn motion(x: i32) -> [Event; 3] {
    [Event::new(ev::REL, rel::X, x), Event::new(ev::REL, rel::Y, 1), REPORT]
}

/// A key that was pressed or let go.
pub const fn key(pressed: bool) -> [Event; 3] {
    [Event::new(ev::MSC, msc::SCAN, SCAN_OF_A), Event::new(ev::KEY, key::A, pressed as i32), REPORT]
}

/// As much as one read takes: a mouse that moved, and at last moved its wheel too.
pub fn full_read() -> Vec<Event> {
    let frames = EVENTS_A_READ / 3;
    let mut events: Vec<Event> = (0..frames).flat_map(|_| motion(1)).collect();
    events.insert(events.len() - 1, Event::new(ev::REL, rel::WHEEL, 1));
    assert_eq!(events.len(), EVENTS_A_READ, "one read");
    events
}

/// Events as records. The time stamp is 0: nobody looks at it.
pub fn records(events: &[Event]) -> Vec<u8> {
    let mut bytes = vec![0; events.len() * RECORD_LEN];
    for (record, event) in bytes.chunks_mut(RECORD_LEN).zip(events) {
        let (_, at) = record.split_at_mut(RECORD_LEN - 8);
        at[..2].copy_from_slice(&event.kind.to_ne_bytes());
        at[2..4].copy_from_slice(&event.code.to_ne_bytes());
        at[4..].copy_from_slice(&event.value.to_ne_bytes());
    }
    bytes
}

/// The time from the write of `records` to `device`, a pipe or a node, until `call` is readable.
pub fn to_call(device: &mut File, records: &[u8], call: BorrowedFd<'_>) -> Result<Duration> {
    let until = deadline();
    let started = Instant::now();
    device.write_all(records)?;
    let called = wait_readable(call, until)?;
    let took = started.elapsed();
    if called { Ok(took) } else { Err("no call came".into()) }
}
