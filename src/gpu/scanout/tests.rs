use super::*;
use crate::gpu::budget::Budget;

const ALL: u32 = u32::MAX;

/// Whatever a file descriptor stands for is nobody's business here.
fn buffer(width: u32, height: u32) -> Rc<Dmabuf> {
    let fd = std::fs::File::open("/dev/null").unwrap().into();
    Rc::new(Dmabuf { fd, width, height, stride: width * 4, fourcc: 0, modifier: Some(0), y_0_top: false, charge: None })
}

fn image(width: u32, height: u32) -> Rc<Image> {
    Image::new(width, height, &Budget::new(1 << 30)).unwrap()
}

/// What the display is told: a surface's size, or an update's place there and in the resource.
fn told(scanout: &mut Scanout, max_pixels: u32) -> Vec<(Rect, Option<Rect>)> {
    let steps = std::iter::from_fn(|| scanout.next_step(max_pixels, true));
    steps
        .map(|step| match step {
            Step::Surface(width, height) => (Rect::of_size(width, height), None),
            Step::Update { at, from, .. } => (at, Some(from)),
            other => panic!("{other:?} where pixels were due"),
        })
        .collect()
}

/// A scanout whose display knows everything.
fn settled(image: &Rc<Image>, rect: Rect) -> Scanout {
    let mut scanout = Scanout::default();
    scanout.show(ResourceId(1), image, rect).unwrap();
    told(&mut scanout, ALL);
    scanout.sent();
    scanout
}

fn changed(image: &Image, rect: Rect) -> TileMap {
    let mut tiles = TileMap::new(image.width(), image.height()).unwrap();
    tiles.mark_rect(&rect);
    tiles
}

#[test]
fn a_new_surface_is_followed_by_all_of_its_pixels_in_its_own_coordinates() {
    let image = image(300, 200);
    let mut scanout = Scanout::default();
    let rect = Rect::new(100, 50, 130, 70);
    scanout.show(ResourceId(1), &image, rect).unwrap();
    assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(130, 70), None), (Rect::of_size(130, 70), Some(rect))]);
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn a_large_update_comes_in_bands_that_cover_it_once() {
    let image = image(300, 200);
    let mut scanout = Scanout::default();
    scanout.show(ResourceId(1), &image, image.rect()).unwrap();
    let bands = told(&mut scanout, 300 * 30);
    let mut next = 0;
    for (at, from) in &bands[1..] {
        assert_eq!((at.x, at.width, at.y, Some(*at)), (0, 300, next, *from));
        assert!(at.height <= 30);
        next += at.height;
    }
    assert_eq!(next, 200);
}

#[test]
fn only_what_changed_and_was_flushed_is_told() {
    let image = image(300, 200);
    let mut scanout = settled(&image, image.rect());
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), [], "nothing changed");
    let damage = Rect::new(64, 16, 64, 32);
    scanout.changed(&changed(&image, damage), &damage);
    assert_eq!(told(&mut scanout, ALL), [], "nothing was flushed");
    let seen = Rect::new(100, 20, 60, 60);
    scanout.flush(seen);
    let part = Rect::new(100, 20, 28, 28);
    assert_eq!(told(&mut scanout, ALL), [(part, Some(part))], "the part that was flushed");
    scanout.flush(image.rect());
    let rest = Rect::new(64, 16, 64, 32);
    assert_eq!(told(&mut scanout, ALL), [(rest, Some(rest))], "the tiles that were flushed in part only");
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn tiles_that_stick_out_of_the_scanout_are_told_once() {
    let image = image(300, 200);
    let rect = Rect::new(10, 10, 100, 100);
    let mut scanout = settled(&image, rect);
    scanout.changed(&changed(&image, image.rect()), &image.rect());
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(100, 100), Some(rect))]);
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn flushes_merge_while_nobody_listens() {
    let image = image(300, 200);
    let mut scanout = settled(&image, image.rect());
    let tile = Rect::new(64, 16, 64, 16);
    for _ in 0..3 {
        scanout.changed(&changed(&image, tile), &tile);
        scanout.flush(image.rect());
    }
    assert_eq!(told(&mut scanout, ALL), [(tile, Some(tile))]);
}

