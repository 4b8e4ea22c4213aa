//! Raw deflate, decoded one block at a time, so that decoding can be taken up again in the middle of a stream.
//!
//! Invariant: input and output are borrowed for one call only; whatever the input, a step or `None` comes out.
#![allow(unsafe_code)] // zlib's interface is the only one that stops at block ends and starts from a bit offset

use libz_rs_sys as z;

/// How far back deflate may refer, in bytes.
pub const WINDOW_BYTES: usize = 1 << 15;

/// What one call did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Input bytes used up.
    pub consumed: usize,
    /// Output bytes written.
    pub produced: usize,
    /// Where the call stopped.
    pub at: Stop,
}

/// Where a call stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Input or output ran out.
    Within,
    /// Before a block that is not the first; this many bits of the last input byte belong to it.
    BlockStart(u8),
    /// At the end of the stream.
    End,
}

/// A decoder of one deflate stream.
pub struct Inflater(Box<z::z_stream>);

// SAFETY: the stream owns its state and has no thread affinity.
unsafe impl Send for Inflater {}

impl Inflater {
    /// A decoder at the start of a stream, or before a block: with the `bits` low bits of `value` still to come and
    /// the bytes before it as window. `None` if the window is too long.
    pub fn new(bits: u8, value: u8, window: &[u8]) -> Option<Inflater> {
        let mut stream = Box::new(z::z_stream::default());
        let length = u32::try_from(window.len()).ok().filter(|&length| length as usize <= WINDOW_BYTES)?;
        // SAFETY: the stream is zeroed with default allocators, and boxed, so its address is stable; version and size
        // are those of the linked library.
        unsafe {
            let size = size_of::<z::z_stream>() as i32;
            if z::inflateInit2_(&mut *stream, -15, z::zlibVersion(), size) != z::Z_OK {
                return None;
            }
            let mut inflater = Inflater(stream);
            let primed = bits == 0 || z::inflatePrime(&mut *inflater.0, bits.into(), value.into()) == z::Z_OK;
            let set =
                length == 0 || z::inflateSetDictionary(&mut *inflater.0, window.as_ptr(), length) == z::Z_OK;
            (primed && set).then_some(inflater)
        }
    }

    /// Decodes up to the next block start; `None` if the input is no deflate stream.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        let available = input.len().min(u32::MAX as usize) as u32;
        let space = output.len().min(u32::MAX as usize) as u32;
        let stream = &mut *self.0;
        stream.next_in = input.as_ptr();
        stream.avail_in = available;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = space;
        // SAFETY: both pointers describe live slices of at least the stated lengths, for this call only.
        let status = unsafe { z::inflate(stream, z::Z_BLOCK) };
        let at = match status {
            z::Z_STREAM_END => Stop::End,
            // 128: stopped behind a block; 64: it was the last one (zlib.h, inflate).
            z::Z_OK if stream.data_type & 0xc0 == 0x80 => Stop::BlockStart((stream.data_type & 7) as u8),
            z::Z_OK | z::Z_BUF_ERROR => Stop::Within,
            _ => return None,
        };
        Some(Step {
            consumed: (available - stream.avail_in) as usize,
            produced: (space - stream.avail_out) as usize,
            at,
        })
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, ended once.
        unsafe { z::inflateEnd(&mut *self.0) };
    }
}
