//! Random commands, thousands of them, sensible and absurd: each is answered, the program goes on, and the next guest sees
//! what it draws.
//!
//! A run follows from its seed: `VHOST_SEAT_SEED=7 cargo test --test virgl numbers` runs that one alone, with
//! `VHOST_SEAT_STEPS` as many commands as wanted.

use seat_frontend::gpu::three_d::{bind, target};
use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Command, Fence, MemEntry, Rect, Region, Texture, Transfer3d, format};
use seat_frontend::machine::GpuMachine;

use crate::common::Seat;
use crate::common::random::Random;
use crate::garbage::{number, word};
use crate::seat::{boot_with, reboot};
use crate::sheet::sheet_on_screen;

const COMMANDS: u64 = 4000;
/// Commands in one kick, at the most.
const A_KICK: u32 = 24;
/// Contexts and resources have numbers up to these, so that they meet.
const CONTEXTS: u32 = 5;
const RESOURCES: u32 = 12;

/// What a command is made of, and lives as long as it.
struct Parts {
    random: Random,
    /// Guest memory that backings lie in.
    arena: (u64, u32),
    entries: Vec<MemEntry>,
    stream: Stream,
}

impl Parts {
    fn resource(&mut self) -> u32 {
        if self.random.once_in(20) { word(&mut self.random) } else { 1 + self.random.below(RESOURCES) }
    }

    fn context(&mut self) -> u32 {
        if self.random.once_in(20) { word(&mut self.random) } else { self.random.below(CONTEXTS + 1) }
    }

    fn side(&mut self) -> u32 {
        match self.random.below(30) {
            0 => word(&mut self.random),
            1 => 2000,
            _ => 1 + self.random.below(200),
        }
    }

    fn rect(&mut self) -> Rect {
        match self.random.below(4) {
            0 => Rect::new(0, 0, self.side(), self.side()),
            1 => {
                let [x, y, width, height] = [0; 4].map(|_: u32| word(&mut self.random));
                Rect::new(x, y, width, height)
            }
            _ => {
                let (x, y) = (self.random.below(60), self.random.below(60));
                Rect::new(x, y, 1 + self.random.below(60), 1 + self.random.below(60))
            }
        }
    }

    fn format(&mut self) -> u32 {
        match self.random.below(10) {
            0 => word(&mut self.random),
            // Single bytes, floats, depth, compressed ones.
            1 => [64, 94, 31, 20, 16, 105, 277][self.random.below(7) as usize],
            _ => format::ALL[self.random.below(8) as usize],
        }
    }

    fn texture(&mut self) -> Texture {
        let (resource_id, width, height) = (self.resource(), self.side(), self.side());
        let plain = Texture { format: self.format(), ..Texture::picture(resource_id, width, height) };
        let flat = Texture { flags: 0, ..plain };
        match self.random.below(12) {
            0 => Texture::buffer(resource_id, self.random.below(100_000)),
            1 => Texture { target: target::TEXTURE_3D, depth: 1 + self.random.below(8), ..flat },
            2 => Texture { target: target::TEXTURE_2D_ARRAY, array_size: 1 + self.random.below(8), ..flat },
            3 => Texture { target: target::TEXTURE_CUBE, height: width, array_size: 6, ..flat },
            4 => Texture { last_level: self.random.below(9), ..flat },
            5 => Texture { nr_samples: self.random.below(9), bind: bind::RENDER_TARGET, ..flat },
            6 => Texture { format: 20, bind: bind::DEPTH_STENCIL, ..flat },
            7 => Texture { target: self.random.below(10), bind: word(&mut self.random), ..plain },
            8 => Texture { flags: word(&mut self.random), depth: word(&mut self.random), ..plain },
            9 => flat,
            _ => plain,
        }
    }

    fn transfer(&mut self) -> Transfer3d {
        let Rect { x, y, width, height } = self.rect();
        let region = match self.random.below(8) {
            0 => Region { z: word(&mut self.random), ..Region::flat(x, y, width, height) },
            1 => Region { depth: self.random.below(9), ..Region::flat(x, y, width, height) },
            _ => Region::flat(x, y, width, height),
        };
        let plain = Transfer3d::new(self.resource(), region);
        match self.random.below(8) {
            0 => Transfer3d { offset: u64::from(word(&mut self.random)) << self.random.below(33), ..plain },
            1 => Transfer3d { stride: word(&mut self.random), ..plain },
            2 => Transfer3d { layer_stride: word(&mut self.random), stride: word(&mut self.random), ..plain },
            3 => Transfer3d { level: self.random.below(6), ..plain },
            4 => Transfer3d { offset: self.random.below(5000).into(), stride: width.wrapping_mul(4), ..plain },
            _ => plain,
        }
    }

    /// Backings lie in the arena, or not in it, in any pieces.
    fn take_entries(&mut self) {
        let (start, len) = self.arena;
        let count = if self.random.once_in(3) { self.random.below(200) } else { 1 };
        self.entries = (0..count)
            .map(|_| {
                let at = self.random.below(len);
                let most = (len - at).min(if count == 1 { len } else { 3000 });
                MemEntry { addr: start + u64::from(at), len: 1 + self.random.below(most) }
            })
            .collect();
        if self.random.once_in(20) {
            self.entries.push(MemEntry { addr: self.random.next(), len: word(&mut self.random) });
        }
    }

    /// What is drawn stays within what [`crate::streams`] has shown that the library survives.
    fn take_stream(&mut self) {
        let (id, other, format, rect) = (self.resource(), self.resource(), self.format(), self.rect());
        self.stream = Stream::new();
        match self.random.below(4) {
            0 => self.stream.nop(self.random.below(50) as usize),
            1 => self.stream.copy(id, (rect.x & 63, rect.y & 63), other, Rect::new(0, 0, 16, 16)),
            _ => self.stream.fill(id, format, self.random.below(0x100_0000)),
        };
    }

