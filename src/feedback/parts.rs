//! Parts of long messages that came in apart, kept until all of them are there.
//!
//! Parts wait in memory and their callbacks are not answered before the message is durable, so a
//! part that is lost with the process is one that its provider sends again. What has not all of
//! its parts after a minute is given back part by part. Groups and bytes are bounded; what finds no
//! room is taken alone at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::intake::SmsArrival;
use crate::model::{SmsBody, UpstreamName};
use crate::sms::provider::Concatenation;

/// How long parts wait for each other.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Long messages that are incomplete at one time.
const MAX_GROUPS: usize = 1_000;
/// Bytes of callbacks that wait in all.
const MAX_BYTES: usize = 16 << 20;
/// 3GPP TS 23.040 §9.2.3.24.1 counts parts in one octet.
const MAX_PARTS: u16 = 255;

/// What the parts of one message share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    upstream: UpstreamName,
    originator: String,
    destination: String,
    reference: String,
    total: u16,
}

/// What became of a group; `Waiting` until it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Durable,
    /// It could not be stored; the parts are to come again.
    Failed,
}

#[derive(Debug)]
struct Group {
    /// Tells this group from a later one with the same key.
    number: u64,
    parts: BTreeMap<u16, SmsArrival>,
    fate: watch::Sender<Fate>,
}

/// A group that left the table, to be made durable by whoever has it.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) parts: Vec<SmsArrival>,
    pub(super) fate: watch::Sender<Fate>,
}

/// What a part finds.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is no part of anything, or there is no room: it stands alone.
    Alone(Box<SmsArrival>),
    /// The others are not here yet. The first one of a group gets its number, and sees to it that
    /// the group is gathered when its minute is over.
    Waits { fate: watch::Receiver<Fate>, first: Option<(GroupKey, u64)> },
    /// It was the last one.
    Complete(Gathered),
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    groups: HashMap<GroupKey, Group>,
    bytes: usize,
    numbers: u64,
}

impl Parts {
    /// Puts a part to the others of its message.
    pub(super) fn place(&self, arrival: SmsArrival) -> Placed {
        let Some((key, part)) = group_of(&arrival) else { return Placed::Alone(Box::new(arrival)) };
        let mut table = self.lock();
        let room = table.groups.len() < MAX_GROUPS || table.groups.contains_key(&key);
        if !room || table.bytes.saturating_add(arrival.raw.len()) > MAX_BYTES {
            return Placed::Alone(Box::new(arrival));
        }
        table.bytes += arrival.raw.len();
        table.numbers += 1;
        let fresh = table.numbers;
        let group = table.groups.entry(key.clone()).or_insert_with(|| Group {
            number: fresh,
            parts: BTreeMap::new(),
            fate: watch::Sender::new(Fate::Waiting),
        });
        let (number, fate) = (group.number, group.fate.subscribe());
        let again = group.parts.insert(part, arrival);
        let is_complete = group.parts.len() == usize::from(key.total);
        if let Some(before) = again {
            table.bytes -= before.raw.len();
        }
        if is_complete && let Some(gathered) = table.take(&key) {
            return Placed::Complete(gathered);
        }
        Placed::Waits { fate, first: (number == fresh).then_some((key, number)) }
    }

    /// The parts of a group that are there, if it still is.
    pub(super) fn gather(&self, key: &GroupKey, number: u64) -> Option<Gathered> {
        let mut table = self.lock();
        table.groups.get(key).filter(|group| group.number == number)?;
        table.take(key)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take(&mut self, key: &GroupKey) -> Option<Gathered> {
        let Group { parts, fate, .. } = self.groups.remove(key)?;
        let parts: Vec<SmsArrival> = parts.into_values().collect();
        self.bytes -= parts.iter().map(|part| part.raw.len()).sum::<usize>();
        Some(Gathered { parts, fate })
    }
}

/// The group and the place in it; `None` when it needs no others, or its numbers make no sense.
fn group_of(arrival: &SmsArrival) -> Option<(GroupKey, u16)> {
    let inbound = &arrival.inbound;
    let Concatenation { reference, part, total } = inbound.concatenation.clone()?;
    let ok = (2..=MAX_PARTS).contains(&total) && (1..=total).contains(&part);
    let key = GroupKey {
        upstream: arrival.upstream.clone(),
        originator: inbound.originator.to_string(),
        destination: inbound.destination.to_string(),
        reference,
        total,
    };
    ok.then_some((key, part))
}

/// One message of all parts, in order; `None` when text and binary are mixed. Its provider id is that
/// of all parts with spaces between them, so that each can be found again.
pub(super) fn joined(parts: &[SmsArrival]) -> Option<SmsArrival> {
    let mut whole = parts.first()?.clone();
    let (mut text, mut binary, mut raw) = (String::new(), Vec::new(), Vec::new());
    let (mut texts, mut ids) = (0, Vec::new());
    for part in parts {
        match &part.inbound.body {
            SmsBody::Text(body) => {
                text.push_str(body);
                texts += 1;
            }
            SmsBody::Binary(body) => binary.extend_from_slice(body),
        }
        ids.push(part.inbound.provider_id.as_str());
        raw.extend_from_slice(&part.raw);
        raw.extend_from_slice(b"\r\n");
        whole.received_at = whole.received_at.max(part.received_at);
    }
    whole.inbound.body = match texts {
        0 => SmsBody::Binary(binary),
        all if all == parts.len() => SmsBody::Text(text),
        _ => return None,
    };
    whole.inbound.provider_id = ids.join(" ");
    whole.inbound.udh = Vec::new();
    whole.inbound.concatenation = None;
    whole.raw = raw.into();
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Destination, Originator, Timestamp};
    use crate::sms::provider::Inbound;
    use std::net::{IpAddr, Ipv4Addr};

