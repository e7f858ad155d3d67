//! The kernel's mode-setting interface: ioctls on the card, and buffers that it maps for us.
//!
//! This is the only file with `unsafe` in it. Every structure that holds a pointer is filled here, from a slice that
//! outlives the call; what comes out is plain data.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// A mode as the kernel writes it (`struct drm_mode_modeinfo`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Mode {
    pub clock: u32,
    pub hdisplay: u16,
    pub hsync_start: u16,
    pub hsync_end: u16,
    pub htotal: u16,
    pub hskew: u16,
    pub vdisplay: u16,
    pub vsync_start: u16,
    pub vsync_end: u16,
    pub vtotal: u16,
    pub vscan: u16,
    pub vrefresh: u32,
    pub flags: u32,
    pub kind: u32,
    pub name: [u8; 32],
}

impl Mode {
    const PREFERRED: u32 = 1 << 3;

    pub fn preferred(&self) -> bool {
        self.kind & Self::PREFERRED != 0
    }

    /// A mode of any size at 60 Hz; the blanking is made up, as a virtual screen has none.
    pub fn made_up(width: u16, height: u16) -> Self {
        let (htotal, vtotal) = (width + 160, height + 30);
        Mode {
            clock: u32::from(htotal) * u32::from(vtotal) * 60 / 1000,
            hdisplay: width,
            hsync_start: width + 48,
            hsync_end: width + 80,
            htotal,
            vdisplay: height,
            vsync_start: height + 3,
            vsync_end: height + 8,
            vtotal,
            vrefresh: 60,
            ..Mode::default()
        }
    }
}

#[repr(C)]
#[derive(Default)]
struct Resources {
    fb_ids: u64,
    crtc_ids: u64,
    connector_ids: u64,
    encoder_ids: u64,
    count_fbs: u32,
    count_crtcs: u32,
    count_connectors: u32,
    count_encoders: u32,
    limits: [u32; 4],
}

#[repr(C)]
#[derive(Default)]
struct GetConnector {
    encoders: u64,
    modes: u64,
    props: u64,
    prop_values: u64,
    count_modes: u32,
    count_props: u32,
    count_encoders: u32,
    encoder_id: u32,
    connector_id: u32,
    connector_type: u32,
    connector_type_id: u32,
    connection: u32,
    mm_width: u32,
    mm_height: u32,
    subpixel: u32,
    pad: u32,
}

#[repr(C)]
struct SetCrtc {
    connectors: u64,
    count_connectors: u32,
    crtc_id: u32,
    fb_id: u32,
    x: u32,
    y: u32,
    gamma_size: u32,
    mode_valid: u32,
    mode: Mode,
}

#[repr(C)]
struct Cursor2 {
    flags: u32,
    crtc_id: u32,
    x: i32,
    y: i32,
    width: u32,
    height: u32,
    handle: u32,
    hot_x: i32,
    hot_y: i32,
}

#[repr(C)]
struct PageFlip {
    crtc_id: u32,
    fb_id: u32,
    flags: u32,
    reserved: u32,
    user_data: u64,
}

#[repr(C)]
struct DirtyFb {
    fb_id: u32,
    flags: u32,
    color: u32,
    num_clips: u32,
    clips: u64,
}

/// A clip rectangle (`struct drm_clip_rect`): the far edges are outside.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Clip {
    pub x1: u16,
    pub y1: u16,
    pub x2: u16,
    pub y2: u16,
}

#[repr(C)]
#[derive(Default)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[repr(C)]
struct MapDumb {
    handle: u32,
    pad: u32,
    offset: u64,
}

#[repr(C)]
#[derive(Default)]
struct AddFb2 {
    fb_id: u32,
    width: u32,
    height: u32,
    pixel_format: u32,
    flags: u32,
    handles: [u32; 4],
    pitches: [u32; 4],
    offsets: [u32; 4],
    modifiers: [u64; 4],
}

/// What the kernel says of a connector.
pub struct Connector {
    pub connected: bool,
    pub modes: Vec<Mode>,
}

/// An open card. The first opener is its master; the text console stays away from heads that a master has set.
pub struct Card {
    file: File,
}

impl Card {
    pub fn open(path: &str) -> io::Result<Self> {
        Ok(Card { file: File::options().read(true).write(true).open(path)? })
    }

