//! How many connections there may be: in total, and from one client.
//!
//! An IPv6 client is its /64, because one host owns all of it. The table holds only clients that are
//! connected now, so it is bounded by the total.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections; clones of the `Arc` share the count.
#[derive(Debug)]
pub struct ConnectionLimits {
    max_total: usize,
    max_per_client: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    client: IpAddr,
}

impl ConnectionLimits {
    /// At most so many at a time.
    pub fn new(max_total: usize, max_per_client: usize) -> Arc<ConnectionLimits> {
        let open = Mutex::default();
        Arc::new(ConnectionLimits { max_total, max_per_client, open })
    }

    /// A permit for one more connection from this address; `None` when there are enough.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<ConnectionPermit> {
        let client = client_key(client);
        let mut open = self.lock();
        let of_client = open.by_client.get(&client).copied().unwrap_or(0);
        if open.total >= self.max_total || of_client >= self.max_per_client {
            return None;
        }
        open.total += 1;
        open.by_client.insert(client, of_client + 1);
        Some(ConnectionPermit { limits: Arc::clone(self), client })
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while the lock is held, so a poisoned one still holds true counts.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.total = open.total.saturating_sub(1);
        match open.by_client.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address or an IPv6 /64.
pub fn client_key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_permits_come_back() {
        let limits = ConnectionLimits::new(3, 2);
        let admit = |ip: &str| limits.admit(ip.parse().unwrap());
        let first = admit("192.0.2.1");
        let _second = admit("::ffff:192.0.2.1");
        assert!(first.is_some());
        assert!(admit("192.0.2.1").is_none());
        let _third = admit("2001:db8::1");
        assert!(admit("192.0.2.2").is_none());
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        assert_eq!(limits.open(), 2);
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let limits = ConnectionLimits::new(10, 1);
        let _held = limits.admit("2001:db8:0:1::1".parse().unwrap());
        assert!(limits.admit("2001:db8:0:1:ffff::2".parse().unwrap()).is_none());
        assert!(limits.admit("2001:db8:0:2::1".parse().unwrap()).is_some());
    }
}
