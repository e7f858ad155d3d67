//! Whether a renderer can be had, tried in another process: what a driver does to that one (it crashes, it hangs, it prints)
//! is nothing to this one.
//!
//! The program runs itself again with [`OPTION`] alone on its command line. That process opens the renderer, and only if that
//! worked writes a byte to its standard input, which is a socket here. Nothing comes from one that ended; one that takes
//! longer than [`PATIENCE`] is killed. It is not in the help: nobody else has a use for it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::write;

use crate::gpu::virgl::Renderer;

/// With `=NODE` for a GPU, without for software.
const OPTION: &str = "--probe-renderer";

/// How long a renderer may take to open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a renderer can be had on `node`, or in software.
pub fn works(node: Option<&Path>) -> bool {
    ask(node).unwrap_or(false)
}

fn ask(node: Option<&Path>) -> io::Result<bool> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut option = OsString::from(OPTION);
    if let Some(node) = node {
        option.push("=");
        option.push(node);
    }
    // Its end of the socket is closed here as soon as it runs.
    let mut child = Command::new("/proc/self/exe")
        .arg(option)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let works = ours.read_exact(&mut [0]).is_ok();
    child.kill()?;
    // Not waited for: one that hangs in a driver of the kernel's does not even end then.
    child.try_wait()?;
    Ok(works)
}

/// What is to be tried, if that is all that the command line says.
pub fn asked(arguments: &[OsString]) -> Option<Option<PathBuf>> {
    let [argument] = arguments else { return None };
    match argument.as_bytes().strip_prefix(OPTION.as_bytes())? {
        [] => Some(None),
        [b'=', node @ ..] => Some(Some(PathBuf::from(OsStr::from_bytes(node)))),
        _ => None,
    }
}

/// Tries it, and tells whoever is at standard input if it worked.
pub fn run(node: Option<&Path>) -> ExitCode {
    // Nobody waits for the answer of one whose asker is gone.
    let bound = set_pdeathsig(Signal::SIGKILL).is_ok();
    let works = bound && Renderer::open(node).is_ok() && write(io::stdin(), b"y").is_ok();
    if works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_asked_for_by_one_argument_alone() {
        let asked = |line: &[&str]| asked(&line.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["--probe-renderer"]), Some(None));
        assert_eq!(asked(&["--probe-renderer=/dev/dri/renderD128"]), Some(Some("/dev/dri/renderD128".into())));
        for line in [&[][..], &["--probe-renderers"], &["--probe-renderer", "--fd=3"], &["--print-capabilities"]] {
            assert_eq!(asked(line), None, "{line:?}");
        }
    }
}
