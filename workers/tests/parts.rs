//! A job's files, written in parts by the tasks that a scheduler would run, against the plain ways to the same bytes: the
//! whole file read again, htslib's index, the text of the joint calls.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use jobs::failure::{Class, Failure};
use jobs::genome::{Cell, Contigs};
use jobs::task::{Chunk, LaneId, Parts, Shard, Task};
use storage::{Commit, PieceRef, Writer};
use workers::access::{Access, Content};
use workers::context::{Context, Lane, Sample, Settings};
use workers::finish::{self, Before, FinishError, SampleLedger, digest, finish_joint, part_is_whole};
use workers::hold::{Free, Hold};
use workers::htslib::{AlignmentReader, index_alignments};
use workers::index_file::{self, ReferenceIndex};
use workers::intake::LaneInput;
use workers::joint::JointSummary;
use workers::qc::contig_class::ContigClass;
use workers::qc::relatedness::Relatedness;
use workers::region::{RegionSummary, block};
use workers::simulate::{self, Options};
use workers::task::{self, sealed_to};
use workers::vcf::{build_index, decompress_cell};

type Done = (Task, Arc<Commit>);

/// Holds nothing, and keeps nothing.
struct Audit;

impl Hold for Audit {
    fn reach(&self, _step: u32) -> bool {
        true
    }

    fn is_needed(&self) -> bool {
        true
    }

    fn is_kept(&self) -> bool {
        false
    }
}

/// Of one person the only sample; of two, the second's are a normal and a tumour.
fn context(directory: &Path, people: u32, depth: f64) -> Context {
    let out = directory.join("cohort");
    let options = Options {
        out: out.clone(),
        samples: people,
        genome_mb: Some(1.4),
        depth,
        tumor: people > 1,
        ..Options::default()
    };
    let simulated = simulate::run(&options, &mut |_| ()).unwrap();
    let index = index_file::path_of(&simulated.reference);
    index_file::build(&simulated.reference, &index, &|_| ()).unwrap();
    let index = ReferenceIndex::open(&simulated.reference, &index).unwrap();
    let samples = simulated.samples.iter().enumerate().map(|(ordinal, sample)| {
        let reads = |end: u8| out.join(format!("reads/{}_R{end}.fastq.gz", sample.name));
        let input = LaneInput { fastq_1: reads(1), fastq_2: Some(reads(2)), sha256_1: None, sha256_2: None };
        let lane = Lane {
            input,
            read_group: sample.name.clone(),
            header_line: format!("@RG\tID:{0}\tSM:{0}", sample.name),
            library: 0,
            chunk_pairs: 10_000,
        };
        let (joint, participant) = (!sample.tumor, u32::from(ordinal > 0));
        Sample { name: sample.name.clone(), joint, participant, lanes: vec![lane] }
    });
    let settings = Settings { calling: true, ..Settings::default() };
    let writer = (Writer::Alone { era: 0 }, BTreeMap::new());
    let scratch = directory.join("scratch");
    Context::open("job".to_owned(), index, samples.collect(), settings, &scratch, writer).unwrap()
}

struct Job<'a> {
    access: &'a Access<'a>,
    results: PathBuf,
}

