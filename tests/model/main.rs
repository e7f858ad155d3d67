//! Random commands, thousands of them, answered by the program and by a plain reference model: every answer is compared,
//! and every pixel and cursor of the display once it has seen all.
//!
//! Two seeds are for pictures by DMABUF: of memfds, by a back end in a thread of the test.
//!
//! Beside commands come pauses, resets, other displays, displays that do not read, memory that comes and goes, and front
//! ends that die. A run follows from its seed: `VHOST_SEAT_SEED=7 cargo test --test model` runs that one alone, with
//! `VHOST_SEAT_STEPS` as many steps as wanted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the test's own"
)]

#[path = "../common/mod.rs"]
mod common;
mod guest;
mod reference;

use std::collections::VecDeque;
use std::os::fd::AsFd;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use seat_frontend::control::FrontEnd;
use seat_frontend::display::DisplayThread;
use seat_frontend::gpu::{Command, Fence, Response};
use seat_frontend::machine::GpuMachine;
use seat_frontend::memory::{GuestMemory, RegionPlan};
use seat_frontend::program::{Program, TempDir};
use seat_frontend::ring::Layout;
use vhost_seat::backend;
use vhost_seat::gpu::udmabuf::Exporter;
use vhost_seat::gpu::{self, Gpu};
use vhost_seat::socket::{self, Endpoint};

use common::canvas::Settled;
use common::random::Random;
use common::{options, patient, program, realize_with, soon};
use guest::{Arena, Owned, Scale};
use reference::{Expected, Memory, Reference};

const STEPS: u32 = 3000;
/// `--max-hostmem`, which only what is absurd exceeds.
const LIMIT: u64 = 256 << 20;
/// Actions that are shown when something is wrong.
const REMEMBERED: usize = 60;

#[test]
fn the_device_does_what_the_reference_does_from_seed_1() {
    run(1);
}

#[test]
fn the_device_does_what_the_reference_does_from_seed_2() {
    run(2);
}

#[test]
fn the_device_does_what_the_reference_does_from_seed_3() {
    run(3);
}

#[test]
fn the_device_does_what_the_reference_does_from_seed_4() {
    run(4);
}

#[test]
fn the_device_does_what_the_reference_does_to_large_pictures_from_seed_5() {
    run(5);
}

#[test]
fn the_device_does_what_the_reference_does_to_large_pictures_from_seed_6() {
    run(6);
}

#[test]
fn the_device_does_what_the_reference_does_by_dmabuf_from_seed_8() {
    run_on(BackEnd::by_dmabuf(), 8, Scale::Small, STEPS / 2);
}

