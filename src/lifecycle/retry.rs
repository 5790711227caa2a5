//! When to try again, and when to give up: the `[queue]` table.

use std::time::Duration;

use crate::model::Timestamp;

/// Attempts that a recipient gets whatever the clock says, so that a jump of the clock, or a week
/// in which the upstream was paused, never fails a queue in one sweep.
const MIN_ATTEMPTS_BEFORE_EXPIRY: u32 = 3;

/// The ladder of waiting times, and the age at which a recipient is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The wait after the first, second, … temporary failure; the last one repeats. Never empty.
    pub waits: Vec<Duration>,
    /// Counted from the moment at which the message could first leave.
    pub expire: Duration,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        let minutes = [1, 5, 15, 60, 240];
        RetrySchedule {
            waits: minutes.map(|m| Duration::from_secs(m * 60)).to_vec(),
            expire: Duration::from_secs(5 * 24 * 3600),
        }
    }
}

impl RetrySchedule {
    /// The wait after `attempts` attempts (at least one).
    pub fn wait_after(&self, attempts: u32) -> Duration {
        let rung = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = self.waits.len().saturating_sub(1);
        self.waits.get(rung.min(last)).copied().unwrap_or(Duration::from_secs(60))
    }

    /// The longest wait of the ladder.
    pub fn longest_wait(&self) -> Duration {
        self.waits.iter().copied().max().unwrap_or_default()
    }

    /// Whether a recipient that could first leave at `since` is given up at `now`.
    pub fn is_expired(&self, since: Timestamp, now: Timestamp, attempts: u32) -> bool {
        attempts >= MIN_ATTEMPTS_BEFORE_EXPIRY && now.since(since) >= self.expire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rung_repeats() {
        let schedule = RetrySchedule::default();
        let minutes = |attempts| schedule.wait_after(attempts).as_secs() / 60;
        assert_eq!([minutes(1), minutes(2), minutes(5), minutes(50)], [1, 5, 240, 240]);
    }

    #[test]
    fn age_alone_never_expires() {
        let schedule = RetrySchedule::default();
        let late = Timestamp::EPOCH.plus(schedule.expire);
        assert!(!schedule.is_expired(Timestamp::EPOCH, late, 2));
        assert!(schedule.is_expired(Timestamp::EPOCH, late, 3));
        assert!(!schedule.is_expired(Timestamp::EPOCH, Timestamp::from_millis(5), 30));
    }
}
