//! The system calls of the programs once they serve: who makes each, and how.
//!
//! The lists are what `strace` saw of the programs in all tests, with what is argued beside a call that no test can show.
//! Each is of one part of the source, named above it; a program's list is made of those of its parts, in [`crate::cli`].
//! What an option makes unneeded is not on it: a program that was passed a connected socket accepts nobody, one that ends
//! when its device is unplugged opens nothing.
//!
//! Some calls have other numbers, or others in their place, on other processors and with other C libraries: both stand
//! here. What is not here on purpose: `socket` and `connect` (both sockets come from outside), `execve`, `ptrace`, `kill`,
//! anything that makes a file (but for the memfds of two parts). A renderer alone ([`RENDERER`]) has `prctl`, memory that can
//! be executed, and `clone` for threads: no program makes a process.

use libc::c_long;

/// A system call that may be made, or that does not end the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number on this processor.
    pub number: c_long,
    /// How; any way where there is none.
    pub way: Option<Way>,
    /// How many of its first arguments name a process, which must be this one.
    pub processes: u8,
    /// Whether it may not be made, and answers as a kernel that does not have it (`ENOSYS`): whoever makes it goes on
    /// without.
    pub is_absent: bool,
}

/// What one argument of 32 bits must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Which one, from 0.
    pub argument: u8,
    /// The bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

const fn any(number: c_long) -> Call {
    Call { number, way: None, processes: 0, is_absent: false }
}

#[allow(clippy::cast_sign_loss, reason = "the kernel's arguments have bits, C's names for their values a sign")]
const fn with(number: c_long, argument: u8, mask: i32, value: i32) -> Call {
    Call { way: Some(Way { argument, mask: mask as u32, value: value as u32 }), ..any(number) }
}

/// As [`with`], where the first `processes` arguments are this process's number.
const fn own(processes: u8, number: c_long, argument: u8, mask: i32, value: i32) -> Call {
    Call { processes, ..with(number, argument, mask, value) }
}

const fn absent(number: c_long) -> Call {
    Call { is_absent: true, ..any(number) }
}

/// The allocator, Rust's runtime and the way out.
pub const RUNTIME: &[Call] = &[
    // malloc, free, their large blocks, and what gpu/trim.rs gives back; memory.rs for the guest's memory. Never to be
    // executed.
    any(libc::SYS_brk),
    with(libc::SYS_mmap, 2, libc::PROT_EXEC, 0),
    with(libc::SYS_mprotect, 2, libc::PROT_EXEC, 0),
    any(libc::SYS_mremap),
    any(libc::SYS_munmap),
    any(libc::SYS_madvise),
    // The end of main: the stack of signal handlers goes.
    any(libc::SYS_sigaltstack),
    any(libc::SYS_exit_group),
    any(libc::SYS_exit),
    // Signal handlers return. vhost_proto/sigbus.rs takes SIGBUS with the first region of memory, and gives one that is not
    // about guest memory back to the kernel; so does Rust's own handler with a SIGSEGV that is no stack's overflow.
    any(libc::SYS_rt_sigreturn),
    with(libc::SYS_rt_sigaction, 0, -1, libc::SIGSEGV),
    with(libc::SYS_rt_sigaction, 0, -1, libc::SIGBUS),
    // A call that a stop and a continuation cut in two: poll and epoll_wait with a time.
    any(libc::SYS_restart_syscall),
    // A panic names its thread; abort ends it, which takes SIGABRT out of the mask first.
    any(libc::SYS_gettid),
    any(libc::SYS_getpid),
    any(libc::SYS_rt_sigprocmask),
    own(1, libc::SYS_tgkill, 2, -1, libc::SIGABRT),
    // A lock of the C library that a signal handler found taken, or of Rust's that somebody waits for: nobody does, with
    // one thread, but the code is there.
    any(libc::SYS_futex),
    // HashMap's seeds, uuid (gpu/state.rs).
    any(libc::SYS_getrandom),
    // The clock, where it can't be read without a call, as in some virtual machines: Instant (backend.rs, gpu,
    // logger/budget.rs, vhost_proto/leash.rs).
    any(libc::SYS_clock_gettime),
    // An OwnedFd that is closed in a build with debug assertions is looked at first.
    with(libc::SYS_fcntl, 1, -1, libc::F_GETFD),
];

/// `logger.rs`: whether standard error takes a line, and the line.
pub const LOGGER: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    any(libc::SYS_write),
];

/// `reactor/mod.rs`.
pub const REACTOR: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_epoll_wait),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_close),
];

