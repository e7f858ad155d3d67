//! `--virgl` without a GPU: a guest's Mesa draws by this host's, in software, and what it drew is what QEMU shows.

use std::time::Duration;

use seat_vm::{Backend, Config, Gpu, Image, Lab, cube, json};

use crate::seat::{PROGRAM, Seat, complaints, no_text};

const OPTIONS: [&str; 2] = ["--log-level=info", "--virgl"];
const SIZE: (u32, u32) = (1024, 768);
const FRAMES: u32 = 100;
/// VIRTIO_GPU_F_VIRGL
const VIRGL: u32 = 0;

/// A machine with Mesa in it, which comes over 9p: slow where it is emulated.
fn with_mesa(config: Config) -> Config {
    config.host_root().no_text_console().reboots().patience(Duration::from_secs(240))
}

fn boot(set: impl FnOnce(Config) -> Config) -> Option<Seat> {
    Seat::boot_with(&OPTIONS, |backend| Gpu::vhost_user(backend.socket()), set)
}

#[test]
fn a_cube_is_drawn_by_the_hosts_renderer() {
    let Some(mut seat) = boot(with_mesa) else { return };
    let device = seat.vm.guest("device").unwrap();
    assert!(device["features"].as_array().unwrap().contains(&VIRGL.into()), "{device}");

    seat.vm.exec_begin(&cube::draw(Some(FRAMES))).unwrap();
    seat.vm.wait_program_picture(0, cube::fault).unwrap();
    let ended = seat.vm.exec_end().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("renderer: \"virgl"), "{}", ended.output);
    assert!(ended.output.contains(&cube::drawn(FRAMES)), "{}", ended.output);
    // 2D is as it was.
    seat.show(7, SIZE);
    seat.assert_content();
}

#[test]
fn each_frame_is_another_picture_of_the_cube() {
    let Some(mut seat) = boot(with_mesa) else { return };
    seat.vm.exec_begin(&cube::draw(None)).unwrap();
    let mut last = Image::new(0, 0);
    for _ in 0..5 {
        let stands = |screen: &Image| (*screen == last).then(|| "it stands still".to_owned());
        seat.vm.wait_program_picture(0, |screen| stands(screen).or_else(|| cube::fault(screen))).unwrap();
        last = seat.vm.screendump(0).unwrap();
        assert_eq!(cube::fault(&last), None);
    }
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-cube.png");
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // For a human eye.
    seat.vm.screendump_png(0, &file).unwrap();
    seat.vm.reset().unwrap();
    seat.assert_content();
}

#[test]
fn a_reset_with_contexts_open_leaves_nothing_of_the_old_guest() {
    let Some(mut seat) = boot(with_mesa) else { return };
    for seed in 1..3 {
        seat.vm.exec_begin(&cube::draw(None)).unwrap();
        seat.vm.wait_program_picture(0, cube::fault).unwrap();
        seat.vm.reset().unwrap();
        // The resources' and contexts' numbers are given out anew.
        seat.show(seed, SIZE);
    }
    seat.vm.exec_begin(&cube::draw(Some(FRAMES))).unwrap();
    seat.vm.wait_program_picture(0, cube::fault).unwrap();
    assert_eq!(seat.vm.exec_end().unwrap().status, Some(0));
    seat.assert_content();
}

#[test]
fn it_serves_machine_after_machine_and_ends_by_its_signal_while_one_draws() {
    let Some(lab) = Lab::for_test() else { return };
    let mut backend = Backend::start(PROGRAM, &OPTIONS).unwrap();
    let config = with_mesa(Config::new(Gpu::vhost_user(backend.socket())));
    let mut vm = config.boot(lab).unwrap();
    vm.exec_begin(&cube::draw(None)).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    vm.qmp("quit", json!({})).unwrap();
    assert!(vm.wait_exit().unwrap().success());

    // Killed, as by a crash.
    let mut vm = config.boot(lab).unwrap();
    vm.exec_begin(&cube::draw(None)).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    vm.kill().unwrap();

    let mut vm = config.boot(lab).unwrap();
    vm.exec_begin(&cube::draw(None)).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    assert_eq!(complaints(backend.log()), [""; 0]);
    assert!(backend.process().is_running());
    assert!(backend.terminate().unwrap().success());
    assert!(!backend.socket().exists());
    assert_eq!(vm.qmp("query-status", json!({})).unwrap()["status"], "running");
}

#[test]
fn with_a_connected_socket_it_ends_with_its_machine_that_draws() {
    let Some(lab) = Lab::for_test() else { return };
    let (mut backend, end) = Backend::start_connected(PROGRAM, &OPTIONS).unwrap();
    let mut vm = with_mesa(Config::new(Gpu::connected(end))).boot(lab).unwrap();
    vm.exec_begin(&cube::draw(None)).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    vm.qmp("quit", json!({})).unwrap();
    assert!(vm.wait_exit().unwrap().success());
    assert!(backend.wait_exit().unwrap().success());
    assert_eq!(complaints(backend.log()), [""; 0]);
}

/// As libvirt starts it whatever is said of 3D, and whatever the guest can do.
#[test]
fn a_guest_that_never_draws_in_3d_has_its_screen() {
    let Some(mut seat) = boot(Config::reboots) else { return };
    seat.vm.wait_picture(0, no_text).unwrap();
    for restart in 1..3 {
        let mut expected = seat.show(restart, SIZE);
        let rect = seat_vm::Rect::new(101, 203, 33, 17);
        seat.vm.guest("paint 0 8 101 203 33 17").unwrap();
        expected.paint(8, rect);
        seat.vm.wait_screen(0, &expected).unwrap();
        seat.vm.guest("cursor 0 1 3 4").unwrap();
        seat.vm.guest("flip-bench 0 101 all").unwrap();
        seat.vm.wait_screen(0, &Image::picture(seat_vm::picture::FLIP_SEED, SIZE.0, SIZE.1)).unwrap();
        seat.vm.reset().unwrap();
    }
    seat.assert_content();
}
