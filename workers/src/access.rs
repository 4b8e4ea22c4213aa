//! The right to work on samples' data: a task's view of the [`Context`], with the keys that a permit unlocked.
//!
//! Invariant: inside a job no sample's reads, and no record of its scratch, are opened but through an [`Access`] whose
//! permit covers that sample at that moment. The plain filters have their caller's own files, and keys that die with the
//! process.

use crate::context::Context;
use crate::finish::Before;
use crate::intake::LaneInput;
use crate::task::Inputs;
use jobs::policy::{Action, NotPermitted, Permit};
use jobs::task::{LaneId, Task};
use jobs::time::Timestamp;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;
use storage::{
    BlockEntry, Commit, KeyError, KeyService, Pack, PackError, PieceRef, RecordBuilder, RecordReader,
    SampleKey,
};

/// Name of the key of what belongs to the cohort as a whole; no sample's name begins with a dot.
pub const COHORT_KEY: &str = ".cohort";

/// A context, and for whom its data is open.
pub struct Access<'a> {
    context: &'a Context,
    /// By sample; the cohort's own under `None`. Those that die with the process are made when they are asked for: random
    /// numbers cost a tenth of a second before the first.
    keys: Vec<(Option<u32>, OnceLock<SampleKey>)>,
    /// `None`: the data is the caller's own; `None` within: it was revoked.
    permit: Option<RwLock<Option<Permit>>>,
}

impl<'a> Access<'a> {
    /// For plain filters: the data is the caller's own.
    pub fn of_caller(context: &'a Context) -> Self {
        let samples = (0..context.samples.len() as u32).map(Some);
        let keys = samples.chain([None]).map(|sample| (sample, OnceLock::new())).collect();
        Access { context, keys, permit: None }
    }

    /// For a task on data of `samples`: asks `keys` for theirs, and for the cohort's own if the task is the cohort's.
    pub fn under(
        context: &'a Context,
        permit: Permit,
        keys: &dyn KeyService,
        task: Task,
        samples: &[u32],
    ) -> Result<Self, KeyError> {
        let now = now();
        let names: Vec<&str> = samples.iter().map(|&sample| context.sample(sample).name.as_str()).collect();
        let mut opened = Vec::new();
        for (&sample, name) in samples.iter().zip(&names) {
            opened.push((Some(sample), keys.key(name, &[name], &permit, now)?.into()));
        }
        if task.sample().is_none() {
            opened.push((None, keys.key(COHORT_KEY, &names, &permit, now)?.into()));
        }
        Ok(Access { context, keys: opened, permit: Some(RwLock::new(Some(permit))) })
    }

    /// Goes on under a newer permit.
    pub fn renew(&self, permit: Permit) {
        self.hold(Some(permit));
    }