/// `vhost_proto`.
pub const VHOST: &[Call] = &[
    // scm.rs: a message with its descriptors; connection.rs: its reply.
    any(libc::SYS_recvmsg),
    any(libc::SYS_sendto),
    // memory.rs: how long a region's file is. Its mapping is under RUNTIME.
    any(libc::SYS_statx),
    any(libc::SYS_fstat),
    // notifier.rs: whether it is an eventfd, as /proc has it; call and err are written.
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
    any(libc::SYS_readlinkat),
    any(libc::SYS_write),
    // leash.rs: its timer, and the timer's signal.
    any(libc::SYS_timer_create),
    any(libc::SYS_timer_settime),
    any(libc::SYS_timer_delete),
    with(libc::SYS_rt_sigaction, 0, -1, libc::SIGALRM),
];

/// `socket.rs`, where it listens.
pub const LISTENER: &[Call] = &[any(libc::SYS_accept4)];

/// `socket/file.rs`: the socket file goes, if it is still that one.
pub const SOCKET_FILE: &[Call] = &[
    any(libc::SYS_statx),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_unlink),
    any(libc::SYS_newfstatat),
    // Without flags: no folder is removed.
    with(libc::SYS_unlinkat, 2, -1, 0),
];

/// `gpu/display/mod.rs`: room in the socket, messages out, replies in.
pub const DISPLAY: &[Call] =
    &[with(libc::SYS_setsockopt, 2, -1, libc::SO_SNDBUF), any(libc::SYS_sendmsg), any(libc::SYS_recvfrom)];

/// `_IOW('u', 0x42, struct udmabuf_create)`.
const UDMABUF_CREATE: i32 = 0x4018_7542;
/// `_IOW('u', 0x43, struct udmabuf_create_list)`.
const UDMABUF_CREATE_LIST: i32 = 0x4008_7543;
/// `_IOW('b', 0, struct dma_buf_sync)`.
const DMA_BUF_IOCTL_SYNC: i32 = 0x4008_6200;

/// `gpu/udmabuf.rs`: a memfd, sealed, and the DMABUF of it.
pub const UDMABUF: &[Call] = &[
    any(libc::SYS_memfd_create),
    any(libc::SYS_ftruncate),
    with(libc::SYS_fcntl, 1, -1, libc::F_ADD_SEALS),
    with(libc::SYS_ioctl, 1, -1, UDMABUF_CREATE),
    with(libc::SYS_ioctl, 1, -1, DMA_BUF_IOCTL_SYNC),
];

/// The same file: a DMABUF of the guest's pages.
pub const UDMABUF_LIST: &[Call] = &[with(libc::SYS_ioctl, 1, -1, UDMABUF_CREATE_LIST)];

/// An ioctl's number in its code: direction, type.
const IOCTL_KIND: i32 = 0xc000_ff00_u32.cast_signed();
/// `_IOR('E', ...)`: questions to an evdev node.
const EVDEV_QUESTION: i32 = 0x8000_4500_u32.cast_signed();
/// `_IOW('E', 0x90, int)`.
const EVIOCGRAB: i32 = 0x4004_4590;

/// `input/evdev.rs`, `input/raw.rs`: events in, lights out, questions, the grab. Nothing else can be set: no key of the
/// device is given another meaning, no axis another range.
pub const EVDEV: &[Call] = &[
    any(libc::SYS_read),
    any(libc::SYS_write),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    with(libc::SYS_ioctl, 1, IOCTL_KIND, EVDEV_QUESTION),
    with(libc::SYS_ioctl, 1, -1, EVIOCGRAB),
];

/// What a file may be opened with: `O_RDONLY` or `O_RDWR`, never to be made, cut off or appended to.
const OPENED_WITH: i32 = libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC | LARGE_FILE;
/// What musl adds to every open.
const LARGE_FILE: i32 = 0o100_000;

/// `input/replug.rs`, `input/again.rs`, and what opens a device in `input/evdev.rs`.
pub const REPLUG: &[Call] = &[
    any(libc::SYS_inotify_init1),
    any(libc::SYS_inotify_add_watch),
    any(libc::SYS_read),
    // Folders that exist, links, and whether it is a device.
    any(libc::SYS_statx),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
    any(libc::SYS_readlinkat),
    with(libc::SYS_openat, 2, !OPENED_WITH, 0),
    // The timer of the next look.
    any(libc::SYS_timerfd_create),
    any(libc::SYS_timerfd_settime),
];

