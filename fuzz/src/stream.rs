//! What SUBMIT_3D carries: streams for a 3D renderer, seen through by [`check`], and by a second reading that knows nothing
//! of the first one.
//!
//! | bytes | |
//! |---|---|
//! | 1 | how many textures there are (low three bits), how many words are told (high two bits) |
//! | … | textures: what they are of, then the numbers of [`texture`] |
//! | … | commands: which, how many words (see [`command`]), and the words |
//!
//! What passes the check keeps the bounds, and what keeps the bounds passes. A texture that goes is taken out of the slots
//! that the second reading finds it in.

use std::collections::{BTreeMap, BTreeSet};

use vhost_seat::gpu::command::{Box3d, Create3d, ResourceId, Transfer3d};
use vhost_seat::gpu::virgl::bounds::{self, Known, Reading};
use vhost_seat::gpu::virgl::stream::{Context, MAX_SUB_CONTEXTS, Textures};

use super::script::Script;

/// Words of one run.
const MAX_WORDS: usize = 20_000;

/// Numbers of commands (`VIRGL_CCMD_*`), and of what transfers say.
pub const NOP: u8 = 0;
pub const INLINE_WRITE: u8 = 9;
pub const CREATE_OBJECT: u8 = 1;
pub const BLIT: u8 = 16;
pub const SET_UNIFORM_BUFFER: u8 = 27;
pub const SET_SUB_CTX: u8 = 28;
pub const CREATE_SUB_CTX: u8 = 29;
pub const DESTROY_SUB_CTX: u8 = 30;
pub const BIND_SHADER: u8 = 31;
pub const SET_SHADER_BUFFERS: u8 = 34;
pub const SET_SHADER_IMAGES: u8 = 35;
pub const SET_ATOMIC_BUFFERS: u8 = 40;
pub const TRANSFER: u8 = 43;
pub const COPY_TRANSFER: u8 = 45;
pub const RESOURCE_CREATE: u8 = 48;
pub const LINK_SHADER: u8 = 52;
/// `VIRGL_OBJECT_SHADER`.
const SHADER: u32 = 4;
pub const TO_HOST: u32 = 1;
pub const FROM_HOST: u32 = 2;

/// Of how many words a command is: as many as it usually has.
pub const USUAL: u8 = 0x40;
/// Of how many words a command is: its head says one more than there are.
pub const CUT: u8 = 0x80;

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

/// One stream. Returns how many commands it has, if it passes.
pub fn run(data: &[u8]) -> Option<usize> {
    let mut script = Script::new(data);
    let shape = script.u8();
    let textures = Made((1..=u32::from(shape & 7)).map(|id| texture(id, &mut script)).collect());
    let mut words = Vec::new();
    let mut ends = vec![0];
    while !script.is_empty() && words.len() < MAX_WORDS {
        command(&mut script, &mut words);
        ends.push(words.len());
    }
    let pairs = pairs_of(&words);
    let told = match shape >> 6 {
        0 | 1 => words.len() as u32,
        2 => (words.len() as u32).saturating_sub(1),
        _ => u32::MAX - u32::from(shape >> 3 & 7),
    };
    let mut context = Context::default();
    let passes = context.check(&pairs, told, &textures);
    assert_eq!(passes, context.check(&pairs, told, &textures), "it is asked again");
    let commands = words.get(..told as usize).and_then(read);
    let mut model = Model::default();
    let judged =
        commands.as_ref().is_some_and(|commands| commands.iter().all(|command| model.command(command, &textures)));
    assert_eq!(passes.is_ok(), judged, "{commands:?}");
    if let Ok(stream) = passes {
        context.follow(stream, &pairs);
        model.all_go(&mut context);
    }
    if told as usize == words.len() && commands.is_some() {
        in_parts(&words, &ends, &textures, judged);
    }
    passes.ok().and(commands).map(|commands| commands.len())
}

