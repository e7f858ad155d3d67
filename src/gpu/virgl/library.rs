//! `libvirglrenderer.so.1`, loaded when 3D is asked for and not before.
//!
//! It is not linked: a program that serves 2D alone maps neither it nor EGL nor a driver, and starts where none of them is
//! installed. The functions of the oldest version that is supported (0.10.4) must be there; what came later is an option,
//! so that one binary runs with all. Their types are compared with the declarations of the crate `virglrenderer-sys` when
//! this is compiled.

#![allow(unsafe_code, reason = "a library that is loaded at run time can't be called by safe code")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
use virglrenderer_sys::{
    iovec, virgl_box, virgl_renderer_callbacks, virgl_renderer_resource_create_args, virgl_renderer_resource_info,
};

use super::OpenError;

/// The name under which all versions since 0.3 are installed.
const NAME: &str = "libvirglrenderer.so.1";

/// libepoxy, through which virglrenderer calls EGL, ends the process where this is not there.
const EGL: &str = "libEGL.so.1";

/// And one of these, through which it calls OpenGL.
const OPENGL: &str = "libOpenGL.so.0";
const GL: &str = "libGL.so.1";

/// `EGL_EXTENSIONS`.
const EGL_EXTENSIONS: c_int = 0x3055;

/// `eglQueryString`.
type QueryString = unsafe extern "C" fn(display: *mut c_void, name: c_int) -> *const c_char;

/// As the C library's headers have it: an array or a structure, which both reach a function as a pointer, on x86-64 and on
/// aarch64.
pub type VaList = *mut c_void;

/// `virgl_debug_callback_type`.
pub type DebugCallback = unsafe extern "C" fn(format: *const c_char, arguments: VaList);

/// `virgl_log_callback_type`, of version 1.0.
pub type LogCallback = unsafe extern "C" fn(level: u32, message: *const c_char, data: *mut c_void);

/// `virgl_renderer_resource_info_ext`, of version 1.0, with room behind it.
#[repr(C)]
pub struct ResourceInfoExt {
    pub version: c_int,
    pub base: virgl_renderer_resource_info,
    pub has_dmabuf_export: bool,
    pub planes: c_int,
    pub modifiers: u64,
    /// Windows alone has one.
    pub d3d_texture: *mut c_void,
    /// Not the library's: EGL writes a modifier for each plane from `modifiers` on, and there can be four.
    pub room: [u64; 3],
}

/// The structure's version that is known here.
pub const RESOURCE_INFO_EXT_VERSION: c_int = 0;

macro_rules! library {
    (
        required { $($name:ident($($argument:ty),*) $(-> $answer:ty)?;)* }
        unchecked { $($foreign:ident: $foreign_type:ty;)* }
        optional { $($later:ident: $later_type:ty;)* }
    ) => {
        /// The functions, by their names in C.
        pub struct Library {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $answer)?,)*
            $(pub $foreign: $foreign_type,)*
            $(pub $later: Option<$later_type>,)*
            /// The functions are in memory as long as these are.
            _loaded: [Loaded; 2],
        }

        impl Library {
            fn resolve(loaded: Loaded, egl: Loaded) -> Result<Self, OpenError> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the symbol is the function of this name, whose type was compared with its declaration.
                        let symbol = unsafe { loaded.get(concat!(stringify!($name), "\0").as_bytes()) };
                        *symbol.map_err(OpenError::Library)?
                    },)*
                    $($foreign: {
                        // SAFETY: the symbol is the function of this name, whose type is that of its declaration in all
                        // versions.
                        let symbol = unsafe { loaded.get(concat!(stringify!($foreign), "\0").as_bytes()) };
                        *symbol.map_err(OpenError::Library)?
                    },)*
                    $($later: {
                        // SAFETY: as above, in all versions that have it.
                        let symbol = unsafe { loaded.get(concat!(stringify!($later), "\0").as_bytes()) };
                        symbol.ok().map(|symbol| *symbol)
                    },)*
                    _loaded: [loaded, egl],
                })
            }
        }

        $(const _: unsafe extern "C" fn($($argument),*) $(-> $answer)? = virglrenderer_sys::$name;)*
    };
}

