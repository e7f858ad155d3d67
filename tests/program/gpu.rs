//! `vhost-user-gpu`: the rules for all back-end programs, and its own options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

before_serving!(crate::gpu::here, crate::gpu::subject);
serving!(crate::gpu::here, crate::gpu::subject);

/// It needs nothing that this machine may not have.
fn here(test: impl FnOnce()) {
    test();
}

fn subject() -> Subject {
    Subject {
        name: "vhost-user-gpu",
        binary: env!("CARGO_BIN_EXE_vhost-user-gpu"),
        device_type: "gpu",
        known_features: &["render-node", "virgl"],
        own_options: &["--max-hostmem=SIZE", "--display=MODE", "--direct-scanout", "--virgl", "--render-node=PATH"],
        arguments: Vec::new(),
        _device: None,
        another: subject,
    }
}

#[test]
fn what_it_is_not_asked_is_ignored_beside_print_capabilities() {
    let lines: [&[&str]; 2] = [
        &["--virgl", "--render-node=/nowhere", "--print-capabilities"],
        &["--max-hostmem=lots", "--log-level=loud", "--print-capabilities"],
    ];
    for line in lines {
        crate::capabilities::assert_printed(&subject(), &subject().run_alone(line));
    }
}

#[test]
fn no_render_node_is_claimed_where_there_is_none() {
    let nodes = std::fs::read_dir("/dev/dri").map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("renderD")).count()
    });
    let ran = subject().run_alone(&["--print-capabilities"]);
    // With one, libvirt would start the program with --render-node, or not at all.
    assert!(nodes > 0 || !ran.stdout.contains("render-node"));
}

#[test]
fn sizes_that_make_no_sense_are_named_in_one_line() {
    for (argument, part) in [
        ("--max-hostmem=lots", "lots"),
        ("--max-hostmem=0", "--max-hostmem"),
        ("--max-hostmem=-1M", "-1M"),
        ("--max-hostmem=99999999999G", "99999999999G"),
    ] {
        subject().run(&["--fd=3", argument]).assert_refused(2, part);
    }
    subject().run(&[OsString::from_vec(b"--max-hostmem=\xff".to_vec())]).assert_refused(2, "");
}

#[test]
fn every_size_is_taken() {
    for size in ["1", "65536", "64K", "256M", "2g"] {
        let (mut program, front_end) = subject().on_fd(&["--max-hostmem", size]);
        drop(front_end);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{size}");
    }
}

#[test]
fn a_way_to_the_display_that_there_is_not_is_named_in_one_line() {
    for argument in ["--display=", "--display=gl", "--display=Pixels"] {
        subject().run(&["--fd=3", argument]).assert_refused(2, "auto, pixels or dmabuf");
    }
    subject().run(&["--fd=3", "--display=auto", "--display=pixels"]).assert_refused(2, "twice");
    subject().run(&["--fd=3", "--display=pixels", "--direct-scanout"]).assert_refused(2, "exclude");
    subject().run(&["--fd=3", "--direct-scanout=yes"]).assert_refused(2, "--direct-scanout");
}

#[test]
fn every_way_to_the_display_is_taken_and_one_that_is_not_to_be_had_is_done_without() {
    for mode in ["auto", "pixels", "dmabuf"] {
        let (mut program, front_end) = subject().on_fd(&["--display", mode]);
        drop(front_end);
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{mode}");
        let lacks = mode == "dmabuf" && !Path::new("/dev/udmabuf").exists();
        assert_eq!(program.stderr().contains("as pixels: /dev/udmabuf:"), lacks, "{mode}: {}", program.stderr());
    }
}

#[test]
fn an_option_of_3d_stops_the_program_early() {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    for line in [&["--virgl"][..], &["--render-node=/dev/dri/renderD128"], &["--render-node", "/dev/null"]] {
        let mut arguments = vec![socket.as_str()];
        arguments.extend(line);
        subject().run(&arguments).assert_refused(1, "not supported");
        assert!(!path.exists(), "it fails before it listens");
    }
}
