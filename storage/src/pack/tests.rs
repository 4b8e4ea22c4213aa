//! Packs read back, torn, damaged and swapped.

use std::fs;

use jobs::failure::{Class, Classified};

use super::*;

const CONTEXT: &str = "j1/NA12878/map.3";

fn key(byte: u8) -> SampleKey {
    SampleKey::from_secret(zeroize::Zeroizing::new([byte; 32]))
}

fn entry(kind: u8, first: u64) -> BlockEntry {
    BlockEntry { kind, first, last: first + 9, count: 10 }
}

/// Repeatable bytes that LZ4 can shrink by more or less, from a small generator.
fn noise(seed: u64, bytes: usize, symbols: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % symbols
    };
    (0..bytes).map(|_| next() as u8).collect()
}

fn blocks() -> Vec<Vec<u8>> {
    vec![b"first block".to_vec(), vec![], vec![b'A'; 60], noise(1, 40, 256)]
}

fn build(key: &SampleKey, context: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = RecordBuilder::new(key, context);
    for (i, block) in blocks.iter().enumerate() {
        builder.block(entry(i as u8, i as u64 * 100), block).unwrap();
    }
    builder.finish()
}

/// A directory with a pack `w0` that holds these records, each committed.
fn packed(records: &[Vec<u8>]) -> (tempfile::TempDir, Vec<PieceRef>) {
    let dir = tempfile::tempdir().unwrap();
    let pack = Packs::new(dir.path()).append("w0", 0).unwrap();
    let pieces = records.iter().map(|record| pack.append(record).unwrap()).collect();
    (dir, pieces)
}

fn read_all(packs: &Packs, piece: &PieceRef, key: &SampleKey) -> Result<Vec<Vec<u8>>, PackError> {
    let record = packs.record(piece, key, CONTEXT)?;
    (0..record.entries().len())
        .map(|i| {
            let mut block = Vec::new();
            record.read_block(i, &mut block).map(|()| block)
        })
        .collect()
}

/// Reading must fail with this class, and say pack, offset and task.
fn check_refused(error: PackError, class: Class, offset: u64) {
    let message = error.to_string();
    assert_eq!(error.class(), class, "{message}");
    assert!(message.contains("w0") && message.contains(CONTEXT), "{message}");
    assert!(message.contains(&format!("offset {offset}")), "{message}");
}

#[test]
fn records_give_back_what_was_put_in() {
    let many: Vec<Vec<u8>> = (0..300).map(|i| noise(i, (i * 37 % 999) as usize, 1 + i % 256)).collect();
    let big = vec![noise(5, 3 << 20, 4), noise(6, 1 << 20, 256), vec![0; 5 << 20]];
    for blocks in [vec![], vec![vec![]], blocks(), many, big] {
        let (dir, pieces) = packed(&[b"before".to_vec(), build(&key(1), CONTEXT, &blocks)]);
        let packs = Packs::new(dir.path());
        packs.verify(&pieces[1], CONTEXT).unwrap();
        let record = packs.record(&pieces[1], &key(1), CONTEXT).unwrap();
        let expect: Vec<_> = (0..blocks.len()).map(|i| entry(i as u8, i as u64 * 100)).collect();
        assert_eq!(record.entries(), expect);
        let mut out = vec![1, 2, 3];
        for (i, block) in blocks.iter().enumerate().rev() {
            record.read_block(i, &mut out).unwrap();
            assert!(out == *block && record.raw_bytes(i) == block.len(), "block {i}");
        }
    }
}

#[test]
fn blocks_shrink_when_they_can_and_never_grow() {
    for (block, most) in [(vec![b'A'; 1 << 16], 1 << 10), (noise(3, 1 << 16, 256), (1 << 16) + 16)] {
        let mut builder = RecordBuilder::new(&key(1), CONTEXT);
        builder.block(entry(0, 0), &block).unwrap();
        assert!(builder.len() <= most, "{}", builder.len());
    }
}

