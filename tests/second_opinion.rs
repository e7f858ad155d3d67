//! Another reading of the vhost-user document: the `vhost` crate's own front end on the control socket, with and without
//! acknowledgements. It shares no code with the fake front end of the other tests; only the guest's side of the rings is
//! that one's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the tests' own")]

mod common;

use std::os::fd::{AsRawFd, OwnedFd};

use seat_frontend::gpu::{Command, Done, GpuDriver, GpuOptions, format, resp};
use seat_frontend::memory::{GuestMemory, Region, memfd};
use seat_frontend::program::Program;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag};
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use common::{program, soon};

const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;
const INDIRECT_DESC: u64 = 1 << 28;

/// A guest under the crate's front end.
struct Guest {
    front: Frontend,
    driver: GpuDriver,
    memory: GuestMemory,
    kicks: [EventFd; 2],
    calls: [EventFd; 2],
}

/// Features and protocol features as negotiated by the crate; each message is acknowledged where that is wanted.
fn negotiate(program: &Program, acknowledged: bool) -> Guest {
    let mut front = Frontend::connect(program.socket(), 2).unwrap();
    front.set_owner().unwrap();
    let features = front.get_features().unwrap();
    let wanted = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() | VERSION_1 | EVENT_IDX | INDIRECT_DESC;
    assert_eq!(features & wanted, wanted);
    let offered = front.get_protocol_features().unwrap();
    assert!(offered.contains(VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIG));
    front.set_protocol_features(offered).unwrap();
    if acknowledged {
        front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    }
    front.set_features(wanted).unwrap();
    let memory = GuestMemory::scattered(16 << 20).unwrap();
    let driver = GpuDriver::new(&memory, GpuOptions::default()).unwrap();
    let eventfd = || EventFd::new(EFD_NONBLOCK).unwrap();
    Guest { front, driver, memory, kicks: [eventfd(), eventfd()], calls: [eventfd(), eventfd()] }
}

fn info(region: &Region) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: region.spec.gpa,
        memory_size: region.spec.size,
        userspace_addr: region.spec.uva,
        mmap_offset: region.spec.mmap_offset,
        mmap_handle: region.fd().as_raw_fd(),
    }
}

impl Guest {
    fn add_memory(&mut self) {
        for region in self.memory.regions() {
            self.front.add_mem_region(&info(region)).unwrap();
        }
    }

    /// Starts both rings at these bases and enables them.
    fn start(&mut self, bases: [u16; 2]) {
        for (index, ring) in self.driver.rings().into_iter().enumerate() {
            let addresses = ring.addresses(index as u32, false);
            let config = VringConfigData {
                queue_max_size: ring.size(),
                queue_size: ring.size(),
                flags: 0,
                desc_table_addr: addresses.desc,
                used_ring_addr: addresses.used,
                avail_ring_addr: addresses.avail,
                log_addr: None,
            };
            self.front.set_vring_num(index, ring.size()).unwrap();
            self.front.set_vring_addr(index, &config).unwrap();
            self.front.set_vring_base(index, bases[index]).unwrap();
            self.front.set_vring_call(index, &self.calls[index]).unwrap();
            self.front.set_vring_kick(index, &self.kicks[index]).unwrap();
        }
        (0..2).for_each(|index| self.front.set_vring_enable(index, true).unwrap());
    }

    fn stop(&mut self) -> [u32; 2] {
        (0..2).for_each(|index| self.front.set_vring_enable(index, false).unwrap());
        [0, 1].map(|index| self.front.get_vring_base(index).unwrap())
    }

    /// A command through the control queue: its answer, and the interrupt that announces it.
    fn call(&mut self, command: &Command<'_>) -> Done {
        let deadline = soon();
        self.driver.queue(command).unwrap();
        self.driver.control_ring().enable_interrupts();
        self.driver.control_ring().publish();
        self.kicks[0].write(1).unwrap();
        while self.calls[0].read().is_err() {
            assert!(!deadline.passed(), "no interrupt");
            std::thread::yield_now();
        }
        loop {
            if let Some(done) = self.driver.poll_done().unwrap() {
                return done;
            }
            assert!(!deadline.passed(), "an interrupt without an answer");
        }
    }

