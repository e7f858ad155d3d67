//! Streams of virgl commands as nobody should send them: words of any kind, commands with random bodies, and sound streams
//! of which a few words were changed.

use seat_frontend::gpu::virgl::{BlitEnd, Direction, Stream, ccmd, object};
use seat_frontend::gpu::{Rect, Region, Texture};

use crate::common::random::Random;
use crate::scene::Scene;

/// The textures that streams find, by number.
pub const PICTURE: u32 = 1;
pub const OTHER: u32 = 2;
pub const ARRAY: u32 = 3;
pub const VOLUME: u32 = 4;
pub const DEPTH: u32 = 5;
pub const VERTICES: u32 = 6;
pub const TEXTURES: u32 = 6;

/// A picture whose first row is the first in memory.
pub fn plain(resource_id: u32) -> Texture {
    Texture { format: 1, flags: 0, ..Texture::picture(resource_id, 64, 48) }
}

/// A word that may mean something.
pub fn word(random: &mut Random) -> u32 {
    match random.below(12) {
        0 => 0,
        1..=3 => random.below(8),
        4 => random.below(TEXTURES + 2),
        5 => random.below(320),
        6 => (random.below(100) as f32 / 10.0).to_bits(),
        7 => [f32::NAN, f32::INFINITY, -1.0, 1e30].map(f32::to_bits)[random.below(4) as usize],
        8 => [u32::MAX, u32::MAX - 1, 0x8000_0000, 0x7fff_ffff, 0xffff, 0x1_0000][random.below(6) as usize],
        9 => 1 << random.below(32),
        10 => random.below(0x1_0000),
        _ => random.next() as u32,
    }
}

/// How many words most commands have.
fn usual_length(number: u8, kind: u8, random: &mut Random) -> u32 {
    match (number, kind) {
        (ccmd::CREATE_OBJECT, object::BLEND) => 11,
        (ccmd::CREATE_OBJECT, object::RASTERIZER | object::SAMPLER_STATE) => 9,
        (ccmd::CREATE_OBJECT, object::VERTEX_ELEMENTS) => 1 + 4 * random.below(6),
        (ccmd::CREATE_OBJECT, object::SAMPLER_VIEW | object::MSAA_SURFACE) => 6,
        (ccmd::CREATE_OBJECT, object::DSA | object::SURFACE) => 5,
        (ccmd::CREATE_OBJECT, object::QUERY | object::STREAMOUT_TARGET) => 4,
        (ccmd::BIND_OBJECT | ccmd::DESTROY_OBJECT | ccmd::SET_SUB_CTX..=ccmd::DESTROY_SUB_CTX, _) => 1,
        (ccmd::SET_VIEWPORT_STATE, _) => 1 + 6 * random.between(1, 3),
        (ccmd::SET_FRAMEBUFFER_STATE, _) => 2 + random.below(9),
        (ccmd::SET_VERTEX_BUFFERS, _) => 3 * random.below(5),
        (ccmd::CLEAR, _) => 8,
        (ccmd::DRAW_VBO | ccmd::CLEAR_TEXTURE, _) => 12,
        (ccmd::SET_SCISSOR_STATE, _) => 1 + 2 * random.between(1, 3),
        (ccmd::BLIT, _) => 21,
        (ccmd::RESOURCE_COPY_REGION | ccmd::TRANSFER3D, _) => 13,
        // Of many others.
        _ if random.once_in(10) => random.below(100),
        _ => random.below(16),
    }
}

/// Commands with random bodies.
fn loose(random: &mut Random, stream: &mut Stream) {
    for _ in 0..random.between(1, 12) {
        let number = random.below(u32::from(ccmd::END)) as u8;
        let kind = random.below(u32::from(object::END)) as u8;
        let len = usual_length(number, kind, random);
        let body: Vec<u32> = (0..len).map(|_| word(random)).collect();
        stream.command(number, kind, &body);
    }
}

/// A rectangle within the textures.
fn place(random: &mut Random) -> Rect {
    let (x, y) = (random.below(64), random.below(48));
    Rect::new(x, y, 1 + random.below(64 - x), 1 + random.below(48 - y))
}

/// Commands that are all right.
fn sound(random: &mut Random, scene: &Scene, stream: &mut Stream) {
    let (one, two) = (place(random), place(random));
    let region = Region::flat(one.x, one.y, one.width, one.height);
    for _ in 0..random.between(1, 6) {
        match random.below(8) {
            0 => {
                stream.fill(OTHER, 1, random.next() as u32 & 0xff_ffff);
            }
            1 => {
                stream.clear_texture(OTHER, region, (random.next() as u32).to_le_bytes());
            }
            2 => {
                stream.copy(OTHER, (0, 0), PICTURE, one);
            }
            3 => {
                stream.blit(BlitEnd::new(PICTURE, 1, one), BlitEnd::new(OTHER, 1, two).flipped());
            }
            4 => {
                stream.inline_write(OTHER, one, &vec![random.next() as u32; (one.width * one.height) as usize]);
            }
            5 => {
                stream.transfer(OTHER, region, 0, Direction::ToHost);
            }
            6 => {
                stream.transfer(PICTURE, region, 0, Direction::FromHost);
            }
            _ => {
                let words = if random.once_in(2) { usize::MAX } else { random.between(1, 12) as usize };
                scene.prepare_in_parts(stream, &plain(OTHER), words);
                scene.draw(stream, one);
                stream.framebuffer(&[]);
                for (kind, handle) in [
                    (object::SURFACE, 1),
                    (object::BLEND, 2),
                    (object::RASTERIZER, 3),
                    (object::DSA, 4),
                    (object::VERTEX_ELEMENTS, 5),
                    (object::SHADER, 6),
                    (object::SHADER, 7),
                ] {
                    stream.destroy(kind, handle);
                }
            }
        }
    }
}

/// The next one that is done in a short time.
pub fn stream(random: &mut Random, scene: &Scene) -> Vec<u32> {
    loop {
        let words = any(random, scene);
        if !draws_for_long(&words) {
            return words;
        }
    }
}

/// What is drawn in a short time.
const VERTICES_DRAWN: u32 = 1 << 16;
const INSTANCES_DRAWN: u32 = 1 << 6;

/// Whether a draw has more than that, which the host's own processor would work at for minutes.
fn draws_for_long(words: &[u32]) -> bool {
    let mut rest = words;
    while let Some((head, body)) = rest.split_first() {
        let Some((body, next)) = body.split_at_checked((*head >> 16) as usize) else { return false };
        rest = next;
        let at = |index: usize| body.get(index).copied().unwrap_or(0);
        let is_draw = *head as u8 == ccmd::DRAW_VBO;
        if is_draw && (at(1) > VERTICES_DRAWN || at(4) > INSTANCES_DRAWN || at(11) > VERTICES_DRAWN) {
            return true;
        }
    }
    false
}

fn any(random: &mut Random, scene: &Scene) -> Vec<u32> {
    let mut stream = Stream::new();
    match random.below(8) {
        0 => return (0..random.between(1, 300)).map(|_| random.next() as u32).collect(),
        1..=3 => loose(random, &mut stream),
        _ => {
            sound(random, scene, &mut stream);
            let mut words = stream.words().to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(words.len() as u32) as usize;
                words[at] = match random.below(4) {
                    0 => words[at] ^ 1 << random.below(32),
                    1 => words[at].wrapping_add(random.below(5)).wrapping_sub(2),
                    _ => word(random),
                };
            }
            return words;
        }
    }
    stream.words().to_vec()
}

/// What an environment variable says.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}
