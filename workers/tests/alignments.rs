//! CRAM and BAM from outside: what is written reads back the same, here and in samtools, whoever wrote which part; and
//! damaged files are refused.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use jobs::failure::{Class, Classified};
use jobs::genome::{Contig, Contigs};
use kernels::reference::{OwnedReference, Reference};
use workers::bam;
use workers::htslib::{
    AlignmentError, AlignmentReader, CRAM_EOF, CramEncoder, CramError, FastaIndex, IndexError, SamText,
    crai_lines, cram_file_header, cram_records, index_alignments, index_fasta, renumber,
};
use workers::record::{Fields, Record, encode, flag};

const LENGTHS: [usize; 2] = [40_000, 3_000];
const READ_BASES: usize = 70;

/// A small generator for test data (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A reference on disk and records aligned to it.
struct Scene {
    directory: tempfile::TempDir,
    fasta: PathBuf,
    header: String,
    records: Vec<Vec<u8>>,
}

impl Scene {
    fn new(per_contig: usize) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random(1);
        let genome = LENGTHS.map(|length| (0..length).map(|_| random.below(4) as u8).collect::<Vec<u8>>());
        let fasta = write_fasta(directory.path(), "ref.fa", &genome);
        let mut header = "@HD\tVN:1.6\tSO:coordinate\n".to_owned();
        for (id, sequence) in genome.iter().enumerate() {
            let text: Vec<u8> = sequence.iter().map(|&code| b"ACGT"[usize::from(code)]).collect();
            let m5: String = md5(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            header += &format!("@SQ\tSN:c{id}\tLN:{}\tM5:{m5}\n", sequence.len());
        }
        header += "@RG\tID:lane1\tSM:one\n";
        let mut records = Vec::new();
        for (id, sequence) in genome.iter().enumerate() {
            let mut starts: Vec<usize> =
                (0..per_contig).map(|_| random.below(sequence.len() - READ_BASES - 3)).collect();
            starts.sort_unstable();
            let aligned = |(ordinal, start)| aligned(&mut random, id, ordinal, start, sequence);
            let mut of_contig: Vec<Vec<u8>> = starts.into_iter().enumerate().map(aligned).collect();
            of_contig.sort_by_key(|record| Record::new(record).unwrap().position());
            records.extend(of_contig);
        }
        records.extend((0..5).map(|ordinal| unplaced(&mut random, ordinal)));
        Scene { directory, fasta, header, records }
    }

