//! The caller as a whole, on small made-up pileups.

use super::*;
use crate::variant::{Answer, Filter};

const CONTIG_BASES: u32 = 9000;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }

    fn bases(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next(4) as u8).collect()
    }
}

/// An owned read.
#[derive(Clone, Debug)]
struct Read {
    position: u32,
    cigar: Vec<u32>,
    sequence: Vec<u8>,
    qualities: Vec<u8>,
    mapq: u8,
    reverse: bool,
    name: u64,
}

impl Read {
    fn view(&self) -> CallRead<'_> {
        CallRead {
            position: self.position,
            cigar: &self.cigar,
            sequence: &self.sequence,
            qualities: &self.qualities,
            mapq: self.mapq,
            reverse: self.reverse,
            name_hash: self.name,
        }
    }
}

/// Parses `60M5I35M`.
fn cigar(text: &str) -> Vec<u32> {
    let mut packed = Vec::new();
    let mut length = 0;
    for letter in text.bytes() {
        match b"MIDNSHP=X".iter().position(|&known| known == letter) {
            Some(code) => packed.push(std::mem::take(&mut length) << 4 | code as u32),
            None => length = length * 10 + u32::from(letter - b'0'),
        }
    }
    packed
}

fn call(core: Range<u32>, bases: &[u8], reads: &[Read]) -> CellCalls {
    let mut reads: Vec<CallRead<'_>> = reads.iter().map(Read::view).collect();
    reads.sort_by_key(|read| read.position);
    let reference = Window { start: 0, bases, contig_bases: bases.len() as u32 };
    call_cell(core, &reference, &reads, &CallOptions::default(), &mut Workspace::new())
}

/// Reads of 100 bases every 5 bases from a donor that carries `change` at `position` (deleted bases, inserted bases),
/// on every read or every second one; aligned as a mapper would, that is with the change only where it lies inside.
fn donor_reads(
    bases: &[u8],
    position: usize,
    deleted: usize,
    inserted: &[u8],
    homozygous: bool,
) -> Vec<Read> {
    let donor = [&bases[..position], inserted, &bases[position + deleted..]].concat();
    let mut reads = Vec::new();
    for (name, start) in (0..bases.len() - 300).step_by(5).enumerate() {
        let carries = homozygous || name % 2 == 0;
        let (end, before) = (start + 100, position.saturating_sub(start));
        let mut read = Read {
            position: start as u32,
            cigar: cigar("100M"),
            sequence: bases[start..end].to_vec(),
            qualities: vec![35; 100],
            mapq: 60,
            reverse: (name / 2).is_multiple_of(2),
            name: name as u64,
        };
        let after = (100 - before.min(100)).saturating_sub(inserted.len());
        if carries && start + 100 > position && start < position {
            read.sequence = donor[start..end].to_vec();
            read.cigar = match (before < 15, after < 15) {
                (false, false) if deleted == inserted.len() => cigar("100M"),
                (false, false) if deleted > 0 => cigar(&format!("{before}M{deleted}D{after}M")),
                (false, false) => cigar(&format!("{before}M{}I{after}M", inserted.len())),
                (true, _) => {
                    read.position = (position + deleted) as u32;
                    cigar(&format!("{}S{after}M", 100 - after))
                }
                (_, true) => cigar(&format!("{before}M{}S", 100 - before)),
            };
        } else if carries && start >= position {
            continue;
        }
        reads.push(read);
    }
    reads
}

/// Checks that sites and blocks answer every base of the core exactly once and lie in it.
fn assert_answered_once(core: &Range<u32>, calls: &CellCalls) {
    let mut answers = vec![0u32; core.len()];
    for block in &calls.blocks {
        assert!(core.start <= block.start && block.start < block.end && block.end <= core.end, "{block:?}");
        assert!(block.depth_min <= block.depth && block.likelihoods.contains(&0), "{block:?}");
        (block.start..block.end).for_each(|at| answers[(at - core.start) as usize] += 1);
    }
    assert!(answers.iter().all(|&count| count <= 1));
    for site in &calls.sites {
        assert!(core.contains(&site.position), "{site:?}");
        let end = (site.position + site.reference.len() as u32).min(core.end);
        for at in site.position..end {
            let count = &mut answers[(at - core.start) as usize];
            assert!(calls.blocks.iter().all(|block| !(block.start..block.end).contains(&at)), "{site:?}");
            *count = 1;
        }
        let alleles = site.alternates.len() + 2;
        assert_eq!(site.likelihoods.len(), alleles * (alleles + 1) / 2);
        assert_eq!(site.allele_depths.len(), alleles);
        assert!(site.likelihoods.contains(&0));
    }
    assert!(answers.iter().all(|&count| count == 1));
    assert!(calls.sites.is_sorted_by(|a, b| a.position < b.position));
    assert!(calls.blocks.is_sorted_by_key(|block| block.start));
}

