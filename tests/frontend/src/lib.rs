//! The other side for `vhost-seat`'s tests and benches: a vhost-user front end, the driver side of its virtqueues, the
//! display end of the vhost-user-gpu socket, and a runner for the program under test.
//!
//! Nothing here is shared with the back ends that it exercises. Each layout is written down a second time from the
//! documents, so that a misreading of them shows as a disagreement instead of cancelling itself out.
//!
//! | module | what it plays |
//! |---|---|
//! | [`control`] | the front end on the control socket: any message, well or badly formed, and the sequences of QEMU and of others |
//! | [`memory`] | guest RAM in memfds: regions, gaps, offsets, a page allocator |
//! | [`ring`] | the driver's half of a split virtqueue |
//! | [`gpu`] | a virtio-gpu guest driver over two rings |
//! | [`input`] | a virtio-input guest driver over two rings, its look at the config, and what its guest makes of the events |
//! | [`display`] | QEMU's end of the display socket, strict, and a bare reader for benches |
//! | [`machine`] | all of these joined: a virtual machine that boots, pauses, resumes and resets |
//! | [`program`] | a back-end process: started, watched, measured and ended |
//!
//! A wait takes a [`Deadline`]; nothing sleeps. What the back end does wrong comes back as an [`Error`] that says what
//! was expected. What the *caller* does wrong (an address outside guest memory, a ring of size 0) panics.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod control;
mod deadline;
pub mod display;
mod error;
pub mod gpu;
pub mod input;
pub mod machine;
pub mod memory;
pub mod program;
pub mod ring;
mod sys;

pub use deadline::{Deadline, wait_readable};
pub use error::{Error, Result};
