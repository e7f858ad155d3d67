//! What SUBMIT_3D carries: a stream of virgl commands, for a few of which there are methods here. Pure.
//!
//! A command is a word (its number, the kind of object, how many words follow) and these words; numbers and orders are
//! those of virglrenderer's `virgl_protocol.h`. Colours are bytes R, G, B, A in words and 0.0 to 1.0 in floats.

use super::Rect;
use super::three_d::Region;

/// Commands (`VIRGL_CCMD_*`).
#[allow(missing_docs)]
pub mod ccmd {
    pub const NOP: u8 = 0;
    pub const CREATE_OBJECT: u8 = 1;
    pub const BIND_OBJECT: u8 = 2;
    pub const DESTROY_OBJECT: u8 = 3;
    pub const SET_VIEWPORT_STATE: u8 = 4;
    pub const SET_FRAMEBUFFER_STATE: u8 = 5;
    pub const SET_VERTEX_BUFFERS: u8 = 6;
    pub const CLEAR: u8 = 7;
    pub const DRAW_VBO: u8 = 8;
    pub const RESOURCE_INLINE_WRITE: u8 = 9;
    pub const SET_SCISSOR_STATE: u8 = 15;
    pub const BLIT: u8 = 16;
    pub const RESOURCE_COPY_REGION: u8 = 17;
    pub const SET_SUB_CTX: u8 = 28;
    pub const CREATE_SUB_CTX: u8 = 29;
    pub const DESTROY_SUB_CTX: u8 = 30;
    pub const BIND_SHADER: u8 = 31;
    pub const SET_SHADER_BUFFERS: u8 = 34;
    pub const SET_SHADER_IMAGES: u8 = 35;
    pub const LAUNCH_GRID: u8 = 37;
    pub const TRANSFER3D: u8 = 43;
    pub const END_TRANSFERS: u8 = 44;
    pub const COPY_TRANSFER3D: u8 = 45;
    pub const CLEAR_TEXTURE: u8 = 47;
    /// The first number that no version has.
    pub const END: u8 = 64;
}

/// Kinds of objects (`VIRGL_OBJECT_*`).
#[allow(missing_docs)]
pub mod object {
    pub const NULL: u8 = 0;
    pub const BLEND: u8 = 1;
    pub const RASTERIZER: u8 = 2;
    pub const DSA: u8 = 3;
    pub const SHADER: u8 = 4;
    pub const VERTEX_ELEMENTS: u8 = 5;
    pub const SAMPLER_VIEW: u8 = 6;
    pub const SAMPLER_STATE: u8 = 7;
    pub const SURFACE: u8 = 8;
    pub const QUERY: u8 = 9;
    pub const STREAMOUT_TARGET: u8 = 10;
    pub const MSAA_SURFACE: u8 = 11;
    /// The first number that no version has.
    pub const END: u8 = 12;
}

/// CLEAR's bit for the first colour buffer.
const CLEAR_COLOR0: u32 = 1 << 2;
/// BLIT's bits for red, green, blue and alpha, with the nearest texel.
const BLIT_RGBA: u32 = 0xf;

/// `VIRGL_OBJ_SHADER_OFFSET_CONT`: a shader's text goes on.
const SHADER_CONTINUED: u32 = 1 << 31;

/// TRANSFER3D's directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the backing into the texture.
    ToHost = 1,
    /// From the texture into the backing.
    FromHost = 2,
}

/// What a shader works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Vertices.
    Vertex = 0,
    /// Fragments.
    Fragment = 1,
    /// Computations.
    Compute = 5,
}

/// One end of a BLIT: a part of a texture's first level. The source may go from the bottom up, by a negative height.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlitEnd {
    pub resource: u32,
    pub format: u32,
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl BlitEnd {
    /// A rectangle of a texture.
    pub fn new(resource: u32, format: u32, rect: Rect) -> BlitEnd {
        let Rect { x, y, width, height } = rect;
        let [x, y, width, height] = [x, y, width, height].map(u32::cast_signed);
        BlitEnd { resource, format, x, y, width, height }
    }

    /// The same, its last row first.
    pub fn flipped(self) -> BlitEnd {
        BlitEnd { y: self.y + self.height, height: -self.height, ..self }
    }
}

