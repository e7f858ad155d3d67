//! The 3D commands and the capability sets (VIRTIO 1.3, 5.7.6.9 and 5.7.6.8).

use super::{FREED_AT_ONCE, Outcome, State};
use crate::gpu::command::{Box3d, Command, Create3d, ResourceId, Status, Transfer3d};
use crate::gpu::fences::{Point, Timeline};
use crate::gpu::rect::Rect;
use crate::gpu::virgl::Done;
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::memory::GuestMemory;

/// What a SUBMIT_3D takes, in pixels copied: at least, and for each 4 bytes. Nobody knows what it really takes.
const WORK_OF_SUBMIT: u64 = 256 * 1024;
const WORK_OF_WORD: u64 = 64;
/// What a transfer is counted as at the most: more than any turn has.
const MOST_WORK: u64 = 1 << 40;

impl State {
    /// Does what a 3D command says in the context of that id.
    pub(super) fn execute_3d(
        &mut self,
        ctx: u32,
        command: &Command,
        chain: &Chain,
        memory: &GuestMemory,
    ) -> Result<(), Status> {
        let rendering = self.rendering.as_mut().ok_or(Status::ErrUnspec)?;
        match *command {
            Command::CtxCreate(ref create) => rendering.create_context(ctx, create, &self.budget),
            Command::CtxDestroy => {
                for id in rendering.destroy_context(ctx)? {
                    self.left_context(id);
                }
                Ok(())
            }
            Command::CtxAttachResource { resource_id } => self.attach_to_context(ctx, resource_id),
            Command::CtxDetachResource { resource_id } => {
                let resource = self.resources.get(&resource_id).ok_or(Status::ErrInvalidResourceId)?;
                if rendering.detach(ctx, resource_id, resource)? {
                    self.left_context(resource_id);
                }
                Ok(())
            }
            Command::Create3d(ref args) => self.create_3d(args),
            Command::TransferToHost3d(ref transfer) => self.transfer_3d(ctx, transfer, true),
            Command::TransferFromHost3d(ref transfer) => self.transfer_3d(ctx, transfer, false),
            Command::Submit3d { size, .. } => {
                self.work += WORK_OF_SUBMIT + u64::from(size / 4) * WORK_OF_WORD;
                rendering.submit(ctx, size, chain, memory)
            }
            _ => Err(Status::ErrUnspec),
        }
    }

    fn attach_to_context(&mut self, ctx: u32, id: ResourceId) -> Result<(), Status> {
        self.rendering.as_ref().ok_or(Status::ErrUnspec)?.check_context(ctx)?;
        // What a context draws is not in the guest's pages.
        self.unshare(id);
        let Self { rendering: Some(rendering), resources, budget, work, .. } = self else {
            return Err(Status::ErrUnspec);
        };
        let resource = resources.get_mut(&id).ok_or(Status::ErrInvalidResourceId)?;
        *work += resource.image().map_or(0, |image| image.rect().area());
        rendering.attach(ctx, id, resource, budget)
    }

    fn create_3d(&mut self, args: &Create3d) -> Result<(), Status> {
        self.check_new(args.resource_id)?;
        let rendering = self.rendering.as_mut().ok_or(Status::ErrUnspec)?;
        let resource = rendering.create_texture(args, &self.budget)?;
        self.resources.insert(args.resource_id, Box::new(resource));
        Ok(())
    }

    fn transfer_3d(&mut self, ctx: u32, transfer: &Transfer3d, to_host: bool) -> Result<(), Status> {
        let rendering = self.rendering.as_mut().ok_or(Status::ErrUnspec)?;
        let resource = self.resources.get(&transfer.resource_id).ok_or(Status::ErrInvalidResourceId)?;
        let region = &transfer.region;
        let area = Rect::of_size(region.width, region.height).area();
        // The guest's numbers, which are checked later.
        self.work += area.saturating_mul(region.depth.max(1).into()).min(MOST_WORK);
        if to_host { rendering.to_host(ctx, resource, transfer) } else { rendering.from_host(ctx, resource, transfer) }
    }

    /// TRANSFER_TO_HOST_2D of what is no 2D resource: a blob's memory is the guest's own, a texture gets it from the
    /// backing as a 2D resource would.
    pub(super) fn transfer_2d_of_other(&mut self, rect: Rect, offset: u64, id: ResourceId) -> Result<(), Status> {
        let resource = self.resources.get(&id).ok_or(Status::ErrInvalidResourceId)?;
        let (Some(_), Some(rendering)) = (resource.size(), &mut self.rendering) else { return Ok(()) };
        self.work += rect.area();
        let region = Box3d { x: rect.x, y: rect.y, z: 0, width: rect.width, height: rect.height, depth: 1 };
        // Strides of 0 are the resource's own.
        let transfer = Transfer3d { region, offset, resource_id: id, level: 0, stride: 0, layer_stride: 0 };
        rendering.to_host(0, resource, &transfer)
    }

    /// Which capability set that is.
    pub(super) fn capset_info(&self, index: u32) -> Result<Outcome, Status> {
        let rendering = self.rendering.as_ref().ok_or(Status::ErrUnspec)?;
        let capset = usize::try_from(index).ok().and_then(|index| rendering.capsets().get(index));
        let capset = capset.ok_or(Status::ErrInvalidParameter)?;
        let (id, max_version, max_size) = (capset.id, capset.max_version, capset.max_size);
        Ok(Outcome::CapsetInfo { id, max_version, max_size })
    }

    /// The contents of a capability set.
    pub fn capset(&self, id: u32, version: u32) -> Option<&[u8]> {
        self.rendering.as_ref()?.capset(id, version)
    }

    /// How many capability sets there are.
    pub fn num_capsets(&self) -> u32 {
        let count = self.rendering.as_ref().map_or(0, |rendering| rendering.capsets().len());
        u32::try_from(count).unwrap_or(0)
    }

    /// Gives out what the renderer has come to since this was asked last.
    pub fn retire(&mut self, each: impl FnMut(Done)) {
        if self.rendering.as_mut().is_some_and(|rendering| rendering.retire(each)) {
            self.trim(FREED_AT_ONCE);
        }
    }

    /// When the work that the command at hand gave the renderer will be done, as its timeline has it; `None` where it gave
    /// it none.
    pub fn fence(&mut self, timeline: Timeline) -> Option<Point> {
        let rendering = self.rendering.as_mut()?;
        if rendering.is_busy() { rendering.fence(timeline) } else { None }
    }
}
