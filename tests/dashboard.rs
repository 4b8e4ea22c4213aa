//! What operators see, through the program itself: status, bill, metrics and the page in a real browser.

#[path = "program/halfway.rs"]
mod halfway;
#[path = "program/wakachi.rs"]
mod wakachi;

use halfway::halfway;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use wakachi::{Cohort, Said, command, folder, said, text, wakachi as run};

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Deep enough for its job to be asked something while it runs.
static COHORT: LazyLock<Cohort> =
    LazyLock::new(|| Cohort::simulate("dashboard", "--samples 2 --genome-mb 0.4 --depth 16 --seed 5"));

/// `wakachi serve` at work; killed when dropped.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    /// Serves a job at a free port.
    fn start(dir: &Path, options: &[&str]) -> Self {
        let mut args = vec!["serve", text(dir), "--listen", "127.0.0.1:0"];
        args.extend(options);
        let mut child = command(&args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("dashboard: http://").expect(&line);
        Served { address: address.trim_end_matches('/').to_owned(), child }
    }

    /// Sends a request as it stands and returns the whole answer.
    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A server that has heard enough may hang up before the end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn request(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let (host, length) = (&self.address, body.len());
        let answer = self.send(&format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ));
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (code, answer)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.request(&format!("GET {path}"), "", "")
    }

    fn status(&self) -> Value {
        let (code, answer) = self.get("/api/status");
        assert_eq!(code, 200, "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether Chromium is there; says so where it is not.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| {
        // What installs the real one when it is first called is no browser.
        Command::new(name).arg("--version").output().is_ok_and(|said| said.status.success())
    });
    if found.is_none() {
        println!("skipped: chromium is not installed");
    }
    found
}

/// The page as Chromium has it after its script ran, and the log of everything that was asked for. Every name but this
/// machine's is unknown to it.
fn dom(browser: &str, url: &str) -> (String, String) {
    let profile = folder();
    let log = profile.path().join("net.json");
    let said = said(Command::new(browser).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--virtual-time-budget=4000",
        &format!("--user-data-dir={}", text(profile.path())),
        &format!("--log-net-log={}", text(&log)),
        "--dump-dom",
        url,
    ]));
    (said.stdout, fs::read_to_string(log).unwrap_or_default())
}

fn job() -> tempfile::TempDir {
    let out = folder();
    COHORT.run(out.path(), "-t 2").ok();
    out
}

fn info(dir: &Path) -> Value {
    run(&["job", "info", text(dir), "--output", "json"]).ok().json()
}

/// Asserts that every core-millisecond of a bill is in one line.
fn is_whole(bill: &Value) {
    let sum = |lines: &Value, key: &str| -> u64 {
        lines.as_array().expect("lines").iter().map(|line| line[key].as_u64().expect("a number")).sum()
    };
    let allocated = bill["allocated_core_ms"].as_u64().expect("a number");
    assert!(allocated > 0);
    assert_eq!(sum(&bill["work"], "core_ms") + sum(&bill["idle"], "core_ms"), allocated, "{bill:#}");
    assert_eq!(sum(&bill["sites"], "core_ms"), allocated, "{bill:#}");
}

#[test]
fn a_job_that_ran_tells_all_of_it() {
    let out = job();
    let told = info(out.path());
    assert_eq!(
        (told["schema"].as_str(), told["state"].as_str()),
        (Some("wakachi.job-info/2"), Some("complete"))
    );
    is_whole(&told["bill"]);
    // Two cores from the engine's start to its end: not more than the process's own wall.
    let (run_ms, allocated) = (
        told["runs"][0]["ended_ms"].as_u64().unwrap() - told["runs"][0]["started_ms"].as_u64().unwrap(),
        told["bill"]["allocated_core_ms"].as_u64().unwrap(),
    );
    assert!(allocated > 0 && allocated <= 2 * run_ms, "{allocated} core-ms in {run_ms} ms");
    let work: u64 =
        told["bill"]["work"].as_array().unwrap().iter().map(|w| w["tasks"].as_u64().unwrap()).sum();
    assert_eq!(work, told["runs"][0]["tasks"].as_u64().unwrap());
    for sample in told["samples"].as_array().unwrap().iter().filter(|sample| !sample["sample"].is_null()) {
        let grid = sample["grid"].as_str().unwrap();
        assert_eq!(grid, format!("{}j", told["grid"]["columns"]), "{grid}");
    }
    let lanes = told["timeline"]["lanes"].as_array().unwrap();
    assert!((1..=2).contains(&lanes.len()) && lanes.iter().all(|lane| lane["spans"][0]["start_ms"].is_u64()));
    let bill = run(&["job", "bill", text(out.path())]).ok().stdout;
    assert!(bill.contains("allocated: ") && bill.contains("(100%)"), "{bill}");
    for sample in COHORT.samples() {
        assert!(bill.contains(&sample), "{bill}");
    }
    let report = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(report.contains("Core time by what it was spent on"));

    // The same command again has nothing to do and adds next to nothing.
    COHORT.run(out.path(), "-t 2").ok();
    let again = info(out.path());
    is_whole(&again["bill"]);
    assert!(again["bill"]["allocated_core_ms"].as_u64() >= told["bill"]["allocated_core_ms"].as_u64());
}

