//! A texture with a backing, in the guest's context, that keeps the guest's picture of itself.

use seat_frontend::gpu::virgl::Stream;
use seat_frontend::gpu::{Backing, Command, GpuDriver, Rect, Region, Texture, Transfer3d};
use seat_frontend::machine::GpuMachine;

use crate::common::canvas::await_picture;
use crate::common::picture::Picture;
use crate::seat::CTX;

pub struct Sheet {
    pub id: u32,
    pub texture: Texture,
    pub picture: Picture,
    pub backing: Backing,
}

impl Sheet {
    /// Of a picture's usual kind, with backing in one piece.
    pub fn new(driver: &mut GpuDriver, id: u32, width: u32, height: u32) -> Sheet {
        Sheet::of(driver, Texture::picture(id, width, height))
    }

    /// Of another kind.
    pub fn of(driver: &mut GpuDriver, texture: Texture) -> Sheet {
        let len = u64::from(texture.width) * u64::from(texture.height) * 4;
        let memory = driver.memory().clone();
        let backing = Backing::contiguous(&memory, driver.pages(), len).unwrap();
        Sheet::with_backing(driver, texture, backing)
    }

    /// With backing of the caller's.
    pub fn with_backing(driver: &mut GpuDriver, texture: Texture, backing: Backing) -> Sheet {
        let id = texture.resource_id;
        driver.create_3d(&texture).unwrap().ok().unwrap();
        driver.attach_backing(id, backing.entries()).unwrap().ok().unwrap();
        driver.attach_to_context(CTX, id).unwrap().ok().unwrap();
        let sheet = Sheet { id, texture, picture: Picture::flat(texture.width, texture.height, 0), backing };
        sheet.write();
        sheet
    }

    /// All of it.
    pub fn rect(&self) -> Rect {
        self.picture.rect()
    }

    /// Draws a picture of the same size into guest memory; the device is not told.
    pub fn draw(&mut self, picture: Picture) {
        assert_eq!((picture.width, picture.height), (self.picture.width, self.picture.height));
        self.picture = picture;
        self.write();
    }

    fn write(&self) {
        self.backing.write(0, &self.picture.bytes(self.texture.format));
    }

    /// The transfer of a rectangle between backing and texture.
    pub fn transfer(&self, rect: Rect) -> Transfer3d {
        let offset = (u64::from(rect.y) * u64::from(self.texture.width) + u64::from(rect.x)) * 4;
        let region = Region::flat(rect.x, rect.y, rect.width, rect.height);
        Transfer3d { offset, stride: self.texture.width * 4, ..Transfer3d::new(self.id, region) }
    }

    /// TRANSFER_TO_HOST_3D of a rectangle.
    pub fn bring(&self, driver: &mut GpuDriver, rect: Rect) {
        driver.to_host_3d(CTX, &self.transfer(rect)).unwrap().ok().unwrap();
    }

    /// RESOURCE_FLUSH of a rectangle.
    pub fn flush(&self, driver: &mut GpuDriver, rect: Rect) {
        driver.flush(self.id, rect).unwrap().ok().unwrap();
    }

    /// SET_SCANOUT with all of it.
    pub fn put_on(&self, driver: &mut GpuDriver, scanout: u32) {
        driver.set_scanout(scanout, self.id, self.rect()).unwrap().ok().unwrap();
    }

    /// SET_SCANOUT and RESOURCE_FLUSH in one kick, as Linux flips pages.
    pub fn flip_to(&self, driver: &mut GpuDriver, scanout_id: u32) {
        let (rect, resource_id) = (self.rect(), self.id);
        driver.queue(&Command::SetScanout { rect, scanout_id, resource_id }).unwrap();
        driver.queue(&Command::ResourceFlush { rect, resource_id }).unwrap();
        driver.kick();
        driver.finish_all().unwrap();
    }

    /// Has the renderer fill all of it with a colour.
    pub fn fill(&mut self, driver: &mut GpuDriver, rgb: u32) {
        submit(driver, Stream::new().fill(self.id, self.texture.format, rgb));
        self.picture = Picture::flat(self.texture.width, self.texture.height, rgb);
    }

    /// Has the renderer fill a part. The texture's first row is that of its picture only without `Y_0_TOP`.
    pub fn fill_part(&mut self, driver: &mut GpuDriver, rect: Rect, rgb: u32) {
        assert_eq!(self.texture.flags, 0);
        let region = Region::flat(rect.x, rect.y, rect.width, rect.height);
        let texel = crate::common::picture::pixel_bytes(self.texture.format, rgb, 0xff);
        submit(driver, Stream::new().clear_texture(self.id, region, texel));
        self.picture.fill(rect, rgb);
    }
}

/// Has the renderer do this in the guest's context.
pub fn submit(driver: &mut GpuDriver, stream: &Stream) {
    driver.submit_3d(CTX, stream.words()).unwrap().ok().unwrap();
}

/// A texture of noise on scanout 0, brought over and flushed: what most tests begin with.
pub fn sheet_on_screen(vm: &mut GpuMachine, id: u32, width: u32, height: u32) -> Sheet {
    let mut sheet = Sheet::new(&mut vm.driver, id, width, height);
    sheet.draw(Picture::noise(width, height, u64::from(id)));
    sheet.bring(&mut vm.driver, sheet.rect());
    sheet.flip_to(&mut vm.driver, 0);
    await_picture(vm, 0, &sheet.picture);
    sheet
}
