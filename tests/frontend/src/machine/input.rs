//! A virtual machine with a vhost-user-input device: front end and guest driver, joined in the monitor's order.
//!
//! The guest reads the config before it starts the device, and posts its event buffers after the rings are enabled, as
//! Linux does: a device that has events by then finds the ring empty.

use crate::control::{DeviceKind, FrontEnd, Offer, Qemu, Start, Vmm, feature};
use crate::error::Result;
use crate::input::{ConfigReader, ConfigStyle, GuestInput, InputConfig, InputDriver, InputOptions};
use crate::memory::GuestMemory;
use crate::ring::Layout;

/// The features that Linux's driver accepts where they are offered.
pub const LINUX_INPUT_FEATURES: u64 = 1 << feature::INDIRECT_DESC | 1 << feature::EVENT_IDX | 1 << feature::VERSION_1;

/// How the machine is made.
#[derive(Clone)]
pub struct InputMachineOptions {
    /// Which monitor is played.
    pub vmm: Vmm,
    /// The guest's RAM; 4 MiB in four regions to begin with.
    pub memory: GuestMemory,
    /// The guest driver's rings, chains and buffers. EVENT_IDX and indirect tables follow what was negotiated.
    pub input: InputOptions,
    /// The features that the guest's driver accepts where they are offered. What the back end offers, the guest is
    /// offered; QEMU 7.2 alone gives it INDIRECT_DESC and EVENT_IDX whatever the back end says.
    pub features: u64,
    /// How the guest's accesses to the config become messages.
    pub style: ConfigStyle,
}

impl InputMachineOptions {
    /// What a plain guest under `vmm` has: queues of the monitor's size and its way with the config.
    pub fn new(vmm: impl Into<Vmm>) -> Result<InputMachineOptions> {
        let vmm = vmm.into();
        Ok(InputMachineOptions {
            vmm,
            memory: GuestMemory::scattered(4 << 20)?,
            input: InputOptions::sized(vmm.input_queue_size()),
            features: LINUX_INPUT_FEATURES,
            style: vmm.into(),
        })
    }

    /// The same with QEMU 11.1.
    pub fn qemu() -> Result<InputMachineOptions> {
        InputMachineOptions::new(Qemu::V11_1)
    }
}

/// A virtual machine with a vhost-user-input device.
pub struct InputMachine {
    /// The front end.
    pub front: FrontEnd,
    /// The guest's driver.
    pub driver: InputDriver,
    /// The guest's conversation about the config.
    pub reader: ConfigReader,
    /// The config as the guest read it last; empty before the first boot.
    pub config: InputConfig,
    /// What the back end offered.
    pub offer: Offer,
    memory: GuestMemory,
    vmm: Vmm,
    layout: Layout,
    features: u64,
}

impl InputMachine {
    /// Realizes the device, lets the guest read the config as Linux does, starts it, and posts the event buffers.
    pub fn boot(front: FrontEnd, options: InputMachineOptions) -> Result<InputMachine> {
        let mut machine = InputMachine::realize(front, options)?;
        machine.come_up()?;
        Ok(machine)
    }

    /// Realizes the device and no more.
    pub fn realize(mut front: FrontEnd, options: InputMachineOptions) -> Result<InputMachine> {
        let InputMachineOptions { vmm, memory, input, features, style } = options;
        let offer = front.realize(vmm, DeviceKind::Input, 2)?;
        let driver = InputDriver::new(&memory, input)?;
        let added = match vmm {
            Vmm::Qemu(Qemu::V7_2) => 1 << feature::INDIRECT_DESC | 1 << feature::EVENT_IDX,
            _ => 0,
        };
        let mut machine = InputMachine {
            front,
            driver,
            reader: ConfigReader::new(style),
            config: InputConfig::default(),
            offer,
            memory,
            vmm,
            layout: input.layout,
            features: features & (offer.features | added),
        };
        machine.fit_rings();
        Ok(machine)
    }

    fn come_up(&mut self) -> Result<()> {
        self.probe()?;
        self.start()?;
        self.driver.post_all().map(drop)
    }

    /// The guest driver's look at the whole config.
    pub fn probe(&mut self) -> Result<&InputConfig> {
        self.config = self.reader.probe(&mut self.front)?;
        Ok(&self.config)
    }

    /// The features that the guest's driver accepted.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// A guest that has read the config and has seen no event yet.
    pub fn guest(&self) -> GuestInput {
        GuestInput::of(&self.config)
    }

    /// DRIVER_OK, without posting any buffer.
    pub fn start(&mut self) -> Result<()> {
        self.front.start(&Start {
            memory: self.memory.regions(),
            rings: &self.driver.rings(),
            features: self.features,
            gpu_socket: None,
        })
    }

    /// QMP `stop`, or the like: the rings stop where they are, the guest keeps its state and its buffers.
    pub fn pause(&mut self) -> Result<()> {
        self.front.pause().map(drop)
    }

    /// QMP `cont`, or the like: the rings go on where they were.
    pub fn resume(&mut self) -> Result<()> {
        self.start()
    }

    /// A reset: the rings stop, RESET_DEVICE where it is negotiated, and the guest's rings are as new.
    pub fn reset(&mut self) -> Result<()> {
        self.front.reset()?;
        self.driver.reset();
        self.fit_rings();
        Ok(())
    }

    /// A guest's reboot: reset, config, start, buffers.
    pub fn reboot(&mut self) -> Result<()> {
        self.reset()?;
        self.come_up()
    }

