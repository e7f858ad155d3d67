//! What a guest gets: frames a second, and processor time a frame, with QEMU's in-process gpu, its packaged back end and
//! the back ends named on the command line, in one run.
//!
//!     cargo run --release -p seat-vm --example frames -- target/release/vhost-user-gpu

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use seat_vm::{Backend, Config, Error, Gpu, Lab, Result, Vm};

const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];
/// What is told to the guest, and what the table calls it. A flip shows another buffer; DIRTYFB stays in one.
const VERBS: [(&str, &str); 3] = [("flip-bench", "all"), ("flip-bench", "small"), ("dirty-bench", "small")];
/// About how long one figure is measured, and the frames that are shown to find out how many that takes.
const RUN: Duration = Duration::from_secs(2);
const TRIAL_FRAMES: u64 = 10;

fn main() -> ExitCode {
    let programs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match run(&programs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frames: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(programs: &[PathBuf]) -> Result<()> {
    let lab = Lab::prepare()?;
    println!("all pixels, or a 16x16 square       |   frames/s | CPU ms a frame: QEMU | back end");
    measure("in-process virtio-gpu-pci", lab, None)?;
    match Backend::packaged() {
        Ok(program) => measure("packaged vhost-user-gpu", lab, Some(&program))?,
        Err(Error::Missing(what)) => println!("(left out: {what})"),
        Err(error) => return Err(error),
    }
    programs.iter().try_for_each(|program| measure(&program.to_string_lossy(), lab, Some(program)))
}

fn measure(name: &str, lab: &Lab, program: Option<&PathBuf>) -> Result<()> {
    let backend = program.map(|program| Backend::start(program, &[])).transpose()?;
    let gpu = backend.as_ref().map_or(Gpu::InProcess, |backend| Gpu::vhost_user(backend.socket()));
    let mut vm = Config::new(gpu).no_text_console().boot(lab)?;
    vm.set_patience(Duration::from_secs(120));
    println!("{name}");
    for (width, height) in SIZES {
        for (verb, change) in VERBS {
            vm.guest(&format!("show 1 {width}x{height} 0={width}x{height}+0+0"))?;
            let trial = frames_of(&mut vm, verb, TRIAL_FRAMES, change)?;
            let frames = (RUN.as_secs_f64() / trial.as_secs_f64() * TRIAL_FRAMES as f64) as u64;
            let frames = frames.clamp(TRIAL_FRAMES, 20_000);
            let used = |vm: &Vm| -> Result<(Duration, Duration)> {
                let back_end = backend.as_ref().map_or(Ok(Duration::ZERO), |b| b.process().cpu_time())?;
                Ok((vm.qemu().cpu_time()?, back_end))
            };
            let before = used(&vm)?;
            let took = frames_of(&mut vm, verb, frames, change)?;
            let after = used(&vm)?;
            let each = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1000.0 / frames as f64;
            println!(
                "  {width:>4}x{height:<4} {verb:<11} {change:<5} {frames:>5} times | {:>10.0} | {:>20.2} | {:>8.2}",
                frames as f64 / took.as_secs_f64(),
                each(after.0, before.0),
                each(after.1, before.1)
            );
        }
    }
    Ok(())
}

fn frames_of(vm: &mut Vm, verb: &str, frames: u64, change: &str) -> Result<Duration> {
    let answer = vm.guest(&format!("{verb} 0 {frames} {change}"))?;
    Ok(Duration::from_nanos(answer["ns"].as_u64().unwrap_or(0).max(1)))
}
