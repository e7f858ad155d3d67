//! Transfers both ways, byte by byte.

use seat_frontend::gpu::three_d::target;
use seat_frontend::gpu::virgl::{Direction, Stream};
use seat_frontend::gpu::{Backing, Command, MemEntry, Rect, Region, Texture, Transfer3d, resp};
use seat_frontend::machine::GpuMachine;

use crate::common::Seat;
use crate::common::canvas::await_picture;
use crate::common::picture::Picture;
use crate::common::random::Random;
use crate::seat::{CTX, boot};
use crate::sheet::{Sheet, sheet_on_screen, submit};

/// Bytes that are no picture's.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn scattered(vm: &mut GpuMachine, len: usize, pieces: usize) -> Backing {
    let memory = vm.driver.memory().clone();
    Backing::scattered(&memory, vm.driver.pages(), len as u64, pieces).unwrap()
}

fn bytes(backing: &Backing) -> Vec<u8> {
    let mut bytes = vec![0; backing.len() as usize];
    backing.read(0, &mut bytes);
    bytes
}

#[test]
fn what_goes_in_comes_out_byte_by_byte_however_the_backing_is_scattered() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    // VIRGL_FORMAT_R8_UNORM, VIRGL_FORMAT_B8G8R8A8_UNORM, VIRGL_FORMAT_R32G32B32A32_FLOAT
    for (id, (format, texel), flags, pieces) in
        [(1, (1, 4), 0, 1), (2, (1, 4), 1, 7), (3, (64, 1), 0, 100), (4, (1, 4), 1, 3000), (5, (31, 16), 0, 999)]
    {
        let (width, height) = (61, 33);
        let len = width as usize * height as usize * texel;
        let backing = scattered(&mut vm, len, pieces.min(len));
        let texture = Texture { format, flags, ..Texture::picture(id, width, height) };
        vm.driver.create_3d(&texture).unwrap().ok().unwrap();
        vm.driver.attach_backing(id, backing.entries()).unwrap().ok().unwrap();
        vm.driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
        let mut sent = noise(len, u64::from(id));
        if texel == 16 {
            // Numbers, for what is none may come out as another.
            sent = (0..len / 4).flat_map(|n| (n as f32).to_le_bytes()).collect();
        }
        backing.write(0, &sent);
        let whole = Transfer3d::new(id, texture.region());
        vm.driver.to_host_3d(CTX, &whole).unwrap().ok().unwrap();
        backing.write(0, &vec![0xee; len]);
        vm.driver.from_host_3d(CTX, &whole).unwrap().ok().unwrap();
        assert!(bytes(&backing) == sent, "{texture:?} in {pieces} pieces");
    }
}

#[test]
fn a_box_goes_to_its_place_and_no_further() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    for (id, flags) in [(1, 0), (2, 1)] {
        let backing = scattered(&mut vm, 64 * 48 * 4, 50);
        let texture = Texture { format: 1, flags, ..Texture::picture(id, 64, 48) };
        let sheet = Sheet::with_backing(&mut vm.driver, texture, backing);
        let mut expected = noise(64 * 48 * 4, 1);
        sheet.backing.write(0, &expected);
        sheet.bring(&mut vm.driver, sheet.rect());

        // Some rectangles in.
        let other = noise(64 * 48 * 4, 2);
        sheet.backing.write(0, &other);
        for rect in [Rect::new(0, 0, 1, 1), Rect::new(63, 47, 1, 1), Rect::new(5, 7, 20, 11), Rect::new(0, 40, 64, 2)] {
            sheet.bring(&mut vm.driver, rect);
            for y in rect.y..rect.y + rect.height {
                let at = ((y * 64 + rect.x) * 4) as usize..((y * 64 + rect.x + rect.width) * 4) as usize;
                expected[at.clone()].copy_from_slice(&other[at]);
            }
        }
        // And one out, into a backing that keeps the rest.
        sheet.backing.write(0, &vec![0xee; 64 * 48 * 4]);
        vm.driver.from_host_3d(CTX, &sheet.transfer(Rect::new(3, 5, 30, 20))).unwrap().ok().unwrap();
        let back = bytes(&sheet.backing);
        for (at, byte) in back.iter().enumerate() {
            let (x, y) = (at / 4 % 64, at / 4 / 64);
            let inside = (3..33).contains(&x) && (5..25).contains(&y);
            let wanted = if inside { expected[at] } else { 0xee };
            assert_eq!(*byte, wanted, "byte {at} at {x}, {y} with flags {flags}");
        }
        vm.driver.from_host_3d(CTX, &sheet.transfer(sheet.rect())).unwrap().ok().unwrap();
        assert!(bytes(&sheet.backing) == expected, "flags {flags}");
    }
}

