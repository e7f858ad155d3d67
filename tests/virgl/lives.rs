//! Guests and front ends that pause, reboot and go: what they had is kept, or gone for good.

use std::time::Duration;

use seat_frontend::control::FrontEnd;
use seat_frontend::gpu::virgl::{Stream, ccmd, object};
use seat_frontend::gpu::{Command, Fence, Rect, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;
use seat_frontend::program::{Program, TempDir};

use crate::common::canvas::{await_picture, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{BINARY, Seat, boot_on, patient, soon};
use crate::fences::Slow;
use crate::scene::{COLOUR, STRIP, Scene};
use crate::seat::{CTX, boot, guest_on, options, program, reboot};
use crate::sheet::{Sheet, sheet_on_screen, submit};

/// Growth that is no leak: what a program keeps to use again.
const SLACK: u64 = 24 << 20;

#[test]
fn a_pause_keeps_contexts_textures_and_objects() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 200, 100);
    let surface = (9, sheet.texture.format);
    submit(&mut vm.driver, Stream::new().create_surface(surface.0, 1, surface.1).framebuffer(&[surface.0]));
    for (round, rgb) in (0..).zip([0xff_0000, 0x00_ff00, 0x00_00ff]) {
        vm.pause().unwrap();
        vm.resume().unwrap();
        await_picture(&vm, 0, &sheet.picture);
        let [b, g, r, _] = u32::to_le_bytes(rgb).map(|byte| f32::from(byte) / 255.0);
        submit(&mut vm.driver, Stream::new().clear([r, g, b, 1.0]));
        sheet.flush(&mut vm.driver, sheet.rect());
        sheet.picture = Picture::flat(200, 100, rgb);
        await_picture(&vm, 0, &sheet.picture);
        // Its backing too.
        sheet.draw(Picture::noise(200, 100, round));
        sheet.bring(&mut vm.driver, sheet.rect());
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn after_a_reboot_nothing_is_left_and_the_same_numbers_are_free() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for round in 0..5u64 {
        let sheet = sheet_on_screen(&mut vm, 1, 100, 50);
        let uuid = vm.driver.assign_uuid(1).unwrap();
        vm.driver.create_context(7).unwrap().ok().unwrap();
        vm.reboot().unwrap();

        assert!(vm.display.with(|display| display.surface(0).is_none()), "round {round}");
        assert_eq!(vm.driver.flush(1, sheet.rect()).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
        for ctx in [CTX, 7] {
            assert_eq!(vm.driver.submit_3d(ctx, &[0]).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID);
            vm.driver.create_context(ctx).unwrap().ok().unwrap();
        }
        // A texture of the same number, of another size and kind.
        let other = Sheet::new(&mut vm.driver, 1, 30 + round as u32, 20);
        other.bring(&mut vm.driver, other.rect());
        assert_ne!(vm.driver.assign_uuid(1).unwrap(), uuid);
        vm.driver.unref(1).unwrap().ok().unwrap();
        vm.driver.destroy_context(7).unwrap().ok().unwrap();
    }
}

/// Some of all that a guest makes.
fn use_everything(vm: &mut GpuMachine, seed: u32) {
    let sheet = sheet_on_screen(vm, 1, 320, 200);
    let canvas = canvas_on_screen(vm, 2, 320, 200);
    vm.driver.attach_to_context(CTX, 2).unwrap().ok().unwrap();
    for ctx in 2..6 {
        vm.driver.create_context(ctx).unwrap().ok().unwrap();
        vm.driver.attach_to_context(ctx, 1).unwrap().ok().unwrap();
        let mut stream = Stream::new();
        stream.create_sub_context(3).set_sub_context(3).create_surface(1, 1, sheet.texture.format);
        stream.framebuffer(&[1]).clear([seed as f32 / 256.0; 4]);
        vm.driver.submit_3d(ctx, stream.words()).unwrap().ok().unwrap();
    }
    submit(&mut vm.driver, Stream::new().copy(2, (0, 0), 1, canvas.rect()));
    sheet.flip_to(&mut vm.driver, 0);
    vm.driver.update_cursor(0, 1, (0, 0), (0, 0)).unwrap();
    vm.driver.call_fenced(&Command::GetCapsetInfo { index: 0 }, Fence::new(9)).unwrap();
}

#[test]
fn a_hundred_reboots_leave_nothing_behind() {
    let Some(Seat { mut program, mut vm }) = boot() else { return };
    let mut early = None;
    for round in 0..100 {
        use_everything(&mut vm, round);
        reboot_with_fresh_pages(&mut vm);
        if round == 19 {
            early = Some(program.measure().unwrap());
        }
    }
    let (early, late) = (early.unwrap(), program.measure().unwrap());
    assert!(late.anonymous < early.anonymous + SLACK, "{early:?} {late:?}");
    assert_eq!((late.fds, late.threads), (early.fds, early.threads));
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

/// A reboot after which the guest's pages are free again.
fn reboot_with_fresh_pages(vm: &mut GpuMachine) {
    reboot(vm);
    *vm.driver.pages() = pages_beside_rings(vm);
}

/// The second half of the guest's memory: rings and buffers of the driver lie in the first.
fn pages_beside_rings(vm: &GpuMachine) -> seat_frontend::memory::Pages {
    let memory = vm.driver.memory();
    let mut pages = seat_frontend::memory::Pages::new(memory);
    while pages.left() > memory.regions().iter().map(|region| region.spec.size).sum::<u64>() / 2 {
        pages.alloc(1 << 20).unwrap();
    }
    pages
}

#[test]
fn front_ends_that_hang_up_in_the_midst_leave_nothing_behind() {
    let Some(mut program) = program(&[]) else { return };
    let mut early = None;
    for round in 0..20 {
        let mut vm = guest_on(&program);
        let slow = Slow::new(&mut vm);
        use_everything(&mut vm, round);
        for n in 0..5 {
            vm.driver.queue_fenced(&slow.command(), Fence::new(n).of_context(CTX)).unwrap();
            vm.driver.queue_fenced(&slow.command(), Fence::new(n).of_context(CTX).on_ring(0)).unwrap();
        }
        vm.driver.kick();
        if round % 3 == 0 {
            crate::common::await_kicks_seen(&mut vm);
        }
        drop(vm);
        if round == 7 {
            guest_on(&program);
            early = Some(program.measure().unwrap());
        }
    }
    let mut vm = guest_on(&program);
    let (early, late) = (early.unwrap(), program.measure().unwrap());
    assert!(late.anonymous < early.anonymous + SLACK, "{early:?} {late:?}");
    sheet_on_screen(&mut vm, 1, 64, 64);
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
fn sigterm_ends_the_program_while_work_is_under_way() {
    let Some(Seat { mut program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for n in 0..10 {
        vm.driver.queue_fenced(&slow.command(), Fence::new(n).of_context(CTX)).unwrap();
    }
    vm.driver.kick();
    crate::common::await_kicks_seen(&mut vm);
    let ended = program.terminate(soon()).unwrap();
    assert_eq!(ended.code(), Some(0), "{ended:?} {}", program.stderr());
}

#[test]
fn sigterm_ends_the_program_in_the_middle_of_an_endless_draw() {
    let Some(Seat { mut program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let scene = Scene::new(&mut vm.driver, 50);
    let mut stream = Stream::new();
    scene.prepare(&mut stream, &sheet.texture);
    scene.draw(&mut stream, sheet.rect());
    stream.command(ccmd::DRAW_VBO, object::NULL, &[0, i32::MAX as u32, STRIP, 0, 1, 0, 0, 0, 0, 0, u32::MAX, 0]);
    let command = Command::Submit3d { words: stream.words() };
    vm.driver.queue_fenced(&command, Fence::new(1).of_context(CTX)).unwrap();
    vm.driver.kick();
    let before = program.measure().unwrap().cpu;
    let deadline = soon();
    while program.measure().unwrap().cpu < before + Duration::from_millis(300) {
        assert!(!deadline.passed(), "it draws nothing");
        std::thread::yield_now();
    }

    let ended = program.terminate(soon()).unwrap();

    assert_eq!(ended.code(), Some(0), "{ended:?} {}", program.stderr());
    assert!(program.stderr().contains("ended by a signal, while"), "{}", program.stderr());
    assert!(!program.socket().exists());
}

#[test]
fn memory_that_goes_takes_transfers_along_and_no_more() {
    let Some(program) = program(&[]) else { return };
    let memory = GuestMemory::scattered(64 << 20).unwrap();
    let mut vm = boot_on(&program, MachineOptions { memory: memory.clone(), ..options() });
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    // A backing in a region of its own: the last one, where the driver has nothing.
    let region = &memory.regions()[memory.regions().len() - 1];
    let entry = seat_frontend::gpu::MemEntry { addr: region.spec.gpa, len: 64 * 64 * 4 };
    let backing = seat_frontend::gpu::Backing::from_entries(&memory, vec![entry]);
    let texture = seat_frontend::gpu::Texture::picture(1, 64, 64);
    let mut sheet = Sheet::with_backing(&mut vm.driver, texture, backing);
    sheet.draw(Picture::noise(64, 64, 1));
    sheet.bring(&mut vm.driver, sheet.rect());
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &sheet.picture);

    for round in 0..5 {
        vm.front.rem_mem_reg(&region.spec).unwrap();
        let transfer = sheet.transfer(sheet.rect());
        for ctx in [0, CTX] {
            assert!(!vm.driver.to_host_3d(ctx, &transfer).unwrap().is_ok());
            assert!(!vm.driver.from_host_3d(ctx, &transfer).unwrap().is_ok());
        }
        vm.driver.create_context(2).unwrap().ok().unwrap();
        vm.driver.attach_to_context(2, 1).unwrap().ok().unwrap();
        let mut stream = Stream::new();
        let whole = seat_frontend::gpu::Region::flat(0, 0, 64, 64);
        stream.transfer(1, whole, 0, seat_frontend::gpu::virgl::Direction::ToHost);
        assert!(!vm.driver.submit_3d(2, stream.words()).unwrap().is_ok(), "it has no backing");
        vm.driver.destroy_context(2).unwrap().ok().unwrap();
        sheet.flush(&mut vm.driver, Rect::new(0, 0, 64, 64));
        await_picture(&vm, 0, &sheet.picture);

        vm.front.add_mem_reg(region).unwrap();
        sheet.draw(Picture::noise(64, 64, round));
        sheet.bring(&mut vm.driver, sheet.rect());
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn no_shader_of_a_guest_is_left_on_the_hosts_disk() {
    let Some(_) = program(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let (socket, cache) = (folder.join("socket"), folder.join("cache"));
    let mut command = std::process::Command::new(BINARY);
    command.arg(format!("--socket-path={}", socket.display())).args(["--virgl", "--no-sandbox"]);
    command.env("MESA_SHADER_CACHE_DIR", &cache);
    let mut program = Program::from_command(command).unwrap();
    program.wait_listening(&socket, soon()).unwrap();
    let mut vm = GpuMachine::boot(patient(FrontEnd::connect(&socket).unwrap()), options()).unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    let (sheet, scene) = (Sheet::new(&mut vm.driver, 1, 64, 64), Scene::new(&mut vm.driver, 2));
    let mut stream = Stream::new();
    scene.prepare(&mut stream, &sheet.texture);
    scene.draw(&mut stream, sheet.rect());
    submit(&mut vm.driver, &stream);
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(&vm, 0, &Picture::flat(64, 64, COLOUR));
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
    assert!(!cache.exists());
}
