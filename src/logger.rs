//! Log lines to standard error: one line, one write(2), and nobody can make us wait or fill a disk.
//!
//! - A line is built in a fixed buffer and cut to fit it; control characters are escaped, so it stays one line.
//! - Before each write the descriptor is asked whether it can take one. A pipe that nobody reads costs lines, which are
//!   counted and owned up to in the next line that gets through, never time. A line is far below `PIPE_BUF`, so a pipe
//!   that has room takes it whole.
//! - What a guest or a front end can make us say over and over goes through a [`Budget`] (see [`log_within!`]).
//!
//! There is no time stamp: a journal adds its own.

mod budget;
mod line;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use budget::Budget;
use line::Line;

/// Lines that standard error could not take, not yet owned up to.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Where lines go, if not to standard error.
static INSTEAD: OnceLock<OwnedFd> = OnceLock::new();

static LOGGER: OnceLock<StderrLogger> = OnceLock::new();

struct StderrLogger {
    program: &'static str,
}

/// Sends what `log`'s macros say, down to `level`, to standard error from now on, each line after `program`'s name.
///
/// # Errors
/// There is a logger already.
pub fn init(program: &'static str, level: LevelFilter) -> Result<(), SetLoggerError> {
    log::set_logger(LOGGER.get_or_init(|| StderrLogger { program }))?;
    log::set_max_level(level);
    Ok(())
}

/// Sends all lines to `descriptor` instead, from now on. The first call counts.
pub fn write_to(descriptor: OwnedFd) {
    let _ = INSTEAD.set(descriptor);
}

/// One line on standard error whatever the level: why the program ends. `program: message`.
pub fn say(program: &str, message: fmt::Arguments<'_>) {
    let lost = LOST.swap(0, Ordering::Relaxed);
    let line = Line::new(lost, format_args!("{program}: {message}"));
    match INSTEAD.get() {
        Some(descriptor) => put(descriptor, &line, lost),
        None => put(&io::stderr(), &line, lost),
    }
}

impl Log for StderrLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (program, message) = (self.program, record.args());
        match record.level() {
            Level::Error => say(program, format_args!("error: {message}")),
            Level::Warn => say(program, format_args!("warning: {message}")),
            Level::Info => say(program, format_args!("{message}")),
            // These are for whoever reads the source too.
            Level::Debug => say(program, format_args!("debug: {}: {message}", record.target())),
            Level::Trace => say(program, format_args!("trace: {}: {message}", record.target())),
        }
    }

    fn flush(&self) {}
}

/// Writes `line` if `to` can take it now; else the line, and the `lost` ones that it owned up to, count as lost.
fn put(to: &impl AsFd, line: &Line, lost: u64) {
    if writable(to) != Ok(true) || nix::unistd::write(to, line.bytes()).is_err() {
        LOST.fetch_add(lost.saturating_add(1), Ordering::Relaxed);
    }
}

fn writable(to: &impl AsFd) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? != 0)
}

/// Logs at `$level` what `$budget` (a place of type [`Budget`](crate::logger::Budget)) still allows, and says how many
/// lines it kept back since the last one.
#[macro_export]
macro_rules! log_within {
    ($budget:expr, $level:expr, $($message:tt)+) => {
        if ::log::log_enabled!($level) {
            match $budget.allow() {
                ::core::option::Option::Some(0) => ::log::log!($level, $($message)+),
                ::core::option::Option::Some(more) => {
                    ::log::log!($level, "{} ({more} more like it)", ::core::format_args!($($message)+));
                }
                ::core::option::Option::None => {}
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::fs::File;
    use std::io::Read;

    use super::*;

    /// One test for all that counts in the one static.
    #[test]
    fn a_full_pipe_costs_lines_and_never_waits() {
        let (reader, writer): (OwnedFd, OwnedFd) = nix::unistd::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();

        put(&writer, &Line::new(0, format_args!("lost")), 0);
        put(&writer, &Line::new(0, format_args!("lost too")), 0);
        let lost = LOST.swap(0, Ordering::Relaxed);
        assert_eq!(lost, 2);

        let mut reader = File::from(reader);
        let mut filler = [0; 65536];
        reader.read_exact(&mut filler).unwrap();
        put(&writer, &Line::new(lost, format_args!("heard")), lost);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "heard (2 lines before it were lost)\n");
    }
}
