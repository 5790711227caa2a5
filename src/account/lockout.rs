//! How often somebody may fail before they must wait.
//!
//! Kept by name, by network and by second factor. Each attempt counts when it begins and is taken
//! back when it was right, so that a hundred at one time are no way around. After the free ones each
//! further failure waits twice as long. Names are counted whether or not there is such a user. Memory
//! is bounded: when too many are known, the one that failed longest ago is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Entries of one book.
const MAX_KNOWN: usize = 8_192;
/// Whoever did not fail for so long begins anew.
const FORGET: Duration = Duration::from_secs(24 * 3600);

/// Failures of one kind.
#[derive(Debug)]
pub(super) struct Lockout<K> {
    free: u32,
    first_wait: Duration,
    longest_wait: Duration,
    book: Mutex<HashMap<K, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

impl<K: Eq + Hash + Clone> Lockout<K> {
    pub(super) fn new(free: u32, first_wait: Duration, longest_wait: Duration) -> Lockout<K> {
        Lockout { free, first_wait, longest_wait, book: Mutex::default() }
    }

    /// How long it must still wait.
    pub(super) fn wait(&self, who: &K, now: Instant) -> Option<Duration> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let left = book.get(who)?.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts an attempt; `forgive` takes it back.
    pub(super) fn count(&self, who: &K, now: Instant) {
        // A panic while the lock was held left a valid map behind.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.contains_key(who) && book.len() >= MAX_KNOWN {
            let oldest = book.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                book.remove(&oldest);
            }
        }
        let fresh = Failures { count: 0, last: now, until: now };
        let failures = book.entry(who.clone()).or_insert(fresh);
        if now.saturating_duration_since(failures.last) >= FORGET {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(beyond) = failures.count.checked_sub(self.free) {
            let factor = 2_u32.saturating_pow(beyond);
            let wait = self.first_wait.saturating_mul(factor).min(self.longest_wait);
            failures.until = now + wait;
        }
    }

    /// It was right, but says nothing of the others from there.
    pub(super) fn take_back(&self, who: &K) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failures) = book.get_mut(who) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// It was right: nothing is held against it any more.
    pub(super) fn forgive(&self, who: &K) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }
}

/// The address, or the first 64 bits of an IPv6 address; `None` for loopback, where a proxy stands
/// before everybody and the address tells nothing.
pub(super) fn network(client: IpAddr) -> Option<IpAddr> {
    match client.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let (minute, start) = (Duration::from_secs(60), Instant::now());
        let lockout = Lockout::new(3, minute, minute * 5);
        for expected in [None, None, Some(1), Some(2), Some(4), Some(5), Some(5)] {
            lockout.count(&"anna", start);
            assert_eq!(lockout.wait(&"anna", start), expected.map(|n| minute * n));
        }
        assert_eq!(lockout.wait(&"bo", start), None);
        assert_eq!(lockout.wait(&"anna", start + minute * 5), None);
        lockout.count(&"anna", start + FORGET);
        assert_eq!(lockout.wait(&"anna", start + FORGET), None, "a day later it begins anew");
        lockout.forgive(&"anna");
        lockout.count(&"anna", start + FORGET);
        assert_eq!(lockout.wait(&"anna", start + FORGET), None);
    }

    #[test]
    fn memory_is_bounded_and_an_ipv6_client_is_its_network() {
        let lockout = Lockout::new(1, FORGET, FORGET);
        let start = Instant::now();
        for n in 0..MAX_KNOWN + 10 {
            lockout.count(&n, start + Duration::from_millis(n as u64));
        }
        assert_eq!(lockout.book.lock().unwrap().len(), MAX_KNOWN);
        assert_eq!(lockout.wait(&0, start), None, "the oldest is forgotten first");
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!((of("127.0.0.1"), of("::1")), (None, None));
    }
}
