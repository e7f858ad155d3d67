//! Pictures by DMABUF. The back end runs in a thread of the test, and its buffers are plain memfds, which the display maps
//! just as well: see [`udmabuf`](crate::udmabuf) for the program with real ones.

use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use seat_frontend::control::{FrontEnd, Qemu, Start};
use seat_frontend::display::wire::reply;
use seat_frontend::display::{Display, DisplayConfig, DisplayThread, Event, message as number};
use seat_frontend::gpu::{Command, Rect, format, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use vhost_seat::backend;
use vhost_seat::gpu::udmabuf::{Exporter, MAX_EXPORTS};
use vhost_seat::gpu::{Gpu, Options};
use vhost_seat::socket::Endpoint;

use crate::common::canvas::{Canvas, await_picture};
use crate::common::picture::Picture;
use crate::common::{assert_answers, await_display_features, await_kicks_seen, options, patient, soon};

/// A machine whose back end is a thread of the test.
pub struct Seat {
    pub vm: GpuMachine,
    back_end: JoinHandle<Result<(), backend::Error>>,
}

impl Seat {
    fn boot() -> Seat {
        Seat::boot_with(options())
    }

    fn boot_with(options: MachineOptions) -> Seat {
        let (front, theirs) = FrontEnd::pair().unwrap();
        let back_end = std::thread::spawn(move || {
            let mut gpu = Gpu::new(Options::new(256 << 20));
            gpu.export_by(Exporter::of_memfds());
            let signals = SignalFd::new(&SigSet::empty()).unwrap();
            backend::serve(gpu, Endpoint::Connected(theirs), signals)
        });
        let mut vm = GpuMachine::boot(patient(front), options).unwrap();
        vm.driver.set_timeout(Duration::from_secs(60));
        await_display_features(&vm);
        Seat { vm, back_end }
    }

    /// The back end ends well, and the display has nothing to complain of.
    fn end(self) {
        drop(self.vm.quit().unwrap().into_display());
        self.back_end.join().unwrap().unwrap();
    }
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

/// Keeps the display's answers back from now on.
fn withhold(vm: &GpuMachine) {
    vm.display.with(|display| {
        display.take_log();
        display.withhold_replies(true).unwrap();
    });
}

fn await_withheld(vm: &GpuMachine, count: usize) {
    vm.display.wait(soon(), |display| display.withheld() == count).unwrap();
}

/// Draws a pixel and presents it without waiting for any answer.
fn queue_pixel(vm: &mut GpuMachine, canvas: &mut Canvas, x: u32, y: u32) {
    let pixel = Rect::new(x, y, 1, 1);
    canvas.fill(pixel, canvas.picture.at(x, y) ^ 0xff);
    let offset = canvas.offset(pixel);
    vm.driver.queue(&Command::TransferToHost2d { rect: pixel, offset, resource_id: canvas.id }).unwrap();
    vm.driver.queue(&Command::ResourceFlush { rect: pixel, resource_id: canvas.id }).unwrap();
    vm.driver.kick();
}

/// A frame that the display keeps, and a flush of the next one that waits.
fn hold_flush(vm: &mut GpuMachine, canvas: &mut Canvas) {
    withhold(vm);
    for (x, done) in [(1, 2), (70, 1)] {
        queue_pixel(vm, canvas, x, 1);
        (0..done).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    }
    await_withheld(vm, 1);
    await_kicks_seen(vm);
    assert!(vm.driver.poll_done().unwrap().is_none(), "the second flush waits");
}

fn frames(events: &[Event], of: u32) -> Vec<Rect> {
    let rect = |event: &Event| match event {
        Event::DmabufUpdate { scanout, rect } if *scanout == of => Some(*rect),
        _ => None,
    };
    events.iter().filter_map(rect).collect()
}

#[test]
fn a_picture_is_handed_over_once_and_its_frames_tell_what_changed() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    vm.display.with(|display| {
        let buffer = display.dmabuf(0).unwrap();
        let layout = (buffer.fd_width, buffer.fd_height, buffer.stride, buffer.flags, buffer.fourcc, buffer.modifier);
        assert_eq!(layout, (300, 200, 1200, 0, u32::from_le_bytes(*b"XR24"), Some(0)));
        display.take_log();
    });
    canvas.fill(Rect::new(65, 17, 1, 1), 0x12_3456);
    canvas.present_all(&mut vm.driver);
    await_dmabuf(&vm, 0, &canvas.picture);
    vm.display.wait(soon(), |display| display.dmabuf(0).unwrap().updates == 2).unwrap();
    canvas.present_all(&mut vm.driver);
    assert_answers(&mut vm);
    let events = vm.display.with(Display::take_log);
    assert_eq!(
        events,
        [Event::DmabufUpdate { scanout: 0, rect: Rect::new(64, 16, 64, 16) }],
        "and nothing changed after"
    );
    assert_eq!(vm.display.with(|display| display.counters().of(number::UPDATE)), 0);
    Seat { vm, back_end }.end();
}

#[test]
fn a_display_without_the_second_feature_gets_the_first_message() {
    for (qemu, features) in [(Qemu::V7_2, 0), (Qemu::V11_1, 1)] {
        let display = DisplayConfig { features, ..DisplayConfig::default() };
        let mut seat = Seat::boot_with(MachineOptions { display, ..MachineOptions::new(qemu).unwrap() });
        canvas_on(&mut seat.vm, 0, 1, 64, 64);
        seat.vm.display.with(|display| {
            assert_eq!(display.dmabuf(0).unwrap().modifier, None);
            assert_eq!(display.counters().of(number::DMABUF_SCANOUT), 1);
        });
        seat.end();
    }
}

#[test]
fn all_formats_are_in_the_order_that_the_display_is_told() {
    let mut seat = Seat::boot();
    for (id, format) in (1..).zip([format::B8G8R8A8, format::A8R8G8B8, format::R8G8B8X8, format::A8B8G8R8]) {
        let mut canvas = Canvas::with_format(&mut seat.vm.driver, id, format, 70, 30);
        canvas.draw(Picture::noise(70, 30, u64::from(id)));
        canvas.put_on(&mut seat.vm.driver, 0);
        canvas.present_all(&mut seat.vm.driver);
        await_dmabuf(&seat.vm, 0, &canvas.picture);
    }
    seat.end();
}

#[test]
fn while_a_frame_is_out_the_next_flush_waits_and_all_else_goes_on() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    let config = vm.front.get_config(0, 20).unwrap();
    hold_flush(&mut vm, &mut canvas);
    for at in 1..20 {
        vm.driver.update_cursor(0, 1, (at, at), (0, 0)).unwrap();
        vm.display.wait(soon(), |display| display.cursor(0).at == (at, at)).unwrap();
    }
    assert_eq!(vm.front.get_config(0, 20).unwrap(), config);
    let events = vm.display.with(Display::take_log);
    assert_eq!(frames(&events, 0), [Rect::new(1, 1, 1, 1)]);

    vm.display.with(|display| display.release_replies(1)).unwrap();

    assert!(vm.driver.next_done().unwrap().response.is_ok());
    await_withheld(&vm, 1);
    assert_eq!(frames(&vm.display.with(Display::take_log), 0), [Rect::new(70, 1, 1, 1)]);
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    Seat { vm, back_end }.end();
}

