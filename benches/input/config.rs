//! A guest's look at the device: a hundred round trips on the control socket, as QEMU makes them.

use std::time::Instant;

use crate::floor::Echo;
use crate::series::Contest;
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// A message's header, offset, size and flags of the access, and the whole config.
const WHOLE: u8 = 12 + 12 + 136;
/// A header and a status.
const ACKNOWLEDGED: u8 = 12 + 8;

/// A Linux guest's questions, each.
pub fn probes(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let mut vm = Vm::boot(64)?;
    let reader = &vm.guest().machine.reader;
    let (reads, writes) = (reader.reads(), reader.writes());
    let trips = (reads + writes) as f64;
    let mut echo = Echo::start()?;
    let contest = Contest {
        ours: Box::new(move || {
            let started = Instant::now();
            vm.guest().machine.probe()?;
            Ok([started.elapsed().as_secs_f64() / trips])
        }),
        floor: Some(Box::new(move || {
            let started = Instant::now();
            for _ in 0..writes {
                echo.round(WHOLE.into(), ACKNOWLEDGED)?;
            }
            for _ in 0..reads {
                echo.round(WHOLE.into(), WHOLE)?;
            }
            Ok([started.elapsed().as_secs_f64() / trips])
        })),
        peer: None,
    };
    let [time] = contest.run(bench.time / 2)?;
    Ok(vec![Row::new(format!("config: each of {trips} round trips of a probe"), Unit::Time, time, Target::None)])
}
