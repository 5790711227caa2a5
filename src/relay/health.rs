//! How an upstream is doing: its circuit breaker, and why the last attempt failed.
//!
//! Takes the outcome of each attempt and says whether the next one may start; it logs when an upstream
//! goes down and when it is back. What an outcome means for a message is `lifecycle`'s.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::breaker::Breaker;
use crate::model::{Outcome, Scope, UpstreamName};

/// What the attempts at one upstream tell of it.
pub(super) struct Health {
    upstream: UpstreamName,
    seen: Mutex<Seen>,
}

struct Seen {
    breaker: Breaker,
    last_error: Option<String>,
}

impl Health {
    pub(super) fn new(upstream: UpstreamName) -> Health {
        let seen = Mutex::new(Seen { breaker: Breaker::new(), last_error: None });
        Health { upstream, seen }
    }

    /// Whether an attempt that starts now would be tried.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.lock().breaker.is_available(now)
    }

    /// Whether an attempt may start; one that is down grants a probe only now and then.
    pub(super) fn admit(&self, now: Instant) -> bool {
        self.lock().breaker.admit(now)
    }

    /// When the next probe may start, if the breaker is open.
    pub(super) fn open_until(&self) -> Option<Instant> {
        self.lock().breaker.open_until()
    }

    /// Why the last attempt that failed did; `None` after one that got through.
    pub(super) fn last_error(&self) -> Option<String> {
        self.lock().last_error.clone()
    }

    pub(super) fn succeeded(&self) {
        let mut seen = self.lock();
        seen.last_error = None;
        if seen.breaker.succeeded() {
            tracing::info!(upstream = %self.upstream, "the upstream is back");
        }
    }

    pub(super) fn failed(&self, detail: &str) {
        let upstream = &self.upstream;
        let mut seen = self.lock();
        seen.last_error = Some(detail.to_owned());
        if seen.breaker.failed(Instant::now()) {
            tracing::warn!(%upstream, error = detail, "the upstream is down; only probes go to it");
        } else {
            tracing::debug!(%upstream, error = detail, "an attempt failed");
        }
    }

    /// The outcome of an attempt that was not made.
    pub(super) fn held_back(&self) -> Outcome {
        let seen = self.lock();
        let last = seen.last_error.as_deref().unwrap_or("no connection");
        Outcome::Temporary {
            scope: Scope::Upstream,
            reply: None,
            detail: format!("not tried, because the upstream failed several times: {last}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
