//! What is done under the filter, one act a process.

use std::ffi::{c_int, c_long};
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::ptr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::kill;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Pid, execv};
use vhost_seat::sandbox::calls::{self, Call};
use vhost_seat::sandbox::filter::Filter;
use vhost_seat::sandbox::trap;
use vhost_seat::vhost_proto::memory::GuestMemory;
use vhost_seat::vhost_proto::wire::MemoryRegion;
use vm_memory::{Bytes, GuestAddress};

/// The variable that says which.
pub const ACT: &str = "SEAT_SANDBOX_ACT";
/// The variable that says in which folder.
pub const FOLDER: &str = "SEAT_SANDBOX_FOLDER";
/// What stands before the last line.
pub const PROGRAM: &str = "toy";

/// Gives up all but what every program and this part of one do.
fn confine(part: &'static [Call]) {
    confine_threads(part, false);
}

/// As [`confine`], and in all threads that there are.
fn confine_threads(part: &'static [Call], all: bool) {
    let mut lists = calls::COMMON.to_vec();
    lists.push(part);
    trap::set(PROGRAM).unwrap();
    Filter::compile(&lists, all).unwrap().install().unwrap();
}

#[test]
#[ignore = "the tests in `calls` run it, each with an act"]
fn under_the_filter() {
    let act = std::env::var(ACT).unwrap();
    match act.as_str() {
        "open to make, input" | "open to cut off, input" | "open again" => reopen(&act),
        "remap a key" | "write to a terminal" | "ask a device" => ask(&act),
        "export" | "export a list" | "change how it is written" => export(&act),
        "execute" | "thread" | "signal" | "signal by a thread" | "trace" | "prctl" => reach_out(&act),
        "map to execute" | "protect to execute" | "allocate" | "map a file" => use_memory(&act),
        "lose memory" => lose_memory(),
        act if act.ends_with(", renderer") => render(act),
        "lose other memory" => lose_other_memory(),
        "panic" | "abort" | "fault" => fail(&act),
        _ => serve(&act),
    }
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).unwrap().into()
}

fn serve(act: &str) {
    let folder = folder();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (stream, eventfd) = (UnixStream::connect(&path).unwrap(), EventFd::new().unwrap());
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    confine(if act == "remove the socket" { calls::SOCKET_FILE } else { calls::DISPLAY });
    match act {
        "open" => drop(File::open("/etc/passwd")),
        "open to make" => drop(File::create(folder.join("new"))),
        "memfd" => drop(memfd_create("new", MFdFlags::empty())),
        "folder" => drop(fs::create_dir(folder.join("new"))),
        "socket" => drop(UnixDatagram::unbound()),
        "accept" => drop(listener.accept()),
        "socket option" => drop(setsockopt(&stream, sockopt::KeepAlive, &true)),
        "watch" => {
            setsockopt(&stream, sockopt::SndBuf, &4096).unwrap();
            epoll.add(&eventfd, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
            eventfd.write(1).unwrap();
            drop(stream);
        }
        "wait" => {
            let begin = Instant::now();
            assert_eq!(epoll.wait(&mut [EpollEvent::empty()], 1u16), Ok(0));
            assert!(begin.elapsed().as_nanos() > 0);
        }
        "remove the socket" => {
            fs::symlink_metadata(&path).unwrap();
            fs::remove_file(&path).unwrap();
        }
        other => panic!("no such act: {other}"),
    }
}

fn reopen(act: &str) {
    let folder = folder();
    let file = folder.join("event0");
    fs::write(&file, "").unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    confine(calls::REPLUG);
    match act {
        "open to make, input" => drop(options.create(true).open(&file)),
        "open to cut off, input" => drop(options.truncate(true).open(&file)),
        _ => {
            options.open(&file).unwrap();
            File::open(&file).unwrap();
            assert!(fs::read_link(&file).is_err() && folder.is_dir());
        }
    }
}

fn render(act: &str) {
    let parent = Pid::parent();
    let file = folder().join("file");
    fs::write(&file, "").unwrap();
    let (order, ordered) = channel::<()>();
    // Made before, as a driver's are.
    let other = thread::spawn(move || {
        if ordered.recv().is_ok() {
            drop(UnixDatagram::unbound());
        }
    });
    confine_threads(calls::RENDERER, true);
    match act {
        "open to make, renderer" => drop(File::create(folder().join("new"))),
        "open to write, renderer" => drop(OpenOptions::new().write(true).open(&file)),
        "clone, renderer"
        | "clone into a namespace, renderer"
        | "signal by a thread, renderer"
        | "limits, renderer"
        | "own a descriptor, renderer"
        | "compare, renderer" => reach_by_number(act, parent),
        "execute, renderer" => drop(execv(c"/bin/true", &[c"true"])),
        "socket, renderer" => drop(UnixDatagram::unbound()),
        "ask a device, renderer" => {
            let file = File::open(&file).unwrap();
            // SAFETY: the request moves nothing of this size or any other: it is no device's file.
            unsafe { libc::ioctl(file.as_raw_fd(), 0xc040_6400, [0u8; 64].as_mut_ptr()) };
        }
        "another thread, renderer" => {
            order.send(()).unwrap();
            other.join().unwrap();
        }
        _ => {
            assert_eq!(call(libc::SYS_clone3, [0; 5]), Err(Errno::ENOSYS));
            assert_eq!(call(libc::SYS_sched_setscheduler, [0; 5]), Err(Errno::ENOSYS));
            assert_eq!(call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), 0, 0, 0]), Ok(0));
            let own = u64::from(std::process::id());
            assert_ne!(call(libc::SYS_kcmp, [own, own, 0, 0, 0]), Err(Errno::ENOSYS));
            // By clone, in place of clone3.
            thread::spawn(|| drop(File::open("/proc/self/maps").unwrap())).join().unwrap();
            let code = PROT_EXECUTE;
            // SAFETY: a new mapping, at an address of the kernel's choice.
            let memory =
                unsafe { libc::mmap(ptr::null_mut(), 4096, code, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
            assert_ne!(memory, libc::MAP_FAILED);
            memfd_create("buffer", MFdFlags::empty()).map(|file| File::from(file).set_len(4096)).unwrap().unwrap();
        }
    }
}

