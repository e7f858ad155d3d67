//! The guest's rendering contexts and the renderer that works for them.
//!
//! What the guest says of things that are kept here (contexts, sizes, memory) is checked here. What it wants drawn is the
//! renderer's to judge.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use log::{Level, debug};

use super::backing::Backing;
use super::budget::{Budget, Charge};
use super::command::{Create3d, CtxCreate, FLAG_Y_0_TOP, ResourceId, SUBMIT_3D_COMMANDS, Status, Transfer3d, target};
use super::dmabuf::Dmabuf;
use super::fences::{Point, Timeline};
use super::image::Image;
use super::pixel::{self, Format, PIXEL};
use super::rect::Rect;
use super::resource::{Pixels, Resource};
use super::texel;
use super::tiles::TileMap;
use super::view::BAND_PIXELS;
use super::virgl::{Capset, Done, RING, Refused, Renderer, Texture};
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::memory::GuestMemory;
use crate::{log_within, logger};

/// What a context is charged for: the renderer's state and that of the OpenGL context behind it (2.4 MiB, measured).
const CONTEXT_COST: u64 = 3 << 20;
/// Longest SUBMIT_3D, in bytes: QEMU's limit too. Mesa's have 256 KiB at the most.
const MAX_COMMANDS: u32 = 4 << 20;
/// With so many fences under way a flush adds none.
const FENCES_UNDER_WAY: u64 = 64;
/// Textures that displays are handed at a time: each is a descriptor.
const MAX_SHARED: usize = 128;
/// What is kept of the buffer for commands between two of them.
const KEPT_COMMANDS: usize = (256 << 10) / size_of::<u64>();
/// What a resource costs in a context that it is attached to: in the renderer's table and in ours, generously.
const ATTACHED_COST: u64 = 192;

/// Of a texture that stands for a 2D resource (virglrenderer's `virgl_hw.h`): to be drawn to and sampled from.
const BIND_RENDER_TARGET: u32 = 1 << 1;
const BIND_SAMPLER_VIEW: u32 = 1 << 3;

/// A context.
#[derive(Debug)]
struct Context {
    /// Its number at the renderer's. The guest's is free again before the renderer is through with it.
    number: u32,
    /// The resources that it may use.
    attached: HashMap<ResourceId, Charge>,
    _charge: Charge,
}

/// A renderer with the contexts of a guest.
#[derive(Debug)]
pub struct Rendering {
    renderer: Renderer,
    contexts: HashMap<u32, Context>,
    /// Those whose end the renderer has put off.
    ending: Vec<Context>,
    /// The number that a context got last.
    numbers: u32,
    /// A copy of what is submitted: the renderer must not find it changed by the guest meanwhile. Of words of 8 bytes, for
    /// it wants them aligned.
    commands: Vec<u64>,
    /// Pixels on their way to or from the renderer.
    rows: Vec<u8>,
    /// Whether work was handed over that no fence on the whole follows yet.
    busy: bool,
    /// Whether a display is handed the textures' own memory.
    shares: bool,
    /// Counts the textures that displays were handed: each has a clone of it.
    shared: Rc<()>,
    complaints: logger::Budget,
}

impl Rendering {
    /// No contexts yet. With `shares`, a display is handed the textures' own memory where that can be.
    pub fn new(renderer: Renderer, shares: bool) -> Self {
        Self {
            shares: shares && renderer.makes_dmabufs(),
            shared: Rc::new(()),
            renderer,
            contexts: HashMap::new(),
            ending: Vec::new(),
            numbers: 0,
            commands: Vec::new(),
            rows: Vec::new(),
            busy: false,
            complaints: logger::Budget::new(1, Duration::from_secs(60)),
        }
    }

    /// The renderer.
    pub fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// The guest's contexts are gone. Its textures go with their resources.
    pub fn reset(&mut self) {
        for (_, context) in std::mem::take(&mut self.contexts) {
            self.end(context);
        }
        self.busy = false;
        // They hold pixels of this guest.
        self.rows = Vec::new();
        self.commands = Vec::new();
    }

    /// The capability sets.
    pub fn capsets(&self) -> &[Capset] {
        self.renderer.capsets()
    }

    /// The contents of one.
    pub fn capset(&self, id: u32, version: u32) -> Option<&[u8]> {
        self.renderer.capset(id, version)
    }