#[test]
fn no_two_records_share_a_key_and_equal_blocks_differ() {
    let (one, two) = (build(&key(1), CONTEXT, &blocks()), build(&key(1), CONTEXT, &blocks()));
    assert_eq!(one.len(), two.len());
    let equal = one.iter().zip(&two).filter(|(a, b)| a == b).count();
    assert!(equal < one.len() / 2);
    let twice = build(&key(1), CONTEXT, &[vec![7; 100], vec![7; 100]]);
    assert_ne!(twice[..20], twice[26..46]);
}

/// The layout of DESIGN.md, rebuilt here from its byte table; a change of it needs a new version.
#[test]
fn the_layout_is_the_documented_one() {
    let mut builder = RecordBuilder::with_salt(&key(9), CONTEXT, [5; 32]);
    let block = noise(2, 12, 256);
    builder.block(BlockEntry { kind: 3, first: 0x0102, last: 0x0304, count: 7 }, &block).unwrap();
    let record = builder.finish();

    let id = &blake3::derive_key("wakachi 2026 sample key id", &[9; 32])[..8];
    let associated = [b"WKREC\0\0\x01", id, &[5; 32], CONTEXT.as_bytes()].concat();
    let record_key = blake3::derive_key("wakachi 2026 pack record key", &[[9; 32], [5; 32]].concat());
    let seal = |ordinal: u64, plain: &[u8]| {
        use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
        let mut sealed = plain.to_vec();
        let nonce: [u8; 12] = [&[0; 4][..], &ordinal.to_le_bytes()].concat().try_into().unwrap();
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &record_key).unwrap())
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&associated),
                &mut sealed,
            )
            .unwrap();
        sealed
    };
    let mut directory = vec![3, 2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0];
    directory.extend([12, 0, 0, 0, 28, 0, 0, 0]);
    let mut expect = seal(0, &block);
    expect.extend(seal(u64::MAX, &directory));
    expect.extend([b"WKREC\0\0\x01", id, &[5; 32], &45u32.to_le_bytes()].concat());
    assert_eq!(record, expect);
    assert_eq!(
        blake3::hash(&record).to_hex().as_str(),
        "02639d7770a265f910cdb63d7a962a317d3a1b0fa1370ceae9794f09e4d72c18",
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let record = build(&key(1), CONTEXT, &blocks());
    let (dir, pieces) = packed(&[b"before".to_vec(), record.clone()]);
    let file = OpenOptions::new().write(true).open(dir.path().join("w0")).unwrap();
    let packs = Packs::new(dir.path());
    for (at, byte) in record.iter().enumerate() {
        for bit in [0, 3, 7] {
            file.write_all_at(&[byte ^ 1 << bit], 6 + at as u64).unwrap();
            check_refused(packs.verify(&pieces[1], CONTEXT).unwrap_err(), Class::Integrity, 6);
            check_refused(read_all(&packs, &pieces[1], &key(1)).unwrap_err(), Class::Integrity, 6);
        }
        file.write_all_at(&[*byte], 6 + at as u64).unwrap();
    }
    assert_eq!(read_all(&packs, &pieces[1], &key(1)).unwrap(), blocks());
}

#[test]
fn a_damaged_block_is_named_and_the_others_are_read() {
    let record = build(&key(1), CONTEXT, &blocks());
    let (dir, pieces) = packed(&[record]);
    let path = dir.path().join("w0");
    let mut bytes = fs::read(&path).unwrap();
    bytes[27] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let record = Packs::new(dir.path()).record(&pieces[0], &key(1), CONTEXT).unwrap();
    let mut out = vec![1];
    let error = record.read_block(1, &mut out).unwrap_err();
    assert!(matches!(error, PackError::Damaged { damage: Damage::Block(1), .. }), "{error}");
    assert!(error.to_string().contains("block 1") && out.is_empty());
    record.read_block(2, &mut out).unwrap();
    assert_eq!(out, blocks()[2]);
}

