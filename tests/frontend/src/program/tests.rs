use super::*;

fn sh(script: &str) -> Program {
    Program::spawn("/bin/sh", ["-c", script]).unwrap()
}

#[test]
fn output_and_status_are_caught() {
    let mut program = sh("echo out; echo err >&2; exit 3");
    assert_eq!(program.wait(Deadline::secs(10)).unwrap().code(), Some(3));
    assert_eq!((program.stdout().as_str(), program.stderr().as_str()), ("out\n", "err\n"));
}

#[test]
fn a_program_that_ignores_sigterm_runs_into_the_deadline() {
    let mut program = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
    let deadline = Deadline::secs(10);
    while program.stdout().is_empty() && !deadline.passed() {
        wait_readable(program.pidfd.as_fd(), Deadline::millis(1)).unwrap();
    }
    assert!(matches!(program.terminate(Deadline::millis(50)), Err(Error::TimedOut(_))));
    program.signal(Signal::SIGKILL).unwrap();
    assert_eq!(program.wait(Deadline::secs(10)).unwrap().signal(), Some(9));
}

#[test]
fn only_the_child_inherits_the_descriptor() {
    let (ours, theirs) = stream_pair().unwrap();
    let number = theirs.as_raw_fd();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("printf hello >&{number}")]);
    sys::inherit(&mut command, theirs.into());
    let mut program = Program::from_command(command).unwrap();
    assert_eq!(program.wait(Deadline::secs(10)).unwrap().code(), Some(0));
    let mut bytes = [0; 5];
    std::io::Read::read_exact(&mut &ours, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

#[test]
fn listening_is_seen_without_connecting() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("socket");
    assert!(!is_listening(&path).unwrap());
    let _listener = UnixListener::bind(&path).unwrap();
    assert!(is_listening(&path).unwrap());
}

#[test]
fn a_process_has_figures() {
    let measure = Measure::of(std::process::id()).unwrap();
    assert!(measure.resident > 0 && measure.anonymous > 0 && measure.threads > 0 && measure.fds > 2);
}
