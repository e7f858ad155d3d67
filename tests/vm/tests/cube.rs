//! A guest's program that draws in 3D, in software and on QEMU's own gpu: programs of this host draw there, and the picture
//! that the tests of a renderer look for is what a right one looks like.

use std::time::Duration;

use seat_vm::{Config, Gpu, Lab, cube};

#[test]
fn a_cube_is_drawn_in_software() {
    let Some(lab) = Lab::for_test() else { return };
    let config = Config::new(Gpu::InProcess).host_root().no_text_console().patience(Duration::from_secs(240));
    // Each pixel costs: its processor is emulated.
    let mut vm = config.resolution(640, 480).boot(lab).unwrap();
    vm.exec_begin(&cube::draw(Some(8))).unwrap();
    vm.wait_program_picture(0, cube::fault).unwrap();
    let ended = vm.exec_end().unwrap();
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("renderer: \"llvmpipe"), "{}", ended.output);
    assert!(ended.output.contains(&cube::drawn(8)), "{}", ended.output);
}
