use super::*;
use crate::input::config::{AxisInfo, Bitmap};

const ABS_X: u16 = 0;
const ABS_MT_POSITION_X: u16 = 0x35;

/// A touch screen of four slots with a button.
fn description() -> Description {
    let mut description = Description::default();
    description.codes[usize::from(EV_ABS)] = Bitmap::of([ABS_X, ABS_MT_SLOT, ABS_MT_POSITION_X, ABS_MT_TRACKING_ID]);
    description.codes[usize::from(EV_KEY)] = Bitmap::of([30, 48, 0x14a, 0x2ff]);
    description.codes[usize::from(EV_SW)] = Bitmap::of([0]);
    description.axes[usize::from(ABS_MT_SLOT)] = AxisInfo { max: 3, ..AxisInfo::default() };
    description
}

fn after(events: &[(u16, u16, i32)]) -> State {
    let mut state = State::new(&description());
    for (kind, code, value) in events {
        state.apply(Event::new(*kind, *code, *value));
    }
    state
}

fn told(from: &State, to: &State, released: bool) -> Vec<Event> {
    let mut events = Vec::new();
    assert!(differences(from, to, released, &mut events));
    events
}

fn events(list: &[(u16, u16, i32)]) -> Vec<Event> {
    list.iter().map(|(kind, code, value)| Event::new(*kind, *code, *value)).collect()
}

const REPORT: (u16, u16, i32) = (EV_SYN, SYN_REPORT, 0);

#[test]
fn states_that_are_alike_have_nothing_to_tell() {
    let state = after(&[(EV_KEY, 30, 1), (EV_ABS, ABS_X, 5)]);
    assert!(told(&state, &state, false).is_empty());
}

#[test]
fn a_key_of_a_number_that_means_nothing_is_held_as_in_linux() {
    assert_eq!(after(&[(EV_KEY, 30, 138)]), after(&[(EV_KEY, 30, 1)]));
    assert_eq!(after(&[(EV_KEY, 30, -1), (EV_KEY, 30, 2)]), after(&[(EV_KEY, 30, 1)]));
    assert_eq!(after(&[(EV_KEY, 30, 2)]), after(&[]), "a repeat presses nothing");
}

#[test]
fn what_ends_is_told_in_a_frame_before_what_begins() {
    let (from, to) = (after(&[(EV_KEY, 30, 1)]), after(&[(EV_KEY, 48, 1), (EV_SW, 0, 1), (EV_ABS, ABS_X, -4)]));
    let expected = [(EV_KEY, 30, 0), REPORT, (EV_SW, 0, 1), (EV_ABS, ABS_X, -4), (EV_KEY, 48, 1), REPORT];
    assert_eq!(told(&from, &to, false), events(&expected));
}

#[test]
fn a_contact_whose_slot_another_has_taken_ends_and_begins_anew() {
    let contact = |id, x| [(EV_ABS, ABS_MT_SLOT, 2), (EV_ABS, ABS_MT_TRACKING_ID, id), (EV_ABS, ABS_MT_POSITION_X, x)];
    let (from, to) = (after(&contact(7, 100)), after(&contact(8, 100)));
    let expected = [(EV_ABS, ABS_MT_TRACKING_ID, -1), REPORT, (EV_ABS, ABS_MT_TRACKING_ID, 8), REPORT];
    assert_eq!(told(&from, &to, false), events(&expected));
}

#[test]
fn a_slots_values_are_told_after_its_contact_is_gone_for_the_kernel_will_not_repeat_them() {
    let from = after(&[]);
    let to = after(&[
        (EV_ABS, ABS_MT_SLOT, 1),
        (EV_ABS, ABS_MT_TRACKING_ID, 3),
        (EV_ABS, ABS_MT_POSITION_X, 50),
        (EV_ABS, ABS_MT_TRACKING_ID, -1),
        (EV_ABS, ABS_MT_SLOT, 0),
    ]);
    let expected = [(EV_ABS, ABS_MT_SLOT, 1), (EV_ABS, ABS_MT_POSITION_X, 50), (EV_ABS, ABS_MT_SLOT, 0), REPORT];
    assert_eq!(told(&from, &to, false), events(&expected));
}