#[test]
fn the_device_does_what_the_reference_does_to_large_pictures_by_dmabuf_from_seed_9() {
    run_on(BackEnd::by_dmabuf(), 9, Scale::Large, STEPS / 8);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

fn run(seed: u64) {
    let seed = match number("VHOST_SEAT_SEED") {
        None => seed,
        Some(given) if seed == 1 => given,
        Some(_) => return,
    };
    // The last two of each seven seeds, so that a seed alone says all.
    let (scale, steps) = if seed % 7 < 5 { (Scale::Small, STEPS) } else { (Scale::Large, STEPS / 8) };
    let steps = number("VHOST_SEAT_STEPS").map_or(steps, |steps| steps as u32);
    run_on(BackEnd::Program(program(&[])), seed, scale, steps);
}

fn run_on(back_end: BackEnd, seed: u64, scale: Scale, steps: u32) {
    let mut lab = Lab::new(back_end, seed, scale);
    for step in 0..steps {
        lab.step = step;
        lab.take_a_step();
    }
    lab.compare();
    if let BackEnd::Program(program) = &lab.back_end {
        let lines = program.stderr();
        assert!(lines.lines().all(|line| line.contains("--max-hostmem")), "{lines}");
    }
}

/// Who serves the device, one front end after another.
enum BackEnd {
    Program(Program),
    /// A thread that listens here, and shows by DMABUF.
    Thread(TempDir),
}

impl BackEnd {
    fn by_dmabuf() -> BackEnd {
        let folder = TempDir::new().unwrap();
        let listener = socket::listen(&folder.join("socket")).unwrap();
        std::thread::spawn(move || {
            let mut gpu = Gpu::new(gpu::Options::new(LIMIT));
            gpu.export_by(Exporter::of_memfds());
            backend::serve(gpu, Endpoint::Listening(listener), SignalFd::new(&SigSet::empty()).unwrap())
        });
        BackEnd::Thread(folder)
    }

    fn connect(&self) -> FrontEnd {
        patient(match self {
            BackEnd::Program(program) => program.connect().unwrap(),
            BackEnd::Thread(folder) => FrontEnd::connect(folder.join("socket")).unwrap(),
        })
    }
}

/// What the device can reach.
struct Reach {
    memory: GuestMemory,
    extra: GuestMemory,
    has_extra: bool,
}

impl Reach {
    fn whole(&self) -> impl Iterator<Item = (u64, u64)> {
        let extra = self.extra.regions().iter().filter(|_| self.has_extra);
        self.memory.regions().iter().chain(extra).map(|region| (region.spec.gpa, region.spec.gpa + region.spec.size))
    }

    fn is_extra(&self, addr: u64) -> bool {
        addr >= self.extra.regions()[0].spec.gpa
    }
}

impl Memory for Reach {
    fn reaches(&self, addr: u64, len: u64) -> bool {
        let end = addr + len;
        let mut at = addr;
        while at < end {
            let Some((_, region_end)) = self.whole().find(|(start, region_end)| (*start..*region_end).contains(&at))
            else {
                return false;
            };
            at = region_end;
        }
        true
    }

    fn read(&self, addr: u64, into: &mut [u8]) {
        if self.is_extra(addr) { self.extra.read(addr, into) } else { self.memory.read(addr, into) }
    }
}

struct Lab {
    seed: u64,
    scale: Scale,
    step: u32,
    random: Random,
    actions: VecDeque<String>,
    back_end: BackEnd,
    vm: GpuMachine,
    settled: Settled,
    reference: Reference,
    arena: Arena,
    reach: Reach,
}

/// What goes wrong is shown with the way to it.
impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the test's own output, shown where it failed")]
            for action in &self.actions {
                eprintln!("{action}");
            }
            #[allow(clippy::print_stderr, reason = "as above")]
            {
                eprintln!("step {}; again with VHOST_SEAT_SEED={}", self.step, self.seed);
            }
        }
    }
}

impl Lab {
    fn new(back_end: BackEnd, seed: u64, scale: Scale) -> Lab {
        let mut random = Random::new(seed);
        let (vm, settled) = boot(&back_end, &mut random);
        let memory = vm.driver.memory().clone();
        let extra = GuestMemory::new(&[RegionPlan::new(0x40_0000_0000, 0x10_000, 0)], true).unwrap();
        let border = memory.regions()[3].spec.gpa;
        let arena = Arena { start: border - 0x2_0000, len: 0x4_0000, extra: 0x40_0000_0000, extra_len: 0x10_000 };
        let reach = Reach { memory, extra, has_extra: false };
        Lab {
            seed,
            scale,
            step: 0,
            random,
            actions: VecDeque::new(),
            back_end,
            vm,
            settled,
            reference: Reference::new(LIMIT),
            arena,
            reach,
        }
    }

    fn note(&mut self, action: String) {
        if self.actions.len() == REMEMBERED {
            self.actions.pop_front();
        }
        self.actions.push_back(action);
    }

    fn take_a_step(&mut self) {
        match self.random.below(100) {
            0..62 => self.batch(),
            62..70 => self.draw(),
            70..76 => self.cursors(),
            76..82 => self.slow_down(),
            82..94 => self.compare(),
            94..96 => self.pause(),
            96 => self.pause_in_the_middle(),
            97 => self.other_display(),
            98 => self.change_memory(),
            _ => self.begin_anew(),
        }
    }

