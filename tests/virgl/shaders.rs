//! Shaders whose text comes in parts, as Mesa sends long ones.

use seat_frontend::gpu::resp;
use seat_frontend::gpu::virgl::{Stream, ccmd};
use seat_frontend::machine::GpuMachine;

use crate::common::Seat;
use crate::common::canvas::await_picture;
use crate::scene::{COLOUR, Scene};
use crate::seat::{CTX, boot};
use crate::sheet::{Sheet, sheet_on_screen};

/// Where the commands of a stream begin.
fn commands(words: &[u32]) -> Vec<usize> {
    let mut places = vec![0];
    while let Some(head) = places.last().and_then(|place| words.get(*place)) {
        places.push(places[places.len() - 1] + 1 + (*head >> 16) as usize);
    }
    places.pop();
    places
}

/// What draws all of a sheet, each shader's text in parts of `words`.
fn drawing(vm: &mut GpuMachine, sheet: &mut Sheet, words: usize) -> Vec<u32> {
    let scene = Scene::new(&mut vm.driver, 50);
    let mut stream = Stream::new();
    scene.prepare_in_parts(&mut stream, &sheet.texture, words);
    scene.draw(&mut stream, sheet.rect());
    sheet.picture.fill(sheet.rect(), COLOUR);
    stream.words().to_vec()
}

#[test]
fn a_text_may_come_in_many_parts_and_these_in_many_streams() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let words = drawing(&mut vm, &mut sheet, 3);
    let places = commands(&words);
    assert!(places.len() > 15, "{places:?}");
    let ends = places.iter().skip(1).copied().chain([words.len()]);
    for (begin, end) in places.iter().zip(ends) {
        vm.driver.submit_3d(CTX, &words[*begin..end]).unwrap().ok().unwrap();
    }
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}

#[test]
fn a_shader_of_whose_text_a_part_is_missing_is_not_used() {
    let Some(Seat { program: _program, mut vm }) = boot() else { return };
    let mut sheet = sheet_on_screen(&mut vm, 1, 64, 64);
    let words = drawing(&mut vm, &mut sheet, 8);
    let is_part = |place: &usize| words[*place] as u8 == ccmd::CREATE_OBJECT;
    let places = commands(&words);
    let last = places.iter().copied().rfind(is_part).unwrap();
    let bind = last + 1 + (words[last] >> 16) as usize;

    vm.driver.submit_3d(CTX, &words[..last]).unwrap().ok().unwrap();
    // It would be drawn with next.
    assert_eq!(vm.driver.submit_3d(CTX, &words[bind..]).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    assert_eq!(
        vm.driver.submit_3d(CTX, &[&words[bind..], &words[last..bind]].concat()).unwrap().kind,
        resp::ERR_INVALID_PARAMETER
    );

    // Nothing of that was done, so the part is still the next one.
    vm.driver.submit_3d(CTX, &words[last..]).unwrap().ok().unwrap();
    sheet.flush(&mut vm.driver, sheet.rect());
    await_picture(&vm, 0, &sheet.picture);
}
