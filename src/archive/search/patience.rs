//! How long one page may take before it ends with what it has, and its cursor goes on from there.
//!
//! What a question costs is not known before it is asked: a phrase of two words that everybody writes and
//! nobody in that order is looked for in every message, and what the index does not have yet is read. So
//! work is done in steps, with a look at the clock between them. A page does some of it however late it
//! is, and so a reader who goes on comes to the end on the slowest machine.

use std::time::{Duration, Instant};

/// A build for debugging is many times slower.
const SLOWNESS: u64 = if cfg!(debug_assertions) { 100 } else { 1 };
/// For one page.
const PAGE: Duration = Duration::from_millis(20 * SLOWNESS);
/// For ranking again what a page before this one has ranked: much more than it took then. A place that
/// somebody made up must not take for ever.
const TIER: Duration = Duration::from_millis(200 * SLOWNESS);
/// For saying why there is nothing.
const EXPLANATION: Duration = Duration::from_millis(10 * SLOWNESS);
/// Messages that a page reads in any case.
const LEAST: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Patience {
    end: Instant,
    least: usize,
}

impl Patience {
    pub(super) fn for_page() -> Patience {
        Patience { end: Instant::now() + PAGE, least: LEAST }
    }

    pub(super) fn for_tier() -> Patience {
        Patience { end: Instant::now() + TIER, least: LEAST }
    }

    pub(super) fn for_explanation() -> Patience {
        Patience { end: Instant::now() + EXPLANATION, least: 0 }
    }

    /// Has no time at all.
    #[cfg(test)]
    pub(super) fn none() -> Patience {
        Patience { end: Instant::now(), least: 1 }
    }

    /// Whether there is no time for one more step.
    pub(super) fn is_over(self) -> bool {
        Instant::now() >= self.end
    }

    /// The same for somebody who has read so many messages.
    pub(super) fn is_over_after(self, read: usize) -> bool {
        read >= self.least && self.is_over()
    }
}
