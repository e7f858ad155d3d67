//! The config space: the device's own description, by whatever way a monitor reads it.

use seat_frontend::input::ids::{abs, ev, select};
use seat_frontend::input::{Bitmap, InputConfig};
use seat_frontend::machine::InputMachineOptions;
use vhost_seat::input::config::Description;

use super::common::devices;
use super::common::evdev::Kernel;
use super::seat::{BackEnd, GRAB, MONITORS, Seat, boot_on};

fn all_devices() -> [Description; 5] {
    [devices::keyboard(), devices::mouse(), devices::tablet(), devices::touch_screen(), devices::everything()]
}

/// The codes that a bitmap should have.
fn codes(description: &Description, kind: u16) -> Bitmap {
    Bitmap::of((0..1024).filter(|code| description.has(kind, *code)))
}

#[track_caller]
fn assert_is(config: &InputConfig, description: &Description) {
    assert_eq!(config.name, description.name);
    assert_eq!(config.serial, description.serial);
    let ids = description.ids;
    let told = config.ids.unwrap();
    assert_eq!(
        (told.bustype, told.vendor, told.product, told.version),
        (ids.bus, ids.vendor, ids.product, ids.version)
    );
    assert_eq!(config.props, Bitmap::of((0..32).filter(|property| description.properties.has(*property))));
    for kind in [ev::KEY, ev::REL, ev::ABS, ev::MSC, ev::SW, ev::LED, ev::SND] {
        let told = config.bits.get(&kind).cloned().unwrap_or_default();
        assert_eq!(told, codes(description, kind), "type {kind:#x}");
        assert!(told.is_tight(), "type {kind:#x}: up to the last byte that is not zero");
    }
    for code in 0..abs::COUNT {
        let told = config.abs.get(&code).map(|axis| (axis.min, axis.max, axis.fuzz, axis.flat, axis.res));
        let is = description.axis(code).map(|axis| (axis.min, axis.max, axis.fuzz, axis.flat, axis.resolution));
        assert_eq!(told, is, "axis {code:#x}");
    }
}

#[test]
fn each_device_is_described_as_it_is_under_each_monitor() {
    for description in all_devices() {
        for monitor in MONITORS {
            let slots = if description.has(ev::ABS, abs::MT_SLOT) { devices::FINGERS } else { 0 };
            let kernel = Kernel::new(description.clone(), slots);
            let (_back_end, front) = BackEnd::on_pair(kernel.place(), GRAB);
            let mut vm = boot_on(front, InputMachineOptions::new(monitor).unwrap());
            assert_eq!(vm.config.slots(), slots, "{monitor:?}");
            let config = vm.reader.read_all(&mut vm.front).unwrap();
            assert_is(&config, &description);
            // Of autorepeat Linux reads the size alone; both of its codes are there.
            let repeats = vm.reader.body(&mut vm.front, select::EV_BITS, ev::REP as u8).unwrap();
            assert_eq!(Bitmap::new(repeats), codes(&description, ev::REP));
        }
    }
}

#[test]
fn force_feedback_is_not_offered() {
    let mut description = devices::mouse();
    description.codes[usize::from(ev::FF)] = vhost_seat::input::config::Bitmap::of([0x50, 0x60]);
    let mut seat = Seat::boot(Kernel::new(description, 0));
    let size = seat.vm.reader.select(&mut seat.vm.front, select::EV_BITS, ev::FF as u8).unwrap();
    assert_eq!(size, 0);
}

#[test]
fn a_question_of_which_one_byte_has_changed_is_answered_and_does_no_harm() {
    let mut seat = Seat::boot(Kernel::new(devices::tablet(), 0));
    let (reader, front) = (&mut seat.vm.reader, &mut seat.vm.front);
    reader.select(front, select::ABS_INFO, abs::Y as u8).unwrap();
    for byte in 0..=u8::MAX {
        reader.write(front, 0, &[byte]).unwrap();
        reader.read(front, 0, 136).unwrap();
        reader.write(front, 1, &[byte]).unwrap();
        reader.read(front, 2, 1).unwrap();
    }
    assert_eq!(reader.body(front, select::ID_NAME, 0).unwrap(), devices::tablet().name);
}

#[test]
fn a_config_of_any_size_and_offset_is_answered_with_zeroes_beyond_its_end() {
    let mut seat = Seat::boot(Kernel::new(devices::mouse(), 0));
    seat.vm.reader.select(&mut seat.vm.front, select::ID_NAME, 0).unwrap();
    let whole = seat.vm.front.get_config(0, 136).unwrap();
    assert_eq!(&whole[8..22], b"Scripted mouse");
    for (offset, size) in [(0, 1), (2, 1), (8, 14), (100, 36), (0, 256), (130, 120)] {
        let part = seat.vm.front.get_config(offset, size).unwrap();
        let expected = (0..size as usize).map(|at| whole.get(offset as usize + at).copied().unwrap_or(0));
        assert!(part.iter().copied().eq(expected), "{size} bytes at {offset}");
    }
}

#[test]
fn a_reset_of_the_device_selects_nothing() {
    let mut seat = Seat::boot(Kernel::new(devices::mouse(), 0));
    seat.vm.reader.select(&mut seat.vm.front, select::ID_NAME, 0).unwrap();
    seat.vm.reset().unwrap();
    assert_eq!(seat.vm.front.get_config(0, 136).unwrap(), vec![0; 136]);
}
