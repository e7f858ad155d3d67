//! The input device without its rings: what a guest reads of the config space, what its lights do, and whether a guest
//! that was told what [`Batch`] tells knows what the device knows.
//!
//! The first byte chooses: [`config`], [`answers`], [`lights`], or a [`Life`].

use std::cell::RefCell;
use std::collections::BTreeMap;

use nix::errno::Errno;

use seat_frontend::input::{GuestInput, InputState, ids};
use vhost_seat::input::batch::{Batch, Fed};
use vhost_seat::input::config::{AxisInfo, Bitmap, CONFIG_LEN, Config, Description, Ids, PAYLOAD_LEN};
use vhost_seat::input::describe::{Ask, Axes, describe as ask};
use vhost_seat::input::lights::Lights;
use vhost_seat::input::state::State;
use vhost_seat::input::wire::{EVENT_LEN, Event, RECORD_LEN};

use super::events;
use super::script::Script;

/// Operations of one run.
const MAX_STEPS: usize = 4000;

/// One device and one guest. Returns how many events the guest was told, or answers it got.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    let shape = script.u8();
    match shape & 3 {
        0 if shape & 4 != 0 => answers(script),
        0 => config(&mut script),
        1 => lights(&mut script),
        _ => Life::new(shape).run(&mut script),
    }
}

/// A description of any numbers, then reads (an odd byte, an offset, a length) and writes (an even one, an offset, a
/// length, bytes), each answered as VIRTIO 1.3, 5.8.5 has it.
fn config(script: &mut Script<'_>) -> usize {
    let description = describe(script);
    let mut config = Config::new(description.clone());
    let (mut select, mut subsel) = (0, 0);
    let mut answers = 0;
    for _ in 0..MAX_STEPS {
        if script.is_empty() {
            break;
        }
        let shape = script.u8();
        let (offset, len) = (script.word(), usize::from(script.u8()));
        match shape & 3 {
            1 | 3 => {
                let mut out = [0xa5; 256];
                config.read(offset, &mut out[..len]);
                let space = expected(&description, select, subsel);
                let told: Vec<u8> =
                    (0..len).map(|at| space.get((offset as usize).saturating_add(at)).copied().unwrap_or(0)).collect();
                assert_eq!(out[..len], told, "select {select:#x}, subsel {subsel:#x}, offset {offset}");
                assert!(out[len..].iter().all(|byte| *byte == 0xa5));
                answers += usize::from(space[2] > 0);
            }
            0 => {
                let bytes = script.bytes(len);
                config.write(offset, bytes);
                for (at, byte) in bytes.iter().enumerate() {
                    match u64::from(offset) + at as u64 {
                        0 => select = *byte,
                        1 => subsel = *byte,
                        _ => {}
                    }
                }
            }
            _ => {
                config.reset();
                (select, subsel) = (0, 0);
            }
        }
    }
    assert_eq!(config.description(), &description, "nothing that a guest does changes the device");
    answers
}

fn describe(script: &mut Script<'_>) -> Description {
    let name = usize::from(script.u8());
    let name = script.bytes(name).to_vec();
    let serial = usize::from(script.u8());
    let serial = script.bytes(serial).to_vec();
    let ids = Ids { bus: script.u16(), vendor: script.u16(), product: script.u16(), version: script.u16() };
    let mut description = Description { name, serial, ids, ..Description::default() };
    let count = script.u8() & 31;
    for _ in 0..count {
        let (kind, code) = (script.u8(), script.u16());
        if kind & 0x80 != 0 {
            description.properties = Bitmap::of([code]);
            continue;
        }
        let kind = usize::from(kind & 31);
        let codes = &mut description.codes[kind];
        *codes = Bitmap::of((0..1024).filter(|known| codes.has(*known)).chain([code]));
        if kind == usize::from(events::EV_ABS) && code < 64 {
            let number = |script: &mut Script<'_>| script.word() as i32;
            let (min, max) = (number(script), number(script));
            description.axes[usize::from(code)] = AxisInfo { min, max, fuzz: 1, flat: -1, resolution: min };
        }
    }
    description
}

/// Whether a guest is told of this code: Linux has no place for more keys and axes than these, and of the others for far
/// fewer.
fn announced(device: &Description, kind: u16, code: u16) -> bool {
    let count = match kind {
        events::EV_KEY => 0x300,
        events::EV_ABS => 0x40,
        _ => 0x20,
    };
    code < count && device.codes.get(usize::from(kind)).is_some_and(|codes| codes.has(code))
}

