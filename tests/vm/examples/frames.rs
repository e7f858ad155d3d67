//! What a guest gets: frames a second, and processor time a frame, on QEMU's in-process gpu, on its packaged back end and
//! on ours, side by side.
//!
//!     make bench-vm
//!     cargo run --release -p seat-vm --example frames -- [--rounds=N] BACK_END…
//!
//! All machines are booted first and then take turns,
//! so that what else this computer does falls on all of them. A figure is the median of the rounds; the least and the
//! most stand in brackets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use seat_vm::{Backend, Config, Error, Gpu, Lab, Result, Vm};

const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];
/// About how long one figure is measured, and the frames that are shown to find out how many that takes.
const RUN: Duration = Duration::from_secs(1);
const TRIAL_FRAMES: u64 = 10;
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);

/// What the guest does for each frame.
struct Verb {
    command: &'static str,
    change: &'static str,
    text: &'static str,
    /// The column that ours is to be compared with.
    against: &'static str,
    target: Option<f64>,
}

const IN_PROCESS: &str = "in-process";
const PACKAGED: &str = "packaged";

/// A redraw has no target: there the guest's own drawing is in the time, and in-process is no 2.5 times packaged.
#[rustfmt::skip]
const VERBS: [Verb; 4] = [
    Verb { command: "flip-bench",  change: "all",   text: "flip to another picture", against: PACKAGED,  target: Some(2.5) },
    Verb { command: "dirty-bench", change: "all",   text: "redraw all, DIRTYFB",     against: PACKAGED,  target: None },
    Verb { command: "flip-bench",  change: "small", text: "flip, 16x16 differ",      against: IN_PROCESS, target: Some(0.7) },
    Verb { command: "dirty-bench", change: "small", text: "redraw 16x16, DIRTYFB",   against: IN_PROCESS, target: Some(0.7) },
];

fn main() -> ExitCode {
    let mut rounds = ROUNDS;
    let mut programs = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("--rounds=").map(str::parse) {
            Some(Ok(number @ 1..)) => rounds = number,
            None if !argument.starts_with('-') => programs.push(PathBuf::from(argument)),
            _ => programs.clear(),
        }
    }
    if programs.is_empty() {
        eprintln!("usage: frames [--rounds=N] BACK_END…");
        return ExitCode::from(2);
    }
    match run(&programs, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frames: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(programs: &[PathBuf], rounds: usize) -> Result<()> {
    let lab = Lab::prepare()?;
    let mut subjects = vec![Subject::boot(IN_PROCESS, None, lab)?];
    match Backend::packaged() {
        Ok(program) => subjects.push(Subject::boot(PACKAGED, Some(&program), lab)?),
        Err(Error::Missing(what)) => println!("(left out: {what})"),
        Err(error) => return Err(error),
    }
    for program in programs {
        let name = if programs.len() == 1 { "ours".to_owned() } else { program.display().to_string() };
        subjects.push(Subject::boot(&name, Some(program), lab)?);
    }
    println!("{}; {rounds} rounds", machine());
    for size in SIZES {
        for subject in &mut subjects {
            subject.vm.guest(&format!("show 1 {0}x{1} 0={0}x{1}+0+0", size.0, size.1))?;
        }
        print_heading(size, &subjects);
        for verb in &VERBS {
            measure(verb, &mut subjects, rounds)?;
            print_rows(verb, &subjects);
        }
    }
    Ok(())
}

/// A machine on one kind of gpu, with what was measured last.
struct Subject {
    name: String,
    vm: Vm,
    backend: Option<Backend>,
    rate: Vec<f64>,
    qemu: Vec<f64>,
    own: Vec<f64>,
}

impl Subject {
    fn boot(name: &str, program: Option<&Path>, lab: &Lab) -> Result<Self> {
        let backend = program.map(|program| Backend::start(program, &[])).transpose()?;
        let gpu = backend.as_ref().map_or(Gpu::InProcess, |backend| Gpu::vhost_user(backend.socket()));
        let mut vm = Config::new(gpu).no_text_console().boot(lab)?;
        vm.set_patience(PATIENCE);
        Ok(Subject { name: name.to_owned(), vm, backend, rate: Vec::new(), qemu: Vec::new(), own: Vec::new() })
    }

    /// How many frames take about [`RUN`].
    fn frames_for(&mut self, verb: &Verb) -> Result<u64> {
        let took = self.show(verb, TRIAL_FRAMES)?;
        let frames = RUN.as_secs_f64() / took.as_secs_f64() * TRIAL_FRAMES as f64;
        Ok((frames as u64).clamp(TRIAL_FRAMES, 20_000))
    }

    fn round(&mut self, verb: &Verb, frames: u64) -> Result<()> {
        let (qemu, own) = (self.vm.qemu().cpu_time()?, self.own_time()?);
        let took = self.show(verb, frames)?;
        let each = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1000.0 / frames as f64;
        self.qemu.push(each(self.vm.qemu().cpu_time()?, qemu));
        self.own.push(each(self.own_time()?, own));
        self.rate.push(frames as f64 / took.as_secs_f64());
        Ok(())
    }

    fn show(&mut self, verb: &Verb, frames: u64) -> Result<Duration> {
        let answer = self.vm.guest(&format!("{} 0 {frames} {}", verb.command, verb.change))?;
        Ok(Duration::from_nanos(answer["ns"].as_u64().unwrap_or(0).max(1)))
    }

    fn own_time(&self) -> Result<Duration> {
        self.backend.as_ref().map_or(Ok(Duration::ZERO), |backend| backend.process().cpu_time())
    }
}

fn measure(verb: &Verb, subjects: &mut [Subject], rounds: usize) -> Result<()> {
    let mut frames = Vec::new();
    for subject in &mut *subjects {
        (subject.rate, subject.qemu, subject.own) = Default::default();
        frames.push(subject.frames_for(verb)?);
    }
    for _ in 0..rounds {
        for (subject, &frames) in subjects.iter_mut().zip(&frames) {
            subject.round(verb, frames)?;
        }
    }
    Ok(())
}

fn print_heading((width, height): (u32, u32), subjects: &[Subject]) {
    print!("\n{:<26}", format!("{width}x{height}"));
    subjects.iter().for_each(|subject| print!(" | {:>19}", subject.name));
    println!(" | ratio, target");
}

fn print_rows(verb: &Verb, subjects: &[Subject]) {
    print!("{:<26}", verb.text);
    for subject in subjects {
        let (least, most) = ends(&subject.rate);
        print!(" | {:>19}", format!("{:.0} ({least:.0}-{most:.0})", median(&subject.rate)));
    }
    let name = verb.against;
    let other = subjects.iter().find(|subject| subject.name == name);
    if let (Some(other), Some(ours)) = (other, subjects.last()) {
        let ratio = median(&ours.rate) / median(&other.rate);
        print!(" | {ratio:.2} x {name}");
        if let Some(target) = verb.target {
            print!(", {target} {}", if ratio >= target { "met" } else { "missed" });
        }
    }
    print!("\n{:<26}", "  CPU ms: QEMU + back end");
    for subject in subjects {
        let own = subject.backend.as_ref().map_or(String::new(), |_| format!(" + {:.2}", median(&subject.own)));
        print!(" | {:>19}", format!("{:.2}{own}", median(&subject.qemu)));
    }
    println!(" |");
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ends(figures: &[f64]) -> (f64, f64) {
    figures.iter().fold((f64::INFINITY, 0.0), |(least, most), &f| (f.min(least), f.max(most)))
}

/// What the figures were taken on.
fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = file("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = file("/proc/sys/kernel/osrelease");
    format!("{}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), release.trim())
}
