//! The outbox: what is to be told to applications, durably, until they took it or it is given up.
//!
//! Deliveries are planned from the journal: the events up to a watermark have their deliveries, and
//! both change in one transaction, so that no event is told twice or never.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use super::stored::{Corrupt, Record, StoredEvent};
use super::tables::{EVENTS, LAST_DELIVERY, META, OUTBOX, OUTBOX_DEAD, OUTBOX_DUE, PLANNED_UNTIL};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, Event, Page};
use crate::model::{MessageId, Sequence, Timestamp};

/// Deliveries that were given up and are kept; the oldest go when there are more.
const MAX_GIVEN_UP: u64 = 100_000;
/// Rows that one page of a list looks at.
const LOOKED_AT: usize = 10_000;
/// Longest error that is kept.
const MAX_ERROR_CHARS: usize = 500;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// What became of a message, in the dialect in which it was submitted.
    Receipt,
    /// An inbound message, in the dialect of the app.
    Inbound,
    /// A signed notice of a flow.
    Webhook,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub message: MessageId,
    /// The event that it tells of.
    pub event: Sequence,
    pub kind: DeliveryKind,
    pub url: String,
}

/// A delivery in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Grows with time; no two share it.
    pub id: u64,
    pub what: NewDelivery,
    pub created_at: Timestamp,
    pub attempts: u32,
    /// `None`: it was given up and waits for a person (dead letter).
    pub due_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// How an attempt at a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    Again { at: Timestamp, error: String },
    GivenUp { error: String },
}

/// A delivery as it is stored; its key is its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredDelivery {
    message: u128,
    event: u64,
    kind: StoredKind,
    url: String,
    created_at: i64,
    attempts: u32,
    due_at: Option<i64>,
    last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredKind {
    Receipt,
    Inbound,
    Webhook,
}

impl Record for StoredDelivery {
    const KIND: &'static str = "delivery";
}

impl StoredDelivery {
    fn new(what: NewDelivery, now: Timestamp) -> StoredDelivery {
        StoredDelivery {
            message: what.message.as_u128(),
            event: what.event.0,
            kind: match what.kind {
                DeliveryKind::Receipt => StoredKind::Receipt,
                DeliveryKind::Inbound => StoredKind::Inbound,
                DeliveryKind::Webhook => StoredKind::Webhook,
            },
            url: what.url,
            created_at: now.as_millis(),
            attempts: 0,
            due_at: Some(now.as_millis()),
            last_error: None,
        }
    }

    fn delivery(self, id: u64) -> Delivery {
        Delivery {
            id,
            what: NewDelivery {
                message: MessageId::from_u128(self.message),
                event: Sequence(self.event),
                kind: match self.kind {
                    StoredKind::Receipt => DeliveryKind::Receipt,
                    StoredKind::Inbound => DeliveryKind::Inbound,
                    StoredKind::Webhook => DeliveryKind::Webhook,
                },
                url: self.url,
            },
            created_at: Timestamp::from_millis(self.created_at),
            attempts: self.attempts,
            due_at: self.due_at.map(Timestamp::from_millis),
            last_error: self.last_error,
        }
    }
}

impl Archive {
    /// The last event whose deliveries are planned.
    pub fn planned_until(&self) -> Result<Sequence, ArchiveError> {
        let look = |snapshot: &ReadTransaction| -> Result<u64, Failure> {
            number(&snapshot.open_table(META)?, PLANNED_UNTIL)
        };
        Ok(Sequence(look(&self.snapshot()?)?))
    }

