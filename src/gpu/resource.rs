//! 2D resources: a host copy of the pixels, the guest's backing, and the transfer from one to the other.
//!
//! The host copy is in the display's pixel order, whatever the resource's format. A transfer compares while it
//! copies: tiles whose pixels are the same as before are neither written nor marked, and are never sent.
//!
//! Where displays take DMABUFs the host copy moves, when it is first shown, to memory that is one ([`Image::export`]).

use std::cell::{OnceCell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use log::debug;

use super::backing::Backing;
use super::budget::{Budget, Charge};
use super::command::Status;
use super::dmabuf::{self, Dmabuf};
use super::pixel::{self, Format, PIXEL};
use super::rect::Rect;
use super::tiles::{TILE_H, TILE_W, TileMap};
use super::trim;
use super::udmabuf::{Export, Exporter, Pages};

/// Largest width and height: what QEMU's surfaces can have.
pub const MAX_SIDE: u32 = 32767;
/// What a resource costs beside its pixels, generously: so that a hundred thousand tiny ones are counted as well. And the
/// pages at both ends of its pixels: while it is there they can't go back to the host, though its neighbours are gone.
const OVERHEAD: u64 = 512 + 2 * 4096;
/// Bytes copied at a time where nothing is compared: few enough that the copy is not left to the processor's string
/// instruction, which for lines that are half in the cache takes twice as long (measured).
const PIECE: usize = 512;
/// [`PIXEL`], as a DMABUF's stride says it.
const PIXEL_BYTES: u32 = 4;
const _: () = assert!(PIXEL_BYTES as usize == PIXEL);
/// Pixels compared at a time: they and their host copies stay in the first-level cache.
const CHUNK: u32 = 16 * TILE_W;

/// The host copy of a resource's pixels: rows without gaps, four bytes a pixel, B, G, R, A.
///
/// Shared with a display message under way: one that was begun is finished even where the guest meanwhile drops the
/// resource.
#[derive(Debug)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: RefCell<Pixels>,
    /// What came of the first attempt to make a DMABUF of it.
    exported: OnceCell<Option<(Rc<Dmabuf>, Export)>>,
    /// By tile, row after row: the number of the transfer that made it what it is. Tiles that have the same number in
    /// two images of one size have the same pixels.
    versions: RefCell<Box<[u64]>>,
    _charge: Charge,
}

/// The memory of a host copy.
#[derive(Debug)]
enum Pixels {
    Own(Box<[u8]>),
    /// What a display can use in place; it may be longer.
    Shared(Pages),
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(pages) => pages,
        }
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(pages) => pages,
        }
    }
}

impl Image {
    fn new(width: u32, height: u32, budget: &Rc<Budget>) -> Option<Rc<Self>> {
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
        let (pixels, versions) = (RefCell::new(Pixels::Own(pixels)), RefCell::new(versions));
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
        *pixels = Pixels::Shared(pages);
        trim::trim();
        Ok((self.as_buffer(fd), export))
    }

    /// A buffer of the same size and order as what it is told of.
    fn as_buffer(&self, fd: OwnedFd) -> Rc<Dmabuf> {
        Rc::new(Dmabuf {
            fd,
            width: self.width,
            height: self.height,
            stride: self.width.saturating_mul(PIXEL_BYTES),
            fourcc: dmabuf::DISPLAY_ORDER,
            modifier: Some(dmabuf::LINEAR),
            y_0_top: false,
        })
    }

