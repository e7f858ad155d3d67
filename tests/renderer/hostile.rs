//! What the renderer refuses, and survives.

use vhost_seat::gpu::command::{Create3d, ResourceId, Transfer3d};
use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::virgl::{Refused, Renderer};

use crate::Case;
use crate::support::{
    BIND_VERTICES, BUFFER, TEXTURE_2D_ARRAY, TEXTURE_3D, backing, buffer, clear, commands, memory, picture, read,
    telling, transfer,
};

pub const CASES: &[Case] = &[
    ("numbers_that_are_taken_or_zero_are_refused", numbers),
    ("impossible_textures_are_refused", impossible),
    ("garbage_is_refused_and_the_renderer_lives_on", garbage),
    ("more_commands_than_there_are_are_refused", too_many),
    ("contexts_that_are_not_there_are_refused", no_context),
    ("absurd_transfers_are_refused", absurd),
    ("several_samples_a_texel_are_not_read", samples),
    ("only_flat_textures_of_four_bytes_a_pixel_are_read_back", not_flat),
    ("a_buffer_that_is_its_backing_ends_there", short_backing),
    ("a_buffer_gives_no_more_than_its_bytes", elements),
    ("a_texture_is_gone_from_contexts_that_used_it", dropped),
    ("a_texture_is_exported_from_a_gpu_and_from_nowhere_else", export),
];

fn numbers(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(5, 4, 4)).unwrap();
    assert_eq!(renderer.create_texture(&picture(5, 4, 4)).unwrap_err(), Refused);
    assert_eq!(renderer.create_texture(&picture(0, 4, 4)).unwrap_err(), Refused);
    drop(texture);
    renderer.create_texture(&picture(5, 4, 4)).unwrap();
    renderer.create_texture(&picture(u32::MAX, 4, 4)).unwrap();
    renderer.create_context(5, 0, b"").unwrap();
    assert_eq!(renderer.create_context(5, 0, b""), Err(Refused));
    assert_eq!(renderer.create_context(0, 0, b""), Err(Refused));
    assert_eq!(renderer.create_context(6, 4, b""), Err(Refused), "venus");
    assert_eq!(renderer.create_context(6, 255, b""), Err(Refused));
    renderer.destroy_context(5);
    renderer.destroy_context(5);
    renderer.create_context(5, 1, &[b'x'; 300]).unwrap();
    renderer.destroy_context(5);
}

fn impossible(renderer: &mut Renderer) {
    let good = picture(1, 16, 16);
    for bad in [
        Create3d { target: 99, ..good },
        Create3d { target: u32::MAX, ..good },
        Create3d { format: 100_000, ..good },
        Create3d { bind: 0, ..good },
        Create3d { width: 0, ..good },
        Create3d { width: u32::MAX, ..good },
        Create3d { height: u32::MAX, ..good },
        Create3d { depth: 7, ..good },
        Create3d { array_size: 7, ..good },
        Create3d { last_level: 40, ..good },
        Create3d { nr_samples: 65, ..good },
        Create3d { nr_samples: u32::MAX, ..good },
        Create3d { flags: 0x8000_0000, ..good },
    ] {
        assert_eq!(renderer.create_texture(&bad).unwrap_err(), Refused, "{bad:?}");
    }
    renderer.create_texture(&good).unwrap();
}

fn garbage(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 16, 16)).unwrap();
    for round in 0..400 {
        renderer.create_context(1, 0, b"garbage").unwrap();
        renderer.attach_resource(1, &texture);
        // Each command once in a while with as many words as it says, each of them anything.
        let words = telling(4 * 40, round);
        let mut words: Vec<u32> = words.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        words[0] = (round % 60) | ((round % 13) << 8) | (39 << 16);
        let (mut words, len) = commands(&words);
        // Some of it means something.
        let _ = renderer.submit(1, &mut words, len);
        let (mut unknown, len) = commands(&[0xff, 0]);
        assert_eq!(renderer.submit(1, &mut unknown, len), Err(Refused), "round {round}");
        renderer.destroy_context(1);
    }
    renderer.create_context(1, 0, b"good").unwrap();
    renderer.attach_resource(1, &texture);
    let (mut words, len) = clear(1, [1.0; 4]);
    assert_eq!(renderer.submit(1, &mut words, len), Ok(()));
    renderer.destroy_context(1);
}

fn too_many(renderer: &mut Renderer) {
    renderer.create_context(1, 0, b"many").unwrap();
    for dwords in [5, 0x8000_0000, u32::MAX] {
        assert_eq!(renderer.submit(1, &mut [0; 2], dwords), Err(Refused), "{dwords}");
    }
    assert_eq!(renderer.submit(1, &mut [], 0), Ok(()));
    assert_eq!(renderer.submit(1, &mut [0; 2], 3), Ok(()), "no-operations");
    renderer.destroy_context(1);
}

