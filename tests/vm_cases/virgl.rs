//! `--virgl` without a GPU: a guest's Mesa draws by this host's, in software, and what it drew is what QEMU shows.

use std::fs;
use std::path::Path;
use std::time::Duration;

use seat_vm::{Backend, Config, Gpu, Image, Lab, Rect, Vm, cube, json, picture};

use crate::seat::{PROGRAM, Seat, complaints, no_text};

const OPTIONS: [&str; 2] = ["--log-level=info", "--virgl"];
const SIZE: (u32, u32) = (1024, 768);
const FRAMES: u32 = 200;
/// VIRTIO_GPU_F_VIRGL
const VIRGL: u32 = 0;

/// A machine with Mesa in it, which comes over 9p: slow where it is emulated.
fn with_mesa(config: Config) -> Config {
    config.host_root().no_text_console().reboots().patience(Duration::from_secs(240))
}

fn boot(set: impl FnOnce(Config) -> Config) -> Option<Seat> {
    Seat::boot_with(&OPTIONS, |backend| Gpu::vhost_user(backend.socket()), set)
}

/// Lets the guest draw the cube until it is told to stop, and waits until it is seen.
fn show_cube(vm: &mut Vm) {
    vm.start_program(&cube::draw()).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
}

/// Lets the guest draw some frames by the host's renderer, whether they are looked at or not.
fn assert_frames_are_drawn(vm: &mut Vm) {
    vm.start_program(&cube::draw_frames(FRAMES)).unwrap();
    let ended = vm.wait_program().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("renderer: \"virgl"), "{}", ended.output);
    assert!(ended.output.contains(&cube::drawn(FRAMES)), "{}", ended.output);
}

#[test]
fn a_cube_is_drawn_by_the_hosts_renderer() {
    let Some(mut seat) = boot(with_mesa) else { return };
    let device = seat.vm.guest("device").unwrap();
    assert!(device["features"].as_array().unwrap().contains(&VIRGL.into()), "{device}");

    show_cube(&mut seat.vm);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).unwrap();
    // For a human eye.
    seat.vm.screendump_png(0, &folder.join("guest-cube.png")).unwrap();
    let first = seat.vm.screendump(0).unwrap();
    let stands = |screen: &Image| (*screen == first).then(|| "it stands still".to_owned());
    seat.vm.wait_picture(0, |screen| stands(screen).or_else(|| cube::fault(screen))).unwrap();
    assert_eq!(seat.vm.finish_program().unwrap().status, Some(0));

    assert_frames_are_drawn(&mut seat.vm);
    // 2D is as it was.
    seat.show(7, SIZE);
    seat.assert_content();
}

#[test]
fn a_reset_with_contexts_open_leaves_nothing_of_the_old_guest() {
    let Some(mut seat) = boot(with_mesa) else { return };
    for (seed, restart) in (1..).zip([Vm::reset, Vm::reboot]) {
        show_cube(&mut seat.vm);
        restart(&mut seat.vm).unwrap();
        // The numbers of resources and contexts are given out anew.
        seat.show(seed, SIZE);
        seat.vm.guest("release").unwrap();
    }
    show_cube(&mut seat.vm);
    assert_eq!(seat.vm.finish_program().unwrap().status, Some(0));
    assert_frames_are_drawn(&mut seat.vm);
    seat.assert_content();
}

#[test]
fn a_machine_that_is_stopped_while_it_draws_goes_on() {
    let Some(mut seat) = boot(with_mesa) else { return };
    show_cube(&mut seat.vm);
    for _ in 0..3 {
        seat.vm.qmp("stop", json!({})).unwrap();
        seat.vm.wait_event("STOP").unwrap();
        let stopped = seat.vm.screendump(0).unwrap();
        seat.vm.qmp("cont", json!({})).unwrap();
        seat.vm.wait_event("RESUME").unwrap();
        let stands = |screen: &Image| (*screen == stopped).then(|| "it stands still".to_owned());
        seat.vm.wait_picture(0, |screen| stands(screen).or_else(|| cube::fault(screen))).unwrap();
    }
    assert_eq!(seat.vm.finish_program().unwrap().status, Some(0));
    seat.assert_content();
}

#[test]
fn a_program_that_draws_serves_machine_after_machine_and_ends_by_its_signal() {
    let Some(lab) = Lab::for_test() else { return };
    let mut backend = Backend::start(PROGRAM, &OPTIONS).unwrap();
    let config = with_mesa(Config::new(Gpu::vhost_user(backend.socket())));
    // Ended by QMP and by a crash, each time while it draws.
    let mut vm = config.boot(lab).unwrap();
    show_cube(&mut vm);
    vm.qmp("quit", json!({})).unwrap();
    assert!(vm.wait_exit().unwrap().success());

    let mut vm = config.boot(lab).unwrap();
    show_cube(&mut vm);
    vm.kill().unwrap();

    // The back end goes first.
    let mut vm = config.boot(lab).unwrap();
    show_cube(&mut vm);
    assert_eq!(complaints(backend.log()), [""; 0]);
    assert!(backend.terminate().unwrap().success());
    assert!(!backend.socket().exists());
    assert_eq!(vm.guest("ping").unwrap(), "pong");
    assert_eq!(vm.qmp("query-status", json!({})).unwrap()["status"], "running");
}

#[test]
fn with_a_connected_socket_a_program_that_draws_ends_with_its_machine() {
    let Some(lab) = Lab::for_test() else { return };
    let (mut backend, end) = Backend::start_connected(PROGRAM, &OPTIONS).unwrap();
    let mut vm = with_mesa(Config::new(Gpu::connected(end))).boot(lab).unwrap();
    show_cube(&mut vm);
    vm.qmp("quit", json!({})).unwrap();
    assert!(vm.wait_exit().unwrap().success());
    assert!(backend.wait_exit().unwrap().success());
    assert_eq!(complaints(backend.log()), [""; 0]);
}

/// libvirt says `--virgl` even where `accel3d` is "no", and a guest may have no driver for 3D.
#[test]
fn a_guest_that_never_draws_in_3d_has_its_screen() {
    let Some(mut seat) = boot(Config::reboots) else { return };
    for seed in 1..3 {
        seat.vm.wait_picture(0, no_text).unwrap();
        let mut expected = seat.show(seed, SIZE);
        seat.vm.guest("paint 0 8 101 203 33 17").unwrap();
        expected.paint(8, Rect::new(101, 203, 33, 17));
        seat.vm.wait_screen(0, &expected).unwrap();
        seat.vm.guest("cursor 0 1 3 4").unwrap();
        seat.vm.guest("flip-bench 0 101 all").unwrap();
        seat.vm.wait_screen(0, &Image::picture(picture::FLIP_SEED, SIZE.0, SIZE.1)).unwrap();
        seat.vm.reset().unwrap();
    }
    seat.assert_content();
}
