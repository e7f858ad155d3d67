//! Every 2D command: what it answers when all is well, and each error that VIRTIO 1.3, 5.7.6 has for it.

use std::collections::HashSet;

use seat_frontend::gpu::{Command, Fence, GpuDriver, HEADER_SIZE, MemEntry, Rect, Response, cmd, format, resp};
use seat_frontend::ring::Segment;

use crate::common::canvas::{Canvas, canvas_on_screen};
use crate::common::{Seat, assert_answers, boot};

const MAX: u32 = u32::MAX;

/// A booted guest's driver, with what keeps it alive.
fn guest() -> Seat {
    boot()
}

fn kind(response: seat_frontend::Result<Response>) -> u32 {
    response.unwrap().kind
}

/// Resource 1, 64 × 32, with backing in one piece.
fn with_resource(driver: &mut GpuDriver) -> Canvas {
    Canvas::new(driver, 1, 64, 32)
}

#[test]
fn a_resource_is_created_in_every_format_and_in_no_other() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;

    for (id, format) in (1..).zip(format::ALL) {
        assert_eq!(kind(driver.create_2d(id, format, 1, 1)), resp::OK_NODATA, "format {format}");
    }
    for format in [0, 5, 66, 69, 120, 122, 133, 135, MAX] {
        assert_eq!(kind(driver.create_2d(100, format, 1, 1)), resp::ERR_INVALID_PARAMETER, "format {format}");
    }
}

#[test]
fn a_resource_is_not_created_under_id_0_or_one_that_is_taken() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    driver.create_2d(7, format::B8G8R8X8, 1, 1).unwrap().ok().unwrap();

    assert_eq!(kind(driver.create_2d(0, format::B8G8R8X8, 1, 1)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.create_2d(7, format::B8G8R8X8, 1, 1)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.create_2d(MAX, format::B8G8R8X8, 1, 1)), resp::OK_NODATA);
}

#[test]
fn a_resource_of_no_pixels_or_of_an_impossible_size_is_not_created() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;

    for (width, height) in [(0, 1), (1, 0), (0, 0), (MAX, 1), (1, MAX), (MAX, MAX), (0x8000_0000, 2)] {
        let answer = kind(driver.create_2d(1, format::B8G8R8X8, width, height));
        assert_eq!(answer, resp::ERR_INVALID_PARAMETER, "{width} x {height}");
    }
    // The largest that a surface can have is only a matter of memory.
    assert_eq!(kind(driver.create_2d(1, format::B8G8R8X8, 32767, 1)), resp::OK_NODATA);
    assert_eq!(kind(driver.create_2d(2, format::B8G8R8X8, 1, 32767)), resp::OK_NODATA);
    assert_eq!(kind(driver.create_2d(3, format::B8G8R8X8, 32767, 32767)), resp::ERR_OUT_OF_MEMORY);
}

#[test]
fn unref_frees_the_id_and_an_unknown_one_is_an_error() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    assert_eq!(kind(driver.unref(1)), resp::OK_NODATA);
    assert_eq!(kind(driver.unref(1)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.unref(0)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.create_2d(1, format::B8G8R8X8, 8, 8)), resp::OK_NODATA);
}

#[test]
fn set_scanout_takes_any_part_of_a_resource_and_nothing_outside() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    for rect in [Rect::new(0, 0, 64, 32), Rect::new(63, 31, 1, 1), Rect::new(10, 5, 30, 20)] {
        assert_eq!(kind(driver.set_scanout(0, 1, rect)), resp::OK_NODATA, "{rect:?}");
    }
    for rect in [
        Rect::new(0, 0, 65, 32),
        Rect::new(0, 0, 64, 33),
        Rect::new(1, 0, 64, 32),
        Rect::new(64, 0, 1, 1),
        Rect::new(0, 0, 0, 32),
        Rect::new(0, 0, 64, 0),
        Rect::new(MAX, 0, 2, 1),
        Rect::new(2, 0, MAX, 1),
        Rect::new(0, 2, 1, MAX),
    ] {
        assert_eq!(kind(driver.set_scanout(0, 1, rect)), resp::ERR_INVALID_PARAMETER, "{rect:?}");
    }
}

