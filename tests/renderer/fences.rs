//! Fences, told through the descriptor.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost_seat::gpu::virgl::Renderer;

use crate::Case;
use crate::support::{clear, picture};

pub const CASES: &[Case] = &[
    ("fences_are_told_in_order_once_the_descriptor_says_so", in_order),
    ("fences_outlive_contexts_that_end_meanwhile", outlive),
];

/// Waits, for up to a minute each time, until `done` has what it wants.
fn retire_until(renderer: &mut Renderer, mut done: impl FnMut(u32) -> bool) {
    let fd = renderer.poll_fd().unwrap();
    loop {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(60_000u16)), Ok(1), "no fence is done");
        let mut over = false;
        renderer.retire(&mut |fence| over |= done(fence));
        if over {
            return;
        }
    }
}

fn in_order(renderer: &mut Renderer) {
    let mut told = Vec::new();
    for sequence in 1..=40 {
        renderer.fence(sequence).unwrap();
    }
    retire_until(renderer, |fence| {
        told.push(fence);
        fence == 40
    });
    assert!(told.is_sorted(), "{told:?}");
    let mut more = Vec::new();
    renderer.retire(&mut |fence| more.push(fence));
    assert!(more.is_empty(), "{more:?}");
}

/// Some wait, some are waited for just then, and every context goes with work of its own under way.
fn outlive(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 2048, 2048)).unwrap();
    for round in 1..=50 {
        for ctx in 1..=3 {
            renderer.create_context(ctx, 0, b"ends").unwrap();
            renderer.attach_resource(ctx, &texture);
            let (mut commands, dwords) = clear(1, [0.0; 4]);
            renderer.submit(ctx, &mut commands, dwords).unwrap();
            renderer.fence(1000 + 10 * round + ctx).unwrap();
        }
        for ctx in [2, 1, 3] {
            renderer.destroy_context(ctx);
        }
        retire_until(renderer, |fence| fence == 1003 + 10 * round);
        // What was told twice.
        renderer.retire(&mut |_| {});
    }
}
