//! The one session that the library has in a process: from its initialisation to its cleanup.
//!
//! All of the library's state is global and of one thread: so there is one [`Session`] at a time, which stays in the thread
//! that opened it. What it calls back, it calls while it is called, in this thread; fences that are done are noted then and
//! told by [`Session::retire`]. Which contexts and textures exist is kept here as well: the library takes a number
//! anew without asking what it stood for, and what a stream of commands says of them has to be seen through before.
//!
//! A context must not end with a fence of its own under way: the library frees that one while the thread that waits for it
//! still looks at it (0.10.4), which ends the process. So the end is put off until the fence was told; with a context the
//! library also forgets whatever fence it waits for just then, so that one for all of them is put there again.

#![allow(unsafe_code, reason = "a C library's functions can't be called by safe code")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, mem};

use virglrenderer_sys::{self as c, virgl_renderer_callbacks, virgl_renderer_resource_info};

use super::bounds::Known;
use super::library::{Library, check_opengl, egl_knows, library};
use super::pending::{Done, Pending, Told};
use super::stream::{self, Textures};
use super::{Capset, OpenError, Refused, messages};
use crate::gpu::command::Create3d;

/// The callbacks' version: that of `write_context_fence`. The library may know fewer than the header that this was compiled
/// with, never fewer than these.
const CALLBACKS_VERSION: c_int = 3;

/// The ring of a context that every context of virgl's has, and the only one.
pub const RING: u8 = 0;

/// What Mesa is asked for by its environment: no shaders of guests on the host's disk, where the sandbox lets nobody write;
/// and no GPU, where none was chosen.
const NO_CACHE: (&str, &str) = ("MESA_SHADER_CACHE_DISABLE", "true");
const SOFTWARE: (&str, &str) = ("LIBGL_ALWAYS_SOFTWARE", "true");

/// The platforms that virglrenderer draws on, as EGL calls them.
const GBM: &str = "EGL_KHR_platform_gbm";
const SURFACELESS: &str = "EGL_MESA_platform_surfaceless";

/// Whether there is a session.
static OPEN: AtomicBool = AtomicBool::new(false);

/// What the callbacks leave behind, and find.
#[derive(Debug, Default)]
struct Inbox {
    told: RefCell<Vec<Told>>,
    /// The GPU's node, until the library asks for it.
    node: RefCell<Option<OwnedFd>>,
}

impl Inbox {
    fn tell(&self, fence: Told) {
        // Nobody holds it while the library is called.
        if let Ok(mut told) = self.told.try_borrow_mut() {
            told.push(fence);
        }
    }
}

/// A texture that exists.
#[derive(Debug)]
struct Entry {
    known: Known,
    /// Bytes of a row of the first level, once that was asked for.
    stride: Option<u32>,
}

/// The library at work.
#[derive(Debug)]
pub struct Session {
    library: &'static Library,
    inbox: Rc<Inbox>,
    /// The library's until the cleanup.
    callbacks: NonNull<virgl_renderer_callbacks>,
    has_node: bool,
    pending: RefCell<Pending>,
    /// What was told last: kept for its room.
    told: RefCell<Vec<Told>>,
    contexts: RefCell<HashMap<u32, stream::Context>>,
    textures: RefCell<HashMap<u32, Entry>>,
}

impl Session {
    /// Starts the library, on the GPU of `node`, or in software where there is none.
    ///
    /// # Errors
    /// It is not there, there is a session already, or it has no way to draw.
    pub fn open(node: Option<OwnedFd>) -> Result<Rc<Self>, OpenError> {
        set_environment(node.is_some())?;
        let library = library()?;
        check_opengl()?;
        if !egl_knows(if node.is_some() { GBM } else { SURFACELESS })? {
            return Err(OpenError::Start { on_node: node.is_some() });
        }
        // What an earlier session did, in whichever thread, is done before this one begins.
        if OPEN.swap(true, Ordering::Acquire) {
            return Err(OpenError::Again);
        }
        messages::take(library);
        let mut flags = c::VIRGL_RENDERER_USE_EGL | c::VIRGL_RENDERER_THREAD_SYNC;
        let has_node = node.is_some();
        if !has_node {
            flags |= c::VIRGL_RENDERER_USE_SURFACELESS;
        }
        let inbox = Rc::new(Inbox { node: RefCell::new(node), ..Inbox::default() });
        let callbacks = NonNull::from(Box::leak(Box::new(callbacks())));
        let (pending, told, contexts, textures) = Default::default();
        let session = Self { library, inbox, callbacks, has_node, pending, told, contexts, textures };
        // SAFETY: the callbacks and what they use live until the cleanup, which the session's drop calls; after a failure
        // too, where it does nothing.
        let answer =
            unsafe { (library.virgl_renderer_init)(session.cookie(), flags.cast_signed(), session.callbacks.as_ptr()) };
        if answer != 0 {
            return Err(OpenError::Start { on_node: has_node });
        }
        Ok(Rc::new(session))
    }

