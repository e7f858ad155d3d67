//! A back end with a guest in front of it and a reader at its display socket that only counts.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use seat_frontend::control::{DeviceKind, FrontEnd, Qemu, Start, feature};
use seat_frontend::display::{DisplayConfig, DrainThread, Totals};
use seat_frontend::gpu::{Backing, Command, GpuDriver, GpuOptions, Rect, format};
use seat_frontend::machine::LINUX_3D_FEATURES;
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::Program;
use seat_frontend::{Deadline, wait_readable};

use crate::Result;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until when an answer must have come.
pub fn deadline() -> Deadline {
    Deadline::after(PATIENCE)
}

/// A front end with a guest, whose back end is another process or a thread.
pub struct Guest {
    /// The guest's driver.
    pub driver: GpuDriver,
    /// Who reads the display socket.
    pub display: DrainThread,
    /// Kept for its socket: the back end ends with it.
    _front: FrontEnd,
}

impl Guest {
    /// Boots on a connected control socket, as under QEMU 10.0 (the peer knows no larger config space).
    pub fn boot(mut front: FrontEnd, memory: &GuestMemory) -> Result<Guest> {
        let qemu = Qemu::V10_0;
        let offer = front.realize(qemu, DeviceKind::Gpu, 2)?;
        let transport = 1 << feature::INDIRECT_DESC | 1 << feature::EVENT_IDX;
        let mut driver = GpuDriver::new(memory, GpuOptions::default())?;
        driver.set_timeout(PATIENCE);
        let config = DisplayConfig { features: qemu.display_features(), ..DisplayConfig::default() };
        let (display, socket) = DrainThread::pair(config)?;
        front.probe_config()?;
        front.start(&Start {
            memory: memory.regions(),
            rings: &driver.rings(),
            features: LINUX_3D_FEATURES & (offer.features | transport),
            gpu_socket: Some(socket.as_fd()),
        })?;
        driver.display_info()?;
        Ok(Guest { driver, display, _front: front })
    }

    /// A resource of that size on scanout 0, backed by one piece of memory.
    pub fn show(&mut self, id: u32, width: u32, height: u32) -> Result<Backing> {
        let memory = self.driver.memory().clone();
        let len = u64::from(width) * u64::from(height) * 4;
        let backing = Backing::contiguous(&memory, self.driver.pages(), len)?;
        self.driver.create_with_backing(id, format::B8G8R8X8, (width, height), backing.entries())?;
        self.driver.set_scanout(0, id, Rect::new(0, 0, width, height))?.ok()?;
        Ok(backing)
    }

    /// Kicks the control queue for `count` commands and waits for the call after the last. The time from kick to call;
    /// the answers are collected outside of it.
    pub fn kick_to_call(&mut self, count: u16) -> Result<Duration> {
        let ring = self.driver.control_ring();
        ring.interrupts();
        ring.enable_interrupts_after(count);
        let until = deadline();
        let started = Instant::now();
        self.driver.kick();
        let called = wait_readable(self.driver.control_ring().call_fd(), until)?;
        let took = started.elapsed();
        if !called {
            return Err("no call came".into());
        }
        self.driver.finish_all()?;
        Ok(took)
    }

    /// Shows `command` to the device `count` times in one batch; see [`Guest::kick_to_call`].
    pub fn batch(&mut self, command: &Command<'_>, count: u16) -> Result<Duration> {
        for _ in 0..count {
            self.driver.queue(command)?;
        }
        self.kick_to_call(count)
    }

    /// TRANSFER and FLUSH of `rect` in one kick. The time from the kick until the reader has got `pixels` bytes of
    /// pixels more, in however many messages, and the guest its answers: it would not draw the next frame before.
    pub fn update(&mut self, resource_id: u32, rect: Rect, offset: u64, pixels: u64) -> Result<Duration> {
        let goal = self.display.totals().pixels + pixels;
        self.driver.queue(&Command::TransferToHost2d { rect, offset, resource_id })?;
        self.driver.queue(&Command::ResourceFlush { rect, resource_id })?;
        let until = deadline();
        let started = Instant::now();
        self.driver.kick();
        self.display
            .wait_pixels(goal, until)
            .map_err(|error| format!("{error}: {:?}, {goal} were due", self.display.totals()))?;
        self.driver.finish_all()?;
        Ok(started.elapsed())
    }

    /// Waits until nothing more comes to the display, and says what came in all.
    pub fn settle(&mut self) -> Result<Totals> {
        let mut before = self.display.totals();
        loop {
            std::thread::sleep(Duration::from_millis(30));
            let now = self.display.totals();
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    /// How many bytes of pixels the same update will bring the display, learnt from one.
    pub fn learn(&mut self, resource_id: u32, rect: Rect, offset: u64) -> Result<u64> {
        let before = self.settle()?.pixels;
        self.driver.transfer_and_flush(resource_id, rect, offset)?;
        Ok(self.settle()?.pixels - before)
    }
}

/// A back-end process and its guest.
pub struct Vm {
    /// The process; ended first.
    pub program: Program,
    guest: Guest,
}

impl Vm {
    /// Starts `binary` and boots a guest with `memory` bytes of RAM on it.
    pub fn boot(binary: &Path, memory: u64) -> Result<Vm> {
        Vm::boot_with(binary, &[], memory)
    }

    /// The same, with arguments.
    pub fn boot_with(binary: &Path, arguments: &[&str], memory: u64) -> Result<Vm> {
        let (program, front) = Program::on_fd(binary, arguments)?;
        let guest = Guest::boot(front, &GuestMemory::flat(memory)?)?;
        Ok(Vm { program, guest })
    }

    /// Its guest. A method and no field: a closure that took the guest alone would leave the process to be ended.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }
}