impl Job<'_> {
    fn new<'a>(access: &'a Access<'a>, results: PathBuf) -> Job<'a> {
        fs::create_dir_all(&results).unwrap();
        Job { access, results }
    }

    fn attempt(&self, task: Task, inputs: &[Done], hold: &dyn Hold) -> Result<Done, Failure> {
        let done = task::run(self.access, task, inputs, &self.results, hold)?;
        let commit =
            Commit { pieces: done.pieces, summary: done.summary, content: done.content, ..Commit::default() };
        Ok((task, Arc::new(commit)))
    }

    fn run(&self, task: Task, inputs: &[Done]) -> Done {
        self.attempt(task, inputs, &Free).unwrap()
    }

    fn cells(&self) -> u32 {
        self.access.grid.cells()
    }

    fn parts(&self) -> Parts {
        Parts::of(self.cells())
    }

    /// The intake of a sample, and its regional tasks in shards of so many cells, those of no place last.
    fn regions(&self, sample: u32, each: u32) -> Vec<Done> {
        let lane = LaneId { sample, lane: 0 };
        let intake = self.run(Task::Intake(lane, 0), &[]);
        let chunks = task::intake_summary(&intake.1).unwrap().chunks;
        let before = [intake, self.run(Task::Model(lane), &[])];
        let map = |chunk| self.run(Task::Map(lane, Chunk::whole(chunk)), &before);
        let runs: Vec<Done> = (0..chunks).map(map).collect();
        let shards = (0..self.parts().count()).flat_map(|part| {
            let cells = self.parts().cells(part);
            let end = cells.end;
            cells.step_by(each as usize).map(move |first| shard(first, (first + each).min(end)))
        });
        let shards = shards.chain([Shard::Unplaced]);
        let regions = shards.map(|shard| self.run(Task::Region(sample, shard), &runs));
        before.into_iter().take(1).chain(regions).collect()
    }

    /// The joint tasks of everybody, over shards that begin at the lines and at these cuts.
    fn joints(&self, regions: &[Done], cuts: &[u32]) -> Vec<Done> {
        let mut lines: Vec<u32> = self.parts().lines().chain([0, self.cells()]).collect();
        lines.extend(cuts);
        lines.sort_unstable();
        lines.dedup();
        let joint = |ends: &[u32]| {
            let reach = ends[0].saturating_sub(1)..ends[1];
            let touches = |(task, _): &&Done| match *task {
                Task::Region(_, Shard::Cells { first, end }) => first.0 < reach.end && end.0 > reach.start,
                _ => false,
            };
            let inputs: Vec<Done> = regions.iter().filter(touches).cloned().collect();
            let (task, commit) = self.run(Task::Joint(shard(ends[0], ends[1])), &inputs);
            assert_eq!(sealed_to(task).len(), commit.pieces.len());
            (task, commit)
        };
        lines.windows(2).map(joint).collect()
    }

    /// What the task of a part reads of these, and before it what it is told.
    fn inputs_of_part(&self, write: Task, done: &[Done]) -> Vec<Done> {
        let cells = self.parts().cells(write.part().unwrap());
        let samples = write.sample().map_or((0..self.access.samples.len() as u32).collect(), |one| vec![one]);
        let mut before = Before { samples, ..Before::default() };
        let mut inputs = Vec::new();
        for (task, commit) in done {
            let Some(first) = task.steps().map(|cells| cells.start) else { continue };
            if cells.contains(&first) {
                inputs.push((*task, Arc::clone(commit)));
            } else if first < cells.start {
                match task {
                    Task::Joint(_) => {
                        before.extent.add_joint(&serde_json::from_slice(&commit.summary).unwrap())
                    }
                    _ => before.extent.add(&serde_json::from_slice(&commit.summary).unwrap()),
                }
            }
        }
        let summary = serde_json::to_vec(&before).unwrap();
        inputs.insert(0, (write, Arc::new(Commit { summary, ..Commit::default() })));
        inputs
    }

    fn write(&self, of: Option<u32>, part: u32, done: &[Done], hold: &dyn Hold) -> Done {
        let task = Task::write(of, part);
        self.attempt(task, &self.inputs_of_part(task, done), hold).unwrap()
    }

    /// All parts, the last first and the first twice, another twice at once.
    fn write_all(&self, of: Option<u32>, done: &[Done]) -> Vec<Done> {
        let count = self.parts().count();
        assert!(count > 1);
        let mut parts: Vec<Done> = (0..count).rev().map(|part| self.write(of, part, done, &Free)).collect();
        parts.reverse();
        assert_eq!(self.write(of, 0, done, &Free).1.content, parts[0].1.content);
        thread::scope(|scope| {
            let again = || assert_eq!(self.write(of, 1, done, &Free).1.content, parts[1].1.content);
            (0..2).for_each(|_| drop(scope.spawn(again)));
        });
        parts
    }

    /// All parts as somebody checks them, who writes nothing.
    fn audit_all(&self, of: Option<u32>, done: &[Done], expect: &[Done]) -> Vec<Done> {
        let audited: Vec<Done> =
            (0..self.parts().count()).map(|part| self.write(of, part, done, &Audit)).collect();
        for (audited, part) in audited.iter().zip(expect) {
            assert_eq!(audited.1.content, part.1.content);
        }
        assert_eq!(fs::read_dir(&self.results).unwrap().count(), 0);
        audited
    }

    fn finish(&self, sample: u32, done: &[Done], parts: &[Done], hold: &dyn Hold) -> Result<Done, Failure> {
        let (intake, unplaced) = (done.first().unwrap(), done.last().unwrap());
        let inputs: Vec<Done> = [intake].into_iter().chain(parts).chain([unplaced]).cloned().collect();
        self.attempt(Task::FinishSample(sample), &inputs, hold)
    }

    fn path(&self, file: &finish::ResultFile) -> PathBuf {
        self.results.join(file.path.strip_prefix("results/").unwrap())
    }

    fn bytes(&self, ledger: &SampleLedger) -> Vec<Vec<u8>> {
        ledger.files.iter().map(|file| fs::read(self.path(file)).unwrap()).collect()
    }
}

