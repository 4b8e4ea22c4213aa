//! Active windows: short stretches of the core around candidates and clipped ends.
//!
//! Invariant: windows are disjoint, in order, and each emits only sites within its own share of the core; where
//! windows lie depends on candidates of the core alone.

use super::Window;
use super::allele::Candidate;
use std::ops::Range;

/// Candidates closer than this belong to one window, in bases.
const MERGE_BASES: u32 = 30;
/// Reference on both sides of a window's candidates, in bases.
const FLANK_BASES: u32 = 30;
/// Units of tandem repeats that are looked for, and how far a repeat must and may go on beyond an indel, in bases.
const UNIT_BASES_MAX: u32 = 6;
const REPEAT_BASES_MIN: usize = 5;
const REPEAT_BASES_MAX: u32 = 100;
/// A window's span is cut beyond this, in bases.
const SPAN_BASES_MAX: u32 = 300;
/// Reference around a clipped place that is assembled, in bases.
const ASSEMBLY_BASES: u32 = 150;
/// Indels from this length on are assembled too, in bases: reads show them in pieces.
const ASSEMBLED_INDEL_BASES: u32 = 10;
/// Candidates a window keeps; the least supported are dropped beyond that and the sites marked.
const CANDIDATES_MAX: usize = 12;

/// One active window.
#[derive(Clone, Debug)]
pub(super) struct Active {
    /// From the first candidate to the reach of the last.
    pub span: Range<u32>,
    /// POS of the sites that this window emits.
    pub emits: Range<u32>,
    /// Whether clipped ends or long indels ask for an assembly.
    pub assemble: bool,
}

/// Windows over the candidates (by position) and clip sites of the core.
pub(super) fn windows(
    core: &Range<u32>,
    candidates: &[Candidate],
    clips: &[u32],
    reference: &Window<'_>,
) -> Vec<Active> {
    let mut spans: Vec<(Range<u32>, bool)> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| core.contains(&candidate.position)) {
        let span = candidate.position..candidate.reach(reference);
        let long = candidate.indel_bases() >= ASSEMBLED_INDEL_BASES;
        spans.push((if candidate.is_indel() { with_repeats(span, reference) } else { span }, long));
    }
    for &clip in clips.iter().filter(|clip| core.contains(clip)) {
        spans.push((clip.saturating_sub(1).max(core.start)..clip + 1, true));
    }
    spans.sort_unstable_by_key(|(span, _)| (span.start, span.end));
    let mut windows: Vec<Active> = Vec::new();
    for (span, assemble) in spans {
        match windows.last_mut() {
            Some(last)
                if span.start <= last.span.end.saturating_add(MERGE_BASES)
                    && span.start - last.span.start < SPAN_BASES_MAX =>
            {
                last.span.end = last.span.end.max(span.end);
                last.assemble |= assemble;
            }
            _ => windows.push(Active { span: span.clone(), emits: span, assemble }),
        }
    }
    for at in 0..windows.len() {
        let before = if at == 0 { core.start } else { windows[at - 1].emits.end };
        let after = windows.get(at + 1).map_or(core.end, |next| next.span.start);
        let Range { start, end } = windows[at].span;
        let half = MERGE_BASES / 2;
        windows[at].emits =
            start.saturating_sub(half).max(before)..end.saturating_add(half).min(after).max(before);
    }
    windows
}

impl Active {
    /// The candidates that its haplotypes are made of: its own, and neighbours within the flanks that another window
    /// or cell emits.
    pub fn candidates(&self, all: &[Candidate]) -> Vec<Candidate> {
        let start = self.span.start.saturating_sub(FLANK_BASES);
        let end = self.span.end.saturating_add(FLANK_BASES);
        let from = all.partition_point(|candidate| candidate.position < start);
        let near = all[from..].iter().take_while(|candidate| candidate.position < end);
        near.cloned().collect()
    }

    /// Adds assembled candidates to those of the CIGARs.
    pub fn merge(&self, local: &mut Vec<Candidate>, found: Vec<Candidate>) {
        let start = self.span.start.saturating_sub(FLANK_BASES);
        let end = self.span.end.saturating_add(FLANK_BASES);
        for new in found.into_iter().filter(|new| (start..end).contains(&new.position)) {
            match local.iter_mut().find(|old| (old.position, &old.change) == (new.position, &new.change)) {
                Some(old) => old.support = old.support.max(new.support),
                None => local.push(new),
            }
        }
    }

    /// Keeps the best supported candidates, by position; says whether any was dropped.
    pub fn bound(&self, local: &mut Vec<Candidate>) -> bool {
        let tangled = local.len() > CANDIDATES_MAX;
        if tangled {
            local.sort_by(|a, b| {
                let order = b.support.cmp(&a.support).then(a.position.cmp(&b.position));
                order.then_with(|| a.change.cmp(&b.change))
            });
            local.truncate(CANDIDATES_MAX);
        }
        local.sort_unstable_by(|a, b| (a.position, &a.change).cmp(&(b.position, &b.change)));
        tangled
    }

