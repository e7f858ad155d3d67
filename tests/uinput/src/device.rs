//! A device that uinput makes: what it is to be, and the hand that moves it.
//!
//! It is plugged in while the [`Device`] lives; dropping it unplugs it. What it cannot choose: uinput has no call for
//! uniq, so that is empty, and the kernel itself sets the range of ABS_MT_TRACKING_ID to 0..=65535.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::codes::{EV_ABS, EV_KEY, EV_LED, EV_MSC, EV_REL, EV_REP, EV_SND, EV_SW, EV_SYN, SYN_REPORT};
use crate::description::{Axis, Description, Id};
use crate::event::{self, Event};
use crate::ioctl::{self, UINPUT};
use crate::node::Node;
use crate::poll::wait_readable;

const UINPUT_NODE: &str = "/dev/uinput";
/// With its end, `UINPUT_MAX_NAME_SIZE`.
const NAME_SIZE: usize = 80;

const UI_DEV_CREATE: u8 = 1;
const UI_DEV_SETUP: u8 = 3;
const UI_ABS_SETUP: u8 = 4;
const UI_GET_SYSNAME: u8 = 44;
const UI_SET_EVBIT: u8 = 100;
const UI_SET_PHYS: u8 = 108;
const UI_SET_PROPBIT: u8 = 110;
/// The requests that add a code, by its event type (`UI_SET_KEYBIT` and so on).
const UI_SET_CODE: [(u16, u8); 7] =
    [(EV_KEY, 101), (EV_REL, 102), (EV_ABS, 103), (EV_MSC, 104), (EV_LED, 105), (EV_SND, 106), (EV_SW, 109)];

/// A device to be; each method adds to it.
#[derive(Clone, Debug)]
pub struct Setup {
    description: Description,
    phys: String,
}

impl Setup {
    pub fn new(name: &str) -> Self {
        let mut description = Description { name: name.to_owned(), ..Description::default() };
        description.add(EV_SYN, []);
        Setup { description, phys: String::new() }
    }

    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.description.name);
        self
    }

    pub fn id(mut self, bus: u16, vendor: u16, product: u16, version: u16) -> Self {
        self.description.id = Id { bus, vendor, product, version };
        self
    }

    pub fn phys(mut self, phys: &str) -> Self {
        phys.clone_into(&mut self.phys);
        self
    }

    /// INPUT_PROP_*
    pub fn property(mut self, property: u16) -> Self {
        self.description.properties.insert(property);
        self
    }

    pub fn keys(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_KEY, codes)
    }

    pub fn relative(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_REL, codes)
    }

    pub fn axis(mut self, code: u16, axis: Axis) -> Self {
        self.description.axes.insert(code, axis);
        self.codes(EV_ABS, [code])
    }

    pub fn misc(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_MSC, codes)
    }

    pub fn switches(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_SW, codes)
    }

    pub fn leds(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_LED, codes)
    }

    pub fn sounds(self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.codes(EV_SND, codes)
    }

    /// EV_REP: the kernel repeats a key that is held, with value 2, from 250 ms on.
    pub fn repeat(self) -> Self {
        self.codes(EV_REP, [])
    }

    fn codes(mut self, kind: u16, codes: impl IntoIterator<Item = u16>) -> Self {
        self.description.add(kind, codes);
        self
    }

    /// Plugs the device in. Its node is there when this comes back.
    pub fn create(&self) -> io::Result<Device> {
        let context = |error: io::Error| io::Error::new(error.kind(), format!("{UINPUT_NODE}: {error}"));
        let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(UINPUT_NODE);
        let file = file.map_err(context)?;
        self.apply(&file).map_err(context)?;
        let node = find_node(&file)?;
        Ok(Device { file, node, description: self.description.clone() })
    }

    fn apply(&self, file: &File) -> io::Result<()> {
        let Description { name, id, properties, codes, axes, .. } = &self.description;
        for (&kind, codes) in codes {
            ioctl::set(file, UINPUT, UI_SET_EVBIT, kind.into())?;
            if let Some((_, request)) = UI_SET_CODE.iter().find(|(known, _)| *known == kind) {
                for &code in codes {
                    ioctl::set(file, UINPUT, *request, code.into())?;
                }
            }
        }
        for &property in properties {
            ioctl::set(file, UINPUT, UI_SET_PROPBIT, property.into())?;
        }
        if !self.phys.is_empty() {
            ioctl::set_string(file, UINPUT, UI_SET_PHYS, &CString::new(self.phys.as_str())?)?;
        }
        for (&code, axis) in axes {
            ioctl::write(file, UINPUT, UI_ABS_SETUP, &mut abs_setup(code, axis))?;
        }
        ioctl::write(file, UINPUT, UI_DEV_SETUP, &mut setup(name, id)?)?;
        ioctl::order(file, UINPUT, UI_DEV_CREATE)
    }
}