    /// Events of the whole journal behind a number, oldest first. One that can not be read is left
    /// out, so that it does not keep all others from being told.
    pub fn journal_after(&self, after: Sequence, limit: usize) -> Result<Vec<Event>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Vec<Event>, Failure> {
            let table = snapshot.open_table(EVENTS)?;
            let mut events = Vec::new();
            for entry in table.range(after.0.saturating_add(1)..)? {
                if events.len() >= limit {
                    break;
                }
                let (number, bytes) = entry?;
                let number = Sequence(number.value());
                match StoredEvent::decode(bytes.value()).and_then(|event| event.event(number)) {
                    Ok(event) => events.push(event),
                    Err(error) => {
                        tracing::error!(number = number.0, %error, "an event is left out")
                    }
                }
            }
            Ok(events)
        };
        Ok(read(&self.snapshot()?)?)
    }

    /// Plans deliveries and moves the watermark, in one transaction. What is planned already stays
    /// as it is, so a plan that is made twice tells nothing twice.
    pub async fn plan(
        &self,
        deliveries: Vec<NewDelivery>,
        until: Sequence,
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        self.write(Urgency::Soon, move |batch| plan(batch, deliveries, until, now)).await
    }

    /// Deliveries that are due, oldest first.
    pub fn due_deliveries(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Vec<Delivery>, Failure> {
            let (due, outbox) = (snapshot.open_table(OUTBOX_DUE)?, snapshot.open_table(OUTBOX)?);
            let mut deliveries = Vec::new();
            for entry in due.range(..=(row(now.as_millis()), u64::MAX))? {
                if deliveries.len() >= limit {
                    break;
                }
                let (_, id) = entry?.0.value();
                if let Some(bytes) = outbox.get(id)? {
                    deliveries.extend(readable(id, bytes.value()));
                }
            }
            Ok(deliveries)
        };
        Ok(read(&self.snapshot()?)?)
    }

    /// When the next delivery is due.
    pub fn next_delivery(&self) -> Result<Option<Timestamp>, ArchiveError> {
        let look = |snapshot: &ReadTransaction| -> Result<Option<u64>, Failure> {
            Ok(snapshot.open_table(OUTBOX_DUE)?.first()?.map(|(key, _)| key.value().0))
        };
        let ms = look(&self.snapshot()?)?;
        Ok(ms.map(|ms| Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))))
    }

    /// Records how an attempt ended. What is done leaves the outbox.
    pub async fn settle(&self, id: u64, settled: Settled) -> Result<(), ArchiveError> {
        let settle = move |batch: &mut Batch<'_>| {
            let Some(before) = load(batch, id)? else { return Ok(()) };
            let attempts = before.attempts.saturating_add(1);
            let (due_at, error) = match settled {
                Settled::Done => return remove(batch, id, &before),
                Settled::Again { at, error } => (Some(at.as_millis()), error),
                Settled::GivenUp { error } => (None, error),
            };
            let last_error = Some(error.chars().take(MAX_ERROR_CHARS).collect());
            let after = StoredDelivery { attempts, due_at, last_error, ..before.clone() };
            replace(batch, id, &before, &after)
        };
        self.write(Urgency::Soon, settle).await
    }

    /// Deliveries by number; `given_up`: only these, or only the others. A page may be short of its
    /// limit although there is a next one.
    pub fn deliveries(
        &self,
        given_up: Option<bool>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Delivery, u64>, ArchiveError> {
        Ok(list(&self.snapshot()?, given_up, after, limit)?)
    }

    /// Tries one that was given up again, as if it were new; false when there is no such delivery.
    pub async fn deliver_again(&self, id: u64, now: Timestamp) -> Result<bool, ArchiveError> {
        let again = move |batch: &mut Batch<'_>| {
            let Some(before) = load(batch, id)?.filter(|delivery| delivery.due_at.is_none()) else {
                return Ok(false);
            };
            let due_at = Some(now.as_millis());
            let after = StoredDelivery { attempts: 0, due_at, ..before.clone() };
            replace(batch, id, &before, &after)?;
            Ok(true)
        };
        self.write_recorded(again).await
    }

    /// Drops one for good; false when there is no such delivery.
    pub async fn drop_delivery(&self, id: u64) -> Result<bool, ArchiveError> {
        let drop = move |batch: &mut Batch<'_>| {
            let Some(before) = load(batch, id)? else { return Ok(false) };
            remove(batch, id, &before)?;
            Ok(true)
        };
        self.write_recorded(drop).await
    }
}

fn plan(
    batch: &Batch<'_>,
    deliveries: Vec<NewDelivery>,
    until: Sequence,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut meta = batch.transaction.open_table(META)?;
    let planned = number(&meta, PLANNED_UNTIL)?;
    let mut last = number(&meta, LAST_DELIVERY)?;
    if until.0 <= planned {
        return Ok(());
    }
    let new = deliveries.into_iter().filter(|what| (planned + 1..=until.0).contains(&what.event.0));
    {
        let mut outbox = batch.transaction.open_table(OUTBOX)?;
        let mut due = batch.transaction.open_table(OUTBOX_DUE)?;
        for what in new {
            last = last.saturating_add(1);
            let stored = StoredDelivery::new(what, now);
            outbox.insert(last, &stored.encode()[..])?;
            due.insert((row(now.as_millis()), last), ())?;
        }
    }
    meta.insert(LAST_DELIVERY, &last.to_be_bytes()[..])?;
    meta.insert(PLANNED_UNTIL, &until.0.to_be_bytes()[..])?;
    Ok(())
}

