//! The test guest's init, and all of its user land: loads the drivers, then obeys the host line by line.
//!
//! Commands come by the second serial port, so that no kernel message can stand in the middle of an answer; the first
//! one is the kernel's console. See `commands.rs` for the commands and `answer.rs` for the lines.
#![deny(unsafe_code)]

mod bench;
mod commands;
mod drm;
mod facts;
mod host;
mod init;
mod inputs;
mod kms;

use std::fs;
use std::io::{BufRead, BufReader, Write};

use nix::sys::reboot::RebootMode;
use seat_guest::answer;

const COMMAND_PORT: &str = "/dev/ttyS1";

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == host::ENTER) {
        eprintln!("seat-guest: {}", host::enter(arguments));
        std::process::exit(127);
    }
    init::set_up();
    // Seen on the screen before any command is given: the text console works.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = format!("\nLinux {}: this is the text console of the test guest.\n", release.trim());
    let _ = fs::write("/dev/tty0", text);
    let error = match serve() {
        Ok(()) => "the command port was closed".to_owned(),
        Err(error) => format!("{COMMAND_PORT}: {error}"),
    };
    println!("seat-guest: {error}");
    init::end(RebootMode::RB_POWER_OFF);
}

fn serve() -> std::io::Result<()> {
    let mut port = init::command_port(COMMAND_PORT)?;
    let mut lines = BufReader::new(port.try_clone()?);
    let mut commands = commands::Commands::default();
    writeln!(port, "{}", answer::READY)?;
    let mut line = String::new();
    while lines.read_line(&mut line)? != 0 {
        let (number, command) = line.trim().split_once(' ').unwrap_or_default();
        if let Ok(number) = number.parse() {
            let result = commands.run(command);
            writeln!(port, "{}", answer::encode(number, &result))?;
            commands.after();
        }
        line.clear();
    }
    Ok(())
}
