//! What the benches share: samples that take turns, the table, and the ways to count.
//!
//! A runner of our own, and no bench crate: every figure is a ratio of two or three programs that take turns, and what a
//! harness is good at (finding the one small time of one closure, and comparing it with last week's) is what a shared
//! machine makes meaningless. A floor is the least that any back end would have to do, done by a child process (`role`)
//! that is woken in the same way, towards the same reader. Samples go round and round (`series`), so that a neighbour's
//! noise meets all alike. Times are shown and never asserted.

pub mod heap;
pub mod place;
pub mod role;
pub mod runner;
pub mod series;
pub mod strace;
pub mod table;

/// What a bench's own set-up can fail with.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
