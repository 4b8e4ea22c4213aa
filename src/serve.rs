//! `wakachi serve`: the dashboard of a job in its directory, whether it runs, waits or has ended.
//!
//! Invariant: reads what the job left and never its journal, so that nobody who starts the job finds it in use; what is
//! asked of the job is left for it in its directory.

use crate::interrupt;
use crate::job_dir::JobDir;
use crate::output::note;
use crate::run::{asks, status};
use cluster::dashboard::{Ask, Dashboard, Job, Options, Token};
use cluster::info::{JobInfo, VaultInfo};
use jobs::failure::{Class, Classified, Failure};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where the dashboard is unless somebody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7777);

/// How old what is said of vaults may be.
const VAULTS_INTERVAL: Duration = Duration::from_secs(60);

/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Longest token file, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Serves the dashboard of a job: one page, its document as JSON, and Prometheus metrics
///
/// Shows the cohort's regions filling in, workers, stragglers, what waits and why, and where the core time goes. It only
/// reads; with the token of --token-file a visitor may also drain a site or stop the job. Ends with Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi serve job
  wakachi serve job --listen 127.0.0.1:0 --token-file token
  ssh -L 7777:127.0.0.1:7777 login.example      then open http://127.0.0.1:7777/

It answers to: / (the page), /api/status, /metrics, /healthz, and with the token POST /api/stop and /api/drain.
Exit codes: 0 ended by Ctrl-C; 1 the address cannot be had; 2 usage, or no job.")]
pub struct Args {
    /// The job directory
    dir: PathBuf,
    /// Where to listen; another than a loopback address needs --token-file
    #[arg(long, value_name = "ADDR", default_value_t = LISTEN)]
    listen: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
}

/// Who may use a dashboard.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AccessArgs {
    /// File with a token of 16 characters or more, mode 0600; who has it may drain sites and stop the job
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Lets nobody read without the token either, as on a machine that others log in to
    #[arg(long)]
    private: bool,
}

/// Flags of `wakachi run` that let others watch.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LiveArgs {
    /// Serves the dashboard while the job runs
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:7777")]
    live: Option<SocketAddr>,
    /// Leaves metrics in this file too, for the textfile collector of Prometheus's node_exporter
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
}

impl LiveArgs {
    /// The dashboard, if one is wanted; it ends when dropped.
    pub fn start(&self, dir: &JobDir) -> Result<Option<Dashboard>, Failure> {
        self.live.map(|listen| start(dir, listen, &self.access)).transpose()
    }
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("token file {}: cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("token file {}: others may read it (mode {mode:04o}); expected 0600", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("token file {}: expected 16 or more characters without spaces", path.display())]
    Token { path: PathBuf },
}

impl Classified for ServeError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            ServeError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
            ServeError::Unreadable { path, .. } | ServeError::Token { path } => {
                let path = path.display();
                Some(format!("umask 077; head -c 24 /dev/urandom | base64 > {path}"))
            }
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let dir = JobDir::begun(&args.dir)?;
    let stop = interrupt::flag();
    let dashboard = start(&dir, args.listen, &args.access)?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
    drop(dashboard);
    Ok(())
}

fn start(dir: &JobDir, listen: SocketAddr, access: &AccessArgs) -> Result<Dashboard, Failure> {
    let token = access.token_file.as_deref().map(read_token).transpose()?;
    let job = Arc::new(Watched { dir: dir.clone(), vaults: Mutex::default(), last: Mutex::default() });
    let dashboard = Dashboard::start(job, Options { listen, token, private: access.private })?;
    note(&format!("dashboard: http://{}/", dashboard.address()));
    if !access.private && listen.ip().is_loopback() {
        note(
            "whoever is logged in to this machine can read it, and it names samples; --private keeps it to the token",
        );
    }
    Ok(dashboard)
}

fn read_token(path: &Path) -> Result<Token, ServeError> {
    let unreadable = |source| ServeError::Unreadable { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ServeError::Exposed { path: path.to_owned(), mode });
    }
    let text = crate::run::books::read_at_most(path, TOKEN_BYTES_MAX).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&text);
    Token::new(text.trim()).ok_or_else(|| ServeError::Token { path: path.to_owned() })
}

/// A job seen through its directory.
struct Watched {
    dir: JobDir,
    vaults: Mutex<Vaults>,
    /// What it said last, and when its file was written.
    last: Mutex<Option<(SystemTime, JobInfo)>>,
}

/// What was said of vaults, and whether somebody looks now.
#[derive(Default)]
struct Vaults {
    looked: Option<Instant>,
    found: Arc<Mutex<Vec<VaultInfo>>>,
}

impl Watched {
    /// The vaults as they were a moment ago. Sites may take long to answer, so nobody waits for them.
    fn vaults(&self) -> Vec<VaultInfo> {
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        if vaults.looked.is_none_or(|looked| looked.elapsed() >= VAULTS_INTERVAL) {
            vaults.looked = Some(Instant::now());
            let (dir, found) = (self.dir.clone(), Arc::clone(&vaults.found));
            std::thread::spawn(move || {
                let seen = status::vaults(&dir);
                *found.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            });
        }
        vaults.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the job said last; read again only if it said more, or should have.
    fn said(&self) -> JobInfo {
        let written = status::written(&self.dir);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((at, info)), Some(written)) = (&*last, written)
            && *at == written
            && !info.state.is_live()
        {
            return info.clone();
        }
        // One that waits in a queue has said nothing yet.
        let info = status::seen(&self.dir).unwrap_or_else(status::starting);
        *last = written.map(|written| (written, info.clone()));
        info
    }
}

impl Job for Watched {
    fn info(&self) -> Option<JobInfo> {
        let mut info = self.said();
        let vaults = self.vaults();
        if !vaults.is_empty() {
            info.vaults = vaults;
        }
        Some(info)
    }

    fn ask(&self, ask: &Ask) -> Result<(), Failure> {
        asks::leave(&self.dir, ask)
    }
}
