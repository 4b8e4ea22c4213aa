//! `wakachi worker`: runs one bundle, anywhere.

mod carried;
mod shared;

use crate::output::note;
use cluster::bundle::ticket::{TICKET_SCHEMA, Ticket};
use cluster::bundle::{Bundle, BundleError, DOCUMENT_BYTES_MAX, Data};
use cluster::engine::Request;
use cluster::store::presigned;
use jobs::failure::{Class, Classified, Failure};
use std::path::{Path, PathBuf};
use std::thread;
use storage::DiskError;
use workers::context::Context;

/// Runs one bundle of a job's tasks, with all cores it was granted
///
/// Bundles are written by `wakachi run` and `wakachi submit`, and run by a batch system (an element of a Slurm array, a
/// task of a TES service) or by hand. Their tasks run under the leases in them, and the policy is asked again here. The
/// last thing that is written is the receipt: of two workers on one bundle, one is told that it is done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  wakachi worker --bundle job/.wakachi/bundles/3-1-7
  wakachi worker --bundle /wakachi/ticket.json --cache /var/cache/wakachi
  wakachi worker --bundle ticket.json -t 8 --scratch /local

Exit codes: 0 the bundle is done, now or before, and what became of each task is in its receipt; 1 no space or no
permission; 2 usage; 3 not a bundle; 4 the policy forbids it here, or the bundle has expired; 6 bundle, index or data
are damaged; 8 the store does not answer (try again); 130 interrupted.")]
pub struct Args {
    /// The bundle, or the ticket to one
    #[arg(long, value_name = "FILE|URL")]
    bundle: String,
    /// Threads that compute at once [default: all cores this process may use]
    #[arg(short, long, value_name = "N")]
    threads: Option<u32>,
    /// Keeps the reference's index for the next bundle [default: wakachi-cache beside temporary files]
    #[arg(long, value_name = "DIR", env = "WAKACHI_CACHE")]
    cache: Option<PathBuf>,
    /// For sealed data while the bundle runs [default: where temporary files go]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// A bundle cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: is neither a bundle nor a ticket to one")]
struct NoBundle {
    name: String,
}

impl Classified for NoBundle {
    fn class(&self) -> Class {
        Class::Input
    }

    fn hint(&self) -> Option<String> {
        Some("bundles are written by wakachi run and wakachi submit; give the file as it was".to_owned())
    }
}

/// A bundle names what its job does not have.
#[derive(Debug, thiserror::Error)]
#[error("attempt {attempt} of the bundle is of a task, or of inputs, that the job does not have")]
struct Unknown {
    attempt: u64,
}

impl Classified for Unknown {
    fn class(&self) -> Class {
        Class::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("the bundle was changed, or is of another cohort; the scheduler writes it anew".to_owned())
    }
}

/// Refuses a request whose tasks, or whose samples, the job does not have: all that follows counts on them.
fn check_known(context: &Context, request: &Request, samples: &[u32]) -> Result<(), Unknown> {
    let mut tasks = request.inputs.iter().map(|(task, _)| *task).chain([request.task]);
    let known = |&sample: &u32| (sample as usize) < context.samples.len();
    match tasks.all(|task| context.knows(task)) && samples.iter().all(known) {
        true => Ok(()),
        false => Err(Unknown { attempt: request.attempt.0 }),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (name, bytes) = read(&args.bundle)?;
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    let head = serde_json::from_slice::<Head>(&bytes).map_err(|_| NoBundle { name: name.clone() })?;
    if head.schema == TICKET_SCHEMA {
        return carried::run(&Ticket::from_json(&name, &bytes)?, args);
    }
    let bundle = Bundle::from_json(&name, &bytes)?;
    match &bundle.data {
        Data::Shared { .. } => shared::run(&bundle, Path::new(&args.bundle), args),
        // What is sealed is found by its ticket.
        Data::Carried(_) => Err(NoBundle { name }.into()),
    }
}

impl Args {
    fn threads(&self) -> u32 {
        self.threads
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, |cores| cores.get() as u32))
            .max(1)
    }
}

/// A file or a URL, with the name by which people know it.
fn read(place: &str) -> Result<(String, Vec<u8>), BundleError> {
    let is_url = ["https://", "http://", "file://"].iter().any(|scheme| place.starts_with(scheme));
    if is_url {
        let name = place.split('?').next().unwrap_or_default().to_owned();
        return Ok((name, presigned::get(place, DOCUMENT_BYTES_MAX)?));
    }
    let bytes = std::fs::read(place).map_err(DiskError::on("read", Path::new(place)))?;
    Ok((place.to_owned(), bytes))
}

/// Who ran a bundle, for people.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{name}:{}", std::process::id())
}

fn say_done(id: &str) {
    note(&format!("bundle {id} was done by another worker"));
}
