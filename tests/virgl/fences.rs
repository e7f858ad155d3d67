//! When fenced commands come back, and in which order: when their work is done, and after those before them on their
//! timeline. That their numbers come back with them the driver checks for each.

use seat_frontend::control::Start;
use seat_frontend::gpu::virgl::{BlitEnd, Stream, object};
use seat_frontend::gpu::{Command, Fence, Rect, Texture, Ticket, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;

use crate::common::canvas::{Canvas, await_picture};
use crate::common::{Seat, assert_answers, await_display_features, await_kicks_seen, boot_on};
use crate::seat::{CTX, boot, boot_with, options, program, reboot};
use crate::sheet::sheet_on_screen;

/// A command that needs no renderer, and is refused.
const QUICK: Command<'_> = Command::ResourceUnref { resource_id: u32::MAX };

/// Work that takes a renderer in software a while.
pub struct Slow {
    stream: Stream,
}

impl Slow {
    /// Textures 101 and 102, and what is done with them in [`CTX`].
    pub fn new(vm: &mut GpuMachine) -> Slow {
        let mut stream = Stream::new();
        let rect = Rect::new(0, 0, 1500, 1500);
        for id in [101, 102] {
            let texture = Texture::picture(id, 1500, 1500);
            vm.driver.create_3d(&texture).unwrap().ok().unwrap();
            vm.driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
            stream.fill(id, texture.format, 0x10_2030);
        }
        for turn in 0..6 {
            let (to, from) = (101 + turn % 2, 102 - turn % 2);
            stream.blit(BlitEnd::new(to, 2, rect), BlitEnd::new(from, 2, rect).flipped());
        }
        Slow { stream }
    }

    pub fn command(&self) -> Command<'_> {
        Command::Submit3d { words: self.stream.words() }
    }
}

/// Takes all that is in flight, in the order in which it comes back.
fn come_back(vm: &mut GpuMachine) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    while vm.driver.in_flight() > 0 {
        tickets.push(vm.driver.next_done().unwrap().ticket);
    }
    tickets
}

/// Those of `all` that are among `some`.
fn only(all: &[Ticket], some: &[Ticket]) -> Vec<Ticket> {
    all.iter().filter(|ticket| some.contains(ticket)).copied().collect()
}

#[test]
fn fenced_commands_of_the_device_come_back_in_their_order_whoever_does_them() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    let mut canvas = Canvas::new(&mut vm.driver, 1, 200, 200);
    canvas.fill(Rect::new(0, 0, 200, 200), 0x12_3456);
    canvas.put_on(&mut vm.driver, 0);
    let rect = canvas.rect();
    let commands = [
        slow.command(),
        QUICK,
        Command::TransferToHost2d { rect, offset: 0, resource_id: 1 },
        Command::ResourceFlush { rect, resource_id: 1 },
        slow.command(),
        Command::GetCapsetInfo { index: 0 },
        Command::GetDisplayInfo,
        Command::GetEdid { scanout: 0 },
        Command::AssignUuid { resource_id: 1 },
        QUICK,
    ];
    for round in 0..4u64 {
        let fenced: Vec<Ticket> = (0u64..)
            .zip(&commands)
            .map(|(n, command)| {
                let fence = Fence::new(round << 32 | n).of_context(CTX);
                vm.driver.queue_fenced(command, fence).unwrap()
            })
            .collect();
        vm.driver.kick();
        assert_eq!(come_back(&mut vm), fenced, "round {round}");
    }
    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn a_fenced_command_behind_work_without_a_fence_comes_back_after_it() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for round in 0..4 {
        let work = vm.driver.queue_fenced(&slow.command(), Fence::in_context(CTX)).unwrap();
        let fenced = vm.driver.queue_fenced(&QUICK, Fence::new(round)).unwrap();
        vm.driver.kick();
        assert_eq!(come_back(&mut vm), [work, fenced]);
    }
}

