//! What callers rely on, on small made-up references.

mod adversarial;
mod short;

use super::*;
use crate::index::{self, IndexOptions};
use crate::insert::Orientation;
use crate::reference::OwnedReference;
use crate::sequence::{UNKNOWN, encode, letter, reverse_complement};

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn codes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(4) as u8).collect()
    }

    /// A copy with about one error in `rate` bases, a third of them insertions and deletions.
    fn copy(&mut self, codes: &[u8], rate: u64) -> Vec<u8> {
        let mut copy = Vec::with_capacity(codes.len());
        for &code in codes {
            match self.below(rate * 6) {
                0 => {}
                1 => copy.extend([code, self.below(4) as u8]),
                2..=5 => copy.push((code + 1 + self.below(3) as u8) % 4),
                _ => copy.push(code),
            }
        }
        copy
    }
}

const MODEL: InsertModel = InsertModel {
    orientation: Orientation::Inward,
    mean: 400,
    deviation: 50,
    low: 100,
    high: 700,
    pairs: 1000,
};

/// Contigs: unique sequence with a run of N; a family of three equal copies among unique sequence; a tiny one.
fn contigs() -> Vec<Vec<u8>> {
    let mut random = Random(77);
    let mut unique = random.codes(30_000);
    unique[12_000..12_300].fill(UNKNOWN);
    let copy = random.codes(1_500);
    let mut family = random.codes(4_000);
    for _ in 0..3 {
        family.extend_from_slice(&copy);
        family.extend(random.codes(2_000));
    }
    vec![unique, family, random.codes(60)]
}

fn with_aligner(contigs: &[Vec<u8>], test: impl FnOnce(&Aligner)) {
    let mut owned = OwnedReference::default();
    for codes in contigs {
        owned.push_contig(&codes.iter().map(|&code| letter(code)).collect::<Vec<_>>()).expect("short");
    }
    let sections = owned.sections();
    let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).expect("our own sections");
    let seeds = index::build(&reference, &IndexOptions::default());
    let index = Index::new(&seeds.each_ref().map(Vec::as_slice)).expect("our own sections");
    test(&Aligner::new(reference, index, Scoring::default()).expect("they belong together"));
}

impl Aligner<'_> {
    fn map_single(&self, workspace: &mut Workspace, read: &[u8]) -> ReadMapping {
        self.map_singles(workspace, &[read]).remove(0)
    }

    fn map_pair(
        &self,
        workspace: &mut Workspace,
        first: &[u8],
        second: &[u8],
        model: &InsertModel,
    ) -> PairMapping {
        self.map_pairs(workspace, &[[first, second]], model).remove(0)
    }
}

fn reversed(codes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    reverse_complement(codes, &mut out);
    out
}

/// Checks that a hit is what it says: CIGAR, edits and score follow from read and reference, and it stays in its contig.
fn check_hit(contigs: &[Vec<u8>], read: &[u8], hit: &Hit) {
    let scoring = Scoring::default();
    let contig = &contigs[hit.contig as usize];
    let read = if hit.reverse { reversed(read) } else { read.to_vec() };
    let (mut i, mut j, mut score, mut edits) = (0, hit.position as usize, 0, 0);
    let operations: Vec<u32> = hit.cigar.iter().map(|word| word & 15).collect();
    let inner: Vec<u32> = operations.iter().copied().filter(|&operation| operation != CLIP).collect();
    assert!(operations.windows(2).all(|pair| pair[0] != pair[1]), "{hit:?}");
    assert!(inner.first() == Some(&MATCH) && inner.last() == Some(&MATCH), "{hit:?}");
    for word in &hit.cigar {
        let length = (word >> 4) as usize;
        assert!(length > 0);
        match word & 15 {
            MATCH => {
                for (&a, &b) in read[i..i + length].iter().zip(&contig[j..j + length]) {
                    let unknown = a == UNKNOWN || b == UNKNOWN;
                    let cost = if unknown { scoring.unknown } else { scoring.mismatch };
                    score += if a == b && !unknown { scoring.matched } else { -cost };
                    edits += u32::from(a != b || unknown);
                }
                (i, j) = (i + length, j + length);
            }
            CLIP => i += length,
            gap => {
                score -= scoring.gap_open + length as i32 * scoring.gap_extend;
                edits += length as u32;
                if gap == INSERTION { i += length } else { j += length }
            }
        }
    }
    assert_eq!((i, j, score, edits), (read.len(), hit.end() as usize, hit.score, hit.edits), "{hit:?}");
    assert!(j <= contig.len() && hit.end() - hit.position <= read.len() as u32 + SPAN_EXTRA_MAX);
}

