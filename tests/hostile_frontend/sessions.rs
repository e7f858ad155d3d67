//! Ten thousand sessions on each device, valid ones, each cut at some place: descriptors and memory come back.

use crate::common::assert_memory;
use crate::common::random::Random;
use crate::recording::{Player, Step, valid_session};
use crate::serving::{BOTH, BackEnd, Kind, alone, await_descriptors, measure};

const SESSIONS: u32 = 10_000;

/// More than the allocator keeps in reserve, less than one page for each session.
pub const SLACK: u64 = 16 << 20;

#[test]
fn ten_thousand_sessions_cut_anywhere_leave_nothing_behind() {
    alone("sessions::ten_thousand_sessions_cut_anywhere_leave_nothing_behind", || {
        let back_ends = BOTH.map(|kind| (kind, BackEnd::new(kind)));
        // What is made once is made.
        for (kind, back_end) in &back_ends {
            live(*kind, back_end, 500, 1);
        }
        let before = measure();
        std::thread::scope(|scope| {
            for (kind, back_end) in &back_ends {
                scope.spawn(|| live(*kind, back_end, SESSIONS, 2));
            }
        });
        await_descriptors(before.fds);
        let after = measure();
        assert_memory(after.anonymous < before.anonymous + SLACK, (before, after));
        for (kind, back_end) in back_ends {
            back_end.assert_well(&format!("{kind:?}"));
        }
    });
}

fn live(kind: Kind, back_end: &BackEnd, sessions: u32, seed: u64) {
    let player = Player::new();
    let valid = valid_session(kind);
    let mut random = Random::new(seed);
    for _ in 0..sessions {
        let mut steps = valid.clone();
        steps.truncate(1 + random.below(valid.len() as u32) as usize);
        if random.once_in(2)
            && let Some(Step::Send { bytes, .. }) = steps.last_mut()
        {
            bytes.truncate(random.below(bytes.len() as u32) as usize);
        }
        player.play(back_end, &steps, random.once_in(4));
    }
    back_end.assert_serves("after the last session");
}
