//! What the device offers once it can render: features, the config space, capability sets.

use seat_frontend::control::{feature as transport, request};
use seat_frontend::gpu::{Command, HEADER_SIZE, feature, resp};

use crate::common::{Seat, connect};
use crate::seat::{boot, program};

/// `struct virtio_gpu_config`: `num_capsets` is its fourth word.
const NUM_CAPSETS: u32 = 12;

#[test]
fn features_and_the_number_of_capability_sets_are_those_of_3d() {
    let Some(program) = program(&[]) else { return };
    let mut front = connect(&program);
    let offered = front.get_features().unwrap();
    for bit in [feature::VIRGL, feature::EDID, feature::RESOURCE_UUID, feature::RESOURCE_BLOB, feature::CONTEXT_INIT] {
        assert_ne!(offered & 1 << bit, 0, "bit {bit} of {offered:#x}");
    }
    // Others go ahead of answers that wait for the renderer.
    let protocol = front.get_protocol_features().unwrap();
    front.set_protocol_features(protocol).unwrap();
    let in_order = offered | 1 << transport::IN_ORDER;
    assert_ne!(front.ack_value(request::SET_FEATURES, &in_order.to_ne_bytes(), &[]).unwrap(), 0);
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    assert_eq!(vm.front.get_config(NUM_CAPSETS, 4).unwrap(), 2u32.to_le_bytes());
}

#[test]
fn each_capability_set_has_the_size_that_it_says_and_contents() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sets = [0, 1].map(|index| vm.driver.capset_info(index).unwrap());

    // `VIRTIO_GPU_CAPSET_VIRGL` never changed; VIRGL2 grows at its end with the library.
    assert_eq!((sets[0].id, sets[0].max_version, sets[0].max_size), (1, 1, 308));
    assert!(sets[1].id == 2 && sets[1].max_version >= 1 && sets[1].max_size >= 1376, "{sets:?}");
    for set in sets {
        for version in 0..=set.max_version {
            let contents = vm.driver.capset(set.id, version).unwrap();
            assert_eq!(contents.len(), set.max_size as usize, "set {} in version {version}", set.id);
            // It begins with its version.
            let first = u32::from_le_bytes(contents[..4].try_into().unwrap());
            assert!((1..=set.max_version).contains(&first), "version {first} of {set:?}");
            assert!(contents[4..].iter().any(|byte| *byte != 0));
        }
    }
}

#[test]
fn capability_sets_that_are_not_there_are_refused() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let newest = vm.driver.capset_info(1).unwrap().max_version;

    for index in [2, 3, 64, 255, u32::MAX] {
        assert_eq!(vm.driver.call(&Command::GetCapsetInfo { index }).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    }
    for (id, version) in [(0, 0), (3, 0), (4, 0), (5, 0), (63, 0), (u32::MAX, 0), (2, newest + 1), (1, u32::MAX)] {
        let response = vm.driver.call(&Command::GetCapset { id, version }).unwrap();
        assert_eq!(response.kind, resp::ERR_INVALID_PARAMETER, "set {id} in version {version}");
    }
}

#[test]
fn a_capability_set_does_not_come_in_part() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let size = vm.driver.capset_info(0).unwrap().max_size as usize;
    let command = Command::GetCapset { id: 1, version: 1 };
    let mut ask = |room: usize| {
        vm.driver.queue_sized(&command, seat_frontend::gpu::Fence::NONE, room).unwrap();
        vm.driver.kick();
        vm.driver.next_done().unwrap().response
    };

    let whole = ask(HEADER_SIZE + size);
    assert_eq!((whole.kind, whole.len as usize), (resp::OK_CAPSET, HEADER_SIZE + size));
    for room in [HEADER_SIZE, HEADER_SIZE + 1, HEADER_SIZE + size - 1] {
        let cut = ask(room);
        assert_eq!((cut.kind, cut.len as usize), (resp::ERR_UNSPEC, HEADER_SIZE), "room for {room} bytes");
    }
    assert_eq!(ask(HEADER_SIZE - 1).len, 0);
    assert_eq!(ask(HEADER_SIZE + size).kind, resp::OK_CAPSET);
}
