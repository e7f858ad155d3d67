//! Pure arithmetic, over all small cases, against the plainest account of it: sets of pixels, lists of bytes, walks by hand.
//!
//! Rectangles themselves are treated so in `src/gpu/rect.rs`, the event index of a ring in `src/vhost_proto/vring.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the tests' own"
)]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use seat_frontend::memory::memfd;
use vhost_seat::gpu::backing::{Backing, Entry};
use vhost_seat::gpu::budget::Budget;
use vhost_seat::gpu::command::ResourceId;
use vhost_seat::gpu::image::Image;
use vhost_seat::gpu::rect::Rect;
use vhost_seat::gpu::resource::Resource;
use vhost_seat::gpu::scanout::{Scanout, Step};
use vhost_seat::gpu::tiles::{Sweep, TILE_H, TILE_W, TileMap};
use vhost_seat::vhost_proto::chain::Chain;
use vhost_seat::vhost_proto::memory::GuestMemory;
use vhost_seat::vhost_proto::vring::{Popped, Ring};
use vhost_seat::vhost_proto::wire::{MemoryRegion, UserAddr, VringAddr};
use vm_memory::{Bytes, GuestAddress};

/// Places on both sides of each tile's edge, and beyond the image.
const X: [u32; 8] = [0, 1, 63, 64, 65, 129, 130, 200];
const Y: [u32; 8] = [0, 1, 15, 16, 17, 33, 34, 50];
const WIDTH: u32 = 130;
const HEIGHT: u32 = 34;

/// All spans between two of these places.
fn spans(places: &[u32]) -> Vec<(u32, u32)> {
    let pairs = places.iter().flat_map(|start| places.iter().map(move |end| (*start, *end)));
    pairs.filter(|(start, end)| start < end).collect()
}

fn rect(x: (u32, u32), y: (u32, u32)) -> Rect {
    Rect::new(x.0, y.0, x.1 - x.0, y.1 - y.0)
}

fn rects() -> Vec<Rect> {
    spans(&X).into_iter().flat_map(|x| spans(&Y).into_iter().map(move |y| rect(x, y))).collect()
}

fn has(rect: &Rect, x: u32, y: u32) -> bool {
    (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y)
}

/// The pixels of the image, one after another.
fn pixels() -> impl Iterator<Item = (u32, u32)> {
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)))
}

/// The tiles of the image: number and pixels.
fn tiles() -> impl Iterator<Item = (u32, u32, Vec<(u32, u32)>)> {
    (0..HEIGHT.div_ceil(TILE_H)).flat_map(|ty| {
        (0..WIDTH.div_ceil(TILE_W))
            .map(move |tx| (tx, ty, pixels().filter(|(x, y)| x / TILE_W == tx && y / TILE_H == ty).collect()))
    })
}

#[test]
fn a_tile_is_marked_where_it_has_a_pixel_and_unmarked_where_it_has_no_other() {
    let all: Vec<_> = tiles().collect();
    for rect in rects() {
        let mut marked = TileMap::new(WIDTH, HEIGHT).unwrap();
        marked.mark_rect(&rect);
        let mut covered = TileMap::new(WIDTH, HEIGHT).unwrap();
        covered.set_all();
        covered.unmark_covered(&rect);
        let mut count = 0;
        for (tx, ty, pixels) in &all {
            let touched = pixels.iter().any(|(x, y)| has(&rect, *x, *y));
            let whole = pixels.iter().all(|(x, y)| has(&rect, *x, *y));
            assert_eq!(marked.is_marked(*tx, *ty), touched, "{rect:?}: tile {tx}, {ty}");
            assert_eq!(covered.is_marked(*tx, *ty), !whole, "{rect:?}: tile {tx}, {ty}");
            count += u64::from(touched);
        }
        assert_eq!(marked.marked(), count, "{rect:?}");
    }
}

#[test]
fn a_sweep_gives_each_marked_pixel_within_its_bounds_once() {
    let all: Vec<_> = tiles().collect();
    // Every set of marked tiles, within bounds at and beside their edges.
    for marks in 0..1u32 << all.len() {
        let mut map = TileMap::new(WIDTH, HEIGHT).unwrap();
        for (_, (tx, ty, _)) in (0..).zip(&all).filter(|(bit, _)| marks >> *bit & 1 == 1) {
            map.mark(*tx, *ty);
        }
        for within in
            [rect((0, 130), (0, 34)), rect((1, 65), (15, 17)), rect((63, 200), (16, 50)), rect((64, 129), (1, 33))]
        {
            let mut sweep = Sweep::over(within);
            let mut times = vec![0u8; (WIDTH * HEIGHT) as usize];
            while let Some(found) = map.next_rect(&mut sweep) {
                for y in found.y..found.y + found.height {
                    for x in found.x..found.x + found.width {
                        times[(y * WIDTH + x) as usize] += 1;
                    }
                }
            }
            for (x, y) in pixels() {
                let expected = map.is_marked(x / TILE_W, y / TILE_H) && has(&within, x, y);
                assert_eq!(times[(y * WIDTH + x) as usize], u8::from(expected), "{marks:#b}, {within:?}: {x}, {y}");
            }
        }
    }
}

