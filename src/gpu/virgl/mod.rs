//! 3D by virglrenderer: what a guest draws becomes OpenGL on this host, on its GPU or in software.
//!
//! One renderer is open at a time, and stays in its thread. It starts threads of its own that wait for the GPU; who wants to
//! know what is done watches [`Renderer::poll_fd`] and calls [`Renderer::retire`]. The numbers of contexts and textures are
//! the caller's; whatever they are, and whatever a transfer says, nothing is touched that is not theirs. Of a guest's
//! commands ([`Renderer::submit`]) that holds for transfers alone; all others are the library's to parse, and what they make
//! it do in this process is bounded by nothing but the sandbox.
//!
//! `library` loads the functions and `session` calls most of them; `texture`, `messages` and `node` are what else is unsafe
//! or opens something. `bounds` says which transfers the library is not asked for, `stream` which commands.

pub mod bounds;
mod library;
mod messages;
mod node;
mod pending;
mod session;
pub mod stream;
mod texture;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

use self::session::Session;
use self::texture::{Direction, Transfer};
use super::command::{Box3d, Create3d, ResourceId, Transfer3d};
use super::dmabuf::Dmabuf;
use super::pixel::PIXEL;
use super::rect::Rect;

pub use node::NodeError;
pub use pending::Done;
pub use session::{RING, set_environment};
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

/// The renderer.
pub struct Renderer {
    session: Rc<Session>,
    capsets: Vec<Capset>,
    /// What they say, in the same order.
    contents: Vec<Box<[u8]>>,
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
        Ok(Self { session, capsets, contents })
    }

    /// A descriptor to be watched: readable from when fences are done until [`Renderer::retire`] tells of them.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn poll_fd(&self) -> io::Result<OwnedFd> {
        self.session.poll_fd()
    }

    /// Tells `each` fence that is done, in their order. One may be told more than once, and those that it stands for
    /// not at all.
    pub fn retire(&mut self, each: &mut dyn FnMut(Done)) {
        self.session.retire(each);
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

    /// Ends context `id`, if there is one: it is not to be used any more. Its number is taken until its fences are done.
    pub fn destroy_context(&mut self, id: u32) {
        self.session.destroy_context(id);
    }

    /// Whether the number of context `id` is taken.
    pub fn has_context(&self, id: u32) -> bool {
        self.session.has_context(id)
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
    /// There is no such context, or not as many dwords; a transfer among them is not as [`Renderer::transfer_to_host`] and
    /// [`Renderer::transfer_from_host`] want it, or reads several layers at once; they make textures, or more sub contexts
    /// than a context may have: none of them is done then. The library refuses one: those before it are done.
    pub fn submit(&mut self, ctx: u32, commands: &mut [u64], dwords: u32) -> Result<(), Refused> {
        self.session.submit(ctx, commands, dwords)
    }

    /// Copies from the backing into the texture, in the name of context `ctx`; 0 is nobody's.
    ///
    /// # Errors
    /// It does not lie in both, there is no backing, or the texture is not the context's.
    pub fn transfer_to_host(&mut self, ctx: u32, texture: &Texture, transfer: &Transfer3d) -> Result<(), Refused> {
        texture.transfer(ctx, transfer, Transfer::Backing(Direction::ToHost))
    }

    /// Copies from the texture into the backing, as [`Renderer::transfer_to_host`].
    ///
    /// # Errors
    /// As there; and the texture has several samples a texel.
    pub fn transfer_from_host(&mut self, ctx: u32, texture: &Texture, transfer: &Transfer3d) -> Result<(), Refused> {
        texture.transfer(ctx, transfer, Transfer::Backing(Direction::FromHost))
    }

    /// Copies the pixels of `rect` out of a texture that is flat ([`Texture::is_flat`]), of four bytes a pixel: rows without
    /// gaps, as long as `out`. What was drawn before is in it.
    ///
    /// # Errors
    /// The texture is another one, `out` is of another size, or the rectangle does not lie in the texture.
    pub fn read_back(&mut self, texture: &Texture, rect: &Rect, out: &mut [u8]) -> Result<(), Refused> {
        let transfer = rows(texture, rect, out.len())?;
        texture.transfer(0, &transfer, Transfer::Into(out))
    }

    /// Copies the pixels of `rect` into a texture: [`Renderer::read_back`] the other way.
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self, texture: &Texture, rect: &Rect, pixels: &[u8]) -> Result<(), Refused> {
        let transfer = rows(texture, rect, pixels.len())?;
        texture.transfer(0, &transfer, Transfer::From(pixels))
    }

    /// Puts a fence behind all that was asked so far, and returns its number: they grow. That is also what sends it to the
    /// GPU.
    ///
    /// # Errors
    /// Nothing more can be put there.
    pub fn fence(&mut self) -> Result<u64, Refused> {
        self.session.fence()
    }

    /// Puts a fence behind all that was asked of context `ctx`, on its ring [`RING`]. It is numbered as those of
    /// [`Renderer::fence`], together with them.
    ///
    /// # Errors
    /// No such context; nothing more can be put there.
    pub fn fence_context(&mut self, ctx: u32) -> Result<u64, Refused> {
        self.session.fence_context(ctx)
    }

    /// How many fences were asked for since the newest that is done.
    pub fn fences_under_way(&self) -> u64 {
        self.session.fences_under_way()
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
    // Of another one the library answers for less than it writes.
    if !texture.is_flat_of(PIXEL_BYTES) {
        return Err(Refused);
    }
    let stride = rect.width.checked_mul(PIXEL_BYTES).ok_or(Refused)?;
    if u64::from(stride).checked_mul(rect.height.into()) != Some(bytes as u64) {
        return Err(Refused);
    }
    let region = Box3d { x: rect.x, y: rect.y, z: 0, width: rect.width, height: rect.height, depth: 1 };
    let resource_id = ResourceId(texture.id());
    Ok(Transfer3d { region, offset: 0, resource_id, level: 0, stride, layer_stride: 0 })
}