    fn fence(&mut self) -> Fence {
        let ctx = self.context();
        let fence = match self.random.below(3) {
            0 => Fence::NONE,
            _ => Fence::new(self.random.next() >> self.random.below(64)),
        };
        let fence = fence.of_context(ctx);
        if fence.flags != 0 && self.random.once_in(3) { fence.on_ring(self.random.below(3) as u8) } else { fence }
    }

    fn command(&mut self) -> Command<'_> {
        let (resource_id, rect) = (self.resource(), self.rect());
        let scanout_id = if self.random.once_in(20) { word(&mut self.random) } else { self.random.below(4) };
        match self.random.below(40) {
            0 => Command::CtxCreate { context_init: self.random.below(4), name: b"random" },
            1 => Command::CtxCreate { context_init: word(&mut self.random), name: &[0xff; 64] },
            2 => Command::CtxDestroy,
            3..=6 => Command::CtxAttachResource { resource_id },
            7 => Command::CtxDetachResource { resource_id },
            8..=11 => Command::ResourceCreate3d(self.texture()),
            12 | 13 => {
                let (format, width, height) = (self.format(), self.side(), self.side());
                Command::ResourceCreate2d { resource_id, format, width, height }
            }
            14 | 15 => Command::ResourceUnref { resource_id },
            16..=18 => {
                self.take_entries();
                Command::AttachBacking { resource_id, entries: &self.entries }
            }
            19 => Command::DetachBacking { resource_id },
            20..=23 => Command::TransferToHost3d(self.transfer()),
            24 | 25 => Command::TransferFromHost3d(self.transfer()),
            26 => Command::TransferToHost2d { rect, offset: self.random.below(5000).into(), resource_id },
            27..=29 => Command::SetScanout { rect, scanout_id, resource_id },
            30..=32 => Command::ResourceFlush { rect, resource_id },
            33 => Command::AssignUuid { resource_id },
            34 => Command::GetCapset { id: self.random.below(4), version: self.random.below(4) },
            35 => {
                self.take_entries();
                let size = self.entries.iter().map(|entry| u64::from(entry.len)).sum::<u64>() / 2;
                let (blob_mem, entries) = (1 + self.random.below(2), &self.entries);
                Command::CreateBlob { resource_id, blob_mem, blob_flags: 0, blob_id: 0, size, entries }
            }
            36 => {
                let Rect { width, height, .. } = rect;
                let (format, stride) = (self.format(), width.wrapping_mul(4));
                let rect = Rect::new(0, 0, width, height);
                Command::SetScanoutBlob { rect, scanout_id, resource_id, width, height, format, stride, offset: 0 }
            }
            _ => {
                self.take_stream();
                Command::Submit3d { words: self.stream.words() }
            }
        }
    }
}

fn arena(vm: &mut GpuMachine) -> (u64, u32) {
    let len = 4 << 20;
    (vm.driver.pages().alloc(len).unwrap(), len as u32)
}

fn run(seed: u64) {
    let seed = match number("VHOST_SEAT_SEED") {
        None => seed,
        Some(given) if seed == 1 => given,
        Some(_) => return,
    };
    let Some(Seat { mut program, mut vm }) = boot_with(&["--max-hostmem=64M"]) else { return };
    let arena = arena(&mut vm);
    let mut parts = Parts { random: Random::new(seed), arena, entries: Vec::new(), stream: Stream::new() };
    let (mut sent, mut good) = (0, 0);
    let all = number("VHOST_SEAT_STEPS").unwrap_or(COMMANDS);
    while sent < all {
        let kick = parts.random.between(1, A_KICK);
        let mut recent = Vec::new();
        for _ in 0..kick {
            let fence = parts.fence();
            let command = parts.command();
            recent.push(format!("{fence:?} {command:?}"));
            vm.driver.queue_fenced(&command, fence).unwrap();
        }
        vm.driver.kick();
        if parts.random.once_in(20) {
            let (id, at) = (parts.resource(), (parts.side(), parts.side()));
            vm.driver.update_cursor(parts.random.below(4), id, at, (1, 2)).unwrap();
        }
        if parts.random.once_in(30) {
            vm.pause().unwrap();
            vm.resume().unwrap();
        }
        if parts.random.once_in(60) {
            vm.reboot().unwrap();
        }
        while vm.driver.in_flight() > 0 {
            match vm.driver.next_done() {
                Ok(done) => good += u64::from(done.response.is_ok()),
                Err(error) => panic!(
                    "seed {seed}, {sent} commands and {recent:#?}: {error}; running: {:?}; {}",
                    program.is_running(),
                    program.stderr()
                ),
            }
        }
        sent += u64::from(kick);
        assert_eq!(vm.display.fault(), None, "seed {seed}, {sent} commands and {recent:#?}");
    }
    assert!(good > all / 10, "only {good} of {all} were any good");
    reboot(&mut vm);
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 48);
    sheet.fill(&mut vm.driver, 0x12_3456);
    sheet.flip_to(&mut vm.driver, 0);
    crate::common::canvas::await_picture(&vm, 0, &sheet.picture);
    assert_eq!(program.terminate(crate::common::soon()).unwrap().code(), Some(0));
}

#[test]
fn whatever_is_commanded_is_answered_from_seed_1() {
    run(1);
}

#[test]
fn whatever_is_commanded_is_answered_from_seed_2() {
    run(2);
}

#[test]
fn whatever_is_commanded_is_answered_from_seed_3() {
    run(3);
}
