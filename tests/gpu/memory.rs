//! Guest memory that comes, goes and is replaced while rings run (vhost-user, "Front-end message types").

use std::os::fd::AsFd;

use seat_frontend::control::request;
use seat_frontend::control::wire;
use seat_frontend::gpu::{Backing, Command, MemEntry, format, resp};
use seat_frontend::machine::GpuMachine;
use seat_frontend::memory::{GuestMemory, RegionPlan, RegionSpec, memfd};
use seat_frontend::ring::Segment;

use crate::common::canvas::{Canvas, await_picture};
use crate::common::picture::Picture;
use crate::common::{assert_answers, boot, connect, options, program, realize_on};

/// Memory that the machine does not have, far above all that it has.
const EXTRA: u64 = 0x80_0000_0000;

fn extra_memory(size: u64) -> GuestMemory {
    GuestMemory::new(&[RegionPlan::new(EXTRA, size, 0)], true).unwrap()
}

/// A canvas whose backing lies in `memory`, which the back end must know.
fn canvas_in(vm: &mut GpuMachine, memory: &GuestMemory, id: u32, side: u32) -> Canvas {
    let entries = vec![MemEntry { addr: memory.regions()[0].spec.gpa, len: side * side * 4 }];
    let backing = Backing::from_entries(memory, entries);
    Canvas::with_backing(&mut vm.driver, id, format::B8G8R8X8, side, side, backing)
}

#[test]
fn exactly_509_regions_fit() {
    let program = program(&[]);
    let mut front = connect(&program);
    let offered = front.get_protocol_features().unwrap();
    front.set_protocol_features(offered).unwrap();
    let file = memfd(c"regions", 510 * 0x1000, true).unwrap();
    let spec = |index: u64| RegionSpec {
        gpa: index * 0x2000,
        size: 0x1000,
        uva: 0x7f00_0000_0000 + index * 0x3000,
        mmap_offset: index * 0x1000,
    };

    for index in 0..509 {
        front.add_mem_reg_raw(&spec(index), &[file.as_fd()]).unwrap();
    }

    let one_more = front.ack_value(request::ADD_MEM_REG, &wire::single_region(&spec(509)), &[file.as_fd()]).unwrap();
    assert_ne!(one_more, 0);
    front.rem_mem_reg(&spec(100)).unwrap();
    front.add_mem_reg_raw(&spec(509), &[file.as_fd()]).unwrap();
}

