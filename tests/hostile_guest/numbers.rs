//! Commands with every number at its edges: each has an answer, none has an effect that it should not have.

use seat_frontend::gpu::{Command, GpuDriver, MemEntry, Rect, cmd, format, resp};

use crate::common::canvas::{await_picture, canvas_on_screen};
use crate::common::picture::Picture;
use crate::common::{Seat, assert_memory, boot, soon};

const EDGES: [u32; 9] = [0, 1, 16, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];

/// Every command that is known, and some that are not.
fn kinds() -> impl Iterator<Item = u32> {
    (0x0ff..0x120).chain(0x1ff..0x210).chain(0x2ff..0x310).chain([0, 0x1100, 0x1200, u32::MAX])
}

fn send(driver: &mut GpuDriver, kind: u32, body: &[u8]) -> u32 {
    driver.call(&Command::Raw { kind, body, tail: &[] }).unwrap().kind
}

#[test]
fn every_command_with_every_field_at_an_edge_is_answered_and_the_picture_stays() {
    let Seat { mut program, mut vm } = boot();
    let mut canvas = canvas_on_screen(&mut vm, 0x5555, 64, 64);
    canvas.draw(Picture::noise(64, 64, 1));
    canvas.present_all(&mut vm.driver);
    await_picture(&vm, 0, &canvas.picture);

    for kind in kinds() {
        for edge in EDGES {
            // All fields at the edge, then one after another. Scanout 0 is left to the picture.
            let all = [edge; 18];
            let mut bodies = vec![all];
            bodies.extend((0..18).map(|field| {
                let mut body = [7; 18];
                body[field] = edge;
                body
            }));
            for body in bodies {
                let of_scanout = [cmd::SET_SCANOUT, cmd::SET_SCANOUT_BLOB, cmd::GET_DISPLAY_INFO, cmd::GET_EDID];
                if of_scanout.contains(&kind) && body[4] < 16 {
                    continue;
                }
                let body: Vec<u8> = body.iter().flat_map(|field| field.to_le_bytes()).collect();
                let answer = send(&mut vm.driver, kind, &body);
                assert!(
                    (0x1100..=0x1106).contains(&answer) || (0x1200..=0x1205).contains(&answer),
                    "{kind:#x}: {answer:#x}"
                );
            }
        }
    }

    canvas.draw(Picture::noise(64, 64, 2));
    canvas.present_all(&mut vm.driver);
    await_picture(&vm, 0, &canvas.picture);
    vm.front.barrier().unwrap();
    assert_eq!(vm.front.ring_errors(0), 0);
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
fn counts_of_entries_beyond_what_was_supplied_reserve_nothing() {
    let Seat { mut program, mut vm } = boot();
    vm.driver.create_2d(1, format::B8G8R8X8, 64, 64).unwrap().ok().unwrap();
    let before = program.measure().unwrap();
    for count in [2, 16384, 16385, 0x0fff_ffff, 0x1000_0000, 0x1000_0001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut body = 1u32.to_le_bytes().to_vec();
        body.extend_from_slice(&count.to_le_bytes());
        let entry = [0; 16];
        let command = Command::Raw { kind: cmd::RESOURCE_ATTACH_BACKING, body: &body, tail: &entry };
        assert_eq!(vm.driver.call(&command).unwrap().kind, resp::ERR_INVALID_PARAMETER, "{count}");

        let fields = [2, 1, 0, count, 0, 0, 16, 0];
        let body: Vec<u8> = fields.iter().flat_map(|field: &u32| field.to_le_bytes()).collect();
        let command = Command::Raw { kind: cmd::RESOURCE_CREATE_BLOB, body: &body, tail: &entry };
        assert_eq!(vm.driver.call(&command).unwrap().kind, resp::ERR_INVALID_PARAMETER, "a blob of {count}");
    }
    let after = program.measure().unwrap();
    assert_memory(after.peak < before.peak + (8 << 20), (before, after));
    // Nothing is attached: it can be.
    vm.driver.attach_backing(1, &[MemEntry { addr: 0, len: 4096 }]).unwrap().ok().unwrap();
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
fn backing_of_4_gib_pieces_of_pieces_without_bytes_and_of_the_same_page_over_and_over_is_answered() {
    let Seat { mut program, mut vm } = boot();
    let rect = Rect::new(0, 0, 64, 64);
    let zero = vec![MemEntry { addr: u64::MAX, len: 0 }; 1000];
    let same = vec![MemEntry { addr: 4096, len: 16 }; 1024];
    let huge = vec![MemEntry { addr: 0, len: u32::MAX }; 16];
    for (entries, attached, transferred) in [
        (&huge, resp::ERR_UNSPEC, resp::ERR_UNSPEC),
        (&zero, resp::OK_NODATA, resp::ERR_INVALID_PARAMETER),
        (&same, resp::OK_NODATA, resp::OK_NODATA),
    ] {
        vm.driver.create_2d(1, format::B8G8R8X8, 64, 64).unwrap().ok().unwrap();
        assert_eq!(vm.driver.attach_backing(1, entries).unwrap().kind, attached);
        assert_eq!(vm.driver.transfer(1, rect, 0).unwrap().kind, transferred);
        vm.driver.unref(1).unwrap().ok().unwrap();
    }
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}
