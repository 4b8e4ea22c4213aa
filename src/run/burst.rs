//! The burst site of a job: what `[engine.tes]` asks for, and whose data may go there.

use super::freight::SiteFreight;
use super::runner::Runner;
use crate::gate::GateError;
use cluster::store::Store;
use cluster::tes::api::Resources;
use cluster::tes::{Client, Settings};
use jobs::config::{Config, Resolved};
use jobs::failure::{Class, Classified, Failure};
use jobs::policy::{Action, DataClass};
use jobs::quantity::parse_bytes;
use jobs::task::Stage;
use scheduler::{BundleLimits, SiteSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a gigabyte, as the interface counts.
const GIGABYTE: f64 = 1e9;
/// S3 signs no URL for longer.
const BUNDLE_HOURS_MAX: u64 = 7 * 24;
/// The site's queue and the machine's start, where nobody says otherwise.
const LATENCY_SECONDS: u64 = 120;

/// The `[engine.tes]` table.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tes {
    /// Base URL of the service, such as `https://tes.example.org/ga4gh/tes/v1`.
    url: String,
    /// A file that holds a bearer token for it.
    token_file: Option<PathBuf>,
    /// The site, as sites.toml calls it, where the service runs its tasks.
    site: String,
    /// The container image of the worker.
    image: String,
    /// URL of the program as the service reads it, where the image does not hold it; it is then run by /bin/sh.
    binary: Option<String>,
    /// Where tasks may run.
    #[serde(default)]
    zones: Vec<String>,
    /// Whether machines may be taken away: they are cheaper. Default: true.
    #[serde(default = "yes")]
    preemptible: bool,
    /// Words of the service's own, such as a type of machine.
    #[serde(default)]
    backend_parameters: BTreeMap<String, String>,
    /// Cores of one bundle. Default: 8.
    #[serde(default = "eight")]
    cores: u32,
    /// Memory of one bundle. Default: "32G".
    #[serde(default = "memory")]
    memory: String,
    /// Disk of one bundle. Default: "100G".
    #[serde(default = "disk")]
    disk: String,
    /// Bundles that wait or run at once. Default: 8.
    #[serde(default = "eight")]
    bundles: u32,
    /// Wished length of a bundle. Default: 30.
    #[serde(default = "thirty")]
    bundle_minutes: u64,
    /// After this a bundle that is not over is given up, and its URLs are worth nothing. Default: 24.
    #[serde(default = "day")]
    bundle_hours_max: u64,
    /// How often a bundle is looked after. Default: 15.
    #[serde(default = "fifteen")]
    poll_seconds: f64,
    /// Where workers keep the reference's index between bundles, if anything outlives them there.
    cache: Option<String>,
}

/// The `[site.NAME]` table of a burst site.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteTable {
    /// The object store beside it: s3://bucket/prefix.
    store: String,
    /// Price of one core for one hour.
    #[serde(default)]
    price_core_hour: f64,
    /// From a bundle's submission to its start.
    latency_seconds: Option<u64>,
    /// Bandwidth from here to there, such as "100M" bytes a second.
    bytes_per_second: Option<String>,
}

fn yes() -> bool {
    true
}
fn eight() -> u32 {
    8
}
fn memory() -> String {
    "32G".to_owned()
}
fn disk() -> String {
    "100G".to_owned()
}
fn thirty() -> u64 {
    30
}
fn day() -> u64 {
    24
}
fn fifteen() -> f64 {
    15.0
}

/// The configuration names no usable burst site.
#[derive(Debug, thiserror::Error)]
pub enum BurstError {
    /// A table is missing or wrong.
    #[error("configuration [{table}]: {what}")]
    Table {
        /// Which.
        table: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Classified for BurstError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("docs/operators/cloud.md has an example; wakachi config show prints what holds".to_owned())
    }
}

/// Everything that makes a burst site.
pub struct Burst {
    tes: Tes,
    table: SiteTable,
    gigabytes: (f64, f64),
    bytes_per_second: Option<u64>,
}

impl Burst {
    /// What the configuration says; every value is checked before anything is sent.
    pub fn of(config: &Config) -> Result<Self, BurstError> {
        let tes: Tes = table(config, "engine.tes")?;
        let site = format!("site.{}", tes.site);
        let found: SiteTable = table(config, &site)?;
        let wrong = |table: &str, what: String| BurstError::Table { table: table.to_owned(), what };
        let amount = |table: &str, key: &str, text: &str| {
            parse_bytes(text).map_err(|error| wrong(table, format!("{key}: {error}")))
        };
        let memory = amount("engine.tes", "memory", &tes.memory)?;
        let disk = amount("engine.tes", "disk", &tes.disk)?;
        let bytes_per_second = found.bytes_per_second.as_deref();
        let bytes_per_second =
            bytes_per_second.map(|text| amount(&site, "bytes_per_second", text)).transpose()?;
        let in_bounds = [
            ("cores", (1..=4096).contains(&tes.cores)),
            ("bundles", (1..=1000).contains(&tes.bundles)),
            ("bundle_minutes", (1..=24 * 60).contains(&tes.bundle_minutes)),
            ("bundle_hours_max", (1..=BUNDLE_HOURS_MAX).contains(&tes.bundle_hours_max)),
            ("poll_seconds", (0.01..=3600.0).contains(&tes.poll_seconds)),
        ];
        if let Some((key, _)) = in_bounds.iter().find(|(_, sound)| !sound) {
            return Err(wrong("engine.tes", format!("{key}: out of range")));
        }
        Ok(Burst {
            tes,
            table: found,
            gigabytes: (memory as f64 / GIGABYTE, disk as f64 / GIGABYTE),
            bytes_per_second,
        })
    }

