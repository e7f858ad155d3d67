//! Pixels in and out, and what a guest draws.

use vhost_seat::gpu::command::{Create3d, Transfer3d};
use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::virgl::{Refused, Renderer};

use crate::Case;
use crate::support::{
    BGRA, SECOND, TEXTURE_2D_ARRAY, TEXTURE_3D, backing, buffer, clear, commands, memory, picture, read, telling,
    transfer, write,
};

pub const CASES: &[Case] = &[
    ("capsets_are_those_of_virgl_and_have_their_sizes", capsets),
    ("what_is_transferred_in_reads_back_byte_by_byte", round_trip),
    ("a_rectangle_is_read_and_written_in_its_place", rectangles),
    ("a_backing_is_written_as_it_lies", into_the_backing),
    ("a_buffer_goes_in_and_out", buffers),
    ("layers_are_each_read", layers),
    ("what_a_context_draws_is_seen", drawn),
    ("a_picture_is_scaled_into_another_format", scaled),
];

fn capsets(renderer: &mut Renderer) {
    let sets: Vec<_> = renderer.capsets().iter().map(|set| (set.id, set.max_size)).collect();
    assert_eq!(sets[0], (1, 308));
    // 1376 bytes in 0.10.4, 1384 in 1.1; later versions may add to it.
    assert!(sets.len() == 2 && sets[1].0 == 2 && sets[1].1 >= 1376, "{sets:?}");
    for set in renderer.capsets() {
        let contents = renderer.capset(set.id, set.max_version).unwrap();
        assert_eq!(contents.len(), set.max_size as usize);
        assert!(contents.iter().any(|byte| *byte != 0));
        assert!(renderer.capset(set.id, set.max_version + 1).is_none());
    }
    assert!(renderer.capset(4, 0).is_none(), "venus is not offered");
    assert_eq!(renderer.makes_dmabufs(), crate::node().is_some());
}

fn round_trip(renderer: &mut Renderer) {
    let memory = memory();
    let pixels = telling(64 * 48 * 4, 1);
    let (first, second) = pixels.split_at(5000);
    write(&memory, 0x333, first);
    write(&memory, SECOND + 7, second);
    let mut texture = renderer.create_texture(&picture(1, 64, 48)).unwrap();
    texture.attach(&backing(&memory, &[(0x333, 5000), (SECOND + 7, second.len() as u32)]));
    renderer.transfer_to_host(0, &texture, &transfer([0, 0, 0, 64, 48, 1])).unwrap();
    let mut out = vec![0; pixels.len()];
    renderer.read_back(&texture, &Rect::of_size(64, 48), &mut out).unwrap();
    assert!(out == pixels);
}

fn rectangles(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 40, 30)).unwrap();
    renderer.write(&texture, &Rect::of_size(40, 30), &[0; 40 * 30 * 4]).unwrap();
    let rect = Rect::new(7, 11, 20, 10);
    let pixels = telling(20 * 10 * 4, 2);
    renderer.write(&texture, &rect, &pixels).unwrap();
    let mut out = vec![1; pixels.len()];
    renderer.read_back(&texture, &rect, &mut out).unwrap();
    assert!(out == pixels);
    let mut row = vec![1; 40 * 4];
    renderer.read_back(&texture, &Rect::new(0, 12, 40, 1), &mut row).unwrap();
    assert!(row[..28] == [0; 28] && row[28..108] == pixels[80..160] && row[108..] == [0; 52]);
    assert_eq!(renderer.read_back(&texture, &rect, &mut vec![0; pixels.len() - 1]), Err(Refused));
    assert_eq!(renderer.write(&texture, &rect, &vec![0; pixels.len() + 4]), Err(Refused));
    for outside in [Rect::new(21, 11, 20, 10), Rect::new(7, 21, 20, 10), Rect::new(u32::MAX, 11, 20, 10)] {
        assert_eq!(renderer.read_back(&texture, &outside, &mut out), Err(Refused), "{outside:?}");
    }
    assert_eq!(renderer.read_back(&texture, &Rect::new(0, 0, u32::MAX, 10), &mut out), Err(Refused));
    renderer.read_back(&texture, &Rect::new(3, 3, 0, 0), &mut []).unwrap();
}

fn into_the_backing(renderer: &mut Renderer) {
    let memory = memory();
    let pixels = telling(16 * 16 * 4, 3);
    let mut texture = renderer.create_texture(&picture(1, 16, 16)).unwrap();
    renderer.write(&texture, &Rect::of_size(16, 16), &pixels).unwrap();
    texture.attach(&backing(&memory, &[(0x100, 100), (SECOND, 2000)]));
    let part = Transfer3d { offset: 12, stride: 64, ..transfer([0, 0, 0, 16, 16, 1]) };
    renderer.transfer_from_host(0, &texture, &part).unwrap();
    let whole = [read(&memory, 0x100, 100), read(&memory, SECOND, 2000)].concat();
    assert!(whole[..12] == [0; 12] && whole[12..1036] == pixels && whole[1036..].iter().all(|byte| *byte == 0));
    texture.detach();
    assert_eq!(renderer.transfer_from_host(0, &texture, &part), Err(Refused), "without a backing");
}

