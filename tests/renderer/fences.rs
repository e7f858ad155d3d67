//! Fences, told through the descriptor.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost_seat::gpu::budget::Budget;
use vhost_seat::gpu::command::CtxCreate;
use vhost_seat::gpu::fences::{Point, Timeline};
use vhost_seat::gpu::rendering::Rendering;
use vhost_seat::gpu::virgl::{Done, Renderer};

use crate::Case;
use crate::support::{clear, picture};

pub const CASES: &[Case] = &[
    ("fences_are_told_in_order_once_the_descriptor_says_so", in_order),
    ("fences_outlive_contexts_that_end_meanwhile", outlive),
    ("each_fence_of_a_context_is_told_alone_and_by_all_of_its_number", of_contexts),
    ("a_context_ends_once_its_fences_are_done", put_off),
    ("a_fence_of_a_context_that_is_not_there_is_refused", refused),
];

/// Waits, for up to a minute, until there is something to be told.
fn await_more(renderer: &Renderer) {
    let fd = renderer.poll_fd().unwrap();
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(60_000u16)), Ok(1), "no fence is done");
}

/// Waits until `done` has what it wants.
fn retire_until(renderer: &mut Renderer, mut done: impl FnMut(Done) -> bool) {
    loop {
        await_more(renderer);
        let mut over = false;
        renderer.retire(&mut |fence| over |= done(fence));
        if over {
            return;
        }
    }
}

fn in_order(renderer: &mut Renderer) {
    let asked: Vec<u64> = (0..40).map(|_| renderer.fence().unwrap()).collect();
    assert!(asked.is_sorted_by(|a, b| a < b), "{asked:?}");
    let mut told = Vec::new();
    retire_until(renderer, |done| {
        told.push(done);
        done == Done::Through(asked[39])
    });
    assert!(told.is_sorted_by_key(|done| done.fence()), "{told:?}");
    assert!(told.iter().all(|done| matches!(done, Done::Through(fence) if asked.contains(fence))), "{told:?}");
    assert_eq!(retired(renderer), []);
}

/// What is done just now.
fn retired(renderer: &mut Renderer) -> Vec<Done> {
    let mut done = Vec::new();
    renderer.retire(&mut |fence| done.push(fence));
    done
}

/// Has context `ctx` clear the texture that it has.
fn work(renderer: &mut Renderer, ctx: u32) {
    let (mut commands, dwords) = clear(1, [0.0; 4]);
    renderer.submit(ctx, &mut commands, dwords).unwrap();
}

/// Some wait, some are waited for just then, and every context goes with work of its own under way.
fn outlive(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 2048, 2048)).unwrap();
    for _ in 0..50 {
        let mut newest = 0;
        for ctx in 1..=3 {
            renderer.create_context(ctx, 0, b"ends").unwrap();
            renderer.attach_resource(ctx, &texture);
            work(renderer, ctx);
            newest = renderer.fence().unwrap();
        }
        for ctx in [2, 1, 3] {
            renderer.destroy_context(ctx);
            assert!(!renderer.has_context(ctx));
        }
        retire_until(renderer, |done| done == Done::Through(newest));
        // What was told twice.
        renderer.retire(&mut |_| {});
    }
}

fn of_contexts(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 512, 512)).unwrap();
    for ctx in [1, 2] {
        renderer.create_context(ctx, 0, b"fenced").unwrap();
        renderer.attach_resource(ctx, &texture);
    }
    let mut asked = Vec::new();
    for n in 0..60 {
        let ctx = if n % 5 < 3 { 1 } else { 2 };
        work(renderer, ctx);
        asked.push(match n % 7 {
            6 => Done::Through(renderer.fence().unwrap()),
            _ => Done::Alone(renderer.fence_context(ctx).unwrap()),
        });
    }
    let mut told = Vec::new();
    retire_until(renderer, |done| {
        // What contexts that ended earlier left behind is told as well.
        told.extend((done.fence() >= asked[0].fence()).then_some(done));
        told.len() == asked.len()
    });
    assert_eq!(told, asked);
    for ctx in [1, 2] {
        renderer.destroy_context(ctx);
        assert!(!renderer.has_context(ctx), "nothing of {ctx} was under way");
    }
}

