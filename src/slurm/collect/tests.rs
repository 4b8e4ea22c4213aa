//! Waves without a cluster: Slurm is a few shell scripts, the job a journal, and elements leave what receipts they like.

use super::super::wave::{Shape, WaveEngine};
use super::*;
use crate::job_dir::JobDir;
use crate::slurm::Slurm;
use crate::slurm::tests::fake;
use cluster::bundle::{BUNDLE_SCHEMA, RECEIPT_SCHEMA};
use cluster::{Engine, Leasing, Order, Report};
use jobs::lease::Lease;
use jobs::policy::{Action, DataClass};
use jobs::task::{Chunk, LaneId};
use jobs::time::Timestamp;
use scheduler::{AttemptId, Departure, Facts, WorkerSpec};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use storage::lease::{LeaseKey, SignedLease};
use storage::{Fence, JobIdentity, Journal, PieceRef};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Says yes to all outputs but those of these bytes, and logs what does not begin with the code of a class, with which it
/// fails; 0 and 1 are those of elements.
struct Desk {
    refused: [u8; 32],
    logged: Mutex<Vec<Vec<u8>>>,
}

impl Office for Desk {
    fn lease(&self, _asked: &[Leasing<'_>]) -> Result<Vec<Result<SignedLease, Failure>>, Failure> {
        unreachable!("waves lease where they run")
    }

    fn committing(&self, _outputs: &[Committing<'_>]) -> Result<(), Failure> {
        Ok(())
    }

    fn facts_of(&self, _task: Task, _commit: &Commit) -> Facts {
        Facts::default()
    }

    fn basis(&self, _task: Task) -> [u8; 16] {
        [3; 16]
    }

    fn verify(&self, _task: Task, output: &Output) -> Result<(), Failure> {
        match output.content == self.refused {
            true => Err(Barren { array: "no".to_owned() }.into()),
            false => Ok(()),
        }
    }

    fn dropped(
        &self,
        _sample: u32,
        _reason: Class,
        _failure: Option<(Task, &TaskFailure)>,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn logged(&self, _worker: WorkerId, events: &[u8]) -> Result<(), Failure> {
        if let Some(class) = Class::of_exit_code(events[0].into()).filter(|&class| class != Class::Failed) {
            let chain = vec!["not logged".to_owned()];
            return Err(TaskFailure { class, chain, hint: None, exhausted: None, damaged: None }.into());
        }
        self.logged.lock().unwrap().push(events.to_vec());
        Ok(())
    }
}

/// A job, its folder, and a Slurm that says of array 7 what `scontrol` holds.
struct House {
    dir: TempDir,
    journal: Journal,
    desk: Desk,
    names: Vec<String>,
}

fn sight(text: &str) -> Data {
    Data::Shared {
        job_dir: "/job".into(),
        cohort: "/cohort".into(),
        fence: 1,
        samples: vec!["S".to_owned()],
        chunk_pairs: None,
        minutes: 1,
        sight: text.to_owned(),
    }
}

/// Two elements that ended well, on two nodes.
const OVER: &str = "JobId=7 ArrayJobId=7 ArrayTaskId=0 JobState=COMPLETED ExitCode=0:0 RunTime=00:00:04 NumCPUs=2 NodeList=n1\n\
    JobId=8 ArrayJobId=7 ArrayTaskId=1 JobState=COMPLETED ExitCode=0:0 RunTime=00:00:04 NumCPUs=2 NodeList=n2";

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let job = JobDir::create(&dir.path().join("job")).unwrap();
        let journal =
            Journal::open_or_create(Fence::acquire(&job.scratch()).unwrap(), &JobIdentity::default())
                .unwrap();
        let folder = Folder::of(&job);
        fs::create_dir_all(folder.path()).unwrap();
        fs::write(folder.script(), "job").unwrap();
        fs::write(folder.wave_script(), "wave").unwrap();
        let desk = Desk { refused: [255; 32], logged: Mutex::default() };
        let house = House { dir, journal, desk, names: vec!["S".to_owned()] };
        house.says(OVER);
        house
    }

    fn folder(&self) -> Folder {
        Folder::of(&JobDir::create(&self.dir.path().join("job")).unwrap())
    }

    /// What Slurm says of every job from now on.
    fn says(&self, text: &str) {
        fs::write(self.dir.path().join("shown"), text).unwrap();
    }

    fn slurm(&self) -> Slurm {
        let here = self.dir.path();
        let sbatch = format!("echo \"$@\" >>{0}/asked; test ! -e {0}/refuses && echo 7", here.display());
        let bin = here.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let scontrol = format!("cat {}/shown", here.display());
        fake(&bin, &[("scontrol", &scontrol), ("sacct", "true"), ("sbatch", &sbatch)])
    }

    /// The words of every sbatch so far.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn waves(&self) -> Waves<'_> {
        Waves {
            folder: self.folder(),
            slurm: self.slurm(),
            shape: Shape { elements_max: 2, parallel: None, bundle_minutes: 1 },
            journal: &self.journal,
            names: &self.names,
            job: "j",
            site: "here",
            price_core_hour: 1.0,
            cores: 2,
            stages: super::super::wave::stages(false),
            audit_per_mille: 0,
            data: sight("now"),
            sent: Arc::default(),
        }
    }

