//! The driver and the drain allocate nothing in steady state, so that a count of a back end's allocations, or a bench of
//! it in the same process, is a count of the back end's alone. Needs a peer, as `peer.rs` does.

mod counting;

use std::os::fd::AsFd;

use seat_frontend::Deadline;
use seat_frontend::control::{DeviceKind, Qemu, Start};
use seat_frontend::display::{DisplayConfig, DrainThread};
use seat_frontend::gpu::{Backing, GpuDriver, GpuOptions, Rect, format};
use seat_frontend::machine::LINUX_FEATURES;
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::{Program, peer};

#[test]
fn a_steady_stream_of_frames_and_cursor_moves_allocates_nothing() {
    let Some(peer) = peer() else { return };
    let program = Program::listening(peer, &[], Deadline::secs(10)).unwrap();
    let mut front = program.connect().unwrap();
    front.realize(Qemu::V10_0, DeviceKind::Gpu, 2).unwrap();
    let memory = GuestMemory::flat(32 << 20).unwrap();
    let mut driver = GpuDriver::new(&memory, GpuOptions::default()).unwrap();
    let (drain, socket) = DrainThread::pair(DisplayConfig::default()).unwrap();
    let (rings, gpu_socket) = (driver.rings(), Some(socket.as_fd()));
    front.start(&Start { memory: memory.regions(), rings: &rings, features: LINUX_FEATURES, gpu_socket }).unwrap();

    let rect = Rect::new(0, 0, 64, 64);
    let backing = Backing::contiguous(&memory, driver.pages(), 64 * 64 * 4).unwrap();
    driver.create_with_backing(1, format::B8G8R8X8, (64, 64), backing.entries()).unwrap();
    driver.set_scanout(0, 1, rect).unwrap().ok().unwrap();

    let mut before = 0;
    for round in 0..1100u64 {
        if round == 100 {
            before = counting::calls().0;
        }
        driver.transfer_and_flush(1, rect, 0).unwrap();
        driver.move_cursor(0, 1, (round as u32, 1)).unwrap();
        drain.wait(Deadline::secs(10), |totals| totals.updates > round).unwrap();
    }
    assert_eq!(counting::calls().0 - before, 0);
}