#[test]
fn every_kind_of_change_is_called_with_its_genotype() {
    let mut random = Random(11);
    let bases = random.bases(CONTIG_BASES as usize);
    let long = random.bases(45);
    let other = [(bases[4000] + 1) % 4];
    let changes: [(usize, &[u8]); 6] =
        [(1, &other), (1, &[]), (7, &[]), (50, &[]), (0, &[2, 2, 1, 1, 3]), (0, &long)];
    for (deleted, inserted) in changes {
        for homozygous in [false, true] {
            let reads = donor_reads(&bases, 4000, deleted, inserted, homozygous);
            let core = 0..8192;
            let calls = call(core.clone(), &bases, &reads);
            assert_answered_once(&core, &calls);
            let [site] = &calls.sites[..] else { panic!("{deleted} {inserted:?}: {:?}", calls.sites) };
            let expect = if homozygous { [1, 1] } else { [0, 1] };
            assert_eq!(site.genotype, Some(expect), "{site:?}");
            assert_eq!(site.filters, [], "{site:?}");
            let snv = deleted == 1 && inserted.len() == 1;
            let lengths = (site.reference.len(), site.alternates[0].len());
            assert_eq!(lengths, (deleted + usize::from(!snv), inserted.len() + usize::from(!snv)));
            assert!(site.position <= 4000 && site.position > 3980, "{site:?}");
            assert!(site.genotype_quality >= 40 && site.quality_tenths > 1000, "{site:?}");
        }
    }
}

/// One haplotype's changes at an anchor: another base, and so many bases deleted or these inserted behind it.
#[derive(Clone, Debug, Default)]
struct Anchored {
    substitution: Option<u8>,
    deleted: usize,
    inserted: Vec<u8>,
}

impl Anchored {
    fn random(random: &mut Random) -> Self {
        let substitution = (random.next(2) == 0).then(|| 1 + random.next(3) as u8);
        let (deleted, inserted) = match random.next(4) {
            0 => (1 + random.next(4) as usize, 0),
            1 => (0, 1 + random.next(4) as usize),
            _ => (0, 0),
        };
        // No inserted base is the anchor's: every change is leftmost where it stands.
        let inserted = (0..inserted).map(|_| 1 + random.next(3) as u8).collect();
        Anchored { substitution, deleted, inserted }
    }

    /// `bases` from the anchor on, changed.
    fn apply(&self, bases: &[u8]) -> Vec<u8> {
        let first = self.substitution.unwrap_or(bases[0]);
        [&[first], &self.inserted[..], &bases[1 + self.deleted..]].concat()
    }

    /// A read of 100 bases, `before` of them ahead of the anchor.
    fn read(&self, bases: &[u8], anchor: usize, before: usize, name: usize) -> Read {
        let mut sequence = bases[anchor - before..anchor].to_vec();
        sequence.extend(self.apply(&bases[anchor..]));
        sequence.truncate(100);
        let (matched, after) = (before + 1, 99 - before - self.inserted.len());
        let text = match (self.deleted, self.inserted.len()) {
            (0, 0) => "100M".to_owned(),
            (0, inserted) => format!("{matched}M{inserted}I{after}M"),
            (deleted, _) => format!("{matched}M{deleted}D{after}M"),
        };
        Read {
            position: (anchor - before) as u32,
            cigar: cigar(&text),
            sequence,
            qualities: vec![35; 100],
            mapq: 60,
            reverse: (name / 2).is_multiple_of(2),
            name: name as u64,
        }
    }
}