    /// A batch, answered whole.
    fn batch(&mut self) {
        let batch = self.queue_batch();
        let withhold = self.random.once_in(10);
        self.vm.display.with(|display| display.withhold_replies(withhold)).unwrap();
        self.vm.driver.kick();
        if batch.iter().any(Owned::asks_the_display) {
            self.vm.display.with(|display| display.set_reading(true));
        }
        if withhold {
            self.vm.front.barrier().unwrap();
            self.vm.display.with(|display| display.withhold_replies(false)).unwrap();
        }
        self.collect(batch);
    }

    /// Queues commands that the reference has not seen yet. Which ones make sense is judged by what it knew before.
    fn queue_batch(&mut self) -> Vec<Owned> {
        let layout = if self.random.once_in(3) { Layout::Direct } else { Layout::Indirect };
        self.vm.driver.set_layout(layout);
        let count = self.random.between(1, 16);
        let mut batch = Vec::new();
        for _ in 0..count {
            let owned = guest::command(&mut self.random, &self.reference, self.arena, self.scale);
            let fence = Fence {
                flags: self.random.below(4),
                id: self.random.next(),
                ctx_id: self.random.next() as u32,
                ring_idx: self.random.next() as u8,
            };
            self.vm.driver.queue_fenced(&owned.command(), fence).unwrap();
            self.note(format!("{}: {owned:?}", self.step));
            batch.push(owned);
        }
        batch
    }

    /// Compares the answers of a batch with the reference's.
    fn collect(&mut self, batch: Vec<Owned>) {
        for owned in batch {
            let response = self.vm.driver.next_done().unwrap_or_else(|error| panic!("{owned:?}: {error}")).response;
            let expected = self.reference.execute(&owned.command(), &self.reach);
            assert!(self.agrees(response, expected), "{owned:?} was answered {:#x}, not {expected:x?}", response.kind);
        }
    }

    fn agrees(&mut self, response: Response, expected: Expected) -> bool {
        match expected {
            Expected::Kind(kind) => response.kind == kind,
            Expected::AnyError => !response.is_ok(),
            Expected::Uuid(id) => {
                let mut uuid = [0; 16];
                self.vm.driver.read_body(24, &mut uuid);
                response.is_ok() && self.reference.note_uuid(id, uuid)
            }
        }
    }

    /// The guest draws somewhere in its memory.
    fn draw(&mut self) {
        let len = self.random.between(1, 20_000);
        let in_extra = self.random.once_in(10);
        let (memory, start, room) = match in_extra {
            true => (&self.reach.extra, self.arena.extra, self.arena.extra_len),
            false => (&self.reach.memory, self.arena.start, self.arena.len),
        };
        let at = start + u64::from(self.random.below(room as u32 - len));
        let mut random = Random::new(self.random.next());
        // Runs of one colour as well as noise: equal tiles are the device's special case.
        let flat = random.once_in(2);
        let fill = random.next() as u8;
        let bytes: Vec<u8> = (0..len).map(|_| if flat { fill } else { random.next() as u8 }).collect();
        memory.write(at, &bytes);
        self.note(format!("{}: draws {len} bytes at {at:#x}", self.step));
    }

    fn cursors(&mut self) {
        for _ in 0..self.random.between(1, 8) {
            let command = guest::cursor_command(&mut self.random, &self.reference);
            self.vm.driver.queue_cursor(&command).unwrap();
            self.reference.execute(&command, &self.reach);
            self.note(format!("{}: {command:?} on the cursor queue", self.step));
        }
        self.vm.driver.kick_cursor();
        self.vm.driver.finish_cursor().unwrap();
    }