#[test]
fn what_changes_behind_a_walk_under_way_is_told_after_it() {
    let image = image(128, 64);
    let mut scanout = settled(&image, image.rect());
    scanout.changed(&changed(&image, image.rect()), &image.rect());
    scanout.flush(image.rect());
    assert!(scanout.next_step(128 * 48, true).is_some());
    let tile = Rect::new(0, 0, 64, 16);
    scanout.changed(&changed(&image, tile), &tile);
    scanout.flush(tile);
    let rest = Rect::new(0, 48, 128, 16);
    assert_eq!(told(&mut scanout, ALL), [(rest, Some(rest)), (tile, Some(tile))]);
}

#[test]
fn a_flip_to_a_buffer_of_the_same_size_makes_no_new_surface() {
    let (front, back) = (image(128, 64), image(128, 64));
    let mut scanout = settled(&front, front.rect());
    scanout.show(ResourceId(2), &back, back.rect()).unwrap();
    scanout.flush(back.rect());
    assert_eq!(scanout.resource(), Some(ResourceId(2)));
    assert_eq!(told(&mut scanout, ALL), [], "both are black");
}

#[test]
fn a_scanout_of_another_size_or_place_is_told_anew() {
    let image = image(128, 64);
    let mut scanout = settled(&image, image.rect());
    let half = Rect::new(64, 0, 64, 64);
    scanout.show(ResourceId(1), &image, half).unwrap();
    let surface = Rect::of_size(64, 64);
    assert_eq!(told(&mut scanout, ALL), [(surface, None), (surface, Some(half))]);
    scanout.disable();
    assert_eq!(told(&mut scanout, ALL), [(Rect::of_size(0, 0), None)]);
    assert_eq!(told(&mut scanout, ALL), [], "it is told once");
}

#[test]
fn a_new_display_is_told_everything_and_nothing_of_what_is_not_shown() {
    let image = image(128, 64);
    let mut scanout = settled(&image, image.rect());
    scanout.new_display();
    assert_eq!(told(&mut scanout, ALL), [(image.rect(), None), (image.rect(), Some(image.rect()))]);
    scanout.disable();
    scanout.new_display();
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn another_part_of_the_same_size_is_all_told_on_the_surface_that_is_there() {
    let image = image(128, 64);
    let left = Rect::of_size(64, 64);
    let mut scanout = settled(&image, left);
    let right = Rect::new(64, 0, 64, 64);
    scanout.show(ResourceId(1), &image, right).unwrap();
    assert_eq!(told(&mut scanout, ALL), [(left, Some(right))]);
}

#[test]
fn damage_that_fills_no_tile_is_told_once_and_not_beyond_its_edges() {
    let image = image(300, 200);
    let mut scanout = settled(&image, image.rect());
    let damage = Rect::new(10, 10, 20, 20);
    scanout.changed(&changed(&image, damage), &damage);
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), [(damage, Some(damage))]);
    scanout.flush(damage);
    scanout.flush(image.rect());
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn an_update_that_a_flip_finds_half_sent_is_told_again() {
    let (front, back) = (image(128, 64), image(128, 64));
    let mut scanout = settled(&front, front.rect());
    scanout.changed(&changed(&front, front.rect()), &front.rect());
    scanout.flush(front.rect());
    assert!(scanout.next_step(ALL, true).is_some(), "and the display takes nothing of it yet");
    scanout.show(ResourceId(2), &back, back.rect()).unwrap();
    scanout.flush(back.rect());
    assert_eq!(told(&mut scanout, ALL), [(back.rect(), Some(back.rect()))]);
}

#[test]
fn a_flip_after_the_last_update_was_sent_tells_only_what_differs() {
    let (front, back) = (image(128, 64), image(128, 64));
    let mut scanout = settled(&front, front.rect());
    scanout.sent();
    scanout.show(ResourceId(2), &back, back.rect()).unwrap();
    scanout.flush(back.rect());
    assert_eq!(told(&mut scanout, ALL), []);
}

#[test]
fn after_a_reset_a_surface_of_the_same_size_is_told_again() {
    let image = image(128, 64);
    let mut scanout = settled(&image, image.rect());
    scanout.reset();
    scanout.show(ResourceId(1), &image, image.rect()).unwrap();
    assert_eq!(told(&mut scanout, ALL)[0], (image.rect(), None));
}

// By DMABUF.

/// What the display is told, each in a word.
fn words(scanout: &mut Scanout) -> Vec<String> {
    let steps = std::iter::from_fn(|| scanout.next_step(ALL, true));
    let word = |step| match step {
        Step::Surface(width, height) => format!("surface {width}x{height}"),
        Step::Update { at, .. } => format!("update {},{} {}x{}", at.x, at.y, at.width, at.height),
        Step::Buffer(buffer, rect) => format!("buffer {} of {}", rect.width, buffer.width),
        Step::Frame(at) => format!("frame {},{} {}x{}", at.x, at.y, at.width, at.height),
        Step::Release => "release".to_owned(),
    };
    steps.map(word).collect()
}