    /// As the coordinator before left it: one element for each list of requests, of a job of that sight.
    fn sent(&self, number: u32, seen: &str, elements: &[Vec<Request>]) {
        fs::create_dir_all(self.folder().wave(number)).unwrap();
        for (element, requests) in (0..).zip(elements) {
            bundle(number, element, seen, requests.clone())
                .write(&self.folder().bundle(number, element))
                .unwrap();
        }
        let runs = books::all(&self.journal).unwrap().len();
        let state = State {
            number,
            array: Some(BatchId { id: 7, cluster: None }),
            elements: elements.len() as u32,
            runs,
            sent_ms: 1000,
            ..State::read(&self.journal).unwrap()
        };
        state.write(&self.journal).unwrap();
    }

    /// An element's receipt.
    fn receipt(&self, number: u32, element: u32, ended: Vec<Ended>) {
        let path = self.folder().bundle(number, element);
        let receipt = Receipt {
            schema: RECEIPT_SCHEMA.to_owned(),
            bundle: format!("{number}-{element}"),
            worker: WorkerId::new(u8::MAX, element),
            host: "n".to_owned(),
            cores: 2,
            ended,
            logged: vec![vec![element as u8]],
            spent_core_ms: BTreeMap::from([(Spending::Start, 10)]),
        };
        assert!(receipt.write(&Receipt::path_of(&path)).unwrap());
    }

    fn collect(&self) -> Collected {
        collect(&self.waves(), &self.desk).unwrap()
    }

    fn paid(&self) -> Account {
        match self.collect() {
            Collected::All(account) => account,
            Collected::StillOut => panic!("it is still out"),
        }
    }

    fn committed(&self) -> Vec<(String, u32)> {
        let commits = self.journal.commits().unwrap().into_iter();
        commits.map(|(key, commit)| (key, u32::from(commit.content[0]))).collect()
    }
}

fn map(chunk: u32) -> Task {
    Task::Map(LaneId { sample: 0, lane: 0 }, Chunk::whole(chunk))
}

fn request(chunk: u32, purpose: Purpose) -> Request {
    let lease = Lease {
        job: "j".to_owned(),
        task: "t".to_owned(),
        attempt: 1,
        action: Action::Read,
        class: DataClass::Fastq,
        samples: Vec::new(),
        purpose: jobs::policy::Purpose::Qa,
        site: "here".to_owned(),
        epoch: 1,
        policy_sha256: String::new(),
        issued: Timestamp::from_micros(0),
        expires: Timestamp::from_micros(1),
    };
    let bit = if purpose == Purpose::Audit { 1 << 63 } else { 0 };
    Request {
        attempt: AttemptId(u64::from(chunk) | bit),
        number: 1,
        task: map(chunk),
        purpose,
        lease: LeaseKey::from_seed(&Zeroizing::new([7; 32])).sign(&lease),
        inputs: Arc::default(),
    }
}