    /// What goes there: intake and model read whole files, the last stages write them.
    pub const STAGES: [bool; Stage::ALL.len()] = [false, false, true, true, true, false, false];

    /// The site's name.
    pub fn site(&self) -> &str {
        &self.tes.site
    }

    /// The site as the scheduler sees it: it takes what reads and writes packs, of the samples whose data may be there.
    pub fn spec(&self, runner: &Runner<'_>) -> Result<SiteSpec, GateError> {
        let register = runner.gate.register()?;
        let named = &runner.cohort.governance.sites;
        let is_named = named.is_empty() || named.iter().any(|site| site.text == self.tes.site);
        let allowed = (0..runner.context.samples.len() as u32).map(|sample| {
            let subjects = runner.subjects(&[sample]);
            // Reads are the most sensitive of what goes there; each task is asked for again with its own class.
            let asked = [Action::Dispatch, Action::Read].map(|action| {
                runner.gate.ask_at(self.site(), &register, action, DataClass::Fastq, &subjects).is_ok()
            });
            is_named && asked == [true, true]
        });
        Ok(SiteSpec {
            name: self.tes.site.clone(),
            price_core_hour: self.table.price_core_hour,
            latency_ms: self.table.latency_seconds.unwrap_or(LATENCY_SECONDS) * 1000,
            bytes_per_second: self.bytes_per_second,
            bundles: Some(BundleLimits {
                bundles_max: self.tes.bundles,
                bundle_ms: self.tes.bundle_minutes * 60_000,
            }),
            allowed: allowed.collect(),
            stages: Self::STAGES,
        })
    }

    /// What the engine is told.
    pub fn settings(
        &self,
        runner: &Runner<'_>,
        fence: u64,
        (engine, site): (u8, u16),
    ) -> Result<Settings, Failure> {
        let tes = &self.tes;
        let secret = runner.keys.job_secret("burst")?;
        let tag = blake3::hash(&secret[..]).to_hex()[..20].to_owned();
        let lease = Duration::from_secs(runner.gate.policy().lease_ttl_seconds.into());
        Ok(Settings {
            client: Client::new(&tes.url, tes.token_file.clone())?,
            store: Store::open(&self.table.store)?,
            tag,
            job: runner.context.job.clone(),
            fence,
            engine,
            site: (site, tes.site.clone()),
            bundles_max: tes.bundles,
            image: tes.image.clone(),
            binary: tes.binary.clone(),
            resources: Resources {
                cpu_cores: tes.cores,
                ram_gb: self.gigabytes.0,
                disk_gb: self.gigabytes.1,
                preemptible: tes.preemptible,
                zones: tes.zones.clone(),
                backend_parameters: tes.backend_parameters.clone(),
                backend_parameters_strict: false,
            },
            cache: tes.cache.clone(),
            bundle_life: Duration::from_secs(tes.bundle_hours_max * 3600),
            poll: Duration::from_secs_f64(tes.poll_seconds),
            renew: lease / 3,
            scratch: runner.dir.scratch().join("tes"),
        })
    }

    /// Who packs for it.
    pub fn freight<'a>(
        &self,
        runner: &'a Runner<'a>,
        leases: &'a storage::lease::LeaseKey,
    ) -> SiteFreight<'a> {
        SiteFreight { runner, leases, site: self.tes.site.clone() }
    }
}

/// A table of the configuration; what holds of it may come from several files.
fn table<T: serde::de::DeserializeOwned>(config: &Config, name: &str) -> Result<T, BurstError> {
    let prefix = format!("{name}.");
    let line = |one: &Resolved| Some(format!("{} = {}\n", one.key.strip_prefix(&prefix)?, one.value));
    let text: String = config.resolved.iter().filter_map(line).collect();
    let wrong = |error: toml::de::Error| BurstError::Table {
        table: name.to_owned(),
        what: error.message().to_owned(),
    };
    toml::from_str(&text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::config::{Machine, Sources, resolve};

    fn burst(tes: &str, site: &str) -> Result<Burst, BurstError> {
        let text = format!("[engine.tes]\n{tes}\n[site.cloud]\n{site}\n");
        let files = [("wakachi.toml".to_owned(), text.into_bytes())];
        let machine = Machine { cores: 1, memory_bytes: 1 << 30 };
        let (flags, env) = (BTreeMap::new(), BTreeMap::new());
        let config = resolve(&Sources { flags: &flags, env: &env, files: &files, machine });
        Burst::of(&config.expect("a configuration"))
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        const TES: &str = "url = \"https://h/v1\"\nsite = \"cloud\"\nimage = \"i\"";
        const STORE: &str = "store = \"s3://b/p\"";
        let sound = burst(&format!("{TES}\nbackend_parameters = {{ VmSize = \"D8\" }}"), STORE);
        let sound = sound.map_err(|error| error.to_string()).unwrap();
        assert_eq!((sound.tes.cores, sound.tes.backend_parameters["VmSize"].as_str()), (8, "D8"));
        for (tes, site, named) in [
            ("url = \"https://h\"", STORE, "[engine.tes]: missing field `site`"),
            (TES, "price_core_hour = 1", "[site.cloud]: missing field `store`"),
            (&format!("{TES}\ncore = 3"), STORE, "unknown field `core`"),
            (&format!("{TES}\ncores = 0"), STORE, "cores: out of range"),
            (&format!("{TES}\nbundle_hours_max = 200"), STORE, "bundle_hours_max: out of range"),
            (&format!("{TES}\nmemory = \"much\""), STORE, "memory: "),
        ] {
            let error = burst(tes, site).map(drop).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