/// `struct uinput_setup`: the ids, the name in 80 bytes, and how many force-feedback effects there may be.
fn setup(name: &str, id: &Id) -> io::Result<[u8; 8 + NAME_SIZE + 4]> {
    let mut bytes = [0; 8 + NAME_SIZE + 4];
    for (place, value) in bytes.chunks_exact_mut(2).zip([id.bus, id.vendor, id.product, id.version]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    if name.len() >= NAME_SIZE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long for uinput"));
    }
    bytes[8..8 + name.len()].copy_from_slice(name.as_bytes());
    Ok(bytes)
}

/// `struct uinput_abs_setup`: the code, two bytes of padding, `struct input_absinfo` with its value first.
fn abs_setup(code: u16, axis: &Axis) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..2].copy_from_slice(&code.to_ne_bytes());
    let fields = [0, axis.minimum, axis.maximum, axis.fuzz, axis.flat, axis.resolution];
    for (place, value) in bytes[4..].chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// The node of the device that this descriptor has made: sysfs has its folder in the device's own.
fn find_node(file: &File) -> io::Result<PathBuf> {
    let mut name = [0; 64];
    ioctl::read(file, UINPUT, UI_GET_SYSNAME, &mut name)?;
    let name = String::from_utf8_lossy(&name);
    let folder = Path::new("/sys/devices/virtual/input").join(name.trim_end_matches('\0'));
    for entry in fs::read_dir(&folder)? {
        let entry = entry?.file_name();
        if entry.to_string_lossy().starts_with("event") {
            return Ok(Path::new("/dev/input").join(entry));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{}: no event node", folder.display())))
}

/// A device that is plugged in; dropping it unplugs it.
pub struct Device {
    file: File,
    node: PathBuf,
    description: Description,
}

impl Device {
    /// Its evdev node, as `/dev/input/event3`.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// What was asked for.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// A client of its node.
    pub fn open(&self) -> io::Result<Node> {
        Node::open(&self.node)
    }

    /// Sends exactly these events in one call; none is added.
    pub fn send(&mut self, events: &[Event]) -> io::Result<()> {
        let bytes: Vec<u8> = events.iter().copied().flat_map(event::encode).collect();
        // uinput takes all of them or fails.
        self.file.write_all(&bytes)
    }

    /// Sends a frame: these events and a SYN_REPORT behind them.
    pub fn frame(&mut self, events: &[Event]) -> io::Result<()> {
        self.send(&[events, &[(EV_SYN, SYN_REPORT, 0)]].concat())
    }

    /// A frame in which the key or button goes down.
    pub fn press(&mut self, code: u16) -> io::Result<()> {
        self.frame(&[(EV_KEY, code, 1)])
    }

    /// A frame in which the key or button comes up.
    pub fn release(&mut self, code: u16) -> io::Result<()> {
        self.frame(&[(EV_KEY, code, 0)])
    }

    /// Press and release, two frames in one call: too quick for a key to repeat.
    pub fn tap(&mut self, code: u16) -> io::Result<()> {
        let end = (EV_SYN, SYN_REPORT, 0);
        self.send(&[(EV_KEY, code, 1), end, (EV_KEY, code, 0), end])
    }

    /// The next event that the kernel sends to the device (LEDs, sounds);
    /// [`TimedOut`](io::ErrorKind::TimedOut) when none comes.
    pub fn next_told(&mut self, until: Instant) -> io::Result<Event> {
        loop {
            // One at a time, so none is left here for a later call.
            let mut bytes = [0; event::SIZE];
            match self.file.read(&mut bytes) {
                Ok(n) => {
                    if let Some(event) = event::decode(&bytes[..n]).next() {
                        return Ok(event);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_readable(&self.file, until)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Pulls the plug.
    pub fn unplug(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_ids_then_the_name() {
        let bytes = setup("ab", &Id { bus: 3, vendor: 0x1234, product: 2, version: 1 }).unwrap();
        assert_eq!(bytes[..8], [3u16, 0x1234, 2, 1].map(u16::to_ne_bytes).concat());
        assert_eq!(bytes[8..11], *b"ab\0");
        assert!(setup(&"x".repeat(NAME_SIZE - 1), &Id::default()).is_ok());
        assert!(setup(&"x".repeat(NAME_SIZE), &Id::default()).is_err());
    }

    #[test]
    fn an_axis_has_its_value_first() {
        let bytes = abs_setup(0x35, &Axis::range(-5, 9).fuzz(1).flat(2).resolution(3));
        assert_eq!(bytes[..2], 0x35u16.to_ne_bytes());
        assert_eq!(bytes[4..], [0, -5, 9, 1, 2, 3].map(i32::to_ne_bytes).concat());
    }
}
