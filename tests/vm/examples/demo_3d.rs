//! Boots a guest on a back end that draws in 3D, lets its Mesa draw a cube, and takes a picture of it.
//!
//!     make demo-3d
//!     cargo run --release -p seat-vm --example demo_3d -- target/release/vhost-user-gpu FOLDER

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use seat_vm::{Backend, Config, Error, Gpu, Lab, Result, cube};

const FRAMES: u32 = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder] = arguments.as_slice() else {
        eprintln!("usage: demo_3d BACK_END FOLDER");
        return ExitCode::from(2);
    };
    match run(Path::new(program), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo_3d: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::Failed(format!("{}: {e}", folder.display())))?;
    let lab = Lab::prepare()?;
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    let backend = Backend::start(program, &["--virgl"])?;
    let config = Config::new(Gpu::vhost_user(backend.socket())).host_root().no_text_console();
    let mut vm = config.patience(Duration::from_secs(120)).boot(lab)?;
    println!("A guest is up after {:.1} s. It draws a cube.", seconds());

    vm.start_program(&cube::draw())?;
    vm.wait_program_picture(0, cube::fault)?;
    println!("The cube is on its screen after {:.1} s.", seconds());
    let file = folder.join("cube.png");
    vm.screendump_png(0, &file)?;
    vm.finish_program()?;

    vm.start_program(&cube::draw_frames(FRAMES))?;
    let ended = vm.wait_program()?;
    let line = |start: &str| ended.output.lines().rfind(|line| line.trim_start().starts_with(start)).map(str::trim);
    for line in ["renderer:", "Rendered"].iter().filter_map(|start| line(start)) {
        println!("  {line}");
    }
    println!("\nIts picture:  {}", file.display());
    vm.power_off().map(drop)
}
