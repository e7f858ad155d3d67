//! What a command line means, and which ones mean nothing.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::cli::gpu::GpuProgram;
use crate::cli::input::InputProgram;

/// A program with one option of its own.
#[derive(Debug, Default)]
struct Toy {
    colour: Option<OsString>,
}

impl Program for Toy {
    const NAME: &'static str = "toy";
    const DEVICE_TYPE: &'static str = "gpu";
    const PURPOSE: &'static str = "for tests";
    const HELP: &'static str = "";

    fn features() -> Vec<&'static str> {
        Vec::new()
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        match name {
            "colour" => set(&mut self.colour, name, parser.value()?),
            _ => Err(UsageError::Unknown(name.to_owned())),
        }
    }

    fn serve(self, _start: super::super::Start) -> Result<(), super::super::Failure> {
        Ok(())
    }
}

fn read<P: Program>(line: &[&str]) -> Result<Request<P>, UsageError> {
    parse(line.iter().map(OsString::from).collect())
}

fn served<P: Program + std::fmt::Debug>(line: &[&str]) -> (P, SocketFrom, LevelFilter) {
    match read(line) {
        Ok(Request::Serve { program, socket, log_level, .. }) => (program, socket, log_level),
        other => panic!("{line:?}: {other:?}"),
    }
}

fn complaint<P: Program + std::fmt::Debug>(line: &[&str]) -> String {
    read::<P>(line).expect_err("refused").to_string()
}

#[test]
fn a_value_follows_after_a_sign_or_as_the_next_argument() {
    for line in [&["--socket-path=/a/b"][..], &["--socket-path", "/a/b"]] {
        assert_eq!(served::<Toy>(line).1, SocketFrom::Path(PathBuf::from("/a/b")));
    }
    for line in [&["--fd=7"][..], &["--fd", "7"]] {
        assert_eq!(served::<Toy>(line).1, SocketFrom::Fd(7));
    }
}

#[test]
fn a_path_need_not_be_text() {
    let argument = OsString::from_vec(b"--socket-path=/tmp/\xff".to_vec());
    let Ok(Request::Serve { socket, .. }) = parse::<Toy>(vec![argument]) else { panic!("refused") };
    assert_eq!(socket, SocketFrom::Path(OsString::from_vec(b"/tmp/\xff".to_vec()).into()));
}

#[test]
fn both_sockets_or_none_is_an_error() {
    assert_eq!(complaint::<Toy>(&["--socket-path=/a", "--fd=3"]), "--socket-path and --fd exclude each other");
    assert_eq!(complaint::<Toy>(&[]), "no socket: give --socket-path=PATH or --fd=FDNUM");
}

#[test]
fn the_sandbox_is_as_good_as_can_be_unless_said() {
    let sandbox = |line: &[&str]| match read::<Toy>(line) {
        Ok(Request::Serve { sandbox, .. }) => sandbox,
        other => panic!("{line:?}: {other:?}"),
    };
    assert_eq!(sandbox(&["--fd=3"]), Some(Strictness::BestEffort));
    assert_eq!(sandbox(&["--fd=3", "--sandbox=require"]), Some(Strictness::Required));
    assert_eq!(sandbox(&["--sandbox", "require", "--fd=3"]), Some(Strictness::Required));
    assert_eq!(sandbox(&["--no-sandbox", "--fd=3"]), None);
    assert_eq!(complaint::<Toy>(&["--fd=3", "--sandbox=no"]), "--sandbox=\"no\": not require");
    for line in [["--no-sandbox", "--sandbox=require"], ["--sandbox=require", "--no-sandbox"]] {
        assert_eq!(
            complaint::<Toy>(&["--fd=3", line[0], line[1]]),
            "--no-sandbox and --sandbox=require exclude each other"
        );
    }
}

#[test]
fn the_log_level_is_warn_unless_said() {
    assert_eq!(served::<Toy>(&["--fd=3"]).2, LevelFilter::Warn);
    assert_eq!(served::<Toy>(&["--fd=3", "--log-level=trace"]).2, LevelFilter::Trace);
    assert_eq!(
        complaint::<Toy>(&["--fd=3", "--log-level=loud"]),
        r#"--log-level="loud": not one of error, warn, info, debug, trace"#
    );
}

