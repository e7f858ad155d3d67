//! Questions to the display, and displays that are slow, silent, strange or gone (QEMU's vhost-user-gpu document).

use std::os::fd::AsFd;

use seat_frontend::control::wire::message;
use seat_frontend::control::{Qemu, Start};
use seat_frontend::display::wire::{display_info, reply};
use seat_frontend::display::{DisplayConfig, DisplayThread, Event, message as number};
use seat_frontend::gpu::{Command, Head, Rect, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};

use crate::common::canvas::{Settled, await_picture, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{Seat, assert_answers, await_display_features, boot, boot_with, options, soon};

/// A machine whose display and back end have agreed on features.
fn acquainted() -> Seat {
    let seat = boot();
    await_display_features(&seat.vm);
    seat
}

/// Queues a command and waits until the display was asked and keeps its answer back.
fn hold(vm: &mut GpuMachine, command: &Command<'_>) {
    await_display_features(vm);
    vm.display.with(|display| display.withhold_replies(true)).unwrap();
    vm.driver.queue(command).unwrap();
    vm.driver.kick();
    vm.display.wait(soon(), |display| display.withheld() > 0).unwrap();
}

#[test]
fn the_features_that_the_device_knows_are_negotiated_of_those_that_the_display_offers() {
    for (offered, agreed) in [(0, 0), (1, 1), (2, 2), (3, 3), (u64::MAX, 3)] {
        let display = DisplayConfig { features: offered, ..DisplayConfig::default() };
        let seat = boot_with(&[], MachineOptions { display, ..options() });
        await_display_features(&seat.vm);
        assert_eq!(seat.vm.display.with(|display| display.negotiated()), Some(agreed), "of {offered:#x}");
    }
}

#[test]
fn the_display_is_asked_afresh_each_time() {
    let Seat { program: _program, mut vm } = acquainted();
    for round in 1..5 {
        let (head, edid) = (Head::sized(100 * round, 80 * round), vec![round as u8; 128]);
        vm.display.with(|display| {
            let (heads, edids) = display.answers();
            *heads = vec![Head::sized(640, 480), Head::default(), head];
            edids[2] = edid.clone();
        });

        assert_eq!(vm.driver.display_info().unwrap()[2], head);
        assert_eq!(vm.driver.edid(2).unwrap().bytes[..128], edid);
    }
}

#[test]
fn an_edid_of_several_blocks_is_handed_on_whole() {
    let Seat { program: _program, mut vm } = acquainted();
    let long: Vec<u8> = (0..1024u32).map(|at| at as u8 ^ (at >> 8) as u8).collect();
    vm.display.with(|display| display.answers().1[0] = long.clone());

    let edid = vm.driver.edid(0).unwrap();

    assert_eq!((edid.size, &edid.bytes[..]), (1024, &long[..]));
}

#[test]
fn while_an_answer_is_due_the_control_queue_waits_and_all_else_goes_on() {
    let Seat { program: _program, mut vm } = boot();
    canvas_on_screen(&mut vm, 1, 64, 64);
    let config = vm.front.get_config(0, 20).unwrap();

    hold(&mut vm, &Command::GetDisplayInfo);
    vm.driver.queue(&Command::ResourceUnref { resource_id: 77 }).unwrap();
    vm.driver.kick();

    // The cursor queue, with something to show for it.
    for at in 1..20 {
        vm.driver.update_cursor(0, 1, (at, at), (0, 0)).unwrap();
        vm.driver.move_cursor(0, 1, (at, 0)).unwrap();
        vm.display.wait(soon(), |display| display.cursor(0).at == (at, 0)).unwrap();
    }
    // The control socket.
    assert_eq!(vm.front.get_config(0, 20).unwrap(), config);
    let call = vm.driver.rings()[0].call_fd().try_clone_to_owned().unwrap();
    vm.front.set_vring_call(0, Some(call.as_fd())).unwrap();
    // And the queue itself has not moved.
    assert!(vm.driver.poll_done().unwrap().is_none());
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn pictures_that_were_flushed_before_a_question_are_shown_while_its_answer_is_due() {
    let Seat { program: _program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 1, 800, 600);
    await_display_features(&vm);
    vm.display.with(|display| display.withhold_replies(true)).unwrap();
    canvas.draw(Picture::noise(800, 600, 2));
    let (rect, resource_id) = (canvas.rect(), canvas.id);
    for command in [
        Command::TransferToHost2d { rect, offset: 0, resource_id },
        Command::ResourceFlush { rect, resource_id },
        Command::GetDisplayInfo,
    ] {
        vm.driver.queue(&command).unwrap();
    }

    vm.driver.kick();

    await_picture(&vm, 0, &canvas.picture);
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    assert!(vm.driver.next_done().unwrap().response.is_ok());
    vm.display.with(|display| display.withhold_replies(false)).unwrap();
    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_taken() {
    let Seat { program: _program, mut vm } = boot();
    hold(&mut vm, &Command::GetDisplayInfo);
    let bytes = reply(number::GET_DISPLAY_INFO, &display_info(&[Head::sized(321, 123)]));

    for byte in &bytes {
        vm.display.with(|display| display.send_raw(&[*byte])).unwrap();
        // The back end has certainly seen it when it has seen what came after.
        vm.driver.move_cursor(u32::MAX, 0, (0, 0)).unwrap();
    }

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
    assert_eq!(vm.driver.last_heads()[0], Head::sized(321, 123));
}

#[test]
fn an_edid_that_the_display_does_not_answer_means_that_there_is_no_such_scanout() {
    let display = DisplayConfig { max_outputs: 2, silent_edids: true, ..DisplayConfig::default() };
    let mut seat = boot_with(&[], MachineOptions { display, ..options() });
    for _ in 0..3 {
        for scanout in [2, 9, 15] {
            let answer = seat.vm.driver.call(&Command::GetEdid { scanout }).unwrap();
            assert_eq!(answer.kind, resp::ERR_INVALID_SCANOUT_ID, "scanout {scanout}");
        }
        for scanout in [0, 1] {
            assert_eq!(seat.vm.driver.edid(scanout).unwrap().size, 128, "scanout {scanout}");
        }
        seat.vm.driver.display_info().unwrap();
    }
    assert_answers(&mut seat.vm);
}

/// Width and height of the preferred mode: the first detailed timing of E-EDID.
fn preferred_mode(edid: &[u8]) -> (u32, u32) {
    let byte = |at: usize| u32::from(edid[at]);
    (byte(56) | (byte(58) & 0xf0) << 4, byte(59) | (byte(61) & 0xf0) << 4)
}

#[test]
fn a_display_without_edids_is_not_asked_for_them_and_the_guest_gets_one_of_the_right_size() {
    let mut options = MachineOptions::new(Qemu::V7_2).unwrap();
    options.display.heads = vec![Head::sized(1024, 768), Head::sized(1366, 768)];
    let mut seat = boot_with(&[], options);

    // Any GET_EDID would be a fault of this display.
    for (scanout, size) in [(0, (1024, 768)), (1, (1366, 768)), (5, (1280, 800))] {
        let edid = seat.vm.driver.edid(scanout).unwrap();

        let block = &edid.bytes[..128];
        assert_eq!(edid.size, 128);
        assert_eq!(block[..8], [0, 255, 255, 255, 255, 255, 255, 0]);
        assert_eq!(block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "the checksum");
        assert_eq!(preferred_mode(block), size, "scanout {scanout}");
    }
    assert_eq!(seat.vm.driver.display_info().unwrap()[1].rect, Rect::new(0, 0, 1366, 768));
    canvas_on_screen(&mut seat.vm, 1, 64, 64);
}

#[test]
fn an_edid_asked_for_before_the_features_are_known_waits_for_them() {
    let Seat { program: _program, mut vm } = boot();
    // A display whose answers are held back from the very first question on.
    let (display, socket) = DisplayThread::pair(DisplayConfig::default()).unwrap();
    display.with(|display| display.withhold_replies(true)).unwrap();
    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    drop(socket);
    vm.display = display;
    vm.driver.queue(&Command::GetEdid { scanout: 1 }).unwrap();
    vm.driver.kick();
    vm.display.wait(soon(), |display| display.withheld() == 1).unwrap();
    assert_eq!(vm.display.with(|display| display.counters().of(number::GET_EDID)), 0);

    vm.display.with(|display| display.withhold_replies(false)).unwrap();

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_EDID);
}

#[test]
fn a_new_display_is_asked_what_the_old_one_did_not_answer() {
    let Seat { program: _program, mut vm } = boot();
    hold(&mut vm, &Command::GetDisplayInfo);
    let config = DisplayConfig { heads: vec![Head::sized(777, 555)], ..DisplayConfig::default() };
    let (display, socket) = DisplayThread::pair(config).unwrap();

    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    drop(socket);
    let _old = std::mem::replace(&mut vm.display, display);

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
    assert_eq!(vm.driver.last_heads()[0], Head::sized(777, 555));
}

#[test]
fn the_answer_to_a_question_of_before_a_reset_is_nobodys() {
    let Seat { program: _program, mut vm } = boot();
    hold(&mut vm, &Command::GetEdid { scanout: 3 });
    vm.front.reset().unwrap();
    vm.driver.reset();
    let memory = vm.driver.memory().clone();
    let (features, rings) = (vm.features(), vm.driver.rings());
    // The same display goes on.
    let start = Start { memory: memory.regions(), rings: &rings, features, gpu_socket: None };
    vm.front.start(&start).unwrap();
    vm.driver.queue(&Command::GetEdid { scanout: 5 }).unwrap();
    vm.driver.kick();

    vm.display.with(|display| display.withhold_replies(false)).unwrap();

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_EDID);
    let sample = vm.display.with(|display| display.answers().1[5].clone());
    assert_eq!(vm.driver.last_edid().bytes[..sample.len()], sample);
}

// A display that breaks the protocol. It is left alone, for nothing that it says can be trusted, but it is not closed:
// QEMU would spin on a socket closed by us.

/// What no display may send.
fn broken_answers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an answer that nobody asked for", reply(number::GET_DISPLAY_INFO, &[0; 408])),
        ("another answer than asked for", reply(number::GET_EDID, &[0; 1056])),
        ("a short answer", reply(number::GET_DISPLAY_INFO, &[0; 407])),
        ("a long answer", reply(number::GET_DISPLAY_INFO, &[0; 409])),
        ("a question", message(number::GET_DISPLAY_INFO, 0, &[])),
        ("an answer to what has none", reply(number::UPDATE, &[])),
        ("an unknown message", reply(99, &[])),
        ("noise", vec![0xff; 64]),
    ]
}

