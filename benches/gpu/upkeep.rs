//! What is not time: system calls, heap calls, memory, wake-ups. And the time of a start.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use seat_frontend::control::FrontEnd;
use seat_frontend::gpu::Rect;
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::{Measure, Program};
use vhost_seat::backend;
use vhost_seat::gpu::{Gpu, Options};
use vhost_seat::socket::Endpoint;

use crate::series::{Contest, Measured, Sampler, Series};
use crate::table::{Row, Target, Unit};
use crate::vm::{Guest, Vm};
use crate::{Bench, Result, heap, latency, strace};

const COMMANDS: u32 = 2000;
const TRACED: u32 = 500;
const PAUSE: Duration = Duration::from_millis(1);

/// System calls and heap calls a command, one at a time.
pub fn calls(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let heap = Series::once(heap_calls()?);
    let mut rows = vec![Row::new(
        "heap calls a command",
        Unit::Count,
        Measured { ours: heap, floor: None, peer: None },
        Target::AtMost(0.0),
    )];
    let counted = bench.programs().map(system_calls).collect::<Result<Vec<_>>>();
    match counted {
        Ok(counted) => {
            let mut counted = counted.into_iter().map(Series::once);
            let ours = counted.next().unwrap_or_default();
            let measured = Measured { ours, floor: None, peer: counted.next() };
            rows.push(Row::new("system calls a command", Unit::Count, measured, Target::AtMost(3.0)));
        }
        Err(error) => eprintln!("system calls are not counted: {error} (Debian: apt install strace)"),
    }
    Ok(rows)
}

/// With a pause after each command: a traced program is so slow that the next command would come before it looks for
/// sleep, and what a command costs alone would not be seen.
fn system_calls(binary: &Path) -> Result<f64> {
    let mut vm = latency::machine(binary)?;
    let pid = vm.program.pid();
    let mut command = || -> Result<()> {
        latency::one(&mut vm)?;
        std::thread::sleep(PAUSE);
        Ok(())
    };
    let count = strace::count(pid, || (0..TRACED).try_for_each(|_| command()))?;
    Ok(count as f64 / f64::from(TRACED))
}

/// Transfers and flushes of changed pixels and cursor moves, in steady state.
fn heap_calls() -> Result<f64> {
    const SIDE: u32 = 256;
    let (front, theirs) = FrontEnd::pair()?;
    let back_end = std::thread::spawn(move || {
        heap::count_this_thread();
        let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK)?;
        let gpu = Gpu::new(Options::new(64 << 20));
        backend::serve(gpu, Endpoint::Connected(theirs), signals).map_err(std::io::Error::other)
    });
    let mut guest = Guest::boot(front, &GuestMemory::flat(16 << 20)?)?;
    let backing = guest.show(1, SIDE, SIDE)?;
    let rect = Rect::new(0, 0, SIDE, SIDE);
    let mut work = |turns: u32| -> Result<()> {
        for turn in 0..turns {
            backing.write(u64::from(turn % SIDE) * 4, &[turn as u8; 1024]);
            guest.driver.transfer_and_flush(1, rect, 0)?;
            guest.driver.move_cursor(0, 0, (turn, turn))?;
        }
        Ok(())
    };
    work(100)?;
    let before = heap::calls();
    work(COMMANDS)?;
    let calls = heap::calls() - before;
    drop(guest);
    back_end.join().map_err(|_| "the back end panicked")??;
    Ok(calls as f64 / f64::from(3 * COMMANDS))
}

/// From exec to the first answer on the control socket.
pub fn start(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let of = |binary: &Path| -> Sampler<'static, 1> {
        let binary = binary.to_owned();
        Box::new(move || {
            let started = Instant::now();
            let (_program, mut front) = Program::on_fd(&binary, &[])?;
            front.get_features()?;
            Ok([started.elapsed().as_secs_f64()])
        })
    };
    let contest = Contest { ours: of(bench.ours), floor: None, peer: bench.peer.as_deref().map(of) };
    let [time] = contest.run(bench.time / 5)?;
    Ok(vec![Row::new("from exec to the first answer", Unit::Time, time, Target::AtMost(0.003))])
}

/// A guest that has booted and does nothing.
pub fn idle(bench: &Bench) -> Result<Vec<Row>> {
    let vms = bench.programs().map(|path| Vm::boot(path, 16 << 20)).collect::<Result<Vec<_>>>()?;
    let measure = || vms.iter().map(|vm| vm.program.measure()).collect::<seat_frontend::Result<Vec<Measure>>>();
    // What booting still has to settle.
    std::thread::sleep(bench.idle / 5);
    let before = measure()?;
    std::thread::sleep(bench.idle);
    let after = measure()?;
    let row = |figure: String, unit: Unit, most: f64, of: &dyn Fn(&Measure, &Measure) -> u64| {
        let mut values = before.iter().zip(&after).map(|(before, after)| Series::once(of(before, after) as f64));
        let ours = values.next().unwrap_or_default();
        let measured = Measured { ours, floor: None, peer: values.next() };
        Row::new(figure, unit, measured, Target::AtMost(most))
    };
    let seconds = bench.idle.as_secs_f64();
    Ok(vec![
        row(format!("idle: wake-ups in {seconds} s"), Unit::Count, 0.0, &|before, after| {
            after.voluntary_switches - before.voluntary_switches
        }),
        row("idle: resident".to_owned(), Unit::Bytes, f64::from(4 << 20), &|_, after| after.resident),
    ])
}
