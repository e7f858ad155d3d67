//! Who has the device: this program alone (`EVIOCGRAB`), or all of the host.
//!
//! The kernel tells neither side of a change. A key that is held meanwhile would be stuck for the side that saw it pressed
//! and never sees it let go, and unknown to the other. So what is held is let go before the change, where the losing side
//! still reads, and begins again after it, where only the gaining side does: events that a program writes to a node go
//! through the kernel's state and to all that read it.
//!
//! Some microseconds pass between those two writes, and hands move meanwhile. A key that is let go then would be held by our
//! second write for good: keyboards tell of it by a scan code although the kernel has nothing to change, and all is let go
//! once more. A key that is pressed before we have the device alone would be stuck for the host, which saw it: the device
//! is given back, and taken once more with that key among those that are held.

use std::io;

use log::debug;

use super::codes::EV_MSC;
use super::node::{EVENTS_A_READ, Node};
use super::state::{State, differences};
use super::wire::Event;

/// How often the device is taken anew because a key was pressed meanwhile.
const TRIES: usize = 4;
/// Reads that empty a device's buffer; one that has more to say than that is read on as usual.
const READS: usize = 16;

/// Gives the device to this program alone, or to all. Events that have come and were not read are passed over: look at the
/// device afterwards.
///
/// # Errors
/// It cannot be had alone (then nothing has changed), or it is gone.
pub fn hand_over<N: Node>(node: &mut N, to_us: bool) -> io::Result<()> {
    for _ in 1..TRIES {
        if try_hand_over(node, to_us, to_us)? {
            return Ok(());
        }
    }
    try_hand_over(node, to_us, false).map(drop)
}

/// As [`hand_over`]; where `careful`, nothing has changed when it returns `false`: something was pressed meanwhile.
fn try_hand_over<N: Node>(node: &mut N, to_us: bool, careful: bool) -> io::Result<bool> {
    drain(node)?;
    let mut held = State::new(node.description());
    if let Err(error) = node.look(&mut held) {
        debug!("what is held cannot be seen: {error}");
        held.clear();
    }
    let (mut endings, mut beginnings) = (Vec::new(), Vec::new());
    differences(&held, &held, true, &mut endings);
    // Not `release`: the endings also leave another slot current.
    let mut released = held.clone();
    endings.iter().for_each(|event| released.apply(*event));
    differences(&released, &held, false, &mut beginnings);
    if let Err(error) = node.write(&endings) {
        debug!("what is held cannot be let go: {error}");
        return node.set_grabbed(to_us).map(|()| true);
    }
    let mut changed = node.set_grabbed(to_us).map(|()| true);
    if careful && changed.is_ok() {
        let mut now = released;
        if node.look(&mut now).is_ok() && now.is_held() {
            changed = node.set_grabbed(!to_us).map(|()| false);
        }
    }
    if let Err(error) = node.write(&beginnings) {
        debug!("what is held does not begin again: {error}");
        return changed;
    }
    if drain(node)? && !endings.is_empty() {
        debug!("a key moved meanwhile: all are let go");
        node.write(&endings)?;
    }
    changed
}

/// Reads what is there and passes it over. Says whether there was a scan code in it.
///
/// # Errors
/// The device is gone.
pub fn drain<N: Node>(node: &mut N) -> io::Result<bool> {
    let mut events = [Event::default(); EVENTS_A_READ];
    let mut scanned = false;
    for _ in 0..READS {
        let count = node.read(&mut events)?;
        scanned |= events.iter().take(count).any(|event| event.kind == EV_MSC);
        if count == 0 {
            break;
        }
    }
    Ok(scanned)
}
