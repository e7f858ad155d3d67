//! The renderer as it is, in software: what it draws, what it refuses, what is left when it is gone.
//!
//! One process has one renderer, of one thread, opened before there are others: so this runner knows no threads. The cases
//! run one after the other, each with the renderer that the first one opened, but for those that open their own.
//!
//! `SEAT_RENDER_NODE=/dev/dri/renderD128` has them run on that GPU. Without it they are run a second time in a guest, whose
//! GPU is served by the program itself: its node exports DMABUFs as others do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests panic, choose their numbers, and this runner tells how they went"
)]

mod fences;
mod guest;
mod hostile;
mod life;
mod slots;
mod streams;
mod support;
mod textures;

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use vhost_seat::gpu::virgl::{OpenError, Renderer};
use vhost_seat::sandbox::{Needs, Sandbox, Strictness, calls};

/// The variable that names a GPU.
const NODE: &str = "SEAT_RENDER_NODE";

/// The GPU that is to be tested.
fn node() -> Option<PathBuf> {
    std::env::var_os(NODE).map(PathBuf::from)
}

/// A case, by its name.
type Case = (&'static str, fn(&mut Renderer));

/// The case that closes the renderer.
const LAST: &str = "a_closed_renderer_can_be_opened_again";

/// One that opens a renderer of its own after that.
const RINGS: &str = "a_fence_is_a_rings_where_its_context_has_that_ring";

/// The case that runs all others inside of the sandbox, in a process of its own, and the variable that tells that process.
const CONFINED: &str = "all_of_it_works_inside_of_the_sandbox";
const INSIDE: &str = "SEAT_RENDERER_INSIDE";

/// The case that runs all others on a GPU.
const ON_GPU: &str = "all_of_it_works_on_a_guests_gpu";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let cases: Vec<Case> =
        [textures::CASES, fences::CASES, hostile::CASES, streams::CASES, slots::CASES, life::CASES].concat();
    let cases: Vec<&Case> = cases.iter().filter(|(name, _)| wanted(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        println!("{LAST}: test\n{RINGS}: test\n{CONFINED}: test\n{ON_GPU}: test");
        return ExitCode::SUCCESS;
    }
    let inside = std::env::var_os(INSIDE).is_some();
    if cases.is_empty() && ![LAST, RINGS, CONFINED, ON_GPU].into_iter().any(wanted) {
        return ExitCode::SUCCESS;
    }
    let mut renderer = match if inside { open_inside() } else { Renderer::open(node().as_deref()) } {
        Ok(renderer) => renderer,
        Err(error @ (OpenError::Library(_) | OpenError::Start { on_node: false }))
            if std::env::var_os("CI").is_none() =>
        {
            let _ = writeln!(std::io::stderr(), "SKIPPED, not on this machine: {error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("no renderer: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut passed: Vec<bool> = cases.iter().map(|(name, case)| passes(name, || case(&mut renderer))).collect();
    if wanted(CONFINED) && !inside {
        passed.push(passes(CONFINED, confined));
    }
    if wanted(LAST) && !inside {
        passed.push(passes(LAST, || life::again(renderer)));
    } else {
        drop(renderer);
    }
    if wanted(RINGS) && !inside {
        passed.push(passes(RINGS, fences::on_rings));
    }
    // The laboratory has threads, so it comes when no renderer will be opened any more.
    if wanted(ON_GPU) && !inside && node().is_none() {
        passed.push(passes(ON_GPU, guest::all_on_its_gpu));
    }
    let failed = passed.iter().filter(|passed| !*passed).count();
    println!("\ntest result: {} passed; {failed} failed", passed.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As the program opens it.
fn open_inside() -> Result<Renderer, OpenError> {
    let mut needs = Needs { calls: calls::COMMON.to_vec(), ..Needs::default() };
    needs.add_renderer(node().as_deref());
    let mut sandbox = Sandbox::prepare(&needs, Strictness::BestEffort).unwrap();
    sandbox.give_up_rights().unwrap();
    let renderer = Renderer::open(node().as_deref())?;
    sandbox.enter("renderer").unwrap();
    Ok(renderer)
}

fn confined() {
    let again = Command::new(std::env::current_exe().unwrap()).env(INSIDE, "yes").output().unwrap();
    let (told, words) = (String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
    assert!(again.status.success() && told.contains("; 0 failed"), "{}\n{told}\n{words}", again.status);
}

fn passes(name: &str, case: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(case)) {
        Ok(()) => {
            println!("test {name} ... ok");
            true
        }
        Err(panic) => {
            println!("test {name} ... FAILED: {}", message(panic.as_ref()));
            false
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
