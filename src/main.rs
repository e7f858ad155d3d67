//! The program `vhost-user-gpu`: a virtual machine's screen. All of it is in the library, see [`vhost_seat::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vhost_seat::cli::gpu_main()
}