    /// The reference that its haplotypes cover.
    pub fn region(&self, local: &[Candidate], reference: &Window<'_>) -> Range<u32> {
        let reach = |end: u32, candidate: &Candidate| end.max(candidate.reach(reference));
        let first = local.iter().map(|candidate| candidate.position).min();
        let start = first.map_or(self.span.start, |first| first.min(self.span.start));
        let end = local.iter().fold(self.span.end, reach);
        // Clipped reads must fit on the haplotypes with and without the longest indel, or it is not a fair comparison.
        let longest = local.iter().map(Candidate::indel_bases).max().unwrap_or(0);
        let flank = FLANK_BASES + longest;
        clip(start.saturating_sub(flank)..end.saturating_add(flank), reference)
    }

    /// The reference that is assembled with its reads.
    pub fn assembly_region(&self, reference: &Window<'_>) -> Range<u32> {
        let Range { start, end } = self.span;
        clip(start.saturating_sub(ASSEMBLY_BASES)..end.saturating_add(ASSEMBLY_BASES), reference)
    }
}

/// The range and the tandem repeats that it touches: reads cut within a repeat could not tell its lengths apart.
fn with_repeats(range: Range<u32>, reference: &Window<'_>) -> Range<u32> {
    let equal = |a: u32, b: u32| reference.base(a) < 4 && reference.base(a) == reference.base(b);
    let longest = |run: &dyn Fn(u32) -> usize| {
        let tract = |unit: u32| {
            Some(run(unit)).filter(|&bases| bases >= REPEAT_BASES_MIN).map(|bases| bases as u32 + unit)
        };
        (1..=UNIT_BASES_MAX).filter_map(tract).max().unwrap_or(0)
    };
    let left = longest(&|unit| {
        let steps = unit + 1..=REPEAT_BASES_MAX.min(range.start);
        steps.take_while(|&step| equal(range.start - step, range.start - step + unit)).count()
    });
    let right = longest(&|unit| {
        let steps = 0..REPEAT_BASES_MAX;
        steps.take_while(|&step| equal(range.end + step, range.end + step + unit)).count()
    });
    range.start - left..range.end + right
}

/// The range cut to what the reference window holds.
fn clip(range: Range<u32>, reference: &Window<'_>) -> Range<u32> {
    let end = reference.start.saturating_add(reference.bases.len() as u32);
    range.start.clamp(reference.start, end)..range.end.clamp(reference.start, end)
}

#[cfg(test)]
mod tests {
    use super::super::allele::Change;
    use super::*;

    fn bases() -> Vec<u8> {
        let mut state = 1u64;
        let next = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 60 & 3) as u8
        };
        (0..3000).map(next).collect()
    }

    fn substitution(position: u32) -> Candidate {
        Candidate { position, change: Change::Substitution(0), support: 5 }
    }

    #[test]
    fn every_candidate_of_the_core_is_emitted_by_exactly_one_window() {
        let bases = bases();
        let reference = Window { start: 0, bases: &bases, contig_bases: 3000 };
        for step in [1, 7, 29, 31, 32, 100, 400] {
            let mut candidates: Vec<Candidate> = (500..2500).step_by(step).map(substitution).collect();
            candidates.push(Candidate { position: 1500, change: Change::Deletion(200), support: 5 });
            candidates.sort_unstable_by_key(|candidate| candidate.position);
            let core = 1000..2000;
            let windows = windows(&core, &candidates, &[1234], &reference);
            for pair in windows.windows(2) {
                assert!(pair[0].emits.end <= pair[1].emits.start, "{pair:?}");
            }
            for candidate in &candidates {
                let emitting = windows.iter().filter(|window| window.emits.contains(&candidate.position));
                assert_eq!(
                    emitting.count(),
                    usize::from(core.contains(&candidate.position)),
                    "{candidate:?}"
                );
                for window in windows.iter().filter(|window| window.emits.contains(&candidate.position)) {
                    assert!(window.candidates(&candidates).contains(candidate));
                }
            }
        }
    }

    #[test]
    fn an_indel_takes_its_repeat_along() {
        let mut bases = bases();
        (1000..1060).for_each(|at| bases[at] = (at % 3) as u8);
        bases[999] = 3;
        bases[1060] = 3;
        let reference = Window { start: 0, bases: &bases, contig_bases: 3000 };
        for range in [1030..1033, 1000..1001, 1059..1060] {
            let with = with_repeats(range.clone(), &reference);
            assert!(with.start <= 1000 && with.end >= 1060, "{range:?} {with:?}");
            assert!(with.start >= 990 && with.end <= 1070, "{range:?} {with:?}");
        }
        assert_eq!(with_repeats(1200..1201, &reference), 1200..1201);
    }

    #[test]
    fn the_best_supported_candidates_stay() {
        let mut local: Vec<Candidate> = (0..20)
            .map(|at| Candidate { support: if at % 2 == 0 { 9 } else { 3 }, ..substitution(at) })
            .collect();
        let window = Active { span: 0..20, emits: 0..20, assemble: false };
        assert!(window.bound(&mut local));
        let kept: Vec<u32> = local.iter().map(|candidate| candidate.position).collect();
        assert_eq!(kept, [0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18]);
        assert!(!window.bound(&mut local));
    }
}
