//! What a run begins with: the command is read, the directory taken, everybody admitted, the journal opened.
//!
//! Invariant: nobody's reads are opened before the gate has admitted them, and nothing of a job is changed before the
//! directory is ours and its journal says that it is this job's.

use super::admission::{self, Excluded};
use super::archive::Archive;
use super::burst::Burst;
use super::engines::{BurstName, EngineName};
use super::mpi::Team;
use super::plan::{self, Cut};
use super::resume::PacksFound;
use super::trail::{self, Trail};
use super::{Args, Interrupted, inputs};
use crate::gate::{Gate, GateFiles};
use crate::job_dir::JobDir;
use crate::output::{command_line, note};
use crate::plain::keep_out_of_vaults;
use crate::{cohort, config, interrupt};
use jobs::cohort::Cohort;
use jobs::config::{Config, Limits};
use jobs::failure::Failure;
use scheduler::Plan;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{DiskError, Fence, FenceError, JobIdentity, Journal, JournalError, KeyFolder, Writer};
use workers::context::Context;

/// How often a directory that another process holds is asked for again.
const HELD_INTERVAL: Duration = Duration::from_millis(500);

/// What a command asks for, read and found sound.
pub struct Asked {
    /// Whose reads; those who are not admitted leave it.
    pub cohort: Cohort,
    /// All that is configured.
    pub config: Config,
    /// How lanes are cut.
    pub cut: Cut,
    /// What each process may use.
    pub limits: Limits,
    /// Where work may go beside this machine.
    pub burst: Option<Burst>,
    /// Who decides.
    pub gate: Gate,
}

impl Asked {
    /// Reads the command's files; of a team all ranks agree on the limits.
    pub fn read(args: &Args, team: Option<&mut Team>) -> Result<Self, Failure> {
        let cohort = cohort::load_sheet(&args.cohort)?;
        cohort.warnings.iter().for_each(|warning| note(&format!("{warning}")));
        let config = config::load(&args.limits.asked(Some(&args.cohort)))?;
        let limits = team.map_or(Ok(config.limits), |team| team.settle(&config))?;
        let away = args.engine == EngineName::Tes || args.conduct.burst == Some(BurstName::Tes);
        let burst = away.then(|| Burst::of(&config)).transpose()?;
        let gate = Gate::open(GateFiles::of_cohort(&cohort, args.site.as_deref())?)?;
        Ok(Asked { cut: Cut::of(&config), cohort, config, limits, burst, gate })
    }
}

/// A job that is this process's to run.
pub struct Opened {
    /// Where it lies.
    pub dir: JobDir,
    /// What is done.
    pub journal: Journal,
    /// Keys of its scratch.
    pub keys: KeyFolder,
    /// Its audit log.
    pub trail: Trail,
    /// Who was not admitted.
    pub excluded: Vec<Excluded>,
    /// Where its results are sealed.
    pub archive: Option<Archive>,
    /// Its tasks.
    pub plan: Plan,
    /// The packs that are there.
    pub packs: PacksFound,
    /// What tasks share.
    pub context: Context,
}

impl Opened {
    /// Opens or begins the job; with `many` processes, for this one of them.
    pub fn open(args: &Args, asked: &mut Asked, many: bool) -> Result<Self, Failure> {
        keep_out_of_vaults([args.out.as_path()])?;
        let dir = JobDir::create(&args.out)?;
        if let Some(seconds) = args.stop_after {
            interrupt::stop_after(Duration::from_secs(seconds));
        }
        let fence = take(&dir, args.wait)?;
        fence.part_from(&trail::log_path(&dir.scratch()))?;
        let era = fence.era();
        // A journal that is there says first whose job this is.
        let (begun, fence) = match dir.has_journal() {
            true => (Some(open_journal(fence, &identity(&asked.cohort), args.repair)?), None),
            false => (None, Some(fence)),
        };
        let keys = KeyFolder::new(&dir.keys());
        let Asked { cohort, cut, limits, gate, .. } = asked;
        let trail = Trail::open(&dir.scratch(), &keys, &cohort.id, gate, args.repair)?;
        let excluded = admission::admit(gate, cohort, &trail)?;
        cohort::check_files(&args.cohort, cohort)?;
        let archive = Archive::open(cohort, &args.passphrases)?;
        let reference = cohort.reference_path();
        inputs::check_reference_digest(cohort, &reference)?;
        let index = inputs::open_or_build(&reference, &dir.scratch(), limits.threads)?;
        if let Some(journal) = &begun {
            cut.go_on(journal)?;
        }
        let plan = plan::plan(cohort, index.contigs(), *limits, cut, &args.shard_lines);
        plan.admit(limits.memory_bytes)?;
        let journal = match (begun, fence) {
            (Some(journal), _) => journal,
            (None, Some(fence)) => open_journal(fence, &identity(cohort), args.repair)?,
            (None, None) => unreachable!("the fence went to the journal that was there"),
        };
        trail.check(&journal, args.repair)?;
        let packs = PacksFound::in_scratch(&dir.scratch());
        let ends = journal.committed_ends()?.into_iter().filter(|(pack, _)| packs.has(pack)).collect();
        let writer = match many {
            true => Writer::OfMany { fence: journal.fence(), number: 0 },
            false => Writer::Alone { era },
        };
        let samples = inputs::samples_of(cohort, cut);
        let settings = inputs::settings(cohort, args.simd);
        let context =
            Context::open(cohort.id.clone(), index, samples, settings, &dir.scratch(), (writer, ends))?;
        if let Some(archive) = &archive {
            archive.settle(&journal, context.names(), args.repair)?;
        }
        Ok(Opened { dir, journal, keys, trail, excluded, archive, plan, packs, context })
    }
}

/// The right to schedule in the directory; to `wait` is to have it once its holder has ended.
fn take(dir: &JobDir, wait: bool) -> Result<Fence, Failure> {
    let stop = interrupt::flag();
    let (mut said, mut watched) = (false, false);
    loop {
        let watching = |holder: &str| {
            if !std::mem::replace(&mut watched, true) {
                note(&format!("waiting to see whether {holder} still works on this job"));
            }
            !stop.load(Ordering::Relaxed)
        };
        match Fence::acquire_while(&dir.scratch(), watching) {
            Err(FenceError::Held { .. }) if stop.load(Ordering::Relaxed) => {
                return Err(Interrupted { command: command_line() }.into());
            }
            Err(FenceError::Held { holder, .. }) if wait => {
                if !std::mem::replace(&mut said, true) {
                    note(&format!("waiting for {holder}, who works on this job"));
                }
                std::thread::sleep(HELD_INTERVAL);
            }
            taken => return Ok(taken?),
        }
    }
}

/// A job is its directory; what it consists of may change from run to run.
fn identity(cohort: &Cohort) -> JobIdentity {
    JobIdentity {
        job: cohort.id.clone(),
        cohort_digest: cohort.id.clone(),
        parameters_digest: String::new(),
        program: "wakachi".to_owned(),
    }
}

/// The job's journal. A damaged one is given up where the user wants repair: the job then begins anew.
fn open_journal(fence: Fence, identity: &JobIdentity, repair: bool) -> Result<Journal, Failure> {
    let scratch = fence.dir().to_owned();
    match Journal::open_or_create(fence, identity) {
        Err(JournalError::Damaged { path, what }) if repair => {
            note(&format!("journal {} is damaged: {what}; doing all again", path.display()));
            std::fs::remove_file(&path).map_err(DiskError::on("remove", &path))?;
            Ok(Journal::open_or_create(Fence::acquire(&scratch)?, identity)?)
        }
        opened => Ok(opened?),
    }
}
