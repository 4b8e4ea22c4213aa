//! Local assembly: haplotypes from a de Bruijn graph of a window's reads, taken apart into candidates.
//!
//! Invariant: the reference is always a path; work is bounded by named limits, beyond which less is found but never
//! something else.

use super::allele::{Candidate, Change, left_align};
use super::read::Placed;
use super::segment::{ReadIndex, segment};
use super::{CallOptions, Window};
use std::ops::Range;

/// Word lengths tried until neither reference nor paths run in circles, in bases.
const WORD_BASES: [usize; 4] = [25, 33, 45, 61];
/// Words with a base of lower quality are not used.
const WORD_QUALITY_MIN: u8 = 10;
/// Edges seen less often are errors.
const EDGE_READS_MIN: u32 = 2;
/// Paths and steps after which a graph is given up.
const PATHS_MAX: usize = 64;
const STEPS_MAX: usize = 20_000;
/// Best supported paths that are taken apart.
const PATHS_KEPT: usize = 8;
/// A path that is longer than the reference by more than this is an artefact, in bases.
const INSERTED_BASES_MAX: usize = 120;
/// Alignment of a path with the reference: scores as in common mappers.
const MATCH: i32 = 1;
const MISMATCH: i32 = -4;
const GAP_OPEN: i32 = -6;
const GAP_EXTEND: i32 = -1;

/// The candidates of all well supported paths through the region.
pub(super) fn assemble(
    region: Range<u32>,
    reference: &Window<'_>,
    reads: &ReadIndex<'_, '_>,
    options: &CallOptions,
) -> Vec<Candidate> {
    let bases = reference.slice(region.clone());
    if bases.len() <= WORD_BASES[0] || bases.contains(&4) {
        return Vec::new();
    }
    let near: Vec<&Placed<'_>> = reads.overlapping(&region).collect();
    let words = WORD_BASES.iter().filter(|&&word| word < bases.len());
    let mut paths = words.filter_map(|&word| Graph::new(word, bases, &region, &near, options)?.paths());
    let Some(mut paths) = paths.next() else { return Vec::new() };
    paths.sort_by(|a, b| b.support.cmp(&a.support).then_with(|| a.bases.cmp(&b.bases)));
    let mut candidates: Vec<Candidate> = Vec::new();
    for path in paths.iter().take(PATHS_KEPT) {
        for (position, change) in differences(bases, &path.bases, region.start) {
            let Some((position, change)) = left_align(position, change, reference) else { continue };
            match candidates.iter_mut().find(|old| (old.position, &old.change) == (position, &change)) {
                Some(old) => old.support = old.support.max(path.support),
                None => candidates.push(Candidate { position, change, support: path.support }),
            }
        }
    }
    candidates
}

/// Edges of the graph: words one base longer than the nodes', packed two bits a base, with the number of reads.
struct Graph {
    word: usize,
    edges: Vec<(u128, u32)>,
    first: u128,
    last: u128,
    reference_bases: usize,
}

/// One way from the first to the last word of the reference.
struct Path {
    bases: Vec<u8>,
    /// Reads over its least supported edge that the reference lacks.
    support: u32,
}

