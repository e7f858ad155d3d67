//! vhost-seat: a virtual machine's screen and input devices, served from outside the VMM.
//!
//! Who may use whom: the programs use [`cli`], which uses [`backend`], which is generic over a device; devices use
//! [`vhost_proto`]'s memory, rings and chains, and [`reactor`]. Devices never use each other, the reactor nothing of
//! ours.
//!
//! Three kinds of fault have three exits. The front end breaks the protocol: its session ends, the reason is logged.
//! The guest breaks its contract: it gets an error response, or its ring is broken until it is started anew. The host
//! fails: one line on stderr and an exit status that is not 0.

#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tests choose their numbers")
)]

pub mod backend;
pub mod cli;
pub mod gpu;
pub mod input;
pub mod last_resort;
pub mod logger;
pub mod reactor;
pub mod sandbox;
pub mod signals;
pub mod socket;
pub mod streams;
pub mod vhost_proto;
