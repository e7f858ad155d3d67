//! Memory tables that cannot be, on both devices. Single regions: `tests/gpu/negotiation`.

use std::os::fd::AsFd;

use seat_frontend::control::{request, wire};
use seat_frontend::memory::{RegionSpec, memfd};

use crate::serving::{BOTH, BackEnd, alone, await_descriptors, measure};

const PAGE: u64 = 0x1000;

fn spec(gpa: u64, uva: u64, size: u64, mmap_offset: u64) -> RegionSpec {
    RegionSpec { gpa, size, uva, mmap_offset }
}

#[test]
fn tables_with_an_absurd_region_are_refused_whole_and_the_old_one_stays() {
    alone("memory::tables_with_an_absurd_region_are_refused_whole_and_the_old_one_stays", || {
        let file = memfd(c"table", 4 * PAGE, true).unwrap();
        let good = spec(0, 1 << 40, PAGE, 0);
        let absurd = [
            ("empty", spec(1 << 30, 1 << 41, 0, 0)),
            ("the same guest addresses", spec(0, 1 << 41, PAGE, 0)),
            ("overlapping guest addresses", spec(PAGE - 1, 1 << 41, PAGE, 0)),
            ("overlapping user addresses", spec(1 << 30, (1 << 40) + PAGE - 1, PAGE, 0)),
            ("guest addresses that overflow", spec(u64::MAX - PAGE + 2, 1 << 41, PAGE, 0)),
            ("user addresses that overflow", spec(1 << 30, u64::MAX - PAGE + 2, PAGE, 0)),
            ("an offset that overflows", spec(1 << 30, 1 << 41, PAGE, u64::MAX - PAGE + 2)),
            ("an offset within a page", spec(1 << 30, 1 << 41, PAGE, 12)),
            ("beyond the file's end by one byte", spec(1 << 30, 1 << 41, 4 * PAGE + 1, 0)),
            ("beyond the file's end by its offset", spec(1 << 30, 1 << 41, 2 * PAGE, 3 * PAGE)),
            ("all of it", spec(0, 0, u64::MAX, 0)),
            ("half of it", spec(1 << 30, 1 << 41, 1 << 63, 0)),
        ];
        for kind in BOTH {
            let back_end = BackEnd::new(kind);
            let mut front = back_end.negotiated();
            front.set_mem_table_raw(&[good], &[file.as_fd()]).unwrap();
            let before = measure().fds;
            for (what, absurd) in absurd {
                for specs in [[good, absurd], [absurd, good]] {
                    let table = wire::mem_table(&specs);
                    let fds = [file.as_fd(), file.as_fd()];
                    assert_ne!(front.ack_value(request::SET_MEM_TABLE, &table, &fds).unwrap(), 0, "{kind:?}: {what}");
                }
                assert_ne!(
                    front.ack_value(request::ADD_MEM_REG, &wire::single_region(&absurd), &[file.as_fd()]).unwrap(),
                    0,
                    "{kind:?}: {what}"
                );
            }
            // The file of the good one is still mapped, and no other.
            await_descriptors(before);
            front.rem_mem_reg(&good).unwrap();
            back_end_well(back_end, front);
        }
    });
}

fn back_end_well(back_end: BackEnd, front: seat_frontend::control::FrontEnd) {
    drop(front);
    back_end.assert_well("after all of them");
}

#[test]
fn regions_that_were_never_added_cannot_be_removed_whatever_they_say() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = back_end.negotiated();
        for strange in [spec(0, 0, 0, 0), spec(u64::MAX, u64::MAX, u64::MAX, u64::MAX), spec(0, 1 << 40, PAGE, 0)] {
            let payload = wire::single_region(&strange);
            assert_ne!(front.ack_value(request::REM_MEM_REG, &payload, &[]).unwrap(), 0, "{kind:?}: {strange:?}");
        }
        back_end_well(back_end, front);
    }
}
