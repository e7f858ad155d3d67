//! `vhost-user-gpu`: the rules for all back-end programs, and its own options.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;

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
fn a_render_node_that_is_none_stops_the_program_early() {
    let (_folder, path) = place();
    let socket = format!("--socket-path={}", path.display());
    let lines: [(&[&str], &str); 4] = [
        (&["--render-node=/nowhere/renderD128"], "/nowhere/renderD128"),
        (&["--virgl", "--render-node=/nowhere/renderD128"], "/nowhere/renderD128"),
        (&["--render-node", "/dev/null"], "not a render node"),
        (&["--virgl", "--render-node", "/dev/null"], "not a render node"),
    ];
    for (line, part) in lines {
        let mut arguments = vec![socket.as_str()];
        arguments.extend(line);
        subject().run(&arguments).assert_refused(1, part);
        assert!(!path.exists(), "it fails before it listens");
    }
}

/// The program in an environment of which a part is gone.
fn lacking(variable: &str, place: &Path, arguments: &[&str]) -> Ran {
    let mut command = subject().command(arguments);
    command.env(variable, place);
    subject().to_end(command)
}

#[test]
fn without_virglrenderer_there_is_no_3d_and_it_is_said() {
    let folder = TempDir::new().unwrap();
    // Found before the one that is installed, and no library.
    std::fs::write(folder.join("libvirglrenderer.so.1"), "").unwrap();
    let socket = format!("--socket-path={}", folder.join("socket").display());
    lacking("LD_LIBRARY_PATH", folder.path(), &["--virgl", &socket]).assert_refused(1, "libvirglrenderer.so.1");
    assert!(!folder.join("socket").exists());
    let ran = lacking("LD_LIBRARY_PATH", folder.path(), &["--print-capabilities"]);
    assert_eq!(crate::capabilities::assert_printed(&subject(), &ran), [""; 0]);
}

#[test]
fn without_a_driver_there_is_no_3d_and_it_is_said() {
    let Some(()) = renderer() else { return };
    let folder = TempDir::new().unwrap();
    let socket = format!("--socket-path={}", folder.join("socket").display());
    let ran = lacking("__EGL_VENDOR_LIBRARY_DIRS", folder.path(), &["--virgl", &socket]);
    ran.assert_refused(1, "cannot draw in software");
    assert!(!folder.join("socket").exists());
    let ran = lacking("__EGL_VENDOR_LIBRARY_DIRS", folder.path(), &["--print-capabilities"]);
    assert_eq!(crate::capabilities::assert_printed(&subject(), &ran), [""; 0]);
}

#[test]
fn without_opengl_there_is_no_3d_and_it_is_said() {
    let Some(()) = renderer() else { return };
    let folder = TempDir::new().unwrap();
    for library in ["libOpenGL.so.0", "libGL.so.1"] {
        std::fs::write(folder.join(library), "").unwrap();
    }
    let socket = format!("--socket-path={}", folder.join("socket").display());
    lacking("LD_LIBRARY_PATH", folder.path(), &["--virgl", &socket]).assert_refused(1, "libGL.so.1");
    assert!(!folder.join("socket").exists());
}

/// What it prints where its search for libraries finds those in `folder` first. Each of its tries may take its time.
fn capabilities_beside(folder: &Path) -> Vec<String> {
    let mut command = subject().command(&["--print-capabilities"]);
    command.env("LD_LIBRARY_PATH", folder);
    let ran = subject().to_end_by(command, Deadline::secs(300));
    crate::capabilities::assert_printed(&subject(), &ran)
}

