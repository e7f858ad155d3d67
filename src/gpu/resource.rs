//! What the guest draws into: 2D resources, whose pixels are host copies; textures of the renderer; blobs, which are
//! guest memory.
//!
//! Whatever it is, a display is shown an [`Image`]: host memory in its own pixel order, with the version of each tile.
//!
//! Where displays take DMABUFs the host copy moves, when it is first shown, to memory that is one ([`Image::export`]).

use std::cell::{OnceCell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use log::debug;

use super::backing::Backing;
use super::blob::Blob;
use super::budget::{Budget, Charge};
use super::command::{Create3d, Status};
use super::dmabuf::{self, Dmabuf};
use super::pixel::PIXEL;
use super::rect::Rect;
use super::tiles::{TILE_H, TILE_W, TileMap};
use super::trim;
use super::udmabuf::{Export, Exporter, Pages};
use super::view::View;
use super::virgl::Texture;
use crate::vhost_proto::memory::GuestMemory;

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

/// Targets of textures that can be one picture (`PIPE_TEXTURE_2D`, `PIPE_TEXTURE_RECT`).
const FLAT: [u32; 2] = [2, 5];

/// A resource.
#[derive(Debug)]
pub struct Resource {
    /// Where its pixels are.
    pub pixels: Pixels,
    /// The renderer's: of a 3D resource always, of another one since a context attached it.
    pub texture: Option<Texture>,
    /// What the renderer's costs beside the pixels here.
    texture_charge: Option<Charge>,
    backing: Option<(Backing, Charge)>,
    /// The backing's pages as a DMABUF.
    shared: Shared,
    /// The scanouts that show it, by bit.
    pub shown_on: u16,
    /// Whether a scanout ever showed it.
    pub was_shown: bool,
    /// What RESOURCE_ASSIGN_UUID gave it.
    pub uuid: Option<[u8; 16]>,
}

/// Where a resource's pixels are.
#[derive(Debug)]
pub enum Pixels {
    /// In a host copy: a 2D resource.
    Copy(View),
    /// In the renderer: a 3D resource.
    Texture(Drawn),
    /// In guest memory, and they are pixels only once they are shown: a blob.
    Blob(Blob),
}

/// A 3D resource's pixels.
#[derive(Debug)]
pub struct Drawn {
    pub width: u32,
    pub height: u32,
    /// The renderer's number of its format; those of the eight formats of 2D resources are VIRTIO's.
    pub format: u32,
    /// The host copy that is shown of it.
    pub view: Option<View>,
    /// What came of the first attempt to share it with a display.
    pub shared: Option<Option<(Rc<Dmabuf>, Rc<()>)>>,
    /// Whether it is one picture, of one sample a pixel: others are not shown.
    is_flat: bool,
    _charge: Charge,
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
    fn new(pixels: Pixels) -> Self {
        Self {
            pixels,
            texture: None,
            texture_charge: None,
            backing: None,
            shared: Shared::No,
            shown_on: 0,
            was_shown: false,
            uuid: None,
        }
    }

    /// A 2D resource, black and without backing.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn new_2d(format: u32, width: u32, height: u32, budget: &Rc<Budget>) -> Result<Self, Status> {
        View::new(format, width, height, budget).map(|view| Self::new(Pixels::Copy(view)))
    }

    /// A 3D resource, which was charged for.
    pub fn new_3d(args: &Create3d, texture: Texture, charge: Charge) -> Self {
        let Create3d { width, height, format, .. } = *args;
        let is_flat = FLAT.contains(&args.target) && args.depth <= 1 && args.array_size <= 1 && args.nr_samples <= 1;
        let drawn = Drawn { width, height, format, view: None, shared: None, is_flat, _charge: charge };
        Self { texture: Some(texture), ..Self::new(Pixels::Texture(drawn)) }
    }

    /// A blob.
    pub fn new_blob(blob: Blob) -> Self {
        Self::new(Pixels::Blob(blob))
    }

    /// Its size in pixels; a blob has none of its own, and a texture that is more than one picture can't be shown.
    pub fn size(&self) -> Option<Rect> {
        match &self.pixels {
            Pixels::Copy(view) => Some(view.image().rect()),
            Pixels::Texture(drawn) => drawn.is_flat.then(|| Rect::of_size(drawn.width, drawn.height)),
            Pixels::Blob(_) => None,
        }
    }

    /// The image that it is shown by, if it is a 2D resource or a texture that was shown already.
    pub fn image(&self) -> Option<&Rc<Image>> {
        match &self.pixels {
            Pixels::Copy(view) => Some(view.image()),
            Pixels::Texture(drawn) => drawn.view.as_ref().map(View::image),
            Pixels::Blob(_) => None,
        }
    }

    /// Whether what it shows is brought into its host copy only when it shall be seen.
    pub fn is_read_late(&self) -> bool {
        self.texture.is_some() || !matches!(self.pixels, Pixels::Copy(_))
    }

    /// The guest's own pages as a DMABUF, which a display shows as they are drawn. `None` where they are in another format
    /// than the display's, or where `exporter` can't make one of them, which is found out once for each backing.
    pub fn share(&mut self, exporter: &Exporter) -> Option<Rc<Dmabuf>> {
        let Pixels::Copy(view) = &self.pixels else { return None };
        if let (Shared::No, Some((backing, _))) = (&self.shared, &self.backing) {
            let image = view.image();
            let suits = view.format().is_display_order() && backing.len() >= image.bytes();
            let shared = if suits { exporter.share(backing) } else { None };
            self.shared = shared.map_or(Shared::Never, |(fd, export)| Shared::By(image.as_buffer(fd), export));
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
        let stride = self.image().map_or(0, |image| image.stride());
        offset == u64::from(rect.y) * stride as u64 + u64::from(rect.x) * PIXEL as u64
    }

    /// Displays no longer use the guest's own pages: the host copy is brought up to them, as by a transfer of that `number`.
    pub fn unshare(&mut self, number: u64) {
        self.shared = Shared::Never;
        let Some(image) = self.image().map(Rc::clone) else { return };
        if let Some(changed) = self.transfer(&image.rect(), 0, number) {
            changed.clear_all();
        }
        image.written();
    }

    /// Its host copies.
    pub fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        let (one, many) = match &mut self.pixels {
            Pixels::Copy(view) => (Some(view), None),
            Pixels::Texture(drawn) => (drawn.view.as_mut(), None),
            Pixels::Blob(blob) => (None, Some(blob.views_mut())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The guest memory that it was given.
    pub fn backing(&self) -> Option<&Backing> {
        self.backing.as_ref().map(|(backing, _)| backing)
    }

    /// Gives it guest memory.
    pub fn attach(&mut self, backing: Backing, charge: Charge) {
        if let Some(texture) = &mut self.texture {
            texture.attach(&backing);
        }
        // Another one than was tried before.
        self.shared = Shared::No;
        self.backing = Some((backing, charge));
    }

    /// Takes its guest memory away. `false` where it had none.
    pub fn detach(&mut self) -> bool {
        if let Some(texture) = &mut self.texture {
            texture.detach();
        }
        self.backing.take().is_some()
    }

    /// The renderer has it as well from now on.
    pub fn set_texture(&mut self, mut texture: Texture, charge: Charge) {
        if let Some(backing) = self.backing() {
            texture.attach(backing);
        }
        self.texture = Some(texture);
        self.texture_charge = Some(charge);
    }

    /// The guest's memory map is another now.
    pub fn memory_changed(&mut self, memory: &GuestMemory) {
        let Some((backing, _)) = &mut self.backing else { return };
        backing.memory_changed(memory);
        if let Some(texture) = &mut self.texture {
            texture.attach(backing);
        }
    }

    /// Whether TRANSFER_TO_HOST_2D of `rect`, from byte `offset` of the backing on, can be done with a 2D resource: row by
    /// row at its own stride.
    ///
    /// # Errors
    /// A rectangle that does not lie in the resource, rows that do not lie in the backing, no backing.
    pub fn check_transfer(&self, rect: &Rect, offset: u64) -> Result<(), Status> {
        let (Pixels::Copy(view), Some(backing)) = (&self.pixels, self.backing()) else { return Err(Status::ErrUnspec) };
        let image = view.image();
        if !image.rect().contains(rect) {
            return Err(Status::ErrInvalidParameter);
        }
        if !rect.is_empty() && end_of(rect, offset, image.stride() as u64).is_none_or(|end| end > backing.len()) {
            return Err(Status::ErrInvalidParameter);
        }
        Ok(())
    }

    /// Brings the pixels of `rect` over from the backing of a 2D resource, as far as [`Resource::check_transfer`] would
    /// let it. `None` where there is nothing to bring; else as [`View::read_backing`].
    pub fn transfer(&mut self, rect: &Rect, offset: u64, number: u64) -> Option<&mut TileMap> {
        let (backing, _) = self.backing.as_ref()?;
        let Pixels::Copy(view) = &mut self.pixels else { return None };
        let stride = view.image().stride();
        Some(view.read_backing(backing, rect, offset, stride, number))
    }

    /// Brings a blob's views up to date where they shall be seen, and gives each to `show` with what changed and the
    /// rectangle that was read. Returns how many pixels that were.
    pub fn read_blob(&mut self, number: &mut u64, mut show: impl FnMut(&Rc<Image>, &mut TileMap, &Rect)) -> u64 {
        let (Some((backing, _)), Pixels::Blob(blob)) = (&self.backing, &mut self.pixels) else { return 0 };
        let mut read = 0;
        for (frame, view) in blob.shown_mut() {
            let Some(rect) = view.take_unread() else { continue };
            *number += 1;
            read += rect.area();
            let image = Rc::clone(view.image());
            show(
                &image,
                view.read_backing(backing, &rect, frame.start_of(&rect), frame.stride as usize, *number),
                &rect,
            );
        }
        read
    }
}

/// Where the last pixel of `rect` ends, if the first begins at `offset` and rows are `stride` bytes apart.
pub fn end_of(rect: &Rect, offset: u64, stride: u64) -> Option<u64> {
    let rows_before_last = u64::from(rect.height).saturating_sub(1);
    let last_row = stride.checked_mul(rows_before_last)?.checked_add(offset)?;
    last_row.checked_add(u64::from(rect.width).checked_mul(PIXEL as u64)?)
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
