//! Features, acknowledgements and refusals, and the config space.

use std::os::fd::AsFd;

use seat_frontend::control::wire::{self, NEED_REPLY, vring_state};
use seat_frontend::control::{AckPolicy, FrontEnd, Qemu, VringAddr, feature, protocol, request};
use seat_frontend::gpu::feature as gpu_feature;
use seat_frontend::machine::MachineOptions;
use seat_frontend::memory::{RegionPlan, RegionSpec, memfd};
use seat_frontend::program::{Program, stream_pair};

use crate::common::{assert_answers, boot, boot_on, connect, options, program, realize_on, soon};

/// A front end that negotiated all that is offered.
fn negotiated(program: &Program) -> FrontEnd {
    let mut front = connect(program);
    let offered = front.get_protocol_features().unwrap();
    front.set_protocol_features(offered).unwrap();
    front
}

/// What NEED_REPLY brings.
fn ack(front: &mut FrontEnd, number: u32, payload: &[u8]) -> u64 {
    front.ack_value(number, payload, &[]).unwrap()
}

#[test]
fn exactly_the_virtio_features_that_work_are_offered() {
    let program = program(&[]);
    let bits = [
        gpu_feature::EDID,
        gpu_feature::RESOURCE_UUID,
        gpu_feature::RESOURCE_BLOB,
        feature::INDIRECT_DESC,
        feature::EVENT_IDX,
        feature::PROTOCOL_FEATURES,
        feature::VERSION_1,
    ];

    let offered = connect(&program).get_features().unwrap();

    assert_eq!(offered, bits.iter().fold(0, |all, bit| all | 1 << bit), "{offered:#x}");
}

#[test]
fn exactly_the_protocol_features_that_work_are_offered() {
    let program = program(&[]);
    let bits =
        [protocol::MQ, protocol::REPLY_ACK, protocol::CONFIG, protocol::CONFIGURE_MEM_SLOTS, protocol::RESET_DEVICE];

    let offered = connect(&program).get_protocol_features().unwrap();

    assert_eq!(offered, bits.iter().fold(0, |all, bit| all | 1 << bit), "{offered:#x}");
}

#[test]
fn there_are_two_queues_and_509_memory_slots() {
    let program = program(&[]);
    let mut front = negotiated(&program);

    assert_eq!(front.get_queue_num().unwrap(), 2);
    assert_eq!(front.get_max_mem_slots().unwrap(), 509);
}

#[test]
fn every_message_of_a_start_is_acknowledged_to_a_front_end_that_asks() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());

    // From now on each message that is not answered with 0 is an error.
    vm.front.set_ack_policy(AckPolicy::Always);
    vm.start().unwrap();
    vm.pause().unwrap();
    vm.resume().unwrap();
    vm.reset().unwrap();
    vm.front.set_config(0, 0, &[0; 16]).unwrap();
    vm.front.reset_owner().unwrap();
    vm.start().unwrap();

    assert_answers(&mut vm);
}

#[test]
fn without_reply_ack_nothing_is_acknowledged() {
    let program = program(&[]);
    let mut front = connect(&program);
    front.set_protocol_features(1 << protocol::CONFIG).unwrap();

    front.send(request::SET_OWNER, NEED_REPLY, &[], &[]).unwrap();
    front.send(request::SET_VRING_NUM, NEED_REPLY, &vring_state(9, 9), &[]).unwrap();

    // The next thing to come is the answer to the next question.
    front.get_features().unwrap();
}

#[test]
fn a_message_with_an_answer_of_its_own_is_answered_once_though_it_asks_for_an_acknowledgement() {
    let program = program(&[]);
    let mut front = negotiated(&program);

    front.send(request::GET_QUEUE_NUM, NEED_REPLY, &[], &[]).unwrap();

    assert_eq!(front.reply(request::GET_QUEUE_NUM).unwrap().u64().unwrap(), 2);
    front.get_features().unwrap();
}

#[test]
fn a_ring_that_is_not_there_is_refused() {
    let program = program(&[]);
    let mut front = negotiated(&program);
    let (_ours, fd) = stream_pair().unwrap();
    let addr = VringAddr { index: 2, ..VringAddr::default() };

    for index in [2, 255, u32::MAX] {
        assert_ne!(ack(&mut front, request::SET_VRING_NUM, &vring_state(index, 64)), 0);
        assert_ne!(ack(&mut front, request::SET_VRING_BASE, &vring_state(index, 0)), 0);
        assert_ne!(ack(&mut front, request::SET_VRING_ENABLE, &vring_state(index, 1)), 0);
    }
    assert_ne!(ack(&mut front, request::SET_VRING_ADDR, &addr.encode()), 0);
    for number in [request::SET_VRING_KICK, request::SET_VRING_CALL, request::SET_VRING_ERR] {
        assert_ne!(front.ack_value(number, &2u64.to_ne_bytes(), &[fd.as_fd()]).unwrap(), 0);
    }
    front.barrier().unwrap();
}