#[test]
fn a_library_that_hangs_has_no_3d_and_takes_nothing_along() {
    let folder = TempDir::new().unwrap();
    // Nobody writes to it, so it is never open.
    nix::unistd::mkfifo(&folder.join("libvirglrenderer.so.1"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(capabilities_beside(folder.path()), [""; 0]);
}

/// The program while it tries a library of which it waits for the first byte, and that library; and the folder in `/proc` of
/// the process that does it.
fn while_it_tries(folder: &Path) -> (Program, File, PathBuf) {
    let library = folder.join("libvirglrenderer.so.1");
    nix::unistd::mkfifo(&library, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = subject().command(&["--print-capabilities"]);
    command.env("LD_LIBRARY_PATH", folder);
    let program = Program::from_command(command).unwrap();
    // It can be written to once somebody reads it.
    let mut open = File::options();
    let open = open.write(true).custom_flags(libc::O_NONBLOCK);
    let library = until(|| open.open(&library).ok());
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap();
    let tried = Path::new("/proc").join(children.trim());
    (program, library, tried)
}

/// What there is at last.
#[track_caller]
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = patience();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(!deadline.passed());
        std::thread::yield_now();
    }
}

#[test]
fn what_is_tried_has_none_of_the_programs_streams() {
    let folder = TempDir::new().unwrap();
    let (mut program, library, tried) = while_it_tries(folder.path());
    let stream = |number| std::fs::read_link(tried.join("fd").join(number)).unwrap();
    assert_eq!([stream("1"), stream("2")], [Path::new("/dev/null"); 2]);
    drop(library);
    assert_eq!(program.wait(Deadline::secs(300)).unwrap().code(), Some(0));
}

#[test]
fn what_is_tried_ends_with_the_program() {
    let folder = TempDir::new().unwrap();
    let (mut program, _library, tried) = while_it_tries(folder.path());
    program.signal(nix::sys::signal::Signal::SIGKILL).unwrap();
    program.wait(patience()).unwrap();
    // Gone, or nobody has asked after it yet.
    let state = || std::fs::read_to_string(tried.join("status")).unwrap_or_default();
    until(|| (state().is_empty() || state().contains("State:\tZ")).then_some(()));
}

#[test]
fn a_library_that_crashes_has_no_3d_and_takes_nothing_along() {
    let folder = TempDir::new().unwrap();
    // Any library, of which the beginning says that there is more.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.split_whitespace().find(|word| word.contains("/libc.so") || word.contains("/ld-musl")).unwrap();
    let beginning = std::fs::read(library).unwrap()[..4096].to_vec();
    std::fs::write(folder.join("libvirglrenderer.so.1"), beginning).unwrap();
    let mut command = subject().command(&["--probe-renderer"]);
    command.env("LD_LIBRARY_PATH", folder.path());
    assert_eq!(subject().to_end(command).status, None, "a signal ends it");
    assert_eq!(capabilities_beside(folder.path()), [""; 0]);
}

#[test]
fn a_try_is_not_an_option_among_others() {
    subject().run(&["--probe-renderer", "--fd=3"]).assert_refused(2, "unknown option --probe-renderer");
    subject().run(&["--fd=3", "--probe-renderer=/dev/dri/renderD128"]).assert_refused(2, "unknown option");
}

/// `None`, and a loud line, where this machine has no renderer; in CI it has to have one.
fn renderer() -> Option<()> {
    let ran = subject().run_alone(&["--print-capabilities"]);
    let found = crate::capabilities::assert_printed(&subject(), &ran).iter().any(|feature| feature == "virgl");
    assert!(found || std::env::var_os("CI").is_none(), "no renderer");
    if !found {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED, not on this machine: a renderer\n");
    }
    found.then_some(())
}

/// The files that it has mapped.
fn maps(program: &Program) -> String {
    std::fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap()
}

const LIBRARIES: [&str; 5] = ["libvirglrenderer", "libEGL", "libGL", "libgbm", "libLLVM"];

#[test]
fn without_3d_none_of_its_libraries_is_there() {
    let (program, mut front_end) = subject().on_fd(&[]);
    assert_served(&mut front_end);
    for library in LIBRARIES {
        assert!(!maps(&program).contains(library), "{library}");
    }
}

#[test]
#[cfg_attr(asan, ignore = "there the program keeps its rights: see SERVING")]
fn with_3d_it_serves_with_all_rights_given_up_in_all_threads() {
    let Some(()) = renderer() else { return };
    for more in [&["--virgl"][..], &["--virgl", "--log-level=debug"]] {
        let (program, mut front_end) = subject().on_fd(more);
        assert_served(&mut front_end);
        assert!(maps(&program).contains("libvirglrenderer"));
        assert!(crate::sandbox::assert_given_up_by_threads(&program) > 1);
    }
    let program = Program::listening(subject().binary, &["--virgl"], patience()).unwrap();
    assert_served(&mut program.connect().unwrap());
    crate::sandbox::assert_given_up_by_threads(&program);

    let (program, mut front_end) = subject().on_fd(&["--virgl", "--sandbox=require"]);
    if front_end.get_features().is_ok() {
        crate::sandbox::assert_given_up_by_threads(&program);
    }
}

#[test]
fn what_the_libraries_say_is_kept_from_the_programs_streams() {
    let Some(()) = renderer() else { return };
    let folder = TempDir::new().unwrap();
    let socket = folder.join("socket");
    let mut command = subject().command(&["--virgl"]);
    command.arg(subject::socket_path(&socket)).args(SERVING).env("EGL_LOG_LEVEL", "debug");
    let mut program = Program::from_command(command).unwrap();
    program.wait_listening(&socket, patience()).unwrap();
    assert_served(&mut FrontEnd::connect(&socket).unwrap());
    assert_eq!(program.terminate(patience()).unwrap().code(), Some(0));
    assert_eq!([program.stdout(), program.stderr()], ["", ""]);
}

#[test]
#[cfg_attr(asan, ignore = "Mesa's driver keeps 128 bytes, and is unloaded at the program's end")]
fn with_3d_it_ends_in_good_order() {
    let Some(()) = renderer() else { return };
    for more in [&[][..], &["--no-sandbox"]] {
        let line = [&["--virgl"], more].concat();
        let mut program = Program::listening(subject().binary, &line, patience()).unwrap();
        assert_served(&mut program.connect().unwrap());
        program.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(program.wait(patience()).unwrap().code(), Some(0), "{more:?}");
        assert_eq!(program.stderr(), "");
    }
}
