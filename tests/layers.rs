//! Who may import whom. The table here is the one of ARCHITECTURE.md; a new crate or dependency shows up here first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each crate and those of ours it may use.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("jobs", &[]),
    ("kernels", &["jobs"]),
    ("storage", &["jobs"]),
    ("scheduler", &["jobs"]),
    ("workers", &["kernels", "storage", "jobs"]),
    ("cluster", &["scheduler", "storage", "jobs"]),
];

/// Crates that only some of ours may use.
const RESERVED: [(&str, &[&str]); 12] = [
    ("rayon", &["workers"]),
    ("tokio", &["storage", "cluster"]),
    ("hts-sys", &["workers"]),
    ("redb", &["storage"]),
    ("aws-lc-rs", &["storage", "workers"]),
    ("mpi", &["cluster"]),
    ("clap", &[]),
    ("argon2", &["storage"]),
    ("blahaj", &["storage"]),
    ("hpke", &["storage"]),
    ("jiff", &["jobs"]),
    ("rpassword", &[]),
];

/// What the pure crates must not touch, wherever they run: files, clocks, the environment, threads, the terminal.
const PURE: [&str; 3] = ["jobs", "kernels", "scheduler"];
const IMPURE: [&str; 14] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "File::",
    "stdin()",
    "stdout()",
    "stderr()",
    "println!",
    "eprintln!",
    "async fn",
];

#[test]
fn crates_use_only_the_crates_below_them() {
    for (name, may_use) in MAY_USE {
        let ours = |dependency: &&String| MAY_USE.iter().any(|(ours, _)| ours == dependency);
        let used: BTreeSet<_> =
            dependencies(name).into_iter().filter(|dependency| ours(&dependency)).collect();
        let extra: Vec<_> = used.iter().filter(|used| !may_use.contains(&used.as_str())).collect();
        assert!(extra.is_empty(), "{name} must not use {extra:?}");
    }
}

#[test]
fn engines_and_runtimes_stay_in_their_rooms() {
    for (name, _) in MAY_USE {
        for dependency in dependencies(name) {
            let reserved = RESERVED.iter().find(|(reserved, _)| *reserved == dependency);
            assert!(
                reserved.is_none_or(|(_, rooms)| rooms.contains(&name)),
                "{name} must not use {dependency}"
            );
        }
    }
}

#[test]
fn every_member_is_in_the_table_and_shares_version_and_lints() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    let members: BTreeSet<_> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(members, MAY_USE.iter().map(|(name, _)| *name).collect());
    for name in members.into_iter().chain(["."]) {
        let manifest = manifest(name);
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}: lints");
        assert_eq!(manifest["package"]["version"]["workspace"].as_bool(), Some(true), "{name}: version");
    }
}

#[test]
fn kernels_know_of_jobs_only_the_genome() {
    for (path, line, text) in code("kernels") {
        for (at, name) in text.match_indices("jobs::") {
            let whole_name = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let genome = text[at + name.len()..].starts_with("genome");
            assert!(genome || !whole_name, "{}:{line}: {text}", path.display());
        }
    }
}

#[test]
fn only_the_gate_asks_the_policy() {
    let rooms = MAY_USE.iter().map(|(room, _)| *room).filter(|room| *room != "jobs").chain(["."]);
    let mut asking = BTreeSet::new();
    for (path, _, text) in rooms.flat_map(code) {
        let calls = text.match_indices("decide(").filter(|(at, _)| {
            let before = &text[..*at];
            !before.ends_with('.') && !before.ends_with("fn ") && !before.ends_with(char::is_alphanumeric)
        });
        if calls.count() > 0 {
            asking.insert(path);
        }
    }
    assert_eq!(asking, BTreeSet::from([root().join("./src/gate.rs")]));
}

#[test]
fn pure_crates_touch_nothing_of_the_world() {
    let lines = PURE.into_iter().flat_map(code);
    let touching = lines.filter(|(_, _, text)| IMPURE.iter().any(|impure| text.contains(impure)));
    let found: Vec<_> =
        touching.map(|(path, line, text)| format!("{}:{line}: {text}", path.display())).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything a member depends on, for whatever purpose.
fn dependencies(member: &str) -> BTreeSet<String> {
    let manifest = manifest(member);
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = tables.into_iter().filter_map(|kind| manifest.get(kind)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

/// The lines of a member's sources that are not comments: file, line number from 1, text.
fn code(member: &str) -> Vec<(PathBuf, usize, String)> {
    let mut folders = vec![root().join(member).join("src")];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a source folder") {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code = text.lines().enumerate().filter(|(_, text)| !text.trim_start().starts_with("//"));
                lines.extend(code.map(|(at, text)| (path.clone(), at + 1, text.to_owned())));
            }
        }
    }
    assert!(!lines.is_empty(), "{member} has no sources");
    lines
}
