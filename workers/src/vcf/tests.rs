//! The room as a whole: simulated cohorts written, read back, joined, and looked at by others' readers.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::Command;

use jobs::genome::{CELL_BASES, Cell, Contig, Contigs, Grid, Interval};
use kernels::joint::{Options, Sample, joint_cell, reaching};
use kernels::variant::{Answer, CellCalls, Filter, RefBlock, SiteCall};
use noodles_core::Position;
use noodles_csi::binning_index::Indexer;
use noodles_csi::binning_index::index::header::Builder;
use noodles_csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles_csi::binning_index::index::reference_sequence::index::LinearIndex;
use noodles_csi::binning_index::index::{Index, reference_sequence};

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    fn one_of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len() as u32) as usize]
    }

    fn base(&mut self) -> u8 {
        *self.one_of(b"ACGT")
    }
}

fn contigs() -> Contigs {
    let contig = |name: &str, length| Contig { name: name.to_owned(), length, m5: [7; 16] };
    Contigs::new(vec![contig("20", 2 * CELL_BASES + 5000), contig("empty", 0), contig("HLA-A*01:01", 3000)])
}

/// The letter at a place: the same for all samples.
fn base_at(position: u32) -> u8 {
    Random(u64::from(position) ^ 0x5eed).base()
}

fn reference(position: u32, bases: u32) -> Vec<u8> {
    (position..position + bases).map(base_at).collect()
}

/// Calls of one sample's cell: a site about every 100 bases, deletions that reach over the cell's end among them.
fn calls(random: &mut Random, cell: Interval, contig_bases: u32, from: u32) -> CellCalls {
    let mut calls = CellCalls::default();
    let mut position = from;
    while position < cell.end {
        let bases = (1 + random.below(200)).min(cell.end - position);
        let answer = match random.below(20) {
            0 => Answer::NoReads,
            1 => Answer::NoUsableReads,
            2 => Answer::ReferenceUnknown,
            _ => Answer::Reference,
        };
        let depth = if answer == Answer::Reference { 10 + random.below(30) } else { 0 };
        let quality = if depth > 0 { random.below(100) } else { 0 };
        calls.blocks.push(RefBlock {
            start: position,
            end: position + bases,
            answer,
            depth,
            depth_min: depth - depth.min(random.below(3)),
            genotype_quality: quality as u8,
            likelihoods: [0, quality, quality * 11],
        });
        position += bases;
        if position < cell.end && position + 60 < contig_bases {
            let site = site(random, position);
            position += site.reference.len() as u32;
            calls.sites.push(site);
        }
    }
    calls
}

fn site(random: &mut Random, position: u32) -> SiteCall {
    let reference = reference(position, if random.below(6) == 0 { 2 + random.below(50) } else { 1 });
    let mut alternates: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1 + random.below(3) / 2 {
        let kept = reference[..1 + random.below(reference.len() as u32) as usize].to_vec();
        let alternate = match random.below(8) {
            0 => b"*".to_vec(),
            1 => [&kept[..], &vec![random.base(); 1 + random.below(12) as usize]].concat(),
            2..4 => kept,
            _ => [&[random.base()], &reference[1..]].concat(),
        };
        if alternate != reference && !alternates.contains(&alternate) {
            alternates.push(alternate);
        }
    }
    if alternates.is_empty() {
        alternates.push([&reference[..], b"T"].concat());
    }
    let alleles = alternates.len() as u32 + 2;
    let genotype =
        (random.below(10) > 0).then(|| [random.below(alleles - 1) as u8, random.below(alleles - 1) as u8]);
    let mut likelihoods: Vec<u32> =
        (0..alleles * (alleles + 1) / 2).map(|_| 20 + random.below(900)).collect();
    if let Some([a, b]) = genotype {
        let (low, high) = (usize::from(a.min(b)), usize::from(a.max(b)));
        likelihoods[high * (high + 1) / 2 + low] = 0;
    }
    let filters = [Filter::LowQual, Filter::StrandBias, Filter::Complex];
    SiteCall {
        position,
        reference,
        quality_tenths: random.below(20_000),
        filters: filters.into_iter().filter(|_| random.below(8) == 0).collect(),
        genotype,
        phase_set: genotype.and((random.below(4) == 0).then_some(position + 1)),
        allele_depths: (0..alleles).map(|_| random.below(30)).collect(),
        depth: random.below(60),
        genotype_quality: random.below(100) as u8,
        likelihoods,
        strand_counts: [0; 4].map(|_| random.below(15)),
        mapq_rms_tenths: random.below(601),
        alternates,
    }
}