    fn slices(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.records.iter().map(|record| &record[..])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The CRAM file, encoded in containers of `per_container` records.
    fn cram(&self, name: &str, per_container: usize) -> PathBuf {
        self.cram_of(name, self.records.chunks(per_container))
    }

    fn cram_of<'a>(&self, name: &str, parts: impl Iterator<Item = &'a [Vec<u8>]>) -> PathBuf {
        let encoder = CramEncoder::open(&self.header, &self.fasta).unwrap();
        let sections = sections(&self.fasta);
        let reference = view(&sections);
        let mut bytes = cram_file_header(&self.header);
        let mut done = 0;
        for part in parts {
            let mut containers =
                encoder.containers(&reference, part.iter().map(|record| &record[..])).unwrap();
            assert_eq!(cram_records(&containers), Ok(part.len() as u64));
            renumber(&mut containers, done).unwrap();
            bytes.extend(containers);
            done += part.len() as u64;
        }
        bytes.extend(CRAM_EOF);
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn bam(&self, name: &str, per_run: usize) -> PathBuf {
        let contig = |id: usize| Contig { name: format!("c{id}"), length: LENGTHS[id] as u32, m5: [0; 16] };
        let contigs = Contigs::new(vec![contig(0), contig(1)]);
        let mut bytes = bam::header_blocks(&self.header, &contigs);
        for run in self.records.chunks(per_run) {
            bytes.extend(bam::record_blocks(run.iter().map(|record| &record[..])));
        }
        bytes.extend(bam::BAM_EOF);
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn sam_text(&self) -> Vec<u8> {
        let mut formatter = SamText::new(&self.header).unwrap();
        let mut text = Vec::new();
        self.slices().for_each(|record| formatter.line(record, &mut text).unwrap());
        text
    }
}

fn md5(text: &[u8]) -> [u8; 16] {
    use md5::Digest;
    md5::Md5::digest(text).into()
}

fn write_fasta(directory: &Path, name: &str, genome: &[Vec<u8>]) -> PathBuf {
    let mut text = Vec::new();
    for (id, sequence) in genome.iter().enumerate() {
        writeln!(text, ">c{id} made for a test").unwrap();
        for line in sequence.chunks(60) {
            text.extend(line.iter().map(|&code| b"ACGT"[usize::from(code)]));
            text.push(b'\n');
        }
    }
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    index_fasta(&path).unwrap();
    path
}

/// The sections of a FASTA's reference, of which [`view`] makes a view.
fn sections(fasta: &Path) -> Vec<Vec<u8>> {
    let mut owned = OwnedReference::default();
    workers::fasta::read(fasta, |_, letters| owned.push_contig(letters)).unwrap().unwrap();
    owned.sections().into()
}

fn view(sections: &[Vec<u8>]) -> Reference<'_> {
    Reference::new(&sections.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
}

fn aligned(random: &mut Random, contig: usize, ordinal: usize, start: usize, genome: &[u8]) -> Vec<u8> {
    let name = format!("r{contig}:{ordinal}");
    let qualities: Vec<u8> = (0..READ_BASES).map(|_| [2, 12, 25, 37][random.below(4)]).collect();
    let mut sequence = genome[start..start + READ_BASES].to_vec();
    let (cigar, md, distance) = match ordinal % 5 {
        0 => (vec![70 << 4], "70".to_owned(), 0),
        1 => {
            let at = 10 + random.below(40);
            let reference = sequence[at];
            sequence[at] = (reference + 1) % 4;
            let letter = b"ACGT"[usize::from(reference)] as char;
            (vec![70 << 4], format!("{at}{letter}{}", READ_BASES - 1 - at), 1)
        }
        // 30M2D40M
        2 => {
            sequence.drain(30..32);
            sequence.extend_from_slice(&genome[start + READ_BASES..start + READ_BASES + 2]);
            let gone: String =
                genome[start + 30..start + 32].iter().map(|&c| b"ACGT"[usize::from(c)] as char).collect();
            (vec![30 << 4, 2 << 4 | 2, 40 << 4], format!("30^{gone}40"), 2)
        }
        // 5S65M
        3 => (vec![5 << 4 | 4, 65 << 4], String::new(), 0),
        // 30M1I39M
        _ => {
            sequence.insert(30, 0);
            sequence.pop();
            (vec![30 << 4, 1 << 4 | 1, 39 << 4], "69".to_owned(), 1)
        }
    };
    let mut tags = format!("XZZfree text {ordinal}\0").into_bytes();
    tags.extend_from_slice(b"ASs\x30\x01XBBS\x02\0\0\0\x01\0\x02\0XFf\0\0\x80\x3f");
    if !md.is_empty() {
        tags.extend_from_slice(format!("MDZ{md}\0NMC").as_bytes());
        tags.push(distance);
    }
    tags.extend_from_slice(b"RGZlane1\0");
    let position = if ordinal % 5 == 3 { start + 5 } else { start } as i32;
    let flags = [0, flag::REVERSE, flag::PAIRED | flag::FIRST | flag::MATE_UNMAPPED, flag::DUPLICATE, 0];
    record(&Fields {
        name: name.as_bytes(),
        flag: flags[ordinal % 5],
        contig: contig as i32,
        position,
        mapq: random.below(61) as u8,
        cigar: &cigar,
        mate_contig: -1,
        mate_position: -1,
        template_length: 0,
        sequence: &sequence,
        qualities: if ordinal.is_multiple_of(11) { &[] } else { &qualities },
        tags: &tags,
    })
}

fn unplaced(random: &mut Random, ordinal: usize) -> Vec<u8> {
    let sequence: Vec<u8> = (0..READ_BASES * ordinal).map(|_| random.below(5) as u8).collect();
    record(&Fields {
        name: format!("u{ordinal}").as_bytes(),
        flag: flag::UNMAPPED,
        contig: -1,
        position: -1,
        mapq: 0,
        cigar: &[],
        mate_contig: -1,
        mate_position: -1,
        template_length: 0,
        sequence: &sequence,
        qualities: &vec![30; sequence.len()],
        tags: b"RGZlane1\0",
    })
}

fn record(fields: &Fields<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(fields, &mut bytes);
    bytes
}

/// What a file reads as: one line of SAM a record.
fn read_text(path: &Path, fasta: &Path) -> Result<Vec<u8>, AlignmentError> {
    let mut reader = AlignmentReader::open(path, Some(fasta))?;
    let mut formatter = SamText::new(&reader.header_text()).unwrap();
    let (mut record, mut text) = (Vec::new(), Vec::new());
    while reader.read(&mut record)? {
        formatter.line(&record, &mut text).unwrap();
    }
    Ok(text)
}

fn samtools(arguments: &[&std::ffi::OsStr]) -> Option<Vec<u8>> {
    let Ok(output) = Command::new("samtools").args(arguments).output() else {
        println!("skipped: samtools is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// Records without MD and NM are given them by CRAM; the text of the others must not change.
fn without_restored_tags(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let keep = |field: &&str| !field.starts_with("MD:Z:") && !field.starts_with("NM:i:");
    text.lines().map(|line| line.split('\t').filter(keep).collect::<Vec<_>>().join("\t")).collect()
}

#[test]
fn cram_reads_back_here_and_in_samtools() {
    let scene = Scene::new(200);
    let expect = scene.sam_text();
    for per_container in [7, 150, 10_000] {
        let path = scene.cram("all.cram", per_container);
        let found = read_text(&path, &scene.fasta).unwrap();
        assert!(without_restored_tags(&found) == without_restored_tags(&expect));
        let lines = |text: &[u8]| {
            String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (found, expect) in
            lines(&found).iter().zip(lines(&expect)).filter(|(_, line)| line.contains("MD:Z:"))
        {
            assert_eq!(*found, expect);
        }
        let view = ["view".as_ref(), "-T".as_ref(), scene.fasta.as_os_str(), path.as_os_str()];
        if let Some(theirs) = samtools(&view) {
            assert_eq!(theirs, found);
            samtools(&["quickcheck".as_ref(), "-v".as_ref(), path.as_os_str()]);
        }
    }
}

#[test]
fn containers_are_the_same_on_any_thread_and_at_any_place() {
    let scene = Scene::new(300);
    let encoder = CramEncoder::open(&scene.header, &scene.fasta).unwrap();
    let sections = sections(&scene.fasta);
    let reference = view(&sections);
    let alone = encoder.containers(&reference, scene.slices()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(encoder.containers(&reference, scene.slices()).unwrap() == alone);
                }
            });
        }
    });
    for first_record in [1, 127, 128, 1 << 20, 1 << 40] {
        let mut moved = alone.clone();
        renumber(&mut moved, first_record).unwrap();
        assert_eq!(cram_records(&moved), Ok(scene.records.len() as u64));
        encoder.verify(&moved, scene.slices()).unwrap();
        assert!(moved != alone);
        renumber(&mut moved, 0).unwrap();
        assert!(moved == alone);
    }
}

fn change_nm(record: &mut [u8]) {
    let at = record.windows(3).position(|bytes| bytes == b"NMC").unwrap();
    record[at + 3] ^= 2;
}

#[test]
fn verification_sees_every_kind_of_difference() {
    let scene = Scene::new(20);
    let encoder = CramEncoder::open(&scene.header, &scene.fasta).unwrap();
    let sections = sections(&scene.fasta);
    let reference = view(&sections);
    let containers = encoder.containers(&reference, scene.slices()).unwrap();
    let check = |change: &dyn Fn(&mut Vec<Vec<u8>>), expect: &str| {
        let mut records = scene.records.clone();
        change(&mut records);
        let field = match encoder.verify(&containers, records.iter().map(|record| &record[..])) {
            Ok(()) => "nothing".to_owned(),
            Err(CramError::Differs { field, .. }) => field,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(field, expect);
    };
    check(&|_| {}, "nothing");
    check(&|records| records[3][0] ^= 1, "RNAME");
    check(&|records| records[3][4] ^= 1, "POS");
    check(&|records| records[3][9] ^= 1, "MAPQ");
    check(&|records| records[3][14] ^= 4, "FLAG");
    check(&|records| records[3][20] ^= 1, "RNEXT");
    check(&|records| records[3][24] ^= 1, "PNEXT");
    check(&|records| records[3][28] ^= 1, "TLEN");
    check(&|records| records[3][32] ^= 1, "QNAME");
    check(&|records| change_nm(&mut records[1]), "NM");
    check(&|records| records[1].extend_from_slice(b"XYC\x01"), "XY");
    check(&|records| records.swap(3, 4), "FLAG");
    check(&|records| drop(records.pop()), "encoding");
    check(&|records| records.push(records[0].clone()), "encoding");
}

#[test]
fn index_lines_of_parts_are_those_of_htslib() {
    let scene = Scene::new(400);
    for per_container in [1, 7, 50, 10_000] {
        let contig = |record: &Vec<u8>| Record::new(record).unwrap().contig();
        let of_contigs = scene.records.chunk_by(|a, b| contig(a) == contig(b));
        let path = scene.cram_of("indexed.cram", of_contigs.flat_map(|part| part.chunks(per_container)));
        let file = std::fs::read(&path).unwrap();
        let mut theirs = String::new();
        let index = std::fs::File::open(index_alignments(&path).unwrap()).unwrap();
        flate2::read::MultiGzDecoder::new(index).read_to_string(&mut theirs).unwrap();
        let header = cram_file_header(&scene.header).len();
        let mut ours = Vec::new();
        crai_lines(&file[header..file.len() - CRAM_EOF.len()], header as u64, &mut ours).unwrap();
        assert_eq!(String::from_utf8(ours).unwrap(), theirs, "{per_container}");
    }
}

#[test]
fn bam_is_the_same_records_and_regions_are_found_by_index() {
    let scene = Scene::new(400);
    let paths = [scene.bam("all.bam", 50), scene.cram("all.cram", 50)];
    assert_eq!(read_text(&paths[0], &scene.fasta).unwrap(), scene.sam_text());
    for path in &paths {
        let index = index_alignments(path).unwrap();
        let first = std::fs::read(&index).unwrap();
        index_alignments(path).unwrap();
        assert!(std::fs::read(&index).unwrap() == first);
        samtools(&["quickcheck".as_ref(), path.as_os_str()]);
        let mut reader = AlignmentReader::open(path, Some(&scene.fasta)).unwrap();
        assert_eq!(reader.contigs(), [("c0".to_owned(), 40_000), ("c1".to_owned(), 3_000)]);
        for (contig, start, end) in
            [(0, 0, 40_000), (0, 19_990, 20_010), (1, 0, 1), (1, 700, 2_000), (1, 2_990, 3_000)]
        {
            let overlaps = |record: &Record<'_>| {
                let position = record.position();
                record.contig() == contig
                    && position < end
                    && position + record.reference_bases() as i32 > start
            };
            let records = scene.slices().map(|record| Record::new(record).unwrap()).filter(overlaps);
            let expect: Vec<&[u8]> = records.map(|record| record.name()).collect();
            reader.query(contig as u32, start as u32, end as u32).unwrap();
            let (mut record, mut found) = (Vec::new(), Vec::new());
            while reader.read(&mut record).unwrap() {
                found.push(Record::new(&record).unwrap().name().to_vec());
            }
            assert_eq!(found, expect, "{contig}:{start}-{end} of {}", path.display());
        }
    }
}

#[test]
fn a_cut_file_is_refused_wherever_it_is_cut() {
    let scene = Scene::new(30);
    for path in [scene.cram("all.cram", 16), scene.bam("all.bam", 16)] {
        let bytes = std::fs::read(&path).unwrap();
        let cut_path = scene.path("cut");
        for cut in 0..bytes.len() {
            std::fs::write(&cut_path, &bytes[..cut]).unwrap();
            let error = read_text(&cut_path, &scene.fasta).expect_err(&format!("cut at {cut}"));
            assert_eq!(error.class(), Class::Input);
        }
    }
}

#[test]
fn a_changed_byte_is_found_or_changes_nothing() {
    let scene = Scene::new(12);
    for path in [scene.cram("all.cram", 16), scene.bam("all.bam", 16)] {
        let bytes = std::fs::read(&path).unwrap();
        let whole = read_text(&path, &scene.fasta).unwrap();
        let damaged_path = scene.path("damaged");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&damaged_path, &damaged).unwrap();
            if let Ok(text) = read_text(&damaged_path, &scene.fasta) {
                assert!(text == whole, "{} changed at {at}", path.display());
            }
        }
    }
}

