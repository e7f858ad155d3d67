//! `no_new_privs`: a program that is executed from there has no more rights than its parent.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use seat_frontend::program::TempDir;

use super::{NOBODY, in_thread, is_root};

/// Whose rights `program`, which is `id`, has when nobody runs it.
fn user_of(program: &Path) -> u32 {
    let output = Command::new(program).arg("-u").uid(NOBODY).gid(NOBODY).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_program_that_gives_roots_rights_gives_none() {
    if !is_root() {
        // Only root can make such a program.
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let id = folder.join("id");
    assert!(Command::new("cp").args(["/usr/bin/id"]).arg(&id).status().unwrap().success());
    fs::set_permissions(&id, Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(user_of(&id), 0, "set-user-id means something in this folder");
    in_thread(|| {
        nix::sys::prctl::set_no_new_privs().unwrap();
        assert_eq!(user_of(&id), NOBODY);
    });
}
