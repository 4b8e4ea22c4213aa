//! Quality control and report from end to end, on synthetic reads counted again by naive means and, where it is at
//! hand, on a real BAM against samtools.

#[path = "quality/synthetic.rs"]
mod synthetic;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;

use jobs::genome::Interval;
use synthetic::{CELL, Genome, Random, Recipe, cohort, count, count_of, records};
use workers::qc::alignment::ReferenceWindow;
use workers::qc::contig_class::ContigClass;
use workers::qc::coverage::CellDepth;
use workers::qc::exchange;
use workers::qc::libraries::Libraries;
use workers::qc::metrics::SampleQc;
use workers::qc::tally::AlignmentTally;
use workers::qc::{CellTally, SampleCounters};
use workers::record::{Fields, Record, encode, flag};
use workers::report::{Aspect, Level, ReportData, judge, render};

const CONTIGS: [(&str, u32); 3] = [("chr20", 50_000), ("chrX", 30_001), ("chrY", 700)];
const RECIPE: Recipe =
    Recipe { depth: 20, insert: 150, duplicates: 10, unmapped: 3, quality: 36, male: true };

fn sample(seed: u64) -> (Genome, Vec<Vec<u8>>) {
    let mut random = Random(seed);
    let genome = Genome::new(&mut random, &CONTIGS);
    let records = records(&mut random, &genome, RECIPE);
    (genome, records)
}

#[test]
fn neither_cuts_nor_order_of_merging_can_be_seen() {
    let (genome, records) = sample(3);
    let json = |parts: &[SampleCounters]| {
        let mut whole = SampleCounters::new(genome.contigs.total_bases());
        parts.iter().for_each(|part| whole.merge(part));
        serde_json::to_string(&whole).unwrap()
    };
    let mut parts = count(&genome, &records, CELL);
    let expect = json(&parts);
    parts.reverse();
    assert_eq!(json(&parts), expect);
    let middle = parts.len() / 2;
    parts.rotate_left(middle);
    assert_eq!(json(&parts), expect);
    // Cells of another length, as long as GC windows lie within them.
    assert_eq!(json(&count(&genome, &records, 128 * 7)), json(&count(&genome, &records, 128 * 300)));
    let back: SampleCounters = serde_json::from_str(&expect).unwrap();
    assert_eq!(json(&[back]), expect);
}

/// Depth base by base from text alone: no masks, no cells.
fn naive_depth(records: &[Vec<u8>], contig: i32, length: usize) -> (Vec<u32>, Vec<u32>) {
    let mut all = vec![0; length];
    let mut fragments: HashMap<usize, HashSet<Vec<u8>>> = HashMap::new();
    for bytes in records {
        let record = Record::new(bytes).unwrap();
        if record.contig() != contig || record.flag() & 0x704 != 0 {
            continue;
        }
        let (mut position, mut read) = (record.position() as usize, 0);
        let mut sequence = Vec::new();
        record.sequence(&mut sequence);
        for packed in record.cigar() {
            for _ in 0..packed >> 4 {
                match packed & 15 {
                    0 => {
                        if position < length {
                            all[position] += 1;
                            if record.mapq() >= 20 && record.qualities()[read] >= 20 && sequence[read] < 4 {
                                fragments.entry(position).or_default().insert(record.name().to_vec());
                            }
                        }
                        position += 1;
                        read += 1;
                    }
                    1 | 4 => read += 1,
                    _ => position += 1,
                }
            }
        }
    }
    let usable = (0..length).map(|at| fragments.get(&at).map_or(0, |names| names.len() as u32)).collect();
    (all, usable)
}

#[test]
fn depth_is_that_of_counting_every_base_by_hand() {
    let (genome, records) = sample(5);
    for (id, codes) in genome.codes.iter().enumerate() {
        let (all, usable) = naive_depth(&records, id as i32, codes.len());
        for cell in [97, 1000, 60_000] {
            let (mut seen_all, mut seen_usable) = (Vec::new(), Vec::new());
            for start in (0..codes.len() as u32).step_by(cell) {
                let end = (start + cell as u32).min(codes.len() as u32);
                let mut depth = CellDepth::new(Interval { contig: id as u32, start, end });
                records.iter().for_each(|bytes| depth.add(&Record::new(bytes).unwrap()));
                seen_all.extend(depth.all());
                seen_usable.extend(depth.usable().iter().map(|&depth| u32::from(depth)));
            }
            assert!(seen_all == all, "{id} {cell}");
            assert!(seen_usable == usable, "{id} {cell}");
        }
    }
}