#[test]
fn buffers_and_layers_and_levels_are_transferred_too() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let plain = Texture { format: 1, flags: 0, ..Texture::picture(1, 16, 8) };
    let kinds = [
        (Texture::buffer(1, 5000), 5000),
        (Texture { target: target::TEXTURE_2D_ARRAY, array_size: 3, ..plain }, 16 * 8 * 4 * 3),
        (Texture { target: target::TEXTURE_3D, depth: 3, ..plain }, 16 * 8 * 4 * 3),
    ];
    for (id, (kind, len)) in (1..).zip(kinds) {
        let texture = Texture { resource_id: id, ..kind };
        let backing = scattered(&mut vm, len, 9);
        vm.driver.create_3d(&texture).unwrap().ok().unwrap();
        vm.driver.attach_backing(id, backing.entries()).unwrap().ok().unwrap();
        vm.driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
        let sent = noise(len, 3);
        backing.write(0, &sent);
        let whole = Transfer3d::new(id, texture.region());
        vm.driver.to_host_3d(CTX, &whole).unwrap().ok().unwrap();
        backing.write(0, &vec![0; len]);
        vm.driver.from_host_3d(CTX, &whole).unwrap().ok().unwrap();
        assert!(bytes(&backing) == sent, "{texture:?}");
    }
    let texture = Texture { resource_id: 9, last_level: 2, ..plain };
    let backing = scattered(&mut vm, 4 * 2 * 4, 3);
    vm.driver.create_3d(&texture).unwrap().ok().unwrap();
    vm.driver.attach_backing(9, backing.entries()).unwrap().ok().unwrap();
    vm.driver.attach_to_context(CTX, 9).unwrap().ok().unwrap();
    let sent = noise(32, 4);
    backing.write(0, &sent);
    let level = Transfer3d { level: 2, stride: 16, ..Transfer3d::new(9, Region::flat(0, 0, 4, 2)) };
    vm.driver.to_host_3d(CTX, &level).unwrap().ok().unwrap();
    backing.write(0, &[0; 32]);
    vm.driver.from_host_3d(CTX, &level).unwrap().ok().unwrap();
    assert_eq!(bytes(&backing), sent);
}

#[test]
fn a_transfer_without_backing_is_refused() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let texture = Texture::picture(1, 16, 16);
    vm.driver.create_3d(&texture).unwrap().ok().unwrap();
    vm.driver.attach_to_context(CTX, 1).unwrap().ok().unwrap();
    let whole = Transfer3d::new(1, texture.region());
    let refused = |vm: &mut GpuMachine, why: &str| {
        for command in [Command::TransferToHost3d(whole), Command::TransferFromHost3d(whole)] {
            assert_eq!(vm.driver.call_in(CTX, &command).unwrap().kind, resp::ERR_UNSPEC, "{why}");
        }
        for direction in [Direction::ToHost, Direction::FromHost] {
            let mut stream = Stream::new();
            stream.transfer(1, texture.region(), 0, direction);
            let kind = vm.driver.submit_3d(CTX, stream.words()).unwrap().kind;
            assert_eq!(kind, resp::ERR_INVALID_PARAMETER, "{why}, {direction:?}");
        }
    };

    refused(&mut vm, "none yet");
    vm.driver.attach_backing(1, &[]).unwrap();
    refused(&mut vm, "one of nothing");
    vm.driver.detach_backing(1).unwrap();
    let memory = vm.driver.memory().clone();
    let backing = Backing::contiguous(&memory, vm.driver.pages(), 1024).unwrap();
    vm.driver.attach_backing(1, backing.entries()).unwrap().ok().unwrap();
    assert_eq!(vm.driver.attach_backing(1, backing.entries()).unwrap().kind, resp::ERR_UNSPEC, "a second one");
    vm.driver.to_host_3d(CTX, &whole).unwrap().ok().unwrap();
    vm.driver.detach_backing(1).unwrap().ok().unwrap();
    refused(&mut vm, "taken away");
    for unknown in [0, 2, u32::MAX] {
        let transfer = Transfer3d { resource_id: unknown, ..whole };
        assert_eq!(vm.driver.to_host_3d(CTX, &transfer).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
        assert_eq!(vm.driver.from_host_3d(CTX, &transfer).unwrap().kind, resp::ERR_INVALID_RESOURCE_ID);
    }
}

