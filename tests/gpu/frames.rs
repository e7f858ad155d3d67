//! Frames of DMABUFs, which the display takes in its own time: guests wait for it, and not for ever. On the machine of
//! [`dmabuf`](crate::dmabuf).

use std::os::fd::AsFd;

use seat_frontend::control::Start;
use seat_frontend::display::wire::reply;
use seat_frontend::display::{Display, DisplayConfig, DisplayThread, Event, message as number};
use seat_frontend::gpu::{Command, Rect, resp};
use seat_frontend::machine::GpuMachine;

use crate::common::canvas::Canvas;
use crate::common::picture::Picture;
use crate::common::{assert_answers, await_display_features, await_kicks_seen, options, sleeps, soon};
use crate::dmabuf::{await_dmabuf, canvas_on, served_by, shown};

/// The whole of a test with a frame that the display keeps, and a flush of the next one that waits.
fn held(body: impl FnOnce(&mut GpuMachine, &mut Canvas)) {
    shown(|vm, canvas| {
        hold(vm, canvas);
        body(vm, canvas);
    });
}

fn hold(vm: &mut GpuMachine, canvas: &mut Canvas) {
    withhold(vm);
    present_pixel(vm, canvas, 1, 1);
    queue_pixel(vm, canvas, 70, 1);
    await_done(vm, 1);
    await_withheld(vm, 1);
    assert_waits(vm, "the second flush");
}

/// Keeps the display's answers back from now on.
fn withhold(vm: &GpuMachine) {
    vm.display.with(|display| {
        display.take_log();
        display.withhold_replies(true).unwrap();
    });
}

/// Lets all of them go, and those to come.
fn release(vm: &GpuMachine) {
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
}

/// Another display, which withholds its answers or does not. Returns the one of before.
fn change_display(vm: &mut GpuMachine, withholds: bool) -> DisplayThread {
    let (display, socket) = DisplayThread::pair(DisplayConfig::default()).unwrap();
    display.with(|display| display.withhold_replies(withholds)).unwrap();
    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    std::mem::replace(&mut vm.display, display)
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

/// The same, and waits.
fn present_pixel(vm: &mut GpuMachine, canvas: &mut Canvas, x: u32, y: u32) {
    queue_pixel(vm, canvas, x, y);
    await_done(vm, 2);
}

/// So many commands more are done, and well.
#[track_caller]
fn await_done(vm: &mut GpuMachine, count: usize) {
    (0..count).for_each(|_| assert!(vm.driver.next_done().unwrap().response.is_ok()));
}

/// Nothing more is done than was taken.
#[track_caller]
fn assert_waits(vm: &mut GpuMachine, what: &str) {
    await_kicks_seen(vm);
    assert!(vm.driver.poll_done().unwrap().is_none(), "{what} waits");
}

fn frames<'a>(events: impl IntoIterator<Item = &'a Event>, of: u32) -> Vec<Rect> {
    let rect = |event: &Event| match event {
        Event::DmabufUpdate { scanout, rect } if *scanout == of => Some(*rect),
        _ => None,
    };
    events.into_iter().filter_map(rect).collect()
}

/// Those that the display was told of since its log was taken last.
fn take_frames(vm: &GpuMachine, of: u32) -> Vec<Rect> {
    frames(&vm.display.with(Display::take_log), of)
}

fn await_frames(vm: &GpuMachine, of: u32, count: usize) {
    vm.display.wait(soon(), |display| frames(display.log(), of).len() == count).unwrap();
}

#[test]
fn while_a_frame_is_out_the_next_flush_waits_and_all_else_goes_on() {
    held(|vm, _| {
        let config = vm.front.get_config(0, 20).unwrap();
        for at in 1..20 {
            vm.driver.update_cursor(0, 1, (at, at), (0, 0)).unwrap();
            vm.display.wait(soon(), |display| display.cursor(0).at == (at, at)).unwrap();
        }
        assert_eq!(vm.front.get_config(0, 20).unwrap(), config);
        assert_eq!(take_frames(vm, 0), [Rect::new(1, 1, 1, 1)]);

        vm.display.with(|display| display.release_replies(1)).unwrap();

        await_withheld(vm, 1);
        await_kicks_seen(vm);
        assert!(vm.driver.poll_done().unwrap().is_some(), "it does not wait for its own frame");
        assert_eq!(take_frames(vm, 0), [Rect::new(70, 1, 1, 1)]);
        release(vm);
    });
}

