//! The floors: the least that any back end would have to do, done by a child process that runs this same file.
//!
//! A child waits for its kick eventfd as the program under test does (epoll, edge-triggered, never read), so it is
//! scheduled and woken alike.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use seat_frontend::display::{DisplayConfig, DrainThread, update_header};
use seat_frontend::gpu::Rect;
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::Measure;
use seat_frontend::wait_readable;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory, WriteVolatile};

use crate::Result;
use crate::role::{self, Role};
use crate::vm::deadline;

const PONG: &str = "floor-pong";
const SEND: &str = "floor-send";

/// What a child process of this bench does.
pub fn child(role: &str, args: &[String]) -> ExitCode {
    role::play(role, || match (role, args) {
        (PONG, _) => pong(),
        (SEND, [path, len]) => send(path, len),
        _ => Err("not a floor".into()),
    })
}

/// Calls `act` at each kick.
fn at_each_kick(mut act: impl FnMut() -> Result<()>) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
    let mut events = [EpollEvent::empty()];
    loop {
        if epoll.wait(&mut events, EpollTimeout::NONE)? > 0 {
            act()?;
        }
    }
}

/// Answers each kick with a call.
fn pong() -> Result<()> {
    at_each_kick(|| Ok(nix::unistd::write(io::stdout(), &1u64.to_ne_bytes()).map(drop)?))
}

/// Answers each kick with the first `len` bytes of a file, straight from its mapping.
fn send(path: &str, len: &str) -> Result<()> {
    let len = len.parse()?;
    let file = File::options().read(true).write(true).open(path)?;
    let mapping = MmapRegion::<()>::from_file(FileOffset::new(file, 0), len)?;
    at_each_kick(|| {
        let mut done = 0;
        while done < len {
            done += io::stdout().as_fd().write_volatile(&mapping.get_slice(done, len - done)?)?;
        }
        Ok(())
    })
}

fn eventfd() -> Result<EventFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)
}

/// A child in one of the roles, with its kick.
struct Floor {
    child: Role,
    kick: EventFd,
}

impl Floor {
    fn spawn(role: &str, args: &[String], stdout: OwnedFd) -> Result<Floor> {
        let kick = eventfd()?;
        let child = Role::start(role, args, kick.as_fd().try_clone_to_owned()?, stdout)?;
        Ok(Floor { child, kick })
    }
}

/// A bare ping-pong of two eventfds between two processes.
pub struct PingPong {
    floor: Floor,
    call: EventFd,
}

impl PingPong {
    /// Starts the other process.
    pub fn start() -> Result<PingPong> {
        let call = eventfd()?;
        let floor = Floor::spawn(PONG, &[], call.as_fd().try_clone_to_owned()?)?;
        let mut ping_pong = PingPong { floor, call };
        ping_pong.round()?;
        Ok(ping_pong)
    }

    /// One round, timed as [`crate::vm::Guest::kick_to_call`] does.
    pub fn round(&mut self) -> Result<Duration> {
        let until = deadline();
        let started = Instant::now();
        self.floor.kick.write(1)?;
        let called = wait_readable(self.call.as_fd(), until)?;
        let took = started.elapsed();
        if !called {
            return Err("the floor does not answer".into());
        }
        self.call.read()?;
        Ok(took)
    }
}

/// A bare send of one UPDATE, straight from the memory that holds its pixels, to the same reader as a back end's.
pub struct BareSend {
    floor: Floor,
    display: DrainThread,
    memory: GuestMemory,
    len: u64,
}

impl BareSend {
    /// Starts the other process, which will send `width` × `height` pixels at each kick.
    pub fn start(width: u32, height: u32) -> Result<BareSend> {
        let head = update_header(0, Rect::new(0, 0, width, height));
        let len = head.len() as u64 + u64::from(width) * u64::from(height) * 4;
        let memory = GuestMemory::flat(len.next_multiple_of(4096))?;
        memory.write(0, &head);
        memory.fill(head.len() as u64, len - head.len() as u64, 1);
        let (display, socket) = DrainThread::pair(DisplayConfig::default())?;
        let file = memory.regions()[0].fd().as_raw_fd();
        let path = format!("/proc/{}/fd/{file}", std::process::id());
        let floor = Floor::spawn(SEND, &[path, len.to_string()], blocking(socket)?)?;
        let bare = BareSend { floor, display, memory, len };
        bare.send()?;
        Ok(bare)
    }

    /// Draws all pixels anew, as a guest would before it asks for an update.
    pub fn draw(&mut self, byte: u8) {
        let head = update_header(0, Rect::default()).len() as u64;
        self.memory.fill(head, self.len - head, byte);
    }

    /// One send: its time, the bytes sent, and the sender's time on a processor.
    pub fn frame(&self) -> Result<[f64; 3]> {
        let cpu = || Ok::<_, seat_frontend::Error>(Measure::of(self.floor.child.pid())?.cpu);
        let before = cpu()?;
        let time = self.send()?;
        Ok([time.as_secs_f64(), self.len as f64, (cpu()? - before).as_secs_f64()])
    }

    /// The time from the kick until the reader has got everything.
    pub fn send(&self) -> Result<Duration> {
        let goal = self.display.totals().pixels + self.len - update_header(0, Rect::default()).len() as u64;
        let until = deadline();
        let started = Instant::now();
        self.floor.kick.write(1)?;
        self.display.wait_pixels(goal, until)?;
        Ok(started.elapsed())
    }
}

fn blocking(socket: UnixStream) -> Result<OwnedFd> {
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}
