//! Seeds of valid traffic, in the bytes that each target reads. What the messages and commands are made of comes from
//! `seat-frontend`.

use seat_frontend::control::{VringAddr, feature, protocol, request, wire};
use seat_frontend::display::{message, wire as display_wire};
use seat_frontend::gpu::{Command, Fence, Head, MemEntry, Rect, format};
use seat_frontend::memory::RegionSpec;

use super::bodies::session::{boot, op};
use super::bodies::{chain as chains, control as controls, stream as streams};

/// A seed, and how many good things come of it: messages taken, answers, events.
pub struct Seed {
    pub target: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub good: usize,
}

pub fn all() -> Vec<Seed> {
    [control(), session(), chain(), command(), display(), input(), stream()].into_iter().flatten().collect()
}

fn seed(target: &'static str, name: &'static str, good: usize, bytes: Vec<u8>) -> Seed {
    Seed { target, name, bytes, good }
}

// Control.

/// A piece of the stream with one whole message in it.
fn piece(shape: u8, message: &[u8], fds: u8) -> Vec<u8> {
    let mut bytes = vec![shape | fds];
    match u8::try_from(message.len()) {
        Ok(len) => bytes.push(len),
        Err(_) => {
            bytes[0] |= controls::LONG;
            bytes.extend((message.len() as u16).to_le_bytes());
        }
    }
    bytes.extend(message);
    bytes
}

fn spec(gpa: u64) -> RegionSpec {
    RegionSpec { gpa, size: 0x10_0000, uva: 0x7f00_0000_0000 + gpa, mmap_offset: 0 }
}

/// What QEMU says to start a device: request, payload, descriptors.
fn qemu() -> Vec<(u32, Vec<u8>, u8)> {
    let mut messages = vec![
        (request::GET_FEATURES, vec![], 0),
        (request::GET_PROTOCOL_FEATURES, vec![], 0),
        (request::SET_PROTOCOL_FEATURES, (1u64 << protocol::CONFIG | 1 << protocol::MQ).to_ne_bytes().to_vec(), 0),
        (request::GET_QUEUE_NUM, vec![], 0),
        (request::GET_MAX_MEM_SLOTS, vec![], 0),
        (request::SET_OWNER, vec![], 0),
        (request::GPU_SET_SOCKET, vec![], 1),
        (request::GET_CONFIG, wire::config(0, 0, &[0; 16]), 0),
        (request::SET_CONFIG, wire::config(0, 0, &[1, 2, 3]), 0),
        (request::SET_FEATURES, (1u64 << feature::VERSION_1).to_ne_bytes().to_vec(), 0),
        (request::SET_MEM_TABLE, wire::mem_table(&[spec(0), spec(1 << 32)]), 2),
        (request::ADD_MEM_REG, wire::single_region(&spec(1 << 33)).to_vec(), 1),
        (request::REM_MEM_REG, wire::single_region(&spec(1 << 33)).to_vec(), 0),
    ];
    for index in 0..2u32 {
        let addr = VringAddr { index, flags: 0, desc: 0x1000, used: 0x3000, avail: 0x2000, log: 0 };
        let value = u64::from(index);
        messages.extend([
            (request::SET_VRING_NUM, wire::vring_state(index, 256).to_vec(), 0),
            (request::SET_VRING_BASE, wire::vring_state(index, 0).to_vec(), 0),
            (request::SET_VRING_ADDR, addr.encode().to_vec(), 0),
            (request::SET_VRING_KICK, value.to_ne_bytes().to_vec(), 1),
            (request::SET_VRING_CALL, (value | wire::NO_FD).to_ne_bytes().to_vec(), 0),
            (request::SET_VRING_ERR, value.to_ne_bytes().to_vec(), 1),
            (request::SET_VRING_ENABLE, wire::vring_state(index, 1).to_vec(), 0),
        ]);
    }
    messages.extend([
        (request::GET_VRING_BASE, wire::vring_state(0, 0).to_vec(), 0),
        (request::SET_BACKEND_REQ_FD, vec![], 1),
        (request::RESET_DEVICE, vec![], 0),
        (request::RESET_OWNER, vec![], 0),
        (request::GET_STATUS, vec![], 0),
    ]);
    messages
}

