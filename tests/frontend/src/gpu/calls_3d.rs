//! One method for each 3D command, sent alone in a context, without a fence, and waited for.

use super::{Command, Fence, GpuDriver, HEADER_SIZE, Response, Texture, Transfer3d, resp};
use crate::error::Result;

impl GpuDriver {
    /// Sends one command in a context and waits for its response. Nothing else may be in flight.
    pub fn call_in(&mut self, ctx: u32, command: &Command<'_>) -> Result<Response> {
        self.call_fenced(command, Fence::in_context(ctx))
    }

    /// CTX_CREATE of a context of the capability set that is there first.
    pub fn create_context(&mut self, ctx: u32) -> Result<Response> {
        self.call_in(ctx, &Command::CtxCreate { context_init: 0, name: b"seat" })
    }

    /// CTX_DESTROY.
    pub fn destroy_context(&mut self, ctx: u32) -> Result<Response> {
        self.call_in(ctx, &Command::CtxDestroy)
    }

    /// CTX_ATTACH_RESOURCE.
    pub fn attach_to_context(&mut self, ctx: u32, resource_id: u32) -> Result<Response> {
        self.call_in(ctx, &Command::CtxAttachResource { resource_id })
    }

    /// CTX_DETACH_RESOURCE.
    pub fn detach_from_context(&mut self, ctx: u32, resource_id: u32) -> Result<Response> {
        self.call_in(ctx, &Command::CtxDetachResource { resource_id })
    }

    /// RESOURCE_CREATE_3D.
    pub fn create_3d(&mut self, texture: &Texture) -> Result<Response> {
        self.call(&Command::ResourceCreate3d(*texture))
    }

    /// TRANSFER_TO_HOST_3D.
    pub fn to_host_3d(&mut self, ctx: u32, transfer: &Transfer3d) -> Result<Response> {
        self.call_in(ctx, &Command::TransferToHost3d(*transfer))
    }

    /// TRANSFER_FROM_HOST_3D.
    pub fn from_host_3d(&mut self, ctx: u32, transfer: &Transfer3d) -> Result<Response> {
        self.call_in(ctx, &Command::TransferFromHost3d(*transfer))
    }

    /// SUBMIT_3D.
    pub fn submit_3d(&mut self, ctx: u32, words: &[u32]) -> Result<Response> {
        self.call_in(ctx, &Command::Submit3d { words })
    }

    /// GET_CAPSET, of whatever length it is.
    pub fn capset(&mut self, id: u32, version: u32) -> Result<Vec<u8>> {
        let response = self.call(&Command::GetCapset { id, version })?.expect(resp::OK_CAPSET)?;
        let mut contents = vec![0; response.len as usize - HEADER_SIZE];
        self.read_body(HEADER_SIZE, &mut contents);
        Ok(contents)
    }
}