#[test]
fn a_transfer_that_does_not_lie_in_both_is_refused_and_changes_nothing() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let memory = vm.driver.memory().clone();
    let start = vm.driver.pages().alloc(16 * 16 * 4).unwrap();
    let backing = Backing::from_entries(&memory, vec![MemEntry { addr: start, len: 16 * 16 * 4 }]);
    let sheet = Sheet::with_backing(&mut vm.driver, Texture::picture(1, 16, 16), backing);
    let good = sheet.transfer(sheet.rect());
    let all = u32::MAX;
    let boxes = [
        Region { x: 1, ..good.region },
        Region { y: 1, ..good.region },
        Region { z: 1, ..good.region },
        Region { width: 17, ..good.region },
        Region { height: 17, ..good.region },
        Region { depth: 2, ..good.region },
        Region { x: all, y: all, z: all, width: 1, height: 1, depth: 1 },
        Region { x: 1, y: 1, z: 1, width: all, height: all, depth: all },
        Region { z: 0x8000_0000, ..good.region },
        Region { width: 0x8000_0000, ..good.region },
    ];
    let mut bad: Vec<Transfer3d> = boxes.into_iter().map(|region| Transfer3d { region, ..good }).collect();
    bad.extend([
        Transfer3d { offset: 4, ..good },
        Transfer3d { offset: 1024, ..good },
        Transfer3d { offset: u64::MAX, ..good },
        Transfer3d { offset: u64::MAX - 1023, ..good },
        Transfer3d { offset: 1 << 32, ..good },
        Transfer3d { level: 1, ..good },
        Transfer3d { level: all, ..good },
        Transfer3d { stride: 68, ..good },
        Transfer3d { stride: 0x1000_0000, ..good },
        Transfer3d { stride: all, layer_stride: all, ..good },
    ]);

    sheet.backing.write(0, &noise(1024, 1));
    vm.driver.to_host_3d(CTX, &good).unwrap().ok().unwrap();
    sheet.backing.write(0, &[0xee; 1024]);
    for transfer in bad {
        // Each in a context of its own: an error may leave it in error.
        vm.driver.create_context(2).unwrap().ok().unwrap();
        vm.driver.attach_to_context(2, 1).unwrap().ok().unwrap();
        for ctx in [0, 2] {
            let kind = vm.driver.to_host_3d(ctx, &transfer).unwrap().kind;
            assert_eq!(kind, resp::ERR_INVALID_PARAMETER, "to the host in {ctx}: {transfer:?}");
            let kind = vm.driver.from_host_3d(ctx, &transfer).unwrap().kind;
            assert_eq!(kind, resp::ERR_INVALID_PARAMETER, "from the host in {ctx}: {transfer:?}");
        }
        vm.driver.destroy_context(2).unwrap().ok().unwrap();
        assert!(bytes(&sheet.backing) == [0xee; 1024], "{transfer:?}");
    }
    vm.driver.from_host_3d(0, &good).unwrap().ok().unwrap();
    assert!(bytes(&sheet.backing) == noise(1024, 1));
}

#[test]
fn transfers_within_a_stream_of_commands_are_the_same() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 48);
    sheet.draw(Picture::noise(64, 48, 9));
    let region = Region::flat(0, 0, 64, 48);

    submit(&mut vm.driver, Stream::new().transfer(1, region, 0, Direction::ToHost));
    sheet.flush(&mut vm.driver, sheet.rect());

    await_picture(&vm, 0, &sheet.picture);
    let sent = bytes(&sheet.backing);
    sheet.backing.write(0, &vec![0; sent.len()]);
    submit(&mut vm.driver, Stream::new().transfer(1, region, 0, Direction::FromHost));
    // The texture has no alpha: that byte is whatever it is.
    let back = bytes(&sheet.backing);
    assert!(back.chunks(4).zip(sent.chunks(4)).all(|(back, sent)| back[..3] == sent[..3]));
}

#[test]
fn what_is_drawn_comes_out() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let backing = scattered(&mut vm, 32 * 32 * 4, 31);
    let texture = Texture { format: 1, ..Texture::picture(1, 32, 32) };
    let mut sheet = Sheet::with_backing(&mut vm.driver, texture, backing);

    sheet.fill(&mut vm.driver, 0x12_7f_c0);
    vm.driver.from_host_3d(CTX, &sheet.transfer(sheet.rect())).unwrap().ok().unwrap();

    assert!(bytes(&sheet.backing).chunks(4).all(|texel| texel == [0xc0, 0x7f, 0x12, 0xff]));
}
