//! What streams put into the slots of shaders, and what becomes of it.

use seat_frontend::gpu::virgl::{Stage, Stream, ccmd, object};
use vhost_seat::gpu::command::Create3d;
use vhost_seat::gpu::virgl::{Refused, Renderer, Texture};

use crate::Case;
use crate::support::{backing, buffer, commands, memory, read, transfer};

pub const CASES: &[Case] = &[
    ("a_buffer_that_goes_is_in_no_slot_any_more", buffers),
    ("in_doubt_no_slot_has_anything_before_a_buffer_goes", doubt),
];

/// `VIRGL_BIND_SHADER_BUFFER`.
const BIND_SHADER_BUFFER: u32 = 1 << 14;

/// Writes a 7 into the first word of the buffer in the first slot.
const COMPUTE: &str = "COMP\nPROPERTY CS_FIXED_BLOCK_WIDTH 1\nPROPERTY CS_FIXED_BLOCK_HEIGHT 1\n\
    PROPERTY CS_FIXED_BLOCK_DEPTH 1\nDCL BUFFER[0]\nIMM[0] UINT32 {0, 7, 0, 0}\n  \
    0: STORE BUFFER[0].x, IMM[0].xxxx, IMM[0].yyyy\n  1: END\n";

fn submit(renderer: &mut Renderer, stream: &Stream) -> Result<(), Refused> {
    let (mut words, len) = commands(stream.words());
    renderer.submit(1, &mut words, len)
}

/// A buffer of zeroes.
fn shader_buffer(renderer: &mut Renderer, id: u32) -> Texture {
    let mut texture = renderer.create_texture(&Create3d { bind: BIND_SHADER_BUFFER, ..buffer(id, 4096) }).unwrap();
    renderer.attach_resource(1, &texture);
    texture.attach(&backing(&memory(), &[(0, 4096)]));
    renderer.transfer_to_host(0, &texture, &transfer([0, 0, 0, 4096, 1, 1])).unwrap();
    texture
}

/// The buffer in the first slot of computations.
fn put(texture: u32) -> Stream {
    let mut stream = Stream::new();
    stream.command(ccmd::SET_SHADER_BUFFERS, object::NULL, &[Stage::Compute as u32, 0, 0, 4096, texture]);
    stream
}

/// One computation, of one thread.
fn launch(renderer: &mut Renderer) -> Result<(), Refused> {
    let mut stream = Stream::new();
    stream.command(ccmd::LAUNCH_GRID, object::NULL, &[1, 1, 1, 1, 1, 1, 0, 0]);
    submit(renderer, &stream)
}

/// A context with the shader; `false` where there are no computations: on some GPUs.
fn prepare(renderer: &mut Renderer) -> bool {
    renderer.create_context(1, 0, b"slots").unwrap();
    let mut stream = Stream::new();
    stream.shader(7, Stage::Compute, COMPUTE);
    let computes = submit(renderer, &stream).is_ok();
    assert!(computes || crate::node().is_some(), "in software there are");
    computes
}

fn first_word(renderer: &mut Renderer, texture: &mut Texture) -> u32 {
    let memory = memory();
    texture.attach(&backing(&memory, &[(0, 4096)]));
    renderer.transfer_from_host(0, texture, &transfer([0, 0, 0, 4, 1, 1])).unwrap();
    u32::from_le_bytes(read(&memory, 0, 4).try_into().unwrap())
}

fn buffers(renderer: &mut Renderer) {
    if prepare(renderer) {
        let mut texture = shader_buffer(renderer, 1);
        submit(renderer, &put(1)).unwrap();
        assert_eq!(launch(renderer), Ok(()));
        assert_eq!(first_word(renderer, &mut texture), 7);

        drop(texture);
        // The library would look at what was freed.
        assert_eq!(launch(renderer), Ok(()));

        // Of the same number, but nobody put it there.
        let mut texture = shader_buffer(renderer, 1);
        assert_eq!(launch(renderer), Ok(()));
        assert_eq!(first_word(renderer, &mut texture), 0);
        submit(renderer, &put(1)).unwrap();
        assert_eq!(launch(renderer), Ok(()));
        assert_eq!(first_word(renderer, &mut texture), 7);
    }
    renderer.destroy_context(1);
}

fn doubt(renderer: &mut Renderer) {
    if prepare(renderer) {
        let texture = shader_buffer(renderer, 1);
        let mut stream = put(1);
        stream.command(ccmd::END, object::NULL, &[]);
        assert_eq!(submit(renderer, &stream), Err(Refused), "but what came before was done");
        drop(texture);
        assert_eq!(launch(renderer), Ok(()));
        let mut texture = shader_buffer(renderer, 2);
        submit(renderer, &put(2)).unwrap();
        assert_eq!(launch(renderer), Ok(()));
        assert_eq!(first_word(renderer, &mut texture), 7);
    }
    renderer.destroy_context(1);
}
