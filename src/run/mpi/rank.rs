//! The other ranks: each opens the job that rank 0 has opened, sees that it is the same one, and runs its tasks.
//!
//! Invariant: a rank holds neither fence nor journal nor the scheduler's key. Its packs are its own, its audit events are
//! written by rank 0 before what they announce is done, and it says nothing to the user.

use super::super::plan::Cut;
use super::super::runner::Runner;
use super::super::trail::Trail;
use super::super::{Args, inputs, sight};
use crate::gate::{Gate, GateFiles};
use crate::job_dir::JobDir;
use crate::{cohort, config, interrupt};
use cluster::mpi::MpiError;
use cluster::mpi::rank::{Called, Offer, Rank, Workplace};
use cluster::mpi::ticket::Tickets;
use cluster::mpi::wire::Hello;
use cluster::mpi::world::World;
use jobs::failure::{Class, Classified, Failure};
use std::collections::BTreeMap;
use std::process::exit;
use std::sync::Arc;
use std::sync::mpsc::channel;
use storage::lease::LeaseVerifier;
use storage::{Journal, KeyFolder, Writer};
use workers::context::{Context, Sample};

/// What rank 0 tells the others of the job; the rest they read where rank 0 read it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Calling {
    /// Names the packs of this start.
    fence: u64,
    /// Verifies leases.
    lease_key: [u8; 32],
    /// Who was admitted.
    samples: Vec<String>,
    /// Read pairs of a chunk, by sample and lane: a job goes on with those that it began with, whatever is asked now.
    chunk_pairs: Vec<Vec<u64>>,
    /// Digest of everything that both must see alike.
    sight: String,
}

/// A rank sees something else than rank 0.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
    /// Another job.
    #[error("this node sees another job directory, cohort, reference, policy or configuration than rank 0")]
    OtherSight,
    /// What rank 0 said cannot be read.
    #[error("what rank 0 says of the job cannot be read")]
    Calling(#[source] serde_json::Error),
}

impl Classified for RankError {
    fn class(&self) -> Class {
        match self {
            RankError::OtherSight => Class::Input,
            RankError::Calling(_) => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RankError::OtherSight => Some(
                "see that every node mounts the same files and gets the same WAKACHI_ variables".to_owned(),
            ),
            RankError::Calling(_) => None,
        }
    }
}

impl Calling {
    /// Of the job that `runner` runs.
    pub fn of(runner: &Runner<'_>, journal: &Journal) -> Result<Self, Failure> {
        let cuts = |sample: &Sample| sample.lanes.iter().map(|lane| lane.chunk_pairs).collect();
        Ok(Calling {
            fence: journal.fence(),
            lease_key: runner.leases.key(),
            samples: runner.context.names().to_vec(),
            chunk_pairs: runner.context.samples.iter().map(cuts).collect(),
            sight: sight::of_ranks(runner)?,
        })
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data always prints")
    }
}

/// A rank's life; the exit code, which is rank 0's.
pub fn run(args: &Args, world: World, hello: &Hello) -> u8 {
    // A signal is for rank 0 to hear of from now on.
    interrupt::quiet_flag();
    let (port, _) = world.split();
    let worked = Rank::introduce(port, hello).map(|rank| match rank.called() {
        Called::End(code) => code,
        Called::Job(offer) => match work(args, &rank, offer) {
            Ok(code) => code,
            Err(failure) => rank.unable(failure),
        },
    });
    worked.unwrap_or_else(|error: MpiError| error.class().exit_code())
}

/// Opens the job and works; returns when the world has ended before a task could, or why the job cannot be opened here.
fn work(args: &Args, rank: &Rank, offer: Offer) -> Result<u8, Failure> {
    let calling: Calling = serde_json::from_slice(&offer.job).map_err(RankError::Calling)?;
    let mut cohort = cohort::load_sheet(&args.cohort)?;
    let config = config::load(&args.limits.asked(Some(&args.cohort)))?;
    let gate = Gate::open(GateFiles::of_cohort(&cohort, args.site.as_deref())?)?;
    let dir = JobDir::existing(&args.out)?;
    let keys = KeyFolder::new(&dir.keys());
    cohort.samples.retain(|sample| calling.samples.contains(&sample.sample));
    let cut = Cut::of(&config);
    let mut samples: Vec<Sample> = inputs::samples_of(&cohort, &cut);
    // Where there are more or fewer of them, sight differs.
    for (sample, cuts) in samples.iter_mut().zip(&calling.chunk_pairs) {
        sample.lanes.iter_mut().zip(cuts).for_each(|(lane, &pairs)| lane.chunk_pairs = pairs);
    }
    let context = Context::open(
        cohort.id.clone(),
        inputs::open(&cohort.reference_path(), &dir.scratch())?,
        samples,
        inputs::settings(&cohort, args.simd),
        &dir.scratch(),
        (Writer::OfMany { fence: calling.fence, number: offer.worker.local() }, BTreeMap::new()),
    )?;
    let reports = channel();
    let tickets = Arc::new(Tickets::new(offer.worker, reports.0.clone()));
    let log = Arc::clone(&tickets);
    let trail = Trail::remote(move |events| Ok(log.log(events)?), &keys, &cohort.id, &gate)?;
    let leases = LeaseVerifier::new(calling.lease_key);
    let runner = Runner {
        context: &context,
        dir: &dir,
        cohort: &cohort,
        gate: &gate,
        trail: &trail,
        keys: &keys,
        leases: &leases,
        home: None,
    };
    if sight::of_ranks(&runner)? != calling.sight {
        return Err(RankError::OtherSight.into());
    }
    let stop = interrupt::quiet_flag();
    let place = Workplace { runner: &runner, slots: offer.slots, reports, tickets: &tickets, stop };
    // Tasks that still run end with the process.
    Ok(rank.work(place, |code| exit(code.into())))
}