#[test]
fn every_truncation_is_a_missing_piece() {
    let record = build(&key(1), CONTEXT, &blocks());
    let (dir, pieces) = packed(&[b"before".to_vec(), record]);
    let path = dir.path().join("w0");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let packs = Packs::new(dir.path());
    let whole = pieces[1].end();
    for cut in (0..whole).rev() {
        file.set_len(cut).unwrap();
        check_refused(packs.verify(&pieces[1], CONTEXT).unwrap_err(), Class::Partial, 6);
        check_refused(read_all(&packs, &pieces[1], &key(1)).unwrap_err(), Class::Partial, 6);
        assert_eq!(packs.append("w0", whole).unwrap_err().class(), Class::Partial);
        assert_eq!(fs::metadata(&path).unwrap().len(), cut, "a short pack is left as it is");
    }
    fs::remove_file(&path).unwrap();
    let packs = Packs::new(dir.path());
    check_refused(packs.verify(&pieces[1], CONTEXT).unwrap_err(), Class::Partial, 6);
    assert_eq!(packs.append("w0", 6).unwrap_err().class(), Class::Partial);
    assert!(!path.exists());
}

#[test]
fn a_pack_cut_while_it_is_read_is_a_missing_piece() {
    let (dir, pieces) = packed(&[build(&key(1), CONTEXT, &blocks())]);
    let record = Packs::new(dir.path()).record(&pieces[0], &key(1), CONTEXT).unwrap();
    fs::write(dir.path().join("w0"), b"").unwrap();
    check_refused(record.read_block(0, &mut Vec::new()).unwrap_err(), Class::Partial, 0);
}

#[test]
fn what_lies_elsewhere_than_it_was_sealed_for_is_refused() {
    let equal = vec![noise(1, 50, 256), noise(2, 50, 256)];
    let (one, two) = (build(&key(1), CONTEXT, &equal), build(&key(1), CONTEXT, &equal));
    let other_task = build(&key(1), "j1/NA12878/map.4", &equal);
    let other_key = build(&key(2), CONTEXT, &equal);
    let sealed = 66;
    let swapped_blocks = [&one[sealed..2 * sealed], &one[..sealed], &one[2 * sealed..]].concat();
    let block_of_another = [&two[..sealed], &one[sealed..]].concat();
    let body = one.len() - 52;
    let directory_of_another = [&one[..2 * sealed], &two[2 * sealed..body], &one[body..]].concat();
    let trailer_of_another = [&one[..body], &two[body..]].concat();
    let cases =
        [swapped_blocks, block_of_another, directory_of_another, trailer_of_another, other_task, other_key];
    for (case, record) in cases.iter().enumerate() {
        assert_eq!(record.len(), one.len());
        let (dir, pieces) = packed(std::slice::from_ref(record));
        let error = read_all(&Packs::new(dir.path()), &pieces[0], &key(1)).expect_err(&case.to_string());
        check_refused(error, Class::Integrity, 0);
    }
}

#[test]
fn swapped_records_and_packs_are_refused() {
    let other = "j1/NA12878/map.4";
    let (dir, pieces) = packed(&[build(&key(1), CONTEXT, &blocks()), build(&key(1), other, &blocks())]);
    let packs = Packs::new(dir.path());
    check_refused(
        packs.record(&pieces[1], &key(1), CONTEXT).unwrap_err(),
        Class::Integrity,
        pieces[1].offset,
    );

    let (other_dir, _) = packed(&[build(&key(1), other, &blocks()), build(&key(1), CONTEXT, &blocks())]);
    fs::copy(other_dir.path().join("w0"), dir.path().join("w0")).unwrap();
    let packs = Packs::new(dir.path());
    check_refused(packs.verify(&pieces[0], CONTEXT).unwrap_err(), Class::Integrity, 0);
    check_refused(packs.record(&pieces[0], &key(1), CONTEXT).unwrap_err(), Class::Integrity, 0);
}

