use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::super::codes::{EV_KEY, EV_REL, EV_SW};
use super::super::state::differences;
use super::*;

const TOUCH_X: u16 = 0x35;

/// A node that answers as a test wants it to, and fails at one of its questions.
#[derive(Default)]
struct Liar {
    /// Bytes by the number of the question; of one that is not there all is 0, and a string is none.
    answers: RefCell<BTreeMap<u16, Vec<u8>>>,
    /// What is said to have been written, where that is not so.
    written: Cell<Option<usize>>,
    /// The values by slot, by axis.
    slots: RefCell<BTreeMap<u16, Vec<i32>>>,
    /// Which question fails, counted from 0, and how.
    failing: Option<(usize, Errno)>,
    asked: Cell<usize>,
}

impl Liar {
    fn answering(answers: &[(u16, &[u8])]) -> Liar {
        let liar = Liar::default();
        liar.answers.borrow_mut().extend(answers.iter().map(|(number, bytes)| (*number, bytes.to_vec())));
        liar
    }

    /// A touch screen of two slots with a button.
    fn touch_screen() -> Liar {
        let liar = Liar::answering(&[
            (GET_BITS, &[0b1010]),
            (Text::Name as u16, b"Liar\0"),
            (GET_BITS + EV_KEY, &[0, 0, 0, 0x40]),
            (GET_AXIS + ABS_MT_SLOT, &numbers([1, 0, 1, 0, 0, 0])),
        ]);
        let axes = [ABS_MT_SLOT, TOUCH_X, ABS_MT_TRACKING_ID].iter().fold(0u64, |bits, code| bits | 1 << code);
        liar.answers.borrow_mut().insert(GET_BITS + EV_ABS, axes.to_le_bytes().to_vec());
        liar
    }
}

impl Ask for Liar {
    fn ask(&self, number: u16, answer: &mut [u8]) -> Result<usize> {
        let asked = self.asked.replace(self.asked.get() + 1);
        if let Some((_, errno)) = self.failing.filter(|(at, _)| *at == asked) {
            return Err(errno);
        }
        if number == GET_SLOTS {
            let code = u16::try_from(u32::from_ne_bytes(answer[..4].try_into().unwrap())).unwrap();
            let slots = self.slots.borrow();
            let values = slots.get(&code).map(Vec::as_slice).unwrap_or_default();
            for (place, value) in answer[4..].chunks_mut(4).zip(values) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
            return Ok(0);
        }
        let bytes = match self.answers.borrow().get(&number) {
            None if (Text::Name as u16..=Text::Serial as u16).contains(&number) => return Err(Errno::ENOENT),
            answer => answer.cloned().unwrap_or_default(),
        };
        let len = bytes.len().min(answer.len());
        answer[..len].copy_from_slice(&bytes[..len]);
        Ok(self.written.get().unwrap_or(len))
    }
}

fn numbers(numbers: [i32; 6]) -> Vec<u8> {
    numbers.map(i32::to_ne_bytes).concat()
}

#[test]
fn a_name_of_256_bytes_without_an_end_is_no_name() {
    let liar = Liar::answering(&[(Text::Name as u16, &[b'n'; 300])]);
    assert_eq!(describe(&liar), Err(Errno::ENAMETOOLONG));
}

#[test]
fn a_name_of_255_bytes_and_of_any_bytes_is_taken_as_it_is() {
    let mut name: Vec<u8> = (0..255).map(|at| 0x80 | at).collect();
    name.push(0);
    let liar = Liar::answering(&[(Text::Name as u16, &name)]);
    assert_eq!(describe(&liar).unwrap().name, name[..255]);
}

#[test]
fn an_answer_that_says_to_be_longer_than_its_room_is_as_long_as_its_room() {
    for written in [257, 4096, usize::MAX] {
        let liar = Liar::touch_screen();
        liar.written.set(Some(written));
        assert_eq!(describe(&liar).unwrap().name, b"Liar");
    }
}

#[test]
fn an_answer_that_says_to_be_empty_has_no_name() {
    let liar = Liar::touch_screen();
    liar.written.set(Some(0));
    assert_eq!(describe(&liar), Err(Errno::ENAMETOOLONG));
}

#[test]
fn bits_that_an_answer_leaves_out_are_not_set() {
    let liar = Liar::answering(&[(GET_BITS, &[0b10]), (Text::Name as u16, &[0]), (GET_BITS + EV_KEY, &[0xff])]);
    let description = describe(&liar).unwrap();
    assert!((0..1024).all(|code| description.has(EV_KEY, code) == (code < 8)));
}

