//! What an input device says of itself. Pure; `mod.rs` reads it.

use std::collections::BTreeMap;

use crate::input::ids::abs;

/// The most slots that Linux makes; it refuses a device that wants more.
pub const MAX_SLOTS: usize = 1024;

/// A bitmap as it was sent: bit 0 of byte 0 is code 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap(Vec<u8>);

impl Bitmap {
    /// The bytes of a bitmap.
    pub fn new(bytes: Vec<u8>) -> Bitmap {
        Bitmap(bytes)
    }

    /// The shortest bitmap with these codes.
    pub fn of(codes: impl IntoIterator<Item = u16>) -> Bitmap {
        let mut bytes = Vec::new();
        for code in codes {
            let at = usize::from(code / 8);
            if at >= bytes.len() {
                bytes.resize(at + 1, 0);
            }
            bytes[at] |= 1 << (code % 8);
        }
        Bitmap(bytes)
    }

    /// Whether it has `code`.
    pub fn has(&self, code: u16) -> bool {
        self.0.get(usize::from(code / 8)).is_some_and(|byte| byte >> (code % 8) & 1 == 1)
    }

    /// Its codes, in order.
    pub fn codes(&self) -> impl Iterator<Item = u16> + '_ {
        (0..self.0.len() as u16 * 8).filter(|code| self.has(*code))
    }

    /// Its bytes, as many as were sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it ends with a byte that is not 0, as one does whose size tells the truth.
    pub fn is_tight(&self) -> bool {
        self.0.last() != Some(&0)
    }
}

/// The device's four ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ids {
    pub bustype: u16,
    pub vendor: u16,
    pub product: u16,
    pub version: u16,
}

/// The range of an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AbsInfo {
    pub min: i32,
    pub max: i32,
    pub fuzz: i32,
    pub flat: i32,
    pub res: i32,
}

/// What an input device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputConfig {
    /// ID_NAME.
    pub name: Vec<u8>,
    /// ID_SERIAL.
    pub serial: Vec<u8>,
    /// ID_DEVIDS; `None` where it has none.
    pub ids: Option<Ids>,
    /// PROP_BITS.
    pub props: Bitmap,
    /// EV_BITS by type; a type that is not there is not supported.
    pub bits: BTreeMap<u16, Bitmap>,
    /// ABS_INFO of each axis.
    pub abs: BTreeMap<u16, AbsInfo>,
}

impl InputConfig {
    /// Whether an event of this type and code was announced.
    pub fn has(&self, kind: u16, code: u16) -> bool {
        self.bits.get(&kind).is_some_and(|bits| bits.has(code))
    }

    /// How many slots Linux makes: one more than the largest index, where ABS_MT_SLOT is there.
    pub fn slots(&self) -> usize {
        let slots = |info: &AbsInfo| usize::try_from(i64::from(info.max) + 1).unwrap_or(0);
        self.abs.get(&abs::MT_SLOT).map_or(0, slots).min(MAX_SLOTS)
    }
}
