//! Random lives of a device and its guest: whatever happens on the way, at each quiet point the guest believes what is so.
//!
//! [`pure`](Pure) drives the batch alone, without threads and sockets: the scripted kernel on one side, an independent
//! model of a Linux guest on the other, and between them a random supply of reads and of buffers, pauses, new guests,
//! hand-overs and unplugging. [`whole`] does the same to a whole back end through a front end.

use std::collections::VecDeque;

use seat_frontend::input::ids::{abs, ev, key, rel, sw};
use seat_frontend::input::{Event, GuestInput, InputState};
use seat_frontend::machine::InputMachineOptions;
use vhost_seat::input::HOLD;
use vhost_seat::input::batch::{Batch, Fed};
use vhost_seat::input::node::{EVENTS_A_READ, Node};
use vhost_seat::input::wire;

use super::common::devices::{self, FINGERS};
use super::common::evdev::{Kernel, ScriptedNode};
use super::common::random::Random;
use super::common::soon;
use super::seat::{GRAB, MONITORS, Seat};

/// A frame as a device with keys, axes, switches and fingers makes them.
fn frame(random: &mut Random, truth: &InputState, next_id: &mut i32) -> Vec<(u16, u16, i32)> {
    let mut frame = Vec::new();
    for _ in 0..=random.below(3) {
        match random.below(10) {
            0..3 => {
                let code = random.between(1, 30) as u16;
                frame.push((ev::KEY, code, i32::from(!truth.is_held(code))));
            }
            3..6 => frame.push((ev::REL, [rel::X, rel::Y][random.below(2) as usize], random.between(1, 9) as i32)),
            6 => frame.push((ev::ABS, [abs::X, abs::Y][random.below(2) as usize], random.below(4096) as i32)),
            7 if random.once_in(4) => frame.push((ev::SW, sw::LID, i32::from(!truth.switch(sw::LID)))),
            _ => {
                let slot = random.below(FINGERS as u32) as usize;
                frame.push((ev::ABS, abs::MT_SLOT, slot as i32));
                match random.below(4) {
                    0 => frame.push((ev::ABS, abs::MT_TRACKING_ID, -1)),
                    1 => {
                        *next_id += 1;
                        frame.push((ev::ABS, abs::MT_TRACKING_ID, *next_id));
                    }
                    _ => {}
                }
                frame.push((ev::ABS, abs::MT_POSITION_X, random.below(4096) as i32));
                frame.push((ev::ABS, abs::MT_POSITION_Y, random.below(4096) as i32));
            }
        }
    }
    frame
}

/// What both kinds of life compare.
#[track_caller]
fn assert_agree(guest: &GuestInput, truth: &InputState, what: &str) {
    assert!(!guest.is_inside_frame(), "{what}: in the middle of a frame");
    if let Some(difference) = guest.state().difference(truth) {
        panic!("{what}: {difference}");
    }
}

/// A batch between a scripted kernel and a model of a guest.
struct Pure {
    kernel: Kernel,
    node: Option<ScriptedNode>,
    batch: Batch,
    guest: GuestInput,
    paused: bool,
    present: bool,
    random: Random,
    next_id: i32,
    /// What the guest must be told event by event, as long as nothing was lost on the way.
    expected: Option<VecDeque<(u16, u16, i32)>>,
}

impl Pure {
    fn new(seed: u64) -> Pure {
        let description = devices::everything();
        let kernel = Kernel::new(description.clone(), FINGERS);
        let mut batch = Batch::new(&description);
        batch.set_present(true);
        Pure {
            node: Some(open(&kernel)),
            kernel,
            batch,
            guest: GuestInput::new(FINGERS),
            paused: false,
            present: true,
            random: Random::new(seed),
            next_id: 0,
            expected: None,
        }
    }

    fn report(&mut self) {
        let truth = self.kernel.truth();
        let frame = frame(&mut self.random, &truth, &mut self.next_id);
        self.kernel.report(&frame);
    }

    /// One read, as the device does it on readiness.
    fn read(&mut self) -> usize {
        let Some(node) = &mut self.node else { return 0 };
        if self.paused {
            self.batch.pause();
            self.expected = None;
        }
        let mut events = [wire::Event::default(); EVENTS_A_READ];
        let count = node.read(&mut events).unwrap();
        for event in &events[..count] {
            if self.batch.feed(*event) == Fed::Dropped {
                self.expected = None;
                self.look();
                break;
            }
            if let Some(expected) = &mut self.expected {
                expected.push_back((event.kind, event.code, event.value));
            }
        }
        // What waits beyond the hold gives way.
        if self.expected.as_ref().is_some_and(|expected| expected.len() > HOLD) {
            self.expected = None;
        }
        count
    }

    fn look(&mut self) {
        let Some(node) = &mut self.node else { return };
        self.batch
            .look(|state| {
                let mut events = [wire::Event::default(); EVENTS_A_READ];
                while node.read(&mut events)? > 0 {}
                node.look(state)
            })
            .unwrap();
    }

