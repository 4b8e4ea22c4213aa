//! What must stay true of the tree, checked by reading it.
//!
//! Each exception stands in a table below with its reason; a table entry that is no longer needed fails too.

use std::path::{Path, PathBuf};

/// Files that may be longer than [`LINES_MAX`], with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
const LINES_MAX: usize = 700;

/// Files that may hold `unsafe`, with the reason.
const UNSAFE_FILES: [(&str, &str); 3] = [
    ("workers/src/gzip/inflate.rs", "enters deflate streams in the middle"),
    ("workers/src/htslib/handle.rs", "calls htslib"),
    ("workers/src/mapped.rs", "maps files into memory"),
];

/// Files of kernels and workers that may use the system's mathematical functions, with the reason.
const LIBM_FILES: [(&str, &str); 0] = [];

/// Functions of `f32` and `f64` whose last bit depends on the C library or the CPU.
const LIBM: [&str; 22] = [
    "ln", "ln_1p", "log", "log2", "log10", "exp", "exp2", "exp_m1", "powf", "powi", "sin", "cos", "tan",
    "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "cbrt", "hypot",
];

const BYTES_MAX: u64 = 1 << 20;

#[test]
fn every_source_file_opens_by_saying_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{path} does not open with //!");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "TODO", "FIXME", "XXX"];
    for (path, text) in sources().into_iter().filter(|(path, _)| path != "tests/tidy.rs") {
        for (line, text) in numbered(&text) {
            let word = words.iter().find(|word| text.contains(**word));
            assert!(word.is_none(), "{path}:{line}: {text}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_systems_mathematical_functions() {
    let mut excused = Excuses::new(&LIBM_FILES);
    for (path, text) in sources() {
        if !["kernels/src", "workers/src"].iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (line, text) in numbered(production(&text)).filter(|(_, text)| !is_comment(text)) {
            let calls = |name: &&&str| {
                ["f32::", "f64::", "."].iter().any(|on| text.contains(&format!("{on}{name}(")))
            };
            let called = LIBM.iter().find(calls);
            assert!(called.is_none() || excused.covers(&path), "{path}:{line}: use the libm crate: {text}");
        }
    }
    excused.all_needed();
}

#[test]
fn unsafe_code_stands_only_where_it_must_and_says_why() {
    let mut excused = Excuses::new(&UNSAFE_FILES);
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, text) in lines.iter().enumerate().filter(|(_, text)| !is_comment(text)) {
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            if path.starts_with("tests/") || !words.clone().any(|word| word == "unsafe") {
                continue;
            }
            assert!(excused.covers(&path), "{path}:{}: {text}", index + 1);
            let reasons = &lines[index.saturating_sub(12)..=index];
            let said = reasons.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            assert!(said, "{path}:{}: unsafe without a SAFETY comment", index + 1);
        }
    }
    excused.all_needed();
}

#[test]
fn files_hold_one_idea() {
    let mut excused = Excuses::new(&LONG_FILES);
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX || excused.covers(&path),
            "{path} has {lines} lines; split it by its ideas"
        );
    }
    excused.all_needed();
}

#[test]
fn files_have_telling_names() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "mod"];
    for path in files() {
        for part in path.trim_end_matches(".rs").split('/') {
            assert!(!vague.contains(&part), "{path}: name it after what it holds");
        }
    }
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let folders = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    for (path, text) in texts() {
        for (line, text) in numbered(&text) {
            let named = folders.iter().find(|folder| {
                text.match_indices(folder.as_str())
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric()))
            });
            assert!(named.is_none(), "{path}:{line}: {text}");
        }
    }
}

#[test]
fn no_file_is_large() {
    for path in files() {
        let bytes = std::fs::metadata(root().join(&path)).map_or(0, |metadata| metadata.len());
        assert!(bytes <= BYTES_MAX, "{path} has {bytes} bytes");
    }
}

#[test]
fn licences_are_there_and_documents_know_every_crate() {
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(licence).is_file(), "{licence} is absent");
    }
    let workspace: toml::Table = toml::from_str(&read("Cargo.toml")).expect("Cargo.toml");
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = read(document);
        for member in workspace["workspace"]["members"].as_array().expect("members") {
            let member = member.as_str().expect("a name");
            assert!(text.contains(&format!("{member}/")), "{document} does not mention {member}/");
        }
    }
}

/// A table of exceptions, and which of them were needed.
struct Excuses {
    files: Vec<(&'static str, bool)>,
}

impl Excuses {
    fn new(table: &[(&'static str, &'static str)]) -> Self {
        Excuses { files: table.iter().map(|(path, _)| (*path, false)).collect() }
    }

    fn covers(&mut self, path: &str) -> bool {
        let entry = self.files.iter_mut().find(|(excused, _)| *excused == path);
        entry.is_some_and(|(_, needed)| {
            *needed = true;
            true
        })
    }

    fn all_needed(&self) {
        let idle: Vec<_> = self.files.iter().filter(|(_, needed)| !needed).collect();
        assert!(idle.is_empty(), "no exception is needed for {idle:?}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the tree but those that git ignores, relative to the root, sorted.
fn files() -> Vec<String> {
    let ignored = read(".gitignore");
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let mut folders = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder of the tree") {
            let entry = entry.expect("a folder entry");
            let path = folder.join(entry.file_name());
            let name = path.to_str().expect("names are UTF-8").to_owned();
            if ignored.contains(&name.as_str()) || ignored.iter().any(|ignored| entry.file_name() == *ignored)
            {
                continue;
            }
            match entry.file_type().expect("a file type").is_dir() {
                true => folders.push(path),
                false => files.push(name),
            }
        }
    }
    files.sort();
    files
}

/// Files that are text, with it.
fn texts() -> impl Iterator<Item = (String, String)> {
    files()
        .into_iter()
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(root().join(path)).ok()?)))
}

/// Rust sources with their text.
fn sources() -> Vec<(String, String)> {
    let sources: Vec<_> = texts().filter(|(path, _)| path.ends_with(".rs")).collect();
    assert!(sources.len() > 10, "the tree was not found");
    sources
}

/// The part of a source file before its unit tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}