/// Cut between two commands, it passes in two parts, if and only if it does as a whole.
fn in_parts(words: &[u32], ends: &[usize], textures: &Made, passes: bool) {
    let (first, second) = words.split_at(ends[ends.len() / 2]);
    // An end within a command that told of more words than it got is none.
    let Some(commands) = read(first) else { return };
    let [first, second] = [first, second].map(|words| (pairs_of(words), words.len() as u32));
    let (mut whole, mut failed) = (Context::default(), Context::default());
    let Ok(stream) = whole.check(&first.0, first.1, textures) else {
        assert!(!passes, "in parts");
        return;
    };
    whole.follow(stream, &first.0);
    assert_eq!(whole.check(&second.0, second.1, textures).is_ok(), passes, "in parts");
    // If the library fails in the first part, the context may be lost by what that makes and ends, and else nothing changes.
    failed.doubt(stream);
    let is_fragile = |(number, ..): &Command<'_>| [CREATE_OBJECT, CREATE_SUB_CTX, DESTROY_SUB_CTX].contains(number);
    let passes_then = failed.check(&second.0, second.1, textures).is_ok();
    assert!(passes_then == passes || commands.iter().any(is_fragile), "after a failure");
}

fn pairs_of(words: &[u32]) -> Vec<u64> {
    words.chunks(2).map(|pair| pair_of(pair[0], pair.get(1).copied().unwrap_or(0))).collect()
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

/// Its number, how many words follow (the low six bits, or [`USUAL`]; [`CUT`]), each as [`Script::word`] has it.
fn command(script: &mut Script<'_>, words: &mut Vec<u32>) {
    let (number, shape) = (script.u8(), script.u8());
    let usual = match number {
        INLINE_WRITE => 12,
        BLIT => 21,
        SET_SUB_CTX | CREATE_SUB_CTX | DESTROY_SUB_CTX => 1,
        BIND_SHADER => 2,
        SET_ATOMIC_BUFFERS => 4,
        SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS => 5,
        LINK_SHADER => 6,
        SET_SHADER_IMAGES | CREATE_OBJECT => 7,
        TRANSFER => 13,
        COPY_TRANSFER => 14,
        _ => 3,
    };
    let len = if shape & USUAL != 0 { usual } else { usize::from(shape & 63) };
    let told = len + usize::from(shape & CUT != 0);
    let kind = if number == CREATE_OBJECT { SHADER } else { u32::from(shape & 1) };
    words.push(u32::from(number) | kind << 8 | (told as u32) << 16);
    words.extend((0..len).map(|_| script.word()));
}

/// The number of a command, the kind of its object, and its words.
type Command<'a> = (u8, u8, &'a [u32]);

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

/// A slot: of which sub context, which command fills it, and of which stage and number it is.
type Slot = (u32, u8, u32, u32);

/// The shader whose text is not whole: its number and stage, how many words there are, how many there will be.
type Unfinished = (u32, u32, u64, u64);

/// What a context has.
#[derive(Default)]
struct Model {
    subs: BTreeSet<u32>,
    current: u32,
    unfinished: Option<Unfinished>,
    slots: BTreeMap<Slot, u32>,
}

