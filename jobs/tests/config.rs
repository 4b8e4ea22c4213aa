//! Where each value of the configuration comes from, and what is refused.

use jobs::config::{Config, Machine, Origin, Sources, resolve};
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
    check("[limit]\nthreads = 1\n", 1, 2, "did you mean 'limits'?");
    check("[engine.slrum]\n", 1, 9, "did you mean 'slurm'?");
    check("limits = 3\n", 1, 10, "limits: expected a table");
    check("[limits\n", 1, 8, "");
    let found = configure(&[("memory", "lots")], &[("WAKACHI_THREADS", "many")], &[]).unwrap_err();
    let shown: Vec<_> =
        found.iter().map(|found| (found.place.file.as_str(), found.message.as_str())).collect();
    assert_eq!(shown.iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["$WAKACHI_THREADS", "--memory"]);
}
