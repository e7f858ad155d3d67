//! The harness shown with devices that are not ours: QEMU's in-process gpu, and its packaged back end.

use seat_vm::{Backend, Config, Gpu, Image, Lab};
use std::time::Instant;

#[test]
fn in_process_gpu_shows_console_then_picture() {
    let Some(lab) = Lab::for_test() else { return };
    let start = Instant::now();
    let mut vm = Config::new(Gpu::InProcess).boot(lab).unwrap();
    eprintln!("ready {:?}", start.elapsed());
    vm.wait_picture(0, |s| (s.colours() < 2).then(|| "no text".into())).unwrap();
    eprintln!("console {:?}", start.elapsed());
    eprintln!("{}", vm.guest("list").unwrap());
    vm.guest("show 7 1280x800 0=1280x800+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(7, 1280, 800)).unwrap();
    eprintln!("picture {:?}", start.elapsed());
    assert!(vm.power_off().unwrap().success());
    eprintln!("off {:?}", start.elapsed());
}

#[test]
fn packaged_back_end_shows_picture() {
    let Some(lab) = Lab::for_test() else { return };
    let backend = Backend::start(Backend::packaged().unwrap(), &[]).unwrap();
    let mut vm = Config::new(Gpu::vhost_user(backend.socket())).boot(lab).unwrap();
    vm.guest("show 7 1280x800 0=1280x800+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(7, 1280, 800)).unwrap();
}
