//! What the guest draws into: 2D resources, whose pixels are host copies; textures of the renderer; blobs, which are
//! guest memory.
//!
//! Whatever it is, a display is shown an [`Image`] of it, or uses its memory in place.

use std::rc::Rc;

use super::backing::Backing;
use super::blob::Blob;
use super::budget::{Budget, Charge};
use super::command::{Create3d, Status};
use super::dmabuf::Dmabuf;
use super::image::Image;
use super::pixel::PIXEL;
use super::rect::Rect;
use super::tiles::TileMap;
use super::udmabuf::{Export, Exporter};
use super::view::View;
use super::virgl::Texture;
use crate::vhost_proto::memory::GuestMemory;

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
    /// Whether it is one picture, without layers and samples: others are not shown.
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
        let drawn =
            Drawn { width, height, format, view: None, shared: None, is_flat: texture.is_flat(), _charge: charge };
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
