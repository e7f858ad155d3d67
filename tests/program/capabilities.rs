//! `--print-capabilities`: JSON on stdout, status 0, whatever stands beside it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::Value;

use super::*;

fn features(ran: &Ran) -> Vec<String> {
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    let features = value["features"].as_array().expect("libvirt wants an array, empty or not");
    features.iter().map(|feature| feature.as_str().unwrap().to_owned()).collect()
}

/// What `ran` printed are the capabilities of `subject`; returns the features.
#[track_caller]
pub fn assert_printed(subject: &Subject, ran: &Ran) -> Vec<String> {
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["type"], subject.device_type);
    let features = features(ran);
    for feature in &features {
        assert!(subject.known_features.contains(&feature.as_str()), "{feature}");
    }
    assert!(ran.stdout.ends_with('\n'));
    features
}

pub fn they_are_what_libvirt_reads(subject: &Subject) {
    assert_printed(subject, &subject.run_alone(&["--print-capabilities"]));
}

pub fn all_other_options_and_arguments_are_ignored(subject: &Subject) {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    let lines: [&[&str]; 8] = [
        &["--print-capabilities", "--bogus", "--fd=99"],
        &["--bogus", "--print-capabilities"],
        &["word", "-x", "--print-capabilities", "--", "word"],
        &["--fd=99", &socket, "--print-capabilities"],
        &["--fd", "--print-capabilities"],
        &["--help", "--print-capabilities"],
        &["--version", "--print-capabilities", "--print-capabilities"],
        &["--log-level=loud", "--print-capabilities"],
    ];
    for line in lines {
        assert_printed(subject, &subject.run_alone(line));
        assert_printed(subject, &subject.run(line));
    }
    let no_text = OsString::from_vec(b"--\xff".to_vec());
    assert_printed(subject, &subject.run_alone(&[no_text, OsString::from("--print-capabilities")]));
    assert!(!path.exists(), "the program does not perform its normal function");
}

pub fn no_feature_is_named_whose_option_is_refused(subject: &Subject) {
    for feature in features(&subject.run_alone(&["--print-capabilities"])) {
        let option = format!("--{feature}");
        let ran = subject.run_alone(&[option.as_str(), "/dev/null", "--fd=99"]);
        for refusal in ["not supported", "unknown option"] {
            assert!(!ran.stderr.contains(refusal), "{option}: {}", ran.stderr);
        }
    }
}
