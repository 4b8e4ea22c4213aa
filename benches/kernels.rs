//! What does each kernel cost: alignment per pair, duplicate marking per read, calling per megabase, joint genotyping
//! per sample and site?
//!
//! One process, one thread, no files in what is measured; each kernel's input is what the one before gave. No peer has
//! these steps alone; whole programs are compared by the bench `chain`.

mod measure;

use jobs::genome::{Cell, Grid, HALO_BASES};
use kernels::align::{Aligner, Hit, PairMapping, Scoring, Workspace as AlignWorkspace};
use kernels::call::{CallOptions, CallRead, Window, Workspace as CallWorkspace, call_cell};
use kernels::duplicates::{End, Fragment, Marker, quality_score};
use kernels::insert::InsertModel;
use kernels::joint::{JointSite, Options, Sample, joint_cell, reaching};
use kernels::sequence::reverse_complement;
use kernels::variant::{CellCalls, SiteCall};
use measure::{Cohort, cpu_seconds, head, is_full, spread};
use std::collections::HashMap;
use workers::fastq::{PairReader, Pairs};
use workers::index_file::{ReferenceIndex, build, path_of};
use workers::map::learn_from;

const SAMPLES: usize = 3;

fn main() {
    let (genome_mb, depth, turns) = if is_full() { (1.0, 10.0, 3) } else { (0.2, 8.0, 1) };
    let cohort = Cohort::simulate(SAMPLES as u32, genome_mb, depth);
    let fasta = &cohort.summary.reference;
    build(fasta, &path_of(fasta), &|_| ()).expect("an index of the simulated reference");
    let index = ReferenceIndex::open(fasta, &path_of(fasta)).expect("the index just built");
    if is_full() {
        head("Kernels", "kernels", &cohort.description(), &[], &[]);
        println!("CPU microseconds, one thread: median (smallest to largest) of {turns} turns.\n");
        println!("| kernel | per | microseconds | units |\n|---|---|---|---|");
    }
    let bench = Bench { index: &index, turns };
    let called: Vec<Vec<CellCalls>> = (0..SAMPLES).map(|sample| bench.sample(&cohort, sample)).collect();
    bench.joint(&called);
}

struct Bench<'a> {
    index: &'a ReferenceIndex,
    turns: usize,
}

/// A placed read as the kernels after alignment want it.
struct Placed {
    hit: Hit,
    fragment: Fragment,
    sequence: Vec<u8>,
    qualities: Vec<u8>,
}

impl Bench<'_> {
    /// Aligns, marks and calls; the first sample is measured.
    fn sample(&self, cohort: &Cohort, sample: usize) -> Vec<CellCalls> {
        let [first, second] = cohort.reads(sample);
        let open = || PairReader::open(&first, Some(&second)).expect("simulated reads");
        let scoring = Scoring::default();
        let aligner =
            Aligner::new(self.index.reference(), self.index.index(), scoring).expect("its own index");
        let model = learn_from(&aligner, &mut open(), |_| Ok(())).expect("simulated reads");
        let mut pairs = Pairs::default();
        open().read(usize::MAX, &mut pairs).expect("simulated reads");
        let is_measured = sample == 0;

        let count = pairs.first.len();
        let mappings =
            self.measure(is_measured, "alignment", "pair", count as f64, || align(&aligner, &pairs, &model));
        let proper = mappings.iter().filter(|mapping| mapping.proper).count();
        assert!(proper * 10 > count * 8, "{proper} of {count} pairs are proper");

        let placed = placed(&pairs, &mappings);
        let reads = placed.len();
        let marks = self.measure(is_measured, "duplicate marking", "read", reads as f64, || mark(&placed));
        assert_eq!(marked_pairs(&placed, &marks), surplus(&placed));

        let kept: Vec<&Placed> =
            placed.iter().zip(&marks).filter(|(_, mark)| !**mark).map(|(read, _)| read).collect();
        let bases = self.index.contigs().total_bases() as f64 / 1e6;
        let called = self.measure(is_measured, "calling", "megabase", bases, || self.call(&kept));
        let sites =
            called.iter().flat_map(|calls| &calls.sites).filter(|site| site.filters.is_empty()).count();
        let truth = cohort.summary.samples[sample].truth_variants as usize;
        assert!((truth / 2..truth * 2).contains(&sites), "{sites} sites passed, {truth} are true");
        called
    }

    /// Calls every cell of the genome.
    fn call(&self, reads: &[&Placed]) -> Vec<CellCalls> {
        let (grid, reference) = (Grid::new(self.index.contigs()), self.index.reference());
        let (options, mut workspace, mut bases) = (CallOptions::default(), CallWorkspace::new(), Vec::new());
        let call = |cell| {
            let core = grid.interval(Cell(cell));
            let contig_bases = reference.length(core.contig);
            let start = core.start.saturating_sub(HALO_BASES);
            let end = core.end.saturating_add(HALO_BASES).min(contig_bases);
            bases.clear();
            reference.fetch(core.contig, start, end, &mut bases);
            let before = |position| {
                move |read: &&Placed| (read.hit.contig, read.hit.position) < (core.contig, position)
            };
            let near = reads.partition_point(before(start))..reads.partition_point(before(end));
            let near: Vec<CallRead<'_>> = reads[near].iter().map(|read| read.as_call_read()).collect();
            let window = Window { start, bases: &bases, contig_bases };
            call_cell(core.start..core.end, &window, &near, &options, &mut workspace)
        };
        (0..grid.cells()).map(call).collect()
    }

    /// Genotypes the cohort.
    fn joint(&self, called: &[Vec<CellCalls>]) {
        let count = |calls: &Vec<CellCalls>| calls.iter().map(|calls| calls.sites.len()).sum::<usize>();
        let most = called.iter().map(count).max().unwrap_or(0);
        let genotype = || self.genotype(called);
        let sites = genotype();
        assert!(sites.len() * 2 > most, "{} joint sites, {most} in one sample", sites.len());
        assert!(sites.iter().all(|site| site.genotypes.len() == SAMPLES));
        self.measure(true, "joint genotyping", "sample and site", (sites.len() * SAMPLES) as f64, genotype);
    }

    fn genotype(&self, called: &[Vec<CellCalls>]) -> Vec<JointSite> {
        let grid = Grid::new(self.index.contigs());
        let mut upstream: Vec<Vec<SiteCall>> = vec![Vec::new(); called.len()];
        let mut sites = Vec::new();
        for cell in 0..grid.cells() {
            let core = grid.interval(Cell(cell));
            let calls = |sample: usize| &called[sample][cell as usize];
            let samples: Vec<Sample<'_>> = upstream
                .iter()
                .enumerate()
                .map(|(sample, upstream)| Sample { calls: calls(sample), upstream })
                .collect();
            let options = Options::default();
            sites.extend(joint_cell(core.start..core.end, &samples, &options).expect("one reference"));
            let is_last = core.end == self.index.reference().length(core.contig);
            for (sample, upstream) in upstream.iter_mut().enumerate() {
                *upstream = reaching(calls(sample), core.end).filter(|_| !is_last).cloned().collect();
            }
        }
        sites
    }

    /// Does the work, and does it again in a measurement; every time it must give the same.
    fn measure<T: PartialEq + std::fmt::Debug>(
        &self,
        is_measured: bool,
        kernel: &str,
        unit: &str,
        units: f64,
        work: impl Fn() -> T,
    ) -> T {
        let first = work();
        if is_measured {
            let mut costs = Vec::new();
            for _ in 0..self.turns {
                let before = cpu_seconds();
                let again = work();
                costs.push((cpu_seconds() - before) * 1e6 / units);
                assert!(again == first, "{kernel}: another result from the same input");
            }
            if is_full() {
                println!("| {kernel} | {unit} | {} | {units} |", spread(&costs));
            }
        }
        first
    }
}