/// Updates that a scanout gives, as their places in the resource.
fn told(scanout: &mut Scanout, shown: &Rect) -> Vec<Rect> {
    let mut all = Vec::new();
    while let Some(step) = scanout.next_step(u32::MAX, true) {
        if let Step::Update { at, from, .. } = step {
            assert_eq!(
                (at.x + shown.x, at.y + shown.y, at.width, at.height),
                (from.x, from.y, from.width, from.height)
            );
            assert!(shown.contains(&from), "{from:?} of {shown:?}");
            all.push(from);
        }
    }
    scanout.sent();
    all
}

/// Shows a part of an image, changes one, flushes one, then flushes all: what changed and was flushed is told, at once;
/// what changed is told in the end; nothing is told that lies in no changed tile; then there is nothing more.
fn assert_tells(image: &Rc<Image>, shown: Rect, damage: Rect, flushed: Rect) {
    let mut scanout = Scanout::default();
    scanout.show(ResourceId(1), image, shown).unwrap();
    told(&mut scanout, &shown);
    let mut changed = TileMap::new(WIDTH, HEIGHT).unwrap();
    changed.mark_rect(&damage);
    scanout.changed(&changed, &damage);
    scanout.flush(flushed);
    let first = told(&mut scanout, &shown);
    scanout.flush(image.rect());
    let rest = told(&mut scanout, &shown);
    scanout.flush(image.rect());
    let case = format!("{shown:?} shown, {damage:?} changed, {flushed:?} flushed: {first:?}, {rest:?}");
    assert!(told(&mut scanout, &shown).is_empty(), "{case}");
    // Corners are enough: all edges lie on a place of the grid.
    for x in X.into_iter().filter(|x| *x < WIDTH) {
        for y in Y.into_iter().filter(|y| *y < HEIGHT) {
            let seen = |rects: &[Rect]| rects.iter().any(|rect| has(rect, x, y));
            let due = has(&damage, x, y) && has(&shown, x, y);
            assert!(!(due && has(&flushed, x, y)) || seen(&first), "{case}: {x}, {y} is late");
            assert!(!due || seen(&first) || seen(&rest), "{case}: {x}, {y} is lost");
            let idle = !changed.is_marked(x / TILE_W, y / TILE_H);
            assert!(!(idle && (seen(&first) || seen(&rest))), "{case}: {x}, {y} did not change");
        }
    }
}

#[test]
fn a_scanout_tells_what_changed_and_was_flushed_and_no_other_tile() {
    let image = Image::new(WIDTH, HEIGHT, &Budget::new(1 << 30)).unwrap();
    let inside = |places: &[u32], end: u32| -> Vec<(u32, u32)> {
        spans(places).into_iter().filter(|(_, span_end)| *span_end <= end).collect()
    };
    let (columns, rows) = (inside(&X, WIDTH), inside(&Y, HEIGHT));
    let (few_columns, few_rows) = ([(0, 130), (1, 65), (64, 129)], [(0, 34), (1, 17), (16, 33)]);
    for a in &columns {
        for b in &columns {
            for c in &columns {
                for y in few_rows {
                    assert_tells(&image, rect(*a, y), rect(*b, (0, HEIGHT)), rect(*c, (1, 33)));
                }
            }
        }
    }
    for a in &rows {
        for b in &rows {
            for c in &rows {
                for x in few_columns {
                    assert_tells(&image, rect(x, *a), rect((0, WIDTH), *b), rect((1, 129), *c));
                }
            }
        }
    }
}

fn file(bytes: &[u8]) -> OwnedFd {
    let file = File::from(memfd(c"exhaustive", bytes.len() as u64, true).unwrap());
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
    file.into()
}

/// Guest memory at address 0, for the front end at the same.
fn memory(bytes: &[u8]) -> GuestMemory {
    let mut memory = GuestMemory::default();
    memory
        .add(MemoryRegion { guest_addr: 0, size: bytes.len() as u64, user_addr: 0, mmap_offset: 0 }, file(bytes))
        .unwrap();
    memory
}

