//! Random keys that the archive makes and keeps: single ones, and rings of which older ones still read.
//!
//! A key is made when it is first asked for and never changes; a ring gets a further key when somebody
//! turns it. They lie in the records and nowhere else, neither in the configuration nor in a log.

use std::fmt;

use redb::ReadableTable;

use super::stored::Corrupt;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, storage, tables};

/// A key with its id in its ring.
type NumberedKey = (u8, [u8; 32]);

/// The keys of one use.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// The one to write with.
    pub current: NumberedKey,
    /// What they wrote is still read.
    pub older: Vec<NumberedKey>,
}

/// Ids alone: keys are not for eyes.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let older: Vec<u8> = self.older.iter().map(|(id, _)| *id).collect();
        write!(f, "KeyRing {{ current: {}, older: {older:?} }}", self.current.0)
    }
}

impl Archive {
    /// A random key that was made when it was first asked for, by its name.
    pub async fn key(&self, name: &'static str) -> Result<[u8; 32], ArchiveError> {
        let fresh = fresh()?;
        self.write(Urgency::Now, move |batch| {
            let row = format!("{}{name}", tables::KEY_PREFIX);
            find_or_make(batch, name, &row, fresh)
        })
        .await
    }

    /// All keys of a ring; its first one is made when it is first asked for.
    pub async fn key_ring(&self, name: &'static str) -> Result<KeyRing, ArchiveError> {
        let fresh = fresh()?;
        self.write(Urgency::Now, move |batch| {
            let mut keys = read_ring(batch, name)?;
            let current = match keys.pop() {
                Some(last) => last,
                None => (1, find_or_make(batch, name, &row_of(name, 1), fresh)?),
            };
            Ok(KeyRing { current, older: keys })
        })
        .await
    }

    /// Puts a fresh key at the end of a ring; gives the ring. With 255 keys it stays as it is.
    pub async fn turn_key_ring(&self, name: &'static str) -> Result<KeyRing, ArchiveError> {
        let fresh = fresh()?;
        self.write(Urgency::Now, move |batch| {
            let mut keys = read_ring(batch, name)?;
            let next = keys.last().map_or(1, |(id, _)| id.saturating_add(1));
            // Where the last id is used, its row is there and stays as it is.
            let key = find_or_make(batch, name, &row_of(name, next), fresh)?;
            keys.retain(|(id, _)| *id != next);
            Ok(KeyRing { current: (next, key), older: keys })
        })
        .await
    }
}

fn fresh() -> Result<[u8; 32], ArchiveError> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh)
        .map_err(|_| storage("make a key")("there is no randomness"))?;
    Ok(fresh)
}

fn row_of(name: &str, id: u8) -> String {
    format!("{}{name}.{id:03}", tables::KEY_PREFIX)
}

fn read_ring(batch: &Batch<'_>, name: &'static str) -> Result<Vec<NumberedKey>, Failure> {
    let meta = batch.transaction.open_table(tables::META)?;
    let mut ring = Vec::new();
    for id in 1..=u8::MAX {
        let Some(bytes) = meta.get(row_of(name, id).as_str())? else { break };
        let key = bytes.value().try_into().map_err(|_| Corrupt::new("key", name))?;
        ring.push((id, key));
    }
    Ok(ring)
}

fn find_or_make(
    batch: &Batch<'_>,
    name: &'static str,
    row: &str,
    fresh: [u8; 32],
) -> Result<[u8; 32], Failure> {
    let mut meta = batch.transaction.open_table(tables::META)?;
    let found = meta.get(row)?.map(|bytes| bytes.value().try_into());
    match found {
        Some(Ok(found)) => Ok(found),
        Some(Err(_)) => Err(Corrupt::new("key", name).into()),
        None => {
            meta.insert(row, &fresh[..])?;
            Ok(fresh)
        }
    }
}
