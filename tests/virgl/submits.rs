//! SUBMIT_3D: its sizes, and the pieces that it comes in.

use seat_frontend::gpu::virgl::{Stream, ccmd};
use seat_frontend::gpu::{Command, Fence, HEADER_SIZE, MAX_FIXED, cmd, resp};
use seat_frontend::machine::{GpuMachine, MachineOptions};
use seat_frontend::memory::GuestMemory;
use seat_frontend::ring::{Layout, Segment};

use crate::common::canvas::await_picture;
use crate::common::picture::Picture;
use crate::common::{Seat, boot_on};
use crate::seat::{CTX, boot, options, program};
use crate::sheet::{sheet_on_screen, submit};

/// SUBMIT_3D that says `size`, with these words.
fn submit_sized(vm: &mut GpuMachine, size: u32, words: &[u32]) -> u32 {
    let body = [size.to_le_bytes(), [0; 4]].concat();
    let tail: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    vm.driver.call_in(CTX, &Command::Raw { kind: cmd::SUBMIT_3D, body: &body, tail: &tail }).unwrap().kind
}

#[test]
fn a_size_that_is_not_that_of_words_or_not_there_is_refused_and_nothing_is_done() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let mut stream = Stream::new();
    stream.fill(1, sheet.texture.format, 0x11_2233);
    let words = stream.words();
    let size = words.len() as u32 * 4;

    for bad in [1, 2, 3, size - 1, size + 1, size + 4, 4 << 20, (4 << 20) + 4, 0x8000_0000, u32::MAX - 3, u32::MAX] {
        assert_eq!(submit_sized(&mut vm, bad, words), resp::ERR_INVALID_PARAMETER, "{bad}");
    }
    assert_eq!(submit_sized(&mut vm, 4, &[]), resp::ERR_INVALID_PARAMETER);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);

    // Nothing, and less than there is.
    assert_eq!(submit_sized(&mut vm, 0, &[]), resp::OK_NODATA);
    assert_eq!(submit_sized(&mut vm, 0, words), resp::OK_NODATA);
    let longer = [words, &[0xffff_ffff; 100]].concat();
    assert_eq!(submit_sized(&mut vm, size, &longer), resp::OK_NODATA);
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &Picture::flat(64, 64, 0x11_2233));
}

#[test]
fn the_longest_stream_is_4_mib() {
    let Some(program) = program(&[]) else { return };
    let memory = GuestMemory::flat(64 << 20).unwrap();
    let mut vm = boot_on(&program, MachineOptions { memory, ..options() });
    vm.driver.create_context(CTX).unwrap().ok().unwrap();
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let mut tail = Stream::new();
    tail.fill(1, sheet.texture.format, 0x65_4321);
    let mut stream = Stream::new();
    let room = (4 << 20) / 4 - tail.words().len();
    for _ in 0..room / 0x8000 {
        stream.nop(0x7fff);
    }
    for _ in 0..room % 0x8000 {
        stream.nop(0);
    }
    let longest = [stream.words(), tail.words()].concat();
    assert_eq!(longest.len() * 4, 4 << 20);

    vm.driver.submit_3d(CTX, &longest).unwrap().ok().unwrap();

    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &Picture::flat(64, 64, 0x65_4321));
    let longer = [&longest[..], &[0]].concat();
    assert_eq!(vm.driver.submit_3d(CTX, &longer).unwrap().kind, resp::ERR_INVALID_PARAMETER);
}