#[test]
fn a_queue_size_that_no_ring_can_have_is_refused() {
    let program = program(&[]);
    let mut front = negotiated(&program);

    for size in [0, 3, 100, 32769, 65536, u32::MAX] {
        assert_ne!(ack(&mut front, request::SET_VRING_NUM, &vring_state(0, size)), 0, "{size}");
    }
    for size in [1, 2, 64, 1024, 32768] {
        assert_eq!(ack(&mut front, request::SET_VRING_NUM, &vring_state(0, size)), 0, "{size}");
    }
}

#[test]
fn a_base_beyond_sixteen_bits_is_refused() {
    let program = program(&[]);
    let mut front = negotiated(&program);

    assert_ne!(ack(&mut front, request::SET_VRING_BASE, &vring_state(0, 65536)), 0);
    assert_eq!(ack(&mut front, request::SET_VRING_BASE, &vring_state(0, 65535)), 0);
}

#[test]
fn a_ring_is_switched_by_0_or_1_alone() {
    let program = program(&[]);
    let mut front = negotiated(&program);

    assert_ne!(ack(&mut front, request::SET_VRING_ENABLE, &vring_state(0, 2)), 0);
    assert_eq!(ack(&mut front, request::SET_VRING_ENABLE, &vring_state(0, 1)), 0);
}

#[test]
fn a_ring_whose_addresses_lie_outside_memory_does_not_start() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    vm.front.set_features(vm.features()).unwrap();
    let ring = vm.driver.rings()[0];
    vm.front.set_vring_num(0, 64).unwrap();
    vm.front.set_vring_addr(&ring.addresses(0, false)).unwrap();

    // No memory was announced yet.
    let refused = vm.front.ack_value(request::SET_VRING_KICK, &0u64.to_ne_bytes(), &[ring.kick_fd()]).unwrap();

    assert_ne!(refused, 0);
    vm.start().unwrap();
    assert_answers(&mut vm);
}

#[test]
fn memory_that_cannot_be_mapped_is_refused() {
    let program = program(&[]);
    let mut front = negotiated(&program);
    let spec = RegionPlan::new(0x10_0000, 0x2000, 0).spec;
    let enough = memfd(c"enough", 0x3000, true).unwrap();
    let short = memfd(c"short", 0x1fff, true).unwrap();
    let (_ours, socket) = stream_pair().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut add = |spec: RegionSpec, fd: std::os::fd::BorrowedFd<'_>| {
        front.ack_value(request::ADD_MEM_REG, &wire::single_region(&spec), &[fd]).unwrap()
    };

    assert_ne!(add(spec, short.as_fd()), 0, "a file shorter than announced");
    assert_ne!(add(spec, socket.as_fd()), 0, "a socket");
    assert_ne!(add(spec, null.as_fd()), 0, "a device that cannot be mapped");
    assert_ne!(add(RegionSpec { size: 0, ..spec }, enough.as_fd()), 0, "no bytes");
    assert_ne!(add(RegionSpec { gpa: u64::MAX - 0xfff, ..spec }, enough.as_fd()), 0, "beyond the last address");
    assert_ne!(add(RegionSpec { uva: u64::MAX - 0xfff, ..spec }, enough.as_fd()), 0, "beyond the last address");
    assert_ne!(add(RegionSpec { mmap_offset: 0x2000, ..spec }, enough.as_fd()), 0, "beyond the file's end");
    assert_ne!(add(RegionSpec { mmap_offset: u64::MAX - 0xfff, ..spec }, enough.as_fd()), 0, "an absurd offset");
    assert_eq!(add(RegionSpec { mmap_offset: 0x1000, ..spec }, enough.as_fd()), 0, "and a good one is taken");
    assert_ne!(add(RegionSpec { uva: 1 << 46, ..spec }, enough.as_fd()), 0, "the same guest addresses again");
    assert_ne!(add(RegionSpec { gpa: 1 << 40, ..spec }, enough.as_fd()), 0, "the same user addresses again");
}