#[test]
fn nothing_is_burned_while_a_flush_waits() {
    served_by(options(), |vm, back_end| {
        let mut canvas = canvas_on(vm, 0, 1, 300, 200);
        hold(vm, &mut canvas);
        // A loop that spins would take the front end's messages one a turn and never sleep, a sleeping one is woken by each.
        let before = sleeps(back_end);
        for _ in 0..20 {
            vm.front.get_features().unwrap();
        }
        assert!(sleeps(back_end) > before, "it sleeps between two messages");
        release(vm);
        await_done(vm, 1);
    });
}

#[test]
fn a_flush_waits_for_no_frame_of_another_resource() {
    shown(|vm, canvas| {
        let mut other = canvas_on(vm, 3, 2, 64, 64);
        let next = Canvas::new(&mut vm.driver, 3, 64, 64);
        withhold(vm);
        present_pixel(vm, &mut other, 1, 1);
        await_withheld(vm, 1);
        // The other scanout has a frame out, and another one due.
        next.put_on(&mut vm.driver, 3);

        present_pixel(vm, canvas, 1, 1);

        await_withheld(vm, 2);
        vm.driver.queue(&Command::ResourceFlush { rect: next.rect(), resource_id: 3 }).unwrap();
        vm.driver.kick();
        assert_waits(vm, "a flush of the other one, for which it is not too long yet");
        release(vm);
        await_done(vm, 1);
    });
}

#[test]
fn a_display_that_takes_no_frame_for_a_second_holds_no_guest_and_gets_all_at_once_later() {
    held(|vm, canvas| {
        // The one that waits is let go, and none waits after that.
        await_done(vm, 1);
        (0..20).for_each(|x| present_pixel(vm, canvas, 290, x * 10));
        assert_eq!(take_frames(vm, 0).len(), 1);

        release(vm);

        await_dmabuf(vm, 0, &canvas.picture);
        await_frames(vm, 0, 1);
        assert_eq!(take_frames(vm, 0), [Rect::new(70, 0, 221, 191)]);
    });
}

#[test]
fn two_scanouts_of_one_resource_wait_each_for_its_own_frame() {
    shown(|vm, canvas| {
        canvas.put_on(&mut vm.driver, 3);
        await_dmabuf(vm, 3, &canvas.picture);
        withhold(vm);
        present_pixel(vm, canvas, 1, 1);
        await_withheld(vm, 2);
        queue_pixel(vm, canvas, 70, 1);
        await_done(vm, 1);
        assert_eq!(vm.display.with(|display| display.release_replies(1)).unwrap(), 1);
        // The first scanout's next frame, while the second's last one is still out.
        await_withheld(vm, 2);
        assert_waits(vm, "the flush");

        vm.display.with(|display| display.release_replies(1)).unwrap();

        await_done(vm, 1);
        release(vm);
        await_frames(vm, 3, 2);
        let events = vm.display.with(Display::take_log);
        for scanout in [0, 3] {
            assert_eq!(frames(&events, scanout), [Rect::new(1, 1, 1, 1), Rect::new(70, 1, 1, 1)]);
        }
    });
}

#[test]
fn a_flip_hands_the_other_buffer_over_once_the_last_frame_was_taken() {
    shown(|vm, front| {
        let mut back = Canvas::new(&mut vm.driver, 2, 300, 200);
        back.draw(Picture::noise(300, 200, 9));
        back.transfer(&mut vm.driver, back.rect());
        withhold(vm);
        for canvas in [&back, front, &back, front, &back] {
            canvas.put_on(&mut vm.driver, 0);
        }
        await_withheld(vm, 1);
        await_kicks_seen(vm);
        // Whatever the guest does, no more than one is on its way.
        assert_eq!(vm.display.with(|display| display.counters().of(number::DMABUF_SCANOUT2)), 2);
        release(vm);
        await_dmabuf(vm, 0, &back.picture);
    });
}

#[test]
fn a_resource_that_goes_while_its_frame_is_out_takes_nothing_with_it() {
    shown(|vm, canvas| {
        withhold(vm);
        present_pixel(vm, canvas, 1, 1);
        await_withheld(vm, 1);
        vm.driver.call(&Command::ResourceUnref { resource_id: 1 }).unwrap().ok().unwrap();
        vm.display.wait(soon(), |display| display.dmabuf(0).is_none()).unwrap();
        release(vm);
        canvas_on(vm, 0, 2, 64, 64);
    });
}

#[test]
fn a_new_display_is_handed_the_picture_and_a_flush_that_waited_for_the_old_one_is_answered() {
    held(|vm, canvas| {
        let _old = change_display(vm, false);

        await_done(vm, 1);
        await_dmabuf(vm, 0, &canvas.picture);
    });
}

