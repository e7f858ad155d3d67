//! What must not cost more because the guest has much of it: live resources, pieces of backing.
//!
//! A sample is the ratio of two machines that differ in nothing else, taken one right after the other.

use std::path::Path;

use seat_frontend::gpu::{Backing, Command, MemEntry, Rect, format};
use seat_frontend::memory::PAGE;

use crate::series::{Contest, Sampler, quantile};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// More than this is not flat.
const FLAT: Target = Target::AtMost(1.2);

const RESOURCES: u32 = 10_000;
const BATCH: u16 = 64;
const BATCHES: usize = 20;

/// Commands for the oldest of 10,000 resources, beside the only one.
pub fn resources(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let of = |binary: &Path| -> Result<Sampler<'static, 1>> {
        let (mut one, mut many) = (with_resources(binary, 1)?, with_resources(binary, RESOURCES)?);
        Ok(Box::new(move || Ok([flushes(&mut many)? / flushes(&mut one)?])))
    };
    let contest = Contest { ours: of(bench.ours)?, floor: None, peer: bench.peer.as_deref().map(of).transpose()? };
    let [ratio] = contest.run(bench.time / 2)?;
    Ok(vec![Row::new("cost with 10,000 resources against 1", Unit::Times, ratio, FLAT)])
}

fn with_resources(binary: &Path, count: u32) -> Result<Vm> {
    let mut vm = Vm::boot(binary, 16 << 20)?;
    for resource_id in 1..=count {
        vm.guest().driver.queue(&Command::ResourceCreate2d {
            resource_id,
            format: format::B8G8R8X8,
            width: 4,
            height: 4,
        })?;
        if resource_id % 32 == 0 || resource_id == count {
            vm.guest().driver.kick();
            vm.guest().driver.finish_all()?;
        }
    }
    Ok(vm)
}

fn flushes(vm: &mut Vm) -> Result<f64> {
    let command = Command::ResourceFlush { rect: Rect::new(0, 0, 4, 4), resource_id: 1 };
    let times = (0..BATCHES).map(|_| Ok(vm.guest().batch(&command, BATCH)?.as_secs_f64()));
    Ok(quantile(&times.collect::<Result<Vec<f64>>>()?, 0.5))
}

/// Together 8192 pages.
const WIDTH: u32 = 2048;
const HEIGHT: u32 = 4096;
const PAGES: u64 = WIDTH as u64 * HEIGHT as u64 * 4 / PAGE;
/// Most of each row, as a window on the screen is: who looks every row up from the first page pays for it.
const PART: Rect = Rect::new(64, 0, WIDTH - 128, HEIGHT);

/// A transfer out of 8192 pages that lie anywhere, beside the same out of one piece.
pub fn backing(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let of = |binary: &Path| -> Result<Sampler<'static, 1>> {
        let (mut one, mut many) = (with_backing(binary, false)?, with_backing(binary, true)?);
        Ok(Box::new(move || Ok([transfer(&mut many)? / transfer(&mut one)?])))
    };
    let contest = Contest { ours: of(bench.ours)?, floor: None, peer: bench.peer.as_deref().map(of).transpose()? };
    let [ratio] = contest.run(bench.time)?;
    Ok(vec![Row::new("cost with 8192 pieces of backing against 1", Unit::Times, ratio, FLAT)])
}

fn with_backing(binary: &Path, scattered: bool) -> Result<Vm> {
    let mut vm = Vm::boot(binary, 48 << 20)?;
    let memory = vm.guest().driver.memory().clone();
    let start = vm.guest().driver.pages().alloc(PAGES * PAGE)?;
    let entries = match scattered {
        // An odd step visits each page once, and no two neighbours in a row.
        true => (0..PAGES).map(|n| MemEntry { addr: start + n * 3001 % PAGES * PAGE, len: PAGE as u32 }).collect(),
        false => vec![MemEntry { addr: start, len: (PAGES * PAGE) as u32 }],
    };
    let backing = Backing::from_entries(&memory, entries);
    memory.fill(start, PAGES * PAGE, 7);
    vm.guest().driver.create_with_backing(1, format::B8G8R8X8, (WIDTH, HEIGHT), backing.entries())?;
    transfer(&mut vm)?;
    Ok(vm)
}

fn transfer(vm: &mut Vm) -> Result<f64> {
    let command = Command::TransferToHost2d { rect: PART, offset: u64::from(PART.x) * 4, resource_id: 1 };
    Ok(vm.guest().batch(&command, 1)?.as_secs_f64())
}
