//! A FASTQ file: whatever it holds, records that BAM can hold or a refusal; and, of a sound file, the same records from
//! every seek point.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakachi_fuzz::on_file;
use workers::fastq::{FastqReader, NAME_BYTES_MAX, QUALITY_MAX, Reads};

fuzz_target!(|bytes: &[u8]| {
    on_file(bytes, |path| {
        let Ok(mut reader) = FastqReader::open(path) else { return };
        let mut records = Vec::new();
        let is_sound = loop {
            let (point, mut reads) = (reader.seek_point(), Reads::default());
            match reader.read(&mut reads) {
                Ok(true) => records.push((point, reads)),
                Ok(false) => break true,
                Err(_) => break false,
            }
        };
        for (before, (point, reads)) in records.iter().enumerate() {
            assert!((1..=NAME_BYTES_MAX).contains(&reads.name(0).len()));
            assert_eq!(reads.sequence(0).len(), reads.qualities(0).len());
            assert!(reads.sequence(0).iter().all(|&code| code <= 4));
            assert!(reads.qualities(0).iter().all(|&quality| quality <= QUALITY_MAX));
            if is_sound {
                let resumed = FastqReader::resume(path, point, before as u64);
                let (mut resumed, mut again) = (resumed.expect("a point of this file"), Reads::default());
                assert!(resumed.read(&mut again).expect("a record read before"));
                assert_eq!(again, *reads);
            }
        }
    });
});