    /// What the callbacks are called with.
    fn cookie(&self) -> *mut c_void {
        Rc::as_ptr(&self.inbox).cast_mut().cast()
    }

    pub fn library(&self) -> &'static Library {
        self.library
    }

    pub fn has_node(&self) -> bool {
        self.has_node
    }

    /// The descriptor that is readable when fences are done.
    ///
    /// # Errors
    /// The library has none here, or there are no descriptors left.
    pub fn poll_fd(&self) -> io::Result<OwnedFd> {
        // SAFETY: it only answers.
        let fd = unsafe { (self.library.virgl_renderer_get_poll_fd)() };
        if fd < 0 {
            return Err(io::Error::other("virglrenderer has no descriptor that tells when fences are done"));
        }
        // SAFETY: the library keeps it open as long as the session lives.
        unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
    }

    /// Looks which fences are done, and tells `each`. Contexts that waited for theirs end.
    pub fn retire(&self, each: &mut dyn FnMut(Done)) {
        // SAFETY: it calls back with the cookie, in this thread; nothing of the inbox is borrowed.
        unsafe { (self.library.virgl_renderer_poll)() };
        let mut told = self.told.borrow_mut();
        mem::swap(&mut *told, &mut self.inbox.told.borrow_mut());
        for fence in told.drain(..) {
            let done = self.pending.borrow_mut().told(fence);
            each(done);
        }
        while let Some(ctx) = self.take_ended() {
            self.end_context(ctx);
        }
    }

    /// How many fences were asked for since the newest that is done.
    pub fn fences_under_way(&self) -> u64 {
        self.pending.borrow().count()
    }

    fn take_ended(&self) -> Option<u32> {
        self.pending.borrow_mut().take_ended()
    }

    /// The capability set of that number, if the library has it.
    pub fn capset(&self, id: u32) -> Option<(Capset, Box<[u8]>)> {
        let (mut max_version, mut max_size) = (0, 0);
        // SAFETY: it writes the two numbers.
        unsafe { (self.library.virgl_renderer_get_cap_set)(id, &raw mut max_version, &raw mut max_size) };
        if max_size == 0 {
            return None;
        }
        let mut words = vec![0_u64; max_size.div_ceil(8) as usize];
        // SAFETY: of a set that it has, it fills as many bytes as it said: a structure of numbers, aligned as they are.
        unsafe { (self.library.virgl_renderer_fill_caps)(id, max_version, words.as_mut_ptr().cast()) };
        let bytes: Box<[u8]> = words.into_iter().flat_map(u64::to_ne_bytes).take(max_size as usize).collect();
        // A set that is known but does not work here stays empty.
        bytes.iter().any(|byte| *byte != 0).then_some((Capset { id, max_version, max_size }, bytes))
    }

    /// Makes a context.
    ///
    /// # Errors
    /// There is one of that number, or the library refuses.
    pub fn create_context(&self, id: u32, capset_id: u8, name: &CStr) -> Result<(), Refused> {
        if self.contexts.borrow().contains_key(&id) {
            return Err(Refused);
        }
        // The library stops at the end of the string anyway.
        let len = u32::try_from(name.to_bytes().len()).unwrap_or(0);
        let answer = match capset_id {
            // SAFETY: the name is a string of so many bytes, and is copied.
            0 => unsafe { (self.library.virgl_renderer_context_create)(id, len, name.as_ptr()) },
            capset => {
                let create = self.library.virgl_renderer_context_create_with_flags;
                // SAFETY: as above.
                unsafe { create(id, capset.into(), len, name.as_ptr()) }
            }
        };
        if answer != 0 {
            return Err(Refused);
        }
        self.contexts.borrow_mut().insert(id, stream::Context::default());
        Ok(())
    }

    /// Whether there is a context of that number, be it one whose end is put off.
    pub fn has_context(&self, id: u32) -> bool {
        self.contexts.borrow().contains_key(&id)
    }

    /// Ends a context, if there is one: now, or once its fences are done.
    pub fn destroy_context(&self, id: u32) {
        if !self.pending.borrow_mut().puts_off(id) {
            self.end_context(id);
        }
    }

    fn end_context(&self, id: u32) {
        if self.contexts.borrow_mut().remove(&id).is_none() {
            return;
        }
        // SAFETY: the context is there, and has no fence of its own under way.
        unsafe { (self.library.virgl_renderer_context_destroy)(id) };
        // The library may have forgotten one with it.
        let again = self.pending.borrow_mut().again();
        if let Some(fence) = again {
            // Where the library refuses, what was forgotten comes with the next fence.
            let _ = self.put(fence);
        }
    }

    /// Puts a fence behind all that was asked so far.
    ///
    /// # Errors
    /// The library refuses.
    pub fn fence(&self) -> Result<u64, Refused> {
        let fence = self.pending.borrow_mut().next();
        self.put(fence).map(|()| fence)
    }

    fn put(&self, fence: u64) -> Result<(), Refused> {
        let number = self.pending.borrow_mut().add(fence);
        // SAFETY: it has no pointers, and may call back.
        let answer = unsafe { (self.library.virgl_renderer_create_fence)(number.cast_signed(), 0) };
        if answer == 0 { Ok(()) } else { Err(Refused) }
    }

    /// Puts a fence on a context's ring.
    ///
    /// # Errors
    /// No such context, or the library refuses.
    pub fn fence_context(&self, ctx: u32) -> Result<u64, Refused> {
        if !self.has_context(ctx) {
            return Err(Refused);
        }
        let fence = self.pending.borrow_mut().next();
        // Without MERGEABLE: answers are found by the fence that they wait for, so each is to be told.
        let flags = 0;
        // SAFETY: the context is there, and stays until this fence was told; it has no pointers, and what it calls back finds
        // the inbox free.
        let answer = unsafe { (self.library.virgl_renderer_context_create_fence)(ctx, flags, RING.into(), fence) };
        if answer != 0 {
            return Err(Refused);
        }
        self.pending.borrow_mut().add_of_context(ctx, fence);
        Ok(fence)
    }

    /// Has a context do what the commands say. The library does not change them.
    ///
    /// # Errors
    /// No such context; more commands than there are, or some that are not to be, none of which is done then; the library
    /// refuses them, after it has done those before.
    pub fn submit(&self, ctx: u32, commands: &mut [u64], dwords: u32) -> Result<(), Refused> {
        let mut contexts = self.contexts.borrow_mut();
        let context = contexts.get_mut(&ctx).ok_or(Refused)?;
        let stream = context.check(commands, dwords, self)?;
        let answer = self.give(ctx, commands, dwords);
        match answer {
            Ok(()) => context.follow(stream, commands),
            Err(Refused) => context.doubt(stream),
        }
        answer
    }

    /// Has the library do so many words of commands.
    fn give(&self, ctx: u32, commands: &mut [u64], dwords: u32) -> Result<(), Refused> {
        let Some(number) = c_int::try_from(dwords).ok().filter(|_| dwords.div_ceil(2) as usize <= commands.len())
        else {
            return Err(Refused);
        };
        if number == 0 {
            return Ok(());
        }
        // SAFETY: so many dwords are there, as was just seen, aligned, and nobody else's while it reads them.
        let answer = unsafe {
            (self.library.virgl_renderer_submit_cmd)(commands.as_mut_ptr().cast(), ctx.cast_signed(), number)
        };
        if answer == 0 { Ok(()) } else { Err(Refused) }
    }

    /// Sees to it that no context uses a texture that goes next.
    pub fn release(&self, texture: u32) {
        for (ctx, context) in self.contexts.borrow_mut().iter_mut() {
            let (mut commands, dwords) = context.release(texture);
            // A context that does nothing any more refuses, and uses nothing either.
            let _ = self.give(*ctx, &mut commands, dwords);
        }
    }

    /// Notes that a texture is being made. `false` where there is one of its number.
    pub fn take_number(&self, made: &Create3d) -> bool {
        let (id, mut textures) = (made.resource_id.0, self.textures.borrow_mut());
        if id == 0 || textures.contains_key(&id) {
            return false;
        }
        textures.insert(id, Entry { known: Known { made: *made, backing: 0 }, stride: None });
        true
    }

    /// Notes that a texture has a backing of so many bytes.
    pub fn set_backing(&self, texture: u32, bytes: u64) {
        if let Some(entry) = self.textures.borrow_mut().get_mut(&texture) {
            entry.known.backing = bytes;
        }
    }

    /// The number is free again.
    pub fn free_number(&self, texture: u32) {
        self.textures.borrow_mut().remove(&texture);
    }

    /// What the library knows of a texture, and whether it answered. What it writes before it fails is right as well.
    pub fn info(&self, texture: u32) -> (c_int, virgl_renderer_resource_info) {
        // SAFETY: it is of numbers, for which zero is a value.
        let mut info: virgl_renderer_resource_info = unsafe { mem::zeroed() };
        // SAFETY: it writes the structure.
        let answer = unsafe { (self.library.virgl_renderer_resource_get_info)(texture.cast_signed(), &raw mut info) };
        (answer, info)
    }
}

