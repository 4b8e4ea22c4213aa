//! A synthetic cohort from a seed: records in BAM layout, site calls and genotypes, counted as the program would.

use std::collections::BTreeMap;

use jobs::genome::{Contig, Contigs, Interval};
use kernels::variant::SiteCall;
use workers::qc::alignment::ReferenceWindow;
use workers::qc::contig_class::ContigClass;
use workers::qc::libraries::Libraries;
use workers::qc::pedigree::Declared;
use workers::qc::relatedness::Relatedness;
use workers::qc::tally::AlignmentTally;
use workers::qc::{CellTally, SampleCounters};
use workers::record::{Fields, Record, encode, flag};
use workers::report::{
    Accuracy, Confusion, Exclusion, FileEntry, PairReport, ReferenceSummary, ReportData, SampleReport,
    StageTotal, TaskSpan,
};

/// Length of the cells the synthetic genome is counted in.
pub const CELL: u32 = 20_000;

/// A small linear congruential generator.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// About normal, by the sum of four.
    pub fn around(&mut self, mean: i64, deviation: i64) -> i64 {
        let sum: i64 = (0..4).map(|_| self.below(2001) as i64 - 1000).sum();
        mean + sum * deviation / 1155
    }
}

/// A reference with a gap and GC waves.
pub struct Genome {
    pub contigs: Contigs,
    pub codes: Vec<Vec<u8>>,
}

impl Genome {
    pub fn new(random: &mut Random, lengths: &[(&str, u32)]) -> Self {
        let contig = |&(name, length): &(&str, u32)| Contig { name: name.to_owned(), length, m5: [0; 16] };
        let contigs = Contigs::new(lengths.iter().map(contig).collect());
        let mut codes = Vec::new();
        for &(_, length) in lengths {
            let mut gc = 40;
            let base = |at: u32| {
                if at.is_multiple_of(700) {
                    gc = 25 + random.below(40);
                }
                let known = !(length / 2..length / 2 + length / 30).contains(&at);
                match (known, random.chance(gc)) {
                    (false, _) => 4,
                    (true, true) => 1 + random.below(2) as u8,
                    (true, false) => 3 * random.below(2) as u8,
                }
            };
            codes.push((0..length).map(base).collect());
        }
        Genome { contigs, codes }
    }
}

/// How one sample is made.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub depth: u64,
    pub insert: i64,
    pub duplicates: u64,
    pub unmapped: u64,
    pub quality: i64,
    pub male: bool,
}

/// Encoded records of one sample in coordinate order, unplaced ones last.
pub fn records(random: &mut Random, genome: &Genome, recipe: Recipe) -> Vec<Vec<u8>> {
    const READ: u32 = 100;
    let mut placed: Vec<(u32, i32, Vec<u8>)> = Vec::new();
    let mut serial = 0;
    for (id, codes) in genome.codes.iter().enumerate() {
        let length = codes.len() as u64;
        let share = match (genome.contigs.get(id as u32).name.as_str(), recipe.male) {
            ("chrX", true) | ("chrY", true) => 50,
            ("chrY", false) => 0,
            _ => 100,
        };
        for _ in 0..length * recipe.depth * share / 100 / u64::from(2 * READ) {
            serial += 1;
            let insert = random.around(recipe.insert, 40).clamp(60, 900) as u32;
            let start = random.below(length.saturating_sub(u64::from(insert) + 200)) as u32;
            let gc =
                codes[start as usize..][..100].iter().filter(|&&code| code == 1 || code == 2).count() as i64;
            if codes[start as usize] > 3 || random.chance((gc - 45).unsigned_abs()) {
                continue;
            }
            let name = format!("read{serial:07}");
            let duplicate = if random.chance(recipe.duplicates) { flag::DUPLICATE } else { 0 };
            let mate_start = start + insert.saturating_sub(READ);
            let pair = flag::PAIRED | flag::PROPER | duplicate;
            let mapq = if random.chance(5) { random.below(20) as u8 } else { 60 };
            let ends = [
                (start, mate_start, insert as i32, pair | flag::FIRST | flag::MATE_REVERSE),
                (mate_start, start, -(insert as i32), pair | flag::LAST | flag::REVERSE),
            ];
            for (position, mate, template_length, flags) in ends {
                let bytes =
                    read(random, codes, &name, (id, position, mate, template_length), flags, mapq, recipe);
                placed.push((id as u32, position as i32, bytes));
            }
        }
    }
    placed.sort();
    let mut all: Vec<Vec<u8>> = placed.into_iter().map(|(_, _, bytes)| bytes).collect();
    let unmapped = all.len() as u64 * recipe.unmapped / 100;
    all.extend((0..unmapped).map(|index| {
        let sequence: Vec<u8> = (0..READ).map(|_| random.below(4) as u8).collect();
        let mut bytes = Vec::new();
        encode(
            &Fields {
                name: format!("lost{index}").as_bytes(),
                flag: flag::UNMAPPED,
                contig: -1,
                position: -1,
                mapq: 0,
                cigar: &[],
                mate_contig: -1,
                mate_position: -1,
                template_length: 0,
                sequence: &sequence,
                qualities: &[12; READ as usize],
                tags: b"",
            },
            &mut bytes,
        );
        bytes
    }));
    all
}