#[test]
fn set_scanout_knows_sixteen_scanouts_and_the_resources_there_are() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let all = with_resource(driver).rect();

    for scanout in 0..16 {
        assert_eq!(kind(driver.set_scanout(scanout, 1, all)), resp::OK_NODATA);
        assert_eq!(kind(driver.set_scanout(scanout, 2, all)), resp::ERR_INVALID_RESOURCE_ID);
        assert_eq!(kind(driver.set_scanout(scanout, 0, Rect::new(0, 0, 0, 0))), resp::OK_NODATA);
    }
    for scanout in [16, 17, 32, MAX] {
        assert_eq!(kind(driver.set_scanout(scanout, 1, all)), resp::ERR_INVALID_SCANOUT_ID);
        assert_eq!(kind(driver.set_scanout(scanout, 0, all)), resp::ERR_INVALID_SCANOUT_ID);
    }
}

#[test]
fn flush_takes_any_part_of_a_resource_and_nothing_outside() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    for rect in [Rect::new(0, 0, 64, 32), Rect::new(63, 31, 1, 1), Rect::new(0, 0, 0, 0), Rect::new(64, 32, 0, 0)] {
        assert_eq!(kind(driver.flush(1, rect)), resp::OK_NODATA, "{rect:?}");
    }
    for rect in [
        Rect::new(0, 0, 65, 1),
        Rect::new(0, 0, 1, 33),
        Rect::new(64, 0, 1, 1),
        Rect::new(65, 0, 0, 0),
        Rect::new(MAX, MAX, 1, 1),
        Rect::new(1, 1, MAX, MAX),
    ] {
        assert_eq!(kind(driver.flush(1, rect)), resp::ERR_INVALID_PARAMETER, "{rect:?}");
    }
    assert_eq!(kind(driver.flush(2, Rect::new(0, 0, 1, 1))), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.flush(0, Rect::new(0, 0, 1, 1))), resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn transfer_takes_any_part_of_a_resource_and_nothing_outside() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    for rect in [Rect::new(0, 0, 64, 32), Rect::new(63, 31, 1, 1), Rect::new(0, 0, 0, 0)] {
        assert_eq!(kind(driver.transfer(1, rect, 0)), resp::OK_NODATA, "{rect:?}");
    }
    for rect in [
        Rect::new(0, 0, 65, 1),
        Rect::new(0, 0, 1, 33),
        Rect::new(64, 31, 1, 1),
        Rect::new(MAX, MAX, 1, 1),
        Rect::new(1, 1, MAX, MAX),
    ] {
        assert_eq!(kind(driver.transfer(1, rect, 0)), resp::ERR_INVALID_PARAMETER, "{rect:?}");
    }
    assert_eq!(kind(driver.transfer(2, Rect::new(0, 0, 1, 1), 0)), resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn transfer_reads_nothing_beyond_the_end_of_the_backing() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let canvas = with_resource(driver);
    let len = canvas.backing.len();

    assert_eq!(kind(driver.transfer(1, canvas.rect(), 0)), resp::OK_NODATA);
    assert_eq!(kind(driver.transfer(1, Rect::new(0, 0, 64, 31), 256)), resp::OK_NODATA);
    assert_eq!(kind(driver.transfer(1, Rect::new(0, 0, 1, 1), len - 4)), resp::OK_NODATA);
    for offset in [1, 4, 256, len, u64::MAX, u64::MAX - 3, u64::MAX - len + 1] {
        let answer = kind(driver.transfer(1, canvas.rect(), offset));
        assert_eq!(answer, resp::ERR_INVALID_PARAMETER, "from {offset:#x} on");
    }
    assert_eq!(kind(driver.transfer(1, Rect::new(0, 0, 1, 1), len - 3)), resp::ERR_INVALID_PARAMETER);
}

