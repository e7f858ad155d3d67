//! What a virtio-gpu device is, as plainly as it can be said: arrays of pixels, no tiles, no damage, no display that lags.
//!
//! Written from VIRTIO 1.3, 5.7.6, not from `src/`. The one thing that is left open is when pixels that were transferred
//! and not flushed are seen: then any colour that the pixel had since it was last flushed is right.

use std::collections::{BTreeMap, HashMap};

use seat_frontend::display::Display;
use seat_frontend::gpu::{Command, MemEntry, Rect, format, resp};

/// Scanouts that there can be.
pub const SCANOUTS: usize = 16;

const LARGEST_SIDE: u32 = 32767;
const CURSOR_SIDE: u32 = 64;

/// What a command must be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This response.
    Kind(u32),
    /// Some error: the standard does not say which.
    AnyError,
    /// The UUID of this resource: a new one, or the one it got before.
    Uuid(u32),
}

/// The guest's memory as the device may see it: fills the buffer, or says that some of it is out of reach.
pub trait Memory {
    fn reaches(&self, addr: u64, len: u64) -> bool;
    fn read(&self, addr: u64, into: &mut [u8]);
}

/// A pixel: blue, green, red, alpha.
type Pixel = [u8; 4];

struct Resource {
    format: u32,
    width: u32,
    height: u32,
    pixels: Vec<Pixel>,
    backing: Option<Vec<MemEntry>>,
    uuid: Option<[u8; 16]>,
}

struct Scanout {
    resource: u32,
    rect: Rect,
    /// What the display shows, row by row.
    seen: Vec<Pixel>,
    /// Pixels that were not flushed since they changed, with all that they may look like.
    open: HashMap<usize, Vec<Pixel>>,
}

#[derive(Clone, Default)]
struct Cursor {
    /// Unknown where the cursor had to be scaled.
    shape: Option<Vec<u8>>,
    hot: (u32, u32),
    at: (u32, u32),
    visible: bool,
}

/// The device.
pub struct Reference {
    limit: u64,
    resources: BTreeMap<u32, Resource>,
    scanouts: [Option<Scanout>; SCANOUTS],
    cursors: [Cursor; SCANOUTS],
}

type Outcome = Result<Expected, u32>;

const DONE: Outcome = Ok(Expected::Kind(resp::OK_NODATA));

impl Reference {
    /// A device that may hold `limit` bytes of pixels.
    pub fn new(limit: u64) -> Reference {
        Reference {
            limit,
            resources: BTreeMap::new(),
            scanouts: Default::default(),
            cursors: std::array::from_fn(|_| Cursor::default()),
        }
    }

    /// A virtio reset.
    pub fn reset(&mut self) {
        *self = Reference::new(self.limit);
    }

    /// Another display, which is told all that is to be seen now; `settled` unless commands are under way meanwhile.
    pub fn new_display(&mut self, settled: bool) {
        for scanout in self.scanouts.iter_mut().flatten().filter(|_| settled) {
            scanout.flush(&self.resources[&scanout.resource], scanout.rect);
        }
    }

    /// The ids there are.
    pub fn ids(&self) -> Vec<u32> {
        self.resources.keys().copied().collect()
    }

    /// The size of a resource.
    pub fn size(&self, id: u32) -> Option<(u32, u32)> {
        self.resources.get(&id).map(|resource| (resource.width, resource.height))
    }

