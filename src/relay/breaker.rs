//! Stops hammering an upstream that is down: the circuit breaker.
//!
//! Closed, it lets every attempt through. After [`FAILURES_TO_OPEN`] transport failures in a row it
//! opens, and lets one attempt through every [`PROBE_EVERY`]; one success closes it again. A refusal is
//! a success here: the upstream answered. Time is an input; there is no clock in this file.

use std::time::{Duration, Instant};

/// Transport failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 5;
/// How often an open one lets somebody try.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Whether an upstream is worth trying.
#[derive(Debug)]
pub(super) enum Breaker {
    /// `failures` in a row so far.
    Closed { failures: u32 },
    /// The next attempt may start at `probe_at`.
    Open { probe_at: Instant },
}

impl Breaker {
    pub(super) fn new() -> Breaker {
        Breaker::Closed { failures: 0 }
    }

    /// Whether an attempt may start; an open one grants a probe only once for each interval.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.is_available(now);
        if let (true, Breaker::Open { probe_at }) = (admitted, &mut *self) {
            *probe_at = now + PROBE_EVERY;
        }
        admitted
    }

    /// Whether [`Breaker::admit`] would let one through.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.open_until().is_none_or(|probe_at| now >= probe_at)
    }

    /// When the next probe may start; `None` when it is closed.
    pub(super) fn open_until(&self) -> Option<Instant> {
        match self {
            Breaker::Closed { .. } => None,
            Breaker::Open { probe_at } => Some(*probe_at),
        }
    }

    /// The upstream answered. True when that closed the breaker.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_open = matches!(self, Breaker::Open { .. });
        *self = Breaker::Closed { failures: 0 };
        was_open
    }

    /// It could not be reached, or the connection broke. True when that opened the breaker.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        match self {
            Breaker::Closed { failures } if *failures + 1 < FAILURES_TO_OPEN => {
                *failures += 1;
                false
            }
            Breaker::Closed { .. } => {
                *self = Breaker::Open { probe_at: now + PROBE_EVERY };
                true
            }
            Breaker::Open { probe_at } => {
                *probe_at = now + PROBE_EVERY;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for _ in 0..4 {
            assert!(!breaker.failed(now) && breaker.admit(now));
        }
        breaker.succeeded();
        for _ in 0..4 {
            assert!(!breaker.failed(now) && breaker.admit(now));
        }
        assert!(breaker.failed(now));
        assert!(!breaker.is_available(now) && !breaker.admit(now));
    }

    #[test]
    fn an_open_one_grants_one_probe_for_each_interval() {
        let start = Instant::now();
        let mut breaker = Breaker::new();
        (0..5).for_each(|_| _ = breaker.failed(start));
        let later = start + PROBE_EVERY;
        assert!(!breaker.admit(later - Duration::from_millis(1)));
        assert!(breaker.is_available(later) && breaker.admit(later));
        assert!(!breaker.admit(later));
        breaker.failed(later + Duration::from_secs(1));
        assert_eq!(breaker.open_until(), Some(later + Duration::from_secs(31)));
        assert!(breaker.admit(later + PROBE_EVERY + Duration::from_secs(1)));
        assert!(breaker.succeeded() && breaker.admit(later) && breaker.admit(later));
    }
}
