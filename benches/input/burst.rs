//! As much at once as one read brings: how many events go through, and what each costs.

use std::time::Duration;

use seat_frontend::program::Measure;

use crate::floor::Floor;
use crate::records::{full_read, records};
use crate::series::{Contest, Sampler};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// Bursts in one sample.
const BLOCK: u32 = 64;
/// More than a burst takes, so that the guest is never the one that is waited for.
const BUFFERS: u16 = 1024;

/// Bursts of 64 events.
pub fn bursts(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let events = full_read();
    let records = records(&events);
    let all = f64::from(BLOCK) * events.len() as f64;
    let block = |pid: u32, mut one: Box<dyn FnMut() -> Result<Duration>>| -> Sampler<'static, 2> {
        Box::new(move || {
            let before = Measure::of(pid)?.cpu;
            let times = (0..BLOCK).map(|_| one()).sum::<Result<Duration>>()?;
            let cpu = Measure::of(pid)?.cpu - before;
            Ok([all / times.as_secs_f64(), cpu.as_secs_f64() / all])
        })
    };
    let (mut vm, mut floor) = (Vm::boot(BUFFERS)?, Floor::start()?);
    let bytes = records.clone();
    let contest = Contest {
        ours: block(vm.role.pid(), Box::new(move || vm.guest().events(&records, &events))),
        floor: Some(block(floor.role.pid(), Box::new(move || floor.events(&bytes)))),
        peer: None,
    };
    let [rate, cpu] = contest.run(bench.time)?;
    Ok(vec![
        Row::new("events, 64 at once", Unit::Rate, rate, Target::None),
        Row::new("… processor time each", Unit::Time, cpu, Target::None),
    ])
}
