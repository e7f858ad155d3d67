//! Boots a small guest on a back end, shows what it sees of its screen, and takes a picture of that screen.
//!
//!     make demo
//!     cargo run --release -p seat-vm --example demo -- target/release/vhost-user-gpu FOLDER

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use seat_vm::{Backend, Config, Error, Gpu, Image, Lab, Rect, Result, Value, Vm};

const SCREEN: (u32, u32) = (1280, 800);
/// What the guest draws, and where.
const DRAW: &str = "draw 544 704 160";
const DRAWING: Rect = Rect { x: 704, y: 160, width: 544, height: 544 };

/// The bits that a guest may tell of (VIRTIO 1.3, 5.7.3 and 6).
const FEATURES: [(u64, &str); 12] = [
    (0, "VIRGL"),
    (1, "EDID"),
    (2, "RESOURCE_UUID"),
    (3, "RESOURCE_BLOB"),
    (4, "CONTEXT_INIT"),
    (24, "NOTIFY_ON_EMPTY"),
    (28, "INDIRECT_DESC"),
    (29, "EVENT_IDX"),
    (32, "VERSION_1"),
    (34, "PACKED"),
    (35, "IN_ORDER"),
    (40, "RING_RESET"),
];

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
    // A font that can be read in a picture of half the size.
    let config = Config::new(Gpu::vhost_user(backend.socket())).kernel_words("fbcon=font:TER16x32");
    let mut vm = config.boot(lab)?;
    println!("A guest is up after {:.1} s. What it sees:\n", start.elapsed().as_secs_f64());

    let facts = facts(&mut vm)?;
    for (name, text) in &facts {
        println!("  {name:<9} {text}");
    }
    write_console(&mut vm, &facts)?;
    vm.guest(DRAW)?;
    let drawn = Image::fractal(DRAWING.width);
    vm.wait_picture(0, |screen| screen.crop(DRAWING).difference(&drawn))?;
    let file = folder.join("guest.png");
    vm.screendump_png(0, &file)?;
    println!("\nIts text console, and what it drew there:  {}", file.display());

    let (width, height) = SCREEN;
    vm.guest(&format!("show 7 {width}x{height} 0={width}x{height}+0+0"))?;
    vm.wait_screen(0, &Image::picture(7, width, height))?;
    println!("A test picture was shown as it was drawn, in each of its {} pixels.", width * height);
    vm.power_off().map(drop)
}

/// What the guest sees of its screen, by name.
fn facts(vm: &mut Vm) -> Result<Vec<(&'static str, String)>> {
    let device = vm.guest("device")?;
    let heads = vm.guest("list")?;
    let head = &heads[0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let has = |bit: u64| device["features"].as_array().is_some_and(|bits| bits.contains(&bit.into()));
    let features: Vec<&str> = FEATURES.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
    let edid = bytes(&text(&head["edid"]));
    let mode = text(&head["modes"][0]);
    let monitor = monitor_name(&edid).unwrap_or("a nameless monitor".to_owned());
    Ok(vec![
        ("device", format!("PCI {}, {}", text(&device["pci"]), text(&device["virtio"]))),
        ("driver", if device["driver"] == true { "virtio_gpu".to_owned() } else { "none".to_owned() }),
        ("features", features.join(" ")),
        ("screen", format!("{}, {}", text(&head["name"]), mode.trim_end_matches('*'))),
        ("monitor", format!("{monitor} (EDID of {} bytes)", edid.len())),
    ])
}

/// The guest's own words on its text console, left of the drawing.
fn write_console(vm: &mut Vm, facts: &[(&'static str, String)]) -> Result<()> {
    const COLUMNS: usize = 32;
    let mut say = |text: &str| vm.guest(&format!("console {text}")).map(drop);
    // Cleared, without a cursor.
    say("\x1b[2J\x1b[H\x1b[?25l")?;
    say(" \x1b[1;33mvhost-seat\x1b[0m: the screen of this guest is served from outside of QEMU")?;
    say("")?;
    for (name, text) in facts {
        let mut name = *name;
        for line in wrap(text, COLUMNS) {
            say(&format!(" \x1b[1;36m{name:<9}\x1b[0m {line}"))?;
            name = "";
        }
    }
    say("")?;
    say(&format!(" \x1b[1;32m#\x1b[0m {DRAW}"))
}

/// Breaks a text at its spaces.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= columns => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// The name in an EDID: of its four descriptors of 18 bytes, the one of type 0xfc.
fn monitor_name(edid: &[u8]) -> Option<String> {
    let mut descriptors = edid.get(54..126)?.chunks_exact(18);
    let name = descriptors.find(|descriptor| descriptor.starts_with(&[0, 0, 0, 0xfc]))?;
    Some(String::from_utf8_lossy(&name[5..]).trim().to_owned())
}