#[test]
fn a_job_is_watched_while_it_runs_and_can_be_stopped() {
    let out = folder();
    let token = out.path().join("token");
    let dir = out.path().join("job");
    fs::write(&token, "correct-horse-battery-staple\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let metrics = out.path().join("wakachi.prom");
    let (cohort, metrics_file) = (COHORT.file(), text(&metrics).to_owned());
    let args = [
        "run",
        text(&cohort),
        "--out",
        text(&dir),
        "-t",
        "1",
        "--output",
        "quiet",
        "--metrics-file",
        &metrics_file,
    ];
    let mut child = command(&args).stderr(Stdio::piped()).spawn().expect("starts");
    let since = Instant::now();
    while !dir.join(".wakachi/status.json").exists() {
        assert!(since.elapsed() < PATIENCE, "no status");
        std::thread::yield_now();
    }
    let served = Served::start(&dir, &["--token-file", text(&token)]);
    let bearer = "authorization: Bearer correct-horse-battery-staple\r\n";
    assert_eq!(served.request("POST /api/stop", "", "").0, 401);
    assert_eq!(
        served.request("POST /api/stop", "authorization: Bearer correct-horse-battery-stapl\r\n", "").0,
        401
    );
    let live = served.status();
    assert!(["starting", "running"].contains(&live["state"].as_str().unwrap()), "{live}");
    let (code, answer) = served.request("POST /api/drain", bearer, r#"{"site":"atlantis","drain":true}"#);
    assert!(code == 409 && answer.contains("atlantis"), "{answer}");
    assert_eq!(served.request("POST /api/drain", bearer, "{}").0, 400);
    assert_eq!(served.request("POST /api/stop", bearer, "").0, 202);
    let ended = child.wait().expect("a child");
    let told = info(&dir);
    // A job as small as this may be over before it hears of it.
    match ended.code() {
        Some(130) => assert_eq!(told["state"], "stopped"),
        code => assert_eq!((code, &told["state"]), (Some(0), &Value::from("complete"))),
    }
    is_whole(&told["bill"]);
    assert!(fs::read_to_string(&metrics).unwrap().contains("wakachi_job_state{"));
    assert_eq!(served.request("POST /api/stop", bearer, "").0, 409);
    COHORT.run(&dir, "-t 2").ok();
    // It looks at the job twice a second, and the job may have run for less.
    while served.status()["state"] != "complete" {
        assert!(since.elapsed() < PATIENCE, "{:#}", served.status());
        std::thread::sleep(Duration::from_millis(50));
    }
    is_whole(&served.status()["bill"]);
}

#[test]
fn a_site_is_left_and_used_again_from_the_command_line() {
    let dir = folder();
    let (cohort, dir) = (COHORT.file(), dir.path());
    let drain = |words: &[&str]| wakachi::wakachi(&[&["job", "drain", text(dir)], words].concat());
    let args = ["run", text(&cohort), "--out", text(dir), "-t", "1", "--output", "quiet"];
    let mut child = command(&args).stderr(Stdio::null()).spawn().expect("starts");
    let sites = |told: &Value| told["sites"].as_array().cloned().unwrap_or_default();
    let ended = |child: &mut std::process::Child| child.try_wait().expect("a child").is_some();
    let since = Instant::now();
    // Until it says where it runs, and then until it says that it follows.
    let wait_for = |child: &mut std::process::Child, is: &dyn Fn(&Value) -> bool| loop {
        assert!(since.elapsed() < PATIENCE, "nothing is seen");
        let said = fs::read(dir.join(".wakachi/status.json")).ok();
        let told: Value = said.and_then(|said| serde_json::from_slice(&said).ok()).unwrap_or_default();
        if is(&told) || ended(child) {
            break told;
        }
        std::thread::yield_now();
    };
    let told = wait_for(&mut child, &|told| !sites(told).is_empty());
    let asked = wakachi::held(&child, Duration::ZERO, || {
        drain(&["atlantis"]).refused(2, &["atlantis"]);
        drain(&[sites(&told)[0]["name"].as_str().unwrap()])
    });
    let told = wait_for(&mut child, &|told| sites(told).iter().any(|site| site["draining"] == true));
    if ended(&mut child) {
        return println!("skipped: the job was over before it could follow");
    }
    asked.ok();
    assert_eq!(told["state"], "running");
    drain(&[sites(&told)[0]["name"].as_str().unwrap(), "--undo"]).ok();
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    drain(&["anywhere"]).refused(2, &["does not run"]);
}

#[test]
fn a_killed_job_is_called_so_and_keeps_its_bill() {
    let out = halfway(&COHORT, "-t 1");
    assert_eq!(info(out.path())["state"], "killed");
    COHORT.run(out.path(), "-t 2").ok();
    let told = info(out.path());
    assert_eq!(told["state"], "complete");
    is_whole(&told["bill"]);
}

#[test]
fn the_page_draws_the_job_in_both_languages_and_fetches_nothing_elsewhere() {
    let Some(browser) = browser() else { return };
    let out = job();
    let served = Served::start(out.path(), &[]);
    let url = |query: &str| format!("http://{}/{query}", served.address);
    let (english, log) = dom(browser, &url("?lang=en"));
    let (japanese, _) = dom(browser, &url("?lang=ja&theme=dark"));
    for sample in COHORT.samples() {
        assert!(english.contains(&format!(">{sample}<")), "{sample} is not drawn: {english}");
        assert!(japanese.contains(&format!(">{sample}<")), "{sample} is not drawn");
    }
    assert!(english.contains("The job is complete.") && english.contains("lang=\"en\""));
    assert!(japanese.contains("ジョブは完了しました。") && japanese.contains("lang=\"ja\""));
    // Browsers ask for things of their own accord; what a page asks for has the page as its initiator.
    let (page, ours) =
        (format!("\"initiator\":\"http://{}\"", served.address), format!("\"url\":\"{}", url("")));
    let asked: Vec<&str> = log.lines().filter(|line| line.contains(&page)).collect();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.contains(&ours)), "{asked:#?}");
    let page = served.get("/").1;
    assert!(!page.contains("https://") && !page.contains("src="), "something is to be loaded");
}

