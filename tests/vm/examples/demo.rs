//! Boots the guest on a back end, tells what the guest sees of the device, and leaves pictures of its screen.
//!
//!     cargo run --release -p seat-vm --example demo -- target/release/vhost-user-gpu FOLDER

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use seat_vm::{Backend, Config, Error, Gpu, Image, Lab, Result};

const SIZE: (u32, u32) = (1280, 800);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder] = arguments.as_slice() else {
        eprintln!("usage: demo BACK_END FOLDER");
        return ExitCode::from(2);
    };
    match run(Path::new(program), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::Failed(format!("{}: {e}", folder.display())))?;
    let lab = Lab::prepare()?;
    let start = Instant::now();
    let backend = Backend::start(program, &[])?;
    let mut vm = Config::new(Gpu::vhost_user(backend.socket())).boot(lab)?;
    println!("the guest is up after {:.1} s on {}", start.elapsed().as_secs_f64(), program.display());

    let device = vm.guest("device")?;
    println!("its gpu: PCI {}, virtio features {}", device["pci"], device["features"]);
    vm.guest(&format!("console The screen is {} with virtio features {}.", device["pci"], device["features"]))?;
    let heads = vm.guest("list")?;
    for head in heads.as_array().into_iter().flatten() {
        let edid = head["edid"].as_str().unwrap_or_default().len() / 2;
        println!("{}: connected {}, mode {}, EDID of {edid} bytes", head["name"], head["connected"], head["modes"][0]);
    }
    let text = folder.join("console.png");
    vm.wait_picture(0, |screen| (screen.lit() < 200).then(|| "no text".to_owned()))?;
    vm.screendump_png(0, &text)?;
    println!("{}: the text console", text.display());

    let (width, height) = SIZE;
    vm.guest(&format!("show 7 {width}x{height} 0={width}x{height}+0+0"))?;
    vm.wait_screen(0, &Image::picture(7, width, height))?;
    let picture = folder.join("picture.png");
    vm.screendump_png(0, &picture)?;
    println!("{}: a test picture, equal to what the guest drew in each of its pixels", picture.display());
    vm.power_off().map(drop)
}