fn shard(first: u32, end: u32) -> Shard {
    Shard::Cells { first: Cell(first), end: Cell(end) }
}

fn ledger(finished: &Done) -> SampleLedger {
    serde_json::from_slice(&finished.1.summary).unwrap()
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_samples_files_are_those_that_anybody_would_write_in_one_go() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path(), 1, 6.0);
    let access = Access::of_caller(&context);
    let job = Job::new(&access, directory.path().join("first"));
    let done = job.regions(0, 3);
    a_region_is_held_against_its_records(&job, &done);
    let parts = job.write_all(Some(0), &done);
    let finished = job.finish(0, &done, &parts, &Free).unwrap();
    let ledger_of = ledger(&finished);
    for file in &ledger_of.files {
        assert_eq!(digest(&job.path(file)).unwrap(), (file.bytes, file.blake3.clone()), "{}", file.path);
    }
    let [cram, crai, gvcf, tbi] = [0, 1, 2, 3].map(|at| job.path(&ledger_of.files[at]));
    let ours = gunzip(&crai);
    let copy = directory.path().join("copy.cram");
    fs::copy(&cram, &copy).unwrap();
    assert_eq!(ours, gunzip(&index_alignments(&copy).unwrap()));
    assert!(ours.lines().count() > job.cells() as usize && ours.contains("\n-1\t"));
    assert_eq!(fs::read(&tbi).unwrap(), build_index(&gvcf, access.index.contigs()).unwrap());
    let mut reader = AlignmentReader::open(&cram, Some(access.index.fasta())).unwrap();
    let (mut record, mut records) = (Vec::new(), 0);
    while reader.read(&mut record).unwrap() {
        records += 1;
    }
    assert_eq!((records, ledger_of.fates.total()), (ledger_of.records, ledger_of.reads_in));

    // Cut in another way and again over a longer file, it is the same; an audit says so without touching a file.
    let other = Job::new(&access, directory.path().join("other"));
    fs::write(other.path(&ledger_of.files[0]), vec![7; 9_000_000]).unwrap();
    let cut = other.regions(0, 1);
    let written: Vec<Done> =
        (0..other.parts().count()).map(|part| other.write(Some(0), part, &cut, &Free)).collect();
    let again = other.finish(0, &cut, &written, &Free).unwrap();
    assert!(other.bytes(&ledger_of) == job.bytes(&ledger_of));
    assert_eq!(ledger(&again).files, ledger_of.files);
    let audit = Job::new(&access, directory.path().join("audit"));
    let audited = audit.audit_all(Some(0), &done, &parts);
    assert_eq!(audit.finish(0, &done, &audited, &Audit).unwrap().1.content, finished.1.content);
    assert_eq!(fs::read_dir(&audit.results).unwrap().count(), 0);

    what_is_not_there_is_named(&job, &done, &parts, &cram);
}

fn a_region_is_held_against_its_records(job: &Job<'_>, done: &[Done]) {
    let check = |done: &Done, change: fn(&mut RegionSummary), expect: Option<Class>| {
        check_changed(job, done, change, expect);
    };
    let changes: [fn(&mut RegionSummary); 6] = [
        |summary| summary.alignment_bytes += 1,
        |summary| summary.call_bytes += 1,
        |summary| summary.records += 1,
        |summary| summary.sites += 1,
        |summary| summary.fates.unmapped += 1,
        |summary| summary.answers.no_reads += 1,
    ];
    let regions = &done[1..];
    for region in regions {
        check(region, |_| {}, None);
    }
    for change in changes {
        check(&regions[0], change, Some(Class::Integrity));
    }
    let (task, commit) = &regions[0];
    let unread = task::check_summary(job.access, (*task, &[0]), (&commit.pieces, b"{"));
    assert_eq!(unread.err().map(|failure| failure.class()), Some(Class::Integrity));
}

