//! Transfers and contexts in streams of commands.

use vhost_seat::gpu::command::Create3d;
use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::virgl::{Refused, Renderer, Texture};
use vhost_seat::vhost_proto::memory::GuestMemory;

use crate::Case;
use crate::support::{BGRA, TEXTURE_2D_ARRAY, backing, buffer, clear, commands, memory, picture, read, telling, write};

pub const CASES: &[Case] = &[
    ("transfers_in_a_stream_do_what_they_say", transfers),
    ("a_refused_stream_is_not_begun", all_or_nothing),
    ("layers_and_samples_are_not_read_by_a_stream", unread),
    ("a_stream_makes_no_textures", no_textures),
    ("sub_contexts_are_counted", sub_contexts),
];

const TO_HOST: u32 = 1;
const FROM_HOST: u32 = 2;

/// A command of these words.
fn command(number: u32, body: &[u32]) -> Vec<u32> {
    [&[number | (body.len() as u32) << 16], body].concat()
}

/// TRANSFER3D of so much of a texture.
fn transfer(texture: u32, region: [u32; 6], direction: u32) -> Vec<u32> {
    command(43, &[&[texture, 0, 0, 0, 0][..], &region, &[0, direction]].concat())
}

/// COPY_TRANSFER3D between it and the backing of `other`.
fn copy(texture: u32, region: [u32; 6], other: u32, reads: bool) -> Vec<u32> {
    command(45, &[&[texture, 0, 0, 0, 0][..], &region, &[other, 0, u32::from(reads) << 1]].concat())
}

fn submit(renderer: &mut Renderer, words: &[u32]) -> Result<(), Refused> {
    let (mut words, len) = commands(words);
    renderer.submit(1, &mut words, len)
}

/// A picture of 16 by 16 of number 1, and a staging buffer of number 2, in a context of number 1. The backing of the one
/// is at 0; that of the other is at 0x4000, and half as long as it should be.
fn scene(renderer: &mut Renderer, memory: &GuestMemory) -> [Texture; 2] {
    let mut texture = renderer.create_texture(&picture(1, 16, 16)).unwrap();
    texture.attach(&backing(memory, &[(0, 512), (0x2000, 512)]));
    let mut staging = renderer.create_texture(&Create3d { bind: 1 << 19, ..buffer(2, 8192) }).unwrap();
    staging.attach(&backing(memory, &[(0x4000, 4096)]));
    renderer.create_context(1, 0, b"streams").unwrap();
    renderer.attach_resource(1, &texture);
    renderer.attach_resource(1, &staging);
    [texture, staging]
}

const WHOLE: [u32; 6] = [0, 0, 0, 16, 16, 1];

fn transfers(renderer: &mut Renderer) {
    let memory = memory();
    let [texture, _staging] = scene(renderer, &memory);
    let rect = Rect::of_size(16, 16);
    let (mut out, first, second) = (vec![0; 1024], telling(1024, 1), telling(1024, 2));

    write(&memory, 0, &first[..512]);
    write(&memory, 0x2000, &first[512..]);
    submit(renderer, &transfer(1, WHOLE, TO_HOST)).unwrap();
    renderer.read_back(&texture, &rect, &mut out).unwrap();
    assert!(out == first);

    write(&memory, 0x4000, &second);
    submit(renderer, &copy(1, WHOLE, 2, false)).unwrap();
    renderer.read_back(&texture, &rect, &mut out).unwrap();
    assert!(out == second);

    submit(renderer, &transfer(1, WHOLE, FROM_HOST)).unwrap();
    assert!(read(&memory, 0, 512) == second[..512] && read(&memory, 0x2000, 512) == second[512..]);
    write(&memory, 0x4000, &[0; 4096]);
    submit(renderer, &copy(1, WHOLE, 2, true)).unwrap();
    assert!(read(&memory, 0x4000, 1024) == second && read(&memory, 0x4400, 3072) == [0; 3072]);

    let row: Vec<u32> = (100..116).collect();
    submit(renderer, &command(9, &[&[1, 0, 0, 0, 0, 0, 3, 0, 16, 1, 1][..], &row].concat())).unwrap();
    renderer.read_back(&texture, &Rect::new(0, 3, 16, 1), &mut out[..64]).unwrap();
    assert!(out[..64].chunks(4).zip(100..).all(|(pixel, value): (_, u8)| pixel == [value, 0, 0, 0]));
    renderer.destroy_context(1);
}

