//! The state of the heads: which buffer each shows, in which mode, with which cursor.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use seat_guest::picture::{self, Rect};
use serde_json::{Value, json};

use crate::drm::{Buffer, Card, Clip, Mode};

const CARD: &str = "/dev/dri/card0";
const CURSOR_SIZE: u32 = 64;

/// The part of a buffer that a head shows.
pub struct View {
    pub head: usize,
    pub part: Rect,
}

pub struct Kms {
    pub card: Rc<Card>,
    heads: Vec<Head>,
}

pub struct Head {
    connector: u32,
    pub crtc: u32,
    /// What the head shows; heads that mirror each other, or stand side by side, share it.
    pub buffer: Option<Rc<RefCell<Buffer>>>,
    cursor: Option<(Buffer, (i32, i32))>,
}

impl Kms {
    pub fn open() -> Result<Self, String> {
        let card = Rc::new(Card::open(CARD).map_err(|e| format!("{CARD}: {e}"))?);
        let (crtcs, connectors) = card.resources().map_err(|e| format!("GETRESOURCES: {e}"))?;
        // virtio-gpu makes one CRTC and one connector of each scanout, in order.
        let heads = connectors.into_iter().zip(crtcs);
        let heads = heads.map(|(connector, crtc)| Head { connector, crtc, buffer: None, cursor: None }).collect();
        Ok(Kms { card, heads })
    }

    pub fn head(&mut self, head: usize) -> Result<&mut Head, String> {
        let count = self.heads.len();
        self.heads.get_mut(head).ok_or_else(|| format!("no head {head}: there are {count}"))
    }

    pub fn list(&self) -> Result<Vec<Value>, String> {
        let describe = |(index, head): (usize, &Head)| {
            let connector = self.card.connector(head.connector).map_err(|e| format!("GETCONNECTOR {index}: {e}"))?;
            let name = format!("Virtual-{}", index + 1);
            let sysfs = |file: &str| fs::read(format!("/sys/class/drm/card0-{name}/{file}")).unwrap_or_default();
            let enabled = sysfs("enabled") == b"enabled\n";
            let edid = sysfs("edid");
            let edid: String = edid.iter().map(|b| format!("{b:02x}")).collect();
            let modes: Vec<String> = connector.modes.iter().map(mode_name).collect();
            let connected = connector.connected;
            Ok(json!({"name": name, "connected": connected, "enabled": enabled, "modes": modes, "edid": edid}))
        };
        self.heads.iter().enumerate().map(describe).collect()
    }

    pub fn show(&mut self, seed: u32, (width, height): (u32, u32), views: &[View]) -> Result<(), String> {
        let mut buffer = Buffer::screen(&self.card, width, height).map_err(|e| format!("buffer: {e}"))?;
        let stride = buffer.stride;
        picture::paint(buffer.pixels(), stride, seed, Rect::of_size(width, height));
        let (fb_id, buffer) = (buffer.fb_id, Rc::new(RefCell::new(buffer)));
        let card = Rc::clone(&self.card);
        for view in views {
            let head = self.head(view.head)?;
            let (connector, crtc) = (head.connector, head.crtc);
            let mode = find_mode(&card, connector, view.part)?;
            let show = Some((fb_id, view.part.x, view.part.y, mode));
            card.set_crtc(crtc, connector, show).map_err(|e| format!("SETCRTC of head {}: {e}", view.head))?;
            // The buffer shown before goes here, once no head has it any more: a framebuffer that is removed while it
            // is shown would turn its head off.
            head.buffer = Some(Rc::clone(&buffer));
        }
        Ok(())
    }

    pub fn paint(&mut self, head: usize, seed: u32, rect: Rect) -> Result<(), String> {
        let card = Rc::clone(&self.card);
        let shown = self.head(head)?.buffer.as_ref().ok_or("the head shows nothing of ours")?;
        let mut buffer = shown.borrow_mut();
        let stride = buffer.stride;
        picture::paint(buffer.pixels(), stride, seed, rect);
        card.dirty(buffer.fb_id, &[clip(rect)?]).map_err(|e| format!("DIRTYFB: {e}"))
    }