    /// CTX_CREATE.
    ///
    /// # Errors
    /// 0 or a context that is there already; a capability set that is not; more memory than the budget has.
    pub fn create_context(&mut self, id: u32, command: &CtxCreate, budget: &Rc<Budget>) -> Result<(), Status> {
        let CtxCreate { name_len, context_init, name } = command;
        if id == 0 || self.contexts.contains_key(&id) {
            return Err(Status::ErrInvalidContextId);
        }
        // The low 8 bits; 0 where the guest does not choose (VIRTIO 1.3, 5.7.6.9). The others have no meaning yet.
        let [capset, ..] = context_init.to_le_bytes();
        let known = capset == 0 || self.capsets().iter().any(|known| known.id == u32::from(capset));
        if !known || context_init & !0xff != 0 {
            return Err(Status::ErrInvalidParameter);
        }
        let charge = budget.charge(CONTEXT_COST).ok_or(Status::ErrOutOfMemory)?;
        let name = name.get(..*name_len as usize).unwrap_or(name);
        let number = self.free_number();
        self.renderer.create_context(number, capset, name).map_err(|Refused| Status::ErrUnspec)?;
        self.contexts.insert(id, Context { number, attached: HashMap::new(), _charge: charge });
        Ok(())
    }

    /// A number that the renderer has no context of.
    fn free_number(&mut self) -> u32 {
        loop {
            self.numbers = self.numbers.wrapping_add(1);
            // There is room for far fewer contexts than there are numbers.
            if self.numbers != 0 && !self.renderer.has_context(self.numbers) {
                return self.numbers;
            }
        }
    }

    /// CTX_DESTROY. Gives out the resources that were attached to it.
    ///
    /// # Errors
    /// No such context.
    pub fn destroy_context(&mut self, id: u32) -> Result<impl Iterator<Item = ResourceId> + use<>, Status> {
        let context = self.contexts.remove(&id).ok_or(Status::ErrInvalidContextId)?;
        let attached: Vec<ResourceId> = context.attached.keys().copied().collect();
        self.end(context);
        Ok(attached.into_iter())
    }

    /// Ends a context. It is paid for until the renderer has done so as well.
    fn end(&mut self, context: Context) {
        self.renderer.destroy_context(context.number);
        if self.renderer.has_context(context.number) {
            self.ending.push(context);
        }
    }

    /// Sees whether there is such a context.
    ///
    /// # Errors
    /// There is not.
    pub fn check_context(&self, id: u32) -> Result<(), Status> {
        self.number_of(id).map(drop)
    }

    /// The renderer's number of a context.
    ///
    /// # Errors
    /// There is no such context.
    fn number_of(&self, id: u32) -> Result<u32, Status> {
        self.contexts.get(&id).map(|context| context.number).ok_or(Status::ErrInvalidContextId)
    }

    /// A new texture for a 3D resource.
    ///
    /// # Errors
    /// More memory than the budget has; whatever the renderer does not like.
    pub fn create_texture(&mut self, args: &Create3d, budget: &Rc<Budget>) -> Result<Resource, Status> {
        let charge = texel::cost(args).and_then(|bytes| budget.charge(bytes)).ok_or(Status::ErrOutOfMemory)?;
        let texture = self.renderer.create_texture(args).map_err(|Refused| Status::ErrInvalidParameter)?;
        Ok(Resource::new_3d(args, texture, charge))
    }

    /// CTX_ATTACH_RESOURCE. A 2D resource becomes a texture by that, with what is in its host copy.
    ///
    /// # Errors
    /// No such context; a blob, with which the renderer can do nothing; more memory than the budget has; whatever the
    /// renderer does not like.
    pub fn attach(
        &mut self,
        ctx: u32,
        id: ResourceId,
        resource: &mut Resource,
        budget: &Rc<Budget>,
    ) -> Result<(), Status> {
        let context = self.contexts.get(&ctx).ok_or(Status::ErrInvalidContextId)?;
        let (number, is_new) = (context.number, !context.attached.contains_key(&id));
        let charge = is_new.then(|| budget.charge(ATTACHED_COST).ok_or(Status::ErrOutOfMemory)).transpose()?;
        if let (None, Pixels::Copy(view)) = (&resource.texture, &resource.pixels) {
            let (format, image) = (view.format(), Rc::clone(view.image()));
            let args = Create3d {
                resource_id: id,
                target: target::TEXTURE_2D,
                format: format as u32,
                bind: BIND_RENDER_TARGET | BIND_SAMPLER_VIEW,
                width: image.width(),
                height: image.height(),
                depth: 1,
                array_size: 1,
                last_level: 0,
                nr_samples: 0,
                // As guests expect it of what they draw in themselves: QEMU makes it so as well.
                flags: FLAG_Y_0_TOP,
            };
            let charge = texel::cost(&args).and_then(|bytes| budget.charge(bytes)).ok_or(Status::ErrOutOfMemory)?;
            let texture = self.renderer.create_texture(&args).map_err(|Refused| Status::ErrUnspec)?;
            self.write(&texture, format, &image, image.rect());
            resource.set_texture(texture, charge);
        }
        let texture = resource.texture.as_ref().ok_or(Status::ErrUnspec)?;
        self.renderer.attach_resource(number, texture);
        if let (Some(charge), Some(context)) = (charge, self.contexts.get_mut(&ctx)) {
            context.attached.insert(id, charge);
            resource.contexts = resource.contexts.saturating_add(1);
        }
        Ok(())
    }

