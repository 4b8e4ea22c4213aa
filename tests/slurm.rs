//! Jobs through a real Slurm: the same bytes as on one machine, whatever happens to the batch job on the way.

#[path = "slurm/cluster.rs"]
mod cluster;
#[path = "program/wakachi.rs"]
mod wakachi;

use cluster::{Cluster, cluster, holder, signal, until};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use storage::{Fence, Journal};
use wakachi::{Cohort, Said, copy, digests, folder, register, text};

type Digests = BTreeMap<String, String>;

/// Two people, and the digests of what a local run makes of them.
fn small() -> &'static (Cohort, Digests) {
    static SMALL: OnceLock<(Cohort, Digests)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("slurm", "--samples 2 --genome-mb 0.6 --depth 5 --seed 12");
        let expect = digests(&cohort.job("-t 2").path().join("results"));
        (cohort, expect)
    })
}

fn assert_same(job: &Path) {
    assert_eq!(digests(&job.join("results")), small().1, "other bytes than a local run's");
}

/// Submits the small cohort with the words of `options` added; the number of its batch job.
fn submit(cluster: &Cluster, cohort: &Path, out: &Path, options: &str) -> u64 {
    let mut words = vec!["submit", text(cohort), "--engine", "slurm", "--out", text(out), "--output", "json"];
    words.extend(["--mpi", "none", "--cpus-per-task", "2", "--mem", "1500M"]);
    words.extend(options.split_whitespace());
    let said = cluster.wakachi(&words).ok().json();
    assert_eq!(said["schema"], "wakachi.submit/1");
    said["job"]["id"].as_u64().expect("a number")
}

/// Waits for the end of a job.
fn wait(cluster: &Cluster, out: &Path) -> Said {
    cluster.wakachi(&["job", "wait", text(out), "--timeout", "2m"])
}

/// The process of a job that has just begun to work, held still.
fn hold(out: &Path) -> Pid {
    let pid = until("the job runs", || holder(out));
    signal(pid, Signal::STOP);
    pid
}

fn log(out: &Path, job: u64) -> String {
    fs::read_to_string(out.join(format!(".wakachi/slurm/{job}.log"))).unwrap_or_default()
}

/// How the runs of a job ended, and how many tasks each committed.
fn runs(out: &Path) -> Vec<(String, u64)> {
    let info = wakachi::wakachi(&["job", "info", text(out), "--output", "json"]).ok().json();
    let runs = info["runs"].as_array().expect("runs").iter();
    runs.map(|run| {
        (run["ending"].as_str().expect("words").to_owned(), run["tasks"].as_u64().expect("a number"))
    })
    .collect()
}

#[test]
fn a_batch_job_gives_the_same_bytes_wherever_its_files_lie() {
    let Some(cluster) = cluster() else { return };
    let folder = folder();
    let odd = folder.path().join("it's a \"path\" %j $x #1 分");
    copy(&small().0.dir, &odd.join("cohort"));
    let out = odd.join("job dir");
    let job = submit(&cluster, &odd.join("cohort/cohort.toml"), &out, "");
    let again = ["submit", text(&small().0.file()), "--out", text(&out)].map(str::to_owned);
    let again = cluster.wakachi(&again.each_ref().map(String::as_str));
    let said = wait(&cluster, &out);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(&out, job));
    assert_same(&out);
    // The first was still there.
    again.refused(2, &[&job.to_string(), "job cancel"]);
    let logs = cluster.wakachi(&["job", "logs", text(&out)]).ok();
    assert!(logs.stdout.contains("complete: ") && !logs.stdout.contains("error"), "{}", logs.stdout);
    // A complete job is complete again at once.
    cluster.wakachi(&["job", "retry", text(&out)]).ok();
    wait(&cluster, &out).ok();
    assert_same(&out);
}

