//! What SUBMIT_3D carries: the streams of a context, seen through by a [`Context`], and by a second reading that knows nothing
//! of the first one; with a library that does them, or fails.
//!
//! | bytes | |
//! |---|---|
//! | 1 | how many textures there are (low three bits) |
//! | … | textures: what they are of, then the numbers of [`texture`] |
//! | … | commands: which, how many words (see [`command`]), and the words; or the end of a stream, see [`end`] |
//!
//! What passes keeps the bounds, whatever else the check may know of. What is only of commands that are known here, and
//! keeps the bounds, passes. A texture that was released is in no slot of the library's.

use std::collections::{BTreeMap, BTreeSet};

pub use seat_frontend::gpu::virgl::ccmd::{
    BIND_SHADER, BLIT, COPY_TRANSFER3D as COPY_TRANSFER, CREATE_OBJECT, CREATE_SUB_CTX, DESTROY_SUB_CTX, NOP,
    RESOURCE_INLINE_WRITE as INLINE_WRITE, SET_SHADER_BUFFERS, SET_SHADER_IMAGES, SET_SUB_CTX, TRANSFER3D as TRANSFER,
};
use seat_frontend::gpu::virgl::object;
use vhost_seat::gpu::command::{Box3d, Create3d, ResourceId, Transfer3d};
use vhost_seat::gpu::virgl::bounds::{self, Known, Reading};
use vhost_seat::gpu::virgl::stream::{Context, MAX_SUB_CONTEXTS, Textures};

use super::script::Script;

/// Words of one stream, and streams of one run.
const MAX_WORDS: usize = 20_000;
const MAX_STREAMS: usize = 200;

/// Numbers of commands that the front end of the tests has no name for, and what transfers say.
pub const SET_UNIFORM_BUFFER: u8 = 27;
pub const SET_ATOMIC_BUFFERS: u8 = 40;
pub const RESOURCE_CREATE: u8 = 48;
pub const LINK_SHADER: u8 = 52;
pub const TO_HOST: u32 = 1;
pub const FROM_HOST: u32 = 2;

/// Those of which everything is known here that a check may know.
const PLAIN: [u8; 15] = [
    NOP,
    CREATE_OBJECT,
    INLINE_WRITE,
    BLIT,
    SET_UNIFORM_BUFFER,
    SET_SUB_CTX,
    CREATE_SUB_CTX,
    DESTROY_SUB_CTX,
    BIND_SHADER,
    SET_SHADER_BUFFERS,
    SET_SHADER_IMAGES,
    SET_ATOMIC_BUFFERS,
    TRANSFER,
    COPY_TRANSFER,
    LINK_SHADER,
];

/// Of how many words a command is: as many as it usually has.
pub const USUAL: u8 = 0x40;
/// Of how many words a command is: its head says one more than there are.
pub const CUT: u8 = 0x80;

/// What a byte says that comes where a command may come: the stream ends, and
pub mod end {
    /// the library does it;
    pub const DONE: u8 = 0xf0;
    /// the library fails after some of its commands, whose number follows;
    pub const FAILS: u8 = 0xf8;
    /// fewer words are told than there are;
    pub const SHORT: u8 = 0xfa;
    /// far more words are told than there are;
    pub const LONG: u8 = 0xfb;
    /// the library does it, and then a texture goes, whose number follows.
    pub const RELEASE: u8 = 0xfc;
}

/// The textures of a run. Their numbers are 1 and those after it.
struct Made(Vec<(Known, Option<u32>)>);

impl Made {
    fn of(&self, id: u32) -> Option<&(Known, Option<u32>)> {
        self.0.get((id as usize).checked_sub(1)?)
    }
}

impl Textures for Made {
    fn known(&self, id: u32) -> Option<Known> {
        self.of(id).map(|(known, _)| *known)
    }

    fn stride(&self, id: u32) -> Option<u32> {
        self.of(id).and_then(|(_, stride)| *stride)
    }
}

