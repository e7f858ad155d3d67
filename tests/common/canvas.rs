//! A resource with its backing, on which a guest draws; and the wait until a display has shown all there is.

use seat_frontend::display::{Display, Event};
use seat_frontend::gpu::{Backing, GpuDriver, Rect, format};
use seat_frontend::machine::GpuMachine;

use super::picture::Picture;
use super::soon;

/// A resource that keeps the guest's picture of itself.
pub struct Canvas {
    pub id: u32,
    pub format: u32,
    pub picture: Picture,
    pub backing: Backing,
}

impl Canvas {
    /// A black resource with backing in one piece.
    pub fn new(driver: &mut GpuDriver, id: u32, width: u32, height: u32) -> Canvas {
        Canvas::with_format(driver, id, format::B8G8R8X8, width, height)
    }

    /// The same in another format.
    pub fn with_format(driver: &mut GpuDriver, id: u32, format: u32, width: u32, height: u32) -> Canvas {
        let memory = driver.memory().clone();
        let len = u64::from(width) * u64::from(height) * 4;
        let backing = Backing::contiguous(&memory, driver.pages(), len).unwrap();
        Canvas::with_backing(driver, id, format, width, height, backing)
    }

    /// The same with backing of the caller's.
    pub fn with_backing(
        driver: &mut GpuDriver,
        id: u32,
        format: u32,
        width: u32,
        height: u32,
        backing: Backing,
    ) -> Canvas {
        driver.create_with_backing(id, format, (width, height), backing.entries()).unwrap();
        let canvas = Canvas { id, format, picture: Picture::flat(width, height, 0), backing };
        canvas.write();
        canvas
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

    /// Paints a rectangle in guest memory.
    pub fn fill(&mut self, rect: Rect, rgb: u32) {
        self.picture.fill(rect, rgb);
        self.write();
    }

    fn write(&self) {
        self.backing.write(0, &self.picture.bytes(self.format));
    }

    /// Where a rectangle begins in the backing.
    pub fn offset(&self, rect: Rect) -> u64 {
        (u64::from(rect.y) * u64::from(self.picture.width) + u64::from(rect.x)) * 4
    }

    /// TRANSFER_TO_HOST_2D of a rectangle.
    pub fn transfer(&self, driver: &mut GpuDriver, rect: Rect) {
        driver.transfer(self.id, rect, self.offset(rect)).unwrap().ok().unwrap();
    }

    /// TRANSFER_TO_HOST_2D and RESOURCE_FLUSH of a rectangle, in one batch.
    pub fn present(&self, driver: &mut GpuDriver, rect: Rect) {
        driver.transfer_and_flush(self.id, rect, self.offset(rect)).unwrap();
    }

    /// The same of all of it.
    pub fn present_all(&self, driver: &mut GpuDriver) {
        self.present(driver, self.rect());
    }

    /// Shows all of it on a scanout.
    pub fn put_on(&self, driver: &mut GpuDriver, scanout: u32) {
        driver.set_scanout(scanout, self.id, self.rect()).unwrap().ok().unwrap();
    }
}

/// A canvas of noise, on scanout 0, brought over and flushed: what most tests begin with.
pub fn canvas_on_screen(vm: &mut GpuMachine, id: u32, width: u32, height: u32) -> Canvas {
    let mut canvas = Canvas::new(&mut vm.driver, id, width, height);
    canvas.draw(Picture::noise(width, height, u64::from(id)));
    canvas.put_on(&mut vm.driver, 0);
    canvas.present_all(&mut vm.driver);
    await_picture(vm, 0, &canvas.picture);
    canvas
}

/// Waits until a scanout shows exactly a picture.
#[track_caller]
pub fn await_picture(vm: &GpuMachine, scanout: usize, picture: &Picture) {
    if let Err(error) = vm.display.wait(soon(), |display| picture.is_on(display.picture(scanout).as_deref())) {
        let how = vm.display.with(|display| picture.difference(display.picture(scanout).as_deref()));
        panic!("scanout {scanout} does not show what it should: {error}; what differs: {how}");
    }
}

/// Whether a scanout shows exactly a picture now.
pub fn shows(vm: &GpuMachine, scanout: usize, picture: &Picture) -> bool {
    vm.display.with(|display| picture.is_on(display.picture(scanout).as_deref()))
}

/// One pixel on the last scanout that changes its colour whenever it is asked whether all is painted: what concerns lower
/// scanouts goes out before it.
pub struct Settled {
    canvas: Canvas,
    scanout: u32,
}

impl Settled {
    /// On scanout 15.
    pub fn new(vm: &mut GpuMachine) -> Settled {
        let canvas = Canvas::new(&mut vm.driver, 0x5e77_1ed0, 1, 1);
        let scanout = 15;
        canvas.put_on(&mut vm.driver, scanout);
        let mut settled = Settled { canvas, scanout };
        settled.wait(vm);
        settled
    }

    /// Waits until the display has shown all that the device had to tell it.
    pub fn wait(&mut self, vm: &mut GpuMachine) {
        let next = (self.canvas.picture.at(0, 0) + 0x01_0307) & 0xff_ffff;
        self.canvas.fill(Rect::new(0, 0, 1, 1), next);
        self.canvas.present_all(&mut vm.driver);
        await_picture(vm, self.scanout as usize, &self.canvas.picture);
    }

    /// What the display was told since the last look, the pixel of this type left out.
    pub fn events(&mut self, vm: &mut GpuMachine) -> Vec<Event> {
        self.wait(vm);
        let mut events = vm.display.with(Display::take_log);
        let own = self.scanout;
        events.retain(|event| !matches!(event, Event::Update { scanout, .. } if *scanout == own));
        events
    }

    /// The rectangles of the UPDATEs of a scanout since the last look.
    pub fn updates(&mut self, vm: &mut GpuMachine, of: u32) -> Vec<Rect> {
        let events = self.events(vm);
        let rect = |event: &Event| match event {
            Event::Update { scanout, rect } if *scanout == of => Some(*rect),
            _ => None,
        };
        events.iter().filter_map(rect).collect()
    }

    /// The bytes of all UPDATEs since the last look, this type's own left out.
    pub fn update_bytes(&mut self, vm: &mut GpuMachine) -> u64 {
        let size = |event: &Event| match event {
            Event::Update { rect, .. } => 32 + u64::from(rect.width) * u64::from(rect.height) * 4,
            _ => 0,
        };
        self.events(vm).iter().map(size).sum()
    }
}
