//! What 3D commands are about: textures, boxes in them, transfers. Pure. Numbers are virglrenderer's (`virgl_hw.h`).

use super::ids::format;

/// Kinds of textures (`PIPE_TEXTURE_*`).
#[allow(missing_docs)]
pub mod target {
    pub const BUFFER: u32 = 0;
    pub const TEXTURE_1D: u32 = 1;
    pub const TEXTURE_2D: u32 = 2;
    pub const TEXTURE_3D: u32 = 3;
    pub const TEXTURE_CUBE: u32 = 4;
    pub const TEXTURE_RECT: u32 = 5;
    pub const TEXTURE_2D_ARRAY: u32 = 7;
}

/// What a texture may be used for (`VIRGL_BIND_*`).
#[allow(missing_docs)]
pub mod bind {
    pub const DEPTH_STENCIL: u32 = 1 << 0;
    pub const RENDER_TARGET: u32 = 1 << 1;
    pub const SAMPLER_VIEW: u32 = 1 << 3;
    pub const VERTEX_BUFFER: u32 = 1 << 4;
    pub const SCANOUT: u32 = 1 << 18;
}

/// The renderer has a texture's rows in OpenGL's order, from below (`VIRGL_RESOURCE_Y_0_TOP`); in transfers the first one is
/// the top one all the same.
pub const Y_0_TOP: u32 = 1;

/// Capability sets.
#[allow(missing_docs)]
pub mod capset {
    pub const VIRGL: u32 = 1;
    pub const VIRGL2: u32 = 2;
}

/// RESOURCE_CREATE_3D's fields.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texture {
    pub resource_id: u32,
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub array_size: u32,
    pub last_level: u32,
    pub nr_samples: u32,
    pub flags: u32,
}

impl Texture {
    /// A picture that can be drawn into, sampled from and scanned out, first row on top, as Mesa makes them for a screen.
    pub fn picture(resource_id: u32, width: u32, height: u32) -> Texture {
        Texture {
            resource_id,
            target: target::TEXTURE_2D,
            format: format::B8G8R8X8,
            bind: bind::RENDER_TARGET | bind::SAMPLER_VIEW | bind::SCANOUT,
            width,
            height,
            depth: 1,
            array_size: 1,
            last_level: 0,
            nr_samples: 0,
            flags: Y_0_TOP,
        }
    }

    /// A buffer of so many bytes.
    pub fn buffer(resource_id: u32, bytes: u32) -> Texture {
        // VIRGL_FORMAT_R8_UNORM
        let (target, format, bind) = (target::BUFFER, 64, bind::VERTEX_BUFFER);
        Texture { target, format, bind, flags: 0, ..Texture::picture(resource_id, bytes, 1) }
    }

    /// All of its first level.
    pub fn region(&self) -> Region {
        Region { width: self.width, height: self.height, depth: self.depth.max(self.array_size), ..Region::default() }
    }
}

/// A box in a texture.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

impl Region {
    /// A rectangle of the first layer.
    pub fn flat(x: u32, y: u32, width: u32, height: u32) -> Region {
        Region { x, y, z: 0, width, height, depth: 1 }
    }
}

/// The fields of TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D. Strides of 0 are the texture's own.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer3d {
    pub region: Region,
    pub offset: u64,
    pub resource_id: u32,
    pub level: u32,
    pub stride: u32,
    pub layer_stride: u32,
}

impl Transfer3d {
    /// A box of the first level, at the backing's start, in rows as long as the texture's.
    pub fn new(resource_id: u32, region: Region) -> Transfer3d {
        Transfer3d { region, offset: 0, resource_id, level: 0, stride: 0, layer_stride: 0 }
    }
}