#[test]
fn metrics_of_a_made_sample_are_those_it_was_made_with() {
    let (genome, records) = sample(11);
    let mut whole = SampleCounters::new(genome.contigs.total_bases());
    count(&genome, &records, CELL).iter().for_each(|part| whole.merge(part));
    let qc = SampleQc::new("P1".to_owned(), whole);
    let near = |value: Option<f64>, expect: f64, tolerance: f64| {
        assert!(value.is_some_and(|value| (value - expect).abs() < tolerance), "{value:?} is not {expect}");
    };
    near(qc.metrics.mean_insert_size, 150.0, 3.0);
    near(qc.metrics.insert_size_std_deviation, 40.0, 4.0);
    near(qc.metrics.pct_duplicates, 10.0, 1.0);
    near(qc.metrics.pct_reads_mapped, 100.0 / 1.03, 0.2);
    near(qc.metrics.mean_read_length, 100.0, 0.001);
    near(qc.sex.x_ratio, 0.5, 0.08);
    assert_eq!(qc.sex.karyotype.name(), "XY");
    let counted: u64 = qc.counters.alignment.mates.iter().flat_map(|mate| mate.composition.totals()).sum();
    assert_eq!(counted, qc.metrics.reads * 100);
    // Every base was written as reference plus counted edits; indels add five NM-free differences at most.
    let mismatches: u64 = qc.counters.alignment.mates.iter().map(|mate| mate.mismatches.total()).sum();
    assert!(mismatches > 0 && mismatches <= qc.counters.alignment.edit_distance);
    let json = serde_json::to_string(&qc).unwrap();
    assert_eq!(serde_json::from_str::<SampleQc>(&json).unwrap(), qc);
}

#[test]
fn a_hostile_record_is_counted_without_harm() {
    let check = |position: i32, cigar: &[u32], bases: usize, tags: &[u8]| {
        let mut bytes = Vec::new();
        let fields = Fields {
            name: b"r",
            flag: flag::PAIRED | flag::PROPER | flag::FIRST,
            contig: 0,
            position,
            mapq: 60,
            cigar,
            mate_contig: 0,
            mate_position: position,
            template_length: i32::MIN,
            sequence: &vec![1; bases],
            qualities: &vec![255; bases],
            tags,
        };
        encode(&fields, &mut bytes);
        let record = Record::new(&bytes).unwrap();
        let codes = [1u8; 1000];
        let libraries = Libraries::of_header([]);
        for start in [0, 500] {
            let window = ReferenceWindow { contig: 0, start, codes: &codes[start as usize..] };
            let mut tally = AlignmentTally::new(Some(window), &libraries);
            tally.add(&record);
            assert_eq!(tally.finish(start, 1000).reads.records, 1);
            let mut cell = CellTally::new(Interval { contig: 0, start, end: 1000 }, window, &libraries);
            cell.add(&record);
            cell.add(&record);
            cell.finish(ContigClass::Autosome, 1000);
        }
    };
    const LONG: u32 = (1 << 28) - 1;
    check(0, &[LONG << 4], 10, b"");
    check(990, &[LONG << 4, LONG << 4 | 2, LONG << 4 | 3, LONG << 4], 0, b"NMZ");
    check(i32::MAX, &[100 << 4], 100, b"NMi\xff\xff\xff\xff");
    check(400, &[LONG << 4 | 1, LONG << 4 | 4, 200 << 4], 3, b"NMC");
    check(400, &[0, 1, 2, 3, 4, 5, 6, 15 << 4 | 15], 0, b"");
    check(0, &[5000 << 4], 5000, b"");
    check(-1, &[10 << 4], 10, b"");
}

#[test]
fn the_verdict_names_what_is_wrong_and_only_that() {
    let data = cohort(7, 9, &[("chr20", 40_000), ("chrX", 20_000), ("chrY", 20_000)], false);
    let flags = judge(&data);
    let problems: Vec<_> = flags.iter().filter(|flag| flag.level == Level::Problem).collect();
    let about: Vec<_> = problems.iter().map(|flag| (flag.aspect, flag.samples.as_slice())).collect();
    assert_eq!(about, [(Aspect::Identity, &[5][..]), (Aspect::Identity, &[3, 6])], "{flags:?}");
    let looks = flags.iter().filter(|flag| flag.level == Level::Look);
    assert!(looks.clone().count() >= 4 && looks.clone().all(|flag| flag.samples == [4]), "{flags:?}");

    let mut lost = data.clone();
    lost.samples[0].reads_in += 1;
    lost.missing.push("shard 17 of P001".to_owned());
    let flags = judge(&lost);
    assert!(flags.iter().any(|flag| flag.aspect == Aspect::Ledger && flag.samples == [0]));
    assert!(flags.iter().any(|flag| flag.aspect == Aspect::Ledger && flag.reason.contains("shard 17")));
}