    /// Does what a command says, and says what it must be answered with.
    pub fn execute(&mut self, command: &Command<'_>, memory: &impl Memory) -> Expected {
        let outcome = match *command {
            Command::GetDisplayInfo => Ok(Expected::Kind(resp::OK_DISPLAY_INFO)),
            Command::GetEdid { scanout } if scanout as usize >= SCANOUTS => Err(resp::ERR_INVALID_SCANOUT_ID),
            Command::GetEdid { .. } => Ok(Expected::Kind(resp::OK_EDID)),
            Command::ResourceCreate2d { resource_id, format, width, height } => {
                self.create(resource_id, format, width, height)
            }
            Command::ResourceUnref { resource_id } => self.unref(resource_id),
            Command::SetScanout { rect, scanout_id, resource_id } => self.set_scanout(rect, scanout_id, resource_id),
            Command::ResourceFlush { rect, resource_id } => self.flush(rect, resource_id),
            Command::TransferToHost2d { rect, offset, resource_id } => self.transfer(rect, offset, resource_id, memory),
            Command::AttachBacking { resource_id, entries } => self.attach(resource_id, entries, memory),
            Command::DetachBacking { resource_id } => self.detach(resource_id),
            Command::AssignUuid { resource_id } => self.resource(resource_id).map(|_| Expected::Uuid(resource_id)),
            Command::UpdateCursor { scanout_id, x, y, resource_id, hot_x, hot_y } => {
                self.update_cursor(scanout_id, resource_id, (x, y), (hot_x, hot_y))
            }
            Command::MoveCursor { scanout_id, x, y, .. } => self.move_cursor(scanout_id, (x, y)),
            _ => Err(resp::ERR_UNSPEC),
        };
        outcome.unwrap_or_else(Expected::Kind)
    }

    /// Notes the UUID that a resource got; false where it is another than before.
    pub fn note_uuid(&mut self, id: u32, uuid: [u8; 16]) -> bool {
        self.resources.get_mut(&id).is_some_and(|resource| *resource.uuid.get_or_insert(uuid) == uuid)
    }

    fn resource(&mut self, id: u32) -> Result<&mut Resource, u32> {
        self.resources.get_mut(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)
    }

    fn create(&mut self, id: u32, format: u32, width: u32, height: u32) -> Outcome {
        if id == 0 || self.resources.contains_key(&id) {
            return Err(resp::ERR_INVALID_RESOURCE_ID);
        }
        let side = 1..=LARGEST_SIDE;
        if !format::ALL.contains(&format) || !side.contains(&width) || !side.contains(&height) {
            return Err(resp::ERR_INVALID_PARAMETER);
        }
        let count = u64::from(width) * u64::from(height);
        if count * 4 > self.limit {
            return Err(resp::ERR_OUT_OF_MEMORY);
        }
        let pixels = vec![[0; 4]; count as usize];
        self.resources.insert(id, Resource { format, width, height, pixels, backing: None, uuid: None });
        DONE
    }

    fn unref(&mut self, id: u32) -> Outcome {
        self.resources.remove(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)?;
        for scanout in &mut self.scanouts {
            if scanout.as_ref().is_some_and(|scanout| scanout.resource == id) {
                *scanout = None;
            }
        }
        DONE
    }

    fn set_scanout(&mut self, rect: Rect, scanout: u32, id: u32) -> Outcome {
        let place = self.scanouts.get_mut(scanout as usize).ok_or(resp::ERR_INVALID_SCANOUT_ID)?;
        if id == 0 {
            *place = None;
            return DONE;
        }
        let resource = self.resources.get(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)?;
        if rect.width == 0 || rect.height == 0 || !resource.holds(rect) {
            return Err(resp::ERR_INVALID_PARAMETER);
        }
        let seen = vec![[0; 4]; (rect.width * rect.height) as usize];
        let mut shown = Scanout { resource: id, rect, seen, open: HashMap::new() };
        shown.flush(resource, rect);
        *place = Some(shown);
        DONE
    }

    fn flush(&mut self, rect: Rect, id: u32) -> Outcome {
        let resource = self.resources.get(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)?;
        if !resource.holds(rect) {
            return Err(resp::ERR_INVALID_PARAMETER);
        }
        for scanout in self.scanouts.iter_mut().flatten().filter(|scanout| scanout.resource == id) {
            scanout.flush(resource, rect);
        }
        DONE
    }

