//! Guest memory, textures and commands.

use std::fs::File;

use nix::sys::memfd::{MFdFlags, memfd_create};
use vhost_seat::gpu::backing::{Backing, Entry};
use vhost_seat::gpu::command::{Box3d, Create3d, ResourceId, Transfer3d};
use vhost_seat::vhost_proto::memory::GuestMemory;
use vhost_seat::vhost_proto::wire::MemoryRegion;
use vm_memory::{Bytes, GuestAddress};

/// `VIRGL_FORMAT_B8G8R8A8_UNORM`.
pub const BGRA: u32 = 1;
/// `VIRGL_BIND_RENDER_TARGET`, `VIRGL_BIND_SAMPLER_VIEW`.
pub const BIND_PICTURE: u32 = 1 << 1 | 1 << 3;
/// `VIRGL_BIND_VERTEX_BUFFER`.
pub const BIND_VERTICES: u32 = 1 << 4;

/// `PIPE_BUFFER` and so on.
pub const BUFFER: u32 = 0;
pub const TEXTURE_2D: u32 = 2;
pub const TEXTURE_3D: u32 = 3;
pub const TEXTURE_2D_ARRAY: u32 = 7;

/// Guest memory of 1 MiB, in two regions that do not touch.
pub const REGION: u64 = 0x8_0000;
pub const SECOND: u64 = 0x10_0000;

pub fn memory() -> GuestMemory {
    let mut memory = GuestMemory::default();
    for (index, guest_addr) in [0, SECOND].into_iter().enumerate() {
        let file = File::from(memfd_create("renderer", MFdFlags::empty()).unwrap());
        file.set_len(REGION).unwrap();
        let user_addr = 0x7000_0000 + index as u64 * REGION;
        memory.add(MemoryRegion { guest_addr, size: REGION, user_addr, mmap_offset: 0 }, file.into()).unwrap();
    }
    memory
}

pub fn backing(memory: &GuestMemory, list: &[(u64, u32)]) -> Backing {
    let entries = list.iter().map(|(addr, len)| Entry { addr: GuestAddress(*addr), len: *len }).collect();
    Backing::new(entries, memory).unwrap()
}

pub fn write(memory: &GuestMemory, addr: u64, bytes: &[u8]) {
    memory.map().write_slice(bytes, GuestAddress(addr)).unwrap();
}

pub fn read(memory: &GuestMemory, addr: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    memory.map().read_slice(&mut bytes, GuestAddress(addr)).unwrap();
    bytes
}

/// A picture of this size.
pub fn picture(id: u32, width: u32, height: u32) -> Create3d {
    Create3d {
        resource_id: ResourceId(id),
        target: TEXTURE_2D,
        format: BGRA,
        bind: BIND_PICTURE,
        width,
        height,
        depth: 1,
        array_size: 1,
        last_level: 0,
        nr_samples: 0,
        flags: 0,
    }
}

/// A buffer of so many bytes.
pub fn buffer(id: u32, bytes: u32) -> Create3d {
    Create3d { target: BUFFER, format: 64, bind: BIND_VERTICES, ..picture(id, bytes, 1) }
}

/// `[x, y, z, width, height, depth]`, from the backing's first byte on.
pub fn transfer(region: [u32; 6]) -> Transfer3d {
    let [x, y, z, width, height, depth] = region;
    let region = Box3d { x, y, z, width, height, depth };
    Transfer3d { region, offset: 0, resource_id: ResourceId(0), level: 0, stride: 0, layer_stride: 0 }
}

/// Bytes that tell their place.
pub fn telling(len: usize, salt: u32) -> Vec<u8> {
    (0..len as u32).map(|place| (place.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 13) as u8).collect()
}

/// `VIRGL_CCMD_CLEAR` of the colour buffer 0 with these four floats, after a surface of `texture` was made and bound.
pub fn clear(texture: u32, colour: [f32; 4]) -> (Vec<u64>, u32) {
    // CREATE_OBJECT of a SURFACE (object type 8): handle, resource, format, level, layers.
    let surface = [1 | 8 << 8 | 5 << 16, 1000, texture, BGRA, 0, 0];
    // SET_FRAMEBUFFER_STATE: one colour buffer, no depth buffer.
    let framebuffer = [5 | 3 << 16, 1, 0, 1000];
    let [r, g, b, a] = colour.map(f32::to_bits);
    // CLEAR: buffers (colour 0), the colour, depth (two words), stencil.
    let clear = [7 | 8 << 16, 1 << 2, r, g, b, a, 0, 0, 0];
    commands(&[&surface[..], &framebuffer, &clear].concat())
}

/// As [`Renderer::submit`](vhost_seat::gpu::virgl::Renderer::submit) takes them.
pub fn commands(dwords: &[u32]) -> (Vec<u64>, u32) {
    let pair = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32;
    (dwords.chunks(2).map(pair).collect(), dwords.len() as u32)
}