fn no_context(renderer: &mut Renderer) {
    let memory = memory();
    let mut texture = renderer.create_texture(&picture(1, 4, 4)).unwrap();
    texture.attach(&backing(&memory, &[(0, 64)]));
    let whole = transfer([0, 0, 0, 4, 4, 1]);
    for ctx in [1, 0x8000_0000, u32::MAX] {
        assert_eq!(renderer.submit(ctx, &mut [0; 2], 3), Err(Refused), "{ctx}");
        assert_eq!(renderer.transfer_to_host(ctx, &texture, &whole), Err(Refused), "{ctx}");
        assert_eq!(renderer.transfer_from_host(ctx, &texture, &whole), Err(Refused), "{ctx}");
        renderer.attach_resource(ctx, &texture);
        renderer.detach_resource(ctx, &texture);
        renderer.destroy_context(ctx);
    }
    renderer.create_context(1, 0, b"another's").unwrap();
    assert_eq!(renderer.transfer_to_host(1, &texture, &whole), Err(Refused), "it is not the context's");
    renderer.attach_resource(1, &texture);
    assert_eq!(renderer.transfer_to_host(1, &texture, &whole), Err(Refused), "a context that erred stays refused");
    renderer.destroy_context(1);
    renderer.create_context(1, 0, b"its").unwrap();
    renderer.attach_resource(1, &texture);
    assert_eq!(renderer.transfer_to_host(1, &texture, &whole), Ok(()));
    renderer.destroy_context(1);
}

fn absurd(renderer: &mut Renderer) {
    let memory = memory();
    let array = Create3d { target: TEXTURE_2D_ARRAY, array_size: 3, last_level: 1, ..picture(1, 16, 16) };
    let mut texture = renderer.create_texture(&array).unwrap();
    let good = transfer([0, 0, 0, 16, 16, 3]);
    assert_eq!(renderer.transfer_to_host(0, &texture, &good), Err(Refused), "no backing");
    assert_eq!(renderer.transfer_to_host(0, &texture, &transfer([0; 6])), Err(Refused), "no backing, nothing to do");
    texture.attach(&backing(&memory, &[(0, 16 * 16 * 4 * 3)]));
    let max = u32::MAX;
    let regions = [
        [0, 0, 0, max, max, max],
        [max, max, max, 1, 1, 1],
        [0, 0, 1 << 31, 16, 16, 1],
        [0, 0, max, 16, 16, 1],
        [0, 0, 0, 16, 16, max],
        [0, 0, 3, 16, 16, 1],
        [16, 0, 0, 1, 16, 1],
    ];
    let mut bad: Vec<Transfer3d> = regions.into_iter().map(transfer).collect();
    bad.extend([
        Transfer3d { level: 1, ..good },
        Transfer3d { level: 2, ..transfer([0, 0, 0, 1, 1, 1]) },
        Transfer3d { level: max, ..transfer([0, 0, 0, 1, 1, 1]) },
        Transfer3d { stride: 0x1000_0000, ..good },
        Transfer3d { stride: 0x8000_0000, ..good },
        Transfer3d { stride: max, layer_stride: max, ..good },
        Transfer3d { stride: 4, ..good },
        Transfer3d { layer_stride: 0x8000_0000, ..good },
        Transfer3d { layer_stride: 8, ..good },
        Transfer3d { offset: 4, ..good },
        Transfer3d { offset: 16 * 16 * 4 * 3, ..good },
        Transfer3d { offset: u64::MAX, ..good },
        Transfer3d { offset: u64::MAX - 3071, ..good },
        Transfer3d { offset: 1 << 32, ..good },
    ]);
    for bad in bad {
        assert_eq!(renderer.transfer_to_host(0, &texture, &bad), Err(Refused), "to host: {bad:?}");
        assert_eq!(renderer.transfer_from_host(0, &texture, &bad), Err(Refused), "from host: {bad:?}");
    }
    assert_eq!(renderer.transfer_to_host(0, &texture, &good), Ok(()));
    assert_eq!(renderer.transfer_from_host(0, &texture, &good), Ok(()));
}

/// A texture that the library draws into several times a texel.
fn sampled() -> Create3d {
    Create3d { nr_samples: 4, bind: 1 << 1, ..picture(1, 16, 16) }
}

fn samples(renderer: &mut Renderer) {
    let memory = memory();
    let mut texture = renderer.create_texture(&sampled()).unwrap();
    // Of two pieces, between which the library would put a buffer of its own.
    texture.attach(&backing(&memory, &[(0, 512), (0x2000, 512)]));
    crate::support::write(&memory, 0, &[9; 0x3000]);
    assert!(!texture.is_flat());
    assert_eq!(renderer.transfer_from_host(0, &texture, &transfer([0, 0, 0, 16, 16, 1])), Err(Refused));
    assert_eq!(renderer.read_back(&texture, &Rect::of_size(16, 16), &mut [9; 1024]), Err(Refused));
    assert!(read(&memory, 0, 0x3000).iter().all(|byte| *byte == 9));
}