    /// Bytes of its pixels.
    fn bytes(&self) -> u64 {
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
    fn note_changes(&self, rect: &Rect, changed: &TileMap, number: u64) {
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

    /// Gives the pixels to `read`.
    pub fn with_pixels<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        read(&self.pixels.borrow())
    }
}

/// A 2D resource.
#[derive(Debug)]
pub struct Resource {
    image: Rc<Image>,
    format: Format,
    backing: Option<(Backing, Charge)>,
    /// The backing's pages as a DMABUF.
    shared: Shared,
    /// The tiles that the latest transfer changed.
    changed: TileMap,
    /// The scanouts that show it, by bit.
    pub shown_on: u16,
    /// Whether a scanout ever showed it.
    pub was_shown: bool,
    /// What RESOURCE_ASSIGN_UUID gave it.
    pub uuid: Option<[u8; 16]>,
}

/// Whether a display uses the guest's own pages in place.
#[derive(Debug)]
enum Shared {
    /// Not yet; it may be tried.
    No,
    /// It can't.
    Never,
    /// The host copy is not kept up meanwhile.
    By(Rc<Dmabuf>, Export),
}

impl Resource {
    /// A black one without backing.
    ///
    /// # Errors
    /// An unknown format or an impossible size; more memory than the budget has.
    pub fn new(format: u32, width: u32, height: u32, budget: &Rc<Budget>) -> Result<Self, Status> {
        let format = Format::from_u32(format).ok_or(Status::ErrInvalidParameter)?;
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(Status::ErrInvalidParameter);
        }
        let image = Image::new(width, height, budget).ok_or(Status::ErrOutOfMemory)?;
        let changed = TileMap::new(width, height).ok_or(Status::ErrOutOfMemory)?;
        Ok(Self {
            image,
            format,
            backing: None,
            shared: Shared::No,
            changed,
            shown_on: 0,
            was_shown: false,
            uuid: None,
        })
    }

    /// The host copy.
    pub fn image(&self) -> &Rc<Image> {
        &self.image
    }

    /// The guest's own pages as a DMABUF, which a display shows as they are drawn. `None` where they are in another format
    /// than the display's, or where `exporter` can't make one of them, which is found out once for each backing.
    pub fn share(&mut self, exporter: &Exporter) -> Option<Rc<Dmabuf>> {
        if let (Shared::No, Some((backing, _))) = (&self.shared, &self.backing) {
            let suits = self.format.is_display_order() && backing.len() >= self.image.bytes();
            let shared = if suits { exporter.share(backing) } else { None };
            self.shared = shared.map_or(Shared::Never, |(fd, export)| Shared::By(self.image.as_buffer(fd), export));
        }
        match &self.shared {
            Shared::By(buffer, _) => Some(Rc::clone(buffer)),
            Shared::No | Shared::Never => None,
        }
    }

    /// What was drawn so far into pages that a display uses in place is for it to see.
    pub fn drawn(&self) {
        if let Shared::By(buffer, export) = &self.shared {
            export.written(&buffer.fd);
        }
    }

    /// Whether a display may use the guest's own pages, so that transfers have nothing to do.
    pub fn is_shared(&self) -> bool {
        matches!(self.shared, Shared::By(..))
    }

    /// A transfer of `rect` from byte `offset` on brings each pixel from where a display looks for it.
    pub fn is_in_place(&self, rect: &Rect, offset: u64) -> bool {
        offset == u64::from(rect.y) * self.image.stride() as u64 + u64::from(rect.x) * PIXEL as u64
    }

    /// Displays no longer use the guest's own pages: the host copy is brought up to them, as by a transfer of that `number`.
    pub fn unshare(&mut self, number: u64) {
        self.shared = Shared::Never;
        let all = self.image.rect();
        self.transfer(&all, 0, number).clear_all();
        self.image.written();
    }

    /// Another backing may be shared again.
    pub fn may_share(&mut self) {
        self.shared = Shared::No;
    }

    /// The backing's place: for attaching, detaching, and looking it up anew.
    pub fn backing_mut(&mut self) -> &mut Option<(Backing, Charge)> {
        &mut self.backing
    }

