//! `make install`: files where QEMU's and libvirt's search rules, and AppArmor, expect them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use super::*;

/// Runs `make` with this build's program; the folder stands for the whole machine.
fn make(root: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("make");
    command.arg(format!("BINARY={BINARY}")).arg(format!("DESTDIR={}", root.path().display())).args(arguments);
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

/// The rules of vhost-user.json's `VhostUserBackend`, as strict as libvirt, for which one bad file spoils all.
#[track_caller]
fn assert_describes(root: &TempDir, json: &str, binary: &str) {
    let json = root.join(json.trim_start_matches('/'));
    let value: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let object = value.as_object().unwrap();
    assert!(object.keys().all(|key| ["description", "type", "binary", "tags"].contains(&key.as_str())));
    assert!(object["description"].is_string());
    assert!(object["tags"].as_array().unwrap().iter().all(Value::is_string));
    assert_eq!((object["type"].as_str(), object["binary"].as_str()), (Some("gpu"), Some(binary)));
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
    let (binary, json) = ("/usr/libexec/vhost-user-gpu", "/usr/share/qemu/vhost-user/50-vhost-seat-gpu.json");
    assert_eq!(files(&root), [binary, json]);
    assert_describes(&root, json, binary);
}

#[test]
fn a_local_installation_is_announced_in_etc() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install"]));
    let (binary, json) = ("/usr/local/libexec/vhost-user-gpu", "/etc/qemu/vhost-user/50-vhost-seat-gpu.json");
    assert_eq!(files(&root), [json, binary]);
    assert_describes(&root, json, binary);
}

#[test]
fn folder_and_priority_can_be_chosen() {
    let root = TempDir::new().unwrap();
    assert_made(&make(&root, &["install", "PREFIX=/usr", "LIBEXECDIR=/usr/lib", "PRIORITY=40"]));
    let (binary, json) = ("/usr/lib/vhost-user-gpu", "/usr/share/qemu/vhost-user/40-vhost-seat-gpu.json");
    assert_describes(&root, json, binary);
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

#[test]
fn another_program_of_the_name_is_neither_overwritten_nor_removed() {
    let root = TempDir::new().unwrap();
    let theirs = root.join("usr/libexec/vhost-user-gpu");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "QEMU's").unwrap();
    for verb in ["install", "uninstall"] {
        let output = make(&root, &[verb, "PREFIX=/usr"]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("another program"));
    }
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "QEMU's");
}