#[test]
fn transfer_needs_backing() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let canvas = with_resource(driver);
    driver.detach_backing(1).unwrap().ok().unwrap();

    assert_eq!(kind(driver.transfer(1, canvas.rect(), 0)), resp::ERR_UNSPEC);
}

#[test]
fn backing_is_attached_once_and_detached_once() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let canvas = with_resource(driver);
    let entries = canvas.backing.entries().to_vec();

    assert_eq!(kind(driver.attach_backing(1, &entries)), resp::ERR_UNSPEC, "it has backing");
    assert_eq!(kind(driver.detach_backing(1)), resp::OK_NODATA);
    assert_eq!(kind(driver.detach_backing(1)), resp::ERR_UNSPEC, "it has none");
    assert_eq!(kind(driver.attach_backing(1, &entries)), resp::OK_NODATA);
    assert_eq!(kind(driver.attach_backing(2, &entries)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.detach_backing(2)), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.transfer(1, canvas.rect(), 0)), resp::OK_NODATA);
}

#[test]
fn backing_outside_guest_memory_is_refused_and_the_resource_stays_without() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    driver.create_2d(1, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();
    let last = driver.memory().regions().last().unwrap().spec;

    for entry in [
        MemEntry { addr: 0x50_0000_0000, len: 4096 },
        MemEntry { addr: last.gpa + last.size, len: 1 },
        MemEntry { addr: last.gpa + last.size - 16, len: 32 },
        MemEntry { addr: u64::MAX, len: 1 },
        MemEntry { addr: u64::MAX - 15, len: 32 },
    ] {
        assert_eq!(kind(driver.attach_backing(1, &[MemEntry { addr: 0, len: 16 }, entry])), resp::ERR_UNSPEC);
    }
    assert_eq!(kind(driver.attach_backing(1, &[MemEntry { addr: 0, len: 256 }])), resp::OK_NODATA);
}

#[test]
fn more_entries_than_were_supplied_are_refused() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    driver.create_2d(1, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();
    let entry = MemEntry { addr: 0, len: 256 }.encode();

    for count in [2, 100, 0x1000_0000, MAX] {
        let body = [1u32.to_le_bytes(), u32::to_le_bytes(count)].concat();
        let command = Command::Raw { kind: cmd::RESOURCE_ATTACH_BACKING, body: &body, tail: &entry };
        assert_eq!(kind(driver.call(&command)), resp::ERR_INVALID_PARAMETER, "{count} entries");
    }
    let body = [1u32.to_le_bytes(), 1u32.to_le_bytes()].concat();
    let fewer = [entry, entry].concat();
    let command = Command::Raw { kind: cmd::RESOURCE_ATTACH_BACKING, body: &body, tail: &fewer };
    assert_eq!(kind(driver.call(&command)), resp::OK_NODATA, "what follows the last entry is nobody's");
}

