//! Pictures by DMABUF: what is handed over, in which layout, and what goes as pixels all the same. The back end runs in a
//! thread of the test, and its buffers are plain memfds, which the display maps just as well: see
//! [`udmabuf`](crate::udmabuf) for the program with real ones.

use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, gettid};
use seat_frontend::control::{FrontEnd, Qemu};
use seat_frontend::display::{Display, DisplayConfig, Event, message as number};
use seat_frontend::gpu::{Command, Rect, format};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use vhost_seat::backend;
use vhost_seat::gpu::udmabuf::{Exporter, MAX_EXPORTS};
use vhost_seat::gpu::{Gpu, Options};
use vhost_seat::socket::Endpoint;

use crate::common::canvas::{Canvas, await_picture};
use crate::common::picture::Picture;
use crate::common::{assert_answers, await_display_features, options, patient, soon};

/// The whole of a test on a machine whose back end is a thread of the test, which `body` is told: that ends well, and the
/// display has nothing to complain of.
pub fn served_by(options: MachineOptions, body: impl FnOnce(&mut GpuMachine, Pid)) {
    let (front, theirs) = FrontEnd::pair().unwrap();
    let (ready, started) = std::sync::mpsc::channel();
    let back_end = std::thread::spawn(move || {
        ready.send(gettid()).unwrap();
        let mut gpu = Gpu::new(Options::new(256 << 20));
        gpu.export_by(Exporter::of_memfds());
        let signals = SignalFd::new(&SigSet::empty()).unwrap();
        backend::serve(gpu, Endpoint::Connected(theirs), signals)
    });
    let mut vm = GpuMachine::boot(patient(front), options).unwrap();
    vm.driver.set_timeout(Duration::from_secs(60));
    await_display_features(&vm);
    body(&mut vm, started.recv().unwrap());
    drop(vm.quit().unwrap().into_display());
    back_end.join().unwrap().unwrap();
}

/// The same, whichever thread it is.
fn served_with(options: MachineOptions, body: impl FnOnce(&mut GpuMachine)) {
    served_by(options, |vm, _| body(vm));
}

/// The same under QEMU 11.1, with a picture of 300 by 200 pixels, resource 1, on scanout 0.
pub fn shown(body: impl FnOnce(&mut GpuMachine, &mut Canvas)) {
    served_with(options(), |vm| {
        let mut canvas = canvas_on(vm, 0, 1, 300, 200);
        body(vm, &mut canvas);
    });
}

/// Waits until a scanout shows exactly a picture, out of a buffer.
pub fn await_dmabuf(vm: &GpuMachine, scanout: usize, picture: &Picture) {
    vm.display.wait(soon(), |display| display.dmabuf(scanout).is_some()).unwrap();
    await_picture(vm, scanout, picture);
}

/// A canvas of noise on a scanout.
pub fn canvas_on(vm: &mut GpuMachine, scanout: u32, id: u32, width: u32, height: u32) -> Canvas {
    let mut canvas = Canvas::new(&mut vm.driver, id, width, height);
    canvas.draw(Picture::noise(width, height, u64::from(id)));
    canvas.transfer(&mut vm.driver, canvas.rect());
    canvas.put_on(&mut vm.driver, scanout);
    await_dmabuf(vm, scanout as usize, &canvas.picture);
    canvas
}

/// A black resource of so many pixels square, on scanout 0.
fn show_black(vm: &mut GpuMachine, id: u32, side: u32) {
    vm.driver.create_2d(id, format::B8G8R8X8, side, side).unwrap().ok().unwrap();
    vm.driver.set_scanout(0, id, Rect::new(0, 0, side, side)).unwrap().ok().unwrap();
}

#[test]
fn a_picture_is_handed_over_once_and_its_frames_tell_what_changed() {
    shown(|vm, canvas| {
        vm.display.with(|display| {
            let buffer = display.dmabuf(0).unwrap();
            let size = (buffer.fd_width, buffer.fd_height, buffer.stride);
            assert_eq!(size, (300, 200, 1200));
            assert_eq!((buffer.flags, buffer.fourcc, buffer.modifier), (0, u32::from_le_bytes(*b"XR24"), Some(0)));
            display.take_log();
        });
        canvas.fill(Rect::new(65, 17, 1, 1), 0x12_3456);
        canvas.present_all(&mut vm.driver);
        await_dmabuf(vm, 0, &canvas.picture);
        vm.display.wait(soon(), |display| display.dmabuf(0).unwrap().updates == 2).unwrap();
        canvas.present_all(&mut vm.driver);
        assert_answers(vm);
        let events = vm.display.with(Display::take_log);
        assert_eq!(
            events,
            [Event::DmabufUpdate { scanout: 0, rect: Rect::new(64, 16, 64, 16) }],
            "and nothing changed after"
        );
        assert_eq!(vm.display.with(|display| display.counters().of(number::UPDATE)), 0);
    });
}