#[test]
fn a_program_takes_its_own_options() {
    assert_eq!(served::<Toy>(&["--colour", "red", "--fd=3"]).0.colour.as_deref(), Some(OsStr::new("red")));
}

#[test]
fn a_bad_number_is_refused() {
    for bad in ["", "x", "-1", "3x", "99999999999"] {
        assert_eq!(
            complaint::<Toy>(&[&format!("--fd={bad}")]),
            format!("--fd={bad:?}: not a file descriptor's number")
        );
    }
}

#[test]
fn an_option_given_twice_is_refused() {
    assert_eq!(complaint::<Toy>(&["--fd=3", "--fd=3"]), "--fd is given twice");
    assert_eq!(complaint::<Toy>(&["--fd=3", "--colour=a", "--colour=b"]), "--colour is given twice");
}

#[test]
fn what_is_not_an_option_is_refused() {
    for line in [&["--bogus"][..], &["--fd=3", "-x"], &["--fd=3", "word"], &["--fd=3", "--", "word"], &["--fd"]] {
        assert!(!complaint::<Toy>(line).is_empty(), "{line:?}");
    }
    assert_eq!(complaint::<Toy>(&["--print-capabilities=all"]), "--print-capabilities takes no value");
    assert!(read::<Toy>(&["--help=me"]).is_ok(), "the help is printed before its value is looked at");
}

#[test]
fn help_and_version_are_answered_where_they_stand() {
    assert!(matches!(read::<Toy>(&["--help"]), Ok(Request::Help)));
    assert!(matches!(read::<Toy>(&["-h", "--bogus"]), Ok(Request::Help)));
    assert!(matches!(read::<Toy>(&["--fd=3", "--version"]), Ok(Request::Version)));
    assert!(read::<Toy>(&["--bogus", "--help"]).is_err());
}

#[test]
fn the_gpus_size_is_a_number_of_bytes_above_0() {
    assert_eq!(served::<GpuProgram>(&["--fd=3"]).0.max_hostmem, None);
    for line in [&["--max-hostmem=64K", "--fd=3"][..], &["--fd=3", "--max-hostmem", "64K"]] {
        assert_eq!(served::<GpuProgram>(line).0.max_hostmem, Some(65536));
    }
    for bad in ["", "0", "lots", "-1M", "99999999999G"] {
        let expected = "not a size; give bytes above 0, or a number with K, M or G";
        assert_eq!(
            complaint::<GpuProgram>(&["--fd=3", &format!("--max-hostmem={bad}")]),
            format!("--max-hostmem={bad:?}: {expected}")
        );
    }
    assert_eq!(complaint::<GpuProgram>(&["--max-hostmem=1", "--max-hostmem=1"]), "--max-hostmem is given twice");
}

#[test]
fn the_options_of_3d_go_together_and_each_alone() {
    let asked = |line: &[&str]| {
        let GpuProgram { virgl, render_node, .. } = served(line).0;
        (virgl.is_some(), render_node)
    };
    let node = Some(PathBuf::from("/dev/dri/renderD128"));
    assert_eq!(asked(&["--fd=3"]), (false, None));
    assert_eq!(asked(&["--virgl", "--fd=3"]), (true, None));
    assert_eq!(asked(&["--fd=3", "--render-node=/dev/dri/renderD128"]), (false, node.clone()));
    assert_eq!(asked(&["--render-node", "/dev/dri/renderD128", "--virgl", "--fd=3"]), (true, node));
    assert_eq!(complaint::<GpuProgram>(&["--virgl", "--virgl"]), "--virgl is given twice");
    assert!(complaint::<GpuProgram>(&["--virgl=on", "--fd=3"]).contains("--virgl"));
}

/// All that a line says of the input device: its path, whether it is not grabbed, whether unplugging it is the end, and
/// the hotkey.
fn input(line: &[&str]) -> (PathBuf, bool, bool, Option<&'static str>) {
    let InputProgram { evdev_path, no_grab, exit_on_unplug, grab_toggle } = served(line).0;
    (evdev_path.expect("checked"), no_grab.is_some(), exit_on_unplug.is_some(), grab_toggle.map(|keys| keys.name))
}

