//! Locks out who guesses passwords: by user name and client, and by client.
//!
//! Takes the time as an input. Counts in bounded memory; a user name that does not exist is counted
//! like one that does, so the lock tells nothing about it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Digest;

/// Failures after which one user name from one client has to wait.
const MAX_FAILURES_OF_USER: u32 = 10;
/// Failures after which a client has to wait, whatever names it tried.
const MAX_FAILURES_OF_CLIENT: u32 = 50;
/// How long; counted from the last failure.
pub(super) const LOCK: Duration = Duration::from_secs(300);
/// Names and clients that are remembered; the ones that failed longest ago are forgotten first.
const MAX_ENTRIES: usize = 10_000;

/// What is counted: a client, or a user name from a client. The name is kept as a digest, so that
/// an entry has one size and memory holds no list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client(IpAddr),
    User(IpAddr, Digest),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// Counts failures of AUTH.
#[derive(Debug, Default)]
pub(super) struct AuthGuard {
    failures: Mutex<HashMap<Key, Failures>>,
}

impl AuthGuard {
    /// Whether this client may not try this name now.
    pub(super) fn is_locked(&self, now: Instant, client: IpAddr, username: &str) -> bool {
        let failures = self.lock();
        let over = |key: Key, max: u32| {
            failures.get(&key).is_some_and(|f| f.count >= max && now < f.last + LOCK)
        };
        over(Key::Client(client), MAX_FAILURES_OF_CLIENT)
            || over(user(client, username), MAX_FAILURES_OF_USER)
    }

    /// Whether this client may not try this name now; the other names that it tried do not count.
    pub(super) fn is_name_locked(&self, now: Instant, client: IpAddr, username: &str) -> bool {
        let locked = |f: &Failures| f.count >= MAX_FAILURES_OF_USER && now < f.last + LOCK;
        self.lock().get(&user(client, username)).is_some_and(locked)
    }

    /// The credentials were wrong.
    pub(super) fn failed(&self, now: Instant, client: IpAddr, username: &str) {
        let mut failures = self.lock();
        for key in [Key::Client(client), user(client, username)] {
            if failures.len() >= MAX_ENTRIES && !failures.contains_key(&key) {
                forget(&mut failures, now);
            }
            let entry = failures.entry(key).or_insert(Failures { count: 0, last: now });
            if now >= entry.last + LOCK {
                entry.count = 0;
            }
            *entry = Failures { count: entry.count.saturating_add(1), last: now };
        }
    }

    /// The credentials were right: the name's failures were mistakes of typing.
    pub(super) fn succeeded(&self, client: IpAddr, username: &str) {
        self.lock().remove(&user(client, username));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        // Nothing panics while the lock is held, so a poisoned one still holds true counts.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn user(client: IpAddr, username: &str) -> Key {
    Key::User(client, Digest::of(username.as_bytes()))
}

/// Makes room: what is over, or else the older half, so that the work is rare.
fn forget(failures: &mut HashMap<Key, Failures>, now: Instant) {
    failures.retain(|_, f| now < f.last + LOCK);
    if failures.len() < MAX_ENTRIES {
        return;
    }
    let mut times: Vec<Instant> = failures.values().map(|f| f.last).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    failures.retain(|_, f| f.last > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_name_is_locked_for_one_client_and_opens_again() {
        let (guard, now) = (AuthGuard::default(), Instant::now());
        for _ in 0..MAX_FAILURES_OF_USER {
            assert!(!guard.is_locked(now, CLIENT, "erp"));
            guard.failed(now, CLIENT, "erp");
        }
        assert!(guard.is_locked(now, CLIENT, "erp"));
        assert!(!guard.is_locked(now, CLIENT, "crm"));
        assert!(!guard.is_locked(now, OTHER, "erp"));
        assert!(!guard.is_locked(now + LOCK, CLIENT, "erp"));
        guard.failed(now + LOCK, CLIENT, "erp");
        assert!(!guard.is_locked(now + LOCK, CLIENT, "erp"));
    }

    #[test]
    fn a_client_is_locked_whatever_names_it_tries() {
        let (guard, now) = (AuthGuard::default(), Instant::now());
        for number in 0..MAX_FAILURES_OF_CLIENT {
            guard.failed(now, CLIENT, &number.to_string());
        }
        assert!(guard.is_locked(now, CLIENT, "erp"));
    }

    #[test]
    fn success_forgives_a_name() {
        let (guard, now) = (AuthGuard::default(), Instant::now());
        for _ in 1..MAX_FAILURES_OF_USER {
            guard.failed(now, CLIENT, "erp");
        }
        guard.succeeded(CLIENT, "erp");
        guard.failed(now, CLIENT, "erp");
        assert!(!guard.is_locked(now, CLIENT, "erp"));
    }

    #[test]
    fn memory_is_bounded() {
        let (guard, now) = (AuthGuard::default(), Instant::now());
        for number in 0..30_000_u32 {
            guard.failed(now, IpAddr::V4(number.into()), "erp");
        }
        assert!(guard.lock().len() <= MAX_ENTRIES);
    }
}
