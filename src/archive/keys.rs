//! Random keys that the archive makes and keeps: single ones, and rings of which older ones still read.
//!
//! A key is made when it is first asked for and never changes; a ring gets a further key when somebody
//! turns it. They lie in the records and nowhere else, neither in the configuration nor in a log.

use redb::ReadableTable;

use super::stored::Corrupt;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, storage, tables};

/// The keys of one use, with their ids; the last one is the one to write with. Never empty.
pub type KeyRing = Vec<(u8, [u8; 32])>;

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
            let ring = read_ring(batch, name)?;
            if !ring.is_empty() {
                return Ok(ring);
            }
            Ok(vec![(1, find_or_make(batch, name, &row_of(name, 1), fresh)?)])
        })
        .await
    }

    /// Puts a fresh key at the end of a ring; gives the ring. With 255 keys it stays as it is.
    pub async fn turn_key_ring(&self, name: &'static str) -> Result<KeyRing, ArchiveError> {
        let fresh = fresh()?;
        self.write(Urgency::Now, move |batch| {
            let mut ring = read_ring(batch, name)?;
            let last = ring.last().map_or(0, |(id, _)| *id);
            if let Some(id) = last.checked_add(1) {
                ring.push((id, find_or_make(batch, name, &row_of(name, id), fresh)?));
            }
            Ok(ring)
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

fn read_ring(batch: &Batch<'_>, name: &'static str) -> Result<KeyRing, Failure> {
    let meta = batch.transaction.open_table(tables::META)?;
    let mut ring = KeyRing::new();
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
