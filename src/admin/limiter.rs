//! How often one client may show a token that is not good.
//!
//! Takes the client's address and the time, says whether this failure is one too many. An IPv6
//! client is its /64, because it has all of it. Memory is bounded: when too many clients are known,
//! the one whose minute began first is forgotten.
//!
//! Only failures are counted and only failures are answered with 429: somebody who shows a good
//! token is served whatever others behind the same address do, so nobody can lock the administrator
//! out. Guessing 256 random bits is hopeless at any rate; the limit keeps the noise, the look-ups and
//! the log small.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that one client may have in one window before they are answered with 429.
const MAX_FAILURES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are remembered.
const MAX_CLIENTS: usize = 4_096;

/// What follows from one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Tell them that the token is not good.
    Tell,
    /// Tell them to come back after so many seconds.
    TooMany { retry_after_seconds: u64 },
}

/// The clients that failed in the last minute.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl FailedAttempts {
    /// Counts one failure of this client.
    pub(super) fn add(&self, client: IpAddr, now: Instant) -> Verdict {
        // A panic while the lock was held left a valid map behind.
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = network(client);
        if !clients.contains_key(&client) && clients.len() >= MAX_CLIENTS {
            make_room(&mut clients, now);
        }
        let failures = clients.entry(client).or_insert(Failures { since: now, count: 0 });
        if is_over(failures, now) {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
        if failures.count <= MAX_FAILURES {
            return Verdict::Tell;
        }
        let left = WINDOW.saturating_sub(now.saturating_duration_since(failures.since));
        Verdict::TooMany { retry_after_seconds: left.as_secs() + 1 }
    }
}

fn is_over(failures: &Failures, now: Instant) -> bool {
    now.saturating_duration_since(failures.since) >= WINDOW
}

fn make_room(clients: &mut HashMap<IpAddr, Failures>, now: Instant) {
    clients.retain(|_, failures| !is_over(failures, now));
    if clients.len() >= MAX_CLIENTS {
        let oldest = clients.iter().min_by_key(|(_, failures)| failures.since);
        if let Some(client) = oldest.map(|(client, _)| *client) {
            clients.remove(&client);
        }
    }
}

/// The address, or the first 64 bits of an IPv6 address.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_failure_too_many_waits_for_the_end_of_the_minute() {
        let (attempts, start) = (FailedAttempts::default(), Instant::now());
        for _ in 0..MAX_FAILURES {
            assert_eq!(attempts.add(ip("192.0.2.1"), start), Verdict::Tell);
        }
        let later = start + Duration::from_secs(20);
        let expected = Verdict::TooMany { retry_after_seconds: 41 };
        assert_eq!(attempts.add(ip("192.0.2.1"), later), expected);
        assert_eq!(attempts.add(ip("::ffff:192.0.2.1"), later), expected);
        assert_eq!(attempts.add(ip("192.0.2.2"), later), Verdict::Tell);
        assert_eq!(attempts.add(ip("192.0.2.1"), start + WINDOW), Verdict::Tell);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let (attempts, start) = (FailedAttempts::default(), Instant::now());
        for n in 0..MAX_FAILURES {
            attempts.add(ip(&format!("2001:db8::{n:x}")), start);
        }
        assert_ne!(attempts.add(ip("2001:db8::ffff"), start), Verdict::Tell);
        assert_eq!(attempts.add(ip("2001:db8:0:1::1"), start), Verdict::Tell);
    }

    #[test]
    fn memory_is_bounded() {
        let (attempts, start) = (FailedAttempts::default(), Instant::now());
        for n in 0..(MAX_CLIENTS as u32 + 500) {
            attempts.add(IpAddr::V4(n.into()), start + Duration::from_millis(n.into()));
        }
        let clients = attempts.0.lock().unwrap();
        assert_eq!(clients.len(), MAX_CLIENTS);
        assert!(!clients.contains_key(&ip("0.0.0.0")), "the oldest should be forgotten first");
    }
}
