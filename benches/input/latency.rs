//! One frame at a time: from the device to the guest's call.

use std::time::Duration;

use seat_frontend::input::Event;

use crate::floor::Floor;
use crate::records::{key, motion, records};
use crate::series::{Contest, Measured, Sampler, quantile};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// Frames in one sample.
const BLOCK: usize = 400;
const TARGET: Target = Target::Floor(1.2);

/// Frames of a mouse and of a keyboard, for guests with many and with few buffers.
pub fn frames(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let mut rows = Vec::new();
    for (name, frames) in [("mouse", [motion(1); 2]), ("key", [key(true), key(false)])] {
        for size in [64, 4] {
            let [middle, slowest] = frame(bench, frames, size)?;
            let figure = format!("{name} frame to call, {size} buffers");
            rows.push(Row::new(format!("{figure}, p50"), Unit::Time, middle, TARGET));
            rows.push(Row::new(format!("{figure}, p99"), Unit::Time, slowest, TARGET));
        }
    }
    Ok(rows)
}

/// The two frames in turn.
fn frame(bench: &Bench, frames: [[Event; 3]; 2], size: u16) -> Result<[Measured; 2]> {
    let mut vm = Vm::boot(size)?;
    let mut floor = Floor::start()?;
    let contest = Contest {
        ours: block(frames, move |records, events| vm.guest().events(records, events)),
        floor: Some(block(frames, move |records, _| floor.events(records))),
        peer: None,
    };
    contest.run(bench.time)
}

fn block(
    frames: [[Event; 3]; 2],
    mut one: impl FnMut(&[u8], &[Event]) -> Result<Duration> + 'static,
) -> Sampler<'static, 2> {
    let frames = frames.map(|events| (records(&events), events));
    Box::new(move || {
        let times = frames.iter().cycle().take(BLOCK).map(|(records, events)| Ok(one(records, events)?.as_secs_f64()));
        let times = times.collect::<Result<Vec<f64>>>()?;
        Ok([quantile(&times, 0.5), quantile(&times, 0.99)])
    })
}
