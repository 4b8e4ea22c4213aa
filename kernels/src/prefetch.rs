//! Asks the processor for memory ahead of its use, so that the waits of independent look-ups overlap.
//!
//! Invariant: nothing that is computed depends on it; where a machine has no such instruction it does nothing.

#![allow(unsafe_code, reason = "the instruction is reached through an intrinsic that takes a pointer")]

/// Asks for the cache line of an item; one that does not exist is ignored.
#[inline(always)]
pub fn prefetch<T>(items: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = items.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has SSE; the pointer is that of an item, and the instruction reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, at);
}
