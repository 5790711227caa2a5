//! How long a client of an SMTP port may take. Deadlines are absolute: a client that sends an octet now and then
//! gets no further than one that sends nothing.

use std::time::Duration;

use tokio::time::Instant;

use crate::smtp::Phase;

/// A command that has begun must be complete in this time.
const COMMAND: Duration = Duration::from_secs(60);
/// Any message gets this much time, and more only for octets that really come.
const MESSAGE: Duration = Duration::from_secs(60);
/// So slow a line could not be used for anything else either.
const MIN_BYTES_PER_SECOND: u64 = 1_024;

/// Follows what a session waits for, and since when.
#[derive(Debug)]
pub(super) struct Patience {
    idle: Duration,
    phase: Phase,
    since: Instant,
    last_octet: Instant,
    received_bytes: u64,
}

impl Patience {
    /// `idle` is how long nothing at all may come.
    pub(super) fn new(idle: Duration) -> Patience {
        let now = Instant::now();
        Patience { idle, phase: Phase::Idle, since: now, last_octet: now, received_bytes: 0 }
    }

    /// The session went on to `phase`; `progress` says that it answered something.
    pub(super) fn observe(&mut self, phase: Phase, progress: bool) {
        if progress || phase != self.phase {
            self.since = Instant::now();
            self.received_bytes = 0;
        }
        self.phase = phase;
    }

    /// Octets came.
    pub(super) fn received(&mut self, count: usize) {
        self.last_octet = Instant::now();
        self.received_bytes = self.received_bytes.saturating_add(count as u64);
    }

    /// When to give up.
    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Line => self.since + self.idle.min(COMMAND),
            Phase::Message => {
                let earned = Duration::from_secs(self.received_bytes / MIN_BYTES_PER_SECOND);
                (self.since + MESSAGE + earned).min(self.last_octet.max(self.since) + self.idle)
            }
            Phase::Idle | Phase::Verdict | Phase::Closed => self.since + self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn dripping_earns_no_time() {
        let start = Instant::now();
        let mut patience = Patience::new(5 * MINUTE);
        assert_eq!(patience.deadline(), start + 5 * MINUTE);
        for phase in [Phase::Line, Phase::Message] {
            patience.observe(phase, true);
            let start = Instant::now();
            for _ in 0..50 {
                tokio::time::advance(Duration::from_secs(1)).await;
                patience.received(1);
                patience.observe(phase, false);
            }
            assert_eq!(patience.deadline(), start + MINUTE, "{phase:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn octets_earn_time_and_silence_ends_it() {
        let start = Instant::now();
        let mut patience = Patience::new(5 * MINUTE);
        patience.observe(Phase::Message, true);
        patience.received(1_024 * 3_600);
        assert_eq!(patience.deadline(), start + 5 * MINUTE);
        tokio::time::advance(4 * MINUTE).await;
        patience.received(1);
        assert_eq!(patience.deadline(), start + 9 * MINUTE);
        patience.observe(Phase::Idle, true);
        assert_eq!(patience.deadline(), start + 9 * MINUTE);
    }
}
