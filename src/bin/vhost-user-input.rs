//! The program `vhost-user-input`: an input device of the host for a virtual machine. All of it is in the library, see
//! [`vhost_seat::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vhost_seat::cli::input_main()
}