#[test]
fn names_that_are_markup_stay_names() {
    let Some(browser) = browser() else { return };
    let out = job();
    let path = out.path().join(".wakachi/status.json");
    let mut status: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    status["samples"][0]["sample"] = Value::from(evil);
    status["job"] = Value::from(evil);
    status["timeline"]["lanes"][0]["name"] = Value::from(evil);
    status["bill"]["work"][0]["sample"] = Value::from(format!("{evil}\"\\\n"));
    status["state"] = Value::from("failed");
    status["failure"] = Value::from(evil);
    fs::write(&path, status.to_string()).unwrap();
    let served = Served::start(out.path(), &[]);
    let (page, _) = dom(browser, &format!("http://{}/?lang=en", served.address));
    assert!(page.contains("&lt;script&gt;document.title='owned'"), "{page}");
    assert!(!page.contains("<title>owned") && !page.contains("<img"), "{page}");
    let (_, metrics) = served.get("/metrics");
    assert!(metrics.contains("sample=\"<script>") && metrics.contains("\\\"\\\\\\n\""), "{metrics}");
}

#[test]
fn requests_that_are_not_a_browsers_are_refused() {
    let out = job();
    let served = Served::start(out.path(), &[]);
    let (code, page) = served.get("/");
    assert_eq!(code, 200);
    let policy = page.lines().find(|line| line.starts_with("content-security-policy: ")).expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for header in ["x-content-type-options: nosniff", "x-frame-options: DENY", "cache-control: no-store"] {
        assert!(page.contains(header), "{header}");
    }
    for path in
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.wakachi/keys", "/api/", "//", "/page.html"]
    {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
    assert_eq!(served.request("POST /api/stop", "", "").0, 403);
    assert_eq!(served.request("POST /api/status", "", "").0, 403);
    let foreign = "GET /api/status HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(served.send(foreign).starts_with("HTTP/1.1 421"), "{}", served.send(foreign));
    let huge = format!("x: {}\r\n", "y".repeat(1 << 20));
    assert!([431, 400, 0].contains(&served.request("GET /", &huge, "").0));
    let many: String = (0..5000).map(|n| format!("h{n}: v\r\n")).collect();
    assert!([431, 400, 0].contains(&served.request("GET /", &many, "").0));
    assert!(!served.send("\0\u{1}garbage\r\n\r\n").contains("200 OK"));
    // After all of that it still answers, and knows what the browser knows.
    let (_, answer) = served.get("/api/status");
    let etag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag").trim();
    assert_eq!(served.request("GET /api/status", &format!("if-none-match: {etag}\r\n"), "").0, 304);
    assert_eq!(served.get("/healthz").0, 200);
}

#[test]
fn an_address_that_cannot_be_had_is_refused_with_a_hint() {
    let out = job();
    let served = Served::start(out.path(), &[]);
    let serve = |options: &[&str]| -> Said {
        let mut args = vec!["serve", text(out.path())];
        args.extend(options);
        run(&args)
    };
    serve(&["--listen", &served.address]).refused(1, &[&served.address]);
    serve(&["--listen", "0.0.0.0:0"]).refused(2, &["0.0.0.0:0", "--token-file"]);
    serve(&["--private", "--listen", "127.0.0.1:0"]).refused(2, &["token"]);
    let token = out.path().join("token");
    fs::write(&token, "short").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    serve(&["--token-file", text(&token)]).refused(2, &["16", "token"]);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    serve(&["--token-file", text(&token)]).refused(2, &["0644", "chmod 600"]);
}

#[test]
fn nobody_reads_a_private_dashboard_without_the_token() {
    let out = job();
    let token = out.path().join("token");
    fs::write(&token, "correct-horse-battery-staple").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let served = Served::start(out.path(), &["--token-file", text(&token), "--private"]);
    assert_eq!((served.get("/").0, served.get("/healthz").0), (200, 200));
    assert_eq!((served.get("/api/status").0, served.get("/metrics").0), (401, 401));
    let bearer = "authorization: Bearer correct-horse-battery-staple\r\n";
    assert_eq!(served.request("GET /api/status", bearer, "").0, 200);
}

#[test]
fn the_metrics_are_what_prometheus_reads() {
    let out = job();
    let served = Served::start(out.path(), &[]);
    let (_, answer) = served.get("/metrics");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut families: Vec<&str> = Vec::new();
    for line in body.lines() {
        if let Some(declared) = line.strip_prefix("# HELP ") {
            let name = declared.split(' ').next().unwrap();
            assert!(!families.contains(&name), "{name} is declared twice");
            families.push(name);
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert_eq!(families.last(), Some(&name));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else {
            let (name, rest) = line.split_once('{').expect(line);
            assert_eq!(families.last(), Some(&name), "{line}");
            let (_, value) = rest.rsplit_once("} ").expect(line);
            assert!(value.parse::<f64>().expect(line).is_finite());
        }
    }
    let check = "import sys; from prometheus_client.parser import text_string_to_metric_families as f; \
                 print(sum(len(m.samples) for m in f(sys.stdin.read())))";
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import prometheus_client"]).output();
        import.is_ok_and(|output| output.status.success())
    });
    let Some(python) = python else {
        println!("skipped: prometheus_client is not installed");
        return;
    };
    let mut child = Command::new(python)
        .args(["-c", check])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let read = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let samples = body.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(read.trim(), samples.to_string());
}
