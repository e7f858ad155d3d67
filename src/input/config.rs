//! What a device is, and how a guest reads that (VIRTIO 1.3, 5.8.4 and 5.8.5).
//!
//! A [`Description`] is read from the device once; [`Config`] answers from it, byte for byte the device's own. The guest
//! writes `select` and `subsel`, each alone, and reads the rest at any offset and size; between the two writes the answer
//! is to a question that nobody asked, and harmless. What the device does not have has size 0.
//!
//! A device may say what cannot be. Ranges and texts are passed on, for they are the device's own and harm nobody; codes
//! that Linux has no place for are left out, and so are slots: Linux refuses the whole of a device that has more than
//! [`MAX_SLOTS`], and a joystick of many axes has one of that number.
//!
//! Force feedback is left out on purpose: VIRTIO has no way to upload an effect, so a guest that saw the bits would offer
//! what it can't do.

use super::codes::{
    ABS_MT_SLOT, AXES, EV_ABS, EV_KEY, EV_LED, EV_MSC, EV_REL, EV_REP, EV_SND, EV_SW, MAX_SLOTS, TYPES, count,
};

/// Bytes of the config space: `select`, `subsel`, `size`, five reserved ones, and the answer.
pub const CONFIG_LEN: usize = HEADER_LEN + PAYLOAD_LEN;
const HEADER_LEN: usize = 8;
/// Most bytes of an answer.
pub const PAYLOAD_LEN: usize = 128;

const ID_NAME: u8 = 0x01;
const ID_SERIAL: u8 = 0x02;
const ID_DEVIDS: u8 = 0x03;
const PROP_BITS: u8 = 0x10;
const EV_BITS: u8 = 0x11;
const ABS_INFO: u8 = 0x12;

/// The types of events whose codes a guest is told.
const TOLD: [u16; 8] = [EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, EV_LED, EV_SND, EV_REP];

/// A set of codes as the kernel and virtio-input write it: bit `n % 8` of byte `n / 8`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bitmap([u8; PAYLOAD_LEN]);

impl Default for Bitmap {
    fn default() -> Self {
        Self([0; PAYLOAD_LEN])
    }
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.trimmed())
    }
}

impl Bitmap {
    /// The set that has these codes; those beyond 1023 have no place in it.
    pub fn of(codes: impl IntoIterator<Item = u16>) -> Self {
        let mut bitmap = Self::default();
        for code in codes {
            if let Some(byte) = bitmap.0.get_mut(usize::from(code / 8)) {
                *byte |= 1 << (code % 8);
            }
        }
        bitmap
    }

    /// The bytes, for the kernel to fill.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAYLOAD_LEN] {
        &mut self.0
    }

    /// Whether it has this code.
    pub fn has(&self, code: u16) -> bool {
        self.0.get(usize::from(code / 8)).is_some_and(|byte| byte & (1 << (code % 8)) != 0)
    }

    /// Up to the last byte that is not 0: what the guest is told.
    fn trimmed(&self) -> &[u8] {
        trimmed(&self.0)
    }

    /// The same of the codes below `count`, which is a multiple of 8.
    fn below(&self, count: u16) -> &[u8] {
        trimmed(self.0.get(..usize::from(count / 8)).unwrap_or(&self.0))
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..len).unwrap_or_default()
}

/// What an absolute axis can do; `struct input_absinfo` without the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AxisInfo {
    /// Smallest value.
    pub min: i32,
    /// Largest value.
    pub max: i32,
    /// Noise below this much is filtered out.
    pub fuzz: i32,
    /// Values closer to the centre than this are the centre.
    pub flat: i32,
    /// Units a millimetre, or a radian.
    pub resolution: i32,
}

/// `struct input_id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// `BUS_*`.
    pub bus: u16,
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
    /// Version.
    pub version: u16,
}

/// All that a guest is told of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, without a terminator; any bytes.
    pub name: Vec<u8>,
    /// Its serial number (`EVIOCGUNIQ`), empty where it has none.
    pub serial: Vec<u8>,
    /// Its numbers.
    pub ids: Ids,
    /// `INPUT_PROP_*`.
    pub properties: Bitmap,
    /// The codes of each type of event, by type; for `EV_REP` both of its codes where the device repeats.
    pub codes: Box<[Bitmap; TYPES as usize]>,
    /// The absolute axes that `codes` names.
    pub axes: Box<[AxisInfo; AXES as usize]>,
}

impl Default for Description {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            serial: Vec::new(),
            ids: Ids::default(),
            properties: Bitmap::default(),
            codes: Box::new([Bitmap::default(); TYPES as usize]),
            axes: Box::new([AxisInfo::default(); AXES as usize]),
        }
    }
}

impl Description {
    /// Whether the device has events of this type and code.
    pub fn has(&self, kind: u16, code: u16) -> bool {
        code < count(kind) && self.codes.get(usize::from(kind)).is_some_and(|codes| codes.has(code))
    }

