//! `--max-hostmem`: what a guest can make the program hold has a limit, and life goes on at it.

use seat_frontend::gpu::{GpuDriver, MemEntry, format, resp};

use crate::common::canvas::{await_picture, canvas_on_screen};
use crate::common::{boot, boot_with, options};

/// Creates resources of a size until none is left to be had; says how many there are.
fn fill(driver: &mut GpuDriver, first: u32, side: u32) -> u32 {
    for count in 0..100_000 {
        let answer = driver.create_2d(first + count, format::B8G8R8X8, side, side).unwrap().kind;
        if answer != resp::OK_NODATA {
            assert_eq!(answer, resp::ERR_OUT_OF_MEMORY);
            return count;
        }
    }
    panic!("there is no limit");
}

#[test]
fn resources_beyond_the_limit_are_refused_and_life_goes_on() {
    let mut seat = boot_with(&["--max-hostmem=8M"], options());
    let canvas = canvas_on_screen(&mut seat.vm, 1, 256, 256);

    // 256 KiB of pixels each.
    let count = fill(&mut seat.vm.driver, 100, 256);

    assert!((25..32).contains(&count), "{count} resources of 256 KiB in 8 MiB");
    canvas.present_all(&mut seat.vm.driver);
    await_picture(&seat.vm, 0, &canvas.picture);
}

#[test]
fn memory_comes_back_with_unref() {
    let mut seat = boot_with(&["--max-hostmem=8M"], options());
    let driver = &mut seat.vm.driver;
    let count = fill(driver, 1, 256);
    for _ in 0..3 {
        for id in 1..=count {
            driver.unref(id).unwrap().ok().unwrap();
        }
        assert_eq!(fill(driver, 1, 256), count);
    }
}

#[test]
fn memory_comes_back_with_unref_of_resources_that_were_shown() {
    let mut seat = boot_with(&["--max-hostmem=1M"], options());
    for id in 1..50 {
        canvas_on_screen(&mut seat.vm, id, 400, 400);
        seat.vm.driver.unref(id).unwrap().ok().unwrap();
        // The last picture of it may still be on its way.
        seat.vm.display.wait(crate::common::soon(), |display| display.surface(0).is_none()).unwrap();
    }
}

#[test]
fn memory_comes_back_with_a_reset() {
    let mut seat = boot_with(&["--max-hostmem=8M"], options());
    let count = fill(&mut seat.vm.driver, 1, 256);
    for _ in 0..3 {
        seat.vm.reboot().unwrap();
        assert_eq!(fill(&mut seat.vm.driver, 1, 256), count);
    }
}

#[test]
fn a_refused_resource_costs_nothing() {
    let mut seat = boot_with(&["--max-hostmem=8M"], options());
    let driver = &mut seat.vm.driver;
    for _ in 0..100 {
        assert_eq!(driver.create_2d(1, format::B8G8R8X8, 4096, 4096).unwrap().kind, resp::ERR_OUT_OF_MEMORY);
        assert_eq!(driver.create_2d(1, 99, 1024, 1024).unwrap().kind, resp::ERR_INVALID_PARAMETER);
    }
    driver.create_2d(1, format::B8G8R8X8, 1024, 1024).unwrap().ok().unwrap();
}

#[test]
fn tiny_resources_count_too() {
    let mut seat = boot_with(&["--max-hostmem=1M"], options());

    let count = fill(&mut seat.vm.driver, 1, 1);

    assert!(count < 10_000, "{count} resources in 1 MiB");
}

#[test]
fn backing_lists_count_and_come_back_when_they_are_detached() {
    let mut seat = boot_with(&["--max-hostmem=2M"], options());
    let driver = &mut seat.vm.driver;
    let entries = vec![MemEntry { addr: 0, len: 1 }; 8192];
    // A picture costs two pages at least, however small: so many leave room for lists.
    for id in 1..=50 {
        driver.create_2d(id, format::B8G8R8X8, 1, 1).unwrap().ok().unwrap();
    }
    let mut attached = Vec::new();
    for id in 1..=50 {
        match driver.attach_backing(id, &entries).unwrap().kind {
            resp::OK_NODATA => attached.push(id),
            other => assert_eq!(other, resp::ERR_OUT_OF_MEMORY),
        }
    }
    assert!((1..20).contains(&attached.len()), "{} lists of 8192 entries in 2 MiB", attached.len());
    for id in &attached {
        driver.detach_backing(*id).unwrap().ok().unwrap();
    }
    for id in attached {
        driver.attach_backing(id, &entries).unwrap().ok().unwrap();
    }
}

#[test]
fn the_default_is_256_mebibytes() {
    let mut seat = boot();
    let driver = &mut seat.vm.driver;

    // 64 MiB each, and a little beside.
    let kinds: Vec<u32> = (1..=4).map(|id| driver.create_2d(id, format::B8G8R8X8, 4096, 4096).unwrap().kind).collect();

    assert_eq!(kinds, [resp::OK_NODATA, resp::OK_NODATA, resp::OK_NODATA, resp::ERR_OUT_OF_MEMORY]);
}