#[test]
fn another_reference_is_refused() {
    let scene = Scene::new(20);
    let cram = scene.cram("all.cram", 100);
    let mut random = Random(77);
    let mut other = |lengths: &[usize]| -> Vec<Vec<u8>> {
        lengths.iter().map(|&length| (0..length).map(|_| random.below(4) as u8).collect()).collect()
    };
    let same_lengths = write_fasta(scene.directory.path(), "other.fa", &other(&LENGTHS));
    assert!(matches!(read_text(&cram, &same_lengths), Err(AlignmentError::Record { .. })));
    let shorter = write_fasta(scene.directory.path(), "short.fa", &other(&[LENGTHS[0], 100]));
    assert!(matches!(CramEncoder::open(&scene.header, &shorter), Err(CramError::Contig { .. })));
    let fewer = write_fasta(scene.directory.path(), "few.fa", &other(&[LENGTHS[0]]));
    assert!(matches!(CramEncoder::open(&scene.header, &fewer), Err(CramError::Contig { .. })));
    assert!(read_text(&cram, &fewer).is_err());
    assert!(matches!(AlignmentReader::open(&cram, None), Err(AlignmentError::NoReference { .. })));
}

#[test]
fn what_is_no_alignment_file_is_refused() {
    let scene = Scene::new(1);
    for bytes in [
        &b""[..],
        b"@r\nACGT\n+\nIIII\n",
        b">c\nACGT\n",
        b"{\"htsget\": {}}",
        b"##fileformat=VCFv4.2\n",
        &[7; 99],
    ] {
        let path = scene.path("foreign");
        std::fs::write(&path, bytes).unwrap();
        let error = read_text(&path, &scene.fasta).unwrap_err();
        assert!(matches!(error, AlignmentError::Format { .. }), "{error}");
    }
    assert!(matches!(read_text(scene.directory.path(), &scene.fasta), Err(AlignmentError::Open { .. })));
    let sam = scene.path("a.sam");
    std::fs::write(&sam, &scene.header).unwrap();
    assert_eq!(read_text(&sam, &scene.fasta).unwrap(), b"");
    std::fs::write(&sam, format!("{}r\t0\tc0\n", scene.header)).unwrap();
    assert!(matches!(read_text(&sam, &scene.fasta), Err(AlignmentError::Record { .. })));
    assert!(matches!(index_alignments(&sam), Err(IndexError::Format { .. })));
}