/// One ends while the library waits for its fence, two while theirs wait, and one has none.
fn put_off(renderer: &mut Renderer) {
    let texture = renderer.create_texture(&picture(1, 2048, 2048)).unwrap();
    for round in 0..100 {
        for ctx in 1..=4 {
            renderer.create_context(ctx, 0, b"ends").unwrap();
            renderer.attach_resource(ctx, &texture);
        }
        let mut newest = 0;
        for ctx in [1, 2, 1, 3, 1] {
            work(renderer, ctx);
            newest = renderer.fence_context(ctx).unwrap();
        }
        for ctx in [4, 1, 2, 3] {
            renderer.destroy_context(ctx);
        }
        // What is done was not told yet.
        assert_eq!([1, 2, 3, 4].map(|ctx| renderer.has_context(ctx)), [true, true, true, false]);
        assert!(renderer.create_context(1, 0, b"again").is_err());
        // With a context that ends the library can forget one's fence: then that comes which stands for all of them.
        let mut done = Vec::new();
        while (1..=3).any(|ctx| renderer.has_context(ctx)) {
            await_more(renderer);
            done.extend(retired(renderer));
        }
        assert!(done.iter().any(|done| done.fence() == newest), "round {round}: {newest} of {done:?}");
    }
}

fn refused(renderer: &mut Renderer) {
    renderer.create_context(1, 0, b"there").unwrap();
    assert!(renderer.fence_context(2).is_err());
    assert!(renderer.fence_context(0).is_err());
    renderer.destroy_context(1);
    assert!(renderer.fence_context(1).is_err());
    let fence = renderer.fence().unwrap();
    retire_until(renderer, |done| done == Done::Through(fence));
    assert_eq!(retired(renderer), []);
}

/// What the device asks for, with the guest's numbers.
pub fn on_rings() {
    let mut rendering = Rendering::new(Renderer::open(crate::node().as_deref()).unwrap(), false);
    let budget = Budget::new(64 << 20);
    let create = CtxCreate { name_len: 0, context_init: 0, name: [0; 64] };
    for ctx in [u32::MAX, 7, 8] {
        rendering.create_context(ctx, &create, &budget).unwrap();
    }
    drop(rendering.destroy_context(8).unwrap());
    let held = budget.held();
    let cases = [
        (Timeline::Device, false),
        (Timeline::Ring { ctx: 7, ring: 0 }, true),
        (Timeline::Ring { ctx: u32::MAX, ring: 0 }, true),
        (Timeline::Ring { ctx: 7, ring: 1 }, false),
        (Timeline::Ring { ctx: 8, ring: 0 }, false),
        (Timeline::Ring { ctx: 0, ring: 0 }, false),
    ];
    let mut asked = Vec::new();
    for (timeline, alone) in cases {
        let Point(fence) = rendering.fence(timeline).unwrap();
        asked.push(if alone { Done::Alone(fence) } else { Done::Through(fence) });
    }
    let mut told = Vec::new();
    while !told.contains(&asked[5]) {
        await_more(rendering.renderer());
        rendering.retire(|done| told.push(done));
    }
    // Of those on the whole that are done together one is told.
    assert!(told.iter().all(|done| asked.contains(done)), "{told:?} of {asked:?}");
    assert!([1, 2].iter().all(|n| told.contains(&asked[*n])), "{told:?} of {asked:?}");
    // They are paid for until they have ended.
    for ctx in [u32::MAX, 7] {
        rendering.fence(Timeline::Ring { ctx, ring: 0 }).unwrap();
        drop(rendering.destroy_context(ctx).unwrap());
    }
    assert_eq!(budget.held(), held);
    let mut ended = false;
    while budget.held() > 0 {
        await_more(rendering.renderer());
        ended |= rendering.retire(|_| {});
    }
    assert!(ended);
}