/// The config space, told bit by bit.
fn expected(device: &Description, select: u8, subsel: u8) -> [u8; CONFIG_LEN] {
    let bits = |has: &dyn Fn(u16) -> bool| {
        let mut bytes = vec![0u8; PAYLOAD_LEN];
        (0..1024).filter(|code| has(*code)).for_each(|code| bytes[usize::from(code) / 8] |= 1 << (code % 8));
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes
    };
    let kind = u16::from(subsel);
    let mut answer = match (select, subsel) {
        (0x01, 0) => device.name.clone(),
        (0x02, 0) => device.serial.clone(),
        (0x03, 0) => {
            let Ids { bus, vendor, product, version } = device.ids;
            [bus, vendor, product, version].iter().flat_map(|number| number.to_le_bytes()).collect()
        }
        (0x10, 0) => bits(&|code| device.properties.has(code)),
        // Not EV_SYN, and not force feedback and power, of which virtio-input has no way to make use.
        (0x11, 1..=5 | 0x11 | 0x12 | 0x14) => bits(&|code| announced(device, kind, code)),
        (0x12, 0..=63) if announced(device, events::EV_ABS, kind) => {
            let AxisInfo { min, max, fuzz, flat, resolution } = device.axes[usize::from(kind)];
            let max = if kind == ids::abs::MT_SLOT { max.clamp(-1, 1023) } else { max };
            [min, max, fuzz, flat, resolution].iter().flat_map(|number| number.to_le_bytes()).collect()
        }
        _ => vec![],
    };
    answer.truncate(PAYLOAD_LEN);
    let mut space = [0; CONFIG_LEN];
    (space[0], space[1], space[2]) = (select, subsel, answer.len() as u8);
    space[8..8 + answer.len()].copy_from_slice(&answer);
    space
}

/// An answer's bytes, and how many it is said to have.
type Told = nix::Result<(Vec<u8>, usize)>;

/// A node that answers anything: each answer begins with how many bytes of it there are, or with what else it is.
struct Node<'a> {
    script: RefCell<Script<'a>>,
    /// By the request's number: what came last, filled up to the room that there was.
    told: RefCell<BTreeMap<u16, Told>>,
}

impl Ask for Node<'_> {
    fn ask(&self, number: u16, answer: &mut [u8]) -> nix::Result<usize> {
        let mut script = self.script.borrow_mut();
        let mut fill = |script: &mut Script<'_>, len: u8| {
            let bytes = script.bytes(usize::from(len).min(answer.len()));
            answer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        let told = match script.u8() {
            len @ 0..0xe0 => Ok(fill(&mut script, len)),
            // It says that there were more bytes, or fewer.
            0xe0..0xf0 => {
                let len = script.u8();
                fill(&mut script, len);
                Ok(script.word() as usize)
            }
            0xf0..0xf8 => Err(Errno::EINVAL),
            0xf8..0xfc => Err(Errno::ENOENT),
            _ => Err(Errno::ENODEV),
        };
        self.told.borrow_mut().insert(number, told.map(|len| (answer.to_vec(), len)));
        told
    }
}