/// All cells of a sample, deletions carried over grid lines.
fn sample(seed: u64, contigs: &Contigs) -> Vec<(Interval, CellCalls)> {
    let (grid, mut random) = (Grid::new(contigs), Random(seed));
    let mut from = 0;
    let cells = (0..grid.cells()).map(|cell| {
        let cell = grid.interval(Cell(cell));
        let calls = calls(&mut random, cell, contigs.get(cell.contig).length, from.max(cell.start));
        from = calls.sites.last().map_or(0, |site| site.position + site.reference.len() as u32);
        (cell, calls)
    });
    cells.collect()
}

fn gvcf(name: &str, cells: &[(Interval, CellCalls)], contigs: &Contigs) -> Vec<u8> {
    let mut file = compress_cell(header_text(Kind::Gvcf, contigs, &[name], "0123").as_bytes());
    for (cell, calls) in cells {
        let mut text = Vec::new();
        write_gvcf(contigs, cell.contig, calls, base_at, &mut text);
        file.extend(compress_cell(&text));
    }
    file.extend(EOF_BLOCK);
    file
}

fn write_cohort(folder: &Path, samples: u64, contigs: &Contigs) -> Vec<PathBuf> {
    let write = |seed: u64| {
        let name = format!("S{seed}");
        let path = folder.join(format!("{name}.g.vcf.gz"));
        std::fs::write(&path, gvcf(&name, &sample(seed, contigs), contigs)).unwrap();
        path
    };
    (1..=samples).map(write).collect()
}

fn join(contigs: &Contigs, inputs: &[PathBuf], output: &Path) -> Result<JointReport, JointError> {
    joint_files(contigs, inputs, output, &Options::default(), "0123", &mut |_, _| {})
}

/// Runs bcftools and gives what it printed; `None` if it is not installed. It must not complain.
fn bcftools(arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("bcftools").args(arguments).output() else {
        println!("skipped: bcftools is not installed");
        return None;
    };
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !complaint.contains("[W::") && !complaint.contains("[E::"),
        "{complaint}"
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn gvcf_text_gives_back_its_values_and_values_their_text() {
    let contigs = contigs();
    for seed in 0..20 {
        for (cell, calls) in sample(seed, &contigs) {
            let mut text = Vec::new();
            write_gvcf(&contigs, cell.contig, &calls, base_at, &mut text);
            let read = parse_cell(&text, &contigs, cell).unwrap();
            assert_eq!(read, calls);
            let mut again = Vec::new();
            write_gvcf(&contigs, cell.contig, &read, base_at, &mut again);
            assert_eq!(again, text);
        }
    }
}

#[test]
fn a_file_gives_the_cells_it_was_made_of() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let path = &write_cohort(folder.path(), 1, &contigs)[0];
    let mut reader = SampleReader::open(path, &contigs).unwrap();
    assert_eq!(reader.sample(), "S1");
    for (cell, calls) in sample(1, &contigs) {
        assert_eq!(reader.read_cell(cell).unwrap(), calls);
    }
}

#[test]
fn blocks_of_others_are_cut_at_grid_lines() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.g.vcf");
    let end = 2 * CELL_BASES + 100;
    let text = format!(
        "##fileformat=VCFv4.2\n##ALT=<ID=NON_REF>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\n\
         20\t11\t.\tA\t<NON_REF>\t.\t.\tEND={end}\tGT:DP:GQ:MIN_DP:PL\t0/0:9:27:8:0,27,300\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut reader = SampleReader::open(&path, &contigs).unwrap();
    let grid = Grid::new(&contigs);
    let mut spans = Vec::new();
    for cell in 0..grid.cells() {
        let calls = reader.read_cell(grid.interval(Cell(cell))).unwrap();
        spans.extend(calls.blocks.iter().map(|block| (block.start, block.end)));
    }
    assert_eq!(spans, [(10, CELL_BASES), (CELL_BASES, 2 * CELL_BASES), (2 * CELL_BASES, end)]);
}

