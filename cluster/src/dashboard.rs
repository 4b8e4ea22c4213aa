//! The dashboard: one page, the document it draws, and the metrics, over HTTP.
//!
//! Invariant: no request reads a file, and none changes anything but by an [`Ask`] under the token. What a client sends
//! decides neither how often the job is looked at nor how much memory is held: [`LOOK_INTERVAL`], [`VISITORS_MAX`],
//! [`BODY_BYTES_MAX`]. Knows nothing of where a job lies.

mod guard;
mod visitors;

use crate::info::JobInfo;
use crate::meter::now_ms;
use crate::metrics;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use guard::Guard;
pub use guard::Token;
use jobs::failure::{Class, Classified, Failure};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use visitors::Visitors;

/// The page; `lang` of its first tag is what the browser asked for.
const PAGE: &str = include_str!("dashboard/page.html");

/// How often the job is looked at, however many look at the dashboard.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Connections at once; more wait to be accepted.
const VISITORS_MAX: usize = 64;

/// Longest body of a request; longer ones are refused.
const BODY_BYTES_MAX: usize = 4096;

/// How long answers in progress may take once the server is to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// What somebody who may asks of a job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// To stop; the same command resumes it.
    Stop,
    /// To leave a site, or to use it again.
    Drain {
        /// Its name.
        site: String,
        /// Whether to leave it.
        drain: bool,
    },
}

/// The job that is shown.
pub trait Job: Send + Sync + 'static {
    /// How it stands; called from one thread at a time, now and then. `None`: nothing can be said.
    fn info(&self) -> Option<JobInfo>;

    /// Passes on what somebody with the token asks.
    fn ask(&self, ask: &Ask) -> Result<(), Failure>;
}

/// How it is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// Who may ask something of the job; without it nobody may.
    pub token: Option<Token>,
    /// Whether reading needs the token too, which it always does where other machines can connect.
    pub private: bool,
}

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Other machines could connect, and nothing would keep them from reading.
    #[error("{listen} can be reached from other machines, and there is no token")]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// Reading needs a token, and there is none.
    #[error("only those with a token are to read, and there is no token")]
    Private,
    /// The address cannot be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the dashboard's thread")]
    Thread {
        /// Why not.
        source: io::Error,
    },
}