/// A command: its number, what kind of object it is of, its words.
type Command<'a> = (u8, u8, &'a [u32]);

/// The streams of one context. Returns how many commands passed.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    let textures = Made((1..=u32::from(script.u8() & 7)).map(|id| texture(id, &mut script)).collect());
    let mut context = Context::default();
    let mut rules = Rules::default();
    let mut library = Library::default();
    let mut passed = 0;
    for _ in 0..MAX_STREAMS {
        if script.is_empty() {
            break;
        }
        let mut words = Vec::new();
        let end = stream(&mut script, &mut words);
        let told = match end {
            end::SHORT => (words.len() as u32).saturating_sub(1),
            end::LONG => u32::MAX - words.len() as u32,
            _ => words.len() as u32,
        };
        let pairs: Vec<u64> = words.chunks(2).map(|pair| pair_of(pair[0], pair.get(1).copied().unwrap_or(0))).collect();
        let checked = context.check(&pairs, told, &textures);
        let commands = words.get(..told as usize).and_then(read);
        let after = commands.as_ref().and_then(|commands| rules.after(commands, &textures));
        let Ok(checked) = checked else {
            let is_plain = commands.iter().flatten().all(|(number, ..)| PLAIN.contains(number));
            assert!(after.is_none() || !is_plain, "it keeps the bounds: {commands:?}");
            continue;
        };
        let commands = commands.expect("whole commands");
        let (after, is_fragile) = after.unwrap_or_else(|| panic!("it does not keep the bounds: {commands:?}"));
        passed += commands.len();
        if let end::FAILS | 0xf9 = end {
            let done = usize::from(script.u8()).min(commands.len());
            library.take(&commands[..done]);
            context.doubt(checked);
            rules.is_lost |= is_fragile;
        } else {
            library.take(&commands);
            context.follow(checked, &pairs);
            rules = after;
        }
        // One that nobody knows any more does nothing any more.
        if end >= end::RELEASE && !rules.is_lost {
            release(u32::from(script.u8() & 7).max(1), &mut context, &mut library);
        }
    }
    passed
}

/// Commands up to the end of a stream, which is said.
fn stream(script: &mut Script<'_>, words: &mut Vec<u32>) -> u8 {
    while !script.is_empty() && words.len() < MAX_WORDS {
        match script.u8() {
            end @ end::DONE.. => return end,
            number => command(number, script, words),
        }
    }
    end::DONE
}

/// A texture goes: then it is in no slot, and the library goes on where it was.
fn release(texture: u32, context: &mut Context, library: &mut Library) {
    let (pairs, dwords) = context.release(texture);
    let words: Vec<u32> = pairs.iter().flat_map(|pair| words_of(*pair)).take(dwords as usize).collect();
    assert_eq!(words.len(), dwords as usize);
    let (current, before) = (library.current, library.slots.clone());
    library.take(&read(&words).expect("whole commands"));
    assert_eq!(library.current, current, "commands that follow are for another sub context");
    assert!(!library.slots.values().any(|there| *there == texture), "{texture} is still in {:?}", library.slots);
    assert!(library.slots.iter().all(|(slot, there)| before.get(slot) == Some(there)), "something else comes in");
}

/// What a check is to know of a context, and no more: the sub contexts, the one that commands are for, and the shader of which
/// more is to come (number, stage, words that are there, words that there will be).
#[derive(Clone, Default)]
struct Rules {
    subs: BTreeSet<u32>,
    current: u32,
    unfinished: Option<(u32, u32, u64, u64)>,
    is_lost: bool,
}