    /// CTX_DETACH_RESOURCE. Whether it was attached.
    ///
    /// # Errors
    /// No such context; a resource that the renderer has not.
    pub fn detach(&mut self, ctx: u32, id: ResourceId, resource: &Resource) -> Result<bool, Status> {
        let context = self.contexts.get_mut(&ctx).ok_or(Status::ErrInvalidContextId)?;
        let texture = resource.texture.as_ref().ok_or(Status::ErrUnspec)?;
        self.renderer.detach_resource(context.number, texture);
        Ok(context.forget(id))
    }

    /// A resource that goes is gone from all contexts.
    pub fn forget(&mut self, id: ResourceId) {
        for context in self.contexts.values_mut() {
            context.forget(id);
        }
    }

    /// TRANSFER_TO_HOST_3D. The guest's kernel transfers without a context, which is 0.
    ///
    /// # Errors
    /// No such context, no backing, a resource that the renderer has not; whatever the renderer does not like.
    pub fn to_host(&mut self, ctx: u32, resource: &Resource, transfer: &Transfer3d) -> Result<(), Status> {
        let (number, texture) = self.check_transfer(ctx, resource)?;
        self.busy = true;
        self.renderer.transfer_to_host(number, texture, transfer).map_err(|Refused| Status::ErrInvalidParameter)
    }

    /// TRANSFER_FROM_HOST_3D.
    ///
    /// # Errors
    /// As [`Rendering::to_host`].
    pub fn from_host(&mut self, ctx: u32, resource: &Resource, transfer: &Transfer3d) -> Result<(), Status> {
        let (number, texture) = self.check_transfer(ctx, resource)?;
        self.renderer.transfer_from_host(number, texture, transfer).map_err(|Refused| Status::ErrInvalidParameter)
    }