#[test]
fn a_display_that_takes_no_frame_for_a_second_holds_no_guest_and_gets_all_at_once_later() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    // The one that waits is let go, and none waits after that.
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    for x in 0..20 {
        queue_pixel(&mut vm, &mut canvas, 290, x * 10);
        (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    }
    assert_eq!(frames(&vm.display.with(Display::take_log), 0).len(), 1);

    vm.display.with(|display| display.withhold_replies(false)).unwrap();

    await_dmabuf(&vm, 0, &canvas.picture);
    vm.display.wait(soon(), |display| display.log().any(|event| matches!(event, Event::DmabufUpdate { .. }))).unwrap();
    assert_eq!(frames(&vm.display.with(Display::take_log), 0), [Rect::new(70, 0, 221, 191)]);
    Seat { vm, back_end }.end();
}

#[test]
fn two_scanouts_of_one_resource_wait_each_for_its_own_frame() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    canvas.put_on(&mut vm.driver, 3);
    await_dmabuf(&vm, 3, &canvas.picture);
    withhold(&vm);
    queue_pixel(&mut vm, &mut canvas, 1, 1);
    (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    await_withheld(&vm, 2);
    queue_pixel(&mut vm, &mut canvas, 70, 1);
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    assert_eq!(vm.display.with(|display| display.release_replies(1)).unwrap(), 1);
    // The first scanout's next frame, while the second's last one is still out.
    await_withheld(&vm, 2);
    await_kicks_seen(&mut vm);
    assert!(vm.driver.poll_done().unwrap().is_none(), "the flush waits for both");

    vm.display.with(|display| display.release_replies(1)).unwrap();

    assert!(vm.driver.next_done().unwrap().response.is_ok());
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    vm.display.wait(soon(), |display| frames(&display.log().copied().collect::<Vec<_>>(), 3).len() == 2).unwrap();
    let events = vm.display.with(Display::take_log);
    for scanout in [0, 3] {
        assert_eq!(frames(&events, scanout), [Rect::new(1, 1, 1, 1), Rect::new(70, 1, 1, 1)]);
    }
    Seat { vm, back_end }.end();
}