fn buffers(renderer: &mut Renderer) {
    let memory = memory();
    let bytes = telling(3000, 4);
    write(&memory, 0x2000, &bytes);
    let mut texture = renderer.create_texture(&buffer(1, 3000)).unwrap();
    texture.attach(&backing(&memory, &[(0x2000, 3000), (0x4000, 3000)]));
    renderer.transfer_to_host(0, &texture, &transfer([0, 0, 0, 3000, 1, 1])).unwrap();
    let back = Transfer3d { offset: 3000, ..transfer([1000, 0, 0, 2000, 1, 1]) };
    renderer.transfer_from_host(0, &texture, &back).unwrap();
    assert!(read(&memory, 0x4000, 2000) == bytes[1000..]);
}

fn layers(renderer: &mut Renderer) {
    let memory = memory();
    let bytes = telling(8 * 4 * 4 * 5, 5);
    write(&memory, 0, &bytes);
    for (target, depth, array_size) in [(TEXTURE_2D_ARRAY, 1, 5), (TEXTURE_3D, 5, 1)] {
        let made = Create3d { target, depth, array_size, ..picture(1, 8, 4) };
        let mut texture = renderer.create_texture(&made).unwrap();
        texture.attach(&backing(&memory, &[(0, 0x1000), (0x4000, 0x1000)]));
        // One by one, so that the library has never seen them all in one place.
        for layer in 0..5 {
            let one = Transfer3d { offset: u64::from(layer) * 128, ..transfer([0, 0, layer, 8, 4, 1]) };
            renderer.transfer_to_host(0, &texture, &one).unwrap();
        }
        let back = Transfer3d { offset: 0x1000, ..transfer([0, 0, 0, 8, 4, 5]) };
        renderer.transfer_from_host(0, &texture, &back).unwrap();
        assert!(read(&memory, 0x4000, bytes.len()) == bytes, "target {target}");
        write(&memory, 0x4000, &[0; 0x1000]);
    }
}

fn drawn(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(9, 32, 32)).unwrap();
    renderer.create_context(1, 0, b"drawn").unwrap();
    renderer.attach_resource(1, &texture);
    let (mut commands, dwords) = clear(9, [1.0, 0.5, 0.0, 1.0]);
    renderer.submit(1, &mut commands, dwords).unwrap();
    let mut out = vec![0; 32 * 32 * 4];
    renderer.read_back(&texture, &Rect::of_size(32, 32), &mut out).unwrap();
    assert!(out.chunks(4).all(|pixel| pixel[0] == 0 && pixel[1].abs_diff(128) <= 1 && pixel[2..] == [255, 255]));
    renderer.destroy_context(1);
}

/// By a shader, which Mesa compiles on the way.
fn scaled(renderer: &mut Renderer) {
    const RGBA: u32 = 67;
    let small = renderer.create_texture(&picture(8, 2, 2)).unwrap();
    let large = renderer.create_texture(&Create3d { format: RGBA, ..picture(9, 8, 8) }).unwrap();
    let pixels: [[u8; 4]; 4] = [[1, 2, 3, 255], [40, 50, 60, 255], [70, 80, 90, 255], [200, 210, 220, 255]];
    renderer.write(&small, &Rect::of_size(2, 2), pixels.as_flattened()).unwrap();
    renderer.create_context(1, 0, b"scaled").unwrap();
    renderer.attach_resource(1, &small);
    renderer.attach_resource(1, &large);
    let to = [9, 0, RGBA, 0, 0, 0, 8, 8, 1];
    let from = [8, 0, BGRA, 0, 0, 0, 2, 2, 1];
    // BLIT: all four channels, no filter, no scissors.
    let (mut commands, dwords) = commands(&[&[16 | 21 << 16, 0xf, 0, 0][..], &to, &from].concat());
    renderer.submit(1, &mut commands, dwords).unwrap();
    let mut out = vec![0; 8 * 8 * 4];
    renderer.read_back(&large, &Rect::of_size(8, 8), &mut out).unwrap();
    for (place, pixel) in out.chunks(4).enumerate() {
        let (x, y) = (place % 8 / 4, place / 8 / 4);
        let [b, g, r, a] = pixels[y * 2 + x];
        assert_eq!(pixel, [r, g, b, a], "{place}");
    }
    renderer.destroy_context(1);
}