pub fn control() -> Vec<Seed> {
    let whole =
        |flags: u32| qemu().into_iter().map(move |(number, body, fds)| (wire::message(number, flags, &body), fds));
    let count = qemu().len();
    let plain = whole(wire::VERSION).flat_map(|(bytes, fds)| piece(0, &bytes, fds)).collect();
    let shape = controls::REPLIES | controls::READS;
    let answered = whole(wire::VERSION | wire::NEED_REPLY).flat_map(|(bytes, fds)| piece(shape, &bytes, fds)).collect();
    let cut = whole(wire::VERSION).flat_map(|(bytes, fds)| {
        let (first, second) = bytes.split_at(7);
        [piece(0, first, fds), piece(0, second, 0)].concat()
    });
    let deaf = (0..60).flat_map(|_| piece(controls::REPLIES, &wire::message(request::GET_CONFIG, 1, &config_256()), 0));
    let table = wire::message(request::SET_MEM_TABLE, wire::VERSION, &wire::mem_table(&[spec(0), spec(1 << 32)]));
    let question = wire::message(request::GET_FEATURES, wire::VERSION, &[]);
    let gone = piece(controls::REPLIES | controls::LEAVES, &question, 0);
    let gone_inside = piece(controls::REPLIES | controls::LEAVES, &[&question[..], &question[..5]].concat(), 0);
    vec![
        seed("control", "table-short-of-descriptors", 0, piece(0, &table, 1)),
        seed("control", "gone-without-reading", 1, gone),
        seed("control", "gone-inside-a-message", 1, gone_inside),
        seed("control", "gone-deaf", 1, [deaf.clone().collect::<Vec<_>>(), piece(controls::LEAVES, &[], 0)].concat()),
        seed("control", "qemu", count, plain),
        seed("control", "qemu-answered", count, answered),
        seed("control", "qemu-cut", count, cut.collect()),
        // A front end that does not read is not listened to.
        seed("control", "deaf", 60, [deaf.collect::<Vec<_>>(), piece(controls::READS, &[], 0)].concat()),
    ]
}

fn config_256() -> Vec<u8> {
    wire::config(0, 0, &[7; 256])
}

// Sessions.

/// Of a COMMAND: the request's words as a session reads them.
fn words(bytes: &[u8]) -> Vec<u8> {
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    words
        .flat_map(|word| match u8::try_from(word) {
            Ok(small @ 0..=0xef) => vec![small],
            _ => [&[0xff][..], &word.to_le_bytes()].concat(),
        })
        .collect()
}

/// The command, fenced; its kind as a session reads it is the number's low byte, with 0x20 for 3D and 0x30 for cursors.
fn gpu(command: &Command<'_>) -> Vec<u8> {
    let mut bytes = [0; 96];
    let len = command.encode(&Fence::NONE, &mut bytes);
    let kind = command.kind();
    let cursor = u8::from(kind >> 8 == 3);
    let kind = (kind & 0xff) as u8 | [0, 0, 0x20, 0x30][(kind >> 8) as usize];
    [&[op::COMMAND, 8 | cursor, kind][..], &words(&bytes[24..len])].concat()
}

/// Backing in the upper half of a session's memory: four entries of 4 KiB.
fn attach(resource_id: u32) -> Vec<u8> {
    let entries = [MemEntry::default(); 4];
    let mut bytes = gpu(&Command::AttachBacking { resource_id, entries: &entries });
    for entry in 0..4 {
        bytes.extend([entry * 4]);
        bytes.extend(words(&256u32.to_le_bytes()));
    }
    bytes
}

