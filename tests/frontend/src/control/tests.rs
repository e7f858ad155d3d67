//! The front end against a back end of a few lines that writes down what it is told.

use std::os::fd::AsFd;

use super::recorder::{Seen, record};
use super::*;
use crate::gpu::{GpuDriver, GpuOptions};
use crate::memory::GuestMemory;
use request::*;

/// Everything from realize to a reset and a second start.
fn session(vmm: impl Into<Vmm>, kind: DeviceKind, protocol_features: u64) -> Vec<Seen> {
    let (mut front, theirs) = FrontEnd::pair().unwrap();
    let vmm = vmm.into();
    let back_end = record(theirs, protocol_features, |_, _| {});
    let memory = GuestMemory::scattered(8 << 20).unwrap();
    let driver = GpuDriver::new(&memory, GpuOptions::default()).unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let gpu_socket = (kind == DeviceKind::Gpu).then(|| socket.as_fd());
    let start = Start { memory: memory.regions(), rings: &driver.rings(), features: 0, gpu_socket };
    front.realize(vmm, kind, 2).unwrap();
    front.probe_config().unwrap();
    front.start(&start).unwrap();
    let bases = front.pause().unwrap();
    assert_eq!(bases, if matches!(vmm, Vmm::Qemu(_)) { vec![40, 41] } else { vec![] });
    front.resume(&start).unwrap();
    front.reset().unwrap();
    front.start(&start).unwrap();
    drop(front);
    back_end.join().unwrap()
}

fn bits(bits: &[u32]) -> u64 {
    bits.iter().map(|bit| 1 << bit).sum()
}

const USUAL: [u32; 6] = [
    protocol::MQ,
    protocol::REPLY_ACK,
    protocol::BACKEND_REQ,
    protocol::CONFIG,
    protocol::BACKEND_SEND_FD,
    protocol::CONFIGURE_MEM_SLOTS,
];

fn numbers(seen: &[Seen]) -> Vec<u32> {
    seen.iter().map(|message| message.0).collect()
}

const REALIZE: [u32; 12] = [
    GET_FEATURES,
    GET_PROTOCOL_FEATURES,
    SET_PROTOCOL_FEATURES,
    GET_QUEUE_NUM,
    GET_MAX_MEM_SLOTS,
    SET_BACKEND_REQ_FD,
    SET_OWNER,
    GET_FEATURES,
    SET_VRING_CALL,
    SET_VRING_ERR,
    SET_VRING_CALL,
    SET_VRING_ERR,
];
const RING: [u32; 4] = [SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ADDR, SET_VRING_KICK];
const RUN: [u32; 4] = [SET_VRING_ENABLE, SET_VRING_ENABLE, SET_VRING_CALL, SET_VRING_CALL];
const STOP: [u32; 6] =
    [SET_VRING_ENABLE, SET_VRING_ENABLE, GET_VRING_BASE, GET_VRING_BASE, SET_VRING_CALL, SET_VRING_CALL];
const GPU: [u32; 4] = [GPU_SET_SOCKET, SET_VRING_CALL, SET_VRING_CALL, SET_FEATURES];

#[test]
fn a_gpus_messages_come_in_qemus_order() {
    let seen = session(Qemu::V11_1, DeviceKind::Gpu, bits(&USUAL));
    let first = [&GPU[..], &[ADD_MEM_REG; 4], &RING, &RING, &RUN].concat();
    let again = [&GPU[..], &RING, &RING, &RUN].concat();
    let all = [&REALIZE[..], &[GET_CONFIG; 2], &first, &STOP, &again, &STOP, &again].concat();
    assert_eq!(numbers(&seen), all);
    let sizes = |request| seen.iter().filter(|m| m.0 == request).map(|m| m.3.len()).collect::<Vec<_>>();
    assert_eq!(sizes(GET_CONFIG), [32; 2]);
    assert_eq!(sizes(ADD_MEM_REG), [40; 4]);
}

#[test]
fn an_inputs_messages_come_in_qemus_order() {
    let seen = session(Qemu::V11_1, DeviceKind::Input, bits(&USUAL));
    let ring = [&RING[..], &[SET_VRING_CALL]].concat();
    let first = [&[SET_FEATURES][..], &[ADD_MEM_REG; 4], &ring, &ring, &RUN].concat();
    let from = REALIZE.len() + 2;
    assert_eq!(numbers(&seen)[from..from + first.len()], first);
    assert_eq!(seen[from - 1].3.len(), 12 + 136);
}

#[test]
fn bases_are_kept_over_a_pause_and_cleared_by_a_reset() {
    let seen = session(Qemu::V11_1, DeviceKind::Gpu, bits(&USUAL));
    let bases: Vec<_> = seen.iter().filter(|m| m.0 == SET_VRING_BASE).map(|m| m.3.clone()).collect();
    let expected = [(0, 0), (1, 0), (0, 40), (1, 41), (0, 0), (1, 0)];
    assert_eq!(bases, expected.map(|(index, base)| wire::vring_state(index, base).to_vec()));
}

#[test]
fn reset_device_goes_twice_before_the_start_and_after_each_stop() {
    let seen = session(Qemu::V11_1, DeviceKind::Gpu, bits(&USUAL) | 1 << protocol::RESET_DEVICE);
    let numbers = numbers(&seen);
    assert_eq!(numbers[REALIZE.len()..REALIZE.len() + 2], [RESET_DEVICE; 2]);
    let last = numbers.iter().rposition(|number| *number == RESET_DEVICE).unwrap();
    assert_eq!((numbers[last - 1], numbers[last + 1]), (SET_VRING_CALL, GPU_SET_SOCKET));
    assert_eq!(numbers.iter().filter(|number| **number == RESET_DEVICE).count(), 3);
}

