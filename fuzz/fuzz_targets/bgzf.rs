//! BGZF blocks: whatever they hold, text or a refusal; and any text comes back from the blocks made of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use workers::vcf::{compress_cell, decompress_cell};

fuzz_target!(|bytes: &[u8]| {
    let _ = decompress_cell(bytes);
    assert_eq!(decompress_cell(&compress_cell(bytes)).expect("blocks just made"), bytes);
});
