//! A mouse that moves 8000 times a second, for as long as one likes: nothing may be lost.
//!
//! Each frame bears its number. A frame is lost where the number after it comes first, where it never comes, or where the
//! pipe has no room for it, as a kernel would drop it for a reader that does not read. The bench plays both the mouse and
//! the guest: while it does not get its processor neither of them does anything, and what the mouse would have said by then
//! is left out, but for some frames. So the frames a second say how much of the mouse there was. All run on one core: a
//! guest with few buffers has to be woken for every few events, and wake-ups across cores are the machine's to price.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use seat_frontend::Deadline;
use seat_frontend::input::{Event, InputDriver};
use seat_frontend::program::Measure;

use crate::floor::Floor;
use crate::records::{motion, records};
use crate::series::{Measured, Series};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

const PERIOD: Duration = Duration::from_micros(125);
/// Frames said at once where the bench comes late: as long as a neighbour's turn on the processor is.
const AT_ONCE: u64 = 32;
/// For what is under way when the mouse stops.
const LAST: Duration = Duration::from_secs(2);

/// The mouse, for guests with many and with few buffers.
pub fn eight_khz(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.together()?;
    // It only says what share of a processor is the least: a part of the time will do.
    let floor = floor(bench.mouse / 4)?;
    let mut rows = Vec::new();
    for size in [64, 4] {
        let run = ours(size, bench.mouse)?;
        let once = |value: f64| Measured { ours: Series::once(value), floor: None, peer: None };
        let seconds = bench.mouse.as_secs();
        let figure = format!("mouse of 8 kHz for {seconds} s, {size} buffers");
        let share = Measured { floor: Some(Series::once(floor.share)), ..once(run.share) };
        rows.push(Row::new(format!("{figure}: events lost"), Unit::Count, once(run.lost), Target::AtMost(0.0)));
        rows.push(Row::new("… frames that came, a second", Unit::Count, once(run.rate), Target::None));
        rows.push(Row::new("… share of a processor", Unit::Share, share, Target::None));
    }
    Ok(rows)
}

/// What came of it.
struct Run {
    /// Events.
    lost: f64,
    /// Frames a second.
    rate: f64,
    /// Processor time of the process by time.
    share: f64,
}

fn ours(size: u16, time: Duration) -> Result<Run> {
    let mut vm = Vm::boot(size)?;
    let pid = vm.role.pid();
    let guest = vm.guest();
    let mut seen = Seen::default();
    // From here on the guest is called for the next event.
    seen.take(&mut guest.machine.driver)?;
    let call = guest.machine.driver.event_ring().call_fd().try_clone_to_owned()?;
    let mut mouse = Mouse::new(guest.device.try_clone()?)?;
    let before = Measure::of(pid)?.cpu;
    let started = Instant::now();
    mouse.run(call.as_fd(), time, || seen.take(&mut guest.machine.driver))?;
    let (took, cpu) = (started.elapsed(), Measure::of(pid)?.cpu - before);
    let until = Deadline::after(LAST);
    while seen.frames < mouse.said && !until.passed() {
        mouse.wait(call.as_fd(), PollTimeout::from(10u16))?;
        seen.take(&mut guest.machine.driver)?;
    }
    let lost = (mouse.number - seen.frames) * 3;
    Ok(Run { lost: f64::from(lost), rate: f64::from(seen.frames) / took.as_secs_f64(), share: share(cpu, took) })
}

fn floor(time: Duration) -> Result<Run> {
    let floor = Floor::start()?;
    let mut mouse = Mouse::new(floor.device.try_clone()?)?;
    let before = Measure::of(floor.role.pid())?.cpu;
    let started = Instant::now();
    mouse.run(floor.call.as_fd(), time, || Ok(floor.call.read().map(drop)?))?;
    let (took, cpu) = (started.elapsed(), Measure::of(floor.role.pid())?.cpu - before);
    Ok(Run { lost: 0.0, rate: 0.0, share: share(cpu, took) })
}

fn share(cpu: Duration, took: Duration) -> f64 {
    cpu.as_secs_f64() / took.as_secs_f64()
}

/// The mouse.
struct Mouse {
    device: File,
    timer: TimerFd,
    /// The number of the last frame, and how many of them found room.
    number: i32,
    said: i32,
}

impl Mouse {
    fn new(device: File) -> Result<Mouse> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Mouse { device, timer, number: 0, said: 0 })
    }

    /// Moves for `time`; `called` each time that `call` is readable.
    fn run(&mut self, call: BorrowedFd<'_>, time: Duration, mut called: impl FnMut() -> Result<()>) -> Result<()> {
        let period = Expiration::Interval(TimeSpec::from_duration(PERIOD));
        self.timer.set(period, TimerSetTimeFlags::empty())?;
        let started = Instant::now();
        while started.elapsed() < time {
            let [ticked, is_called] = self.wait(call, PollTimeout::NONE)?;
            if ticked {
                let mut ticks = [0; 8];
                nix::unistd::read(&self.timer, &mut ticks)?;
                (0..u64::from_ne_bytes(ticks).min(AT_ONCE)).try_for_each(|_| self.say())?;
            }
            if is_called {
                called()?;
            }
        }
        Ok(self.timer.unset()?)
    }

    /// Whether a frame is due, and whether the guest is called.
    fn wait(&self, call: BorrowedFd<'_>, patience: PollTimeout) -> Result<[bool; 2]> {
        let mut fds = [self.timer.as_fd(), call].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, patience)?;
        Ok(fds.map(|fd| fd.any().unwrap_or(false)))
    }

    fn say(&mut self) -> Result<()> {
        self.number += 1;
        match self.device.write_all(&records(&motion(self.number))) {
            Ok(()) => self.said += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// What the guest has seen.
#[derive(Default)]
struct Seen {
    /// Whole frames.
    frames: i32,
    /// The number of the last one.
    number: i32,
    /// Its events that have come.
    begun: usize,
}

impl Seen {
    /// Takes all that is there, and asks to be called for what comes next.
    fn take(&mut self, driver: &mut InputDriver) -> Result<()> {
        driver.event_ring().interrupts();
        loop {
            while let Some(event) = driver.poll_event()? {
                self.event(event)?;
            }
            driver.event_ring().enable_interrupts();
            if !driver.event_ring().has_used() {
                return Ok(());
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<()> {
        if self.begun == 0 && event.value > self.number {
            self.number = event.value;
        }
        if event != motion(self.number)[self.begun] {
            return Err(format!("after {} events of frame {} came {event:?}", self.begun, self.number).into());
        }
        self.begun = (self.begun + 1) % 3;
        self.frames += i32::from(self.begun == 0);
        Ok(())
    }
}
