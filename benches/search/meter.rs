//! What something costs: by the clock, in time of a processor, in memory (proc(5)).

use std::time::{Duration, Instant};

/// Threads that do something else than to index.
const OTHERS: [&str; 4] = ["tokio-rt-worker", "tokio-runtime-w", "volume-writer", "records-writer"];

/// Measures one piece of work on this thread.
pub struct Meter {
    clock: Instant,
    busy: Duration,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { clock: Instant::now(), busy: busy() }
    }

    /// How long it took by the clock, and how long a processor was at it.
    pub fn end(&self) -> (Duration, Duration) {
        (self.clock.elapsed(), busy().saturating_sub(self.busy))
    }
}

/// What this thread has spent on a processor.
fn busy() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// What the threads of the index have spent on a processor. They come and go, so it is what the
/// process has spent without those that stay and do something else.
pub fn indexing_seconds() -> f64 {
    let process = seconds("/proc/self/stat");
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let main = std::process::id().to_string();
    let others = tasks.filter(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let is_main = task.file_name().to_str() == Some(&main);
        is_main || OTHERS.iter().any(|other| name.starts_with(other))
    });
    let others: f64 =
        others.filter_map(|task| Some(seconds(task.path().join("stat").to_str()?))).sum();
    process - others
}

/// User and system time, with the usual hundred ticks a second.
fn seconds(path: &str) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// What is resident, and the parts of it that are its own and that are mapped from files.
pub fn memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut line = format!("memory {when}:");
    for field in ["VmHWM", "VmRSS", "RssAnon", "RssFile"] {
        let kib = status.lines().find_map(|l| l.strip_prefix(field)?.split_whitespace().nth(1));
        let kib: u64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or_default();
        line.push_str(&format!(" {field} {} MiB", kib >> 10));
    }
    println!("{line}");
}