impl Textures for Session {
    fn known(&self, id: u32) -> Option<Known> {
        self.textures.borrow().get(&id).map(|entry| entry.known)
    }

    fn stride(&self, id: u32) -> Option<u32> {
        let mut textures = self.textures.borrow_mut();
        let entry = textures.get_mut(&id)?;
        if entry.stride.is_none() {
            entry.stride = Some(self.info(id).1.stride).filter(|stride| *stride > 0);
        }
        entry.stride
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: this ends what init began; where that failed, it does nothing. Every texture holds the session, so none
        // of them is left; and before it ends the contexts, it ends the thread that waits for their fences.
        unsafe { (self.library.virgl_renderer_cleanup)(self.cookie()) };
        // SAFETY: it came out of a box, and the library forgot it just now.
        drop(unsafe { Box::from_raw(self.callbacks.as_ptr()) });
        OPEN.store(false, Ordering::Release);
    }
}

/// The callbacks of ours; the others are not there.
fn callbacks() -> virgl_renderer_callbacks {
    // SAFETY: it is of a number and of optional functions, for which zero is none. That way it does not matter which ones
    // the header has that this was compiled with.
    let mut callbacks: virgl_renderer_callbacks = unsafe { mem::zeroed() };
    callbacks.version = CALLBACKS_VERSION;
    callbacks.write_fence = Some(write_fence);
    callbacks.write_context_fence = Some(write_context_fence);
    callbacks.get_drm_fd = Some(get_drm_fd);
    callbacks
}

