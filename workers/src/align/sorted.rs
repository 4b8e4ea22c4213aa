//! Sorted alignments of a lane: mapped in one pass over its files into runs in memory, and on disk what has no room there,
//! then cell by cell as a job's region tasks do it, on all threads, written in order.
//!
//! Invariant: neither memory nor threads can be seen in the file: merging does not see how reads lie in runs.

use super::output::Output;
use super::{AlignError, LANE, Progress, learn};
use crate::access::{Access, Content};
use crate::fastq::{Files, Pairs};
use crate::htslib::SamText;
use crate::map::{self, MapError, Mapper};
use crate::ordered;
use crate::qc::SampleCounters;
use crate::region::{CONTAINER_RECORDS, CellWorker, Made, RegionError};
use crate::runs::{Form, HeldRun, Run, RunBuilder, StoredRun};
use crate::stream::{Batch, Stream};
use crate::template::LaneContext;
use jobs::genome::Cell;
use jobs::task::{Chunk, Shard, Task};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::{PackError, PieceRef};

/// Most cells that a thread takes at a time.
const CELLS_MAX: u32 = 16;

/// Shares of the cells that each thread gets to take, where there are enough of them.
const SHARES: u32 = 16;

/// Cells whose alignments lie in containers together, at most.
const TOGETHER_MAX: u64 = 64;

/// Containers that these fill about.
const TOGETHER_CONTAINERS: u64 = 4;

/// Longest run in memory: merging needs a block of each on disk.
const RUN_BYTES_MAX: u64 = 1 << 28;

/// Part of the memory in which runs are made; the rest keeps them.
const MAKING: u64 = 4;

/// Maps the files of the context's one lane, writes sorted, duplicate-marked alignments to `output`, with an index for BAM and CRAM, and
/// gives what was counted on the way. Up to `memory_bytes` of alignments stay in memory until they are written. Runs on the
/// calling rayon pool.
pub fn sorted(
    context: &Access<'_>,
    files: &Files<'_>,
    output: &Path,
    memory_bytes: u64,
    progress: Progress<'_>,
) -> Result<SampleCounters, AlignError> {
    SamText::new(&context.sam_header(0)).ok_or(AlignError::Header)?;
    let runs = map(context, files, memory_bytes, progress)?;
    let (cells, threads) = (context.grid.cells(), rayon::current_num_threads() as u32);
    let together = cells_together(runs.reads, cells);
    let step = (cells / (SHARES * threads)).clamp(1, CELLS_MAX).next_multiple_of(together);
    let cells = (0..cells).step_by(step as usize).map(|first| {
        let end = cells.min(first + step);
        Shard::Cells { first: Cell(first), end: Cell(end) }
    });
    let shards: Vec<Shard> = cells.chain([Shard::Unplaced]).collect();
    let (mut file, mut done) = (Output::create(context, output)?, 0);
    progress("sorting and marking", 0, shards.len() as u64);
    let reference = context.index.reference();
    let stored = runs
        .stored
        .iter()
        .map(|(task, piece)| Ok(StoredRun::new(context.read(*task, piece)?, reference, threads as usize)));
    let stored: Vec<StoredRun> = stored.collect::<Result<_, PackError>>()?;
    let runs: Vec<Run> = runs.held.iter().map(Run::Held).chain(stored.iter().map(Run::Stored)).collect();
    let make = |worker: &mut Option<_>, at: usize| {
        let worker = worker.get_or_insert_with(|| CellWorker::new(context, 0));
        let parts: Vec<Shard> = shards[at].parts().collect();
        let made = parts.chunks(together as usize).map(|parts| worker.make_together(&runs, parts));
        Ok::<Vec<Made>, AlignError>(
            made.collect::<Result<Vec<_>, RegionError>>()?.into_iter().flatten().collect(),
        )
    };
    let put = |made: Vec<Made>| {
        made.into_iter().try_for_each(|made| file.put(made))?;
        done += 1;
        progress("sorting and marking", done, shards.len() as u64);
        Ok(())
    };
    ordered::in_order(shards.len(), make, put)?;
    context.release_sample(0);
    file.finish()
}

