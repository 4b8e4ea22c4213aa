//! FASTQ intake from outside: every way of compressing a file gives the same reads, every chunk is read alone, and
//! damage is never silent.

use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use jobs::failure::{Class, Classified};
use jobs::task::INTAKE_CHUNKS;
use workers::fastq::{FastqError, FastqReader, PairReader, Pairs, Problem, Reads};
use workers::gzip::{GzipError, SeekPoint};
use workers::intake::{
    ChunkReader, ChunkStart, FileReport, IntakeEnd, IntakeError, LaneInput, Taken, intake,
};

/// A small generator for test data (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn fastq(reads: usize, mate: u8, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut text = Vec::new();
    for read in 0..reads {
        let length = if read % 97 == 5 { 0 } else { 20 + random.below(130) };
        writeln!(text, "@run7:lane1:{read}/{mate} extra words").unwrap();
        text.extend((0..length).map(|_| b"ACGTACGTACGTN"[random.below(13)]));
        text.extend_from_slice(b"\n+\n");
        text.extend((0..length).map(|_| b"#,5:AFFFFFF"[random.below(11)]));
        text.push(b'\n');
    }
    text
}

fn gzip_member(bytes: &[u8], level: i32) -> Vec<u8> {
    let level = libdeflater::CompressionLvl::new(level).unwrap();
    let mut compressor = libdeflater::Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

fn bgzf(bytes: &[u8]) -> Vec<u8> {
    let mut writer = noodles_bgzf::io::Writer::new(Vec::new());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// The same bytes as compressed by different hands.
fn compressed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let many = bytes.chunks(7_001).flat_map(|chunk| gzip_member(chunk, 6)).collect();
    let mut all = vec![
        ("plain", bytes.to_vec()),
        ("stored", gzip_member(bytes, 0)),
        ("one member", gzip_member(bytes, 6)),
        ("many members", many),
        ("bgzf", bgzf(bytes)),
    ];
    for (name, arguments) in [("gzip", &["-c1"][..]), ("pigz", &["-c", "-b", "128"])] {
        match run(name, arguments, bytes) {
            Some(out) => all.push((name, out)),
            None => println!("skipped: {name} is not installed"),
        }
    }
    all
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "input", input);
    let output = std::process::Command::new(program).args(arguments).arg(&path).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read_all(path: &Path) -> Result<Reads, FastqError> {
    let mut reader = FastqReader::open(path)?;
    let mut reads = Reads::default();
    while reader.read(&mut reads)? {}
    Ok(reads)
}

fn lane(fastq_1: PathBuf, fastq_2: Option<PathBuf>) -> LaneInput {
    LaneInput { fastq_1, fastq_2, sha256_1: None, sha256_2: None }
}

/// A lane all of whose parts were taken in.
#[derive(Debug, PartialEq)]
struct Whole {
    pairs: u64,
    chunks: Vec<ChunkStart>,
    files: Vec<FileReport>,
    /// Of both files: reads, bases, bases of quality 30 or more.
    counts: [[u64; 3]; 2],
}

/// Takes in all parts of a lane, each from what the one before stored. `meanwhile` is called between two of them.
fn take_in_while(
    lane: &LaneInput,
    chunk_pairs: u64,
    mut meanwhile: impl FnMut(u32),
) -> Result<Whole, IntakeError> {
    let mut whole = Whole { pairs: 0, chunks: Vec::new(), files: Vec::new(), counts: [[0; 3]; 2] };
    let mut before = None;
    for part in 0.. {
        let report = intake(lane, chunk_pairs, before.as_ref(), |_| true)?;
        whole.pairs += report.pairs;
        for (sums, reads) in whole.counts.iter_mut().zip([&report.first, &report.second]) {
            let counts = [reads.reads, reads.bases, reads.bases_at_least(30)];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let most = INTAKE_CHUNKS as usize;
        match report.end {
            IntakeEnd::More(taken) => {
                assert_eq!((report.pairs, report.chunks.len()), (chunk_pairs * most as u64, most));
                let (bytes, seen) = taken.to_bytes();
                before = Taken::from_bytes(&bytes, &seen);
                assert_eq!(before.as_ref().map(Taken::to_bytes), Some((bytes, seen)));
                whole.chunks.extend(report.chunks);
                meanwhile(part);
            }
            IntakeEnd::Lane(files) => {
                assert!(report.chunks.len() <= most);
                whole.chunks.extend(report.chunks);
                whole.files = files;
                break;
            }
        }
    }
    Ok(whole)
}

fn take_in(lane: &LaneInput, chunk_pairs: u64) -> Result<Whole, IntakeError> {
    take_in_while(lane, chunk_pairs, |_| ())
}

/// Every chunk as text, read from the last to the first so that none can lean on another.
fn read_chunks(lane: &LaneInput, report: &Whole, chunk_pairs: u64) -> [Vec<u8>; 2] {
    let mut chunks = Vec::new();
    for (index, start) in report.chunks.iter().enumerate().rev() {
        let first = index as u64 * chunk_pairs;
        let count = chunk_pairs.min(report.pairs - first);
        let mut reader = ChunkReader::open(lane, start, first, count).unwrap();
        let mut chunk = Pairs::default();
        while reader.read(300, &mut chunk).unwrap() > 0 {}
        chunks.push([as_text(&chunk.first), as_text(&chunk.second)]);
    }
    chunks.reverse();
    [0, 1].map(|mate| chunks.iter().flat_map(|chunk| chunk[mate].iter().copied()).collect())
}

fn as_text(reads: &Reads) -> Vec<u8> {
    let mut text = Vec::new();
    for read in 0..reads.len() {
        text.push(b'@');
        text.extend_from_slice(reads.name(read));
        text.push(b'\n');
        text.extend(reads.sequence(read).iter().map(|&code| b"ACGTN"[usize::from(code)]));
        text.extend_from_slice(b"\n+\n");
        text.extend(reads.qualities(read).iter().map(|quality| quality + 33));
        text.push(b'\n');
    }
    text
}

#[test]
fn every_compression_gives_the_same_reads_and_every_chunk_stands_alone() {
    let directory = tempfile::tempdir().unwrap();
    let texts = [fastq(4_000, 1, 1), fastq(4_000, 2, 2)];
    let expect = [1, 2].map(|mate| {
        let text = String::from_utf8(texts[mate - 1].clone()).unwrap();
        text.replace(&format!("/{mate} extra words"), "").into_bytes()
    });
    let mut statistics = None;
    for ((name, bytes_1), (_, bytes_2)) in compressed(&texts[0]).into_iter().zip(compressed(&texts[1])) {
        let path_1 = write(directory.path(), "c1", &bytes_1);
        let path_2 = write(directory.path(), "c2", &bytes_2);
        let lane = lane(path_1, Some(path_2));
        for chunk_pairs in [137, 500, 4_000, 9_999] {
            let report = take_in(&lane, chunk_pairs).unwrap();
            assert_eq!(report.pairs, 4_000, "{name}");
            assert_eq!(report.chunks.len() as u64, 4_000u64.div_ceil(chunk_pairs), "{name}");
            for (file, bytes) in report.files.iter().zip([&bytes_1, &bytes_2]) {
                let sha256 = digest(&SHA256, bytes);
                assert_eq!((file.bytes, &file.sha256[..]), (bytes.len() as u64, sha256.as_ref()), "{name}");
            }
            assert!(read_chunks(&lane, &report, chunk_pairs) == expect, "{name} by {chunk_pairs}");
            assert_eq!(*statistics.get_or_insert(report.counts), report.counts, "{name}");
        }
    }
}

#[test]
fn seek_points_survive_storage_and_refuse_other_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "r.gz", &gzip_member(&fastq(3_000, 1, 3), 6));
    let mut reader = FastqReader::open(&path).unwrap();
    let mut reads = Reads::default();
    for _ in 0..2_500 {
        reader.read(&mut reads).unwrap();
    }
    let point = reader.seek_point();
    let bytes = point.to_bytes();
    assert_eq!(SeekPoint::from_bytes(&bytes).as_ref(), Some(&point));
    for cut in 0..bytes.len() {
        assert_eq!(SeekPoint::from_bytes(&bytes[..cut]), None, "{cut}");
    }
    let mut random = Random(9);
    for _ in 0..2_000 {
        let mut damaged = bytes.clone();
        let at = random.below(damaged.len().min(64));
        damaged[at] ^= 1 << random.below(8);
        if let Some(point) = SeekPoint::from_bytes(&damaged) {
            let _ = FastqReader::resume(&path, &point, 0).and_then(|mut reader| reader.read(&mut reads));
        }
    }
}

