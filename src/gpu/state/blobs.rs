//! RESOURCE_CREATE_BLOB and SET_SCANOUT_BLOB (VIRTIO 1.3, 5.7.6.8).

use super::State;
use crate::gpu::blob::{Blob, Frame};
use crate::gpu::command::{CREATE_BLOB_ENTRIES, CreateBlob, ResourceId, SetScanoutBlob, Status};
use crate::gpu::rect::Rect;
use crate::gpu::resource::{Pixels, Resource};
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::memory::GuestMemory;

impl State {
    pub(super) fn create_blob(
        &mut self,
        command: &CreateBlob,
        chain: &Chain,
        memory: &GuestMemory,
    ) -> Result<(), Status> {
        let id = command.resource_id;
        self.check_new(id)?;
        let mut resource = Resource::new_blob(Blob::new(command, &self.budget)?);
        let (backing, charge) = self.read_backing(command.nr_entries, CREATE_BLOB_ENTRIES as u64, chain, memory)?;
        if backing.len() < command.size {
            return Err(Status::ErrInvalidParameter);
        }
        resource.attach(backing, charge);
        self.resources.insert(id, Box::new(resource));
        Ok(())
    }

    pub(super) fn set_scanout_blob(&mut self, command: &SetScanoutBlob) -> Result<(), Status> {
        let SetScanoutBlob { rect, scanout_id, resource_id: id, .. } = *command;
        if id == ResourceId::NONE {
            return self.set_scanout(rect, scanout_id, id);
        }
        if self.scanouts.get(scanout_id.0 as usize).is_none() {
            return Err(Status::ErrInvalidScanoutId);
        }
        if !matches!(self.resource(id)?.pixels, Pixels::Blob(_)) {
            return Err(Status::ErrUnspec);
        }
        let frame = Frame::of(command);
        if rect.is_empty() || !Rect::of_size(frame.width, frame.height).contains(&rect) {
            return Err(Status::ErrInvalidParameter);
        }
        self.show_when_read(scanout_id, id, Some(frame), rect)
    }
}
