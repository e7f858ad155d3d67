use super::*;
use crate::deadline::Deadline;
use crate::memory::GuestMemory;

fn ring(size: u16, event_idx: bool) -> Ring {
    let memory = GuestMemory::flat(0x20_0000).unwrap();
    let mut pages = Pages::new(&memory);
    Ring::new(&memory, &mut pages, RingOptions { size, event_idx }).unwrap()
}

fn segment(gpa: u64, len: u32) -> Segment {
    Segment { gpa, len }
}

/// The device's half of one exchange, written out by hand.
fn device_uses(ring: &Ring, head: u16, len: u32) {
    let idx = ring.used_idx();
    let at = layout::used_entry(idx % ring.size());
    ring.used_span().set_u32(at, head.into());
    ring.used_span().set_u32(at + 4, len);
    ring.used_span().set_u16(layout::IDX, idx.wrapping_add(1));
}

#[test]
fn a_direct_chain_is_linked_and_ends() {
    let mut ring = ring(4, true);
    let head = ring.add(&[segment(0x1000, 24), segment(0x2000, 8)], &[segment(0x3000, 24)], Layout::Direct).unwrap();
    let first = ring.read_desc(head);
    let second = ring.read_desc(first.next);
    let third = ring.read_desc(second.next);
    assert_eq!((first.addr, first.len, first.flags), (0x1000, 24, NEXT));
    assert_eq!((second.addr, second.len, second.flags), (0x2000, 8, NEXT));
    assert_eq!((third.addr, third.len, third.flags, third.next), (0x3000, 24, WRITE, 0));
    assert_eq!(ring.free(), 1);
}

#[test]
fn an_indirect_chain_takes_one_descriptor() {
    let mut ring = ring(4, true);
    ring.add(&[segment(0x1000, 24)], &[], Layout::Indirect).unwrap();
    let head = ring.add(&[segment(0x1000, 24)], &[segment(0x3000, 24)], Layout::Indirect).unwrap();
    let outer = ring.read_desc(head);
    assert_eq!((outer.len, outer.flags), (32, INDIRECT));
    let first = ((outer.addr - ring.table_span().gpa()) / 16) as usize;
    let table = [0, 1].map(|at| Desc::read(ring.table_span(), first + at));
    assert_eq!((table[0].addr, table[0].flags, table[0].next), (0x1000, NEXT, 1));
    assert_eq!((table[1].addr, table[1].flags, table[1].next), (0x3000, WRITE, 0));
    assert_eq!(ring.free(), 2);
}

#[test]
fn the_device_sees_nothing_before_publish() {
    let mut ring = ring(4, true);
    let head = ring.add(&[segment(0x1000, 24)], &[], Layout::Direct).unwrap();
    assert_eq!(ring.avail_idx(), 0);
    ring.publish();
    assert_eq!(ring.avail_idx(), 1);
    assert_eq!(ring.avail_span().u16(layout::avail_entry(0)), head);
}

#[test]
fn chains_come_back_in_any_order_over_many_wraps() {
    let mut ring = ring(4, true);
    ring.set_position(u16::MAX - 3);
    for round in 0..40u32 {
        let one = ring.add(&[segment(0, 1), segment(0, 2)], &[], Layout::Direct).unwrap();
        let two = ring.add(&[segment(0, 3)], &[segment(0, 4)], Layout::Direct).unwrap();
        assert!(ring.add(&[segment(0, 1)], &[], Layout::Direct).is_err());
        ring.publish();
        let order = if round % 2 == 0 { [one, two] } else { [two, one] };
        order.into_iter().for_each(|head| device_uses(&ring, head, round));
        for head in order {
            assert_eq!(ring.poll_used().unwrap(), Some(Used { head, len: round }));
        }
        assert_eq!(ring.free(), 4);
    }
}

#[test]
fn a_used_element_for_nothing_in_flight_is_a_fault() {
    let mut ring = ring(4, true);
    device_uses(&ring, 2, 0);
    assert!(matches!(ring.poll_used(), Err(Error::Fault(_))));
}

#[test]
fn a_used_index_far_ahead_is_a_fault() {
    let mut ring = ring(4, true);
    ring.used_span().set_u16(layout::IDX, 5);
    assert!(matches!(ring.poll_used(), Err(Error::Fault(_))));
}

#[test]
fn kicks_follow_the_devices_event_index() {
    let mut ring = ring(8, true);
    ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    assert!(ring.submit(), "avail_event 0 asks for the first");
    ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    assert!(!ring.submit(), "avail_event is behind");
    ring.used_span().set_u16(layout::avail_event(8), 2);
    ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    assert!(ring.submit());
    assert_eq!(ring.kick.read().unwrap(), 2);
}

#[test]
fn kicks_follow_the_devices_flag_without_event_idx() {
    let mut ring = ring(8, false);
    ring.used_span().set_u16(layout::FLAGS, USED_NO_NOTIFY);
    ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    assert!(!ring.submit());
    ring.used_span().set_u16(layout::FLAGS, 0);
    ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    assert!(ring.submit());
}

#[test]
fn interrupts_are_asked_for_by_index_or_by_flag() {
    let mut by_index = ring(8, true);
    by_index.disable_interrupts();
    by_index.enable_interrupts_after(3);
    assert_eq!(by_index.avail_span().u16(layout::used_event(8)), 2);
    let mut by_flag = ring(8, false);
    by_flag.disable_interrupts();
    assert_eq!(by_flag.avail_span().u16(layout::FLAGS), AVAIL_NO_INTERRUPT);
    by_flag.enable_interrupts();
    assert_eq!(by_flag.avail_span().u16(layout::FLAGS), 0);
}

#[test]
fn a_lost_interrupt_is_told_from_a_slow_device() {
    let mut ring = ring(8, true);
    let head = ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    ring.submit();
    assert!(matches!(ring.wait_used(Deadline::millis(5)), Err(Error::TimedOut(_))));
    device_uses(&ring, head, 0);
    assert!(matches!(ring.late(1), Err(Error::Fault(_))));
    // One that comes a moment after its element is not lost.
    let head = ring.add(&[segment(0, 1)], &[], Layout::Direct).unwrap();
    ring.submit();
    device_uses(&ring, head, 1);
    ring.interrupt().unwrap();
    assert_eq!(ring.late(1).unwrap().map(|used| used.head), Some(head));
}

#[test]
fn events_are_compared_across_the_wrap() {
    assert!(need_event(u16::MAX, 0, u16::MAX));
    assert!(!need_event(0, 0, u16::MAX));
    assert!(need_event(5, 8, 4));
    assert!(!need_event(8, 8, 4));
}

#[test]
fn a_hand_written_chain_can_be_marked() {
    let mut ring = ring(4, true);
    ring.write_desc(2, Desc { addr: 0x1000, len: 4, flags: 0, next: 0 });
    ring.mark_in_flight(2);
    ring.offer(2);
    device_uses(&ring, 2, 0);
    assert_eq!(ring.poll_used().unwrap(), Some(Used { head: 2, len: 0 }));
    assert_eq!(ring.free(), 4);
}