#[test]
fn a_resource_gets_a_uuid_of_its_own_and_keeps_it() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let mut seen = HashSet::new();
    for id in 1..20 {
        driver.create_2d(id, format::B8G8R8X8, 1, 1).unwrap().ok().unwrap();

        let uuid = driver.assign_uuid(id).unwrap();

        // RFC 9562: version 4, variant 1.
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2), "{uuid:x?}");
        assert_eq!(driver.assign_uuid(id).unwrap(), uuid);
        assert!(seen.insert(uuid));
    }
    assert_eq!(kind(driver.call(&Command::AssignUuid { resource_id: 77 })), resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn display_info_and_edid_are_the_displays() {
    let mut seat = guest();

    let heads = seat.vm.driver.display_info().unwrap();
    let edid = seat.vm.driver.edid(3).unwrap();

    assert_eq!((heads[0].rect, heads[0].enabled), (Rect::new(0, 0, 1280, 800), true));
    assert!(heads[1..].iter().all(|head| !head.enabled));
    let sample = seat.vm.display.with(|display| display.answers().1[3].clone());
    assert_eq!((edid.size as usize, &edid.bytes[..sample.len()]), (sample.len(), &sample[..]));
    assert!(edid.bytes[sample.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn an_edid_is_asked_for_one_of_sixteen_scanouts() {
    let mut seat = guest();
    for scanout in [16, 17, MAX] {
        assert_eq!(kind(seat.vm.driver.call(&Command::GetEdid { scanout })), resp::ERR_INVALID_SCANOUT_ID);
    }
    seat.vm.driver.edid(15).unwrap();
}

#[test]
fn commands_of_features_that_were_not_offered_are_refused() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    for command in [
        Command::GetCapsetInfo { index: 0 },
        Command::GetCapset { id: 1, version: 1 },
        Command::Raw { kind: cmd::CTX_CREATE, body: &[0; 72], tail: &[] },
        Command::Raw { kind: cmd::CTX_DESTROY, body: &[], tail: &[] },
        Command::Raw { kind: cmd::CTX_ATTACH_RESOURCE, body: &[0; 8], tail: &[] },
        Command::Raw { kind: cmd::CTX_DETACH_RESOURCE, body: &[0; 8], tail: &[] },
        Command::Raw { kind: cmd::RESOURCE_CREATE_3D, body: &[0; 48], tail: &[] },
        Command::Raw { kind: cmd::TRANSFER_TO_HOST_3D, body: &[0; 48], tail: &[] },
        Command::Raw { kind: cmd::TRANSFER_FROM_HOST_3D, body: &[0; 48], tail: &[] },
        Command::Raw { kind: cmd::SUBMIT_3D, body: &[0; 8], tail: &[0; 64] },
        Command::Raw { kind: cmd::RESOURCE_MAP_BLOB, body: &[0; 16], tail: &[] },
        Command::Raw { kind: cmd::RESOURCE_UNMAP_BLOB, body: &[0; 8], tail: &[] },
    ] {
        assert_eq!(kind(driver.call(&command)), resp::ERR_UNSPEC, "{command:?}");
    }
}

#[test]
fn commands_that_nobody_knows_are_refused() {
    let mut seat = guest();
    for number in [0, 1, 0xff, 0x10e, 0x1ff, 0x20a, 0x2ff, 0x302, 0x1100, MAX] {
        let command = Command::Raw { kind: number, body: &[0; 64], tail: &[] };
        assert_eq!(kind(seat.vm.driver.call(&command)), resp::ERR_UNSPEC, "{number:#x}");
    }
}

#[test]
fn a_command_shorter_than_its_fixed_part_is_refused() {
    let mut seat = guest();
    for (number, body) in [
        (cmd::RESOURCE_CREATE_2D, 15),
        (cmd::RESOURCE_UNREF, 7),
        (cmd::SET_SCANOUT, 23),
        (cmd::RESOURCE_FLUSH, 0),
        (cmd::TRANSFER_TO_HOST_2D, 31),
        (cmd::RESOURCE_ATTACH_BACKING, 4),
        (cmd::RESOURCE_DETACH_BACKING, 7),
        (cmd::GET_EDID, 7),
        (cmd::RESOURCE_ASSIGN_UUID, 0),
        (cmd::UPDATE_CURSOR, 31),
    ] {
        let command = Command::Raw { kind: number, body: &vec![0; body], tail: &[] };
        assert_eq!(kind(seat.vm.driver.call(&command)), resp::ERR_INVALID_PARAMETER, "{number:#x}");
    }
}

#[test]
fn a_command_longer_than_its_fixed_part_is_taken() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);

    let command = Command::Raw { kind: cmd::RESOURCE_UNREF, body: &[1, 0, 0, 0, 0, 0, 0, 0], tail: &[0xff; 1000] };

    assert_eq!(kind(driver.call(&command)), resp::OK_NODATA);
}

#[test]
fn a_request_too_short_for_a_header_is_used_without_an_answer() {
    let mut seat = guest();
    let page = seat.vm.driver.pages().alloc(4096).unwrap();
    for len in [1, 23] {
        let used =
            seat.vm.driver.raw_call(&[Segment { gpa: page, len }], &[Segment { gpa: page + 100, len: 24 }]).unwrap();
        assert_eq!(used.len, 0);
    }
    let used = seat.vm.driver.raw_call(&[], &[Segment { gpa: page, len: 24 }]).unwrap();
    assert_eq!(used.len, 0);
    assert_answers(&mut seat.vm);
}

#[test]
fn fences_come_back_as_they_were_sent_with_successes_and_with_errors() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);
    let rect = Rect::new(0, 0, 64, 32);
    let commands = [
        Command::TransferToHost2d { rect, offset: 0, resource_id: 1 },
        Command::ResourceFlush { rect, resource_id: 1 },
        Command::ResourceFlush { rect, resource_id: 99 },
        Command::GetDisplayInfo,
        Command::GetEdid { scanout: 0 },
        Command::AssignUuid { resource_id: 1 },
        Command::GetCapsetInfo { index: 3 },
        Command::Raw { kind: 0x777, body: &[], tail: &[] },
    ];
    for (n, command) in commands.iter().enumerate() {
        let id = 0x1234_5678_9abc_def0 + n as u64;
        for flags in [0, 1, 2, 3] {
            let fence = Fence { flags, id, ctx_id: 77, ring_idx: 5 };
            // The driver checks flags, fence, context and ring against what it sent.
            driver.call_fenced(command, fence).unwrap_or_else(|error| panic!("{command:?}, flags {flags}: {error}"));
        }
    }
}

