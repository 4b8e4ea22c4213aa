//! How much freed memory the C library keeps.
//!
//! Encoders and readers take and free some megabytes again and again. By default each time they are given back to the
//! system and asked for anew, page by page: a sixth of what sorting costs. Knows nothing of what memory is for.

#![allow(unsafe_code, reason = "the C library is told by a call of its own")]

/// Freed memory at the end of a thread's share that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 32 << 20;

/// Keeps up to so much memory for each thread; what is larger than that at once goes back as before.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt (mallopt(3)) takes two integers, is safe to call at any time before other threads are started, and
    // leaves everything as it is where it does not know the option or its value.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
