//! Both back ends, each in a thread of the test, listening for one front end after another.

use std::os::unix::thread::JoinHandleExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;
use seat_frontend::control::FrontEnd;
use seat_frontend::program::{Measure, TempDir};
use vhost_seat::gpu::{self, Gpu};
use vhost_seat::input::{self, Input};
use vhost_seat::socket::{self, Endpoint};
use vhost_seat::vhost_proto::device::Device;
use vhost_seat::{backend, signals};

use crate::common::evdev::Kernel;
use crate::common::{devices, patient};

/// Which device is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gpu,
    Input,
}

pub const BOTH: [Kind; 2] = [Kind::Gpu, Kind::Input];

/// A back end.
pub struct BackEnd {
    thread: JoinHandle<Result<(), backend::Error>>,
    pub path: PathBuf,
    _folder: TempDir,
}

impl BackEnd {
    pub fn new(kind: Kind) -> BackEnd {
        match kind {
            Kind::Gpu => BackEnd::serve(|| Gpu::new(gpu::Options::new(256 << 20))),
            Kind::Input => {
                let place = Kernel::new(devices::everything(), devices::FINGERS).place();
                let options = input::Options { grab: true, exit_on_unplug: false, toggle: None };
                BackEnd::serve(move || Input::open(place, options).unwrap())
            }
        }
    }

    fn serve<D: Device>(make: impl FnOnce() -> D + Send + 'static) -> BackEnd {
        let folder = TempDir::new().unwrap();
        let path = folder.join("socket");
        let listener = socket::listen(&path).unwrap();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SIGTERM is this thread's own: it is sent to it alone.
            let signals = signals::block().unwrap().into_fd().unwrap();
            ready.send(()).unwrap();
            backend::serve(make(), Endpoint::Listening(listener), signals)
        });
        started.recv().unwrap();
        BackEnd { thread, path, _folder: folder }
    }

    /// A front end that has said nothing yet.
    pub fn connect(&self) -> FrontEnd {
        patient(FrontEnd::connect(&self.path).unwrap())
    }

    /// A front end that negotiated all that is offered.
    pub fn negotiated(&self) -> FrontEnd {
        let mut front = self.connect();
        let offered = front.get_protocol_features().unwrap();
        front.set_protocol_features(offered).unwrap();
        front
    }

    /// The next front end is served, and SIGTERM ends it well.
    #[track_caller]
    pub fn assert_well(self, what: &str) {
        self.assert_serves(what);
        self.assert_ends_on_sigterm();
    }

    #[track_caller]
    pub fn assert_ends_on_sigterm(self) {
        pthread_kill(self.thread.as_pthread_t(), Signal::SIGTERM).unwrap();
        let ended = self.thread.join();
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    }

    #[track_caller]
    pub fn assert_serves(&self, what: &str) {
        let served = self.connect().barrier();
        assert!(served.is_ok(), "{what}: the next front end: {served:?}");
    }
}

/// Runs `body` in a process that has nothing else to do, for what is counted by the process: its descriptors, its memory.
/// `name` is the whole test's.
pub fn alone(name: &str, body: impl FnOnce()) {
    const INSIDE: &str = "VHOST_SEAT_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}\n{errors}", output.status);
}

/// What this process has.
pub fn measure() -> Measure {
    Measure::of(std::process::id()).unwrap()
}

/// Waits until this process has no more descriptors than `before`.
#[track_caller]
pub fn await_descriptors(before: u64) {
    let deadline = crate::common::soon();
    while measure().fds > before {
        assert!(!deadline.passed(), "{} descriptors, {before} before", measure().fds);
        std::thread::yield_now();
    }
}
