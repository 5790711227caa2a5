//! A smarthost as the queue sees it: `attempt`, and whether it is worth one.
//!
//! It holds what the attempts share: the permits that bound the connections, the pool, the rate, the
//! circuit breaker. An attempt waits for its turn (for as long as its caller lets it) and from then on
//! every wait has a deadline. Dropping an attempt closes its connection.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::connection::Connection;
use super::dial::Dialer;
use super::error::RelayError;
use super::exchange::{Exchanged, Fate, exchange, was_too_many};
use super::health::Health;
use super::pool::Pool;
use super::rate::Rate;
use super::settings::SmtpUpstream;
use super::transaction::Transaction;
use crate::model::{EnvelopeRecipient, Outcome, Scope};

/// Transactions in one attempt: an upstream that takes few recipients at a time gets the rest in
/// further ones, as long as each brings something forward.
const MAX_ROUNDS: usize = 50;
/// How long a new connection waits for the end of one that is leaving, and how often it looks.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_PAUSE: Duration = Duration::from_millis(1);

/// One upstream. Clones share everything.
#[derive(Clone)]
pub struct SmtpRelay {
    shared: Arc<Shared>,
}

/// How an upstream is doing, for the queue's view and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayState {
    /// Open connections, idle ones included.
    pub connections: usize,
    pub idle: usize,
    /// The circuit breaker is open, and the next attempt may start then.
    pub open_until: Option<Instant>,
    /// Why the last attempt that failed did; `None` after one that got through.
    pub last_error: Option<String>,
}

struct Shared {
    dialer: Dialer,
    pool: Arc<Pool<Connection>>,
    permits: Semaphore,
    rate: Rate,
    health: Health,
}

impl fmt::Debug for SmtpRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SmtpRelay").field(&self.settings().name).finish()
    }
}

impl SmtpRelay {
    /// Sets up an upstream without connecting to it.
    ///
    /// # Errors
    /// When its names are not names, or `tls_ca` cannot be read.
    pub fn new(settings: SmtpUpstream) -> Result<SmtpRelay, RelayError> {
        let connections = settings.connections.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Shared {
            pool: Pool::new(settings.timeouts.idle),
            permits: Semaphore::new(connections),
            rate: Rate::new(settings.rate_per_second),
            health: Health::new(settings.name.clone()),
            dialer: Dialer::new(settings)?,
        };
        Ok(SmtpRelay { shared: Arc::new(shared) })
    }

    /// What it was set up with.
    pub fn settings(&self) -> &SmtpUpstream {
        self.shared.dialer.settings()
    }

    /// How many attempts may run at one time.
    pub fn connections(&self) -> usize {
        self.settings().connections.max(1)
    }

    /// Whether an attempt that starts now would be tried; false while the circuit breaker is open.
    pub fn is_available(&self, now: Instant) -> bool {
        self.shared.health.is_available(now)
    }

    /// How it is doing.
    pub fn state(&self) -> RelayState {
        RelayState {
            connections: self.shared.dialer.open_connections(),
            idle: self.shared.pool.len(),
            open_until: self.shared.health.open_until(),
            last_error: self.shared.health.last_error(),
        }
    }

    /// Waits until the rate allows one more transaction, and counts it. To be called before a
    /// recipient is claimed for `attempt`, so that it can be stopped for as long as it waits.
    pub async fn turn(&self) {
        self.shared.rate.turn().await;
    }

    /// Tries to relay `transaction`; one outcome for each of its recipients, in order.
    pub async fn attempt(&self, transaction: &Transaction) -> Vec<Outcome> {
        let count = transaction.recipients.len();
        if count == 0 {
            return Vec::new();
        }
        if !self.is_available(Instant::now()) {
            return vec![self.shared.health.held_back(); count];
        }
        // The semaphore is never closed; were it, nothing could be sent.
        let Ok(_permit) = self.shared.permits.acquire().await else {
            return vec![self.shared.health.held_back(); count];
        };
        // Asked again: the wait may have been long, and only one may probe.
        if !self.shared.health.admit(Instant::now()) {
            return vec![self.shared.health.held_back(); count];
        }
        self.rounds(transaction).await
    }

    /// Says QUIT on every idle connection, for a shutdown.
    pub async fn close_idle(&self) {
        self.shared.pool.close_idle().await;
    }

    async fn rounds(&self, transaction: &Transaction) -> Vec<Outcome> {
        let mut waiting: Vec<usize> = (0..transaction.recipients.len()).collect();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; waiting.len()];
        for round in 0..MAX_ROUNDS {
            if round > 0 {
                self.turn().await;
            }
            let recipients: Vec<&EnvelopeRecipient> =
                waiting.iter().map(|&index| &transaction.recipients[index]).collect();
            let round = self.round(transaction, &recipients).await;
            let progress = round.iter().any(|o| matches!(o, Outcome::Sent { .. }));
            let mut left = Vec::new();
            for (index, outcome) in waiting.into_iter().zip(round) {
                if was_too_many(&outcome) {
                    left.push(index);
                }
                outcomes[index] = Some(outcome);
            }
            waiting = left;
            if waiting.is_empty() || !progress {
                break;
            }
        }
        // Every index was in the first round.
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| self.shared.health.held_back()))
            .collect()
    }

    /// One transaction, over an idle connection or a new one.
    async fn round(
        &self,
        transaction: &Transaction,
        recipients: &[&EnvelopeRecipient],
    ) -> Vec<Outcome> {
        if let Some(mut connection) = self.shared.pool.take().await {
            let exchanged = exchange(&mut connection, transaction, recipients).await;
            match exchanged.fate {
                Fate::Reusable | Fate::Broken => return self.settle(connection, exchanged),
                // It died while it was idle. Nothing of this transaction was accepted, so it is
                // tried once more, on a connection that cannot be stale.
                Fate::Stale => drop(connection),
            }
        }
        self.wait_for_room().await;
        match self.shared.dialer.dial().await {
            Ok(mut connection) => {
                let exchanged = exchange(&mut connection, transaction, recipients).await;
                self.settle(connection, exchanged)
            }
            Err(error) => {
                self.shared.health.failed(&error.detail);
                let outcome = Outcome::Temporary {
                    scope: Scope::Upstream,
                    reply: error.reply,
                    detail: error.detail,
                };
                vec![outcome; recipients.len()]
            }
        }
    }

    /// A worn connection says goodbye while its successor is wanted already, and the upstream counts
    /// both. One that does not answer its QUIT is waited for no longer than this.
    async fn wait_for_room(&self) {
        let until = tokio::time::Instant::now() + FAREWELL;
        let is_full = || self.shared.dialer.open_connections() >= self.connections();
        while is_full() && tokio::time::Instant::now() < until {
            tokio::time::sleep(FAREWELL_PAUSE).await;
        }
    }

    /// Records how the connection did and keeps it if it is good for more.
    fn settle(&self, connection: Connection, exchanged: Exchanged) -> Vec<Outcome> {
        match exchanged.fate {
            Fate::Reusable => {
                self.shared.health.succeeded();
                self.shared.pool.keep(connection);
            }
            Fate::Broken | Fate::Stale => {
                let detail = exchanged.outcomes.iter().find_map(detail_of);
                self.shared.health.failed(detail.unwrap_or("the connection broke"));
            }
        }
        exchanged.outcomes
    }
}

fn detail_of(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Sent { .. } => None,
        Outcome::Rejected { reply, .. } => Some(reply.text()),
        Outcome::Temporary { detail, .. }
        | Outcome::Permanent { detail, .. }
        | Outcome::Unknown { detail } => Some(detail),
    }
}