/// A system call whose arguments are numbers.
fn call(number: c_long, arguments: [u64; 5]) -> Result<c_long, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: no argument below is an address, or it is 0.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e) })
}

/// What names another process, or makes one.
fn reach_by_number(act: &str, other: Pid) {
    let [own, other] = [Pid::this(), other].map(|pid| u64::from(pid.as_raw().cast_unsigned()));
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let bits = |value: c_int| u64::from(value.cast_unsigned());
    let (number, arguments) = match act {
        "clone, renderer" => (libc::SYS_clone, [bits(libc::SIGCHLD), 0, 0, 0, 0]),
        "clone into a namespace, renderer" => (libc::SYS_clone, [bits(thread | libc::CLONE_NEWNET), 0, 0, 0, 0]),
        // Of that process no thread has this number, so that nobody is hit if it gets through.
        "signal by a thread, renderer" => (libc::SYS_tgkill, [other, bits(c_int::MAX), bits(libc::SIGABRT), 0, 0]),
        "limits, renderer" => (libc::SYS_prlimit64, [other, libc::RLIMIT_NOFILE.into(), 0, 0, 0]),
        "own a descriptor, renderer" => (libc::SYS_fcntl, [2, bits(libc::F_SETOWN), other, 0, 0]),
        _ => (libc::SYS_kcmp, [own, other, 0, 0, 0]),
    };
    let _ = call(number, arguments);
}

/// Memory that code is written into.
const PROT_EXECUTE: c_int = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;

fn ask(act: &str) {
    // No device answers; whether the question gets through is seen all the same.
    let file = File::open("/dev/null").unwrap();
    confine(calls::EVDEV);
    let ask = |request: u64| {
        let mut answer = [0u8; 256];
        // SAFETY: the requests below move at most 40 bytes between the kernel and this buffer.
        unsafe { libc::ioctl(file.as_raw_fd(), request, answer.as_mut_ptr()) }
    };
    match act {
        "remap a key" => ask(0x4028_4504),
        "write to a terminal" => ask(libc::TIOCSTI),
        _ => {
            assert_eq!(ask(0x8008_4502), -1, "EVIOCGID");
            ask(0x4004_4590)
        }
    };
}

fn export(act: &str) {
    // No device answers here either.
    let device = File::open("/dev/null").unwrap();
    confine(calls::UDMABUF);
    let ask = |request: u64| {
        let fields = [0u64; 3];
        // SAFETY: the requests below read at most 24 bytes of these.
        unsafe { libc::ioctl(device.as_raw_fd(), request, fields.as_ptr()) }
    };
    let memory = memfd_create("picture", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&memory, 0x10000).unwrap();
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    assert_eq!([ask(0x4018_7542), ask(0x4008_6200)], [-1; 2], "UDMABUF_CREATE, DMA_BUF_IOCTL_SYNC");
    match act {
        "export a list" => drop(ask(0x4008_7543)),
        "change how it is written" => drop(fcntl(&memory, FcntlArg::F_SETFL(OFlag::O_APPEND))),
        _ => {}
    }
}

