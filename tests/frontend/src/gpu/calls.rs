//! One method for each command, sent alone and waited for.

use super::{CapsetInfo, Command, Edid, GpuDriver, Head, MemEntry, Rect, Response, resp};
use crate::error::Result;

impl GpuDriver {
    /// RESOURCE_CREATE_2D.
    pub fn create_2d(&mut self, resource_id: u32, format: u32, width: u32, height: u32) -> Result<Response> {
        self.call(&Command::ResourceCreate2d { resource_id, format, width, height })
    }

    /// RESOURCE_UNREF.
    pub fn unref(&mut self, resource_id: u32) -> Result<Response> {
        self.call(&Command::ResourceUnref { resource_id })
    }

    /// RESOURCE_ATTACH_BACKING.
    pub fn attach_backing(&mut self, resource_id: u32, entries: &[MemEntry]) -> Result<Response> {
        self.call(&Command::AttachBacking { resource_id, entries })
    }

    /// RESOURCE_DETACH_BACKING.
    pub fn detach_backing(&mut self, resource_id: u32) -> Result<Response> {
        self.call(&Command::DetachBacking { resource_id })
    }

    /// TRANSFER_TO_HOST_2D.
    pub fn transfer(&mut self, resource_id: u32, rect: Rect, offset: u64) -> Result<Response> {
        self.call(&Command::TransferToHost2d { rect, offset, resource_id })
    }

    /// SET_SCANOUT; resource 0 switches the scanout off.
    pub fn set_scanout(&mut self, scanout_id: u32, resource_id: u32, rect: Rect) -> Result<Response> {
        self.call(&Command::SetScanout { rect, scanout_id, resource_id })
    }

    /// RESOURCE_FLUSH.
    pub fn flush(&mut self, resource_id: u32, rect: Rect) -> Result<Response> {
        self.call(&Command::ResourceFlush { rect, resource_id })
    }

    /// TRANSFER_TO_HOST_2D and RESOURCE_FLUSH in one kick, as Linux sends them; both must be answered with OK_NODATA.
    pub fn transfer_and_flush(&mut self, resource_id: u32, rect: Rect, offset: u64) -> Result<()> {
        self.queue(&Command::TransferToHost2d { rect, offset, resource_id })?;
        self.queue(&Command::ResourceFlush { rect, resource_id })?;
        self.kick();
        self.finish_all()
    }

    /// GET_DISPLAY_INFO.
    pub fn display_info(&mut self) -> Result<[Head; 16]> {
        self.call(&Command::GetDisplayInfo)?.expect(resp::OK_DISPLAY_INFO)?;
        Ok(self.last_heads())
    }

    /// The heads of the last response, which must be one to GET_DISPLAY_INFO.
    pub fn last_heads(&self) -> [Head; 16] {
        let (span, body) = self.body();
        std::array::from_fn(|index| Head::read(span, body + index * Head::SIZE))
    }

    /// GET_EDID.
    pub fn edid(&mut self, scanout: u32) -> Result<Edid> {
        self.call(&Command::GetEdid { scanout })?.expect(resp::OK_EDID)?;
        Ok(self.last_edid())
    }

    /// The EDID of the last response, which must be one to GET_EDID.
    pub fn last_edid(&self) -> Edid {
        let (span, body) = self.body();
        let mut bytes = [0; 1024];
        span.read(body + 8, &mut bytes);
        Edid { size: span.u32(body), bytes }
    }

    /// RESOURCE_ASSIGN_UUID.
    pub fn assign_uuid(&mut self, resource_id: u32) -> Result<[u8; 16]> {
        self.call(&Command::AssignUuid { resource_id })?.expect(resp::OK_RESOURCE_UUID)?;
        let mut uuid = [0; 16];
        self.read_body(super::HEADER_SIZE, &mut uuid);
        Ok(uuid)
    }

    /// GET_CAPSET_INFO.
    pub fn capset_info(&mut self, index: u32) -> Result<CapsetInfo> {
        self.call(&Command::GetCapsetInfo { index })?.expect(resp::OK_CAPSET_INFO)?;
        let (span, body) = self.body();
        Ok(CapsetInfo { id: span.u32(body), max_version: span.u32(body + 4), max_size: span.u32(body + 8) })
    }

    /// UPDATE_CURSOR, waited for until it is used; resource 0 hides the cursor.
    pub fn update_cursor(&mut self, scanout_id: u32, resource_id: u32, at: (u32, u32), hot: (u32, u32)) -> Result<()> {
        let (x, y, hot_x, hot_y) = (at.0, at.1, hot.0, hot.1);
        self.queue_cursor(&Command::UpdateCursor { scanout_id, x, y, resource_id, hot_x, hot_y })?;
        self.kick_cursor();
        self.finish_cursor()
    }

    /// MOVE_CURSOR, waited for until it is used. Linux repeats the resource of the last UPDATE_CURSOR in it.
    pub fn move_cursor(&mut self, scanout_id: u32, resource_id: u32, at: (u32, u32)) -> Result<()> {
        self.queue_cursor(&Command::MoveCursor { scanout_id, x: at.0, y: at.1, resource_id })?;
        self.kick_cursor();
        self.finish_cursor()
    }

    /// A resource with its backing attached, both answered with OK_NODATA.
    pub fn create_with_backing(
        &mut self,
        resource_id: u32,
        format: u32,
        size: (u32, u32),
        entries: &[MemEntry],
    ) -> Result<()> {
        self.create_2d(resource_id, format, size.0, size.1)?.ok()?;
        self.attach_backing(resource_id, entries)?.ok().map(drop)
    }
}
