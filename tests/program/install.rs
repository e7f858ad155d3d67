//! `make install`: files where QEMU's and libvirt's search rules, and AppArmor, expect them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use super::*;

const DEVICES: [&str; 2] = ["gpu", "input"];

/// Runs `make` with this build's programs; the folder stands for the whole machine.
fn make(root: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("make");
    let built = Path::new(env!("CARGO_BIN_EXE_vhost-user-gpu")).parent().unwrap();
    assert_eq!(Path::new(env!("CARGO_BIN_EXE_vhost-user-input")).parent(), Some(built));
    command.arg(format!("BUILT={}", built.display())).arg(format!("DESTDIR={}", root.path().display())).args(arguments);
    // What a make around these tests was told is not for this one.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR"] {
        command.env_remove(name);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("make is installed")
}

#[track_caller]
fn assert_made(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All files below `folder`, as they would be named on the real machine.
fn files(root: &TempDir) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![root.path().to_owned()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(format!("/{}", path.strip_prefix(root.path()).unwrap().display()));
            }
        }
    }
    found.sort();
    found
}

/// The files of both programs, sorted.
fn all(libexec: &str, json: &str) -> Vec<String> {
    let mut all: Vec<_> =
        DEVICES.iter().flat_map(|device| [binary(libexec, device), described(json, device)]).collect();
    all.sort();
    all
}

fn binary(libexec: &str, device: &str) -> String {
    format!("{libexec}/vhost-user-{device}")
}

fn described(json: &str, device: &str) -> String {
    format!("{json}-vhost-seat-{device}.json")
}

/// Each program is in the folder `libexec`, and a file that begins with `json` describes it.
#[track_caller]
fn assert_installed(root: &TempDir, libexec: &str, json: &str) {
    assert_eq!(files(root), all(libexec, json));
    for device in DEVICES {
        assert_describes(root, &described(json, device), &binary(libexec, device), device);
    }
}

/// The rules of vhost-user.json's `VhostUserBackend`, as strict as libvirt, for which one bad file spoils all.
#[track_caller]
fn assert_describes(root: &TempDir, json: &str, binary: &str, device: &str) {
    let json = root.join(json.trim_start_matches('/'));
    let value: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let object = value.as_object().unwrap();
    assert!(object.keys().all(|key| ["description", "type", "binary", "tags"].contains(&key.as_str())));
    assert!(object["description"].is_string());
    assert!(object["tags"].as_array().unwrap().iter().all(Value::is_string));
    assert_eq!((object["type"].as_str(), object["binary"].as_str()), (Some(device), Some(binary)));
    assert_eq!(json.metadata().unwrap().permissions().mode() & 0o777, 0o644);

    let program = root.join(binary.trim_start_matches('/'));
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let output = Command::new(program).arg("--print-capabilities").output().unwrap();
    let capabilities: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(capabilities["type"], object["type"]);
}

#[test]
fn a_package_goes_where_apparmor_and_libvirt_look() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install", "PREFIX=/usr"]));
    assert_installed(&root, "/usr/libexec", "/usr/share/qemu/vhost-user/50");
}

#[test]
fn a_local_installation_is_announced_in_etc() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install"]));
    assert_installed(&root, "/usr/local/libexec", "/etc/qemu/vhost-user/50");
}

#[test]
fn folder_and_priority_can_be_chosen() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install", "PREFIX=/usr", "LIBEXECDIR=/usr/lib", "PRIORITY=40"]));
    assert_installed(&root, "/usr/lib", "/usr/share/qemu/vhost-user/40");
}

#[test]
fn many_jobs_at_once_install_the_same() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["-j8", "install", "PREFIX=/usr"]));
    assert_installed(&root, "/usr/libexec", "/usr/share/qemu/vhost-user/50");
}

#[test]
fn uninstalling_leaves_no_file() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install", "PREFIX=/usr"]));
    // Once more over itself: an update.
    assert_made(&make(&root, &["install", "PREFIX=/usr"]));
    assert_made(&make(&root, &["uninstall", "PREFIX=/usr"]));
    assert_eq!(files(&root), [""; 0]);
}

/// `make` refuses to do `verb`, and all files stay as they are.
#[track_caller]
fn assert_refuses(root: &TempDir, verb: &str, theirs: &str) {
    let before = files(root);
    for jobs in ["-j1", "-j8"] {
        let output = make(root, &[jobs, verb, "PREFIX=/usr"]);
        assert!(!output.status.success(), "{verb}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("{theirs} is another program")), "{stderr}");
        assert_eq!(files(root), before, "{verb}");
    }
}

#[test]
fn another_program_of_a_name_is_neither_overwritten_nor_removed_and_nothing_else_is_done() {
    for device in DEVICES {
        let root = TempDir::new().unwrap();
        let theirs = root.join(&format!("usr/libexec/vhost-user-{device}"));
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "QEMU's").unwrap();
        assert_refuses(&root, "install", &theirs.display().to_string());
        assert_refuses(&root, "uninstall", &theirs.display().to_string());
        assert_eq!(files(&root), [binary("/usr/libexec", device)]);

        // It came in the place of ours: the other one stays as well.
        fs::remove_file(&theirs).unwrap();
        assert_made(&make(&root, &["install", "PREFIX=/usr"]));
        fs::write(&theirs, "QEMU's").unwrap();
        assert_refuses(&root, "uninstall", &theirs.display().to_string());
        assert_eq!(files(&root), all("/usr/libexec", "/usr/share/qemu/vhost-user/50"));
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "QEMU's");
    }
}
