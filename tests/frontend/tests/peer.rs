//! This package held against QEMU's own back end: what both sides of these tests agree on is not our reading alone.
//!
//! Runs where `program::peer` finds one, and says so where it does not.

use seat_frontend::control::{DeviceKind, Qemu, protocol, request, wire};
use seat_frontend::display::{DisplayConfig, DisplayThread, DrainThread, Event, message, wire::sample_edid};
use seat_frontend::gpu::{Backing, Command, Fence, GpuDriver, GpuOptions, Head, MemEntry, Rect, format, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::{Program, peer};
use seat_frontend::ring::{Layout, RingOptions};
use seat_frontend::{Deadline, Error};

const SIZE: (u32, u32) = (64, 48);

fn boot(options: MachineOptions) -> Option<(Program, GpuMachine)> {
    let program = Program::listening(peer()?, &[], Deadline::secs(10)).unwrap();
    let machine = GpuMachine::boot(program.connect().unwrap(), options).unwrap();
    Some((program, machine))
}

/// QEMU 10.0, whose back end this is.
fn options() -> MachineOptions {
    let mut options = MachineOptions::new(Qemu::V10_0).unwrap();
    options.display.peer_faults = true;
    options
}

/// A picture in which no two pixels nearby are alike; the last byte of each is not 0.
fn picture(seed: u32) -> Vec<u8> {
    let pixel = |at: u32| at.wrapping_mul(2_654_435_761).wrapping_add(seed * 97).to_le_bytes();
    (0..SIZE.0 * SIZE.1).map(pixel).flat_map(|[a, b, c, _]| [a, b, c, 0xff]).collect()
}

fn backing(vm: &mut GpuMachine, entries: usize) -> Backing {
    let memory = vm.driver.memory().clone();
    Backing::scattered(&memory, vm.driver.pages(), u64::from(SIZE.0 * SIZE.1 * 4), entries).unwrap()
}

fn whole() -> Rect {
    Rect::new(0, 0, SIZE.0, SIZE.1)
}

fn show(vm: &mut GpuMachine, resource: u32, backing: &Backing) {
    vm.driver.create_with_backing(resource, format::B8G8R8X8, SIZE, backing.entries()).unwrap();
    vm.driver.set_scanout(0, resource, whole()).unwrap().ok().unwrap();
}

fn expect_picture(vm: &GpuMachine, updates: u64, picture: &[u8]) {
    let deadline = Deadline::secs(10);
    vm.display
        .wait(deadline, |display| display.counters().of(message::UPDATE) == updates && !display.is_inside_message())
        .unwrap();
    vm.display.with(|display| {
        let surface = display.surface(0).unwrap();
        assert_eq!((surface.width, surface.height), SIZE);
        let wrong = surface.pixels.iter().zip(picture).position(|(got, want)| got != want);
        assert_eq!(wrong, None, "first wrong byte");
    });
}

#[test]
fn a_picture_arrives_pixel_by_pixel() {
    let Some((_program, mut vm)) = boot(options()) else { return };
    for (resource, entries) in [1, 7, 100].into_iter().enumerate() {
        let backing = backing(&mut vm, entries);
        backing.write(0, &picture(resource as u32));
        show(&mut vm, resource as u32 + 1, &backing);
        vm.driver.transfer_and_flush(resource as u32 + 1, whole(), 0).unwrap();
        expect_picture(&vm, resource as u64 + 1, &picture(resource as u32));
    }
    vm.quit().unwrap().finish().unwrap();
}

#[test]
fn a_changed_rectangle_arrives_alone() {
    let Some((_program, mut vm)) = boot(options()) else { return };
    let backing = backing(&mut vm, 5);
    let mut wanted = picture(1);
    backing.write(0, &wanted);
    show(&mut vm, 1, &backing);
    vm.driver.transfer_and_flush(1, whole(), 0).unwrap();
    expect_picture(&vm, 1, &wanted);

    backing.write(0, &picture(2));
    let rect = Rect::new(10, 20, 30, 5);
    let offset = u64::from((rect.y * SIZE.0 + rect.x) * 4);
    vm.driver.transfer_and_flush(1, rect, offset).unwrap();
    for y in rect.y..rect.y + rect.height {
        let start = ((y * SIZE.0 + rect.x) * 4) as usize;
        let end = start + rect.width as usize * 4;
        wanted[start..end].copy_from_slice(&picture(2)[start..end]);
    }
    expect_picture(&vm, 2, &wanted);
    vm.display.with(|display| assert_eq!(display.log().last(), Some(&Event::Update { scanout: 0, rect })));
}

#[test]
fn direct_chains_and_rings_without_event_idx_work_too() {
    for (layout, event_idx) in [(Layout::Direct, true), (Layout::Direct, false), (Layout::Indirect, false)] {
        let mut options = options();
        options.gpu.layout = layout;
        if !event_idx {
            options.features &= !(1 << seat_frontend::control::feature::EVENT_IDX);
        }
        let Some((_program, mut vm)) = boot(options) else { return };
        let backing = backing(&mut vm, 3);
        backing.write(0, &picture(9));
        show(&mut vm, 1, &backing);
        for round in 1..=100 {
            vm.driver.transfer_and_flush(1, whole(), 0).unwrap();
            expect_picture(&vm, round, &picture(9));
        }
    }
}

#[test]
fn batches_fill_the_ring_and_come_back_in_order() {
    let Some((_program, mut vm)) = boot(options()) else { return };
    vm.driver.create_2d(1, format::B8G8R8X8, 8, 8).unwrap().ok().unwrap();
    for _ in 0..50 {
        let flush = Command::ResourceFlush { rect: Rect::new(0, 0, 8, 8), resource_id: 1 };
        let tickets: Vec<_> = (0..64).map(|_| vm.driver.queue(&flush).unwrap()).collect();
        assert!(matches!(vm.driver.queue(&flush), Err(Error::NoRoom(_))));
        vm.driver.kick();
        for ticket in tickets {
            let done = vm.driver.next_done().unwrap();
            assert_eq!((done.ticket, done.response.kind), (ticket, resp::OK_NODATA));
        }
    }
}

#[test]
fn fences_and_refusals_come_back() {
    let Some((_program, mut vm)) = boot(options()) else { return };
    let create = Command::ResourceCreate2d { resource_id: 5, format: format::B8G8R8A8, width: 4, height: 4 };
    let fenced = vm.driver.call_fenced(&create, Fence { ctx_id: 3, ..Fence::new(0x1_0000_0007) }).unwrap();
    assert_eq!((fenced.fence_id, fenced.ctx_id), (0x1_0000_0007, 3));
    assert_eq!(vm.driver.call(&create).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(vm.driver.unref(99).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(vm.driver.set_scanout(16, 5, Rect::new(0, 0, 4, 4)).unwrap().kind, resp::ERR_INVALID_SCANOUT_ID);
    assert_eq!(vm.driver.transfer(5, Rect::new(0, 0, 4, 4), 0).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    assert_eq!(vm.driver.flush(5, Rect::new(1, 0, 4, 4)).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    let entries = [MemEntry { addr: 0x5000_0000, len: 64 }];
    assert_eq!(vm.driver.attach_backing(5, &entries).unwrap().kind, resp::ERR_UNSPEC);
}

#[test]
fn edid_and_display_info_are_the_displays() {
    let mut options = options();
    options.display.heads = vec![Head::sized(1024, 768), Head::sized(640, 480)];
    let Some((_program, mut vm)) = boot(options) else { return };
    let heads = vm.driver.display_info().unwrap();
    assert_eq!(heads[..3], [Head::sized(1024, 768), Head::sized(640, 480), Head::default()]);
    for scanout in [0, 1, 15] {
        let edid = vm.driver.edid(scanout).unwrap();
        assert_eq!(edid.size, 128);
        assert_eq!(edid.bytes[..128], sample_edid(scanout));
    }
}

#[test]
fn a_polled_display_serves_a_call_of_the_same_thread() {
    let Some(peer) = peer() else { return };
    let program = Program::listening(peer, &[], Deadline::secs(10)).unwrap();
    let vm = GpuMachine::boot(program.connect().unwrap(), options()).unwrap();
    let GpuMachine { mut front, mut driver, display, .. } = vm;
    let mut display = display.into_display();
    let response = driver.call_pumping(&Command::GetDisplayInfo, &mut display).unwrap();
    assert_eq!(response.kind, resp::OK_DISPLAY_INFO);
    assert_eq!(driver.last_heads()[0], Head::sized(1280, 800));
    display.close();
    front.stop().unwrap();
}

#[test]
fn the_cursor_is_defined_moved_and_hidden() {
    let Some((_program, mut vm)) = boot(options()) else { return };
    let shape: Vec<u8> = (0..64 * 64 * 4u32).map(|at| (at * 31 / 7) as u8).collect();
    let memory = vm.driver.memory().clone();
    let backing = Backing::contiguous(&memory, vm.driver.pages(), shape.len() as u64).unwrap();
    backing.write(0, &shape);
    vm.driver.create_with_backing(7, format::B8G8R8A8, (64, 64), backing.entries()).unwrap();
    vm.driver.transfer(7, Rect::new(0, 0, 64, 64), 0).unwrap().ok().unwrap();
    vm.driver.update_cursor(0, 7, (100, 200), (3, 4)).unwrap();
    vm.driver.move_cursor(0, 7, (101, 202)).unwrap();
    let deadline = Deadline::secs(10);
    vm.display.wait(deadline, |display| display.cursor(0).at == (101, 202)).unwrap();
    vm.display.with(|display| {
        let cursor = display.cursor(0);
        assert_eq!((cursor.hot, cursor.visible, cursor.shapes), ((3, 4), true, 1));
        assert!(cursor.shape == shape);
    });
    vm.driver.move_cursor(0, 0, (102, 203)).unwrap();
    vm.display.wait(deadline, |display| !display.cursor(0).visible && display.cursor(0).at == (102, 203)).unwrap();
}

#[test]
fn a_drain_counts_what_a_display_would_show() {
    let Some(peer) = peer() else { return };
    let program = Program::listening(peer, &[], Deadline::secs(10)).unwrap();
    let mut front = program.connect().unwrap();
    front.realize(Qemu::V10_0, DeviceKind::Gpu, 2).unwrap();
    let memory = GuestMemory::flat(32 << 20).unwrap();
    let mut driver = GpuDriver::new(&memory, GpuOptions::default()).unwrap();
    let (drain, socket) = DrainThread::pair(DisplayConfig::default()).unwrap();
    let start = seat_frontend::control::Start {
        memory: memory.regions(),
        rings: &driver.rings(),
        features: seat_frontend::machine::LINUX_FEATURES,
        gpu_socket: Some(std::os::fd::AsFd::as_fd(&socket)),
    };
    front.start(&start).unwrap();
    let (width, height) = (1280, 800);
    let backing = Backing::contiguous(&memory, driver.pages(), u64::from(width * height * 4)).unwrap();
    driver.create_with_backing(1, format::B8G8R8X8, (width, height), backing.entries()).unwrap();
    driver.set_scanout(0, 1, Rect::new(0, 0, width, height)).unwrap().ok().unwrap();
    for round in 1..=20 {
        driver.transfer_and_flush(1, Rect::new(0, 0, width, height), 0).unwrap();
        let totals = drain.wait(Deadline::secs(10), |totals| totals.updates == round).unwrap();
        assert!(totals.bytes >= round * u64::from(width * height * 4 + 32));
    }
    let cost = program.measure().unwrap();
    assert!(cost.resident > cost.anonymous && cost.voluntary_switches > 0, "{cost:?}");
}

#[test]
fn a_pause_keeps_the_rings_place() {
    let mut options = options();
    options.gpu.control = RingOptions { size: 64, event_idx: true };
    let Some((mut program, mut vm)) = boot(options) else { return };
    for round in 0..10 {
        vm.driver.create_2d(round + 1, format::B8G8R8X8, 4, 4).unwrap().ok().unwrap();
    }
    vm.pause().unwrap();
    assert_eq!(vm.front.bases(), [10, 0]);
    // The peer does not survive the second display socket once it must write to it (a known fault), so no more is asked.
    assert!(program.is_running().unwrap());
}

#[test]
fn the_config_is_read_and_messages_may_come_in_pieces() {
    let Some(peer) = peer() else { return };
    let (_program, mut front) = Program::on_fd(peer, &[]).unwrap();
    let offer = front.realize(Qemu::V10_0, DeviceKind::Gpu, 2).unwrap();
    assert_eq!(offer.queues, Some(2));
    assert!(front.has(protocol::CONFIGURE_MEM_SLOTS) && front.has(protocol::REPLY_ACK));
    assert_eq!(front.get_config(0, 16).unwrap().len(), 16);
    let message = wire::message(request::GET_CONFIG, wire::VERSION, &wire::config(0, 0, &[0; 16]));
    // Not within the payload: the peer asserts that it reads that at once.
    front.send_cut(&message, &[12], &[]).unwrap();
    assert_eq!(front.reply(request::GET_CONFIG).unwrap().payload.len(), 28);
    let both = [message.clone(), wire::message(request::GET_FEATURES, wire::VERSION, &[])].concat();
    front.send_bytes(&both, &[]).unwrap();
    front.reply(request::GET_CONFIG).unwrap();
    front.reply(request::GET_FEATURES).unwrap();
    front.expect_silence(Deadline::millis(20)).unwrap();
}

#[test]
fn it_ends_with_the_front_end() {
    let Some((mut program, vm)) = boot(options()) else { return };
    let display: DisplayThread = vm.quit().unwrap();
    display.finish().unwrap();
    assert_eq!(program.wait(Deadline::secs(10)).unwrap().code(), Some(0), "{}", program.stderr());
}
