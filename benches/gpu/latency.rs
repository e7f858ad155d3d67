//! Commands without pixels: how long one takes, and how many go through.

use seat_frontend::gpu::{Command, Rect, format};

use crate::floor::PingPong;
use crate::series::{Contest, Sampler, quantile};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// Round trips in one sample.
const BLOCK: usize = 400;
/// Commands in one sample of a batch's rate.
const COMMANDS: usize = 4096;

/// A command that needs no pixels and no display: a flush of a resource that nobody shows.
const SMALL: Command<'static> = Command::ResourceFlush { rect: Rect::new(0, 0, 64, 64), resource_id: 1 };

/// A machine for [`SMALL`].
pub fn machine(binary: &std::path::Path) -> Result<Vm> {
    let mut vm = Vm::boot(binary, 16 << 20)?;
    vm.guest().driver.create_2d(1, format::B8G8R8X8, 64, 64)?.ok()?;
    Ok(vm)
}

/// One small command there and back.
pub fn one(vm: &mut Vm) -> Result<f64> {
    Ok(vm.guest().batch(&SMALL, 1)?.as_secs_f64())
}

/// One command at a time: from the kick to the call.
pub fn round_trip(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    let block = |mut one: Box<dyn FnMut() -> Result<f64>>| -> Sampler<'static, 2> {
        Box::new(move || {
            let times = (0..BLOCK).map(|_| one()).collect::<Result<Vec<f64>>>()?;
            Ok([quantile(&times, 0.5), quantile(&times, 0.99)])
        })
    };
    let of = |binary: &std::path::Path| -> Result<Sampler<'static, 2>> {
        let mut vm = machine(binary)?;
        Ok(block(Box::new(move || one(&mut vm))))
    };
    let mut ping_pong = PingPong::start()?;
    let contest = Contest {
        ours: of(bench.ours)?,
        floor: Some(block(Box::new(move || Ok(ping_pong.round()?.as_secs_f64())))),
        peer: bench.peer.as_deref().map(of).transpose()?,
    };
    let [middle, slowest] = contest.run(bench.time)?;
    Ok(vec![
        Row::new("command round trip, p50", Unit::Time, middle, Target::Floor(1.15)),
        Row::new("command round trip, p99", Unit::Time, slowest, Target::None),
    ])
}

/// Many commands a kick.
pub fn batches(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    [16u16, 64].into_iter().map(|size| batch(bench, size)).collect()
}

fn batch(bench: &Bench, size: u16) -> Result<Row> {
    let of = |binary: &std::path::Path| -> Result<Sampler<'static, 1>> {
        let mut vm = machine(binary)?;
        Ok(Box::new(move || {
            let rounds = COMMANDS / usize::from(size);
            let mut seconds = 0.0;
            for _ in 0..rounds {
                seconds += vm.guest().batch(&SMALL, size)?.as_secs_f64();
            }
            Ok([(rounds * usize::from(size)) as f64 / seconds])
        }))
    };
    let contest = Contest { ours: of(bench.ours)?, floor: None, peer: bench.peer.as_deref().map(of).transpose()? };
    let [rate] = contest.run(bench.time / 2)?;
    Ok(Row::new(format!("small commands, {size} a kick"), Unit::Rate, rate, Target::Peer(2.5)))
}
