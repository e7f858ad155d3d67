//! The pictures that displays are shown: host memory in the display's own pixel order, with the version of each tile.
//!
//! Where displays take DMABUFs a picture moves, when it is first shown, to memory that is one ([`Image::export`]).

use std::cell::{OnceCell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use log::debug;

use super::budget::{Budget, Charge};
use super::dmabuf::{self, Dmabuf};
use super::pixel::PIXEL;
use super::rect::Rect;
use super::tiles::{TILE_H, TILE_W, TileMap};
use super::trim;
use super::udmabuf::{Export, Exporter, Pages};

/// Largest width and height: what QEMU's surfaces can have.
pub const MAX_SIDE: u32 = 32767;
/// What a resource costs beside its pixels, generously: so that a hundred thousand tiny ones are counted as well. And the
/// pages at both ends of its pixels: while it is there they can't go back to the host, though its neighbours are gone.
const OVERHEAD: u64 = 512 + 2 * 4096;
/// [`PIXEL`], as a DMABUF's stride says it.
const PIXEL_BYTES: u32 = 4;
const _: () = assert!(PIXEL_BYTES as usize == PIXEL);

/// The host copy of a resource's pixels: rows without gaps, four bytes a pixel, B, G, R, A.
///
/// Shared with a display message under way: one that was begun is finished even where the guest meanwhile drops the
/// resource.
#[derive(Debug)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: RefCell<Store>,
    /// What came of the first attempt to make a DMABUF of it.
    exported: OnceCell<Option<(Rc<Dmabuf>, Export)>>,
    /// By tile, row after row: the number of the transfer that made it what it is. Tiles that have the same number in
    /// two images of one size have the same pixels.
    versions: RefCell<Box<[u64]>>,
    _charge: Charge,
}

/// The memory of a host copy.
#[derive(Debug)]
enum Store {
    Own(Box<[u8]>),
    /// What a display can use in place; it may be longer.
    Shared(Pages),
}

impl Deref for Store {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(pages) => pages,
        }
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(pages) => pages,
        }
    }
}

impl Image {
    /// A black one.
    ///
    /// `None` where the budget or the host has no memory for it.
    pub fn new(width: u32, height: u32, budget: &Rc<Budget>) -> Option<Rc<Self>> {
        let bytes = u64::from(width).checked_mul(u64::from(height))?.checked_mul(PIXEL as u64)?;
        // A map of what changed, and two on a scanout.
        let maps = TileMap::bytes(width, height).checked_mul(3)?;
        let tiles = u64::from(width.div_ceil(TILE_W)) * u64::from(height.div_ceil(TILE_H));
        let beside = maps.checked_add(tiles.checked_mul(8)?)?.checked_add(OVERHEAD)?;
        let charge = budget.charge(bytes.checked_add(beside)?)?;
        let len = usize::try_from(bytes).ok()?;
        // Zeroed memory costs nothing until it is used, but asking for it ends the program where there is none: so the
        // same amount is asked for, and given back, in the way that can be refused.
        Vec::<u8>::new().try_reserve_exact(len).ok()?;
        let pixels = vec![0; len].into_boxed_slice();
        let versions = vec![0; usize::try_from(tiles).ok()?].into_boxed_slice();
        let (pixels, versions) = (RefCell::new(Store::Own(pixels)), RefCell::new(versions));
        Some(Rc::new(Self { width, height, pixels, exported: OnceCell::new(), versions, _charge: charge }))
    }

    /// The DMABUF that its memory is from now on; `None` where it can't be made one, which is found out once.
    pub fn export(&self, exporter: &Exporter) -> Option<Rc<Dmabuf>> {
        let exported = self.exported.get_or_init(|| {
            let moved = self.move_to(exporter);
            moved
                .inspect_err(|error| debug!("a resource of {}×{} goes as pixels: {error}", self.width, self.height))
                .ok()
        });
        exported.as_ref().map(|(buffer, _)| Rc::clone(buffer))
    }

    fn move_to(&self, exporter: &Exporter) -> io::Result<(Rc<Dmabuf>, Export)> {
        let mut pixels = self.pixels.borrow_mut();
        let (mut pages, fd, export) = exporter.export(pixels.len())?;
        if let Some(to) = pages.get_mut(..pixels.len()) {
            to.copy_from_slice(&pixels);
        }
        export.written(&fd);
        *pixels = Store::Shared(pages);
        trim::trim();
        Ok((self.as_buffer(fd), export))
    }

    /// A buffer of the same size and order as what it is told of.
    pub fn as_buffer(&self, fd: OwnedFd) -> Rc<Dmabuf> {
        Rc::new(Dmabuf {
            fd,
            width: self.width,
            height: self.height,
            stride: self.width.saturating_mul(PIXEL_BYTES),
            fourcc: dmabuf::DISPLAY_ORDER,
            modifier: Some(dmabuf::LINEAR),
            y_0_top: false,
            charge: None,
        })
    }

    /// Bytes of its pixels.
    pub fn bytes(&self) -> u64 {
        self.stride() as u64 * u64::from(self.height)
    }

    /// Whether [`Image::export`] was tried, and takes no time any more.
    pub fn export_is_known(&self) -> bool {
        self.exported.get().is_some()
    }

    /// A transfer is done: what it wrote is for the display to see.
    pub fn written(&self) {
        if let Some(Some((buffer, export))) = self.exported.get() {
            export.written(&buffer.fd);
        }
    }

