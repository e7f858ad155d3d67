//! Capabilities: root becomes a user who owns root's files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};

use seat_frontend::program::TempDir;
use vhost_seat::sandbox::capabilities::drop_all;

use super::{NOBODY, in_thread, is_root};

/// This thread's sets.
fn sets() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].map(of).into()
}

#[test]
fn no_set_has_any_and_none_comes_back() {
    in_thread(|| {
        drop_all().unwrap();
        assert!(sets().iter().all(|set| set.bytes().all(|digit| digit == b'0')), "{:?}", sets());
        for capability in caps::all() {
            assert!(caps::raise(None, caps::CapSet::Effective, capability).is_err(), "{capability}");
        }
        drop_all().expect("a second time is as good");
    });
}

#[test]
fn anothers_files_are_out_of_reach_and_ones_own_are_not() {
    let folder = TempDir::new().unwrap();
    let (own, others) = (folder.join("own"), folder.join("others"));
    for file in [&own, &others] {
        fs::write(file, "").unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }
    if is_root() {
        chown(&others, Some(NOBODY), Some(NOBODY)).unwrap();
        File::open(&others).expect("root can");
    }
    in_thread(|| {
        drop_all().unwrap();
        OpenOptions::new().read(true).write(true).open(&own).unwrap();
        if is_root() {
            assert_eq!(File::open(&others).unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert!(chown(&own, Some(NOBODY), None).is_err());
        }
        fs::remove_file(&own).expect("the folder is its own");
    });
}
