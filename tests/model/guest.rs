//! A guest that does whatever comes to its mind: random commands, most of them sensible, some of them not.

use std::fmt;

use seat_frontend::gpu::{Command, MemEntry, Rect, cmd, format};

use crate::common::random::Random;
use crate::reference::Reference;

/// Where backing may lie: a range that crosses from one region into the next, and a region that comes and goes.
#[derive(Clone, Copy)]
pub struct Arena {
    pub start: u64,
    pub len: u64,
    pub extra: u64,
    pub extra_len: u64,
}

/// How large resources are, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Some tiles.
    Small,
    /// So large that a transfer takes more than one turn of the device.
    Large,
}

/// A command that owns its list.
#[derive(Clone)]
pub enum Owned {
    Plain(Command<'static>),
    Attach(u32, Vec<MemEntry>),
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owned::Plain(command) => command.fmt(f),
            Owned::Attach(id, entries) => {
                let bytes: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
                write!(f, "Attach {{ resource_id: {id}, {} entries, {bytes} bytes }}", entries.len())
            }
        }
    }
}

impl Owned {
    pub fn command(&self) -> Command<'_> {
        match self {
            Owned::Plain(command) => *command,
            Owned::Attach(resource_id, entries) => Command::AttachBacking { resource_id: *resource_id, entries },
        }
    }

    /// Whether its answer comes from the display.
    pub fn asks_the_display(&self) -> bool {
        matches!(self, Owned::Plain(Command::GetDisplayInfo | Command::GetEdid { .. }))
    }
}

/// Scanouts that it uses; the others are the test's.
pub const SCANOUTS: u32 = 15;
/// Ids that it uses, beside wrong ones.
const IDS: u32 = 12;

/// The next command.
pub fn command(random: &mut Random, device: &Reference, arena: Arena, scale: Scale) -> Owned {
    let resource_id = id(random, device);
    let scanout_id = scanout(random);
    let size = device.size(resource_id).unwrap_or((100, 50));
    Owned::Plain(match random.below(100) {
        0..12 => create(random, resource_id, scale),
        12..17 => Command::ResourceUnref { resource_id },
        17..32 => {
            let resource_id = if random.once_in(8) { 0 } else { resource_id };
            Command::SetScanout { rect: shown_part(random, size), scanout_id, resource_id }
        }
        32..52 => Command::ResourceFlush { rect: rect(random, size), resource_id },
        52..75 => {
            let rect = rect(random, size);
            Command::TransferToHost2d { rect, offset: offset(random, rect, size), resource_id }
        }
        75..86 => return Owned::Attach(resource_id, entries(random, size, arena)),
        86..89 => Command::DetachBacking { resource_id },
        89..91 => Command::AssignUuid { resource_id },
        91..92 => Command::GetDisplayInfo,
        92..93 => Command::GetEdid { scanout: scanout_id },
        93..98 => cursor(random, resource_id, scanout_id),
        _ => other(random),
    })
}

/// A command of the cursor queue.
pub fn cursor_command(random: &mut Random, device: &Reference) -> Command<'static> {
    let (resource_id, scanout_id) = (id(random, device), scanout(random));
    cursor(random, resource_id, scanout_id)
}

fn id(random: &mut Random, device: &Reference) -> u32 {
    let ids = device.ids();
    match random.below(10) {
        0 => [0, u32::MAX, IDS + 1][random.below(3) as usize],
        1..4 => random.between(1, IDS),
        _ if ids.is_empty() => random.between(1, IDS),
        _ => ids[random.below(ids.len() as u32) as usize],
    }
}

fn scanout(random: &mut Random) -> u32 {
    match random.below(40) {
        0 => [16, 17, u32::MAX][random.below(3) as usize],
        // Mostly a few, so that things happen to them.
        1..30 => random.below(4),
        _ => random.below(SCANOUTS),
    }
}