    /// Whether TRANSFER_TO_HOST_2D of `rect`, from byte `offset` of the backing on, can be done: row by row at the
    /// resource's own stride.
    ///
    /// # Errors
    /// A rectangle that does not lie in the resource, rows that do not lie in the backing, no backing.
    pub fn check_transfer(&self, rect: &Rect, offset: u64) -> Result<(), Status> {
        let (backing, _) = self.backing.as_ref().ok_or(Status::ErrUnspec)?;
        if !self.image.rect().contains(rect) {
            return Err(Status::ErrInvalidParameter);
        }
        if rect.is_empty() {
            return Ok(());
        }
        let rows_before_last = u64::from(rect.height).saturating_sub(1);
        let last_row = (self.image.stride() as u64).checked_mul(rows_before_last).and_then(|at| at.checked_add(offset));
        let end = last_row.and_then(|at| at.checked_add(u64::from(rect.width) * PIXEL as u64));
        if end.is_none_or(|end| end > backing.len()) {
            return Err(Status::ErrInvalidParameter);
        }
        Ok(())
    }

    /// Brings the pixels of `rect` over from the backing, as far as [`Resource::check_transfer`] would let it. Returns
    /// which tiles changed; who uses that clears it. No two transfers, of whichever resources, have the same `number`.
    pub fn transfer(&mut self, rect: &Rect, offset: u64, number: u64) -> &mut TileMap {
        // A backing that ends early leaves the rest as it was.
        let _ = self.copy(rect, offset);
        self.image.note_changes(rect, &self.changed, number);
        &mut self.changed
    }

    fn copy(&mut self, rect: &Rect, offset: u64) -> Option<()> {
        let (backing, _) = self.backing.as_ref()?;
        let stride = self.image.stride();
        let mut pixels = self.image.pixels.borrow_mut();
        let mut reader = backing.reader();
        let mut fresh = [0; CHUNK as usize * PIXEL];
        let end = rect.x.checked_add(rect.width)?;
        let as_it_is = self.format.is_display_order();
        for (line, y) in (rect.y..rect.y.checked_add(rect.height)?).enumerate() {
            let tile_y = y / TILE_H;
            let mut from = offset + (stride * line) as u64;
            let mut x = rect.x;
            while x < end {
                let at = y as usize * stride + x as usize * PIXEL;
                if self.changed.all_marked(x / TILE_W..end.div_ceil(TILE_W), tile_y) {
                    // An earlier line has told all there is to learn of the tiles that are left of this one.
                    let row = pixels.get_mut(at..at + (end - x) as usize * PIXEL)?;
                    for piece in row.chunks_mut(PIECE) {
                        if !reader.read(from, piece) {
                            return None;
                        }
                        from += piece.len() as u64;
                    }
                    pixel::to_display_order(self.format, row);
                    break;
                }
                // Piece by piece, each within whole tiles but at the rectangle's edges.
                let next = (x / TILE_W * TILE_W).saturating_add(CHUNK).min(end);
                let len = (next - x) as usize * PIXEL;
                let old = pixels.get_mut(at..at + len)?;
                if !(as_it_is && reader.holds(from, old)) {
                    let new = fresh.get_mut(..len)?;
                    if !reader.read(from, new) {
                        return None;
                    }
                    pixel::to_display_order(self.format, new);
                    take_changes(old, new, x, tile_y, &mut self.changed);
                }
                from += len as u64;
                x = next;
            }
        }
        Some(())
    }
}

/// Brings `old`, a piece of one row from column `x` on, up to `new`, and marks the tiles in which they differed.
///
/// Tile by tile, so that what is written has just been read, and for [`PIECE`]'s reason.
fn take_changes(old: &mut [u8], new: &[u8], x: u32, tile_y: u32, changed: &mut TileMap) {
    let tile = TILE_W as usize * PIXEL;
    // The first tile may begin before the piece.
    let into = (x % TILE_W) as usize * PIXEL;
    let first = (tile - into).min(old.len());
    let (old_head, old_rest) = old.split_at_mut(first);
    let (new_head, new_rest) = new.split_at(first);
    let pieces = std::iter::once((old_head, new_head)).chain(old_rest.chunks_mut(tile).zip(new_rest.chunks(tile)));
    for (tile_x, (old, new)) in (x / TILE_W..).zip(pieces) {
        if old != new {
            old.copy_from_slice(new);
            changed.mark(tile_x, tile_y);
        }
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
