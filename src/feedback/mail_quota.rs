//! How much mail the return path takes in an hour.
//!
//! Anybody may send there. What a return path of ours proves to be about a message is taken as long as
//! there is room, up to what all reports about one recipient, or one message, can come to: whoever has got the
//! message knows the path as well. What proves nothing is limited for each client and for all together, and
//! so is what it says of the recipients of one message, because a small report can name a thousand of them.
//! An hour begins with the first message in it. Memory is bounded: of too many clients or return paths
//! the hour that began first is forgotten, and what all clients sent together is counted on.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::mail_shares::PARTS;
use super::passing_on::Whose;
use super::settings::ReturnPathLimits;
use crate::archive::Message;
use crate::model::{MessageId, Timestamp};
use crate::net::client_key;

const WINDOW: Duration = Duration::from_secs(3_600);
/// Clients that are remembered, and as many return paths and messages.
const MAX_REMEMBERED: usize = 20_000;
/// What is said of one recipient in an hour, on the average of a message's recipients: a mail system tells of a
/// delay some times a day, and then of the end.
const MAX_VERDICTS: usize = 10;
/// A message with fewer recipients counts as one with so many.
const FEW_RECIPIENTS: usize = 10;

/// What came in this hour.
#[derive(Debug)]
pub(super) struct Quota {
    of_strangers: u64,
    of_path: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    all: Hours<()>,
    clients: Hours<IpAddr>,
    paths: Hours<Whose>,
    /// Here it is verdicts that are counted.
    messages: Hours<MessageId>,
}

impl Quota {
    pub(super) fn new(limits: &ReturnPathLimits) -> Quota {
        let counts = Counts {
            all: Hours::new(),
            clients: Hours::new(),
            paths: Hours::new(),
            messages: Hours::new(),
        };
        Quota {
            of_strangers: limits.strangers_bytes_per_hour,
            of_path: limits.path_bytes_per_hour,
            counts: Mutex::new(counts),
        }
    }

    /// Counts a message of this client; false when it is too much. `proof` is whom a return path of ours
    /// names.
    pub(super) fn take(
        &self,
        client: IpAddr,
        proof: Option<Whose>,
        bytes: u64,
        now: Timestamp,
    ) -> bool {
        let mut counts = self.lock();
        if let Some(path) = proof
            && counts.paths.came(path, now).saturating_add(bytes) <= self.of_path
        {
            counts.paths.add(path, bytes, now);
            return true;
        }
        let client = client_key(client);
        let of_all = counts.all.came((), now).saturating_add(bytes);
        let of_client = counts.clients.came(client, now).saturating_add(bytes);
        if of_all > self.of_strangers || of_client > self.of_strangers / PARTS {
            return false;
        }
        counts.all.add((), bytes, now);
        counts.clients.add(client, bytes, now);
        true
    }