#[test]
fn all_changes_of_one_base_make_one_site() {
    let mut random = Random(12);
    let mut mixed = 0;
    for _ in 0..60 {
        let mut bases = random.bases(1200);
        bases[600] = 0;
        (601..606).for_each(|at| bases[at] = 1 + random.next(3) as u8);
        let donor = [Anchored::random(&mut random), Anchored::random(&mut random)];
        let pair =
            |step: usize| [0, 1].map(|side| donor[side].read(&bases, 600, 15 + 2 * step, 2 * step + side));
        let reads: Vec<Read> = (0..34).flat_map(pair).collect();
        let calls = call(0..1200, &bases, &reads);
        assert_answered_once(&(0..1200), &calls);
        let letters = |codes: Vec<u8>| codes.iter().map(|&code| b"ACGTN"[code as usize]).collect::<Vec<u8>>();
        let Some(site) = calls.sites.iter().find(|site| site.position == 600) else {
            assert!(
                donor.iter().all(|side| letters(side.apply(&bases[600..])) == letters(bases[600..].to_vec()))
            );
            continue;
        };
        assert_eq!(calls.sites.len(), 1, "{donor:?}: {calls:?}");
        let alleles: Vec<&Vec<u8>> = [&site.reference].into_iter().chain(&site.alternates).collect();
        let mut called = site.genotype.unwrap().map(|allele| alleles[usize::from(allele)].clone());
        let span = &bases[600..600 + site.reference.len()];
        let mut expect = [0, 1].map(|side| letters(donor[side].apply(span)));
        called.sort();
        expect.sort();
        assert_eq!(called, expect, "{donor:?}: {site:?}");
        let changes = |side: &Anchored| (side.substitution.is_some(), side.deleted + side.inserted.len() > 0);
        let (first, second) = (changes(&donor[0]), changes(&donor[1]));
        mixed += u32::from((first.0 || second.0) && (first.1 || second.1));
    }
    assert!(mixed > 20, "{mixed}");
}

#[test]
fn reads_farther_than_the_halo_change_nothing() {
    let mut random = Random(5);
    let bases = random.bases(3 * 8192 + 500);
    let reads = donor_reads(&bases, 9000, 3, &[], false);
    let core = 8192..16384;
    let whole = call(core.clone(), &bases, &reads);
    assert_eq!(whole.sites.len(), 1);
    let (start, end) = (core.start - HALO_BASES, core.end + HALO_BASES);
    let near: Vec<Read> = reads.into_iter().filter(|read| (start..end).contains(&read.position)).collect();
    assert_eq!(call(core.clone(), &bases, &near), whole);
    let reference =
        Window { start, bases: &bases[start as usize..end as usize], contig_bases: bases.len() as u32 };
    // Neither the order among reads of one position nor what the workspace held before shows.
    let mut views: Vec<CallRead<'_>> = near.iter().rev().map(Read::view).collect();
    views.sort_by_key(|read| read.position);
    let mut workspace = Workspace::new();
    let options = CallOptions::default();
    call_cell(0..4096, &reference, &[], &options, &mut workspace);
    assert_eq!(call_cell(core, &reference, &views, &options, &mut workspace), whole);
}

#[test]
fn a_variant_on_a_cell_border_is_emitted_by_one_cell() {
    let mut random = Random(6);
    let bases = random.bases(CONTIG_BASES as usize);
    for border in 3990..4010 {
        let reads = donor_reads(&bases, 4000, 6, &[], false);
        let (left, right) = (0..border, border..8192);
        let (before, after) = (call(left.clone(), &bases, &reads), call(right.clone(), &bases, &reads));
        assert_answered_once(&left, &before);
        assert_answered_once(&right, &after);
        let sites: Vec<&SiteCall> = before.sites.iter().chain(&after.sites).collect();
        assert_eq!(sites.len(), 1, "{border}");
        assert_eq!((sites[0].genotype, sites[0].reference.len()), (Some([0, 1]), 7));
    }
}

#[test]
fn bases_without_usable_reads_say_why() {
    let mut random = Random(8);
    let mut bases = random.bases(1000);
    bases[300..320].fill(4);
    let read = |position: usize, mapq: u8, quality: u8, name| Read {
        position: position as u32,
        cigar: cigar("50M"),
        sequence: bases[position..position + 50].to_vec(),
        qualities: vec![quality; 50],
        mapq,
        reverse: false,
        name,
    };
    let reads = [read(100, 60, 30, 1), read(200, 0, 30, 2), read(290, 60, 30, 3), read(500, 60, 2, 4)];
    let calls = call(0..1000, &bases, &reads);
    assert_answered_once(&(0..1000), &calls);
    let found: Vec<(u32, u32, Answer)> =
        calls.blocks.iter().map(|block| (block.start, block.end, block.answer)).collect();
    let expect = [
        (0, 100, Answer::NoReads),
        (100, 150, Answer::Reference),
        (150, 200, Answer::NoReads),
        (200, 250, Answer::NoUsableReads),
        (250, 290, Answer::NoReads),
        (290, 300, Answer::Reference),
        (300, 320, Answer::ReferenceUnknown),
        (320, 340, Answer::Reference),
        (340, 500, Answer::NoReads),
        (500, 550, Answer::NoUsableReads),
        (550, 1000, Answer::NoReads),
    ];
    assert_eq!(found, expect);
    let confident = &calls.blocks[1];
    assert_eq!((confident.depth, confident.genotype_quality, confident.likelihoods), (1, 3, [0, 3, 30]));
}

