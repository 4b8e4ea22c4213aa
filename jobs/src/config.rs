//! The configuration: how much of a machine a job may use, and what the sites and engines are.
//!
//! Invariant: nothing here can change a result, only when and where it is computed. Each key stands once, in
//! [`Limits`]; a value comes from a flag, else the environment, else the nearest file that has the key, else the
//! default, and [`Resolved`] remembers which. Opens no file and reads no environment: both come as arguments.

pub mod slurm;

use crate::diagnostic::{Diagnostic, Place, Source};
use crate::document::{Document, Section};
use crate::quantity::{parse_bytes, parse_count, show_bytes, show_count};
use slurm::Slurm;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::DeValue;

/// The `[limits]` table. Numbers may carry a unit: `"8G"` of memory, `"4M"` bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// `threads`, `--threads`, `WAKACHI_THREADS`: threads that compute at once. Default: the machine's cores.
    pub threads: u32,
    /// `memory`, `--memory`, `WAKACHI_MEMORY`: bytes of anonymous memory; mapped indexes are apart. Default: three
    /// quarters of the machine's memory.
    pub memory_bytes: u64,
    /// `shard_bases`, `--shard-bases`, `WAKACHI_SHARD_BASES`: about how long a region shard is. Default: 4M.
    pub shard_bases: u64,
    /// `chunk_pairs`, `--chunk-pairs`, `WAKACHI_CHUNK_PAIRS`: read pairs aligned by one task. Default: a
    /// sixteenth of the largest lane, at least 16,384 and at most 250K.
    pub chunk_pairs: u32,
    /// `on_failed_sample`, `WAKACHI_ON_FAILED_SAMPLE`: what a job does with a sample that cannot be done. Default: `stop`.
    /// `--keep-going` is `go_on`.
    pub on_failed_sample: OnFailedSample,
}

/// What a job does with a sample that cannot be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailedSample {
    /// It stops as soon as what runs has ended.
    #[default]
    Stop,
    /// It goes on with the others, and ends with exit code 10.
    GoOn,
}

/// The words of [`OnFailedSample`], in its order.
const ON_FAILED_SAMPLE: [&str; 2] = ["stop", "go_on"];

/// What the machine has, measured by the caller: the source of defaults.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: u32,
    /// Bytes of memory this process may use.
    pub memory_bytes: u64,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The command line.
    Flag(String),
    /// This environment variable.
    Env(String),
    /// This place in a configuration file.
    File(Place),
    /// Nobody said otherwise.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag(name) => f.write_str(name),
            Origin::Env(name) => write!(f, "${name}"),
            Origin::File(place) => write!(f, "{}:{}", place.file, place.line),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// One key of the configuration as it holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Resolved {
    /// Dotted key: `limits.memory`.
    pub key: String,
    /// The value as it would be written.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The configuration as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What a job may use.
    pub limits: Limits,
    /// What a job asks of Slurm.
    pub slurm: Slurm,
    /// Every key with its origin, sorted by key; also the tables of sites, engines and vault, which are carried.
    pub resolved: Vec<Resolved>,
}

/// Everything that may set a value, strongest first.
pub struct Sources<'a> {
    /// Values of flags by key, `memory` for `--memory`; keys of `[limits]` and of `[engine.slurm]` have different names.
    pub flags: &'a BTreeMap<&'static str, String>,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// Names and bytes of configuration files, nearest first.
    pub files: &'a [(String, Vec<u8>)],
    /// Source of defaults.
    pub machine: Machine,
}

/// How one key of `[limits]` is read, bounded and shown.
struct Key {
    name: &'static str,
    parse: fn(&str) -> Result<u64, String>,
    show: fn(u64) -> String,
    range: RangeInclusive<u64>,
}

/// The keys of [`Limits`], in its order.
const KEYS: [Key; 5] = [
    Key { name: "threads", parse: count, show: |n| n.to_string(), range: 1..=4096 },
    Key { name: "memory", parse: bytes, show: show_bytes, range: 256 << 20..=1 << 50 },
    Key { name: "shard_bases", parse: count, show: show_count, range: 1..=1 << 40 },
    Key { name: "chunk_pairs", parse: count, show: show_count, range: 1..=1 << 26 },
    Key {
        name: "on_failed_sample",
        parse: on_failed_sample,
        show: |n| ON_FAILED_SAMPLE[n as usize].to_owned(),
        range: 0..=1,
    },
];

fn count(text: &str) -> Result<u64, String> {
    parse_count(text).map_err(|error| error.to_string())
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).map_err(|error| error.to_string())
}

fn on_failed_sample(text: &str) -> Result<u64, String> {
    let at = ON_FAILED_SAMPLE.iter().position(|word| *word == text);
    at.map(|at| at as u64).ok_or_else(|| format!("'{text}'; expected {}", ON_FAILED_SAMPLE.join(" or ")))
}

/// The tables of `[engine]`.
const ENGINES: [&str; 5] = ["local", "mpi", "sim", "slurm", "tes"];

