//! The gpu device.

pub mod command;
pub mod cursor;
pub mod edid;
pub mod pixel;
pub mod rect;
pub mod tiles;
