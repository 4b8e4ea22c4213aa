//! The cloud: the main job through a Task Execution Service and an object store of other people's making.
//!
//! Our client's requests and the test service's answers are held against the published OpenAPI by openapi-core; py-tes,
//! an independent client, is served by the same service; the store is moto's S3. All of it on loopback.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wakachi::{Cohort, Said, command, digests, folder, said, shared, text};

const TOKEN: &str = "a-token-for-tests";
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
        let (python, spec) = (python()?, shared("data/ga4gh/tes/task_execution_service.openapi.yaml")?);
        let dir = folder();
        let port = free_port();
        let moto = python.with_file_name("moto_server");
        let moto = Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let s3 = format!("http://127.0.0.1:{port}");
        wait_for(port);
        let signed = "authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request";
        assert!(http(port, "PUT", &format!("/{BUCKET}"), signed).starts_with("HTTP/1.1 200"));
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tes/server.py");
        let root = dir.path().join("tasks");
        let mut tes = Command::new(python)
            .arg(server)
            .args(["--spec", text(&spec), "--wakachi", env!("CARGO_BIN_EXE_wakachi"), "--root", text(&root)])
            .args(["--faults", faults, "--token", TOKEN, "--s3", &s3, "--bucket", BUCKET, "--prefix", PREFIX])
            .envs(credentials())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut port = String::new();
        BufReader::new(tes.stdout.take().expect("piped")).read_line(&mut port).expect("its port");
        let tes_url = format!("http://127.0.0.1:{}/ga4gh/tes/v1", port.trim());
        fs::write(dir.path().join("token"), TOKEN).expect("a token");
        Some(Cloud { dir, s3, tes: tes_url, _services: [Service(moto), Service(tes)] })
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

    fn run(&self, cohort: &Cohort, out: &Path, options: &str, config: &Path) -> Said {
        let mut command =
            command(&["run", text(&cohort.file()), "--out", text(out), "--config", text(config)]);
        said(command.args(options.split_whitespace()).envs(credentials()).env("AWS_ENDPOINT_URL", &self.s3))
    }

    fn ask(&self, path: &str) -> serde_json::Value {
        let port = port_of(&self.tes);
        let answer = http(port, "GET", path, "accept: */*");
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// What did not fit the published interface, on either side.
    fn assert_by_the_book(&self) {
        assert_eq!(self.ask("/__violations"), serde_json::json!([]));
    }

    fn states(&self) -> Vec<String> {
        let tasks = self.ask("/__tasks");
        let tasks = tasks.as_array().expect("tasks").iter();
        tasks.map(|task| task["state"].as_str().expect("a state").to_owned()).collect()
    }
}

fn credentials() -> [(&'static str, &'static str); 3] {
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")]
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn port_of(url: &str) -> u16 {
    let host = url.trim_start_matches("http://").split('/').next().expect("a host");
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

fn wait_for(port: u16) {
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(since.elapsed() < Duration::from_secs(60), "nobody answers on port {port}");
        thread::yield_now();
    }
}

/// The whole answer to a request without a body.
fn http(port: u16, method: &str, target: &str, header: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A small cohort whose people may be worked on in the cloud, and what this machine makes of it alone.
fn small() -> &'static (Cohort, std::collections::BTreeMap<String, String>) {
    static SMALL: OnceLock<(Cohort, std::collections::BTreeMap<String, String>)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let cohort = Cohort::simulate("tes", "--samples 2 --genome-mb 0.3 --depth 6 --seed 5");
        let sites = cohort.dir.join("sites.toml");
        let more = "\n[[site]]\nid = \"cloud\"\njurisdiction = \"JP\"\nlevels_max = 4\nroles = [\"compute\"]\n\
                    attestation = { scheme = \"example\", expires = 2099-01-01 }\n";
        let text = fs::read_to_string(&sites).expect("sites") + more;
        fs::write(&sites, text).expect("sites");
        let expect = digests(&cohort.job("-t 2").path().join("results"));
        (cohort, expect)
    })
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
    cloud.run(cohort, out.path(), "--engine local --burst tes -t 1", &config).ok();
    assert_eq!(&digests(&out.path().join("results")), expect);
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
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tes/client.py");
    let base = cloud.tes.trim_end_matches("/ga4gh/tes/v1");
    let served = said(Command::new(python().expect("python")).arg(client).args([base, TOKEN]));
    assert_eq!(served.stdout, "served\n", "{}", served.stderr);
    cloud.assert_by_the_book();
}

#[test]
fn a_store_that_ignores_the_condition_is_refused() {
    let Some(cloud) = Cloud::start("") else { return };
    let (cohort, _) = small();
    // Everything passes through but the one header, as in stores that do not know it.
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, behind) = (proxy.local_addr().expect("an address").port(), port_of(&cloud.s3));
    thread::spawn(move || {
        for socket in proxy.incoming().flatten() {
            thread::spawn(move || pass_without_condition(socket, behind));
        }
    });
    let broken = Cloud { s3: format!("http://127.0.0.1:{port}"), ..cloud };
    let (out, config) = (folder(), broken.config(""));
    let refused = broken.run(cohort, out.path(), "--engine tes -t 1", &config);
    refused.refused(2, &["s3://burst/wakachi cannot be used", "If-None-Match is ignored"]);
}

/// Passes requests on, one connection each way, and drops `if-none-match`.
fn pass_without_condition(client: TcpStream, behind: u16) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", behind)) else { return };
    let (mut back, mut to_client) =
        (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
    thread::spawn(move || std::io::copy(&mut back, &mut to_client));
    let mut reader = BufReader::new(client);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(bytes) = lower.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap_or(0);
            }
            if !lower.starts_with("if-none-match") && server.write_all(line.as_bytes()).is_err() {
                return;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() || server.write_all(&body).is_err() {
            return;
        }
    }
}
