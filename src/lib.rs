//! vhost-seat: a virtual machine's screen and input devices, served from outside the VMM.

#![deny(unsafe_code)]

pub mod backend;
pub mod cli;
pub mod gpu;
pub mod logger;
pub mod signals;
pub mod socket;