#[test]
fn the_page_stands_alone_and_keeps_hostile_names_as_text() {
    let data = cohort(1, 9, &[("chr20", 30_000), ("<b>contig", 20_000)], true);
    let page = render(&data);
    for forbidden in
        ["<script", "<img", "<b>contig", "http://", "https://", "src=", "url(", "@import", "NaN", "inf\""]
    {
        let allowed = page.matches(forbidden).count();
        let escaped = page.matches(&forbidden.replace('<', "&lt;")).count();
        assert!(
            allowed == 0 || (!forbidden.contains('<') && escaped == page.matches("src=x").count()),
            "{forbidden}"
        );
    }
    assert!(page.contains("&lt;script&gt;alert(1)"));
    balanced(&page);
}

#[test]
fn cohorts_of_none_one_and_five_hundred_are_readable() {
    balanced(&render(&ReportData::default()));
    balanced(&render(&cohort(2, 1, &[("one", 20_000)], false)));
    let large = render(&cohort(2, 500, &[("chr20", 20_000), ("chr21", 9_000)], false));
    balanced(&large);
    assert!(large.len() < 12_000_000, "{}", large.len());
}

/// Every element that opens is closed in order.
fn balanced(page: &str) {
    const VOID: [&str; 4] = ["meta", "br", "!DOCTYPE", "img"];
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("</style>").map_or(page, |(_, body)| body);
    for tag in body.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)) {
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        match tag.strip_prefix('/') {
            Some(closed) if ["head", "html"].contains(&closed) => {}
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if VOID.contains(&name) || tag.ends_with('/') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Folder of shared data, if it is there.
fn shared() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("WAKACHI_SHARED").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn samtools(arguments: &[&str]) -> Option<String> {
    let output = Command::new("samtools").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

/// A line of SAM as record; every contig is number 0.
fn from_sam(line: &str) -> Vec<u8> {
    let fields: Vec<&str> = line.split('\t').collect();
    let number = |index: usize| fields[index].parse::<i32>().unwrap();
    let mut cigar = Vec::new();
    let mut length = 0u32;
    for byte in fields[5].bytes().filter(|_| fields[5] != "*") {
        match byte {
            b'0'..=b'9' => length = length * 10 + u32::from(byte - b'0'),
            letter => {
                let op = b"MIDNSHP=X".iter().position(|&op| op == letter).unwrap();
                cigar.push(length << 4 | op as u32);
                length = 0;
            }
        }
    }
    let sequence: Vec<u8> =
        fields[9].bytes().map(|base| b"ACGT".iter().position(|&b| b == base).unwrap_or(4) as u8).collect();
    let qualities: Vec<u8> = fields[10].bytes().map(|quality| quality - 33).collect();
    let edits = fields[11..]
        .iter()
        .find_map(|tag| tag.strip_prefix("NM:i:"))
        .map(|value| value.parse::<i32>().unwrap());
    let tags = edits.map_or(Vec::new(), |edits| [b"NMi".as_slice(), &edits.to_le_bytes()].concat());
    let mut bytes = Vec::new();
    let made = Fields {
        name: fields[0].as_bytes(),
        flag: number(1) as u16,
        contig: if fields[2] == "*" { -1 } else { 0 },
        position: number(3) - 1,
        mapq: number(4) as u8,
        cigar: &cigar,
        mate_contig: match fields[6] {
            "=" => 0,
            "*" => -1,
            _ => 1,
        },
        mate_position: number(7) - 1,
        template_length: number(8),
        sequence: &sequence,
        qualities: &qualities,
        tags: &tags,
    };
    encode(&made, &mut bytes);
    bytes
}

#[test]
fn counts_agree_with_samtools_on_real_reads() {
    let Some(bam) = shared()
        .map(|folder| folder.join("data/germline/minigiab_NA12878_chr22_tiny/NA12878.chr22.tiny.bam"))
    else {
        return println!("skipped: no shared data");
    };
    let path = bam.to_str().unwrap();
    let (Some(sam), Some(stats), Some(depths)) =
        (samtools(&["view", path]), samtools(&["stats", path]), samtools(&["depth", "-a", path]))
    else {
        return println!("skipped: no samtools");
    };
    let records: Vec<_> = sam.lines().map(from_sam).collect();
    let mut counters = SampleCounters::new(12_000);
    let libraries = Libraries::of_header([]);
    let mut tally = AlignmentTally::new(None, &libraries);
    let mut depth = CellDepth::new(Interval { contig: 0, start: 0, end: 20_000 });
    for bytes in &records {
        let record = Record::new(bytes).unwrap();
        tally.add(&record);
        depth.add(&record);
    }
    counters.alignment = tally.finish(0, 0);
    let reads = &counters.alignment.reads;
    let stat = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("SN\t{name}:\t"))).unwrap();
        line.split('\t').next().unwrap().parse::<u64>().unwrap()
    };
    let check = |name: &str, seen: u64| assert_eq!(seen, stat(name), "{name}");
    check("raw total sequences", reads.primary);
    check("reads mapped", reads.mapped);
    check("reads unmapped", reads.unmapped);
    check("reads mapped and paired", reads.both_mapped);
    check("reads properly paired", reads.properly_paired);
    check("reads paired", reads.paired);
    check("reads duplicated", reads.duplicate);
    check("reads MQ0", counters.alignment.mapq.count(0));
    check("1st fragments", reads.first);
    check("last fragments", reads.last);
    let alignment = &counters.alignment;
    check("bases mapped (cigar)", alignment.aligned_bases + alignment.supplementary_aligned_bases);
    check("mismatches", alignment.edit_distance + alignment.supplementary_edit_distance);
    by_cycle_agrees(&stats, &counters);
    for line in depths.lines() {
        let mut columns = line.split('\t').skip(1).map(|column| column.parse::<usize>().unwrap());
        let (position, expect) = (columns.next().unwrap(), columns.next().unwrap());
        assert_eq!(depth.all()[position - 1] as usize, expect, "{position}");
    }
}