#[test]
fn a_display_that_has_not_said_what_it_knows_is_handed_nothing() {
    shown(|vm, canvas| {
        let _old = change_display(vm, true);
        await_withheld(vm, 1);

        present_pixel(vm, canvas, 1, 1);

        await_kicks_seen(vm);
        vm.driver.update_cursor(0, 1, (7, 7), (0, 0)).unwrap();
        vm.display.wait(soon(), |display| display.cursor(0).at == (7, 7)).unwrap();
        let handed = [number::DMABUF_SCANOUT, number::DMABUF_SCANOUT2];
        vm.display.with(|display| assert_eq!(handed.map(|message| display.counters().of(message)), [0, 0]));
        release(vm);
        await_dmabuf(vm, 0, &canvas.picture);
    });
}

#[test]
fn a_flush_that_waits_for_a_display_that_hangs_up_or_breaks_the_protocol_is_answered() {
    for hangs_up in [true, false] {
        held(|vm, _| {
            match hangs_up {
                true => vm.display.close(),
                false => vm.display.with(|display| display.send_raw(&reply(99, &[]))).unwrap(),
            }
            await_done(vm, 1);
            assert_answers(vm);
        });
    }
}

#[test]
fn a_pause_while_a_flush_waits_loses_neither_the_flush_nor_the_picture() {
    held(|vm, canvas| {
        vm.pause().unwrap();
        vm.resume().unwrap();
        await_done(vm, 1);
        await_dmabuf(vm, 0, &canvas.picture);
    });
}

#[test]
fn a_flush_that_waits_in_a_disabled_queue_is_answered_once_that_is_enabled() {
    held(|vm, canvas| {
        vm.front.set_vring_enable(0, false).unwrap();
        vm.front.barrier().unwrap();
        release(vm);
        assert_waits(vm, "the flush");
        vm.front.set_vring_enable(0, true).unwrap();
        await_done(vm, 1);
        await_dmabuf(vm, 0, &canvas.picture);
        assert_answers(vm);
    });
}

#[test]
fn a_reset_while_a_flush_waits_leaves_nothing_of_it() {
    held(|vm, _| {
        vm.reboot().unwrap();
        await_display_features(vm);
        assert_answers(vm);
        canvas_on(vm, 0, 1, 64, 64);
    });
}

#[test]
fn after_a_reset_on_the_same_display_its_answer_is_still_waited_for() {
    held(|vm, _| {
        vm.front.reset().unwrap();
        vm.driver.reset();
        let memory = vm.driver.memory().clone();
        let (features, rings) = (vm.features(), vm.driver.rings());
        vm.front.start(&Start { memory: memory.regions(), rings: &rings, features, gpu_socket: None }).unwrap();
        let canvas = Canvas::new(&mut vm.driver, 1, 64, 64);
        canvas.put_on(&mut vm.driver, 0);
        await_kicks_seen(vm);
        assert_eq!(take_frames(vm, 0).len(), 1, "the one of before");
        release(vm);
        await_dmabuf(vm, 0, &canvas.picture);
    });
}

#[test]
fn answers_that_no_frame_waits_for_change_nothing() {
    shown(|vm, canvas| {
        let unasked = reply(number::DMABUF_UPDATE, &[]);
        vm.display.with(|display| display.send_raw(&unasked.repeat(1000))).unwrap();
        for round in 0..10 {
            present_pixel(vm, canvas, round * 20, 1);
            vm.display.with(|display| display.send_raw(&unasked)).unwrap();
            assert!(vm.driver.display_info().unwrap()[0].enabled);
        }
        await_dmabuf(vm, 0, &canvas.picture);
    });
}

#[test]
fn a_frame_whose_answer_got_lost_was_taken_when_something_later_is_answered() {
    shown(|vm, canvas| {
        withhold(vm);
        present_pixel(vm, canvas, 1, 1);
        await_withheld(vm, 1);
        vm.driver.queue(&Command::GetDisplayInfo).unwrap();
        vm.driver.kick();
        await_withheld(vm, 2);

        vm.display.with(|display| display.lose_replies(1));
        release(vm);

        assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
        present_pixel(vm, canvas, 70, 1);
        await_frames(vm, 0, 2);
    });
}

#[test]
fn a_display_that_forgot_to_answer_is_asked_and_gets_the_next_frame() {
    held(|vm, _| {
        vm.display.with(|display| display.lose_replies(1));
        // Nobody waits for that answer any longer; whoever stirs then, the display is asked.
        await_done(vm, 1);
        assert_answers(vm);
        await_withheld(vm, 1);

        release(vm);

        await_frames(vm, 0, 2);
        assert_eq!(vm.display.with(|display| display.counters().of(number::GET_DISPLAY_INFO)), 1);
    });
}