#[test]
fn a_fence_on_another_contexts_ring_does_not_stand_for_work_without_a_fence() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    vm.driver.create_context(2).unwrap().ok().unwrap();
    let nop = Stream::new().nop(0).clone();
    let quick = Command::Submit3d { words: nop.words() };
    for round in 0..4 {
        let work = vm.driver.queue_fenced(&slow.command(), Fence::in_context(CTX)).unwrap();
        let other = vm.driver.queue_fenced(&quick, Fence::new(round).of_context(2).on_ring(0)).unwrap();
        let behind = vm.driver.queue_fenced(&QUICK, Fence::new(round)).unwrap();
        vm.driver.kick();
        assert_eq!(come_back(&mut vm), [work, other, behind]);
    }
}

#[test]
fn commands_without_a_fence_do_not_wait_for_the_renderer() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    let nop = Stream::new().nop(0).clone();
    // What needs no renderer, and what does.
    let free = [QUICK, Command::Submit3d { words: nop.words() }];
    // One of several times at the least: the work may be done before it is looked at.
    let overtaken = (0..20).any(|round| {
        let fenced = vm.driver.queue_fenced(&slow.command(), Fence::new(round).of_context(CTX)).unwrap();
        let free = free.each_ref().map(|command| vm.driver.queue_fenced(command, Fence::in_context(CTX)).unwrap());
        vm.driver.kick();
        come_back(&mut vm) == [&free[..], &[fenced]].concat()
    });
    assert!(overtaken);
}

#[test]
fn a_fenced_transfer_comes_back_when_the_renderer_says_so() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 512, 512);
    let transfer = Command::TransferToHost3d(sheet.transfer(sheet.rect()));
    // The renderer is not heard before the commands at hand are done, if these are all seen at once.
    let overtaken = (0..20).any(|round| {
        let fenced = vm.driver.queue_fenced(&transfer, Fence::new(round).of_context(CTX)).unwrap();
        let free = vm.driver.queue(&QUICK).unwrap();
        vm.driver.kick();
        come_back(&mut vm) == [free, fenced]
    });
    assert!(overtaken);
}

#[test]
fn a_transfer_under_way_comes_back_when_it_is_done_whatever_the_renderer_says_meanwhile() {
    let Some(program) = program(&[]) else { return };
    let memory = GuestMemory::scattered(256 << 20).unwrap();
    let mut vm = boot_on(&program, MachineOptions { memory, ..options() });
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    // It takes several turns.
    let mut canvas = Canvas::new(&mut vm.driver, 1, 3500, 3500);
    canvas.put_on(&mut vm.driver, 0);
    let rect = canvas.rect();
    canvas.fill(rect, 0x12_3456);
    let nop = Stream::new().nop(0).clone();
    let work = Command::Submit3d { words: nop.words() };
    vm.driver.queue_fenced(&work, Fence::new(1).of_context(CTX)).unwrap();
    let transfer = vm.driver.queue(&Command::TransferToHost2d { rect, offset: 0, resource_id: 1 }).unwrap();
    vm.driver.kick();
    while vm.driver.spin_done().unwrap().ticket != transfer {}

    // From now on the guest may draw there: the last row, which is read last.
    canvas.backing.write(canvas.backing.len() - 10_000, &[0xff; 10_000]);

    vm.driver.queue(&Command::ResourceFlush { rect, resource_id: 1 }).unwrap();
    vm.driver.kick();
    vm.driver.finish_all().unwrap();
    await_picture(&vm, 0, &canvas.picture);
}