#[test]
fn codes_beyond_those_of_their_type_are_none() {
    let liar = Liar::touch_screen();
    for kind in [EV_KEY, EV_REL, EV_ABS, EV_SW, EV_REP] {
        liar.answers.borrow_mut().insert(GET_BITS + kind, vec![0xff; 200]);
    }
    liar.answers.borrow_mut().insert(GET_BITS, vec![0xff; 200]);
    let description = describe(&liar).unwrap();
    for (kind, count) in [(EV_KEY, 0x300), (EV_REL, 32), (EV_ABS, 64), (EV_SW, 32), (EV_REP, 2)] {
        assert!((0..2000).all(|code| description.has(kind, code) == (code < count)), "type {kind:#x}");
    }
}

#[test]
fn a_question_that_fails_while_it_is_opened_is_an_error_wherever_it_is() {
    let all = Liar::touch_screen();
    describe(&all).unwrap();
    let count = all.asked.get();
    assert_eq!(count, 11, "three strings, numbers, properties, types, codes of two, axes of three");
    for at in 0..count {
        for errno in [Errno::ENODEV, Errno::EIO, Errno::ENOTTY, Errno::EPERM] {
            let liar = Liar { failing: Some((at, errno)), ..Liar::touch_screen() };
            assert_eq!(describe(&liar), Err(errno), "question {at}");
        }
    }
}

/// What a look finds, by what it tells a guest that knows nothing.
fn found(liar: &Liar, axes: &mut Axes, description: &Description) -> Vec<(u16, u16, i32)> {
    let mut state = State::new(description);
    axes.look(liar, &mut state).unwrap();
    let mut told = Vec::new();
    differences(&State::new(description), &state, false, &mut told);
    told.iter().filter(|event| event.kind == EV_ABS).map(|event| (event.kind, event.code, event.value)).collect()
}

#[test]
fn slots_that_an_answer_leaves_out_are_not_those_of_the_question_before() {
    let liar = Liar::touch_screen();
    let description = describe(&liar).unwrap();
    let mut axes = Axes::new(&description);
    liar.slots.borrow_mut().extend([(TOUCH_X, vec![7, 9])]);
    let expected = [(EV_ABS, TOUCH_X, 7), (EV_ABS, ABS_MT_SLOT, 1), (EV_ABS, TOUCH_X, 9)];
    assert_eq!(found(&liar, &mut axes, &description), expected, "and nobody touches");
}

#[test]
fn tracking_ids_of_any_number_are_contacts_or_none() {
    let liar = Liar::touch_screen();
    let description = describe(&liar).unwrap();
    liar.slots.borrow_mut().extend([(ABS_MT_TRACKING_ID, vec![i32::MIN, i32::MAX, 5, 6, 7])]);
    let expected = [(EV_ABS, ABS_MT_SLOT, 1), (EV_ABS, ABS_MT_TRACKING_ID, i32::MAX)];
    assert_eq!(found(&liar, &mut Axes::new(&description), &description), expected);
}

#[test]
fn a_question_that_fails_while_it_is_looked_at_is_an_error() {
    for at in 0..3 {
        let liar = Liar::touch_screen();
        let description = describe(&liar).unwrap();
        let liar = Liar { failing: Some((at, Errno::ENODEV)), ..liar };
        liar.asked.set(0);
        let looked = Axes::new(&description).look(&liar, &mut State::new(&description));
        assert_eq!(looked, Err(Errno::ENODEV), "question {at}");
    }
}

#[test]
fn slots_that_the_kernel_does_not_tell_are_empty() {
    let liar = Liar::touch_screen();
    let description = describe(&liar).unwrap();
    let liar = Liar { failing: Some((1, Errno::EINVAL)), ..liar };
    liar.asked.set(0);
    liar.slots.borrow_mut().extend([(TOUCH_X, vec![7, 9]), (ABS_MT_TRACKING_ID, vec![1, 2])]);
    let told = found(&liar, &mut Axes::new(&description), &description);
    assert_eq!(told, [(EV_ABS, ABS_MT_SLOT, 1)]);
}

#[test]
fn slots_by_the_billion_are_as_many_as_linux_has() {
    for (max, slots) in [(i32::MAX, 1024), (1024, 1024), (1023, 1024), (-1, 0), (i32::MIN, 0)] {
        let liar = Liar::touch_screen();
        liar.answers.borrow_mut().insert(GET_AXIS + ABS_MT_SLOT, numbers([0, 0, max, 0, 0, 0]));
        let description = describe(&liar).unwrap();
        assert_eq!(description.slots(), slots);
        assert_eq!(Axes::new(&description).slots.len(), 4 * (slots + 1));
    }
}
