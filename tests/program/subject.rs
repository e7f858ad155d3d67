//! The program that a rule is about: what is known of it beforehand, and the ways to run it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use seat_frontend::Deadline;
use seat_frontend::control::FrontEnd;
use seat_frontend::program::{Program, SERVING};
use seat_uinput::Device;

use super::patience;

/// A program, with what it must be given so that it serves.
pub struct Subject {
    pub name: &'static str,
    pub binary: &'static str,
    /// Its device, in the words of vhost-user.json.
    pub device_type: &'static str,
    /// The features that vhost-user.json has for a program of that type.
    pub known_features: &'static [&'static str],
    /// The options that only this program has, as its help shows them.
    pub own_options: &'static [&'static str],
    /// What stands before all else on its command line.
    pub arguments: Vec<String>,
    /// What is plugged in meanwhile.
    pub _device: Option<Device>,
    /// Makes another one of it, with a device of its own.
    pub another: fn() -> Self,
}

impl Subject {
    /// Its command line: its own arguments, and `more`.
    pub fn command<S: AsRef<OsStr>>(&self, more: &[S]) -> Command {
        let mut command = Command::new(self.binary);
        command.args(&self.arguments).args(more);
        command
    }

    /// A shell that runs `script`, in which `exec "$0" "$@"` becomes the program with its own arguments and `more`.
    pub fn shell(&self, script: &str, more: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, self.binary]).args(&self.arguments).args(more);
        shell.args(SERVING);
        shell
    }

    /// Runs it to its end, with its own arguments and `more`.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, more: &[S]) -> Ran {
        self.to_end(self.command(more))
    }

    /// Runs it to its end, with these arguments alone.
    #[track_caller]
    pub fn run_alone<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let mut command = Command::new(self.binary);
        command.args(arguments);
        self.to_end(command)
    }

    /// Runs `command`, which is this program, to its end.
    #[track_caller]
    pub fn to_end(&self, command: Command) -> Ran {
        self.to_end_by(command, patience())
    }

    /// As [`Subject::to_end`], until then.
    #[track_caller]
    pub fn to_end_by(&self, command: Command, deadline: Deadline) -> Ran {
        let mut program = Program::from_command(command).unwrap();
        let status = program.wait(deadline).expect("it ends by itself").code();
        Ran { name: self.name, status, stdout: program.stdout(), stderr: program.stderr() }
    }

    /// Starts it, to listen at `path`.
    #[track_caller]
    pub fn spawn_at(&self, path: &Path) -> Program {
        let mut command = self.command(&[socket_path(path)]);
        command.args(SERVING);
        Program::from_command(command).unwrap()
    }

    /// It, listening at `path`.
    #[track_caller]
    pub fn listening_at(&self, path: &Path) -> Program {
        let mut program = self.spawn_at(path);
        program.wait_listening(path, patience()).unwrap();
        program
    }

    /// It, listening in a folder of its own.
    #[track_caller]
    pub fn listening(&self) -> Program {
        Program::listening(self.binary, &self.with(&[]), patience()).unwrap()
    }

    /// It, connected, with `more` on its command line, and the front end.
    #[track_caller]
    pub fn on_fd(&self, more: &[&str]) -> (Program, FrontEnd) {
        Program::on_fd(self.binary, &self.with(more)).unwrap()
    }

    /// It, with a listening socket as its descriptor, and that socket's path.
    #[track_caller]
    pub fn on_listening_fd(&self) -> (Program, PathBuf) {
        Program::on_listening_fd(self.binary, &self.with(&[])).unwrap()
    }

    /// It, with any descriptor.
    #[track_caller]
    pub fn with_fd(&self, fd: OwnedFd) -> Program {
        Program::with_fd(self.binary, fd, &self.with(&[])).unwrap()
    }

    fn with<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    /// It failed with one line that has `part` in it.
    #[track_caller]
    pub fn assert_one_line(&self, stderr: &str, part: &str) {
        assert_one_line(self.name, stderr, part);
    }
}

/// `--socket-path=` and the path, which need not be text.
pub fn socket_path(path: &Path) -> OsString {
    let mut argument = OsString::from("--socket-path=");
    argument.push(path);
    argument
}

/// A program that was started to end by itself.
pub struct Ran {
    name: &'static str,
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// It failed as it should: `status`, nothing on stdout, one line on stderr that has `part` in it.
    #[track_caller]
    pub fn assert_refused(&self, status: i32, part: &str) {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_one_line(self.name, &self.stderr, part);
    }
}

#[track_caller]
fn assert_one_line(name: &str, stderr: &str, part: &str) {
    assert!(stderr.starts_with(&format!("{name}: ")) && stderr.ends_with('\n'), "{stderr:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    assert!(stderr.contains(part), "{stderr:?} has no {part:?}");
}