impl Graph {
    /// Graph of reference and reads; nothing if the reference repeats a word.
    fn new(
        word: usize,
        bases: &[u8],
        region: &Range<u32>,
        reads: &[&Placed<'_>],
        options: &CallOptions,
    ) -> Option<Self> {
        let mut reference_edges = Vec::with_capacity(bases.len());
        words(bases, None, word + 1, &mut reference_edges);
        let mut nodes = Vec::with_capacity(bases.len());
        words(bases, None, word, &mut nodes);
        let (first, last) = (*nodes.first()?, *nodes.last()?);
        nodes.sort_unstable();
        if nodes.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let mut seen = Vec::new();
        for read in reads {
            if let Some(segment) = segment(read, region, 0, options) {
                words(segment.bases, Some(&segment.qualities), word + 1, &mut seen);
            }
        }
        seen.sort_unstable();
        reference_edges.sort_unstable();
        let counted = seen.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32));
        let known = |edge: &u128| reference_edges.binary_search(edge).is_ok();
        let mut edges: Vec<(u128, u32)> =
            counted.filter(|(edge, count)| *count >= EDGE_READS_MIN && !known(edge)).collect();
        // Edges of the reference never limit a path.
        edges.extend(reference_edges.iter().map(|&edge| (edge, u32::MAX)));
        edges.sort_unstable();
        Some(Graph { word, edges, first, last, reference_bases: bases.len() })
    }

    /// All paths other than the reference, depth first; nothing if one runs in a circle, for then the words are too
    /// short, or if there are too many.
    fn paths(&self) -> Option<Vec<Path>> {
        let mask = (1u128 << (2 * self.word)) - 1;
        let bases_max = self.reference_bases + INSERTED_BASES_MAX;
        let mut paths = Vec::new();
        let mut steps = 0;
        let mut stack = vec![(self.first, u32::MAX, 0usize)];
        let mut walked: Vec<u128> = Vec::new();
        while let Some((node, support, depth)) = stack.pop() {
            steps += 1;
            walked.truncate(depth);
            if steps > STEPS_MAX || walked.contains(&node) {
                return None;
            }
            walked.push(node);
            if node == self.last {
                if support < u32::MAX {
                    paths.push(Path { bases: self.spell(&walked), support });
                }
                if paths.len() > PATHS_MAX {
                    return None;
                }
                continue;
            }
            if walked.len() + self.word > bases_max {
                continue;
            }
            let from = self.edges.partition_point(|&(edge, _)| edge < node << 2);
            let next = self.edges[from..].iter().take_while(|&&(edge, _)| edge >> 2 == node);
            stack.extend(next.map(|&(edge, count)| (edge & mask, support.min(count), depth + 1)));
        }
        Some(paths)
    }

    fn spell(&self, nodes: &[u128]) -> Vec<u8> {
        let start = (0..self.word).rev().map(|at| (nodes[0] >> (2 * at) & 3) as u8);
        start.chain(nodes[1..].iter().map(|node| (node & 3) as u8)).collect()
    }
}

/// Appends all words of `length` bases that are known and of good quality.
fn words(bases: &[u8], qualities: Option<&[u8]>, length: usize, out: &mut Vec<u128>) {
    let mask = (1u128 << (2 * length)) - 1;
    let (mut word, mut good) = (0u128, 0);
    for (at, &base) in bases.iter().enumerate() {
        let usable = base < 4 && qualities.is_none_or(|qualities| qualities[at] >= WORD_QUALITY_MIN);
        good = if usable { good + 1 } else { 0 };
        word = (word << 2 | u128::from(base & 3)) & mask;
        if good >= length {
            out.push(word);
        }
    }
}

/// The changes that turn the reference into the path, positions absolute, not yet left-aligned. What both share at
/// their ends is set aside, the rest is aligned with affine gaps (Gotoh 1982).
fn differences(reference: &[u8], path: &[u8], start: u32) -> Vec<(u32, Change)> {
    let shorter = reference.len().min(path.len());
    let prefix = reference.iter().zip(path).take_while(|(a, b)| a == b).count();
    let backwards = reference.iter().rev().zip(path.iter().rev());
    let suffix = backwards.take_while(|(a, b)| a == b).count().min(shorter - prefix);
    // Paths begin and end on words of the reference, so there is a base before every change.
    let (a, b) = (&reference[prefix..reference.len() - suffix], &path[prefix..path.len() - suffix]);
    let mut changes = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (columns, length) in align(a, b) {
        let position = start + (prefix + i) as u32;
        match columns {
            Columns::Both => {
                let unequal = (0..length).filter(|&k| a[i + k] != b[j + k]);
                changes.extend(unequal.map(|k| (position + k as u32, Change::Substitution(b[j + k]))));
                (i, j) = (i + length, j + length);
            }
            Columns::Reference => {
                changes.push((position.wrapping_sub(1), Change::Deletion(length as u32)));
                i += length;
            }
            Columns::Path => {
                changes.push((position.wrapping_sub(1), Change::Insertion(b[j..j + length].to_vec())));
                j += length;
            }
        }
    }
    changes
}

/// Which of the two sequences an alignment column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Both,
    Reference,
    Path,
}