/// The configuration, or every error of every source at once.
pub fn resolve(sources: &Sources<'_>) -> Result<Config, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut resolved: BTreeMap<String, (String, Origin)> = BTreeMap::new();
    let mut values = defaults(sources.machine);
    let mut slurm = Slurm::default();
    // Strongest last: each source overwrites what weaker ones said.
    for (file, bytes) in sources.files.iter().rev() {
        read_file(file, bytes, (&mut values, &mut slurm), &mut resolved, &mut found);
    }
    let at = |origin: &Origin| Place { file: origin.to_string(), line: 1, column: 1 };
    let wrong = slurm.overrule(sources.flags, sources.env, &mut resolved);
    found.extend(wrong.into_iter().map(|(origin, message)| Diagnostic::error(at(&origin), message)));
    for (key, value) in KEYS.iter().zip(&mut values) {
        let mut say = |text: &str, origin: Origin| match key.read(text) {
            Ok(amount) => {
                *value = amount;
                resolved.insert(key.dotted(), ((key.show)(amount), origin));
            }
            Err(message) => found.push(Diagnostic::error(at(&origin), message)),
        };
        let variable = format!("WAKACHI_{}", key.name.to_ascii_uppercase());
        if let Some(text) = sources.env.get(&variable).filter(|text| !text.is_empty()) {
            say(text, Origin::Env(variable));
        }
        if let Some(text) = sources.flags.get(key.name) {
            say(text, Origin::Flag(format!("--{}", key.name.replace('_', "-"))));
        }
        resolved.entry(key.dotted()).or_insert_with(|| ((key.show)(*value), Origin::Default));
    }
    if !found.is_empty() {
        found.sort();
        return Err(found);
    }
    let [threads, memory_bytes, shard_bases, chunk_pairs, on_failed_sample] = values;
    let limits = Limits {
        threads: threads as u32,
        memory_bytes,
        shard_bases,
        chunk_pairs: chunk_pairs as u32,
        on_failed_sample: if on_failed_sample == 0 { OnFailedSample::Stop } else { OnFailedSample::GoOn },
    };
    let resolved = resolved.into_iter().map(|(key, (value, origin))| Resolved { key, value, origin });
    Ok(Config { limits, slurm, resolved: resolved.collect() })
}

/// The default of each of [`KEYS`].
fn defaults(machine: Machine) -> [u64; 5] {
    let memory = (machine.memory_bytes / 4 * 3) >> 20 << 20;
    [u64::from(machine.cores.max(1)), memory.max(*KEYS[1].range.start()), 4_000_000, 250_000, 0]
}

/// What one file sets, over what was set before.
fn read_file(
    file: &str,
    bytes: &[u8],
    (values, slurm): (&mut [u64; 5], &mut Slurm),
    resolved: &mut BTreeMap<String, (String, Origin)>,
    found: &mut Vec<Diagnostic>,
) {
    let source = match Source::from_bytes(file, bytes) {
        Ok(source) => source,
        Err(error) => return found.push(error),
    };
    let document = Document::parse(source);
    if document.is_whole() {
        let mut root = document.root();
        if let Some(mut limits) = root.section("limits") {
            for (key, value) in KEYS.iter().zip(values) {
                if let Some(amount) = key.read_toml(&mut limits) {
                    *value = *amount.get_ref();
                    let origin = Origin::File(document.place(amount.span().start));
                    resolved.insert(key.dotted(), ((key.show)(*value), origin));
                }
            }
            limits.finish();
        }
        if let Some(mut engines) = root.section("engine") {
            for name in ENGINES {
                let Some(mut section) = engines.section(name) else { continue };
                if name == "slurm" {
                    slurm.read(&mut section);
                    section.finish();
                }
            }
            engines.finish();
        }
        for name in ["site", "engine", "vault"] {
            if let Some(section) = root.section(name) {
                flatten(name, &section, resolved);
            }
        }
        root.finish();
    }
    found.append(&mut document.into_diagnostics());
}

/// Carries every value of a table under its dotted key.
fn flatten(prefix: &str, section: &Section<'_>, resolved: &mut BTreeMap<String, (String, Origin)>) {
    for (key, value) in section.entries() {
        let dotted = format!("{prefix}.{}", key.get_ref());
        match value.get_ref().as_table() {
            Some(table) => {
                flatten(&dotted, &Section::new(section.document(), "", table, value.span()), resolved)
            }
            None => {
                let place = section.document().place(key.span().start);
                resolved.insert(
                    dotted,
                    (section.document().written(value.span()).to_owned(), Origin::File(place)),
                );
            }
        }
    }
}

impl Key {
    fn dotted(&self) -> String {
        format!("limits.{}", self.name)
    }

    fn read(&self, text: &str) -> Result<u64, String> {
        let amount = (self.parse)(text).map_err(|error| format!("{}: {error}", self.name))?;
        if self.range.contains(&amount) {
            return Ok(amount);
        }
        let (least, most) = ((self.show)(*self.range.start()), (self.show)(*self.range.end()));
        Err(format!("{}: {text} is out of range; expected {least} to {most}", self.name))
    }

    /// The amount a section gives as a number or as a text with a unit.
    fn read_toml(&self, section: &mut Section<'_>) -> Option<Spanned<u64>> {
        let value = section.value(self.name)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref().to_owned(),
            DeValue::Integer(integer) => match u64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(amount) => amount.to_string(),
                Err(_) => integer.to_string(),
            },
            _ => {
                section.error(
                    value.span(),
                    format!("{}: expected a number, or a string such as \"8G\"", self.name),
                    None,
                );
                return None;
            }
        };
        match self.read(&text) {
            Ok(amount) => Some(Spanned::new(value.span(), amount)),
            Err(message) => {
                section.error(value.span(), message, None);
                None
            }
        }
    }
}
