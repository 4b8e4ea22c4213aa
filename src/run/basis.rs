//! What each task's output depends on, as a digest: its basis.
//!
//! Invariant: two outputs of one task under one basis are interchangeable; whatever is not in the basis cannot be seen in
//! the output, but for the cut into chunks: that is the intake's, and stays what it was when the lane was taken in. So a
//! commit of another basis is done again, and one of the same is not, whatever else changed.
//!
//! A digest that the sheet states is proved by the last part of an intake. Whatever may be committed before that, of a
//! wrong file too, depends on the file by length and time of change as well; regions and what follows do not.

use super::admission::Excluded;
use super::books;
use super::plan;
use jobs::cohort::{Cohort, Fastq, Lane, Sample};
use jobs::task::{LaneId, Task};
use std::collections::HashMap;
use workers::context::Context;

/// A basis.
type Basis = [u8; 16];

/// The bases of all tasks of a job.
#[derive(Debug)]
pub struct Bases {
    program: String,
    lanes: HashMap<LaneId, [Basis; 3]>,
    samples: Vec<SampleBases>,
    joint: String,
    cohort: String,
}

#[derive(Debug)]
struct SampleBases {
    /// Whether joint tasks read its calls.
    joined: bool,
    /// Whose it is, if it is compared with others of theirs: that shows in what a joint task commits, though not in the
    /// joint calls.
    compared: Option<String>,
    region: Basis,
    finish: Basis,
}

impl Bases {
    /// What the tasks of this cohort depend on, as its files are now.
    pub fn new(cohort: &Cohort, context: &Context, excluded: &[Excluded]) -> Self {
        let program = format!("wakachi {}", env!("CARGO_PKG_VERSION"));
        let contigs = context.index.contigs().iter();
        let reference: String = contigs
            .map(|contig| format!("contig={}\t{}\t{}\n", contig.name, contig.length, books::hex(&contig.m5)))
            .collect();
        let (compared, joined) = (cohort.compared(), plan::joined(cohort));
        let mut lanes = HashMap::new();
        let mut samples = Vec::new();
        for (at, sample) in cohort.samples.iter().enumerate() {
            let mut text = format!("{reference}{}", cohort.parameters.canonical_of_samples());
            for (ordinal, lane) in sample.lanes.iter().enumerate() {
                let id = LaneId { sample: at as u32, lane: ordinal as u32 };
                let known = &context.sample(at as u32).lanes[ordinal];
                let reads = reads_text(cohort, lane);
                let group = group_text(sample, lane, ordinal, known.library);
                let seen: String = files(lane).map(|fastq| seen_text(cohort, fastq)).collect();
                lanes.insert(
                    id,
                    [
                        digest(&[&program, "intake", &reads, &seen]),
                        digest(&[&program, "model", &reference, &reads, &seen]),
                        digest(&[&program, "map", &reference, &reads, &group, &seen]),
                    ],
                );
                text += &reads;
                text += &group;
            }
            let joint = sample.role.joins();
            let region = digest(&[&program, "region", &text]);
            let role = format!("sample={}\tjoint={joint}\n", sample.sample);
            let finish = digest(&[&program, "finish", &hex(&region), &role]);
            let compared = compared.get(sample.participant.as_str()).map(ToString::to_string);
            samples.push(SampleBases { joined: joined[at], compared, region, finish });
        }
        let carried = serde_json::json!({
            "governance": cohort.governance,
            "excluded": excluded,
            "declared": cohort.samples.iter().map(declared).collect::<Vec<_>>(),
        });
        Bases {
            lanes,
            samples,
            joint: format!("{reference}{}", cohort.parameters.canonical()),
            cohort: format!("cohort={}\n{carried}\n", cohort.id),
            program,
        }
    }

