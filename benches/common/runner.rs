//! What is asked of a bench on the command line, on what machine it runs, and its groups one after the other.

use std::process::ExitCode;
use std::time::Duration;

use super::Result;
use super::table::{self, Row};

/// A group of figures that share their set-up.
pub type Group<B> = (&'static str, fn(&B) -> Result<Vec<Row>>);

/// What was asked for: `[--quick] [FILTER]...`.
pub struct Request {
    quick: bool,
    filters: Vec<String>,
}

impl Request {
    /// From the arguments, of which cargo itself adds `--bench`.
    pub fn new(args: &[String]) -> Request {
        Request {
            quick: args.iter().any(|arg| arg == "--quick"),
            filters: args.iter().filter(|arg| !arg.starts_with("--")).cloned().collect(),
        }
    }

    /// One of two times, in milliseconds: when there is no hurry, and when there is.
    pub fn time(&self, full: u64, quick: u64) -> Duration {
        Duration::from_millis(if self.quick { quick } else { full })
    }

    fn wants(&self, group: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| group.contains(filter))
    }

    /// Runs the groups that are wanted and prints their table.
    pub fn run<B>(&self, bench: &B, groups: &[Group<B>]) -> ExitCode {
        let mut rows = Vec::new();
        for (name, run) in groups.iter().filter(|(name, _)| self.wants(name)) {
            eprintln!("… {name}");
            match run(bench) {
                Ok(more) => rows.extend(more),
                Err(error) => {
                    eprintln!("{name}: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        table::print(&rows);
        ExitCode::SUCCESS
    }
}

/// On what machine, and how busy it is.
pub fn heading() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_machine = if cpu.contains(" hypervisor") { ", a virtual machine" } else { "" };
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("{}, {cores} cores{virtual_machine}, Linux {}", model.unwrap_or("unknown processor"), kernel.trim());
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    println!("load before the start: {load}");
}
