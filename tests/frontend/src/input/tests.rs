//! The driver against a device of a few lines, which sees the rings by the same memory.

use super::ids::{abs, key, led, rel};
use super::*;
use crate::ring::{Desc, NEXT, WRITE};

/// The device's half of both queues, one chain at a time.
struct Device {
    memory: GuestMemory,
    next: [u16; 2],
}

impl Device {
    fn of(driver: &InputDriver) -> Device {
        Device { memory: driver.memory().clone(), next: [0; 2] }
    }

    /// The next chain of a queue: its head and segments.
    fn take(&mut self, ring: &Ring, queue: usize) -> Option<(u16, Vec<Desc>)> {
        if ring.avail_idx() == self.next[queue] {
            return None;
        }
        let head = ring.avail_span().u16(4 + 2 * usize::from(self.next[queue] % ring.size()));
        self.next[queue] = self.next[queue].wrapping_add(1);
        let mut chain = vec![ring.read_desc(head)];
        while let Some(last) = chain.last().filter(|last| last.flags & NEXT != 0) {
            chain.push(ring.read_desc(last.next));
        }
        Some((head, chain))
    }

    fn give(&self, ring: &Ring, head: u16, len: u32) {
        let idx = ring.used_idx();
        let at = 4 + 8 * usize::from(idx % ring.size());
        ring.used_span().set_u32(at, head.into());
        ring.used_span().set_u32(at + 4, len);
        ring.used_span().set_u16(2, idx.wrapping_add(1));
        ring.interrupt().unwrap();
    }

    /// Writes an event into the next buffer of the event queue; false where there is none.
    fn send(&mut self, driver: &InputDriver, event: Event) -> bool {
        let ring = driver.rings()[0];
        let Some((head, chain)) = self.take(ring, 0) else { return false };
        let mut bytes = &event.encode()[..];
        for desc in chain {
            assert_eq!(desc.flags & WRITE, WRITE);
            let (now, rest) = bytes.split_at(desc.len as usize);
            self.memory.write(desc.addr, now);
            bytes = rest;
        }
        self.give(ring, head, 8);
        true
    }
}

fn driver(options: InputOptions) -> (InputDriver, Device) {
    let driver = InputDriver::new(&GuestMemory::flat(4 << 20).unwrap(), options).unwrap();
    let device = Device::of(&driver);
    (driver, device)
}

const SOON: u64 = 2;
const REPORT: Event = Event::new(ev::SYN, syn::REPORT, 0);

fn motion(value: i32) -> Event {
    Event::new(ev::REL, rel::X, value)
}

fn late() -> Deadline {
    Deadline::secs(10)
}

#[test]
fn linux_posts_as_many_buffers_as_the_ring_has_and_64_at_most() {
    for (size, posted) in [(4, 4), (64, 64), (1024, 64)] {
        let (mut driver, _) = driver(InputOptions::sized(size));
        assert_eq!(driver.post_all().unwrap(), posted);
        assert_eq!(driver.posted(), usize::from(posted));
        let desc = driver.rings()[0].read_desc(0);
        assert_eq!((desc.len, desc.flags), (8, WRITE));
        assert_eq!(driver.post_all().unwrap(), 0, "a second time there is nothing to post");
    }
}

#[test]
fn events_come_in_order_over_many_rounds_of_a_ring_of_four() {
    for event_idx in [true, false] {
        let ring = RingOptions { size: 4, event_idx };
        let (mut driver, mut device) = driver(InputOptions { events: ring, ..InputOptions::default() });
        driver.event_ring().set_position(u16::MAX - 5);
        device.next[0] = u16::MAX - 5;
        driver.post_all().unwrap();
        let (mut sent, mut seen) = (0, 0);
        while seen < 100 {
            while sent < 100 && device.send(&driver, motion(sent)) {
                sent += 1;
            }
            while let Some(event) = driver.poll_event().unwrap() {
                assert_eq!(event, motion(seen));
                seen += 1;
            }
        }
        assert_eq!(driver.posted(), 4);
    }
}

#[test]
fn without_reposting_buffers_are_handed_out_as_the_test_says() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    driver.set_reposting(false);
    assert_eq!(driver.post(1).unwrap(), 1);
    assert!(device.send(&driver, motion(1)) && !device.send(&driver, motion(2)));
    assert_eq!(driver.next_event(late()).unwrap(), motion(1));
    driver.expect_silence(Deadline::millis(SOON)).unwrap();
    assert_eq!((driver.posted(), driver.post(9).unwrap()), (0, 4));
}