fn check_mapping(contigs: &[Vec<u8>], read: &[u8], mapping: &ReadMapping) {
    let hits = mapping.primary.iter().chain(&mapping.supplementary).chain(&mapping.alternatives);
    hits.for_each(|hit| check_hit(contigs, read, hit));
}

fn place(mapping: &ReadMapping) -> Option<(u32, u32, bool)> {
    mapping.primary.as_ref().map(|hit| (hit.contig, hit.position, hit.reverse))
}

#[test]
fn exact_reads_go_home_from_everywhere_on_either_strand() {
    let contigs = contigs();
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        for start in (0..29_850).step_by(61).filter(|start| !(11_850..12_300).contains(start)) {
            let read = &contigs[0][start..start + 150];
            for reverse in [false, true] {
                let read = if reverse { reversed(read) } else { read.to_vec() };
                let mapping = aligner.map_single(&mut workspace, &read);
                assert_eq!(place(&mapping), Some((0, start as u32, reverse)));
                let hit = mapping.primary.expect("placed");
                assert_eq!((hit.cigar, hit.mapq, hit.score), (vec![150 << 4], 60, 150));
            }
        }
    });
}

#[test]
fn reads_with_errors_go_home_and_hits_are_what_they_say() {
    let contigs = contigs();
    let mut random = Random(5);
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        for round in 0..1500 {
            let (contig, length) = (round % 2, 40 + random.below(300) as usize);
            let start = random.below((contigs[contig].len() - length) as u64) as usize;
            let read = random.copy(&contigs[contig][start..start + length], 30);
            let mapping = aligner.map_single(&mut workspace, &read);
            check_mapping(&contigs, &read, &mapping);
            let hit = mapping.primary.filter(|hit| hit.mapq >= 30);
            let home = |hit: &Hit| {
                hit.contig == contig as u32 && hit.five_prime().border.abs_diff(start as i64) < 60
            };
            assert!(hit.as_ref().is_none_or(home), "{hit:?} {contig} {start} {length}");
        }
    });
}

#[test]
fn equal_copies_have_quality_zero_and_are_all_chosen() {
    let contigs = contigs();
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        let mut chosen = [0; 3];
        for start in (4_000..5_300).step_by(7) {
            let mapping = aligner.map_single(&mut workspace, &contigs[1][start..start + 150]);
            let hit = mapping.primary.expect("placed");
            assert_eq!(
                (hit.mapq, hit.score, mapping.sub_score, mapping.alternatives.len()),
                (0, 150, 150, 2)
            );
            chosen[(hit.position as usize - start) / 3_500] += 1;
        }
        assert!(chosen.iter().all(|&times| times > 30), "{chosen:?}");
    });
}

#[test]
fn mates_decide_between_copies_and_are_rescued() {
    let contigs = contigs();
    let mut random = Random(6);
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        for copy in 0..3 {
            let start = 4_000 + 3_500 * copy;
            // The first read is unique, 300 bases ahead of the copy; the second lies in the copy.
            let first = &contigs[1][start - 300..start - 150];
            let second = reversed(&contigs[1][start + 20..start + 170]);
            let pair = aligner.map_pair(&mut workspace, first, &second, &MODEL);
            assert_eq!(place(&pair.reads[1]), Some((1, start as u32 + 20, true)));
            assert!(pair.proper && pair.reads[1].primary.as_ref().is_some_and(|hit| hit.mapq >= 50));
            // A mate with an error every 12 bases shares no seed with the reference.
            let mut noisy = second.clone();
            (5..150).step_by(12).for_each(|at| noisy[at] = (noisy[at] + 1) % 4);
            let pair = aligner.map_pair(&mut workspace, &noisy, first, &MODEL);
            assert_eq!(place(&pair.reads[0]), Some((1, start as u32 + 20, true)));
            assert!(pair.proper);
            let strange = random.codes(150);
            let pair = aligner.map_pair(&mut workspace, first, &strange, &MODEL);
            assert!(!pair.proper && place(&pair.reads[1]).is_none() && place(&pair.reads[0]).is_some());
        }
    });
}

