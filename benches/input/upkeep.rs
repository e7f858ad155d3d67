//! What is not time: system calls, heap calls, memory, wake-ups.

use std::time::Duration;

use seat_frontend::control::FrontEnd;
use seat_frontend::program::Measure;

use crate::floor::Floor;
use crate::records::{key, motion, records};
use crate::series::{Measured, Series};
use crate::table::{Row, Target, Unit};
use crate::vm::{Guest, Vm, back_end, pipe};
use crate::{Bench, Result, heap, strace};

const FRAMES: usize = 2000;
const TRACED: u32 = 500;
const PAUSE: Duration = Duration::from_millis(1);

fn once(value: f64) -> Measured {
    Measured { ours: Series::once(value), floor: None, peer: None }
}

/// System calls and heap calls, one frame at a time.
pub fn calls(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let mut rows = vec![Row::new("heap calls an event", Unit::Count, once(heap_calls()?), Target::AtMost(0.0))];
    match system_calls() {
        Ok([ours, floor]) => {
            let measured = Measured { floor: Some(Series::once(floor)), ..once(ours) };
            rows.push(Row::new("system calls a frame", Unit::Count, measured, Target::AtMost(3.0)));
        }
        Err(error) => eprintln!("system calls are not counted: {error} (Debian: apt install strace)"),
    }
    Ok(rows)
}

/// With a pause after each frame: a traced program is so slow that the next one would come before it looks for sleep, and
/// what a frame costs alone would not be seen.
fn system_calls() -> Result<[f64; 2]> {
    let events = motion(1);
    let records = records(&events);
    let each = |pid: u32, frame: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let count = strace::count(pid, || {
            (0..TRACED).try_for_each(|_| {
                frame()?;
                std::thread::sleep(PAUSE);
                Ok(())
            })
        })?;
        Ok(count as f64 / f64::from(TRACED))
    };
    let (mut vm, mut floor) = (Vm::boot(64)?, Floor::start()?);
    floor.events(&records)?;
    Ok([
        each(vm.role.pid(), &mut || vm.guest().events(&records, &events).map(drop))?,
        each(floor.role.pid(), &mut || floor.events(&records).map(drop))?,
    ])
}

/// Frames of a mouse and of a keyboard, the back end in a thread of this process.
fn heap_calls() -> Result<f64> {
    let (front, control) = FrontEnd::pair()?;
    let (events, device) = pipe()?;
    let back_end = std::thread::spawn(move || {
        heap::count_this_thread();
        back_end(events, control).map_err(|error| error.to_string())
    });
    let mut guest = Guest::boot(front, device, 64)?;
    let frames = [motion(1), key(true), motion(-1), key(false)].map(|events| (records(&events), events));
    let mut work = |turns: usize| {
        let mut turns = frames.iter().cycle().take(turns);
        turns.try_for_each(|(records, events)| guest.events(records, events).map(drop))
    };
    work(100)?;
    let before = heap::calls();
    work(FRAMES)?;
    let calls = heap::calls() - before;
    drop(guest);
    back_end.join().map_err(|_| "the back end panicked")??;
    Ok(calls as f64 / (3 * FRAMES) as f64)
}

/// A guest that has booted, and a device that says nothing.
pub fn idle(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let vm = Vm::boot(64)?;
    // What booting still has to settle.
    std::thread::sleep(bench.idle / 5);
    let before = Measure::of(vm.role.pid())?;
    std::thread::sleep(bench.idle);
    let after = Measure::of(vm.role.pid())?;
    let wakes = after.voluntary_switches - before.voluntary_switches;
    let seconds = bench.idle.as_secs_f64();
    let most = Target::AtMost(f64::from(4 << 20));
    Ok(vec![
        Row::new(format!("idle: wake-ups in {seconds} s"), Unit::Count, once(wakes as f64), Target::AtMost(0.0)),
        Row::new("idle: resident (the bench's own child)", Unit::Bytes, once(after.resident as f64), most),
    ])
}
