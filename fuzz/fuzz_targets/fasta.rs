//! A FASTA file: whatever it holds, contigs of IUPAC letters under names that SAM can hold, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use wakachi_fuzz::on_file;
use workers::fasta;

fuzz_target!(|bytes: &[u8]| {
    on_file(bytes, |path| {
        let mut names = HashSet::new();
        let _ = fasta::read(path, |contig, letters| {
            assert_eq!(contig.length as usize, letters.len());
            assert!(letters.iter().all(u8::is_ascii_uppercase));
            assert!(!contig.name.is_empty() && !contig.name.contains(char::is_whitespace));
            assert!(names.insert(contig.name));
            Ok::<(), ()>(())
        });
    });
});
