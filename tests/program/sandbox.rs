//! The sandbox, from outside: what the kernel says of the program, and what it does on kernels that have less. That each
//! stage keeps its promise is shown in `tests/sandbox`.

use std::fs;
use std::thread;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::*;

/// `CAP_SETPCAP`, without which the bounding set stays as it is.
const SETPCAP: u64 = 1 << 8;

/// What /proc says of a process.
struct Status(String);

impl Status {
    fn of(pid: u32) -> Status {
        Status(fs::read_to_string(format!("/proc/{pid}/status")).unwrap())
    }

    /// Of each of its threads.
    fn of_threads(pid: u32) -> Vec<Status> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        threads.map(|thread| Status(fs::read_to_string(thread.unwrap().path().join("status")).unwrap())).collect()
    }

    fn field(&self, name: &str) -> &str {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("{name} is missing")).trim()
    }

    fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(self.field(set), 16).unwrap()
    }
}

fn ours() -> Status {
    Status::of(std::process::id())
}

#[track_caller]
fn assert_given_up(program: &Program) {
    Status::of(program.pid()).assert_given_up();
}

/// Returns how many threads there are.
#[track_caller]
pub fn assert_given_up_by_threads(program: &Program) -> usize {
    let threads = Status::of_threads(program.pid());
    threads.iter().for_each(Status::assert_given_up);
    threads.len()
}

impl Status {
    #[track_caller]
    fn assert_given_up(&self) {
        let status = self;
        assert_eq!((status.field("NoNewPrivs"), status.field("Seccomp")), ("1", "2"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status.capabilities(set), 0, "{set}");
        }
        let bounding = if ours().capabilities("CapEff") & SETPCAP == 0 { ours().capabilities("CapBnd") } else { 0 };
        assert_eq!(status.capabilities("CapBnd"), bounding);
    }
}

pub fn all_rights_are_given_up_before_a_front_end_is_answered(subject: &Subject) {
    let program = subject.listening();
    assert_served(&mut program.connect().unwrap());
    assert_given_up(&program);

    let (program, mut front_end) = subject.on_fd(&[]);
    assert_served(&mut front_end);
    assert_given_up(&program);
}

pub fn nothing_is_given_up_where_that_is_asked_for(subject: &Subject) {
    let (program, mut front_end) = subject.on_fd(&["--no-sandbox"]);
    assert_served(&mut front_end);
    let status = Status::of(program.pid());
    for field in ["NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status.field(field), ours().field(field), "{field}");
    }
}

/// Whether this kernel has all of it is not known here.
pub fn what_is_required_is_had_or_named(subject: &Subject) {
    let (mut program, mut front_end) = subject.on_fd(&["--sandbox=require"]);
    if front_end.get_features().is_ok() {
        assert_given_up(&program);
    } else {
        assert_eq!(program.wait(patience()).unwrap().code(), Some(1));
        subject.assert_one_line(&program.stderr(), "sandbox: ");
    }
}

/// A stage, and the call without which a kernel does not have it: its number, the first argument, the error.
type Lack = (&'static str, i64, Option<u64>, i32);

fn lacks() -> [Lack; 6] {
    [
        ("no_new_privs", libc::SYS_prctl, Some(u64::from(libc::PR_SET_NO_NEW_PRIVS.cast_unsigned())), libc::EINVAL),
        ("capabilities", libc::SYS_capset, None, libc::EPERM),
        // One that does not know of it, one that was told not to use it, one that fails late.
        ("Landlock", libc::SYS_landlock_create_ruleset, None, libc::ENOSYS),
        ("Landlock", libc::SYS_landlock_create_ruleset, None, libc::EOPNOTSUPP),
        ("Landlock", libc::SYS_landlock_restrict_self, None, libc::E2BIG),
        ("seccomp", libc::SYS_seccomp, None, libc::EINVAL),
    ]
}

/// Runs `body` in a thread whose children have a kernel that lacks that. What it starts, it has to see end.
fn lacking((_, number, first, error): Lack, body: impl FnOnce() + Send) {
    let condition = first.map(|value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value));
    let rules = condition.into_iter().map(|condition| SeccompRule::new(vec![condition.unwrap()]).unwrap()).collect();
    let refused = SeccompAction::Errno(error.cast_unsigned());
    let processor = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new([(number, rules)].into(), SeccompAction::Allow, refused, processor).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            seccompiler::apply_filter(&filter).unwrap();
            body();
        });
    });
}

pub fn a_stage_that_a_kernel_does_not_have_is_named_and_ends_the_program_where_it_is_required(subject: &Subject) {
    for lack in lacks() {
        lacking(lack, || {
            let (_folder, path) = place();
            let socket = subject::socket_path(&path);
            let ran = subject.run(&["--sandbox=require".into(), socket]);
            ran.assert_refused(1, &format!("sandbox: {}", lack.0));
            assert!(!path.exists());
        });
    }
}

pub fn a_stage_that_a_kernel_does_not_have_is_done_without_where_it_is_not_required(subject: &Subject) {
    for lack in lacks() {
        lacking(lack, || {
            let (mut program, mut front_end) = subject.on_fd(&["--log-level=info"]);
            assert_served(&mut front_end);
            drop(front_end);
            assert_eq!(program.wait(patience()).unwrap().code(), Some(0));
            let said = format!("sandbox: {}", lack.0);
            let words = program.stderr();
            assert!(words.lines().any(|line| line.contains(&said) && line.contains("going on without it")), "{words}");
        });
    }
}
