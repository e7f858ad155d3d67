//! What outlives what: reboots, pauses, front ends that come and go, and the program's end.
//!
//! QEMU's messages for a reset and for a pause look alike, unless RESET_DEVICE is negotiated. Each of the two is shown
//! with it and without.

use std::os::fd::AsFd;

use seat_frontend::control::wire::{VERSION, message};
use seat_frontend::control::{Start, protocol, request};
use seat_frontend::display::{Display, Event, message as display_message};
use seat_frontend::gpu::{Command, format, resp};
use seat_frontend::machine::GpuMachine;
use seat_frontend::program::Program;

use crate::common::canvas::{Canvas, await_picture, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{
    BINARY, Seat, assert_answers, await_display_features, boot, boot_on, connect, options, patient, program,
    realize_on, soon,
};

/// Whether the front end tells a reset by RESET_DEVICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resets {
    Told,
    Untold,
}

use Resets::{Told, Untold};

/// A machine that has booted under a front end that tells of resets, or does not.
fn boot_telling(program: &Program, resets: Resets) -> GpuMachine {
    let mut vm = realize_on(program, options());
    assert!(vm.front.has(protocol::RESET_DEVICE));
    if resets == Untold {
        let others = vm.front.protocol_features() & !(1 << protocol::RESET_DEVICE);
        vm.front.set_protocol_features(others).unwrap();
    }
    vm.start().unwrap();
    vm
}

fn for_both(test: impl Fn(GpuMachine)) {
    for resets in [Told, Untold] {
        let program = program(&[]);
        test(boot_telling(&program, resets));
        assert_eq!(program.stderr(), "", "{resets:?}");
    }
}

#[test]
fn a_guest_boots_and_its_picture_is_shown() {
    let Seat { program, mut vm } = boot();

    let mut canvas = Canvas::new(&mut vm.driver, 1, 640, 480);
    canvas.draw(Picture::noise(640, 480, 1));
    canvas.put_on(&mut vm.driver, 0);
    canvas.present_all(&mut vm.driver);

    await_picture(&vm, 0, &canvas.picture);
    assert_eq!(program.stderr(), "");
}

#[test]
fn a_reset_before_the_first_start_even_twice_does_no_harm() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());

    vm.front.reset_device().unwrap();
    vm.front.reset_device().unwrap();
    vm.start().unwrap();

    canvas_on_screen(&mut vm, 1, 64, 64);
}

#[test]
fn after_a_reboot_the_old_resources_are_gone_and_their_ids_are_free() {
    for_both(|mut vm| {
        for boot in 0..3 {
            let unref = vm.driver.unref(1).unwrap();
            assert_eq!(unref.kind, resp::ERR_INVALID_RESOURCE_ID, "boot {boot}");
            canvas_on_screen(&mut vm, 1, 320, 200 + boot);

            vm.reboot().unwrap();
        }
        assert_answers(&mut vm);
    });
}

#[test]
fn after_a_reboot_the_new_display_shows_nothing_of_the_old_guest() {
    for_both(|mut vm| {
        canvas_on_screen(&mut vm, 1, 320, 200);
        vm.driver.update_cursor(0, 1, (5, 6), (0, 0)).unwrap();

        vm.reboot().unwrap();
        canvas_on_screen(&mut vm, 2, 64, 64);

        let log = vm.display.with(Display::take_log);
        let shown = |event: &&Event| matches!(event, Event::Scanout { width: 320, .. } | Event::CursorUpdate { .. });
        assert_eq!(log.iter().find(shown), None);
    });
}

