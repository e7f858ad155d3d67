//! 3D by virglrenderer: what a guest draws becomes OpenGL on this host, on its GPU or in software.
//!
//! One renderer is open at a time, and stays in its thread. It starts threads of its own that wait for the GPU; who wants to
//! know what is done watches [`Renderer::poll_fd`] and calls [`Renderer::retire`]. The numbers of contexts and textures are
//! the caller's; whatever they are, and whatever a transfer says, nothing is touched that is not theirs. What a guest's
//! commands ([`Renderer::submit`]) can do is up to the library, which parses them: that is what the sandbox is for.
//!
//! `library` loads the functions, `session` starts and ends them, `texture` and `messages` are what else is unsafe; `bounds`
//! says what is not asked of the library, `node` opens a GPU.

mod bounds;
mod library;
mod messages;
mod node;
mod session;
mod texture;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

use self::session::Session;
use self::texture::{Direction, Piece};
use super::command::{Box3d, Create3d, ResourceId, Transfer3d};
use super::dmabuf::Dmabuf;
use super::pixel::PIXEL;
use super::rect::Rect;

pub use node::NodeError;
pub use session::set_environment;
pub use texture::Texture;

/// The sets that virgl's guests ask for: `VIRTIO_GPU_CAPSET_VIRGL` and `VIRTIO_GPU_CAPSET_VIRGL2`.
const CAPSETS: [u32; 2] = [1, 2];

/// Bytes of a context's name that the library keeps.
const NAME_MAX: usize = 63;

/// [`PIXEL`], as the library counts.
const PIXEL_BYTES: u32 = 4;
const _: () = assert!(PIXEL_BYTES as usize == PIXEL);

/// Why there is no renderer.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{0}")]
    Library(libloading::Error),
    #[error("--render-node={0:?}: {1}")]
    Node(PathBuf, NodeError),
    #[error("virglrenderer cannot draw {}", if *.on_node { "on this GPU: no driver of Mesa's (EGL, GBM) takes it" } else { "in software: Mesa's EGL or its software driver is missing" })]
    Start { on_node: bool },
    #[error("there is a renderer in this process already")]
    Again,
    #[error("{0} has to be set before this process has threads")]
    Threads(&'static str),
    #[error("virglrenderer cannot tell when something is drawn: {0}")]
    Poll(io::Error),
    #[error("virglrenderer offers neither of virgl's capability sets")]
    Capsets,
}

/// The renderer refused it, and nothing has changed, but for commands before the one that was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the renderer refused it")]
pub struct Refused;

/// A capability set, as GET_CAPSET_INFO tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capset {
    pub id: u32,
    pub max_version: u32,
    pub max_size: u32,
}

/// A fence that is done, and with it all that were put on the same timeline before. It may be told more than once, and those
/// before it not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// On the timeline of everything.
    Global(u32),
    /// On a context's own.
    Ring { ctx: u32, ring: u32, fence: u64 },
}

impl Retired {
    /// Whether both are on one timeline.
    fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Global(_), Self::Global(_)) => true,
            (Self::Ring { ctx: a, ring: b, .. }, Self::Ring { ctx: c, ring: d, .. }) => (a, b) == (c, d),
            _ => false,
        }
    }
}

/// The renderer.
pub struct Renderer {
    session: Rc<Session>,
    capsets: Vec<Capset>,
    /// What they say, in the same order.
    contents: Vec<Box<[u8]>>,
    /// What was told last: kept for its room.
    told: Vec<Retired>,
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer")
            .field("makes_dmabufs", &self.makes_dmabufs())
            .field("capsets", &self.capsets)
            .finish()
    }
}

/// Sees whether a GPU's render node is at `path`, and may be opened.
///
/// # Errors
/// It is not there, is something else, or may not be opened.
pub fn check_node(path: &Path) -> Result<(), OpenError> {
    node::open(path).map(drop).map_err(|error| OpenError::Node(path.to_owned(), error))
}

/// Whether a renderer can be had here, and on which of the host's GPUs, by trying: `works` tells of a node, and of software,
/// whether one opens there.
#[must_use]
pub fn probe(works: impl Fn(Option<&Path>) -> bool) -> (bool, Option<PathBuf>) {
    let node = node::all().into_iter().find(|node| works(Some(node)));
    (node.is_some() || works(None), node)
}

impl Renderer {
    /// Opens one on the GPU of `render_node`, or in software, whatever GPUs there are, where none is named. To be called
    /// before the process has other threads.
    ///
    /// # Errors
    /// The library is not there, the node is none or may not be opened, or Mesa can't draw.
    pub fn open(render_node: Option<&Path>) -> Result<Self, OpenError> {
        let opened = |path: &Path| node::open(path).map_err(|error| OpenError::Node(path.to_owned(), error));
        let session = Session::open(render_node.map(opened).transpose()?)?;
        session.poll_fd().map_err(OpenError::Poll)?;
        let (capsets, contents): (Vec<_>, Vec<_>) = CAPSETS.iter().filter_map(|id| session.capset(*id)).unzip();
        if capsets.is_empty() {
            return Err(OpenError::Capsets);
        }
        Ok(Self { session, capsets, contents, told: Vec::new() })
    }