#[test]
fn each_ring_of_a_context_has_an_order_of_its_own() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    vm.driver.create_context(2).unwrap().ok().unwrap();
    let nop = Stream::new().nop(0).clone();
    let quick = Command::Submit3d { words: nop.words() };
    // Virgl has one ring, of number 0; what is said of others is kept all the same.
    let timelines = [
        Fence::new(0).of_context(CTX),
        Fence::new(0).of_context(CTX).on_ring(0),
        Fence::new(0).of_context(CTX).on_ring(1),
        Fence::new(0).of_context(CTX).on_ring(63),
        Fence::new(0).of_context(2).on_ring(0),
        Fence::new(0).of_context(2).on_ring(255),
        // Nobody's.
        Fence::new(0).of_context(77).on_ring(0),
    ];
    for round in 0..4u64 {
        let mut queued = vec![Vec::new(); timelines.len()];
        for n in 0..28 {
            let which = n * 5 % timelines.len();
            // Numbers need not grow, nor be small.
            let id = u64::MAX - n as u64 * 0x1_0000_0001 - round;
            let fence = Fence { id, ..timelines[which] };
            let command = [QUICK, quick, slow.command()][n % 7 % 3];
            let ticket = vm.driver.queue_fenced(&command, fence).unwrap();
            queued[which].push(ticket);
        }
        vm.driver.kick();
        let back = come_back(&mut vm);
        assert_eq!(back.len(), 28);
        for (timeline, queued) in timelines.iter().zip(&queued) {
            assert_eq!(only(&back, queued), *queued, "{timeline:?}");
        }
    }
}

#[test]
fn fence_numbers_are_the_guests_own() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let nop = Stream::new().nop(0).clone();
    for id in [0, 1, 1, 0xffff_ffff, 0x1_0000_0000, 0x8000_0000_0000_0000, u64::MAX, 5, 0] {
        for fence in [Fence::new(id).of_context(CTX), Fence::new(id).of_context(CTX).on_ring(0)] {
            let submit = Command::Submit3d { words: nop.words() };
            vm.driver.call_fenced(&submit, fence).unwrap().ok().unwrap();
            // And of one that is refused.
            assert!(!vm.driver.call_fenced(&QUICK, fence).unwrap().is_ok());
        }
    }
}

#[test]
fn many_fences_are_under_way_at_once() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    for round in 0..20u32 {
        let streams: Vec<Stream> = (0..60)
            .map(|n| {
                let mut stream = Stream::new();
                stream.fill(1, sheet.texture.format, round * 60 + n);
                stream
            })
            .collect();
        let fenced: Vec<Ticket> = (0..)
            .zip(&streams)
            .map(|(n, stream)| {
                let fence = Fence::new(n).of_context(CTX);
                vm.driver.queue_fenced(&Command::Submit3d { words: stream.words() }, fence).unwrap()
            })
            .collect();
        vm.driver.kick();
        assert_eq!(come_back(&mut vm), fenced);
        sheet.picture.fill(Rect::new(0, 0, 64, 64), round * 60 + 59);
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn a_pause_gives_back_all_that_was_taken() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for round in 0..6u64 {
        let fences = [Fence::new(round).of_context(CTX), Fence::new(round).of_context(CTX).on_ring(0)];
        for _ in 0..3 {
            vm.driver.queue_fenced(&slow.command(), fences[0]).unwrap();
            vm.driver.queue_fenced(&slow.command(), fences[1]).unwrap();
            vm.driver.queue_fenced(&QUICK, fences[0]).unwrap();
        }
        vm.driver.kick();
        if round % 2 == 0 {
            await_kicks_seen(&mut vm);
        }
        vm.pause().unwrap();
        // What the device has seen of the ring, it has answered: what is left is done after the resume.
        let mut back = 0;
        while vm.driver.poll_done().unwrap().is_some() {
            back += 1;
        }
        assert_eq!(vm.front.bases()[0], u32::from(vm.driver.control_ring().used_idx()), "round {round}");
        let left = vm.driver.in_flight();
        assert_eq!(back + left, 9);
        vm.resume().unwrap();
        assert_eq!(come_back(&mut vm).len(), left);
        assert_answers(&mut vm);
    }
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for round in 0..6u64 {
        let slow = Slow::new(&mut vm);
        for n in 0..6 {
            vm.driver.queue_fenced(&slow.command(), Fence::new(n).of_context(CTX)).unwrap();
            vm.driver.queue_fenced(&QUICK, Fence::new(n).of_context(CTX).on_ring(0)).unwrap();
        }
        vm.driver.kick();
        if round % 2 == 0 {
            await_kicks_seen(&mut vm);
        }
        reboot(&mut vm);
        // An answer of before would be to a chain that is not there.
        sheet_on_screen(&mut vm, 1, 64, 64);
        vm.driver.call_fenced(&QUICK, Fence::new(round)).unwrap();
        reboot(&mut vm);
    }
}