fn bundle(number: u32, element: u32, seen: &str, requests: Vec<Request>) -> Bundle {
    Bundle {
        schema: BUNDLE_SCHEMA.to_owned(),
        id: format!("{number}-{element}"),
        job: "j".to_owned(),
        site: "here".to_owned(),
        worker: WorkerId::new(u8::MAX, element),
        expires: Timestamp::from_micros(i64::MAX),
        requests,
        data: sight(seen),
    }
}

/// An attempt that took a second and made this.
fn ended(request: &Request, content: u8) -> Ended {
    let piece = PieceRef { pack: "p".to_owned(), offset: 0, length: 1, blake3: [0; 32] };
    let output = Output { pieces: vec![piece], content: [content; 32], ..Output::default() };
    let usage = Usage { cpu_ms: 900, started_ms: 2000, finished_ms: 3000, ..Usage::default() };
    Ended { attempt: request.attempt, task: request.task, result: Ok(output), usage }
}

const WORK: Purpose = Purpose::Work;

#[test]
fn a_wave_is_committed_billed_and_written_down_once() {
    let house = House::new();
    let requests = [request(0, WORK), request(1, WORK), request(2, WORK)];
    house.sent(1, "now", &[requests[..2].to_vec(), requests[2..].to_vec()]);
    house.receipt(1, 0, vec![ended(&requests[0], 1), ended(&requests[1], 2)]);
    house.receipt(1, 1, vec![ended(&requests[2], 3)]);
    let account = house.paid();
    assert!(account.is_whole());
    assert_eq!(house.committed().iter().map(|(_, content)| *content).collect::<Vec<_>>(), [1, 2, 3]);
    // Two cores for one second each, though one attempt left a core idle; and what starting took.
    assert_eq!((account.work_core_ms, account.by_cause(cluster::bill::Idle::StartUp)), (3000, 20));
    let runs = books::all(&house.journal).unwrap();
    assert_eq!((runs.len(), runs[0].tasks, runs[0].cpu_ms, runs[0].started_ms), (1, 3, 2700, 1000));
    assert_eq!(runs[0].command, "wave 1: 2 bundles as array 7");
    assert_eq!(house.desk.logged.lock().unwrap().len(), 2);
    assert!(!house.folder().wave(1).exists());
    assert_eq!(house.collect(), Collected::All(Account::default()));
}

#[test]
fn a_crash_while_a_wave_is_collected_is_made_good_by_collecting_it_again() {
    let house = House::new();
    let requests = [request(0, WORK), request(1, WORK)];
    let leave = || {
        house.sent(1, "now", &[requests.to_vec()]);
        house.receipt(1, 0, vec![ended(&requests[0], 1), ended(&requests[1], 255)]);
    };
    leave();
    let state = State::read(&house.journal).unwrap();
    // As if it had been killed after its commits, and before it said that nothing is out.
    house.paid();
    let first = (house.committed(), State::read(&house.journal).unwrap());
    leave();
    state.write(&house.journal).unwrap();
    let runs = books::all(&house.journal).unwrap().len();
    State { runs, ..State::read(&house.journal).unwrap() }.write(&house.journal).unwrap();
    house.paid();
    let again = State::read(&house.journal).unwrap();
    assert_eq!((house.committed(), again.known.len()), (first.0, first.1.known.len()));
    assert_eq!(again.known.values().map(Vec::len).sum::<usize>(), 1, "one failure is told once");
    // Killed after that, and before the bundles were removed: the folder is in nobody's way.
    fs::create_dir_all(house.folder().wave(1)).unwrap();
    assert_eq!(house.collect(), Collected::All(Account::default()));
}

