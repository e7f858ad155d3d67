//! A guest on a back end with a scripted device.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, gettid};
use seat_frontend::control::{FrontEnd, Qemu, Vmm};
use seat_frontend::input::ids::{ev, syn};
use seat_frontend::input::{GuestInput, InputOptions};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use seat_frontend::program::TempDir;
use seat_frontend::ring::RingOptions;
use vhost_seat::backend;
use vhost_seat::input::toggle::Keys;
use vhost_seat::input::{Input, Options};
use vhost_seat::socket::{self, Endpoint};

use crate::common::evdev::{Kernel, Place};
use crate::common::{patient, soon};

/// The end of a frame.
pub const REPORT: (u16, u16, i32) = (ev::SYN, syn::REPORT, 0);

/// Every monitor that is played.
pub const MONITORS: [Vmm; 5] =
    [Vmm::Qemu(Qemu::V7_2), Vmm::Qemu(Qemu::V10_0), Vmm::Qemu(Qemu::V11_1), Vmm::CloudHypervisor, Vmm::Plain];

/// What is asked for if nothing else is.
pub const GRAB: Options = Options { grab: true, exit_on_unplug: false, toggle: None };

/// With a hotkey.
pub fn with_toggle(name: &str) -> Options {
    Options { toggle: Some(Keys::by_name(name).unwrap()), ..GRAB }
}

/// A guest under QEMU 11.1 with queues of this size.
pub fn sized(size: u16) -> InputMachineOptions {
    InputMachineOptions { input: InputOptions::sized(size), ..InputMachineOptions::qemu().unwrap() }
}

/// Queues of this size, with EVENT_IDX or without.
pub fn ringed(size: u16, event_idx: bool) -> InputMachineOptions {
    let mut options = sized(size);
    options.input.events = RingOptions { size, event_idx };
    options.input.status = RingOptions { size, event_idx };
    if !event_idx {
        options.features &= !(1 << seat_frontend::control::feature::EVENT_IDX);
    }
    options
}

/// A back end in a thread.
pub struct BackEnd {
    thread: JoinHandle<Result<(), backend::Error>>,
    /// The thread's number.
    number: Pid,
}

impl BackEnd {
    /// For one front end, which is returned.
    pub fn on_pair(place: Place, options: Options) -> (BackEnd, FrontEnd) {
        let (front, theirs) = FrontEnd::pair().unwrap();
        let back_end = BackEnd::serve(place, options, move || Endpoint::Connected(theirs));
        (back_end, patient(front))
    }

    /// For one front end after another, at a socket in `folder`.
    pub fn listening(place: Place, options: Options, folder: &TempDir) -> (BackEnd, std::path::PathBuf) {
        let path = folder.join("socket");
        let listener = socket::listen(&path).unwrap();
        (BackEnd::serve(place, options, move || Endpoint::Listening(listener)), path)
    }

    fn serve(place: Place, options: Options, endpoint: impl FnOnce() -> Endpoint + Send + 'static) -> BackEnd {
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SIGTERM is this thread's own: it is sent to it alone.
            let signals = vhost_seat::signals::block().unwrap().into_fd().unwrap();
            let input = Input::open(place, options).unwrap();
            ready.send(gettid()).unwrap();
            backend::serve(input, endpoint(), signals)
        });
        let number = started.recv().unwrap();
        BackEnd { thread, number }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        pthread_kill(self.thread.as_pthread_t(), Signal::SIGTERM).unwrap();
    }

    /// How often it has gone to sleep so far.
    pub fn sleeps(&self) -> u64 {
        crate::common::sleeps(self.number)
    }

    /// Waits for its end.
    pub fn ended(self) -> Result<(), backend::Error> {
        self.thread.join().unwrap()
    }
}

/// A guest that has booted on a back end of its own.
pub struct Seat {
    pub kernel: Kernel,
    pub vm: InputMachine,
    pub guest: GuestInput,
    pub back_end: BackEnd,
}

impl Seat {
    /// A plain guest with this device.
    pub fn boot(kernel: Kernel) -> Seat {
        Seat::boot_with(kernel, GRAB, InputMachineOptions::qemu().unwrap())
    }

    pub fn boot_with(kernel: Kernel, options: Options, machine: InputMachineOptions) -> Seat {
        let (back_end, front) = BackEnd::on_pair(kernel.place(), options);
        let vm = boot_on(front, machine);
        let guest = vm.guest();
        Seat { kernel, vm, guest, back_end }
    }

    /// Waits until the program has taken all that the device had to say so far.
    pub fn await_read(&mut self) {
        await_read(&self.kernel, &mut self.vm);
    }

    /// Waits until the guest believes what is so.
    pub fn agree(&mut self) {
        self.await_read();
        let truth = self.kernel.truth();
        self.vm.driver.feed_until(&mut self.guest, &truth, soon()).unwrap();
    }

    /// Waits until the guest holds nothing.
    pub fn let_go(&mut self) {
        let holds_nothing =
            |guest: &GuestInput| guest.held().is_empty() && guest.contacts().is_empty() && !guest.is_inside_frame();
        self.vm.driver.feed(&mut self.guest, soon(), holds_nothing).unwrap();
    }

    /// The next frame, with its end.
    pub fn frame(&mut self) -> Vec<(u16, u16, i32)> {
        let frame = self.vm.driver.frame(soon()).unwrap().to_vec();
        self.guest.apply_all(&frame).unwrap();
        frame.iter().map(|event| (event.kind, event.code, event.value)).collect()
    }

    /// Nothing more has come, and nothing will before something happens.
    pub fn assert_silent(&mut self) {
        self.await_read();
        assert_eq!(self.vm.driver.poll_event().unwrap(), None);
    }
}

/// A machine that has booted.
pub fn boot_on(front: FrontEnd, options: InputMachineOptions) -> InputMachine {
    let mut vm = InputMachine::boot(front, options).unwrap();
    vm.driver.set_timeout(std::time::Duration::from_secs(60));
    vm
}

/// Waits until the program has worked off whatever made it ready before this.
pub fn await_turns(vm: &mut InputMachine) {
    // It answers 16 messages a turn at most. The first 16 may fall into a turn that was under way already; the next turn
    // sees all that is ready and works it off before the one that answers the last of these.
    for _ in 0..33 {
        vm.front.get_features().unwrap();
    }
}

/// Waits until the program has taken all that the device had to say so far, and given the guest what it can.
pub fn await_read(kernel: &Kernel, vm: &mut InputMachine) {
    let deadline = soon();
    while kernel.unread() > 0 {
        assert!(!deadline.passed(), "the device is not read");
        std::thread::yield_now();
    }
    await_turns(vm);
}
