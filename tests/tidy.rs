//! What must stay true of the tree, checked by reading it.
//!
//! Each exception stands in a table below with its reason; a table entry that is no longer needed fails too.

use std::path::{Path, PathBuf};

/// Files that may be longer than [`LINES_MAX`], with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
const LINES_MAX: usize = 700;

/// Files that may hold `unsafe`, with the reason.
const UNSAFE_FILES: [(&str, &str); 8] = [
    ("cluster/src/mpi/world.rs", "lends bytes to MPI"),
    ("kernels/src/prefetch.rs", "asks for memory ahead of its use"),
    ("kernels/src/simd.rs", "runs what is compiled for features that the CPU was found to have"),
    ("src/allocator.rs", "tells the C library to keep freed memory"),
    ("workers/src/cram/rans/avx2.rs", "runs what is compiled for AVX2 where the CPU was found to have it"),
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

/// How far above `unsafe` its reason may stand: the longest reason and signature.
const SAFETY_LINES: usize = 12;

/// Largest file, in bytes: data belongs elsewhere.
const BYTES_MAX: u64 = 1 << 20;

#[test]
fn every_source_file_opens_by_saying_what_it_is_for() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    none(silent.map(|(path, _)| format!("{path} does not open with //!")));
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "TODO", "FIXME", "XXX"];
    let lines = lines(|path| path.ends_with(".rs") && path != "tests/tidy.rs");
    none(lines.filter(|line| words.iter().any(|word| line.text.contains(word))));
}

#[test]
fn results_do_not_depend_on_the_systems_mathematical_functions() {
    let mut excused = Excuses::new(&LIBM_FILES);
    let calls = |text: &str, name: &str| {
        ["f32::", "f64::", "."].iter().any(|on| text.contains(&format!("{on}{name}(")))
    };
    let rooms = ["kernels/src/", "workers/src/"];
    let lines = lines(|path| rooms.iter().any(|room| path.starts_with(room)) && !path.ends_with("tests.rs"));
    let calling = lines.filter(|line| line.is_production && LIBM.iter().any(|name| calls(&line.text, name)));
    none(calling.filter(|line| !excused.covers(&line.path)));
    excused.all_needed();
}

#[test]
fn unsafe_code_stands_only_where_it_must_and_says_why() {
    let mut excused = Excuses::new(&UNSAFE_FILES);
    let forms = ["{", "impl ", "fn ", "extern ", "trait "].map(|what| format!("unsafe {what}"));
    let is_unsafe = |text: &str| forms.iter().any(|form| text.contains(form));
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("tests/")) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_unsafe(code(line))) {
            let before = &lines[index.saturating_sub(SAFETY_LINES)..=index];
            if !excused.covers(&path) {
                found.push(format!("{path}:{}: unsafe in a file not listed for it: {line}", index + 1));
            } else if !before.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
                found.push(format!("{path}:{}: unsafe without a SAFETY comment", index + 1));
            }
        }
    }
    none(found);
    excused.all_needed();
}

#[test]
fn files_hold_one_idea() {
    let mut excused = Excuses::new(&LONG_FILES);
    let sized = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long = sized.filter(|(path, lines)| *lines > LINES_MAX && !excused.covers(path));
    none(long.map(|(path, lines)| format!("{path} has {lines} lines; split it by its ideas")));
    excused.all_needed();
}

#[test]
fn files_have_telling_names() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "mod"];
    let is_vague = |path: &String| path.trim_end_matches(".rs").split('/').any(|part| vague.contains(&part));
    none(files().into_iter().filter(is_vague));
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let folders = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let names = |text: &str, folder: &String| {
        text.match_indices(folder.as_str())
            .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric()))
    };
    none(lines(|_| true).filter(|line| folders.iter().any(|folder| names(&line.text, folder))));
}

#[test]
fn no_file_is_large() {
    let bytes = |path: &String| std::fs::metadata(root().join(path)).map_or(0, |metadata| metadata.len());
    none(files().into_iter().filter(|path| bytes(path) > BYTES_MAX));
}

#[test]
fn licences_are_there_and_documents_lead_to_every_crate() {
    let workspace: toml::Table =
        toml::from_str(&read("Cargo.toml").expect("Cargo.toml")).expect("a manifest");
    let members = workspace["workspace"]["members"].as_array().expect("a list of members");
    let members: Vec<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let mut found = Vec::new();
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        found.extend(read(licence).is_none().then(|| format!("{licence} is absent")));
    }
    let architecture = read("ARCHITECTURE.md").unwrap_or_default();
    let unknown = members.iter().filter(|member| !architecture.contains(&format!("{member}/")));
    found.extend(unknown.map(|member| format!("ARCHITECTURE.md does not mention {member}/")));
    let readme = read("README.md").unwrap_or_default();
    let documents = ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/run"];
    let unknown =
        documents.iter().filter(|document| !readme.contains(**document) || read(document).is_none());
    found.extend(unknown.map(|document| format!("README.md does not lead to {document}, or it is absent")));
    none(found);
}

/// Fails with everything that was found.
fn none<T: std::fmt::Display>(found: impl IntoIterator<Item = T>) {
    let found: Vec<String> = found.into_iter().map(|one| one.to_string()).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
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

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// Every file of the tree but those that git ignores, relative to the root, sorted.
fn files() -> Vec<String> {
    let ignored = read(".gitignore").unwrap_or_default();
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
    files().into_iter().filter_map(|path| Some((path.clone(), read(&path)?)))
}

/// Rust sources with their text.
fn sources() -> Vec<(String, String)> {
    let sources: Vec<_> = texts().filter(|(path, _)| path.ends_with(".rs")).collect();
    assert!(sources.len() > 10, "the tree was not found");
    sources
}

/// A line of a text file.
struct Line {
    path: String,
    /// From 1.
    number: usize,
    text: String,
    /// Whether it is code of the program, neither comment nor unit test.
    is_production: bool,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.number, self.text.trim())
    }
}

/// The lines of all files that `wanted` wants.
fn lines(wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Line> {
    texts().filter(move |(path, _)| wanted(path)).flat_map(|(path, text)| {
        let unit_tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        let lines_before_tests = text[..unit_tests].lines().count();
        let line = |(index, line): (usize, &str)| Line {
            path: path.clone(),
            number: index + 1,
            text: line.to_owned(),
            is_production: index < lines_before_tests && !code(line).is_empty(),
        };
        text.lines().enumerate().map(line).collect::<Vec<_>>()
    })
}

/// A line without the comment it may be.
fn code(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.trim() }
}
