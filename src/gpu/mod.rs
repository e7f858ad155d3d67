//! The gpu device.

pub mod command;
pub mod rect;
pub mod tiles;