#[test]
fn a_display_that_breaks_the_protocol_is_left_alone_but_not_closed_and_the_guest_lives_on() {
    for (what, bytes) in broken_answers() {
        let Seat { program, mut vm } = acquainted();
        let mut canvas = canvas_on_screen(&mut vm, 1, 64, 64);

        vm.display.with(|display| display.send_raw(&bytes)).unwrap();
        crate::common::await_kicks_seen(&mut vm);

        let heads = vm.driver.display_info().unwrap();
        assert_eq!((heads[0].rect.width, heads[0].rect.height), (1280, 800), "{what}: a default");
        assert_eq!(vm.driver.edid(0).unwrap().size, 128, "{what}");
        canvas.draw(Picture::noise(64, 64, 2));
        canvas.present_all(&mut vm.driver);
        vm.driver.update_cursor(0, 1, (1, 1), (0, 0)).unwrap();
        let closed = vm.display.with(|display| display.is_closed());
        assert!(!closed, "{what}: the display was closed");
        assert_eq!(program.stderr().lines().count(), 1, "{what}: {:?}", program.stderr());
        // The next one is as good as any.
        vm.pause().unwrap();
        vm.resume().unwrap();
        await_picture(&vm, 0, &canvas.picture);
    }
}

#[test]
fn a_command_that_waits_for_a_display_that_breaks_the_protocol_is_answered() {
    for command in [Command::GetDisplayInfo, Command::GetEdid { scanout: 0 }] {
        let Seat { program: _program, mut vm } = boot();
        hold(&mut vm, &command);
        vm.driver.queue(&Command::ResourceUnref { resource_id: 77 }).unwrap();
        vm.driver.kick();

        vm.display.with(|display| display.send_raw(&reply(99, &[]))).unwrap();

        assert!(vm.driver.next_done().unwrap().response.is_ok(), "{command:?}");
        assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::ERR_INVALID_RESOURCE_ID, "{command:?}");
        assert!(!vm.display.with(|display| display.is_closed()));
    }
}

