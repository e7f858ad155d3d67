//! Front ends that do not read: nothing is kept for them without a limit, SIGTERM and their hang-up are heard.

use std::time::Duration;

use seat_frontend::control::request;
use seat_frontend::control::wire::{VERSION, config, message};

use crate::serving::{BOTH, BackEnd, alone, await_descriptors, measure};

#[test]
fn a_front_end_that_reads_no_replies_is_left_behind_when_it_hangs_up() {
    alone("deaf::a_front_end_that_reads_no_replies_is_left_behind_when_it_hangs_up", || {
        let one = message(request::GET_CONFIG, VERSION, &config(0, 0, &[0; 256]));
        for kind in BOTH {
            let back_end = BackEnd::new(kind);
            back_end.assert_serves("before");
            let before = measure().fds;
            for _ in 0..3 {
                let mut front = back_end.connect();
                front.set_timeout(Duration::from_millis(100));
                let mut sent = 0;
                while front.send_bytes(&one, &[]).is_ok() {
                    sent += 1;
                    assert!(sent < 100_000, "{kind:?}: replies are queued without a limit");
                }
                drop(front);
                back_end.assert_serves("after one that did not read");
            }
            await_descriptors(before);
            back_end.assert_well("in the end");
        }
    });
}

#[test]
fn sigterm_ends_a_back_end_whose_front_end_reads_nothing() {
    let one = message(request::GET_CONFIG, VERSION, &config(0, 0, &[0; 256]));
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = back_end.connect();
        front.set_timeout(Duration::from_millis(100));
        while front.send_bytes(&one, &[]).is_ok() {}
        back_end.assert_ends_on_sigterm();
    }
}
