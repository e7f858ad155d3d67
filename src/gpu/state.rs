//! What the guest has made of the device: resources, scanouts, cursors, contexts; and what each command does to them.
//!
//! A refusal is an answer like any other (VIRTIO 1.3, 5.7.6.7). What a command shows is left in the scanouts and
//! cursors for the painter to take.
//!
//! Here are the 2D commands, but for transfers ([`pull`]); the 3D ones are in [`three_d`], blobs in [`blobs`]. How 2D pictures
//! are shown in place is in [`sharing`], and what is read only once it shall be seen in [`late`].

mod blobs;
mod late;
mod pull;
mod sharing;
mod three_d;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use log::Level;
use uuid::Uuid;
use vm_memory::GuestAddress;

use super::backing::{self, Backing, Entry};
use super::budget::{Budget, Charge};
use super::command::{
    ATTACH_BACKING_ENTRIES, Command, CursorPos, Header, MAX_SCANOUTS, MEM_ENTRY_SIZE, MemEntry, ResourceId, ScanoutId,
    Status,
};
use super::dialog::Question;
use super::pointer::Pointer;
use super::rect::Rect;
use super::rendering::Rendering;
use super::resource::{Pixels, Resource};
use super::scanout::Scanout;
use super::trim;
use super::udmabuf::Exporter;
use crate::vhost_proto::chain::Chain;
use crate::vhost_proto::memory::GuestMemory;
use crate::{log_within, logger};
use late::Late;
pub use late::goes_with_late;
use pull::Pull;

/// What a command comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response without contents.
    Status(Status),
    /// RESOURCE_ASSIGN_UUID's.
    Uuid([u8; 16]),
    /// The display has to be asked first.
    Ask(Question),
    /// GET_CAPSET_INFO's.
    CapsetInfo { id: u32, max_version: u32, max_size: u32 },
    /// GET_CAPSET's: that capability set, see [`State::capset`].
    Capset { id: u32, version: u32 },
    /// It is done, but the display has not taken the frame before of the scanouts with these bits.
    Wait(u16),
}

/// All that the guest made.
#[derive(Debug)]
pub struct State {
    /// Boxed, so that growing the map moves little.
    resources: HashMap<ResourceId, Box<Resource>>,
    /// By scanout id.
    pub scanouts: [Scanout; MAX_SCANOUTS],
    /// By scanout id.
    pub pointers: [Pointer; MAX_SCANOUTS],
    budget: Rc<Budget>,
    /// What can be rendered with, where there is something.
    pub rendering: Option<Rendering>,
    /// What is read and shown once the commands at hand are done.
    late: Late,
    /// What makes 2D resources go by DMABUF.
    exporter: Option<Exporter>,
    /// The transfer that was answered and is not done yet.
    pull: Option<Pull>,
    /// How many bands were transferred, which tells what they brought apart.
    bands: u64,
    /// Pixels worked on in this turn, or what takes about as long.
    work: u64,
    /// What is said of a guest that wants more memory than it may have.
    complaints: logger::Budget,
}

/// Bytes that a guest frees before the host gets them back: at a reset, and meanwhile.
const FREED_AT_RESET: u64 = 1 << 20;
const FREED_AT_ONCE: u64 = 16 << 20;

/// What fitting a cursor takes at the most, in pixels copied.
const WORK_OF_CURSOR: u64 = 128 * 1024;
/// What looking one entry of a backing up takes, in pixels copied.
const WORK_OF_ENTRY: u64 = 32;

impl State {
    /// Nothing made yet; guests can make us hold at most `max_hostmem` bytes.
    pub fn new(max_hostmem: u64, rendering: Option<Rendering>) -> Self {
        Self {
            resources: HashMap::new(),
            scanouts: Default::default(),
            pointers: Default::default(),
            budget: Budget::new(max_hostmem),
            rendering,
            late: Late::default(),
            exporter: None,
            pull: None,
            bands: 0,
            work: 0,
            complaints: logger::Budget::new(1, Duration::from_secs(60)),
        }
    }

    /// 2D resources go by DMABUF from now on, where that can be.
    pub fn export_by(&mut self, exporter: Exporter) {
        self.exporter = Some(exporter);
    }

    /// Bytes of host memory held for it.
    pub fn hostmem(&self) -> u64 {
        self.budget.held()
    }

    /// All of it is gone.
    pub fn reset(&mut self) {
        self.pull = None;
        self.late.clear();
        self.resources = HashMap::new();
        if let Some(rendering) = &mut self.rendering {
            rendering.reset();
        }
        self.scanouts.iter_mut().for_each(Scanout::reset);
        self.pointers.iter_mut().for_each(Pointer::hide);
        self.trim(FREED_AT_RESET);
    }