/// The expected bytes are those of samtools faidx 1.16.
#[test]
fn a_fasta_index_is_that_of_samtools() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.fa");
    let fai = directory.path().join("x.fa.fai");
    let check = |bytes: &[u8], expect: &str| {
        std::fs::write(&path, bytes).unwrap();
        index_fasta(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&fai).unwrap(), expect);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    };
    check(b">a\nACGT", "a\t4\t3\t4\t5\n");
    check(b">a\nACGT\n\n>b\nAC\n\n", "a\t4\t3\t4\t5\nb\t2\t12\t2\t3\n");
    check(b">a\r\nACGT\r\nAC\r\n>b\r\nACG\r\n", "a\t6\t4\t4\t6\nb\t3\t18\t3\t5\n");
    check(b">a\nACGT\n>e\n>b\nAC\n", "a\t4\t3\t4\t5\nb\t2\t14\t2\t3\n");
    let several = "a\t14\t9\t6\t7\nb\t2\t29\t2\t3\nc\t4\t37\t4\t5\n";
    check(b">a first\nACGTAC\nacgtnn\nAC\n>b\nAC\n>c d\nACGT", several);
}

#[test]
fn a_fasta_index_that_fits_is_left_alone_and_another_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.fa");
    let fai = directory.path().join("x.fa.fai");
    std::fs::write(&path, b">a\nACGT\nAC\n").unwrap();
    assert_eq!(index_fasta(&path).unwrap(), FastaIndex::Written);
    let written = std::fs::metadata(&fai).unwrap().modified().unwrap();
    assert_eq!(index_fasta(&path).unwrap(), FastaIndex::Kept);
    assert_eq!(std::fs::metadata(&fai).unwrap().modified().unwrap(), written);
    std::fs::write(&path, b">a\nACG\nTAC\n").unwrap();
    assert_eq!(index_fasta(&path).unwrap(), FastaIndex::Replaced);
    assert_eq!(std::fs::read(&fai).unwrap(), b"a\t6\t3\t3\t4\n");
    // What can have none keeps what lies there.
    std::fs::write(&path, b">a\nAC\nGTAC\n").unwrap();
    assert!(index_fasta(&path).is_err());
    assert_eq!(std::fs::read(&fai).unwrap(), b"a\t6\t3\t3\t4\n");
}

