//! What processes use, as `/proc` tells it, and the end of those that this benchmark has started.

use std::fs;
use std::process::Command;
use std::sync::Mutex;

/// Linux counts processor time for users in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time and memory of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// The greatest resident size of each process, added up.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// What was used since `before`; memory is what it is now.
    pub fn since(self, before: &Usage) -> Usage {
        Usage { cpu_seconds: self.cpu_seconds - before.cpu_seconds, ..self }
    }
}

/// A process, its children, and the children it has already seen end.
pub fn usage_of_tree(root: u32) -> Usage {
    let mut usage = Usage::default();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(fields) = stat(pid) else { continue };
        // Fields of proc(5) from the third on: state, ppid, …, utime (14), stime, cutime, cstime (17).
        let number =
            |field: usize| fields.get(field - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        let is_root = pid == root;
        if is_root || number(4) == u64::from(root) {
            let ended_children = if is_root { number(16) + number(17) } else { 0 };
            usage.cpu_seconds +=
                (number(14) + number(15) + ended_children) as f64 / TICKS_PER_SECOND;
            usage.peak_rss_bytes += peak_rss_bytes(pid);
        }
    }
    usage
}

/// The fields of `/proc/PID/stat` after the command's name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn peak_rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The three load averages.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Names a process that must not outlive this one.
pub fn remember(pid: u32) {
    CHILDREN.lock().unwrap().push(pid);
}

/// From here on an interrupt or a termination of this process ends its children first.
pub fn end_children_on_signal() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        for pid in CHILDREN.lock().unwrap().iter() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        std::process::exit(130);
    });
}
