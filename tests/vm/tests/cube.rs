//! A guest's program that draws in 3D, in software and on QEMU's own gpu: programs of this host draw there, and the picture
//! that the tests of a renderer look for is what a right one looks like.

use std::time::Duration;

use seat_vm::{Config, Gpu, Lab, Order, Vm, cube};

/// Each pixel costs: the processor that draws it is emulated.
fn boot() -> Option<Vm> {
    let lab = Lab::for_test()?;
    let config = Config::new(Gpu::InProcess).host_root().no_text_console().resolution(640, 480);
    Some(config.patience(Duration::from_secs(240)).boot(lab).unwrap())
}

#[test]
fn a_cube_is_drawn_in_software() {
    let Some(mut vm) = boot() else { return };
    vm.start_program(&cube::draw()).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    let ended = vm.finish_program().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("renderer: \"llvmpipe"), "{}", ended.output);

    vm.start_program(&cube::draw_frames(4)).unwrap();
    let ended = vm.wait_program().unwrap();
    assert!(ended.output.contains(&cube::drawn(4)), "{}", ended.output);
}

#[test]
fn a_started_program_reads_nothing_until_it_is_to_finish() {
    let Some(mut vm) = boot() else { return };
    assert!(vm.wait_program().unwrap_err().is_refusal());
    vm.start_program(&Order::new("sh", &["-c", "echo begun; cat; echo done"])).unwrap();
    vm.console().wait_for("begun", std::time::Instant::now() + Duration::from_secs(60)).unwrap();
    assert!(vm.start_program(&Order::new("true", &[])).unwrap_err().is_refusal());
    assert_eq!(vm.guest("ping").unwrap(), "pong");
    assert!(!vm.console().text().contains("done"));
    let ended = vm.finish_program().unwrap();
    assert_eq!((ended.output.as_str(), ended.status), ("begun\ndone\n", Some(0)));

    vm.start_program(&Order::new("sleep", &["0.1"])).unwrap();
    assert_eq!(vm.wait_program().unwrap().status, Some(0));
}