    /// The basis of a task, where the job goes on without those whom `dropped` names.
    pub fn of(&self, task: Task, dropped: impl Fn(u32) -> bool) -> Basis {
        match task {
            Task::Intake(lane, _) => self.lane(lane, 0),
            Task::Model(lane) => self.lane(lane, 1),
            Task::Map(lane, _) => self.lane(lane, 2),
            Task::Region(sample, _) | Task::WriteSample(sample, _) => self.sample(sample).region,
            Task::FinishSample(sample) => self.sample(sample).finish,
            Task::SealSample(sample) => digest(&[&self.program, "seal", &hex(&self.sample(sample).finish)]),
            Task::Joint(_) | Task::WriteJoint(_) => {
                digest(&[&self.program, "joint", &self.joint, &self.joined_text(&dropped)])
            }
            Task::FinishCohort | Task::SealCohort => {
                let present = self.samples.iter().enumerate().filter(|&(sample, _)| !dropped(sample as u32));
                let samples: String = present.map(|(_, bases)| hex(&bases.finish) + "\n").collect();
                let stage = if task == Task::FinishCohort { "cohort" } else { "seal cohort" };
                let joined = self.joined_text(&dropped);
                digest(&[&self.program, stage, &self.joint, &joined, &self.cohort, &samples])
            }
        }
    }

    /// The samples whose calls joint tasks read, where the job goes on without those whom `dropped` names. If they were to
    /// read nobody's, they are everybody's, as in [`plan::joined`].
    pub fn joined(&self, dropped: impl Fn(u32) -> bool) -> Vec<u32> {
        let left: Vec<u32> = (0..self.samples.len() as u32).filter(|&sample| !dropped(sample)).collect();
        let read: Vec<u32> = left.iter().copied().filter(|&sample| self.sample(sample).joined).collect();
        if read.is_empty() { left } else { read }
    }

    fn lane(&self, lane: LaneId, which: usize) -> Basis {
        self.lanes.get(&lane).map_or([0; 16], |bases| bases[which])
    }

    fn sample(&self, sample: u32) -> &SampleBases {
        &self.samples[sample as usize]
    }

    /// Whose calls the joint tasks read, with what those depend on; and who are one participant's, whatever the code.
    fn joined_text(&self, dropped: &impl Fn(u32) -> bool) -> String {
        let read = self.joined(dropped).into_iter().map(|sample| self.sample(sample));
        let mut firsts = HashMap::new();
        let mut text = String::new();
        for (place, bases) in read.enumerate() {
            let one = bases.compared.as_ref();
            let first = one.map(|one| firsts.entry(one).or_insert(place).to_string()).unwrap_or_default();
            text += &format!("{}\t{first}\n", hex(&bases.finish));
        }
        text
    }
}

/// Reads count by the digest they were sent with; without one, by length and time of change.
fn reads_text(cohort: &Cohort, lane: &Lane) -> String {
    let line = |fastq: &Fastq| match &fastq.sha256 {
        Some(sha256) => format!("reads={}\n", books::hex(sha256)),
        None => seen_text(cohort, fastq),
    };
    files(lane).map(line).collect()
}

fn seen_text(cohort: &Cohort, fastq: &Fastq) -> String {
    format!("reads={}\n", books::stamp(&cohort.reads_path(fastq)))
}

fn files(lane: &Lane) -> impl Iterator<Item = &Fastq> {
    std::iter::once(&lane.fastq_1).chain(&lane.fastq_2)
}

fn group_text(sample: &Sample, lane: &Lane, ordinal: usize, library: u16) -> String {
    let mates = if lane.fastq_2.is_some() { "paired" } else { "single" };
    format!("lane={ordinal}\t{library}\t{mates}\t{}\n", sample.read_group(lane))
}

/// What the report holds against the data.
fn declared(sample: &Sample) -> serde_json::Value {
    serde_json::json!([
        sample.sample,
        sample.participant,
        sample.family,
        sample.relation,
        sample.sex,
        sample.role,
    ])
}

fn digest(parts: &[&str]) -> Basis {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let digest = hasher.finalize();
    digest.as_bytes()[..16].try_into().expect("16 bytes of 32")
}

fn hex(basis: &Basis) -> String {
    books::hex(basis)
}