#[test]
fn damaged_references_are_refused() {
    let (dir, pieces) = packed(&[build(&key(1), CONTEXT, &blocks())]);
    let packs = Packs::new(dir.path());
    let whole = &pieces[0];
    let cases = [
        (PieceRef { offset: u64::MAX, ..whole.clone() }, Class::Partial),
        (PieceRef { length: u64::MAX, ..whole.clone() }, Class::Partial),
        (PieceRef { length: whole.length + 1, ..whole.clone() }, Class::Partial),
        (PieceRef { length: whole.length - 1, ..whole.clone() }, Class::Integrity),
        (PieceRef { length: 0, ..whole.clone() }, Class::Integrity),
        (PieceRef { offset: 1, length: whole.length - 1, ..whole.clone() }, Class::Integrity),
        (PieceRef { pack: "../w0".to_owned(), ..whole.clone() }, Class::Integrity),
        (PieceRef { pack: String::new(), ..whole.clone() }, Class::Integrity),
        (PieceRef { pack: "a\0".to_owned(), ..whole.clone() }, Class::Integrity),
    ];
    for (piece, class) in cases {
        let error = packs.verify(&piece, CONTEXT).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        let error = read_all(&packs, &piece, &key(1)).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
    }
}

#[test]
fn appenders_of_one_pack_do_not_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::new(dir.path());
    let pack = packs.append("w0", 0).unwrap();
    let (pack, packs) = (&pack, &packs);
    let mut pieces: Vec<(PieceRef, Vec<u8>)> = std::thread::scope(|scope| {
        let append = |thread: u64| {
            (0..20u64).map(move |i| {
                let block = noise(thread * 100 + i, 1000 + i as usize, 256);
                (pack.append(&build(&key(1), CONTEXT, std::slice::from_ref(&block))).unwrap(), block)
            })
        };
        let threads: Vec<_> = (0..2).map(|t| scope.spawn(move || append(t).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    pieces.sort_by_key(|(piece, _)| piece.offset);
    assert!(pieces.windows(2).all(|pair| pair[0].0.end() == pair[1].0.offset));
    std::thread::scope(|scope| {
        for half in pieces.chunks(20) {
            scope.spawn(move || {
                half.iter().for_each(|(piece, block)| {
                    assert_eq!(read_all(packs, piece, &key(1)).unwrap(), [&block[..]]);
                })
            });
        }
    });
}

#[test]
fn a_piece_of_any_number_of_stretches_has_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::new(dir.path());
    let pack = packs.append("w0", 0).unwrap();
    let (one, mut end) = (STRETCH_BYTES, 0);
    for bytes in [0, 1, one - 1, one, one + 1, 3 * one, 3 * one + 7] {
        let record = noise(5, bytes, 256);
        let piece = pack.append(&record).unwrap();
        assert_eq!((piece.offset, piece.length), (end, bytes as u64));
        assert_eq!(piece.blake3, *blake3::hash(&record).as_bytes());
        packs.verify(&piece, CONTEXT).unwrap();
        end = piece.end();
    }
    pack.sync().unwrap();
    assert_eq!(fs::metadata(dir.path().join("w0")).unwrap().len(), end);
}

#[test]
fn a_record_that_ends_after_a_sync_is_synced_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let pack = Pack::open(&dir.path().join("w0"), 0).unwrap();
    let is_unsynced = || pack.tail.lock().unwrap().unsynced;
    // Another has its place, and a sync comes before it is written.
    let place = pack.reserve(10).unwrap();
    pack.append(b"first").unwrap();
    pack.sync().unwrap();
    assert!(!is_unsynced());
    assert_eq!((place, pack.append(b"second").unwrap().offset), (0, 15));
    assert!(is_unsynced());
    // What did not fit and is followed by others stays as garbage; the last is taken back.
    pack.take_back(0, 10);
    assert_eq!(pack.reserve(3).unwrap(), 21);
    pack.take_back(21, 24);
    assert_eq!(pack.append(b"third").unwrap().offset, 21);
}

#[test]
fn a_tail_without_commit_is_cut_and_the_rest_is_kept() {
    let record = build(&key(1), CONTEXT, &blocks());
    let (dir, pieces) = packed(std::slice::from_ref(&record));
    let path = dir.path().join("w0");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(noise(1, 999, 256));
    fs::write(&path, &bytes).unwrap();
    let packs = Packs::new(dir.path());
    let pack = packs.append("w0", pieces[0].end()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), record.len() as u64);
    let next = pack.append(&record).unwrap();
    assert_eq!(next.offset, record.len() as u64);
    assert_eq!(read_all(&packs, &pieces[0], &key(1)).unwrap(), blocks());
    assert_eq!(read_all(&packs, &next, &key(1)).unwrap(), blocks());
}

