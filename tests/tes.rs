//! The cloud: the main job through a Task Execution Service and an object store of other people's making.
//!
//! Our client's requests and the test service's answers are held against the published OpenAPI by openapi-core; py-tes,
//! an independent client, is served by the same service; the store is moto's S3. All of it on loopback.

#[path = "program/heap.rs"]
mod heap;
#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wakachi::{Cohort, Said, command, digests, folder, said, shared, text};

const TOKEN: &str = "a-token-for-tests";
const SECRET: &str = "a-secret-for-tests";
const BUCKET: &str = "burst";
const PREFIX: &str = "wakachi";

/// Python with what the tests compare with; made once, by tests/tes/setup.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tes/setup");
        let venv = std::env::var("WAKACHI_TES_VENV");
        let venv = venv.unwrap_or_else(|_| concat!(env!("CARGO_TARGET_TMPDIR"), "/tes-venv").to_owned());
        let made = said(Command::new(setup).arg(venv));
        (made.code == Some(0)).then(|| PathBuf::from(made.stdout.trim()))
    });
    if made.is_none() {
        println!("skipped: py-tes, openapi-core and moto cannot be installed from PyPI here");
    }
    made.as_deref()
}

/// A process that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store and a service, and a configuration that names them.
struct Cloud {
    dir: TempDir,
    s3: String,
    tes: String,
    _services: [Service; 2],
}

impl Cloud {
    /// Starts both; `faults` are dealt out to the first tasks of the service.
    fn start(faults: &str) -> Option<Self> {
        Cloud::with_store(faults, &[])
    }

    /// The same, with these words to the guard before the store.
    fn with_store(faults: &str, guard: &[&str]) -> Option<Self> {
        let (python, spec) = (python()?, shared("data/ga4gh/tes/task_execution_service.openapi.yaml")?);
        let dir = folder();
        let (guard, port) = announced(
            Command::new(python)
                .arg(script("guard.py"))
                .args(["--bucket", BUCKET, "--secret", SECRET])
                .args(guard),
        );
        let s3 = format!("http://127.0.0.1:{port}");
        let root = dir.path().join("tasks");
        let (tes, port) = announced(
            Command::new(python)
                .arg(script("server.py"))
                .args([
                    "--spec",
                    text(&spec),
                    "--wakachi",
                    env!("CARGO_BIN_EXE_wakachi"),
                    "--root",
                    text(&root),
                ])
                .args(["--faults", faults, "--token", TOKEN, "--s3", &s3, "--bucket", BUCKET])
                .args(["--prefix", PREFIX])
                .envs(credentials()),
        );
        let tes_url = format!("http://127.0.0.1:{port}/ga4gh/tes/v1");
        fs::write(dir.path().join("token"), TOKEN).expect("a token");
        Some(Cloud { dir, s3, tes: tes_url, _services: [guard, tes] })
    }

    /// Writes a configuration and returns its name.
    fn config(&self, more: &str) -> PathBuf {
        let path = self.dir.path().join("wakachi.toml");
        let tes = &self.tes;
        let token = self.dir.path().join("token");
        let text = format!(
            "[engine.tes]\nurl = \"{tes}\"\ntoken_file = \"{}\"\nsite = \"cloud\"\nimage = \"wakachi:test\"\n\
             cores = 1\nmemory = \"4G\"\nbundles = 2\nbundle_minutes = 1\npoll_seconds = 0.2\n{more}\n\
             [site.cloud]\nstore = \"s3://{BUCKET}/{PREFIX}\"\nprice_core_hour = 0.04\nlatency_seconds = 1\n",
            token.display(),
        );
        fs::write(&path, text).expect("a configuration");
        path
    }

    fn command(&self, cohort: &Cohort, out: &Path, options: &str, config: &Path) -> Command {
        let mut command =
            command(&["run", text(&cohort.file()), "--out", text(out), "--config", text(config)]);
        command.args(options.split_whitespace()).envs(credentials()).env("AWS_ENDPOINT_URL", &self.s3);
        command
    }

    fn run(&self, cohort: &Cohort, out: &Path, options: &str, config: &Path) -> Said {
        said(&mut self.command(cohort, out, options, config))
    }

    fn ask(&self, path: &str) -> serde_json::Value {
        let body = body(port_of(&self.tes), path);
        serde_json::from_str(&body).expect("JSON")
    }