    pub fn cursor(&mut self, head: usize, seed: u32, hot: (i32, i32)) -> Result<(), String> {
        let card = Rc::clone(&self.card);
        let head = self.head(head)?;
        let mut buffer = Buffer::cursor(&card, CURSOR_SIZE).map_err(|e| format!("cursor buffer: {e}"))?;
        let stride = buffer.stride;
        for (y, row) in buffer.pixels().chunks_exact_mut(stride).enumerate() {
            for (x, p) in row.iter_mut().enumerate() {
                *p = picture::cursor_pixel(seed, x as u32, y as u32);
            }
        }
        card.set_cursor(head.crtc, buffer.handle, CURSOR_SIZE, hot).map_err(|e| format!("CURSOR2: {e}"))?;
        head.cursor = Some((buffer, hot));
        Ok(())
    }

    pub fn move_cursor(&mut self, head: usize, x: i32, y: i32) -> Result<(), String> {
        let crtc = self.head(head)?.crtc;
        self.card.move_cursor(crtc, x, y).map_err(|e| format!("CURSOR2: {e}"))
    }

    pub fn hide_cursor(&mut self, head: usize) -> Result<(), String> {
        let card = Rc::clone(&self.card);
        let head = self.head(head)?;
        card.set_cursor(head.crtc, 0, 0, (0, 0)).map_err(|e| format!("CURSOR2: {e}"))?;
        head.cursor = None;
        Ok(())
    }

    pub fn off(&mut self, head: usize) -> Result<(), String> {
        let card = Rc::clone(&self.card);
        let head = self.head(head)?;
        card.set_crtc(head.crtc, head.connector, None).map_err(|e| format!("SETCRTC: {e}"))?;
        (head.buffer, head.cursor) = (None, None);
        Ok(())
    }

    /// Waits until the device has done what it was told before. The driver waits for a fence only when a cursor's shape
    /// changes, and that command stands behind all others in the control queue: so a cursor is set, the head's own or
    /// an empty one that goes at once.
    pub fn sync(&mut self, head: usize) -> Result<(), String> {
        let card = Rc::clone(&self.card);
        let head = self.head(head)?;
        let set =
            |handle, hot| card.set_cursor(head.crtc, handle, CURSOR_SIZE, hot).map_err(|e| format!("CURSOR2: {e}"));
        if let Some((buffer, hot)) = &head.cursor {
            return set(buffer.handle, *hot);
        }
        let empty = Buffer::cursor(&card, CURSOR_SIZE).map_err(|e| format!("cursor buffer: {e}"))?;
        set(empty.handle, (0, 0))?;
        card.set_cursor(head.crtc, 0, 0, (0, 0)).map_err(|e| format!("CURSOR2: {e}"))
    }
}

/// The connector's own mode of that size, or one made up: an even smaller one than its list has is good for a test.
fn find_mode(card: &Card, connector: u32, part: Rect) -> Result<Mode, String> {
    let modes = card.connector(connector).map_err(|e| format!("GETCONNECTOR: {e}"))?.modes;
    let fits = |m: &&Mode| u32::from(m.hdisplay) == part.width && u32::from(m.vdisplay) == part.height;
    if let Some(mode) = modes.iter().find(fits) {
        return Ok(*mode);
    }
    match (u16::try_from(part.width), u16::try_from(part.height)) {
        (Ok(width @ 1..=16384), Ok(height @ 1..=16384)) => Ok(Mode::made_up(width, height)),
        _ => Err(format!("no mode can be {}x{}", part.width, part.height)),
    }
}

fn mode_name(mode: &Mode) -> String {
    format!("{}x{}{}", mode.hdisplay, mode.vdisplay, if mode.preferred() { "*" } else { "" })
}

pub fn clip(rect: Rect) -> Result<Clip, String> {
    let edge = |value: u32| u16::try_from(value).map_err(|_| format!("outside of what DIRTYFB can say: {value}"));
    let (right, bottom) = (rect.x.saturating_add(rect.width), rect.y.saturating_add(rect.height));
    Ok(Clip { x1: edge(rect.x)?, y1: edge(rect.y)?, x2: edge(right)?, y2: edge(bottom)? })
}
