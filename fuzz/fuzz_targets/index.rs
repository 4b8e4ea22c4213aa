//! An index file: a sound one with bytes changed and its checksum made to fit again, so that its content is what is
//! judged. Whatever it holds, an index whose every base can be read, or a refusal.
//!
//! The input is a list of changes, six bytes each: offset from the end of the fixed header (u32), operation, operand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::OnceLock;
use workers::index_file::{ReferenceIndex, build, path_of};

/// Where the checksum stands, and what it covers.
const CHECKSUM: std::ops::Range<usize> = 32..64;

struct Sound {
    fasta: PathBuf,
    bytes: Vec<u8>,
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let fasta = wakachi_fuzz::path("fa");
        let bases: String = (0..3000u32)
            .map(|i| char::from(b"ACGT"[(i.wrapping_mul(2_654_435_761) >> 13) as usize % 4]))
            .collect();
        let text = format!(">one\n{}NNNNNNNNNN{}\n>two\n{}\n", &bases[..1000], &bases[1000..], &bases[..500]);
        std::fs::write(&fasta, text).expect("a temporary file");
        build(&fasta, &path_of(&fasta), &|_| ()).expect("a sound FASTA");
        let bytes = std::fs::read(path_of(&fasta)).expect("an index just built");
        Sound { fasta, bytes }
    })
}

fuzz_target!(|changes: &[u8]| {
    let Sound { fasta, bytes } = sound();
    let mut bytes = bytes.clone();
    for &[a, b, c, d, operation, operand] in changes.as_chunks::<6>().0 {
        let body = bytes.len() - CHECKSUM.end;
        let at = CHECKSUM.end + u32::from_le_bytes([a, b, c, d]) as usize % body;
        match operation % 4 {
            0 => bytes[at] = operand,
            1 => bytes[at] ^= 1 << (operand % 8),
            2 => bytes[at] = bytes[at].wrapping_add(operand),
            // Numbers in the header: version and sections, and the description's length.
            _ => bytes[8 + at % 16] = operand,
        }
    }
    let length = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&length.to_le_bytes());
    let checksum = blake3::hash(&bytes[CHECKSUM.end..]);
    bytes[CHECKSUM].copy_from_slice(checksum.as_bytes());
    std::fs::write(path_of(fasta), &bytes).expect("a temporary file");
    let Ok(index) = ReferenceIndex::open(fasta, &path_of(fasta)) else { return };
    let (reference, mut letters) = (index.reference(), Vec::new());
    for contig in 0..index.contigs().len() as u32 {
        reference.letters(contig, 0, reference.length(contig).min(1 << 20), &mut letters);
    }
    let _ = index.index().shape();
});
