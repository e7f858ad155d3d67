//! Tests that run inside of a guest, where there are devices that this machine does not have.
//!
//! Such a test is an ordinary `#[test]` whose body is given to [`InVm::run`]. On the host the first of them to come boots
//! one guest, which runs this very test program again, one test after another, and in there the bodies are executed; then
//! each test on the host ends as its namesake in the guest did. So a test is written, named, filtered and reported as any
//! other, and the boot is paid once.
//!
//! The guest sees the host's root, read-only; /tmp and /run are its own. A target folder that lies in one of these is not
//! seen.

use std::any::type_name;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use seat_guest::answer::Order;

use crate::backend::Backend;
use crate::config::{Config, Gpu};
use crate::error::{Context, Error, Result};
use crate::lab::Lab;
use crate::libtest::{Outcome, outcomes};

/// Set where the bodies are to be executed.
const INSIDE: &str = "VHOST_SEAT_VM_INSIDE";
/// What is handed on to the tests in the guest when it is set.
const HANDED_ON: [&str; 2] = ["RUST_BACKTRACE", "CI"];
/// Folders of the host that the guest's own ones hide.
const HIDDEN: [&str; 5] = ["/tmp", "/run", "/dev", "/proc", "/sys"];

/// A guest that runs some of a test program's tests; a `static`.
pub struct InVm {
    filters: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    gpu: Option<(&'static str, &'static [&'static str])>,
    memory_mib: u32,
    kvm: bool,
    patience: Duration,
    ran: OnceLock<Ran>,
}

/// How the run in the guest ended; `None` where there can be no guest.
type Ran = Option<std::result::Result<Report, String>>;

struct Report {
    outcomes: HashMap<String, Outcome>,
    /// How the test program ended, for tests that it has nothing of.
    end: String,
}

impl InVm {
    /// A guest for all tests of the program that ask for it.
    pub const fn new() -> Self {
        InVm {
            filters: &[],
            environment: &[],
            gpu: None,
            memory_mib: 512,
            kvm: false,
            patience: Duration::from_secs(300),
            ran: OnceLock::new(),
        }
    }

    /// What the test program is told of which tests to run: the test runner's own arguments, as `nested::` or
    /// `--skip nested::`. Must choose all tests that ask for this guest; others would not find their own.
    pub const fn filters(mut self, filters: &'static [&'static str]) -> Self {
        self.filters = filters;
        self
    }

    /// Further variables for the tests in the guest.
    pub const fn environment(mut self, variables: &'static [(&'static str, &'static str)]) -> Self {
        self.environment = variables;
        self
    }

    /// The guest has a screen instead of uinput, which that program serves, started with `arguments` and its socket's path.
    /// If it draws in 3D, the guest has a GPU with a render node.
    pub const fn gpu(mut self, program: &'static str, arguments: &'static [&'static str]) -> Self {
        self.gpu = Some((program, arguments));
        self
    }

    /// The guest's memory (512).
    pub const fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// The tests boot guests of their own ([`Config::nested`], [`Config::inside`]): KVM, and 1 GiB of memory.
    pub const fn nesting(mut self) -> Self {
        self.kvm = true;
        self.memory_mib = 1024;
        self
    }

    /// How long all tests may take together (300 s).
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether this is the test program in the guest.
    pub fn inside() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// The whole of a test. In the guest the body is executed; on the host the test ends as it did there, and without a
    /// laboratory as [`Lab::for_test`] says.
    ///
    /// # Panics
    /// When the test has failed in the guest, or did not run there.
    pub fn run<F: FnOnce()>(&self, body: F) {
        if InVm::inside() {
            return body();
        }
        let ran = self.ran.get_or_init(|| {
            let lab = Lab::for_test()?;
            Some(self.run_all(lab).map_err(|error| error.to_string()))
        });
        if let Err(why) = verdict(ran, name_of::<F>()) {
            panic!("{why}");
        }
    }

    fn run_all(&self, lab: &Lab) -> Result<Report> {
        let served = self.gpu.map(|(program, arguments)| Backend::start(program, arguments)).transpose()?;
        let config = match &served {
            Some(backend) => Config::new(Gpu::vhost_user(backend.socket())).host_root().no_text_console(),
            None => Config::uinput(),
        };
        let config = config.memory_mib(self.memory_mib);
        let mut vm = if self.kvm { config.with_kvm() } else { config }.boot(lab)?;
        vm.set_patience(self.patience);
        let ended = vm.exec(&self.order(lab)?)?;
        let status = ended.status.map_or("a signal".to_owned(), |status| format!("status {status}"));
        let said = served.as_ref().map(|backend| backend.log().tail(20)).unwrap_or_default();
        let end = format!("the test program ended by {status}\n{}{said}", vm.console().tail(40));
        Ok(Report { outcomes: outcomes(&ended.output), end })
    }

    fn order(&self, lab: &Lab) -> Result<Order> {
        let arguments = ["--test-threads=1"].into_iter().chain(self.filters.iter().copied());
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut environment = vec![own((INSIDE, "1")), lab.for_guest()?];
        environment.extend(HANDED_ON.iter().filter_map(|name| Some(own((name, &std::env::var(name).ok()?)))));
        environment.extend(self.environment.iter().copied().map(own));
        Ok(Order { arguments: arguments.map(str::to_owned).collect(), environment, ..this_program()? })
    }
}

/// This very program, to be run in a guest as it runs here but without arguments and environment.
pub fn this_program() -> Result<Order> {
    let program = std::env::current_exe().context("this program's path")?;
    let folder = std::env::current_dir().context("the working folder")?;
    for path in [&program, &folder] {
        if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
            let text = format!("{}: the guest cannot see it; use another CARGO_TARGET_DIR", path.display());
            return Err(Error::Failed(text));
        }
    }
    let [program, folder] = [program, folder].map(|path| path.to_string_lossy().into_owned());
    Ok(Order { folder, ..Order::new(&program, &[]) })
}

/// How a test on the host ends after that run.
fn verdict(ran: &Ran, name: &str) -> std::result::Result<(), String> {
    let report = match ran {
        None => return Ok(()),
        Some(report) => report.as_ref().map_err(|error| format!("no tests in a guest: {error}"))?,
    };
    match report.outcomes.get(name) {
        Some(Outcome::Ok) => Ok(()),
        Some(Outcome::Failed(words)) => Err(format!("in the guest {name} failed:\n{words}")),
        Some(Outcome::Ignored) => Err(format!("in the guest {name} was ignored")),
        None => Err(format!("in the guest {name} came to no end\n{}", report.end)),
    }
}

impl Default for InVm {
    fn default() -> Self {
        InVm::new()
    }
}

/// The test's name as the test runner has it, from the type of the closure that is its body: `program::module::test::…`.
fn name_of<F>() -> &'static str {
    let path = type_name::<F>();
    let path = path.strip_suffix("::{{closure}}").unwrap_or(path);
    path.split_once("::").map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_by_its_body() {
        fn name<F: FnOnce()>(_: &F) -> &'static str {
            name_of::<F>()
        }
        let body = || {};
        assert_eq!(name(&body), "in_vm::tests::a_test_is_named_by_its_body");
    }

    #[test]
    fn a_test_ends_as_it_did_in_the_guest() {
        let outcomes = [
            ("good".to_owned(), Outcome::Ok),
            ("bad".to_owned(), Outcome::Failed("words".to_owned())),
            ("left".to_owned(), Outcome::Ignored),
        ];
        let ran = Some(Ok(Report { outcomes: outcomes.into(), end: "the log".to_owned() }));
        assert_eq!(verdict(&ran, "good"), Ok(()));
        assert_eq!(verdict(&ran, "bad"), Err("in the guest bad failed:\nwords".to_owned()));
        assert_eq!(verdict(&ran, "left"), Err("in the guest left was ignored".to_owned()));
        assert_eq!(verdict(&ran, "other"), Err("in the guest other came to no end\nthe log".to_owned()));
        assert_eq!(verdict(&Some(Err("why".to_owned())), "good"), Err("no tests in a guest: why".to_owned()));
        assert_eq!(verdict(&None, "good"), Ok(()));
    }
}