#[test]
fn an_input_device_is_grabbed_and_waited_for_unless_said() {
    let path = PathBuf::from("/dev/input/event4");
    let asked = |more: &[&str]| input(&[&["--fd=3", "--evdev-path=/dev/input/event4"], more].concat());
    assert_eq!(asked(&[]), (path.clone(), false, false, None));
    assert_eq!(asked(&["--no-grab"]), (path.clone(), true, false, None));
    assert_eq!(asked(&["--exit-on-unplug"]), (path.clone(), false, true, None));
    assert_eq!(asked(&["--grab-toggle=alt-alt", "--exit-on-unplug"]), (path, false, true, Some("alt-alt")));
}

#[test]
fn the_inputs_values_follow_after_a_sign_or_as_the_next_argument() {
    for line in [
        &["--fd=3", "--evdev-path=/a/b", "--grab-toggle=scrolllock"][..],
        &["--evdev-path", "/a/b", "--grab-toggle", "scrolllock", "--fd", "3"],
    ] {
        assert_eq!(input(line), (PathBuf::from("/a/b"), false, false, Some("scrolllock")));
    }
    // Whatever follows is the value.
    assert_eq!(input(&["--fd=3", "--evdev-path", "--no-grab"]), (PathBuf::from("--no-grab"), false, false, None));
}

#[test]
fn an_inputs_path_need_not_be_text() {
    let arguments = vec!["--fd=3".into(), OsString::from_vec(b"--evdev-path=/dev/\xff".to_vec())];
    let Ok(Request::Serve { program, .. }) = parse::<InputProgram>(arguments) else { panic!("refused") };
    assert_eq!(program.evdev_path, Some(OsString::from_vec(b"/dev/\xff".to_vec()).into()));
}

#[test]
fn an_input_without_a_path_is_refused_after_all_else() {
    assert_eq!(complaint::<InputProgram>(&["--fd=3"]), "--evdev-path=PATH is missing");
    assert_eq!(complaint::<InputProgram>(&[]), "no socket: give --socket-path=PATH or --fd=FDNUM");
    assert_eq!(complaint::<InputProgram>(&["--fd=3", "--bogus"]), "unknown option --bogus");
    assert_eq!(complaint::<InputProgram>(&["--fd=3", "--max-hostmem=1"]), "unknown option --max-hostmem");
}

#[test]
fn a_hotkey_is_one_of_six() {
    let line = |keys: &str| ["--fd=3", "--evdev-path=/a", &format!("--grab-toggle={keys}")].map(str::to_owned);
    for name in ["ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock"] {
        assert_eq!(input(&line(name).each_ref().map(String::as_str)).3, Some(name));
    }
    for bad in ["", "ctrl", "Ctrl-Ctrl", "ctrl-alt", "ctrl-ctrl,alt-alt"] {
        let names = "ctrl-ctrl, alt-alt, shift-shift, meta-meta, scrolllock, ctrl-scrolllock";
        assert_eq!(
            complaint::<InputProgram>(&line(bad).each_ref().map(String::as_str)),
            format!("--grab-toggle={bad:?}: not one of {names}")
        );
    }
}

#[test]
fn a_hotkey_for_a_device_that_is_never_grabbed_is_refused() {
    for line in [["--no-grab", "--grab-toggle=alt-alt"], ["--grab-toggle=alt-alt", "--no-grab"]] {
        let line = [&["--evdev-path=/a", "--fd=3"], &line[..]].concat();
        assert_eq!(complaint::<InputProgram>(&line), "--no-grab and --grab-toggle exclude each other");
    }
}

#[test]
fn an_inputs_option_given_twice_is_refused() {
    for option in ["--evdev-path=/a", "--no-grab", "--exit-on-unplug", "--grab-toggle=alt-alt"] {
        let name = option.split('=').next().unwrap();
        assert_eq!(complaint::<InputProgram>(&["--fd=3", option, option]), format!("{name} is given twice"));
    }
}

#[test]
fn an_inputs_flag_takes_no_value() {
    for flag in ["--no-grab", "--exit-on-unplug"] {
        let words = complaint::<InputProgram>(&["--fd=3", "--evdev-path=/a", &format!("{flag}=yes")]);
        assert!(words.contains(flag) && words.contains("yes"), "{words}");
    }
}
