//! Guest memory whose file is truncated while it is mapped: the access raises SIGBUS, which must not end the program.
//!
//! The front end keeps the file, so it, or whoever it shares it with, can shorten it at any time; looking at its size
//! before each access would still leave a gap. So a handler puts empty memory in the place of what is gone, marks the
//! mapping as lost and lets the access go on. The loop sees that something was lost ([`losses`]) and breaks the rings.
//!
//! A mapping is in the table as long as its [`Guard`] lives, which is a part of the mapping itself: vm-memory lets a region
//! carry a bitmap, and this is one that tracks nothing. A SIGBUS anywhere else is what it always was.

#![allow(unsafe_code, reason = "a signal handler, and the mmap in it, have no safe form")]

use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vm_memory::bitmap::{Bitmap, NewBitmap, WithBitmapSlice};

/// Most mappings at a time: the memory slots of a front end, as many of one before whose pictures are still being sent,
/// and some for the tests, which serve many front ends in one process.
const ENTRIES: usize = 4096;

/// A mapping; free where `end` is 0.
struct Entry {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

static TABLE: [Entry; ENTRIES] = [const {
    Entry {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; ENTRIES];

/// Entries beyond this one were never taken.
static USED: AtomicUsize = AtomicUsize::new(0);

/// How often something was lost.
static LOSSES: AtomicUsize = AtomicUsize::new(0);

/// How often a mapping of this process was lost so far.
pub fn losses() -> usize {
    LOSSES.load(Ordering::Relaxed)
}

/// Keeps a mapping in the table.
#[derive(Debug, Default)]
pub struct Guard {
    /// The entry's number, plus one; 0 for none.
    entry: AtomicUsize,
}

impl Guard {
    /// Watches the `len` bytes at `start`, which must stay mapped as long as this lives. `false` where the table is full.
    pub fn watch(&self, start: *const u8, len: usize) -> bool {
        install();
        let free = TABLE.iter().enumerate().find(|(_, entry)| !entry.taken.swap(true, Ordering::AcqRel));
        let Some((number, entry)) = free else { return false };
        entry.lost.store(false, Ordering::Relaxed);
        entry.start.store(start.addr(), Ordering::Relaxed);
        entry.end.store(start.addr().saturating_add(len), Ordering::Release);
        self.entry.store(number + 1, Ordering::Relaxed);
        USED.fetch_max(number + 1, Ordering::AcqRel);
        true
    }

    /// Whether a part of the mapping was lost.
    pub fn is_lost(&self) -> bool {
        self.watched().is_some_and(|entry| entry.lost.load(Ordering::Relaxed))
    }

    fn watched(&self) -> Option<&'static Entry> {
        TABLE.get(self.entry.load(Ordering::Relaxed).checked_sub(1)?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(entry) = self.watched() {
            entry.end.store(0, Ordering::Release);
            entry.taken.store(false, Ordering::Release);
        }
    }
}

impl WithBitmapSlice<'_> for Guard {
    type S = ();
}

impl Bitmap for Guard {
    fn mark_dirty(&self, _offset: usize, _len: usize) {}

    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    fn slice_at(&self, _offset: usize) {}
}

/// For memory that nobody can truncate.
impl NewBitmap for Guard {
    fn with_len(_len: usize) -> Self {
        Self::default()
    }
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all zeroes is a valid sigaction: no handler, no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `action` is whole, and its handler calls nothing that a handler may not.
        let done = unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) };
        // It fails for a signal that does not exist, and for no other reason.
        debug_assert_eq!(done, 0);
    });
}

/// Only atomics, `mmap` and `signal` are used here, which may be at any moment of the program.
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "a pointer that a call returns is read, sound for one reason")]
extern "C" fn handle(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO; of a SIGBUS it has the address.
    let address = unsafe { (*info).si_addr() }.addr();
    // SAFETY: errno's place is this thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let mut healed = false;
    for entry in TABLE.iter().take(USED.load(Ordering::Acquire)) {
        let (start, end) = (entry.start.load(Ordering::Relaxed), entry.end.load(Ordering::Acquire));
        if (start..end).contains(&address) {
            healed |= replace(address, start, end);
            entry.lost.store(true, Ordering::Relaxed);
        }
    }
    if healed {
        LOSSES.fetch_add(1, Ordering::Relaxed);
    } else {
        // SAFETY: the default action is a valid one: when this returns, the access is tried again and ends the program.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Puts empty memory into the place of a mapping from the page of `address` to its end: of a file that was truncated all
/// that is gone. Where that cannot be (pages of another size), into the place of all of it.
fn replace(address: usize, start: usize, end: usize) -> bool {
    const PAGE: usize = 4096;
    let page = (address & !(PAGE - 1)).max(start);
    [page, start].into_iter().any(|from| {
        let len = end - from;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = ptr::with_exposed_provenance_mut(from);
        // SAFETY: the range lies in a mapping that is in the table, which is ours and which nobody refers to but by
        // volatile accesses that may find any bytes: the guest writes there at any time.
        let mapped = unsafe { libc::mmap(at, len, prot, flags, -1, 0) };
        mapped != libc::MAP_FAILED
    })
}