/// How many cells share containers, from the genome's start: one where most fill theirs, as in a job; more where a
/// container of each would be mostly tables. Says nothing of threads.
fn cells_together(reads: u64, cells: u32) -> u32 {
    let wanted = CONTAINER_RECORDS as u64 * u64::from(cells);
    if reads * 2 > wanted {
        return 1;
    }
    (TOGETHER_CONTAINERS * wanted / reads.max(1)).clamp(1, TOGETHER_MAX) as u32
}

/// The alignments of a lane.
#[derive(Default)]
struct Runs {
    /// Of the files.
    reads: u64,
    held: Vec<HeldRun>,
    stored: Vec<(Task, PieceRef)>,
}

/// Maps the lane in one pass over its files, as the tasks of a job would in several, into runs of at most
/// [`Lane::chunk_pairs`](crate::context::Lane::chunk_pairs) templates each, whichever they are.
fn map(
    context: &Access<'_>,
    files: &Files<'_>,
    memory_bytes: u64,
    progress: Progress<'_>,
) -> Result<Runs, AlignError> {
    let lane = context.lane(LANE);
    let aligner = map::aligner(context)?;
    let mut stream = Stream::open(files)?;
    progress("learning insert sizes", 0, 1);
    let model = learn(&aligner, files, &mut stream)?;
    let mapper = Mapper { aligner, model, lane: LaneContext::of(context, LANE) };
    let threads = rayon::current_num_threads() as u64;
    let run_bytes = RUN_BYTES_MAX.min(memory_bytes / (MAKING * threads));
    let keeping = memory_bytes.saturating_sub(threads * run_bytes);
    let (begun, ended) = (Mutex::new(Vec::<(u64, RunBuilder)>::new()), Mutex::new(Runs::default()));
    let (held_bytes, numbers) = (AtomicU64::new(0), AtomicU32::new(0));
    let end = |run: RunBuilder| -> Result<(), AlignError> {
        let bytes = run.held_bytes();
        if held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= keeping {
            let run = run.hold();
            locked(&ended).held.push(run);
            return Ok(());
        }
        held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let task = Task::Map(LANE, Chunk::whole(numbers.fetch_add(1, Ordering::Relaxed)));
        let mut record = context.record(task)?;
        run.finish(Form::Packed, &mapper.lane.reference, |entry, block| record.block(entry, block))
            .map_err(MapError::from)?;
        let piece = context.append(record, &mut Content::default())?;
        locked(&ended).stored.push((task, piece));
        Ok(())
    };
    let map = |(scratch, pairs): &mut (map::Scratch, Pairs), batch: Batch| {
        batch.parse(files, pairs)?;
        let all: Vec<usize> = (0..pairs.first.len()).collect();
        let (before, mut run) = locked(&begun).pop().unwrap_or_default();
        mapper.map(scratch, pairs, &all, batch.first(), &mut |entry| run.push(&entry));
        let taken = before + all.len() as u64;
        match taken < lane.chunk_pairs && run.held_bytes() < run_bytes {
            true => locked(&begun).push((taken, run)),
            false => end(run)?,
        }
        Ok::<_, AlignError>(all.len() as u64)
    };
    let mut done = 0;
    let count = |pairs: u64| {
        done += pairs;
        progress("mapping", done, 0);
        Ok(())
    };
    stream.run(u64::MAX, Default::default, map, count)?;
    let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Where they were made there is room for them.
    let begun = begun.into_iter().map(|(_, run)| run.hold());
    let mut runs = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.held.extend(begun);
    runs.reads = if files.are_paired() { 2 * done } else { done };
    Ok(runs)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_share_containers_where_they_do_not_fill_half_of_one() {
        let check = |reads: u64, cells: u32, expect: u32| assert_eq!(cells_together(reads, cells), expect);
        check(0, 100, 64);
        check(1, 1, 64);
        check(27_000, 100, 64);
        check(100_000, 100, 40);
        check(499_999, 100, 8);
        check(500_001, 100, 1);
        check(u64::MAX / 2, 24_000, 1);
    }
}