#[test]
fn a_display_that_breaks_the_protocol_and_then_hangs_up_is_forgotten() {
    let Seat { program: _program, mut vm } = acquainted();
    canvas_on_screen(&mut vm, 1, 64, 64);
    vm.display.with(|display| display.send_raw(&reply(99, &[]))).unwrap();
    crate::common::await_kicks_seen(&mut vm);

    vm.display.close();

    vm.driver.display_info().unwrap();
    vm.reboot().unwrap();
    canvas_on_screen(&mut vm, 1, 64, 64);
}

#[test]
fn when_the_display_hangs_up_the_guest_lives_on_and_the_next_display_shows_all() {
    let Seat { program, mut vm } = acquainted();
    let mut canvas = canvas_on_screen(&mut vm, 1, 64, 64);

    vm.display.close();

    for seed in 0..10 {
        canvas.draw(Picture::noise(64, 64, seed));
        canvas.present_all(&mut vm.driver);
        vm.driver.update_cursor(0, 1, (1, 1), (0, 0)).unwrap();
        assert!(vm.driver.display_info().unwrap()[0].enabled);
        assert_eq!(vm.driver.edid(0).unwrap().size, 128);
    }
    assert_eq!(program.stderr(), "");
    let (display, socket) = DisplayThread::pair(DisplayConfig::default()).unwrap();
    vm.front.gpu_set_socket(socket.as_fd()).unwrap();
    drop(socket);
    vm.display = display;
    // A display is painted when the guest next stirs, at the latest.
    assert_answers(&mut vm);
    await_picture(&vm, 0, &canvas.picture);
    vm.display.wait(soon(), |display| display.cursor(0).visible).unwrap();
}

