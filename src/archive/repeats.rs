//! Calls that are made once, however often they come: their keys, with the messages of the first time.
//!
//! A key is looked up and written in the transaction that makes the messages, so of two calls with
//! one key that come at the same time exactly one makes them. A key is forgotten some time after it was
//! used; a few old ones go with each new one, so no moment has to pay for all.

use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::stored::Record;
use super::tables::{REPEAT_ENDS, REPEATS};
use super::writer::Failure;
use super::{Accepted, Archive, ArchiveError, Durable, RepeatKey};
use crate::model::{Direction, MessageId, Timestamp};

/// How long the key of an application's call is good.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Providers send an inbound message again for a day and longer when they had no answer.
const KEPT_INBOUND: Duration = Duration::from_secs(14 * 24 * 3600);
/// Old keys that go with each new one.
const FORGOTTEN_AT_ONCE: usize = 8;

/// The messages of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredRepeat {
    fingerprint: [u8; 16],
    ends_at: i64,
    ids: Vec<u128>,
}

impl Record for StoredRepeat {
    const KIND: &'static str = "repeated call";
}

impl StoredRepeat {
    fn accepted(&self, key: RepeatKey) -> Accepted {
        match self.fingerprint == key.fingerprint {
            // It was read from the file, where only what is durable, or becomes so with the
            // transaction that reads it, is seen.
            true => Accepted::Repeated(
                self.ids.iter().map(|id| Durable(MessageId::from_u128(*id))).collect(),
            ),
            false => Accepted::Conflict,
        }
    }
}

impl Archive {
    /// What a key stands for already.
    pub fn repeated(&self, key: RepeatKey) -> Result<Option<Accepted>, ArchiveError> {
        let look = || -> Result<Option<Accepted>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(REPEATS)?;
            let Some(bytes) = table.get(key.key)? else { return Ok(None) };
            Ok(Some(StoredRepeat::decode(bytes.value())?.accepted(key)))
        };
        Ok(look()?)
    }
}

/// How long the key of a message in this direction is good.
pub(super) fn kept_for(direction: Direction) -> Duration {
    match direction {
        Direction::Outbound => KEPT,
        Direction::Inbound => KEPT_INBOUND,
    }
}

/// What a key stands for at `now`.
pub(super) fn find(
    transaction: &WriteTransaction,
    key: RepeatKey,
    now: Timestamp,
) -> Result<Option<Accepted>, Failure> {
    let table = transaction.open_table(REPEATS)?;
    let Some(bytes) = table.get(key.key)? else { return Ok(None) };
    let stored = StoredRepeat::decode(bytes.value())?;
    let is_over = now.as_millis() >= stored.ends_at;
    Ok((!is_over).then(|| stored.accepted(key)))
}

/// Notes the messages of a key that is not known, or whose time is over.
pub(super) fn remember(
    transaction: &WriteTransaction,
    key: RepeatKey,
    ids: &[Durable<MessageId>],
    now: Timestamp,
    kept: Duration,
) -> Result<(), Failure> {
    let mut repeats = transaction.open_table(REPEATS)?;
    let mut ends = transaction.open_table(REPEAT_ENDS)?;
    forget_some(&mut repeats, &mut ends, now)?;
    let ends_at = now.plus(kept);
    let stored = StoredRepeat {
        fingerprint: key.fingerprint,
        ends_at: ends_at.as_millis(),
        ids: ids.iter().map(|id| id.get().as_u128()).collect(),
    };
    let replaced = {
        let bytes = stored.encode();
        let replaced = repeats.insert(key.key, &bytes[..])?;
        replaced.and_then(|old| StoredRepeat::decode(old.value()).ok())
    };
    if let Some(old) = replaced {
        ends.remove((row(old.ends_at), key.key))?;
    }
    ends.insert((row(stored.ends_at), key.key), ())?;
    Ok(())
}

fn forget_some(
    repeats: &mut Table<'_, [u8; 32], &'static [u8]>,
    ends: &mut Table<'_, (u64, [u8; 32]), ()>,
    now: Timestamp,
) -> Result<(), Failure> {
    let over = ends.range(..(row(now.as_millis()), [0; 32]))?.take(FORGOTTEN_AT_ONCE);
    let over =
        over.map(|entry| entry.map(|(key, _)| key.value())).collect::<Result<Vec<_>, _>>()?;
    for (at, key) in over {
        ends.remove((at, key))?;
        repeats.remove(key)?;
    }
    Ok(())
}

/// Times before 1970 do not happen; one that does sorts first.
fn row(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}