#[test]
fn the_first_reset_after_a_single_command_is_no_pause() {
    for_both(|mut vm| {
        vm.driver.create_2d(1, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();

        vm.reboot().unwrap();

        vm.driver.create_2d(1, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();
    });
}

#[test]
fn a_pause_keeps_resources_and_the_new_display_gets_picture_and_cursor() {
    for_both(|mut vm| {
        let mut canvas = canvas_on_screen(&mut vm, 1, 320, 200);
        let pointer = Canvas::new(&mut vm.driver, 2, 64, 64);
        vm.driver.update_cursor(0, pointer.id, (30, 40), (1, 2)).unwrap();
        vm.driver.move_cursor(0, pointer.id, (31, 42)).unwrap();

        for round in 0..3 {
            vm.pause().unwrap();
            vm.resume().unwrap();

            await_picture(&vm, 0, &canvas.picture);
            let cursor = |at| {
                move |display: &Display| {
                    let cursor = display.cursor(0);
                    cursor.visible && cursor.at == at && cursor.hot == (1, 2) && !cursor.shape.is_empty()
                }
            };
            vm.display.wait(soon(), cursor((31, 42))).unwrap();
            canvas.draw(Picture::noise(320, 200, 100 + round));
            canvas.present_all(&mut vm.driver);
            await_picture(&vm, 0, &canvas.picture);
        }
    });
}

#[test]
fn a_hidden_cursor_stays_hidden_after_a_pause() {
    for_both(|mut vm| {
        let canvas = canvas_on_screen(&mut vm, 1, 64, 64);
        vm.driver.update_cursor(0, 1, (30, 40), (1, 2)).unwrap();
        vm.driver.update_cursor(0, 0, (30, 40), (0, 0)).unwrap();
        vm.display.wait(soon(), |display| !display.cursor(0).visible && display.cursor(0).shapes > 0).unwrap();

        vm.pause().unwrap();
        vm.resume().unwrap();

        await_picture(&vm, 0, &canvas.picture);
        assert!(!vm.display.with(|display| display.cursor(0).visible));
    });
}

#[test]
fn all_scanouts_come_back_after_a_pause() {
    for_both(|mut vm| {
        let mut canvases = Vec::new();
        for scanout in 0..16 {
            let mut canvas = Canvas::new(&mut vm.driver, scanout + 1, 64 + scanout, 32);
            canvas.draw(Picture::noise(64 + scanout, 32, scanout.into()));
            canvas.transfer(&mut vm.driver, canvas.rect());
            canvas.put_on(&mut vm.driver, scanout);
            canvases.push(canvas);
        }

        vm.pause().unwrap();
        vm.resume().unwrap();

        for (scanout, canvas) in canvases.iter().enumerate() {
            await_picture(&vm, scanout, &canvas.picture);
        }
    });
}

#[test]
fn a_pause_before_the_first_command_does_no_harm() {
    for_both(|mut vm| {
        vm.pause().unwrap();
        vm.resume().unwrap();

        canvas_on_screen(&mut vm, 1, 64, 64);
    });
}

#[test]
fn a_pause_exactly_when_the_index_wraps_to_0_keeps_resources() {
    for_both(|mut vm| {
        let canvas = canvas_on_screen(&mut vm, 1, 64, 64);
        run_to_index_0(&mut vm);

        vm.pause().unwrap();
        assert_eq!(vm.front.bases()[0], 0);
        vm.resume().unwrap();

        await_picture(&vm, 0, &canvas.picture);
        vm.driver.unref(1).unwrap().ok().unwrap();
    });
}

#[test]
fn a_reboot_exactly_when_the_index_wraps_to_0_forgets_resources() {
    for_both(|mut vm| {
        canvas_on_screen(&mut vm, 1, 64, 64);
        run_to_index_0(&mut vm);

        vm.reboot().unwrap();

        assert_eq!(vm.driver.unref(1).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    });
}

#[test]
fn a_pause_after_the_index_has_wrapped_keeps_resources() {
    for_both(|mut vm| {
        let canvas = canvas_on_screen(&mut vm, 1, 64, 64);
        run_to_index_0(&mut vm);
        (0..3).for_each(|_| assert_answers(&mut vm));

        vm.pause().unwrap();
        assert_eq!(vm.front.bases()[0], 3);
        vm.resume().unwrap();

        await_picture(&vm, 0, &canvas.picture);
    });
}

/// Sends commands until 65536 of them were answered in all: the next one has index 0 again.
fn run_to_index_0(vm: &mut GpuMachine) {
    let nothing = Command::ResourceUnref { resource_id: u32::MAX };
    while vm.driver.control_ring().used_idx() != 0 {
        let left = vm.driver.control_ring().used_idx().wrapping_neg().min(64);
        for _ in 0..left {
            vm.driver.queue(&nothing).unwrap();
        }
        vm.driver.kick();
        for _ in 0..left {
            vm.driver.next_done().unwrap();
        }
    }
}

#[test]
fn a_command_that_waits_for_the_display_when_the_guest_is_paused_is_answered_after_the_pause() {
    for_both(|mut vm| {
        assert_answers(&mut vm);
        await_display_features(&vm);
        vm.display.with(|display| display.withhold_replies(true)).unwrap();
        vm.driver.queue(&Command::GetDisplayInfo).unwrap();
        vm.driver.queue(&Command::GetEdid { scanout: 0 }).unwrap();
        vm.driver.kick();
        vm.display.wait(soon(), |display| display.withheld() > 0).unwrap();

        vm.pause().unwrap();
        assert_eq!(vm.front.bases()[0], 1, "the two commands are not done");
        vm.resume().unwrap();

        assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
        assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_EDID);
    });
}

#[test]
fn a_command_that_waits_for_the_display_is_answered_by_it_when_the_ring_is_disabled_meanwhile() {
    let Seat { program: _program, mut vm } = boot();
    await_display_features(&vm);
    vm.display.with(|display| display.withhold_replies(true)).unwrap();
    vm.driver.queue(&Command::GetDisplayInfo).unwrap();
    vm.driver.kick();
    vm.display.wait(soon(), |display| display.withheld() > 0).unwrap();

    vm.front.set_vring_enable(0, false).unwrap();
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    vm.front.barrier().unwrap();
    vm.front.set_vring_enable(0, true).unwrap();

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
}

#[test]
fn a_reset_while_a_command_waits_for_the_display_forgets_the_command() {
    for_both(|mut vm| {
        await_display_features(&vm);
        vm.display.with(|display| display.withhold_replies(true)).unwrap();
        vm.driver.queue(&Command::GetDisplayInfo).unwrap();
        vm.driver.kick();
        vm.display.wait(soon(), |display| display.withheld() > 0).unwrap();

        vm.reboot().unwrap();

        assert_answers(&mut vm);
        assert_eq!(vm.driver.display_info().unwrap()[0].rect.width, 1280);
    });
}

#[test]
fn a_pause_in_the_middle_of_a_picture_leaves_the_old_display_a_cut_message_and_the_new_one_the_whole_picture() {
    for_both(|mut vm| {
        let mut canvas = canvas_on_screen(&mut vm, 1, 640, 480);
        vm.display.with(|display| display.set_reading(false));
        canvas.draw(Picture::noise(640, 480, 7));
        canvas.present_all(&mut vm.driver);

        vm.pause().unwrap();
        vm.resume().unwrap();

        await_picture(&vm, 0, &canvas.picture);
    });
}

#[test]
fn a_display_socket_that_comes_while_rings_run_replaces_the_old_one() {
    let Seat { program: _program, mut vm } = boot();
    let canvas = canvas_on_screen(&mut vm, 1, 320, 200);
    // An answer of the old display that nobody has read would be a reset to it, not an end.
    await_display_features(&vm);
    let config = vm.display_config().clone();
    let (display, socket) = seat_frontend::display::DisplayThread::pair(config).unwrap();

    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    let old = std::mem::replace(&mut vm.display, display);
    drop(socket);
    canvas.present_all(&mut vm.driver);

    await_picture(&vm, 0, &canvas.picture);
    old.finish().unwrap();
}

#[test]
fn one_front_end_after_another_is_served_and_nothing_is_kept() {
    let program = program(&["--max-hostmem=1M"]);
    for round in 0..4 {
        let mut vm = boot_on(&program, options());
        // Two of these would not fit.
        let canvas = canvas_on_screen(&mut vm, 1, 400, 400);
        vm.driver.update_cursor(0, 1, (1, 1), (0, 0)).unwrap();
        let shown = vm.display.with(|display| display.surface(1).is_some());
        assert!(!shown, "round {round}");
        canvas.put_on(&mut vm.driver, 1);

        match round % 2 {
            0 => vm.quit().unwrap().finish().unwrap(),
            _ => drop(vm),
        }
    }
    assert_eq!(program.stderr(), "");
}

#[test]
fn a_front_end_that_dies_in_the_middle_of_everything_is_forgotten() {
    let program = program(&[]);
    for _ in 0..5 {
        let mut vm = boot_on(&program, options());
        let mut canvas = canvas_on_screen(&mut vm, 1, 1024, 768);
        // A picture half sent, a command held, commands unanswered, half a message.
        vm.display.with(|display| display.set_reading(false));
        canvas.draw(Picture::noise(1024, 768, 2));
        canvas.present_all(&mut vm.driver);
        vm.driver.queue(&Command::GetDisplayInfo).unwrap();
        vm.driver.queue(&Command::GetEdid { scanout: 0 }).unwrap();
        vm.driver.kick();
        vm.front.send_bytes(&message(request::GET_FEATURES, VERSION, &[])[..7], &[]).unwrap();

        drop(vm);
    }
    let mut vm = boot_on(&program, options());
    canvas_on_screen(&mut vm, 1, 64, 64);
}

#[test]
fn a_second_front_end_waits_until_the_first_is_gone() {
    let program = program(&[]);
    let mut first = connect(&program);
    first.barrier().unwrap();
    let mut second = connect(&program);
    second.send(request::GET_QUEUE_NUM, 0, &[], &[]).unwrap();

    first.barrier().unwrap();
    second.expect_silence(seat_frontend::Deadline::millis(0)).unwrap();
    drop(first);

    assert_eq!(second.reply(request::GET_QUEUE_NUM).unwrap().u64().unwrap(), 2);
}

#[test]
fn with_a_connected_descriptor_the_program_ends_well_when_the_front_end_hangs_up() {
    let (mut program, front) = Program::on_fd(BINARY, &[]).unwrap();
    let mut vm = GpuMachine::boot(patient(front), options()).unwrap();
    canvas_on_screen(&mut vm, 1, 64, 64);

    vm.quit().unwrap().finish().unwrap();

    assert_eq!(program.wait(soon()).unwrap().code(), Some(0));
    assert_eq!(program.stderr(), "");
}

#[test]
fn a_guest_without_a_display_socket_gets_sane_answers() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    let memory = vm.driver.memory().clone();
    let (features, rings) = (vm.features(), vm.driver.rings());
    let start = Start { memory: memory.regions(), rings: &rings, features, gpu_socket: None };
    vm.front.start(&start).unwrap();

    let heads = vm.driver.display_info().unwrap();
    let edid = vm.driver.edid(0).unwrap();

    assert!(heads[0].enabled);
    assert_eq!((heads[0].rect.width, heads[0].rect.height), (1280, 800));
    assert!(heads[1..].iter().all(|head| !head.enabled));
    assert_eq!((edid.size, &edid.bytes[..8]), (128, &[0, 255, 255, 255, 255, 255, 255, 0][..]));
    let mut canvas = Canvas::new(&mut vm.driver, 1, 64, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.put_on(&mut vm.driver, 0);
    canvas.present_all(&mut vm.driver);
    vm.driver.update_cursor(0, 1, (1, 1), (0, 0)).unwrap();
    vm.pause().unwrap();
    vm.resume().unwrap();
    await_picture(&vm, 0, &canvas.picture);
    let shown = vm.display.wait(soon(), |display| display.cursor(0).visible);
    shown.unwrap();
    assert_ne!(vm.display.with(|display| display.counters().of(display_message::UPDATE)), 0);
}
