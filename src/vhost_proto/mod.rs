//! The vhost-user protocol, back-end side (QEMU's `docs/interop/vhost-user.rst`): the control socket's messages, the
//! memory and the rings that they describe.
//!
//! Guest memory, rings and descriptor chains live here because that document defines them: their descriptors and
//! addresses come by its messages.

pub mod chain;
pub mod connection;
pub mod device;
pub mod leash;
pub mod memory;
mod notifier;
mod scm;
pub mod session;
mod sigbus;
pub mod vring;
pub mod wire;
