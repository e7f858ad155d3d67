//! What the program does: the real binary, driven by the fake front end (`tests/frontend`) from the control socket, the
//! guest's rings and the display socket at once.
//!
//! | module | what it is about |
//! |---|---|
//! | [`framing`] | messages of the control socket in any pieces, with and without descriptors, and broken ones |
//! | [`negotiation`] | features, acknowledgements, refusals, the config space |
//! | [`memory`] | regions added, removed and replaced while rings run |
//! | [`rings`] | starting, stopping and enabling; kicks, calls and their suppression; chains |
//! | [`broken_rings`] | rings that lie |
//! | [`lifecycle`] | boot, reboot, pause, front ends that come and go |
//! | [`ending`] | the program's end by a signal |
//! | [`blobs`] | guest memory that is shown as it is |
//! | [`commands`] | every 2D command: its success and its errors |
//! | [`picture`] | what is to be seen: formats, scanouts, rectangles |
//! | [`damage`] | what is sent, and what is not |
//! | [`backing`] | transfers from scattered guest memory |
//! | [`hostmem`] | `--max-hostmem` |
//! | [`display`] | questions to the display, and displays that are slow, silent, strange or gone |
//! | [`dmabuf`] | pictures by DMABUF: what is handed over, and what is not |
//! | [`frames`] | their frames, which the display takes in its own time |
//! | [`udmabuf`] | the same with real buffers, in a guest |
//! | [`cursor`] | cursors |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;

mod backing;
mod blobs;
mod broken_rings;
mod commands;
mod cursor;
mod damage;
mod display;
mod dmabuf;
mod ending;
mod frames;
mod framing;
mod hostmem;
mod lifecycle;
mod memory;
mod negotiation;
mod picture;
mod rings;
mod udmabuf;