    /// A descriptor to be watched: readable from when fences are done until [`Renderer::retire`] tells of them.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn poll_fd(&self) -> io::Result<OwnedFd> {
        self.session.poll_fd()
    }

    /// Tells `each` fence that is done and was not told yet, in the order of each timeline.
    pub fn retire(&mut self, each: &mut dyn FnMut(Retired)) {
        self.session.take_retired(&mut self.told);
        for fence in &self.told {
            each(*fence);
        }
    }

    /// Whether there is a GPU, whose memory can be shared.
    pub fn makes_dmabufs(&self) -> bool {
        self.session.has_node()
    }

    /// The capability sets that work here.
    pub fn capsets(&self) -> &[Capset] {
        &self.capsets
    }

    /// What capability set `id` says, in `version`: `max_size` bytes. `None` where there is none such.
    pub fn capset(&self, id: u32, version: u32) -> Option<&[u8]> {
        let mut sets = self.capsets.iter().zip(&self.contents);
        let (_, contents) = sets.find(|(set, _)| set.id == id && version <= set.max_version)?;
        Some(contents)
    }

    /// Makes context `id`, of capability set `capset_id`; 0 is virgl's.
    ///
    /// # Errors
    /// The number is 0 or taken; another set than [`Renderer::capsets`] has.
    pub fn create_context(&mut self, id: u32, capset_id: u8, name: &[u8]) -> Result<(), Refused> {
        if id == 0 || capset_id != 0 && !self.capsets.iter().any(|set| set.id == u32::from(capset_id)) {
            return Err(Refused);
        }
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = CString::new(name.get(..NAME_MAX).unwrap_or(name)).unwrap_or_default();
        self.session.create_context(id, capset_id, &name)
    }

    /// Ends context `id`, if there is one. Its own fences that are not done will not be told.
    pub fn destroy_context(&mut self, id: u32) {
        self.session.destroy_context(id);
    }

    /// Makes a texture or a buffer, of number `args.resource_id`.
    ///
    /// # Errors
    /// The number is 0 or taken; what is asked for does not exist or is too large.
    pub fn create_texture(&mut self, args: &Create3d) -> Result<Texture, Refused> {
        Texture::new(&self.session, args)
    }

    /// Lets context `ctx` use `texture`, if there is such a context.
    pub fn attach_resource(&mut self, ctx: u32, texture: &Texture) {
        texture.enter(ctx);
    }

    /// Takes `texture` away from context `ctx`.
    pub fn detach_resource(&mut self, ctx: u32, texture: &Texture) {
        texture.leave(ctx);
    }

    /// Has context `ctx` do what the first `dwords` (of 32 bits) of `commands` say. They are not changed.
    ///
    /// # Errors
    /// There is no such context, or not as many dwords, or a command is refused; those before it are done.
    pub fn submit(&mut self, ctx: u32, commands: &mut [u64], dwords: u32) -> Result<(), Refused> {
        self.session.submit(ctx, commands, dwords)
    }

    /// Copies from the backing into the texture, in the name of context `ctx`; 0 is nobody's.
    ///
    /// # Errors
    /// It does not lie in both, there is no backing, or the texture is not the context's.
    pub fn transfer_to_host(&mut self, ctx: u32, texture: &Texture, transfer: &Transfer3d) -> Result<(), Refused> {
        texture.transfer(Direction::ToHost, ctx, transfer, None)
    }

    /// Copies from the texture into the backing, as [`Renderer::transfer_to_host`].
    ///
    /// # Errors
    /// As there.
    pub fn transfer_from_host(&mut self, ctx: u32, texture: &Texture, transfer: &Transfer3d) -> Result<(), Refused> {
        texture.transfer(Direction::FromHost, ctx, transfer, None)
    }

    /// Copies the pixels of `rect` out of a texture of four bytes a pixel: rows without gaps, as long as `out`. What was
    /// drawn before is in it.
    ///
    /// # Errors
    /// `out` is of another size, or the rectangle does not lie in the texture.
    pub fn read_back(&mut self, texture: &Texture, rect: &Rect, out: &mut [u8]) -> Result<(), Refused> {
        let transfer = rows(texture, rect, out.len())?;
        texture.transfer(Direction::FromHost, 0, &transfer, Some(Piece::of_mut(out)))
    }

    /// Copies the pixels of `rect` into a texture: [`Renderer::read_back`] the other way.
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, texture: &Texture, rect: &Rect, pixels: &[u8]) -> Result<(), Refused> {
        let transfer = rows(texture, rect, pixels.len())?;
        texture.transfer(Direction::ToHost, 0, &transfer, Some(Piece::of(pixels)))
    }

    /// Puts fence `sequence` behind all that was asked so far. That is also what sends it to the GPU.
    ///
    /// # Errors
    /// Nothing more can be put there.
    pub fn fence(&mut self, sequence: u32) -> Result<(), Refused> {
        self.session.fence(sequence)
    }

    /// Puts `fence` on timeline `ring` of context `ctx`.
    ///
    /// # Errors
    /// There is no such context or timeline.
    pub fn fence_on(&mut self, ctx: u32, ring: u32, fence: u64) -> Result<(), Refused> {
        self.session.fence_on(ctx, ring, fence)
    }

    /// The texture's memory, for a display to show.
    ///
    /// # Errors
    /// There is no GPU, or this texture can't be shared.
    pub fn export(&mut self, texture: &Texture) -> Result<Dmabuf, Refused> {
        texture.export()
    }
}

/// The transfer between `rect` of the first level and so many bytes of rows without gaps.
fn rows(texture: &Texture, rect: &Rect, bytes: usize) -> Result<Transfer3d, Refused> {
    let stride = rect.width.checked_mul(PIXEL_BYTES).ok_or(Refused)?;
    if u64::from(stride).checked_mul(rect.height.into()) != Some(bytes as u64) {
        return Err(Refused);
    }
    let region = Box3d { x: rect.x, y: rect.y, z: 0, width: rect.width, height: rect.height, depth: 1 };
    let resource_id = ResourceId(texture.id());
    Ok(Transfer3d { region, offset: 0, resource_id, level: 0, stride, layer_stride: 0 })
}
