//! The read mappers that are compared: how each one builds its index and maps pairs, and what a run of it costs.
//!
//! Each has a folder of its own with a link to the reference, `ref.fa`, beside which it keeps its index. Scripts see
//! `$index` (that link), `$first`, `$second`, `$threads` and `$wakachi`, and end in the program itself, so that the
//! memory that is watched is its own.

use crate::measure::{absent, child_cpu_seconds, version, wakachi};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the memory of a run and its scratch are looked at.
const WATCH: Duration = Duration::from_millis(10);

/// A program that maps reads.
pub struct Mapper {
    pub name: &'static str,
    /// What must be on PATH; ours is not.
    program: Option<&'static str>,
    version: &'static str,
    /// Memory its index takes to build, bytes a base: measured at 111 Mb; larger genomes take as much or more.
    build_bytes_per_base: f64,
    /// A genome too large for `index` to be built in memory, but not for this one.
    frugal_index: Option<&'static str>,
    index: &'static str,
    map: &'static str,
}

pub const MAPPERS: [Mapper; 6] = [
    Mapper {
        name: "wakachi",
        program: None,
        version: "",
        build_bytes_per_base: 4.0,
        frugal_index: None,
        index: r#"exec "$wakachi" index "$index" -t 1"#,
        map: r#"exec "$wakachi" align "$index" "$first" "$second" -o - -t "$threads""#,
    },
    Mapper {
        name: "strobealign",
        program: Some("strobealign"),
        version: "strobealign --version",
        build_bytes_per_base: 20.0,
        frugal_index: None,
        index: r#"exec strobealign --create-index -r 150 -t 1 "$index""#,
        map: r#"exec strobealign --use-index -r 150 -t "$threads" "$index" "$first" "$second""#,
    },
    Mapper {
        name: "SNAP",
        program: Some("snap-aligner"),
        version: "snap-aligner 2>&1 | sed 's/^Welcome to //'",
        build_bytes_per_base: 14.0,
        frugal_index: None,
        index: r#"exec snap-aligner index "$index" "${index%/*}/snap" -t1"#,
        map: r#"exec snap-aligner paired "${index%/*}/snap" "$first" "$second" -t "$threads" -o -sam -"#,
    },
    Mapper {
        name: "minibwa",
        program: Some("minibwa"),
        version: "minibwa version | sed 's/^/minibwa /'",
        build_bytes_per_base: 12.5,
        frugal_index: Some(r#"exec minibwa index -l "$index""#),
        index: r#"exec minibwa index -t 1 "$index""#,
        map: r#"exec minibwa map -t "$threads" "$index" "$first" "$second""#,
    },
    Mapper {
        name: "minimap2",
        program: Some("minimap2"),
        version: "minimap2 --version | sed 's/^/minimap2 /'",
        build_bytes_per_base: 8.0,
        frugal_index: None,
        index: r#"exec minimap2 -x sr -t 1 -d "$index.mmi" "$index""#,
        map: r#"exec minimap2 -ax sr -t "$threads" "$index.mmi" "$first" "$second""#,
    },
    Mapper {
        name: "bwa-mem2",
        program: Some("bwa-mem2"),
        version: "bwa-mem2 version 2>/dev/null | sed 's/^/bwa-mem2 /'",
        build_bytes_per_base: 28.0,
        frugal_index: None,
        index: r#"exec bwa-mem2 index "$index""#,
        map: r#"exec bwa-mem2 mem -t "$threads" "$index" "$first" "$second""#,
    },
];

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    /// Largest resident set of the script's own process.
    pub peak_bytes: u64,
    /// Most bytes that the watched folder held at a time.
    pub peak_scratch_bytes: u64,
}

impl Mapper {
    /// Whether it is the program under measurement.
    pub fn is_ours(&self) -> bool {
        self.program.is_none()
    }

    pub fn is_absent(&self) -> bool {
        self.program.is_some_and(|program| !absent(&[program]).is_empty())
    }

    pub fn version(&self) -> String {
        version(self.version)
    }

    /// Why it cannot have an index of so many bases here; `None` if it can.
    pub fn unfit(&self, bases: u64) -> Option<String> {
        let bytes = self.build_bytes_per_base * bases as f64;
        let fits = bytes < available_bytes() as f64 || self.frugal_index.is_some();
        (!fits).then(|| format!("{} (its index takes about {:.0} GB to build)", self.name, bytes / 1e9))
    }

