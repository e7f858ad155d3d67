//! A virtual machine with a vhost-user-gpu device: front end, guest driver and display, joined in QEMU's order.
//!
//! The display end is a [`DisplayThread`], new at each start as QEMU makes it. A stop closes it before the first message,
//! as QEMU does; what the old one had shown stays readable in it.

use std::os::fd::AsFd;

use crate::control::{DeviceKind, FrontEnd, Offer, Qemu, Start, feature};
use crate::display::{Display, DisplayConfig, DisplayThread};
use crate::error::Result;
use crate::gpu::{GpuDriver, GpuOptions, feature as gpu_feature};
use crate::memory::GuestMemory;

/// The features that Linux's driver accepts where they are offered.
pub const LINUX_FEATURES: u64 = 1 << gpu_feature::EDID
    | 1 << gpu_feature::RESOURCE_UUID
    | 1 << feature::INDIRECT_DESC
    | 1 << feature::EVENT_IDX
    | 1 << feature::VERSION_1;

/// The features that Linux's driver accepts where there is 3D as well.
pub const LINUX_3D_FEATURES: u64 =
    LINUX_FEATURES | 1 << gpu_feature::VIRGL | 1 << gpu_feature::RESOURCE_BLOB | 1 << gpu_feature::CONTEXT_INIT;

/// How the machine is made.
#[derive(Clone)]
pub struct MachineOptions {
    /// Which QEMU is played.
    pub qemu: Qemu,
    /// The guest's RAM; 64 MiB in four regions to begin with.
    pub memory: GuestMemory,
    /// The guest driver's rings and chains. EVENT_IDX follows `features`.
    pub gpu: GpuOptions,
    /// The display; its features follow `qemu` unless they were changed.
    pub display: DisplayConfig,
    /// The features that the guest's driver accepts. QEMU gives INDIRECT_DESC and EVENT_IDX to a gpu's guest whatever the
    /// back end offers; so does this.
    pub features: u64,
}

impl MachineOptions {
    /// What a plain guest under `qemu` has.
    pub fn new(qemu: Qemu) -> Result<MachineOptions> {
        Ok(MachineOptions {
            qemu,
            memory: GuestMemory::scattered(64 << 20)?,
            gpu: GpuOptions::default(),
            display: DisplayConfig { features: qemu.display_features(), ..DisplayConfig::default() },
            features: LINUX_FEATURES,
        })
    }
}

/// A virtual machine with a vhost-user-gpu device.
pub struct GpuMachine {
    /// The front end.
    pub front: FrontEnd,
    /// The guest's driver.
    pub driver: GpuDriver,
    /// The display of the last start.
    pub display: DisplayThread,
    /// What the back end offered.
    pub offer: Offer,
    memory: GuestMemory,
    config: DisplayConfig,
    features: u64,
}

impl GpuMachine {
    /// Realizes the device, lets the guest look at its config, and starts it.
    pub fn boot(front: FrontEnd, options: MachineOptions) -> Result<GpuMachine> {
        let mut machine = GpuMachine::realize(front, options)?;
        machine.front.probe_config()?;
        machine.start()?;
        Ok(machine)
    }

    /// Realizes the device and no more.
    pub fn realize(mut front: FrontEnd, options: MachineOptions) -> Result<GpuMachine> {
        let MachineOptions { qemu, memory, gpu, display: config, features } = options;
        let offer = front.realize(qemu, DeviceKind::Gpu, 2)?;
        let driver = GpuDriver::new(&memory, gpu)?;
        let display = DisplayThread::spawn(Display::spent())?;
        let transport = 1 << feature::INDIRECT_DESC | 1 << feature::EVENT_IDX;
        let features = features & (offer.features | transport);
        let mut machine = GpuMachine { front, driver, display, offer, memory, config, features };
        machine.fit_rings();
        Ok(machine)
    }

    /// What the next starts give the display.
    pub fn display_config(&mut self) -> &mut DisplayConfig {
        &mut self.config
    }

    /// The features that the guest's driver accepted.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// DRIVER_OK, with a new display.
    pub fn start(&mut self) -> Result<()> {
        let (display, socket) = DisplayThread::pair(self.config.clone())?;
        self.display = display;
        self.front.start(&Start {
            memory: self.memory.regions(),
            rings: &self.driver.rings(),
            features: self.features,
            gpu_socket: Some(socket.as_fd()),
        })
    }

    /// QMP `stop`: the display socket closes, the rings stop, the guest keeps its state.
    pub fn pause(&mut self) -> Result<()> {
        self.display.close();
        self.front.pause().map(drop)
    }

    /// QMP `cont`: a new display, the rings go on where they were.
    pub fn resume(&mut self) -> Result<()> {
        self.start()
    }

    /// A reset: the display socket closes, the rings stop, RESET_DEVICE where it is negotiated, and the guest's rings are
    /// as new. The guest's other memory stays as it is.
    pub fn reset(&mut self) -> Result<()> {
        self.display.close();
        self.front.reset()?;
        self.driver.reset();
        self.fit_rings();
        Ok(())
    }

    /// A guest's reboot: reset, config, start.
    pub fn reboot(&mut self) -> Result<()> {
        self.reset()?;
        self.front.probe_config()?;
        self.start()
    }

    /// QEMU's end: stop, then the control socket closes. Returns the display as it was last.
    pub fn quit(mut self) -> Result<DisplayThread> {
        self.display.close();
        self.front.stop()?;
        Ok(self.display)
    }

    fn fit_rings(&mut self) {
        let event_idx = self.features >> feature::EVENT_IDX & 1 == 1;
        self.driver.control_ring().set_event_idx(event_idx);
        self.driver.cursor_ring().set_event_idx(event_idx);
    }
}
