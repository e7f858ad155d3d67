//! The virtio-input device (VIRTIO 1.3, 5.8): one evdev device of the host, handed to the guest.
//!
//! | queue | |
//! |---|---|
//! | 0, events | the guest's empty buffers, one for each event; [`batch`] says what they get |
//! | 1, status | the guest's lights and sounds, for the device; each buffer comes back at once |
//!
//! While a front end is connected the device is this program's alone, unless that is not wanted; before and after it is the
//! host's ([`handover`]). It may be unplugged at any time: the guest then holds nothing of it, and gets it back when a
//! device of the same kind is at the same path ([`replug`]).

mod again;
mod announced;
pub mod batch;
pub mod codes;
pub mod config;
pub mod describe;
pub mod evdev;
mod handover;
mod hold;
pub mod lights;
pub mod node;
mod plug;
mod raw;
mod replug;
pub mod state;
pub mod toggle;
pub mod wire;

use std::io;
use std::thread;
use std::time::Duration;

use crate::logger::Budget;
use crate::reactor::{Interest, Readiness};
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::device::{Device, Over, Registrar, Rings, Source, Turn};
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::vring::{Popped, Ring};

use again::Again;
use batch::Batch;
use codes::EV_KEY;
use config::Config;
use lights::Lights;
use node::{EVENTS_A_READ, Node, OpenError, Place};
use plug::{Plug, try_grab};
use toggle::{Keys, Toggle};
use wire::{EVENT_LEN, Event};

pub use hold::HOLD;

const EVENTS: usize = 0;
const STATUS: usize = 1;

/// The device's descriptors among those that the loop waits for.
const NODE: u8 = 0;
const REPLUG: u8 = 1;
const AGAIN: u8 = 2;

/// Events given to the guest before the others get their turn.
const EVENTS_A_TURN: usize = 256;
/// Buffers of the status queue taken before the others get their turn.
const STATUS_A_TURN: usize = 64;
/// How often a device is looked at anew because it moved meanwhile.
const LOOKS: usize = 8;
/// How long a guest without buffers is waited for when it is to let go for good: milliseconds.
const LAST_WAIT: usize = 20;
/// How often it may be said that the device can't be had: a guest can make us try as often as it resets the device.
const REFUSALS: Budget = Budget::new(3, Duration::from_secs(60));
/// How often a node that is not the one that was unplugged may be complained about.
const STRANGERS: Budget = Budget::new(3, Duration::from_secs(60));

/// What one can choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The device is for the guest alone.
    pub grab: bool,
    /// The program ends when the device is unplugged, instead of waiting for it.
    pub exit_on_unplug: bool,
    /// The hotkey that gives the device to the host and back.
    pub toggle: Option<Keys>,
}

/// The input device.
#[derive(Debug)]
pub struct Input<P: Place> {
    place: P,
    options: Options,
    plug: Plug<P::Node>,
    registrar: Option<Registrar>,
    config: Config,
    batch: Batch,
    lights: Lights,
    toggle: Option<Toggle>,
    /// Whether there is a front end.
    connected: bool,
    /// Whether it is the guest's turn: the hotkey changes that.
    guests_turn: bool,
    /// Whether the device is ours alone.
    grabbed: bool,
    again: Again,
    refusals: Budget,
    strangers: Budget,
    /// The buffer popped last, what one read brought, what one write takes: all reused.
    chain: Chain,
    incoming: [Event; EVENTS_A_READ],
    outgoing: Vec<Event>,
}

impl<P: Place> Input<P> {
    /// Opens the device, and sees to it that it could be had alone.
    ///
    /// # Errors
    /// There is none, or none that can be used.
    pub fn open(place: P, options: Options) -> Result<Self, OpenError> {
        let mut node = place.open()?;
        let description = node.description().clone();
        if let Some(keys) = options.toggle
            && !keys.can_be_typed(|code| description.has(EV_KEY, code))
        {
            return Err(OpenError::NoHotkey(keys.name));
        }
        try_grab(&mut node)?;
        Ok(Self {
            place,
            plug: Plug::Open(node),
            registrar: None,
            batch: Batch::new(&description),
            config: Config::new(description),
            lights: Lights::default(),
            toggle: options.toggle.map(Toggle::new),
            options,
            connected: false,
            guests_turn: true,
            grabbed: false,
            again: Again::default(),
            refusals: REFUSALS,
            strangers: STRANGERS,
            chain: Chain::default(),
            incoming: [Event::default(); EVENTS_A_READ],
            outgoing: Vec::with_capacity(STATUS_A_TURN + 1),
        })
    }