    /// Tiles in a row.
    fn columns(&self) -> usize {
        self.width.div_ceil(TILE_W) as usize
    }

    /// Notes that the transfer of that `number`, within `rect`, made the marked tiles what they are.
    pub fn note_changes(&self, rect: &Rect, changed: &TileMap, number: u64) {
        if changed.is_empty() {
            return;
        }
        let mut versions = self.versions.borrow_mut();
        let rows = (0..).zip(versions.chunks_mut(self.columns().max(1)));
        let bottom = rect.y.saturating_add(rect.height).div_ceil(TILE_H);
        for (tile_y, row) in rows.take(bottom as usize).skip((rect.y / TILE_H) as usize) {
            for (tile_x, version) in (0..).zip(row) {
                if changed.is_marked(tile_x, tile_y) {
                    *version = number;
                }
            }
        }
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All of it.
    pub fn rect(&self) -> Rect {
        Rect::of_size(self.width, self.height)
    }

    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        self.width as usize * PIXEL
    }

    /// Gives the pixels to `write`.
    pub fn with_pixels_mut<T>(&self, write: impl FnOnce(&mut [u8]) -> T) -> T {
        write(&mut self.pixels.borrow_mut())
    }

    /// Gives the pixels to `read`.
    pub fn with_pixels<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        read(&self.pixels.borrow())
    }
}

/// Marks in `out` the tiles in which two images of the same size differ. Of a tile that is marked already, or that is
/// known to be the same, nothing is read. Returns how many tiles were read.
pub fn mark_difference(a: &Image, b: &Image, out: &mut TileMap) -> u64 {
    let mut read = 0;
    if a.rect() != b.rect() || std::ptr::eq(a, b) {
        return read;
    }
    let (a_pixels, b_pixels) = (a.pixels.borrow(), b.pixels.borrow());
    let (a_versions, mut b_versions) = (a.versions.borrow(), b.versions.borrow_mut());
    let columns = a.columns().max(1);
    let rows = a_versions.chunks(columns).zip(b_versions.chunks_mut(columns));
    for (tile_y, (a_row, b_row)) in (0..).zip(rows) {
        for (tile_x, (a_version, b_version)) in (0..).zip(a_row.iter().zip(b_row)) {
            if a_version == b_version || out.is_marked(tile_x, tile_y) {
                continue;
            }
            read += 1;
            let place = Rect::new(tile_x * TILE_W, tile_y * TILE_H, TILE_W, TILE_H);
            if differ(a, &a_pixels, &b_pixels, &place) {
                out.mark(tile_x, tile_y);
            } else {
                *b_version = *a_version;
            }
        }
    }
    read
}

/// Whether two images of the size of `image` differ in the part of `rect` that lies in them.
fn differ(image: &Image, a: &[u8], b: &[u8], rect: &Rect) -> bool {
    let Some(rect) = rect.intersect(&image.rect()) else { return false };
    let len = rect.width as usize * PIXEL;
    let mut starts = (rect.y..rect.y + rect.height).map(|y| y as usize * image.stride() + rect.x as usize * PIXEL);
    starts.any(|at| a.get(at..at + len) != b.get(at..at + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn black() -> Rc<Image> {
        Image::new(300, 200, &Budget::new(1 << 20)).unwrap()
    }

    /// Does what a transfer of that number does that brings one other pixel.
    fn dot(image: &Image, x: u32, y: u32, number: u64) {
        let at = y as usize * image.stride() + x as usize * PIXEL;
        image.pixels.borrow_mut()[at] ^= 1;
        let mut changed = TileMap::new(300, 200).unwrap();
        changed.mark(x / TILE_W, y / TILE_H);
        image.note_changes(&Rect::new(x, y, 1, 1), &changed, number);
    }

    fn difference(a: &Image, b: &Image) -> Vec<(u32, u32)> {
        let mut map = TileMap::new(300, 200).unwrap();
        mark_difference(a, b, &mut map);
        let places = (0..200u32.div_ceil(TILE_H)).flat_map(|y| (0..300u32.div_ceil(TILE_W)).map(move |x| (x, y)));
        places.filter(|(x, y)| map.is_marked(*x, *y)).collect()
    }

    #[test]
    fn images_differ_where_their_pixels_do_whoever_brought_them() {
        let (a, b, c) = (black(), black(), black());
        assert_eq!(difference(&a, &b), []);
        // In the midst, and in the last tile, of which only a part is there.
        dot(&a, 130, 50, 1);
        dot(&b, 299, 199, 2);
        assert_eq!(difference(&a, &b), [(2, 3), (4, 12)]);
        assert_eq!(difference(&b, &a), [(2, 3), (4, 12)]);
        assert_eq!(difference(&c, &a), [(2, 3)]);
        // The same pixels by other transfers: alike, and known to be alike from then on.
        dot(&b, 130, 50, 3);
        dot(&a, 299, 199, 4);
        assert_eq!(difference(&a, &b), []);
        assert_eq!(*a.versions.borrow(), *b.versions.borrow());
        // Back to black, under a number that no other image has.
        dot(&b, 130, 50, 5);
        assert_eq!(difference(&a, &b), [(2, 3)]);
        assert_eq!(difference(&c, &b), [(4, 12)]);
    }
}
