//! What ran when, as rows of a drawing: short attempts of one stage after each other become one span.

use crate::info::{LaneInfo, Span, Timeline};
use std::collections::{BTreeMap, VecDeque};

/// Most rows; the other cores are counted.
const LANES_MAX: usize = 256;

/// Most spans of a live job's drawing, all rows together.
const LIVE_SPANS_MAX: usize = 4096;

/// Most spans of one row of a live job's drawing.
const LANE_SPANS_MAX: usize = 64;

/// Most spans of the drawing of a job that ended.
const SPANS_MAX: usize = 20_000;

/// Spans shorter than this part of the drawing cannot be told apart.
const NARROW_PART: u64 = 1500;

/// What ran lately on each core.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<(u32, u32), VecDeque<Span>>,
}

impl Lanes {
    /// Adds an attempt that is over, at `now_ms` since the drawing's begin.
    pub fn push(&mut self, worker: u32, slot: u32, span: Span, now_ms: u64) {
        let known = self.lanes.contains_key(&(worker, slot));
        if !known && self.lanes.len() >= LANES_MAX {
            // Of workers that come and go, such as bundles, the oldest row makes room.
            let oldest = self.lanes.iter().min_by_key(|(_, lane)| lane.back().map(|span| span.end_ms));
            let oldest = oldest.map(|(&key, _)| key);
            oldest.map(|key| self.lanes.remove(&key));
        }
        let lane = self.lanes.entry((worker, slot)).or_default();
        match lane.back_mut() {
            Some(last) if joins(last, &span, now_ms / NARROW_PART) => extend(last, &span),
            _ => lane.push_back(span),
        }
        if lane.len() > LANE_SPANS_MAX {
            lane.pop_front();
        }
    }

    /// The rows, with as many of their last spans as there is room for.
    pub fn drawn(&self) -> Timeline {
        let each = (LIVE_SPANS_MAX / self.lanes.len().max(1)).clamp(8, LANE_SPANS_MAX);
        let row = |(&(worker, slot), lane): (&(u32, u32), &VecDeque<Span>)| LaneInfo {
            worker,
            slot,
            name: String::new(),
            spans: lane.iter().skip(lane.len().saturating_sub(each)).cloned().collect(),
        };
        Timeline { lanes: self.lanes.iter().map(row).collect(), lanes_more: 0 }
    }
}

/// The drawing of everything that ran, given as worker, core and span in any order.
pub fn timeline(ran: impl IntoIterator<Item = (u32, u32, Span)>) -> Timeline {
    let mut lanes: BTreeMap<(u32, u32), Vec<Span>> = BTreeMap::new();
    for (worker, slot, span) in ran {
        lanes.entry((worker, slot)).or_default().push(span);
    }
    lanes
        .values_mut()
        .for_each(|lane| lane.sort_by(|a, b| (a.start_ms, &a.task).cmp(&(b.start_ms, &b.task))));
    let more = lanes.len().saturating_sub(LANES_MAX);
    let mut lanes: Vec<((u32, u32), Vec<Span>)> = lanes.into_iter().take(LANES_MAX).collect();
    let all = || lanes.iter().flat_map(|(_, lane)| lane);
    let from = all().map(|span| span.start_ms).min().unwrap_or(0);
    let to = all().map(|span| span.end_ms).max().unwrap_or(0);
    let mut narrow_ms = (to - from) / NARROW_PART;
    loop {
        lanes.iter_mut().for_each(|(_, lane)| *lane = merged(lane, narrow_ms));
        if lanes.iter().map(|(_, lane)| lane.len()).sum::<usize>() <= SPANS_MAX || narrow_ms >= to - from {
            break;
        }
        narrow_ms = (narrow_ms * 2).max(1);
    }
    let row = |((worker, slot), spans)| LaneInfo { worker, slot, spans, name: String::new() };
    Timeline { lanes: lanes.into_iter().map(row).collect(), lanes_more: more as u32 }
}

fn merged(lane: &[Span], narrow_ms: u64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for span in lane {
        match spans.last_mut() {
            Some(last) if joins(last, span, narrow_ms) => extend(last, span),
            _ => spans.push(span.clone()),
        }
    }
    spans
}

/// Whether two spans after each other look like one.
fn joins(last: &Span, span: &Span, narrow_ms: u64) -> bool {
    last.stage == span.stage
        && last.counts == span.counts
        && span.start_ms.saturating_sub(last.end_ms) <= narrow_ms
        && span.end_ms.saturating_sub(span.start_ms) <= narrow_ms
}

fn extend(last: &mut Span, span: &Span) {
    last.end_ms = last.end_ms.max(span.end_ms);
    last.tasks += span.tasks;
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::task::Stage;

    fn span(start_ms: u64, end_ms: u64, stage: Stage) -> Span {
        Span { task: format!("t{start_ms}"), stage, start_ms, end_ms, tasks: 1, counts: true }
    }

    #[test]
    fn what_cannot_be_told_apart_is_drawn_as_one() {
        let short = (0..1000).map(|i| (0, 0, span(i * 10, i * 10 + 9, Stage::Map)));
        let long = [(0, 0, span(10_000, 3_000_000, Stage::Region)), (0, 1, span(0, 500_000, Stage::Region))];
        let drawn = timeline(short.chain(long));
        assert_eq!(drawn.lanes.len(), 2);
        let lane: Vec<_> = drawn.lanes[0].spans.iter().map(|s| (s.start_ms, s.end_ms, s.tasks)).collect();
        assert_eq!(lane, [(0, 9_999, 1000), (10_000, 3_000_000, 1)]);
        assert_eq!(timeline([]), Timeline::default());
    }

    #[test]
    fn a_drawing_is_bounded_however_many_attempts_and_cores_there_are() {
        let stages = [Stage::Map, Stage::Region];
        let ran = (0..400u32).flat_map(|core| {
            (0..200u64).map(move |i| (core, 0, span(i * 100, i * 100 + 90, stages[i as usize % 2])))
        });
        let drawn = timeline(ran);
        assert_eq!((drawn.lanes.len(), drawn.lanes_more), (256, 144));
        let mut lanes = Lanes::default();
        for core in 0..400 {
            for i in 0..100 {
                lanes.push(core, 0, span(i * 100, i * 100 + 90, stages[i as usize % 2]), 10_000);
            }
        }
        let drawn = lanes.drawn();
        assert_eq!(drawn.lanes.len(), LANES_MAX);
        assert!(drawn.lanes.iter().map(|lane| lane.spans.len()).sum::<usize>() <= LIVE_SPANS_MAX);
    }
}