    /// The guest has so many buffers for events.
    fn give(&mut self, buffers: u32) -> u32 {
        let mut used = 0;
        while used < buffers && !self.paused {
            let Some(event) = self.batch.upcoming() else { break };
            self.batch.delivered();
            used += 1;
            if let Some(next) = self.expected.as_mut().and_then(VecDeque::pop_front) {
                assert_eq!((event.kind, event.code, event.value), next, "what was not lost comes as it was");
            }
            self.guest.apply(Event::new(event.kind, event.code, event.value)).unwrap();
        }
        used
    }

    fn new_guest(&mut self) {
        self.batch.new_guest();
        self.guest = GuestInput::new(FINGERS);
        self.paused = false;
        self.expected = None;
    }

    fn set_present(&mut self, present: bool) {
        self.present = present;
        self.expected = None;
        self.batch.set_present(present && self.node.is_some());
        if present {
            self.look();
        }
    }

    fn unplug(&mut self) {
        if self.node.take().is_some() {
            self.kernel.unplug();
            self.batch.unplug();
            self.expected = None;
        } else {
            self.kernel.plug();
            self.node = Some(open(&self.kernel));
            self.set_present(self.present);
        }
    }

    /// Everything is read and everything given: guest and device agree.
    fn come_to_rest(&mut self, what: &str) {
        self.paused = false;
        while self.read() + self.give(u32::MAX) as usize > 0 {}
        if self.present && self.node.is_some() {
            assert_agree(&self.guest, &self.kernel.truth(), what);
            self.expected = Some(VecDeque::new());
        } else {
            assert!(self.guest.held().is_empty() && self.guest.contacts().is_empty(), "{what}: something sticks");
            assert!(!self.guest.is_inside_frame(), "{what}");
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..45 => self.report(),
            45..50 => (0..40).for_each(|_| self.report()),
            50..75 => drop(self.read()),
            75..92 => {
                let buffers = [1, 3, 4, 64, 1024][self.random.below(5) as usize];
                self.give(buffers);
            }
            92..95 => self.paused = !self.paused,
            95 => self.new_guest(),
            96 => self.set_present(!self.present),
            97 => self.unplug(),
            _ => {}
        }
    }
}

fn open(kernel: &Kernel) -> ScriptedNode {
    vhost_seat::input::node::Place::open(&kernel.place()).unwrap()
}

#[test]
fn a_guest_agrees_with_its_device_at_every_quiet_point_of_a_random_life() {
    for seed in 0..60 {
        let mut life = Pure::new(seed);
        for round in 0..60 {
            for _ in 0..life.random.between(1, 120) {
                life.step();
            }
            life.come_to_rest(&format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_guest_that_starves_for_long_agrees_when_it_is_fed() {
    for seed in 0..20 {
        let mut life = Pure::new(1000 + seed);
        life.come_to_rest("at the start");
        for round in 0..6 {
            for _ in 0..1500 {
                life.report();
                life.read();
                if life.random.once_in(20) {
                    life.give(1);
                }
            }
            life.come_to_rest(&format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_whole_back_end_agrees_with_its_guest_at_every_quiet_point() {
    for seed in 0..10 {
        let monitor = MONITORS[seed as usize % MONITORS.len()];
        let mut options = InputMachineOptions::new(monitor).unwrap();
        options.input = super::seat::sized([4, 64, 1024][seed as usize % 3]).input;
        let mut random = Random::new(5000 + seed);
        let mut seat = Seat::boot_with(Kernel::new(devices::everything(), FINGERS), GRAB, options);
        let mut next_id = 0;
        for round in 0..25 {
            for _ in 0..random.between(1, 60) {
                let truth = seat.kernel.truth();
                seat.kernel.report(&frame(&mut random, &truth, &mut next_id));
                match random.below(60) {
                    0 => seat.vm.driver.set_reposting(random.once_in(2)),
                    1 => {
                        seat.vm.pause().unwrap();
                        seat.kernel.report(&frame(&mut random, &truth, &mut next_id));
                        seat.vm.resume().unwrap();
                    }
                    2 => {
                        seat.vm.driver.set_reposting(true);
                        seat.vm.reboot().unwrap();
                        seat.guest = seat.vm.guest();
                    }
                    3 => {
                        seat.kernel.unplug();
                        seat.kernel.plug();
                    }
                    _ => {}
                }
            }
            seat.vm.driver.set_reposting(true);
            seat.vm.driver.post_all().unwrap();
            let fed = seat.vm.driver.feed_until(&mut seat.guest, &seat.kernel.truth(), soon());
            fed.unwrap_or_else(|error| panic!("seed {seed}, {monitor:?}, round {round}: {error}"));
        }
        let held = seat.guest.held();
        seat.kernel.report(&held.iter().map(|code| (ev::KEY, *code, 0)).collect::<Vec<_>>());
        seat.kernel.report(&[(ev::KEY, key::A, 1)]);
        seat.agree();
        assert_eq!(seat.guest.held(), [key::A], "seed {seed}");
    }
}
