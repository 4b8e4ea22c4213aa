//! Every record written is what other people's validators take it for: Picard, htsjdk and samtools. Skipped, with a printed
//! reason, where those are absent.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;
use wakachi::{Cohort, folder, present, shared, shell, text, wakachi};

const FLAG_UNMAPPED: u16 = 0x4;
const FLAG_REVERSE: u16 = 0x10;
const FLAG_SECONDARY: u16 = 0x100;
const FLAG_DUPLICATE: u16 = 0x400;
const FLAG_SUPPLEMENTARY: u16 = 0x800;

/// The same reads aligned to BAM and to CRAM.
struct Aligned {
    folder: TempDir,
    reference: PathBuf,
}

impl Aligned {
    fn file(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    /// What Picard's tool says.
    fn picard(&self, tool: &str, options: &str) -> String {
        let reference = text(&self.reference);
        shell(&format!("PicardCommandLine {tool} R={reference} {options} 2>&1"))
    }

    /// Records of a file of alignments, as text.
    fn records(&self, name: &str) -> Vec<Record> {
        let all = shell(&format!("samtools view -T {} {}", text(&self.reference), self.file(name)));
        all.lines().map(Record::parse).collect()
    }
}

/// Of a simulated sample, and of a tumour's real reads around a translocation; none if the validators are absent.
fn aligned() -> &'static [Aligned] {
    static ALIGNED: OnceLock<Vec<Aligned>> = OnceLock::new();
    let sets = || {
        let cohort = Cohort::simulate("validation", "--samples 1 --genome-mb 0.6 --depth 12 --seed 43");
        let simulated = [1, 2].map(|mate| cohort.dir.join(format!("reads/S-000001_R{mate}.fastq.gz")));
        let real = shared("data/sv/manta_HCC1954_somaticSV").map(|folder| {
            let reads = [1, 2].map(|mate| folder.join(format!("tumour_R{mate}.fastq.gz")));
            align(&folder.join("mini_ref.fa"), &reads)
        });
        [align(&cohort.reference(), &simulated)].into_iter().chain(real).collect()
    };
    match present(&["samtools", "PicardCommandLine"]) {
        true => ALIGNED.get_or_init(sets),
        false => &[],
    }
}

fn align(fasta: &Path, reads: &[PathBuf; 2]) -> Aligned {
    let folder = folder();
    let reference = folder.path().join("reference.fa");
    std::fs::write(&reference, std::fs::read(fasta).unwrap()).unwrap();
    wakachi(&["index", text(&reference)]).ok();
    let dictionary = reference.with_extension("dict");
    shell(&format!("samtools faidx {0} && samtools dict {0} -o {1}", text(&reference), text(&dictionary)));
    for name in ["aligned.bam", "aligned.cram"] {
        let (output, group) = (folder.path().join(name), r"@RG\tID:a\tSM:s\tLB:l\tPL:ILLUMINA");
        let inputs = [text(&reference), text(&reads[0]), text(&reads[1])];
        wakachi(&[&["align"], &inputs[..], &["-o", text(&output), "-R", group]].concat()).ok();
    }
    Aligned { folder, reference }
}

/// A line of SAM.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    /// Up to the qualities.
    fields: Vec<String>,
    tags: BTreeMap<String, String>,
}

impl Record {
    fn parse(line: &str) -> Self {
        let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let tags = fields.split_off(11).into_iter();
        Record { fields, tags: tags.map(|tag| (tag[..2].to_owned(), tag[5..].to_owned())).collect() }
    }

    fn flag(&self) -> u16 {
        self.fields[1].parse().unwrap()
    }

    fn is(&self, flag: u16) -> bool {
        self.flag() & flag != 0
    }

    /// As an entry of SA of another record (SAM tags §1.1).
    fn chimeric(&self) -> String {
        let strand = if self.is(FLAG_REVERSE) { '-' } else { '+' };
        let cigar = self.fields[5].replace('H', "S");
        format!(
            "{},{},{strand},{cigar},{},{}",
            self.fields[2], self.fields[3], self.fields[4], self.tags["NM"]
        )
    }

    /// Its part of a template's score among duplicates.
    fn score(&self) -> u64 {
        let scores = self.fields[10].bytes().map(|letter| u64::from(letter - 33));
        scores.filter(|&score| score >= 15).sum()
    }
}

#[test]
fn picard_finds_no_fault() {
    aligned().iter().for_each(has_no_fault);
}

fn has_no_fault(aligned: &Aligned) {
    // htsjdk does not give back what the reference says, whoever wrote the CRAM.
    for (name, ignored) in [("aligned.bam", ""), ("aligned.cram", "IGNORE=MISSING_TAG_NM")] {
        let said =
            aligned.picard("ValidateSamFile", &format!("I={} MODE=SUMMARY {ignored}", aligned.file(name)));
        assert!(said.contains("No errors found"), "{name}: {said}");
        shell(&format!("samtools quickcheck -v {}", aligned.file(name)));
    }
}

#[test]
fn htsjdk_reads_the_same_from_cram_as_from_bam() {
    aligned().iter().for_each(reads_the_same);
}

