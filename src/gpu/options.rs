//! How the device is to be: what the command line says of it.

use super::virgl::Renderer;

/// How the device is to be.
#[derive(Debug)]
pub struct Options {
    /// Bytes of host memory that the guest can make us hold.
    pub max_hostmem: u64,
    /// What renders for the guest; without one there is no 3D.
    pub renderer: Option<Renderer>,
    /// How pictures go to the display.
    pub display: DisplayMode,
}

impl Options {
    /// A device without 3D.
    pub fn new(max_hostmem: u64) -> Self {
        Self { max_hostmem, renderer: None, display: DisplayMode::Auto }
    }
}

/// How pictures go to the display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisplayMode {
    /// By DMABUF where a GPU draws, for then QEMU's display has to have OpenGL; else as pixels.
    #[default]
    Auto,
    /// As pixels, whoever draws.
    Pixels,
    /// By DMABUF wherever it can be.
    Dmabuf,
}

impl DisplayMode {
    /// Whether a display is handed what a GPU drew as it lies in its memory, where that can be.
    pub fn shares_textures(self) -> bool {
        self != Self::Pixels
    }
}
