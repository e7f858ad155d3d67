//! Front ends that break every rule of the control socket, on both devices: what they send is refused or ends their session,
//! the next one is served, SIGTERM ends the program, and memory and descriptors come back.
//!
//! | case | where |
//! |---|---|
//! | bad header version, flags, size | [`messages`]; `tests/gpu/framing` |
//! | payloads of another size, messages cut at each byte, then a hang-up | [`messages`]; `tests/gpu/framing` |
//! | unknown requests | [`messages`]; `tests/gpu/negotiation` |
//! | descriptors missing, or too many | [`messages`]; `tests/gpu/framing` |
//! | regions that overlap, are absurd, overflow, are longer than their file | [`memory`]; `tests/gpu/negotiation`, `tests/gpu/memory` |
//! | files truncated later | [`truncated`] |
//! | ring addresses outside memory, misaligned, overflowing | [`rings`] |
//! | ring sizes 0, odd, no power of two, 65536 | [`rings`]; `tests/gpu/negotiation` |
//! | kicks before the ring is set up; GET_VRING_BASE of a ring that is not there | [`rings`] |
//! | kick, call and err that are no eventfds, or full ones that block | [`eventfds`] |
//! | a front end that does not read the control socket, or the display | [`deaf`]; `tests/gpu/framing`, `tests/gpu/damage`, `tests/gpu/ending` |
//! | no descriptors left for a front end, or for what it sends | [`limits`] |
//! | lines that a front end can cause, over and over | [`limits`] |
//! | 10,000 sessions, each cut somewhere: memory and descriptors come back | [`sessions`] |
//! | 50,000 sessions of valid messages, mutated | [`mutation`] |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;

mod deaf;
mod eventfds;
mod limits;
mod memory;
mod messages;
mod mutation;
mod recording;
mod rings;
mod serving;
mod sessions;
mod truncated;
