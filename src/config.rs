//! `wakachi config`: which configuration files there are, and what holds.
//!
//! Invariant: this is the only place that looks for configuration files, reads the environment for them and measures
//! the machine; what the values mean is decided in `jobs::config`.

use crate::output::Format;
use jobs::config::{Config, Machine, Sources};
use jobs::diagnostic::Diagnostic;
use jobs::failure::{Class, Classified};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `--config`: this file alone.
    pub config: Option<PathBuf>,
    /// The cohort file of the command, whose folder may hold a `wakachi.toml`.
    pub cohort: Option<PathBuf>,
    /// Flags that set a key of `[limits]`, by key, as they were written.
    pub flags: BTreeMap<&'static str, String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named, or found, cannot be read.
    #[error("configuration {path} cannot be read", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Values are wrong.
    #[error("configuration: {}", Diagnostic::list(diagnostics))]
    Wrong {
        /// Every one of them.
        diagnostics: Vec<Diagnostic>,
    },
}

impl Classified for ConfigError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("wakachi config show".to_owned())
    }
}

/// The configuration that holds for a command.
///
/// A file named by `--config` or `$WAKACHI_CONFIG` is the only one read. Otherwise `wakachi.toml` is read in the
/// cohort's folder, in `~/.config/wakachi/` and in `/etc/wakachi/`, and the nearest file that has a key decides it.
pub fn load(asked: &Asked) -> Result<Config, ConfigError> {
    let env = environment();
    let mut files = Vec::new();
    for (path, required) in search(asked, &env) {
        match std::fs::read(&path) {
            Ok(bytes) => files.push((path.display().to_string(), bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        }
    }
    let sources = Sources { flags: &asked.flags, env: &env, files: &files, machine: machine(&env) };
    jobs::config::resolve(&sources).map_err(|diagnostics| ConfigError::Wrong { diagnostics })
}

/// Price of one core for one hour, by site, where `[site.NAME] price_core_hour` says one.
pub fn prices(config: &Config) -> BTreeMap<String, f64> {
    let priced = config.resolved.iter().filter_map(|one| {
        let site = one.key.strip_prefix("site.")?.strip_suffix(".price_core_hour")?;
        let price = one.value.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0)?;
        Some((site.to_owned(), price))
    });
    priced.collect()
}

/// `wakachi config show`: every key, its value, and where the value came from. As JSON the answer has the schema
/// `wakachi.config/1`.
pub fn show(asked: &Asked, format: Format, mut say: impl FnMut(&str)) -> Result<(), ConfigError> {
    let Config { resolved, .. } = load(asked)?;
    match format {
        Format::Table => {
            let key_width = resolved.iter().map(|one| one.key.chars().count()).max().unwrap_or(0);
            let value_width = resolved.iter().map(|one| one.value.chars().count()).max().unwrap_or(0);
            for one in resolved {
                say(&format!("{:key_width$}  {:value_width$}  {}", one.key, one.value, one.origin));
            }
        }
        Format::Json => {
            say(&format!("{:#}", serde_json::json!({ "schema": "wakachi.config/1", "config": resolved })))
        }
        Format::Quiet => {}
    }
    Ok(())
}

/// The files that may configure a command, nearest first, and whether each must exist.
fn search(asked: &Asked, env: &BTreeMap<String, String>) -> Vec<(PathBuf, bool)> {
    let named = env.get("WAKACHI_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = asked.config.clone().or(named) {
        return vec![(path, true)];
    }
    let beside = asked.cohort.as_deref().map(|cohort| cohort.with_file_name("wakachi.toml"));
    let home = env.get("HOME").map(|home| Path::new(home).join(".config/wakachi/wakachi.toml"));
    let files = [beside, home, Some(PathBuf::from("/etc/wakachi/wakachi.toml"))];
    files.into_iter().flatten().map(|path| (path, false)).collect()
}

fn environment() -> BTreeMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// What this process may use.
pub fn own_machine() -> Machine {
    machine(&environment())
}

/// What this process may use: cores by affinity and quota, memory by the machine and its control group; of an allocation
/// of Slurm no more than this process's part, which not every site enforces.
fn machine(env: &BTreeMap<String, String>) -> Machine {
    let first_number = |text: String| text.split_ascii_whitespace().find_map(|word| word.parse::<u64>().ok());
    let read = |path: &str| std::fs::read_to_string(path).ok().and_then(first_number);
    let installed = read("/proc/meminfo").map(|kibibytes| kibibytes << 10);
    let allowed = read("/sys/fs/cgroup/memory.max");
    let part = allocation(env);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let memory_bytes = installed.into_iter().chain(allowed).chain(part.1).min().unwrap_or(4 << 30);
    Machine { cores: part.0.map_or(cores, |part| part.min(cores)), memory_bytes }
}

/// Cores and bytes that Slurm gave this process, as far as it says so (man sbatch, "OUTPUT ENVIRONMENT VARIABLES").
fn allocation(env: &BTreeMap<String, String>) -> (Option<u32>, Option<u64>) {
    // `4(x2),3`: the first node's.
    let number = |name: &str| {
        let digits = env.get(name)?.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok().filter(|number| *number > 0)
    };
    let tasks = number("SLURM_STEP_TASKS_PER_NODE").unwrap_or(1);
    let on_node = || Some((number("SLURM_CPUS_ON_NODE")? / tasks).max(1));
    let cores = number("SLURM_CPUS_PER_TASK").or_else(on_node);
    let of_node = || Some(number("SLURM_MEM_PER_NODE")? / tasks);
    let megabytes = number("SLURM_MEM_PER_CPU").and_then(|each| each.checked_mul(cores?)).or_else(of_node);
    (cores, megabytes.map(|megabytes| u64::from(megabytes) << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(folder: &Path, config: Option<&str>) -> Asked {
        let flags = BTreeMap::from([("threads", "3".to_owned())]);
        Asked { config: config.map(|name| folder.join(name)), cohort: Some(folder.join("c.toml")), flags }
    }

    #[test]
    fn what_holds_is_shown_with_its_origin() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wakachi.toml"), "[limits]\nmemory = \"4G\"\n").unwrap();
        std::fs::write(folder.path().join("other.toml"), "[limits]\nchunk_pairs = \"7K\"\n").unwrap();
        let show = |config: Option<&str>, format| {
            let mut said = String::new();
            show(&asked(folder.path(), config), format, |line| said += &format!("{line}\n")).unwrap();
            said.replace(&format!("{}/", folder.path().display()), "")
        };
        let beside = show(None, Format::Table);
        assert!(beside.contains("limits.memory            4G    wakachi.toml:2\n"), "{beside}");
        assert!(beside.contains("limits.threads           3     --threads\n"), "{beside}");
        let named = show(Some("other.toml"), Format::Table);
        assert!(named.contains("other.toml:2\n") && !named.contains("wakachi.toml"), "{named}");
        let json: serde_json::Value = serde_json::from_str(&show(None, Format::Json)).unwrap();
        assert_eq!(json["schema"], "wakachi.config/1");
        assert_eq!(json["config"][1]["origin"]["file"]["line"], 2);
    }

    #[test]
    fn an_allocation_is_shared_by_the_processes_of_a_node() {
        let check = |vars: &[(&str, &str)], expect: (Option<u32>, Option<u64>)| {
            let env =
                vars.iter().map(|(name, value)| (format!("SLURM_{name}"), (*value).to_owned())).collect();
            assert_eq!(allocation(&env), expect, "{vars:?}");
        };
        check(&[], (None, None));
        check(&[("CPUS_ON_NODE", "8"), ("MEM_PER_NODE", "4000")], (Some(8), Some(4000 << 20)));
        let ranks = ("STEP_TASKS_PER_NODE", "2(x3),1");
        check(&[("CPUS_ON_NODE", "8"), ranks, ("MEM_PER_NODE", "4000")], (Some(4), Some(2000 << 20)));
        check(&[("CPUS_PER_TASK", "3"), ranks, ("MEM_PER_CPU", "100")], (Some(3), Some(300 << 20)));
        check(&[("CPUS_ON_NODE", "1"), ("STEP_TASKS_PER_NODE", "4"), ("MEM_PER_NODE", "0")], (Some(1), None));
    }

    #[test]
    fn a_named_file_must_exist_and_every_mistake_is_a_usage_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&asked(folder.path(), Some("absent.toml"))).unwrap_err();
        assert!(matches!(&error, ConfigError::Unreadable { .. }));
        std::fs::write(folder.path().join("wakachi.toml"), "[limit]\n").unwrap();
        let error = load(&asked(folder.path(), None)).unwrap_err();
        assert_eq!(error.class().exit_code(), 2);
        assert!(
            error.to_string().contains("wakachi.toml:1:2: error: the file has no key 'limit'"),
            "{error}"
        );
    }
}