#[test]
fn a_reset_of_rings_that_run_forgets_what_is_under_way() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for n in 0..6 {
        vm.driver.queue_fenced(&slow.command(), Fence::new(n).of_context(CTX)).unwrap();
    }
    vm.driver.kick();
    await_kicks_seen(&mut vm);

    vm.front.reset_device().unwrap();

    vm.driver.reset();
    let memory = vm.driver.memory().clone();
    let (features, rings) = (vm.features(), vm.driver.rings());
    vm.front.start(&Start { memory: memory.regions(), rings: &rings, features, gpu_socket: None }).unwrap();
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    let nop = Stream::new().nop(0).clone();
    let work = Command::Submit3d { words: nop.words() };
    vm.driver.call_fenced(&work, Fence::new(9).of_context(CTX)).unwrap().ok().unwrap();
    assert_answers(&mut vm);
}

#[test]
fn a_context_that_ends_has_its_fences_come_back_and_no_others_early() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for round in 0..6u64 {
        vm.driver.create_context(2).unwrap().ok().unwrap();
        vm.driver.attach_to_context(2, 101).unwrap().ok().unwrap();
        vm.driver.attach_to_context(2, 102).unwrap().ok().unwrap();
        let (device, ring) = (Fence::new(round), Fence::new(round).of_context(2).on_ring(0));
        let mut on_device = Vec::new();
        let mut on_ring = Vec::new();
        for _ in 0..3 {
            on_device.push(vm.driver.queue_fenced(&slow.command(), device.of_context(CTX)).unwrap());
            on_ring.push(vm.driver.queue_fenced(&slow.command(), ring).unwrap());
        }
        on_device.push(vm.driver.queue_fenced(&Command::CtxDestroy, device.of_context(2)).unwrap());
        on_device.push(vm.driver.queue_fenced(&slow.command(), device.of_context(CTX)).unwrap());
        on_ring.push(vm.driver.queue_fenced(&QUICK, ring).unwrap());
        vm.driver.kick();
        let back = come_back(&mut vm);
        assert_eq!(only(&back, &on_device), on_device, "round {round}");
        assert_eq!(only(&back, &on_ring), on_ring, "round {round}");
        assert_eq!(vm.driver.submit_3d(2, &[0]).unwrap().kind, resp::ERR_INVALID_CONTEXT_ID);
    }
}

/// Context 2 from its first command to its last, with fences on its ring, and no wait in between.
fn queue_life(vm: &mut GpuMachine, slow: &Slow, round: u64) {
    let create = Command::CtxCreate { context_init: 0, name: b"short" };
    vm.driver.queue_fenced(&create, Fence::in_context(2)).unwrap();
    for resource_id in [101, 102] {
        vm.driver.queue_fenced(&Command::CtxAttachResource { resource_id }, Fence::in_context(2)).unwrap();
    }
    for n in 0..2 {
        let fence = Fence::new(round << 32 | n).of_context(2).on_ring(0);
        vm.driver.queue_fenced(&slow.command(), fence).unwrap();
    }
    vm.driver.queue_fenced(&Command::CtxDestroy, Fence::in_context(2)).unwrap();
}

#[test]
fn a_contexts_number_is_free_while_fences_of_its_ring_are_under_way() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let slow = Slow::new(&mut vm);
    for round in 0..8 {
        for life in 0..3 {
            queue_life(&mut vm, &slow, round * 3 + life);
        }
        vm.driver.kick();
        while vm.driver.in_flight() > 0 {
            vm.driver.next_done().unwrap().response.ok().unwrap();
        }
    }
}

