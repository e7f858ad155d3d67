//! Paths that can and can't be listened on, and descriptors that are and aren't a vhost-user socket.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, socket};

use super::*;

/// A folder of its own for one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("seat-socket-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A socket file whose listener is gone.
fn stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

/// Opened by us, but as if it had been inherited: without FD_CLOEXEC and without an owner.
fn passed(fd: impl Into<OwnedFd>) -> RawFd {
    let fd: OwnedFd = fd.into();
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd.into_raw_fd()
}

fn complaint(number: RawFd) -> String {
    inherited(number).expect_err("refused").to_string()
}

#[test]
fn a_listener_accepts_without_waiting_and_removes_its_file() {
    let folder = Folder::new();
    let path = folder.join("s");
    let listener = listen(&path).unwrap();
    assert!(listener.accept().unwrap().is_none());

    let client = UnixStream::connect(&path).unwrap();
    let served = listener.accept().unwrap().expect("a client waits");

    let flags = fcntl(&served, FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    drop((client, listener));
    assert!(!path.exists());
}

#[test]
fn a_file_that_came_in_place_of_ours_is_left_alone() {
    let folder = Folder::new();
    let path = folder.join("s");
    let listener = listen(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
    drop(other);
}

#[test]
fn a_file_that_is_gone_already_is_no_trouble() {
    let folder = Folder::new();
    let path = folder.join("s");
    let listener = listen(&path).unwrap();
    fs::remove_file(&path).unwrap();
    drop(listener);
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = Folder::new();
    let path = folder.join("s");
    stale(&path);
    let listener = listen(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_some());
}

#[test]
fn a_live_socket_is_an_error_and_lives_on() {
    let folder = Folder::new();
    let path = folder.join("s");
    let other = UnixListener::bind(&path).unwrap();
    assert!(matches!(listen(&path), Err(SocketError::InUse(named)) if named == path));
    drop(other.accept().unwrap());
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_socket_whose_queue_is_full_is_in_use() {
    let folder = Folder::new();
    let path = folder.join("s");
    let other = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&other, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _waits = UnixStream::connect(&path).unwrap();
    assert!(matches!(listen(&path), Err(SocketError::InUse(_))));
}

#[test]
fn a_live_datagram_socket_is_in_use() {
    let folder = Folder::new();
    let path = folder.join("s");
    let _other = UnixDatagram::bind(&path).unwrap();
    assert!(matches!(listen(&path), Err(SocketError::InUse(_))));
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    let (file, link) = (folder.join("file"), folder.join("link"));
    fs::write(&file, "kept").unwrap();
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for path in [&file, &link, &folder.0] {
        assert!(matches!(listen(path), Err(SocketError::NotASocket(named)) if named == *path));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn unusable_paths_are_named() {
    let folder = Folder::new();
    let missing = folder.join("missing/s");
    let long = folder.join(&"x".repeat(108));
    for path in [missing.as_path(), long.as_path(), Path::new(""), Path::new("/proc/s")] {
        let error = listen(path).expect_err("unusable");
        assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
    }
}

#[test]
fn a_pipe_where_the_folder_should_be_does_not_make_us_wait() {
    let folder = Folder::new();
    let pipe = folder.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(listen(&pipe.join("s")).is_err());
}

#[test]
fn somebody_who_sits_on_the_folders_lock_delays_but_does_not_stop_us() {
    let folder = Folder::new();
    let held = FolderLock::take(&folder.join("s")).expect("nobody else is here");
    let listener = listen(&folder.join("s")).unwrap();
    drop((held, listener));
}

#[test]
fn of_many_that_start_on_one_stale_socket_one_gets_it() {
    let folder = Folder::new();
    let path = folder.join("s");
    for _ in 0..200 {
        stale(&path);
        let start = std::sync::Barrier::new(8);
        let got: Vec<_> = std::thread::scope(|scope| {
            let one = || {
                start.wait();
                listen(&path)
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(got.iter().filter(|one| one.is_ok()).count(), 1, "{got:?}");
        let winner = got.iter().flatten().next().unwrap();
        UnixStream::connect(&path).unwrap();
        while winner.accept().unwrap().is_some() {}
        drop(got);
        assert!(!path.exists());
    }
}

#[test]
fn a_connected_descriptor_is_taken_over_and_its_flags_kept() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let number = passed(ours);
    let Ok(Endpoint::Connected(stream)) = inherited(number) else { panic!("refused") };
    assert_eq!(stream.as_raw_fd(), number);
    assert_eq!(fcntl(&stream, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    let flags = OFlag::from_bits_retain(fcntl(&stream, FcntlArg::F_GETFL).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK));
}

#[test]
fn a_peer_that_hung_up_already_still_counts_as_connected() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(inherited(passed(ours)), Ok(Endpoint::Connected(_))));
}

#[test]
fn a_listening_descriptor_is_told_apart_and_its_file_is_not_ours_to_remove() {
    let folder = Folder::new();
    let path = folder.join("s");
    let number = passed(UnixListener::bind(&path).unwrap());
    let Ok(Endpoint::Listening(listener)) = inherited(number) else { panic!("refused") };
    assert!(listener.accept().unwrap().is_none(), "does not wait");
    UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_some());
    drop(listener);
    assert!(path.exists());
}

#[test]
fn what_is_not_a_vhost_user_socket_is_refused() {
    let unbound = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    let packets = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::empty(), None).unwrap();
    let cases: [(RawFd, &str); 5] = [
        (passed(File::open("/dev/null").unwrap()), "not a socket"),
        (passed(UnixDatagram::unbound().unwrap()), "not a Unix stream socket"),
        (passed(TcpListener::bind("127.0.0.1:0").unwrap()), "not a Unix stream socket"),
        (passed(packets), "not a Unix stream socket"),
        (passed(unbound), "neither connected nor listening"),
    ];
    for (number, reason) in cases {
        assert_eq!(complaint(number), format!("--fd={number}: {reason}"));
    }
}

#[test]
fn numbers_that_are_not_ours_to_take_are_refused() {
    for number in [-1, 0, 1, 2] {
        assert_eq!(complaint(number), format!("--fd={number}: must be 3 or more"));
    }
    assert_eq!(complaint(1 << 20), format!("--fd={}: not open", 1 << 20));
    // std opened it, so it closes on exec: it can't have been passed to us.
    let own = File::open("/dev/null").unwrap();
    assert_eq!(complaint(own.as_raw_fd()), format!("--fd={}: was not passed to this program", own.as_raw_fd()));
    drop(own);
}