/// A stream of commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    words: Vec<u32>,
}

impl Stream {
    /// No commands yet.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// What SUBMIT_3D takes.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Any command, of any words.
    pub fn command(&mut self, number: u8, object: u8, body: &[u32]) -> &mut Stream {
        assert!(body.len() <= 0xffff, "{} words in a command", body.len());
        self.words.push(u32::from(number) | u32::from(object) << 8 | (body.len() as u32) << 16);
        self.words.extend(body);
        self
    }

    /// Does nothing, in so many words beside the first.
    pub fn nop(&mut self, words: usize) -> &mut Stream {
        self.command(ccmd::NOP, object::NULL, &vec![0; words])
    }

    /// An object that stands for a texture that is drawn into.
    pub fn create_surface(&mut self, handle: u32, resource: u32, format: u32) -> &mut Stream {
        self.command(ccmd::CREATE_OBJECT, object::SURFACE, &[handle, resource, format, 0, 0])
    }

    /// An object goes.
    pub fn destroy(&mut self, kind: u8, handle: u32) -> &mut Stream {
        self.command(ccmd::DESTROY_OBJECT, kind, &[handle])
    }

    /// From now on these surfaces are drawn into.
    pub fn framebuffer(&mut self, surfaces: &[u32]) -> &mut Stream {
        let body: Vec<u32> = [surfaces.len() as u32, 0].iter().chain(surfaces).copied().collect();
        self.command(ccmd::SET_FRAMEBUFFER_STATE, object::NULL, &body)
    }

    /// Fills the first surface.
    pub fn clear(&mut self, rgba: [f32; 4]) -> &mut Stream {
        let [r, g, b, a] = rgba.map(f32::to_bits);
        self.command(ccmd::CLEAR, object::NULL, &[CLEAR_COLOR0, r, g, b, a, 0, 0, 0])
    }

    /// Fills a texture by way of a surface that is there for that alone.
    pub fn fill(&mut self, resource: u32, format: u32, rgb: u32) -> &mut Stream {
        const HANDLE: u32 = 0x5eaf;
        let [b, g, r, _] = rgb.to_le_bytes().map(|byte| f32::from(byte) / 255.0);
        self.create_surface(HANDLE, resource, format).framebuffer(&[HANDLE]).clear([r, g, b, 1.0]);
        self.framebuffer(&[]).destroy(object::SURFACE, HANDLE)
    }

    /// Fills a part of a texture with a texel: of four bytes in the texture's own order.
    pub fn clear_texture(&mut self, resource: u32, region: Region, texel: [u8; 4]) -> &mut Stream {
        let Region { x, y, z, width, height, depth } = region;
        let texel = u32::from_le_bytes(texel);
        let body = [resource, 0, x, y, z, width, height, depth, texel, 0, 0, 0];
        self.command(ccmd::CLEAR_TEXTURE, object::NULL, &body)
    }

    /// Copies a rectangle of one texture to a place in another.
    pub fn copy(&mut self, to: u32, at: (u32, u32), from: u32, rect: Rect) -> &mut Stream {
        let Rect { x, y, width, height } = rect;
        let body = [to, 0, at.0, at.1, 0, from, 0, x, y, 0, width, height, 1];
        self.command(ccmd::RESOURCE_COPY_REGION, object::NULL, &body)
    }

    /// Copies one rectangle over another, larger or smaller or upside down.
    pub fn blit(&mut self, to: BlitEnd, from: BlitEnd) -> &mut Stream {
        let mut body = vec![BLIT_RGBA, 0, 0];
        for end in [to, from] {
            let BlitEnd { resource, format, x, y, width, height } = end;
            let [x, y, width, height] = [x, y, width, height].map(i32::cast_unsigned);
            body.extend([resource, 0, format, x, y, 0, width, height, 1]);
        }
        self.command(ccmd::BLIT, object::NULL, &body)
    }

    /// Writes a rectangle's texels, of four bytes each, row by row.
    pub fn inline_write(&mut self, resource: u32, rect: Rect, texels: &[u32]) -> &mut Stream {
        let Rect { x, y, width, height } = rect;
        let head = [resource, 0, 0, width * 4, 0, x, y, 0, width, height, 1];
        let body: Vec<u32> = head.iter().chain(texels).copied().collect();
        self.command(ccmd::RESOURCE_INLINE_WRITE, object::NULL, &body)
    }

