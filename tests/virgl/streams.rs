//! Random streams of virgl commands: whatever they are ([`crate::garbage`]), they are answered, the program goes on, and the next guest sees what it draws. A run follows from its
//! seed: `VHOST_SEAT_SEED=7 cargo test --test virgl streams` runs that one alone, `VHOST_SEAT_STEPS` says of how many streams.

use seat_frontend::Error;
use seat_frontend::gpu::three_d::{bind, target};
use seat_frontend::gpu::{Backing, Command, Fence, Rect, Response, Texture, resp};
use seat_frontend::machine::GpuMachine;
use seat_frontend::program::Program;

use crate::common::Seat;
use crate::common::random::Random;
use crate::garbage::{ARRAY, DEPTH, OTHER, PICTURE, TEXTURES, VERTICES, VOLUME, number, plain, stream};
use crate::scene::Scene;
use crate::seat::{CTX, boot, reboot};
use crate::sheet::sheet_on_screen;

const STREAMS: u64 = 900;
/// Streams of one context: most have an error in the first.
const A_CONTEXT: u64 = 3;
/// Streams between two reboots.
const A_GUEST: u64 = 300;

/// What a guest has at the start: all of the textures, with backings, on the screen.
fn equip(vm: &mut GpuMachine) -> Scene {
    let scene = Scene::new(&mut vm.driver, VERTICES);
    for texture in [
        Texture::picture(PICTURE, 64, 48),
        plain(OTHER),
        Texture { target: target::TEXTURE_2D_ARRAY, array_size: 3, last_level: 2, ..plain(ARRAY) },
        Texture { target: target::TEXTURE_3D, depth: 4, ..plain(VOLUME) },
        // VIRGL_FORMAT_S8_UINT_Z24_UNORM
        Texture { format: 20, bind: bind::DEPTH_STENCIL, ..plain(DEPTH) },
    ] {
        let memory = vm.driver.memory().clone();
        let backing = Backing::scattered(&memory, vm.driver.pages(), 64 * 48 * 4 * 4, 5).unwrap();
        vm.driver.create_3d(&texture).unwrap().ok().unwrap();
        vm.driver.attach_backing(texture.resource_id, backing.entries()).unwrap().ok().unwrap();
    }
    vm.driver.set_scanout(0, PICTURE, Rect::new(0, 0, 64, 48)).unwrap().ok().unwrap();
    vm.driver.set_scanout(1, OTHER, Rect::new(3, 5, 50, 40)).unwrap().ok().unwrap();
    scene
}

/// The next answer; none where the program ended.
fn next_of_living(program: &mut Program, vm: &mut GpuMachine) -> Option<Response> {
    vm.driver.set_timeout(std::time::Duration::from_secs(1));
    let deadline = crate::common::soon();
    loop {
        match vm.driver.next_done() {
            Ok(done) => return Some(done.response),
            Err(Error::TimedOut(_)) if !deadline.passed() && program.is_running().unwrap() => {}
            Err(Error::TimedOut(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn context(vm: &mut GpuMachine) {
    vm.driver.destroy_context(CTX).unwrap().ok().unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    for texture in 1..=TEXTURES {
        vm.driver.attach_to_context(CTX, texture).unwrap().ok().unwrap();
    }
}

fn run(seed: u64) {
    let seed = match number("VHOST_SEAT_SEED") {
        None => seed,
        Some(given) if seed == 1 => given,
        Some(_) => return,
    };
    let Some(Seat { mut program, mut vm }) = boot() else { return };
    let mut random = Random::new(seed);
    let mut scene = equip(&mut vm);
    let mut recent: Vec<Vec<u32>> = Vec::new();
    let mut done = 0;
    for step in 0..number("VHOST_SEAT_STEPS").unwrap_or(STREAMS) {
        if step % A_CONTEXT == 0 {
            context(&mut vm);
            recent.clear();
        }
        let words = stream(&mut random, &scene);
        recent.push(words.clone());
        let fence = Fence::new(step).of_context(CTX);
        vm.driver.queue_fenced(&Command::Submit3d { words: &words }, fence).unwrap();
        let flush = Command::ResourceFlush { rect: Rect::new(0, 0, 64, 48), resource_id: PICTURE };
        vm.driver.queue(&flush).unwrap();
        vm.driver.kick();
        let mut answers = [0, 1].map(|_| next_of_living(&mut program, &mut vm));
        answers.sort_by_key(|answer| answer.as_ref().map_or(0, |answer| answer.flags ^ 1));
        let [Some(answer), Some(_)] = answers else {
            panic!("seed {seed}, step {step}: {}\n{recent:#x?}", program.stderr());
        };
        assert!([resp::OK_NODATA, resp::ERR_INVALID_PARAMETER].contains(&answer.kind), "{answer:?}");
        done += u64::from(answer.is_ok());
        if step % A_GUEST == A_GUEST - 1 {
            reboot(&mut vm);
            sheet_on_screen(&mut vm, 1, 64, 48);
            reboot(&mut vm);
            scene = equip(&mut vm);
        }
    }
    assert!(done > 0, "not one of them was any good");
    reboot(&mut vm);
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 48);
    sheet.fill(&mut vm.driver, 0x12_3456);
    sheet.flip_to(&mut vm.driver, 0);
    crate::common::canvas::await_picture(&vm, 0, &sheet.picture);
    assert_eq!(program.terminate(crate::common::soon()).unwrap().code(), Some(0));
}

#[test]
fn whatever_is_submitted_is_answered_from_seed_1() {
    run(1);
}

#[test]
fn whatever_is_submitted_is_answered_from_seed_2() {
    run(2);
}

#[test]
fn whatever_is_submitted_is_answered_from_seed_3() {
    run(3);
}