#[test]
fn a_flip_hands_the_other_buffer_over_once_the_last_frame_was_taken() {
    let Seat { mut vm, back_end } = Seat::boot();
    let front = canvas_on(&mut vm, 0, 1, 300, 200);
    let mut back = Canvas::new(&mut vm.driver, 2, 300, 200);
    back.draw(Picture::noise(300, 200, 9));
    back.transfer(&mut vm.driver, back.rect());
    withhold(&vm);
    for canvas in [&back, &front, &back, &front, &back] {
        canvas.put_on(&mut vm.driver, 0);
    }
    await_withheld(&vm, 1);
    await_kicks_seen(&mut vm);
    // Whatever the guest does, no more than one is on its way.
    assert_eq!(vm.display.with(|display| display.counters().of(number::DMABUF_SCANOUT2)), 2);
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    await_dmabuf(&vm, 0, &back.picture);
    Seat { vm, back_end }.end();
}

#[test]
fn parts_go_as_pixels_but_for_the_top_left_one() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    let parts = [Rect::new(0, 0, 100, 100), Rect::new(200, 50, 100, 100), Rect::new(0, 0, 100, 150)];
    for (scanout, part) in [(1, parts[0]), (1, parts[1]), (1, parts[2])] {
        vm.driver.set_scanout(scanout, 1, part).unwrap().ok().unwrap();
        canvas.fill(Rect::new(20, 20, 260, 100), part.width * part.height);
        canvas.present_all(&mut vm.driver);
        let seen = canvas.picture.crop(part);
        await_picture(&vm, 1, &seen);
        assert_eq!(vm.display.with(|display| display.dmabuf(1).is_some()), part.x == 0);
    }
    vm.driver.set_scanout(1, 0, Rect::new(0, 0, 0, 0)).unwrap().ok().unwrap();
    let off = |display: &Display| display.dmabuf(1).is_none() && display.log().last().is_some_and(is_disabled);
    vm.display.wait(soon(), off).unwrap();
    Seat { vm, back_end }.end();
}

fn is_disabled(event: &Event) -> bool {
    matches!(event, Event::Scanout { scanout: 1, width: 0, height: 0 })
}