#[test]
fn a_pack_has_one_appending_process() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::new(dir.path());
    let pack = packs.append("w0", 0).unwrap();
    let error = packs.append("w0", 0).unwrap_err();
    assert!(matches!(error, PackError::Busy { .. }) && error.class() == Class::Failed, "{error}");
    drop(pack);
    packs.append("w0", 0).unwrap();
    assert!(matches!(packs.append(".w0", 0), Err(PackError::Name { .. })));
}

#[test]
fn writers_never_share_a_pack_and_numbers_are_used_again() {
    let writers = [
        Writer::Alone { era: 0 },
        Writer::Alone { era: 3 },
        Writer::OfMany { fence: 3, number: 0 },
        Writer::OfMany { fence: 3, number: 1 },
        Writer::OfMany { fence: 4, number: 1 },
    ];
    let packs = |writer: &Writer| {
        [writer.pack(Some("w3-1"), "map"), writer.pack(Some("w3-1"), "region"), writer.pack(None, "cohort")]
    };
    assert_eq!(packs(&writers[0]), ["w3-1.map.pack", "w3-1.region.pack", "cohort.pack"]);
    assert_eq!(packs(&writers[3]), ["w3-1.pack"; 3]);
    for (i, one) in writers.iter().enumerate() {
        for other in &writers[..i] {
            assert!(packs(one).iter().all(|name| !packs(other).contains(name)), "{one:?} {other:?}");
        }
    }
    let mut numbers = WriterNumbers::default();
    assert_eq!([numbers.take(), numbers.take(), numbers.take()], [0, 1, 2]);
    numbers.give_back(1);
    numbers.give_back(7);
    assert_eq!([numbers.take(), numbers.take()], [1, 3]);
}

/// A goal of the job directory: a sample has at most twelve files, of which seven are results, key and reports.
#[test]
fn packs_do_not_grow_with_bundles() {
    let mut numbers = WriterNumbers::default();
    let mut packs = std::collections::BTreeSet::new();
    let mut running = std::collections::VecDeque::new();
    for _bundle in 0..10_000 {
        if running.len() == 100 {
            numbers.give_back(running.pop_front().unwrap());
        }
        let number = numbers.take();
        running.push_back(number);
        packs.insert(Writer::OfMany { fence: 1, number }.pack(Some("NA12878"), "region"));
    }
    assert_eq!(packs.len(), 100);
}

