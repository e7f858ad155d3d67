use super::super::codes::{ABS_MT_TRACKING_ID, EV_LED, EV_MSC, EV_REL, EV_SND};
use super::super::config::{AxisInfo, Bitmap};
use super::super::hold::HOLD;
use super::*;

const A: u16 = 30;
const B: u16 = 48;
const REL_X: u16 = 0;
const ABS_X: u16 = 0;
const MT_X: u16 = 0x35;

fn description() -> Description {
    let mut description = Description::default();
    for (kind, codes) in [
        (EV_KEY, &[A, B, 0x14a][..]),
        (EV_REL, &[REL_X]),
        (EV_ABS, &[ABS_X, ABS_MT_SLOT, MT_X, ABS_MT_TRACKING_ID]),
        (EV_MSC, &[4]),
        (EV_SW, &[0]),
        (EV_LED, &[0]),
        (EV_REP, &[0, 1]),
    ] {
        description.codes[usize::from(kind)] = Bitmap::of(codes.iter().copied());
    }
    description.axes[usize::from(ABS_MT_SLOT)] = AxisInfo { max: 4, ..AxisInfo::default() };
    description
}

/// A batch with a guest that has the device and knows all of it.
fn following() -> Batch {
    let mut batch = Batch::new(&description());
    batch.set_present(true);
    assert_eq!(delivered(&mut batch), []);
    batch
}

fn feed(batch: &mut Batch, events: &[(u16, u16, i32)]) {
    for (kind, code, value) in events {
        assert_eq!(batch.feed(Event::new(*kind, *code, *value)), Fed::Taken);
    }
}

/// All that the guest is told now.
fn delivered(batch: &mut Batch) -> Vec<(u16, u16, i32)> {
    let mut events = Vec::new();
    while let Some(event) = batch.upcoming() {
        events.push((event.kind, event.code, event.value));
        batch.delivered();
    }
    events
}

const REPORT: (u16, u16, i32) = (EV_SYN, SYN_REPORT, 0);

#[test]
fn frames_go_through_as_they_are_once_they_are_whole() {
    let mut batch = following();
    feed(&mut batch, &[(EV_MSC, 4, 0x70004), (EV_KEY, A, 1)]);
    assert_eq!(delivered(&mut batch), []);
    feed(&mut batch, &[REPORT, (EV_REL, REL_X, -3), REPORT]);
    let expected = [(EV_MSC, 4, 0x70004), (EV_KEY, A, 1), REPORT, (EV_REL, REL_X, -3), REPORT];
    assert_eq!(delivered(&mut batch), expected);
}

#[test]
fn repeats_of_the_kernel_are_for_guests_that_do_not_repeat_by_themselves() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 2), (EV_SYN, SYN_REPORT, 1)]);
    assert_eq!(delivered(&mut batch), [], "not even an empty frame");
    let mut plain = description();
    plain.codes[usize::from(EV_REP)] = Bitmap::default();
    let mut batch = Batch::new(&plain);
    batch.set_present(true);
    delivered(&mut batch);
    feed(&mut batch, &[(EV_KEY, A, 2), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 2), REPORT]);
}

#[test]
fn lights_sounds_and_what_virtio_input_has_no_use_for_are_not_told() {
    let mut batch = following();
    feed(
        &mut batch,
        &[(EV_LED, 0, 1), (EV_SND, 2, 1), (EV_REP, 0, 250), (0x15, 1, 1), (EV_SYN, 1, 0), (0x1f, 0, 1), REPORT],
    );
    assert_eq!(delivered(&mut batch), []);
}

#[test]
fn a_guest_without_the_device_hears_nothing_and_then_what_is() {
    let mut batch = Batch::new(&description());
    feed(&mut batch, &[(EV_KEY, A, 1), (EV_REL, REL_X, 5), (EV_ABS, ABS_X, 7), REPORT]);
    assert_eq!(delivered(&mut batch), []);
    batch.set_present(true);
    assert_eq!(delivered(&mut batch), [(EV_ABS, ABS_X, 7), (EV_KEY, A, 1), REPORT]);
    batch.set_present(false);
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 0), REPORT]);
}

#[test]
fn changes_during_a_pause_are_told_as_differences_after_what_waited() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT]);
    batch.pause();
    feed(&mut batch, &[(EV_KEY, A, 0), REPORT, (EV_KEY, B, 1), REPORT, (EV_REL, REL_X, 5), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 1), REPORT, (EV_KEY, A, 0), REPORT, (EV_KEY, B, 1), REPORT]);
}

#[test]
fn a_new_guest_is_told_what_is_held_and_nothing_that_was_meant_for_the_old_one() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT]);
    delivered(&mut batch);
    feed(&mut batch, &[(EV_REL, REL_X, 5), REPORT]);
    batch.new_guest();
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 1), REPORT]);
}

#[test]
fn when_the_hold_runs_over_motion_goes_first() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT]);
    for _ in 0..HOLD {
        feed(&mut batch, &[(EV_REL, REL_X, 1), REPORT, (EV_ABS, ABS_X, 1), REPORT]);
    }
    feed(&mut batch, &[(EV_KEY, A, 0), REPORT, (EV_KEY, B, 1), REPORT, (EV_ABS, ABS_X, 77), REPORT]);
    let told = delivered(&mut batch);
    let keys: Vec<_> = told.iter().filter(|(kind, ..)| *kind == EV_KEY).collect();
    assert_eq!(keys, [&(EV_KEY, A, 1), &(EV_KEY, A, 0), &(EV_KEY, B, 1)], "each in its order");
    assert_eq!(batch.guest(), batch.device());
    assert!(told.len() <= 2 * HOLD);
}

