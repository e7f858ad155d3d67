use super::subs::MAX_SUB_CONTEXTS;
use super::words::in_pairs;
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

fn pairs(words: &[u32]) -> Vec<u64> {
    in_pairs(words).0
}

/// What a context is after a stream, if the library may be given it.
fn after(state: State, words: &[u32]) -> Result<State, Refused> {
    let context = Context { state, ..Context::default() };
    Ok(context.check(&pairs(words), words.len() as u32, &Five)?.after)
}

/// What it is after the library refused a stream.
fn after_failure(state: State, words: &[u32]) -> State {
    let mut context = Context { state, ..Context::default() };
    let stream = context.check(&pairs(words), words.len() as u32, &Five).unwrap();
    context.doubt(stream);
    context.state
}

fn passes(words: &[u32]) -> bool {
    after(State::default(), words).is_ok()
}

#[test]
fn commands_that_are_the_librarys_to_judge_pass_whatever_their_words_are() {
    assert!(passes(&[]));
    assert!(passes(&[0, 0, 0]));
    for number in (0..=255).filter(|number| ![9, 27, 28, 29, 30, 34, 35, 40, 43, 45, 48].contains(number)) {
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
    for more in [5, u32::MAX] {
        assert!(Context::default().check(&[0; 2], more, &Five).is_err(), "more than there are");
    }
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
    let full = after(State::default(), &most).unwrap();
    let there = |known: Result<State, Refused>| known.map(|State { subs, .. }| subs.iter().collect::<Vec<_>>());
    let same = there(Ok(full));
    assert_eq!(after(full, &create(100)), Err(Refused));
    assert_eq!(there(after(full, &create(0))), same, "it is there always");
    assert_eq!(there(after(full, &create(3))), same, "it is there already");
    assert_eq!(after(full, &[destroy(100), destroy(0), create(100)].concat()), Err(Refused));
    let other = after(full, &[destroy(3), create(100)].concat()).unwrap();
    assert_eq!(after(other, &create(3)), Err(Refused));
    assert_eq!(there(after(other, &[destroy(100), create(3)].concat())), same);
}

#[test]
fn commands_are_for_the_sub_context_that_was_made_or_set_last() {
    let create = |number| command(CREATE_SUB_CTX, &[number]);
    let destroy = |number| command(DESTROY_SUB_CTX, &[number]);
    let set = |number| command(SET_SUB_CTX, &[number]);
    for (current, stream) in [
        (0, vec![]),
        (5, create(5)),
        (6, [create(5), create(6)].concat()),
        (6, [create(5), create(6), create(5), create(0)].concat()),
        (5, [create(5), create(6), set(5)].concat()),
        (0, [create(5), set(0)].concat()),
        (5, [create(5), set(7)].concat()),
        (0, [create(5), create(6), destroy(6)].concat()),
        (6, [create(5), create(6), destroy(5)].concat()),
    ] {
        let state = after(State::default(), &stream).unwrap();
        assert_eq!(state.subs.current(), current, "{stream:?}");
    }
}

#[test]
fn a_context_is_lost_where_nobody_knows_what_a_stream_that_failed_has_left_of_sub_contexts_or_shaders() {
    let create = |number| command(CREATE_SUB_CTX, &[number]);
    let destroy = |number| command(DESTROY_SUB_CTX, &[number]);
    let before = after(State::default(), &[create(1), part(7, 80, 10)].concat()).unwrap();
    for fragile in [
        create(2),
        destroy(1),
        set(0),
        [destroy(1), create(2), destroy(2), create(1)].concat(),
        continued(7, 40, 5),
        continued(7, 40, 10),
        [continued(7, 40, 10), part(8, 8, 1)].concat(),
    ] {
        let lost = after_failure(before, &fragile);
        assert_eq!(after(lost, &[0]), Err(Refused), "{fragile:?}");
    }
    for sturdy in [vec![0], create(1), destroy(2), set(1), set(2), bind(8), command(8, &[0; 12])] {
        assert_eq!(after_failure(before, &sturdy), before, "{sturdy:?}");
    }
    let whole = after(before, &continued(7, 40, 10)).unwrap();
    assert_eq!(after_failure(whole, &part(9, 8, 2)), whole, "in one part");
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
    let open = after(State::default(), &part(7, 41, 10)).unwrap();
    for early in [bind(7), link(7), part(8, 4, 1), part(7, 4, 1)] {
        assert_eq!(after(open, &early), Err(Refused), "{early:?}");
    }
    let other = [bind(0), bind(8), link(8), command(8, &[0; 12]), command(CREATE_OBJECT, &[7; 5])].concat();
    let open = after(open, &other).unwrap();
    let whole = after(open, &continued(7, 40, 1)).unwrap();
    assert!(after(whole, &[bind(7), link(7), part(7, 4, 1)].concat()).is_ok());
    let thrice = [part(7, 41, 0), continued(7, 0, 5), continued(7, 20, 6)].concat();
    assert!(passes(&[&thrice[..], &bind(7)].concat()));
}

#[test]
fn parts_of_a_text_come_in_turn() {
    let open = after(State::default(), &part(7, 80, 10)).unwrap();
    for wrong in [
        continued(7, 40, 0),
        continued(7, 40, 11),
        continued(7, 36, 10),
        continued(7, 44, 9),
        continued(7, 0, 10),
        continued(8, 40, 10),
    ] {
        assert_eq!(after(open, &wrong), Err(Refused), "{wrong:?}");
    }
    let mut other_stage = continued(7, 40, 10);
    other_stage[2] = 0;
    assert_eq!(after(open, &other_stage), Err(Refused));
    let whole = after(open, &continued(7, 40, 10)).unwrap();
    for late in [continued(7, 80, 0), continued(7, 80, 1), continued(7, 0, 0)] {
        assert_eq!(after(whole, &late), Err(Refused), "{late:?}");
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

/// A command that fills slots of a stage: `textures` from `first` on.
fn fill(number: u32, stage: u32, first: u32, textures: &[u32]) -> Vec<u32> {
    let slot =
        |texture: &u32| if number == SET_SHADER_IMAGES { vec![1, 0, 0, 0, *texture] } else { vec![0, 64, *texture] };
    let head = if number == SET_ATOMIC_BUFFERS { vec![first] } else { vec![stage, first] };
    command(number, &[head, textures.iter().flat_map(slot).collect()].concat())
}

/// That empties one.
fn empty(number: u32, stage: u32, slot: u32) -> Vec<u32> {
    let words = if number == SET_SHADER_IMAGES { 5 } else { 3 };
    let head = if number == SET_ATOMIC_BUFFERS { vec![slot] } else { vec![stage, slot] };
    command(number, &[head, vec![0; words]].concat())
}

const FILLING: [u32; 4] = [SET_UNIFORM_BUFFER, SET_SHADER_BUFFERS, SET_SHADER_IMAGES, SET_ATOMIC_BUFFERS];

fn set(sub: u32) -> Vec<u32> {
    command(SET_SUB_CTX, &[sub])
}

/// A context that has done these streams.
fn having_done(streams: &[Vec<u32>]) -> Context {
    let mut context = Context::default();
    for words in streams {
        let stream = context.check(&pairs(words), words.len() as u32, &Five).unwrap();
        context.follow(stream, &pairs(words));
    }
    context
}

#[test]
fn a_texture_that_goes_is_taken_out_of_each_slot() {
    for number in FILLING {
        let mut context = having_done(&[fill(number, 3, 5, &[PICTURE, ARRAY, PICTURE])]);
        let expected = [set(0), empty(number, 3, 5), empty(number, 3, 7), set(0)].concat();
        assert_eq!(context.release(PICTURE), in_pairs(&expected), "{number}");
        assert_eq!(context.release(PICTURE), (vec![], 0), "once is enough");
        assert_eq!(context.release(BUFFER), (vec![], 0), "it is nowhere");
        let expected = [set(0), empty(number, 3, 6), set(0)].concat();
        assert_eq!(context.release(ARRAY), in_pairs(&expected), "{number}");
    }
}

#[test]
fn slots_are_emptied_by_others_and_with_their_sub_context() {
    let filled = fill(SET_SHADER_BUFFERS, 0, 0, &[PICTURE]);
    for (stays, next) in [
        (false, fill(SET_SHADER_BUFFERS, 0, 0, &[BUFFER])),
        (false, fill(SET_SHADER_BUFFERS, 0, 0, &[0])),
        (true, fill(SET_SHADER_BUFFERS, 0, 1, &[0])),
        (true, fill(SET_SHADER_BUFFERS, 1, 0, &[0])),
        (true, fill(SET_SHADER_IMAGES, 0, 0, &[0])),
        (true, [command(CREATE_SUB_CTX, &[4]), fill(SET_SHADER_BUFFERS, 0, 0, &[0])].concat()),
    ] {
        let mut context = having_done(&[filled.clone(), next.clone()]);
        assert_eq!(context.release(PICTURE).1 > 0, stays, "{next:?}");
    }
    let create = command(CREATE_SUB_CTX, &[4]);
    let both = [filled.clone(), create, filled].concat();
    let emptied = empty(SET_SHADER_BUFFERS, 0, 0);
    let mut context = having_done(&[both.clone(), set(0)]);
    let expected = [set(0), emptied.clone(), set(4), emptied.clone(), set(0)].concat();
    assert_eq!(context.release(PICTURE), in_pairs(&expected));
    let mut context = having_done(std::slice::from_ref(&both));
    let expected = [set(0), emptied.clone(), set(4), emptied.clone(), set(4)].concat();
    assert_eq!(context.release(PICTURE), in_pairs(&expected), "the current one stays so");
    let mut context = having_done(&[both, command(DESTROY_SUB_CTX, &[4])]);
    assert_eq!(context.release(PICTURE), in_pairs(&[set(0), emptied, set(0)].concat()));
}

#[test]
fn slots_that_are_not_there_are_not_filled() {
    for number in FILLING {
        let most = if number == SET_UNIFORM_BUFFER { 1 } else { 32 };
        assert!(passes(&fill(number, 0, 32 - most, &vec![PICTURE; most as usize])), "{number}");
        for (stage, first, count) in [(0, 32, 1), (0, 0, 33), (0, 31, 2), (0, u32::MAX, 1), (0, u32::MAX, 2)] {
            assert!(!passes(&fill(number, stage, first, &vec![0; count])), "{number}: {first}, {count}");
        }
        if number != SET_ATOMIC_BUFFERS {
            assert!(passes(&fill(number, 5, 0, &[PICTURE])) && !passes(&fill(number, 6, 0, &[PICTURE])), "{number}");
        }
        assert!(passes(&command(number, &[])), "none at all");
    }
}

#[test]
fn after_a_stream_that_failed_all_slots_are_emptied_before_a_texture_goes() {
    let create = command(CREATE_SUB_CTX, &[4]);
    let mut context = having_done(&[[create, fill(SET_SHADER_BUFFERS, 0, 0, &[PICTURE])].concat()]);
    for harmless in [vec![0], fill(SET_UNIFORM_BUFFER, 9, 0, &[1])] {
        if let Ok(stream) = context.check(&pairs(&harmless), harmless.len() as u32, &Five) {
            context.doubt(stream);
        }
        assert_eq!(context.release(BUFFER).1, 0, "{harmless:?}");
    }
    let failed = fill(SET_SHADER_BUFFERS, 0, 0, &[BUFFER]);
    let stream = context.check(&pairs(&failed), failed.len() as u32, &Five).unwrap();
    context.doubt(stream);
    let (commands, len) = context.release(ARRAY);
    let words = Words::new(&commands, len as usize).unwrap();
    let done: Vec<u32> = Commands::new(words).map(|command| command.unwrap().0 & 0xff).collect();
    let times = |number: u32| done.iter().filter(|command| **command == number).count();
    assert_eq!([SET_SUB_CTX, SET_SHADER_BUFFERS, SET_SHADER_IMAGES].map(times), [3, 2 * 6 * 32, 2 * 6 * 32]);
    assert_eq!(context.release(PICTURE).1, 0, "all is known again");
}
