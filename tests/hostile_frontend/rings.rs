//! Rings that cannot be, on both devices.

use std::os::fd::AsFd;

use nix::sys::eventfd::EventFd;
use seat_frontend::control::{FrontEnd, VringAddr, request, wire};
use seat_frontend::memory::{RegionSpec, memfd};

use crate::common::soon;
use crate::serving::{BOTH, BackEnd};

const MEMORY: u64 = 0x10_0000;
const GPA: u64 = 0x4000_0000;
const UVA: u64 = 0x7f00_0000_0000;

/// A front end whose back end knows one region of [`MEMORY`] bytes.
fn with_memory(back_end: &BackEnd) -> FrontEnd {
    let mut front = back_end.negotiated();
    let features = front.get_features().unwrap();
    front.set_features(features).unwrap();
    let file = memfd(c"rings", MEMORY, true).unwrap();
    front.add_mem_reg_raw(&RegionSpec { gpa: GPA, size: MEMORY, uva: UVA, mmap_offset: 0 }, &[file.as_fd()]).unwrap();
    front
}

fn kick(front: &mut FrontEnd, ring: u64) -> u64 {
    let eventfd = EventFd::new().unwrap();
    front.ack_value(request::SET_VRING_KICK, &ring.to_ne_bytes(), &[eventfd.as_fd()]).unwrap()
}

#[test]
fn a_ring_starts_only_where_each_of_its_parts_lies_in_memory_and_is_aligned() {
    // Of a ring of 16: table 256 bytes, avail 38, used 134.
    let good = VringAddr { index: 0, flags: 0, desc: UVA, avail: UVA + 0x1000, used: UVA + 0x2000, log: 0 };
    let end = UVA + MEMORY;
    let bad: Vec<VringAddr> = [0, UVA - 16, end, end - 240, u64::MAX - 15, u64::MAX - 255, GPA, UVA + 8]
        .map(|desc| VringAddr { desc, ..good })
        .into_iter()
        .chain([0, UVA - 2, end, end - 36, u64::MAX - 1, GPA, UVA + 1].map(|avail| VringAddr { avail, ..good }))
        .chain([0, UVA - 4, end, end - 132, u64::MAX - 3, GPA, UVA + 2].map(|used| VringAddr { used, ..good }))
        .collect();
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = with_memory(&back_end);
        front.set_vring_num(0, 16).unwrap();
        for addr in &bad {
            front.set_vring_addr(addr).unwrap();
            assert_ne!(kick(&mut front, 0), 0, "{kind:?}: {addr:x?}");
        }
        // To the last byte.
        let fits = VringAddr { desc: end - 256, avail: UVA + 2, used: UVA + 0x2004, ..good };
        front.set_vring_addr(&fits).unwrap();
        assert_eq!(kick(&mut front, 0), 0, "{kind:?}");
        drop(front);
        back_end.assert_well("after all of them");
    }
}

#[test]
fn a_ring_of_the_largest_size_is_measured_by_that_size() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = with_memory(&back_end);
        // The table alone takes half of the memory; the used ring another quarter.
        front.set_vring_num(1, 32768).unwrap();
        let addr =
            VringAddr { index: 1, desc: UVA, avail: UVA + 0x8_0000, used: UVA + 0xa_0000, ..VringAddr::default() };
        front.set_vring_addr(&VringAddr { used: UVA + MEMORY - 0x4_0004, ..addr }).unwrap();
        assert_ne!(kick(&mut front, 1), 0, "{kind:?}: two bytes are missing");
        front.set_vring_addr(&addr).unwrap();
        assert_eq!(kick(&mut front, 1), 0, "{kind:?}");
        drop(front);
        back_end.assert_well("after all of them");
    }
}

#[test]
fn sizes_bases_and_switches_that_no_ring_can_have_are_refused() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = with_memory(&back_end);
        let mut refused = |number: u32, ring: u32, value: u32| {
            let answer = front.ack_value(number, &wire::vring_state(ring, value), &[]).unwrap();
            assert_ne!(answer, 0, "{kind:?}: message {number}, ring {ring}, {value}");
        };
        for size in [0, 3, 5, 63, 65, 1000, 32767, 32769, 65535, 65536, 65537, 1 << 31, u32::MAX] {
            refused(request::SET_VRING_NUM, 0, size);
        }
        refused(request::SET_VRING_BASE, 0, 65536);
        refused(request::SET_VRING_BASE, 0, u32::MAX);
        refused(request::SET_VRING_ENABLE, 0, 2);
        refused(request::SET_VRING_ENABLE, 0, u32::MAX);
        for ring in [2, 3, 31, 32, 33, 64, 255, 256, 65536, u32::MAX] {
            refused(request::SET_VRING_NUM, ring, 16);
            refused(request::SET_VRING_BASE, ring, 0);
            refused(request::SET_VRING_ENABLE, ring, 1);
        }
        drop(front);
        back_end.assert_well("after all of them");
    }
}

#[test]
fn kicks_before_a_ring_is_set_up_are_refused_and_switches_do_no_harm() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = back_end.negotiated();
        for ring in 0..2 {
            front.set_vring_enable(ring, true).unwrap();
            assert_ne!(kick(&mut front, ring.into()), 0, "{kind:?}: nothing was said");
            front.set_vring_num(ring, 16).unwrap();
            assert_ne!(kick(&mut front, ring.into()), 0, "{kind:?}: no addresses");
            let addr =
                VringAddr { index: ring, desc: UVA, avail: UVA + 0x1000, used: UVA + 0x2000, ..VringAddr::default() };
            front.set_vring_addr(&addr).unwrap();
            assert_ne!(kick(&mut front, ring.into()), 0, "{kind:?}: no memory");
            assert_ne!(
                front.ack_value(request::SET_VRING_KICK, &(wire::NO_FD | u64::from(ring)).to_ne_bytes(), &[]).unwrap(),
                0
            );
            front.set_vring_enable(ring, false).unwrap();
            assert_eq!(front.get_vring_base(ring).unwrap(), 0, "{kind:?}");
        }
        drop(front);
        back_end.assert_well("after all of them");
    }
}

#[test]
fn the_base_of_a_ring_that_is_not_there_has_no_answer_so_the_session_ends() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        for ring in [2, 255, u32::MAX] {
            for flags in [0, wire::NEED_REPLY] {
                let mut front = back_end.negotiated();
                front.send(request::GET_VRING_BASE, flags, &wire::vring_state(ring, 0), &[]).unwrap();
                front.expect_close(soon()).unwrap_or_else(|error| panic!("{kind:?}: ring {ring}: {error}"));
            }
        }
        back_end.assert_well("after all of them");
    }
}
