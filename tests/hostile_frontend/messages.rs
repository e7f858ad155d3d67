//! Messages that are none, on both devices.

use std::os::fd::AsFd;

use seat_frontend::control::request;
use seat_frontend::control::wire::{self, Header, VERSION, message};
use seat_frontend::memory::{RegionPlan, memfd};

use crate::common::soon;
use crate::serving::{BOTH, BackEnd, alone, await_descriptors, measure};

fn header(request: u32, flags: u32, size: u32) -> Vec<u8> {
    Header { request, flags, size }.encode().to_vec()
}

#[track_caller]
fn assert_end_the_session(messages: &[(&str, Vec<u8>)]) {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        for (what, bytes) in messages {
            let mut front = back_end.connect();
            front.barrier().unwrap();
            front.send_bytes(bytes, &[]).unwrap();
            front.expect_close(soon()).unwrap_or_else(|error| panic!("{kind:?}: {what}: {error}"));
            back_end.assert_serves(what);
        }
        back_end.assert_well("after all of them");
    }
}

#[test]
fn headers_of_another_version_or_with_strange_flags_or_sizes_end_the_session() {
    assert_end_the_session(&[
        ("version 0", header(request::GET_FEATURES, 0, 0)),
        ("version 2", header(request::GET_FEATURES, 2, 0)),
        ("version 3", header(request::GET_FEATURES, 3, 0)),
        ("a reply", header(request::GET_FEATURES, VERSION | wire::REPLY, 0)),
        ("an unknown flag", header(request::GET_FEATURES, VERSION | 1 << 4, 0)),
        ("all flags", header(request::GET_FEATURES, u32::MAX, 0)),
        ("4097 bytes", header(request::SET_CONFIG, VERSION, 4097)),
        ("2 GiB", header(request::SET_CONFIG, VERSION, 1 << 31)),
        ("4 GiB", header(0xdead, VERSION, u32::MAX)),
    ]);
}

#[test]
fn payloads_of_another_size_than_their_request_has_end_the_session() {
    let mut messages = Vec::new();
    for (number, sizes) in [
        (request::GET_FEATURES, &[1, 8][..]),
        (request::SET_FEATURES, &[0, 7, 9]),
        (request::SET_VRING_NUM, &[0, 4, 12]),
        (request::SET_VRING_ADDR, &[0, 39, 41]),
        (request::GET_VRING_BASE, &[0, 7]),
        (request::SET_VRING_KICK, &[0, 4, 16]),
        (request::SET_MEM_TABLE, &[0, 7, 9, 39]),
        (request::ADD_MEM_REG, &[0, 32, 48]),
        (request::REM_MEM_REG, &[0, 32, 48]),
        (request::GET_CONFIG, &[0, 11]),
        (request::RESET_DEVICE, &[1]),
    ] {
        messages.extend(sizes.iter().map(|size| ("size", message(number, VERSION, &vec![0; *size]))));
    }
    assert_end_the_session(&messages);
}

#[test]
fn missing_descriptors_end_the_session() {
    let spec = RegionPlan::new(0, 0x1000, 0).spec;
    assert_end_the_session(&[
        ("table", message(request::SET_MEM_TABLE, VERSION, &wire::mem_table(&[spec]))),
        ("region", message(request::ADD_MEM_REG, VERSION, &wire::single_region(&spec))),
        ("kick", message(request::SET_VRING_KICK, VERSION, &0u64.to_ne_bytes())),
        ("call", message(request::SET_VRING_CALL, VERSION, &0u64.to_ne_bytes())),
        ("err", message(request::SET_VRING_ERR, VERSION, &0u64.to_ne_bytes())),
        ("display", message(request::GPU_SET_SOCKET, VERSION, &[])),
        ("back channel", message(request::SET_BACKEND_REQ_FD, VERSION, &[])),
    ]);
}

#[test]
fn too_many_descriptors_end_the_session_or_are_closed_and_all_come_back() {
    alone("messages::too_many_descriptors_end_the_session_or_are_closed_and_all_come_back", || {
        let file = memfd(c"many", 0x1000, true).unwrap();
        let spec = RegionPlan::new(0, 0x1000, 0).spec;
        for kind in BOTH {
            let back_end = BackEnd::new(kind);
            back_end.assert_serves("before");
            let before = measure().fds;
            for count in [2, 8, 9, 100, 253] {
                let fds = vec![file.as_fd(); count];
                for (number, payload) in [
                    (request::ADD_MEM_REG, wire::single_region(&spec).to_vec()),
                    (request::SET_MEM_TABLE, wire::mem_table(&[spec])),
                    (request::SET_VRING_KICK, 0u64.to_ne_bytes().to_vec()),
                    (request::GPU_SET_SOCKET, Vec::new()),
                ] {
                    let mut front = back_end.connect();
                    front.send(number, 0, &payload, &fds).unwrap();
                    front.expect_close(soon()).unwrap_or_else(|error| panic!("{count} at {number}: {error}"));
                }
                let mut front = back_end.connect();
                front.send(request::GET_FEATURES, 0, &[], &fds).unwrap();
                front.reply(request::GET_FEATURES).unwrap();
            }
            await_descriptors(before);
            back_end.assert_well("after all of them");
        }
    });
}

#[test]
fn a_message_cut_at_any_byte_with_its_descriptors_and_then_a_hang_up_leave_nothing_behind() {
    alone("messages::a_message_cut_at_any_byte_with_its_descriptors_and_then_a_hang_up_leave_nothing_behind", || {
        let file = memfd(c"cut", 0x1000, true).unwrap();
        let whole = message(
            request::ADD_MEM_REG,
            VERSION | wire::NEED_REPLY,
            &wire::single_region(&RegionPlan::new(0, 0x1000, 0).spec),
        );
        for kind in BOTH {
            let back_end = BackEnd::new(kind);
            back_end.assert_serves("before");
            let before = measure().fds;
            for cut in 1..=whole.len() {
                let mut front = back_end.connect();
                front.send_bytes(&whole[..cut], &[file.as_fd(), file.as_fd()]).unwrap();
                drop(front);
            }
            back_end.assert_serves("after all cuts");
            await_descriptors(before);
            back_end.assert_well("after all of them");
        }
    });
}

#[test]
fn unknown_requests_are_refused_and_those_that_wait_for_an_answer_of_another_kind_end_the_session() {
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = back_end.negotiated();
        for number in [0, 46, 47, 100, 0xdead, u32::MAX] {
            for size in [0, 8, 4096] {
                assert_ne!(front.ack_value(number, &vec![0xff; size], &[]).unwrap(), 0, "{kind:?}: {number}");
            }
        }
        front.barrier().unwrap();
        drop(front);
        for number in [request::GET_INFLIGHT_FD, request::SET_LOG_BASE, request::IOTLB_MSG, request::GET_STATUS] {
            let mut front = back_end.negotiated();
            front.send(number, wire::NEED_REPLY, &[0; 40], &[]).unwrap();
            front.expect_close(soon()).unwrap_or_else(|error| panic!("{kind:?}: {number}: {error}"));
        }
        back_end.assert_well("after all of them");
    }
}