#[test]
fn one_kick_goes_out_for_a_batch() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    driver.post_all().unwrap();
    let kicks = |driver: &InputDriver| {
        let mut count = [0; 8];
        nix::unistd::read(driver.rings()[0].kick_fd(), &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    };
    assert_eq!(kicks(&driver), 1);
    // The device asks for a kick at the next buffer.
    driver.rings()[0].used_span().set_u16(4 + 8 * 4, 4);
    for value in 0..3 {
        device.send(&driver, motion(value));
    }
    driver.poll_event().unwrap();
    driver.poll_event().unwrap();
    assert_eq!(kicks(&driver), 0);
    driver.poll_event().unwrap();
    assert_eq!((kicks(&driver), driver.rings()[0].avail_idx()), (1, 7));
}

#[test]
fn a_frame_ends_at_its_report_and_a_part_of_one_is_kept() {
    let (mut driver, mut device) = driver(InputOptions::default());
    driver.post_all().unwrap();
    device.send(&driver, motion(1));
    assert!(matches!(driver.frame(Deadline::millis(SOON)), Err(Error::TimedOut(_))));
    assert_eq!(driver.partial(), [motion(1)]);
    for event in [motion(2), REPORT, motion(3), REPORT] {
        device.send(&driver, event);
    }
    assert_eq!(driver.frame(late()).unwrap(), [motion(1), motion(2), REPORT]);
    assert_eq!(driver.partial(), []);
    assert_eq!(driver.frame(late()).unwrap(), [motion(3), REPORT]);
}

#[test]
fn an_event_in_two_segments_is_read_from_both() {
    for layout in [Layout::Direct, Layout::Indirect] {
        for first in 1..8 {
            let (mut driver, mut device) = driver(InputOptions { layout, ..InputOptions::sized(4) });
            driver.set_reposting(false);
            driver.post_shaped(Shape::Split(first)).unwrap();
            if layout == Layout::Direct {
                assert!(device.send(&driver, motion(0x0102_0304)));
            } else {
                let (head, outer) = device.take(driver.rings()[0], 0).unwrap();
                let table = driver.memory().span(outer[0].addr, outer[0].len.into());
                let bytes = motion(0x0102_0304).encode();
                let [one, two] = [0, 1].map(|at| Desc::read(&table, at));
                driver.memory().write(one.addr, &bytes[..one.len as usize]);
                driver.memory().write(two.addr, &bytes[one.len as usize..]);
                device.give(driver.rings()[0], head, 8);
            }
            assert_eq!(driver.next_event(late()).unwrap(), motion(0x0102_0304));
        }
    }
}

#[test]
fn a_device_that_writes_past_short_of_or_into_the_wrong_buffer_is_at_fault() {
    let faulty = |shape: Shape, len: u32, written: usize| {
        let (mut driver, mut device) = driver(InputOptions::sized(4));
        driver.post_shaped(shape).unwrap();
        let (head, chain) = device.take(driver.rings()[0], 0).unwrap();
        driver.memory().write(chain[0].addr, &[1; 16][..written]);
        device.give(driver.rings()[0], head, len);
        matches!(driver.poll_event(), Err(Error::Fault(_)))
    };
    assert!(!faulty(Shape::Whole, 8, 8));
    assert!(faulty(Shape::Whole, 8, 9), "a byte too many");
    assert!(faulty(Shape::Whole, 8, 0), "nothing written");
    assert!(faulty(Shape::Whole, 7, 8), "a wrong length");
    assert!(faulty(Shape::Whole, 0, 0), "a sound buffer that was not used");
    assert!(!faulty(Shape::Short(4), 0, 0));
    assert!(faulty(Shape::Short(4), 0, 4), "a short buffer that was written");
    assert!(faulty(Shape::Short(4), 4, 0), "a short buffer with a length");
    assert!(!faulty(Shape::WrongWay, 0, 0));
    assert!(faulty(Shape::WrongWay, 8, 8), "a read-only buffer that was written");
}

#[test]
fn unsound_buffers_that_were_left_alone_are_counted_and_replaced() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    for shape in [Shape::Short(1), Shape::WrongWay] {
        let head = driver.post_shaped(shape).unwrap();
        let (taken, chain) = device.take(driver.rings()[0], 0).unwrap();
        assert_eq!((taken, chain[0].flags & WRITE == 0), (head, shape == Shape::WrongWay));
        device.give(driver.rings()[0], head, 0);
    }
    assert_eq!(driver.poll_event().unwrap(), None);
    assert_eq!((driver.refused(), driver.posted()), (2, 2));
    assert!(device.send(&driver, motion(1)));
}