#[test]
fn a_response_without_a_fence_carries_nothing_of_the_request() {
    let mut seat = guest();
    let command = Command::ResourceUnref { resource_id: 77 };
    let fence = Fence { flags: 0, id: 5, ctx_id: 6, ring_idx: 7 };

    let response = seat.vm.driver.call_fenced(&command, fence).unwrap();

    assert_eq!((response.flags, response.fence_id, response.ctx_id, response.ring_idx), (0, 0, 0, 0));
}

#[test]
fn a_response_buffer_too_small_for_the_answer_gets_an_error() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);
    for (command, size) in [
        (Command::GetDisplayInfo, 407),
        (Command::GetDisplayInfo, HEADER_SIZE),
        (Command::GetEdid { scanout: 0 }, 1055),
        (Command::AssignUuid { resource_id: 1 }, 39),
    ] {
        driver.queue_sized(&command, Fence::new(9), size).unwrap();
        driver.kick();

        let done = driver.next_done().unwrap();

        assert_eq!((done.response.kind, done.response.len as usize), (resp::ERR_UNSPEC, HEADER_SIZE), "{command:?}");
    }
}

#[test]
fn a_response_buffer_too_small_for_a_header_is_left_as_it_is() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);
    for size in [1, 4, 23] {
        let flush = Command::ResourceFlush { rect: Rect::new(0, 0, 1, 1), resource_id: 1 };
        driver.queue_sized(&flush, Fence::NONE, size).unwrap();
        driver.kick();

        let done = driver.next_done().unwrap();

        assert_eq!((done.response.kind, done.response.len), (0, 0), "{size} bytes");
    }
}

#[test]
fn a_response_buffer_larger_than_the_answer_gets_the_answer() {
    let mut seat = guest();
    for (command, len) in [(Command::GetDisplayInfo, 408), (Command::ResourceUnref { resource_id: 9 }, 24)] {
        seat.vm.driver.queue_sized(&command, Fence::NONE, 2048).unwrap();
        seat.vm.driver.kick();

        assert_eq!(seat.vm.driver.next_done().unwrap().response.len, len);
    }
}

#[test]
fn a_command_without_a_response_buffer_is_done_all_the_same() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);
    let page = driver.pages().alloc(4096).unwrap();
    driver.memory().write(page, &cmd::RESOURCE_UNREF.to_le_bytes());
    driver.memory().write(page + 24, &1u32.to_le_bytes());

    let used = driver.raw_call(&[Segment { gpa: page, len: 32 }], &[]).unwrap();

    assert_eq!(used.len, 0);
    assert_eq!(kind(driver.unref(1)), resp::ERR_INVALID_RESOURCE_ID, "it was done");
}

