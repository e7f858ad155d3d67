//! How a guest reads the config of an input device: it writes `select` and `subsel`, then reads `size` and the body.
//!
//! [`ConfigReader`] turns each of the guest's accesses into the messages of the machine monitor that it plays. A guest
//! never reads more than 8 bytes at once and Linux reads strings and bitmaps byte by byte, so a probe is a conversation
//! of a hundred round trips; they are counted.

mod capabilities;

use super::ids::{abs, ev, select};
use crate::control::{FrontEnd, Vmm};
use crate::error::{Error, Result};

pub use capabilities::{AbsInfo, Bitmap, Ids, InputConfig, MAX_SLOTS};

/// Bytes of the whole config.
pub const CONFIG_SIZE: usize = 136;
/// Where the body begins.
pub const BODY: usize = 8;
/// Bytes of the longest body.
pub const BODY_SIZE: usize = 128;
/// How much of a name or serial Linux reads.
const LINUX_STRING: usize = 64;
/// The types whose bits Linux reads, in its order.
const LINUX_KINDS: [u16; 7] = [ev::KEY, ev::REL, ev::ABS, ev::MSC, ev::SW, ev::LED, ev::SND];

/// How a monitor hands a guest's accesses on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigStyle {
    /// QEMU: it keeps a copy of the whole config. A read fetches all of it; a write changes the copy and sends all of it.
    Whole,
    /// Monitors that know nothing of the device: exactly what was read or written, at its offset.
    Exact {
        /// The flags of a guest's write: 0 in QEMU's numbering, 1 in rust-vmm's.
        write_flags: u32,
    },
}

impl From<Vmm> for ConfigStyle {
    fn from(vmm: Vmm) -> ConfigStyle {
        match vmm {
            Vmm::Qemu(_) => ConfigStyle::Whole,
            Vmm::CloudHypervisor => ConfigStyle::Exact { write_flags: 1 },
            Vmm::Plain => ConfigStyle::Exact { write_flags: 0 },
        }
    }
}

/// A guest that reads the config.
#[derive(Clone, Debug)]
pub struct ConfigReader {
    style: ConfigStyle,
    copy: [u8; CONFIG_SIZE],
    reads: u64,
    writes: u64,
}

impl ConfigReader {
    /// A guest that has read nothing yet.
    pub fn new(style: ConfigStyle) -> ConfigReader {
        ConfigReader { style, copy: [0; CONFIG_SIZE], reads: 0, writes: 0 }
    }

    /// GET_CONFIGs so far.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// SET_CONFIGs so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// One access of the guest's, of any length: `len` bytes at `at`.
    pub fn read(&mut self, front: &mut FrontEnd, at: usize, len: usize) -> Result<Vec<u8>> {
        self.reads += 1;
        match self.style {
            ConfigStyle::Whole => {
                let whole = front.get_config(0, CONFIG_SIZE as u32)?;
                self.check_echo(&whole)?;
                self.copy.copy_from_slice(&whole);
                Ok(whole[at..at + len].to_vec())
            }
            ConfigStyle::Exact { .. } => front.get_config(at as u32, len as u32),
        }
    }

    /// One access of the guest's: `bytes` to `at`.
    pub fn write(&mut self, front: &mut FrontEnd, at: usize, bytes: &[u8]) -> Result<()> {
        self.writes += 1;
        match self.style {
            ConfigStyle::Whole => {
                self.copy[at..at + bytes.len()].copy_from_slice(bytes);
                front.set_config(0, 0, &self.copy)
            }
            ConfigStyle::Exact { write_flags } => front.set_config(at as u32, write_flags, bytes),
        }
    }

    /// An answer that does not repeat `select` and `subsel` makes QEMU's next write lose one of them.
    fn check_echo(&self, whole: &[u8]) -> Result<()> {
        let (wrote, came) = (&self.copy[..2], &whole[..2]);
        match wrote == came {
            true => Ok(()),
            false => Err(Error::fault(format!(
                "select and subsel are {wrote:?}, but the config has {came:?} in their place"
            ))),
        }
    }

    /// Writes `select`, then `subsel`, each by itself, and returns `size`.
    pub fn select(&mut self, front: &mut FrontEnd, select: u8, subsel: u8) -> Result<u8> {
        self.write(front, 0, &[select])?;
        self.write(front, 1, &[subsel])?;
        Ok(self.read(front, 2, 1)?[0])
    }

    /// Selects, and reads the whole body in one access: shorter than what a guest does.
    pub fn body(&mut self, front: &mut FrontEnd, select: u8, subsel: u8) -> Result<Vec<u8>> {
        let size = self.selected(front, select, subsel)?;
        match size {
            0 => Ok(Vec::new()),
            size => self.read(front, BODY, size),
        }
    }