fn a_joint_task_is_held_against_its_records(job: &Job<'_>, done: &Done) {
    check_changed(job, done, |_: &mut JointSummary| {}, None);
    let changes: [fn(&mut JointSummary); 3] = [
        |summary| summary.bytes += 1,
        |summary| summary.sites += 1,
        |summary| summary.sites_passed = summary.sites + 1,
    ];
    for change in changes {
        check_changed(job, done, change, Some(Class::Integrity));
    }
    let (task, commit) = done;
    let (access, of_shard) = (job.access, commit.pieces.last().unwrap());
    let check = |samples: &[u32], kind: u8, change: fn(&mut Vec<u8>), expect: Option<Class>| {
        let reader = access.read(*task, of_shard).unwrap();
        let mut record = access.record(*task).unwrap();
        let mut bytes = Vec::new();
        for (at, entry) in reader.entries().iter().enumerate() {
            reader.read_block(at, &mut bytes).unwrap();
            if entry.kind == kind {
                change(&mut bytes);
            }
            record.block(*entry, &bytes).unwrap();
        }
        let mut pieces = commit.pieces.clone();
        *pieces.last_mut().unwrap() = access.append(record, &mut Content::default()).unwrap();
        let checked = task::check_summary(access, (*task, samples), (&pieces, &commit.summary));
        assert_eq!(checked.err().map(|failure| failure.class()), expect, "kind {kind}");
    };
    check(&[0, 1, 2], block::CALL_INDEX, |_| {}, None);
    check(&[0, 1], block::CALL_INDEX, |_| {}, Some(Class::Integrity));
    let of_index: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        // The first run's contig and first base; the end of the last.
        |bytes| bytes[0] = 9,
        |bytes| bytes[4..8].fill(0),
        |bytes| {
            let end = bytes.len() - 16;
            bytes[end..end + 8].fill(0xff);
        },
    ];
    for change in of_index {
        check(&[0, 1, 2], block::CALL_INDEX, change, Some(Class::Integrity));
    }
    check(&[0, 1, 2], block::KINSHIP, |bytes| bytes.truncate(bytes.len() - 1), Some(Class::Integrity));
    check(&[0, 1, 2], block::KINSHIP, |bytes| bytes[0] = 7, Some(Class::Integrity));
}

/// What a worker is told that is not believed, of a summary that was changed.
fn check_changed<S: serde::de::DeserializeOwned + serde::Serialize>(
    job: &Job<'_>,
    (task, commit): &Done,
    change: fn(&mut S),
    expect: Option<Class>,
) {
    let mut summary = serde_json::from_slice(&commit.summary).unwrap();
    change(&mut summary);
    let summary = serde_json::to_vec(&summary).unwrap();
    let checked = task::check_summary(job.access, (*task, &[0, 1, 2]), (&commit.pieces, &summary));
    assert_eq!(checked.err().map(|failure| failure.class()), expect, "{task:?}");
}

fn what_is_not_there_is_named(job: &Job<'_>, done: &[Done], parts: &[Done], cram: &Path) {
    let last = parts.len() as u32 - 1;
    let good = fs::read(cram).unwrap();
    let check = |expect: Option<u32>| {
        let found = job.finish(0, done, parts, &Free);
        let name = |part| Task::WriteSample(0, part).key(job.access.names());
        match (found, expect) {
            (Ok(_), None) => assert!(fs::read(cram).unwrap() == good),
            (Err(failure), Some(part)) => {
                assert_eq!(failure.class(), Class::Integrity);
                assert!(failure.to_string().contains(&name(part)), "{failure}");
            }
            (found, expect) => panic!("{:?} {expect:?}", found.map(|_| ())),
        }
        for (part, (task, commit)) in (0..).zip(parts) {
            let whole = |all| part_is_whole(job.access, *task, &commit.pieces[0], &job.results, all).unwrap();
            assert!(whole(false) != (expect == Some(part)) || expect.is_some_and(|expect| expect < part));
            assert!(!whole(true) || whole(false));
        }
    };
    check(None);
    let file = OpenOptions::new().write(true).open(cram).unwrap();
    file.set_len(good.len() as u64 * 9 / 10).unwrap();
    check(Some(last));
    // Written again after it was lost, without the part before.
    fs::remove_file(cram).unwrap();
    job.write(Some(0), last, done, &Free);
    check(Some(0));
    job.write(Some(0), 0, done, &Free);
    (1..last).for_each(|part| drop(job.write(Some(0), part, done, &Free)));
    check(None);
    fs::remove_file(cram).unwrap();
    check(Some(0));
    fs::write(cram, &good).unwrap();
    // Within a part, only who looks at all of it sees.
    let (file, middle) = (OpenOptions::new().write(true).open(cram).unwrap(), good.len() as u64 / 8);
    file.write_all_at(&[!good[middle as usize]], middle).unwrap();
    let (task, commit) = &parts[0];
    let whole = |all| part_is_whole(job.access, *task, &commit.pieces[0], &job.results, all).unwrap();
    assert!(whole(false) && !whole(true));
}

