//! What SUBMIT_3D carries, seen through before the library has it. No I/O.
//!
//! A stream is of commands: a word (the command's number, a kind of object, how many words follow) and these words, by
//! virglrenderer's `virgl_protocol.h`. Most of them are the library's to judge. But transfers in a stream end in the same
//! code as those of TRANSFER_TO_HOST_3D, so they are held to the same bounds; a command that makes textures that nobody
//! counts is not for a guest without blobs of the host; and so are sub contexts counted, each of which is an OpenGL context.
//! No shader is used of whose text a part is missing.
//! A stream that is cut off in a command is none either: the library does what is before, and says that all is well.

mod shaders;
mod subs;
mod words;

use self::shaders::Shaders;
use self::subs::SubContexts;
use self::words::Words;
use super::Refused;
use super::bounds::{self, Known, Reading};
use crate::gpu::command::{Box3d, ResourceId, Transfer3d};

/// `VIRGL_CCMD_*`.
const CREATE_OBJECT: u32 = 1;
const RESOURCE_INLINE_WRITE: u32 = 9;
const BLIT: u32 = 16;
const CREATE_SUB_CTX: u32 = 29;
const DESTROY_SUB_CTX: u32 = 30;
const BIND_SHADER: u32 = 31;
const SET_SHADER_IMAGES: u32 = 35;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    subs: SubContexts,
    shaders: Shaders,
}

impl Context {
    /// What is known when the library took a part of the stream that was seen last.
    pub fn after_failure(self) -> Self {
        Self { subs: self.subs.after_failure(), shaders: self.shaders.after_failure() }
    }
}

/// Sees whether the library may be given the first `dwords` words of `commands`, for a context of which `context` is known.
/// The answer is what is known after them.
///
/// # Errors
/// They are not as many, or a command is not to be.
pub fn check(commands: &[u64], dwords: u32, textures: &dyn Textures, mut context: Context) -> Result<Context, Refused> {
    let words = usize::try_from(dwords).ok().and_then(|dwords| Words::new(commands, dwords)).ok_or(Refused)?;
    context.subs.begin();
    context.shaders.begin();
    let mut place = 0_usize;
    while let Some(head) = words.get(place) {
        let body = words.part(place.saturating_add(1), (head >> 16) as usize).ok_or(Refused)?;
        place = place.saturating_add(1).saturating_add(body.len());
        check_command(head, body, textures, &mut context)?;
    }
    Ok(context)
}

fn check_command(
    head: u32,
    body: Words<'_>,
    textures: &dyn Textures,
    Context { subs, shaders }: &mut Context,
) -> Result<(), Refused> {
    let may_be = match head & 0xff {
        PIPE_RESOURCE_CREATE => false,
        // The depths of both boxes.
        BLIT => [11, 20].into_iter().all(|depth| body.get(depth).is_none_or(|depth| depth < LAYERS)),
        // After two words, five of each image: the format first.
        SET_SHADER_IMAGES => (2..body.len()).step_by(5).all(|at| body.get(at).is_some_and(|of| of < FORMATS)),
        CREATE_SUB_CTX => return subs.create(body.get(0).ok_or(Refused)?),
        DESTROY_SUB_CTX => {
            subs.destroy(body.get(0).ok_or(Refused)?);
            true
        }
        CREATE_OBJECT if head >> 8 & 0xff == SHADER => return shaders.create(body),
        // What follows is the stage.
        BIND_SHADER => return body.iter().take(1).try_for_each(|handle| shaders.use_one(handle)),
        LINK_SHADER => return body.iter().try_for_each(|handle| shaders.use_one(handle)),
        command @ (RESOURCE_INLINE_WRITE | TRANSFER3D | COPY_TRANSFER3D) => {
            is_harmless(command, body, textures).unwrap_or(false)
        }
        _ => true,
    };
    if may_be { Ok(()) } else { Err(Refused) }
}

/// Whether a transfer lies within its texture, and reads what it writes. `None` where words are missing, or a texture.
fn is_harmless(command: u32, body: Words<'_>, textures: &dyn Textures) -> Option<bool> {
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