#[test]
fn a_cut_file_is_never_taken_for_a_whole_one() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in compressed(&fastq(12, 1, 4)) {
        let whole = read_all(&write(directory.path(), "whole", &bytes)).unwrap();
        for cut in 0..bytes.len() {
            match read_all(&write(directory.path(), "cut", &bytes[..cut])) {
                Err(error) => assert_eq!(error.class(), Class::Input),
                // Where a file may end between two records, or lacks no more than a last line feed or the empty member
                // that ends BGZF, only its digest can tell.
                Ok(reads) if ["plain", "bgzf"].contains(&name) => assert!(reads == whole || reads.len() < 12),
                Ok(reads) => assert!(reads.is_empty() && cut == 0, "{name} cut at {cut}"),
            }
        }
    }
}

#[test]
fn a_changed_byte_is_found_or_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in compressed(&fastq(12, 1, 5)).into_iter().filter(|(name, _)| *name != "plain") {
        let whole = read_all(&write(directory.path(), "whole", &bytes)).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(reads) = read_all(&write(directory.path(), "damaged", &damaged)) {
                assert!(reads == whole, "{name} changed at {at}");
            }
        }
    }
}

#[test]
fn noise_is_refused_and_nothing_panics() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(6);
    for round in 0..3_000 {
        let mut bytes: Vec<u8> = match round % 3 {
            0 => Vec::new(),
            1 => vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            _ => b"@r\nACGT\n+\nIIII\n@".to_vec(),
        };
        let alphabet = if round % 2 == 0 { 256 } else { 12 };
        bytes.extend((0..random.below(80)).map(|_| match random.below(alphabet) {
            0 => b'\n',
            1 => b'@',
            2 => b'+',
            byte => byte as u8 ^ 0x40,
        }));
        let _ = read_all(&write(directory.path(), "noise", &bytes));
    }
}