impl Placed {
    fn as_call_read(&self) -> CallRead<'_> {
        CallRead {
            position: self.hit.position,
            cigar: &self.hit.cigar,
            sequence: &self.sequence,
            qualities: &self.qualities,
            mapq: self.hit.mapq,
            reverse: self.hit.reverse,
            name_hash: self.fragment.name_hash,
        }
    }
}

fn align(aligner: &Aligner<'_>, pairs: &Pairs, model: &InsertModel) -> Vec<PairMapping> {
    let (first, second) = (&pairs.first, &pairs.second);
    let reads: Vec<[&[u8]; 2]> =
        (0..first.len()).map(|at| [first.sequence(at), second.sequence(at)]).collect();
    aligner.map_pairs(&mut AlignWorkspace::default(), &reads, model)
}

/// The placed reads by position.
fn placed(pairs: &Pairs, mappings: &[PairMapping]) -> Vec<Placed> {
    let mut placed = Vec::new();
    for (template, mapping) in mappings.iter().enumerate() {
        let hits = mapping.reads.each_ref().map(|read| read.primary.as_ref());
        let end = |hit: &Hit| {
            let five_prime = hit.five_prime();
            End { contig: hit.contig, position: five_prime.border as i32, reverse: five_prime.reverse }
        };
        let score = [&pairs.first, &pairs.second].map(|reads| quality_score(reads.qualities(template)));
        for (which, reads) in [&pairs.first, &pairs.second].into_iter().enumerate() {
            let Some(hit) = hits[which] else { continue };
            let (mut sequence, mut qualities) = (Vec::new(), reads.qualities(template).to_vec());
            if hit.reverse {
                reverse_complement(reads.sequence(template), &mut sequence);
                qualities.reverse();
            } else {
                sequence.extend_from_slice(reads.sequence(template));
            }
            let fragment = Fragment {
                library: 0,
                own: end(hit),
                mate: hits[1 - which].map(end),
                score: score[0] + score[1],
                name_hash: template as u64,
                template: template as u64,
            };
            placed.push(Placed { hit: hit.clone(), fragment, sequence, qualities });
        }
    }
    placed.sort_by_key(|read| (read.hit.contig, read.hit.position));
    placed
}

fn mark(placed: &[Placed]) -> Vec<bool> {
    let mut marks = vec![false; placed.len()];
    let mut marker = Marker::default();
    let mut emit = |read: usize, is_copy| marks[read] = is_copy;
    for (i, read) in placed.iter().enumerate() {
        if i > 0 && placed[i - 1].hit.contig != read.hit.contig {
            marker.finish(&mut emit);
        }
        marker.push(read.hit.position, Some(read.fragment), i, &mut emit);
    }
    marker.finish(&mut emit);
    marks
}

fn marked_pairs(placed: &[Placed], marks: &[bool]) -> usize {
    placed.iter().zip(marks).filter(|(read, mark)| **mark && read.fragment.mate.is_some()).count()
}

/// The oracle: of the reads that share both ends all but one are copies.
fn surplus(placed: &[Placed]) -> usize {
    let mut groups: HashMap<(End, End), usize> = HashMap::new();
    let ends = placed.iter().filter_map(|read| Some((read.fragment.own, read.fragment.mate?)));
    ends.for_each(|ends| *groups.entry(ends).or_default() += 1);
    groups.values().map(|count| count - 1).sum()
}