/// What a file may be opened with to be read.
const READ_WITH: i32 = libc::O_RDONLY
    | libc::O_NONBLOCK
    | libc::O_NOCTTY
    | libc::O_CLOEXEC
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | LARGE_FILE;

/// The real-time signals that the C library keeps for itself: a thread is cancelled, all change their user.
const SIGCANCEL: i32 = 32;
const SIGSETXID: i32 = 33;

/// A thread in namespaces of its own would have their owner's rights there.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Whether two descriptors are of one open file: as of Linux 6.10, and before.
const F_DUPFD_QUERY: i32 = 1027;
const KCMP_FILE: i32 = 0;

/// `gpu/virgl`: virglrenderer, Mesa and LLVM, in software and on a GPU. They were seen to make these calls, or are known to
/// on other versions; none of them is ours, so a call that does no harm is here although no test makes it.
pub const RENDERER: &[Call] = &[
    // LLVM and GL dispatch write code and run it. Mesa's buffers are files in memory, shared with nobody.
    any(libc::SYS_mmap),
    any(libc::SYS_mprotect),
    any(libc::SYS_memfd_create),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fallocate),
    any(libc::SYS_msync),
    any(libc::SYS_mincore),
    // Threads come later too: one that compiles, one a context. As the C library makes them, and with a name. clone3 has its
    // flags in memory, where no filter sees whether it makes a process; the C library then takes clone.
    absent(libc::SYS_clone3),
    with(libc::SYS_clone, 0, libc::CLONE_THREAD | NEW_NAMESPACES, libc::CLONE_THREAD),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_rseq),
    with(libc::SYS_prctl, 0, -1, libc::PR_SET_NAME),
    with(libc::SYS_prctl, 0, -1, libc::PR_GET_NAME),
    with(libc::SYS_prctl, 0, -1, libc::PR_SET_VMA),
    with(libc::SYS_rt_sigaction, 0, -1, SIGCANCEL),
    with(libc::SYS_rt_sigaction, 0, -1, SIGSETXID),
    own(1, libc::SYS_tgkill, 2, -1, SIGCANCEL),
    any(libc::SYS_membarrier),
    any(libc::SYS_sched_yield),
    any(libc::SYS_sched_get_priority_min),
    any(libc::SYS_sched_get_priority_max),
    any(libc::SYS_getcpu),
    // Where a thread may run: how many processors there are, and how large its stack is (pthread_getattr_np). It tells of
    // other processes no more than /proc does.
    any(libc::SYS_sched_getaffinity),
    // Where and how soon it shall run, which Mesa would like of its own threads. Their numbers can't be told from those of
    // other processes; it does without.
    absent(libc::SYS_sched_setaffinity),
    absent(libc::SYS_sched_getparam),
    absent(libc::SYS_sched_getscheduler),
    absent(libc::SYS_sched_setscheduler),
    absent(libc::SYS_sched_setattr),
    absent(libc::SYS_getpriority),
    absent(libc::SYS_setpriority),
    // Waiting.
    any(libc::SYS_nanosleep),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_clock_getres),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_poll),
    any(libc::SYS_ppoll),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_select),
    any(libc::SYS_pselect6),
    any(libc::SYS_eventfd2),
    any(libc::SYS_pipe2),
    // What is asked of the host: processors, memory, names, whose process this is.
    any(libc::SYS_sysinfo),
    any(libc::SYS_uname),
    any(libc::SYS_getrusage),
    // Of this process.
    with(libc::SYS_prlimit64, 0, -1, 0),
    any(libc::SYS_getuid),
    any(libc::SYS_geteuid),
    any(libc::SYS_getgid),
    any(libc::SYS_getegid),
    any(libc::SYS_getppid),
    any(libc::SYS_getcwd),
    // Files are read, those that Landlock leaves: a library that is loaded late, /sys for the number of processors.
    with(libc::SYS_openat, 2, !READ_WITH, 0),
    #[cfg(target_arch = "x86_64")]
    with(libc::SYS_open, 1, !READ_WITH, 0),
    any(libc::SYS_read),
    any(libc::SYS_readv),
    any(libc::SYS_pread64),
    any(libc::SYS_lseek),
    any(libc::SYS_getdents64),
    any(libc::SYS_statx),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statfs),
    any(libc::SYS_fstatfs),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_access),
    any(libc::SYS_faccessat),
    any(libc::SYS_faccessat2),
    #[cfg(target_arch = "x86_64")]
    any(libc::SYS_readlink),
    any(libc::SYS_readlinkat),
    // Descriptors of its own: copied, sealed, compared. None gets a signal's receiver.
    with(libc::SYS_fcntl, 1, -1, libc::F_DUPFD),
    with(libc::SYS_fcntl, 1, -1, libc::F_DUPFD_CLOEXEC),
    with(libc::SYS_fcntl, 1, -1, F_DUPFD_QUERY),
    with(libc::SYS_fcntl, 1, -1, libc::F_GETFD),
    with(libc::SYS_fcntl, 1, -1, libc::F_SETFD),
    with(libc::SYS_fcntl, 1, -1, libc::F_GETFL),
    with(libc::SYS_fcntl, 1, -1, libc::F_SETFL),
    with(libc::SYS_fcntl, 1, -1, libc::F_ADD_SEALS),
    with(libc::SYS_fcntl, 1, -1, libc::F_GET_SEALS),
    any(libc::SYS_dup),
    any(libc::SYS_dup3),
    own(2, libc::SYS_kcmp, 2, -1, KCMP_FILE),
    // What it says goes to /dev/null, see streams.rs.
    any(libc::SYS_write),
    any(libc::SYS_writev),
];

