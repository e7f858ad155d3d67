//! A client of an evdev node: what the device is, what it sends, how it stands, what it can be told.
//!
//! Asking how keys, LEDs, sounds or switches stand makes the kernel take the events of that type, which the answer has
//! overtaken, out of what the client has not read yet; a frame of nothing else may stay behind as an empty one.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::codes::{ABS_MT_SLOT, EV_ABS, EV_KEY, EV_LED, EV_MSC, EV_REL, EV_SND, EV_SW, EV_SYN, SYN_REPORT};
use crate::description::{Axis, Description, Id};
use crate::event::{self, Event};
use crate::ioctl::{self, EVDEV};
use crate::poll::wait_readable;

// Numbers of linux/input.h, in the group 'E'.
const EVIOCGID: u8 = 0x02;
const EVIOCGREP: u8 = 0x03;
const EVIOCGNAME: u8 = 0x06;
const EVIOCGPHYS: u8 = 0x07;
const EVIOCGUNIQ: u8 = 0x08;
const EVIOCGPROP: u8 = 0x09;
const EVIOCGMTSLOTS: u8 = 0x0a;
const EVIOCGKEY: u8 = 0x18;
const EVIOCGLED: u8 = 0x19;
const EVIOCGSND: u8 = 0x1a;
const EVIOCGSW: u8 = 0x1b;
/// And the event type.
const EVIOCGBIT: u8 = 0x20;
/// And the axis.
const EVIOCGABS: u8 = 0x40;
const EVIOCGRAB: u8 = 0x90;

/// Bytes of the longest bitmap, that of KEY_CNT bits.
const BITMAP: usize = 0x300 / 8;
/// The types whose codes the kernel tells; of EV_REP it tells only that it is there, and force feedback is not ours.
const WITH_CODES: [u16; 7] = [EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW, EV_LED, EV_SND];

