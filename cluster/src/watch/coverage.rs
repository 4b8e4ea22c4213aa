//! The genome of each sample in columns: how far its regions are.

use crate::info::{COLUMNS_MAX, Column, ContigMark, Grid, run_lengths};
use jobs::genome::Cell;
use jobs::task::Shard;
use scheduler::{CellState, Scheduler};

/// Cells of one column, by how they stand.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    done: u32,
    running: u32,
    lost: u32,
    cells: u32,
}

fn columns(cells: u32) -> u32 {
    cells.min(COLUMNS_MAX)
}

/// The ruler of a genome of so many cells.
pub(super) fn ruler(cells: u32, contigs: &[(String, Cell)]) -> Grid {
    let columns = columns(cells);
    let mut marks: Vec<ContigMark> = Vec::new();
    for (at, (name, first)) in contigs.iter().enumerate() {
        let column = column_of(first.0, cells);
        let end = contigs.get(at + 1).map_or(columns, |(_, next)| column_of(next.0, cells));
        // A contig of less than a column has no place for its name.
        if end > column && marks.last().is_none_or(|last| last.column < column) {
            marks.push(ContigMark { name: name.clone(), column });
        }
    }
    Grid { cells, columns, contigs: marks }
}

/// The joint calls by column: whether all of it is done.
pub(super) fn joint(scheduler: &Scheduler) -> Vec<bool> {
    let tallies = tally(scheduler.plan().cells, &scheduler.coverage(None));
    tallies.iter().map(|tally| tally.done == tally.cells).collect()
}

/// The columns of one sample as runs.
pub(super) fn of_sample(scheduler: &Scheduler, sample: u32, joint: &[bool]) -> String {
    let plan = scheduler.plan();
    let tallies = tally(plan.cells, &scheduler.coverage(Some(sample)));
    let joins = plan.samples.get(sample as usize).is_some_and(|sample| sample.joint);
    let columns: Vec<Column> =
        tallies.iter().zip(joint).map(|(tally, &joint)| column(*tally, joins && joint)).collect();
    run_lengths(&columns)
}

fn column(tally: Tally, joint: bool) -> Column {
    match tally {
        Tally { lost: 1.., .. } => Column::Lost,
        Tally { running: 1.., .. } => Column::Running,
        Tally { done, cells, .. } if done == cells && joint => Column::Joint,
        Tally { done, cells, .. } if done == cells => Column::Done,
        Tally { done: 1.., .. } => Column::Partly,
        Tally { .. } => Column::Waiting,
    }
}

fn column_of(cell: u32, cells: u32) -> u32 {
    (u64::from(cell) * u64::from(columns(cells)) / u64::from(cells.max(1))) as u32
}

fn tally(cells: u32, runs: &[(Shard, CellState)]) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); columns(cells) as usize];
    // First cell of a column: the inverse of `column_of`.
    let first_of = |column: u32| {
        (u64::from(column) * u64::from(cells)).div_ceil(u64::from(columns(cells).max(1))) as u32
    };
    for (column, tally) in tallies.iter_mut().enumerate() {
        tally.cells = first_of(column as u32 + 1) - first_of(column as u32);
    }
    for (shard, state) in runs {
        let Shard::Cells { first, end } = *shard else { continue };
        let (mut at, end) = (first.0, end.0.min(cells));
        while at < end {
            let column = column_of(at, cells);
            let next = first_of(column + 1).min(end);
            let tally = &mut tallies[column as usize];
            match state {
                CellState::Done => tally.done += next - at,
                CellState::Running => tally.running += next - at,
                CellState::Failed | CellState::Dropped => tally.lost += next - at,
                CellState::Waiting | CellState::Ready | CellState::Given => {}
            }
            at = next;
        }
    }
    tallies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(first: u32, end: u32) -> Shard {
        Shard::Cells { first: Cell(first), end: Cell(end) }
    }

    #[test]
    fn every_cell_is_in_one_column() {
        for of in [1, 3, 199, 200, 201, 999, 24_000] {
            let tallies =
                tally(of, &[(cells(0, of), CellState::Done), (Shard::Unplaced, CellState::Running)]);
            assert_eq!(tallies.len(), of.min(200) as usize);
            assert_eq!(tallies.iter().map(|tally| tally.cells).sum::<u32>(), of);
            assert!(tallies.iter().all(|tally| tally.done == tally.cells && tally.cells > 0), "{of}");
        }
        assert!(tally(0, &[]).is_empty());
    }

    #[test]
    fn a_column_shows_what_most_needs_to_be_seen() {
        let runs = [
            (cells(0, 10), CellState::Done),
            (cells(10, 13), CellState::Done),
            (cells(13, 15), CellState::Ready),
            (cells(15, 20), CellState::Waiting),
            (cells(20, 21), CellState::Running),
            (cells(21, 25), CellState::Done),
            (cells(25, 26), CellState::Failed),
        ];
        let tallies = tally(1000, &runs);
        let columns: Vec<Column> =
            tallies[..7].iter().enumerate().map(|(at, tally)| column(*tally, at == 0)).collect();
        assert_eq!(run_lengths(&columns), "1j1d1p1w1r1x1w");
    }

    #[test]
    fn contigs_too_short_for_a_column_have_no_mark() {
        let contigs = [("1", 0), ("2", 100), ("tiny", 300), ("tinier", 301), ("3", 302)];
        let contigs = contigs.map(|(name, first)| (name.to_owned(), Cell(first)));
        let ruler = ruler(1000, &contigs);
        let marks: Vec<_> = ruler.contigs.iter().map(|mark| (mark.name.as_str(), mark.column)).collect();
        assert_eq!((ruler.columns, marks), (200, vec![("1", 0), ("2", 20), ("3", 60)]));
    }
}
