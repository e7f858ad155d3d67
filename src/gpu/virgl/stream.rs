//! What SUBMIT_3D carries, seen through before the library has it. No I/O.
//!
//! A stream is of commands: a word (the command's number, a kind of object, how many words follow) and these words, by
//! virglrenderer's `virgl_protocol.h`. Most of them are the library's to judge. But transfers in a stream end in the same
//! code as those of TRANSFER_TO_HOST_3D, so they are held to the same bounds; a command that makes textures that nobody
//! counts is not for a guest without blobs of the host; and so are sub contexts counted, each of which is an OpenGL context.
//! A stream that is cut off in a command is none either: the library does what is before, and says that all is well.

use super::Refused;
use super::bounds::{self, Known, Reading};
use crate::gpu::command::{Box3d, ResourceId, Transfer3d};

/// `VIRGL_CCMD_*`.
const RESOURCE_INLINE_WRITE: u32 = 9;
const BLIT: u32 = 16;
const CREATE_SUB_CTX: u32 = 29;
const DESTROY_SUB_CTX: u32 = 30;
const SET_SHADER_IMAGES: u32 = 35;
const TRANSFER3D: u32 = 43;
const COPY_TRANSFER3D: u32 = 45;
const PIPE_RESOURCE_CREATE: u32 = 48;

/// `VIRGL_TRANSFER_TO_HOST`, `VIRGL_TRANSFER_FROM_HOST`.
const TO_HOST: u32 = 1;
const FROM_HOST: u32 = 2;

/// `VIRGL_COPY_TRANSFER3D_FLAGS_READ_FROM_HOST`.
const READ_FROM_HOST: u32 = 1 << 1;

/// Of a BLIT, which the library does layer by layer: no texture has as many.
const LAYERS: u32 = 1 << 12;
/// The library looks formats of image views up without a look at how many it knows, which in no version are as many.
const FORMATS: u32 = 300;

/// Sub contexts of a context beside its first one: Mesa makes one or two, and each takes megabytes.
pub const MAX_SUB_CONTEXTS: usize = 16;

/// The textures that there are.
pub trait Textures {
    /// What is known of the one of that number; `None` where there is none.
    fn known(&self, id: u32) -> Option<Known>;

    /// Bytes of a row of its first level, which the library is asked for.
    fn stride(&self, id: u32) -> Option<u32>;
}

/// The sub contexts of a context, beside number 0, which is there from the beginning to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubContexts {
    /// Their numbers; 0 where there is room for one.
    numbers: [u32; MAX_SUB_CONTEXTS],
    /// Whether the stream that was seen last makes or ends some.
    changed: bool,
    /// Whether it is not known any more which there are.
    lost: bool,
}

impl SubContexts {
    /// Those that are there when the library took a part of that stream: if it changes them, nobody knows, and the context
    /// makes no more.
    pub fn after_failure(self) -> Self {
        Self { lost: self.lost || self.changed, ..self }
    }

    fn create(&mut self, number: u32) -> Result<(), Refused> {
        if self.lost {
            return Err(Refused);
        }
        // The library passes over one that is there.
        if number != 0 && !self.numbers.contains(&number) {
            let free = self.numbers.iter_mut().find(|taken| **taken == 0).ok_or(Refused)?;
            *free = number;
            self.changed = true;
        }
        Ok(())
    }

    fn destroy(&mut self, number: u32) {
        if let Some(taken) = self.numbers.iter_mut().find(|taken| number != 0 && **taken == number) {
            *taken = 0;
            self.changed = true;
        }
    }
}

/// Words of 32 bits that lie in pairs.
#[derive(Clone, Copy, Debug)]
struct Words<'a> {
    pairs: &'a [u64],
    start: usize,
    len: usize,
}

impl<'a> Words<'a> {
    /// The first `len` of `pairs`; `None` where there are fewer.
    fn new(pairs: &'a [u64], len: usize) -> Option<Self> {
        (len.div_ceil(2) <= pairs.len()).then_some(Self { pairs, start: 0, len })
    }

    /// `len` of them, from `start` on.
    fn part(self, start: usize, len: usize) -> Option<Self> {
        let fits = start.checked_add(len)? <= self.len;
        fits.then_some(Self { start: self.start.checked_add(start)?, len, ..self })
    }

    fn get(self, place: usize) -> Option<u32> {
        if place >= self.len {
            return None;
        }
        let place = self.start.checked_add(place)?;
        let [a, b, c, d, e, f, g, h] = self.pairs.get(place / 2)?.to_ne_bytes();
        Some(u32::from_ne_bytes(if place.is_multiple_of(2) { [a, b, c, d] } else { [e, f, g, h] }))
    }
}

