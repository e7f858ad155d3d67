//! Messages of the control socket, whatever pieces they come in (vhost-user, "Message Specification").

use std::os::fd::AsFd;

use seat_frontend::Deadline;
use seat_frontend::control::wire::{self, Header, NEED_REPLY, VERSION, message};
use seat_frontend::control::{FrontEnd, Piece, request};
use seat_frontend::machine::GpuMachine;
use seat_frontend::memory::{RegionPlan, RegionSpec, memfd};
use seat_frontend::program::{Program, stream_pair};
use seat_frontend::wait_readable;

use crate::common::{assert_answers, boot, connect, program, soon};

/// The bytes of a message that asks for an acknowledgement.
fn acked(number: u32, payload: &[u8]) -> Vec<u8> {
    message(number, VERSION | NEED_REPLY, payload)
}

/// Sends `bytes` so that the back end has certainly read what comes before `cut` when it gets the rest: it answers the
/// control queue in between, and looks at the control socket first.
fn send_in_two(vm: &mut GpuMachine, bytes: &[u8], cut: usize, fds: &[std::os::fd::BorrowedFd<'_>]) {
    vm.front.send_bytes(&bytes[..cut], fds).unwrap();
    assert_answers(vm);
    vm.front.send_bytes(&bytes[cut..], &[]).unwrap();
}

#[test]
fn a_message_cut_at_any_place_is_answered_and_meanwhile_the_rings_go_on() {
    let mut seat = boot();
    let expected = seat.vm.front.get_config(0, 20).unwrap();
    let bytes = message(request::GET_CONFIG, VERSION, &wire::config(0, 0, &[0; 20]));

    for cut in 1..bytes.len() {
        send_in_two(&mut seat.vm, &bytes, cut, &[]);

        let reply = seat.vm.front.reply(request::GET_CONFIG).unwrap();
        assert_eq!(reply.payload[12..], expected, "cut at {cut}");
    }
}

#[test]
fn a_message_that_comes_byte_by_byte_is_answered() {
    let mut seat = boot();
    let bytes = message(request::GET_QUEUE_NUM, VERSION, &[]);

    for byte in &bytes {
        seat.vm.front.send_bytes(&[*byte], &[]).unwrap();
        assert_answers(&mut seat.vm);
    }

    assert_eq!(seat.vm.front.reply(request::GET_QUEUE_NUM).unwrap().u64().unwrap(), 2);
}

#[test]
fn a_descriptor_stays_with_its_message_wherever_that_is_cut() {
    let mut seat = boot();
    let spec = RegionSpec { size: 0x1000, ..RegionPlan::new(0x80_0000_0000, 0, 0).spec };
    let file = memfd(c"region", 0x1000, true).unwrap();
    let bytes = acked(request::ADD_MEM_REG, &wire::single_region(&spec));

    for cut in 1..bytes.len() {
        send_in_two(&mut seat.vm, &bytes, cut, &[file.as_fd()]);

        assert_eq!(seat.vm.front.reply(request::ADD_MEM_REG).unwrap().u64().unwrap(), 0, "cut at {cut}");
        seat.vm.front.rem_mem_reg(&spec).unwrap();
    }
}

#[test]
fn messages_that_come_together_are_answered_in_their_order() {
    let program = program(&[]);
    let mut front = connect(&program);
    let asked =
        [request::GET_FEATURES, request::GET_PROTOCOL_FEATURES, request::GET_QUEUE_NUM, request::GET_MAX_MEM_SLOTS];
    let bytes: Vec<u8> = asked
        .iter()
        .flat_map(|number| [message(request::SET_OWNER, VERSION, &[]), message(*number, VERSION, &[])].concat())
        .collect();

    front.send_bytes(&bytes, &[]).unwrap();

    for number in asked {
        front.reply(number).unwrap();
    }
}

#[test]
fn many_more_messages_than_are_taken_in_one_turn_are_all_answered() {
    let program = program(&[]);
    let mut front = connect(&program);
    let one = message(request::GET_QUEUE_NUM, VERSION, &[]);

    front.send_bytes(&one.repeat(1000), &[]).unwrap();

    for _ in 0..1000 {
        front.reply(request::GET_QUEUE_NUM).unwrap();
    }
}

#[test]
fn descriptors_that_come_with_the_end_of_one_message_and_the_start_of_the_next_are_kept_apart() {
    let seat = boot();
    let mut vm = seat.vm;
    let first = RegionSpec { size: 0x1000, ..RegionPlan::new(0x80_0000_0000, 0, 0).spec };
    let second = RegionSpec { size: 0x2000, ..RegionPlan::new(0x80_0001_0000, 0, 0).spec };
    let (short, long) = (memfd(c"short", 0x1000, true).unwrap(), memfd(c"long", 0x2000, true).unwrap());
    let one = acked(request::ADD_MEM_REG, &wire::single_region(&first));
    let two = acked(request::ADD_MEM_REG, &wire::single_region(&second));

    vm.front
        .send_pieces(&[
            Piece { bytes: &one[..20], fds: &[short.as_fd()] },
            Piece { bytes: &one[20..], fds: &[] },
            Piece { bytes: &two, fds: &[long.as_fd()] },
        ])
        .unwrap();

    // The second region does not fit into the first file, so the two were not swapped.
    for _ in 0..2 {
        assert_eq!(vm.front.reply(request::ADD_MEM_REG).unwrap().u64().unwrap(), 0);
    }
}

#[test]
fn descriptors_that_a_message_does_not_take_are_closed() {
    let program = program(&[]);
    let mut front = connect(&program);
    let (ours, theirs) = stream_pair().unwrap();

    front.send(request::GET_FEATURES, 0, &[], &[theirs.as_fd(), theirs.as_fd(), theirs.as_fd()]).unwrap();
    front.reply(request::GET_FEATURES).unwrap();
    drop(theirs);

    assert!(wait_readable(ours.as_fd(), soon()).unwrap(), "the other end is closed, so this one is at its end");
}

#[test]
fn a_descriptor_beside_a_kick_that_says_it_has_none_is_closed() {
    let program = program(&[]);
    let mut front = connect(&program);
    let (ours, theirs) = stream_pair().unwrap();

    front.send(request::SET_VRING_CALL, 0, &wire::NO_FD.to_ne_bytes(), &[theirs.as_fd()]).unwrap();
    front.barrier().unwrap();
    drop(theirs);

    assert!(wait_readable(ours.as_fd(), soon()).unwrap());
}

#[test]
fn descriptors_of_a_front_end_that_hung_up_within_a_message_are_closed() {
    let program = program(&[]);
    let mut front = connect(&program);
    let (ours, theirs) = stream_pair().unwrap();

    front.send_bytes(&message(request::GPU_SET_SOCKET, VERSION, &[])[..5], &[theirs.as_fd()]).unwrap();
    drop((front, theirs));

    assert!(wait_readable(ours.as_fd(), soon()).unwrap());
}

/// Sends bytes after which nothing can be trusted, and looks at all that is promised then: the session ends, one line
/// says why, and the next front end is served.
fn assert_ends_the_session(what: &str, bytes: &[u8]) {
    let program = program(&[]);
    let mut front = connect(&program);
    front.barrier().unwrap();

    front.send_bytes(bytes, &[]).unwrap();

    front.expect_close(soon()).unwrap_or_else(|error| panic!("{what}: {error}"));
    connect(&program).barrier().unwrap();
    let lines = program.stderr();
    assert_eq!(lines.lines().count(), 1, "{what}: {lines:?}");
    assert!(lines.starts_with("vhost-user-gpu: "), "{what}: {lines:?}");
}

fn header(request: u32, flags: u32, size: u32) -> Vec<u8> {
    Header { request, flags, size }.encode().to_vec()
}

#[test]
fn a_header_of_another_version_ends_the_session() {
    for version in [0, 2, 3] {
        assert_ends_the_session("version", &header(request::GET_FEATURES, version, 0));
    }
}

#[test]
fn a_header_with_flags_that_no_request_has_ends_the_session() {
    for flags in [1 << 2, 1 << 4, 1 << 31] {
        assert_ends_the_session("flags", &header(request::GET_FEATURES, VERSION | flags, 0));
    }
}

#[test]
fn a_header_that_announces_more_than_any_message_has_ends_the_session() {
    for size in [4097, 0x8000_0000, u32::MAX] {
        assert_ends_the_session("size", &header(request::SET_CONFIG, VERSION, size));
    }
}

#[test]
fn a_payload_of_another_size_than_its_request_has_ends_the_session() {
    for (number, size) in [
        (request::GET_FEATURES, 1),
        (request::SET_FEATURES, 7),
        (request::SET_FEATURES, 9),
        (request::SET_VRING_NUM, 4),
        (request::SET_VRING_ADDR, 39),
        (request::ADD_MEM_REG, 32),
        (request::SET_MEM_TABLE, 7),
        (request::GET_CONFIG, 11),
        (request::GPU_SET_SOCKET, 8),
    ] {
        assert_ends_the_session(&format!("{number}"), &message(number, VERSION, &vec![0; size]));
    }
}

#[test]
fn a_config_message_that_contradicts_itself_ends_the_session() {
    let mut longer = wire::config(0, 0, &[0; 16]);
    longer[4] = 17;
    assert_ends_the_session("announces more than it has", &message(request::GET_CONFIG, VERSION, &longer));
    let too_long = wire::config(0, 0, &[0; 257]);
    assert_ends_the_session("more than 256 bytes", &message(request::GET_CONFIG, VERSION, &too_long));
}

#[test]
fn a_table_that_announces_other_regions_than_it_has_ends_the_session() {
    for count in [1, 9, u32::MAX] {
        let mut table = wire::mem_table(&[]);
        table[..4].copy_from_slice(&count.to_ne_bytes());
        assert_ends_the_session("table", &message(request::SET_MEM_TABLE, VERSION, &table));
    }
}

#[test]
fn a_missing_descriptor_ends_the_session() {
    let spec = RegionPlan::new(0, 0x1000, 0).spec;
    for bytes in [
        message(request::SET_MEM_TABLE, VERSION, &wire::mem_table(&[spec])),
        message(request::ADD_MEM_REG, VERSION, &wire::single_region(&spec)),
        message(request::SET_VRING_CALL, VERSION, &0u64.to_ne_bytes()),
        message(request::SET_VRING_KICK, VERSION, &0u64.to_ne_bytes()),
        message(request::GPU_SET_SOCKET, VERSION, &[]),
    ] {
        assert_ends_the_session("descriptor", &bytes);
    }
}

#[test]
fn with_a_connected_descriptor_a_broken_message_is_a_failure_of_the_program() {
    let (mut program, mut front) = Program::on_fd(crate::common::BINARY, &[]).unwrap();

    front.send_bytes(&header(request::GET_FEATURES, 2, 0), &[]).unwrap();

    let ended = program.wait(soon()).unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(program.stderr().lines().count(), 1, "{:?}", program.stderr());
}

#[test]
fn a_front_end_that_reads_no_replies_is_not_answered_for_ever_and_can_go_on_later() {
    let program = program(&[]);
    let mut front = connect(&program);
    let one = message(request::GET_CONFIG, VERSION, &wire::config(0, 0, &[0; 256]));
    front.set_timeout(std::time::Duration::from_millis(200));

    // The back end takes no further message while a reply waits for room, so at some point nothing more goes in.
    let mut sent: usize = 0;
    while front.send_bytes(&one, &[]).is_ok() {
        sent += 1;
        assert!(sent < 100_000, "replies are queued without a limit");
    }

    let mut front: FrontEnd = crate::common::patient(front);
    for _ in 0..sent {
        front.recv_reply(request::GET_CONFIG, Deadline::secs(60)).unwrap();
    }
}