library! {
    required {
        virgl_renderer_init(*mut c_void, c_int, *mut virgl_renderer_callbacks) -> c_int;
        virgl_renderer_cleanup(*mut c_void);
        virgl_renderer_get_poll_fd() -> c_int;
        virgl_renderer_poll();
        virgl_renderer_get_cap_set(u32, *mut u32, *mut u32);
        virgl_renderer_fill_caps(u32, u32, *mut c_void);
        virgl_renderer_context_create(u32, u32, *const c_char) -> c_int;
        virgl_renderer_context_create_with_flags(u32, u32, u32, *const c_char) -> c_int;
        virgl_renderer_context_destroy(u32);
        virgl_renderer_resource_create(*mut virgl_renderer_resource_create_args, *mut iovec, u32) -> c_int;
        virgl_renderer_resource_unref(u32);
        virgl_renderer_resource_attach_iov(c_int, *mut iovec, c_int) -> c_int;
        virgl_renderer_resource_detach_iov(c_int, *mut *mut iovec, *mut c_int);
        virgl_renderer_resource_get_info(c_int, *mut virgl_renderer_resource_info) -> c_int;
        virgl_renderer_ctx_attach_resource(c_int, c_int);
        virgl_renderer_ctx_detach_resource(c_int, c_int);
        virgl_renderer_submit_cmd(*mut c_void, c_int, c_int) -> c_int;
        virgl_renderer_transfer_write_iov(u32, u32, c_int, u32, u32, *mut virgl_box, u64, *mut iovec, u32) -> c_int;
        virgl_renderer_transfer_read_iov(u32, u32, u32, u32, u32, *mut virgl_box, u64, *mut iovec, c_int) -> c_int;
        virgl_renderer_create_fence(c_int, u32) -> c_int;
        virgl_renderer_context_create_fence(u32, u32, u32, u64) -> c_int;
        virgl_renderer_force_ctx_0();
        virgl_renderer_get_fd_for_texture2(u32, *mut c_int, *mut c_int, *mut c_int) -> c_int;
    }
    unchecked {
        // The declaration names the processor's own type for the arguments.
        virgl_set_debug_callback: unsafe extern "C" fn(Option<DebugCallback>) -> Option<DebugCallback>;
    }
    optional {
        virgl_set_log_callback:
            unsafe extern "C" fn(Option<LogCallback>, *mut c_void, Option<unsafe extern "C" fn(*mut c_void)>);
        virgl_renderer_resource_get_info_ext: unsafe extern "C" fn(c_int, *mut ResourceInfoExt) -> c_int;
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

/// Whether EGL, as it is installed here, knows `platform`. virglrenderer goes on without it until it crashes (0.10.4).
///
/// # Errors
/// EGL is not installed.
pub fn egl_knows(platform: &str) -> Result<bool, OpenError> {
    let egl = load(EGL)?;
    // SAFETY: the symbol is the function of this name, which has this type in every version of EGL.
    let query: QueryString = *unsafe { egl.get(b"eglQueryString\0") }.map_err(OpenError::Library)?;
    // SAFETY: without a display it is asked for what does not need one. The answer is a string for good, or null.
    let answer = unsafe { query(ptr::null_mut(), EGL_EXTENSIONS) };
    if answer.is_null() {
        return Ok(false);
    }
    // SAFETY: as was just said.
    let names = unsafe { CStr::from_ptr(answer) };
    Ok(names.to_string_lossy().split(' ').any(|name| name == platform))
}

/// Sees whether OpenGL itself is installed: libepoxy, by which virglrenderer calls it, ends the process where it is not.
///
/// # Errors
/// It is not.
pub fn check_opengl() -> Result<(), OpenError> {
    load(OPENGL).or_else(|_| load(GL)).map(drop)
}

/// The library, loaded at the first call. It stays: drivers that it loads in turn have threads, which nobody can unload.
///
/// # Errors
/// It, or EGL, is not installed, or is too old.
pub fn library() -> Result<&'static Library, OpenError> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let library = Library::resolve(load(NAME)?, load(EGL)?)?;
    Ok(LIBRARY.get_or_init(|| library))
}

fn load(name: &str) -> Result<Loaded, OpenError> {
    // SAFETY: what runs when a library is loaded is what its distributor put there; these two do what they do in every
    // program that draws. There is no other way to have them in some processes only.
    unsafe { Loaded::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(OpenError::Library)
}