#[test]
fn a_fasta_that_no_index_can_serve_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8]| {
        let path = directory.path().join("x.fa");
        std::fs::write(&path, bytes).unwrap();
        index_fasta(&path).err().map(|error| format!("{error:?}").split_once(' ').unwrap().0.to_owned())
    };
    assert_eq!(check(b">a\nACGT\nAC\n>b\nAC\n"), None);
    assert_eq!(check(b">a\nAC\nACGT\n").as_deref(), Some("Fasta"));
    let level = libdeflater::CompressionLvl::new(6).unwrap();
    let mut gzip = vec![0; 100];
    let length = libdeflater::Compressor::new(level).gzip_compress(b">a\nACGT\n", &mut gzip).unwrap();
    assert_eq!(check(&gzip[..length]).as_deref(), Some("PlainGzip"));
}

#[test]
fn a_real_bam_goes_through_cram_unchanged_and_no_larger_than_in_samtools() {
    let shared = std::env::var_os("WAKACHI_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let bam = shared.join("data/germline/NA12878_GAII_b37/NA12878_GAII.20_10.1-10.25M.bam");
    let fasta = shared.join("data/ref/b37.chr20.chr21.fa.gz");
    if !bam.exists() || !fasta.exists() {
        return println!("skipped: {} is not here", bam.display());
    }
    let mut reader = AlignmentReader::open(&bam, None).unwrap();
    let header = reader.header_text();
    let encoder = CramEncoder::open(&header, &fasta).unwrap();
    let sections = sections(&fasta);
    let reference = view(&sections);
    let (mut record, mut records) = (Vec::new(), Vec::new());
    while records.len() < 40_000 && reader.read(&mut record).unwrap() {
        records.push(record.clone());
    }
    let directory = tempfile::tempdir().unwrap();
    let [ours, sam, theirs] =
        ["ours.cram", "part.sam", "theirs.cram"].map(|name| directory.path().join(name));
    let mut bytes = cram_file_header(&header);
    for (index, part) in records.chunks(10_000).enumerate() {
        let mut containers = encoder.containers(&reference, part.iter().map(|record| &record[..])).unwrap();
        renumber(&mut containers, index as u64 * 10_000).unwrap();
        bytes.extend(containers);
    }
    bytes.extend(CRAM_EOF);
    std::fs::write(&ours, bytes).unwrap();
    let mut text = header.clone().into_bytes();
    let mut formatter = SamText::new(&header).unwrap();
    records.iter().for_each(|record| formatter.line(record, &mut text).unwrap());
    std::fs::write(&sam, &text).unwrap();
    let reference = ["-T".as_ref(), fasta.as_os_str()];
    let encode =
        ["view".as_ref(), "-C".as_ref(), reference[0], reference[1], "-o".as_ref(), theirs.as_os_str()];
    if samtools(&[&encode[..], &[sam.as_os_str()]].concat()).is_some() {
        let view = samtools(&["view".as_ref(), reference[0], reference[1], ours.as_os_str()]).unwrap();
        assert!(text.ends_with(&view) && text.len() - view.len() == header.len());
        let [ours, theirs] = [&ours, &theirs].map(|path| std::fs::metadata(path).unwrap().len());
        assert!(ours * 100 <= theirs * 105, "{ours} bytes, samtools writes {theirs}");
    }
}