#[test]
fn pictures_beyond_the_number_that_can_be_exported_go_as_pixels() {
    let Seat { mut vm, back_end } = Seat::boot();
    let count = MAX_EXPORTS as u32;
    for id in 1..=count + 2 {
        vm.driver.create_2d(id, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();
        vm.driver.set_scanout(0, id, Rect::new(0, 0, 8, 8)).unwrap().ok().unwrap();
    }
    vm.display.wait(soon(), |display| display.surface(0).is_some_and(|surface| surface.updates > 0)).unwrap();
    // One that goes makes room for another.
    vm.driver.call(&Command::ResourceUnref { resource_id: 1 }).unwrap().ok().unwrap();
    canvas_on(&mut vm, 0, count + 3, 64, 64);
    Seat { vm, back_end }.end();
}

#[test]
fn a_resource_that_goes_while_its_frame_is_out_takes_nothing_with_it() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    withhold(&vm);
    queue_pixel(&mut vm, &mut canvas, 1, 1);
    (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    await_withheld(&vm, 1);
    vm.driver.call(&Command::ResourceUnref { resource_id: 1 }).unwrap().ok().unwrap();
    vm.display.wait(soon(), |display| display.dmabuf(0).is_none()).unwrap();
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    canvas_on(&mut vm, 0, 2, 64, 64);
    Seat { vm, back_end }.end();
}

#[test]
fn a_new_display_is_handed_the_picture_and_a_flush_that_waited_for_the_old_one_is_answered() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    let (display, socket) = DisplayThread::pair(DisplayConfig::default()).unwrap();

    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    drop(socket);
    let _old = std::mem::replace(&mut vm.display, display);

    assert!(vm.driver.next_done().unwrap().response.is_ok());
    await_dmabuf(&vm, 0, &canvas.picture);
    Seat { vm, back_end }.end();
}

#[test]
fn a_flush_that_waits_for_a_display_that_hangs_up_or_breaks_the_protocol_is_answered() {
    for hangs_up in [true, false] {
        let Seat { mut vm, back_end } = Seat::boot();
        let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
        hold_flush(&mut vm, &mut canvas);
        match hangs_up {
            true => vm.display.close(),
            false => vm.display.with(|display| display.send_raw(&reply(99, &[]))).unwrap(),
        }
        assert!(vm.driver.next_done().unwrap().response.is_ok());
        assert_answers(&mut vm);
        Seat { vm, back_end }.end();
    }
}

#[test]
fn a_pause_while_a_flush_waits_loses_neither_the_flush_nor_the_picture() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    vm.pause().unwrap();
    vm.resume().unwrap();
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    await_dmabuf(&vm, 0, &canvas.picture);
    Seat { vm, back_end }.end();
}

#[test]
fn a_flush_that_waits_in_a_disabled_queue_is_answered_once_that_is_enabled() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    vm.front.set_vring_enable(0, false).unwrap();
    vm.front.barrier().unwrap();
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    await_kicks_seen(&mut vm);
    assert!(vm.driver.poll_done().unwrap().is_none());
    vm.front.set_vring_enable(0, true).unwrap();
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    await_dmabuf(&vm, 0, &canvas.picture);
    assert_answers(&mut vm);
    Seat { vm, back_end }.end();
}

#[test]
fn a_reset_while_a_flush_waits_leaves_nothing_of_it() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    vm.reboot().unwrap();
    await_display_features(&vm);
    assert_answers(&mut vm);
    canvas_on(&mut vm, 0, 1, 64, 64);
    Seat { vm, back_end }.end();
}