#[test]
fn a_command_that_waits_for_a_display_that_hangs_up_is_answered() {
    for command in [Command::GetDisplayInfo, Command::GetEdid { scanout: 0 }] {
        let Seat { program: _program, mut vm } = boot();
        hold(&mut vm, &command);
        vm.driver.queue(&Command::ResourceUnref { resource_id: 77 }).unwrap();
        vm.driver.kick();

        vm.display.close();

        assert!(vm.driver.next_done().unwrap().response.is_ok(), "{command:?}");
        assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::ERR_INVALID_RESOURCE_ID, "{command:?}");
    }
}

#[test]
fn a_question_to_a_display_that_does_not_read_is_answered_when_it_hangs_up() {
    let Seat { program: _program, mut vm } = acquainted();
    let mut canvas = canvas_on_screen(&mut vm, 1, 1024, 768);
    vm.display.with(|display| display.set_reading(false));
    canvas.draw(Picture::noise(1024, 768, 2));
    canvas.present_all(&mut vm.driver);
    vm.driver.queue(&Command::GetDisplayInfo).unwrap();
    vm.driver.kick();
    vm.front.barrier().unwrap();
    assert!(vm.driver.poll_done().unwrap().is_none());

    vm.display.close();

    assert_eq!(vm.driver.next_done().unwrap().response.kind, resp::OK_DISPLAY_INFO);
}

#[test]
fn a_display_is_not_closed_when_the_rings_stop() {
    let Seat { program: _program, mut vm } = acquainted();
    canvas_on_screen(&mut vm, 1, 64, 64);

    // Without closing the display first, as QEMU would.
    vm.front.stop().unwrap();
    vm.front.barrier().unwrap();
    vm.front.reset_device().unwrap();
    vm.front.barrier().unwrap();

    assert!(!vm.display.with(|display| display.is_closed()));
}

#[test]
fn while_the_rings_are_stopped_nothing_new_is_painted() {
    let Seat { program: _program, mut vm } = acquainted();
    let mut canvas = canvas_on_screen(&mut vm, 1, 1920, 1080);
    vm.display.with(|display| display.set_reading(false));
    canvas.draw(Picture::noise(1920, 1080, 2));
    canvas.present_all(&mut vm.driver);

    vm.front.stop().unwrap();
    vm.display.with(|display| {
        display.reset_counters();
        display.set_reading(true);
    });
    // A message under way is finished, nobody may be left with half of one.
    vm.display
        .wait(soon(), |display| display.counters().of(number::UPDATE) > 0 && !display.is_inside_message())
        .unwrap();
    (0..50).for_each(|_| vm.front.barrier().unwrap());

    let updates = vm.display.with(|display| display.counters().of(number::UPDATE));
    assert!(updates < 30, "{updates} updates of a picture of some 68 bands");
    vm.display.close();
    vm.resume().unwrap();
    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn a_guest_that_asks_nothing_makes_the_display_hear_no_questions() {
    let Seat { program: _program, mut vm } = acquainted();
    let mut settled = Settled::new(&mut vm);
    canvas_on_screen(&mut vm, 1, 64, 64);
    vm.pause().unwrap();
    vm.resume().unwrap();
    await_display_features(&vm);

    let events = settled.events(&mut vm);

    let questions = |event: &&Event| matches!(event, Event::GetDisplayInfo | Event::GetEdid { .. });
    assert_eq!(events.iter().filter(questions).count(), 0);
    let features = |event: &&Event| matches!(event, Event::GetProtocolFeatures | Event::SetProtocolFeatures(_));
    assert_eq!(events.iter().filter(features).count(), 2);
}
