use super::super::codes::{EV_KEY, SYN_REPORT};
use super::*;

const X: u16 = 0x35;

fn of(frames: &[&[(u16, u16, i32)]]) -> Hold {
    let mut hold = Hold::default();
    for (kind, code, value) in frames.concat() {
        assert!(hold.push(Event::new(kind, code, value)));
    }
    hold
}

fn all(mut hold: Hold) -> Vec<(u16, u16, i32)> {
    let mut out = Vec::new();
    while let Some(event) = hold.pop() {
        out.push((event.kind, event.code, event.value));
    }
    out
}

const REPORT: (u16, u16, i32) = (EV_SYN, SYN_REPORT, 0);

#[test]
fn a_frame_is_out_of_sight_until_its_report_is_there() {
    let mut hold = of(&[&[(EV_KEY, 30, 1)]]);
    assert_eq!(hold.front(), None);
    assert!(hold.is_open() && !hold.is_empty());
    hold.push(Event::REPORT);
    assert_eq!(hold.pop(), Some(Event::new(EV_KEY, 30, 1)));
    assert_eq!(hold.pop(), Some(Event::REPORT));
    assert_eq!(hold.pop(), None);
    assert!(hold.is_empty());
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut hold = Hold::default();
    assert!((0..HOLD).all(|_| hold.push(Event::REPORT)));
    assert!(!hold.push(Event::REPORT));
    hold.pop();
    assert!(hold.push(Event::REPORT));
}

#[test]
fn motion_is_dropped_and_keys_keep_their_order() {
    let mut hold = of(&[
        &[(EV_REL, 0, 1), REPORT],
        &[(EV_MSC, 4, 9), (EV_KEY, 30, 1), REPORT],
        &[(EV_REL, 1, 1), (EV_REL, 0, 2), REPORT],
        &[(EV_KEY, 30, 0), (EV_REL, 0, 3), REPORT],
        &[(EV_ABS, 0, 3), REPORT],
    ]);
    hold.drop_motion(0);
    assert_eq!(all(hold), [(EV_MSC, 4, 9), (EV_KEY, 30, 1), REPORT, (EV_KEY, 30, 0), (EV_REL, 0, 3), REPORT]);
}

#[test]
fn the_frame_that_the_guest_has_begun_and_the_one_at_the_tail_stay() {
    let mut hold = of(&[&[(EV_REL, 0, 1), (EV_REL, 1, 1), REPORT], &[(EV_REL, 0, 2), REPORT], &[(EV_REL, 0, 5)]]);
    hold.pop();
    hold.drop_motion(0);
    assert!(hold.is_open());
    hold.push(Event::REPORT);
    assert_eq!(all(hold), [(EV_REL, 1, 1), REPORT, (EV_REL, 0, 5), REPORT]);
}

#[test]
fn a_frame_that_relied_on_a_slot_named_in_a_dropped_one_gets_its_name() {
    let id = ABS_MT_TRACKING_ID;
    let mut hold = of(&[
        &[(EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, X, 5), REPORT],
        &[(EV_ABS, id, -1), REPORT],
        &[(EV_ABS, ABS_MT_SLOT, 1), (EV_ABS, X, 6), REPORT],
        &[(EV_ABS, ABS_MT_SLOT, 2), (EV_ABS, id, 9), REPORT],
        &[(EV_ABS, X, 7), REPORT],
        &[(EV_KEY, 0x14a, 1), REPORT],
        &[(EV_ABS, id, -1)],
    ]);
    hold.drop_motion(0);
    hold.push(Event::REPORT);
    let expected = [
        (EV_ABS, ABS_MT_SLOT, 3),
        (EV_ABS, id, -1),
        REPORT,
        (EV_ABS, ABS_MT_SLOT, 2),
        (EV_ABS, id, 9),
        REPORT,
        (EV_KEY, 0x14a, 1),
        REPORT,
        (EV_ABS, id, -1),
        REPORT,
    ];
    assert_eq!(all(hold), expected);
}

#[test]
fn forgetting_ends_the_frame_that_the_guest_has_begun() {
    let mut hold = of(&[&[(EV_KEY, 30, 1), (EV_KEY, 31, 1), REPORT], &[(EV_KEY, 30, 0)]]);
    hold.pop();
    hold.forget();
    assert_eq!(all(hold), [REPORT]);
    let mut hold = of(&[&[(EV_KEY, 30, 1), REPORT]]);
    hold.forget();
    assert!(hold.is_empty());
}

#[test]
fn another_guest_has_begun_nothing() {
    let mut hold = of(&[&[(EV_KEY, 30, 1), REPORT]]);
    hold.pop();
    hold.reset();
    assert!(hold.is_empty());
}

#[test]
fn what_comes_next_relies_on_a_dropped_name_as_well() {
    let mut hold = of(&[&[(EV_KEY, 30, 1), REPORT], &[(EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, X, 5), REPORT]]);
    hold.drop_motion(0);
    hold.push(Event::new(EV_ABS, ABS_MT_TRACKING_ID, -1));
    hold.push(Event::REPORT);
    let expected = [(EV_KEY, 30, 1), REPORT, (EV_ABS, ABS_MT_SLOT, 3), (EV_ABS, ABS_MT_TRACKING_ID, -1), REPORT];
    assert_eq!(all(hold), expected);
}