fn list(
    snapshot: &ReadTransaction,
    given_up: Option<bool>,
    after: Option<u64>,
    limit: usize,
) -> Result<Page<Delivery, u64>, Failure> {
    let (outbox, dead) = (snapshot.open_table(OUTBOX)?, snapshot.open_table(OUTBOX_DEAD)?);
    let from = after.map_or(0, |after| after.saturating_add(1));
    let mut page = Page { items: Vec::new(), next: None };
    let mut last = None;
    let ids: Box<dyn Iterator<Item = Result<u64, redb::StorageError>>> = match given_up {
        Some(true) => Box::new(dead.range(from..)?.map(|entry| Ok(entry?.0.value()))),
        Some(false) | None => Box::new(outbox.range(from..)?.map(|entry| Ok(entry?.0.value()))),
    };
    for (looked_at, id) in ids.enumerate() {
        let id = id?;
        if page.items.len() >= limit || looked_at >= LOOKED_AT {
            page.next = last;
            break;
        }
        last = Some(id);
        let Some(bytes) = outbox.get(id)? else { continue };
        let delivery = readable(id, bytes.value());
        let wanted = |d: &Delivery| given_up.is_none_or(|given_up| given_up == d.due_at.is_none());
        page.items.extend(delivery.filter(wanted));
    }
    Ok(page)
}

/// A damaged one is left out, with a line in the log.
fn readable(id: u64, bytes: &[u8]) -> Option<Delivery> {
    match StoredDelivery::decode(bytes) {
        Ok(stored) => Some(stored.delivery(id)),
        Err(error) => {
            tracing::error!(id, %error, "a delivery can not be read");
            None
        }
    }
}

fn load(batch: &Batch<'_>, id: u64) -> Result<Option<StoredDelivery>, Failure> {
    let outbox = batch.transaction.open_table(OUTBOX)?;
    let Some(bytes) = outbox.get(id)? else { return Ok(None) };
    Ok(Some(StoredDelivery::decode(bytes.value())?))
}

fn remove(batch: &Batch<'_>, id: u64, before: &StoredDelivery) -> Result<(), Failure> {
    batch.transaction.open_table(OUTBOX)?.remove(id)?;
    match before.due_at {
        Some(at) => drop(batch.transaction.open_table(OUTBOX_DUE)?.remove((row(at), id))?),
        None => drop(batch.transaction.open_table(OUTBOX_DEAD)?.remove(id)?),
    }
    Ok(())
}

fn replace(
    batch: &Batch<'_>,
    id: u64,
    before: &StoredDelivery,
    after: &StoredDelivery,
) -> Result<(), Failure> {
    remove(batch, id, before)?;
    batch.transaction.open_table(OUTBOX)?.insert(id, &after.encode()[..])?;
    if let Some(at) = after.due_at {
        batch.transaction.open_table(OUTBOX_DUE)?.insert((row(at), id), ())?;
        return Ok(());
    }
    let oldest = {
        let mut dead = batch.transaction.open_table(OUTBOX_DEAD)?;
        dead.insert(id, ())?;
        match dead.len()? > MAX_GIVEN_UP {
            true => dead.pop_first()?.map(|(key, _)| key.value()),
            false => None,
        }
    };
    if let Some(oldest) = oldest {
        tracing::warn!(
            id = oldest,
            "a delivery that was given up is forgotten: there are too many"
        );
        batch.transaction.open_table(OUTBOX)?.remove(oldest)?;
    }
    Ok(())
}

/// A number in `META`; 0 when it was never written.
fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<u64, Failure> {
    let Some(bytes) = meta.get(name)? else { return Ok(0) };
    let bytes = bytes.value().try_into();
    Ok(u64::from_be_bytes(bytes.map_err(|_| Corrupt::new("number", name))?))
}

