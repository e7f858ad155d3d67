//! Reboots, pauses, and the ends of QEMU, of the guest and of the back end.

use seat_vm::{Backend, Config, Gpu, Image, Lab, Rect, Vm, json};

use crate::seat::{PROGRAM, Seat, assert_guest_content, complaints, no_text, show};

const SIZE: (u32, u32) = (1024, 768);

#[test]
fn after_a_reset_a_reboot_and_a_rebind_the_screen_works() {
    let Some(mut seat) = Seat::boot(Config::reboots) else { return };
    seat.show(1, SIZE);
    for (seed, restart) in (2..).zip([Vm::reset, Vm::reboot, Vm::reset]) {
        restart(&mut seat.vm).unwrap();
        seat.vm.wait_picture(0, no_text).unwrap();
        seat.show(seed, SIZE);
    }
    seat.vm.guest("rebind").unwrap();
    seat.show(9, SIZE);
    // The very process that was started has seen all of it.
    seat.assert_content();
}

#[test]
fn a_reset_under_load_leaves_nothing_of_the_old_guest() {
    let Some(mut seat) = Seat::boot(|config| config.reboots().max_outputs(2).dbus()) else { return };
    seat.vm.set_ui_info(1, 800, 600).unwrap();
    seat.vm.guest_until("list", |heads| heads[1]["connected"] == true).unwrap();
    seat.vm.guest("show 5 1024x768 0=1024x768+0+0 1=800x600+100+100").unwrap();
    seat.vm.guest("cursor 0 1 3 4").unwrap();
    seat.vm.guest_begin("flip-bench 0 1000000 all").unwrap();
    seat.vm.wait_picture(0, |screen| (screen.colours() < 1000).then(|| "no picture".to_owned())).unwrap();
    seat.vm.reset().unwrap();
    seat.show(6, SIZE);
    seat.assert_content();
}

#[test]
fn a_stopped_machine_keeps_its_picture_and_goes_on() {
    let Some(mut seat) = Seat::boot(|config| config) else { return };
    let mut expected = seat.show(5, SIZE);
    seat.vm.guest("cursor 0 1 3 4").unwrap();
    for seed in 6..9 {
        seat.vm.qmp("stop", json!({})).unwrap();
        seat.vm.wait_event("STOP").unwrap();
        seat.vm.wait_screen(0, &expected).unwrap();
        seat.vm.qmp("cont", json!({})).unwrap();
        seat.vm.wait_event("RESUME").unwrap();
        seat.vm.wait_screen(0, &expected).unwrap();
        // A part of the old picture: the resource is the old one, or its other pixels would be gone.
        let rect = Rect::new(100 * seed, 50, 64, 300);
        seat.vm.guest(&format!("paint 0 {seed} {} 50 64 300", rect.x)).unwrap();
        expected.paint(seed, rect);
        seat.vm.wait_screen(0, &expected).unwrap();
        seat.vm.guest(&format!("move 0 {seed} {seed}")).unwrap();
        seat.vm.sync(0).unwrap();
    }
    seat.assert_content();
}

#[test]
fn a_pause_in_the_midst_of_frames_loses_none() {
    let Some(mut seat) = Seat::boot(Config::no_text_console) else { return };
    for seed in 1..3 {
        seat.show(seed, (1920, 1080));
        seat.vm.guest_begin("flip-bench 0 601 all").unwrap();
        for _ in 0..3 {
            seat.vm.qmp("stop", json!({})).unwrap();
            seat.vm.screendump(0).unwrap();
            seat.vm.qmp("cont", json!({})).unwrap();
        }
        seat.vm.guest_end().unwrap();
        seat.vm.wait_screen(0, &Image::picture(seat_vm::picture::FLIP_SEED, 1920, 1080)).unwrap();
    }
    seat.assert_content();
}

#[test]
fn one_back_end_serves_machine_after_machine_and_ends_by_its_signal() {
    let Some(lab) = Lab::for_test() else { return };
    let mut backend = Backend::start(PROGRAM, &["--log-level=info"]).unwrap();
    let config = Config::new(Gpu::vhost_user(backend.socket()));
    // Killed with a picture on the screen; killed while it draws; left in peace.
    let mut vm = config.boot(lab).unwrap();
    show(&mut vm, 1, SIZE);
    vm.kill().unwrap();

    let mut vm = config.boot(lab).unwrap();
    show(&mut vm, 2, SIZE);
    vm.guest_begin("flip-bench 0 1000000 all").unwrap();
    vm.wait_picture(0, |screen| screen.difference(&Image::picture(2, 1024, 768)).is_none().then(String::new)).unwrap();
    vm.kill().unwrap();

    let mut vm = config.boot(lab).unwrap();
    show(&mut vm, 3, SIZE);
    assert_guest_content(&mut vm);
    assert!(vm.power_off().unwrap().success());
    assert!(backend.process().is_running());

    // The back end goes first: the guest's screen stands still, the guest lives on.
    let mut vm = config.boot(lab).unwrap();
    show(&mut vm, 4, SIZE);
    assert_eq!(complaints(backend.log()), [""; 0]);
    assert!(backend.terminate().unwrap().success());
    assert!(!backend.socket().exists());
    assert_eq!(vm.guest("ping").unwrap(), "pong");
    assert_eq!(vm.qmp("query-status", json!({})).unwrap()["status"], "running");
}

#[test]
fn with_a_connected_socket_it_lives_as_long_as_its_machine() {
    let Some(lab) = Lab::for_test() else { return };
    let (mut backend, end) = Backend::start_connected(PROGRAM, &[]).unwrap();
    let mut vm = Config::new(Gpu::connected(end)).reboots().boot(lab).unwrap();
    show(&mut vm, 1, SIZE);
    vm.reset().unwrap();
    show(&mut vm, 2, SIZE);
    assert_guest_content(&mut vm);
    assert!(vm.power_off().unwrap().success());
    assert!(backend.wait_exit().unwrap().success());
    assert_eq!(complaints(backend.log()), [""; 0]);
}