fn all_or_nothing(renderer: &mut Renderer) {
    let memory = memory();
    let [texture, _staging] = scene(renderer, &memory);
    let rect = Rect::of_size(16, 16);
    renderer.write(&texture, &rect, &[7; 1024]).unwrap();
    let (drawing, dwords) = clear(1, [1.0; 4]);
    let drawing: Vec<u32> = drawing.iter().flat_map(|pair| [*pair as u32, (pair >> 32) as u32]).collect();
    let drawing = &drawing[..dwords as usize];
    for (why, bad) in [
        ("cut off", vec![5 << 16, 0]),
        ("a negative layer", transfer(1, [0, 0, u32::MAX, 16, 16, 1], TO_HOST)),
        ("outside", transfer(1, [1, 0, 0, 16, 16, 1], TO_HOST)),
        ("outside", copy(1, [0, 1, 0, 16, 16, 1], 2, false)),
        ("outside", command(9, &[1, 0, 0, 0, 0, 16, 0, 0, 1, 1, 1, 0])),
        ("unknown", transfer(77, WHOLE, TO_HOST)),
        ("unknown", copy(1, WHOLE, 77, false)),
        ("the staging buffer ends before", transfer(2, [4000, 0, 0, 97, 1, 1], FROM_HOST)),
    ] {
        assert_eq!(submit(renderer, &[drawing, &bad].concat()), Err(Refused), "{why}");
    }
    let mut out = [0; 1024];
    renderer.read_back(&texture, &rect, &mut out).unwrap();
    assert_eq!(out, [7; 1024]);
    // The context has not erred, as far as the library knows.
    submit(renderer, drawing).unwrap();
    renderer.read_back(&texture, &rect, &mut out).unwrap();
    assert_eq!(out, [255; 1024]);
    renderer.destroy_context(1);
}

fn unread(renderer: &mut Renderer) {
    let memory = memory();
    let _scene = scene(renderer, &memory);
    let layers = Create3d { target: TEXTURE_2D_ARRAY, array_size: 3, ..picture(3, 16, 16) };
    let samples = Create3d { nr_samples: 4, bind: 1 << 1, ..picture(4, 16, 16) };
    write(&memory, 0x1_0000, &[9; 0x4000]);
    for (made, region) in [(layers, [0, 0, 0, 16, 16, 3]), (samples, WHOLE)] {
        let id = made.resource_id.0;
        let mut texture = renderer.create_texture(&made).unwrap();
        texture.attach(&backing(&memory, &[(0x1_0000, 0x1000), (0x1_2000, 0x2000)]));
        renderer.attach_resource(1, &texture);
        assert_eq!(submit(renderer, &transfer(id, region, FROM_HOST)), Err(Refused), "{made:?}");
        assert_eq!(submit(renderer, &copy(id, region, 2, true)), Err(Refused), "{made:?}");
        assert!(read(&memory, 0x1_0000, 0x4000).iter().all(|byte| *byte == 9));
    }
    renderer.destroy_context(1);
}

fn no_textures(renderer: &mut Renderer) {
    renderer.create_context(1, 0, b"makes").unwrap();
    // PIPE_RESOURCE_CREATE of a picture of 4 by 4, for a blob of number 7.
    assert_eq!(submit(renderer, &command(48, &[2, BGRA, 10, 4, 4, 1, 1, 0, 0, 0, 7])), Err(Refused));
    assert_eq!(submit(renderer, &[0]), Ok(()));
    renderer.destroy_context(1);
}

fn sub_contexts(renderer: &mut Renderer) {
    let (create, destroy) = (|number: u32| command(29, &[number]), |number: u32| command(30, &[number]));
    renderer.create_context(1, 0, b"many").unwrap();
    for number in 1..=16 {
        assert_eq!(submit(renderer, &create(number)), Ok(()), "{number}");
    }
    assert_eq!(submit(renderer, &create(17)), Err(Refused));
    assert_eq!(submit(renderer, &[destroy(5), create(17), create(17)].concat()), Ok(()));
    // One that fails within: nobody knows what it made.
    let half = [destroy(1), vec![0xff], create(1)].concat();
    assert_eq!(submit(renderer, &half), Err(Refused));
    assert_eq!(submit(renderer, &create(1)), Err(Refused));
    renderer.destroy_context(1);
    renderer.create_context(1, 0, b"anew").unwrap();
    assert_eq!(submit(renderer, &create(1)), Ok(()));
    renderer.destroy_context(1);
}
