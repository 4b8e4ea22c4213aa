//! References and reads that nobody sequenced: repeats of any period, runs of N, tiny contigs, reads of any length.

use super::*;

/// Codes of a reference or a read: plain, of one base, of a short or long period, or with unknown ones.
fn strange_codes(random: &mut Random, length: usize) -> Vec<u8> {
    let period = match random.below(8) {
        0 => 1,
        1 => 2 + random.below(5) as usize,
        2 => 20 + random.below(80) as usize,
        3 => return vec![UNKNOWN; length],
        4 => return (0..length).map(|_| random.below(5) as u8).collect(),
        _ => length,
    };
    let unit = random.codes(period.max(1));
    unit.into_iter().cycle().take(length).collect()
}

/// A few contigs, of which later ones hold changed pieces of earlier ones, some of them many times.
fn strange_contigs(random: &mut Random) -> Vec<Vec<u8>> {
    let mut contigs: Vec<Vec<u8>> = Vec::new();
    for _ in 0..random.below(8) {
        let mut contig = Vec::new();
        for _ in 0..random.below(5) {
            let most = [11, 100, 1500][random.below(3) as usize];
            let length = random.below(most) as usize;
            let earlier = contigs.get(random.below(contigs.len().max(1) as u64) as usize).cloned();
            let piece = &earlier.unwrap_or_default();
            let piece = &piece[..length.min(piece.len())];
            let copies = [0, 1, 2, 30][random.below(4) as usize];
            let rate = [3, 30, 1000][random.below(3) as usize];
            (0..copies).for_each(|_| contig.extend(random.copy(piece, rate)));
            contig.extend(strange_codes(random, length));
        }
        contigs.push(contig);
    }
    contigs
}

/// A read of about a place, or from nowhere; it may be too long for its contig, be joined to itself or have an adapter.
fn strange_read(random: &mut Random, contig: &[u8], near: usize) -> Vec<u8> {
    let most = [40, 160, 160, 600, 1100][random.below(5) as usize];
    let length = random.below(most) as usize;
    let start = (near + random.below(400) as usize).min(contig.len());
    let rate = [3, 10, 30, 1000][random.below(4) as usize];
    let mut read = random.copy(&contig[start..(start + length).min(contig.len())], rate);
    match random.below(10) {
        0 => read.extend(read.clone()),
        1 => read.extend(strange_codes(random, length / 2)),
        2 => read = strange_codes(random, length),
        3 if read.len() > 40 => drop(read.drain(20..read.len() / 2 + 20)),
        _ => {}
    }
    if random.below(2) == 0 { reversed(&read) } else { read }
}

#[test]
fn nothing_made_up_breaks_a_promise() {
    for seed in 0..60 {
        let mut random = Random(seed * 1_000_003 + 1);
        let contigs = strange_contigs(&mut random);
        let nothing = Vec::new();
        let reads: Vec<[Vec<u8>; 2]> = (0..30)
            .map(|_| {
                let contig = contigs.get(random.below(contigs.len().max(1) as u64) as usize);
                let contig = contig.unwrap_or(&nothing);
                let near = random.below(contig.len() as u64 + 1) as usize;
                [0, 1].map(|_| strange_read(&mut random, contig, near))
            })
            .collect();
        let pairs: Vec<[&[u8]; 2]> = reads.iter().map(|pair| pair.each_ref().map(Vec::as_slice)).collect();
        let orientation = [Orientation::Inward, Orientation::Outward, Orientation::Tandem][seed as usize % 3];
        let model = InsertModel { orientation, low: 1, high: 600 + (seed as u32 % 4) * 2_000, ..MODEL };
        with_aligner(&contigs, |aligner| {
            let mapped = aligner.map_pairs(&mut Workspace::default(), &pairs, &model);
            let singles = aligner.map_singles(&mut Workspace::default(), pairs.as_flattened());
            for level in Level::available() {
                let (aligner, mut workspace) = (aligner.clone().with_level(level), Workspace::default());
                let again: Vec<PairMapping> = (pairs.chunks(1 + seed as usize % 7))
                    .flat_map(|pairs| aligner.map_pairs(&mut workspace, pairs, &model))
                    .collect();
                assert_eq!(mapped, again, "seed {seed}, {level}");
                let again = aligner.map_singles(&mut workspace, pairs.as_flattened());
                assert_eq!(singles, again, "seed {seed}, {level}");
            }
            for (read, mapping) in pairs.as_flattened().iter().zip(&singles) {
                check_mapping(&contigs, read, mapping);
            }
            for (pair, mapping) in pairs.iter().zip(&mapped) {
                pair.iter().zip(&mapping.reads).for_each(|(read, each)| check_mapping(&contigs, read, each));
                let hits = mapping.reads.each_ref().map(|read| read.primary.as_ref());
                if let ([Some(first), Some(second)], true) = (hits, mapping.proper) {
                    let misfit = model.misfit(first.five_prime(), second.five_prime());
                    assert!(first.contig == second.contig && misfit.is_some(), "seed {seed}");
                }
            }
        });
    }
}
