//! A real QEMU with a real Linux guest, for tests and benches.
//!
//! [`Lab`] has what every guest needs (kernel, initramfs, programs), made once; [`Config`] describes one machine and
//! [`Vm`] is one that runs. The host drives: it gives the guest's program one command after another
//! ([`Vm::guest`]), asks QEMU by QMP ([`Vm::qmp`]), and compares the screen with what the guest meant to draw
//! ([`Vm::wait_screen`]). Nothing sleeps and hopes: each wait has a condition and a deadline, and a deadline that passes is
//! an error that shows the ends of all logs.
//!
//! ```no_run
//! use seat_vm::{Backend, Config, Gpu, Image, Lab};
//!
//! let Some(lab) = Lab::for_test() else { return Ok(()) };
//! let backend = Backend::start("target/release/vhost-user-gpu", &[])?;
//! let mut vm = Config::new(Gpu::vhost_user(backend.socket())).boot(lab)?;
//! vm.guest("show 7 640x480 0=640x480+0+0")?;
//! vm.wait_screen(0, &Image::picture(7, 640, 480))?;
//! # Ok::<(), seat_vm::Error>(())
//! ```
#![deny(unsafe_code)]

mod backend;
mod config;
mod cpio;
pub mod cube;
mod dbus;
mod error;
mod image;
mod in_vm;
mod kernel;
mod lab;
mod libtest;
mod lines;
mod log;
mod process;
mod qmp;
mod render_node;
mod vm;
mod workdir;

pub use backend::Backend;
pub use config::{Config, Gpu};
pub use error::{Error, Result};
pub use image::Image;
pub use in_vm::{InVm, this_program};
pub use lab::{Drivers, Lab};
pub use log::Log;
pub use process::Process;
pub use qmp::Qmp;
pub use render_node::RenderNode;
pub use seat_guest::answer::Order;
pub use seat_guest::picture::{self, Rect};
pub use serde_json::{Value, json};
pub use vm::{Ended, Vm};