fn screen(flags: u8) -> Vec<u8> {
    let rect = Rect::new(0, 0, 64, 64);
    let (resource_id, scanout_id) = (1, 0);
    let picture = [
        gpu(&Command::GetDisplayInfo),
        gpu(&Command::GetEdid { scanout: 0 }),
        gpu(&Command::ResourceCreate2d { resource_id, format: format::B8G8R8X8, width: 64, height: 64 }),
        attach(resource_id),
        gpu(&Command::SetScanout { rect, scanout_id, resource_id }),
        vec![op::WRITE, 0x00, 0x40, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        gpu(&Command::TransferToHost2d { rect, offset: 0, resource_id }),
        gpu(&Command::ResourceFlush { rect, resource_id }),
        vec![op::TURNS, 7],
        gpu(&Command::UpdateCursor { scanout_id, x: 5, y: 6, resource_id, hot_x: 1, hot_y: 2 }),
        gpu(&Command::MoveCursor { scanout_id, x: 9, y: 9, resource_id }),
        gpu(&Command::AssignUuid { resource_id }),
        gpu(&Command::SetScanout { rect, scanout_id, resource_id: 0 }),
        gpu(&Command::DetachBacking { resource_id }),
        gpu(&Command::ResourceUnref { resource_id }),
        vec![op::TURNS, 7],
    ];
    [vec![0, op::BOOT, flags], picture.concat()].concat()
}

pub fn session() -> Vec<Seed> {
    let boots = boot::EVENT_IDX | boot::ACKS;
    let pause = [op::VRING, 3, 0, 0, 0, op::VRING, 4, 0, 0, 0, op::TURNS, 1];
    let events: Vec<u8> = vec![op::EVENTS, 5, 0x44, 1, 0x07, 200, 0, 0x44, 0, 0x09, 1, 0];
    let lights = [[0x11, 0, 0, 0, 1, 0, 0, 0], [0x12, 0, 1, 0, 1, 0, 0, 0]].concat();
    let keyboard = [
        vec![1, op::BOOT, boots, op::CONFIG, 1, 0, 2, 0x11, 1, op::CONFIG, 0, 0, 136],
        vec![op::BUFFERS, 0x70, 7],
        events.clone(),
        [&[op::BUFFERS, 0x11, 7][..], &lights].concat(),
        vec![op::TURNS, 7],
    ];
    let pulled_out = [
        vec![1, op::BOOT, boots, op::BUFFERS, 0x70, 7],
        events.clone(),
        vec![op::PLUG, 0, op::TURNS, 1, op::PLUG, 2, op::TURNS, 3],
        events,
        vec![op::TURNS, 7],
    ];
    // What comes back has another name, and says things that nobody reads; after it the device itself.
    let other =
        [vec![op::PLUG, 0, op::TURNS, 1, op::PLUG, 0x7a, op::TURNS, 3], pulled_out[1].clone(), pulled_out[2].clone()];
    let another = [&pulled_out[..2], &other, &pulled_out[3..]].concat();
    vec![
        seed("session", "screen", 12, screen(boots | boot::DISPLAY)),
        seed("session", "screen-small-rings", 12, screen(boots | boot::DISPLAY | boot::SMALL)),
        seed("session", "screen-polled", 12, screen(boot::POLLED)),
        seed("session", "screen-paused", 12, [&screen(boots | boot::DISPLAY)[..], &pause, &screen(0)[1..]].concat()),
        seed(
            "session",
            "questions",
            2,
            [
                &[0, op::BOOT, boots | boot::DISPLAY][..],
                &gpu(&Command::GetDisplayInfo),
                &gpu(&Command::GetEdid { scanout: 9 }),
            ]
            .concat(),
        ),
        seed("session", "keyboard", 8, keyboard.concat()),
        seed("session", "keyboard-pulled-out", 4, pulled_out.concat()),
        seed("session", "keyboard-exchanged", 4, another.concat()),
    ]
}

// Chains.

pub fn chain() -> Vec<Seed> {
    use chains::{ADDR, ELSEWHERE, INDIRECT, LEN, NEXT, WRITE};
    let table = |size: u16, head: u16, place: u8| [&size.to_le_bytes()[..], &head.to_le_bytes(), &[place]].concat();
    let request = [NEXT | ADDR | LEN, 0x00, 0x04, 96];
    let response = [WRITE | ADDR | LEN, 0x00, 0x05, 24];
    let across = [ADDR | LEN, 0xff, 0x07, 64];
    let elsewhere = [INDIRECT | ADDR | LEN | ELSEWHERE, 0x00, 0x02, 32, 0x00, 0x02];
    vec![
        seed("chain", "two-buffers", 1, [&table(64, 0, 0)[..], &request, &response].concat()),
        seed("chain", "across-regions", 1, [&table(64, 0, 0)[..], &across].concat()),
        seed("chain", "indirect", 1, [&table(64, 0, 0)[..], &elsewhere, &request, &response].concat()),
        seed("chain", "too-long", 0, table(0x800, 0, chains::FILLED)),
        seed("chain", "longest", 1, table(0x800, 0x400, chains::FILLED)),
    ]
}

// Commands.

pub fn command() -> Vec<Seed> {
    let rect = Rect::new(1, 2, 3, 4);
    let (resource_id, scanout_id) = (7, 2);
    let (x, y, hot_x, hot_y) = (1, 2, 3, 4);
    let entries = &[MemEntry { addr: 0x10_0000, len: 4096 }; 3];
    let commands = [
        ("get-display-info", Command::GetDisplayInfo),
        ("create-2d", Command::ResourceCreate2d { resource_id, format: format::R8G8B8A8, width: 640, height: 480 }),
        ("unref", Command::ResourceUnref { resource_id }),
        ("set-scanout", Command::SetScanout { rect, scanout_id, resource_id }),
        ("flush", Command::ResourceFlush { rect, resource_id }),
        ("transfer", Command::TransferToHost2d { rect, offset: 1 << 33, resource_id }),
        ("attach", Command::AttachBacking { resource_id, entries }),
        ("detach", Command::DetachBacking { resource_id }),
        ("capset-info", Command::GetCapsetInfo { index: 1 }),
        ("capset", Command::GetCapset { id: 1, version: 2 }),
        ("edid", Command::GetEdid { scanout: 1 }),
        ("uuid", Command::AssignUuid { resource_id }),
        (
            "create-blob",
            Command::CreateBlob { resource_id, blob_mem: 1, blob_flags: 2, blob_id: 3, size: 4096, entries },
        ),
        (
            "set-scanout-blob",
            Command::SetScanoutBlob {
                rect,
                scanout_id,
                resource_id,
                width: 1,
                height: 2,
                format: 3,
                stride: 4,
                offset: 0,
            },
        ),
        ("update-cursor", Command::UpdateCursor { scanout_id, x, y, resource_id, hot_x, hot_y }),
        ("move-cursor", Command::MoveCursor { scanout_id, x, y, resource_id }),
    ];
    let fence = Fence { flags: 3, id: 0x0102_0304_0506_0708, ctx_id: 9, ring_idx: 10 };
    let known = commands.into_iter().map(|(name, command)| {
        let mut bytes = [0; 96];
        let len = command.encode(&fence, &mut bytes);
        let mut bytes = bytes[..len].to_vec();
        command.each_tail(|_, tail| bytes.extend(tail));
        seed("command", name, 1, bytes)
    });
    let of_3d = [
        ("ctx-create", 0x200u32),
        ("ctx-destroy", 0x201),
        ("ctx-attach", 0x202),
        ("ctx-detach", 0x203),
        ("create-3d", 0x204),
        ("transfer-to-3d", 0x205),
        ("transfer-from-3d", 0x206),
        ("submit-3d", 0x207),
        ("map-blob", 0x208),
        ("unmap-blob", 0x209),
    ];
    let of_3d = of_3d.into_iter().map(|(name, kind)| {
        let body = (4u8..96).collect::<Vec<_>>();
        seed("command", name, 1, [&kind.to_le_bytes()[..], &body].concat())
    });
    known.chain(of_3d).collect()
}

// Displays.

pub fn display() -> Vec<Seed> {
    let replies = [
        display_wire::reply(message::GET_PROTOCOL_FEATURES, &3u64.to_ne_bytes()),
        display_wire::reply(message::GET_DISPLAY_INFO, &display_wire::display_info(&[Head::sized(1280, 800)])),
        display_wire::reply(message::GET_EDID, &display_wire::edid(&display_wire::sample_edid(0))),
        display_wire::reply(message::DMABUF_UPDATE, &[]),
    ];
    let pieces = |len: usize| -> Vec<u8> {
        let piece = |bytes: &[u8]| [&[255][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat();
        let stream = replies.concat();
        [vec![0], stream.chunks(len).flat_map(piece).collect()].concat()
    };
    // Each is asked, sent, answered; the features come first. Scanout 2 is there, scanout 9 is not.
    let (send, answer) = (3, 5);
    let features = [send, answer, send];
    let edid = |scanout: u8| [1 | scanout << 3, send, send, answer, answer];
    let talk = [&[1][..], &features, &[0, send, answer], &edid(2), &edid(9), &edid(2), &[0, 2, send]].concat();
    let plain = [&[1, 7][..], &features, &[0, send, answer], &edid(2)].concat();
    vec![
        seed("display", "replies", 4, pieces(4096)),
        seed("display", "replies-in-pieces", 4, pieces(11)),
        seed("display", "talk", 4, talk),
        seed("display", "talk-without-edid", 2, plain),
    ]
}

// Input.

pub fn input() -> Vec<Seed> {
    let name = b"A keyboard";
    let mut config = [&[0, name.len() as u8][..], name, &[2], b"S1", &[3, 0, 1, 2, 3, 4, 5, 6]].concat();
    let codes: [(u8, u16); 8] = [(1, 30), (1, 0x2ff), (2, 8), (3, 0), (3, 0x2f), (0x11, 1), (0x14, 0), (0x80, 1)];
    config.push(codes.len() as u8);
    for (kind, code) in codes {
        config.push(kind);
        config.extend(code.to_le_bytes());
        if kind == 3 {
            config.extend([0, 255, 0xff, 0xff, 0, 0]);
        }
    }
    for (select, subsel) in
        [(1, 0), (2, 0), (3, 0), (0x10, 0), (0x11, 1), (0x11, 2), (0x11, 3), (0x12, 0), (0x12, 0x2f), (1, 1)]
    {
        config.extend([0, 0, 1, select, 0, 1, 1, subsel]);
        config.extend([1, 0, 136]);
    }
    config.extend([2, 0, 0, 1, 2, 8]);
    let answer = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
    let axis = |value: u8, max: u8| answer(&[[value, 0, 0, 0], [0; 4], [max, 0, 0, 0]].concat());
    let slots = |values: [u8; 3]| answer(&values.map(|value| [value, 0, 0, 0]).concat());
    let (no_such, nothing) = (vec![0xf0], vec![0xf8]);
    // A touch screen of two slots: its place, name, serial number and ids; keys, axes, autorepeat, force feedback.
    let described = [
        [answer(b"usb\0"), answer(b"A screen\0"), nothing, answer(&[3, 0, 1, 0, 2, 0, 3, 0]), answer(&[2])].concat(),
        answer(&[0x0a, 0, 0x30]),
        answer(&[&[0; 41][..], &[4]].concat()),
        answer(&[3, 0, 0, 0, 0, 0x80, 0x20, 2]),
        no_such.clone(),
        [0, 0, 1, 0, 0].map(|max| axis(0, max)).concat(),
    ];
    // What is so now; a joystick has axes of these numbers, and no slots.
    let [first, second, slot] = [axis(5, 0), axis(6, 0), axis(1, 1)];
    let touches = [slots([0x35, 20, 30]), slots([0x39, 7, 8])].concat();
    let answers = |of_slots: &[u8]| [&[4][..], &described.concat(), &first, &second, &slot, of_slots].concat();
    let joystick = answers(&no_such);
    let lights = [[0x11, 0, 0, 0, 1, 0, 0, 0], [0x12, 0, 2, 0, 1, 0, 0, 0], [4, 0, 4, 0, 1, 0, 0, 0]].concat();
    let press = [0x11, 0x44, 1, 0];
    let release = [0x11, 0x44, 0, 0];
    let touch = [0x73, 0x1a, 0x4b, 7, 0x0c, 50, 0];
    let rest = [0xff];
    let life =
        [&[2 | 2 << 2][..], &[136], &press, &touch, &release, &rest, &[140], &press, &rest, &[136], &rest].concat();
    let flood = [&[2 | 2 << 2][..], &[136], &[146, 255, 9], &[128, 3], &[146, 200, 3], &rest].concat();
    vec![
        seed("input", "config", 8, config),
        seed("input", "answers", 6, answers(&touches)),
        seed("input", "answers-of-a-joystick", 3, joystick),
        seed("input", "lights", 2, [&[1][..], &lights].concat()),
        seed("input", "life", 6, life),
        seed("input", "flood", 100, flood),
    ]
}

// Streams for a 3D renderer.

/// A picture of 16 by 8, an array of three of them of two levels, a buffer of 4096 bytes, a compressed array.
const TEXTURES: [[u8; 8]; 4] = [
    [2, 16, 8, 1, 1, 1, 0xf6, 0],
    [0x87, 16, 8, 1, 3, 1, 0xf6, 1],
    [0x10, 0xf6, 1, 1, 1, 64, 0xf6, 0],
    [7, 16, 8, 1, 3, 105, 0xf6, 0],
];

fn textures() -> Vec<u8> {
    [&[TEXTURES.len() as u8], TEXTURES.as_flattened()].concat()
}

pub fn stream() -> Vec<Seed> {
    use streams::{
        BIND_SHADER, BLIT, COPY_TRANSFER, CREATE_OBJECT, CREATE_SUB_CTX, DESTROY_SUB_CTX, FROM_HOST, INLINE_WRITE,
        LINK_SHADER, NOP, SET_ATOMIC_BUFFERS, SET_SHADER_BUFFERS, SET_SHADER_IMAGES, SET_SUB_CTX, SET_UNIFORM_BUFFER,
        TO_HOST, TRANSFER, USUAL, end,
    };
    let [to_host, from_host] = [TO_HOST, FROM_HOST].map(|direction| direction as u8);
    let whole = [0, 0, 0, 16, 8, 1];
    let region = |texture: u8, level: u8, at: [u8; 6]| [&[texture, level, 0, 0, 0][..], &at].concat();
    let command = |number: u8, words: &[u8]| [&[number, words.len() as u8][..], words].concat();
    let transfer = |texture: u8, at: [u8; 6], direction: u8| {
        command(TRANSFER, &[region(texture, 0, at), vec![0, direction]].concat())
    };
    let transfers = [
        transfer(1, whole, to_host),
        transfer(1, whole, from_host),
        transfer(2, [0, 0, 0, 16, 8, 3], to_host),
        transfer(2, [0, 0, 2, 16, 8, 1], from_host),
        transfer(4, [0, 0, 0, 16, 8, 3], from_host),
        command(INLINE_WRITE, &[region(2, 1, [0, 0, 1, 8, 4, 1]), vec![7; 8]].concat()),
        command(INLINE_WRITE, &[region(3, 0, [100, 0, 0, 32, 1, 1]), vec![7; 8]].concat()),
        command(COPY_TRANSFER, &[region(1, 0, whole), vec![3, 0, 0]].concat()),
        command(COPY_TRANSFER, &[region(1, 0, whole), vec![3, 64, 2]].concat()),
    ];
    let subs = [
        vec![CREATE_SUB_CTX, USUAL, 1, CREATE_SUB_CTX, USUAL, 2, DESTROY_SUB_CTX, USUAL, 1],
        (2..18).flat_map(|number| [CREATE_SUB_CTX, USUAL, number]).collect(),
        vec![DESTROY_SUB_CTX, USUAL, 17],
    ];
    let mut boxes = [1; 21];
    (boxes[11], boxes[20]) = (2, 3);
    let drawing = [
        command(NOP, &[]),
        command(BLIT, &boxes),
        command(SET_SHADER_IMAGES, &[0, 0, 1, 1, 0, 0, 1, 64, 1, 0, 0, 2]),
        // Clears a surface.
        command(7, &[4, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let slots = [
        command(SET_UNIFORM_BUFFER, &[1, 3, 0, 64, 3]),
        command(SET_ATOMIC_BUFFERS, &[31, 0, 4, 3]),
        command(CREATE_SUB_CTX, &[5]),
        command(SET_SHADER_BUFFERS, &[5, 30, 0, 64, 3, 64, 64, 3]),
        command(SET_SHADER_IMAGES, &[0, 0, 1, 1, 0, 0, 1, 64, 1, 0, 0, 3]),
        command(SET_SUB_CTX, &[0]),
        command(SET_UNIFORM_BUFFER, &[1, 3, 0, 0, 0]),
        command(SET_SUB_CTX, &[9]),
        // The buffer goes.
        vec![end::RELEASE, 3],
    ];
    let failure = [
        command(SET_UNIFORM_BUFFER, &[1, 3, 0, 64, 3]),
        command(SET_UNIFORM_BUFFER, &[1, 3, 0, 0, 0]),
        vec![end::FAILS, 1, end::RELEASE, 3],
    ];
    // Of a text of twelve bytes, four from there on.
    let go_on = |from: u8| [&[CREATE_OBJECT, 6, 7, 1, 0xff, from, 0, 0, 0x80, 20, 0][..], b"A"].concat();
    let shaders = [
        command(CREATE_OBJECT, b"\x07\x01\x0c\x14\0A"),
        command(BIND_SHADER, &[8, 1]),
        go_on(4),
        command(SET_SUB_CTX, &[0]),
        go_on(8),
        command(BIND_SHADER, &[7, 1]),
        command(LINK_SHADER, &[0, 7, 0, 0, 0, 0]),
        command(CREATE_OBJECT, b"\x08\x05\x04\x14\x09A"),
    ];
    // Each in a stream of its own, of which the first and the last pass.
    let refused = [
        command(CREATE_OBJECT, b"\x07\x01\x0c\x14\0A"),
        go_on(0),
        go_on(8),
        command(CREATE_OBJECT, b"\x08\x01\x0c\x14\0A"),
        command(CREATE_OBJECT, &[7, 1, 4, 20, 1, 0, 0, 0, 0, 0, 0, 65]),
        command(BIND_SHADER, &[7, 1]),
        command(SET_UNIFORM_BUFFER, &[1, 3, 0, 0, 0]),
    ];
    let refused = refused.map(|stream| [stream, vec![end::DONE]].concat());
    let with_textures = |commands: Vec<u8>| [textures(), commands].concat();
    vec![
        seed("stream", "transfers", transfers.len(), with_textures(transfers.concat())),
        seed("stream", "sub-contexts", 20, with_textures(subs.concat())),
        seed("stream", "drawing", drawing.len(), with_textures(drawing.concat())),
        seed("stream", "slots", slots.len() - 1, with_textures(slots.concat())),
        seed("stream", "refused", 2, with_textures(refused.concat())),
        seed("stream", "failure", failure.len() - 1, with_textures(failure.concat())),
        seed("stream", "shaders", shaders.len(), with_textures(shaders.concat())),
    ]
}