#[test]
fn a_transfer_is_taken_where_each_of_its_bytes_is_there_and_brings_those_bytes() {
    let bytes: Vec<u8> = (0..4096u32).map(|n| (n % 251 + 1) as u8).collect();
    let memory = memory(&bytes);
    let budget = Budget::new(1 << 30);
    for (width, height) in (1..=3u32).flat_map(|width| (1..=3).map(move |height| (width, height))) {
        for len in [1, 3, 4, 11, 12, 16, 24, 35, 36, 37, 64] {
            let entries = vec![Entry { addr: GuestAddress(0), len }];
            let places = (0..256u32).map(|n| Rect::new(n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3));
            for rect in places {
                for offset in 0..=40u64 {
                    let mut resource = Resource::new_2d(2, width, height, &budget).unwrap();
                    let charge = budget.charge(0).unwrap();
                    resource.attach(Backing::new(entries.clone(), &memory).unwrap(), charge);
                    // Row by row at the resource's own stride.
                    let first_of = |row: u32| offset + u64::from(row * width * 4);
                    let inside = rect.x + rect.width <= width && rect.y + rect.height <= height;
                    let empty = rect.width == 0 || rect.height == 0;
                    let there = (0..rect.height).all(|row| first_of(row) + u64::from(rect.width * 4) <= u64::from(len));
                    let taken = resource.check_transfer(&rect, offset).is_ok();
                    assert_eq!(
                        taken,
                        inside && (empty || there),
                        "{rect:?} of {width}×{height} from {offset} of {len}"
                    );
                    if !taken || offset % 5 != 0 {
                        continue;
                    }
                    resource.transfer(&rect, offset, 1);
                    Rc::clone(resource.image().unwrap()).with_pixels(|pixels| {
                        for (n, byte) in (0u32..).zip(pixels) {
                            let (x, y) = (n / 4 % width, n / 4 / width);
                            let from = has(&rect, x, y).then(|| {
                                let column = (x - rect.x) * 4 + n % 4;
                                bytes[(first_of(y - rect.y) + u64::from(column)) as usize]
                            });
                            assert_eq!(*byte, from.unwrap_or(0), "{rect:?} of {width}×{height}: byte {n}");
                        }
                    });
                }
            }
        }
    }
}

/// What a chain is, walked by hand: its buffers' numbers, or nothing where it is none.
fn walked_by_hand(entries: &[(bool, Option<u16>)], head: u16) -> Option<Vec<u16>> {
    let mut seen = Vec::new();
    let mut at = head;
    loop {
        let (writable, next) = *entries.get(usize::from(at))?;
        let after_writable = seen.last().is_some_and(|last: &u16| entries[usize::from(*last)].0);
        if seen.contains(&at) || after_writable && !writable {
            return None;
        }
        seen.push(at);
        match next {
            Some(next) => at = next,
            None => return Some(seen),
        }
    }
}

#[test]
fn every_table_of_three_entries_is_walked_as_by_hand_direct_and_indirect() {
    let memory = memory(&[0; 4096]);
    let kinds: Vec<(bool, Option<u16>)> = [false, true]
        .into_iter()
        .flat_map(|writable| [None, Some(0), Some(1), Some(2), Some(3), Some(u16::MAX)].map(|next| (writable, next)))
        .collect();
    let put = |table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16| {
        let at = GuestAddress(table + 16 * u64::from(index));
        memory.map().write_slice(&addr.to_le_bytes(), at).unwrap();
        let rest = [&len.to_le_bytes()[..], &flags.to_le_bytes(), &next.to_le_bytes()].concat();
        memory.map().write_slice(&rest, GuestAddress(at.0 + 8)).unwrap();
    };
    let mut chain = Chain::default();
    for table in kinds.iter().flat_map(|a| kinds.iter().flat_map(|b| kinds.iter().map(|c| [*a, *b, *c]))) {
        for (index, (writable, next)) in (0u16..).zip(table) {
            let flags = u16::from(writable) << 1 | u16::from(next.is_some());
            put(0x100, index, 0x800 + u64::from(index), 1, flags, next.unwrap_or(77));
        }
        put(0x200, 0, 0x100, 48, 4, 0);
        for head in 0..=3u16 {
            let by_hand = walked_by_hand(&table, head);
            let found = chain.walk(memory.map(), GuestAddress(0x100), 3, head).is_ok();
            assert_eq!(found, by_hand.is_some(), "{table:?} from {head}");
            assert_same(&chain, by_hand.as_deref(), head);
        }
        // An indirect table begins at its first entry.
        let by_hand = walked_by_hand(&table, 0);
        let found = chain.walk(memory.map(), GuestAddress(0x200), 1, 0).is_ok();
        assert_eq!(found, by_hand.is_some(), "indirect {table:?}");
        assert_same(&chain, by_hand.as_deref(), 0);
    }
}