#[test]
fn joint_calls_are_indexed_and_compared_however_the_shards_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path(), 2, 5.0);
    let access = Access::of_caller(&context);
    let job = Job::new(&access, directory.path().join("results"));
    let regions: Vec<Done> = (0..3).flat_map(|sample| job.regions(sample, 4)).collect();
    let piece = |(task, commit): &Done| (*task, commit.pieces[0].clone());
    let end = |parts: &[Done]| {
        let parts: Vec<(Task, PieceRef)> = parts.iter().map(piece).collect();
        finish_joint(&access, &[0, 1, 2], &parts, &job.results)
    };
    let joints = job.joints(&regions, &[]);
    a_joint_task_is_held_against_its_records(&job, &joints[0]);
    let parts = job.write_all(None, &joints);
    let (files, pairs) = end(&parts).unwrap();
    let path = job.results.join("job.vcf.gz");
    assert_eq!(
        fs::read(job.results.join("job.vcf.gz.tbi")).unwrap(),
        build_index(&path, access.index.contigs()).unwrap()
    );
    for file in &files {
        assert_eq!(digest(&job.path(file)).unwrap(), (file.bytes, file.blake3.clone()));
    }
    let audit = Job::new(&access, directory.path().join("audit"));
    audit.audit_all(None, &joints, &parts);
    // Written over a longer file.
    fs::write(&path, vec![7; 9_000_000]).unwrap();
    let every: Vec<u32> = (1..job.cells()).collect();
    for cuts in [&[1, 9][..], &every] {
        let parts = job.write_all(None, &job.joints(&regions, cuts));
        assert_eq!(end(&parts).unwrap(), (files.clone(), pairs.clone()), "{cuts:?}");
    }
    let last = parts.len() - 1;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(files[0].bytes * 9 / 10).unwrap();
    let gone = end(&parts).unwrap_err();
    let name = parts[last].0.key(access.names());
    assert!(matches!(&gone, FinishError::Part { task, .. } if *task == name), "{gone}");
    job.write(None, last as u32, &joints, &Free);
    assert_eq!(end(&parts).unwrap(), (files.clone(), pairs.clone()));
    let names: Vec<(usize, usize)> = pairs.iter().map(|pair| (pair.first, pair.second)).collect();
    assert_eq!(names, [(0, 1), (1, 2)]);
    let (_, _, expect) = relatedness_by_text(&fs::read(&path).unwrap(), access.index.contigs()).finish()[0];
    assert_eq!(pairs[0].counts, expect);
    let with_tumour = pairs[1].counts;
    assert!(expect.sites > 500 && with_tumour.sites > expect.sites / 2);
    assert!(with_tumour.identical > 8 * with_tumour.sites / 10, "{with_tumour:?}");
}

/// What the genotypes of a file's biallelic autosomal SNVs that passed say of two samples.
fn relatedness_by_text(file: &[u8], contigs: &Contigs) -> Relatedness {
    let classes = ContigClass::of_all(contigs);
    let text = String::from_utf8(decompress_cell(file).unwrap()).unwrap();
    let mut relatedness = Relatedness::new(2);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let autosome = classes[contigs.id(columns[0]).unwrap() as usize] == ContigClass::Autosome;
        if autosome
            && columns[3].len() == 1
            && columns[4].len() == 1
            && columns[4] != "*"
            && columns[6] == "PASS"
        {
            let genotypes = columns[9..].iter().map(|sample| match sample.as_bytes() {
                [a @ b'0'..=b'1', b'/' | b'|', b @ b'0'..=b'1', ..] => Some([a - b'0', b - b'0']),
                _ => None,
            });
            relatedness.add_site(&genotypes.collect::<Vec<_>>());
        }
    }
    relatedness
}