#[test]
fn shared_bases_of_mates_count_once() {
    let mut random = Random(9);
    let bases = random.bases(1000);
    let read = |position: usize, name| Read {
        position: position as u32,
        cigar: cigar("100M"),
        sequence: bases[position..position + 100].to_vec(),
        qualities: vec![30; 100],
        mapq: 60,
        reverse: position > 100,
        name,
    };
    let calls = call(0..1000, &bases, &[read(100, 7), read(150, 7)]);
    let depths: Vec<(u32, u32, u32)> =
        calls.blocks.iter().map(|block| (block.start, block.end, block.depth)).collect();
    assert_eq!(depths, [(0, 100, 0), (100, 250, 1), (250, 1000, 0)]);
}

#[test]
fn weak_sites_are_filtered_not_hidden() {
    let mut random = Random(10);
    let bases = random.bases(CONTIG_BASES as usize);
    let mut reads = donor_reads(&bases, 4000, 1, &[(bases[4000] + 2) % 4], false);
    let bad = bases[4000] ^ 1;
    reads.retain(|read| read.sequence.len() == 100);
    for read in &mut reads {
        let at = 4000i64 - i64::from(read.position);
        if (0..100).contains(&at) && read.sequence[at as usize] != bases[4000] {
            read.mapq = 20;
            read.sequence[at as usize] = bad;
        }
    }
    let calls = call(0..8192, &bases, &reads);
    assert_eq!(calls.sites.len(), 1);
    assert_eq!(calls.sites[0].filters, [Filter::LowMapq], "{:?}", calls.sites[0]);
}

#[test]
fn odd_reads_are_survived_and_every_base_is_answered_once() {
    let mut random = Random(1);
    for round in 0..50 {
        let mut bases = random.bases(1200);
        if round % 3 == 0 {
            let tract = random.next(1000) as usize;
            let unit = 1 + random.next(3) as usize;
            (tract + unit..tract + 150).for_each(|at| bases[at] = bases[at - unit]);
        }
        if round % 5 == 0 {
            let gap = random.next(1100) as usize;
            bases[gap..gap + 40].fill(4);
        }
        let reads: Vec<Read> = (0..random.next(300)).map(|_| odd_read(&bases, &mut random)).collect();
        for core in [0..1200, 0..512, 512..1024, 1024..1200] {
            assert_answered_once(&core, &call(core.clone(), &bases, &reads));
        }
    }
}

/// A read with a CIGAR that mappers rarely write, or that does not fit its bases at all.
fn odd_read(bases: &[u8], random: &mut Random) -> Read {
    const SHAPES: [&str; 18] = [
        "60M",
        "20M5I35M",
        "30M4D30M",
        "60S",
        "5D60M",
        "60I",
        "30I30M",
        "30M30I",
        "10S40M10S",
        "30M200000000D30M",
        "20M100N40M",
        "1M58I1M",
        "10H60M",
        "20M2I2D38M",
        "10M1D10M1I39M",
        "60M5M",
        "",
        "60=",
    ];
    // Few starts and shapes, so that odd things gain support.
    let position = random.next(24) * 50;
    let sequence = (0..60)
        .map(|at| match random.next(30) {
            0 => random.next(5) as u8,
            _ => bases.get(position as usize + at).copied().unwrap_or(4),
        })
        .collect();
    let qualities = match random.next(6) {
        0 => Vec::new(),
        1 => vec![255; 60],
        2 => vec![3; 7],
        _ => (0..60).map(|_| random.next(60) as u8).collect(),
    };
    Read {
        position: if random.next(200) == 0 { u32::MAX - 30 } else { position as u32 },
        cigar: cigar(SHAPES[random.next(18) as usize]),
        sequence,
        qualities,
        mapq: [0, 20, 60, 60, 60, 255][random.next(6) as usize],
        reverse: random.next(2) == 0,
        name: random.next(200),
    }
}
