//! What a thread and a process have used: CPU time and anonymous memory.

use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// CPU time of the calling thread in milliseconds.
pub fn thread_cpu_ms() -> u64 {
    milliseconds(ClockId::ThreadCPUTime)
}

/// CPU time of the process in milliseconds.
pub fn process_cpu_ms() -> u64 {
    milliseconds(ClockId::ProcessCPUTime)
}

/// CPU time of all children of the process that were waited for, in milliseconds; 0 where the system does not tell.
pub fn children_cpu_ms() -> u64 {
    /// Milliseconds of a clock tick as Linux shows it to every program (`USER_HZ`).
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): `cutime` and `cstime` are fields 16 and 17; field 2, the name, ends with the last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().skip(13);
    fields.take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * TICK_MS
}

fn milliseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Wall clock in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

/// How often the anonymous memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// Watches the process's memory until dropped.
#[derive(Debug)]
pub struct MemoryMeter {
    peak_anonymous: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl MemoryMeter {
    /// Starts watching on a thread of its own.
    pub fn start() -> Self {
        let meter = MemoryMeter { peak_anonymous: Arc::default(), stop: Arc::default() };
        let (peak, stop) = (Arc::clone(&meter.peak_anonymous), Arc::clone(&meter.stop));
        thread::spawn(move || {
            // Opening it anew would take as long as what it says.
            let Ok(status) = File::open(STATUS) else { return };
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(resident_in(&status).0, Ordering::Relaxed);
                thread::sleep(SAMPLE_INTERVAL);
            }
        });
        meter
    }

    /// The largest anonymous resident memory seen, in bytes; 0 where the system does not tell.
    pub fn peak_anonymous_bytes(&self) -> u64 {
        self.peak_anonymous.fetch_max(resident_bytes().0, Ordering::Relaxed);
        self.peak_anonymous.load(Ordering::Relaxed)
    }
}

impl Drop for MemoryMeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Anonymous and file-backed resident memory of this process in bytes (`RssAnon` and `RssFile` of Linux).
pub fn resident_bytes() -> (u64, u64) {
    File::open(STATUS).map_or((0, 0), |status| resident_in(&status))
}

/// What Linux says of this process.
const STATUS: &str = "/proc/self/status";

fn resident_in(status: &File) -> (u64, u64) {
    // It is one and a half kilobyte, of which the user's groups, before memory, may be most.
    let mut buffer = [0; 1 << 16];
    let read = status.read_at(&mut buffer, 0).unwrap_or(0);
    let status = String::from_utf8_lossy(&buffer[..read]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (field("RssAnon:"), field("RssFile:"))
}