fn read(
    random: &mut Random,
    codes: &[u8],
    name: &str,
    (contig, position, mate, template_length): (usize, u32, u32, i32),
    flags: u16,
    mapq: u8,
    recipe: Recipe,
) -> Vec<u8> {
    let cigar: Vec<u32> = match random.below(40) {
        0 => vec![10 << 4 | 4, 90 << 4],
        1 => vec![40 << 4, 3 << 4 | 2, 60 << 4],
        2 => vec![30 << 4, 2 << 4 | 1, 68 << 4],
        _ => vec![100 << 4],
    };
    let (mut sequence, mut at) = (Vec::new(), position as usize);
    for packed in &cigar {
        let length = (packed >> 4) as usize;
        match packed & 15 {
            2 => at += length,
            0 => {
                sequence.extend((at..at + length).map(|at| codes.get(at).copied().unwrap_or(4)));
                at += length;
            }
            _ => sequence.extend((0..length).map(|_| random.below(4) as u8)),
        }
    }
    let reverse = flags & flag::REVERSE != 0;
    let mut edits = 0;
    let mut qualities = Vec::new();
    for (index, base) in sequence.iter_mut().enumerate() {
        let cycle = if reverse { 99 - index } else { index } as i64;
        let last = i64::from(flags & flag::LAST != 0);
        let quality = recipe.quality - cycle * cycle / (700 - 200 * last) - 2 * last;
        let quality = random.around(quality, 3).clamp(2, 41) as u8;
        if random.below(10_000) < 30 + cycle as u64 {
            *base = (*base + 1) % 4;
            edits += 1;
        }
        qualities.push(quality);
    }
    let mut bytes = Vec::new();
    encode(
        &Fields {
            name: name.as_bytes(),
            flag: flags,
            contig: contig as i32,
            position: position as i32,
            mapq,
            cigar: &cigar,
            mate_contig: contig as i32,
            mate_position: mate as i32,
            template_length,
            sequence: &sequence,
            qualities: &qualities,
            tags: &[b'N', b'M', b'C', edits],
        },
        &mut bytes,
    );
    bytes
}

/// Counts records cell by cell, the cells in the order given by `order`, each into counters of its own.
pub fn count(genome: &Genome, records: &[Vec<u8>], cell_bases: u32) -> Vec<SampleCounters> {
    count_of(genome, records, cell_bases, &Libraries::of_header(["@RG\tID:1\tLB:P1"]))
}

/// The same of these libraries.
pub fn count_of(
    genome: &Genome,
    records: &[Vec<u8>],
    cell_bases: u32,
    libraries: &Libraries,
) -> Vec<SampleCounters> {
    let classes = ContigClass::of_all(&genome.contigs);
    let bases = genome.contigs.total_bases();
    let mut parts = Vec::new();
    for (id, codes) in genome.codes.iter().enumerate() {
        let length = codes.len() as u32;
        for start in (0..length).step_by(cell_bases as usize) {
            let interval = Interval { contig: id as u32, start, end: length.min(start + cell_bases) };
            let reference = ReferenceWindow { contig: id as u32, start: 0, codes };
            let mut part = CellTally::new(interval, reference, libraries);
            let overlapping =
                records.iter().map(|bytes| Record::new(bytes).expect("encoded here")).filter(|record| {
                    let position = record.position() as u32;
                    record.contig() == id as i32 && position < interval.end && position + 200 > interval.start
                });
            overlapping.for_each(|record| part.add(&record));
            parts.push(part.finish(classes[id], bases));
        }
    }
    let mut tally = AlignmentTally::new(None, libraries);
    for bytes in records {
        let record = Record::new(bytes).expect("encoded here");
        if record.contig() < 0 {
            tally.add(&record);
        }
    }
    let mut unplaced = SampleCounters::new(bases);
    unplaced.alignment = tally.finish(0, 0);
    parts.push(unplaced);
    parts
}