/// A scanout that shows all of a buffer, and whose display has taken that.
fn showing(buffer: &Rc<Dmabuf>) -> Scanout {
    let mut scanout = Scanout::default();
    assert!(scanout.show_dmabuf(ResourceId(1), Rc::clone(buffer), buffer.rect()));
    assert_eq!(words(&mut scanout).len(), 2);
    scanout.taken();
    scanout
}

#[test]
fn a_buffer_is_handed_over_once_and_then_looked_at_where_it_was_flushed() {
    let mut scanout = Scanout::default();
    assert!(scanout.show_dmabuf(ResourceId(1), buffer(640, 480), Rect::of_size(320, 240)));
    assert_eq!(words(&mut scanout), ["buffer 320 of 640", "frame 0,0 320x240"]);
    scanout.taken();
    assert_eq!(words(&mut scanout), [""; 0]);
    scanout.flush(Rect::new(10, 20, 30, 40));
    scanout.flush(Rect::new(300, 200, 340, 280));
    assert_eq!(words(&mut scanout), ["frame 10,20 310x220"], "one rectangle, within the scanout");
    scanout.taken();
    scanout.flush(Rect::new(400, 0, 1, 1));
    assert_eq!(words(&mut scanout), [""; 0], "beside the scanout");
}

#[test]
fn while_a_frame_is_out_the_next_one_waits_and_grows() {
    let mut scanout = showing(&buffer(640, 480));
    scanout.flush(Rect::new(0, 0, 1, 1));
    assert!(!scanout.holds_guest(false) && !scanout.is_waiting(), "nothing is out");
    assert_eq!(words(&mut scanout), ["frame 0,0 1x1"]);
    assert!(!scanout.holds_guest(false) && scanout.is_waiting(), "nothing is due");
    assert!(scanout.holds_guest(true), "something may be due soon");
    scanout.flush(Rect::new(5, 5, 1, 1));
    scanout.flush(Rect::new(7, 7, 1, 1));
    assert!(scanout.holds_guest(false));
    assert_eq!(words(&mut scanout), [""; 0]);
    scanout.taken();
    assert_eq!(words(&mut scanout), ["frame 5,5 3x3"]);
}

#[test]
fn a_part_that_cannot_be_told_of_is_not_shown_and_what_was_there_stays() {
    let mut scanout = showing(&buffer(640, 480));
    assert!(!scanout.show_dmabuf(ResourceId(2), buffer(640, 480), Rect::new(320, 0, 320, 480)));
    assert_eq!(scanout.resource(), Some(ResourceId(1)));
    assert_eq!(words(&mut scanout), [""; 0]);
}

#[test]
fn no_second_buffer_goes_out_before_the_first_one_arrived() {
    let mut scanout = Scanout::default();
    let (front, back) = (buffer(64, 64), buffer(65, 64));
    assert!(scanout.show_dmabuf(ResourceId(1), Rc::clone(&front), front.rect()));
    assert!(matches!(scanout.next_step(ALL, true), Some(Step::Buffer(..))));
    assert!(scanout.show_dmabuf(ResourceId(2), Rc::clone(&back), back.rect()));
    assert_eq!(words(&mut scanout), ["frame 0,0 64x64"], "of the one that was handed over");
    assert!(scanout.holds_guest(false));
    assert!(scanout.show_dmabuf(ResourceId(1), front, Rect::of_size(64, 64)));
    assert!(scanout.show_dmabuf(ResourceId(2), Rc::clone(&back), back.rect()));
    assert_eq!(words(&mut scanout), [""; 0]);
    scanout.taken();
    assert_eq!(words(&mut scanout), ["buffer 65 of 65", "frame 0,0 65x64"]);
    drop(scanout);
    assert_eq!(Rc::strong_count(&back), 1);
}

#[test]
fn a_buffer_that_comes_back_before_its_successor_went_out_is_looked_at_anew() {
    let (front, back) = (buffer(64, 64), buffer(64, 64));
    let mut scanout = showing(&front);
    assert!(scanout.show_dmabuf(ResourceId(2), Rc::clone(&back), back.rect()));
    assert!(scanout.show_dmabuf(ResourceId(1), Rc::clone(&front), front.rect()));
    assert_eq!(words(&mut scanout), ["frame 0,0 64x64"]);
}