    /// A transfer between a texture and its backing; strides of 0 are the texture's own.
    pub fn transfer(&mut self, resource: u32, region: Region, offset: u32, direction: Direction) -> &mut Stream {
        let Region { x, y, z, width, height, depth } = region;
        let body = [resource, 0, 0, 0, 0, x, y, z, width, height, depth, offset, direction as u32];
        self.command(ccmd::TRANSFER3D, object::NULL, &body)
    }

    /// An object becomes the one in use.
    pub fn bind(&mut self, kind: u8, handle: u32) -> &mut Stream {
        self.command(ccmd::BIND_OBJECT, kind, &[handle])
    }

    /// A shader, of TGSI's text, and it becomes the one in use.
    pub fn shader(&mut self, handle: u32, stage: Stage, text: &str) -> &mut Stream {
        self.shader_in_parts(handle, stage, text, usize::MAX)
    }

    /// The same, its text in as many commands as it takes, each with so many words of it at the most.
    pub fn shader_in_parts(&mut self, handle: u32, stage: Stage, text: &str, words: usize) -> &mut Stream {
        // With the 0 at its end, which counts.
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        let len = bytes.len() as u32;
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let text: Vec<u32> =
            bytes.chunks(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        let mut place = 0;
        for part in text.chunks(words) {
            let length = if place == 0 { len } else { SHADER_CONTINUED | place };
            // Room for the tokens that the text becomes; no outputs are kept.
            let head = [handle, stage as u32, length, 300, 0];
            self.command(ccmd::CREATE_OBJECT, object::SHADER, &[&head, part].concat());
            place += part.len() as u32 * 4;
        }
        self.command(ccmd::BIND_SHADER, object::NULL, &[handle, stage as u32])
    }

    /// Another set of objects and state, in the same context.
    pub fn create_sub_context(&mut self, id: u32) -> &mut Stream {
        self.command(ccmd::CREATE_SUB_CTX, object::NULL, &[id])
    }

    /// What follows is for that one.
    pub fn set_sub_context(&mut self, id: u32) -> &mut Stream {
        self.command(ccmd::SET_SUB_CTX, object::NULL, &[id])
    }

    /// It goes, with its objects.
    pub fn destroy_sub_context(&mut self, id: u32) -> &mut Stream {
        self.command(ccmd::DESTROY_SUB_CTX, object::NULL, &[id])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_how_many_words_follow() {
        let mut stream = Stream::new();
        stream.nop(2).create_surface(7, 1, 2).framebuffer(&[7]);
        let surface = [1 | 8 << 8 | 5 << 16, 7, 1, 2, 0, 0];
        let expected = [&[2 << 16, 0, 0][..], &surface, &[5 | 3 << 16, 1, 0, 7]].concat();
        assert_eq!(stream.words(), expected);
    }

    const RECT: Rect = Rect::new(0, 0, 2, 1);
    const END: BlitEnd = BlitEnd { resource: 1, format: 2, x: 0, y: 0, width: 2, height: 2 };

    #[test]
    fn sizes_are_the_protocols() {
        let mut stream = Stream::new();
        let mut size = |make: for<'a> fn(&'a mut Stream) -> &'a mut Stream| {
            let before = stream.words.len();
            make(&mut stream);
            assert_eq!(stream.words.len() - before - 1, (stream.words[before] >> 16) as usize);
            stream.words[before] >> 16
        };
        assert_eq!(size(|stream| stream.clear([0.0; 4])), 8);
        assert_eq!(size(|stream| stream.clear_texture(1, Region::default(), [0; 4])), 12);
        assert_eq!(size(|stream| stream.copy(1, (0, 0), 2, RECT)), 13);
        assert_eq!(size(|stream| stream.blit(END, END.flipped())), 21);
        assert_eq!(size(|stream| stream.inline_write(1, RECT, &[0, 0])), 13);
        assert_eq!(size(|stream| stream.transfer(1, Region::default(), 0, Direction::ToHost)), 13);
    }
}
