//! A block of alignment entries: whatever it holds, entries whose every field can be read, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use workers::entry::decode;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((entry, after)) = decode(rest) {
        let record = &entry.record;
        let mut bases = Vec::new();
        record.sequence(&mut bases);
        assert_eq!((bases.len(), record.qualities().len()), (record.bases(), record.bases()));
        assert!(bases.iter().all(|&code| code <= 4));
        let _ = (record.cigar().rev().count(), record.reference_bases(), record.packed_sequence());
        let _ = (record.tag(b"NM"), record.tag_values().count(), format!("{record:?}"));
        let mut again = Vec::new();
        entry.encode(&mut again);
        let (back, nothing) = decode(&again).expect("an entry just encoded");
        assert_eq!((back.place, back.order, back.record.bytes()), (entry.place, entry.order, record.bytes()));
        assert!(nothing.is_empty());
        rest = after;
    }
});