    fn transfer(&mut self, rect: Rect, offset: u64, id: u32, memory: &impl Memory) -> Outcome {
        let resource = self.resources.get_mut(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)?;
        let backing = resource.backing.as_ref().ok_or(resp::ERR_UNSPEC)?;
        if !resource.holds(rect) {
            return Err(resp::ERR_INVALID_PARAMETER);
        }
        if rect.width == 0 || rect.height == 0 {
            return DONE;
        }
        if !backing.iter().all(|entry| memory.reaches(entry.addr, entry.len.into())) {
            return Ok(Expected::AnyError);
        }
        let mut bytes = Vec::new();
        for entry in backing {
            let start = bytes.len();
            bytes.resize(start + entry.len as usize, 0);
            memory.read(entry.addr, &mut bytes[start..]);
        }
        let stride = u64::from(resource.width) * 4;
        let end = offset.checked_add(stride * u64::from(rect.height - 1) + u64::from(rect.width) * 4);
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(resp::ERR_INVALID_PARAMETER);
        }
        for line in 0..rect.height {
            for column in 0..rect.width {
                let at = (offset + stride * u64::from(line)) as usize + column as usize * 4;
                let pixel = colour(resource.format, [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                let (x, y) = (rect.x + column, rect.y + line);
                resource.pixels[(y * resource.width + x) as usize] = pixel;
                for scanout in self.scanouts.iter_mut().flatten().filter(|scanout| scanout.resource == id) {
                    scanout.changes(x, y, pixel);
                }
            }
        }
        DONE
    }

    fn attach(&mut self, id: u32, entries: &[MemEntry], memory: &impl Memory) -> Outcome {
        let resource = self.resource(id)?;
        if resource.backing.is_some() || !entries.iter().all(|entry| memory.reaches(entry.addr, entry.len.into())) {
            return Err(resp::ERR_UNSPEC);
        }
        resource.backing = Some(entries.to_vec());
        DONE
    }

    fn detach(&mut self, id: u32) -> Outcome {
        self.resource(id)?.backing.take().ok_or(resp::ERR_UNSPEC)?;
        DONE
    }

    fn update_cursor(&mut self, scanout: u32, id: u32, at: (u32, u32), hot: (u32, u32)) -> Outcome {
        let cursor = self.cursors.get_mut(scanout as usize).ok_or(resp::ERR_INVALID_SCANOUT_ID)?;
        if id == 0 {
            cursor.visible = false;
            return DONE;
        }
        let resource = self.resources.get(&id).ok_or(resp::ERR_INVALID_RESOURCE_ID)?;
        let hot = (hot.0.min(CURSOR_SIDE - 1), hot.1.min(CURSOR_SIDE - 1));
        *cursor = Cursor { shape: resource.as_cursor(), hot, at, visible: true };
        DONE
    }

    fn move_cursor(&mut self, scanout: u32, at: (u32, u32)) -> Outcome {
        self.cursors.get_mut(scanout as usize).ok_or(resp::ERR_INVALID_SCANOUT_ID)?.at = at;
        DONE
    }

    /// What a display that has seen everything shows wrongly, if anything. Scanouts from `scanouts` on are left out.
    pub fn disagreement(&self, display: &Display, scanouts: usize) -> Option<String> {
        (0..scanouts).find_map(|index| {
            self.picture_disagreement(display, index).or_else(|| self.cursor_disagreement(display, index))
        })
    }

    fn picture_disagreement(&self, display: &Display, index: usize) -> Option<String> {
        let (scanout, surface) = match (&self.scanouts[index], display.picture(index)) {
            (None, None) => return None,
            (Some(scanout), Some(surface)) => (scanout, surface),
            (None, Some(surface)) => return Some(format!("scanout {index} is off, and shows {surface:?}")),
            (Some(scanout), None) => return Some(format!("scanout {index} shows nothing of {:?}", scanout.rect)),
        };
        let rect = scanout.rect;
        if (surface.width, surface.height) != (rect.width, rect.height) {
            return Some(format!("scanout {index} is {surface:?}, and shows {rect:?}"));
        }
        let wrong = |(at, (shown, seen)): (usize, (&[u8], &Pixel))| {
            let same = |pixel: &Pixel| pixel[..3] == shown[..3];
            let right = match scanout.open.get(&at) {
                None => same(seen),
                Some(open) => open.iter().any(same),
            };
            (!right).then_some((at, shown[..3].to_vec(), *seen))
        };
        let pixels = surface.pixels.chunks_exact(4).zip(&scanout.seen).enumerate();
        let found: Vec<_> = pixels.filter_map(wrong).collect();
        let (at, shown, seen) = found.first()?;
        let (x, y) = (*at as u32 % rect.width, *at as u32 / rect.width);
        Some(format!(
            "scanout {index}, {rect:?} of resource {}: {} pixels are wrong, first {x}, {y}: {shown:?} instead of {seen:?}",
            scanout.resource,
            found.len()
        ))
    }

    fn cursor_disagreement(&self, display: &Display, index: usize) -> Option<String> {
        let (cursor, shown) = (&self.cursors[index], display.cursor(index));
        if cursor.visible != shown.visible {
            return Some(format!("the cursor of scanout {index} is visible: {}", shown.visible));
        }
        if !cursor.visible {
            return None;
        }
        if cursor.at != shown.at {
            return Some(format!("the cursor of scanout {index} is at {:?} instead of {:?}", shown.at, cursor.at));
        }
        let shape = cursor.shape.as_ref()?;
        if cursor.hot != shown.hot {
            return Some(format!("the cursor of scanout {index} has its hot spot at {:?}", shown.hot));
        }
        (*shape != shown.shape).then(|| format!("the cursor of scanout {index} has another shape"))
    }
}

impl Resource {
    fn holds(&self, rect: Rect) -> bool {
        let within = |start: u32, len: u32, end: u32| u64::from(start) + u64::from(len) <= u64::from(end);
        within(rect.x, rect.width, self.width) && within(rect.y, rect.height, self.height)
    }

