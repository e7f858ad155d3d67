//! Opened, closed, opened again.

use std::path::Path;

use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::virgl::{OpenError, Renderer};

use crate::Case;
use crate::support::{clear, picture};

pub const CASES: &[Case] = &[
    ("a_second_renderer_is_refused_and_harms_nobody", second),
    ("what_is_no_render_node_is_named_and_refused", no_node),
];

fn second(renderer: &mut Renderer) {
    assert!(matches!(Renderer::open(crate::node().as_deref()), Err(OpenError::Again)));
    let texture = renderer.create_texture(&picture(1, 4, 4)).unwrap();
    renderer.read_back(&texture, &Rect::of_size(4, 4), &mut [0; 64]).unwrap();
}

fn no_node(_: &mut Renderer) {
    for path in ["/dev/null", "/dev/dri/none-of-these", "/"] {
        let error = Renderer::open(Some(Path::new(path))).unwrap_err();
        assert!(matches!(error, OpenError::Node(..)) && error.to_string().contains(path), "{error}");
    }
}

/// The last of all: it closes the renderer that the others had.
pub fn again(mut renderer: Renderer) {
    let texture = renderer.create_texture(&picture(1, 4, 4)).unwrap();
    drop(renderer);
    assert!(matches!(Renderer::open(crate::node().as_deref()), Err(OpenError::Again)), "a texture is left");
    drop(texture);
    for _ in 0..10 {
        let mut renderer = Renderer::open(crate::node().as_deref()).unwrap();
        assert_eq!(renderer.capsets().len(), 2);
        let texture = renderer.create_texture(&picture(1, 4, 4)).unwrap();
        renderer.write(&texture, &Rect::of_size(4, 4), &[3; 64]).unwrap();
        let mut out = [0; 64];
        renderer.read_back(&texture, &Rect::of_size(4, 4), &mut out).unwrap();
        assert_eq!(out, [3; 64]);
        renderer.fence().unwrap();
        // It is closed with work of contexts under way.
        let large = renderer.create_texture(&picture(2, 2048, 2048)).unwrap();
        for ctx in 1..=3 {
            renderer.create_context(ctx, 0, b"left").unwrap();
            renderer.attach_resource(ctx, &large);
            let (mut commands, dwords) = clear(2, [0.0; 4]);
            renderer.submit(ctx, &mut commands, dwords).unwrap();
            renderer.fence_context(ctx).unwrap();
        }
        renderer.destroy_context(2);
    }
}