fn not_flat(renderer: &mut Renderer) {
    let plain = picture(1, 16, 1);
    // One byte a pixel, sixteen; volumes, arrays, a buffer of as many bytes.
    for (flat, made) in [
        (true, Create3d { format: 64, ..plain }),
        (true, Create3d { format: 31, ..plain }),
        (false, Create3d { target: TEXTURE_3D, ..plain }),
        (false, Create3d { target: TEXTURE_2D_ARRAY, ..plain }),
        (false, buffer(1, 64)),
        (false, Create3d { target: BUFFER, bind: BIND_VERTICES, ..plain }),
    ] {
        let texture = renderer.create_texture(&made).unwrap();
        assert_eq!(texture.is_flat(), flat, "{made:?}");
        let mut out = [7; 64];
        assert_eq!(renderer.read_back(&texture, &Rect::of_size(16, 1), &mut out), Err(Refused), "{made:?}");
        assert_eq!(renderer.write(&texture, &Rect::of_size(16, 1), &out), Err(Refused), "{made:?}");
        assert_eq!(out, [7; 64]);
    }
    // PIPE_TEXTURE_RECT.
    for target in [2, 5] {
        let texture = renderer.create_texture(&Create3d { target, ..plain }).unwrap();
        assert!(texture.is_flat());
        let mut out = [0; 64];
        renderer.write(&texture, &Rect::of_size(16, 1), &[8; 64]).unwrap();
        renderer.read_back(&texture, &Rect::of_size(16, 1), &mut out).unwrap();
        assert_eq!(out, [8; 64]);
    }
}

/// VIRGL_BIND_CUSTOM and VIRGL_BIND_STAGING: the library copies between backings. One that is built with assertions ends the
/// process where a backing is too short.
fn short_backing(renderer: &mut Renderer) {
    let memory = memory();
    for bind in [1 << 17, 1 << 19] {
        let mut texture = renderer.create_texture(&Create3d { bind, ..buffer(1, 4096) }).unwrap();
        texture.attach(&backing(&memory, &[(0, 64), (0x100, 64)]));
        let (short, fits) = (transfer([1000, 0, 0, 8, 1, 1]), transfer([120, 0, 0, 8, 1, 1]));
        for (region, answer) in [(short, Err(Refused)), (fits, Ok(()))] {
            assert_eq!(renderer.transfer_to_host(0, &texture, &region), answer, "{bind:x}");
            assert_eq!(renderer.transfer_from_host(0, &texture, &region), answer, "{bind:x}");
        }
    }
}

fn elements(renderer: &mut Renderer) {
    let memory = memory();
    // VIRGL_FORMAT_R32G32B32A32_FLOAT: sixteen bytes an element.
    let made = Create3d { target: BUFFER, format: 31, bind: BIND_VERTICES, ..picture(1, 256, 1) };
    let mut texture = renderer.create_texture(&made).unwrap();
    texture.attach(&backing(&memory, &[(0, 0x2000)]));
    crate::support::write(&memory, 0, &[7; 0x2000]);
    renderer.transfer_to_host(0, &texture, &transfer([0, 0, 0, 256, 1, 1])).unwrap();
    crate::support::write(&memory, 0, &[9; 0x2000]);
    renderer.transfer_from_host(0, &texture, &transfer([0, 0, 0, 256, 1, 1])).unwrap();
    let bytes = read(&memory, 0, 0x2000);
    assert!(bytes[..256] == [7; 256] && bytes[256..].iter().all(|byte| *byte == 9));
}

fn dropped(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 16, 16)).unwrap();
    renderer.create_context(1, 0, b"user").unwrap();
    renderer.attach_resource(1, &texture);
    let (mut words, len) = clear(1, [0.5; 4]);
    assert_eq!(renderer.submit(1, &mut words, len), Ok(()));
    drop(texture);
    let (mut again, len) = clear(1, [0.5; 4]);
    assert_eq!(renderer.submit(1, &mut again, len), Err(Refused));
    let other = renderer.create_texture(&picture(1, 16, 16)).unwrap();
    assert_eq!(other.id(), ResourceId(1).0);
    renderer.destroy_context(1);
}

fn export(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 64, 16)).unwrap();
    let bytes = renderer.create_texture(&buffer(2, 4096)).unwrap();
    assert_eq!(renderer.export(&bytes).unwrap_err(), Refused);
    if crate::node().is_none() {
        assert_eq!(renderer.export(&texture).unwrap_err(), Refused);
        return;
    }
    let dmabuf = renderer.export(&texture).unwrap();
    assert_eq!((dmabuf.width, dmabuf.height, dmabuf.y_0_top), (64, 16, false));
    // How OpenGL keeps four bytes of colour is the driver's choice.
    assert!([*b"AR24", *b"AB24"].contains(&dmabuf.fourcc.to_le_bytes()), "{:#x}", dmabuf.fourcc);
    assert!(dmabuf.stride >= 64 * 4);
}
