//! `vhost-user-gpu --virgl`: the real program with a real renderer, in software, driven by the fake front end.
//!
//! What a guest draws is seen on the fake display, pixel by pixel. Where there is no renderer on this machine all of it is
//! skipped, loudly; in CI (`CI` is set) nothing is.
//!
//! | module | what it is about |
//! |---|---|
//! | [`offer`] | features, the config space, capability sets |
//! | [`contexts`] | contexts: made, refused, ended, in error |
//! | [`textures`] | textures: made, refused, counted, gone |
//! | [`transfers`] | transfers both ways, byte by byte |
//! | [`submits`] | SUBMIT_3D: its sizes, its pieces |
//! | [`shaders`] | shaders whose text comes in parts |
//! | [`screens`] | what is drawn is seen, and no more is sent than has changed |
//! | [`beside_2d`] | 2D resources and blobs beside textures, and as such |
//! | [`fences`] | when fenced commands come back, and in which order |
//! | [`lives`] | pause, reset, reboot, hang-up |
//! | [`node`] | on a GPU: what it draws is handed over as DMABUFs |
//! | [`numbers`] | random commands, sensible and absurd |
//! | [`streams`] | random streams of virgl commands |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

#[path = "../common/mod.rs"]
mod common;
mod garbage;
mod scene;
mod seat;
mod sheet;

mod beside_2d;
mod contexts;
mod fences;
mod lives;
mod node;
mod numbers;
mod offer;
mod screens;
mod shaders;
mod streams;
mod submits;
mod textures;
mod transfers;
