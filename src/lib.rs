//! vhost-seat: a virtual machine's screen and input devices, served from outside the VMM.

pub mod gpu;