    /// Gives the host back what was freed, if it is more than `bytes`.
    fn trim(&self, bytes: u64) {
        if self.budget.take_freed(bytes) {
            trim::trim();
        }
    }

    /// Another display has to be told everything.
    pub fn new_display(&mut self) {
        self.scanouts.iter_mut().for_each(Scanout::new_display);
        self.pointers.iter_mut().for_each(Pointer::new_display);
    }

    /// Looks all backings up anew.
    pub fn memory_changed(&mut self, memory: &GuestMemory) {
        self.finish_pull();
        self.settle();
        self.resources.values_mut().for_each(|resource| resource.memory_changed(memory));
        let shared = self.resources.iter().filter(|(_, resource)| resource.is_shared());
        for id in shared.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.unshare(id);
        }
    }

    /// Does what `command` says; `header` and `chain` are the request's, for its context and for what follows its fixed
    /// part.
    ///
    /// A transfer may be left under way: before its answer reaches the guest, [`State::pull_band`] finishes it. Until then
    /// only commands that [`State::goes_with_pull`] may be executed.
    pub fn execute(&mut self, header: &Header, command: &Command, chain: &Chain, memory: &GuestMemory) -> Outcome {
        if !goes_with_late(command) {
            self.settle();
        }
        let result = match *command {
            Command::GetDisplayInfo => return Outcome::Ask(Question::DisplayInfo),
            Command::GetEdid { scanout_id } => {
                if scanout_id.0 as usize >= MAX_SCANOUTS {
                    Err(Status::ErrInvalidScanoutId)
                } else {
                    return Outcome::Ask(Question::Edid(scanout_id));
                }
            }
            Command::AssignUuid { resource_id } => match self.assign_uuid(resource_id) {
                Ok(uuid) => return Outcome::Uuid(uuid),
                Err(status) => Err(status),
            },
            Command::Create2d { resource_id, format, width, height } => self.create(resource_id, format, width, height),
            Command::Unref { resource_id } => self.unref(resource_id),
            Command::SetScanout { rect, scanout_id, resource_id } => self.set_scanout(rect, scanout_id, resource_id),
            Command::Flush { rect, resource_id } => match self.flush(rect, resource_id) {
                Ok(0) => Ok(()),
                Ok(scanouts) => return Outcome::Wait(scanouts),
                Err(status) => Err(status),
            },
            Command::TransferToHost2d { rect, offset, resource_id } => self.transfer(rect, offset, resource_id),
            Command::AttachBacking { resource_id, nr_entries } => self.attach(resource_id, nr_entries, chain, memory),
            Command::DetachBacking { resource_id } => self.detach(resource_id),
            Command::UpdateCursor { pos, resource_id, hot_x, hot_y } => {
                self.update_cursor(pos, resource_id, (hot_x, hot_y))
            }
            Command::MoveCursor { pos } => self.pointer(pos.scanout_id).map(|pointer| pointer.move_to(pos.x, pos.y)),
            Command::CreateBlob(ref command) => self.create_blob(command, chain, memory),
            Command::SetScanoutBlob(ref command) => self.set_scanout_blob(command),
            Command::GetCapsetInfo { index } => match self.capset_info(index) {
                Ok(outcome) => return outcome,
                Err(status) => Err(status),
            },
            Command::GetCapset { id, version } if self.capset(id, version).is_some() => {
                return Outcome::Capset { id, version };
            }
            Command::GetCapset { .. } if self.rendering.is_none() => Err(Status::ErrUnspec),
            Command::GetCapset { .. } => Err(Status::ErrInvalidParameter),
            Command::CtxCreate(_)
            | Command::CtxDestroy
            | Command::CtxAttachResource { .. }
            | Command::CtxDetachResource { .. }
            | Command::Create3d(_)
            | Command::TransferToHost3d(_)
            | Command::TransferFromHost3d(_)
            | Command::Submit3d { .. } => self.execute_3d(header.ctx_id, command, chain, memory),
            // Blobs of host memory, which were not offered.
            Command::MapBlob { .. } | Command::UnmapBlob { .. } => Err(Status::ErrUnspec),
        };
        if let Err(Status::ErrOutOfMemory) = result {
            log_within!(self.complaints, Level::Warn, "the guest needs more than --max-hostmem allows");
        }
        Outcome::Status(result.map_or_else(|status| status, |()| Status::OkNoData))
    }

    fn resource(&mut self, id: ResourceId) -> Result<&mut Resource, Status> {
        self.resources.get_mut(&id).map(Box::as_mut).ok_or(Status::ErrInvalidResourceId)
    }

    fn pointer(&mut self, id: ScanoutId) -> Result<&mut Pointer, Status> {
        self.pointers.get_mut(id.0 as usize).ok_or(Status::ErrInvalidScanoutId)
    }

    /// Whether a new resource can have this id.
    fn check_new(&self, id: ResourceId) -> Result<(), Status> {
        if id == ResourceId::NONE || self.resources.contains_key(&id) {
            return Err(Status::ErrInvalidResourceId);
        }
        Ok(())
    }

    fn create(&mut self, id: ResourceId, format: u32, width: u32, height: u32) -> Result<(), Status> {
        self.check_new(id)?;
        let resource = Resource::new_2d(format, width, height, &self.budget)?;
        self.resources.insert(id, Box::new(resource));
        Ok(())
    }

    /// A resource that goes is taken off the scanouts that show it.
    fn unref(&mut self, id: ResourceId) -> Result<(), Status> {
        let resource = self.resources.remove(&id).ok_or(Status::ErrInvalidResourceId)?;
        for scanout in shown_on(&mut self.scanouts, resource.shown_on) {
            scanout.disable();
        }
        if self.resources.len() < self.resources.capacity() / 4 {
            self.resources.shrink_to(self.resources.len() * 2);
        }
        if let Some(rendering) = self.rendering.as_mut().filter(|_| resource.contexts > 0) {
            rendering.forget(id);
        }
        drop(resource);
        self.trim(FREED_AT_ONCE);
        Ok(())
    }

    fn set_scanout(&mut self, rect: Rect, scanout_id: ScanoutId, id: ResourceId) -> Result<(), Status> {
        let scanout = self.scanouts.get_mut(scanout_id.0 as usize).ok_or(Status::ErrInvalidScanoutId)?;
        let before = scanout.resource();
        if id == ResourceId::NONE {
            scanout.disable();
            self.shown_instead(scanout_id, before, id);
            return Ok(());
        }
        let resource = self.resources.get_mut(&id).ok_or(Status::ErrInvalidResourceId)?;
        // A blob is shown by SET_SCANOUT_BLOB.
        let is_blob = matches!(resource.pixels, Pixels::Blob(_));
        let size = resource.size().ok_or(if is_blob { Status::ErrUnspec } else { Status::ErrInvalidParameter })?;
        if rect.is_empty() || !size.contains(&rect) {
            return Err(Status::ErrInvalidParameter);
        }
        if resource.is_read_late() {
            return self.show_late(scanout_id, id, rect);
        }
        let shared = self.exporter.as_ref().and_then(|exporter| resource.share(exporter));
        if shared.is_some_and(|buffer| scanout.show_dmabuf(id, buffer, rect)) {
            self.shown_instead(scanout_id, before, id);
        } else {
            // Perhaps a part that can't be shown in place.
            self.unshare(id);
            let image = self.resource(id)?.image().map(Rc::clone).ok_or(Status::ErrUnspec)?;
            self.show_image(scanout_id, id, &image, rect)?;
        }
        if !self.flush_with_pull(rect, id) {
            // What is put on a scanout is seen at once.
            flush_all(&mut self.scanouts, 1 << scanout_id.0, rect);
        }
        Ok(())
    }

    /// Notes that a scanout shows resource `id` in place of the one `before`.
    fn shown_instead(&mut self, scanout_id: ScanoutId, before: Option<ResourceId>, id: ResourceId) {
        let bit = 1u16.checked_shl(scanout_id.0).unwrap_or(0);
        if let Some(before) = before.filter(|before| *before != id)
            && let Some(resource) = self.resources.get_mut(&before)
        {
            resource.shown_on &= !bit;
        }
        if let Some(resource) = self.resources.get_mut(&id) {
            resource.shown_on |= bit;
            resource.was_shown = true;
        }
    }

    /// Returns the scanouts for which the guest should wait, by bit.
    fn flush(&mut self, rect: Rect, id: ResourceId) -> Result<u16, Status> {
        let resource = self.resources.get_mut(&id).ok_or(Status::ErrInvalidResourceId)?;
        if resource.size().is_some_and(|size| !size.contains(&rect)) {
            return Err(Status::ErrInvalidParameter);
        }
        resource.drawn();
        let shown = resource.shown_on;
        let late = resource.is_read_late();
        let draws = if late { self.flush_late(rect, id) } else { self.flush_with_pull(rect, id) };
        if !late && !draws {
            flush_all(&mut self.scanouts, shown, rect);
        }
        Ok(bits(&self.scanouts, |scanout| scanout.holds_guest(draws)) & shown)
    }

    /// The scanouts whose display has a frame that it has not taken, by bit.
    pub fn waiting(&self) -> u16 {
        bits(&self.scanouts, Scanout::is_waiting)
    }

    /// The display took frames of the scanouts with these bits.
    pub fn taken(&mut self, scanouts: u16) {
        shown_on(&mut self.scanouts, scanouts).for_each(Scanout::taken);
    }

    /// Begins to count the work anew.
    pub fn begin_turn(&mut self) {
        self.work = 0;
    }

    /// Pixels worked on in this turn, or what takes about as long.
    pub fn work(&self) -> u64 {
        self.work
    }

    fn attach(&mut self, id: ResourceId, count: u32, chain: &Chain, memory: &GuestMemory) -> Result<(), Status> {
        let resource = self.resources.get(&id).ok_or(Status::ErrInvalidResourceId)?;
        if resource.backing().is_some() {
            return Err(Status::ErrUnspec);
        }
        let (backing, charge) = self.read_backing(count, ATTACH_BACKING_ENTRIES as u64, chain, memory)?;
        self.resource(id)?.attach(backing, charge);
        Ok(())
    }

    /// The guest memory of the `count` entries that stand at byte `at` of a request.
    fn read_backing(
        &mut self,
        count: u32,
        at: u64,
        chain: &Chain,
        memory: &GuestMemory,
    ) -> Result<(Backing, Charge), Status> {
        self.work += u64::from(count.min(backing::MAX_ENTRIES)) * WORK_OF_ENTRY;
        let supplied = chain.readable_len().saturating_sub(at);
        if u64::from(count) * MEM_ENTRY_SIZE as u64 > supplied {
            return Err(Status::ErrInvalidParameter);
        }
        if count > backing::MAX_ENTRIES {
            return Err(Status::ErrUnspec);
        }
        let entries = read_entries(count, at, chain, memory);
        let backing = Backing::new(entries, memory).ok_or(Status::ErrUnspec)?;
        let charge = self.budget.charge(backing.cost()).ok_or(Status::ErrOutOfMemory)?;
        Ok((backing, charge))
    }

    fn detach(&mut self, id: ResourceId) -> Result<(), Status> {
        self.unshare(id);
        if self.resource(id)?.detach() { Ok(()) } else { Err(Status::ErrUnspec) }
    }

    fn assign_uuid(&mut self, id: ResourceId) -> Result<[u8; 16], Status> {
        let resource = self.resource(id)?;
        Ok(*resource.uuid.get_or_insert_with(|| Uuid::new_v4().into_bytes()))
    }

    fn update_cursor(&mut self, pos: CursorPos, id: ResourceId, hot: (u32, u32)) -> Result<(), Status> {
        let pointer = self.pointer(pos.scanout_id)?;
        if id == ResourceId::NONE {
            pointer.hide();
            return Ok(());
        }
        self.unshare(id);
        let image = self.cursor_image(id)?;
        self.pointer(pos.scanout_id)?.set_shape(&image, hot, pos.x, pos.y);
        self.work += WORK_OF_CURSOR;
        Ok(())
    }
}

