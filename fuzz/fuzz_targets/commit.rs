//! The bytes of a commit beneath the journal's checksum: whatever they hold, a commit that comes back, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storage::Commit;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(commit) = postcard::from_bytes::<Commit>(bytes) {
        let again = postcard::to_stdvec(&commit).expect("plain data");
        assert_eq!(postcard::from_bytes::<Commit>(&again).as_ref(), Ok(&commit));
        commit.pieces.iter().for_each(|piece| assert!(piece.end() >= piece.offset));
    }
});