#[test]
fn when_keys_alone_run_over_the_differences_bring_them_right() {
    let mut batch = following();
    for _ in 0..HOLD {
        feed(&mut batch, &[(EV_KEY, A, 1), REPORT, (EV_KEY, A, 0), REPORT]);
    }
    feed(&mut batch, &[(EV_KEY, B, 1), REPORT]);
    let told = delivered(&mut batch);
    assert_eq!(batch.guest(), batch.device());
    assert_eq!(told.len(), HOLD + 2, "what was held, then that B is down");
    assert_eq!(told[HOLD..], [(EV_KEY, B, 1), REPORT]);
    feed(&mut batch, &[(EV_REL, REL_X, 1), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_REL, REL_X, 1), REPORT], "and it is followed again");
}

#[test]
fn a_frame_longer_than_the_hold_is_told_as_differences() {
    let mut batch = following();
    let many = i32::try_from(2 * HOLD).unwrap();
    for value in 0..many {
        feed(&mut batch, &[(EV_ABS, ABS_X, value)]);
        assert_eq!(delivered(&mut batch), []);
    }
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_ABS, ABS_X, many - 1), (EV_KEY, A, 1), REPORT]);
}

#[test]
fn dropped_events_ask_for_a_look_and_the_frame_under_way_is_forgotten() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT, (EV_KEY, B, 1)]);
    assert_eq!(batch.feed(Event::new(EV_SYN, SYN_DROPPED, 0)), Fed::Dropped);
    batch
        .look(|state| {
            state.clear();
            state.set_axis(ABS_X, 3);
            Ok::<(), ()>(())
        })
        .unwrap();
    let expected = [(EV_KEY, A, 1), REPORT, (EV_KEY, A, 0), REPORT, (EV_ABS, ABS_X, 3), REPORT];
    assert_eq!(delivered(&mut batch), expected);
}

#[test]
fn differences_wait_for_the_end_of_the_devices_frame() {
    let mut batch = following();
    batch.pause();
    feed(&mut batch, &[(EV_KEY, A, 1)]);
    assert_eq!(delivered(&mut batch), []);
    feed(&mut batch, &[(EV_KEY, B, 1), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 1), (EV_KEY, B, 1), REPORT]);
}

#[test]
fn unplugged_in_the_middle_of_a_frame_everything_is_let_go() {
    let mut batch = following();
    feed(&mut batch, &[(EV_ABS, ABS_MT_SLOT, 2), (EV_ABS, ABS_MT_TRACKING_ID, 5), (EV_KEY, 0x14a, 1), REPORT]);
    delivered(&mut batch);
    feed(&mut batch, &[(EV_KEY, A, 1)]);
    batch.unplug();
    assert_eq!(delivered(&mut batch), [(EV_ABS, ABS_MT_TRACKING_ID, -1), (EV_KEY, 0x14a, 0), REPORT]);
    assert!(batch.is_quiet() && !batch.guest().is_held());
}

#[test]
fn at_the_end_what_waited_is_dropped_for_what_must_be_let_go() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), (EV_KEY, B, 1), REPORT, (EV_REL, REL_X, 1), REPORT]);
    batch.upcoming();
    batch.delivered();
    batch.part();
    assert_eq!(delivered(&mut batch), [REPORT, (EV_KEY, A, 0), REPORT]);
}

#[test]
fn at_the_end_releases_that_wait_already_are_not_dropped() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), (EV_KEY, B, 1), REPORT]);
    delivered(&mut batch);
    batch.set_present(false);
    assert_eq!(batch.upcoming(), Some(Event::new(EV_KEY, A, 0)));
    batch.part();
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 0), (EV_KEY, B, 0), REPORT]);
}

#[test]
fn handed_to_the_host_in_the_middle_of_a_frame_everything_is_let_go_at_once() {
    let mut batch = following();
    feed(&mut batch, &[(EV_KEY, A, 1), REPORT]);
    delivered(&mut batch);
    // The rest of this frame is passed over while the device changes hands.
    feed(&mut batch, &[(EV_KEY, B, 1)]);
    batch.set_present(false);
    assert_eq!(delivered(&mut batch), [(EV_KEY, A, 0), REPORT]);
}

#[test]
fn a_contact_that_ends_while_motion_gives_way_ends_in_its_own_slot() {
    let mut batch = following();
    let touch = |slot, id| [(EV_ABS, ABS_MT_SLOT, slot), (EV_ABS, ABS_MT_TRACKING_ID, id), REPORT];
    feed(&mut batch, &[touch(1, 5), touch(2, 6)].concat());
    delivered(&mut batch);
    feed(&mut batch, &[(EV_ABS, ABS_MT_SLOT, 1), (EV_ABS, MT_X, 1), REPORT]);
    while batch.hold.room() > 1 {
        feed(&mut batch, &[(EV_ABS, MT_X, 2), REPORT]);
    }
    if batch.hold.room() == 1 {
        feed(&mut batch, &[(EV_MSC, 4, 0)]);
    }
    feed(&mut batch, &[(EV_ABS, ABS_MT_TRACKING_ID, -1), REPORT]);
    let ends = delivered(&mut batch).into_iter().filter(|(_, code, value)| (*code, *value) == (ABS_MT_TRACKING_ID, -1));
    assert_eq!(ends.count(), 1, "the other contact goes on");
    assert_eq!(batch.guest(), batch.device());
}

#[test]
fn a_slot_that_the_guest_does_not_have_is_not_named_to_it() {
    let mut batch = following();
    feed(&mut batch, &[(EV_ABS, ABS_MT_SLOT, 9), (EV_ABS, MT_X, 4), REPORT]);
    assert_eq!(delivered(&mut batch), [(EV_ABS, MT_X, 4), REPORT]);
    assert_eq!(batch.guest(), batch.device());
}
