//! Where each value of the configuration comes from, and what is refused.

use jobs::config::{Config, Machine, OnFailedSample, Origin, Sources, resolve};
use jobs::diagnostic::Diagnostic;
use std::collections::BTreeMap;

fn configure(
    flags: &[(&'static str, &str)],
    env: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Config, Vec<Diagnostic>> {
    let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, value.to_string())).collect();
    let env: BTreeMap<_, _> = env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let files: Vec<_> =
        files.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect();
    let machine = Machine { cores: 2, memory_bytes: 16 << 30 };
    resolve(&Sources { flags: &flags, env: &env, files: &files, machine })
}

fn origin<'c>(config: &'c Config, key: &str) -> (&'c str, String) {
    let resolved = config.resolved.iter().find(|resolved| resolved.key == key).expect(key);
    (&resolved.value, resolved.origin.to_string())
}

#[test]
fn defaults_come_from_the_machine() {
    let config = configure(&[], &[], &[]).unwrap();
    assert_eq!((config.limits.threads, config.limits.memory_bytes), (2, 12 << 30));
    assert_eq!(origin(&config, "limits.memory"), ("12G", "default".to_owned()));
    assert_eq!(origin(&config, "limits.chunk_pairs"), ("250K", "default".to_owned()));
    assert_eq!(origin(&config, "limits.on_failed_sample"), ("stop", "default".to_owned()));
    let config = configure(&[], &[], &[("a.toml", "[limits]\non_failed_sample = \"go_on\"\n")]).unwrap();
    assert_eq!(config.limits.on_failed_sample, OnFailedSample::GoOn);
}

#[test]
fn a_flag_beats_the_environment_beats_the_nearest_file_beats_the_default() {
    let near = ("near.toml", "[limits]\nmemory = \"4G\"\nshard_bases = 1_000_000\n");
    let far =
        ("/etc/wakachi/wakachi.toml", "[limits]\nmemory = \"2G\"\nchunk_pairs = \"10K\"\nthreads = 0x8\n");
    let config =
        configure(&[("threads", "3")], &[("WAKACHI_MEMORY", "6G"), ("WAKACHI_THREADS", "5")], &[near, far]);
    let config = config.unwrap();
    assert_eq!(origin(&config, "limits.threads"), ("3", "--threads".to_owned()));
    assert_eq!(origin(&config, "limits.memory"), ("6G", "$WAKACHI_MEMORY".to_owned()));
    assert_eq!(origin(&config, "limits.shard_bases"), ("1M", "near.toml:3".to_owned()));
    assert_eq!(origin(&config, "limits.chunk_pairs"), ("10K", "/etc/wakachi/wakachi.toml:3".to_owned()));
    assert_eq!(config.limits.memory_bytes, 6 << 30);
    let config = configure(&[], &[("WAKACHI_MEMORY", "")], &[near, far]).unwrap();
    assert_eq!(origin(&config, "limits.memory"), ("4G", "near.toml:2".to_owned()));
    assert_eq!(config.limits.threads, 8);
}

#[test]
fn what_is_asked_of_slurm_comes_from_the_same_places() {
    let near = ("near.toml", "[engine.slurm]\nnodes = 4\nqos = \"low\"\nsetup = [\"module load x\"]\n");
    let far = ("far.toml", "[engine.slurm]\nnodes = 8\ntime = \"2-00\"\npartition = \"batch\"\n");
    let env = [("WAKACHI_SLURM_PARTITION", "night"), ("WAKACHI_SLURM_QOS", "high")];
    let config = configure(&[("qos", "top")], &env, &[near, far]).unwrap();
    let slurm = &config.slurm;
    assert_eq!((slurm.number("nodes"), slurm.time_seconds()), (Some(4), Some(172_800)));
    assert_eq!(
        (slurm.get("partition"), slurm.get("qos"), slurm.get("mem")),
        (Some("night"), Some("top"), None)
    );
    assert_eq!(slurm.setup, ["module load x"]);
    assert_eq!(origin(&config, "engine.slurm.qos"), ("top", "--qos".to_owned()));
    assert_eq!(origin(&config, "engine.slurm.partition"), ("night", "$WAKACHI_SLURM_PARTITION".to_owned()));
    assert_eq!(origin(&config, "engine.slurm.time"), ("\"2-00\"", "far.toml:3".to_owned()));
    let found = configure(&[("time", "soon")], &[("WAKACHI_SLURM_MPI", "mpich")], &[]).unwrap_err();
    let shown: Vec<_> = found.iter().map(|found| found.place.file.as_str()).collect();
    assert_eq!(shown, ["$WAKACHI_SLURM_MPI", "--time"]);
}