#[test]
fn a_batch_is_done_in_its_order() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    let rect = Rect::new(0, 0, 64, 64);
    let entries = [MemEntry { addr: 0x1000, len: 64 * 64 * 4 }];
    let batch = [
        (Command::ResourceCreate2d { resource_id: 1, format: 2, width: 64, height: 64 }, resp::OK_NODATA),
        (Command::AttachBacking { resource_id: 1, entries: &entries }, resp::OK_NODATA),
        (Command::TransferToHost2d { rect, offset: 0, resource_id: 1 }, resp::OK_NODATA),
        (Command::SetScanout { rect, scanout_id: 0, resource_id: 1 }, resp::OK_NODATA),
        (Command::GetDisplayInfo, resp::OK_DISPLAY_INFO),
        (Command::ResourceFlush { rect, resource_id: 1 }, resp::OK_NODATA),
        (Command::GetEdid { scanout: 0 }, resp::OK_EDID),
        (Command::ResourceUnref { resource_id: 1 }, resp::OK_NODATA),
        (Command::ResourceFlush { rect, resource_id: 1 }, resp::ERR_INVALID_RESOURCE_ID),
        (Command::AssignUuid { resource_id: 1 }, resp::ERR_INVALID_RESOURCE_ID),
    ];
    let tickets: Vec<_> = batch.iter().map(|(command, _)| driver.queue(command).unwrap()).collect();

    driver.kick();

    for ((command, kind), ticket) in batch.iter().zip(tickets) {
        let done = driver.next_done().unwrap();
        assert_eq!((done.ticket, done.response.kind), (ticket, *kind), "{command:?}");
    }
}

#[test]
fn cursor_commands_on_the_control_queue_are_answered_there() {
    let mut seat = guest();
    let driver = &mut seat.vm.driver;
    with_resource(driver);
    let update =
        |scanout_id, resource_id| Command::UpdateCursor { scanout_id, x: 1, y: 2, resource_id, hot_x: 0, hot_y: 0 };
    let moved = |scanout_id| Command::MoveCursor { scanout_id, x: 3, y: 4, resource_id: 1 };

    assert_eq!(kind(driver.call(&update(0, 1))), resp::OK_NODATA);
    assert_eq!(kind(driver.call(&moved(0))), resp::OK_NODATA);
    assert_eq!(kind(driver.call(&update(0, 0))), resp::OK_NODATA);
    assert_eq!(kind(driver.call(&update(0, 2))), resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(kind(driver.call(&update(16, 1))), resp::ERR_INVALID_SCANOUT_ID);
    assert_eq!(kind(driver.call(&moved(16))), resp::ERR_INVALID_SCANOUT_ID);
}

#[test]
fn the_cursor_queue_answers_where_there_is_a_response_buffer_and_knows_no_questions_to_the_display() {
    let mut seat = guest();
    canvas_on_screen(&mut seat.vm, 1, 64, 64);
    let page = seat.vm.driver.pages().alloc(4096).unwrap();
    let memory = seat.vm.driver.memory().clone();
    let mut ask = |number: u32, len: u32| {
        memory.fill(page, 4096, 0);
        memory.write(page, &number.to_le_bytes());
        let (request, response) = (Segment { gpa: page, len }, Segment { gpa: page + 2048, len: 1056 });
        let ring = seat.vm.driver.cursor_ring();
        ring.add(&[request], &[response], Default::default()).unwrap();
        ring.submit();
        let used = ring.wait_used(crate::common::soon()).unwrap();
        (memory.read_u32(page + 2048), used.len)
    };

    assert_eq!(ask(cmd::MOVE_CURSOR, 56), (resp::OK_NODATA, 24));
    assert_eq!(ask(cmd::GET_DISPLAY_INFO, 24), (resp::ERR_UNSPEC, 24));
    assert_eq!(ask(cmd::GET_EDID, 32), (resp::ERR_UNSPEC, 24));
}