#[test]
fn a_wave_that_is_still_out_is_left_to_one_coordinator_behind_it() {
    let house = House::new();
    house.sent(1, "now", &[vec![request(0, WORK)]]);
    house.says("JobId=7 ArrayTaskId=0 JobState=RUNNING ExitCode=0:0 NodeList=n1");
    assert_eq!(house.collect(), Collected::StillOut);
    let asked = house.asked();
    assert!(matches!(&asked[..], [one] if one.contains("--dependency=afterany:7")), "{asked:?}");
    // That one is alive, and of a coordinator that nobody knows all are later.
    assert_eq!(house.collect(), Collected::StillOut);
    assert_eq!(house.asked().len(), 1);
    house.says(OVER);
    house.paid();
    assert_eq!(State::read(&house.journal).unwrap().array, None);
}

#[test]
fn what_was_sent_for_another_job_is_paid_for_and_logged_and_not_taken() {
    for (seen, run_since) in [("before", false), ("now", true)] {
        let house = House::new();
        let requests = [request(0, WORK)];
        house.sent(1, seen, &[requests.to_vec()]);
        house.receipt(1, 0, vec![ended(&requests[0], 1)]);
        if run_since {
            RunRecord::begin(&house.journal, "wakachi run").unwrap();
        }
        let mut state = State::read(&house.journal).unwrap();
        state.alone.insert("map/S/0/0".to_owned());
        state.write(&house.journal).unwrap();
        let account = house.paid();
        assert_eq!((house.committed(), account.work_core_ms), (Vec::new(), 0));
        assert_eq!(account.by_cause(cluster::bill::Idle::Lost), 1000, "{seen}");
        assert_eq!(house.desk.logged.lock().unwrap().len(), 1);
        assert!(State::read(&house.journal).unwrap().alone.is_empty());
    }
}

#[test]
fn a_wave_is_collected_though_a_sample_it_names_is_gone() {
    for receipt in [true, false] {
        let house = House { names: Vec::new(), ..House::new() };
        let requests = [request(0, WORK), request(1, WORK)];
        house.sent(1, "before", &[requests.to_vec()]);
        house.says(&OVER.replacen("COMPLETED", "FAILED", 1));
        if receipt {
            let failed = Err(Failure::from(Barren { array: "7".to_owned() }).into());
            house.receipt(1, 0, vec![Ended { result: failed, ..ended(&requests[0], 1) }]);
        }
        house.paid();
        let state = State::read(&house.journal).unwrap();
        assert_eq!((state.array, state.known.len(), house.committed()), (None, 0, Vec::new()));
    }
}

/// What is committed, and what is lost, of two elements that made a task each, where the first's files were changed so.
fn check_unreadable(change: impl Fn(&Path), expect: Result<(usize, u64), Class>) {
    let house = House::new();
    let requests = [request(0, WORK), request(1, WORK)];
    house.sent(1, "now", &requests.clone().map(|one| vec![one]));
    for (element, request) in (0..).zip(&requests) {
        house.receipt(1, element, vec![ended(request, 1)]);
    }
    change(&house.folder().bundle(1, 0));
    let collected = collect(&house.waves(), &house.desk);
    let found = collected.map(|collected| match collected {
        Collected::All(account) => (house.committed().len(), account.by_cause(cluster::bill::Idle::Lost)),
        Collected::StillOut => panic!("it is still out"),
    });
    assert_eq!(found.map_err(|failure| failure.class()), expect);
    // What cannot be understood now can never be; what cannot be written now can be later.
    assert_eq!(State::read(&house.journal).unwrap().array.is_some(), expect.is_err());
}