#[test]
fn a_cancelled_job_keeps_what_it_has_and_goes_on_when_it_is_submitted_again() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let job = submit(&cluster, &small().0.file(), out.path(), "--chunk-pairs 500");
    hold(out.path());
    let cancelled = cluster.wakachi(&["job", "cancel", text(out.path())]).ok();
    assert!(cancelled.stdout.contains(&job.to_string()));
    // Held still, it does not hear that it is to stop, and is killed.
    assert_eq!(wait(&cluster, out.path()).code, Some(130));
    assert_eq!(cluster.shown(job, "Restarts"), "0");
    let other = cluster.wakachi(&["job", "retry", text(out.path()), "--output", "json"]).ok().json();
    assert_ne!(other["job"]["id"].as_u64(), Some(job));
    wait(&cluster, out.path()).ok();
    assert_same(out.path());
}

#[test]
fn a_job_stops_before_its_time_limit_goes_back_into_the_queue_and_resumes() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let options = "--time 1 --warning 10 --chunk-pairs 500";
    let job = submit(&cluster, &small().0.file(), out.path(), options);
    let first = hold(out.path());
    until("Slurm warns", || log(out.path(), job).contains("time is nearly over").then_some(()));
    signal(first, Signal::CONT);
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(out.path(), job));
    assert_same(out.path());
    // On a slow machine the second start meets the limit too.
    assert!(cluster.shown(job, "Restarts").parse::<u32>().expect("a number") >= 1);
    let runs = runs(out.path());
    let mut ended = runs.iter().rev().map(|(ending, _)| ending.as_str());
    assert_eq!(ended.next(), Some("complete"), "{}", log(out.path(), job));
    let stopped = ended.collect::<Vec<_>>();
    let all_stopped = stopped.iter().all(|&ending| ending == "stopped");
    assert!(!stopped.is_empty() && all_stopped, "{stopped:?} {}", log(out.path(), job));
}

#[test]
fn a_preempted_job_resumes() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let job = submit(&cluster, &small().0.file(), out.path(), "--chunk-pairs 500");
    let first = hold(out.path());
    let node = cluster.shown(job, "NodeList");
    cluster.slurm(&format!(
        "sbatch --partition=urgent --exclusive --nodelist={node} --output=/dev/null --wrap=true"
    ));
    until("it is told to stop", || (cluster.shown(job, "Restarts") == "1").then_some(()));
    // It may have been killed already.
    let _ = rustix::process::kill_process(first, Signal::CONT);
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(out.path(), job));
    assert_same(out.path());
}

#[test]
fn of_two_live_copies_of_one_job_one_commits() {
    if !wakachi::all_tests() {
        return;
    }
    let Some(cluster) = cluster() else { return };
    let out = folder();
    // So many tasks that it cannot be over before it is held still.
    let job = submit(&cluster, &small().0.file(), out.path(), "--chunk-pairs 30");
    let first = until("the job runs", || holder(out.path()));
    let node = cluster.shown(job, "NodeList");
    cluster.kill_daemons(&node, job);
    // Not before: the kernel hangs up on a group whose parent dies while it stands still.
    signal(first, Signal::STOP);
    until("Slurm starts the second copy", || {
        log(out.path(), job).contains("waiting for process").then_some(())
    });
    assert!(holder(out.path()) == Some(first), "the first copy lives on");
    signal(first, Signal::CONT);
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(out.path(), job));
    assert_same(out.path());
    assert_eq!(cluster.shown(job, "Restarts"), "1");
    // The first did all of it, and the second found nothing left to do.
    let runs = runs(out.path());
    assert!(
        matches!(&runs[..], [(first, 1..), (second, 0)] if first == "complete" && second == "complete"),
        "{runs:?}"
    );
    cluster.revive(&node);
}

#[test]
fn a_job_whose_node_died_resumes_elsewhere() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let job = submit(&cluster, &small().0.file(), out.path(), "--chunk-pairs 500");
    let first = hold(out.path());
    let node = cluster.shown(job, "NodeList");
    cluster.kill_daemons(&node, job);
    signal(first, Signal::KILL);
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(out.path(), job));
    assert_same(out.path());
    assert_ne!(cluster.shown(job, "NodeList"), node);
    let journal =
        Journal::open(Fence::acquire(&out.path().join(".wakachi")).expect("nobody's")).expect("a journal");
    assert!(!journal.commits().expect("commits").is_empty());
    cluster.revive(&node);
}