#[test]
fn after_a_reset_on_the_same_display_its_answer_is_still_waited_for() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    vm.front.reset().unwrap();
    vm.driver.reset();
    let memory = vm.driver.memory().clone();
    let (features, rings) = (vm.features(), vm.driver.rings());
    vm.front.start(&Start { memory: memory.regions(), rings: &rings, features, gpu_socket: None }).unwrap();
    let canvas = Canvas::new(&mut vm.driver, 1, 64, 64);
    canvas.put_on(&mut vm.driver, 0);
    await_kicks_seen(&mut vm);
    vm.display.with(|display| {
        assert_eq!(frames(&display.take_log(), 0).len(), 1, "the one of before");
        display.withhold_replies(false).unwrap();
    });
    await_dmabuf(&vm, 0, &canvas.picture);
    Seat { vm, back_end }.end();
}

#[test]
fn answers_that_no_frame_waits_for_change_nothing() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    let unasked = reply(number::DMABUF_UPDATE, &[]).repeat(1000);
    vm.display.with(|display| display.send_raw(&unasked)).unwrap();
    for round in 0..10 {
        queue_pixel(&mut vm, &mut canvas, round * 20, 1);
        (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
        vm.display.with(|display| display.send_raw(&reply(number::DMABUF_UPDATE, &[]))).unwrap();
        assert!(vm.driver.display_info().unwrap()[0].enabled);
    }
    await_dmabuf(&vm, 0, &canvas.picture);
    Seat { vm, back_end }.end();
}

#[test]
fn a_frame_whose_answer_got_lost_was_taken_when_something_later_is_answered() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    withhold(&vm);
    queue_pixel(&mut vm, &mut canvas, 1, 1);
    (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    await_withheld(&vm, 1);
    vm.driver.queue(&Command::GetDisplayInfo).unwrap();
    vm.driver.kick();
    await_withheld(&vm, 2);

    vm.display.with(|display| {
        display.lose_replies(1);
        display.withhold_replies(false).unwrap();
    });

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
    queue_pixel(&mut vm, &mut canvas, 70, 1);
    (0..2).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
    vm.display.wait(soon(), |display| frames(&display.log().copied().collect::<Vec<_>>(), 0).len() == 2).unwrap();
    Seat { vm, back_end }.end();
}

#[test]
fn a_display_that_forgot_to_answer_is_asked_and_gets_the_next_frame() {
    let Seat { mut vm, back_end } = Seat::boot();
    let mut canvas = canvas_on(&mut vm, 0, 1, 300, 200);
    hold_flush(&mut vm, &mut canvas);
    vm.display.with(|display| display.lose_replies(1));
    // Nobody waits for that answer any longer; whoever stirs then, the display is asked.
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    assert_answers(&mut vm);
    await_withheld(&vm, 1);

    vm.display.with(|display| display.withhold_replies(false)).unwrap();

    vm.display.wait(soon(), |display| frames(&display.log().copied().collect::<Vec<_>>(), 0).len() == 2).unwrap();
    assert_eq!(vm.display.with(|display| display.counters().of(number::GET_DISPLAY_INFO)), 1);
    Seat { vm, back_end }.end();
}

#[test]
fn a_display_that_never_reads_holds_no_guest_and_no_more_than_its_buffers() {
    let Seat { mut vm, back_end } = Seat::boot();
    canvas_on(&mut vm, 0, 1, 300, 200);
    vm.display.with(|display| display.set_reading(false));
    // More descriptors than a process may have on their way.
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for id in 2..1200 {
        vm.driver.create_2d(id, format::B8G8R8X8, 64, 64).unwrap().ok().unwrap();
        vm.driver.set_scanout(0, id, Rect::new(0, 0, 64, 64)).unwrap().ok().unwrap();
        vm.driver.call(&Command::ResourceUnref { resource_id: id - 1 }).unwrap().ok().unwrap();
    }
    assert!(descriptors() < before + 100, "{} and then {}", before, descriptors());
    vm.display.with(|display| display.set_reading(true));
    await_dmabuf(&vm, 0, &Picture::flat(64, 64, 0));
    Seat { vm, back_end }.end();
}
