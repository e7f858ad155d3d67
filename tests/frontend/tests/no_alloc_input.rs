//! The input driver allocates nothing once its events run, for the same reason as in `no_alloc.rs`. The device is played
//! here, by the same memory.

mod counting;

use seat_frontend::Deadline;
use seat_frontend::input::ids::{ev, key, led, syn};
use seat_frontend::input::{Event, GuestInput, InputDriver, InputOptions, InputState, Shape};
use seat_frontend::memory::GuestMemory;

/// Uses the next chain of queue `queue`, after writing `bytes` where it lies.
fn device_uses(driver: &InputDriver, queue: usize, bytes: &[u8]) {
    let ring = driver.rings()[queue];
    let idx = ring.used_idx();
    assert_ne!(idx, ring.avail_idx(), "a buffer is there");
    let head = ring.avail_span().u16(4 + 2 * usize::from(idx % ring.size()));
    driver.memory().write(ring.read_desc(head).addr, bytes);
    let at = 4 + 8 * usize::from(idx % ring.size());
    ring.used_span().set_u32(at, head.into());
    ring.used_span().set_u32(at + 4, bytes.len() as u32);
    ring.used_span().set_u16(2, idx.wrapping_add(1));
    ring.interrupt().unwrap();
}

#[test]
fn a_steady_stream_of_events_and_leds_allocates_nothing() {
    let memory = GuestMemory::flat(4 << 20).unwrap();
    let mut driver = InputDriver::new(&memory, InputOptions::sized(4)).unwrap();
    let (mut guest, mut truth) = (GuestInput::new(2), InputState::new(2));
    let report = Event::new(ev::SYN, syn::REPORT, 0);
    driver.post_all().unwrap();
    let mut before = 0;
    for round in 0..1100 {
        if round == 100 {
            before = counting::calls().1;
        }
        let press = Event::new(ev::KEY, key::A, i32::from(round % 2 == 0));
        for event in [press, report] {
            device_uses(&driver, 0, &event.encode());
        }
        assert_eq!(driver.frame(Deadline::secs(10)).unwrap(), [press, report]);
        for event in [press, report] {
            device_uses(&driver, 0, &event.encode());
        }
        truth.set_key(key::A, press.value == 1);
        driver.feed_until(&mut guest, &truth, Deadline::secs(10)).unwrap();
        driver.queue_status(Event::new(ev::LED, led::NUML, round & 1), Shape::Whole).unwrap();
        driver.kick_status();
        device_uses(&driver, 1, &[]);
        driver.finish_status().unwrap();
    }
    assert_eq!(counting::calls().1 - before, 0);
}