    /// The 64 x 64 pixels of a cursor that fits.
    fn as_cursor(&self) -> Option<Vec<u8>> {
        if self.width > CURSOR_SIDE || self.height > CURSOR_SIDE {
            return None;
        }
        let mut shape = vec![0; (CURSOR_SIDE * CURSOR_SIDE * 4) as usize];
        for (at, pixel) in self.pixels.iter().enumerate() {
            let (x, y) = (at as u32 % self.width, at as u32 / self.width);
            let to = ((y * CURSOR_SIDE + x) * 4) as usize;
            shape[to..to + 4].copy_from_slice(pixel);
        }
        Some(shape)
    }
}

impl Scanout {
    /// All of the resource that lies in `rect` is seen as it is.
    fn flush(&mut self, resource: &Resource, rect: Rect) {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                if let Some(at) = self.place(x, y) {
                    self.seen[at] = resource.pixels[(y * resource.width + x) as usize];
                    self.open.remove(&at);
                }
            }
        }
    }

    /// A pixel of the resource changed and was not flushed.
    fn changes(&mut self, x: u32, y: u32, pixel: Pixel) {
        let Some(at) = self.place(x, y) else { return };
        if self.open.contains_key(&at) || self.seen[at] != pixel {
            let open = self.open.entry(at).or_insert_with(|| vec![self.seen[at]]);
            if !open.contains(&pixel) {
                open.push(pixel);
            }
        }
    }

    /// Where a pixel of the resource is seen.
    fn place(&self, x: u32, y: u32) -> Option<usize> {
        let (x, y) = (x.checked_sub(self.rect.x)?, y.checked_sub(self.rect.y)?);
        (x < self.rect.width && y < self.rect.height).then(|| (y * self.rect.width + x) as usize)
    }
}

/// The colour of four bytes of memory: formats are named by their bytes' order.
fn colour(format: u32, bytes: [u8; 4]) -> Pixel {
    let [first, second, third, fourth] = bytes;
    match format {
        format::B8G8R8A8 | format::B8G8R8X8 => [first, second, third, fourth],
        format::A8R8G8B8 | format::X8R8G8B8 => [fourth, third, second, first],
        format::R8G8B8A8 | format::R8G8B8X8 => [third, second, first, fourth],
        _ => [second, third, fourth, first],
    }
}
