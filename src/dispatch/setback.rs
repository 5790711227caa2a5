//! Clocks that go back: found, and made good in the queue.
//!
//! The queue keeps wall times, because they have to outlive the daemon. A clock that ran ahead and is
//! set right would leave every wait too long by the time that it went back, up to years. So what waits
//! is looked at when the daemon starts, and whenever the clock falls behind one that only runs forward.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Clock;
use crate::archive::{Archive, ArchiveError};
use crate::lifecycle::RetrySchedule;
use crate::model::Timestamp;

/// What a clock may be set back without a word; ordinary corrections are far smaller.
const TOLERANCE: Duration = Duration::from_secs(2);

pub(super) struct Setback {
    archive: Archive,
    schedule: Arc<RetrySchedule>,
    clock: Clock,
    /// Both clocks when they were last looked at.
    seen: Option<(Timestamp, Instant)>,
}

impl Setback {
    pub(super) fn new(archive: Archive, schedule: Arc<RetrySchedule>, clock: Clock) -> Setback {
        Setback { archive, schedule, clock, seen: None }
    }

    /// Shortens waits that are too long by the clock of now; `true` when the clock went back since
    /// the last look.
    pub(super) async fn look(&mut self) -> Result<bool, ArchiveError> {
        let (now, steady) = ((self.clock)(), Instant::now());
        let from = match self.seen.replace((now, steady)) {
            // What happened while the daemon was down can not be measured. Only rows that no wait
            // explains are looked at then, so that a long queue is not read at every start.
            None => now.plus(self.schedule.longest_wait()),
            Some((wall, since)) => {
                let expected = wall.plus(steady.duration_since(since));
                if expected.since(now) <= TOLERANCE {
                    return Ok(false);
                }
                tracing::warn!(%expected, %now, "the clock went back; waits are counted anew");
                now
            }
        };
        self.archive.shorten_waits(from, self.schedule.clone(), now).await?;
        Ok(from == now)
    }
}
