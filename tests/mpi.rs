//! The mpi engine under a real mpirun: the same bytes, what dies or stops, and who is refused.
//!
//! `WAKACHI_MPIRUN` names the mpirun of the MPI library that the program is built with, if it is not `mpirun`.

#[path = "program/wakachi.rs"]
mod wakachi;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use storage::{Fence, Journal};
use tempfile::TempDir;
use wakachi::{Cohort, Said, command, copy, digests, folder, register, said, text, wakachi};

/// Small tasks, so that there are some in flight and some done at any time.
const CUTS: &str = "--chunk-pairs 400 --shard-bases 131072";

/// After how many seconds of silence a rank is given up where a test stops one.
const SILENCE: &str = "[engine.mpi]\nsilence_s = 10\n";

/// As long as a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two people on a genome of three parts, and the bytes that one process makes of them.
fn small() -> &'static (Cohort, BTreeMap<String, String>) {
    static SMALL: OnceLock<(Cohort, BTreeMap<String, String>)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("mpi", "--samples 2 --genome-mb 2.2 --depth 1.5 --seed 71");
        let expect = digests(&cohort.job("-t 2").path().join("results"));
        (cohort, expect)
    })
}

/// One world at a time: they share two cores, and clocks decide who is silent.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mpirun, and its options that let anybody start any number of ranks; `None`, having said so, without one.
fn mpirun() -> Option<(String, Vec<&'static str>)> {
    let program = std::env::var("WAKACHI_MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
    let Ok(version) = Command::new(&program).arg("--version").output() else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let open_mpi = String::from_utf8_lossy(&version.stdout).contains("Open MPI");
    let options = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"];
    Some((program, if open_mpi { options.to_vec() } else { Vec::new() }))
}

/// `mpirun -n RANKS wakachi run COHORT --out OUT --engine mpi`, with the words of `options`.
fn world(ranks: u32, cohort: &Path, out: &Path, options: &str) -> Option<Command> {
    let (program, mpi_options) = mpirun()?;
    let bare = command(&["run", text(cohort), "--out", text(out), "--output", "json", "--engine", "mpi"]);
    let mut world = Command::new(program);
    for (name, value) in bare.get_envs() {
        match value {
            Some(value) => world.env(name, value),
            None => world.env_remove(name),
        };
    }
    // Ranks of one machine need no network, and Open MPI 5 asks a second time whether root may.
    world.env("OMPI_MCA_btl", "self,vader,tcp").env("PRTE_ALLOW_RUN_AS_ROOT", "1");
    world.env("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    world.args(mpi_options).args(["-n", &ranks.to_string()]);
    world.arg(bare.get_program()).args(bare.get_args()).args(options.split_whitespace());
    Some(world)
}

fn results(out: &Path) -> BTreeMap<String, String> {
    digests(&out.join("results"))
}

/// A copy of the cohort, to be changed.
fn copied() -> TempDir {
    let cohort = folder();
    copy(&small().0.dir, cohort.path());
    cohort
}

/// A world that runs while a test does something about it.
struct Running {
    child: Child,
    out: PathBuf,
    stderr: PathBuf,
}

impl Running {
    fn start(mut world: Command, out: &Path) -> Self {
        let stderr = out.with_extension("stderr");
        let file = fs::File::create(&stderr).unwrap();
        let child = world.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Running { child, out: out.to_owned(), stderr }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until something holds of this world.
    fn until<T>(&mut self, what: &str, found: impl Fn(&Running) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "ended before {what}: {}", self.stderr());
            assert!(begun.elapsed() < PATIENCE, "no {what}: {}", self.stderr());
            thread::yield_now();
        }
    }

    /// The process of a rank that has written something.
    fn busy(&mut self, rank: u32) -> Pid {
        let written = |running: &Running| {
            let packs = fs::read_dir(running.out.join(".wakachi/packs")).ok()?.flatten();
            let of_rank = format!("-{rank}.pack");
            let mut packs = packs.filter(|pack| pack.file_name().to_string_lossy().ends_with(&of_rank));
            packs.any(|pack| pack.metadata().is_ok_and(|pack| pack.len() > 4096)).then_some(())
        };
        self.until("a pack of the rank", written);
        self.process(rank)
    }

    fn process(&mut self, rank: u32) -> Pid {
        let names = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].map(|name| format!("{name}={rank}"));
        let out = text(&self.out).to_owned();
        let is_rank = |pid: &str| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let holds =
                |bytes: Vec<u8>, word: &str| bytes.split(|&byte| byte == 0).any(|one| one == word.as_bytes());
            holds(read("cmdline"), &out)
                && holds(read("cmdline"), env!("CARGO_BIN_EXE_wakachi"))
                && names.iter().any(|name| holds(read("environ"), name))
                && read("comm").starts_with(b"wakachi")
        };
        self.until("the rank's process", |_| {
            let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name());
            let found =
                processes.filter_map(|name| Some(name.to_str()?.to_owned())).find(|pid| is_rank(pid))?;
            Pid::from_raw(found.parse().ok()?)
        })
    }

    fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).expect("the rank runs");
}

/// Commits of a job, and attempts beyond those that were committed.
fn counted(out: &Path) -> (u64, u64) {
    let journal = Journal::open(Fence::acquire(&out.join(".wakachi")).unwrap()).unwrap();
    let commits = journal.commits().unwrap().len() as u64;
    let attempts: u64 = journal.attempts().unwrap().values().map(|&count| u64::from(count)).sum();
    (commits, attempts - commits)
}