    /// Reads all that Linux's driver reads, in its order and by its accesses; of name and serial that is 64 bytes.
    pub fn probe(&mut self, front: &mut FrontEnd) -> Result<InputConfig> {
        self.read_config(front, LINUX_STRING, Self::by_bytes)
    }

    /// Reads the same in few accesses, name and serial to their end.
    pub fn read_all(&mut self, front: &mut FrontEnd) -> Result<InputConfig> {
        self.read_config(front, BODY_SIZE, Self::at_once)
    }

    fn read_config(&mut self, front: &mut FrontEnd, longest: usize, read: Access) -> Result<InputConfig> {
        let mut config = InputConfig {
            name: self.bytes(front, (select::ID_NAME, 0), longest, read)?,
            serial: self.bytes(front, (select::ID_SERIAL, 0), longest, read)?,
            ids: self.ids(front)?,
            props: Bitmap::new(self.bytes(front, (select::PROP_BITS, 0), BODY_SIZE, read)?),
            ..InputConfig::default()
        };
        // Of EV_REP the size says that it is there; what its bits are Linux does not ask.
        if self.selected(front, select::EV_BITS, ev::REP as u8)? > 0 {
            config.bits.insert(ev::REP, Bitmap::default());
        }
        for kind in LINUX_KINDS {
            let bits = self.bytes(front, (select::EV_BITS, kind as u8), BODY_SIZE, read)?;
            if !bits.is_empty() {
                config.bits.insert(kind, Bitmap::new(bits));
            }
        }
        let axes: Vec<u16> = config.bits.get(&ev::ABS).map_or(Vec::new(), |bits| bits.codes().collect());
        for axis in axes.into_iter().filter(|axis| *axis < abs::COUNT) {
            config.abs.insert(axis, self.abs_info(front, axis)?);
        }
        Ok(config)
    }

    fn selected(&mut self, front: &mut FrontEnd, select: u8, subsel: u8) -> Result<usize> {
        match usize::from(self.select(front, select, subsel)?) {
            size if size > BODY_SIZE => {
                Err(Error::fault(format!("config {select:#x}, {subsel:#x} has {size} bytes of at most {BODY_SIZE}")))
            }
            size => Ok(size),
        }
    }

    fn bytes(&mut self, front: &mut FrontEnd, at: (u8, u8), longest: usize, read: Access) -> Result<Vec<u8>> {
        let size = self.selected(front, at.0, at.1)?.min(longest);
        read(self, front, size)
    }

    fn by_bytes(&mut self, front: &mut FrontEnd, len: usize) -> Result<Vec<u8>> {
        (0..len).map(|at| Ok(self.read(front, BODY + at, 1)?[0])).collect()
    }

    fn at_once(&mut self, front: &mut FrontEnd, len: usize) -> Result<Vec<u8>> {
        if len == 0 { Ok(Vec::new()) } else { self.read(front, BODY, len) }
    }

    fn ids(&mut self, front: &mut FrontEnd) -> Result<Option<Ids>> {
        match self.selected(front, select::ID_DEVIDS, 0)? {
            0 => Ok(None),
            8 => {
                let mut id = |at: usize| -> Result<u16> {
                    let bytes = self.read(front, BODY + 2 * at, 2)?;
                    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
                };
                Ok(Some(Ids { bustype: id(0)?, vendor: id(1)?, product: id(2)?, version: id(3)? }))
            }
            size => Err(Error::fault(format!("ID_DEVIDS has {size} bytes, not 8"))),
        }
    }

    fn abs_info(&mut self, front: &mut FrontEnd, axis: u16) -> Result<AbsInfo> {
        let size = self.selected(front, select::ABS_INFO, axis as u8)?;
        if size != 20 {
            return Err(Error::fault(format!("ABS_INFO of axis {axis:#x} has {size} bytes, not 20")));
        }
        let mut word = |at: usize| -> Result<i32> {
            let bytes = self.read(front, BODY + 4 * at, 4)?;
            Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        // Linux's order: the resolution before fuzz and flat.
        let (min, max, res, fuzz, flat) = (word(0)?, word(1)?, word(4)?, word(2)?, word(3)?);
        if axis == abs::MT_SLOT && max >= MAX_SLOTS as i32 {
            return Err(Error::fault(format!("ABS_MT_SLOT ranges to {max}; Linux makes at most {MAX_SLOTS} slots")));
        }
        Ok(AbsInfo { min, max, fuzz, flat, res })
    }
}

/// How a body of a known length is read.
type Access = fn(&mut ConfigReader, &mut FrontEnd, usize) -> Result<Vec<u8>>;

#[cfg(test)]
pub(crate) mod tests;