#[test]
fn an_element_whose_words_cannot_be_understood_is_as_one_without() {
    let logs = |code: u8| {
        move |bundle: &Path| {
            let path = Receipt::path_of(bundle);
            let receipt = Receipt::read(&path, "1-0").unwrap().unwrap();
            fs::remove_file(&path).unwrap();
            assert!(Receipt { logged: vec![vec![code]], ..receipt }.write(&path).unwrap());
        }
    };
    check_unreadable(|_| {}, Ok((2, 0)));
    check_unreadable(|bundle| fs::write(bundle, "{").unwrap(), Ok((1, 8000)));
    check_unreadable(|bundle| fs::write(Receipt::path_of(bundle), "{").unwrap(), Ok((1, 8000)));
    check_unreadable(logs(Class::Remote.exit_code()), Ok((1, 8000)));
    check_unreadable(logs(Class::Integrity.exit_code()), Err(Class::Integrity));
}

#[test]
fn an_element_without_a_word_is_paid_for_by_slurms_clock() {
    let house = House::new();
    house.sent(1, "now", &[vec![request(0, WORK)], vec![request(1, WORK)]]);
    house.says(&OVER.replacen("COMPLETED", "NODE_FAIL", 1));
    let account = house.paid();
    assert_eq!(account.by_cause(cluster::bill::Idle::Lost), 2 * 4 * 2000);
    assert!(State::read(&house.journal).unwrap().known.is_empty(), "what was lost is nobody's fault");
    assert_eq!(State::read(&house.journal).unwrap().barren, 1);
}

#[test]
fn an_output_that_does_not_hold_is_a_failure_of_its_task() {
    let house = House::new();
    let requests = [request(0, WORK)];
    house.sent(1, "now", &[requests.to_vec()]);
    house.receipt(1, 0, vec![ended(&requests[0], 255)]);
    house.paid();
    let state = State::read(&house.journal).unwrap();
    let known: Vec<Class> = state.known.values().flatten().map(|failure| failure.class).collect();
    assert_eq!((house.committed(), known), (Vec::new(), vec![Class::Remote]));
}

#[test]
fn an_audited_task_counts_once_two_elements_made_the_same() {
    let house = House::new();
    let (work, check, other) = (request(0, WORK), request(0, Purpose::Audit), request(1, WORK));
    let send = |number, contents: [u8; 2]| {
        house.sent(number, "now", &[vec![work.clone()], vec![check.clone(), other.clone()]]);
        house.receipt(number, 0, vec![ended(&work, contents[0])]);
        house.receipt(number, 1, vec![ended(&check, contents[1]), ended(&other, 9)]);
    };
    // They disagree, and nobody can say who is wrong.
    send(1, [1, 2]);
    let account = house.paid();
    assert_eq!(house.committed().iter().map(|(_, content)| *content).collect::<Vec<_>>(), [9]);
    assert_eq!(account.work_core_ms, 1000);
    let state = State::read(&house.journal).unwrap();
    assert_eq!(state.made.values().next().unwrap(), &[[1; 32], [2; 32]]);
    // A third says it: nothing more of who made it otherwise is taken, nor given to it.
    send(2, [1, 3]);
    house.paid();
    let state = State::read(&house.journal).unwrap();
    assert_eq!((state.made.len(), state.distrusted), (0, BTreeSet::from(["n2".to_owned()])));
    assert!(house.committed().iter().any(|(_, content)| *content == 1));
    assert_eq!(books::all(&house.journal).unwrap().last().unwrap().tasks, 1, "the other is not taken");
    // Who agree at once are paid for as work and audit.
    send(3, [1, 1]);
    let account = house.paid();
    assert_eq!((account.work_core_ms, account.by_cause(cluster::bill::Idle::Audit)), (2000, 1000));
}

#[test]
fn an_element_that_went_on_with_an_intake_is_believed_as_far_as_what_it_began_with() {
    let house = House::new();
    let part = |part: u32, content: u8| {
        let given = Request { task: Task::Intake(LaneId { sample: 0, lane: 0 }, part), ..request(0, WORK) };
        let attempt = AttemptId(u64::from(part) << 32);
        (given.clone(), Ended { attempt, task: given.task, ..ended(&given, content) })
    };
    let send = |number, contents: [u8; 3]| {
        let parts = [0, 1, 2].map(|at| part(at, contents[at as usize]));
        house.sent(number, "now", &[vec![parts[0].0.clone()]]);
        house.receipt(number, 0, parts.map(|(_, ended)| ended).to_vec());
        house.paid();
    };
    // The second part does not hold, so the third was made from something else.
    send(1, [1, 255, 3]);
    assert_eq!(house.committed(), [("intake/S/0/0".to_owned(), 1)]);
    send(2, [1, 2, 3]);
    let contents: Vec<u32> = house.committed().into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, [1, 2, 3]);
    assert_eq!(house.journal.attempts().unwrap()["intake/S/0/2"], 1);
}

