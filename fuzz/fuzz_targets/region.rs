//! A region as text: refused, or an interval on the contig that reads back from its own text.
#![no_main]

use jobs::genome::{Contig, Contigs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let contig = |name: &str, length| Contig { name: name.to_owned(), length, m5: [0; 16] };
    let contigs = Contigs::new(vec![contig("20", 1000), contig("HLA:1", 50), contig("X", u32::MAX)]);
    if let Ok(interval) = contigs.parse_region(text) {
        assert!(interval.start < interval.end && interval.end <= contigs.get(interval.contig).length);
        assert_eq!(contigs.parse_region(&contigs.display(interval)), Ok(interval));
    }
});
