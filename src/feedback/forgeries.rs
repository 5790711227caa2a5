//! How many things one client did in a minute: callbacks without proof, or hits on links.
//!
//! Of callbacks only refused ones are counted and only refused ones are answered with 429, so that nobody
//! can keep a provider out who comes from the same address, such as that of a proxy. Memory is
//! bounded: when too many clients are known, those whose minutes are over or began first are forgotten, many
//! at once, so that a flood of new clients pays for a look at all of them only once in a thousand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;
use crate::net::client_key;

const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are remembered.
const MAX_CLIENTS: usize = 4_096;
/// Those that are left when room was made.
const KEPT_CLIENTS: usize = MAX_CLIENTS / 4 * 3;

/// The clients of the last minute.
#[derive(Debug)]
pub(super) struct Forgeries {
    clients: Mutex<HashMap<IpAddr, Refusals>>,
    most: u32,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    since: Timestamp,
    count: u32,
}

impl Forgeries {
    /// With how many of one client in a window are not too many.
    pub(super) fn new(most: u32) -> Forgeries {
        Forgeries { clients: Mutex::default(), most }
    }

    /// Counts one; true when there were too many.
    pub(super) fn add(&self, client: IpAddr, now: Timestamp) -> bool {
        // Nothing panics while the lock is held, so a poisoned one still holds true counts.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = client_key(client);
        if !clients.contains_key(&client) && clients.len() >= MAX_CLIENTS {
            make_room(&mut clients, now);
        }
        let refusals = clients.entry(client).or_insert(Refusals { since: now, count: 0 });
        if is_over(refusals, now) {
            *refusals = Refusals { since: now, count: 0 };
        }
        refusals.count = refusals.count.saturating_add(1);
        refusals.count > self.most
    }
}

/// A clock that went back ends the window too.
fn is_over(refusals: &Refusals, now: Timestamp) -> bool {
    now < refusals.since || now.since(refusals.since) >= WINDOW
}

fn make_room(clients: &mut HashMap<IpAddr, Refusals>, now: Timestamp) {
    clients.retain(|_, refusals| !is_over(refusals, now));
    let surplus = clients.len().saturating_sub(KEPT_CLIENTS);
    if surplus > 0 {
        let mut by_age: Vec<(Timestamp, IpAddr)> =
            clients.iter().map(|(client, refusals)| (refusals.since, *client)).collect();
        // There are more than are left over, so the place is within.
        by_age.select_nth_unstable(surplus);
        for (_, client) in by_age.iter().take(surplus) {
            clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn a_flood_is_told_to_go_away_until_its_minute_is_over() {
        let (forgeries, client) = (Forgeries::new(20), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..20 {
            assert!(!forgeries.add(client, at(0)));
        }
        assert!(forgeries.add(client, at(59)));
        assert!(!forgeries.add(IpAddr::from([192, 0, 2, 2]), at(59)));
        assert!(!forgeries.add(client, at(60)));
        assert!(!forgeries.add(client, at(-60)));
    }

    #[test]
    fn no_more_clients_are_remembered_than_there_is_room_for() {
        let forgeries = Forgeries::new(20);
        for number in 0..MAX_CLIENTS as u32 + 10 {
            forgeries.add(IpAddr::V4(Ipv4Addr::from_bits(number)), at(i64::from(number % 30)));
        }
        assert!(forgeries.clients.lock().unwrap().len() <= MAX_CLIENTS);
    }

    #[test]
    fn room_is_made_for_many_at_once_and_the_oldest_go() {
        let forgeries = Forgeries::new(20);
        let client = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        for number in 0..=MAX_CLIENTS as u32 {
            forgeries.add(client(number), at(i64::from(number / 1_000)));
        }
        let clients = forgeries.clients.lock().unwrap();
        assert_eq!(clients.len(), KEPT_CLIENTS + 1);
        assert!(!clients.contains_key(&client(0)));
        assert!(clients.contains_key(&client(MAX_CLIENTS as u32)));
        assert!(clients.contains_key(&client(2_000)));
    }
}
