//! Connections that wait for their next use.
//!
//! The one that was used last is taken first, so that those that are not needed grow old and are
//! closed. How many there may be is not decided here: every attempt holds a permit of its upstream, and
//! dials only when nothing is idle, so idle and busy ones together never outnumber the permits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// A connection that can serve more than once.
pub(super) trait Pooled: Send + 'static {
    /// Whether it is still good, as far as can be seen without asking it. It does not wait.
    fn is_quiet(&mut self) -> impl Future<Output = bool> + Send;

    /// Whether it has served enough.
    fn is_worn(&self) -> bool;

    /// Closes it in the way of its protocol.
    fn farewell(self) -> impl Future<Output = ()> + Send;
}

/// The idle connections of one upstream.
pub(super) struct Pool<C> {
    idle: Mutex<Vec<Idle<C>>>,
    max_idle: Duration,
    /// A task is closing idle connections as they grow old.
    reaping: AtomicBool,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

impl<C: Pooled> Pool<C> {
    pub(super) fn new(max_idle: Duration) -> Arc<Pool<C>> {
        let idle = Mutex::new(Vec::new());
        Arc::new(Pool { idle, max_idle, reaping: AtomicBool::new(false) })
    }

    /// One that is still good as far as can be seen without asking it; the others are dropped.
    pub(super) async fn take(&self) -> Option<C> {
        loop {
            let Idle { mut connection, since } = self.lock().pop()?;
            if since.elapsed() < self.max_idle && connection.is_quiet().await {
                return Some(connection);
            }
        }
    }

    /// Keeps one for later, and makes sure that somebody closes it when its time is over. One that
    /// has served enough is closed.
    pub(super) fn keep(self: &Arc<Self>, connection: C) {
        if connection.is_worn() || self.max_idle.is_zero() {
            tokio::spawn(async { connection.farewell().await });
            return;
        }
        self.lock().push(Idle { connection, since: Instant::now() });
        if !self.reaping.swap(true, Ordering::AcqRel) {
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    /// Closes all that are idle, for a shutdown.
    pub(super) async fn close_idle(&self) {
        let idle: Vec<Idle<C>> = self.lock().drain(..).collect();
        let mut farewells = JoinSet::new();
        for Idle { connection, .. } in idle {
            farewells.spawn(async { connection.farewell().await });
        }
        while farewells.join_next().await.is_some() {}
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes out those that waited too long, and says when the next one will have.
    fn take_expired(&self) -> (Vec<C>, Option<Instant>) {
        let now = Instant::now();
        let mut idle = self.lock();
        // They were pushed in the order of time.
        let young = idle.iter().position(|i| i.since + self.max_idle > now).unwrap_or(idle.len());
        let expired = idle.drain(..young).map(|i| i.connection).collect();
        (expired, idle.first().map(|i| i.since + self.max_idle))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections of an upstream as they grow old; ends when there are none, or when the
/// upstream is gone.
async fn reap<C: Pooled>(pool: Weak<Pool<C>>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let (expired, next) = pool.take_expired();
            for connection in expired {
                tokio::spawn(async { connection.farewell().await });
            }
            if next.is_none() {
                pool.reaping.store(false, Ordering::Release);
                // One that came in between is not forgotten.
                if pool.len() == 0 || pool.reaping.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            next
        };
        match next {
            Some(at) => tokio::time::sleep_until(at).await,
            None => tokio::task::yield_now().await,
        }
    }
}