#[test]
fn a_region_added_while_rings_run_can_be_used_at_once() {
    let mut seat = boot();
    let memory = extra_memory(0x10_000);
    let entry = [MemEntry { addr: EXTRA, len: 0x4000 }];
    seat.vm.driver.create_2d(1, format::B8G8R8X8, 64, 64).unwrap().ok().unwrap();
    let before = seat.vm.driver.attach_backing(1, &entry).unwrap();
    assert_eq!(before.kind, resp::ERR_UNSPEC, "it is not guest memory yet");

    seat.vm.front.add_mem_reg(&memory.regions()[0]).unwrap();

    let mut canvas = canvas_in(&mut seat.vm, &memory, 2, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.put_on(&mut seat.vm.driver, 0);
    canvas.present_all(&mut seat.vm.driver);
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn chains_may_lie_in_a_region_added_while_rings_run() {
    let mut seat = boot();
    let memory = extra_memory(0x1000);
    seat.vm.front.add_mem_reg(&memory.regions()[0]).unwrap();
    // RESOURCE_UNREF of a resource that is not there.
    memory.write(EXTRA, &[0x102u32.to_le_bytes(), [0; 4]].concat());
    memory.write(EXTRA + 24, &77u32.to_le_bytes());

    let used = seat
        .vm
        .driver
        .raw_call(&[Segment { gpa: EXTRA, len: 32 }], &[Segment { gpa: EXTRA + 0x800, len: 24 }])
        .unwrap();

    assert_eq!(used.len, 24);
    assert_eq!(memory.read_u32(EXTRA + 0x800), resp::ERR_INVALID_RESOURCE_ID);
}

#[test]
fn backing_in_a_region_that_was_removed_is_not_read_and_comes_back_with_the_region() {
    let mut seat = boot();
    let memory = extra_memory(0x10_000);
    let region = &memory.regions()[0];
    seat.vm.front.add_mem_reg(region).unwrap();
    let mut canvas = canvas_in(&mut seat.vm, &memory, 2, 64);
    canvas.put_on(&mut seat.vm.driver, 0);
    canvas.draw(Picture::noise(64, 64, 1));

    // Another offset is no hindrance: address and size say which region it is.
    seat.vm.front.rem_mem_reg(&RegionSpec { mmap_offset: 0x5000, ..region.spec }).unwrap();

    let refused = seat.vm.driver.transfer(canvas.id, canvas.rect(), 0).unwrap();
    assert!(!refused.is_ok(), "{refused:?}");
    seat.vm.front.add_mem_reg(region).unwrap();
    canvas.present_all(&mut seat.vm.driver);
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn a_region_that_was_never_added_cannot_be_removed() {
    let mut seat = boot();
    let spec = RegionPlan::new(EXTRA, 0x1000, 0).spec;

    let refused = seat.vm.front.ack_value(request::REM_MEM_REG, &wire::single_region(&spec), &[]).unwrap();

    assert_ne!(refused, 0);
    assert_answers(&mut seat.vm);
}

#[test]
fn the_whole_table_can_be_replaced_while_rings_run() {
    let mut seat = boot();
    let own = seat.vm.driver.memory().clone();
    let memory = extra_memory(0x10_000);
    let both: Vec<_> = own.regions().iter().chain(memory.regions()).cloned().collect();

    seat.vm.front.set_mem_table(&both).unwrap();

    let mut canvas = canvas_in(&mut seat.vm, &memory, 2, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.put_on(&mut seat.vm.driver, 0);
    canvas.present_all(&mut seat.vm.driver);
    await_picture(&seat.vm, 0, &canvas.picture);
    // Without it again: the rings go on, and the backing there is out of reach.
    seat.vm.front.set_mem_table(own.regions()).unwrap();
    assert!(!seat.vm.driver.transfer(canvas.id, canvas.rect(), 0).unwrap().is_ok());
    assert_answers(&mut seat.vm);
}

#[test]
fn a_table_that_is_refused_leaves_the_old_one() {
    let mut seat = boot();
    let own = seat.vm.driver.memory().clone();
    let specs: Vec<_> = own.regions().iter().map(|region| region.spec).collect();
    let fds: Vec<_> = own.regions().iter().map(|_| own.regions()[0].fd()).collect();

    // All regions in the file of the first, which is too short for those with an offset.
    let refused = seat.vm.front.ack_value(request::SET_MEM_TABLE, &wire::mem_table(&specs), &fds).unwrap();

    assert_ne!(refused, 0);
    assert_answers(&mut seat.vm);
}

#[test]
fn rings_whose_memory_is_taken_away_rest_until_it_is_back() {
    let mut seat = boot();
    let own = seat.vm.driver.memory().clone();

    seat.vm.front.set_mem_table(&[]).unwrap();
    seat.vm.driver.queue(&Command::GetDisplayInfo).unwrap();
    seat.vm.driver.kick();
    seat.vm.front.set_mem_table(own.regions()).unwrap();

    assert!(seat.vm.driver.next_done().unwrap().response.is_ok(), "what was offered meanwhile is answered");
    assert_answers(&mut seat.vm);
    assert_eq!(seat.vm.front.ring_errors(0), 0, "the guest did nothing wrong");
    seat.vm.reboot().unwrap();
    assert_answers(&mut seat.vm);
}

#[test]
fn a_region_may_begin_at_any_page_of_its_file() {
    let mut seat = boot();
    let plan = RegionPlan::new(EXTRA, 0x10_000, 0).at_offset(0x7000);
    let memory = GuestMemory::new(&[plan], true).unwrap();

    seat.vm.front.add_mem_reg(&memory.regions()[0]).unwrap();

    let mut canvas = canvas_in(&mut seat.vm, &memory, 2, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.put_on(&mut seat.vm.driver, 0);
    canvas.present_all(&mut seat.vm.driver);
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn memory_may_come_in_a_table_instead_of_slots() {
    let program = program(&[]);
    let mut vm = realize_on(&program, options());
    let without_slots = vm.front.protocol_features() & !(1 << seat_frontend::control::protocol::CONFIGURE_MEM_SLOTS);
    vm.front.set_protocol_features(without_slots).unwrap();

    for _ in 0..3 {
        vm.start().unwrap();
        assert_answers(&mut vm);
        vm.pause().unwrap();
    }
}
