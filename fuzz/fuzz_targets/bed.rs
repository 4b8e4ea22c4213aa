//! A BED file: refused, or places within their contigs, in order and apart.
#![no_main]

use jobs::genome::{Contig, Contigs};
use libfuzzer_sys::fuzz_target;
use workers::call::parse_bed;

fuzz_target!(|text: &str| {
    let contig = |name: &str, length| Contig { name: name.to_owned(), length, m5: [0; 16] };
    let contigs = Contigs::new(vec![contig("20", 1000), contig("X", u32::MAX)]);
    match parse_bed(text, &contigs) {
        Ok(places) => {
            assert!(places.iter().all(|place| place.start < place.end));
            assert!(places.iter().all(|place| place.end <= contigs.get(place.contig).length));
            assert!(places.is_sorted_by(|a, b| (a.contig, a.end) < (b.contig, b.start)));
        }
        Err((line, _)) => assert!(line as usize <= text.lines().count()),
    }
});