#[test]
fn pairs_of_every_orientation_are_proper_under_their_model() {
    let contigs = contigs();
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        let (left, right) = (&contigs[0][500..600], &contigs[0][800..900]);
        for (orientation, first, second) in [
            (Orientation::Inward, left.to_vec(), reversed(right)),
            (Orientation::Outward, reversed(left), right.to_vec()),
            (Orientation::Tandem, left.to_vec(), right.to_vec()),
        ] {
            for model in [Orientation::Inward, Orientation::Outward, Orientation::Tandem] {
                let model = InsertModel { orientation: model, ..MODEL };
                let pair = aligner.map_pair(&mut workspace, &first, &second, &model);
                assert_eq!(pair.proper, model.orientation == orientation);
                assert_eq!(
                    [place(&pair.reads[0]), place(&pair.reads[1])].map(|at| at.map(|at| at.1)),
                    [Some(500), Some(800)]
                );
            }
        }
    });
}

#[test]
fn adapters_are_clipped_and_chimeras_go_to_their_larger_part() {
    let contigs = contigs();
    let mut random = Random(8);
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        let fragment = &contigs[0][3_000..3_080];
        let with_adapter = |codes: &[u8], random: &mut Random| [codes, &random.codes(70)].concat();
        let reads = [with_adapter(fragment, &mut random), with_adapter(&reversed(fragment), &mut random)];
        let model = InsertModel { low: 20, ..MODEL };
        let pair = aligner.map_pair(&mut workspace, &reads[0], &reads[1], &model);
        assert!(pair.proper);
        for (read, mapping) in reads.iter().zip(&pair.reads) {
            check_mapping(&contigs, read, mapping);
            let hit = mapping.primary.as_ref().expect("placed");
            assert!(hit.position.abs_diff(3_000) <= 3 && hit.end().abs_diff(3_080) <= 3 && hit.mapq >= 40);
        }
        let (larger, smaller) = (&contigs[0][20_000..20_090], reversed(&contigs[0][7_000..7_060]));
        let read = [larger, &smaller].concat();
        // The mate lies beside the smaller part.
        let mate = &contigs[0][6_700..6_850];
        for mapping in [
            aligner.map_single(&mut workspace, &read),
            aligner.map_pair(&mut workspace, &read, mate, &MODEL).reads[0].clone(),
        ] {
            check_mapping(&contigs, &read, &mapping);
            assert_eq!(place(&mapping), Some((0, 20_000, false)));
            let part = mapping.supplementary.first().expect("the smaller part");
            assert!(part.contig == 0 && part.reverse && part.end().abs_diff(7_060) <= 3);
        }
    });
}

#[test]
fn degenerate_reads_and_places_do_no_harm() {
    let contigs = contigs();
    let mut random = Random(9);
    let mut reads: Vec<Vec<u8>> =
        vec![vec![], vec![UNKNOWN; 150], vec![0; 150], vec![UNKNOWN; READ_BASES_MAX + 1]];
    reads.extend((1..60).map(|length| contigs[0][100..100 + length].to_vec()));
    reads.push([&contigs[2][..], &random.codes(90)].concat());
    reads.push([&random.codes(60), &contigs[2][..], &random.codes(60)].concat());
    reads.push([&contigs[0][29_920..], &contigs[1][..80]].concat());
    reads.push([&random.codes(40), &contigs[0][..80]].concat());
    reads.extend([11_900, 11_950, 12_240, 12_100].map(|start| contigs[0][start..start + 150].to_vec()));
    reads.push(contigs[0][5_000..5_000 + READ_BASES_MAX].to_vec());
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        for (first, read) in reads.iter().enumerate() {
            check_mapping(&contigs, read, &aligner.map_single(&mut workspace, read));
            for second in [read, &reads[(first * 7 + 3) % reads.len()], &reads[0]] {
                let pair = aligner.map_pair(&mut workspace, read, second, &MODEL);
                check_mapping(&contigs, read, &pair.reads[0]);
                check_mapping(&contigs, second, &pair.reads[1]);
            }
        }
        let unplaced = |read: &[u8]| aligner.map_single(&mut Workspace::default(), read).primary.is_none();
        assert!(reads[..4].iter().all(|read| unplaced(read)) && unplaced(&contigs[0][100..120]));
        // Longer than its contig, and across the border of two: the part on one contig is what aligns.
        assert_eq!(place(&aligner.map_single(&mut workspace, &reads[63])), Some((2, 0, false)));
        assert_eq!(place(&aligner.map_single(&mut workspace, &reads[65])), Some((0, 29_920, false)));
    });
    with_aligner(&[], |aligner| {
        reads
            .iter()
            .for_each(|read| assert!(aligner.map_single(&mut Workspace::default(), read).primary.is_none()));
    });
}