/// A node that answers anything, and a guest that is told of it: the description has what was answered, a guest gets what
/// was announced.
fn answers(script: Script<'_>) -> usize {
    let (properties, bits, axis) = (0x09, 0x20, 0x40);
    let node = Node { script: RefCell::new(script), told: RefCell::default() };
    let described = ask(&node);
    let told = node.told.take();
    let said = |number: u16| told.get(&number).and_then(|answer| answer.as_ref().ok());
    // What ends at a zero within what was said to be there; what is not there is empty.
    let text = |number: u16| match told.get(&number) {
        Some(Ok((bytes, len))) => bytes[..*len.min(&bytes.len())]
            .split(|byte| *byte == 0)
            .map(<[u8]>::to_vec)
            .next()
            .filter(|text| text.len() < *len.min(&bytes.len())),
        Some(Err(Errno::ENOENT)) => Some(Vec::new()),
        _ => None,
    };
    let is_good = |number: u16| match number {
        0x06..=0x08 => text(number).is_some(),
        0x21..=0x3f => said(number).is_some() || told[&number] == Err(Errno::EINVAL),
        _ => said(number).is_some(),
    };
    assert_eq!(described.is_ok(), told.keys().all(|number| is_good(*number)), "{described:?}, {told:?}");
    let Ok(device) = described else { return 0 };
    assert_eq!(Some(&device.name), text(0x06).as_ref());
    assert_eq!(Some(&device.serial), text(0x08).as_ref());
    let bit = |number: u16, code: u16| {
        said(number)
            .and_then(|(bytes, _)| bytes.get(usize::from(code / 8)))
            .is_some_and(|byte| byte >> (code % 8) & 1 == 1)
    };
    for code in 0..1024 {
        assert_eq!(device.properties.has(code), bit(properties, code));
        for (kind, codes) in (0u16..).zip(device.codes.iter()) {
            let wanted = match kind {
                0 => false,
                0x14 => code < 2,
                _ => bit(bits + kind, code),
            };
            assert_eq!(codes.has(code), bit(bits, kind) && wanted, "{kind} {code}");
        }
    }
    for code in (0..0x40).filter(|code| announced(&device, events::EV_ABS, *code)) {
        let (bytes, _) = said(axis + code).expect("it was asked");
        let AxisInfo { min, max, fuzz, flat, resolution } = device.axes[usize::from(code)];
        assert_eq!(bytes[4..], [min, max, fuzz, flat, resolution].map(i32::to_ne_bytes).concat());
    }
    let mut axes = Axes::new(&device);
    let mut batch = Batch::new(&device);
    batch.set_present(true);
    let _ = batch.look(|state| axes.look(&node, state));
    let mut events = 0;
    while let Some(event) = batch.upcoming() {
        assert!(event == Event::REPORT || announced(&device, event.kind, event.code), "{event:?}");
        batch.delivered();
        events += 1;
    }
    events
}

/// Status events of eight bytes each: only lights and sounds that the device has are for it.
fn lights(script: &mut Script<'_>) -> usize {
    let device = events::description(0, true);
    let mut lights = Lights::default();
    let mut on = [None; 32];
    let mut taken = 0;
    for _ in 0..MAX_STEPS {
        let Ok(bytes) = <[u8; EVENT_LEN]>::try_from(script.bytes(EVENT_LEN)) else { break };
        let event = Event::from_guest(bytes);
        assert_eq!(event.to_guest(), bytes);
        let record = [&[0x5a; RECORD_LEN - EVENT_LEN][..], &bytes].concat();
        assert_eq!(
            Event::from_record(&record).map(Event::to_guest),
            Some(bytes).filter(|_| cfg!(target_endian = "little"))
        );
        assert_eq!(Event::from_record(&record[1..]), None);
        let wanted = match event.kind {
            0x11 => event.code < 3,
            0x12 => [1, 2].contains(&event.code),
            _ => false,
        };
        assert_eq!(lights.take(event, &device), wanted, "{event:?}");
        if wanted && event.kind == 0x11 {
            on[usize::from(event.code)] = Some(event.value != 0);
        }
        taken += usize::from(wanted);
    }
    let all: Vec<_> = (0u16..).zip(on).filter_map(|(code, on)| Some(Event::new(0x11, code, i32::from(on?)))).collect();
    assert!(lights.all().eq(all), "the lights as they were wanted last");
    taken
}

/// A device that says anything, a [`Batch`], and a guest. The device's own truth is what a Linux makes of its events; the
/// guest is another Linux, with the events that it is told.
struct Life {
    batch: Batch,
    device: Description,
    slots: usize,
    truth: GuestInput,
    guest: GuestInput,
    present: bool,
    plugged: bool,
    told: usize,
}

impl Life {
    fn new(shape: u8) -> Life {
        let slots = [0, 1, 4, 12][usize::from(shape >> 2 & 3)];
        let device = events::description(slots, shape & 0x10 != 0);
        let batch = Batch::new(&device);
        let (truth, guest) = (GuestInput::new(slots), GuestInput::new(slots));
        Life { batch, device, slots, truth, guest, present: false, plugged: true, told: 0 }
    }