/// First and last fragment qualities: `FFQ cycle count-of-Q0 count-of-Q1 ...`.
fn by_cycle_agrees(stats: &str, counters: &SampleCounters) {
    for (prefix, mate) in [("FFQ\t", 0), ("LFQ\t", 1)] {
        let rows = counters.alignment.mates[mate].quality.rows();
        let lines: Vec<_> = stats.lines().filter_map(|line| line.strip_prefix(prefix)).collect();
        assert!(lines.len() >= rows.len() && !rows.is_empty());
        for (line, row) in lines.iter().zip(rows) {
            let expect: Vec<u64> = line.split('\t').skip(1).map(|count| count.parse().unwrap()).collect();
            let seen: Vec<u64> = row.iter().copied().take(expect.len()).collect();
            assert_eq!(seen, expect[..seen.len()], "{prefix}{line}");
        }
    }
}

/// What Picard 2.27.5 (CollectWgsMetrics over chr20) and samtools 1.16.1 said of the sample of seed 11 as BAM.
const SAID_BY_OTHERS: [(&str, &str); 8] = [
    (
        "quality_yield_metrics",
        "11634 11634 100 1163400 1163400 1049862 1049862 658447 658447 1703309 1703309",
    ),
    ("quality_by_cycle_metrics", "1 34.635984|100 21.450551|101 34.013279|200 15.051523"),
    (
        "insert_size_metrics",
        "151 150 27 60 280 151.4279 38.933815 5104 FR 11 21 31 43 55 69 85 103 131 153 183",
    ),
    ("gc_bias.summary_metrics", "ALL 100 5986 11296 0.912499 2.471178 0.944776 1.021904 1.012481 0.882217 0"),
    (
        "gc_bias.detail_metrics",
        "ALL 25 903 145|1.104294 0.091707|ALL 40 2203 369|1.151904 0.059966|ALL 55 1432 197|0.94608 0.067405",
    ),
    (
        "wgs_metrics",
        "48334 11.453925 3.644698 11 2 0|0.995366 0.98049 0.703914 0.185128 0.020151 0.002441 0 0 0 0 0 0 0 0 \
         1.272658 1.636275 1.908987|0 224|1 67|2 65|3 160|4 427|5 1067",
    ),
    ("duplicate_metrics", "P1 0 5648 0 338 0 544 0 0.096317 27405"),
    (
        "stats",
        "error rate: 7.959528e-03|insert size average: 150.5|insert size standard deviation: 37.9|inward oriented \
         pairs: 5648|bases duplicated: 108800|average quality: 29.3|maximum length: 100",
    ),
];