fn assert_same(chain: &Chain, by_hand: Option<&[u16]>, head: u16) {
    let Some(by_hand) = by_hand else { return };
    let found = chain.readable().iter().chain(chain.writable()).map(|segment| segment.addr.0 - 0x800);
    assert!(found.eq(by_hand.iter().map(|index| u64::from(*index))), "{by_hand:?}");
    assert_eq!(chain.head(), head);
}

/// Where a ring's parts lie.
const TABLE: u64 = 0;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;

/// Guest memory with a table of descriptors of one writable byte each.
fn ring_memory() -> GuestMemory {
    let memory = memory(&[0; 0x4000]);
    for index in 0..64u64 {
        let descriptor = [0, 0x30, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        memory.map().write_slice(&descriptor, GuestAddress(TABLE + 16 * index)).unwrap();
    }
    memory
}

fn ring(size: u16, base: u16) -> Ring {
    let mut ring = Ring::new(0).unwrap();
    ring.set_size(size.into()).unwrap();
    let (descriptors, used, available) = (UserAddr(TABLE), UserAddr(USED), UserAddr(AVAIL));
    ring.set_addr(VringAddr { index: 0, flags: 0, descriptors, used, available }).unwrap();
    ring.set_base(base.into()).unwrap();
    ring
}

#[test]
fn buffers_made_available_again_before_they_came_back_break_the_ring() {
    let memory = ring_memory();
    let put = |at: u64, value: u16| memory.map().write_obj(value.to_le_bytes(), GuestAddress(at)).unwrap();
    let mut chain = Chain::default();
    for size in [1u16, 2, 4, 8, 16] {
        let mut ring = ring(size, 0);
        put(USED + 2, 0);
        (0..size).for_each(|slot| put(AVAIL + 4 + 2 * u64::from(slot), slot));
        put(AVAIL + 2, size);
        ring.start(None, &memory).unwrap();
        ring.set_enabled(true);
        for _ in 0..size {
            assert_eq!(ring.pop(&memory, &mut chain), Popped::Chain);
        }
        // One comes back and is there anew: that is how it should be.
        ring.push(&memory, 0, 1);
        put(AVAIL + 2, size + 1);
        assert_eq!(ring.pop(&memory, &mut chain), Popped::Chain);
        // Another one has not come back.
        put(AVAIL + 2, size + 2);
        assert_eq!(ring.pop(&memory, &mut chain), Popped::Nothing);
        assert!(!ring.running(), "size {size}");
    }
}

#[test]
fn rings_of_all_small_sizes_go_round_their_entries_and_their_indices() {
    let memory = ring_memory();
    let put = |at: u64, value: u16| memory.map().write_obj(value.to_le_bytes(), GuestAddress(at)).unwrap();
    let get = |at: u64| u16::from_le_bytes(memory.map().read_obj(GuestAddress(at)).unwrap());
    let mut chain = Chain::default();
    for size in [1u16, 2, 4, 8, 16] {
        for base in (0..40u16).chain(u16::MAX - 40..=u16::MAX) {
            for ahead in 0..=size + 2 {
                let mut ring = ring(size, base);
                put(USED + 2, base);
                put(AVAIL + 2, base.wrapping_add(ahead));
                (0..size).for_each(|slot| put(AVAIL + 4 + 2 * u64::from(slot), slot));
                ring.start(None, &memory).unwrap();
                ring.set_enabled(true);
                let mut heads = Vec::new();
                while ring.pop(&memory, &mut chain) == Popped::Chain {
                    heads.push(chain.head());
                }
                let case = format!("size {size}, base {base}, {ahead} ahead");
                // More than the ring has: it lies, and nothing is taken.
                let expected: Vec<u16> =
                    (0..if ahead <= size { ahead } else { 0 }).map(|n| base.wrapping_add(n) % size).collect();
                assert_eq!(heads, expected, "{case}");
                for head in &heads {
                    ring.push(&memory, *head, 7);
                }
                ring.notify(&memory);
                assert_eq!(get(USED + 2), base.wrapping_add(heads.len() as u16), "{case}");
                for (n, head) in (0u16..).zip(&heads) {
                    let at = USED + 4 + 8 * u64::from(base.wrapping_add(n) % size);
                    assert_eq!((get(at), get(at + 4)), (*head, 7), "{case}: element {n}");
                }
                ring.unpop();
                let back = base.wrapping_add(heads.len() as u16).wrapping_sub(1);
                assert_eq!(ring.stop(), back, "{case}: what was popped last is to be popped again");
            }
        }
    }
}