unsafe extern "C" fn write_fence(cookie: *mut c_void, fence: u32) {
    // SAFETY: the cookie is the inbox of the session, which lives; nobody has it exclusively.
    let inbox = unsafe { &*cookie.cast::<Inbox>() };
    inbox.tell(Told::Whole(fence));
}

unsafe extern "C" fn write_context_fence(cookie: *mut c_void, ctx: u32, _ring: u32, fence: u64) {
    // SAFETY: as in write_fence.
    let inbox = unsafe { &*cookie.cast::<Inbox>() };
    inbox.tell(Told::Context { ctx, fence });
}

/// The library owns what it gets.
unsafe extern "C" fn get_drm_fd(cookie: *mut c_void) -> c_int {
    // SAFETY: as in write_fence.
    let inbox = unsafe { &*cookie.cast::<Inbox>() };
    inbox.node.try_borrow_mut().ok().and_then(|mut node| node.take()).map_or(-1, IntoRawFd::into_raw_fd)
}

/// Tells Mesa what is wanted of it, by the environment: what [`Renderer::open`](super::Renderer::open) does as well, for
/// those who make threads before that.
///
/// # Errors
/// It is not told yet, and there are other threads, which may be reading the environment.
pub fn set_environment(on_node: bool) -> Result<(), OpenError> {
    let wanted = [Some(NO_CACHE), (!on_node).then_some(SOFTWARE)];
    for (name, value) in wanted.into_iter().flatten() {
        if std::env::var_os(name).is_some_and(|is| is == value) {
            continue;
        }
        let tasks = fs::read_dir("/proc/self/task").and_then(Iterator::collect::<io::Result<Vec<_>>>);
        if tasks.map_or(0, |tasks| tasks.len()) != 1 {
            return Err(OpenError::Threads(name));
        }
        // SAFETY: this is the only thread, as was just seen: nobody reads the environment meanwhile. There is no other way
        // to ask Mesa for this.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}
