//! What clients of the return path hold at one time: octets of messages that are not archived yet, and places
//! at the desk.
//!
//! Anybody may send there, so no client ever holds more than a quarter of either, however many connections
//! it has. Octets that have no room are given up at once; for a place a session waits, first in the row of
//! its own client. A client is an IPv4 address or an IPv6 /64. Memory is bounded by the connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::net::client_key;

/// Messages that are in memory, read and archived at one time.
const PLACES: usize = 8;
/// How much of everything one client may hold: one part of so many.
pub(super) const PARTS: u64 = 4;
/// Two of eight.
const PLACES_OF_CLIENT: usize = PLACES / PARTS as usize;
/// How long a complete message waits for a place; whoever sends it waits for ten minutes (RFC 5321
/// §4.5.3.2.6).
const PLACE_DEADLINE: Duration = Duration::from_secs(120);

/// What all clients hold.
#[derive(Debug)]
pub(super) struct Shares {
    /// Of messages that are not archived yet, in memory or on disk.
    max_bytes: u64,
    places: Semaphore,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    clients: HashMap<IpAddr, OfClient>,
}

#[derive(Debug)]
struct OfClient {
    bytes: u64,
    sessions: usize,
    places: Arc<Semaphore>,
}

/// What one session holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    client: IpAddr,
    bytes: u64,
    places: Arc<Semaphore>,
}

/// A place at the desk, until it is dropped.
pub(super) struct Place<'s> {
    _of_client: SemaphorePermit<'s>,
    _of_all: SemaphorePermit<'s>,
}

impl Shares {
    /// Of so many octets.
    pub(super) fn new(max_bytes: u64) -> Arc<Shares> {
        let (places, held) = (Semaphore::new(PLACES), Mutex::default());
        Arc::new(Shares { max_bytes, places, held })
    }

    /// For one more session of this client.
    pub(super) fn share(self: &Arc<Self>, client: IpAddr) -> Share {
        let client = client_key(client);
        let mut held = self.lock();
        let of_client = held.clients.entry(client).or_insert_with(|| {
            let places = Arc::new(Semaphore::new(PLACES_OF_CLIENT));
            OfClient { bytes: 0, sessions: 0, places }
        });
        of_client.sessions += 1;
        let places = Arc::clone(&of_client.places);
        Share { shares: Arc::clone(self), client, bytes: 0, places }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while the lock is held, so a poisoned one still holds true sums.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Holds so many octets from now on. Where there is no room for them, it holds none and gives `false`.
    pub(super) fn keep(&mut self, bytes: u64) -> bool {
        let max_bytes = self.shares.max_bytes;
        let mut held = self.shares.lock();
        let of_all = held.bytes.saturating_sub(self.bytes);
        let of_client = held.clients.get(&self.client).map_or(0, |one| one.bytes);
        let of_client = of_client.saturating_sub(self.bytes);
        let has_room = of_all.saturating_add(bytes) <= max_bytes
            && of_client.saturating_add(bytes) <= max_bytes / PARTS;
        self.bytes = if has_room { bytes } else { 0 };
        held.bytes = of_all + self.bytes;
        if let Some(one) = held.clients.get_mut(&self.client) {
            one.bytes = of_client + self.bytes;
        }
        has_room
    }

    /// A place at the desk; `None` when it took too long to get one.
    pub(super) async fn place(&self) -> Option<Place<'_>> {
        let place = async {
            let of_client = self.places.acquire().await.ok()?;
            let of_all = self.shares.places.acquire().await.ok()?;
            Some(Place { _of_client: of_client, _of_all: of_all })
        };
        timeout(PLACE_DEADLINE, place).await.ok().flatten()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        held.bytes = held.bytes.saturating_sub(self.bytes);
        let Some(one) = held.clients.get_mut(&self.client) else { return };
        one.bytes = one.bytes.saturating_sub(self.bytes);
        one.sessions = one.sessions.saturating_sub(1);
        if one.sessions == 0 {
            held.clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn no_client_holds_more_than_its_part_with_however_many_sessions() {
        let shares = Shares::new(400);
        let (mut one, mut two) = (shares.share(client(1)), shares.share(client(1)));
        assert!(!one.keep(101));
        assert!(one.keep(60) && two.keep(40));
        assert!(!two.keep(41), "together they hold more than a quarter");
        assert!(two.keep(40) && one.keep(50) && two.keep(50));
        assert!(shares.share(client(2)).keep(100));
        drop(one);
        assert!(two.keep(100));
    }

    #[test]
    fn all_clients_together_hold_no_more_than_there_is() {
        let shares = Shares::new(400);
        let mut held: Vec<Share> = (0..4).map(|number| shares.share(client(number))).collect();
        assert!(held.iter_mut().all(|share| share.keep(100)));
        let mut late = shares.share(client(9));
        assert!(!late.keep(1));
        // What has no room gives up what it held before, too.
        assert!(!held[0].keep(101) && late.keep(100));
        drop((held, late));
        let left = shares.lock();
        assert_eq!((left.bytes, left.clients.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_does_not_take_all_places() {
        let shares = Shares::new(0);
        let greedy: Vec<Share> = (0..20).map(|_| shares.share(client(1))).collect();
        let mut places = Vec::new();
        for share in &greedy[..PLACES_OF_CLIENT] {
            places.push(share.place().await.unwrap());
        }
        assert!(greedy[19].place().await.is_none());
        let other = shares.share(client(2));
        assert!(other.place().await.is_some());
        places.pop();
        assert!(greedy[19].place().await.is_some());
    }
}
