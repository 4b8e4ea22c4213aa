//! The room as a whole: simulated cohorts written, read back, joined, and looked at by others' readers.

use std::path::{Path, PathBuf};
use std::process::Command;

use jobs::genome::{CELL_BASES, Cell, Contig, Contigs, Grid, Interval};
use kernels::joint::Options;
use kernels::variant::{Answer, CellCalls, Filter, RefBlock, SiteCall};

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

    fn base(&mut self) -> u8 {
        b"ACGT"[self.below(4) as usize]
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
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\n\
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
