//! How much of the index searches have in memory by mapping it.
//!
//! A page that was read once stays mapped for as long as its file is, though the system could do
//! without it. So each search looks at the end what there is by now, and where it is too much, the
//! feeding thread maps the files anew: what was mapped is let go with the last view of it, and what is
//! needed again is still in the system's memory.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes of a page of memory, as `statm` counts them.
const PAGE_BYTES: u64 = 4_096;
/// So much is mapped before it is mapped anew.
const MAX_MAPPED: u64 = 64 << 20;

/// What is mapped beyond the files of the program and of others.
#[derive(Debug)]
pub(super) struct Maps {
    least: AtomicU64,
    crowded: Notify,
}

impl Default for Maps {
    fn default() -> Maps {
        Maps { least: AtomicU64::new(u64::MAX), crowded: Notify::new() }
    }
}

impl Maps {
    /// Tells the feeding thread where it is too much.
    pub(super) fn look(&self) {
        if self.is_too_much() {
            self.crowded.notify_one();
        }
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.is_more(mapped_bytes())
    }

    fn is_more(&self, mapped: u64) -> bool {
        let least = self.least.fetch_min(mapped, Ordering::Relaxed).min(mapped);
        mapped - least > MAX_MAPPED
    }

    /// From here on there are other maps.
    pub(super) fn begin_anew(&self) {
        self.least.store(u64::MAX, Ordering::Relaxed);
    }

    /// Ends when it was too much for somebody.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }
}

/// How much of all mapped files is in memory (proc(5), `statm`); nothing where that can not be told.
fn mapped_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let shared = statm.split_whitespace().nth(2).and_then(|pages| pages.parse::<u64>().ok());
    shared.unwrap_or_default().saturating_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_not_counted() {
        let maps = Maps::default();
        assert!(!maps.is_more(900 << 20));
        assert!(!maps.is_more((900 << 20) + MAX_MAPPED));
        assert!(maps.is_more((900 << 20) + MAX_MAPPED + 1));
        // What was let go meanwhile is room.
        assert!(!maps.is_more(10 << 20));
        assert!(maps.is_more(800 << 20));
        maps.begin_anew();
        assert!(!maps.is_more(800 << 20));
    }

    #[test]
    fn the_system_says_what_is_mapped() {
        assert!(mapped_bytes() > 0);
    }
}
