use std::collections::HashMap;

use super::*;
use crate::control::recorder::{Seen, record};
use crate::control::{protocol, request};
use crate::input::ids::key;

/// An input device's config, played from bodies by select and subsel.
#[derive(Default)]
pub(crate) struct Model {
    bodies: HashMap<(u8, u8), Vec<u8>>,
    selected: (u8, u8),
    forgetful: bool,
}

impl Model {
    fn whole(&self) -> [u8; CONFIG_SIZE] {
        let mut bytes = [0; CONFIG_SIZE];
        let body = self.bodies.get(&self.selected).cloned().unwrap_or_default();
        if !self.forgetful {
            (bytes[0], bytes[1]) = self.selected;
        }
        bytes[2] = body.len() as u8;
        let held = body.len().min(BODY_SIZE);
        bytes[BODY..BODY + held].copy_from_slice(&body[..held]);
        bytes
    }

    /// Handles GET_CONFIG and SET_CONFIG, and lets all else pass.
    pub(crate) fn access(&mut self, request: u32, payload: &mut [u8]) {
        if ![request::GET_CONFIG, request::SET_CONFIG].contains(&request) {
            return;
        }
        let word = |at: usize| u32::from_ne_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        let (offset, size) = (word(0) as usize, word(4) as usize);
        if request == request::GET_CONFIG {
            payload[12..].copy_from_slice(&self.whole()[offset..offset + size]);
            return;
        }
        for (at, byte) in (offset..offset + size).zip(&payload[12..]) {
            match at {
                0 => self.selected.0 = *byte,
                1 => self.selected.1 = *byte,
                _ => {}
            }
        }
    }
}

/// A tablet with two axes, three keys and LEDs.
pub(crate) fn tablet() -> (Model, InputConfig) {
    let x = AbsInfo { min: -5, max: 32767, fuzz: 1, flat: 2, res: 3 };
    let y = AbsInfo { min: 0, max: 1000, ..AbsInfo::default() };
    let config = InputConfig {
        name: b"A Tablet".to_vec(),
        serial: Vec::new(),
        ids: Some(Ids { bustype: 3, vendor: 0x1234, product: 0x5678, version: 0x9abc }),
        props: Bitmap::of([1]),
        bits: [
            (ev::KEY, Bitmap::of([key::A, key::BTN_LEFT, key::BTN_TOUCH])),
            (ev::ABS, Bitmap::of([abs::X, abs::Y])),
            (ev::LED, Bitmap::of([1])),
            (ev::REP, Bitmap::default()),
        ]
        .into(),
        abs: [(abs::X, x), (abs::Y, y)].into(),
    };
    let mut bodies = HashMap::from([
        ((select::ID_NAME, 0), config.name.clone()),
        ((select::ID_DEVIDS, 0), [3u16, 0x1234, 0x5678, 0x9abc].map(u16::to_le_bytes).concat()),
        ((select::PROP_BITS, 0), vec![2]),
        ((select::EV_BITS, ev::REP as u8), vec![3]),
    ]);
    for (kind, bits) in config.bits.iter().filter(|(_, bits)| !bits.bytes().is_empty()) {
        bodies.insert((select::EV_BITS, *kind as u8), bits.bytes().to_vec());
    }
    for (axis, info) in &config.abs {
        let body = [info.min, info.max, info.fuzz, info.flat, info.res].map(i32::to_le_bytes).concat();
        bodies.insert((select::ABS_INFO, *axis as u8), body);
    }
    (Model { bodies, ..Model::default() }, config)
}

/// What `read` returns from a front end with `model` behind it, the reader, and the messages.
fn with<T>(
    mut model: Model,
    style: ConfigStyle,
    read: impl FnOnce(&mut ConfigReader, &mut FrontEnd) -> T,
) -> (T, ConfigReader, Vec<Seen>) {
    let (mut front, theirs) = FrontEnd::pair().unwrap();
    let back_end = record(theirs, 0, move |request, payload| model.access(request, payload));
    front.set_protocol_features(1 << protocol::CONFIG | 1 << protocol::REPLY_ACK).unwrap();
    let mut reader = ConfigReader::new(style);
    let result = read(&mut reader, &mut front);
    drop(front);
    (result, reader, back_end.join().unwrap())
}

const EXACT: ConfigStyle = ConfigStyle::Exact { write_flags: 0 };

#[test]
fn every_style_and_access_reads_the_same() {
    for style in [ConfigStyle::Whole, EXACT] {
        let (model, config) = tablet();
        let (probed, ..) = with(model, style, |reader, front| reader.probe(front).unwrap());
        assert_eq!(probed, config, "{style:?}");
        let (read, ..) = with(tablet().0, style, |reader, front| reader.read_all(front).unwrap());
        assert_eq!(read, config, "{style:?}");
    }
}

