//! What every bench shares: data from a seed, CPU time of what is measured, and the record in Markdown on stdout.
//!
//! `cargo bench --bench NAME > benches/record/NAME.md` measures; `cargo test` runs the same code on little data and
//! checks the answers only. CPU seconds, not wall clock: machines are shared.

#![allow(dead_code, reason = "no bench needs all of it")]

use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use workers::simulate::{self, Options, Summary};

/// Clock ticks of `/proc/self/stat` per second; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whether to measure; otherwise the bench runs as a test.
pub fn is_full() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A simulated cohort in a folder of its own.
pub struct Cohort {
    folder: tempfile::TempDir,
    pub summary: Summary,
    options: Options,
}

impl Cohort {
    /// Always the same bytes for the same numbers.
    pub fn simulate(samples: u32, genome_mb: f64, depth: f64) -> Cohort {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("sim");
        let options = Options {
            out,
            seed: 1,
            samples,
            genome_mb: Some(genome_mb),
            depth,
            tumor: false,
            reference: None,
            withdrawn: 0,
            as_of: Default::default(),
            threads: 1,
        };
        let summary = simulate::run(&options, &mut |_| ()).expect("a simulation");
        Cohort { folder, summary, options }
    }

    /// A path for the bench's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The FASTQ pair of a sample.
    pub fn reads(&self, sample: usize) -> [PathBuf; 2] {
        let name = &self.summary.samples[sample].name;
        ["R1", "R2"].map(|mate| self.options.out.join(format!("reads/{name}_{mate}.fastq.gz")))
    }

    /// Sequenced bases over all samples.
    pub fn bases(&self) -> f64 {
        self.summary.samples.iter().map(|sample| sample.pairs as f64 * 300.0).sum()
    }

    /// What was simulated, and the hash of what the bench reads.
    pub fn description(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let reads = (0..self.summary.samples.len()).flat_map(|sample| self.reads(sample));
        for path in [self.summary.reference.clone()].into_iter().chain(reads) {
            hasher.update(&std::fs::read(path).expect("a simulated file"));
        }
        let Options { seed, samples, genome_mb, depth, .. } = &self.options;
        let genome_mb = genome_mb.unwrap_or(simulate::GENOME_MB);
        format!(
            "`wakachi simulate --seed {seed} --samples {samples} --genome-mb {genome_mb} --depth {depth}`: \
             {:.4} Gbase of pairs 2 x 150; BLAKE3 of reference and reads {}",
            self.bases() / 1e9,
            &hasher.finalize().to_hex()[..16],
        )
    }
}

/// CPU seconds of this process and, to a hundredth, its children so far.
pub fn cpu_seconds() -> f64 {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    own.tv_sec as f64 + own.tv_nsec as f64 / 1e9 + child_cpu_seconds()
}

/// CPU seconds, to a hundredth, of the children this process has waited for.
pub fn child_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // proc(5): the name ends with the last ')'; cutime and cstime are fields 16 and 17.
    let fields = stat.rsplit_once(')').expect("a process name").1.split_whitespace();
    let ticks: f64 = fields.skip(13).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks")).sum();
    ticks / TICKS_PER_SECOND
}

/// Runs a shell script that must succeed; its CPU seconds.
pub fn shell(script: &str) -> f64 {
    let before = cpu_seconds();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).stdout(Stdio::null());
    let done = bash.stderr(Stdio::piped()).output().expect("bash");
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    cpu_seconds() - before
}

/// The program under measurement.
pub fn wakachi() -> &'static str {
    env!("CARGO_BIN_EXE_wakachi")
}

/// A path in a shell script.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// Which of these programs are not on PATH.
pub fn absent<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let is_absent = |program: &&&str| !folders.iter().any(|folder| folder.join(program).is_file());
    programs.iter().filter(is_absent).copied().collect()
}

/// First line that a peer says of its version.
pub fn version(command: &str) -> String {
    let done = Command::new("bash").args(["-c", command]).output().expect("bash");
    let text = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// Smallest, median and largest, as text.
pub fn spread(values: &[f64]) -> String {
    spread_to(values, 2)
}

/// Smallest, median and largest, as text with so many decimal digits.
pub fn spread_to(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let [smallest, largest] = [sorted[0], sorted[sorted.len() - 1]];
    format!("{:.digits$} ({smallest:.digits$} to {largest:.digits$})", median(values))
}

/// The middle of the values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Prints the head of a record: question, machine, date, command, input.
pub fn head(question: &str, bench: &str, input: &str, peers: &[String], absent: &[&str]) {
    println!("# {question}\n");
    println!("- machine: {}", machine());
    println!("- load before: {}", version("cut -d' ' -f1-3 /proc/loadavg"));
    println!("- date: {}; wakachi {}", version("date -u +%F"), env!("CARGO_PKG_VERSION"));
    println!("- command: `cargo bench --bench {bench}`");
    println!("- input: {input}");
    println!("- peers: {}", if peers.is_empty() { "none".to_owned() } else { peers.join("; ") });
    if !absent.is_empty() {
        println!("- not on PATH, so not measured: {}", absent.join(", "));
    }
    println!();
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    };
    let flags: Vec<&str> = field("flags").split(' ').collect();
    let vectors = ["avx512vbmi", "avx512bw", "avx2"].into_iter().find(|flag| flags.contains(flag));
    let system = version("sed -n 's/^PRETTY_NAME=//p' /etc/os-release");
    format!(
        "{cores} cores, {}, {}, {}; shared with other work, so quote ratios",
        field("model name"),
        vectors.unwrap_or("no AVX2"),
        system.trim_matches('"'),
    )
}