#[test]
fn a_chain_entered_by_hand_is_not_the_drivers() {
    let (mut driver, device) = driver(InputOptions::sized(4));
    let segment = crate::ring::Segment { gpa: 0x1000, len: 8 };
    let head = driver.event_ring().add(&[], &[segment], Layout::Direct).unwrap();
    driver.event_ring().submit();
    device.give(driver.rings()[0], head, 8);
    assert!(matches!(driver.poll_event(), Err(Error::Fault(_))));
}

#[test]
fn silence_is_not_what_an_event_is() {
    let (mut driver, mut device) = driver(InputOptions::default());
    driver.post_all().unwrap();
    driver.expect_silence(Deadline::millis(SOON)).unwrap();
    device.send(&driver, motion(1));
    assert!(matches!(driver.expect_silence(late()), Err(Error::Fault(_))));
}

#[test]
fn status_buffers_carry_one_event_each_and_must_come_back_empty() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    let event = Event::new(ev::LED, led::CAPSL, 1);
    for (shape, len, fault) in
        [(Shape::Whole, 0, false), (Shape::Split(3), 0, false), (Shape::Short(4), 0, false), (Shape::Whole, 8, true)]
    {
        driver.queue_status(event, shape).unwrap();
        assert!(driver.kick_status() || shape != Shape::Whole);
        let (head, chain) = device.take(driver.rings()[1], 1).unwrap();
        let read: Vec<u8> = chain
            .iter()
            .flat_map(|desc| {
                assert_eq!(desc.flags & WRITE, 0);
                let mut bytes = vec![0; desc.len as usize];
                driver.memory().read(desc.addr, &mut bytes);
                bytes
            })
            .collect();
        assert_eq!(read, event.encode()[..read.len()]);
        device.give(driver.rings()[1], head, len);
        assert_eq!(driver.finish_status().is_err(), fault, "{shape:?}");
        // The used index is where the device asks for the next kick.
        let used = driver.rings()[1].used_idx();
        driver.rings()[1].used_span().set_u16(4 + 8 * 4, used);
    }
    assert_eq!(driver.status_in_flight(), 0);
}

#[test]
fn a_writable_status_buffer_must_not_be_written() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    driver.queue_status(Event::default(), Shape::WrongWay).unwrap();
    driver.kick_status();
    let (head, chain) = device.take(driver.rings()[1], 1).unwrap();
    assert_eq!(chain[0].flags, WRITE);
    driver.memory().write(chain[0].addr, &[1]);
    device.give(driver.rings()[1], head, 0);
    assert!(matches!(driver.finish_status(), Err(Error::Fault(_))));
}

#[test]
fn more_status_events_than_the_ring_holds_wait_for_room() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    driver.set_timeout(Duration::from_millis(SOON));
    let events = [(ev::LED, led::NUML, 1); 5];
    assert!(matches!(driver.send_status(&events), Err(Error::TimedOut(_))), "nobody takes them");
    let mut taken = 0;
    while let Some((head, _)) = device.take(driver.rings()[1], 1) {
        device.give(driver.rings()[1], head, 0);
        taken += 1;
    }
    assert_eq!(taken, 4);
    driver.finish_status().unwrap();
}

#[test]
fn events_are_played_into_a_guest_until_it_agrees() {
    let (mut driver, mut device) = driver(InputOptions::default());
    driver.post_all().unwrap();
    let mut guest = GuestInput::new(0);
    let mut truth = InputState::new(0);
    truth.set_key(key::A, true);
    truth.set_axis(abs::X, 3);
    let events = [Event::new(ev::KEY, key::A, 1), Event::new(ev::ABS, abs::X, 3), REPORT];
    for event in &events[..2] {
        device.send(&driver, *event);
    }
    let open = driver.feed_until(&mut guest, &truth, Deadline::millis(SOON));
    assert!(matches!(open, Err(Error::Fault(text)) if text.contains("a frame has not ended")));
    device.send(&driver, events[2]);
    driver.feed_until(&mut guest, &truth, late()).unwrap();
    truth.set_key(key::A, false);
    let differs = driver.feed_until(&mut guest, &truth, Deadline::millis(SOON));
    assert!(matches!(differs, Err(Error::Fault(text)) if text.contains("key 30 is held")));
}

#[test]
fn a_reset_forgets_what_was_posted() {
    let (mut driver, mut device) = driver(InputOptions::sized(4));
    driver.post_all().unwrap();
    device.send(&driver, motion(1));
    driver.reset();
    assert_eq!((driver.posted(), driver.rings()[0].avail_idx()), (0, 0));
    assert_eq!(driver.poll_event().unwrap(), None);
    assert_eq!(driver.post_all().unwrap(), 4);
}
