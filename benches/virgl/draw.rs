//! SUBMIT_3D and TRANSFER_TO_HOST_3D, fenced: from the kick to the call that says that it is done.

use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Backing, Command, Fence, Texture, Transfer3d};

use crate::floor::Direct;
use crate::series::{Contest, Sampler, quantile};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

/// Round trips in one sample.
const BLOCK: usize = 100;
const CTX: u32 = 1;
const TEXTURE: u32 = 1;

/// Textures: a small one that is cleared; 1 MiB and 8 MiB that are brought over.
pub const SMALL: (u32, u32) = (64, 64);
const UPLOADS: [(&str, (u32, u32)); 2] = [("1 MiB", (512, 512)), ("8 MiB", (2048, 1024))];

/// A clear of all of the texture.
pub fn clear() -> Stream {
    let mut stream = Stream::new();
    stream.fill(TEXTURE, 2, 0x12_3456);
    stream
}

/// A guest with a context and a texture of this size, with its backing.
fn machine(bench: &Bench, (width, height): (u32, u32)) -> Result<Vm> {
    let mut vm = Vm::boot_with(bench.ours, &["--virgl"], 64 << 20)?;
    let driver = &mut vm.guest().driver;
    let memory = driver.memory().clone();
    let backing = Backing::contiguous(&memory, driver.pages(), u64::from(width) * u64::from(height) * 4)?;
    driver.create_context(CTX)?.ok()?;
    driver.create_3d(&Texture::picture(TEXTURE, width, height))?.ok()?;
    driver.attach_backing(TEXTURE, backing.entries())?.ok()?;
    driver.attach_to_context(CTX, TEXTURE)?.ok()?;
    Ok(vm)
}

/// One command there and back.
fn one(vm: &mut Vm, command: &Command<'_>) -> Result<f64> {
    vm.guest().driver.queue_fenced(command, Fence::new(1).of_context(CTX))?;
    Ok(vm.guest().kick_to_call(1)?.as_secs_f64())
}

fn block<'a>(count: usize, mut one: impl FnMut() -> Result<f64> + 'a) -> Sampler<'a, 1> {
    Box::new(move || {
        let times = (0..count).map(|_| one()).collect::<Result<Vec<f64>>>()?;
        Ok([quantile(&times, 0.5)])
    })
}

/// A command that does nothing, and a clear.
pub fn submit(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let nothing = Stream::new().nop(0).clone();
    let work = [("nothing", nothing), ("a clear", clear())];
    let row = |(name, stream): (&str, Stream)| {
        let mut vm = machine(bench, SMALL)?;
        let mut direct = Direct::submitting(&stream)?;
        let command = Command::Submit3d { words: stream.words() };
        let ours = block(BLOCK, || one(&mut vm, &command));
        let floor = Some(block(BLOCK, || Ok(direct.round()?.as_secs_f64())));
        let [time] = Contest { ours, floor, peer: None }.run(bench.time)?;
        Ok(Row::new(format!("SUBMIT_3D of {name}, fenced"), Unit::Time, time, Target::Floor(1.15)))
    };
    work.into_iter().map(row).collect()
}

/// Textures brought over from the guest's memory.
pub fn upload(bench: &Bench) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let row = |(name, size): (&str, (u32, u32))| {
        let mut vm = machine(bench, size)?;
        let mut direct = Direct::uploading(size)?;
        let texture = Texture::picture(TEXTURE, size.0, size.1);
        let command = Command::TransferToHost3d(Transfer3d::new(TEXTURE, texture.region()));
        let ours = block(BLOCK / 10, || one(&mut vm, &command));
        let floor = Some(block(BLOCK / 10, || Ok(direct.round()?.as_secs_f64())));
        let [time] = Contest { ours, floor, peer: None }.run(bench.time)?;
        Ok(Row::new(format!("TRANSFER_TO_HOST_3D of {name}, fenced"), Unit::Time, time, Target::Floor(1.15)))
    };
    UPLOADS.into_iter().map(row).collect()
}