#[test]
fn of_a_released_state_the_endings_alone_are_told() {
    let held = after(&[(EV_KEY, 30, 1), (EV_KEY, 0x2ff, 1), (EV_ABS, ABS_MT_TRACKING_ID, 3), (EV_ABS, ABS_X, 9)]);
    let other = after(&[(EV_KEY, 30, 1), (EV_KEY, 31, 1), (EV_SW, 3, 1)]);
    let expected = [(EV_ABS, ABS_MT_TRACKING_ID, -1), (EV_KEY, 30, 0), (EV_KEY, 0x2ff, 0), REPORT];
    assert_eq!(told(&held, &other, true), events(&expected));
}

#[test]
fn a_sink_without_room_is_asked_no_further_and_what_it_took_is_a_step_on_the_way() {
    struct Few(Vec<Event>, usize);
    impl Sink for Few {
        fn take(&mut self, event: Event) -> bool {
            if self.0.len() == self.1 {
                return false;
            }
            self.0.push(event);
            true
        }
    }
    let to = after(&[
        (EV_KEY, 1, 1),
        (EV_KEY, 2, 1),
        (EV_ABS, ABS_X, 9),
        (EV_ABS, ABS_MT_SLOT, 3),
        (EV_ABS, ABS_MT_TRACKING_ID, 9),
        (EV_ABS, ABS_MT_POSITION_X, 1),
    ]);
    for room in 1..8 {
        let mut guest = after(&[(EV_KEY, 70, 1)]);
        for turn in 0.. {
            assert!(turn < 20, "it comes to an end with room for {room}");
            let mut few = Few(Vec::new(), room);
            let complete = differences(&guest, &to, false, &mut few);
            few.0.into_iter().for_each(|event| guest.apply(event));
            if complete {
                break;
            }
        }
        assert_eq!(guest, to, "room for {room}");
    }
}

#[test]
fn random_states_are_brought_together_by_what_is_told() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut some = || {
        let list: Vec<_> = (0..random(40))
            .map(|_| match random(6) {
                0 => (EV_KEY, random(0x300) as u16, random(2) as i32),
                1 => (EV_SW, random(17) as u16, random(2) as i32),
                2 => (EV_ABS, random(0x2f) as u16, random(100) as i32 - 50),
                3 => (EV_ABS, ABS_MT_SLOT, random(6) as i32 - 1),
                4 => (EV_ABS, ABS_MT_TRACKING_ID, random(6) as i32 - 1),
                _ => (EV_ABS, 0x30 + random(9) as u16, random(100) as i32),
            })
            .collect();
        after(&list)
    };
    for round in 0..2000 {
        let (mut from, to) = (some(), some());
        for event in told(&from, &to, false) {
            from.apply(event);
        }
        assert_eq!(from, to, "round {round}");
        for event in told(&from, &to, true) {
            from.apply(event);
        }
        assert!(!from.is_held(), "round {round}");
    }
}

#[test]
fn slots_and_codes_that_are_not_there_change_nothing() {
    let none = after(&[]);
    for event in [
        (EV_ABS, ABS_MT_SLOT, 4),
        (EV_ABS, ABS_MT_SLOT, -1),
        (EV_ABS, ABS_MT_SLOT, i32::MAX),
        (EV_ABS, 0x40, 1),
        (EV_ABS, u16::MAX, 1),
        (EV_KEY, 0x300, 1),
        (EV_KEY, u16::MAX, 1),
        (EV_KEY, 30, 2),
        (EV_SW, 32, 1),
        (99, 1, 1),
    ] {
        assert_eq!(after(&[event]), none, "{event:?}");
    }
}

#[test]
fn a_device_that_claims_absurd_slots_has_linuxs_most_or_none() {
    let slots = |max| {
        let mut description = description();
        description.axes[usize::from(ABS_MT_SLOT)].max = max;
        State::new(&description).slots()
    };
    assert_eq!([slots(9), slots(0), slots(-1), slots(i32::MIN), slots(i32::MAX)], [10, 1, 0, 0, 1024]);
}

#[test]
fn contacts_without_slots_end_with_a_lone_marker() {
    let mut description = Description::default();
    description.codes[usize::from(EV_ABS)] = Bitmap::of([ABS_MT_POSITION_X]);
    let mut touched = State::new(&description);
    let none = touched.clone();
    let frame = [(EV_ABS, ABS_MT_POSITION_X, 4), (EV_SYN, SYN_MT_REPORT, 0), REPORT];
    events(&frame).into_iter().for_each(|event| touched.apply(event));
    assert!(touched.is_held());
    let endings = told(&touched, &none, false);
    assert_eq!(endings, events(&[(EV_SYN, SYN_MT_REPORT, 0), REPORT]));
    endings.into_iter().for_each(|event| touched.apply(event));
    assert!(!touched.is_held());
}