/// Sees whether the library may be given the first `dwords` words of `commands`. The answer is the sub contexts that there
/// are after them.
///
/// # Errors
/// They are not as many, or a command is not to be.
pub fn check(
    commands: &[u64],
    dwords: u32,
    textures: &dyn Textures,
    mut subs: SubContexts,
) -> Result<SubContexts, Refused> {
    let words = usize::try_from(dwords).ok().and_then(|dwords| Words::new(commands, dwords)).ok_or(Refused)?;
    subs.changed = false;
    let mut place = 0_usize;
    while let Some(head) = words.get(place) {
        let body = words.part(place.saturating_add(1), (head >> 16) as usize).ok_or(Refused)?;
        place = place.saturating_add(1).saturating_add(body.len);
        match head & 0xff {
            PIPE_RESOURCE_CREATE => return Err(Refused),
            // The depths of both boxes.
            BLIT if [11, 20].into_iter().any(|depth| body.get(depth).is_some_and(|depth| depth >= LAYERS)) => {
                return Err(Refused);
            }
            // After two words, five of each image: the format first.
            SET_SHADER_IMAGES if (2..body.len).step_by(5).any(|at| body.get(at).is_none_or(|of| of >= FORMATS)) => {
                return Err(Refused);
            }
            CREATE_SUB_CTX => subs.create(body.get(0).ok_or(Refused)?)?,
            DESTROY_SUB_CTX => subs.destroy(body.get(0).ok_or(Refused)?),
            command @ (RESOURCE_INLINE_WRITE | TRANSFER3D | COPY_TRANSFER3D) => {
                let harmless = is_harmless(command, body, textures).unwrap_or(false);
                if !harmless {
                    return Err(Refused);
                }
            }
            _ => {}
        }
    }
    Ok(subs)
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
mod tests {
    use super::*;
    use crate::gpu::command::Create3d;

    /// A picture of 16 by 8, an array of 3 of them, one of 4 samples a texel, one of 4 GiB by the largest texels; a buffer.
    const PICTURE: u32 = 1;
    const ARRAY: u32 = 2;
    const SAMPLES: u32 = 3;
    const LARGE: u32 = 4;
    const BUFFER: u32 = 5;
    const NONE: u32 = 9;

    struct Five;

    impl Textures for Five {
        fn known(&self, id: u32) -> Option<Known> {
            let plain = Create3d {
                resource_id: ResourceId(id),
                target: 2,
                format: 1,
                bind: 10,
                width: 16,
                height: 8,
                depth: 1,
                array_size: 1,
                last_level: 0,
                nr_samples: 0,
                flags: 0,
            };
            let made = match id {
                PICTURE => plain,
                ARRAY => Create3d { target: 7, array_size: 3, ..plain },
                SAMPLES => Create3d { nr_samples: 4, ..plain },
                LARGE => Create3d { width: 16384, height: 16384, ..plain },
                BUFFER => Create3d { target: 0, width: 4096, height: 1, bind: 16, ..plain },
                _ => return None,
            };
            Some(Known { made, backing: 65536 })
        }

        fn stride(&self, id: u32) -> Option<u32> {
            Some(self.known(id)?.made.width * 4)
        }
    }

    fn head(command: u32, len: usize) -> u32 {
        command | (len as u32) << 16
    }

    fn command(number: u32, body: &[u32]) -> Vec<u32> {
        [&[head(number, body.len())], body].concat()
    }

    /// The words that all transfers begin with.
    fn region(texture: u32, region: [u32; 6]) -> Vec<u32> {
        [&[texture, 0, 0, 0, 0][..], &region].concat()
    }

    fn transfer(texture: u32, at: [u32; 6], direction: u32) -> Vec<u32> {
        command(TRANSFER3D, &[region(texture, at), vec![0, direction]].concat())
    }

    fn copy(texture: u32, at: [u32; 6], other: u32, flags: u32) -> Vec<u32> {
        command(COPY_TRANSFER3D, &[region(texture, at), vec![other, 0, flags]].concat())
    }

    fn inline(texture: u32, at: [u32; 6]) -> Vec<u32> {
        command(RESOURCE_INLINE_WRITE, &[region(texture, at), vec![7; 16]].concat())
    }

    fn check_after(subs: SubContexts, words: &[u32]) -> Result<SubContexts, Refused> {
        let pair = |pair: &[u32]| {
            let [a, b, c, d] = pair.first().unwrap().to_ne_bytes();
            let [e, f, g, h] = pair.get(1).copied().unwrap_or(0).to_ne_bytes();
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        };
        let pairs: Vec<u64> = words.chunks(2).map(pair).collect();
        check(&pairs, words.len() as u32, &Five, subs)
    }

    fn passes(words: &[u32]) -> bool {
        check_after(SubContexts::default(), words).is_ok()
    }

    #[test]
    fn commands_that_are_the_librarys_to_judge_pass_whatever_their_words_are() {
        assert!(passes(&[]));
        assert!(passes(&[0, 0, 0]));
        for number in (0..=255).filter(|number| ![9, 29, 30, 35, 43, 45, 48].contains(number)) {
            assert!(passes(&[command(number, &[u32::MAX; 5]), command(number, &[])].concat()), "{number}");
        }
        assert!(passes(&command(7, &vec![48; 0xffff])), "words of a command are no commands");
    }

    #[test]
    fn a_stream_that_ends_within_a_command_is_refused() {
        let whole = [command(7, &[1, 2, 3]), command(0, &[4; 4])].concat();
        let ends: Vec<usize> = (0..=whole.len()).filter(|len| passes(&whole[..*len])).collect();
        assert_eq!(ends, [0, 4, 9]);
        assert!(!passes(&[head(0, 0xffff)]));
        assert_eq!(check(&[0; 2], 5, &Five, SubContexts::default()), Err(Refused), "more than there are");
        assert_eq!(check(&[0; 2], u32::MAX, &Five, SubContexts::default()), Err(Refused));
    }

    #[test]
    fn nothing_is_made_that_nobody_counts() {
        assert!(!passes(&command(PIPE_RESOURCE_CREATE, &[2, 1, 2, 4, 4, 1, 1, 0, 0, 0, 7])));
        assert!(!passes(&[command(0, &[]), command(PIPE_RESOURCE_CREATE, &[])].concat()), "and not behind others");
    }

    #[test]
    fn transfers_lie_within_their_textures() {
        let whole = [0, 0, 0, 16, 8, 1];
        for (within, at) in [
            (true, whole),
            (true, [15, 7, 0, 1, 1, 1]),
            (false, [1, 0, 0, 16, 8, 1]),
            (false, [0, 1, 0, 16, 8, 1]),
            (false, [0, 0, 1, 16, 8, 1]),
            (false, [0, 0, u32::MAX, 16, 8, 1]),
            (false, [0, 0, 0, 16, 8, 2]),
            (false, [0, 0, 0, u32::MAX, 8, 1]),
        ] {
            for stream in [
                transfer(PICTURE, at, TO_HOST),
                transfer(PICTURE, at, FROM_HOST),
                copy(PICTURE, at, BUFFER, 0),
                copy(PICTURE, at, BUFFER, READ_FROM_HOST),
                inline(PICTURE, at),
            ] {
                assert_eq!(passes(&stream), within, "{at:?}: {stream:?}");
            }
        }
        let bytes = [4000, 0, 0, 96, 1, 1];
        assert!(passes(&transfer(BUFFER, bytes, TO_HOST)) && passes(&inline(BUFFER, bytes)));
        let large = [0, 0, 0, 16384, 16384, 1];
        assert!(passes(&transfer(LARGE, large, TO_HOST)), "its texels are known to be small");
    }

    #[test]
    fn sizes_of_a_transfer_fit_into_32_bits() {
        let mut words = transfer(ARRAY, [0, 0, 0, 16, 8, 3], TO_HOST);
        assert!(passes(&words));
        for (word, absurd) in [(2, 1), (4, 0x2000_0000), (5, 0x8000_0000), (12, u32::MAX)] {
            let usual = std::mem::replace(&mut words[word], absurd);
            assert!(!passes(&words), "{word}");
            words[word] = usual;
        }
    }

    #[test]
    fn textures_that_are_not_there_are_not_transferred() {
        let whole = [0, 0, 0, 16, 8, 1];
        assert!(!passes(&transfer(NONE, whole, TO_HOST)));
        assert!(!passes(&inline(NONE, whole)));
        assert!(!passes(&copy(NONE, whole, BUFFER, 0)));
        assert!(!passes(&copy(PICTURE, whole, NONE, 0)));
    }

    #[test]
    fn several_layers_or_samples_are_written_but_not_read() {
        let (layers, whole) = ([0, 0, 0, 16, 8, 3], [0, 0, 0, 16, 8, 1]);
        assert!(passes(&transfer(ARRAY, layers, TO_HOST)));
        assert!(passes(&transfer(ARRAY, [0, 0, 2, 16, 8, 1], FROM_HOST)));
        assert!(!passes(&transfer(ARRAY, layers, FROM_HOST)));
        assert!(!passes(&copy(ARRAY, layers, BUFFER, READ_FROM_HOST)));
        assert!(passes(&transfer(SAMPLES, whole, TO_HOST)));
        assert!(!passes(&transfer(SAMPLES, whole, FROM_HOST)));
        assert!(!passes(&copy(SAMPLES, whole, BUFFER, READ_FROM_HOST)));
    }

    #[test]
    fn blits_of_endless_layers_and_images_of_formats_that_nobody_knows_are_refused() {
        let blit = |depths: [u32; 2]| {
            let mut body = [1; 21];
            (body[11], body[20]) = (depths[0], depths[1]);
            command(BLIT, &body)
        };
        assert!(passes(&blit([1, 1])) && passes(&blit([LAYERS - 1, 6])));
        for endless in [LAYERS, 0x1000_0001, u32::MAX] {
            assert!(!passes(&blit([endless, 1])) && !passes(&blit([1, endless])), "{endless:#x}");
        }
        let images = |formats: &[u32]| {
            let all = formats.iter().flat_map(|format| [*format, 1, 0, 0, PICTURE]);
            command(SET_SHADER_IMAGES, &[0, 0].into_iter().chain(all).collect::<Vec<_>>())
        };
        assert!(passes(&images(&[])) && passes(&images(&[1, FORMATS - 1])));
        assert!(!passes(&images(&[FORMATS])) && !passes(&images(&[1, u32::MAX])));
    }

    #[test]
    fn commands_whose_words_are_missing_are_refused() {
        let whole = [0, 0, 0, 16, 8, 1];
        let transfers = [transfer(PICTURE, whole, TO_HOST), copy(PICTURE, whole, BUFFER, 0)];
        for stream in &transfers {
            for len in 0..stream.len() - 1 {
                assert!(!passes(&command(stream[0] & 0xff, &stream[1..=len])), "{len} of {stream:?}");
            }
        }
        assert!(!passes(&command(RESOURCE_INLINE_WRITE, &region(PICTURE, whole)[..10])));
        assert!(!passes(&transfer(PICTURE, whole, 0)) && !passes(&transfer(PICTURE, whole, 3)));
        assert!(!passes(&command(CREATE_SUB_CTX, &[])) && !passes(&command(DESTROY_SUB_CTX, &[])));
    }

    #[test]
    fn a_context_has_so_many_sub_contexts_and_no_more() {
        let create = |number| command(CREATE_SUB_CTX, &[number]);
        let destroy = |number| command(DESTROY_SUB_CTX, &[number]);
        let most: Vec<u32> = (1..=MAX_SUB_CONTEXTS as u32).flat_map(create).collect();
        let full = check_after(SubContexts::default(), &most).unwrap();
        let there = |subs: Result<SubContexts, Refused>| subs.map(|subs| subs.numbers);
        let same = Ok(full.numbers);
        assert_eq!(check_after(full, &create(100)), Err(Refused));
        assert_eq!(there(check_after(full, &create(0))), same, "it is there always");
        assert_eq!(there(check_after(full, &create(3))), same, "it is there already");
        assert_eq!(check_after(full, &[destroy(100), destroy(0), create(100)].concat()), Err(Refused));
        let other = check_after(full, &[destroy(3), create(100)].concat()).unwrap();
        assert_eq!(check_after(other, &create(3)), Err(Refused));
        assert_eq!(there(check_after(other, &[destroy(100), create(3)].concat())), same);
    }

    #[test]
    fn after_a_stream_that_failed_a_context_makes_no_more_sub_contexts_if_that_stream_did() {
        let create = |number| command(CREATE_SUB_CTX, &[number]);
        let destroy = |number| command(DESTROY_SUB_CTX, &[number]);
        let one = check_after(SubContexts::default(), &create(1)).unwrap();
        for changes in [create(2), destroy(1), [destroy(1), create(2), destroy(2), create(1)].concat()] {
            let lost = check_after(one, &changes).unwrap().after_failure();
            assert_eq!(check_after(lost, &create(3)), Err(Refused), "{changes:?}");
            let later = check_after(lost, &[0]).unwrap().after_failure();
            assert_eq!(check_after(later, &create(3)), Err(Refused), "for good");
        }
        for none in [vec![0], create(1), destroy(2)] {
            let known = check_after(one, &none).unwrap().after_failure();
            assert!(check_after(known, &create(3)).is_ok(), "{none:?}");
        }
    }
}
