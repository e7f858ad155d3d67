//! The floor: a child process, this same file, that asks the renderer for the same work at each kick, waits for its fence as
//! the program does, and says so by an eventfd.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use seat_frontend::gpu::virgl::Stream;
use seat_frontend::wait_readable;
use vhost_seat::gpu::backing::{Backing, Entry};
use vhost_seat::gpu::command::{Box3d, Create3d, ResourceId, Transfer3d};
use vhost_seat::gpu::virgl::{self, Renderer, Texture};
use vhost_seat::vhost_proto::memory::GuestMemory;
use vhost_seat::vhost_proto::wire::MemoryRegion;
use vm_memory::GuestAddress;

use crate::Result;
use crate::draw::SMALL;
use crate::role::{self, Role};
use crate::vm::deadline;

const SUBMIT: &str = "floor-submit";
const UPLOAD: &str = "floor-upload";

/// What a child process of this bench does.
pub fn child(role: &str, args: &[String]) -> ExitCode {
    role::play(role, || match (role, args) {
        (SUBMIT, words) => submit(words),
        (UPLOAD, [width, height]) => upload((width.parse()?, height.parse()?)),
        _ => Err("not a floor".into()),
    })
}

/// The child, with its kick and its call.
pub struct Direct {
    _child: Role,
    kick: EventFd,
    call: EventFd,
}

impl Direct {
    /// One that submits this.
    pub fn submitting(stream: &Stream) -> Result<Direct> {
        Direct::start(SUBMIT, &stream.words().iter().map(u32::to_string).collect::<Vec<_>>())
    }

    /// One that brings a texture over.
    pub fn uploading((width, height): (u32, u32)) -> Result<Direct> {
        Direct::start(UPLOAD, &[width, height].map(|side| side.to_string()))
    }

    fn start(role: &str, args: &[String]) -> Result<Direct> {
        let eventfd = || EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let (kick, call) = (eventfd()?, eventfd()?);
        let own = |fd: &EventFd| fd.as_fd().try_clone_to_owned();
        let child = Role::start(role, args, own(&kick)?, own(&call)?)?;
        let mut direct = Direct { _child: child, kick, call };
        direct.round()?;
        Ok(direct)
    }

    /// One round, timed as [`crate::vm::Guest::kick_to_call`] does.
    pub fn round(&mut self) -> Result<Duration> {
        let until = deadline();
        let started = Instant::now();
        self.kick.write(1)?;
        let called = wait_readable(self.call.as_fd(), until)?;
        let took = started.elapsed();
        if !called {
            return Err("the floor does not answer".into());
        }
        self.call.read()?;
        Ok(took)
    }
}

fn renderer() -> Result<Renderer> {
    virgl::set_environment(false)?;
    Ok(Renderer::open(None)?)
}

fn texture(renderer: &mut Renderer, (width, height): (u32, u32)) -> Result<Texture> {
    let (resource_id, bind) = (ResourceId(1), 1 << 1 | 1 << 3 | 1 << 18);
    let one = Create3d {
        resource_id,
        target: 2,
        format: 2,
        bind,
        width,
        height,
        depth: 1,
        array_size: 1,
        last_level: 0,
        nr_samples: 0,
        flags: 1,
    };
    let texture = renderer.create_texture(&one)?;
    renderer.create_context(1, 0, b"floor")?;
    renderer.attach_resource(1, &texture);
    Ok(texture)
}

fn submit(words: &[String]) -> Result<()> {
    let words = words.iter().map(|word| word.parse()).collect::<std::result::Result<Vec<u32>, _>>()?;
    let pair = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32;
    let mut commands: Vec<u64> = words.chunks(2).map(pair).collect();
    let mut renderer = renderer()?;
    let _texture = texture(&mut renderer, SMALL)?;
    at_each_kick(&mut renderer, |renderer| Ok(renderer.submit(1, &mut commands, words.len() as u32)?))
}

fn upload(size: (u32, u32)) -> Result<()> {
    let len = u64::from(size.0) * u64::from(size.1) * 4;
    let file = File::from(memfd_create("backing", MFdFlags::MFD_CLOEXEC)?);
    file.set_len(len)?;
    let mut memory = GuestMemory::default();
    memory.add(MemoryRegion { guest_addr: 0, size: len, user_addr: 0, mmap_offset: 0 }, OwnedFd::from(file))?;
    let entry = Entry { addr: GuestAddress(0), len: len as u32 };
    let backing = Backing::new(vec![entry], &memory).ok_or("no backing")?;
    let mut renderer = renderer()?;
    let mut texture = texture(&mut renderer, size)?;
    texture.attach(&backing);
    let region = Box3d { x: 0, y: 0, z: 0, width: size.0, height: size.1, depth: 1 };
    let whole = Transfer3d { region, offset: 0, resource_id: ResourceId(1), level: 0, stride: 0, layer_stride: 0 };
    at_each_kick(&mut renderer, |renderer| Ok(renderer.transfer_to_host(1, &texture, &whole)?))
}

/// Does `work` at each kick, and answers with a call once its fence is done.
fn at_each_kick(renderer: &mut Renderer, mut work: impl FnMut(&mut Renderer) -> Result<()>) -> Result<()> {
    let (epoll, progress) = (Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, renderer.poll_fd()?);
    epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
    epoll.add(&progress, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
    let mut events = [EpollEvent::empty()];
    let mut newest = 0;
    loop {
        if epoll.wait(&mut events, EpollTimeout::NONE)? == 0 {
            continue;
        }
        if events[0].data() == 0 {
            work(renderer)?;
            newest = renderer.fence()?;
            continue;
        }
        let mut done = false;
        renderer.retire(&mut |fence| done |= fence.fence() == newest);
        if done {
            nix::unistd::write(io::stdout(), &1u64.to_ne_bytes())?;
        }
    }
}
