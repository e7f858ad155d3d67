//! What the guest and the host agree on: the test pictures, the shape of an order and of an answer.
//!
//! The guest's program (`main.rs`) draws these pictures; the host side (`seat-vm`) computes them again and compares what
//! QEMU shows with them. Everything here is pure.
#![deny(unsafe_code)]

pub mod answer;
pub mod picture;