/// Global alignment as runs of equal columns. Time and memory: product of the lengths.
fn align(a: &[u8], b: &[u8]) -> Vec<(Columns, usize)> {
    const WORST: i32 = i32::MIN / 2;
    let width = b.len() + 1;
    // Per cell the best score that ends in a pair, a reference base alone, a path base alone.
    let mut scores = vec![[WORST; 3]; (a.len() + 1) * width];
    scores[0][0] = 0;
    let best = |cell: &[i32; 3]| cell[0].max(cell[1]).max(cell[2]);
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = i * width + j;
            if i > 0 && j > 0 {
                let pair = if a[i - 1] == b[j - 1] { MATCH } else { MISMATCH };
                scores[at][0] = best(&scores[at - width - 1]) + pair;
            }
            if i > 0 {
                let above = &scores[at - width];
                scores[at][1] = (best(above) + GAP_OPEN).max(above[1]) + GAP_EXTEND;
            }
            if j > 0 {
                let left = &scores[at - 1];
                scores[at][2] = (best(left) + GAP_OPEN).max(left[2]) + GAP_EXTEND;
            }
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut state = largest(&scores[i * width + j]);
    let mut runs: Vec<(Columns, usize)> = Vec::new();
    while i > 0 || j > 0 {
        let at = i * width + j;
        let (columns, before) = match state {
            0 => (Columns::Both, at - width - 1),
            1 => (Columns::Reference, at - width),
            _ => (Columns::Path, at - 1),
        };
        let extended = state > 0 && scores[before][state] + GAP_EXTEND == scores[at][state];
        state = if extended { state } else { largest(&scores[before]) };
        i -= usize::from(columns != Columns::Path);
        j -= usize::from(columns != Columns::Reference);
        match runs.last_mut() {
            Some((last, length)) if *last == columns => *length += 1,
            _ => runs.push((columns, 1)),
        }
    }
    runs.reverse();
    runs
}

/// Index of the first largest score.
fn largest(scores: &[i32; 3]) -> usize {
    (1..3).fold(0, |best, at| if scores[at] > scores[best] { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::CallRead;
    use super::super::read::place_all;
    use super::*;

    fn random_bases(count: usize, seed: &mut u64) -> Vec<u8> {
        let next = |_| {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*seed >> 60 & 3) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn alignments_prefer_one_long_gap() {
        let a = [0, 1, 2, 3, 0, 0, 1, 1, 2, 2, 3, 3];
        let b = [0, 1, 2, 3, 2, 2, 3, 3];
        assert_eq!(align(&a, &b), [(Columns::Both, 4), (Columns::Reference, 4), (Columns::Both, 4)]);
        assert_eq!(align(&[], &[1, 2]), [(Columns::Path, 2)]);
        assert_eq!(align(&[1], &[2]), [(Columns::Both, 1)]);
        assert_eq!(align(&[], &[]), []);
    }

    #[test]
    fn clipped_reads_assemble_to_a_long_insertion() {
        let mut seed = 3;
        let bases = random_bases(600, &mut seed);
        let inserted = random_bases(60, &mut seed);
        let donor = [&bases[..300], &inserted, &bases[300..]].concat();
        let options = CallOptions::default();
        // Reads that the mapper clipped at the breakpoint, from both sides.
        let (left, right) = ([60 << 4, 40 << 4 | 4], [50 << 4 | 4, 50 << 4]);
        let read = |start: usize, position: u32, cigar, name| CallRead {
            position,
            cigar,
            sequence: &donor[start..start + 100],
            qualities: &[],
            mapq: 60,
            reverse: false,
            name_hash: name,
        };
        let mut reads: Vec<CallRead<'_>> = (0..5).map(|name| read(240, 240, &left[..], name)).collect();
        reads.extend((5..10).map(|name| read(310, 300, &right[..], name)));
        let placed = place_all(&reads, 0, 1000, &options);
        let reference = Window { start: 0, bases: &bases, contig_bases: 600 };
        let found = assemble(150..450, &reference, &ReadIndex::new(&placed), &options);
        let expect = left_align(299, Change::Insertion(inserted), &reference).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].position, found[0].change.clone()), expect);
    }
}