#[test]
fn any_number_of_ranks_gives_the_bytes_of_one_process() {
    let (cohort, expect) = small();
    let _alone = alone();
    for (ranks, options) in [(4, format!("-t 1 {CUTS}")), (3, "-t 2".to_owned()), (1, "-t 2".to_owned())] {
        let out = folder();
        let Some(mut world) = world(ranks, &cohort.file(), out.path(), &options) else { return };
        let said = said(&mut world).ok();
        // One rank speaks: a document from each would be no JSON.
        assert!(said.json()["schema"].is_string(), "{}", said.stdout);
        assert!(results(out.path()) == *expect, "{ranks} ranks {options}: other bytes");
        assert_eq!(said.stderr.contains(&format!("mpi: {ranks} ranks")), ranks > 1, "{}", said.stderr);
    }
}

#[test]
fn a_killed_rank_costs_what_was_in_flight_and_a_second_world_is_refused_before() {
    let (cohort, expect) = small();
    let _alone = alone();
    let out = folder();
    let start = || world(3, &cohort.file(), out.path(), &format!("-t 1 {CUTS}"));
    let Some(first) = start() else { return };
    let mut first = Running::start(first, out.path());
    let rank = first.busy(2);
    // The first world is not over before the second was refused, however fast it is.
    signal(rank, Signal::STOP);
    let second = said(&mut start().unwrap());
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("in use by") && second.stderr.contains("hint: "), "{}", second.stderr);
    signal(rank, Signal::KILL);
    assert_ne!(first.wait(), Some(0));
    let (done, _) = counted(out.path());
    assert!(done > 0, "nothing was done before");
    let resumed = said(&mut start().unwrap()).ok().json();
    assert!(results(out.path()) == *expect, "other bytes after a rank was killed");
    let (commits, redone) = counted(out.path());
    let run = resumed["run"]["tasks"].as_u64().unwrap();
    assert_eq!(done + run, commits, "committed tasks were done again");
    // Two ranks with one core each, and what waits at them and at rank 0.
    assert!(redone <= 2 * (1 + 2) + 1, "{redone} attempts were lost");
}

#[test]
fn a_rank_that_stops_answering_loses_its_tasks_and_comes_back_to_nothing() {
    let (_, expect) = small();
    let (cohort, out) = (copied(), folder());
    let _alone = alone();
    fs::write(cohort.path().join("wakachi.toml"), SILENCE).unwrap();
    let file = cohort.path().join("cohort.toml");
    // Without its word the job does not end before it is given up: what one rank does, the other has to check.
    let Some(world) = world(3, &file, out.path(), &format!("-t 1 --audit 100% {CUTS}")) else { return };
    let mut running = Running::start(world, out.path());
    let rank = running.busy(2);
    signal(rank, Signal::STOP);
    running.until("a word of the silence", |running| running.stderr().contains("is not heard").then_some(()));
    signal(rank, Signal::CONT);
    let stderr = running.stderr.clone();
    assert_eq!(running.wait(), Some(0), "{}", fs::read_to_string(&stderr).unwrap());
    assert!(results(out.path()) == *expect, "other bytes after a rank was given up");
}

#[test]
fn a_signal_to_any_rank_stops_the_job_in_order() {
    let (cohort, expect) = small();
    let _alone = alone();
    let out = folder();
    let start = |cuts: &str| world(3, &cohort.file(), out.path(), &format!("-t 1 {cuts}"));
    let Some(first) = start(CUTS) else { return };
    let mut first = Running::start(first, out.path());
    let rank = first.busy(2);
    signal(rank, Signal::USR1);
    let stderr = first.stderr.clone();
    assert_eq!(first.wait(), Some(130), "{}", fs::read_to_string(&stderr).unwrap());
    // Chunks go on as they were begun, on every rank.
    let resumed = said(&mut start("--chunk-pairs 900 --shard-bases 262144").unwrap()).ok();
    assert!(!resumed.stderr.contains("cannot take part"), "{}", resumed.stderr);
    assert!(results(out.path()) == *expect, "other bytes after a stop");
}

#[test]
fn without_consent_every_rank_ends_with_the_code_of_the_refusal() {
    let (cohort, out) = (copied(), folder());
    let _alone = alone();
    let people = ["P-000001", "P-000002"].map(|person| (person, "inactive", "clinical_return", ""));
    fs::write(cohort.path().join("consent.csv"), register(&people)).unwrap();
    let file = cohort.path().join("cohort.toml");
    let sheet = fs::read_to_string(&file).unwrap().replace("consent.json", "consent.csv");
    fs::write(&file, sheet).unwrap();
    let Some(mut world) = world(2, &file, out.path(), "") else { return };
    said(&mut world).refused(4, &["S-000001", "CONSENT_INACTIVE"]);
}

#[test]
fn ranks_that_find_themselves_alone_are_refused() {
    if mpirun().is_none() {
        return;
    }
    let _alone = alone();
    let (cohort, out) = (folder(), folder());
    let file = cohort.path().join("cohort.toml");
    let run = |starter: (&str, &str), rank: &str| -> Said {
        let mut run = command(&["run", text(&file), "--out", text(out.path()), "--engine", "mpi"]);
        said(run.env(starter.0, "4").env(starter.1, rank))
    };
    let slurm = ("SLURM_NTASKS", "SLURM_PROCID");
    run(slurm, "0").refused(2, &["started 4 ranks", "finds itself alone", "built with"]);
    let silent = run(slurm, "3");
    assert_eq!((silent.code, silent.stderr.as_str()), (Some(2), ""));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn the_help_says_how_ranks_are_started() {
    let help = wakachi(&["run", "--help"]).ok().stdout;
    assert!(help.contains("mpirun -n ") && help.contains("--engine"), "{help}");
}
