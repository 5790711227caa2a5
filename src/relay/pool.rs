//! Connections that wait for their next transaction.
//!
//! The one that was used last is taken first, so that those that are not needed grow old and are
//! closed. How many there may be is not decided here: every attempt holds a permit of its upstream, and
//! dials only when nothing is idle, so idle and busy ones together never outnumber the permits.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// Transactions on one connection; some servers close after a hundred.
const MAX_TRANSACTIONS: u32 = 100;

/// The idle connections of one upstream.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    max_idle: Duration,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(max_idle: Duration) -> Pool {
        Pool { idle: Mutex::default(), max_idle }
    }

    /// One that is still good as far as can be seen without asking it; the others are dropped.
    pub(super) async fn take(&self) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.lock().pop()?;
            if since.elapsed() < self.max_idle && connection.is_quiet().await {
                return Some(connection);
            }
        }
    }

    /// Keeps one for later; gives it back when it has served enough.
    pub(super) fn put(&self, connection: Connection) -> Option<Connection> {
        if connection.transactions >= MAX_TRANSACTIONS || self.max_idle.is_zero() {
            return Some(connection);
        }
        self.lock().push(Idle { connection, since: Instant::now() });
        None
    }

    /// Takes out those that waited too long, and says when the next one will have.
    pub(super) fn take_expired(&self) -> (Vec<Connection>, Option<Instant>) {
        let now = Instant::now();
        let mut idle = self.lock();
        // They were pushed in the order of time.
        let young = idle.iter().position(|i| i.since + self.max_idle > now).unwrap_or(idle.len());
        let expired = idle.drain(..young).map(|i| i.connection).collect();
        (expired, idle.first().map(|i| i.since + self.max_idle))
    }

    /// Takes out all.
    pub(super) fn drain(&self) -> Vec<Connection> {
        self.lock().drain(..).map(|idle| idle.connection).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