#[test]
fn a_frame_tells_of_all_that_changed_in_it() {
    shown(|vm, canvas| {
        vm.display.with(Display::take_log);
        for at in [(10, 100), (150, 20), (290, 190)] {
            canvas.fill(Rect::new(at.0, at.1, 1, 1), 0x12_3456);
        }
        canvas.present_all(&mut vm.driver);
        vm.display.wait(soon(), |display| display.dmabuf(0).unwrap().updates == 2).unwrap();
        let events = vm.display.with(Display::take_log);
        assert_eq!(events, [Event::DmabufUpdate { scanout: 0, rect: Rect::new(0, 16, 300, 176) }]);
    });
}

#[test]
fn a_display_without_the_second_feature_gets_the_first_message() {
    for (qemu, features) in [(Qemu::V7_2, 0), (Qemu::V11_1, 1)] {
        let display = DisplayConfig { features, ..DisplayConfig::default() };
        served_with(MachineOptions { display, ..MachineOptions::new(qemu).unwrap() }, |vm| {
            canvas_on(vm, 0, 1, 64, 64);
            vm.display.with(|display| {
                assert_eq!(display.dmabuf(0).unwrap().modifier, None);
                assert_eq!(display.counters().of(number::DMABUF_SCANOUT), 1);
            });
        });
    }
}

#[test]
fn all_formats_are_in_the_order_that_the_display_is_told() {
    served_with(options(), |vm| {
        for (id, format) in (1..).zip([format::B8G8R8A8, format::A8R8G8B8, format::R8G8B8X8, format::A8B8G8R8]) {
            let mut canvas = Canvas::with_format(&mut vm.driver, id, format, 70, 30);
            canvas.draw(Picture::noise(70, 30, u64::from(id)));
            canvas.put_on(&mut vm.driver, 0);
            canvas.present_all(&mut vm.driver);
            await_dmabuf(vm, 0, &canvas.picture);
        }
    });
}

#[test]
fn parts_go_as_pixels_but_for_the_top_left_one() {
    shown(|vm, canvas| {
        for part in [Rect::new(0, 0, 100, 100), Rect::new(200, 50, 100, 100), Rect::new(0, 0, 100, 150)] {
            vm.driver.set_scanout(1, 1, part).unwrap().ok().unwrap();
            canvas.fill(Rect::new(20, 20, 260, 100), part.width * part.height);
            canvas.present_all(&mut vm.driver);
            await_picture(vm, 1, &canvas.picture.crop(part));
            assert_eq!(vm.display.with(|display| display.dmabuf(1).is_some()), part.x == 0);
        }
        vm.driver.set_scanout(1, 0, Rect::new(0, 0, 0, 0)).unwrap().ok().unwrap();
        let off = |display: &Display| display.dmabuf(1).is_none() && display.log().last().is_some_and(is_disabled);
        vm.display.wait(soon(), off).unwrap();
    });
}

fn is_disabled(event: &Event) -> bool {
    matches!(event, Event::Scanout { scanout: 1, width: 0, height: 0 })
}

#[test]
fn pictures_beyond_the_number_that_can_be_exported_go_as_pixels() {
    served_with(options(), |vm| {
        let count = MAX_EXPORTS as u32;
        (1..=count + 2).for_each(|id| show_black(vm, id, 8));
        vm.display.wait(soon(), |display| display.surface(0).is_some_and(|surface| surface.updates > 0)).unwrap();
        // One that goes makes room for another.
        vm.driver.call(&Command::ResourceUnref { resource_id: 1 }).unwrap().ok().unwrap();
        canvas_on(vm, 0, count + 3, 64, 64);
    });
}

#[test]
fn a_display_that_never_reads_holds_no_guest_and_no_more_than_its_buffers() {
    shown(|vm, _| {
        vm.display.with(|display| display.set_reading(false));
        // More descriptors than a process may have on their way.
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        for id in 2..1200 {
            show_black(vm, id, 64);
            vm.driver.call(&Command::ResourceUnref { resource_id: id - 1 }).unwrap().ok().unwrap();
        }
        assert!(descriptors() < before + 100, "{} and then {}", before, descriptors());
        vm.display.with(|display| display.set_reading(true));
        await_dmabuf(vm, 0, &Picture::flat(64, 64, 0));
    });
}