    /// What the store holds of bundles.
    fn objects(&self) -> String {
        body(port_of(&self.s3), &format!("/{BUCKET}?list-type=2&prefix={PREFIX}/bundles/"))
    }

    /// What did not fit the published interface, on either side.
    fn assert_by_the_book(&self) {
        assert_eq!(self.ask("/__violations"), serde_json::json!([]));
    }

    /// Waits until the service says this.
    fn until<T>(&self, what: &str, path: &str, mut found: impl FnMut(serde_json::Value) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = found(self.ask(path)) {
                return found;
            }
            assert!(since.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
            thread::yield_now();
        }
    }

    fn states(&self) -> Vec<String> {
        let tasks = self.ask("/__tasks");
        let tasks = tasks.as_array().expect("tasks").iter();
        tasks.map(|task| task["state"].as_str().expect("a state").to_owned()).collect()
    }
}

/// Starts a service that prints its port.
fn announced(command: &mut Command) -> (Service, u16) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the service starts");
    let mut port = String::new();
    let said = child.stdout.take().expect("piped");
    BufReader::new(said).read_line(&mut port).expect("its port");
    (Service(child), port.trim().parse().expect("a port"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tes").join(name)
}

fn credentials() -> [(&'static str, &'static str); 3] {
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "us-east-1")]
}

fn port_of(url: &str) -> u16 {
    let host = url.trim_start_matches("http://").split('/').next().expect("a host");
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// What is answered to whoever asks for this.
fn body(port: u16, target: &str) -> String {
    let answer = http(port, "GET", target, "accept: */*");
    answer.split_once("\r\n\r\n").expect("an answer").1.to_owned()
}

/// The whole answer to a request without a body.
fn http(port: u16, method: &str, target: &str, header: &str) -> String {
    String::from_utf8_lossy(&http_bytes(port, method, target, &format!("host: 127.0.0.1\r\n{header}")))
        .into_owned()
}

fn http_bytes(port: u16, method: &str, target: &str, headers: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request =
        format!("{method} {target} HTTP/1.1\r\n{headers}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    answer
}

/// A small cohort whose people may be worked on in the cloud, and what this machine makes of it alone.
fn small() -> &'static (Cohort, std::collections::BTreeMap<String, String>) {
    static SMALL: OnceLock<(Cohort, std::collections::BTreeMap<String, String>)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("tes", "--samples 2 --genome-mb 0.3 --depth 6 --seed 5");
        allow_the_cloud(&cohort);
        let expect = digests(&cohort.job("-t 2").path().join("results"));
        (cohort, expect)
    })
}

/// Names the cloud among the sites of a cohort and of the programme.
fn allow_the_cloud(cohort: &Cohort) {
    let sites = cohort.dir.join("sites.toml");
    let more = "\n[[site]]\nid = \"cloud\"\njurisdiction = \"JP\"\nlevels_max = 4\nroles = [\"compute\"]\n\
                attestation = { scheme = \"example\", expires = 2099-01-01 }\n";
    let text = fs::read_to_string(&sites).expect("sites") + more;
    fs::write(&sites, text).expect("sites");
    let sheet = fs::read_to_string(cohort.file()).expect("a cohort");
    let named = sheet.replace("sites = [\"here\"]", "sites = [\"here\", \"cloud\"]");
    assert_ne!(sheet, named);
    fs::write(cohort.file(), named).expect("a cohort");
}