    /// Ends all reading.
    pub fn revoke(&self) {
        self.hold(None);
    }

    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        matches!(self.holds(), Err(PackError::Permit(NotPermitted::Revoked)))
    }

    fn hold(&self, permit: Option<Permit>) {
        if let Some(held) = &self.permit {
            *held.write().unwrap_or_else(PoisonError::into_inner) = permit;
        }
    }

    /// Whether the permit still covers everybody whose data is open here: for who reads for long without asking for
    /// anything new.
    pub fn holds(&self) -> Result<(), PackError> {
        self.check(None)
    }

    /// The files of a lane, if they may be read now.
    pub fn reads(&self, lane: LaneId) -> Result<&LaneInput, PackError> {
        self.check(Some(lane.sample))?;
        Ok(&self.context.lane(lane).input)
    }

    /// Begins a record of `task`. What can be cut is sealed cell by cell, to the task of that one cell.
    pub fn record(&self, task: Task) -> Result<Record, PackError> {
        let builder = RecordBuilder::new(self.key(task)?, &self.context.seal_context(task));
        Ok(Record { task, builder, content: blake3::Hasher::new() })
    }

    /// Writes a record, which is part of the output that `content` is of.
    pub fn append(&self, record: Record, content: &mut Content) -> Result<PieceRef, PackError> {
        let (piece, pack) = self.context.append_record(record.task, record.builder)?;
        content.digest.update(record.content.finalize().as_bytes());
        if !content.packs.iter().any(|known| Arc::ptr_eq(known, &pack)) {
            content.packs.push(pack);
        }
        Ok(piece)
    }

    /// Ends an output; when this returns, all that was appended for it is stored. Gives the digest of that and of the
    /// summary.
    pub fn settle(&self, mut content: Content, summary: &[u8]) -> Result<[u8; 32], PackError> {
        self.context.settle(&content.packs)?;
        Ok(*content.digest.update(summary).finalize().as_bytes())
    }

    /// Opens a committed record of `task`.
    pub fn read(&self, task: Task, piece: &PieceRef) -> Result<RecordReader, PackError> {
        let key = self.key(task)?;
        self.context.open_record(task, piece, key)
    }

    fn key(&self, task: Task) -> Result<&SampleKey, PackError> {
        let sample = task.sample();
        self.check(sample)?;
        let found = self.keys.iter().find(|(whose, _)| *whose == sample);
        let closed = || PackError::Closed { context: task.key(self.context.names()) };
        found.map(|(_, key)| key.get_or_init(SampleKey::fleeting)).ok_or_else(closed)
    }

    /// Whether the permit covers the sample now; the cohort's own data is of everybody whose key is held.
    fn check(&self, sample: Option<u32>) -> Result<(), PackError> {
        let Some(permit) = &self.permit else { return Ok(()) };
        let permit = permit.read().unwrap_or_else(PoisonError::into_inner);
        let (permit, now) = (permit.as_ref().ok_or(NotPermitted::Revoked)?, now());
        let of = |sample| permit.check(Action::Read, &self.context.sample(sample).name, now);
        match sample {
            Some(sample) => of(sample)?,
            None => self.keys.iter().filter_map(|(whose, _)| *whose).try_for_each(of)?,
        }
        Ok(())
    }
}

/// A record in the making.
pub struct Record {
    task: Task,
    builder: RecordBuilder,
    content: blake3::Hasher,
}

impl Record {
    /// Adds a block.
    pub fn block(&mut self, entry: BlockEntry, plaintext: &[u8]) -> Result<(), PackError> {
        let BlockEntry { kind, first, last, count } = entry;
        let numbers = [u64::from(kind), first, last, u64::from(count), plaintext.len() as u64];
        for number in numbers {
            self.content.update(&number.to_le_bytes());
        }
        self.content.update(plaintext);
        self.builder.block(entry, plaintext)
    }

    /// Adds a block that does not count in the output's content: what depends on where it was made.
    pub fn aside(&mut self, entry: BlockEntry, plaintext: &[u8]) -> Result<(), PackError> {
        self.builder.block(entry, plaintext)
    }
}

/// What was appended for an output so far: digest of its plaintext, equal for equal work, wherever it was done and under
/// whatever key it lies; and the packs where it lies.
#[derive(Debug, Default)]
pub struct Content {
    digest: blake3::Hasher,
    packs: Vec<Arc<Pack>>,
}

impl Deref for Access<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        self.context
    }
}

/// The samples whose data a task reads, given what it reads: a cohort's tasks may go on without some. Joint calls do not say
/// whose they are; who writes them is told.
pub fn samples_of(task: Task, inputs: &Inputs) -> Vec<u32> {
    let told = |(_, commit): &(Task, Arc<Commit>)| serde_json::from_slice::<Before>(&commit.summary);
    match (task, task.sample()) {
        (_, Some(sample)) => vec![sample],
        (Task::WriteJoint(_), None) => {
            let before = inputs.iter().find(|(input, _)| *input == task).map(told);
            before.and_then(Result::ok).unwrap_or_default().samples
        }
        (_, None) => {
            let samples: BTreeSet<u32> = inputs.iter().filter_map(|(input, _)| input.sample()).collect();
            samples.into_iter().collect()
        }
    }
}

/// The time now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
