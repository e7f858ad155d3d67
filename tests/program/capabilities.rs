//! `--print-capabilities`: JSON on stdout, status 0, whatever stands beside it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::Value;

use super::*;

/// vhost-user.json's features of a gpu back end; libvirt acts on both.
const KNOWN: [&str; 2] = ["render-node", "virgl"];

#[track_caller]
fn assert_capabilities(ran: &Ran) {
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["type"], "gpu");
    let features = value["features"].as_array().expect("libvirt wants an array, empty or not");
    for feature in features {
        assert!(KNOWN.contains(&feature.as_str().unwrap()), "{feature}");
    }
    assert!(ran.stdout.ends_with('\n'));
}

#[test]
fn they_are_what_libvirt_reads() {
    assert_capabilities(&Ran::to_end(&["--print-capabilities"]));
}

#[test]
fn all_other_options_and_arguments_are_ignored() {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    let lines: [&[&str]; 9] = [
        &["--print-capabilities", "--bogus", "--fd=99"],
        &["--bogus", "--print-capabilities"],
        &["word", "-x", "--print-capabilities", "--", "word"],
        &["--fd=99", &socket, "--print-capabilities"],
        &["--fd", "--print-capabilities"],
        &["--help", "--print-capabilities"],
        &["--version", "--print-capabilities", "--print-capabilities"],
        &["--virgl", "--render-node=/nowhere", "--print-capabilities"],
        &["--max-hostmem=lots", "--log-level=loud", "--print-capabilities"],
    ];
    for line in lines {
        assert_capabilities(&Ran::to_end(line));
    }
    let no_text = OsString::from_vec(b"--\xff".to_vec());
    assert_capabilities(&Ran::to_end(&[no_text, OsString::from("--print-capabilities")]));
    assert!(!path.exists(), "the program does not perform its normal function");
}

#[test]
fn no_feature_is_named_whose_option_is_refused() {
    let ran = Ran::to_end(&["--print-capabilities"]);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    for feature in value["features"].as_array().unwrap() {
        let option = format!("--{}", feature.as_str().unwrap());
        let refused = Ran::to_end(&[option.as_str(), "/dev/null", "--fd=99"]);
        assert!(!refused.stderr.contains("not supported"), "{option}: {}", refused.stderr);
    }
}

#[test]
fn no_render_node_is_claimed_where_there_is_none() {
    let nodes = std::fs::read_dir("/dev/dri").map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("renderD")).count()
    });
    let ran = Ran::to_end(&["--print-capabilities"]);
    // With one, libvirt would start the program with --render-node, or not at all.
    assert!(nodes > 0 || !ran.stdout.contains("render-node"));
}
