//! The laboratory shown with QEMU's packaged back end: a vhost-user gpu that is not ours. It dies at the guest's reboot
//! and sends wrong places for two heads on one buffer, so less is asked of it than of the in-process device.

use seat_vm::{Backend, Config, Error, Gpu, Image, Lab, Rect};

fn packaged() -> Option<(&'static Lab, Backend)> {
    let lab = Lab::for_test()?;
    Some((lab, Backend::start(Backend::packaged().unwrap(), &[]).unwrap()))
}

#[test]
fn it_shows_pictures_and_their_changes() {
    let Some((lab, backend)) = packaged() else { return };
    let mut vm = Config::new(Gpu::vhost_user(backend.socket())).boot(lab).unwrap();
    vm.wait_picture(0, |s| (s.colours() < 2).then(|| "no text".to_owned())).unwrap();
    for (width, height) in [(1280, 800), (1366, 769)] {
        vm.guest(&format!("show 7 {width}x{height} 0={width}x{height}+0+0")).unwrap();
        let mut expected = Image::picture(7, width, height);
        vm.wait_screen(0, &expected).unwrap();
        vm.guest("paint 0 8 101 203 33 17").unwrap();
        expected.paint(8, Rect::new(101, 203, 33, 17));
        vm.wait_screen(0, &expected).unwrap();
    }
    for command in
        ["cursor 0 1 3 4", "move 0 100 100", "sync 0", "hide 0", "flip-bench 0 9 all", "dirty-bench 0 9 small"]
    {
        vm.guest(command).unwrap();
    }
    assert!(vm.power_off().unwrap().success());
}

#[test]
fn it_is_a_vga_as_well() {
    let Some((lab, backend)) = packaged() else { return };
    let mut vm = Config::new(Gpu::vhost_user_vga(backend.socket())).boot(lab).unwrap();
    assert_eq!(vm.guest("device").unwrap()["class"], "0x030000");
    vm.guest("show 7 800x600 0=800x600+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(7, 800, 600)).unwrap();
}

#[test]
fn it_has_a_second_head_when_a_window_asks_for_one() {
    let Some((lab, backend)) = packaged() else { return };
    let config = Config::new(Gpu::vhost_user(backend.socket())).max_outputs(2).resolution(1024, 768).dbus();
    let mut vm = config.boot(lab).unwrap();
    vm.set_ui_info(1, 640, 480).unwrap();
    vm.guest_until("list", |l| l[1]["connected"] == true).unwrap();
    vm.guest("show 2 1024x768 0=1024x768+0+0").unwrap();
    vm.guest("show 3 640x480 1=640x480+0+0").unwrap();
    vm.wait_screen(0, &Image::picture(2, 1024, 768)).unwrap();
    vm.wait_screen(1, &Image::picture(3, 640, 480)).unwrap();
}

#[test]
fn a_back_end_that_does_not_listen_is_told_with_its_words() {
    let Some(_lab) = Lab::for_test() else { return };
    let error = Backend::start(Backend::packaged().unwrap(), &["--no-such-option"]).err().unwrap();
    assert!(error.to_string().contains("has ended"), "{error}");
    assert!(matches!(Backend::start("/nowhere/program", &[]).err(), Some(Error::Missing(_))));
}
