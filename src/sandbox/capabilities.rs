//! Capabilities: all are dropped, from every set.
//!
//! A program that root runs keeps what root has as the owner of files, and loses what passes rights over: it still opens
//! `/dev/input/event*` (root:input 0660), and removes its socket from a folder that is root's or anybody's (`/tmp`). It no
//! longer opens a device that a rule of udev's gave to another user alone, and leaves its socket file behind, for the next
//! start to replace, in a folder where only another user may write.

use caps::errors::CapsError;
use caps::{CapSet, Capability};

/// Drops all capabilities of this thread.
///
/// The bounding set is emptied as well where that is allowed (`CAP_SETPCAP`). It only limits what an executed program can
/// gain, which is nothing without new privileges: a program that never had a capability keeps a full one.
///
/// # Errors
/// What capset(2) and prctl(2) say; no known kernel refuses.
pub fn drop_all() -> Result<(), CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // The effective set goes with it.
    caps::clear(None, CapSet::Permitted)
}