#[test]
fn a_malformed_record_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str, expect: Result<usize, (u64, Problem)>| {
        let path = write(directory.path(), "r.fq", text.as_bytes());
        let found = match read_all(&path) {
            Ok(reads) => Ok(reads.len()),
            Err(FastqError::Record { line, problem, .. }) => Err((line, problem)),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expect, "{text:?}");
    };
    check("", Ok(0));
    check("\n\n", Ok(0));
    check("@a\nACGT\n+\nIIII\n", Ok(1));
    check("@a\nACGT\n+\nIIII", Ok(1));
    check("@a\r\nACGT\r\n+\r\nIIII\r\n\r\n", Ok(1));
    check("@a\n\n+\n\n@b\n\n+\n", Ok(2));
    check("@a x\nacgtunryswkmbdhv.\n+a x\n~!!!!!!!!!!!!!!!!\n", Ok(1));
    check(&format!("@{}\nA\n+\nI\n", "n".repeat(254)), Ok(1));
    check(&format!("@{}\nA\n+\nI\n", "n".repeat(255)), Err((1, Problem::LongName { bytes: 255 })));
    check(">a\nACGT\n", Err((1, Problem::NoAt { found: Some(b'>') })));
    check(">a", Err((1, Problem::NoAt { found: Some(b'>') })));
    check(">a\nACGT\n>b\nACGT\n", Err((1, Problem::NoAt { found: Some(b'>') })));
    check("@a\nA\n+\nI\n\n@b\nA\n+\nI\n", Err((5, Problem::NoAt { found: None })));
    check("@ a\nA\n+\nI\n", Err((1, Problem::NoName)));
    check("@/1\nA\n+\nI\n", Err((1, Problem::NoName)));
    check("@a\u{7f}\nA\n+\nI\n", Err((1, Problem::NameByte { found: 0x7f })));
    check("@a\nAC-T\n+\nIIII\n", Err((2, Problem::Base { found: b'-', column: 3 })));
    check("@a\nACGT\nACGT\n+\nII\n", Err((3, Problem::NoPlus { found: Some(b'A') })));
    check("@a\nACGT\n+\nII I\n", Err((4, Problem::Quality { found: b' ', column: 3 })));
    check("@a\nACGT\n+\nIII\n", Err((4, Problem::Lengths { bases: 4, qualities: 3 })));
    check("@a\nACGT\n+\nIIIII\n", Err((4, Problem::Lengths { bases: 4, qualities: 5 })));
    check("@a\nACGT\n+\nIIII\n@b\nACGT\n+\nII", Err((8, Problem::Truncated)));
    check("@a\nACGT\n+\nIIII\n@b\nACGT\n", Err((7, Problem::Truncated)));
}