fn flush_all(scanouts: &mut [Scanout], bits: u16, rect: Rect) {
    for scanout in shown_on(scanouts, bits) {
        scanout.flush(rect);
    }
}

/// The bits of the scanouts of which `is_so` holds.
fn bits(scanouts: &[Scanout], is_so: impl Fn(&Scanout) -> bool) -> u16 {
    scanouts.iter().rev().fold(0, |bits, scanout| bits << 1 | u16::from(is_so(scanout)))
}

/// The scanouts whose bits are set.
fn shown_on(scanouts: &mut [Scanout], bits: u16) -> impl Iterator<Item = &mut Scanout> {
    scanouts.iter_mut().enumerate().filter(move |(index, _)| bits & (1 << index) != 0).map(|(_, scanout)| scanout)
}

/// A list of memory entries at byte `at` of a request; the chain is known to hold that many.
fn read_entries(count: u32, at: u64, chain: &Chain, memory: &GuestMemory) -> Vec<Entry> {
    const AT_A_TIME: usize = 64;
    let mut entries = Vec::with_capacity(count as usize);
    let mut bytes = [0; AT_A_TIME * MEM_ENTRY_SIZE];
    let mut offset = at;
    while entries.len() < count as usize {
        let now = (count as usize - entries.len()).min(AT_A_TIME);
        let Some(part) = bytes.get_mut(..now * MEM_ENTRY_SIZE) else { break };
        offset += chain.read_at(memory.map(), offset, part) as u64;
        let parsed = part.as_chunks::<MEM_ENTRY_SIZE>().0.iter().map(MemEntry::decode);
        entries.extend(parsed.map(|entry| Entry { addr: GuestAddress(entry.addr), len: entry.length }));
    }
    entries
}