#[test]
fn a_used_workspace_answers_like_a_new_one() {
    let contigs = contigs();
    let mut random = Random(10);
    with_aligner(&contigs, |aligner| {
        let mut used = Workspace::default();
        for _ in 0..400 {
            let contig = &contigs[random.below(2) as usize];
            let mut read = || {
                let length = random.below(200) as usize;
                let start = random.below((contig.len() - length) as u64) as usize;
                let read = random.copy(&contig[start..start + length], 20);
                if random.below(2) == 0 { read } else { reversed(&read) }
            };
            let (first, second) = (read(), read());
            let again = aligner.map_pair(&mut used, &first, &second, &MODEL);
            assert_eq!(again, aligner.map_pair(&mut Workspace::default(), &first, &second, &MODEL));
            let again = aligner.map_single(&mut used, &first);
            assert_eq!(again, aligner.map_single(&mut Workspace::default(), &first));
        }
    });
}

#[test]
fn a_foreign_or_damaged_index_is_refused_or_harmless() {
    let contigs = contigs();
    let mut owned = OwnedReference::default();
    let letters: Vec<u8> = contigs[1].iter().map(|&code| letter(code)).collect();
    owned.push_contig(&letters).expect("short");
    let sections = owned.sections();
    let reference = Reference::new(&sections.each_ref().map(Vec::as_slice)).expect("our own sections");
    let good = index::build(&reference, &IndexOptions::default());
    let mut codes = Vec::new();
    encode(&letters[4_100..4_250], &mut codes);
    let mut random = Random(11);
    for _ in 0..300 {
        let mut bad = good.clone();
        for _ in 0..100 {
            let section = 1 + random.below(2) as usize;
            let byte = random.below(bad[section].len() as u64) as usize;
            bad[section][byte] ^= 1 << random.below(8);
        }
        if let Ok(index) = Index::new(&bad.each_ref().map(Vec::as_slice)) {
            let aligner = Aligner::new(reference, index, Scoring::default()).expect("same size");
            let mapping = aligner.map_single(&mut Workspace::default(), &codes);
            check_mapping(&contigs[1..2], &codes, &mapping);
        }
    }
    with_aligner(&contigs, |other| {
        assert!(Aligner::new(reference, other.index, Scoring::default()).is_err());
    });
}

/// The mapping of a pair by all seeds and every rescue, without any proof that less is enough.
fn thorough_pair(aligner: &Aligner, pair: [&[u8]; 2], model: &InsertModel) -> PairMapping {
    let (mut scratch, mut reads) = (Scratch::default(), vec![Read::default(), Read::default()]);
    reads.iter_mut().zip(pair).for_each(|(read, codes)| read.load(codes, &aligner.index, aligner.level));
    aligner.place(&mut scratch, &mut reads, &[0, 1], Effort::All);
    aligner.rescue(&mut scratch, &mut reads, &[0, 1], model);
    aligner.pair(&mut scratch, &reads, model)
}