#[test]
fn contexts_that_ended_with_fences_under_way_are_paid_for_no_longer_than_that() {
    // Room for the textures and a few contexts.
    let Some(Seat { program: _program, mut vm }) = boot_with(&["--max-hostmem=40M"]) else { return };
    for round in 0..6 {
        let slow = Slow::new(&mut vm);
        for life in 0..3 {
            queue_life(&mut vm, &slow, life);
            vm.driver.kick();
            while vm.driver.in_flight() > 0 {
                vm.driver.next_done().unwrap().response.ok().unwrap();
            }
        }
        // The next guest finds the last context as it was left; nobody waits for its fences.
        queue_life(&mut vm, &slow, round);
        vm.driver.kick();
        if round % 2 == 0 {
            await_kicks_seen(&mut vm);
        }
        reboot(&mut vm);
    }
    // Its ring is behind all of theirs.
    let nop = Stream::new().nop(0).clone();
    let work = Command::Submit3d { words: nop.words() };
    vm.driver.call_fenced(&work, Fence::new(9).of_context(CTX).on_ring(0)).unwrap().ok().unwrap();
    for ctx in 2..=10 {
        vm.driver.create_context(ctx).unwrap().ok().unwrap();
    }
    assert_answers(&mut vm);
}

#[test]
fn a_question_to_the_display_that_was_fenced_behind_work_holds_nobody_up_later() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for end in 0..6 {
        let slow = Slow::new(&mut vm);
        await_display_features(&vm);
        vm.display.with(|display| display.withhold_replies(true)).unwrap();
        let work = if end % 3 == 0 { Command::Submit3d { words: &[0] } } else { slow.command() };
        vm.driver.queue_fenced(&work, Fence::in_context(CTX)).unwrap();
        vm.driver.queue_fenced(&Command::GetDisplayInfo, Fence::new(1)).unwrap();
        vm.driver.kick();
        vm.display.wait(crate::common::soon(), |display| display.withheld() == 1).unwrap();
        match end % 3 {
            0 => {
                // The work is done, as far as one can see, before the answer comes.
                (0..50).for_each(|_| await_kicks_seen(&mut vm));
                vm.display.with(|display| display.withhold_replies(false)).unwrap();
                come_back(&mut vm);
            }
            1 => {
                vm.pause().unwrap();
                vm.resume().unwrap();
                come_back(&mut vm);
            }
            _ => {}
        }
        vm.reboot().unwrap();
        // The first thing that the next guest asks has no fence, and no work before it.
        assert_answers(&mut vm);
        vm.driver.create_context(CTX).unwrap().ok().unwrap();
    }
}

#[test]
fn an_object_that_is_in_use_may_go_while_work_is_under_way() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for round in 0..4u64 {
        let slow = Slow::new(&mut vm);
        let fence = Fence::new(round).of_context(CTX);
        let mut stream = Stream::new();
        stream.create_surface(5, 101, 2).framebuffer(&[5]).clear([0.5; 4]).destroy(object::SURFACE, 5);
        let submit = Command::Submit3d { words: stream.words() };
        vm.driver.queue_fenced(&slow.command(), fence).unwrap();
        vm.driver.queue_fenced(&submit, fence).unwrap();
        vm.driver.queue_fenced(&Command::CtxDetachResource { resource_id: 101 }, fence).unwrap();
        vm.driver.queue_fenced(&Command::ResourceUnref { resource_id: 101 }, fence).unwrap();
        vm.driver.queue_fenced(&Command::ResourceUnref { resource_id: 102 }, fence).unwrap();
        vm.driver.queue_fenced(&Command::CtxDestroy, fence).unwrap();
        vm.driver.kick();
        vm.driver.finish_all().unwrap();
        vm.driver.create_context(CTX).unwrap().ok().unwrap();
    }
}