    /// The monitor's end: QEMU stops the rings and closes the control socket, others only close it.
    pub fn quit(mut self) -> Result<()> {
        match self.vmm {
            Vmm::Qemu(_) => self.front.stop().map(drop),
            Vmm::CloudHypervisor | Vmm::Plain => Ok(()),
        }
    }

    fn fit_rings(&mut self) {
        let event_idx = self.features >> feature::EVENT_IDX & 1 == 1;
        self.driver.event_ring().set_event_idx(event_idx);
        self.driver.status_ring().set_event_idx(event_idx);
        let indirect = self.features >> feature::INDIRECT_DESC & 1 == 1;
        self.driver.set_layout(if indirect { self.layout } else { Layout::Direct });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::control::recorder::{self, Seen, record};
    use crate::control::{protocol, request};
    use crate::input::config::tests::tablet;
    use crate::memory::UVA_BASE;

    const ALL: u64 = 1 << protocol::MQ
        | 1 << protocol::REPLY_ACK
        | 1 << protocol::CONFIG
        | 1 << protocol::BACKEND_REQ
        | 1 << protocol::CONFIGURE_MEM_SLOTS
        | 1 << protocol::RESET_DEVICE;
    const MONITORS: [Vmm; 5] =
        [Vmm::Qemu(Qemu::V7_2), Vmm::Qemu(Qemu::V10_0), Vmm::Qemu(Qemu::V11_1), Vmm::CloudHypervisor, Vmm::Plain];

    /// A machine's life as `live` has it, and the messages that it made.
    fn machine(vmm: Vmm, live: impl FnOnce(InputMachine)) -> Vec<Seen> {
        let (front, theirs) = FrontEnd::pair().unwrap();
        let (mut model, _) = tablet();
        let back_end = record(theirs, ALL, move |request, payload| model.access(request, payload));
        live(InputMachine::boot(front, InputMachineOptions::new(vmm).unwrap()).unwrap());
        back_end.join().unwrap()
    }

    fn count(seen: &[Seen], number: u32) -> usize {
        seen.iter().filter(|message| message.0 == number).count()
    }

    #[test]
    fn every_monitor_boots_pauses_resumes_reboots_and_quits() {
        for vmm in MONITORS {
            let seen = machine(vmm, |mut vm| {
                assert_eq!(vm.config, tablet().1, "{vmm:?}");
                assert_eq!(vm.driver.posted(), usize::from(vmm.input_queue_size()), "{vmm:?}");
                vm.pause().unwrap();
                vm.resume().unwrap();
                assert_eq!(vm.driver.posted(), usize::from(vmm.input_queue_size()), "{vmm:?}");
                vm.reboot().unwrap();
                assert_eq!(vm.driver.posted(), usize::from(vmm.input_queue_size()), "{vmm:?}");
                vm.quit().unwrap();
            });
            let qemu = matches!(vmm, Vmm::Qemu(_));
            let (starts, stops) = if qemu { (3, 3) } else { (2, 1) };
            assert_eq!(count(&seen, request::SET_VRING_KICK), 2 * starts, "{vmm:?}");
            assert_eq!(count(&seen, request::GET_VRING_BASE), 2 * stops, "{vmm:?}");
            assert_eq!(count(&seen, request::RESET_DEVICE), if qemu { 3 } else { 0 }, "{vmm:?}");
            assert_eq!(count(&seen, request::SET_MEM_TABLE), if qemu { 0 } else { starts }, "{vmm:?}");
        }
    }

    #[test]
    fn buffers_are_posted_after_the_rings_were_enabled() {
        for vmm in MONITORS {
            let (front, theirs) = FrontEnd::pair().unwrap();
            let options = InputMachineOptions {
                memory: GuestMemory::flat(4 << 20).unwrap(),
                ..InputMachineOptions::new(vmm).unwrap()
            };
            let memory = options.memory.clone();
            let (mut model, _) = tablet();
            let (mut avail, posted) = (Vec::new(), Arc::new(Mutex::new(Vec::new())));
            let seen = posted.clone();
            let back_end = record(theirs, ALL, move |request, payload| {
                model.access(request, payload);
                match request {
                    request::SET_VRING_ADDR => avail.push(u64::from_ne_bytes(payload[24..32].try_into().unwrap())),
                    request::SET_VRING_ENABLE => seen.lock().unwrap().push(memory.read_u16(avail[0] - UVA_BASE + 2)),
                    _ => {}
                }
            });
            let vm = InputMachine::boot(front, options).unwrap();
            assert_eq!(vm.driver.rings()[0].avail_idx(), vmm.input_queue_size(), "{vmm:?}");
            drop(vm);
            back_end.join().unwrap();
            assert_eq!(*posted.lock().unwrap(), [0, 0], "{vmm:?}");
        }
    }

    #[test]
    fn the_guest_gets_what_was_offered_and_under_qemu_7_indirect_descriptors_too() {
        for vmm in MONITORS {
            let added = if vmm == Vmm::Qemu(Qemu::V7_2) { 1 << feature::INDIRECT_DESC } else { 0 };
            let seen = machine(vmm, drop);
            let set = seen.iter().find(|message| message.0 == request::SET_FEATURES).unwrap();
            assert_eq!(set.3, (recorder::FEATURES | added).to_ne_bytes(), "{vmm:?}");
        }
    }

    #[test]
    fn a_reboot_reads_the_config_from_where_the_copy_was() {
        let seen = machine(Vmm::default(), |mut vm| vm.reboot().unwrap());
        assert_eq!(count(&seen, request::SET_CONFIG), 2 * 28);
        assert_eq!(count(&seen, request::GET_CONFIG), 2 * 81);
    }
}
