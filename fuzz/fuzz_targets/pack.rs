//! A pack whose bytes changed after they were committed: every block is what was written, or a refusal.
//!
//! The first byte is the number of blocks, the second half of the rest is a list of changes: offset (u16) and byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use storage::{BlockEntry, Packs, PieceRef, RecordBuilder, SampleKey};

fn key() -> &'static SampleKey {
    static KEY: OnceLock<SampleKey> = OnceLock::new();
    KEY.get_or_init(SampleKey::fleeting)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&blocks, rest)) = bytes.split_first() else { return };
    let (text, changes) = rest.split_at(rest.len() / 2);
    let pieces: Vec<&[u8]> = text.chunks(text.len() / (usize::from(blocks % 8) + 1) + 1).collect();
    let mut builder = RecordBuilder::new(key(), "task");
    for (i, piece) in pieces.iter().enumerate() {
        let entry = BlockEntry { kind: blocks, first: i as u64, last: 7, count: 1 };
        builder.block(entry, piece).expect("a small block");
    }
    let mut record = builder.finish();
    for &[a, b, byte] in changes.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([a, b])) % record.len();
        let place = record.len() - 1 - at;
        record[place] = byte;
    }
    wakachi_fuzz::on_file(&record, |path| {
        let pack = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let piece = PieceRef { pack, offset: 0, length: record.len() as u64, blake3: [0; 32] };
        let packs = Packs::new(path.parent().expect("a folder"));
        let Ok(reader) = packs.record(&piece, key(), "task") else { return };
        assert_eq!(reader.entries().len(), pieces.len());
        let mut block = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            if reader.read_block(i, &mut block).is_ok() {
                assert_eq!(block, *piece);
            }
        }
        let _ = packs.record(&piece, key(), "another task").expect_err("sealed for another task");
    });
});