impl Model {
    /// One more command: whether it keeps the bounds.
    fn command(&mut self, (number, kind, body): &Command<'_>, textures: &Made) -> bool {
        match *number {
            RESOURCE_CREATE => false,
            // Of both boxes, how many layers.
            BLIT => [11, 20].iter().all(|at| body.get(*at).is_none_or(|layers| *layers < 4096)),
            CREATE_SUB_CTX => body.first().is_some_and(|sub| {
                if *sub != 0 && self.subs.insert(*sub) {
                    self.current = *sub;
                }
                self.subs.len() <= MAX_SUB_CONTEXTS
            }),
            DESTROY_SUB_CTX => body.first().is_some_and(|sub| {
                if self.subs.remove(sub) {
                    self.slots.retain(|slot, _| slot.0 != *sub);
                    self.current = if self.current == *sub { 0 } else { self.current };
                }
                true
            }),
            SET_SUB_CTX => body.first().is_some_and(|sub| {
                if *sub == 0 || self.subs.contains(sub) {
                    self.current = *sub;
                }
                true
            }),
            CREATE_OBJECT if u32::from(*kind) == SHADER => self.shader(body),
            BIND_SHADER => body.first().is_none_or(|handle| self.may_use(*handle)),
            LINK_SHADER => body.iter().all(|handle| self.may_use(*handle)),
            SET_SHADER_IMAGES if body.iter().skip(2).step_by(5).any(|format| *format >= 300) => false,
            SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS | SET_SHADER_IMAGES | SET_ATOMIC_BUFFERS => {
                self.fill(*number, body)
            }
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

    fn may_use(&self, handle: u32) -> bool {
        self.unfinished.is_none_or(|(unfinished, ..)| unfinished != handle)
    }

    fn shader(&mut self, body: &[u32]) -> bool {
        let &[handle, stage, length, _, outputs, ref rest @ ..] = body else { return false };
        let streamed = if stage == 5 || outputs == 0 { 0 } else { 4 + 2 * u64::from(outputs) };
        let Some(text) = (rest.len() as u64).checked_sub(streamed) else { return false };
        let bytes = u64::from(length & 0x7fff_ffff);
        match (length >> 31 == 1, self.unfinished) {
            (false, None) => {
                let whole = bytes.div_ceil(4);
                self.unfinished = (whole > text).then_some((handle, stage, text, whole));
                true
            }
            (true, Some((of, at, there, whole))) if (of, at, there * 4) == (handle, stage, bytes) => {
                let now = there + text;
                self.unfinished = (now < whole).then_some((handle, stage, now, whole));
                text > 0 && now <= whole
            }
            _ => false,
        }
    }

    fn fill(&mut self, number: u8, body: &[u32]) -> bool {
        let (stage, body) = match body.split_first() {
            Some((stage, rest)) if number != SET_ATOMIC_BUFFERS => (*stage, rest),
            _ => (0, body),
        };
        let Some((first, body)) = body.split_first() else { return true };
        let words = if number == SET_SHADER_IMAGES { 5 } else { 3 };
        (u64::from(*first)..).zip(body.chunks_exact(words)).all(|(slot, body)| {
            let is_there = stage < 6 && slot < 32;
            if is_there {
                self.slots.insert((self.current, number, stage, slot as u32), body[words - 1]);
            }
            is_there
        })
    }

    /// Each texture goes.
    fn all_go(&self, context: &mut Context) {
        let textures: BTreeSet<u32> = self.slots.values().copied().filter(|texture| *texture != 0).collect();
        for texture in textures {
            let mut slots: BTreeSet<Slot> =
                self.slots.iter().filter(|(_, there)| **there == texture).map(|(slot, _)| *slot).collect();
            let (pairs, len) = context.release(texture);
            let mut words: Vec<u32> = pairs.iter().flat_map(|pair| [*pair as u32, (*pair >> 32) as u32]).collect();
            words.truncate(len as usize);
            let mut sub = None;
            for (number, _, body) in read(&words).expect("whole commands") {
                if number == SET_SUB_CTX {
                    sub = Some(body[0]);
                    continue;
                }
                let (stage, rest) = if number == SET_ATOMIC_BUFFERS { (0, body) } else { (body[0], &body[1..]) };
                let slot = (sub.expect("of a sub context"), number, stage, rest[0]);
                assert!(slots.remove(&slot), "{slot:?} has another");
                let len = if number == SET_SHADER_IMAGES { 5 } else { 3 };
                assert_eq!(rest[1..], vec![0; len], "it is emptied");
            }
            assert_eq!(slots, BTreeSet::new(), "{texture} stays there");
            assert_eq!(sub, Some(self.current), "the current one is as before");
            assert_eq!(context.release(texture), (vec![], 0), "once is enough");
        }
    }
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