    /// 0 to 127: so many events of the device (the low four bits), and then buffers for as many (the others); else see
    /// below.
    fn run(mut self, script: &mut Script<'_>) -> usize {
        for _ in 0..MAX_STEPS {
            if script.is_empty() {
                break;
            }
            match script.u8() {
                shape @ 0..128 => {
                    for _ in 0..=shape & 15 {
                        self.feed(events::next(script));
                    }
                    self.give(usize::from(shape >> 4) * 3);
                }
                128..136 => self.give(usize::from(script.u8()) * 8),
                136..140 => {
                    self.present = !self.present;
                    self.batch.set_present(self.present && self.plugged);
                    self.look();
                }
                140 | 141 => self.batch.pause(),
                142 | 143 => {
                    self.batch.new_guest();
                    self.guest = GuestInput::new(self.slots);
                }
                144 => self.part(),
                145 if self.plugged => {
                    self.plugged = false;
                    self.batch.unplug();
                    self.truth = GuestInput::new(self.slots);
                }
                145 => {
                    self.plugged = true;
                    self.batch.set_present(self.present);
                    self.look();
                }
                146 => self.flood(script),
                147 => self.look(),
                _ => self.come_to_rest(),
            }
        }
        self.come_to_rest();
        self.told
    }

    /// Follows an event as a kernel passes it on: one that changes nothing may come or not, and one that was not announced
    /// is none.
    fn feed(&mut self, event: Event) {
        if !self.plugged {
            return;
        }
        let (kind, code, value) = (event.kind, event.code, event.value);
        let seen = seat_frontend::input::Event::new(kind, code, value);
        match self.batch.feed(event) {
            Fed::Taken if kind == 0 || announced(&self.device, kind, code) => self.truth.apply(seen).unwrap(),
            Fed::Taken => {}
            Fed::Dropped => {
                assert_eq!((kind, code), (0, 3));
                self.look();
            }
        }
    }

    /// Many frames of motion with a key or a contact now and then.
    fn flood(&mut self, script: &mut Script<'_>) {
        let (count, every) = (u16::from(script.u8()) * 8, u16::from(script.u8()) + 1);
        for number in 0..count {
            self.feed(Event::new(events::EV_REL, 0, 1));
            if number % every == 0 {
                self.feed(Event::new(events::EV_KEY, 30, i32::from(number / every % 2 == 0)));
                self.feed(Event::new(events::EV_ABS, 0x2f, i32::from(number % 3)));
                self.feed(Event::new(events::EV_ABS, 0x39, i32::from(number) - 1));
            }
            self.feed(Event::REPORT);
        }
    }

    fn give(&mut self, buffers: usize) {
        for _ in 0..buffers {
            let Some(event) = self.batch.upcoming() else { break };
            let told = match event.kind {
                0 => [0, 2].contains(&event.code),
                1..=5 => announced(&self.device, event.kind, event.code),
                _ => false,
            };
            assert!(told, "{event:?} is not for this guest");
            self.batch.delivered();
            self.guest.apply(seat_frontend::input::Event::new(event.kind, event.code, event.value)).unwrap();
            self.told += 1;
        }
    }

    fn look(&mut self) {
        let (truth, slots) = (self.truth.state(), self.slots);
        if self.plugged {
            let looked = self.batch.look(|state| {
                fill(state, truth, slots);
                Ok::<_, ()>(())
            });
            looked.unwrap();
        }
    }

    fn part(&mut self) {
        self.batch.part();
        self.plugged = false;
        self.truth = GuestInput::new(self.slots);
    }

    /// All is told: the guest knows what is so, or holds nothing.
    fn come_to_rest(&mut self) {
        self.feed(Event::REPORT);
        for _ in 0..64 {
            self.give(usize::MAX);
        }
        assert!(self.batch.upcoming().is_none());
        assert!(!self.guest.is_inside_frame(), "a frame without an end");
        if self.present && self.plugged {
            let difference = self.guest.state().difference(self.truth.state());
            assert_eq!(difference, None, "the guest is wrong");
        } else {
            assert!(self.guest.held().is_empty() && self.guest.contacts().is_empty(), "something sticks");
        }
    }
}

/// As a device is asked what is so.
fn fill(state: &mut State, truth: &InputState, slots: usize) {
    use ids::{abs, key};
    state.clear();
    (0..key::COUNT).for_each(|code| state.set_key(code, truth.is_held(code)));
    (0..17).for_each(|code| state.set_switch(code, truth.switch(code)));
    for code in 0..abs::COUNT {
        match code {
            abs::MT_SLOT => {}
            abs::MT_TOUCH_MAJOR..=abs::MT_TOOL_Y => {
                (0..slots).for_each(|slot| state.set_slot_axis(slot, code, truth.slot_axis(slot, code)));
            }
            _ => state.set_axis(code, truth.axis(code)),
        }
    }
    state.select_slot(truth.slot() as i32);
}
