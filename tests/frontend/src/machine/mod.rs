//! A virtual machine with one device: front end, guest driver and memory, joined in the monitor's order.
//!
//! [`GpuMachine`] has a display beside them; [`InputMachine`] is also played as monitors other than QEMU.

mod gpu;
mod input;

pub use gpu::{GpuMachine, LINUX_3D_FEATURES, LINUX_FEATURES, MachineOptions};
pub use input::{InputMachine, InputMachineOptions, LINUX_INPUT_FEATURES};