#[test]
fn mates_out_of_step_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let check = |names_1: &[&str], names_2: &[&str], expect: &str| {
        let text =
            |names: &[&str]| names.iter().map(|name| format!("@{name}\nACGT\n+\nIIII\n")).collect::<String>();
        let path_1 = write(directory.path(), "1.fq", text(names_1).as_bytes());
        let path_2 = write(directory.path(), "2.fq", text(names_2).as_bytes());
        let message = match take_in(&lane(path_1, Some(path_2)), 1) {
            Ok(report) => format!("{} pairs", report.pairs),
            Err(error) => error.to_string().replace(&format!("{}/", directory.path().display()), ""),
        };
        assert_eq!(message, expect);
    };
    check(&["a/1", "b/1"], &["a/2", "b/2"], "2 pairs");
    check(&["a 1:N:0", "b"], &["a 2:N:0", "b"], "2 pairs");
    check(&["a", "b"], &["a", "c"], "1.fq and 2.fq are out of step at line 5: 'b' stands beside 'c'");
    check(
        &["a", "b", "c", "d", "e"],
        &["a", "b", "c", "d", "f"],
        "1.fq and 2.fq are out of step at line 17: 'e' stands beside 'f'",
    );
    check(&["a"], &["a", "b"], "1.fq ends after 1 records, 2.fq goes on");
    check(&["a", "b", "c"], &["a"], "2.fq ends after 1 records, 1.fq goes on");
    check(&[], &["a"], "1.fq ends after 0 records, 2.fq goes on");
    check(&[], &[], "0 pairs");
}

#[test]
fn a_stated_digest_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "r.fq.gz", &bgzf(&fastq(10, 1, 8)));
    let mut input = lane(path, None);
    let report = take_in(&input, 2).unwrap();
    input.sha256_1 = Some(report.files[0].sha256);
    assert_eq!(take_in(&input, 2).unwrap(), report);
    input.sha256_1 = Some([0xab; 32]);
    let error = take_in(&input, 2).unwrap_err();
    assert!(matches!(&error, IntakeError::Digest { found, .. } if *found == report.files[0].sha256));
    assert!(error.to_string().contains(&"ab".repeat(32)) && error.class() == Class::Input);
}

#[test]
fn a_file_that_changes_after_intake_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let text = fastq(400, 1, 10);
    let input = lane(write(directory.path(), "r.fq.gz", &gzip_member(&text, 6)), None);
    let report = take_in(&input, 100).unwrap();
    write(directory.path(), "r.fq.gz", &gzip_member(&text[..text.len() / 2], 6));
    let mut pairs = Pairs::default();
    let outcome = ChunkReader::open(&input, &report.chunks[3], 300, 100)
        .and_then(|mut reader| reader.read(100, &mut pairs));
    assert!(outcome.is_err());
}