/// SUBMIT_3D in pieces of `len` bytes, each in a page of its own, by a table of the test's.
fn submit_in_pieces(vm: &mut GpuMachine, words: &[u32], len: usize) {
    let command = Command::Submit3d { words };
    let mut fixed = [0; MAX_FIXED];
    let count = command.encode(&Fence::in_context(CTX), &mut fixed);
    let mut bytes = fixed[..count].to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let memory = vm.driver.memory().clone();
    let mut pieces = Vec::new();
    for piece in bytes.chunks(len) {
        let gpa = vm.driver.pages().alloc(1).unwrap() + 4096 - piece.len() as u64;
        memory.write(gpa, piece);
        pieces.push(Segment { gpa, len: piece.len() as u32 });
    }
    let answer = vm.driver.pages().alloc(HEADER_SIZE as u64).unwrap();
    let answer = Segment { gpa: answer, len: HEADER_SIZE as u32 };
    let size = (pieces.len() as u64 + 1) * 16;
    let table = memory.span(vm.driver.pages().alloc(size).unwrap(), size);
    let ring = vm.driver.control_ring();
    ring.add_with_table(&pieces, &[answer], &table).unwrap();
    ring.submit();
    assert_eq!(ring.wait_used(crate::common::soon()).unwrap().len as usize, HEADER_SIZE);
    assert_eq!(memory.span(answer.gpa, 4).u32(0), resp::OK_NODATA, "pieces of {len}");
}

#[test]
fn a_stream_may_be_scattered_in_pieces_of_any_length() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    for (len, rgb) in [(1, 0x11_2233), (2, 0x44_5566), (3, 0x77_8899), (5, 0xaa_bbcc), (23, 0xdd_eeff), (64, 0x01_0203)]
    {
        let mut stream = Stream::new();
        stream.nop(len * 8).fill(1, sheet.texture.format, rgb);
        submit_in_pieces(&mut vm, stream.words(), len);
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &Picture::flat(64, 64, rgb));
    }
}

#[test]
fn a_long_stream_does_what_it_says_to_its_end() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    vm.driver.set_layout(Layout::Direct);
    // Each texel by a command of its own: 54 KiB, so that it is copied in many pieces.
    let mut stream = Stream::new();
    let picture = Picture::noise(64, 64, 77);
    for y in 0..64 {
        let row: Vec<u32> = (0..64).map(|x| picture.at(x, y) | 0xff << 24).collect();
        stream.inline_write(1, seat_frontend::gpu::Rect::new(0, y, 64, 1), &row).nop(y as usize % 7);
    }
    submit(&mut vm.driver, &stream);
    sheet.picture = picture;
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn commands_that_are_too_short_or_unknown_are_refused_and_those_before_are_done() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let bad: [&[u32]; 4] = [
        &[u32::from(ccmd::END)],
        // Shorter than what it is.
        &[u32::from(ccmd::CLEAR) | 1 << 16, 4],
        &[u32::from(ccmd::CREATE_OBJECT) | 8 << 8 | 2 << 16, 1, 1],
        &[u32::from(ccmd::BLIT) | 3 << 16, 0, 0, 0],
    ];
    for (ctx, (rgb, words)) in (2..).zip((1..).map(|n| n * 0x0a_0b0c).zip(bad)) {
        vm.driver.create_context(ctx).unwrap().ok().unwrap();
        vm.driver.attach_to_context(ctx, 1).unwrap().ok().unwrap();
        let mut stream = Stream::new();
        stream.fill(1, sheet.texture.format, rgb);
        let both = [stream.words(), words].concat();
        assert_eq!(vm.driver.submit_3d(ctx, &both).unwrap().kind, resp::ERR_INVALID_PARAMETER, "{words:x?}");
        sheet.picture = Picture::flat(64, 64, rgb);
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
}

#[test]
fn a_stream_whose_last_command_is_longer_than_what_is_left_is_refused_whole_and_its_context_goes_on() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    sheet.fill(&mut vm.driver, 0x65_4321);
    for cut in [&[u32::MAX][..], &[u32::from(ccmd::CLEAR) | 8 << 16, 4]] {
        let mut stream = Stream::new();
        stream.fill(1, sheet.texture.format, 0x12_3456);
        let both = [stream.words(), cut].concat();
        assert_eq!(vm.driver.submit_3d(CTX, &both).unwrap().kind, resp::ERR_INVALID_PARAMETER, "{cut:x?}");
        sheet.flush(&mut vm.driver, sheet.rect());
        await_picture(&vm, 0, &sheet.picture);
    }
    sheet.fill(&mut vm.driver, 0x0f_f0f0);
}