    /// Builds the index below `folder` unless an earlier run with the same folder did; what that cost.
    pub fn index(&self, folder: &Path, reference: &Path, bases: u64) -> Cost {
        let index = self.link(folder);
        let cost_file = folder.join(self.name).join("cost.json");
        if let Some(cost) = std::fs::read(&cost_file).ok().and_then(|text| serde_json::from_slice(&text).ok())
        {
            return cost;
        }
        std::fs::create_dir_all(folder.join(self.name)).expect("a folder of its own");
        if !index.exists() {
            symlink(reference, &index).expect("a link to the reference");
        }
        let fits = self.build_bytes_per_base * (bases as f64) < available_bytes() as f64;
        let script = self.frugal_index.filter(|_| !fits).unwrap_or(self.index);
        let mut run = Run::new(script);
        run.command.env("index", &index);
        let cost = run.wait(drain);
        std::fs::write(&cost_file, serde_json::to_vec(&cost).expect("numbers")).expect("its cost");
        cost
    }

    /// Bytes of the index on disk.
    pub fn index_bytes(&self, folder: &Path) -> u64 {
        let own = |name: &str| name == "cost.json" || name.ends_with(".fai");
        folder_bytes(&folder.join(self.name), &own)
    }

    /// Maps pairs; `sink` reads the SAM.
    pub fn map<T>(
        &self,
        folder: &Path,
        reads: &[PathBuf; 2],
        threads: usize,
        sink: impl FnOnce(ChildStdout) -> T,
    ) -> (Cost, T) {
        let mut run = Run::new(self.map);
        run.command.env("index", self.link(folder)).env("first", &reads[0]).env("second", &reads[1]);
        run.command.env("threads", threads.to_string());
        let mut sunk = None;
        let cost = run.wait(|out| sunk = Some(sink(out)));
        (cost, sunk.expect("the sink was called"))
    }

    fn link(&self, folder: &Path) -> PathBuf {
        folder.join(self.name).join("ref.fa")
    }
}

/// A script about to run.
pub struct Run {
    pub command: Command,
    script: String,
    scratch: Option<PathBuf>,
}

impl Run {
    pub fn new(script: &str) -> Run {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).env("wakachi", wakachi());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Run { command, script: script.to_owned(), scratch: None }
    }

    /// Watches how much a folder holds.
    pub fn watching(mut self, folder: &Path) -> Run {
        self.scratch = Some(folder.to_owned());
        self
    }

    /// Runs to the end, which must be a good one; `sink` reads its output.
    pub fn wait(mut self, sink: impl FnOnce(ChildStdout)) -> Cost {
        let (before, begun) = (child_cpu_seconds(), Instant::now());
        let mut child = self.command.spawn().expect("bash");
        let (out, mut err) = (child.stdout.take(), child.stderr.take());
        let (pid, ended) = (child.id(), AtomicBool::new(false));
        let watch = || {
            let mut peaks = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                peaks.0 = peaks.0.max(peak_bytes(pid));
                peaks.1 =
                    peaks.1.max(self.scratch.as_ref().map_or(0, |folder| folder_bytes(folder, &|_| false)));
                std::thread::sleep(WATCH);
            }
            peaks
        };
        std::thread::scope(|scope| {
            let watching = scope.spawn(watch);
            let complaints = scope.spawn(move || {
                let mut text = Vec::new();
                err.as_mut().map(|err| err.read_to_end(&mut text)).transpose().map(|_| text)
            });
            sink(out.expect("a pipe"));
            let status = child.wait().expect("its own child");
            let wall_seconds = begun.elapsed().as_secs_f64();
            ended.store(true, Ordering::Relaxed);
            let complaints = complaints.join().expect("no panic").expect("a pipe");
            assert!(status.success(), "{}\n{}", self.script, String::from_utf8_lossy(&complaints));
            let (peak_bytes, peak_scratch_bytes) = watching.join().expect("no panic");
            let cpu_seconds = child_cpu_seconds() - before;
            Cost { cpu_seconds, wall_seconds, peak_bytes, peak_scratch_bytes }
        })
    }
}

/// Reads to the end.
pub fn drain(mut out: ChildStdout) {
    std::io::copy(&mut out, &mut std::io::sink()).expect("a pipe");
}

/// Bytes of the files below a folder, but for links and names left out.
pub fn folder_bytes(folder: &Path, is_left_out: &dyn Fn(&str) -> bool) -> u64 {
    // Files may vanish while they are counted.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = entries.filter(|entry| !is_left_out(&entry.file_name().to_string_lossy()));
    kept.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path(), is_left_out),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    })
    .sum()
}

/// A field of a file of `/proc` in kB, as bytes; 0 if it is gone.
fn kilobytes(path: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}

fn peak_bytes(pid: u32) -> u64 {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn available_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemAvailable:")
}