impl Rules {
    /// What there is after these commands, if all of them keep the bounds; and whether they change anything of it.
    fn after(&self, commands: &[Command<'_>], textures: &Made) -> Option<(Rules, bool)> {
        let (mut after, mut is_fragile) = (self.clone(), false);
        if self.is_lost {
            return None;
        }
        for command in commands {
            let before = (after.subs.clone(), after.current, after.unfinished);
            if !after.judge(command, textures) {
                return None;
            }
            is_fragile |= before != (after.subs.clone(), after.current, after.unfinished);
        }
        Some((after, is_fragile))
    }

    fn judge(&mut self, command: &Command<'_>, textures: &Made) -> bool {
        let &(number, kind, body) = command;
        let is_whole = |handle: &u32| self.unfinished.is_none_or(|(open, ..)| open != *handle);
        match number {
            RESOURCE_CREATE => false,
            CREATE_OBJECT if kind == object::SHADER => self.shader(body).is_some(),
            BIND_SHADER => body.first().is_none_or(is_whole),
            LINK_SHADER => body.iter().all(is_whole),
            // Of both boxes, how many layers.
            BLIT => [11, 20].iter().all(|at| body.get(*at).is_none_or(|layers| *layers < 4096)),
            SET_SHADER_IMAGES => {
                body.iter().skip(2).step_by(5).all(|format| *format < 300) && slots(number, body).iter().all(is_a_slot)
            }
            SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS | SET_ATOMIC_BUFFERS => slots(number, body).iter().all(is_a_slot),
            SET_SUB_CTX | CREATE_SUB_CTX | DESTROY_SUB_CTX => body.first().is_some_and(|sub| {
                switch(number, *sub, &mut self.subs, &mut self.current);
                self.subs.len() <= MAX_SUB_CONTEXTS
            }),
            INLINE_WRITE => body.len() >= 11 && transfer(body, 0, false, textures),
            TRANSFER => {
                body.len() >= 13
                    && [TO_HOST, FROM_HOST].contains(&body[12])
                    && transfer(body, body[11], body[12] == FROM_HOST, textures)
            }
            COPY_TRANSFER => {
                body.len() >= 14
                    && textures.of(body[11]).is_some()
                    && transfer(body, body[12], body[13] & 2 != 0, textures)
            }
            _ => true,
        }
    }

    /// A shader, or the next part of one. `None` where it is not the next one.
    fn shader(&mut self, body: &[u32]) -> Option<()> {
        let (&[handle, stage, length, _, outputs], rest) = body.split_first_chunk::<5>()?;
        let streamed = if outputs == 0 || stage == 5 { 0 } else { 4 + 2 * u64::from(outputs) };
        let text = (rest.len() as u64).checked_sub(streamed)?;
        let (is_next, length) = (length >> 31 == 1, u64::from(length & !(1 << 31)));
        let (there, whole) = match self.unfinished.take() {
            None if !is_next => (text, length.div_ceil(4)),
            Some((open, of, there, whole))
                if is_next && (open, of) == (handle, stage) && length == there * 4 && text > 0 =>
            {
                if there + text > whole {
                    return None;
                }
                (there + text, whole)
            }
            _ => return None,
        };
        self.unfinished = (there < whole).then_some((handle, stage, there, whole));
        Some(())
    }
}

/// The slots that a command fills: of which kind, the stage, which one, the texture.
fn slots(number: u8, body: &[u32]) -> Vec<(u8, u32, u64, u32)> {
    let (has_stage, words) = match number {
        SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS => (true, 3),
        SET_SHADER_IMAGES => (true, 5),
        SET_ATOMIC_BUFFERS => (false, 3),
        _ => return Vec::new(),
    };
    let (stage, rest) = if has_stage { body.split_first().unwrap_or((&0, &[])) } else { (&0, body) };
    let (first, rest) = rest.split_first().unwrap_or((&0, &[]));
    let filled = rest.chunks_exact(words).zip(u64::from(*first)..);
    filled.map(|(words, slot)| (number, *stage, slot, words[words.len() - 1])).collect()
}

fn is_a_slot((_, stage, slot, _): &(u8, u32, u64, u32)) -> bool {
    *stage < 6 && *slot < 32
}

/// A command about sub context `sub`: which there are after it, and which one commands are for.
fn switch(number: u8, sub: u32, subs: &mut BTreeSet<u32>, current: &mut u32) {
    match number {
        CREATE_SUB_CTX if sub != 0 && subs.insert(sub) => *current = sub,
        DESTROY_SUB_CTX if subs.remove(&sub) && *current == sub => *current = 0,
        SET_SUB_CTX if sub == 0 || subs.contains(&sub) => *current = sub,
        _ => {}
    }
}

/// What a library has after commands: its sub contexts, which one they are for, and what is in slots (of a sub context, of a
/// kind, a stage, which one).
#[derive(Default)]
struct Library {
    subs: BTreeSet<u32>,
    current: u32,
    slots: BTreeMap<(u32, u8, u32, u64), u32>,
}

impl Library {
    fn take(&mut self, commands: &[Command<'_>]) {
        for (number, _, body) in commands {
            let first = body.first().copied().unwrap_or(0);
            match *number {
                CREATE_SUB_CTX | DESTROY_SUB_CTX | SET_SUB_CTX => {
                    switch(*number, first, &mut self.subs, &mut self.current);
                    self.slots.retain(|(sub, ..), _| *sub == 0 || self.subs.contains(sub));
                }
                _ => {
                    for (kind, stage, slot, texture) in slots(*number, body) {
                        self.slots.remove(&(self.current, kind, stage, slot));
                        if texture != 0 {
                            self.slots.insert((self.current, kind, stage, slot), texture);
                        }
                    }
                }
            }
        }
    }
}

/// Two words, as they lie in memory.
fn pair_of(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// A byte says what it is of, and whether its rows are known (bit 7); width, height, depth, array size, format, bytes of its
/// backing; levels and samples in a byte; how it is bound.
fn texture(id: u32, script: &mut Script<'_>) -> (Known, Option<u32>) {
    let shape = script.u8();
    let [width, height, depth, array_size, format, backing] = std::array::from_fn(|_| script.word());
    let levels = script.u8();
    let bind = [16, 1 << 17, 1 << 19, 8][usize::from(shape >> 4 & 3)];
    let made = Create3d {
        resource_id: ResourceId(id),
        target: u32::from(shape & 15),
        format,
        bind,
        width,
        height,
        depth,
        array_size,
        last_level: u32::from(levels & 15),
        nr_samples: u32::from(levels >> 4),
        flags: 0,
    };
    assert_eq!(bounds::is_flat(&made), [2, 5].contains(&made.target) && made.nr_samples == 0);
    let stride = (shape & 0x80 != 0).then(|| width.saturating_mul(4));
    (Known { made, backing: backing.into() }, stride)
}

/// Two words that lie in memory so.
fn words_of(pair: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = pair.to_ne_bytes();
    [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
}

/// How many words follow (the low six bits, or [`USUAL`]; [`CUT`]), each as [`Script::word`] has it. An object is a shader
/// where that is even.
fn command(number: u8, script: &mut Script<'_>, words: &mut Vec<u32>) {
    let shape = script.u8();
    let usual = match number {
        INLINE_WRITE => 12,
        BLIT => 21,
        CREATE_SUB_CTX | DESTROY_SUB_CTX | SET_SUB_CTX => 1,
        CREATE_OBJECT | SET_SHADER_IMAGES => 7,
        SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS => 5,
        SET_ATOMIC_BUFFERS => 4,
        BIND_SHADER => 2,
        LINK_SHADER => 6,
        TRANSFER => 13,
        COPY_TRANSFER => 14,
        _ => 3,
    };
    let len = if shape & USUAL != 0 { usual } else { usize::from(shape & 63) };
    let told = len + usize::from(shape & CUT != 0);
    let kind = u32::from(if shape & 1 == 0 { object::SHADER } else { object::BLEND });
    words.push(u32::from(number) | kind << 8 | (told as u32) << 16);
    words.extend((0..len).map(|_| script.word()));
}

/// The commands of a stream. `None` for one that ends within a command.
fn read(words: &[u32]) -> Option<Vec<Command<'_>>> {
    let mut commands = Vec::new();
    let mut rest = words;
    while let Some((head, after)) = rest.split_first() {
        let [number, kind, low, high] = head.to_le_bytes();
        let (body, after) = after.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        commands.push((number, kind, body));
        rest = after;
    }
    Some(commands)
}

/// Whether a transfer lies within its texture, and the library has a right way to do it: in numbers that nothing overflows.
fn transfer(body: &[u32], offset: u32, reads: bool, textures: &Made) -> bool {
    let Some((Known { made, backing }, known_stride)) = textures.of(body[0]) else { return false };
    let level = body[1];
    if level > made.last_level {
        return false;
    }
    let number = |at: usize| u128::from(body[at]);
    let side = |side: u32| (u128::from(side) >> level).max(1);
    let (buffer, volume) = (made.target == 0, made.target == 3);
    let is_compressed =
        [105..=116, 143..=146, 226..=226, 255..=258, 269..=306].iter().any(|run| run.contains(&made.format));
    // All layers at once are read only where the library has no layers, or takes blocks of them.
    let is_read = made.nr_samples == 0 && (buffer || number(10) <= 1 || is_compressed && made.target != 4);
    layer_by_layer(made, body, is_read, *known_stride);
    layer_by_layer(made, body, is_read, None);
    let layers = if volume { side(made.depth) } else { u128::from(made.array_size).max(1) };
    let sides = [side(made.width), side(made.height), layers];
    let is_within = (0..3).all(|axis| {
        let end = number(5 + axis) + number(8 + axis);
        end <= sides[axis] && end < 1 << 31
    });
    if !is_within {
        return false;
    }
    let [width, height, _] = sides;
    let fits = |rows: u128| {
        if buffer {
            return u128::from(offset) + width < 1 << 32;
        }
        let row = if body[3] == 0 { rows } else { number(3) };
        let layer = if body[4] == 0 { row * height } else { number(4) };
        let end = u128::from(offset) + row * number(9) + layer * number(10).saturating_sub(1);
        end < 1 << 32 && rows * height * layers < 1 << 32
    };
    // A texel of sixteen bytes is the largest; what is known of the first level's rows holds for each, but for a texel.
    let is_small = fits(width * 16) || known_stride.is_some_and(|stride| fits((u128::from(stride) >> level) + 16));
    let lies_in_backing = buffer && made.bind & (1 << 17 | 1 << 19) != 0;
    let is_there = !lies_in_backing || number(5) + number(8) <= u128::from(*backing);
    is_small && is_there && (!reads || is_read)
}

/// How layers are read that are not read at once: not where they have samples or blocks, else as far apart as was said, or
/// as they are where the length of their rows is known.
fn layer_by_layer(made: &Create3d, body: &[u32], at_once: bool, stride: Option<u32>) {
    let region = Box3d { x: body[5], y: body[6], z: body[7], width: body[8], height: body[9], depth: body[10] };
    let [level, row, layer] = [body[1], body[3], body[4]];
    let transfer =
        Transfer3d { region, offset: 0, resource_id: made.resource_id, level, stride: row, layer_stride: layer };
    let side = |side: u32| (u64::from(side) >> level).max(1);
    let texel = stride.map(|stride| u64::from(stride / made.width.max(1)));
    let row = if row == 0 { texel.map(|texel| texel * side(made.width)) } else { Some(row.into()) };
    let apart = if layer == 0 { row.map(|row| row * side(made.height)) } else { row.map(|_| layer.into()) };
    let expected = match bounds::reading(made, &transfer, stride) {
        Some(Reading::Whole) => at_once,
        Some(Reading::Layers(told)) => !at_once && made.nr_samples == 0 && apart == Some(told),
        None => !at_once && (made.nr_samples > 0 || made.target == 4 || apart.is_none()),
    };
    assert!(expected, "{made:?}, {transfer:?}, rows of {stride:?}");
}