#[test]
fn qemu_makes_a_message_of_136_bytes_from_each_access() {
    let (_, reader, seen) = with(tablet().0, ConfigStyle::Whole, |reader, front| reader.probe(front).unwrap());
    let sets: Vec<&Seen> = seen.iter().filter(|message| message.0 == request::SET_CONFIG).collect();
    let gets: Vec<&Seen> = seen.iter().filter(|message| message.0 == request::GET_CONFIG).collect();
    // 12 selections of bytes and ids, 2 of axes.
    assert_eq!((sets.len(), reader.writes()), (28, 28));
    // A size each, 8 bytes of name, 4 ids, 1 byte of properties, 42 of keys, 1 of axes, 1 of LEDs, 5 words of 2 axes.
    assert_eq!((gets.len(), reader.reads()), (14 + 8 + 4 + 1 + 42 + 1 + 1 + 10, 81));
    assert!(sets.iter().all(|message| message.1 && message.3.len() == 12 + CONFIG_SIZE));
    assert!(gets.iter().all(|message| message.3[..12] == crate::control::wire::config(0, 0, &[0; 136])[..12]));
}

#[test]
fn qemu_writes_the_rest_as_it_was_read() {
    let (_, _, seen) = with(tablet().0, ConfigStyle::Whole, |reader, front| {
        reader.body(front, select::ID_NAME, 0).unwrap();
        reader.select(front, select::PROP_BITS, 0).unwrap();
    });
    let last = seen.iter().rfind(|message| message.0 == request::SET_CONFIG).unwrap();
    let bytes = &last.3[12..];
    assert_eq!((bytes[0], bytes[1], bytes[2], &bytes[BODY..BODY + 8]), (select::PROP_BITS, 0, 8, &b"A Tablet"[..]));
}

#[test]
fn others_send_exactly_what_the_guest_touches() {
    let style = ConfigStyle::from(Vmm::CloudHypervisor);
    let (body, _, seen) = with(tablet().0, style, |reader, front| reader.body(front, select::ID_NAME, 0).unwrap());
    assert_eq!(body, b"A Tablet");
    let config = |offset, flags, bytes: &[u8]| crate::control::wire::config(offset, flags, bytes);
    let payloads: Vec<_> = seen.iter().skip(1).map(|message| message.3.clone()).collect();
    let wanted = [config(0, 1, &[1]), config(1, 1, &[0]), config(2, 0, &[0]), config(8, 0, &[0; 8])];
    assert_eq!(payloads, wanted);
}

#[test]
fn a_config_that_forgets_its_selection_is_a_fault_under_qemu() {
    let (mut model, _) = tablet();
    model.forgetful = true;
    let (result, ..) = with(model, ConfigStyle::Whole, |reader, front| reader.probe(front));
    assert!(matches!(result, Err(Error::Fault(_))), "{result:?}");
}

#[test]
fn linux_reads_64_bytes_of_a_name() {
    let long = || {
        let (mut model, _) = tablet();
        model.bodies.insert((select::ID_NAME, 0), vec![b'x'; 100]);
        model
    };
    assert_eq!(with(long(), EXACT, |reader, front| reader.probe(front).unwrap()).0.name.len(), 64);
    assert_eq!(with(long(), EXACT, |reader, front| reader.read_all(front).unwrap()).0.name.len(), 100);
}

#[test]
fn wrong_sizes_are_faults() {
    for (at, size) in [((select::ID_DEVIDS, 0), 7), ((select::ABS_INFO, 0), 0), ((select::ID_NAME, 0), 129)] {
        let (mut model, _) = tablet();
        model.bodies.insert(at, vec![1; size]);
        let (result, ..) = with(model, EXACT, |reader, front| reader.probe(front));
        assert!(matches!(result, Err(Error::Fault(_))), "{at:?}");
    }
}

#[test]
fn more_slots_than_linux_makes_are_a_fault() {
    let (mut model, config) = tablet();
    let axes = Bitmap::of([abs::X, abs::MT_SLOT]);
    model.bodies.insert((select::EV_BITS, ev::ABS as u8), axes.bytes().to_vec());
    model.bodies.insert((select::ABS_INFO, abs::MT_SLOT as u8), [0, 1024, 0, 0, 0].map(i32::to_le_bytes).concat());
    assert_eq!(config.slots(), 0);
    let (result, ..) = with(model, EXACT, |reader, front| reader.probe(front));
    assert!(matches!(result, Err(Error::Fault(_))), "{result:?}");
}

#[test]
fn a_bitmap_knows_its_codes_and_whether_it_is_tight() {
    let bits = Bitmap::of([0, 9, 30]);
    assert_eq!(bits.bytes(), [1, 2, 0, 0x40]);
    assert_eq!(bits.codes().collect::<Vec<_>>(), [0, 9, 30]);
    assert!(bits.is_tight() && !Bitmap::new(vec![1, 0]).is_tight());
    assert!(!bits.has(31) && !bits.has(500));
}