impl Classified for DashboardError {
    fn class(&self) -> Class {
        match self {
            DashboardError::Open { .. } | DashboardError::Private => Class::Usage,
            DashboardError::Listen { .. } | DashboardError::Thread { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DashboardError::Open { .. } => Some(
                "give --token-file FILE, or listen on 127.0.0.1 and come by ssh -L 7777:127.0.0.1:7777 HOST"
                    .to_owned(),
            ),
            DashboardError::Private => Some("give --token-file FILE".to_owned()),
            DashboardError::Listen { listen, source } => Some(match source.kind() {
                io::ErrorKind::AddrInUse => {
                    format!(
                        "something listens there already; another port: {}:0 takes any that is free",
                        ip_of(listen)
                    )
                }
                io::ErrorKind::PermissionDenied => "choose a port above 1023".to_owned(),
                _ => "choose an address of this machine, such as 127.0.0.1:7777".to_owned(),
            }),
            DashboardError::Thread { .. } => None,
        }
    }
}

/// The address as it stands before a port.
fn ip_of(address: &SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A dashboard at work; dropping it ends it.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Serves the job from a thread of its own. The address is taken when this returns.
    pub fn start(job: Arc<dyn Job>, options: Options) -> Result<Self, DashboardError> {
        let Options { listen, token, private } = options;
        let private = private || !listen.ip().is_loopback();
        match (&token, private) {
            (None, true) if listen.ip().is_loopback() => return Err(DashboardError::Private),
            (None, true) => return Err(DashboardError::Open { listen }),
            _ => {}
        }
        let refused = |source| DashboardError::Listen { listen, source };
        let listener = TcpListener::bind(listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let guard = Guard { token, private, loopback: listen.ip().is_loopback() };
        let desk = Arc::new(Desk { job, guard, seen: Mutex::default() });
        let (end, ended) = oneshot::channel();
        let failed = |source| DashboardError::Thread { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .enable_all()
            .build()
            .map_err(failed)?;
        let serve = move || {
            runtime.block_on(serve(listener, desk, ended));
            runtime.shutdown_timeout(SHUTDOWN_MAX);
        };
        let thread = std::thread::Builder::new().name("dashboard".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Dashboard { address, end: Some(end), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        drop(self.end.take());
        // A panic in there was told on stderr; the job goes on without its dashboard.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>, ended: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let router = Router::new()
        .route("/", get(page))
        .route("/api/status", get(status))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(async || "ok\n"))
        .route("/api/stop", post(stop))
        .route("/api/drain", post(drain))
        .fallback(async || (StatusCode::NOT_FOUND, "there is no such page\n"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), guard::check))
        .with_state(desk);
    let ended = async {
        let _ = ended.await;
    };
    let serving = axum::serve(Visitors::new(listener, VISITORS_MAX), router).with_graceful_shutdown(ended);
    // Errors of single connections are theirs; there are no others.
    let _ = serving.await;
}

/// What every request shares.
struct Desk {
    job: Arc<dyn Job>,
    guard: Guard,
    seen: Mutex<Option<Seen>>,
}

/// The job as it was last looked at.
#[derive(Clone)]
struct Seen {
    at: Instant,
    info: Option<Arc<JobInfo>>,
    json: Bytes,
    etag: String,
}

impl Desk {
    /// The job as it stands, or as it stood a moment ago.
    async fn look(self: Arc<Self>) -> Option<Seen> {
        // Reading and printing a document of thousands of workers takes a while; answers go on meanwhile.
        tokio::task::spawn_blocking(move || self.look_now()).await.ok()
    }

    fn look_now(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref().filter(|seen| seen.at.elapsed() < LOOK_INTERVAL) {
            return seen.clone();
        }
        let info = self.job.info().map(Arc::new);
        let json = info.as_ref().and_then(|info| serde_json::to_vec(info.as_ref()).ok()).unwrap_or_default();
        let etag = format!("\"{}\"", guard::digest_hex(&json));
        let now = Seen { at: Instant::now(), info, json: Bytes::from(json), etag };
        seen.insert(now).clone()
    }
}

async fn page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let japanese = guard::prefers_japanese(headers.get(header::ACCEPT_LANGUAGE));
    let page = if japanese { PAGE.replacen("lang=\"en\"", "lang=\"ja\"", 1) } else { PAGE.to_owned() };
    let mut response = Response::new(Body::from(page));
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    set.insert(header::CONTENT_SECURITY_POLICY, desk.guard.content_policy(PAGE));
    set.insert(header::VARY, HeaderValue::from_static("accept-language"));
    response
}

async fn status(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let Some(Seen { info: Some(info), json, etag, .. }) = desk.look().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the job has said nothing yet\n").into_response();
    };
    let age_ms = now_ms().saturating_sub(info.as_of_ms);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => json.into_response(),
    };
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set.insert("wakachi-age-ms", HeaderValue::from(age_ms));
    set.extend(HeaderValue::from_str(&etag).ok().map(|etag| (header::ETAG, etag)));
    response
}

async fn metrics_text(State(desk): State<Arc<Desk>>) -> Response {
    match desk.look().await.and_then(|seen| seen.info) {
        Some(info) => {
            ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&info)).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the job has said nothing yet\n").into_response(),
    }
}

async fn stop(State(desk): State<Arc<Desk>>) -> Response {
    pass_on(desk, Ask::Stop).await
}

async fn drain(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        site: String,
        drain: bool,
    }
    match serde_json::from_slice(&body) {
        Ok(Wanted { site, drain }) => pass_on(desk, Ask::Drain { site, drain }).await,
        Err(error) => {
            let expected = "expected {\"site\": NAME, \"drain\": true or false}";
            (StatusCode::BAD_REQUEST, format!("{expected}: {error}\n")).into_response()
        }
    }
}

/// Hands over an ask of somebody whose token was checked.
async fn pass_on(desk: Arc<Desk>, ask: Ask) -> Response {
    match tokio::task::spawn_blocking(move || desk.job.ask(&ask)).await {
        Ok(Ok(())) => (StatusCode::ACCEPTED, "the job follows within seconds\n").into_response(),
        Ok(Err(failure)) => {
            let status = match failure.class() {
                Class::Usage => StatusCode::CONFLICT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, format!("{}\n", failure.chain().join(": "))).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
