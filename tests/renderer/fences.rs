//! Fences, told through the descriptor.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost_seat::gpu::virgl::{Refused, Renderer, Retired};

use crate::Case;
use crate::support::{clear, picture};

pub const CASES: &[Case] = &[
    ("fences_are_told_in_order_once_the_descriptor_says_so", in_order),
    ("a_contexts_own_fences_are_told_apart", own),
    ("fences_outlive_a_context_that_ends_meanwhile", outlive),
];

/// Waits, for up to a minute each time, until `done` has what it wants.
fn retire_until(renderer: &mut Renderer, mut done: impl FnMut(Retired) -> bool) {
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
        fence == Retired::Global(40)
    });
    assert!(told.iter().all(|fence| matches!(fence, Retired::Global(_))), "{told:?}");
    let sequence = |fence: &Retired| if let Retired::Global(sequence) = fence { *sequence } else { 0 };
    assert!(told.is_sorted_by_key(sequence), "{told:?}");
    let mut more = Vec::new();
    renderer.retire(&mut |fence| more.push(fence));
    assert_eq!(more, []);
}

fn own(renderer: &mut Renderer) {
    renderer.create_context(1, 0, b"one").unwrap();
    renderer.create_context(2, 2, b"two").unwrap();
    let (first, second) = (1 << 40 | 7, 8);
    renderer.fence_on(1, 0, first).unwrap();
    renderer.fence_on(2, 0, second).unwrap();
    let mut told = Vec::new();
    retire_until(renderer, |fence| {
        told.push(fence);
        told.len() == 2
    });
    told.sort_by_key(|fence| matches!(fence, Retired::Ring { ctx: 2, .. }));
    let ring = |ctx, fence| Retired::Ring { ctx, ring: 0, fence };
    assert_eq!(told, [ring(1, first), ring(2, second)]);
    assert_eq!(renderer.fence_on(3, 0, 1), Err(Refused), "no such context");
    assert_eq!(renderer.fence_on(1, 77, 1), Err(Refused), "no such timeline");
    renderer.destroy_context(1);
    renderer.destroy_context(2);
}

fn outlive(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 2048, 2048)).unwrap();
    for round in 1..=50 {
        renderer.create_context(1, 0, b"ends").unwrap();
        renderer.attach_resource(1, &texture);
        let (mut commands, dwords) = clear(1, [0.0; 4]);
        renderer.submit(1, &mut commands, dwords).unwrap();
        renderer.fence(1000 + round).unwrap();
        renderer.destroy_context(1);
        retire_until(renderer, |fence| fence == Retired::Global(1000 + round));
        // What was told twice.
        renderer.retire(&mut |_| {});
    }
}