#[test]
fn from_pixels_to_a_buffer_and_back_each_is_told_from_the_beginning() {
    let (image, buffer) = (image(128, 64), buffer(128, 64));
    let mut scanout = settled(&image, image.rect());
    assert!(scanout.show_dmabuf(ResourceId(2), Rc::clone(&buffer), buffer.rect()));
    assert_eq!(words(&mut scanout), ["buffer 128 of 128", "frame 0,0 128x64"]);
    scanout.show(ResourceId(1), &image, image.rect()).unwrap();
    // It waits for no frame: the pixels do not depend on it.
    assert_eq!(words(&mut scanout), ["release", "surface 128x64", "update 0,0 128x64"]);
    assert!(scanout.is_waiting());
    assert!(scanout.show_dmabuf(ResourceId(2), Rc::clone(&buffer), buffer.rect()));
    assert_eq!(words(&mut scanout), [""; 0]);
    scanout.taken();
    assert_eq!(words(&mut scanout), ["buffer 128 of 128", "frame 0,0 128x64"]);
}

#[test]
fn a_buffer_that_is_shown_no_longer_is_let_go_and_its_place_is_empty() {
    let buffer = buffer(64, 64);
    let mut scanout = showing(&buffer);
    scanout.disable();
    assert_eq!(words(&mut scanout), ["release", "surface 0x0"]);
    assert_eq!(Rc::strong_count(&buffer), 1);
    assert_eq!(words(&mut scanout), [""; 0]);
}

#[test]
fn a_buffer_is_counted_until_the_display_is_told_to_let_it_go() {
    let budget = Budget::new(100);
    let charge = budget.charge(60).map(Rc::new);
    let plain = Rc::into_inner(buffer(64, 64)).unwrap();
    let mut scanout = showing(&Rc::new(Dmabuf { charge, ..plain }));
    scanout.disable();
    assert_eq!(budget.held(), 60);
    assert_eq!(words(&mut scanout), ["release", "surface 0x0"]);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_new_display_is_handed_the_buffer_and_has_no_frame_to_take() {
    let mut scanout = showing(&buffer(64, 64));
    scanout.flush(Rect::of_size(1, 1));
    assert_eq!(words(&mut scanout), ["frame 0,0 1x1"]);
    scanout.new_display();
    assert!(!scanout.is_waiting());
    assert!(scanout.next_step(ALL, false).is_none(), "it is not known yet how to tell it");
    assert_eq!(words(&mut scanout), ["buffer 64 of 64", "frame 0,0 64x64"]);
}

#[test]
fn a_reset_does_not_make_the_display_take_a_frame() {
    let buffer = buffer(64, 64);
    let mut scanout = showing(&buffer);
    scanout.flush(Rect::of_size(1, 1));
    assert_eq!(words(&mut scanout), ["frame 0,0 1x1"]);
    scanout.reset();
    assert_eq!(words(&mut scanout), ["release", "surface 0x0"]);
    assert!(scanout.show_dmabuf(ResourceId(1), Rc::clone(&buffer), buffer.rect()));
    assert_eq!(words(&mut scanout), [""; 0]);
    scanout.taken();
    assert_eq!(words(&mut scanout), ["buffer 64 of 64", "frame 0,0 64x64"]);
}

#[test]
fn of_a_buffer_that_is_an_images_memory_only_what_changed_is_looked_at() {
    let image = image(300, 200);
    let mut scanout = Scanout::default();
    assert!(scanout.show_exported(ResourceId(1), &image, buffer(300, 200), image.rect()));
    assert_eq!(words(&mut scanout), ["buffer 300 of 300", "frame 0,0 300x200"]);
    scanout.taken();
    scanout.flush(image.rect());
    assert_eq!(words(&mut scanout), [""; 0], "nothing changed");
    let damage = Rect::new(70, 20, 1, 1);
    scanout.changed(&changed(&image, damage), &image.rect());
    scanout.flush(Rect::of_size(64, 16));
    assert_eq!(words(&mut scanout), [""; 0], "nothing changed there");
    scanout.flush(image.rect());
    assert_eq!(words(&mut scanout), ["frame 64,16 64x16"], "its tile");
    scanout.taken();
    scanout.changed(&changed(&image, damage), &damage);
    scanout.flush(damage);
    assert_eq!(words(&mut scanout), ["frame 70,20 1x1"], "no more than was transferred");
    scanout.taken();
    scanout.flush(image.rect());
    assert_eq!(words(&mut scanout), [""; 0]);
}