/// A variant site of one sample.
pub fn site(random: &mut Random, genotype: [u8; 2]) -> SiteCall {
    let (reference, alternate) = match random.below(12) {
        0 => (vec![b'A'], [b"A".as_slice(), &b"CGTTACGTCA"[..1 + random.below(9) as usize]].concat()),
        1 => ([b"A".as_slice(), &b"CGTTACGTCA"[..1 + random.below(9) as usize]].concat(), vec![b'A']),
        2..=8 => (vec![b'A'], vec![b'G']),
        _ => (vec![b'A'], vec![if random.chance(50) { b'C' } else { b'T' }]),
    };
    SiteCall {
        position: 0,
        reference,
        alternates: vec![alternate],
        quality_tenths: 500,
        filters: if random.chance(4) { vec![kernels::variant::Filter::LowQual] } else { Vec::new() },
        genotype: Some(genotype),
        phase_set: None,
        allele_depths: Vec::new(),
        depth: 30,
        genotype_quality: 99,
        likelihoods: Vec::new(),
        strand_counts: [0; 4],
        mapq_rms_tenths: 600,
    }
}

/// A cohort of `samples`: a trio first, a tumour of the first child last, one dull sample among them.
pub fn cohort(seed: u64, samples: usize, contigs: &[(&str, u32)], hostile: bool) -> ReportData {
    let mut random = Random(seed);
    let genome = Genome::new(&mut random, contigs);
    let classes = ContigClass::of_all(&genome.contigs);
    let bases = genome.contigs.total_bases();
    let mut reports: Vec<SampleReport> = Vec::new();
    let mut templates: Vec<SampleCounters> = Vec::new();
    for index in 0..samples {
        let tumour = index + 1 == samples && samples > 3;
        let poor = index == 4;
        // Large cohorts repeat a few templates: counting reads is not what is tested there.
        if index < 9 || tumour {
            let recipe = Recipe {
                depth: if poor {
                    9
                } else if tumour {
                    42
                } else {
                    22 + index as u64 % 4 * 2
                },
                insert: if poor { 260 } else { 350 },
                duplicates: if poor { 36 } else { 8 + index as u64 % 3 },
                unmapped: 1,
                quality: if poor { 36 } else { 42 },
                male: !index.is_multiple_of(3) || tumour,
            };
            let records = records(&mut random, &genome, recipe);
            let mut whole = SampleCounters::new(bases);
            count(&genome, &records, CELL).iter().for_each(|part| whole.merge(part));
            templates.push(whole);
        }
        let mut counters = if tumour {
            templates[templates.len() - 1].clone()
        } else {
            templates[if index < 9 { index } else { index % 3 }].clone()
        };
        for _ in 0..900 + random.below(60) {
            let genotype = if random.chance(38) { [1, 1] } else { [0, 1] };
            counters.variants.add(classes[0], &site(&mut random, genotype));
        }
        reports.push(sample(&mut random, index, samples, tumour, counters, hostile));
    }
    let tasks = tasks(&mut random, &reports);
    let stage = |name: &str| {
        let of = || tasks.iter().filter(|task| task.stage == name);
        StageTotal {
            stage: name.to_owned(),
            tasks: of().count() as u64,
            wall_ms: of().map(|t| t.end_ms).max().unwrap_or(0) - of().map(|t| t.start_ms).min().unwrap_or(0),
            cpu_ms: of().map(|t| t.cpu_ms).sum(),
        }
    };
    let stages = ["map", "region", "joint", "finish"].map(stage).to_vec();
    ReportData {
        cohort: if hostile { "<script>alert(1)</script>".to_owned() } else { "demo-2026".to_owned() },
        program: "wakachi 0.1.0".to_owned(),
        created: "2026-11-21 03:40 UTC".to_owned(),
        command: "wakachi run demo/cohort.toml --out demo/job -t 2 --memory 8G".to_owned(),
        parameters: [("max_depth", "250"), ("min_mapq", "20")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into(),
        reference: ReferenceSummary::new(
            "demo.fa".to_owned(),
            "blake3:5f0c".to_owned() + &"a1b2".repeat(14),
            &genome.contigs,
        ),
        pairs: pairs(&mut random, samples),
        tasks,
        stages,
        files: reports
            .iter()
            .flat_map(|sample| {
                ["cram", "cram.crai", "g.vcf.gz"].map(|end| format!("results/{}.{end}", sample.name))
            })
            .map(|path| FileEntry {
                path,
                bytes: 12_345_678,
                digest: format!("blake3:{}", "0f1e2d3c".repeat(8)),
            })
            .collect(),
        exclusions: vec![Exclusion {
            what: "tumour samples".to_owned(),
            reason: "left out of the joint call".to_owned(),
            helps: String::new(),
        }],
        samples: reports,
        ..ReportData::default()
    }
}

fn sample(
    random: &mut Random,
    index: usize,
    samples: usize,
    tumour: bool,
    counters: SampleCounters,
    hostile: bool,
) -> SampleReport {
    let relation =
        ["mother", "father", "proband"].get(index).filter(|_| samples > 2).map(|word| (*word).to_owned());
    let reads = &counters.alignment.reads;
    let fates = [
        ("mapped", reads.mapped - reads.duplicate),
        ("duplicate", reads.duplicate),
        ("unmapped", reads.unmapped),
    ];
    let confusion = |random: &mut Random, all: u64| Confusion {
        found: all - random.below(all / 50),
        missed: random.below(all / 50),
        extra: random.below(all / 60),
    };
    SampleReport {
        name: match (hostile, tumour) {
            (true, _) => format!("<img src=x onerror=alert({index})>\"'&"),
            (false, true) => "P003-T".to_owned(),
            (false, false) => format!("P{:03}", index + 1),
        },
        declared: Declared {
            participant: if tumour { "P003".to_owned() } else { format!("P{:03}", index + 1) },
            family: Some(if index < 3 || tumour { "F1".to_owned() } else { format!("G{index}") }),
            relation: if tumour { Some("proband".to_owned()) } else { relation },
            sex: Some(
                if (!index.is_multiple_of(3) || tumour) != (index == 5) { "male" } else { "female" }
                    .to_owned(),
            ),
        },
        tumour,
        reads_in: reads.primary,
        fates: fates.map(|(fate, count)| (fate.to_owned(), count)).into_iter().collect::<BTreeMap<_, _>>(),
        accuracy: (samples < 20).then(|| Accuracy {
            reads: 100_000,
            reads_placed: 99_700 + random.below(200),
            snv: confusion(random, 20_000),
            indel: confusion(random, 2_000),
        }),
        counters,
    }
}

/// A trio, strangers, a tumour identical with the child, and two strangers who are one.
fn pairs(random: &mut Random, samples: usize) -> Vec<PairReport> {
    let mut relatedness = Relatedness::new(samples);
    for _ in 0..3000 {
        let frequency = 5 + random.below(90);
        let mut people: Vec<[u8; 2]> =
            (0..samples).map(|_| [0; 2].map(|_: u8| u8::from(random.chance(frequency)))).collect();
        if samples > 3 {
            people[2] = [people[0][random.below(2) as usize], people[1][random.below(2) as usize]];
            people[samples - 1] = people[2];
        }
        if samples > 7 {
            people[6] = people[3];
        }
        relatedness.add_site(&people.into_iter().map(Some).collect::<Vec<_>>());
    }
    let pair = |(first, second, counts)| PairReport { first, second, counts };
    relatedness.finish().into_iter().map(pair).collect()
}

fn tasks(random: &mut Random, samples: &[SampleReport]) -> Vec<TaskSpan> {
    let mut lanes = [0u64; 2];
    let mut tasks = Vec::new();
    for (stage, count, mean) in [("map", 12, 900), ("region", 8, 700), ("finish", 1, 500)] {
        for sample in samples {
            for index in 0..count {
                let lane = if lanes[0] <= lanes[1] { 0 } else { 1 };
                let start_ms = lanes[lane] + random.below(8);
                let took = random.around(mean, mean / 4).max(20) as u64;
                lanes[lane] = start_ms + took;
                tasks.push(TaskSpan {
                    stage: stage.to_owned(),
                    task: format!("j1.{stage}.{}", tasks.len() + index),
                    sample: Some(sample.name.clone()),
                    lane: lane as u32,
                    start_ms,
                    end_ms: lanes[lane],
                    cpu_ms: took * 97 / 100,
                });
            }
        }
    }
    tasks
}