#[test]
fn of_several_records_of_one_position_the_strongest_is_taken() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("several.g.vcf");
    let record = |position, alternate, quality| {
        format!(
            "20\t{position}\t.\tA\t{alternate},<NON_REF>\t{quality}\t.\t.\tGT:AD:DP:GQ:PL\t\
             0/1:5,5,0:10:50:50,0,50,90,90,90\n"
        )
    };
    let records =
        [record(11, "T", 20), record(11, "AC", 70), record(11, "G", 70), record(12, "C", 9)].concat();
    let columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA";
    std::fs::write(&path, format!("##fileformat=VCFv4.2\n##ALT=<ID=NON_REF>\n{columns}\n{records}")).unwrap();
    let mut reader = SampleReader::open(&path, &contigs).unwrap();
    let calls = reader.read_cell(Grid::new(&contigs).interval(Cell(0))).unwrap();
    let found: Vec<(u32, &[u8])> =
        calls.sites.iter().map(|site| (site.position, &site.alternates[0][..])).collect();
    assert_eq!(found, [(10, &b"AC"[..]), (11, b"C")]);
    assert_eq!(reader.outweighed(), 2);
}

#[test]
fn others_accept_gvcf_and_joint_vcf_with_their_indexes() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_cohort(folder.path(), 5, &contigs);
    let output = folder.path().join("cohort.vcf.gz");
    let report = join(&contigs, &inputs, &output).unwrap();
    assert!(report.sites > 1000 && report.sites_passed > 0);
    std::fs::write(IndexKind::Tbi.path(&inputs[0]), build_index(&inputs[0], &contigs).unwrap()).unwrap();
    for path in [&inputs[0], &output] {
        let records = noodles_records(path, &contigs);
        let path = path.to_str().unwrap();
        let Some(all) = bcftools(&["view", "-H", path]) else { return };
        assert_eq!(all.lines().count(), records);
        for region in ["20:1-1000", "20:131000-131200", "20:262100-", "HLA-A*01:01", "empty"] {
            let by_index = bcftools(&["view", "-H", "-r", region, path]).unwrap();
            let by_scan = bcftools(&["view", "-H", "-t", region, path]).unwrap();
            // By scan only what starts in the region, by index what overlaps it.
            assert!(by_index.ends_with(&by_scan) && by_index.len() < by_scan.len() + 2000, "{region}");
        }
    }
}

/// Reads a file with noodles, every field, and counts its records.
fn noodles_records(path: &Path, contigs: &Contigs) -> usize {
    let mut reader = noodles_vcf::io::reader::Builder::default().build_from_path(path).unwrap();
    let header = reader.read_header().unwrap();
    assert_eq!(header.contigs().len(), contigs.len());
    let mut records = 0;
    for record in reader.record_bufs(&header) {
        let record = record.unwrap();
        let genotypes = record.samples().values().filter(|values| values.values().len() > 1).count();
        assert_eq!(genotypes, header.sample_names().len());
        records += 1;
    }
    records
}