#[test]
fn files_say_what_the_programs_say_whose_form_they_have() {
    let (genome, records) = sample(11);
    let mut whole = SampleCounters::new(genome.contigs.total_bases());
    count(&genome, &records, CELL).iter().for_each(|part| whole.merge(part));
    let files = exchange::files("P1.cram", &[("P1.cram", &SampleQc::new("P1".to_owned(), whole))]);
    let text = |kind: &str| {
        let name = format!("P1.cram.{kind}");
        let file = files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}"));
        file.text.replace('\t', " ")
    };
    for (kind, said) in SAID_BY_OTHERS {
        let text = text(kind);
        for part in said.split('|') {
            // Whole columns: a number must not go on.
            let found = text.match_indices(part).any(|(at, _)| {
                let free = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
                let bytes = text.as_bytes();
                free(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && free(bytes.get(at + part.len()))
            });
            assert!(found, "{kind}: no '{part}' in:\n{text}");
        }
    }
    let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
    assert_eq!(exchange::names("P1.cram", &["P1.cram".to_owned()]), names);
    // Of single reads there is nothing between mates, and they are covered all the same.
    let single: Vec<Vec<u8>> = records.iter().map(|bytes| without_mate(bytes)).collect();
    let mut whole = SampleCounters::new(genome.contigs.total_bases());
    count(&genome, &single, CELL).iter().for_each(|part| whole.merge(part));
    let qc = SampleQc::new("P1".to_owned(), whole);
    let files = exchange::files("P1.cram", &[("P1.cram", &qc)]);
    assert!(files.iter().all(|file| !file.name.ends_with("insert_size_metrics")));
    assert!(qc.metrics.mean_autosome_coverage > Some(11.453) && qc.metrics.mean_insert_size.is_none());
}

/// Each library says what a sample of its reads alone would.
#[test]
fn each_library_of_a_sample_has_its_own_duplicates() {
    let (genome, records) = sample(5);
    let rows = |records: &[Vec<u8>], header: &[&str]| {
        let libraries = Libraries::of_header(header.iter().copied());
        let mut whole = SampleCounters::new(genome.contigs.total_bases());
        count_of(&genome, records, CELL, &libraries).iter().for_each(|part| whole.merge(part));
        let files = exchange::files("P1.cram", &[("P1.cram", &SampleQc::new("P1".to_owned(), whole))]);
        let file = files.into_iter().find(|file| file.name.ends_with("duplicate_metrics")).unwrap();
        let rows = file.text.lines().skip_while(|line| !line.starts_with("LIBRARY")).skip(1);
        rows.filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    // A third of the templates is of no library that is named.
    let groups = ["a", "b", "c"];
    let header = ["@RG\tID:a\tSM:P1\tLB:x", "@RG\tID:b\tLB:y", "@RG\tID:c\tSM:P1", "@RG\tID:d\tLB:x"];
    let of_group = |wanted: &str| -> Vec<Vec<u8>> {
        let group = |bytes: &[u8]| {
            let name = Record::new(bytes).unwrap().name().to_vec();
            groups[name.iter().map(|&byte| usize::from(byte)).sum::<usize>() % 3].to_owned()
        };
        let mine = records.iter().filter(|bytes| wanted.is_empty() || group(bytes) == wanted);
        mine.map(|bytes| [bytes, &b"RGZ"[..], group(bytes).as_bytes(), b"\0"].concat()).collect()
    };
    let all = rows(&of_group(""), &header);
    let alone = |group: &str, line: &str| rows(&of_group(group), &[line]).pop().unwrap();
    let expect = [alone("c", header[2]), alone("a", header[0]), alone("b", header[1])];
    assert_eq!(all, expect);
    let names: Vec<&str> = all.iter().filter_map(|row| row.split('\t').next()).collect();
    assert_eq!(names, ["Unknown Library", "x", "y"]);
    assert!(all.iter().all(|row| row.split('\t').nth(6).unwrap().parse::<u32>().unwrap() > 0), "{all:?}");
}

/// The record as that of a single read.
fn without_mate(bytes: &[u8]) -> Vec<u8> {
    const OF_PAIRS: u16 =
        flag::PAIRED | flag::PROPER | flag::MATE_UNMAPPED | flag::MATE_REVERSE | flag::FIRST | flag::LAST;
    let mut bytes = bytes.to_vec();
    let flags = u16::from_le_bytes([bytes[14], bytes[15]]) & !OF_PAIRS;
    bytes[14..16].copy_from_slice(&flags.to_le_bytes());
    bytes[20..28].fill(0xff);
    bytes[28..32].fill(0);
    bytes
}