fn reach_out(act: &str) {
    let parent = Pid::parent();
    confine(calls::DISPLAY);
    match act {
        "execute" => drop(execv(c"/bin/true", &[c"true"])),
        "thread" => drop(thread::Builder::new().spawn(|| ())),
        "signal" => drop(kill(parent, None)),
        "signal by a thread" => reach_by_number("signal by a thread, renderer", parent),
        "prctl" => drop(nix::sys::prctl::set_no_new_privs()),
        _ => {
            // SAFETY: PTRACE_TRACEME takes no pointer.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        }
    }
}

/// Guest memory that its owner truncates: what `vhost_proto::sigbus` does about it is allowed.
fn lose_memory() {
    let file = File::from(memfd_create("guest", MFdFlags::empty()).unwrap());
    file.set_len(0x4000).unwrap();
    let theirs = file.try_clone().unwrap();
    let (truncate, order) = channel::<()>();
    let (done, truncated) = channel();
    thread::spawn(move || {
        order.recv().unwrap();
        theirs.set_len(0).unwrap();
        done.send(()).unwrap();
    });
    confine(calls::DISPLAY);
    let mut memory = GuestMemory::default();
    let region = MemoryRegion { guest_addr: 0x1000, size: 0x4000, user_addr: 0x1000, mmap_offset: 0 };
    memory.add(region, file.into()).unwrap();
    memory.map().write_slice(&[7; 0x4000], GuestAddress(0x1000)).unwrap();
    truncate.send(()).unwrap();
    truncated.recv().unwrap();
    let mut bytes = [1; 0x4000];
    memory.map().read_slice(&mut bytes, GuestAddress(0x1000)).unwrap();
    assert_eq!((bytes, memory.lost()), ([0; 0x4000], Some(0x1000)));
}

/// A mapping that is not guest memory, and of which nothing is there.
fn lose_other_memory() {
    let [guest, other] = ["guest", "other"].map(|name| File::from(memfd_create(name, MFdFlags::empty()).unwrap()));
    guest.set_len(0x4000).unwrap();
    confine(calls::DISPLAY);
    let mut memory = GuestMemory::default();
    let region = MemoryRegion { guest_addr: 0x1000, size: 0x4000, user_addr: 0x1000, mmap_offset: 0 };
    memory.add(region, guest.into()).unwrap();
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, other.as_raw_fd(), 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: it is not: the page is beyond the end of its file, and the process ends.
    unsafe { ptr::read_volatile(page.cast::<u8>()) };
}

fn use_memory(act: &str) {
    let page = 4096;
    let file = File::from(memfd_create("guest", MFdFlags::empty()).unwrap());
    file.set_len(page as u64).unwrap();
    confine(calls::DISPLAY);
    let map = |protection: c_int, flags: c_int, fd: c_int| {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        unsafe { libc::mmap(ptr::null_mut(), page, protection, flags, fd, 0) }
    };
    let (read_write, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    match act {
        "map to execute" => assert_eq!(map(read_write | libc::PROT_EXEC, anonymous, -1), libc::MAP_FAILED),
        "protect to execute" => {
            let memory = map(read_write, anonymous, -1);
            // SAFETY: the page is this function's alone.
            unsafe { libc::mprotect(memory, page, libc::PROT_READ | libc::PROT_EXEC) };
        }
        "map a file" => {
            assert_eq!(file.metadata().unwrap().len(), page as u64);
            let memory = map(read_write, libc::MAP_SHARED, file.as_raw_fd());
            assert_ne!(memory, libc::MAP_FAILED);
            // SAFETY: the page is this function's alone. This is how a page of a file that was cut off is replaced.
            let replaced = unsafe { libc::mmap(memory, page, read_write, anonymous | libc::MAP_FIXED, -1, 0) };
            assert_eq!(replaced, memory);
            // SAFETY: nobody uses it any more.
            assert_eq!(unsafe { libc::munmap(memory, page) }, 0);
        }
        _ => {
            let mut blocks: Vec<Vec<u8>> = (0..24).map(|power| vec![1; 1 << power]).collect();
            blocks.iter_mut().for_each(|block| block.resize(block.len() * 3, 2));
            black_box(&blocks);
        }
    }
}

fn fail(act: &str) {
    confine(calls::DISPLAY);
    match act {
        "panic" => panic!("as ever"),
        "abort" => std::process::abort(),
        // SAFETY: it is not: nothing is mapped there, and the process ends.
        _ => unsafe { ptr::write_volatile(black_box(ptr::without_provenance_mut::<u64>(4096)), 1) },
    }
}