#[test]
fn what_is_proved_is_what_all_seeds_would_say() {
    let contigs = contigs();
    let mut random = Random(12);
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        let mut certain = 0;
        for round in 0..1500 {
            let contig = &contigs[round % 2];
            let length = 60 + random.below(200) as usize;
            let span = (length + 150).min(690);
            let start = random.below((contig.len() - span) as u64) as usize;
            let rate = [20, 60, 1000][round % 3];
            let first = random.copy(&contig[start..start + length], rate);
            let second = random.copy(&reversed(&contig[start + span - length..start + span]), rate);
            let pair = aligner.map_pair(&mut workspace, &first, &second, &MODEL);
            let thorough = thorough_pair(aligner, [&first, &second], &MODEL);
            for (quick, thorough) in pair.reads.iter().zip(&thorough.reads) {
                let Some((quick, thorough)) = quick.primary.as_ref().zip(thorough.primary.as_ref()) else {
                    assert_eq!(quick.primary, thorough.primary);
                    continue;
                };
                let unlike = |mapq: u8| Hit { mapq, ..thorough.clone() };
                assert_eq!(*quick, unlike(quick.mapq), "round {round}");
                // What was not looked at counts as if it were there, so that doubt is never less.
                assert!(
                    quick.mapq <= thorough.mapq + 10 || thorough.mapq >= 30,
                    "round {round}: {}",
                    quick.mapq
                );
            }
            certain += usize::from(workspace.reads[0].is_certain);
        }
        assert!(certain > 700, "{certain}");
    });
}

#[test]
fn reads_of_a_batch_do_not_see_each_other() {
    let contigs = contigs();
    let mut random = Random(13);
    let reads: Vec<[Vec<u8>; 2]> = (0..700)
        .map(|_| {
            let (contig, length) = (&contigs[random.below(2) as usize], random.below(250) as usize);
            let start = random.below((contig.len() - 600) as u64) as usize;
            let first = random.copy(&contig[start..start + length], 30);
            [first, random.copy(&reversed(&contig[start + 300..start + 300 + length]), 30)]
        })
        .collect();
    let pairs: Vec<[&[u8]; 2]> = reads.iter().map(|pair| pair.each_ref().map(Vec::as_slice)).collect();
    with_aligner(&contigs, |aligner| {
        let together = aligner.map_pairs(&mut Workspace::default(), &pairs, &MODEL);
        let singles = aligner.map_singles(&mut Workspace::default(), pairs.as_flattened());
        for ((pair, together), singles) in pairs.iter().zip(&together).zip(singles.chunks(2)) {
            let alone = aligner.map_pair(&mut Workspace::default(), pair[0], pair[1], &MODEL);
            assert_eq!(*together, alone);
            let alone = pair.map(|read| aligner.map_single(&mut Workspace::default(), read));
            assert_eq!(singles, alone);
        }
    });
}

#[test]
fn two_places_of_a_mate_leave_a_frequent_read_in_doubt() {
    let mut random = Random(14);
    let frequent = random.codes(400);
    let twice = [random.codes(300), frequent.clone()].concat();
    let mut contig = Vec::new();
    for _ in 0..300 {
        contig.extend_from_slice(&frequent);
        contig.extend(random.codes(200));
    }
    for _ in 0..2 {
        contig.extend_from_slice(&twice);
        contig.extend(random.codes(3_000));
    }
    with_aligner(&[contig], |aligner| {
        let mut workspace = Workspace::default();
        for start in 0..100 {
            let (first, second) = (&twice[start..start + 150], reversed(&twice[start + 310..start + 460]));
            let pair = aligner.map_pair(&mut workspace, first, &second, &MODEL);
            let mapqs = pair.reads.map(|read| read.primary.map(|hit| hit.mapq));
            assert!(mapqs.iter().all(|mapq| mapq.is_some_and(|mapq| mapq <= 3)), "{start}: {mapqs:?}");
        }
    });
}

#[test]
fn adapters_say_how_long_a_fragment_is() {
    let mut random = Random(15);
    let fragment = random.codes(74);
    // A copy at the distance that most fragments of the library have.
    let contig =
        [random.codes(900), fragment.clone(), random.codes(250), fragment.clone(), random.codes(900)]
            .concat();
    let read = |codes: &[u8], random: &mut Random| [codes, &random.codes(76)].concat();
    let reads = [read(&fragment, &mut random), read(&reversed(&fragment), &mut random)];
    with_aligner(&[contig], |aligner| {
        let model = InsertModel { low: 20, ..MODEL };
        let pair = aligner.map_pair(&mut Workspace::default(), &reads[0], &reads[1], &model);
        let [first, second] = pair.reads.map(|read| read.primary.expect("placed"));
        assert!(first.position.abs_diff(second.position) <= 3, "{first:?} {second:?}");
        assert!(first.end().abs_diff(second.end()) <= 3 && first.mapq <= 10);
    });
}