    /// # Safety
    /// `NR` and `T` belong together as the kernel's header has them, and each pointer in `arg` is good for the count
    /// that stands beside it until the call returns.
    unsafe fn ioctl<const NR: u8, T>(&self, arg: &mut T) -> io::Result<()> {
        let request = 3 << 30 | (size_of::<T>() as u64) << 16 | u64::from(b'd') << 8 | u64::from(NR);
        loop {
            // SAFETY: the caller vouches for number, type and pointers; `arg` itself is exclusive and lives long enough.
            let rc = unsafe { libc::ioctl(self.file.as_raw_fd(), request, std::ptr::from_mut(arg)) };
            if rc == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// The ids of all CRTCs and all connectors, in the kernel's order.
    pub fn resources(&self) -> io::Result<(Vec<u32>, Vec<u32>)> {
        let mut crtcs = [0u32; 32];
        let mut connectors = [0u32; 32];
        let mut arg = Resources {
            crtc_ids: crtcs.as_mut_ptr() as u64,
            count_crtcs: crtcs.len() as u32,
            connector_ids: connectors.as_mut_ptr() as u64,
            count_connectors: connectors.len() as u32,
            ..Resources::default()
        };
        // SAFETY: GETRESOURCES; both arrays have the lengths given, the other counts are 0.
        unsafe { self.ioctl::<0xa0, _>(&mut arg)? };
        let take = |ids: &[u32], n: u32| ids.iter().take(n as usize).copied().collect();
        Ok((take(&crtcs, arg.count_crtcs), take(&connectors, arg.count_connectors)))
    }

    /// Probes a connector: the driver asks its device anew.
    pub fn connector(&self, id: u32) -> io::Result<Connector> {
        let mut probe = GetConnector { connector_id: id, ..GetConnector::default() };
        // SAFETY: GETCONNECTOR with all counts 0, so the kernel writes no array.
        unsafe { self.ioctl::<0xa7, _>(&mut probe)? };
        let mut modes = vec![Mode::default(); probe.count_modes as usize + 16];
        let mut arg = GetConnector {
            connector_id: id,
            modes: modes.as_mut_ptr() as u64,
            count_modes: modes.len() as u32,
            ..GetConnector::default()
        };
        // SAFETY: GETCONNECTOR; `modes` has the length given, the other counts are 0.
        unsafe { self.ioctl::<0xa7, _>(&mut arg)? };
        modes.truncate(arg.count_modes as usize);
        Ok(Connector { connected: arg.connection == 1, modes })
    }

    /// Shows framebuffer `fb_id` from `x`,`y` on; `None` turns the CRTC off.
    pub fn set_crtc(&self, crtc_id: u32, connector: u32, show: Option<(u32, u32, u32, Mode)>) -> io::Result<()> {
        let connectors = [connector];
        let (fb_id, x, y, mode) = show.unwrap_or_default();
        let on = u32::from(show.is_some());
        let mut arg = SetCrtc {
            connectors: connectors.as_ptr() as u64,
            count_connectors: on,
            crtc_id,
            fb_id,
            x,
            y,
            gamma_size: 0,
            mode_valid: on,
            mode,
        };
        // SAFETY: SETCRTC; `connectors` has one element and lives until the end of this function.
        unsafe { self.ioctl::<0xa2, _>(&mut arg) }
    }

    /// Gives the CRTC a cursor (`handle` 0 hides it).
    pub fn set_cursor(&self, crtc_id: u32, handle: u32, size: u32, hot: (i32, i32)) -> io::Result<()> {
        const BO: u32 = 1;
        let (width, height) = (size, size);
        let mut arg = Cursor2 { flags: BO, crtc_id, x: 0, y: 0, width, height, handle, hot_x: hot.0, hot_y: hot.1 };
        // SAFETY: CURSOR2 holds no pointer.
        unsafe { self.ioctl::<0xbb, _>(&mut arg) }
    }

    pub fn move_cursor(&self, crtc_id: u32, x: i32, y: i32) -> io::Result<()> {
        const MOVE: u32 = 2;
        let mut arg = Cursor2 { flags: MOVE, crtc_id, x, y, width: 0, height: 0, handle: 0, hot_x: 0, hot_y: 0 };
        // SAFETY: CURSOR2 holds no pointer.
        unsafe { self.ioctl::<0xbb, _>(&mut arg) }
    }

    /// Flips to another framebuffer and waits for the event that says it is done.
    pub fn flip(&self, crtc_id: u32, fb_id: u32) -> io::Result<()> {
        const EVENT: u32 = 1;
        let mut arg = PageFlip { crtc_id, fb_id, flags: EVENT, reserved: 0, user_data: 0 };
        // SAFETY: PAGE_FLIP holds no pointer.
        unsafe { self.ioctl::<0xb0, _>(&mut arg)? };
        let mut event = [0u8; 1024];
        (&self.file).read(&mut event).map(drop)
    }

    /// Says that parts of a framebuffer have changed.
    pub fn dirty(&self, fb_id: u32, clips: &[Clip]) -> io::Result<()> {
        let mut arg =
            DirtyFb { fb_id, flags: 0, color: 0, num_clips: clips.len() as u32, clips: clips.as_ptr() as u64 };
        // SAFETY: DIRTYFB; `clips` has the length given and the kernel only reads it.
        unsafe { self.ioctl::<0xb1, _>(&mut arg) }
    }

    fn add_fb(&self, dumb: &CreateDumb, fourcc: [u8; 4]) -> io::Result<u32> {
        let mut arg = AddFb2 {
            width: dumb.width,
            height: dumb.height,
            pixel_format: u32::from_le_bytes(fourcc),
            handles: [dumb.handle, 0, 0, 0],
            pitches: [dumb.pitch, 0, 0, 0],
            ..AddFb2::default()
        };
        // SAFETY: ADDFB2 holds no pointer.
        unsafe { self.ioctl::<0xb8, _>(&mut arg)? };
        Ok(arg.fb_id)
    }

    fn remove_fb(&self, mut fb_id: u32) {
        // SAFETY: RMFB takes one u32. A failure leaves the framebuffer to the end of the process.
        let _ = unsafe { self.ioctl::<0xaf, _>(&mut fb_id) };
    }

    fn destroy_dumb(&self, mut handle: u32) {
        // SAFETY: DESTROY_DUMB takes one u32. A failure leaves the buffer to the end of the process.
        let _ = unsafe { self.ioctl::<0xb4, _>(&mut handle) };
    }

    fn map_dumb(&self, dumb: &CreateDumb) -> io::Result<*mut libc::c_void> {
        let mut arg = MapDumb { handle: dumb.handle, pad: 0, offset: 0 };
        // SAFETY: MAP_DUMB holds no pointer.
        unsafe { self.ioctl::<0xb3, _>(&mut arg)? };
        let (protection, offset) = (libc::PROT_READ | libc::PROT_WRITE, arg.offset as libc::off_t);
        let (size, fd) = (dumb.size as usize, self.file.as_raw_fd());
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that exists.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, fd, offset) };
        if map == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(map) }
    }
}