fn create(random: &mut Random, resource_id: u32, scale: Scale) -> Command<'static> {
    let format = if random.once_in(20) { random.below(140) } else { format::ALL[random.below(8) as usize] };
    let (width, height) = match random.below(30) {
        0 => (0, 10),
        1 => (10, 0),
        2 => (u32::MAX, u32::MAX),
        3 => (32767, 32767),
        4 => (32768, 1),
        5 => (1, random.between(100, 400)),
        6 => (random.between(500, 1500), random.between(1, 8)),
        7..12 => (64, 64),
        12..18 => (128, 48),
        18..22 => (random.between(1, 64), random.between(1, 64)),
        _ if scale == Scale::Large => (random.between(200, 800), random.between(100, 400)),
        _ => (random.between(1, 200), random.between(1, 90)),
    };
    Command::ResourceCreate2d { resource_id, format, width, height }
}

/// A part of a resource, or all of it; now and then one that is not.
fn rect(random: &mut Random, (width, height): (u32, u32)) -> Rect {
    match random.below(20) {
        0 => Rect::new(random.below(2 * width), random.below(2 * height), random.below(width + 9), random.below(99)),
        1 => Rect::new(u32::MAX - random.below(9), 0, 1 + random.below(19), 1),
        2 => Rect::new(random.below(width), random.below(height), 0, 0),
        3..10 => Rect::new(0, 0, width, height),
        _ => inner(random, (width, height)),
    }
}

fn shown_part(random: &mut Random, size: (u32, u32)) -> Rect {
    match random.below(20) {
        0 => Rect::new(0, 0, size.0 + 1, size.1),
        1 => Rect::new(0, 0, 0, size.1),
        2..12 => Rect::new(0, 0, size.0, size.1),
        _ => inner(random, size),
    }
}

fn inner(random: &mut Random, (width, height): (u32, u32)) -> Rect {
    let (x, y) = (random.below(width), random.below(height));
    Rect::new(x, y, random.between(1, width - x), random.between(1, height - y))
}

/// Where the rectangle's pixels begin: where Linux has them, or anywhere.
fn offset(random: &mut Random, rect: Rect, size: (u32, u32)) -> u64 {
    match random.below(12) {
        0 => u64::MAX - u64::from(random.below(9000)),
        1 => random.below(50_000).into(),
        2 => 0,
        _ => (u64::from(rect.y) * u64::from(size.0) + u64::from(rect.x)) * 4,
    }
}

/// Backing for a resource: mostly enough, in pieces of any length anywhere.
fn entries(random: &mut Random, (width, height): (u32, u32), arena: Arena) -> Vec<MemEntry> {
    let need = width * height * 4;
    let mut left = if random.once_in(10) { random.below(need + 1) } else { need + random.below(3) * 100 };
    let longest = [1 + need, 4096, 300, 64][random.below(4) as usize].max(need / 100);
    let mut list = Vec::new();
    while left > 0 && list.len() < 300 {
        let len = random.between(1, longest).min(left).min(60_000);
        let extra = random.once_in(60);
        let (start, room) = if extra { (arena.extra, arena.extra_len) } else { (arena.start, arena.len) };
        list.push(MemEntry { addr: start + u64::from(random.below((room - u64::from(len)) as u32)), len });
        left -= len;
    }
    if random.once_in(25) {
        list.push(MemEntry { addr: 0x60_0000_0000 + random.next() % 99, len: 16 });
    }
    list
}

fn cursor(random: &mut Random, resource_id: u32, scanout_id: u32) -> Command<'static> {
    let (x, y) = (random.below(2000), random.below(2000));
    if random.once_in(2) {
        return Command::MoveCursor { scanout_id, x, y, resource_id };
    }
    let resource_id = if random.once_in(5) { 0 } else { resource_id };
    let (hot_x, hot_y) = (random.below(70), random.below(70));
    Command::UpdateCursor { scanout_id, x, y, resource_id, hot_x, hot_y }
}

/// What this device does not do.
fn other(random: &mut Random) -> Command<'static> {
    match random.below(4) {
        0 => Command::GetCapsetInfo { index: 0 },
        1 => Command::GetCapset { id: 1, version: 0 },
        2 => Command::Raw { kind: cmd::CTX_CREATE, body: &[0; 72], tail: &[] },
        _ => Command::Raw { kind: random.next() as u32 | 0x1000, body: &[0; 64], tail: &[] },
    }
}