    fn check_transfer<'a>(&self, ctx: u32, resource: &'a Resource) -> Result<(u32, &'a Texture), Status> {
        let number = if ctx == 0 { 0 } else { self.number_of(ctx)? };
        if resource.backing().is_none_or(Backing::is_empty) {
            return Err(Status::ErrUnspec);
        }
        Ok((number, resource.texture.as_ref().ok_or(Status::ErrInvalidResourceId)?))
    }

    /// SUBMIT_3D of `size` bytes, which follow the fixed part of the request in `chain`.
    ///
    /// # Errors
    /// No such context; more bytes than there are, or than anybody submits; commands that the renderer does not like.
    pub fn submit(&mut self, ctx: u32, size: u32, chain: &Chain, memory: &GuestMemory) -> Result<(), Status> {
        let number = self.number_of(ctx)?;
        let supplied = chain.readable_len().saturating_sub(SUBMIT_3D_COMMANDS as u64);
        if u64::from(size) > supplied || size > MAX_COMMANDS || !size.is_multiple_of(4) {
            return Err(Status::ErrInvalidParameter);
        }
        let words = size.div_ceil(8) as usize;
        self.commands.clear();
        self.commands.resize(words, 0);
        let mut done = 0;
        // In pieces, for a vector of words has no bytes.
        let mut piece = [0; 512];
        for place in self.commands.chunks_mut(piece.len() / 8) {
            let len = (size as usize - done).min(place.len() * 8);
            let Some(bytes) = piece.get_mut(..len) else { break };
            done += chain.read_at(memory.map(), (SUBMIT_3D_COMMANDS + done) as u64, bytes);
            for (word, bytes) in place.iter_mut().zip(piece.as_chunks().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
        }
        self.busy = true;
        let result = self.renderer.submit(number, &mut self.commands, size / 4);
        self.commands.truncate(KEPT_COMMANDS);
        self.commands.shrink_to(KEPT_COMMANDS);
        result.map_err(|Refused| Status::ErrInvalidParameter)
    }

    /// Whether work was handed over that no fence on the whole follows yet.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Has the renderer tell when what was handed over until now is done: of a context's ring that context's, else all of
    /// it. `None` where it refuses.
    pub fn fence(&mut self, timeline: Timeline) -> Option<Point> {
        let ring = match timeline {
            Timeline::Ring { ctx, ring: RING } => self.number_of(ctx).ok(),
            Timeline::Ring { .. } | Timeline::Device => None,
        };
        if let Some(fence) = ring.and_then(|number| self.renderer.fence_context(number).ok()) {
            return Some(Point(fence));
        }
        // What is done on the whole is done on every ring.
        self.busy = false;
        self.renderer.fence().ok().map(Point)
    }

    /// Gives out what the renderer has come to since this was asked last. Whether contexts ended by that.
    pub fn retire(&mut self, mut each: impl FnMut(Done)) -> bool {
        self.renderer.retire(&mut each);
        let before = self.ending.len();
        self.ending.retain(|context| self.renderer.has_context(context.number));
        self.ending.len() < before
    }

    /// The memory of a texture, for displays to show; `None` where they are shown pixels.
    pub fn share(&mut self, resource: &mut Resource) -> Option<Rc<Dmabuf>> {
        let Resource { pixels: Pixels::Texture(drawn), texture: Some(texture), .. } = resource else { return None };
        if !self.shares || drawn.shared.is_none() && Rc::strong_count(&self.shared) > MAX_SHARED {
            return None;
        }
        let Self { renderer, complaints, shared: count, .. } = self;
        let shared = drawn.shared.get_or_insert_with(|| {
            let shared = renderer.export(texture).ok().map(|buffer| {
                let charge = Some(Rc::clone(&drawn.charge));
                (Rc::new(Dmabuf { charge, ..buffer }), Rc::clone(count))
            });
            if shared.is_none() {
                log_within!(complaints, Level::Warn, "a texture can't be shared with the display and goes as pixels");
            }
            shared
        });
        shared.as_ref().map(|(buffer, _)| Rc::clone(buffer))
    }

    /// Has the GPU begin what was asked so far: somebody else is about to look at it.
    pub fn flush(&mut self) {
        // A fence that nobody waits for does that. A guest can flush as often as it likes, so there are not many of them.
        if self.renderer.fences_under_way() < FENCES_UNDER_WAY {
            let _ = self.renderer.fence();
        }
    }

    /// Brings what a transfer changed of a 2D resource to the texture that it is as well, if it is one.
    pub fn bring_over(&mut self, resource: &Resource, rect: &Rect) {
        if let (Some(texture), Pixels::Copy(view)) = (&resource.texture, &resource.pixels) {
            self.write(texture, view.format(), view.image(), *rect);
        }
    }

    /// Reads the next band of what shall be seen of a texture into its host copy, and gives that to `show` with what changed
    /// and the rectangle that was read. Returns how many pixels that were; `None` where nothing is left to be read.
    pub fn read_back(
        &mut self,
        resource: &mut Resource,
        number: &mut u64,
        mut show: impl FnMut(&Rc<Image>, &mut TileMap, &Rect),
    ) -> Option<u64> {
        let Resource { pixels, texture: Some(texture), .. } = resource else { return None };
        let view = match pixels {
            Pixels::Copy(view) => view,
            Pixels::Texture(drawn) => drawn.view.as_mut()?,
            Pixels::Blob(_) => return None,
        };
        let band = view.take_unread()?;
        let rows = rows_of(&mut self.rows, &band);
        if self.renderer.read_back(texture, &band, rows).is_err() {
            log_within!(self.complaints, Level::Warn, "a picture could not be read back from the renderer");
            view.give_up();
            return None;
        }
        *number += 1;
        let image = Rc::clone(view.image());
        show(&image, view.read_rows(rows, &band, *number), &band);
        Some(band.area())
    }

    fn write(&mut self, texture: &Texture, format: Format, image: &Image, mut rect: Rect) {
        while !rect.is_empty() {
            let band = rect.cut_band(BAND_PIXELS);
            let rows = rows_of(&mut self.rows, &band);
            let (len, stride) = (band.width as usize * PIXEL, image.stride());
            image.with_pixels(|pixels| {
                for (y, row) in (band.y as usize..).zip(rows.chunks_exact_mut(len)) {
                    let at = y * stride + band.x as usize * PIXEL;
                    if let Some(from) = pixels.get(at..at + len) {
                        row.copy_from_slice(from);
                    }
                }
            });
            pixel::from_display_order(format, rows);
            if self.renderer.write(texture, &band, rows).is_err() {
                debug!("the renderer does not take a picture of {rect:?}");
                break;
            }
        }
    }
}

impl Context {
    /// A resource is not attached to it any more. Whether it was.
    fn forget(&mut self, id: ResourceId) -> bool {
        let was_there = self.attached.remove(&id).is_some();
        if self.attached.len() < self.attached.capacity() / 4 {
            self.attached.shrink_to(self.attached.len() * 2);
        }
        was_there
    }
}

/// Room for the pixels of `band`. It stays for the next ones.
fn rows_of<'a>(rows: &'a mut Vec<u8>, band: &Rect) -> &'a mut [u8] {
    let len = usize::try_from(band.area()).unwrap_or(0).saturating_mul(PIXEL);
    if rows.len() < len {
        rows.resize(len, 0);
    }
    rows.get_mut(..len).unwrap_or_default()
}