/// Starts the engine of a coordinator, gives it these orders, and lets it tick until it has sent or `ticks` are over.
fn drive(waves: &Waves<'_>, given: Vec<(u32, Vec<Order>)>) -> (Result<(), Failure>, Receiver<Report>) {
    let (reports, heard) = channel();
    let stop = AtomicBool::new(false);
    let spec = WorkerSpec { site: 1, slots: 2, memory_bytes: 1, name: String::new() };
    let mut engine = WaveEngine::start(waves, 1, &spec, reports, &stop).unwrap();
    let done =
        given.into_iter().try_for_each(|(worker, orders)| engine.give(WorkerId::new(1, worker), orders));
    let mut ticked = done;
    // Longer than it waits for more to be given.
    for _ in 0..40 {
        ticked = ticked.and_then(|()| engine.tick());
        if ticked.is_err() || waves.sent.load(Ordering::Relaxed) {
            break;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    if ticked.is_ok() {
        // Whoever watches has seen it.
        stop.store(true, Ordering::Relaxed);
        ticked = engine.tick();
    }
    drop(engine);
    (ticked, heard)
}

fn asked_elements(path: &Path) -> Vec<Vec<(Task, Purpose)>> {
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let bundle = Bundle::from_json("b", &fs::read(path).unwrap()).unwrap();
        bundle.requests.iter().map(|one| (one.task, one.purpose)).collect()
    };
    files.iter().map(read).collect()
}

#[test]
fn what_is_cancelled_before_a_wave_is_sent_is_not_sent() {
    let house = House::new();
    let waves = house.waves();
    let run = |chunk| Order::Run(request(chunk, WORK));
    let orders = vec![
        (0, vec![run(0), run(1)]),
        (1, vec![run(2)]),
        // The job failed for another reason.
        (0, vec![Order::Cancel(AttemptId(0)), Order::Cancel(AttemptId(1))]),
        (1, vec![Order::Cancel(AttemptId(2))]),
    ];
    let (ticked, heard) = drive(&waves, orders);
    ticked.unwrap();
    assert!(house.asked().is_empty(), "a wave of a job that failed");
    let ended = heard.try_iter().filter(|report| matches!(report, Report::Ended(_)));
    assert_eq!(ended.count(), 3);
}

#[test]
fn a_failure_of_the_wave_before_is_told_and_not_tried_again_unasked() {
    // Nobody puts a coordinator back into the queue for more waves.
    for (class, expect) in [(Class::Input, Class::Input), (Class::Remote, Class::Failed)] {
        let house = House::new();
        let chain = vec!["bad".to_owned()];
        let failure = TaskFailure { class, chain, hint: None, exhausted: None, damaged: None };
        let known = BTreeMap::from([(map(0).key(&house.names), vec![failure])]);
        State { known, ..State::default() }.write(&house.journal).unwrap();
        let waves = house.waves();
        let (ticked, heard) = drive(&waves, vec![(0, vec![Order::Run(request(0, WORK))])]);
        ticked.unwrap();
        assert!(house.asked().is_empty());
        let told = heard.try_iter().find_map(|report| match report {
            Report::Ended(Ended { result: Err(failure), .. }) => Some(failure.class),
            _ => None,
        });
        assert_eq!(told, Some(expect));
    }
}

#[test]
fn an_audited_wave_gives_each_task_to_two_elements_and_spares_who_is_distrusted() {
    let house = House::new();
    State { distrusted: BTreeSet::from(["n9".to_owned()]), ..State::default() }
        .write(&house.journal)
        .unwrap();
    let waves = Waves { audit_per_mille: 1000, ..house.waves() };
    let (ticked, heard) = drive(&waves, vec![(0, vec![Order::Run(request(0, WORK))])]);
    ticked.unwrap();
    let asked = house.asked();
    assert!(asked[0].contains("--array=0-1") && asked[0].contains("--exclude=n9"), "{asked:?}");
    assert!(asked[1].contains("--dependency=afterany:7"), "{asked:?}");
    let elements = asked_elements(&house.folder().wave(1));
    assert_eq!(elements, [vec![(map(0), WORK)], vec![(map(0), Purpose::Audit)]]);
    // The driver hears that its bundles are gone, once it is told to stop.
    let left = heard.try_iter().filter(|report| matches!(report, Report::Left { why: Departure::Ended, .. }));
    assert_eq!(left.count(), 1);
}

#[test]
fn a_wave_whose_follower_is_refused_is_collected_all_the_same() {
    let house = House::new();
    // The array is taken, what is to come behind it is not.
    let waves = Waves {
        slurm: {
            let here = house.dir.path().join("bin2");
            fs::create_dir_all(&here).unwrap();
            let sbatch = "case \"$*\" in *--dependency*) exit 1;; *) echo 7;; esac";
            let scontrol = format!("cat {}/shown", house.dir.path().display());
            fake(&here, &[("sbatch", sbatch), ("scontrol", &scontrol)])
        },
        ..house.waves()
    };
    let (ticked, _) = drive(&waves, vec![(0, vec![Order::Run(request(0, WORK))])]);
    ticked.unwrap_err();
    let state = State::read(&house.journal).unwrap();
    assert_eq!((state.number, state.elements, state.array.map(|array| array.id)), (1, 1, Some(7)));
    assert_eq!(house.folder().record().unwrap().unwrap().jobs.len(), 1, "job cancel finds the array");
}

/// What is known after an element with these tasks ended so without a receipt: failures by what ran out and class,
/// and how many tasks go alone.
fn blamed(
    tasks: usize,
    ended: Option<(Standing, Option<u32>)>,
    known: &[(Option<Exhausted>, Class)],
    alone: usize,
) {
    let left: Vec<String> = (0..tasks).map(|task| format!("map/S/0/{task}")).collect();
    let element = ended.map(|(state, code)| Element {
        index: Some(0),
        state,
        reason: None,
        code,
        restarts: 0,
        nodes: None,
        core_ms: 0,
    });
    let mut state = State::default();
    blame(&mut state, &left, element.as_ref(), "0.log");
    let found: Vec<_> =
        state.known.values().flatten().map(|failure| (failure.exhausted, failure.class)).collect();
    assert_eq!((&found[..], state.alone.len()), (known, alone), "{ended:?}");
}

#[test]
fn what_ran_out_in_company_is_tried_alone_before_it_is_blamed() {
    let memory = (Some(Exhausted::Memory), Class::Failed);
    blamed(3, Some((Standing::OutOfMemory, None)), &[], 3);
    blamed(1, Some((Standing::OutOfMemory, None)), &[memory], 0);
    blamed(1, Some((Standing::Failed, Some(137))), &[memory], 0);
    blamed(1, Some((Standing::TimedOut, None)), &[(Some(Exhausted::Time), Class::Failed)], 0);
}

#[test]
fn what_was_only_lost_is_nobodys_fault() {
    for state in [Standing::Lost, Standing::Cancelled, Standing::Completed] {
        blamed(2, Some((state, None)), &[], 0);
    }
    blamed(2, None, &[], 0);
}

#[test]
fn a_worker_that_refused_says_why_with_its_code() {
    blamed(2, Some((Standing::Failed, Some(4))), &[(None, Class::Policy); 2], 0);
    blamed(1, Some((Standing::Failed, Some(77))), &[(None, Class::Failed)], 0);
}
