//! Landlock: what is no rule's is out of reach.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use seat_frontend::program::TempDir;
use vhost_seat::sandbox::folders::{Error, Folders};
use vhost_seat::sandbox::{Needs, Sandbox, Stage, Strictness};

use super::in_thread;

fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

fn has_landlock() -> bool {
    strict().handle_access(AccessFs::from_all(ABI::V1)).is_ok()
}

fn has_ports() -> bool {
    strict().handle_access(AccessNet::from_all(ABI::V4)).is_ok()
}

fn has_scopes() -> bool {
    strict().scope(Scope::from_all(ABI::V6)).is_ok()
}

/// In a thread that has `needs` and no more; a kernel without Landlock refuses to have that thread.
fn confined(needs: &Needs, body: impl FnOnce() + Send) {
    in_thread(|| {
        nix::sys::prctl::set_no_new_privs().unwrap();
        match Folders::prepare(needs) {
            Ok(folders) => {
                assert!(has_landlock());
                folders.restrict().unwrap();
                body();
            }
            Err(Error::Absent) => assert!(!has_landlock()),
            Err(other) => panic!("{other}"),
        }
    });
}

#[track_caller]
fn assert_denied<T>(what: io::Result<T>) {
    assert_eq!(what.map(|_| ()).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

#[test]
fn without_rules_no_file_is_opened_made_changed_or_removed() {
    let folder = TempDir::new().unwrap();
    let file = folder.join("file");
    fs::write(&file, "kept").unwrap();
    let before = File::open(&file).unwrap();
    confined(&Needs::default(), || {
        assert_denied(File::open("/etc/passwd"));
        assert_denied(File::open(&file));
        assert_denied(open_to_write(&file));
        assert_denied(fs::read_dir("/"));
        assert_denied(fs::write(folder.join("new"), ""));
        assert_denied(fs::create_dir(folder.join("new")));
        assert_denied(fs::remove_file(&file));
        assert_denied(fs::rename(&file, folder.join("moved")));
        assert_denied(UnixListener::bind(folder.join("socket")));
        assert_denied(Command::new("/bin/true").status());
        assert_eq!(before.metadata().unwrap().len(), 4, "what is open stays open");
        assert!(file.symlink_metadata().is_ok(), "looking is free");
    });
}

#[test]
fn files_are_removed_in_their_folder_and_nothing_else() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (socket, others) = (folder.join("socket"), other.join("socket"));
    let _listeners = [&socket, &others].map(|path| UnixListener::bind(path).unwrap());
    let needs = Needs { removes_in: vec![folder.path().to_owned()], ..Needs::default() };
    confined(&needs, || {
        assert_denied(fs::remove_file(&others));
        assert_denied(fs::write(folder.join("new"), ""));
        assert_denied(fs::read_dir(folder.path()));
        fs::remove_file(&socket).unwrap();
    });
}

#[test]
fn files_are_opened_in_their_folder_by_links_from_anywhere_and_nothing_else() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (node, link) = (folder.join("event0"), other.join("by-id"));
    let needs = Needs { opens_in: vec![folder.path().to_owned()], ..Needs::default() };
    fs::write(other.join("event0"), "").unwrap();
    std::os::unix::fs::symlink(&node, &link).unwrap();
    let (folder, other, node, link) = (&folder, &other, &node, &link);
    let ((ready, begin), (plugged, wait)) = (channel(), channel());
    thread::scope(|scope| {
        scope.spawn(move || {
            confined(&needs, move || {
                ready.send(()).unwrap();
                wait.recv().unwrap();
                open_to_write(node).unwrap();
                open_to_write(link).unwrap();
                assert_denied(open_to_write(&other.join("event0")));
                assert_denied(fs::remove_file(node));
                assert_denied(fs::write(folder.join("new"), ""));
            });
        });
        // Nobody is there to begin where there is no Landlock.
        if begin.recv().is_ok() {
            // It comes back after the rules were made.
            fs::write(node, "").unwrap();
            plugged.send(()).unwrap();
        }
    });
}

#[test]
fn the_network_is_out_of_reach() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    confined(&Needs::default(), || {
        if has_ports() {
            assert_denied(TcpStream::connect(address));
            assert_denied(TcpListener::bind("127.0.0.1:0"));
        }
    });
}

#[test]
fn other_processes_are_out_of_reach() {
    let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(other.id().cast_signed());
    let name = SocketAddr::from_abstract_name(format!("seat-sandbox-{}", std::process::id())).unwrap();
    let _listener = UnixListener::bind_addr(&name).unwrap();
    confined(&Needs::default(), || {
        if has_scopes() {
            assert_eq!(kill(pid, None), Err(Errno::EPERM));
            assert_denied(UnixStream::connect_addr(&name));
        }
    });
    kill(pid, None).expect("before, it was in reach");
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn a_kernel_without_it_is_refused_where_it_is_required() {
    let prepared = Sandbox::prepare(&Needs::default(), Strictness::Required);
    match prepared {
        Ok(_) => assert!(has_landlock()),
        Err(missing) => assert!(!has_landlock() && missing.stage == Stage::Folders, "{missing}"),
    }
    Sandbox::prepare(&Needs::default(), Strictness::BestEffort).unwrap();
}