    /// Counts what is said of so many of the recipients of a message without the return path of each of
    /// them; false when it is too much.
    pub(super) fn tell(&self, message: &Message, verdicts: usize, now: Timestamp) -> bool {
        let recipients = message.recipients.len().max(FEW_RECIPIENTS);
        let (most, verdicts) = ((recipients * MAX_VERDICTS) as u64, verdicts as u64);
        let mut counts = self.lock();
        let has_room = counts.messages.came(message.id, now).saturating_add(verdicts) <= most;
        if has_room && verdicts > 0 {
            counts.messages.add(message.id, verdicts, now);
        }
        has_room
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while the lock is held, so a poisoned one still holds true counts.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hours that are going on, in the order in which they began.
#[derive(Debug)]
struct Hours<K> {
    of: HashMap<K, Hour>,
    order: VecDeque<(Timestamp, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Hour {
    since: Timestamp,
    sum: u64,
}

/// A clock that went back ends the hour too.
fn is_over(since: Timestamp, now: Timestamp) -> bool {
    now < since || now.since(since) >= WINDOW
}

impl<K: Copy + Eq + Hash> Hours<K> {
    fn new() -> Hours<K> {
        Hours { of: HashMap::new(), order: VecDeque::new() }
    }

    fn came(&self, key: K, now: Timestamp) -> u64 {
        self.of.get(&key).filter(|hour| !is_over(hour.since, now)).map_or(0, |hour| hour.sum)
    }

    fn add(&mut self, key: K, more: u64, now: Timestamp) {
        while self.order.front().is_some_and(|(since, _)| is_over(*since, now)) {
            self.forget_oldest();
        }
        if let Some(hour) = self.of.get_mut(&key).filter(|hour| !is_over(hour.since, now)) {
            hour.sum = hour.sum.saturating_add(more);
            return;
        }
        if self.order.len() >= MAX_REMEMBERED {
            self.forget_oldest();
        }
        self.order.push_back((now, key));
        self.of.insert(key, Hour { since: now, sum: more });
    }

    fn forget_oldest(&mut self) {
        let Some((since, key)) = self.order.pop_front() else { return };
        // After a clock that went back, the same key may have begun anew meanwhile.
        if self.of.get(&key).is_some_and(|hour| hour.since == since) {
            self.of.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::V4((0xC000_0200 + number).into())
    }

    fn whose(number: u128) -> Option<Whose> {
        Some((MessageId::from_u128(number), Some(0)))
    }

    fn quota() -> Quota {
        Quota::new(&ReturnPathLimits::default())
    }

    #[test]
    fn a_stranger_has_his_part_of_an_hour_and_all_of_them_the_whole() {
        let (quota, part) = (quota(), 64 * MIB);
        assert!(!quota.take(client(1), None, part + 1, at(0)));
        assert!(quota.take(client(1), None, part - 1, at(0)));
        assert!(!quota.take(client(1), None, 2, at(3_599)));
        assert!(quota.take(client(1), None, 1, at(3_599)));
        assert!(quota.take(client(1), None, part, at(3_600)));
        for number in 2..5 {
            assert!(quota.take(client(number), None, part, at(3_601)));
        }
        assert!(!quota.take(client(5), None, 1, at(3_602)));
        // A clock that is set back begins a new hour.
        assert!(quota.take(client(5), None, 1, at(-5)));
    }

    #[test]
    fn reports_that_prove_themselves_come_by_the_thousand_beside_a_flood() {
        let (quota, provider) = (quota(), client(1));
        while quota.take(provider, None, MIB, at(0)) {}
        for number in 0..50_000 {
            assert!(quota.take(provider, whose(number), 100 << 10, at(1)));
        }
        // Each of a thousand recipients of one message may come back to the path of all of them.
        let several = Some((MessageId::from_u128(99_999), None));
        assert!((0..1_000).all(|_| quota.take(provider, several, 100 << 10, at(2))));
    }

    #[test]
    fn whoever_knows_one_path_can_not_send_without_end() {
        let quota = quota();
        let taken = (0..1_000).take_while(|_| quota.take(client(1), whose(7), MIB, at(0)));
        assert_eq!(taken.count() as u64, 128 + 64);
        assert!(quota.take(client(1), whose(8), MIB, at(0)));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_a_flood_of_clients_frees_none() {
        let quota = quota();
        for number in 0..3 * MAX_REMEMBERED as u32 {
            let now = at(i64::from(number / 1_000));
            quota.take(client(number), whose(number.into()), 1, now);
            quota.take(client(number), None, 10_000, now);
        }
        let counts = quota.counts.lock().unwrap();
        for (of, order) in [
            (counts.clients.of.len(), counts.clients.order.len()),
            (counts.paths.of.len(), counts.paths.order.len()),
        ] {
            assert!(of <= MAX_REMEMBERED && order <= MAX_REMEMBERED, "{of} {order}");
        }
        let all = counts.all.came((), at(60));
        assert!((255 * MIB..=256 * MIB).contains(&all), "{all}");
    }

    #[test]
    fn hours_that_are_over_are_forgotten() {
        let mut hours = Hours::new();
        (0..100).for_each(|number: u32| hours.add(number, 1, at(i64::from(number))));
        hours.add(7, 1, at(3_700));
        assert_eq!((hours.of.len(), hours.order.len(), hours.came(7, at(3_700))), (1, 1, 1));
    }
}
