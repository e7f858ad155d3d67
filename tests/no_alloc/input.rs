//! The input device: not for an event, not for one that finds no buffer, not for a light.

use std::sync::MutexGuard;
use std::thread::JoinHandle;

use seat_frontend::control::FrontEnd;
use seat_frontend::input::Event;
use seat_frontend::input::ids::{abs, ev, key, led, msc, rel};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use vhost_seat::input::{Input, Options};

use super::common::devices::{self, FINGERS};
use super::common::evdev::Kernel;
use super::common::{patient, soon};
use super::{ROUNDS, WARM_UP};

/// A guest, and the back end in a watched thread.
struct Watched {
    kernel: Kernel,
    vm: InputMachine,
    back_end: JoinHandle<()>,
    _turn: MutexGuard<'static, ()>,
}

impl Watched {
    fn boot() -> Watched {
        let turn = super::turn();
        let kernel = Kernel::new(devices::everything(), FINGERS);
        let (front, theirs) = FrontEnd::pair().unwrap();
        let place = kernel.place();
        let back_end = std::thread::spawn(move || {
            let options = Options { grab: true, exit_on_unplug: false, toggle: None };
            super::serve(Input::open(place, options).unwrap(), theirs);
        });
        let mut vm = InputMachine::boot(patient(front), InputMachineOptions::qemu().unwrap()).unwrap();
        vm.driver.set_timeout(std::time::Duration::from_secs(60));
        Watched { kernel, vm, back_end, _turn: turn }
    }

    fn assert_allocates_nothing(mut self, mut round: impl FnMut(&Kernel, &mut InputMachine, i32)) {
        let mut rounds = |watched: &mut Watched, count: u32| {
            for n in 0..count {
                round(&watched.kernel, &mut watched.vm, n as i32);
            }
            watched.vm.driver.set_reposting(true);
            watched.vm.driver.post_all().unwrap();
            // What waits comes before this.
            let marker = i32::from(!watched.kernel.truth().is_held(key::ESC));
            watched.kernel.report(&[(ev::KEY, key::ESC, marker)]);
            let is_marker = |event: Event| (event.kind, event.code, event.value) == (ev::KEY, key::ESC, marker);
            while !is_marker(watched.vm.driver.next_event(soon()).unwrap()) {}
            watched.vm.driver.next_event(soon()).unwrap();
        };
        rounds(&mut self, WARM_UP);
        super::assert_allocates_nothing(|| rounds(&mut self, ROUNDS));
        drop(self.vm);
        self.back_end.join().unwrap();
    }
}

#[test]
fn mouse_events() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        kernel.report(&[(ev::REL, rel::X, n + 1), (ev::REL, rel::Y, 1)]);
        vm.driver.frame(soon()).unwrap();
    });
}

#[test]
fn keys() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        kernel.report(&[(ev::MSC, msc::SCAN, 30), (ev::KEY, key::A, n % 2)]);
        vm.driver.frame(soon()).unwrap();
    });
}

#[test]
fn ten_fingers() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        let contact = |slot| [(ev::ABS, abs::MT_SLOT, slot), (ev::ABS, abs::MT_POSITION_X, (n + slot) % 4096)];
        let begin = [(ev::ABS, abs::MT_SLOT, n % 10), (ev::ABS, abs::MT_TRACKING_ID, if n % 20 < 10 { n } else { -1 })];
        let frame: Vec<_> = begin.into_iter().chain((0..10).flat_map(contact)).collect();
        kernel.report(&frame);
        vm.driver.frame(soon()).unwrap();
    });
}

#[test]
fn more_than_the_guest_takes() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        vm.driver.set_reposting(n % 1000 > 900);
        kernel.report(&[(ev::REL, rel::X, 1), (ev::KEY, key::A, n % 2)]);
        kernel.report(&[(ev::REL, rel::X, 1), (ev::REL, rel::Y, 1)]);
        while vm.driver.poll_event().unwrap().is_some() {}
    });
}

#[test]
fn lights() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        vm.driver
            .send_status(&[(ev::LED, led::NUML, n % 2), (ev::LED, led::CAPSL, 1), (ev::MSC, msc::SCAN, n)])
            .unwrap();
        kernel.driver_heard();
    });
}

#[test]
fn the_config_and_keys_that_wait() {
    Watched::boot().assert_allocates_nothing(|kernel, vm, n| {
        if n % 10 == 0 {
            kernel.report(&[(ev::KEY, key::A, n % 20 / 10)]);
            vm.front.get_config(0, 136).unwrap();
            vm.front.set_config(0, 0, &[0x11, 1]).unwrap();
        }
    });
}
