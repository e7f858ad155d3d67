//! What streams put into the slots of shaders: uniform buffers, shader buffers, images and atomic counters. No I/O.
//!
//! The library keeps a bare pointer there, and uses it after the texture was freed (0.10.4; public as Chromium's issue
//! 40064228). So a texture is taken out of all slots before it goes. Which ones those are is kept here.

use super::subs::SubContexts;
use super::words::{Commands, Words};
use super::{
    CREATE_SUB_CTX, DESTROY_SUB_CTX, SET_ATOMIC_BUFFERS, SET_SHADER_BUFFERS, SET_SHADER_IMAGES, SET_SUB_CTX,
    SET_UNIFORM_BUFFER,
};

/// Stages of shaders, and slots of a stage: no version has more of either.
const STAGES: u32 = 6;
const SLOTS: u32 = 32;

/// All slots of a sub context: of each kind those of each stage.
const ALL: u32 = COUNT * STAGES * SLOTS;

/// A command that fills slots.
#[derive(Clone, Copy, Debug)]
struct Kind {
    command: u32,
    /// Whether a stage comes first, and then the first slot; or that alone, for there is one stage.
    has_stage: bool,
    /// Words for each slot, the last of which is the texture.
    words: u32,
}

/// How many kinds there are.
const COUNT: u32 = 4;
const KINDS: [Kind; COUNT as usize] = [
    Kind { command: SET_UNIFORM_BUFFER, has_stage: true, words: 3 },
    Kind { command: SET_SHADER_BUFFERS, has_stage: true, words: 3 },
    Kind { command: SET_SHADER_IMAGES, has_stage: true, words: 5 },
    Kind { command: SET_ATOMIC_BUFFERS, has_stage: false, words: 3 },
];

impl Kind {
    /// Words before the first slot's.
    fn head(self) -> u32 {
        1 + u32::from(self.has_stage)
    }
}

/// The slots that a command fills: their places among all, and the textures. A place is `None` where there is no such slot.
fn filled(command: u32, body: Words<'_>) -> impl Iterator<Item = (Option<u32>, u32)> {
    let kind = (0..).zip(KINDS).find(|(_, kind)| kind.command == command);
    kind.into_iter().flat_map(move |(number, kind)| {
        let word = move |place: u32| body.get(place as usize).unwrap_or(0);
        let stage = if kind.has_stage { word(0) } else { 0 };
        let first = word(kind.head() - 1);
        let words = (kind.head()..).step_by(kind.words as usize).zip(0..);
        let there = words.take_while(move |(begin, _)| ((begin + kind.words) as usize) <= body.len());
        there.map(move |(begin, index)| {
            let slot = first.checked_add(index).filter(|slot| *slot < SLOTS && stage < STAGES);
            (slot.map(|slot| (number * STAGES + stage) * SLOTS + slot), word(begin + kind.words - 1))
        })
    })
}

/// Whether a command fills slots, and only such as there are, if it does.
pub fn are_there(command: u32, body: Words<'_>) -> bool {
    filled(command, body).all(|(place, _)| place.is_some())
}

/// The command that empties a slot.
fn emptying(place: u32) -> impl Iterator<Item = u32> {
    let (kind, stage, slot) = (place / SLOTS / STAGES, place / SLOTS % STAGES, place % SLOTS);
    KINDS.get(kind as usize).into_iter().flat_map(move |kind| {
        let head = kind.command | (kind.head() + kind.words) << 16;
        let stage = kind.has_stage.then_some(stage);
        std::iter::once(head).chain(stage).chain([slot]).chain(std::iter::repeat_n(0, kind.words as usize))
    })
}

/// What is in the slots of a context.
#[derive(Debug, Default)]
pub struct Slots {
    subs: Vec<Sub>,
    /// Whether it is not known any more, for the library took but a part of a stream.
    in_doubt: bool,
}

/// The slots of a sub context: the textures' numbers, 0 where there is none.
#[derive(Debug)]
struct Sub {
    number: u32,
    textures: Box<[u32]>,
}

impl Slots {
    /// The library did a stream of these commands, which were seen through; before it there were `subs`.
    pub fn follow(&mut self, commands: Commands<'_>, mut subs: SubContexts) {
        for (head, body) in commands.flatten() {
            match head & 0xff {
                command @ (SET_SUB_CTX | CREATE_SUB_CTX | DESTROY_SUB_CTX) => {
                    // One too many was refused before.
                    let _ = subs.take(command, body.get(0).unwrap_or(0));
                    self.subs.retain(|sub| subs.has(sub.number));
                }
                command => {
                    for (place, texture) in filled(command, body) {
                        self.put(subs.current(), place, texture);
                    }
                }
            }
        }
    }

    fn put(&mut self, number: u32, place: Option<u32>, texture: u32) {
        let known = self.subs.iter().position(|sub| sub.number == number);
        if known.is_none() && texture == 0 {
            return;
        }
        let known = known.unwrap_or_else(|| {
            self.subs.push(Sub { number, textures: vec![0; ALL as usize].into() });
            self.subs.len() - 1
        });
        let sub = self.subs.get_mut(known);
        if let Some(there) = sub.zip(place).and_then(|(sub, place)| sub.textures.get_mut(place as usize)) {
            *there = texture;
        }
    }

    /// The library may have done a part of a stream.
    pub fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// The commands that take a texture out of all slots, for the library alone; none where it is in no slot. In doubt they
    /// empty all slots of `subs`, which are those that there are.
    pub fn release(&mut self, texture: u32, subs: &SubContexts) -> Vec<u32> {
        let mut words = Vec::new();
        let mut empty = |number, places: &mut dyn Iterator<Item = u32>| {
            let mut places = places.peekable();
            if places.peek().is_some() {
                words.extend([SET_SUB_CTX | 1 << 16, number]);
            }
            words.extend(places.flat_map(emptying));
        };
        if std::mem::take(&mut self.in_doubt) {
            self.subs.clear();
            subs.iter().for_each(|number| empty(number, &mut (0..ALL)));
        }
        for Sub { number, textures } in &mut self.subs {
            let there = (0..).zip(textures.iter_mut()).filter(|(_, there)| **there == texture);
            empty(
                *number,
                &mut there.map(|(place, there)| {
                    *there = 0;
                    place
                }),
            );
        }
        if !words.is_empty() {
            words.extend([SET_SUB_CTX | 1 << 16, subs.current()]);
        }
        words
    }
}
