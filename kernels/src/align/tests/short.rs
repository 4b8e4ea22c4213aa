//! Reads so short that one difference may touch all their seeds.

use super::*;

#[test]
fn a_short_read_with_one_difference_anywhere_goes_home() {
    let mut random = Random(5);
    let contigs = [random.codes(20_000)];
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        for at in 0..35 {
            let start = random.below(19_000) as usize;
            let mut read = contigs[0][start..start + 35].to_vec();
            read[at] = (read[at] + 1 + random.below(3) as u8) % 4;
            for (read, reverse) in [(read.clone(), false), (reversed(&read), true)] {
                let mapping = aligner.map_single(&mut workspace, &read);
                check_mapping(&contigs, &read, &mapping);
                let hit = mapping.primary.expect("it scores 30");
                assert_eq!((hit.position.abs_diff(start as u32) <= 5, hit.reverse), (true, reverse), "{at}");
            }
        }
    });
}

#[test]
fn two_faint_places_are_a_pair_and_one_alone_is_nothing() {
    let mut random = Random(6);
    let contigs = [random.codes(20_000)];
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        // Two differences leave 25, and a seed.
        let faint = |start: usize| {
            let mut read = contigs[0][start..start + 35].to_vec();
            read[28] ^= 1;
            read[29] ^= 2;
            read
        };
        let (mut alone, mut paired) = (0, 0);
        for start in (100..15_000).step_by(500) {
            let (first, second) = (faint(start), reversed(&faint(start + 365)));
            let stranger = random.codes(35);
            let with_stranger = aligner.map_pair(&mut workspace, &first, &stranger, &MODEL);
            alone += with_stranger.reads.iter().filter(|read| read.primary.is_some()).count();
            let pair = aligner.map_pair(&mut workspace, &first, &second, &MODEL);
            let places = pair.reads.map(|read| read.primary.map(|hit| hit.position));
            paired += usize::from(pair.proper && places == [Some(start as u32), Some(start as u32 + 365)]);
        }
        assert_eq!((alone, paired), (0, 30));
    });
}

#[test]
fn a_faint_stranger_says_nothing_of_its_mate() {
    let mut random = Random(7);
    let mut contigs = [random.codes(20_000)];
    // A copy with two differences, so that how the read is judged shows.
    let mut copy = contigs[0][1_000..1_050].to_vec();
    copy[10] ^= 1;
    copy[40] ^= 2;
    contigs[0][8_000..8_050].copy_from_slice(&copy);
    with_aligner(&contigs, |aligner| {
        let mut workspace = Workspace::default();
        let read = contigs[0][1_000..1_050].to_vec();
        for start in (10_000..15_000).step_by(500) {
            let mut faint = contigs[0][start..start + 35].to_vec();
            faint[28] ^= 1;
            faint[29] ^= 2;
            for mate in [reversed(&faint), faint] {
                let with_faint = aligner.map_pair(&mut workspace, &read, &mate, &MODEL);
                let with_none = aligner.map_pair(&mut workspace, &read, &random.codes(35), &MODEL);
                assert_eq!(with_faint, with_none, "{start}");
            }
        }
    });
}

#[test]
fn probes_go_up_to_53_bases_and_prove_nothing_of_unknown_ones() {
    let mut random = Random(8);
    let contigs = [random.codes(20_000)];
    with_aligner(&contigs, |aligner| {
        let probe = |read: &[u8]| {
            let (mut seeding, mut candidates) = (Seeding::default(), Vec::new());
            let mut known = Read::default();
            known.load(read, &aligner.index, aligner.level);
            known.unseen.clear(aligner.index.shape().k());
            seeding.probe(aligner.level, &aligner.index, &mut known, &mut candidates);
            (!candidates.is_empty(), known.unseen.cost((0, read.len() as u32), &aligner.scoring))
        };
        let read = |length: usize, changed: &[usize]| {
            let mut read = contigs[0][5_000..5_000 + length].to_vec();
            changed.iter().for_each(|&at| read[at] ^= 1);
            read
        };
        assert_eq!(probe(&read(35, &[17])), (true, 7));
        assert_eq!(probe(&read(53, &[26])), (true, 7));
        assert_eq!(probe(&read(54, &[26])), (false, 0));
        for at in [0, 17, 34] {
            let mut unknown = read(35, &[5]);
            unknown[at] = UNKNOWN;
            assert_eq!(probe(&unknown).1, 0, "{at}");
        }
    });
}
