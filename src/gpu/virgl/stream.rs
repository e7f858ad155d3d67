//! What SUBMIT_3D carries, seen through before the library has it. No I/O.
//!
//! A stream is of commands: a word (the command's number, a kind of object, how many words follow) and these words, by
//! virglrenderer's `virgl_protocol.h`. Most of them are the library's to judge. But transfers in a stream end in the same
//! code as those of TRANSFER_TO_HOST_3D, so they are held to the same bounds; a command that makes textures that nobody
//! counts is not for a guest without blobs of the host; and so are sub contexts counted, each of which is an OpenGL context.
//! No shader is used of whose text a part is missing, and no texture goes that is still in a slot of theirs.
//! A stream that is cut off in a command is none either: the library does what is before, and says that all is well.

mod shaders;
mod slots;
mod subs;
mod words;

use self::shaders::Shaders;
use self::slots::Slots;
pub use self::subs::MAX_SUB_CONTEXTS;
use self::subs::SubContexts;
use self::words::{Commands, Words};
use super::Refused;
use super::bounds::{self, Known, Reading};
use crate::gpu::command::{Box3d, ResourceId, Transfer3d};

/// `VIRGL_CCMD_*`.
const CREATE_OBJECT: u32 = 1;
const RESOURCE_INLINE_WRITE: u32 = 9;
const BLIT: u32 = 16;
const SET_UNIFORM_BUFFER: u32 = 27;
const SET_SUB_CTX: u32 = 28;
const CREATE_SUB_CTX: u32 = 29;
const DESTROY_SUB_CTX: u32 = 30;
const BIND_SHADER: u32 = 31;
const SET_SHADER_BUFFERS: u32 = 34;
const SET_SHADER_IMAGES: u32 = 35;
const SET_ATOMIC_BUFFERS: u32 = 40;
const TRANSFER3D: u32 = 43;
const COPY_TRANSFER3D: u32 = 45;
const PIPE_RESOURCE_CREATE: u32 = 48;
const LINK_SHADER: u32 = 52;

/// `VIRGL_OBJECT_SHADER`.
const SHADER: u32 = 4;

/// `VIRGL_TRANSFER_TO_HOST`, `VIRGL_TRANSFER_FROM_HOST`.
const TO_HOST: u32 = 1;
const FROM_HOST: u32 = 2;

/// `VIRGL_COPY_TRANSFER3D_FLAGS_READ_FROM_HOST`.
const READ_FROM_HOST: u32 = 1 << 1;

/// Of a BLIT, which the library does layer by layer: no texture has as many.
const LAYERS: u32 = 1 << 12;
/// The library looks formats of image views up without a look at how many it knows, which in no version are as many.
const FORMATS: u32 = 300;

/// The textures that there are.
pub trait Textures {
    /// What is known of the one of that number; `None` where there is none.
    fn known(&self, id: u32) -> Option<Known>;

    /// Bytes of a row of its first level, which the library is asked for.
    fn stride(&self, id: u32) -> Option<u32>;
}

/// What is known of a context by the streams that it was given.
#[derive(Debug, Default)]
pub struct Context {
    state: State,
    slots: Slots,
}

/// What the next stream finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    subs: SubContexts,
    shaders: Shaders,
    /// Whether it is not known any more what it finds.
    is_lost: bool,
}

/// A stream that may be given to the library, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    words: usize,
    after: State,
    /// Whether it makes, ends or changes sub contexts, or has parts of shaders: if the library does but a part of it, nobody
    /// knows which of these there are, and which one commands are for.
    is_fragile: bool,
    /// Whether it fills slots, or ends sub contexts.
    fills: bool,
}

impl Context {
    /// Sees whether the library may be given the first `dwords` words of `commands`.
    ///
    /// # Errors
    /// They are not as many, or a command is not to be; or a stream before failed in such a way that no other one is.
    pub fn check(&self, commands: &[u64], dwords: u32, textures: &dyn Textures) -> Result<Checked, Refused> {
        if self.state.is_lost {
            return Err(Refused);
        }
        let len = usize::try_from(dwords).map_err(|_| Refused)?;
        let words = Words::new(commands, len).ok_or(Refused)?;
        let mut checked = Checked { words: len, after: self.state, is_fragile: false, fills: false };
        for command in Commands::new(words) {
            let (head, body) = command?;
            checked.command(head, body, textures)?;
        }
        Ok(checked)
    }