    fn assert_works(&mut self, resource_id: u32) {
        let create = Command::ResourceCreate2d { resource_id, format: format::B8G8R8X8, width: 64, height: 64 };
        assert_eq!(self.call(&create).response.kind, resp::OK_NODATA);
        assert_eq!(self.call(&create).response.kind, resp::ERR_INVALID_RESOURCE_ID);
        assert_eq!(self.call(&Command::GetDisplayInfo).response.kind, resp::OK_DISPLAY_INFO);
    }
}

fn for_both(test: impl Fn(Guest)) {
    for acknowledged in [false, true] {
        let program = program(&[]);
        test(negotiate(&program, acknowledged));
    }
}

#[test]
fn a_command_goes_through_a_ring_that_the_crate_set_up() {
    for_both(|mut guest| {
        guest.add_memory();
        guest.start([0, 0]);
        guest.assert_works(1);
    });
}

#[test]
fn memory_may_come_as_a_table() {
    for_both(|mut guest| {
        let table: Vec<_> = guest.memory.regions().iter().map(info).collect();
        guest.front.set_mem_table(&table).unwrap();
        guest.start([0, 0]);
        guest.assert_works(1);
    });
}

#[test]
fn queues_slots_and_config_are_what_the_crate_expects() {
    for_both(|mut guest| {
        assert_eq!(guest.front.get_queue_num().unwrap(), 2);
        assert_eq!(guest.front.get_max_mem_slots().unwrap(), 509);
        for size in [4, 16, 20, 256] {
            let flags = VhostUserConfigFlags::WRITABLE;
            let asked = vec![0; size];
            let (_, config) = guest.front.get_config(0, size as u32, flags, &asked).unwrap();
            assert_eq!(config.len(), size);
            // num_scanouts
            assert!(size < 12 || config[8..12] == [16, 0, 0, 0], "{config:?}");
        }
        guest.front.set_config(0, VhostUserConfigFlags::WRITABLE, &[0; 20]).unwrap();
    });
}

#[test]
fn rings_stop_where_they_are_and_go_on_there() {
    for_both(|mut guest| {
        guest.add_memory();
        guest.start([0, 0]);
        guest.assert_works(1);

        let bases = guest.stop();

        assert_eq!(bases, [3, 0]);
        guest.start(bases.map(|base| base as u16));
        // What the guest had made is still there.
        let create = Command::ResourceCreate2d { resource_id: 1, format: format::B8G8R8X8, width: 64, height: 64 };
        assert_eq!(guest.call(&create).response.kind, resp::ERR_INVALID_RESOURCE_ID);
        guest.assert_works(2);
    });
}

#[test]
fn reset_device_brings_a_new_device() {
    for_both(|mut guest| {
        guest.front.reset_device().unwrap();
        guest.add_memory();
        guest.start([0, 0]);
        guest.assert_works(1);

        guest.stop();
        guest.front.reset_device().unwrap();
        guest.driver.reset();
        guest.start([0, 0]);

        guest.assert_works(1);
    });
}

#[test]
fn memory_comes_and_goes() {
    for_both(|mut guest| {
        guest.add_memory();
        let file: OwnedFd = memfd(c"more", 0x2000, true).unwrap();
        let more = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0x80_0000_0000,
            memory_size: 0x1000,
            userspace_addr: 0x1000_0000,
            mmap_offset: 0x1000,
            mmap_handle: file.as_raw_fd(),
        };
        for _ in 0..3 {
            guest.front.add_mem_region(&more).unwrap();
            guest.front.remove_mem_region(&more).unwrap();
        }
        guest.start([0, 0]);
        guest.assert_works(1);
    });
}

#[test]
fn what_is_refused_is_an_error_to_the_crate() {
    let program = program(&[]);
    let mut guest = negotiate(&program, true);

    guest.front.set_vring_num(0, 3).unwrap_err();
    let packed = 1 << 34;
    guest.front.set_features(VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() | packed).unwrap_err();
    let short: OwnedFd = memfd(c"short", 0x1000, true).unwrap();
    let region =
        VhostUserMemoryRegionInfo { memory_size: 0x2000, mmap_handle: short.as_raw_fd(), ..Default::default() };
    guest.front.add_mem_region(&region).unwrap_err();

    guest.add_memory();
    guest.start([0, 0]);
    guest.assert_works(1);
}