#[test]
fn a_job_whose_consents_are_withdrawn_is_not_tried_again() {
    let Some(cluster) = cluster() else { return };
    let folder = folder();
    let cohort = folder.path().join("cohort");
    copy(&small().0.dir, &cohort);
    fs::write(cohort.join("wakachi.toml"), "[engine.slurm]\nsbatch = [\"--hold\"]\n").unwrap();
    let out = folder.path().join("job");
    let file = cohort.join("cohort.toml");
    let job = submit(&cluster, &file, &out, "");
    let sheet = fs::read_to_string(cohort.join("samples.csv")).unwrap();
    let people: Vec<&str> = sheet.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    let withdrawn: Vec<_> =
        people.iter().map(|&person| (person, "inactive", "clinical_return", "")).collect();
    fs::write(cohort.join("consent.csv"), register(&withdrawn)).unwrap();
    let cohort_file = fs::read_to_string(&file).unwrap().replace("consent.json", "consent.csv");
    fs::write(&file, cohort_file).unwrap();
    cluster.slurm(&format!("scontrol release {job}"));
    let said = wait(&cluster, &out);
    assert_eq!(said.code, Some(4), "{}\n{}", said.stderr, log(&out, job));
    said.refused(4, &[&job.to_string(), "code 4"]);
    assert_eq!(
        (cluster.shown(job, "Restarts").as_str(), cluster.shown(job, "ExitCode").as_str()),
        ("0", "4:0")
    );
    // And it would not even be submitted now.
    cluster.wakachi(&["submit", text(&file), "--out", text(&out)]).refused(4, &[]);
}

/// The batch jobs of a directory that are for this.
fn submitted(out: &Path, purpose: &str) -> Vec<u64> {
    let record = fs::read(out.join(".wakachi/slurm/jobs.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    let jobs = record["jobs"].as_array().expect("jobs").iter().filter(|job| job["purpose"] == purpose);
    jobs.map(|job| job["id"].as_u64().expect("a number")).collect()
}

#[test]
fn waves_of_bundles_give_the_same_bytes_and_what_is_lost_is_given_out_again() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let options = "--array --array-max 3 --array-parallel 2 --array-minutes 1 --chunk-pairs 2000";
    let first = submit(&cluster, &small().0.file(), out.path(), options);
    let wave = until("the first wave is out", || submitted(out.path(), "wave").first().copied());
    cluster.slurm(&format!("scancel {wave}_0"));
    // Between two coordinators what is out is queued, and nothing waits for anybody to go on.
    let between = until("a coordinator has ended", || {
        let info = info(&cluster, out.path());
        (info["state"] == "waiting").then_some(info)
    });
    let queued = between["stages"].as_array().expect("stages").iter().map(|stage| stage["queued"].as_u64());
    assert!(queued.flatten().sum::<u64>() > 0, "{between}");
    assert!(!between.to_string().contains("stopping"), "{between}");
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(0), "{}\n{}", said.stderr, log(out.path(), first));
    assert_same(out.path());
    assert_all_is_in_the_books(&info(&cluster, out.path()));
    let (waves, coordinators) = (submitted(out.path(), "wave"), submitted(out.path(), "coordinator"));
    assert_eq!(waves.len() + 1, coordinators.len(), "a coordinator behind each wave");
    for wave in waves {
        let elements = cluster.slurm(&format!("scontrol --oneliner show job {wave}"));
        assert!(elements.lines().filter(|line| !line.is_empty()).count() <= 3, "{elements}");
    }
    // Nothing stays of bundles but the record.
    assert!(!wakachi::files(&out.path().join(".wakachi/slurm/bundles")).iter().any(|path| path.is_file()));
}

/// `wakachi job info`, asked of this Slurm.
fn info(cluster: &Cluster, out: &Path) -> serde_json::Value {
    cluster.wakachi(&["job", "info", text(out), "--output", "json"]).ok().json()
}

