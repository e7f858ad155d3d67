//! Fifty thousand sessions: valid messages, mutated by a seeded generator in their bytes, sizes, order, descriptors and
//! memory, and cut. The back ends live, end each session, and keep nothing.
//!
//! Half of the sessions are a screen's, half an input device's. `VHOST_SEAT_MUTATION_SEED` plays other ones,
//! `VHOST_SEAT_MUTATION_SESSIONS` more or fewer.

use seat_frontend::control::wire::{VERSION, message};

use crate::common::assert_memory;
use crate::common::random::Random;
use crate::recording::{FDS, Fd, MEMORY, Player, Step, valid_session};
use crate::serving::{BOTH, BackEnd, Kind, alone, await_descriptors, measure};
use crate::sessions::SLACK;

const SESSIONS: u32 = 50_000;
const SEED: u64 = 20_251;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn fifty_thousand_mutated_sessions_do_no_harm() {
    alone("mutation::fifty_thousand_mutated_sessions_do_no_harm", || {
        let seed = number("VHOST_SEAT_MUTATION_SEED", SEED);
        let sessions = number("VHOST_SEAT_MUTATION_SESSIONS", SESSIONS.into()) as u32;
        let back_ends = BOTH.map(|kind| (kind, BackEnd::new(kind)));
        for (kind, back_end) in &back_ends {
            live(*kind, back_end, 1000, !seed);
        }
        let before = measure();
        std::thread::scope(|scope| {
            for (kind, back_end) in &back_ends {
                scope.spawn(move || {
                    let served = live(*kind, back_end, sessions / 2, seed);
                    assert!(served > sessions / 20, "{kind:?}, seed {seed}: of so few sessions a guest got a buffer back that nothing gets far: {served}");
                });
            }
        });
        await_descriptors(before.fds);
        let after = measure();
        assert_memory(after.anonymous < before.anonymous + SLACK, (before, after));
        for (kind, back_end) in back_ends {
            back_end.assert_well(&format!("{kind:?}, seed {seed}"));
        }
    });
}

/// Returns in how many of the sessions a guest got a buffer back.
fn live(kind: Kind, back_end: &BackEnd, sessions: u32, seed: u64) -> u32 {
    let mut served = 0;
    let player = Player::new();
    let valid = valid_session(kind);
    let mut random = Random::new(seed);
    for _ in 0..sessions {
        let mut steps = valid.clone();
        for _ in 0..random.between(1, 6) {
            mutate(&mut steps, &mut random);
        }
        player.play(back_end, &steps, random.once_in(8));
        served += u32::from(player.used(1) != 0);
    }
    back_end.assert_serves("after the last session");
    served
}

fn pick(random: &mut Random, len: usize) -> usize {
    random.below(len.max(1) as u32) as usize
}

/// A number on some edge, or any.
fn edge(random: &mut Random) -> u64 {
    const EDGES: [u64; 16] = [
        0,
        1,
        2,
        3,
        0x7f,
        0xff,
        0x100,
        0xfff,
        0x1000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0xffff_ffff_ffff_f000,
        u64::MAX,
    ];
    if random.once_in(4) { random.next() } else { EDGES[pick(random, EDGES.len())] }
}

/// Changes some bytes, wherever they are.
fn scribble(bytes: &mut [u8], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = pick(random, bytes.len());
    if random.once_in(3) {
        bytes[at] ^= 1 << random.below(8);
        return;
    }
    let value = edge(random).to_le_bytes();
    let len = [1, 2, 4, 8][pick(random, 4)];
    // Where a field may be, for the most part.
    let at = if random.once_in(4) { at } else { at / len * len };
    let end = (at + len).min(bytes.len());
    bytes[at..end].copy_from_slice(&value[..end - at]);
}

fn mutate(steps: &mut Vec<Step>, random: &mut Random) {
    if steps.is_empty() {
        return;
    }
    let at = pick(random, steps.len());
    match random.below(12) {
        0..=3 => match &mut steps[at] {
            Step::Send { bytes, .. } if random.once_in(4) => scribble(bytes, random),
            Step::Send { bytes, .. } if bytes.len() > 12 => scribble(&mut bytes[12..], random),
            Step::Send { bytes, .. } | Step::Poke { bytes, .. } => scribble(bytes, random),
            Step::Kick(ring) | Step::Look(ring) => *ring = 1 - *ring,
        },
        4 => {
            let bytes: Vec<u8> = (0..random.between(1, 32)).map(|_| random.next() as u8).collect();
            // Rings and commands for the most part.
            let end = if random.once_in(8) { MEMORY } else { 0x6000 };
            steps.insert(at, Step::Poke { at: u64::from(random.below((end - 32) as u32)), bytes });
        }
        5 => drop(steps.remove(at)),
        6 => {
            let again = steps[pick(random, steps.len())].clone();
            steps.insert(at, again);
        }
        7 => {
            let other = pick(random, steps.len());
            steps.swap(at, other);
        }
        8 => {
            let payload: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
            let bytes = message(random.below(48), VERSION | random.below(2) << 3, &payload);
            steps.insert(at, Step::Send { bytes, fds: Vec::new() });
        }
        9 | 10 => {
            if let Step::Send { fds, .. } = &mut steps[at] {
                match random.below(3) {
                    0 => drop(fds.pop()),
                    1 => fds.push(FDS[pick(random, FDS.len())]),
                    _ => fds.iter_mut().for_each(|fd| *fd = FDS[pick(random, FDS.len())]),
                }
                if random.once_in(1000) {
                    *fds = vec![Fd::Trap];
                }
            }
        }
        _ if random.once_in(2) => {
            if let Step::Send { bytes, .. } = &mut steps[at] {
                bytes.truncate(pick(random, bytes.len()));
            }
        }
        // Two messages by one system call, the descriptors of both with the first.
        _ if at + 1 < steps.len() => {
            let second = steps.remove(at + 1);
            if let (Step::Send { bytes, fds }, Step::Send { bytes: more, fds: more_fds }) = (&mut steps[at], &second) {
                bytes.extend_from_slice(more);
                fds.extend_from_slice(more_fds);
            }
        }
        _ => steps.truncate(at),
    }
}