    /// Whether it has events of this type at all.
    pub fn has_type(&self, kind: u16) -> bool {
        !self.bits(kind).is_empty()
    }

    /// The codes of a type, as the guest is told them.
    fn bits(&self, kind: u16) -> &[u8] {
        self.codes.get(usize::from(kind)).map(|codes| codes.below(count(kind))).unwrap_or_default()
    }

    /// The number of the last slot that it has, as the guest is told it; -1 where it has none.
    fn last_slot(&self) -> i32 {
        self.axis(ABS_MT_SLOT).map_or(-1, |axis| axis.max.clamp(-1, MAX_SLOTS - 1))
    }

    /// How many slots it has.
    pub fn slots(&self) -> usize {
        usize::try_from(self.last_slot()).map_or(0, |last| last + 1)
    }

    /// The range of an absolute axis that it has.
    pub fn axis(&self, code: u16) -> Option<&AxisInfo> {
        self.axes.get(usize::from(code)).filter(|_| self.has(EV_ABS, code))
    }

    /// Whether its name and numbers are those of `other`.
    pub fn has_name_of(&self, other: &Self) -> bool {
        (&self.name, &self.ids) == (&other.name, &other.ids)
    }

    /// Whether a guest that was told of `self` can go on with `other`: all alike but for the serial number.
    pub fn is_same_kind(&self, other: &Self) -> bool {
        let Self { name, serial: _, ids, properties, codes, axes } = other;
        (&self.name, &self.ids, &self.properties, &self.codes, &self.axes) == (name, ids, properties, codes, axes)
    }

    /// Writes the answer to `select` and `subsel` into `payload` and returns its size. The one place that knows what each
    /// selector means.
    fn answer(&self, select: u8, subsel: u8, payload: &mut [u8; PAYLOAD_LEN]) -> u8 {
        let subject = u16::from(subsel);
        match (select, subsel) {
            (ID_NAME, 0) => fill(payload, self.name.iter().copied()),
            (ID_SERIAL, 0) => fill(payload, self.serial.iter().copied()),
            (ID_DEVIDS, 0) => {
                let Ids { bus, vendor, product, version } = self.ids;
                fill(payload, [bus, vendor, product, version].map(u16::to_le_bytes).into_iter().flatten())
            }
            (PROP_BITS, 0) => fill(payload, self.properties.trimmed().iter().copied()),
            (EV_BITS, _) if TOLD.contains(&subject) => fill(payload, self.bits(subject).iter().copied()),
            (ABS_INFO, _) => match self.axis(subject) {
                Some(&AxisInfo { min, max, fuzz, flat, resolution }) => {
                    let max = if subject == ABS_MT_SLOT { self.last_slot() } else { max };
                    fill(payload, [min, max, fuzz, flat, resolution].map(i32::to_le_bytes).into_iter().flatten())
                }
                None => 0,
            },
            _ => 0,
        }
    }
}

/// Writes as many of `bytes` as have room; returns how many.
fn fill(payload: &mut [u8; PAYLOAD_LEN], bytes: impl Iterator<Item = u8>) -> u8 {
    payload.iter_mut().zip(bytes).fold(0, |len, (place, byte)| {
        *place = byte;
        len + 1
    })
}

/// The config space: the question asked last, and its answer.
#[derive(Debug)]
pub struct Config {
    description: Description,
    select: u8,
    subsel: u8,
    space: [u8; CONFIG_LEN],
}

impl Config {
    /// The config space of a device, nothing selected.
    pub fn new(description: Description) -> Self {
        Self { description, select: 0, subsel: 0, space: [0; CONFIG_LEN] }
    }

    /// What the guest is told of.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Fills `out` with the space from `offset` on; zeroes beyond its end.
    pub fn read(&self, offset: u32, out: &mut [u8]) {
        out.fill(0);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = self.space.get(offset..).unwrap_or_default();
        for (place, byte) in out.iter_mut().zip(part) {
            *place = *byte;
        }
    }

    /// The guest wrote `bytes` at `offset`. Only `select` and `subsel`, the first two bytes of the space, can be written;
    /// QEMU sends them with all the rest of the space as it last read it.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let written = |place: usize| place.checked_sub(offset).and_then(|at| bytes.get(at)).copied();
        self.ask(written(0).unwrap_or(self.select), written(1).unwrap_or(self.subsel));
    }

    /// Back to nothing selected, as after a reset of the device.
    pub fn reset(&mut self) {
        self.ask(0, 0);
    }

    fn ask(&mut self, select: u8, subsel: u8) {
        if (select, subsel) == (self.select, self.subsel) {
            return;
        }
        (self.select, self.subsel) = (select, subsel);
        let mut payload = [0; PAYLOAD_LEN];
        let size = self.description.answer(select, subsel, &mut payload);
        let header = [select, subsel, size, 0, 0, 0, 0, 0];
        for (place, byte) in self.space.iter_mut().zip(header.into_iter().chain(payload)) {
            *place = byte;
        }
    }
}

#[cfg(test)]
mod tests;