/// Each task of a complete job stands once in the bill and once among the runs; elements are among them.
fn assert_all_is_in_the_books(info: &serde_json::Value) {
    let sum = |rows: &serde_json::Value, of: &str| -> u64 {
        rows.as_array().expect("rows").iter().map(|row| row[of].as_u64().expect("a number")).sum()
    };
    let done = sum(&info["stages"], "done");
    assert_eq!((sum(&info["bill"]["work"], "tasks"), sum(&info["runs"], "tasks")), (done, done), "{info}");
    let runs = info["runs"].as_array().expect("runs");
    let collected = runs.iter().filter(|run| run["ending"] == "collected");
    assert!(collected.map(|run| run["cpu_ms"].as_u64().expect("a number")).sum::<u64>() > 0, "{info}");
    let (work, idle) = (sum(&info["bill"]["work"], "core_ms"), sum(&info["bill"]["idle"], "core_ms"));
    assert_eq!(info["bill"]["allocated_core_ms"].as_u64(), Some(work + idle));
    // An element opens the index before it begins.
    let idle = info["bill"]["idle"].as_array().expect("causes");
    assert!(idle.iter().any(|line| line["cause"] == "start_up"), "{info}");
}

/// The small cohort with the reads of its last sample damaged, in this folder; the name of the first.
fn damaged(folder: &Path) -> (PathBuf, String) {
    copy(&small().0.dir, folder);
    let samples = small().0.samples();
    let last = samples.last().expect("two samples");
    let files = wakachi::files(folder);
    let is_first_of_pair = |path: &&PathBuf| text(path).ends_with(&format!("{last}_R1.fastq.gz"));
    let reads = files.iter().find(is_first_of_pair).expect("reads");
    let bytes = fs::read(reads).expect("reads");
    fs::write(reads, &bytes[..bytes.len() / 2]).expect("room");
    (folder.join("cohort.toml"), samples[0].clone())
}

#[test]
fn a_job_of_waves_that_fails_sends_no_further_wave() {
    let Some(cluster) = cluster() else { return };
    let (folder, out) = (folder(), wakachi::folder());
    let (cohort, _) = damaged(folder.path());
    let first = submit(&cluster, &cohort, out.path(), "--array --array-max 3 --array-minutes 1");
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(3), "{}\n{}", said.stderr, log(out.path(), first));
    // The other sample could go on, and nobody needs it.
    assert_eq!((submitted(out.path(), "wave").len(), submitted(out.path(), "coordinator").len()), (1, 2));
    let info = info(&cluster, out.path());
    assert_eq!(info["state"], "failed", "{info}");
}

#[test]
fn waves_go_on_without_a_sample_and_do_audited_tasks_twice() {
    let Some(cluster) = cluster() else { return };
    let (folder, out) = (folder(), wakachi::folder());
    let (cohort, whole) = damaged(folder.path());
    let options = "--array --array-max 3 --array-minutes 1 --keep-going --audit 100%";
    let first = submit(&cluster, &cohort, out.path(), options);
    let said = wait(&cluster, out.path());
    assert_eq!(said.code, Some(10), "{}\n{}", said.stderr, log(out.path(), first));
    let found = digests(&out.path().join("results"));
    let of_whole = |(path, _): &(&String, &String)| path.contains(&whole);
    let expect: Vec<_> = small().1.iter().filter(of_whole).collect();
    assert!(!expect.is_empty());
    assert_eq!(found.iter().filter(of_whole).collect::<Vec<_>>(), expect);
    let info = info(&cluster, out.path());
    let idle = info["bill"]["idle"].as_array().expect("causes").iter();
    let audit: u64 =
        idle.filter(|line| line["cause"] == "audit").filter_map(|line| line["core_ms"].as_u64()).sum();
    let work = info["bill"]["work"].as_array().expect("work").iter();
    let work: u64 = work.filter_map(|line| line["tasks"].as_u64()).sum();
    assert!(audit > 0 && work > 0, "{info}");
}

#[test]
fn what_slurm_refuses_is_said() {
    let Some(cluster) = cluster() else { return };
    let out = folder();
    let words =
        ["submit", text(&small().0.file()), "--out", text(out.path()), "--partition"].map(str::to_owned);
    let with =
        |last: &str| words.iter().map(String::as_str).chain([last]).map(str::to_owned).collect::<Vec<_>>();
    let run = |last: &str| {
        let words = with(last);
        cluster.wakachi(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run("nowhere").refused(2, &["nvalid partition"]);
    run("a b").refused(2, &["partition: 'a b' will not do"]);
}
