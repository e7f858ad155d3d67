//! Rectangles that are drawn as guests draw: by shaders, out of a buffer of vertices, within a scissor.

use seat_frontend::gpu::virgl::{Stage, Stream, ccmd, object};
use seat_frontend::gpu::{Backing, GpuDriver, Rect, Texture, Transfer3d};

use crate::seat::CTX;

/// Each vertex is where it says.
pub const VERTEX: &str = "VERT\nDCL IN[0]\nDCL OUT[0], POSITION\n  0: MOV OUT[0], IN[0]\n  1: END\n";
/// Each fragment has one colour.
pub const FRAGMENT: &str =
    "FRAG\nDCL OUT[0], COLOR\nIMM[0] FLT32 { 1.0, 0.2, 0.0, 1.0}\n  0: MOV OUT[0], IMM[0]\n  1: END\n";
/// The colour of [`FRAGMENT`], 0xRRGGBB.
pub const COLOUR: u32 = 0xff_3300;

/// `VIRGL_FORMAT_R32G32B32A32_FLOAT`.
const FLOATS: u32 = 31;
/// `PIPE_PRIM_TRIANGLE_STRIP`.
pub const STRIP: u32 = 5;

/// What a stream draws with; objects of these numbers.
pub struct Scene {
    /// The buffer of vertices.
    pub vertices: u32,
}

impl Scene {
    /// A buffer with one rectangle over everything, in [`CTX`].
    pub fn new(driver: &mut GpuDriver, vertices: u32) -> Scene {
        let corners: [[f32; 4]; 4] =
            [[-1.0, -1.0, 0.0, 1.0], [1.0, -1.0, 0.0, 1.0], [-1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0]];
        let bytes: Vec<u8> = corners.as_flattened().iter().flat_map(|number| number.to_le_bytes()).collect();
        let texture = Texture::buffer(vertices, bytes.len() as u32);
        let memory = driver.memory().clone();
        let backing = Backing::contiguous(&memory, driver.pages(), bytes.len() as u64).unwrap();
        backing.write(0, &bytes);
        driver.create_3d(&texture).unwrap().ok().unwrap();
        driver.attach_backing(vertices, backing.entries()).unwrap().ok().unwrap();
        driver.attach_to_context(CTX, vertices).unwrap().ok().unwrap();
        driver.to_host_3d(CTX, &Transfer3d::new(vertices, texture.region())).unwrap().ok().unwrap();
        Scene { vertices }
    }

    /// What has to be there before the first draw into a texture: a surface, state and shaders.
    pub fn prepare(&self, stream: &mut Stream, texture: &Texture) {
        self.prepare_in_parts(stream, texture, usize::MAX);
    }

    /// The same, the shaders' text in parts of so many words.
    pub fn prepare_in_parts(&self, stream: &mut Stream, texture: &Texture, words: usize) {
        let &Texture { resource_id, format, width, height, .. } = texture;
        stream.create_surface(1, resource_id, format).framebuffer(&[1]);
        // All colours are written.
        let mut blend = [0; 11];
        blend[0] = 2;
        blend[3..].fill(0xf << 27);
        stream.command(ccmd::CREATE_OBJECT, object::BLEND, &blend).bind(object::BLEND, 2);
        // Within the scissor; no depth is clipped; centres of pixels are at halves.
        let rasterizer = [3, 1 << 14 | 1 << 29, 1f32.to_bits(), 0, 0, 1f32.to_bits(), 0, 0, 0];
        stream.command(ccmd::CREATE_OBJECT, object::RASTERIZER, &rasterizer).bind(object::RASTERIZER, 3);
        stream.command(ccmd::CREATE_OBJECT, object::DSA, &[4, 0, 0, 0, 0]).bind(object::DSA, 4);
        let elements = [5, 0, 0, 0, FLOATS];
        stream.command(ccmd::CREATE_OBJECT, object::VERTEX_ELEMENTS, &elements).bind(object::VERTEX_ELEMENTS, 5);
        stream.command(ccmd::SET_VERTEX_BUFFERS, object::NULL, &[16, 0, self.vertices]);
        let (half_width, half_height) = (width as f32 / 2.0, height as f32 / 2.0);
        let viewport = [half_width, half_height, 0.5, half_width, half_height, 0.5].map(f32::to_bits);
        stream.command(ccmd::SET_VIEWPORT_STATE, object::NULL, &[&[0], &viewport[..]].concat());
        stream.shader_in_parts(6, Stage::Vertex, VERTEX, words).shader_in_parts(7, Stage::Fragment, FRAGMENT, words);
    }

    /// A rectangle of that colour.
    pub fn draw(&self, stream: &mut Stream, rect: Rect) {
        let corners = [rect.x | rect.y << 16, (rect.x + rect.width) | (rect.y + rect.height) << 16];
        stream.command(ccmd::SET_SCISSOR_STATE, object::NULL, &[0, corners[0], corners[1]]);
        stream.command(ccmd::DRAW_VBO, object::NULL, &[0, 4, STRIP, 0, 1, 0, 0, 0, 0, 0, 3, 0]);
    }
}