#[test]
fn requests_that_are_not_supported_are_refused_and_the_session_goes_on() {
    let program = program(&[]);
    let mut front = negotiated(&program);
    let (_ours, fd) = stream_pair().unwrap();

    for (number, payload) in [
        (request::SEND_RARP, &[0; 8][..]),
        (request::NET_SET_MTU, &[0; 8]),
        (request::SET_VRING_ENDIAN, &[0; 8]),
        (request::SET_STATUS, &[0; 8]),
        (request::VRING_KICK, &[0; 8]),
        (46, &[]),
        (99, &[1, 2, 3]),
        (u32::MAX, &[0; 4096]),
    ] {
        assert_ne!(ack(&mut front, number, payload), 0, "{number}");
        // Without the wish for an answer it is passed over.
        front.send(number, 0, payload, &[]).unwrap();
    }
    assert_ne!(front.ack_value(request::SET_BACKEND_REQ_FD, &[], &[fd.as_fd()]).unwrap(), 0);
    front.barrier().unwrap();
}

#[test]
fn features_that_were_never_offered_are_refused() {
    let program = program(&[]);
    let mut front = negotiated(&program);
    let offered = front.get_features().unwrap();

    for bit in [
        gpu_feature::VIRGL,
        gpu_feature::CONTEXT_INIT,
        feature::LOG_ALL,
        feature::IOMMU_PLATFORM,
        feature::RING_PACKED,
        63,
    ] {
        assert_ne!(ack(&mut front, request::SET_FEATURES, &(offered | 1 << bit).to_ne_bytes()), 0, "bit {bit}");
    }
    for bit in [protocol::LOG_SHMFD, protocol::INBAND_NOTIFICATIONS, protocol::STATUS, protocol::XEN_MMAP, 63] {
        let features = front.protocol_features() | 1 << bit;
        assert_ne!(ack(&mut front, request::SET_PROTOCOL_FEATURES, &features.to_ne_bytes()), 0, "bit {bit}");
    }
    front.barrier().unwrap();
}

#[test]
fn generic_features_that_qemu_gives_a_guest_unasked_are_tolerated() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    let unasked = 1 << feature::NOTIFY_ON_EMPTY | 1 << feature::RING_RESET;

    vm.front.set_ack_policy(AckPolicy::Always);
    vm.front.set_features(vm.features() | unasked).unwrap();
}

#[test]
fn a_front_end_that_asked_for_no_acknowledgement_and_sets_a_packed_ring_is_left() {
    let program = program(&[]);
    let mut front = connect(&program);

    front.set_features(1 << feature::VERSION_1 | 1 << feature::RING_PACKED).unwrap();

    front.expect_close(soon()).unwrap();
    connect(&program).barrier().unwrap();
    assert!(program.stderr().contains("0x400000000"), "{:?}", program.stderr());
}

#[test]
fn every_qemu_boots() {
    let program = program(&[]);
    for qemu in [Qemu::V7_2, Qemu::V10_0, Qemu::V11_1] {
        let mut vm = boot_on(&program, MachineOptions::new(qemu).unwrap());
        assert_answers(&mut vm);
        vm.quit().unwrap().finish().unwrap();
    }
}

#[test]
fn the_config_space_is_answered_at_every_size_and_offset_with_zeroes_beyond_its_end() {
    let program = program(&[]);
    let mut front = negotiated(&program);
    // events_read, events_clear, num_scanouts, num_capsets
    let mut space = vec![0; 1024];
    space[8] = 16;

    for size in 0..=256 {
        for offset in [0, 1, 4, 7, 8, 9, 12, 15, 16, 17, 20, 255, 256, 300] {
            let config = front.get_config(offset, size).unwrap();
            assert_eq!(config, space[offset as usize..][..size as usize], "{size} bytes at {offset}");
        }
    }
    for offset in [0x8000_0000, u32::MAX - 255, u32::MAX] {
        assert_eq!(front.get_config(offset, 256).unwrap(), [0; 256], "at {offset:#x}");
    }
}

#[test]
fn writes_to_the_config_space_are_acknowledged_and_change_nothing() {
    let mut seat = boot();
    let before = seat.vm.front.get_config(0, 20).unwrap();

    for flags in [0, 1] {
        seat.vm.front.set_config(0, flags, &[0xff; 20]).unwrap();
        seat.vm.front.set_config(4, flags, &[1; 4]).unwrap();
        seat.vm.front.set_config(200, flags, &[1; 56]).unwrap();
    }

    assert_eq!(seat.vm.front.get_config(0, 20).unwrap(), before);
    assert_answers(&mut seat.vm);
}