/// Times before 1970 do not happen; one that does sorts first.
fn row(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{acceptance, at, settings};

    fn what(event: u64) -> NewDelivery {
        NewDelivery {
            message: MessageId::from_u128(7),
            event: Sequence(event),
            kind: DeliveryKind::Webhook,
            url: format!("https://app.test/{event}"),
        }
    }

    fn events(deliveries: &[Delivery]) -> Vec<u64> {
        deliveries.iter().map(|delivery| delivery.what.event.0).collect()
    }

    #[tokio::test]
    async fn no_event_is_planned_twice_and_no_number_is_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        assert_eq!(archive.planned_until().unwrap(), Sequence(0));
        archive.plan(vec![what(1), what(2), what(2)], Sequence(2), at(0)).await.unwrap();
        archive.plan(vec![what(1), what(2)], Sequence(2), at(0)).await.unwrap();
        archive.plan(vec![what(2), what(3), what(9)], Sequence(4), at(5)).await.unwrap();
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        assert_eq!(archive.planned_until().unwrap(), Sequence(4));
        let due = archive.due_deliveries(at(5), 10).unwrap();
        assert_eq!(events(&due), [1, 2, 2, 3]);
        assert_eq!(archive.next_delivery().unwrap(), Some(at(0)));
        for delivery in &due {
            archive.settle(delivery.id, Settled::Done).await.unwrap();
        }
        assert_eq!(archive.next_delivery().unwrap(), None);
        archive.plan(vec![what(5)], Sequence(5), at(6)).await.unwrap();
        let next = archive.due_deliveries(at(6), 10).unwrap();
        assert!(next[0].id > due[3].id);
    }

    #[tokio::test]
    async fn what_is_given_up_waits_for_a_person() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        archive.plan((1..=4).map(what).collect(), Sequence(4), at(0)).await.unwrap();
        let ids: Vec<u64> =
            archive.due_deliveries(at(0), 9).unwrap().iter().map(|d| d.id).collect();
        let error = "x".repeat(5_000);
        let again = Settled::Again { at: at(60), error: error.clone() };
        archive.settle(ids[0], again).await.unwrap();
        archive.settle(ids[1], Settled::GivenUp { error }).await.unwrap();
        archive.settle(99, Settled::Done).await.unwrap();
        let due = archive.due_deliveries(at(0), 9).unwrap();
        assert_eq!(events(&due), [3, 4]);
        let later = archive.due_deliveries(at(60), 9).unwrap();
        assert_eq!((events(&later), later[2].attempts), (vec![3, 4, 1], 1));
        let of = |given_up, limit| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = archive.deliveries(given_up, after, limit).unwrap();
                found.extend(events(&page.items));
                after = page.next;
                if after.is_none() {
                    return found;
                }
            }
        };
        for limit in [1, 2, 9] {
            assert_eq!(of(None, limit), [1, 2, 3, 4]);
            assert_eq!((of(Some(true), limit), of(Some(false), limit)), (vec![2], vec![1, 3, 4]));
        }
        let dead = archive.deliveries(Some(true), None, 9).unwrap().items.remove(0);
        assert!(dead.last_error.unwrap().len() < 2_000);
        assert!(!archive.deliver_again(99, at(70)).await.unwrap());
        assert!(!archive.deliver_again(ids[2], at(70)).await.unwrap(), "it waits already");
        assert!(archive.deliver_again(ids[1], at(70)).await.unwrap());
        assert_eq!(events(&archive.due_deliveries(at(70), 9).unwrap()), [3, 4, 1, 2]);
        assert!(archive.drop_delivery(ids[1]).await.unwrap());
        assert!(!archive.drop_delivery(ids[1]).await.unwrap());
        assert_eq!(of(None, 9), [1, 3, 4]);
    }

    #[tokio::test]
    async fn the_journal_is_read_from_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        for number in 0..5 {
            archive.accept(acceptance(number, 1, "x".into())).await.unwrap();
        }
        let numbers = |after, limit| -> Vec<u64> {
            let events = archive.journal_after(Sequence(after), limit).unwrap();
            events.iter().map(|event| event.sequence.0).collect()
        };
        assert_eq!(numbers(0, 2), [1, 2]);
        assert_eq!(numbers(2, 9), [3, 4, 5]);
        assert!(numbers(5, 9).is_empty() && numbers(u64::MAX, 9).is_empty());
    }
}
