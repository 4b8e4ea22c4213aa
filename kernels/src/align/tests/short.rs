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
        assert!(alone == 0 && paired > 10, "{alone} {paired}");
    });
}