    fn part(reference: &str, part: u16, total: u16, text: &str) -> SmsArrival {
        SmsArrival {
            upstream: UpstreamName::parse("provider").unwrap(),
            inbound: Inbound {
                provider_id: format!("id-{reference}-{part}"),
                originator: Originator::parse("+4512345678").unwrap(),
                destination: Destination::parse("+4511111111").unwrap(),
                body: SmsBody::Text(text.to_owned()),
                udh: vec![5, 0, 3],
                concatenation: Some(Concatenation { reference: reference.into(), part, total }),
                sent_at: None,
            },
            raw: bytes::Bytes::from_static(b"0123456789"),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received_at: Timestamp::from_millis(i64::from(part)),
        }
    }

    #[test]
    fn numbers_that_make_no_sense_stand_alone() {
        let parts = Parts::default();
        for (number, total) in [(1, 1), (0, 2), (3, 2), (1, 0), (1, 256)] {
            let placed = parts.place(part("a", number, total, "x"));
            assert!(matches!(placed, Placed::Alone(_)), "{number} of {total}");
        }
        assert!(parts.lock().groups.is_empty());
    }

    #[test]
    fn parts_become_one_message_in_whatever_order_they_come() {
        let parts = Parts::default();
        let Placed::Waits { fate, first: Some(_) } = parts.place(part("a", 2, 3, "two ")) else {
            panic!("the first one waits");
        };
        assert!(matches!(parts.place(part("b", 1, 3, "other")), Placed::Waits { .. }));
        for _ in 0..2 {
            let placed = parts.place(part("a", 3, 3, "three"));
            assert!(matches!(placed, Placed::Waits { first: None, .. }), "and again");
        }
        let Placed::Complete(gathered) = parts.place(part("a", 1, 3, "one ")) else {
            panic!("all are there");
        };
        let whole = joined(&gathered.parts).unwrap();
        assert_eq!(whole.inbound.body, SmsBody::Text("one two three".into()));
        assert_eq!(whole.inbound.provider_id, "id-a-1 id-a-2 id-a-3");
        assert_eq!(whole.received_at, Timestamp::from_millis(3));
        assert!(whole.inbound.concatenation.is_none() && whole.inbound.udh.is_empty());
        assert_eq!(*fate.borrow(), Fate::Waiting);
        drop(gathered);
        assert!(fate.has_changed().is_err(), "whoever waits learns that nobody will tell");
        let table = parts.lock();
        assert_eq!((table.groups.len(), table.bytes), (1, 10));
    }

    #[test]
    fn what_is_incomplete_is_gathered_once() {
        let parts = Parts::default();
        let Placed::Waits { first: Some((key, number)), .. } = parts.place(part("a", 1, 2, "x"))
        else {
            panic!("it waits");
        };
        assert!(parts.gather(&key, number + 1).is_none());
        assert_eq!(parts.gather(&key, number).unwrap().parts.len(), 1);
        assert!(parts.gather(&key, number).is_none());
        assert_eq!(parts.lock().bytes, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let parts = Parts::default();
        for number in 0..MAX_GROUPS {
            parts.place(part(&number.to_string(), 1, 2, "x"));
        }
        assert!(matches!(parts.place(part("one more", 1, 2, "x")), Placed::Alone(_)));
        assert!(matches!(parts.place(part("7", 2, 2, "y")), Placed::Complete(_)));
    }

    #[test]
    fn text_and_binary_are_not_mixed() {
        let mut binary = part("a", 2, 2, "");
        binary.inbound.body = SmsBody::Binary(vec![1]);
        assert!(joined(&[part("a", 1, 2, "x"), binary]).is_none());
        assert!(joined(&[]).is_none());
    }
}