    fn slow_down(&mut self) {
        let reading = self.random.once_in(2);
        self.vm.display.with(|display| display.set_reading(reading));
        self.note(format!("{}: the display reads: {reading}", self.step));
    }

    /// Everything that the display shows, once it has seen all.
    fn compare(&mut self) {
        self.vm.display.with(|display| display.set_reading(true));
        if self.random.once_in(2) {
            self.flush_all();
        }
        self.settled.wait(&mut self.vm);
        let scanouts = guest::SCANOUTS as usize;
        let found = self.vm.display.with(|display| self.reference.disagreement(display, scanouts));
        // What comes late is not wrong.
        if let Some(found) = found {
            let waited =
                self.vm.display.wait(soon(), |display| self.reference.disagreement(display, scanouts).is_none());
            waited.unwrap_or_else(|_| panic!("{found}"));
        }
    }

    /// After this no pixel is open.
    fn flush_all(&mut self) {
        for resource_id in self.reference.ids() {
            let (width, height) = self.reference.size(resource_id).unwrap();
            let rect = seat_frontend::gpu::Rect::new(0, 0, width, height);
            let command = Command::ResourceFlush { rect, resource_id };
            self.vm.driver.call(&command).unwrap().ok().unwrap();
            self.reference.execute(&command, &self.reach);
        }
    }

    fn pause(&mut self) {
        self.note(format!("{}: a pause", self.step));
        self.vm.pause().unwrap();
        self.vm.resume().unwrap();
        self.reference.new_display(true);
    }

    /// A pause while commands are under way: they are answered before it or after.
    fn pause_in_the_middle(&mut self) {
        let batch = self.queue_batch();
        self.vm.driver.kick();
        self.note(format!("{}: a pause meanwhile", self.step));
        self.vm.pause().unwrap();
        self.vm.resume().unwrap();
        self.reference.new_display(true);
        self.collect(batch);
    }

    fn other_display(&mut self) {
        self.note(format!("{}: another display", self.step));
        let config = self.vm.display_config().clone();
        let (display, socket) = DisplayThread::pair(config).unwrap();
        self.vm.front.gpu_set_socket(socket.as_fd()).unwrap();
        self.vm.display = display;
        self.reference.new_display(true);
    }

    fn change_memory(&mut self) {
        let region = &self.reach.extra.regions()[0];
        match self.reach.has_extra {
            true => self.vm.front.rem_mem_reg(&region.spec).unwrap(),
            false => self.vm.front.add_mem_reg(region).unwrap(),
        }
        self.reach.has_extra = !self.reach.has_extra;
        self.note(format!("{}: more memory: {}", self.step, self.reach.has_extra));
    }

    /// A reset, with commands under way or without, or another front end.
    fn begin_anew(&mut self) {
        let kind = self.random.below(4);
        self.note(format!("{}: begins anew, {kind}", self.step));
        if kind.is_multiple_of(2) {
            self.queue_batch();
            self.vm.driver.kick();
        }
        self.reference.reset();
        if kind < 3 {
            self.vm.reboot().unwrap();
            self.settled = Settled::new(&mut self.vm);
            return;
        }
        // It dies as it stands, and only then is the next one served.
        self.vm.front.stream().shutdown(std::net::Shutdown::Both).unwrap();
        (self.vm, self.settled) = boot(&self.back_end, &mut self.random);
        let memory = self.vm.driver.memory().clone();
        self.reach = Reach { memory, extra: self.reach.extra.clone(), has_extra: false };
    }
}

/// A machine whose rings begin anywhere, so that their indices wrap.
fn boot(back_end: &BackEnd, random: &mut Random) -> (GpuMachine, Settled) {
    let mut vm = realize_with(back_end.connect(), options());
    let position = 0u16.wrapping_sub(64 * random.between(1, 8) as u16);
    vm.driver.control_ring().set_position(position);
    vm.front.set_base(0, position.into());
    vm.start().unwrap();
    let settled = Settled::new(&mut vm);
    (vm, settled)
}