fn reads_the_same(aligned: &Aligned) {
    let converted = format!("I={} O={}", aligned.file("aligned.cram"), aligned.file("htsjdk.sam"));
    aligned.picard("SamFormatConverter", &converted);
    let mut expect = aligned.records("aligned.bam");
    let read = aligned.records("htsjdk.sam");
    for tag in ["NM", "MD"] {
        expect.iter_mut().for_each(|record| drop(record.tags.remove(tag)));
    }
    assert_eq!(read.len(), expect.len());
    for (read, expect) in read.iter().zip(&expect) {
        let read = Record { tags: read.tags.clone(), ..read.clone() };
        let restored = |(tag, _): &(&String, &String)| !["NM", "MD"].contains(&tag.as_str());
        let tags: BTreeMap<_, _> = read.tags.iter().filter(restored).collect();
        assert_eq!((&read.fields, tags), (&expect.fields, expect.tags.iter().collect()));
    }
}

#[test]
fn picard_marks_the_same_duplicates_but_for_ties() {
    aligned().iter().for_each(has_the_same_duplicates);
}

fn has_the_same_duplicates(aligned: &Aligned) {
    let (bam, marked) = (aligned.file("aligned.bam"), aligned.file("marked.bam"));
    aligned.picard("MarkDuplicates", &format!("I={bam} O={marked} M={marked}.txt"));
    let (ours, theirs) = (aligned.records("aligned.bam"), aligned.records("marked.bam"));
    // Whose template is a duplicate to one of them alone, and with which score.
    let mut alone = [BTreeMap::<String, u64>::new(), BTreeMap::new()];
    let duplicates = |records: &[Record]| records.iter().filter(|record| record.is(FLAG_DUPLICATE)).count();
    assert!(duplicates(&ours) > 0);
    assert_eq!(duplicates(&ours), duplicates(&theirs));
    assert_eq!(ours.len(), theirs.len());
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(
            (&our.fields[0], our.flag() & !FLAG_DUPLICATE),
            (&their.fields[0], their.flag() & !FLAG_DUPLICATE)
        );
        if our.flag() != their.flag() {
            let of = usize::from(their.is(FLAG_DUPLICATE));
            *alone[of].entry(our.fields[0].clone()).or_default() += our.score();
        }
    }
    let scores = alone.map(|templates| {
        let mut scores: Vec<u64> = templates.into_values().collect();
        scores.sort_unstable();
        scores
    });
    println!("{} duplicates, {} of them chosen otherwise", duplicates(&ours), scores[0].len());
    assert_eq!(scores[0], scores[1]);
}

#[test]
fn mates_are_what_samtools_makes_of_them() {
    aligned().iter().for_each(has_the_same_mates);
}

fn has_the_same_mates(aligned: &Aligned) {
    let (bam, fixed) = (aligned.file("aligned.bam"), aligned.file("fixed.bam"));
    shell(&format!("samtools sort -n -u {bam} 2>/dev/null | samtools fixmate -u - {fixed}"));
    // Of TLEN there are two rules, and which is ours is told by the specification; MQ is not ours to write.
    let known = |records: Vec<Record>| -> BTreeSet<Vec<String>> {
        let line = |mut record: Record| {
            record.fields.remove(8);
            let cigar = record.tags.remove("MC").filter(|cigar| cigar != "*");
            record.tags.remove("MQ");
            let tags = record.tags.into_iter().map(|(tag, value)| tag + &value);
            record.fields.into_iter().chain(cigar).chain(tags).collect()
        };
        records.into_iter().map(line).collect()
    };
    let (ours, theirs) = (known(aligned.records("aligned.bam")), known(aligned.records("fixed.bam")));
    assert_eq!(ours.symmetric_difference(&theirs).next(), None);
}

#[test]
fn alignments_of_one_read_name_each_other() {
    aligned().iter().for_each(has_mutual_alignments);
}

fn has_mutual_alignments(aligned: &Aligned) {
    let mut reads = BTreeMap::<(String, u16), Vec<Record>>::new();
    for record in aligned.records("aligned.bam") {
        assert!(!record.is(FLAG_SECONDARY));
        assert!(!record.is(FLAG_UNMAPPED) || !record.is(FLAG_SUPPLEMENTARY));
        reads.entry((record.fields[0].clone(), record.flag() & 0xc0)).or_default().push(record);
    }
    assert!(reads.values().any(|records| records.len() > 1), "no read is split");
    for (read, mut records) in reads {
        records.sort_by_key(|record| record.is(FLAG_SUPPLEMENTARY));
        let primary = records.iter().filter(|record| !record.is(FLAG_SUPPLEMENTARY)).count();
        assert_eq!(primary, 1, "{read:?}");
        for (at, record) in records.iter().enumerate() {
            let others =
                (0..records.len()).filter(|&other| other != at).map(|other| records[other].chimeric());
            let expect = (records.len() > 1).then(|| others.collect::<BTreeSet<_>>());
            let stated =
                record.tags.get("SA").map(|entries| entries.trim_end_matches(';').split(';').collect());
            let stated = stated.map(|entries: Vec<_>| {
                // The primary comes first.
                assert!(at == 0 || entries[0] == records[0].chimeric(), "{record:?}");
                entries.into_iter().map(str::to_owned).collect()
            });
            assert_eq!(stated, expect, "{record:?}");
        }
    }
}