/// A buffer of 32-bit pixels that the card can show, mapped, with its framebuffer. Gone when dropped.
pub struct Buffer {
    card: Rc<Card>,
    pub width: u32,
    pub height: u32,
    /// Pixels from one row to the next.
    pub stride: usize,
    pub handle: u32,
    pub fb_id: u32,
    map: *mut libc::c_void,
    size: usize,
}

impl Buffer {
    /// An opaque picture.
    pub fn screen(card: &Rc<Card>, width: u32, height: u32) -> io::Result<Self> {
        Self::new(card, width, height, *b"XR24")
    }

    /// A picture with alpha, for a cursor.
    pub fn cursor(card: &Rc<Card>, size: u32) -> io::Result<Self> {
        Self::new(card, size, size, *b"AR24")
    }

    fn new(card: &Rc<Card>, width: u32, height: u32, fourcc: [u8; 4]) -> io::Result<Self> {
        let mut dumb = CreateDumb { width, height, bpp: 32, ..CreateDumb::default() };
        // SAFETY: CREATE_DUMB holds no pointer.
        unsafe { card.ioctl::<0xb2, _>(&mut dumb)? };
        let made = card.map_dumb(&dumb).and_then(|map| match card.add_fb(&dumb, fourcc) {
            Ok(fb_id) => Ok((map, fb_id)),
            Err(error) => {
                // SAFETY: `map` was mapped just now with this size, and nobody else knows of it.
                unsafe { libc::munmap(map, dumb.size as usize) };
                Err(error)
            }
        });
        let (map, fb_id) = made.inspect_err(|_| card.destroy_dumb(dumb.handle))?;
        Ok(Buffer {
            card: Rc::clone(card),
            width,
            height,
            stride: dumb.pitch as usize / 4,
            handle: dumb.handle,
            fb_id,
            map,
            size: dumb.size as usize,
        })
    }

    pub fn pixels(&mut self) -> &mut [u32] {
        // SAFETY: the mapping is `size` bytes long, page-aligned, lives as long as `self`, and `&mut self` keeps any
        // other slice of it away. The device reads the memory beside us and writes none.
        unsafe { std::slice::from_raw_parts_mut(self.map.cast(), self.stride * self.height as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no slice of it outlives `self`.
        unsafe { libc::munmap(self.map, self.size) };
        self.card.remove_fb(self.fb_id);
        self.card.destroy_dumb(self.handle);
    }
}