    /// The library did the stream that was checked last, of these commands.
    pub fn follow(&mut self, stream: Checked, commands: &[u64]) {
        if stream.fills
            && let Some(words) = Words::new(commands, stream.words)
        {
            self.slots.follow(Commands::new(words), self.state.subs);
        }
        self.state = stream.after;
    }

    /// The library refused it, maybe after it had done a part.
    pub fn doubt(&mut self, stream: Checked) {
        if stream.fills {
            self.slots.doubt();
        }
        self.state.is_lost |= stream.is_fragile;
    }

    /// The commands that the library is to do before a texture goes, without a check, and how many words they are.
    pub fn release(&mut self, texture: u32) -> (Vec<u64>, u32) {
        words::in_pairs(&self.slots.release(texture, &self.state.subs))
    }
}

impl Checked {
    /// One more command.
    fn command(&mut self, head: u32, body: Words<'_>, textures: &dyn Textures) -> Result<(), Refused> {
        let Self { after: State { subs, shaders, .. }, is_fragile, fills, .. } = self;
        let is_harmless = match head & 0xff {
            PIPE_RESOURCE_CREATE => false,
            // The depths of both boxes.
            BLIT => [11, 20].into_iter().all(|depth| body.get(depth).is_none_or(|depth| depth < LAYERS)),
            command @ (SET_SUB_CTX | CREATE_SUB_CTX | DESTROY_SUB_CTX) => {
                let before = *subs;
                subs.take(command, body.get(0).ok_or(Refused)?)?;
                *is_fragile |= before != *subs;
                *fills |= command == DESTROY_SUB_CTX;
                true
            }
            CREATE_OBJECT if head >> 8 & 0xff == SHADER => {
                let before = *shaders;
                shaders.create(body)?;
                *is_fragile |= before != *shaders;
                true
            }
            // What follows is the stage.
            BIND_SHADER => body.iter().take(1).all(|handle| shaders.may_use(handle)),
            LINK_SHADER => body.iter().all(|handle| shaders.may_use(handle)),
            // After two words, five of each image: the format first.
            SET_SHADER_IMAGES if (2..body.len()).step_by(5).any(|at| body.get(at).is_none_or(|of| of >= FORMATS)) => {
                false
            }
            command @ (SET_UNIFORM_BUFFER | SET_SHADER_BUFFERS | SET_SHADER_IMAGES | SET_ATOMIC_BUFFERS) => {
                *fills = true;
                slots::are_there(command, body)
            }
            command @ (RESOURCE_INLINE_WRITE | TRANSFER3D | COPY_TRANSFER3D) => {
                is_within(command, body, textures).unwrap_or(false)
            }
            _ => true,
        };
        if is_harmless { Ok(()) } else { Err(Refused) }
    }
}

/// Whether a transfer lies within its texture, and reads what it writes. `None` where words are missing, or a texture.
fn is_within(command: u32, body: Words<'_>, textures: &dyn Textures) -> Option<bool> {
    let (offset, reads) = match command {
        TRANSFER3D => match body.get(12)? {
            TO_HOST => (body.get(11)?, false),
            FROM_HOST => (body.get(11)?, true),
            _ => return None,
        },
        COPY_TRANSFER3D => {
            // The other end is the backing of this one. The library sees to it that it has one.
            textures.known(body.get(11)?)?;
            (body.get(12)?, body.get(13)? & READ_FROM_HOST != 0)
        }
        // Its pixels follow.
        _ => (0, false),
    };
    let id = body.get(0)?;
    // The third word, of how it is used, is not looked at by the library.
    let transfer = Transfer3d {
        resource_id: ResourceId(id),
        level: body.get(1)?,
        stride: body.get(3)?,
        layer_stride: body.get(4)?,
        region: Box3d {
            x: body.get(5)?,
            y: body.get(6)?,
            z: body.get(7)?,
            width: body.get(8)?,
            height: body.get(9)?,
            depth: body.get(10)?,
        },
        offset: offset.into(),
    };
    let known = textures.known(id)?;
    let is_sane = bounds::is_sane(&known, &transfer, None) || bounds::is_sane(&known, &transfer, textures.stride(id));
    // Nobody takes it apart into layers here.
    let is_read = || bounds::reading(&known.made, &transfer, None) == Some(Reading::Whole);
    Some(is_sane && (!reads || is_read()))
}

#[cfg(test)]
mod tests;
