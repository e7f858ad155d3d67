//! seccomp: a call that is not on the list ends the process with status 1 and one line that names it; what is on the list
//! goes on. Each act (see `acts`) is done in a process of its own: this test program, run again for one of its tests.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use seat_frontend::program::TempDir;

use super::acts::{ACT, FOLDER, PROGRAM};

/// Does `act` under the filter, in another process.
fn act(name: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    // The test runner puts each test into a thread, and the C library gives that a heap of another kind: not here, for the
    // programs have but one thread.
    command.env("MALLOC_ARENA_MAX", "1");
    command.args(["--exact", "acts::under_the_filter", "--ignored", "--test-threads=1", "--nocapture"]);
    command.env(ACT, name).env(FOLDER, folder.path()).env_remove("RUST_BACKTRACE").output().unwrap()
}

#[track_caller]
fn assert_ends_in(name: &str, number: i64) {
    let output = act(name);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{name}: {:?} {words}", output.status);
    let processor = std::env::consts::ARCH;
    let line =
        format!("{PROGRAM}: system call {number} ({processor}) is not allowed by the sandbox: please report it\n");
    assert_eq!(words, line, "{name}");
}

#[track_caller]
fn assert_done(name: &str) {
    let output = act(name);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), words.as_str()), (Some(0), ""), "{name}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("1 passed"), "{name} was done");
}

#[test]
fn files_are_neither_opened_nor_made() {
    assert_ends_in("open", libc::SYS_openat);
    assert_ends_in("open to make", libc::SYS_openat);
    assert_ends_in("open to make, input", libc::SYS_openat);
    assert_ends_in("open to cut off, input", libc::SYS_openat);
    assert_ends_in("memfd", libc::SYS_memfd_create);
    assert_ends_in("folder", if cfg!(target_arch = "x86_64") { 83 } else { libc::SYS_mkdirat });
}

#[test]
fn sockets_come_from_outside() {
    assert_ends_in("socket", libc::SYS_socket);
    assert_ends_in("accept", libc::SYS_accept4);
    assert_ends_in("socket option", libc::SYS_setsockopt);
}

#[test]
fn no_program_or_thread_is_started() {
    assert_ends_in("execute", libc::SYS_execve);
    // The C library blocks all signals first, so the kernel ends the process without a word.
    assert_eq!(act("thread").status.signal(), Some(libc::SIGSYS));
}

#[test]
fn other_processes_are_let_be() {
    assert_ends_in("signal", libc::SYS_kill);
    assert_ends_in("signal by a thread", libc::SYS_tgkill);
    assert_ends_in("trace", libc::SYS_ptrace);
}

#[test]
fn no_memory_can_be_executed() {
    assert_ends_in("map to execute", libc::SYS_mmap);
    assert_ends_in("protect to execute", libc::SYS_mprotect);
}

#[test]
fn the_device_is_asked_and_not_changed() {
    assert_ends_in("remap a key", libc::SYS_ioctl);
    assert_ends_in("write to a terminal", libc::SYS_ioctl);
}

#[test]
fn memory_is_made_for_displays_in_one_way() {
    assert_done("export");
    assert_ends_in("export a list", libc::SYS_ioctl);
    assert_ends_in("change how it is written", libc::SYS_fcntl);
}

#[test]
fn the_filter_is_for_good() {
    assert_ends_in("prctl", libc::SYS_prctl);
}

#[test]
fn the_programs_work_is_allowed() {
    for name in ["allocate", "watch", "map a file", "ask a device", "open again", "remove the socket", "wait"] {
        assert_done(name);
    }
}

#[test]
fn a_renderer_may_more_and_not_all() {
    assert_done("work, renderer");
    assert_ends_in("open to make, renderer", libc::SYS_openat);
    assert_ends_in("open to write, renderer", libc::SYS_openat);
    assert_ends_in("execute, renderer", libc::SYS_execve);
    assert_ends_in("socket, renderer", libc::SYS_socket);
    assert_ends_in("ask a device, renderer", libc::SYS_ioctl);
}

#[test]
fn a_renderer_makes_threads_and_no_process() {
    assert_ends_in("clone, renderer", libc::SYS_clone);
    assert_ends_in("clone into a namespace, renderer", libc::SYS_clone);
}

#[test]
fn a_renderer_lets_other_processes_be() {
    assert_ends_in("signal by a thread, renderer", libc::SYS_tgkill);
    assert_ends_in("limits, renderer", libc::SYS_prlimit64);
    assert_ends_in("own a descriptor, renderer", libc::SYS_fcntl);
    assert_ends_in("compare, renderer", libc::SYS_kcmp);
}

#[test]
fn threads_that_were_there_before_are_confined_too() {
    assert_ends_in("another thread, renderer", libc::SYS_socket);
}

#[test]
fn guest_memory_may_be_truncated() {
    assert_done("lose memory");
}

#[test]
fn other_memory_that_is_gone_ends_it_as_ever() {
    assert_eq!(act("lose other memory").status.signal(), Some(libc::SIGBUS));
}

#[test]
fn a_panic_is_told_as_ever() {
    let output = act("panic");
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(101), "{words}");
    assert!(words.contains("panicked at") && words.contains("as ever"), "{words}");
}

#[test]
fn an_abort_and_a_fault_end_as_ever() {
    assert_eq!(act("abort").status.signal(), Some(libc::SIGABRT));
    assert_eq!(act("fault").status.signal(), Some(libc::SIGSEGV));
}