#[test]
fn space_is_given_back_within_a_pack_and_the_rest_is_untouched() {
    use std::os::unix::fs::MetadataExt;
    let records: Vec<Vec<u8>> = (0..6).map(|i| build(&key(1), CONTEXT, &[noise(i, 300_000, 256)])).collect();
    let (dir, pieces) = packed(&records);
    let path = dir.path().join("w0");
    let before = fs::metadata(&path).unwrap();
    let packs = Packs::new(dir.path());
    let gone = PieceRef { pack: "nobody.pack".to_owned(), ..pieces[0].clone() };
    let outside = PieceRef { pack: "../w0".to_owned(), ..pieces[0].clone() };
    let given = packs.give_back([&pieces[1], &pieces[4], &gone, &outside]);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.len(), before.len());
    if given > 0 {
        assert_eq!(given, pieces[1].length + pieces[4].length);
        assert!(after.blocks() + 1000 < before.blocks());
        check_refused(packs.verify(&pieces[1], CONTEXT).unwrap_err(), Class::Integrity, pieces[1].offset);
    }
    for kept in [0, 2, 3, 5] {
        packs.verify(&pieces[kept], CONTEXT).unwrap();
    }
    let pack = packs.append("w0", pieces[5].end()).unwrap();
    assert_eq!(pack.append(&records[1]).unwrap().offset, pieces[5].end());
}

#[test]
fn packs_without_commits_are_swept_and_removed_ones_are_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::new(dir.path());
    let record = build(&key(1), CONTEXT, &blocks());
    let pieces = ["w1-0.pack", "w1-1.pack", "s.map.pack"]
        .map(|name| packs.append(name, 0).unwrap().append(&record).unwrap());
    fs::write(dir.path().join("reference.fa"), b">").unwrap();
    packs.sweep(&BTreeMap::from([("w1-1.pack".to_owned(), pieces[1].end())])).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    packs.verify(&pieces[1], CONTEXT).unwrap();
    packs.remove("w1-1.pack").unwrap();
    packs.remove("w1-1.pack").unwrap();
    assert!(packs.open.lock().unwrap().is_empty(), "a file held open keeps its space");
    assert_eq!(packs.verify(&pieces[1], CONTEXT).unwrap_err().class(), Class::Partial);
}

#[test]
fn blocks_beyond_the_format_are_refused() {
    let mut builder = RecordBuilder::new(&key(1), CONTEXT);
    // Zeroed and never touched, so it takes no memory.
    let error = builder.block(entry(0, 0), &vec![0; BLOCK_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, PackError::TooLarge { .. }) && builder.is_empty());
}

/// The body of the child of [`a_full_disk_is_said_and_nothing_is_committed`]; its files may have 64 KiB each.
#[test]
fn child_on_a_full_disk() {
    let Some(dir) = std::env::var_os("WAKACHI_TEST_FULL_DISK") else { return };
    let dir = PathBuf::from(dir);
    let packs = Packs::new(&dir);
    let pack = packs.append("w0", 0).unwrap();
    let (small, large) = (noise(1, 40_000, 256), noise(2, 50_000, 256));
    let first = pack.append(&small).unwrap();
    let error = pack.append(&large).unwrap_err();
    assert!(matches!(error, PackError::Disk(DiskError::NoSpace { .. })), "{error:?}");
    assert_eq!(error.class(), Class::Failed);
    assert!(error.to_string().contains("w0") && error.hint().is_some());
    assert_eq!(fs::metadata(dir.join("w0")).unwrap().len(), 40_000, "what did not fit is taken back");
    let next = pack.append(&small[..9000]).unwrap();
    assert_eq!(next.offset, 40_000);
    packs.verify(&first, CONTEXT).unwrap();
    packs.verify(&next, CONTEXT).unwrap();

    use std::io::Write;
    let mut file = crate::atomic::AtomicFile::create(&dir.join("result")).unwrap();
    file.write_all(&small).unwrap();
    file.write_all(&large[..30_000]).unwrap();
    let error = file.commit().unwrap_err();
    assert!(matches!(error, crate::atomic::AtomicFileError::Disk(DiskError::NoSpace { .. })), "{error:?}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "only the pack is there");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    // A file size limit stands in for a full disk: it needs no mount, and fails in the middle of a write as well.
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact pack::tests::child_on_a_full_disk")
        .arg(std::env::current_exe().unwrap())
        .env("WAKACHI_TEST_FULL_DISK", dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