/// An ioctl's type in its code.
const IOCTL_TYPE: i32 = 0xff00;

/// A GPU's driver: its node, opened again and asked for everything; which ioctls there are is the driver's own business.
pub const GPU: &[Call] = &[
    with(libc::SYS_openat, 2, !OPENED_WITH, 0),
    // DRM: 'd'. Shared buffers: 'b'. Fences as files: '>'.
    with(libc::SYS_ioctl, 1, IOCTL_TYPE, (b'd' as i32) << 8),
    with(libc::SYS_ioctl, 1, IOCTL_TYPE, (b'b' as i32) << 8),
    with(libc::SYS_ioctl, 1, IOCTL_TYPE, (b'>' as i32) << 8),
];

/// NVIDIA's own driver, beside [`GPU`]: its devices, and where its memory lies.
pub const NVIDIA: &[Call] = &[
    with(libc::SYS_ioctl, 1, IOCTL_TYPE, (b'F' as i32) << 8),
    any(libc::SYS_get_mempolicy),
    any(libc::SYS_mlock),
    any(libc::SYS_munlock),
];

/// The parts of every program.
pub const COMMON: [&[Call]; 4] = [RUNTIME, LOGGER, REACTOR, VHOST];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_evdevs_ioctls_are_what_their_macros_make() {
        let question = |number, len| nix::request_code_read!(b'E', number, len) as u32;
        let is_question = |code: u32| code & IOCTL_KIND.cast_unsigned() == EVDEV_QUESTION.cast_unsigned();
        assert!(
            is_question(question(0x02, 8))
                && is_question(question(0x20 + 0x1f, 128))
                && is_question(question(0xff, 16_383))
        );
        assert_eq!(nix::request_code_write!(b'E', 0x90, size_of::<libc::c_int>()) as u32, EVIOCGRAB.cast_unsigned());
        // EVIOCSKEYCODE, EVIOCSABS(0), EVIOCSFF; another device's question.
        for other in [0x4008_4504, 0x4018_45c0, 0x4030_4580, 0x8004_5430] {
            assert!(!is_question(other), "{other:#x}");
        }
    }

    #[test]
    fn the_codes_of_dmabufs_ioctls_are_what_their_macros_make() {
        let create = nix::request_code_write!(b'u', 0x42, size_of::<crate::gpu::udmabuf::Create>()) as u32;
        assert_eq!(create, UDMABUF_CREATE.cast_unsigned());
        let list = nix::request_code_write!(b'u', 0x43, size_of::<u64>()) as u32;
        assert_eq!(list, UDMABUF_CREATE_LIST.cast_unsigned());
        assert_eq!(nix::request_code_write!(b'b', 0, size_of::<u64>()) as u32, DMA_BUF_IOCTL_SYNC.cast_unsigned());
    }

    #[test]
    fn a_file_can_be_opened_and_not_be_made_or_cut_off() {
        let allowed = |flags: i32| flags & !OPENED_WITH == 0;
        assert!(allowed(libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC));
        assert!(allowed(libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC));
        for more in [libc::O_CREAT, libc::O_TRUNC, libc::O_APPEND, libc::O_WRONLY, libc::O_TMPFILE, libc::O_PATH] {
            assert!(!allowed(libc::O_RDWR | more), "{more:#o}");
        }
    }
}
