//! Shaders whose text comes in several commands, and maybe in several streams. No I/O.
//!
//! Until the last part is there the library has an object without a program under the shader's number, and dereferences
//! nothing where it draws with that (0.10.4); it also looks before the beginning of a part that is empty. So one that is
//! not whole is not used, and its parts are the next ones, in turn. Mesa sends them one after the other.

use super::Refused;
use super::words::Words;

/// `PIPE_SHADER_COMPUTE`.
const COMPUTE: u32 = 5;

/// `VIRGL_OBJ_SHADER_OFFSET_CONT`: the text goes on, from so many bytes on.
const CONTINUED: u32 = 1 << 31;

/// What stands before the text: number, stage, length, tokens, outputs.
const HEADER: usize = 5;
/// What there is in addition where the outputs of a stage go to buffers, and for each of these.
const STRIDES: usize = 4;
const OUTPUT: usize = 2;

/// What is known of the shaders of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shaders {
    unfinished: Option<Unfinished>,
}

/// A shader of which more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unfinished {
    handle: u32,
    stage: u32,
    /// Words that are there, and that there will be.
    there: u32,
    whole: u32,
}

impl Shaders {
    /// The body of a command that makes a shader.
    pub fn create(&mut self, body: Words<'_>) -> Result<(), Refused> {
        self.part(body).ok_or(Refused)
    }

    /// `None` where it is not to be.
    fn part(&mut self, body: Words<'_>) -> Option<()> {
        let [handle, stage, length, _tokens, outputs] = body.first()?;
        // Computations have no outputs, but the size of their memory there.
        let streamed = match usize::try_from(outputs).ok()? {
            0 => 0,
            _ if stage == COMPUTE => 0,
            outputs => outputs.checked_mul(OUTPUT)?.checked_add(STRIDES)?,
        };
        let text = body.len().checked_sub(HEADER.checked_add(streamed)?)?;
        let text = u32::try_from(text).ok()?;
        if length & CONTINUED == 0 {
            if self.unfinished.is_some() {
                return None;
            }
            let whole = length.div_ceil(4);
            if whole > text {
                self.unfinished = Some(Unfinished { handle, stage, there: text, whole });
            }
            return Some(());
        }
        let Unfinished { there, whole, .. } =
            self.unfinished.filter(|open| (open.handle, open.stage) == (handle, stage))?;
        let now = there.checked_add(text).filter(|now| text > 0 && *now <= whole)?;
        if u64::from(length & !CONTINUED) != u64::from(there) * 4 {
            return None;
        }
        self.unfinished = (now < whole).then_some(Unfinished { handle, stage, there: now, whole });
        Some(())
    }

    /// Whether a command may use that one.
    pub fn may_use(&self, handle: u32) -> bool {
        self.unfinished.is_none_or(|open| open.handle != handle)
    }
}
