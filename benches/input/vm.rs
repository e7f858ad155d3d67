//! A back end with a guest in front of it and a device behind it that says what the bench writes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;
use seat_frontend::control::{FrontEnd, Qemu};
use seat_frontend::input::{Event, InputOptions};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use vhost_seat::backend;
use vhost_seat::input::{Input, Options};
use vhost_seat::socket::Endpoint;

use crate::Result;
use crate::records::{deadline, key, records, to_call};
use crate::role::Role;
use crate::script::Pipe;

/// The role of the child that is measured.
pub const OURS: &str = "ours";

/// A pipe that does not block: the end to be read, and the other.
pub fn pipe() -> Result<(OwnedFd, File)> {
    let (events, device) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((events, device.into()))
}

/// What the child does: all that `vhost-user-input` does, with a device out of a pipe.
pub fn serve() -> Result<()> {
    let events = io::stdin().as_fd().try_clone_to_owned()?;
    let control = io::stdout().as_fd().try_clone_to_owned()?;
    back_end(events, control.into())
}

/// A back end on one end of a control socket, until the other closes.
pub fn back_end(events: OwnedFd, control: UnixStream) -> Result<()> {
    let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK)?;
    let options = Options { grab: true, exit_on_unplug: true, toggle: None };
    let input = Input::open(Pipe(events), options)?;
    Ok(backend::serve(input, Endpoint::Connected(control), signals)?)
}

/// A guest, and the device's other end.
pub struct Guest {
    /// Front end and driver. First: the back end's session ends before its device goes.
    pub machine: InputMachine,
    /// Where the device's events are written.
    pub device: File,
}

impl Guest {
    /// Boots with queues of `size` entries, all of which have a buffer; then presses a key, so that all is settled.
    pub fn boot(front: FrontEnd, device: File, size: u16) -> Result<Guest> {
        let mut options = InputMachineOptions::new(Qemu::V11_1)?;
        options.input = InputOptions { buffers: size, ..InputOptions::sized(size) };
        let mut guest = Guest { machine: InputMachine::boot(front, options)?, device };
        guest.machine.front.barrier()?;
        for pressed in [true, false] {
            io::Write::write_all(&mut guest.device, &records(&key(pressed)))?;
            let frame = guest.machine.driver.frame(deadline())?;
            if !frame.contains(&key(pressed)[1]) {
                return Err(format!("instead of a key came {frame:?}").into());
            }
        }
        Ok(guest)
    }

    /// The device says `events`, of which `records` are the bytes. The time until the guest is called; it takes them
    /// outside of it, and each must be the one that was said.
    pub fn events(&mut self, records: &[u8], events: &[Event]) -> Result<Duration> {
        let Guest { machine, device } = self;
        let ring = machine.driver.event_ring();
        ring.interrupts();
        ring.enable_interrupts();
        let took = to_call(device, records, ring.call_fd())?;
        for event in events {
            let came = machine.driver.poll_event()?;
            if came != Some(*event) {
                return Err(format!("instead of {event:?} came {came:?}").into());
            }
        }
        Ok(took)
    }
}

/// A back-end process and its guest.
pub struct Vm {
    /// The process; ended first.
    pub role: Role,
    guest: Guest,
}

impl Vm {
    /// Starts a back end and boots a guest on it, with queues of `size` entries.
    pub fn boot(size: u16) -> Result<Vm> {
        let (events, device) = pipe()?;
        let (front, control) = FrontEnd::pair()?;
        let role = Role::start(OURS, &[], events, control.into())?;
        Ok(Vm { role, guest: Guest::boot(front, device, size)? })
    }

    /// Its guest. A method and no field: a closure that took the guest alone would leave the process to be ended.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }
}