#[test]
fn the_best_pair_is_found_among_many_copies_that_all_want_a_gap() {
    let mut random = Random(16);
    let (left, right) = (random.codes(150), random.codes(151));
    let mut contig = random.codes(500);
    for copy in 0..60 {
        let mut here = left.clone();
        if copy != 33 {
            [20, 70, 80 + copy].into_iter().for_each(|at| here[at] = (here[at] + 1) % 4);
        }
        contig.extend([here, random.codes(100), right.clone(), random.codes(400)].concat());
    }
    let home = 500 + 33 * 801;
    let second = [&right[..70], &right[71..]].concat();
    with_aligner(&[contig], |aligner| {
        let pair = aligner.map_pair(&mut Workspace::default(), &left, &reversed(&second), &MODEL);
        assert_eq!(place(&pair.reads[0]), Some((0, home, false)));
        assert_eq!(place(&pair.reads[1]), Some((0, home + 250, true)));
        assert!(pair.proper);
    });
}

#[test]
fn a_noisy_read_of_a_place_without_copies_is_not_in_doubt() {
    let mut random = Random(17);
    let contig = random.codes(20_000);
    let starts: Vec<usize> = (0..200).map(|_| random.below(19_800) as usize).collect();
    let reads: Vec<Vec<u8>> =
        starts.iter().map(|&start| random.copy(&contig[start..start + 150], 20)).collect();
    let reads: Vec<&[u8]> = reads.iter().map(Vec::as_slice).collect();
    with_aligner(&[contig], |aligner| {
        let mapped = aligner.map_singles(&mut Workspace::default(), &reads);
        let sure = mapped.iter().zip(&starts).filter(|(read, start)| {
            let hit = read.primary.as_ref().filter(|hit| hit.mapq >= 30);
            hit.is_some_and(|hit| hit.five_prime().border.abs_diff(**start as i64) < 40)
        });
        assert!(sure.count() > 180);
    });
}

#[test]
fn of_equal_pairs_the_likelier_distance_is_chosen() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut contig = random.codes(4_000);
        // The mate fits in twice: 10 and 65 bases beyond the mean, which cost the same in whole units of score.
        let unit = random.codes(55);
        contig[1_260..1_465].iter_mut().zip(unit.iter().cycle()).for_each(|(base, &code)| *base = code);
        let mate = reversed(&contig[1_260..1_410]);
        with_aligner(std::slice::from_ref(&contig), |aligner| {
            let pair = aligner.map_pair(&mut Workspace::default(), &contig[1_000..1_150], &mate, &MODEL);
            assert_eq!(place(&pair.reads[1]), Some((0, 1_260, true)));
            assert!(pair.proper && pair.reads[1].primary.as_ref().expect("placed").mapq < 10);
        });
    }
}

#[test]
fn gaps_close_to_an_end_are_kept_if_they_score() {
    let check = |read: Vec<u8>, contigs: &[Vec<u8>], cigar: &[u32], edits| {
        with_aligner(contigs, |aligner| {
            let hit = aligner.map_single(&mut Workspace::default(), &read).primary.expect("placed");
            assert_eq!((&hit.cigar[..], hit.edits, hit.position), (cigar, edits, 1_000));
            check_hit(contigs, &read, &hit);
        });
    };
    let mut random = Random(5);
    let mut contig = random.codes(4_000);
    contig[1_000..1_012].copy_from_slice(&[0, 1, 2, 3, 1, 0, 3, 2, 0, 2, 1, 3]);
    let contigs = [contig];
    let contig = &contigs[0];
    // A base is missing behind the fifth, or was added.
    let deleted = [&contig[1_000..1_005], &contig[1_006..1_151]].concat();
    check(deleted, &contigs, &[5 << 4 | MATCH, 1 << 4 | DELETION, 145 << 4 | MATCH], 1);
    let inserted = [&contig[1_000..1_005], &[2][..], &contig[1_005..1_149]].concat();
    check(inserted, &contigs, &[5 << 4 | MATCH, 1 << 4 | INSERTION, 144 << 4 | MATCH], 1);
}