#[test]
fn tables_of_later_use_are_carried_with_their_place() {
    let file = "[site.ncc]\njurisdiction = \"JP\"\n[engine.slurm]\npartition = \"batch\"\n[vault]\nsites = [\"a\"]\n";
    let config = configure(&[], &[], &[("w.toml", file)]).unwrap();
    assert_eq!(origin(&config, "site.ncc.jurisdiction"), ("\"JP\"", "w.toml:2".to_owned()));
    assert_eq!(origin(&config, "engine.slurm.partition"), ("\"batch\"", "w.toml:4".to_owned()));
    assert_eq!(origin(&config, "vault.sites"), ("[\"a\"]", "w.toml:6".to_owned()));
    let place = &config.resolved.iter().find(|resolved| resolved.key == "vault.sites").unwrap().origin;
    assert!(matches!(place, Origin::File(place) if place.column == 1));
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let check = |file: &str, line: u32, column: u32, part: &str| {
        let found = configure(&[], &[], &[("w.toml", file)]).expect_err(file);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].place.line, found[0].place.column), (line, column), "{file}");
        assert!(found[0].to_string().contains(part), "{part:?} in {}", found[0]);
    };
    check("[limits]\nmemory = \"8X\"\n", 2, 10, "unknown unit 'X'");
    check("[limits]\nmemory = 8.5\n", 2, 10, "expected a number");
    check("[limits]\nmemory = \"8M\"\n", 2, 10, "out of range; expected 256M to 1024T");
    check("[limits]\nthreads = 0\n", 2, 11, "out of range");
    check("[limits]\nthreads = -1\n", 2, 11, "'-1' is no amount");
    check("[limits]\nthread = 1\n", 2, 1, "did you mean 'threads'?");
    check(
        "[limits]\non_failed_sample = \"go on\"\n",
        2,
        20,
        "on_failed_sample: 'go on'; expected stop or go_on",
    );
    check("[limit]\nthreads = 1\n", 1, 2, "did you mean 'limits'?");
    check("[engine.slurm]\nparttion = \"a\"\n", 2, 1, "did you mean 'partition'?");
    check("[engine.slurm]\npartition = \"a b\"\n", 2, 13, "partition: 'a b' will not do; expected a name");
    check("[engine.slurm]\nnodes = 0\n", 2, 9, "expected a number from 1 to 100000");
    check("[engine.slurm]\ntime = \"1h\"\n", 2, 8, "expected a time such as");
    check("[engine.slurm]\nsbatch = [\"--exclusive\", \"rm\"]\n", 2, 26, "expected an option");
    check("[engine.slurm]\nsetup = [\"a\\nb\"]\n", 2, 10, "setup: expected one line");
    check("[engine.slrum]\n", 1, 9, "did you mean 'slurm'?");
    check("limits = 3\n", 1, 10, "limits: expected a table");
    check("[limits\n", 1, 8, "");
    let found = configure(&[("memory", "lots")], &[("WAKACHI_THREADS", "many")], &[]).unwrap_err();
    let shown: Vec<_> =
        found.iter().map(|found| (found.place.file.as_str(), found.message.as_str())).collect();
    assert_eq!(shown.iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["$WAKACHI_THREADS", "--memory"]);
}