#[test]
fn bytes_are_the_same_whatever_becomes_of_the_machines() {
    let Some(cloud) = Cloud::start("preempt,system_error,lost_answer,oom") else { return };
    let (cohort, expect) = small();
    let (out, config) = (folder(), cloud.config("backend_parameters = { VmSize = \"Standard_D8\" }"));
    cloud.run(cohort, out.path(), "--engine tes -t 1", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    cloud.assert_by_the_book();
    let states = cloud.states();
    assert!(states.contains(&"COMPLETE".to_owned()), "{states:?}");
    assert!(states.contains(&"SYSTEM_ERROR".to_owned()), "{states:?}");
    let left = cloud.ask("/__tasks").to_string();
    for sample in cohort.samples() {
        assert!(!left.contains(&sample), "the service is told of {sample}");
    }
}

#[test]
fn a_lying_worker_is_not_believed() {
    let Some(cloud) = Cloud::start("lie,lie") else { return };
    let (cohort, expect) = small();
    let (out, config) = (folder(), cloud.config(""));
    cloud.run(cohort, out.path(), "--engine tes -t 1", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    assert!(cloud.states().len() >= 2, "{:?}", cloud.states());
    cloud.assert_by_the_book();
}

#[test]
fn who_may_not_go_stays() {
    let Some(cloud) = Cloud::start("") else { return };
    let (cohort, expect) = small();
    let config = cloud.config("");
    let abroad = folder();
    wakachi::copy(&cohort.dir, abroad.path());
    let sites = abroad.path().join("sites.toml");
    let text = fs::read_to_string(&sites).expect("sites");
    let (home, cloud_site) = text.rsplit_once("jurisdiction = \"JP\"").expect("the cloud's country");
    fs::write(&sites, format!("{home}jurisdiction = \"US\"{cloud_site}")).expect("sites");
    let moved = Cohort { dir: abroad.path().to_owned(), summary: cohort.summary.clone() };
    let out = folder();
    cloud.run(&moved, out.path(), "--engine tes -t 2", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    assert_eq!(cloud.states(), Vec::<String>::new(), "nobody's data was sent abroad");
}

#[test]
fn an_independent_client_is_served_by_the_book() {
    let Some(cloud) = Cloud::start("") else { return };
    let base = cloud.tes.trim_end_matches("/ga4gh/tes/v1");
    let served = said(Command::new(python().expect("python")).arg(script("client.py")).args([base, TOKEN]));
    assert_eq!(served.stdout, "served\n", "{}", served.stderr);
    cloud.assert_by_the_book();
}

#[test]
fn a_store_that_ignores_the_condition_is_refused() {
    let Some(cloud) = Cloud::with_store("", &["--ignore-condition"]) else { return };
    let (cohort, _) = small();
    let (out, config) = (folder(), cloud.config(""));
    let refused = cloud.run(cohort, out.path(), "--engine tes -t 1", &config);
    refused.refused(2, &["s3://burst/wakachi cannot be used", "If-None-Match is ignored"]);
    assert_eq!(cloud.states(), Vec::<String>::new());
}

#[test]
fn a_coordinator_that_died_leaves_nothing_running() {
    let Some(cloud) = Cloud::start("hang,hang") else { return };
    let (cohort, expect) = small();
    let (out, config) = (folder(), cloud.config(""));
    let mut first = cloud.command(cohort, out.path(), "--engine tes -t 1", &config);
    let first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut first = Service(first);
    let since = Instant::now();
    while !cloud.states().contains(&"RUNNING".to_owned()) {
        assert!(since.elapsed() < Duration::from_secs(60), "no task was started");
        thread::yield_now();
    }
    first.0.kill().expect("a child");
    drop(first);
    cloud.run(cohort, out.path(), "--engine tes -t 1", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    let running = cloud.states().into_iter().filter(|state| state == "RUNNING");
    assert_eq!(running.count(), 0);
    cloud.assert_by_the_book();
}

#[test]
fn a_worker_reads_its_own_bundle_and_nothing_else() {
    let Some(cloud) = Cloud::start("hang,hang") else { return };
    let (cohort, _) = small();
    let (out, config) = (folder(), cloud.config(""));
    let mut job = cloud.command(cohort, out.path(), "--engine tes -t 1", &config);
    let job = Service(job.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts"));
    let since = Instant::now();
    let tickets = loop {
        let tickets = tickets(&cloud.ask("/__tasks"));
        if tickets.len() == 2 {
            break tickets;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "two bundles were to be sent");
        thread::yield_now();
    };
    let port = port_of(&cloud.s3);
    let get = |url: &str| {
        let target = url.split_once(&format!("127.0.0.1:{port}")).expect("our store").1;
        let answer = http_bytes(port, "GET", target, &format!("host: 127.0.0.1:{port}"));
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let [first, second] =
        [&tickets[0], &tickets[1]].map(|ticket| ticket["bundle"]["url"].as_str().expect("a URL"));
    assert!(get(first).contains("200"), "{}", get(first));
    // The other's name under this one's signature, another method's right, a longer life: none of them is signed.
    let name = |url: &str| url.split('?').next().expect("a name").to_owned();
    let query = |url: &str| url.split_once('?').expect("a query").1.to_owned();
    let index = name(first).split("/bundles/").next().expect("a prefix").to_owned() + "/index/0";
    for stolen in [
        format!("{}?{}", name(second), query(first)),
        format!("{index}?{}", query(first)),
        name(first).replace("/bundle", "/standing") + "?" + &query(first),
        first.replace("X-Amz-Expires=", "X-Amz-Expires=9"),
    ] {
        assert!(get(&stolen).contains("403"), "{stolen}: {}", get(&stolen));
    }
    // Nothing of a person lies in the clear where the tasks are run, nor in what the service was told.
    let told = cloud.ask("/__tasks").to_string();
    let names = cohort.samples();
    let files = wakachi::files(&cloud.dir.path().join("tasks"));
    for sample in names {
        assert!(!told.contains(&sample), "the service is told of {sample}");
        for file in &files {
            let bytes = fs::read(file).unwrap_or_default();
            let found = bytes.windows(sample.len()).any(|window| window == sample.as_bytes());
            assert!(!found, "{} names {sample}", file.display());
        }
    }
    drop(job);
}

/// The audit log of a job, as it stands.
fn events(out: &Path) -> Vec<serde_json::Value> {
    let log = fs::read_to_string(out.join(".wakachi/audit.jsonl")).unwrap_or_default();
    // The last line may still be written.
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn named<'a>(events: &'a [serde_json::Value], name: &str) -> Vec<&'a serde_json::Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Cells of regions, and the bundles in which they were to be read, or were, as these events tell one after the other.
fn bundles_of(events: &[serde_json::Value], name: &str) -> Vec<(Range<u32>, String)> {
    let of_bundle = |event: &&serde_json::Value| {
        let cells = event["shard"].as_str()?.strip_prefix("region/")?.rsplit('/').next()?.split_once('-')?;
        Some((cells.0.parse().ok()?..cells.1.parse().ok()?, event["worker"].as_str()?.to_owned()))
    };
    named(events, name).iter().filter_map(of_bundle).collect()
}

/// A copy of the small cohort whose leases hold for so many seconds.
fn with_leases(seconds: u32) -> (TempDir, Cohort) {
    let dir = folder();
    wakachi::copy(&small().0.dir, dir.path());
    let policy = dir.path().join("policy.toml");
    let text = fs::read_to_string(&policy).expect("a policy");
    let short = text.replace("lease_ttl_seconds = 900", &format!("lease_ttl_seconds = {seconds}"));
    assert_ne!(short, text);
    fs::write(&policy, short).expect("a policy");
    let cohort = Cohort { dir: dir.path().to_owned(), summary: small().0.summary.clone() };
    (dir, cohort)
}

/// Who did the work of a job, by stage: the sites, and how many tasks each did.
fn split(out: &Path) -> std::collections::BTreeMap<(String, String), u64> {
    let info = wakachi::wakachi(&["job", "info", text(out), "--output", "json"]).ok().json();
    let mut split = std::collections::BTreeMap::new();
    for line in info["bill"]["work"].as_array().expect("work") {
        let word = |key: &str| line[key].as_str().expect("a word").to_owned();
        *split.entry((word("stage"), word("site"))).or_default() += line["tasks"].as_u64().expect("a number");
    }
    split
}

#[test]
fn home_and_cloud_share_the_work_of_one_job() {
    let Some(cloud) = Cloud::start("") else { return };
    let (cohort, expect) = small();
    let (out, config) = (folder(), cloud.config(""));
    // As if its machines stood ready: these tasks take less than a second.
    let terms = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, terms.replace("latency_seconds = 1", "latency_seconds = 0")).expect("a configuration");
    cloud.run(cohort, out.path(), "--burst tes -t 1 --chunk-pairs 200", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    let split = split(out.path());
    let at = |stage: &str, site: &str| split.get(&(stage.to_owned(), site.to_owned())).copied().unwrap_or(0);
    let sites: std::collections::BTreeSet<&str> = split.keys().map(|(_, site)| site.as_str()).collect();
    let home = *sites.iter().find(|site| **site != "cloud").expect("home");
    assert!(at("map", home) > 0 && at("map", "cloud") > 0, "{split:?}");
    // What needs whole files stays.
    assert_eq!((at("intake", "cloud"), at("finish", "cloud")), (0, 0), "{split:?}");
    let info = wakachi::wakachi(&["job", "info", text(out.path()), "--output", "json"]).ok().json();
    let bill = &info["bill"];
    let there = bill["sites"].as_array().expect("sites").iter().find(|site| site["site"] == "cloud");
    let there = there.expect("it is paid for");
    for (moved, least) in [("bytes_in", 1), ("bytes_out", 1), ("core_ms", 1)] {
        assert!(there[moved].as_u64() >= Some(least), "{moved}: {there}");
    }
    assert!(there["price"].as_f64() > Some(0.0), "{there}");
    let idle = bill["idle"].as_array().expect("causes").iter();
    let start = idle.filter(|line| line["site"] == "cloud" && line["cause"] == "start_up");
    assert!(start.count() > 0, "what a worker takes to start is in the bill: {bill}");
    cloud.assert_by_the_book();
}

#[test]
fn an_outage_while_bundles_are_sent_costs_them_and_not_the_job() {
    let Some(cloud) = Cloud::start("outage,,outage") else { return };
    let (cohort, expect) = small();
    let (out, config) = (folder(), cloud.config(""));
    cloud.run(cohort, out.path(), "--engine tes -t 1", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
    cloud.assert_by_the_book();
}

#[test]
fn a_bundle_that_outlives_its_leases_reads_on_under_new_ones() {
    let Some(cloud) = Cloud::start("nap,nap") else { return };
    let (_dir, cohort) = with_leases(2);
    let (out, config) = (folder(), cloud.config(""));
    let mut job = cloud.command(&cohort, out.path(), "--engine tes -t 1", &config);
    let said = cloud.dir.path().join("said");
    let stderr = fs::File::create(&said).expect("a file");
    let mut job = Service(job.stdout(Stdio::null()).stderr(stderr).spawn().expect("the program starts"));
    cloud.until("a worker sleeps", "/__naps", |naps| (naps.as_u64() > Some(0)).then_some(()));
    // It sleeps for longer than the leases hold with which it fell asleep.
    cloud.until("its leases are renewed", "/__naps", |_| {
        let events = events(out.path());
        let mut leased = std::collections::BTreeMap::new();
        for event in named(&events, "shard.leased") {
            *leased.entry(format!("{}#{}", event["shard"], event["attempt"])).or_insert(0) += 1;
        }
        leased.values().any(|&times| times > 5).then_some(())
    });
    let since = Instant::now();
    loop {
        cloud.ask("/__wake");
        if let Some(status) = job.0.try_wait().expect("a child") {
            assert!(status.success(), "{}", fs::read_to_string(&said).unwrap_or_default());
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(120), "it does not end");
        thread::yield_now();
    }
    assert_eq!(&digests(&out.path().join("results")), &small().1);
    // What the gate said where the bundle ran is in the log, as the worker's word.
    let events = events(out.path());
    let mut there = named(&events, "policy.permit").into_iter().filter(|event| event["site"] == "cloud");
    let one = there.next().expect("a reading in the cloud");
    for field in ["shard", "attempt", "participant_h", "consent_epoch", "worker", "at", "expires"] {
        assert!(!one[field].is_null(), "{field}: {one}");
    }
}

#[test]
fn a_straggler_in_a_bundle_is_cut_while_it_runs_and_shared_out() {
    straggle("nap");
}

#[test]
fn a_machine_that_dies_after_its_answer_is_held_to_it() {
    straggle("relapse");
}

/// Runs a job of one shard with a deep window, all of it in bundles that meet this fault, and sees how it is cut.
fn straggle(fault: &str) {
    // The outcome of what was cut is held back until the rest was sent in another bundle.
    let Some(cloud) = Cloud::with_store(&[fault; 20].join(","), &["--hold"]) else { return };
    let cohort = Cohort::simulate(fault, "--samples 1 --genome-mb 1.2 --depth 6 --seed 13");
    heap::heap(&cohort);
    allow_the_cloud(&cohort);
    let expect = cohort.job("-t 2 --chunk-pairs 3000");
    let (out, config) = (folder(), cloud.config(""));
    let mut terms = fs::read_to_string(&config).expect("a configuration");
    for (key, now, then) in [("latency_seconds", 1, 0), ("cores", 1, 2), ("bundles", 2, 4)] {
        terms = terms.replace(&format!("{key} = {now}\n"), &format!("{key} = {then}\n"));
    }
    fs::write(&config, terms).expect("a configuration");
    let options = "--engine tes -t 1 --shard-lines 0 --chunk-pairs 3000 --rest-ms 5";
    let mut job = cloud.command(&cohort, out.path(), options, &config);
    let said = cloud.dir.path().join("said");
    let stderr = fs::File::create(&said).expect("a file");
    let mut job = Service(job.stdout(Stdio::null()).stderr(stderr).spawn().expect("the program starts"));
    let (since, mut asked) = (Instant::now(), false);
    let status = loop {
        // Whoever has the shard sleeps over it until it is asked to end early.
        let whole = bundles_of(&events(out.path()), "shard.leased").into_iter().next();
        asked |=
            whole.as_ref().is_some_and(|(_, bundle)| cloud.objects().contains(&format!("/{bundle}/asked<")));
        if asked || whole.is_none() {
            cloud.ask("/__wake");
        }
        if let Some(status) = job.0.try_wait().expect("a child") {
            break status;
        }
        assert!(since.elapsed() < Duration::from_secs(300), "it does not end");
        thread::yield_now();
    };
    assert!(status.success(), "{}", fs::read_to_string(&said).unwrap_or_default());
    assert_eq!(digests(&out.path().join("results")), digests(&expect.path().join("results")));
    assert!(asked, "nobody was asked to end early");
    let held: serde_json::Value = serde_json::from_str(&body(port_of(&cloud.s3), "/__held")).expect("JSON");
    assert!(held["until"].as_u64() > Some(0) && held["in_vain"] == 0, "{held}");
    // It was begun as a whole in one bundle, whose outcome counts for its beginning; the rest was done in others.
    let events = events(out.path());
    let (whole, first) = bundles_of(&events, "shard.leased").swap_remove(0);
    let there = bundles_of(&events, "policy.permit");
    assert!(there.contains(&(whole.clone(), first.clone())), "{whole:?} in {first}: {there:?}");
    let is_rest = |cells: &Range<u32>| whole.start < cells.start && cells.end <= whole.end;
    assert!(there.iter().any(|(cells, bundle)| *bundle != first && is_rest(cells)), "{whole:?}: {there:?}");
    let begun = |event: &&&serde_json::Value| {
        let shard = event["shard"].as_str().unwrap_or_default();
        shard.starts_with("region/") && shard.contains(&format!("/{}-", whole.start))
    };
    let committed = named(&events, "shard.committed");
    let first = committed.iter().find(begun).expect("its beginning is done");
    assert_eq!(first["attempt"], 1, "{first}");
    cloud.assert_by_the_book();
}

#[test]
fn a_consent_withdrawn_while_a_bundle_runs_ends_it() {
    let Some(cloud) = Cloud::start("hang,hang") else { return };
    let (dir, cohort) = with_leases(1);
    let (out, config) = (folder(), cloud.config(""));
    let file = cohort.file();
    let sheet = fs::read_to_string(&file).expect("a cohort").replace("consent.json", "consent.csv");
    fs::write(&file, sheet).expect("a cohort");
    let consents = |status: &str| {
        // Of both: a bundle of somebody else would be waited for, and this one never ends.
        let people = ["P-000001", "P-000002"].map(|person| (person, status, "clinical_return", ""));
        fs::write(dir.path().join("consent.csv"), wakachi::register(&people)).expect("consents");
    };
    consents("active");
    let mut job = cloud.command(&cohort, out.path(), "--engine tes -t 1", &config);
    let mut job =
        Service(job.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts"));
    cloud.until("bundles run", "/__tasks", |_| cloud.states().contains(&"RUNNING".to_owned()).then_some(()));
    consents("inactive");
    assert_eq!(job.0.wait().expect("a child").code(), Some(4));
    let states = cloud.states();
    assert!(!states.iter().any(|state| state == "RUNNING" || state == "QUEUED"), "{states:?}");
    assert!(states.contains(&"CANCELED".to_owned()), "{states:?}");
}

/// The tickets that the service was given.
fn tickets(tasks: &serde_json::Value) -> Vec<serde_json::Value> {
    let inputs = tasks.as_array().expect("tasks").iter().flat_map(|task| task["inputs"].as_array());
    let contents = inputs.flatten().filter_map(|input| input["content"].as_str());
    contents.map(|content| serde_json::from_str(content).expect("a ticket")).collect()
}
