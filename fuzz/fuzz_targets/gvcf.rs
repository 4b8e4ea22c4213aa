//! gVCF, as a stored cell and as a file: whatever it holds, calls or a refusal; and calls that were accepted come back
//! from their own text. A sound header stands before the text, so that its records are reached.
#![no_main]

use jobs::genome::{Contig, Contigs, Grid, Interval};
use libfuzzer_sys::fuzz_target;
use wakachi_fuzz::on_file;
use workers::vcf::{Kind, SampleReader, header_text, parse_cell, write_gvcf};

fuzz_target!(|text: &[u8]| {
    let contig = |name: &str, length| Contig { name: name.to_owned(), length, m5: [0; 16] };
    let contigs = Contigs::new(vec![contig("20", 100_000), contig("X", 500)]);
    let cell = Interval { contig: 0, start: 0, end: 65_536 };
    if let Ok(calls) = parse_cell(text, &contigs, cell) {
        let mut own = Vec::new();
        write_gvcf(&contigs, 0, &calls, |_| b'A', &mut own);
        assert_eq!(parse_cell(&own, &contigs, cell).as_ref(), Ok(&calls));
    }
    let header = header_text(Kind::Gvcf, &contigs, &["S"], "0");
    for file in [text, &[header.as_bytes(), text].concat()] {
        on_file(file, |path| {
            let Ok(mut reader) = SampleReader::open(path, &contigs) else { return };
            let grid = Grid::new(&contigs);
            let cells = (0..grid.cells()).map(|cell| grid.interval(jobs::genome::Cell(cell)));
            let _ = cells.map(|cell| reader.read_cell(cell)).collect::<Result<Vec<_>, _>>();
        });
    }
});
