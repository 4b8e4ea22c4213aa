//! Sorted alignments of a lane: mapped in one pass over its files into runs in memory, and [`lots`](super::lots) of them on
//! disk that have no room there, then cell by cell as a job's region tasks do it, on all threads, written in order.
//!
//! Invariant: neither memory nor threads can be seen in the file: merging does not see how reads lie in runs.

use super::lots::{Limits, Lots};
use super::output::Output;
use super::{AlignError, LANE, Progress, learn};
use crate::access::{Access, Content};
use crate::fastq::{Files, Pairs};
use crate::htslib::SamText;
use crate::map::{self, MapError, Mapper};
use crate::ordered;
use crate::packed;
use crate::qc::SampleCounters;
use crate::region::{CONTAINER_RECORDS, CellWorker, Made, RegionError};
use crate::runs::{self, Form, HeldRun, Run, RunBuilder, StoredRun};
use crate::stream::{Batch, Stream};
use crate::template::LaneContext;
use jobs::genome::Cell;
use jobs::task::{Chunk, Shard, Task};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage::{PackError, PieceRef};

/// Most cells that a thread takes at a time: what it made of them waits in memory for those before.
const CELLS_MAX: u32 = 4;

/// Shares of the cells that each thread gets to take, where there are enough of them.
const SHARES: u32 = 16;

/// Cells whose alignments lie in containers together, at most.
const TOGETHER_MAX: u64 = 64;

/// Containers that these fill about.
const TOGETHER_CONTAINERS: u64 = 4;

/// Part of the memory for blocks of runs on disk that are kept.
const KEPT: u64 = 8;

/// Maps the files of the context's one lane, writes sorted, duplicate-marked alignments to `output`, with an index for BAM
/// and CRAM, and gives what was counted on the way. About `memory_bytes` of alignments are in memory at a time; where they
/// do not fit, some wait on disk. Runs on the calling rayon pool.
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
    let kept = kept_blocks(memory_bytes, runs.stored.len(), threads as usize);
    let stored = runs
        .stored
        .iter()
        .map(|(task, piece)| Ok(StoredRun::new(context.read(*task, piece)?, reference, kept)));
    let stored: Vec<StoredRun> = stored.collect::<Result<_, PackError>>()?;
    let runs: Vec<Run> = runs.held.iter().map(Run::Held).chain(stored.iter().map(Run::Stored)).collect();
    let make = |worker: &mut Option<_>, at: usize| {
        let worker = worker.get_or_insert_with(|| CellWorker::new(context, 0));
        let parts: Vec<Shard> = shards[at].parts().collect();
        let made = parts.chunks(together as usize).map(|parts| worker.make_together(&runs, parts));
        let made: Vec<Vec<Made>> = made.collect::<Result<_, RegionError>>()?;
        Ok::<Vec<Made>, AlignError>(made.into_iter().flatten().collect())
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

/// How many blocks of each run on disk are kept: a cell needs two at most times, those of many threads lie side by side; all
/// of them together a part of the memory, but one of each.
fn kept_blocks(memory_bytes: u64, runs: usize, threads: usize) -> usize {
    let room = memory_bytes / KEPT / packed::BLOCK_BYTES as u64 / runs.max(1) as u64;
    room.clamp(1, 2 + threads as u64 / 4) as usize
}

/// The alignments of a lane.
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
    let limits = Limits::new(memory_bytes, rayon::current_num_threads() as u64, lane.chunk_pairs);
    let store = |number: u32, runs: &[HeldRun]| {
        let task = Task::Map(LANE, Chunk::whole(number));
        let mut record = context.record(task)?;
        runs::store(runs, Form::Packed, &mapper.lane.reference, |entry, block| record.block(entry, block))
            .map_err(MapError::from)?;
        Ok::<_, AlignError>((task, context.append(record, &mut Content::default())?))
    };
    let (begun, lots) = (Mutex::new(Vec::<(u64, RunBuilder)>::new()), Lots::new(limits, store));
    let reads = AtomicU64::new(0);
    let map = |(scratch, pairs): &mut (map::Scratch, Pairs), batch: Batch| {
        batch.parse(files, pairs)?;
        let all: Vec<usize> = (0..pairs.first.len()).collect();
        let (before, mut run) = locked(&begun).pop().unwrap_or_default();
        mapper.map(scratch, pairs, &all, batch.first(), &mut |entry| run.push(&entry));
        let taken = before + all.len() as u64;
        reads.fetch_add((pairs.first.len() + pairs.second.len()) as u64, Ordering::Relaxed);
        match taken < lane.chunk_pairs && run.held_bytes() < limits.run_bytes {
            true => locked(&begun).push((taken, run)),
            false => lots.push(run.hold(), taken)?,
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
    let (mut held, stored) = lots.finish();
    // Where they were made there is room for them.
    held.extend(begun.into_iter().map(|(_, run)| run.hold()));
    Ok(Runs { reads: reads.into_inner(), held, stored })
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

    #[test]
    fn blocks_kept_are_a_part_of_the_memory_but_one_of_each_run() {
        let check = |memory: u64, runs: usize, threads: usize, expect: usize| {
            assert_eq!(kept_blocks(memory, runs, threads), expect, "{memory} {runs} {threads}");
        };
        check(1 << 32, 0, 2, 2);
        check(1 << 32, 240, 16, 2);
        check(1 << 32, 100, 16, 5);
        check(1 << 32, 10, 16, 6);
        check(1 << 32, 4000, 16, 1);
        check(1024, 3, 1, 1);
    }
}
