//! What a device is to the back end, and the closed list of everything that one loop waits for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use thiserror::Error;
use vhost::vhost_user::message::VhostUserProtocolFeatures;

use super::memory::GuestMemory;
use super::vring::Ring;
use crate::reactor::{self, Readiness};

/// Most queues of a device here: gpu and input have two.
pub const MAX_QUEUES: usize = 2;
/// Most descriptors that a device watches beside its kicks.
pub const MAX_DEVICE_SOURCES: usize = 4;

/// Everything that the loop waits for, in the order in which a batch is worked off: signals and control first, then
/// what the device itself watches (replies), then the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// SIGTERM or SIGINT.
    Signal,
    /// The front end's control socket.
    Control,
    /// The listening socket.
    Listener,
    /// A descriptor of the device's own, by its number, below [`MAX_DEVICE_SOURCES`].
    Device(u8),
    /// A ring's kick, by queue, below [`MAX_QUEUES`].
    Kick(u8),
}

const FIRST_DEVICE: usize = 3;
const FIRST_KICK: usize = FIRST_DEVICE + MAX_DEVICE_SOURCES;

impl reactor::Source for Source {
    const COUNT: usize = FIRST_KICK + MAX_QUEUES;

    fn index(self) -> usize {
        match self {
            Self::Signal => 0,
            Self::Control => 1,
            Self::Listener => 2,
            Self::Device(number) => FIRST_DEVICE + usize::from(number) % MAX_DEVICE_SOURCES,
            Self::Kick(queue) => FIRST_KICK + usize::from(queue) % MAX_QUEUES,
        }
    }

    fn from_index(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::Signal,
            1 => Self::Control,
            2 => Self::Listener,
            FIRST_DEVICE..FIRST_KICK => Self::Device(u8::try_from(index - FIRST_DEVICE).ok()?),
            _ if index < Self::COUNT => Self::Kick(u8::try_from(index - FIRST_KICK).ok()?),
            _ => return None,
        })
    }
}

/// How watches are added.
pub type Registrar = reactor::Registrar<Source>;

/// Why a device does not take what a front end hands it. The session goes on.
#[derive(Debug, Error)]
pub enum Refusal {
    /// This kind of device has no use for it.
    #[error("not a request for this device")]
    NotOurs,
    /// What was handed over does not work.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether a device left work behind that needs no further event: it is called again after the others had their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// All that can be done now is done.
    Done,
    /// There is more.
    More,
    /// There is more once something that is watched is ready; or, if it does not get ready, in a millisecond or so.
    Later,
    /// The same, with so much time.
    Within(Duration),
}

/// The device can do no more, and the program with it: why.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Over(pub String);

/// The rings and the memory that a device works on during one call.
#[derive(Debug)]
pub struct Rings<'a> {
    /// By queue; none while there is no front end.
    pub rings: &'a mut [Ring],
    /// The guest's memory.
    pub memory: &'a GuestMemory,
}

/// A virtio device behind vhost-user.
pub trait Device {
    /// How many queues it has.
    const QUEUES: usize;

    /// Called once, before all else: here the device watches what it has open already.
    ///
    /// # Errors
    /// It cannot be watched.
    fn attach(&mut self, _registrar: &Registrar) -> io::Result<()> {
        Ok(())
    }

    /// Its own virtio feature bits (0 to 23); the generic ones are the session's.
    fn features(&self) -> u64;

    /// Protocol features beside those that every device here has.
    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::empty()
    }

    /// Whether it gives buffers back in the order in which it took them.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Whether what it does in one call may last as long as the guest pleases.
    fn may_last(&self) -> bool {
        false
    }

    /// Fills `out` with the configuration space from `offset` on; zeroes beyond its end.
    fn read_config(&self, offset: u32, out: &mut [u8]);

    /// The guest wrote `bytes` into the configuration space.
    fn write_config(&mut self, offset: u32, bytes: &[u8]);

    /// The display socket of GPU_SET_SOCKET.
    ///
    /// # Errors
    /// Other devices have none; or it cannot be watched.
    fn set_display(&mut self, _socket: OwnedFd, _registrar: &Registrar) -> Result<(), Refusal> {
        Err(Refusal::NotOurs)
    }

    /// The guest's memory map is another now.
    fn memory_changed(&mut self, memory: &GuestMemory);

    /// The virtio device was reset: nothing that the guest made remains.
    fn reset(&mut self);

    /// A ring runs from now on. `fresh`: the driver has just set it up, it does not go on after a pause.
    fn ring_started(&mut self, queue: usize, fresh: bool);

    /// The ring is about to stop: what was popped is given back, answered ([`Ring::push`]) or to be popped again
    /// ([`Ring::unpop`]).
    fn ring_stopping(&mut self, queue: usize, ring: &mut Ring, memory: &GuestMemory);

    /// There is a front end.
    fn connected(&mut self) {}

    /// The front end is gone, and all that it gave with it.
    fn disconnected(&mut self);

    /// The program ends in good order: what the guest should not be left with is told to it now.
    fn ending(&mut self, _rings: &mut Rings<'_>) {}

    /// There may be new buffers in a running ring.
    fn kicked(&mut self, queue: usize, rings: &mut Rings<'_>) -> Turn;

    /// A descriptor of the device's own is ready; there may be no front end.
    ///
    /// # Errors
    /// The device can do no more, and the program ends.
    fn ready(&mut self, source: u8, readiness: Readiness, rings: &mut Rings<'_>) -> Result<Turn, Over>;
}
