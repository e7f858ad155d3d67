//! A QEMU whose display has OpenGL, as desktops have it: it takes what our program's GPU draws as DMABUFs.
//!
//! It runs in a guest whose GPU our program serves, in software; there the program serves another guest on that GPU. So it
//! takes a minute.

use std::time::Duration;

use seat_vm::{Backend, Config, Gpu, InVm, Lab, cube};

use crate::seat::{PROGRAM, assert_guest_content, complaints};

const NODE: &str = "/dev/dri/renderD128";
const FRAMES: u32 = 100;

static GUEST: InVm = InVm::new()
    .filters(&["nested::"])
    .gpu(PROGRAM, &["--virgl"])
    .nesting()
    .memory_mib(2048)
    .patience(Duration::from_secs(1200));

#[test]
fn a_cube_is_shown_by_a_display_that_takes_dmabufs() {
    GUEST.run(|| {
        let lab = Lab::for_test().unwrap();
        let node = format!("--render-node={NODE}");
        let backend = Backend::start(PROGRAM, &["--log-level=info", "--virgl", &node]).unwrap();
        let config = Config::new(Gpu::vhost_user(backend.socket())).host_root().no_text_console().inside();
        let mut vm = config.egl_headless(NODE).patience(Duration::from_secs(600)).boot(lab).unwrap();

        vm.start_program(&cube::draw_frames(FRAMES)).unwrap();
        let ended = vm.wait_program().unwrap();
        assert_eq!(ended.status, Some(0), "{}", ended.errors);
        assert!(ended.output.contains("renderer: \"virgl (virgl"), "{}", ended.output);
        assert!(ended.output.contains(&cube::drawn(FRAMES)), "{}", ended.output);

        // A screen that is a DMABUF has no pixels that QEMU could dump.
        vm.start_program(&cube::draw()).unwrap();
        vm.wait_dmabuf(0).unwrap();
        assert_eq!(vm.finish_program().unwrap().status, Some(0));
        assert_guest_content(&mut vm);
        assert_eq!(complaints(backend.log()), [""; 0]);
        assert_eq!(vm.qemu().log().text(), "");
    });
}