#[test]
fn a_file_that_changed_after_intake_is_noticed_though_it_still_parses() {
    let directory = tempfile::tempdir().unwrap();
    let text = fastq(500, 1, 9);
    let path = write(directory.path(), "r.fq", &text);
    let input = lane(path, None);
    let report = take_in(&input, 100).unwrap();
    let at = text.windows(5).rposition(|bases| bases == b"ACGTA").unwrap_or(text.len() / 2);
    let mut changed = text.clone();
    let base = changed[at..].iter().position(|byte| b"ACGT".contains(byte)).unwrap() + at;
    changed[base] = if changed[base] == b'A' { b'C' } else { b'A' };
    write(directory.path(), "r.fq", &changed);
    let refused: Vec<bool> = (0..5)
        .map(|chunk| {
            let mut reader =
                ChunkReader::open(&input, &report.chunks[chunk], 100 * chunk as u64, 100).unwrap();
            let mut pairs = Pairs::default();
            let outcome = reader.read(33, &mut pairs).and_then(|_| reader.read(100, &mut pairs));
            matches!(outcome, Err(IntakeError::ChunkChanged { .. }))
        })
        .collect();
    assert_eq!(refused.iter().filter(|&&refused| refused).count(), 1, "{refused:?}");
}

#[test]
fn a_file_that_is_replaced_between_two_parts_is_noticed_and_a_copy_of_it_is_as_good() {
    let directory = tempfile::tempdir().unwrap();
    let text = fastq(400, 1, 11);
    let other = fastq(400, 1, 12);
    for ((name, bytes), (_, others)) in compressed(&text).into_iter().zip(compressed(&other)) {
        let path = directory.path().join("r.fq");
        // Not written over, but put in its place, as who fetches a file again does.
        let put = |bytes: &[u8]| {
            let new = write(directory.path(), "new", bytes);
            std::fs::File::open(&new).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            std::fs::rename(new, &path).unwrap();
        };
        std::fs::write(&path, &bytes).unwrap();
        let input = lane(path.clone(), None);
        let whole = take_in(&input, 20).unwrap();
        let copied = take_in_while(&input, 20, |_| put(&bytes)).unwrap();
        assert_eq!(copied, whole, "{name}");
        let replaced = take_in_while(&input, 20, |part| {
            if part == 2 {
                put(&others)
            }
        });
        let error = replaced.unwrap_err();
        let is_replaced = matches!(&error, IntakeError::Fastq(FastqError::Gzip(GzipError::Replaced { .. })));
        assert!(is_replaced && error.class() == Class::Input, "{name}: {error}");
    }
}

#[test]
fn statistics_count_what_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "r.fq", b"@a\nACGTN\n+\n!!5II\n@b\nAA\n+\nI5\n@c\n\n+\n\n");
    let reads = intake(&lane(path, None), 10, None, |_| true).unwrap().first;
    assert_eq!((reads.reads, reads.bases, reads.length_min, reads.length_max), (3, 7, 0, 5));
    assert_eq!(reads.composition, [3, 1, 1, 1, 1]);
    assert_eq!((reads.qualities.len(), reads.qualities[0][0], reads.qualities[0][40]), (5, 1, 1));
    assert_eq!((reads.bases_at_least(20), reads.bases_at_least(30)), (5, 3));
}

#[test]
fn what_is_missing_is_said_to_be_missing() {
    let error = PairReader::open(Path::new("/nonexistent/r.fq"), None).err().unwrap();
    assert!(matches!(&error, FastqError::Gzip(GzipError::Io { .. })) && error.class() == Class::Input);
    assert_eq!(take_in(&lane("/dev/null".into(), None), 1).unwrap().pairs, 0);
}