#[test]
fn how_many_threads_join_cannot_be_seen() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_cohort(folder.path(), 4, &contigs);
    let joined = |threads: usize| {
        let output = folder.path().join(format!("{threads}.vcf.gz"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let report = pool.install(|| join(&contigs, &inputs, &output)).unwrap();
        (std::fs::read(&output).unwrap(), std::fs::read(report.index).unwrap())
    };
    let one = joined(1);
    assert_eq!(one, joined(3));
    assert_eq!(one.0, joined_from_pieces(&contigs));
}

/// The same cohort joined as a job does it: cell by cell from stored pieces.
fn joined_from_pieces(contigs: &Contigs) -> Vec<u8> {
    let samples: Vec<Vec<(Interval, CellCalls)>> = (1..=4).map(|seed| sample(seed, contigs)).collect();
    let names: Vec<String> = (1..=4).map(|seed| format!("S{seed}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut file = compress_cell(header_text(Kind::Joint, contigs, &names, "0123").as_bytes());
    for cell in 0..samples[0].len() {
        let place = samples[0][cell].0;
        let before =
            |sample: &[(Interval, CellCalls)]| match cell.checked_sub(1).map(|before| &sample[before]) {
                Some((interval, calls)) if interval.contig == place.contig => {
                    reaching(calls, place.start).cloned().collect::<Vec<_>>()
                }
                _ => vec![],
            };
        let upstream: Vec<Vec<SiteCall>> = samples.iter().map(|sample| before(sample)).collect();
        let views = samples.iter().zip(&upstream);
        let views: Vec<Sample<'_>> =
            views.map(|(sample, upstream)| Sample { calls: &sample[cell].1, upstream }).collect();
        let sites = joint_cell(place.start..place.end, &views, &Options::default()).unwrap();
        let mut text = Vec::new();
        write_joint(contigs, place.contig, &sites, &mut text);
        file.extend(compress_cell(&text));
    }
    file.extend(EOF_BLOCK);
    file
}

#[test]
fn contigs_beyond_tabix_get_csi() {
    let contigs = Contigs::new(vec![Contig { name: "long".into(), length: 3_000_000_000, m5: [0; 16] }]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.vcf.gz");
    let mut text = header_text(Kind::Calls, &contigs, &["A"], "0123");
    for position in [1u32, 600_000_000, 2_147_000_000] {
        text += &format!("long\t{position}\t.\tA\tG\t9\tPASS\tMQ=60\tGT:AD:DP:GQ:PL\t0/1:5,5:10:9:9,0,9\n");
    }
    std::fs::write(&path, [compress_cell(text.as_bytes()), EOF_BLOCK.to_vec()].concat()).unwrap();
    assert_eq!(IndexKind::of(&contigs), IndexKind::Csi);
    std::fs::write(IndexKind::Csi.path(&path), build_index(&path, &contigs).unwrap()).unwrap();
    let Some(found) = bcftools(&["view", "-H", "-r", "long:600000000", path.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(found.lines().count(), 1);
}

/// The index as its library makes it of a file's lines, one by one.
fn index_by_line<I>(text: &[u8], file: &[u8], contigs: &Contigs, depth: u8) -> Index<I>
where
    I: reference_sequence::Index + Default,
{
    let names = contigs.iter().map(|contig| contig.name.as_bytes().into()).collect();
    let header = Builder::vcf().set_reference_sequence_names(names).build();
    let mut indexer = Indexer::<I>::new(14, depth).unwrap().set_header(header);
    let mut reader = noodles_bgzf::io::Reader::new(file);
    let mut at = reader.virtual_position();
    let mut line = Vec::new();
    for expect in text.split_inclusive(|&byte| byte == b'\n') {
        line.clear();
        reader.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, expect);
        let start = std::mem::replace(&mut at, reader.virtual_position());
        if line[0] == b'#' {
            continue;
        }
        let columns: Vec<&str> = std::str::from_utf8(&line).unwrap().split('\t').collect();
        let first: usize = columns[1].parse().unwrap();
        let end = columns[7].split(';').find_map(|entry| entry.strip_prefix("END="));
        let last = end.map_or(first + columns[3].len() - 1, |end| end.parse().unwrap());
        let place = (contigs.id(columns[0]).unwrap() as usize, first, last);
        let place = (place.0, Position::new(place.1).unwrap(), Position::new(place.2).unwrap(), true);
        indexer.add_record(Some(place), Chunk::new(start, at)).unwrap();
    }
    indexer.build(contigs.len())
}

#[test]
fn an_index_from_parts_is_that_of_the_whole_file() {
    let contigs = contigs();
    let sample = sample(5, &contigs);
    let header = header_text(Kind::Gvcf, &contigs, &["A"], "0123");
    let mut file = compress_cell(header.as_bytes());
    let mut text = header.into_bytes();
    let mut cells = Vec::new();
    for (place, calls) in &sample {
        let mut cell = Vec::new();
        write_gvcf(&contigs, place.contig, calls, |_| b'A', &mut cell);
        let blocks = compress_cell(&cell);
        cells.push((cell.clone(), blocks.clone(), file.len() as u64));
        text.extend(cell);
        file.extend(blocks);
    }
    file.extend(EOF_BLOCK);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.g.vcf.gz");
    std::fs::write(&path, &file).unwrap();
    let expect = build_index(&path, &contigs).unwrap();
    let mut writer = noodles_tabix::io::Writer::new(Vec::new());
    writer.write_index(&index_by_line::<LinearIndex>(&text, &file, &contigs, 5)).unwrap();
    assert!(expect == writer.into_inner().finish().unwrap());
    for each in [1, 2, 3, cells.len()] {
        let mut whole = PartialIndex::new(&contigs);
        for part in cells.chunks(each) {
            let begin = part[0].2;
            let mut index = PartialIndex::new(&contigs);
            for (text, blocks, offset) in part {
                index.add_cell(text, blocks, offset - begin).unwrap();
            }
            let stored = PartialIndex::from_bytes(&contigs, &index.to_bytes()).unwrap();
            whole.append(&stored, begin).unwrap();
            // The last cell has no lines.
            assert!(part.len() == 1 || whole.append(&stored, begin).is_none(), "a part twice");
        }
        assert!(whole.build() == expect, "{each}");
    }
    let bytes = {
        let mut index = PartialIndex::new(&contigs);
        index.add_cell(&cells[0].0, &cells[0].1, 0).unwrap();
        index.to_bytes()
    };
    assert!(PartialIndex::from_bytes(&contigs, &bytes[1..]).is_none());
    assert!(PartialIndex::from_bytes(&contigs, &[0xff; 36]).is_none());
    let mut index = PartialIndex::new(&contigs);
    assert!(index.add_cell(b"no record\n", &compress_cell(b"no record\n"), 0).is_none());
    assert!(index.add_cell(&cells[0].0, &cells[0].1[1..], 0).is_none());
}

#[test]
fn headers_name_program_and_parameters_and_nothing_of_the_machine() {
    let text = header_text(Kind::Joint, &contigs(), &["A", "B"], "0123");
    assert!(text.starts_with("##fileformat=VCFv4.2\n"));
    assert!(text.contains("##contig=<ID=20,length=267144,md5=07070707070707070707070707070707>\n"));
    assert!(text.contains(concat!(
        "##source=wakachi ",
        env!("CARGO_PKG_VERSION"),
        "\n##wakachi_parameters=0123\n"
    )));
    assert!(text.ends_with("\tFORMAT\tA\tB\n"));
    assert!(header_text(Kind::Joint, &contigs(), &[], "").ends_with("\tFILTER\tINFO\n"));
    assert!(
        !text.contains("NON_REF") && header_text(Kind::Gvcf, &contigs(), &["A"], "").contains("ID=NON_REF")
    );
}

const HEADER: &str = "##fileformat=VCFv4.2\n##contig=<ID=20,length=267144>\n##ALT=<ID=NON_REF>\n\
                      #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\n";

/// Joins one file of this content and gives the complaint, with its causes.
fn refusal(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.g.vcf.gz"), folder.path().join("out.vcf.gz"));
    std::fs::write(&input, content).unwrap();
    let error = join(&contigs(), &[input], &output).unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the input is left");
    let chain = jobs::failure::Failure::from(error).to_string();
    chain.replace(folder.path().to_str().unwrap(), "")
}

#[test]
fn foreign_unsorted_and_truncated_files_are_refused_with_their_place() {
    let check = |content: &str, expect: &str| {
        assert_eq!(refusal(content.as_bytes()), format!("/in.g.vcf.gz: {expect}"))
    };
    let block = |start: u32| format!("20\t{start}\t.\tA\t<NON_REF>\t.\t.\tEND=99\tGT:DP:GQ\t0/0:9:20\n");
    check("", "line 1: the file ends before its #CHROM line");
    check(">20\nACGT\n", "line 1: expected ##fileformat=VCFv4; this is not VCF text");
    check("##fileformat=VCFv4.2\n", "line 2: the file ends before its #CHROM line");
    check(
        &HEADER.replace("##ALT=<ID=NON_REF>\n", ""),
        "line 3: a VCF without reference blocks: what is missing in it cannot be told from what is reference; \
         expected gVCF",
    );
    check(&block(1), "line 1: expected ##fileformat=VCFv4; this is not VCF text");
    check(
        &HEADER.replace("\tA\n", "\tA\tB\n"),
        "line 4: 2 samples, expected one: give each sample's own gVCF",
    );
    check(
        &HEADER.replace("267144", "1000"),
        "line 2: contig '20' has 1000 bases here and 267144 in the reference",
    );
    check(
        &(HEADER.to_owned() + &block(11) + &block(10)),
        "line 6: not sorted: this record starts before the one above it, or its contig comes earlier in the reference",
    );
    check(
        &(HEADER.to_owned() + &block(11) + "20\t12\n"),
        "line 6: 2 columns, expected 10: gVCF with one sample",
    );

    let crowded = HEADER.to_owned() + &block(11).repeat(4 * CELL_BASES as usize + 1);
    check(&crowded, "line 524293: more than 524288 records from one grid line to the next");

    let whole = gvcf("A", &sample(1, &contigs()), &contigs());
    let cut = |length: usize| refusal(&whole[..length]);
    assert!(cut(whole.len() - 28).ends_with("the file ends without BGZF's end marker; it is truncated"));
    assert!(cut(whole.len() - 100).ends_with("the file ends within a BGZF block; it is truncated"));
    assert!(cut(whole.len() - 100).starts_with("/in.g.vcf.gz: byte "));
    let mut gzip = whole.clone();
    gzip[3] = 0;
    assert!(
        refusal(&gzip)
            .ends_with("byte 0: expected a BGZF block, found other bytes (plain gzip is not enough)")
    );
}

#[test]
fn samples_of_one_name_and_missing_files_are_refused() {
    let contigs = contigs();
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_cohort(folder.path(), 2, &contigs);
    let output = folder.path().join("out.vcf.gz");
    let twice = [inputs.clone(), vec![inputs[0].clone()]].concat();
    let error = join(&contigs, &twice, &output).unwrap_err();
    assert!(error.to_string().contains("sample 'S1' is also in"), "{error}");
    let missing = join(&contigs, &[folder.path().join("none.g.vcf.gz")], &output).unwrap_err();
    assert!(missing.to_string().ends_with("none.g.vcf.gz: cannot open"), "{missing}");
    assert!(matches!(join(&contigs, &[], &output), Err(JointError::NoInputs)));
    let nowhere = join(&contigs, &inputs, &folder.path().join("no/such/folder/out.vcf.gz")).unwrap_err();
    assert!(matches!(nowhere, JointError::Write { .. }));
    assert!(!output.exists());
}

#[test]
fn hostile_text_never_panics() {
    let contigs = contigs();
    let (cell, mut calls) = sample(5, &contigs).swap_remove(1);
    calls.sites.truncate(12);
    calls.blocks.truncate(12);
    let mut text = Vec::new();
    write_gvcf(&contigs, cell.contig, &calls, base_at, &mut text);
    let mut random = Random(1);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut hostile = text.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(hostile.len() as u32) as usize;
            match random.below(4) {
                0 => hostile[at] = *random.one_of(b"\t\n:,/|.*<>=;0129ACGTN-"),
                1 => hostile[at] = random.next() as u8,
                2 => hostile.insert(at, *random.one_of(b"0,\t\n")),
                _ => hostile.truncate(at + 1),
            }
        }
        let Ok(other) = parse_cell(&hostile, &contigs, cell) else { continue };
        let views = [&calls, &other].map(|calls| Sample { calls, upstream: &[] });
        if let Ok(sites) = joint_cell(cell.start..cell.end, &views, &Options::default()) {
            write_joint(&contigs, cell.contig, &sites, &mut Vec::new());
            read += 1;
        }
    }
    assert!(read > 1000, "{read}");
}

/// Files of others' joint callers, from the shared data: each is joined or refused, and what is joined is valid.
#[test]
fn torture_files_are_joined_or_refused() {
    let shared = std::env::var_os("WAKACHI_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let cases = shared.join("data/joint/GLnexus_cases");
    let Ok(listed) = std::fs::read_dir(&cases) else {
        println!("skipped: no {}", cases.display());
        return;
    };
    let contig = |name: &str, length| Contig { name: name.to_owned(), length, m5: [0; 16] };
    let contigs = Contigs::new(vec![contig("21", 48_129_895), contig("A", 1_000_000)]);
    let folder = tempfile::tempdir().unwrap();
    let (mut joined, mut refused) = (0, 0);
    for entry in listed.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let output = folder.path().join("out.vcf.gz");
        match join(&contigs, &[entry], &output) {
            Ok(_) => drop(bcftools(&["view", output.to_str().unwrap()])),
            Err(_) => refused += 1,
        }
        joined += 1;
    }
    assert!(joined > 15 && refused > 5, "{joined} {refused}");
}