    /// Gives the guest what waits, as far as it has buffers, and calls it once.
    fn deliver(&mut self, rings: &mut Rings<'_>) -> Turn {
        let memory = rings.memory;
        let Some(ring) = rings.rings.get_mut(EVENTS).filter(|ring| ring.running()) else { return Turn::Done };
        let mut turn = Turn::More;
        for _ in 0..EVENTS_A_TURN {
            let Some(event) = self.batch.upcoming() else {
                // Buffers that come now are taken when there is something to put into them.
                ring.disarm(memory);
                turn = Turn::Done;
                break;
            };
            match ring.pop(memory, &mut self.chain) {
                Popped::Chain => {
                    let fits = self.chain.writable_len() >= EVENT_LEN as u64;
                    let written = if fits { self.chain.write_at(memory.map(), 0, &event.to_guest()) } else { 0 };
                    ring.push(memory, self.chain.head(), u32::try_from(written).unwrap_or(0));
                    if written == EVENT_LEN {
                        self.batch.delivered();
                    }
                }
                Popped::Nothing if ring.rearm(memory) => {}
                Popped::Nothing => {
                    turn = Turn::Done;
                    break;
                }
            }
        }
        ring.notify(memory);
        turn
    }

    /// Takes the guest's lights and sounds.
    fn take_status(&mut self, rings: &mut Rings<'_>) -> Turn {
        let memory = rings.memory;
        let Some(ring) = rings.rings.get_mut(STATUS) else { return Turn::Done };
        let mut turn = Turn::More;
        self.outgoing.clear();
        for _ in 0..STATUS_A_TURN {
            match ring.pop(memory, &mut self.chain) {
                Popped::Chain => {
                    let mut bytes = [0; EVENT_LEN];
                    if self.chain.read_at(memory.map(), 0, &mut bytes) == EVENT_LEN {
                        let event = Event::from_guest(bytes);
                        if self.lights.take(event, self.config.description()) && self.batch.is_present() {
                            self.outgoing.push(event);
                        }
                    }
                    ring.push(memory, self.chain.head(), 0);
                }
                Popped::Nothing if ring.rearm(memory) => {}
                Popped::Nothing => {
                    turn = Turn::Done;
                    break;
                }
            }
        }
        // When a buffer is back, its light is lit.
        self.write_out();
        let Some(ring) = rings.rings.get_mut(STATUS) else { return Turn::Done };
        ring.notify(memory);
        turn
    }

    /// The guest loses the device for good: it is told at once, and waited for a moment where it has too few buffers.
    fn part(&mut self, rings: &mut Rings<'_>) {
        self.batch.part();
        for _ in 0..LAST_WAIT {
            self.deliver(rings);
            let waits = rings.rings.get(EVENTS).is_some_and(Ring::running) && self.batch.upcoming().is_some();
            if !waits {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A guest that knows nothing.
    fn new_guest(&mut self) {
        self.batch.new_guest();
        self.silence();
        self.lights = Lights::default();
    }
}

impl<P: Place> Device for Input<P> {
    const QUEUES: usize = 2;

    fn attach(&mut self, registrar: &Registrar) -> io::Result<()> {
        self.registrar = Some(registrar.clone());
        if let Plug::Open(node) = std::mem::replace(&mut self.plug, Plug::Nowhere) {
            self.plug = Plug::In(registrar.watch(Source::Device(NODE), node, Interest::Hangup)?);
        }
        Ok(())
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, offset: u32, out: &mut [u8]) {
        self.config.read(offset, out);
    }

    fn write_config(&mut self, offset: u32, bytes: &[u8]) {
        self.config.write(offset, bytes);
    }

    fn memory_changed(&mut self, _memory: &GuestMemory) {}

    fn reset(&mut self) {
        self.config.reset();
        self.new_guest();
    }

    fn ring_started(&mut self, queue: usize, fresh: bool) {
        if queue != EVENTS {
            return;
        }
        if fresh {
            self.new_guest();
        }
        if self.batch.is_present() {
            // What came while the ring rested, and was not read by then, is not played.
            self.look();
        } else if fresh {
            // It could not be had when the front end came.
            self.settle_owner();
        }
    }

    /// Every buffer popped was given back within its turn.
    fn ring_stopping(&mut self, _queue: usize, _ring: &mut Ring, _memory: &GuestMemory) {}

    fn connected(&mut self) {
        self.connected = true;
        self.guests_turn = true;
        self.settle_owner();
    }

    fn disconnected(&mut self) {
        self.connected = false;
        self.settle_owner();
        self.reset();
    }

    fn ending(&mut self, rings: &mut Rings<'_>) {
        self.part(rings);
        self.connected = false;
        self.settle_owner();
    }

    fn kicked(&mut self, queue: usize, rings: &mut Rings<'_>) -> Turn {
        if queue == EVENTS { self.deliver(rings) } else { self.take_status(rings) }
    }

    fn ready(&mut self, source: u8, readiness: Readiness, rings: &mut Rings<'_>) -> Result<Turn, Over> {
        if !rings.rings.get(EVENTS).is_some_and(Ring::running) {
            self.batch.pause();
        }
        let done = if source == REPLUG {
            self.news()
        } else if source == AGAIN {
            self.try_again()
        } else if readiness.hangup || self.follow().is_err() {
            self.unplugged()
        } else {
            Ok(())
        };
        if let Err(over) = done {
            self.part(rings);
            return Err(over);
        }
        Ok(self.deliver(rings))
    }
}
