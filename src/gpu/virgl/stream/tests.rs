use super::subs::MAX_SUB_CONTEXTS;
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

fn check_after(context: Context, words: &[u32]) -> Result<Context, Refused> {
    let pair = |pair: &[u32]| {
        let [a, b, c, d] = pair.first().unwrap().to_ne_bytes();
        let [e, f, g, h] = pair.get(1).copied().unwrap_or(0).to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let pairs: Vec<u64> = words.chunks(2).map(pair).collect();
    check(&pairs, words.len() as u32, &Five, context)
}

fn passes(words: &[u32]) -> bool {
    check_after(Context::default(), words).is_ok()
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
    assert_eq!(check(&[0; 2], 5, &Five, Context::default()), Err(Refused), "more than there are");
    assert_eq!(check(&[0; 2], u32::MAX, &Five, Context::default()), Err(Refused));
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
    let full = check_after(Context::default(), &most).unwrap();
    let there = |known: Result<Context, Refused>| {
        known.map(|Context { mut subs, .. }| {
            subs.begin();
            subs
        })
    };
    let same = there(Ok(full));
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
    let one = check_after(Context::default(), &create(1)).unwrap();
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

/// A part of a shader's text, of so many words. `length` is of the whole text, or where this part begins.
fn part(handle: u32, length: u32, words: usize) -> Vec<u32> {
    let mut stream = command(CREATE_OBJECT, &[&[handle, 1, length, 100, 0][..], &vec![0x4141_4141; words]].concat());
    stream[0] |= SHADER << 8;
    stream
}

fn continued(handle: u32, from: u32, words: usize) -> Vec<u32> {
    part(handle, 1 << 31 | from, words)
}

fn bind(handle: u32) -> Vec<u32> {
    command(BIND_SHADER, &[handle, 1])
}

#[test]
fn shaders_are_used_once_their_text_is_whole() {
    let link = |handle| command(LINK_SHADER, &[0, 0, handle, 0, 0, 0]);
    assert!(passes(&[part(7, 40, 10), bind(7), link(7)].concat()), "in one part");
    assert!(passes(&[part(7, 37, 10), bind(7)].concat()), "the last word is not full");
    assert!(passes(&[part(7, 40, 11), bind(7)].concat()), "there may be more");
    let open = check_after(Context::default(), &part(7, 41, 10)).unwrap();
    for early in [bind(7), link(7), part(8, 4, 1), part(7, 4, 1)] {
        assert_eq!(check_after(open, &early), Err(Refused), "{early:?}");
    }
    let other = [bind(0), bind(8), link(8), command(8, &[0; 12]), command(CREATE_OBJECT, &[7; 5])].concat();
    let open = check_after(open, &other).unwrap();
    let whole = check_after(open, &continued(7, 40, 1)).unwrap();
    assert!(check_after(whole, &[bind(7), link(7), part(7, 4, 1)].concat()).is_ok());
    let thrice = [part(7, 41, 0), continued(7, 0, 5), continued(7, 20, 6)].concat();
    assert!(passes(&[&thrice[..], &bind(7)].concat()));
}

#[test]
fn parts_of_a_text_come_in_turn() {
    let open = check_after(Context::default(), &part(7, 80, 10)).unwrap();
    for wrong in [
        continued(7, 40, 0),
        continued(7, 40, 11),
        continued(7, 36, 10),
        continued(7, 44, 9),
        continued(7, 0, 10),
        continued(8, 40, 10),
    ] {
        assert_eq!(check_after(open, &wrong), Err(Refused), "{wrong:?}");
    }
    let mut other_stage = continued(7, 40, 10);
    other_stage[2] = 0;
    assert_eq!(check_after(open, &other_stage), Err(Refused));
    let whole = check_after(open, &continued(7, 40, 10)).unwrap();
    for late in [continued(7, 80, 0), continued(7, 80, 1), continued(7, 0, 0)] {
        assert_eq!(check_after(whole, &late), Err(Refused), "{late:?}");
        assert!(!passes(&late));
    }
}

#[test]
fn a_text_begins_behind_all_of_its_header() {
    let with = |stage: u32, outputs: u32, words: usize| {
        let mut stream = part(7, 40, words);
        (stream[2], stream[5]) = (stage, outputs);
        [stream, bind(7)].concat()
    };
    assert!(passes(&with(0, 3, 10 + 4 + 6)) && !passes(&with(0, 3, 10 + 4 + 5)));
    assert!(passes(&with(5, 3, 10)), "computations have their memory's size there");
    for absurd in [u32::MAX, 1 << 31, 0x7fff_ffff, 100] {
        assert!(!passes(&with(0, absurd, 10)), "{absurd:#x}");
    }
    for len in 0..5 {
        let mut short = command(CREATE_OBJECT, &[7, 0, 0, 0, 0][..len]);
        short[0] |= SHADER << 8;
        assert!(!passes(&short), "{len}");
    }
}

#[test]
fn after_a_stream_that_failed_with_a_part_of_a_text_no_more_shaders_are_used() {
    let open = check_after(Context::default(), &part(7, 80, 10)).unwrap();
    let whole = check_after(open, &continued(7, 40, 10)).unwrap();
    for failed in [open, whole] {
        let lost = failed.after_failure();
        assert_eq!(check_after(lost, &bind(7)), Err(Refused));
        assert_eq!(check_after(lost, &bind(8)), Err(Refused));
        assert!(check_after(lost, &bind(0)).is_ok(), "none is no shader");
        let later = check_after(lost, &[0]).unwrap().after_failure();
        assert_eq!(check_after(later, &bind(7)), Err(Refused), "for good");
    }
    let known = check_after(whole, &[bind(7), part(8, 4, 1)].concat()).unwrap().after_failure();
    assert!(check_after(known, &bind(7)).is_ok());
}