#[test]
fn acknowledgements_are_asked_for_as_each_qemu_does() {
    let acked = |qemu| {
        let mut asked: Vec<u32> = session(qemu, DeviceKind::Gpu, bits(&USUAL))
            .iter()
            .filter(|message| message.1)
            .map(|message| message.0)
            .collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    };
    let synchronous = [SET_VRING_ENABLE, SET_BACKEND_REQ_FD, ADD_MEM_REG];
    assert_eq!(acked(Qemu::V10_0), synchronous);
    assert_eq!(acked(Qemu::V11_1), [&[SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR][..], &synchronous].concat());
}

#[test]
fn without_memory_slots_the_table_goes_out_at_each_start() {
    let seen = session(Qemu::V7_2, DeviceKind::Gpu, bits(&[protocol::MQ, protocol::CONFIG]));
    let tables: Vec<_> = seen.iter().filter(|m| m.0 == SET_MEM_TABLE).map(|m| (m.1, m.2, m.3.len())).collect();
    assert_eq!(tables, [(false, 4, 8 + 4 * 32); 3]);
    assert_eq!(seen.iter().find(|m| m.0 == GET_CONFIG).unwrap().3.len(), 28);
}

#[test]
fn features_are_masked_by_the_highest_bit_that_a_qemu_knows() {
    let set = |qemu| {
        let seen = session(qemu, DeviceKind::Gpu, !(1 << protocol::STATUS | 1 << protocol::LOG_SHMFD));
        let payload = &seen.iter().find(|m| m.0 == SET_PROTOCOL_FEATURES).unwrap().3;
        u64::from_ne_bytes(payload[..].try_into().unwrap())
    };
    assert_eq!(set(Qemu::V7_2), 0xfffd);
    assert_eq!(set(Qemu::V10_0), 0xefffd);
    assert_eq!(set(Qemu::V11_1), 0x6efffd);
}

const GENERIC_START: [u32; 14] = [
    SET_FEATURES,
    SET_MEM_TABLE,
    SET_VRING_NUM,
    SET_VRING_NUM,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    SET_VRING_CALL,
    SET_VRING_KICK,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    SET_VRING_CALL,
    SET_VRING_KICK,
    SET_VRING_ENABLE,
    SET_VRING_ENABLE,
];

#[test]
fn a_plain_monitors_messages_come_in_the_generic_order() {
    let seen = session(Vmm::Plain, DeviceKind::Input, bits(&USUAL) | 1 << protocol::RESET_DEVICE);
    let realize = [SET_OWNER, GET_FEATURES, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM];
    let pause_and_resume = [SET_VRING_ENABLE; 4];
    let reset = [SET_VRING_ENABLE, GET_VRING_BASE, SET_VRING_ENABLE, GET_VRING_BASE];
    let parts: [&[u32]; 6] = [&realize, &[GET_CONFIG; 2], &GENERIC_START, &pause_and_resume, &reset, &GENERIC_START];
    assert_eq!(numbers(&seen), parts.concat());
    let acknowledged = &seen.iter().find(|m| m.0 == SET_PROTOCOL_FEATURES).unwrap().3;
    assert_eq!(*acknowledged, bits(&[protocol::MQ, protocol::REPLY_ACK, protocol::CONFIG]).to_ne_bytes());
}

#[test]
fn cloud_hypervisor_sends_a_table_despite_slots_and_asks_for_every_reply() {
    let seen = session(Vmm::CloudHypervisor, DeviceKind::Input, bits(&USUAL));
    let numbers = numbers(&seen);
    assert!(!numbers.contains(&ADD_MEM_REG) && !numbers.contains(&GET_MAX_MEM_SLOTS));
    let start = numbers.iter().position(|number| *number == SET_FEATURES).unwrap();
    assert_eq!(numbers[start..start + 15], [&GENERIC_START[..], &[SET_BACKEND_REQ_FD]].concat());
    let negotiated = numbers.iter().position(|number| *number == SET_PROTOCOL_FEATURES).unwrap();
    assert!(seen[..=negotiated].iter().all(|message| !message.1));
    assert!(seen[negotiated + 1..].iter().all(|message| message.1));
}

#[test]
fn a_reply_with_other_flags_or_another_number_is_a_fault() {
    for bytes in [wire::message(1, 5 | wire::NEED_REPLY, &[0; 8]), wire::message(2, 5, &[0; 8])] {
        let (mut front, theirs) = FrontEnd::pair().unwrap();
        FrontEnd::from_stream(theirs).send_bytes(&bytes, &[]).unwrap();
        assert!(matches!(front.reply(1), Err(Error::Fault(_))));
    }
}

#[test]
fn a_refusal_carries_its_value() {
    let (mut front, theirs) = FrontEnd::pair().unwrap();
    let mut back_end = FrontEnd::from_stream(theirs);
    back_end.send_bytes(&wire::message(SET_OWNER, 5, &7u64.to_ne_bytes()), &[]).unwrap();
    let refused = front.tell_acked(SET_OWNER, &[], &[]);
    assert!(matches!(refused, Err(Error::Refused { request: SET_OWNER, value: 7 })));
}