/// The evdev nodes that there are, in the order of their numbers.
pub fn nodes() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir("/dev/input") {
        // The kernel makes the folder with the first node.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(number) = name.strip_prefix("event").and_then(|n| n.parse::<u32>().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// An open node. Opening it does not grab it.
pub struct Node {
    file: File,
    /// What was read of frames that were not asked for yet.
    events: VecDeque<Event>,
}

impl Node {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Node { file, events: VecDeque::new() })
    }

    /// What the kernel says of the device.
    pub fn description(&self) -> io::Result<Description> {
        let kinds = self.bits(EVIOCGBIT)?;
        let mut description = Description {
            name: self.string(EVIOCGNAME)?,
            uniq: self.string(EVIOCGUNIQ)?,
            id: self.id()?,
            properties: self.bits(EVIOCGPROP)?,
            ..Description::default()
        };
        for kind in kinds {
            let told = WITH_CODES.contains(&kind);
            let codes = if told { self.bits(EVIOCGBIT + kind as u8)? } else { BTreeSet::new() };
            if kind == EV_ABS {
                for &code in &codes {
                    description.axes.insert(code, self.absolute(code)?.1);
                }
            }
            description.codes.insert(kind, codes);
        }
        Ok(description)
    }

    /// Where the device is plugged in.
    pub fn phys(&self) -> io::Result<String> {
        self.string(EVIOCGPHYS)
    }

    /// Delay and period of the kernel's autorepeat in milliseconds.
    pub fn repeat(&self) -> io::Result<(i32, i32)> {
        let mut bytes = [0; 8];
        ioctl::read(&self.file, EVDEV, EVIOCGREP, &mut bytes)?;
        let [delay, period] = numbers(&bytes);
        Ok((delay, period))
    }

    /// The next frame: the events up to a SYN_REPORT, without that. A SYN_DROPPED stands in it as it came.
    /// [`TimedOut`](io::ErrorKind::TimedOut) when no whole frame comes; ENODEV when the device is gone.
    pub fn next_frame(&mut self, until: Instant) -> io::Result<Vec<Event>> {
        loop {
            if let Some(end) = self.events.iter().position(|event| (event.0, event.1) == (EV_SYN, SYN_REPORT)) {
                let mut frame: Vec<Event> = self.events.drain(..=end).collect();
                frame.pop();
                return Ok(frame);
            }
            match self.fill() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_readable(&self.file, until).map_err(|error| self.with_begun(error))?;
                }
                other => other?,
            }
        }
    }

    /// A frame that has come already, if one has; does not wait.
    pub fn frame_at_hand(&mut self) -> io::Result<Option<Vec<Event>>> {
        match self.next_frame(Instant::now()) {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads what there is, a kernel's buffer at a time.
    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 * event::SIZE];
        let n = self.file.read(&mut bytes)?;
        self.events.extend(event::decode(&bytes[..n]));
        Ok(())
    }

    fn with_begun(&self, error: io::Error) -> io::Error {
        if self.events.is_empty() {
            return error;
        }
        io::Error::new(error.kind(), format!("{error}; of a frame there are {:?}", self.events))
    }

    /// Tells the device something: LEDs, sounds, or what only other readers see. No SYN_REPORT is added.
    pub fn write(&mut self, events: &[Event]) -> io::Result<()> {
        let bytes: Vec<u8> = events.iter().copied().flat_map(event::encode).collect();
        self.file.write_all(&bytes)
    }

    /// Lights an LED or puts it out, in a frame of its own.
    pub fn set_led(&mut self, code: u16, lit: bool) -> io::Result<()> {
        self.write(&[(EV_LED, code, lit.into()), (EV_SYN, SYN_REPORT, 0)])
    }

    /// Takes the device for this client alone; EBUSY when another has it.
    pub fn grab(&self) -> io::Result<()> {
        ioctl::set(&self.file, EVDEV, EVIOCGRAB, 1)
    }

    pub fn ungrab(&self) -> io::Result<()> {
        ioctl::set(&self.file, EVDEV, EVIOCGRAB, 0)
    }

    /// Keys and buttons that are down.
    pub fn keys_held(&self) -> io::Result<BTreeSet<u16>> {
        self.bits(EVIOCGKEY)
    }

    /// LEDs that are lit.
    pub fn leds(&self) -> io::Result<BTreeSet<u16>> {
        self.bits(EVIOCGLED)
    }

    /// Sounds that are on.
    pub fn sounds(&self) -> io::Result<BTreeSet<u16>> {
        self.bits(EVIOCGSND)
    }

    /// Switches that are closed.
    pub fn switches(&self) -> io::Result<BTreeSet<u16>> {
        self.bits(EVIOCGSW)
    }

    /// An axis' value now.
    pub fn value(&self, axis: u16) -> io::Result<i32> {
        self.absolute(axis).map(|(value, _)| value)
    }

    /// The values of an ABS_MT axis now, by slot.
    pub fn slots(&self, axis: u16) -> io::Result<Vec<i32>> {
        let (_, slot) = self.absolute(ABS_MT_SLOT)?;
        let count = usize::try_from(slot.maximum - slot.minimum + 1).unwrap_or(0);
        // The axis, then room for a value each.
        let mut bytes = vec![0; 4 + 4 * count];
        bytes[..4].copy_from_slice(&u32::from(axis).to_ne_bytes());
        ioctl::read(&self.file, EVDEV, EVIOCGMTSLOTS, &mut bytes)?;
        let (values, _) = bytes[4..].as_chunks();
        Ok(values.iter().map(|value| i32::from_ne_bytes(*value)).collect())
    }

    fn id(&self) -> io::Result<Id> {
        let mut bytes = [0; 8];
        ioctl::read(&self.file, EVDEV, EVIOCGID, &mut bytes)?;
        let field = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Ok(Id { bus: field(0), vendor: field(2), product: field(4), version: field(6) })
    }

    fn absolute(&self, axis: u16) -> io::Result<(i32, Axis)> {
        let mut bytes = [0; 24];
        ioctl::read(&self.file, EVDEV, EVIOCGABS + axis as u8, &mut bytes)?;
        let [value, minimum, maximum, fuzz, flat, resolution] = numbers(&bytes);
        Ok((value, Axis { minimum, maximum, fuzz, flat, resolution }))
    }

    /// A string, without its end; the kernel has no phys or uniq for many devices and says ENOENT.
    fn string(&self, number: u8) -> io::Result<String> {
        let mut bytes = [0; 256];
        match ioctl::read(&self.file, EVDEV, number, &mut bytes) {
            Ok(n) => Ok(String::from_utf8_lossy(&bytes[..n]).trim_end_matches('\0').to_owned()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// The bits that are set in a bitmap.
    fn bits(&self, number: u8) -> io::Result<BTreeSet<u16>> {
        let mut bytes = [0u8; BITMAP];
        let n = ioctl::read(&self.file, EVDEV, number, &mut bytes)?;
        Ok((0..n as u16 * 8).filter(|bit| bytes[usize::from(bit / 8)] & (1 << (bit % 8)) != 0).collect())
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> [i32; N] {
    let (values, _) = bytes.as_chunks();
    std::array::from_fn(|at| i32::from_ne_bytes(values[at]))
}
