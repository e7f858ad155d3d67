//! The device's side: whose it is, what it says, what it is told; unplugged, and plugged in again.

use std::io;

use log::{Level, debug, info, warn};

use super::batch::Fed;
use super::node::{Node, OpenError, Place};
use super::replug::Replug;
use super::wire::Event;
use super::{AGAIN, Input, LOOKS, NODE, REPLUG, handover};
use crate::log_within;
use crate::reactor::{Interest, Watch};
use crate::vhost_proto::device::{Over, Source};

/// Where the device is.
#[derive(Debug)]
pub enum Plug<N: Node> {
    /// Open, and not watched yet.
    Open(N),
    /// Plugged in.
    In(Watch<N>),
    /// Unplugged, and waited for.
    Out(Watch<Replug>),
    /// On its way from one to the other.
    Nowhere,
}

impl<N: Node> Plug<N> {
    /// The device, if it is there.
    pub fn node(&mut self) -> Option<&mut N> {
        match self {
            Self::Open(node) => Some(node),
            Self::In(watch) => Some(watch.get_mut()),
            Self::Out(_) | Self::Nowhere => None,
        }
    }
}

impl<P: Place> Input<P> {
    /// Whoever shall have the device has it from now on. To be called after whatever decides on it has changed.
    pub(super) fn settle_owner(&mut self) {
        let wanted = self.connected && self.guests_turn;
        if !wanted {
            self.silence();
        }
        let Some(node) = self.plug.node() else {
            self.grabbed = false;
            return self.batch.set_present(false);
        };
        if self.options.grab && wanted != self.grabbed {
            match handover::hand_over(node, wanted) {
                Ok(()) => self.grabbed = wanted,
                Err(error) => {
                    let path = self.place.path().display();
                    log_within!(self.refusals, Level::Warn, "{path} does not change hands: {error}");
                }
            }
        }
        let present = wanted && (self.grabbed || !self.options.grab);
        self.batch.set_present(present);
        if let Plug::In(watch) = &self.plug {
            // Without a front end nobody wants its events, nor to be woken by them.
            let interest = if self.connected { Interest::Read } else { Interest::Hangup };
            if let Err(error) = watch.set_interest(interest) {
                warn!("watching {}: {error}", self.place.path().display());
            }
        }
        if present {
            self.look();
            self.outgoing.clear();
            self.outgoing.extend(self.lights.all());
            self.write_out();
        }
    }

    /// Takes the device's state as it is found; what it had to say until then is passed over.
    pub(super) fn look(&mut self) {
        if let Some(toggle) = &mut self.toggle {
            toggle.reset();
        }
        let Some(node) = self.plug.node() else { return };
        let looked = self.batch.look(|state| {
            for _ in 0..LOOKS {
                handover::drain(node)?;
                node.look(state)?;
                if node.is_idle() {
                    break;
                }
            }
            io::Result::Ok(())
        });
        if let Err(error) = looked {
            // It is about to be unplugged, which is told by its descriptor.
            debug!("looking at {}: {error}", self.place.path().display());
        }
    }

    /// Follows what one read brings.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        let Some(node) = self.plug.node() else { return Ok(()) };
        let count = node.read(&mut self.incoming)?;
        let mut change = false;
        let mut dropped = false;
        for event in self.incoming.iter().take(count) {
            change ^= self.toggle.as_mut().is_some_and(|toggle| toggle.feed(*event));
            if self.batch.feed(*event) == Fed::Dropped {
                dropped = true;
                break;
            }
        }
        if dropped {
            debug!("{} was not read in time: looking at it", self.place.path().display());
            self.look();
        }
        if change {
            self.guests_turn = !self.guests_turn;
            info!("the device is the {}'s", if self.guests_turn { "guest" } else { "host" });
            self.settle_owner();
        }
        Ok(())
    }

    /// Ends the guest's sounds, for nobody else will.
    pub(super) fn silence(&mut self) {
        self.outgoing.clear();
        self.outgoing.extend(self.lights.silence());
        self.write_out();
    }

    /// Hands `outgoing` to the device, as one frame.
    pub(super) fn write_out(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        self.outgoing.push(Event::REPORT);
        if let Some(node) = self.plug.node()
            && let Err(error) = node.write(&self.outgoing)
        {
            debug!("lights and sounds of {}: {error}", self.place.path().display());
        }
    }

    /// The device is gone: the guest is to let go, and whoever is asked to waits for it.
    ///
    /// # Errors
    /// The program is to end with it, or it cannot be waited for.
    pub(super) fn unplugged(&mut self) -> Result<(), Over> {
        let path = self.place.path().display().to_string();
        self.plug = Plug::Nowhere;
        self.batch.unplug();
        self.grabbed = false;
        if let Some(toggle) = &mut self.toggle {
            toggle.reset();
        }
        if self.options.exit_on_unplug {
            return Err(Over(format!("{path} was unplugged")));
        }
        warn!("{path} was unplugged; waiting for it to come back");
        let registrar = self.registrar.as_ref().ok_or_else(|| Over("nobody watches".to_owned()))?;
        let waiting = Replug::new(self.place.path())
            .and_then(|replug| registrar.watch(Source::Device(REPLUG), replug, Interest::Read))
            .map_err(|error| Over(format!("{path} was unplugged and cannot be waited for: {error}")))?;
        self.plug = Plug::Out(waiting);
        self.again.begin();
        self.try_again()
    }

    /// Something happened where the device was.
    pub(super) fn news(&mut self) -> Result<(), Over> {
        if let Plug::Out(waiting) = &self.plug {
            let path = self.place.path();
            waiting.get().renew(path).map_err(|error| Over(format!("waiting for {}: {error}", path.display())))?;
            self.again.begin();
            self.try_again()?;
        }
        Ok(())
    }

    /// Takes the device that is at the path now, if it is one like the one that was.
    pub(super) fn try_again(&mut self) -> Result<(), Over> {
        self.again.stop();
        let path = self.place.path().display();
        let node = match self.place.open() {
            Ok(node) => node,
            Err(error) => {
                debug!("{path} is not back: {error}");
                return Ok(());
            }
        };
        let Some(registrar) = &self.registrar else { return Ok(()) };
        let failed = |error| Over(format!("watching {path}: {error}"));
        let (is, was) = (node.description(), self.config.description());
        if !is.is_same_kind(was) {
            if is.has_name_of(was) && self.again.arm(registrar, Source::Device(AGAIN)).map_err(failed)? {
                debug!("{path} is back, and not what it was; looking again later");
            } else {
                log_within!(
                    self.strangers,
                    Level::Warn,
                    "{path} is another kind of device now; waiting for the old one"
                );
            }
            return Ok(());
        }
        let watch = registrar.watch(Source::Device(NODE), node, Interest::Hangup).map_err(failed)?;
        info!("{path} is back");
        self.plug = Plug::In(watch);
        self.settle_owner();
        Ok(())
    }
}

/// Sees whether another program has the device alone.
pub fn try_grab<N: Node>(node: &mut N) -> Result<(), OpenError> {
    match node.set_grabbed(true).and_then(|()| node.set_grabbed(false)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(OpenError::Grabbed),
        Err(error) => Err(OpenError::Grab(error)),
    }
}
