use super::*;

fn tablet() -> Description {
    let mut description = Description {
        name: b"Pen \xff tablet".to_vec(),
        serial: b"S-1".to_vec(),
        ids: Ids { bus: 3, vendor: 0x056a, product: 0x0357, version: 0x0110 },
        properties: Bitmap::of([0, 1]),
        ..Description::default()
    };
    description.codes[usize::from(EV_ABS)] = Bitmap::of([0, 1, 0x18]);
    description.codes[usize::from(EV_KEY)] = Bitmap::of([0x140, 0x14a]);
    description.codes[0x15] = Bitmap::of([0x50]);
    description.axes[1] = AxisInfo { min: -1, max: 29600, fuzz: 4, flat: 5, resolution: 200 };
    description
}

/// Asks as a guest does: one byte, then the other; and reads all of the space.
fn ask(config: &mut Config, select: u8, subsel: u8) -> (u8, Vec<u8>) {
    config.write(0, &[select]);
    config.write(1, &[subsel]);
    let mut space = [0xee; CONFIG_LEN];
    config.read(0, &mut space);
    assert_eq!((space[0], space[1]), (select, subsel), "the question is echoed");
    assert!(space[3..8].iter().all(|byte| *byte == 0));
    assert!(space[8 + usize::from(space[2])..].iter().all(|byte| *byte == 0), "zeroes after the answer");
    (space[2], space[8..8 + usize::from(space[2])].to_vec())
}

#[test]
fn strings_have_their_true_length_and_any_bytes() {
    let mut config = Config::new(tablet());
    assert_eq!(ask(&mut config, ID_NAME, 0), (12, b"Pen \xff tablet".to_vec()));
    assert_eq!(ask(&mut config, ID_SERIAL, 0), (3, b"S-1".to_vec()));
}

#[test]
fn a_name_longer_than_the_space_is_cut() {
    let mut config = Config::new(Description { name: vec![b'n'; 200], ..Description::default() });
    assert_eq!(ask(&mut config, ID_NAME, 0), (128, vec![b'n'; 128]));
}

#[test]
fn ids_are_eight_bytes_and_an_axis_twenty() {
    let mut config = Config::new(tablet());
    assert_eq!(ask(&mut config, ID_DEVIDS, 0), (8, vec![3, 0, 0x6a, 5, 0x57, 3, 0x10, 1]));
    let axis = [-1, 29600, 4, 5, 200].map(i32::to_le_bytes).concat();
    assert_eq!(ask(&mut config, ABS_INFO, 1), (20, axis));
}

#[test]
fn bitmaps_end_with_their_last_byte_that_is_not_zero() {
    let mut config = Config::new(tablet());
    assert_eq!(ask(&mut config, PROP_BITS, 0), (1, vec![3]));
    assert_eq!(ask(&mut config, EV_BITS, 3), (4, vec![3, 0, 0, 1]));
    let (size, keys) = ask(&mut config, EV_BITS, 1);
    assert_eq!((size, keys[0x28], keys[0x29]), (0x2a, 1, 4));
}

#[test]
fn what_the_device_does_not_have_has_size_zero() {
    let mut config = Config::new(tablet());
    for (select, subsel) in [
        (EV_BITS, 2),
        (EV_BITS, 0),
        (EV_BITS, 0x14),
        (EV_BITS, 0x1f),
        (EV_BITS, 0x20),
        (EV_BITS, 0xff),
        (ABS_INFO, 2),
        (ABS_INFO, 0x40),
        (ABS_INFO, 0xff),
        (ID_NAME, 1),
        (0, 0),
        (4, 0),
        (0xff, 0xff),
    ] {
        assert_eq!(ask(&mut config, select, subsel).0, 0, "{select:#x} {subsel:#x}");
    }
}

#[test]
fn force_feedback_is_not_told_of() {
    assert_eq!(ask(&mut Config::new(tablet()), EV_BITS, 0x15).0, 0);
}

#[test]
fn any_part_can_be_read_and_nothing_lies_beyond_the_end() {
    let mut config = Config::new(tablet());
    config.write(0, &[ID_NAME, 0]);
    let mut part = [0xee; 3];
    config.read(8, &mut part);
    assert_eq!(&part, b"Pen");
    let mut size = [0xee];
    config.read(2, &mut size);
    assert_eq!(size, [12]);
    for offset in [135, 136, 137, u32::MAX] {
        let mut out = [0xee; 256];
        config.read(offset, &mut out);
        assert_eq!(out, [0; 256]);
    }
}

#[test]
fn writes_of_any_size_and_place_change_select_and_subsel_alone() {
    let mut config = Config::new(tablet());
    let mut space = [0; CONFIG_LEN];
    space[0] = ID_NAME;
    space[40] = 0x55;
    config.write(0, &space);
    assert_eq!(ask(&mut config, ID_NAME, 0).0, 12);
    for (offset, bytes) in [(2, &[9; 134][..]), (136, &[1]), (u32::MAX, &[1, 2]), (0, &[]), (1, &[])] {
        config.write(offset, bytes);
        let mut after = [0; CONFIG_LEN];
        config.read(0, &mut after);
        assert_eq!((after[0], after[1], after[2]), (ID_NAME, 0, 12), "{offset}");
    }
}

#[test]
fn between_the_two_writes_the_answer_is_to_both_bytes_as_they_are() {
    let mut config = Config::new(tablet());
    ask(&mut config, ABS_INFO, 1);
    config.write(0, &[EV_BITS]);
    let mut space = [0; CONFIG_LEN];
    config.read(0, &mut space);
    assert_eq!((space[0], space[1]), (EV_BITS, 1), "the keys, that is, though nobody meant them");
    assert_eq!(space[2], 0x2a);
}

#[test]
fn a_reset_selects_nothing() {
    let mut config = Config::new(tablet());
    ask(&mut config, ID_NAME, 0);
    config.reset();
    let mut space = [0xee; CONFIG_LEN];
    config.read(0, &mut space);
    assert_eq!(space, [0; CONFIG_LEN]);
}

#[test]
fn the_same_kind_may_have_another_serial_number_and_nothing_else() {
    let one = tablet();
    assert!(one.is_same_kind(&Description { serial: Vec::new(), ..tablet() }));
    assert!(!one.is_same_kind(&Description { name: b"mouse".to_vec(), ..tablet() }));
    let mut other = tablet();
    other.axes[1].max += 1;
    assert!(!one.is_same_kind(&other));
    let mut other = tablet();
    other.codes[usize::from(EV_KEY)] = Bitmap::of([1]);
    assert!(!one.is_same_kind(&other));
}
