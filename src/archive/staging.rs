//! Staging: the bytes of a small batch lie in the records file first, and move to a volume later.
//!
//! A commit costs several syncs of the disk, whatever is in it. With few clients a batch holds a
//! message or two, and two commits for it, the volume's and then the records', would be most of the
//! time that a client waits. So a small batch is laid out as chunks of a volume with the number 0,
//! whose chunks are rows of the records file: bytes, message, recipients and events are one
//! transaction. When there is time, or too much lies there, the chunks move to the current volume in
//! one go: the volume is committed first, then one transaction of the records forgets the chunk and
//! notes its new place. A crash between leaves bytes in the volume that nobody points to.
//! A location never changes: one in volume 0 is looked up in `staged`, and then in `moved`.

use redb::{Database, ReadableDatabase, ReadableTable};

use super::settings::StagingLimits;
use super::tables::{MOVED, STAGED};
use super::volume::{Location, Packed};
use super::writer::{Batch, Failure};

/// The number of the volume that lies in the records file.
pub(super) const STAGING: u32 = 0;
/// Bytes that move at once.
const MAX_MOVED_BYTES: usize = 4 << 20;

/// A chunk of volume 0, with its number.
pub(super) type StagedChunk = (u64, Vec<u8>);

/// What the volume's thread knows of the staged chunks.
#[derive(Debug)]
pub(super) struct Staging {
    pub limits: StagingLimits,
    pub next_chunk: u64,
    /// Chunks before this one have moved, or are about to.
    first_chunk: u64,
    /// What lies there, roughly; zero only when nothing does.
    pub staged_bytes: u64,
}

impl Staging {
    /// Goes on behind what is there.
    pub(super) fn open(records: &Database, limits: StagingLimits) -> Result<Staging, Failure> {
        let snapshot = records.begin_read()?;
        let staged = snapshot.open_table(STAGED)?;
        let last_staged = staged.last()?.map(|(number, _)| number.value());
        let last_moved = snapshot.open_table(MOVED)?.last()?.map(|(number, _)| number.value());
        let mut staged_bytes = 0;
        for entry in staged.iter()? {
            staged_bytes += entry?.1.value().len() as u64;
        }
        let next_chunk = last_staged.max(last_moved).map_or(0, |number| number + 1);
        Ok(Staging { limits, next_chunk, first_chunk: 0, staged_bytes })
    }

    /// Notes that these chunks are on their way into the records.
    pub(super) fn put(&mut self, chunks: &[StagedChunk]) {
        self.next_chunk = chunks.last().map_or(self.next_chunk, |(number, _)| number + 1);
        self.staged_bytes += chunks.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    }

    /// The oldest chunks that are durable and have not moved, as blobs for the volume.
    pub(super) fn oldest(&self, records: &Database) -> Result<Vec<(u64, Packed)>, Failure> {
        let snapshot = records.begin_read()?;
        let (mut chunks, mut size) = (Vec::new(), 0);
        for entry in snapshot.open_table(STAGED)?.range(self.first_chunk..)? {
            let (number, bytes) = entry?;
            size += bytes.value().len();
            chunks.push((number.value(), Packed::as_is(bytes.value().to_vec().into())));
            if size >= MAX_MOVED_BYTES {
                break;
            }
        }
        Ok(chunks)
    }

    /// Notes that these chunks have moved.
    pub(super) fn taken(&mut self, chunks: &[(u64, Packed)]) {
        if let Some((last, _)) = chunks.last() {
            self.first_chunk = last + 1;
        }
        let size: u64 = chunks.iter().map(|(_, blob)| blob.len() as u64).sum();
        self.staged_bytes = self.staged_bytes.saturating_sub(size);
        if self.first_chunk == self.next_chunk {
            self.staged_bytes = 0;
        }
    }
}

/// Writes staged chunks, in the transaction of the messages that point into them or in one before.
pub(super) fn stage(batch: &mut Batch<'_>, chunks: &[StagedChunk]) -> Result<(), Failure> {
    let mut staged = batch.transaction.open_table(STAGED)?;
    for (number, bytes) in chunks {
        staged.insert(number, &bytes[..])?;
    }
    Ok(())
}

/// Forgets chunks whose bytes are durable in a volume, and notes where.
pub(super) fn note_moved(batch: &mut Batch<'_>, places: &[(u64, Location)]) -> Result<(), Failure> {
    let mut staged = batch.transaction.open_table(STAGED)?;
    let mut moved = batch.transaction.open_table(MOVED)?;
    for (number, place) in places {
        // Plain numbers; serialising them can not fail.
        let place = postcard::to_stdvec(place).unwrap_or_default();
        moved.insert(number, &place[..])?;
        staged.remove(number)?;
    }
    Ok(())
}

/// Where the bytes of one chunk of volume 0 are.
pub(super) enum Place {
    Here(Vec<u8>),
    Moved(Location),
    Nowhere,
}

/// Looks a chunk up.
pub(super) fn find(records: &Database, number: u64) -> Result<Place, redb::Error> {
    let snapshot = records.begin_read()?;
    if let Some(bytes) = snapshot.open_table(STAGED)?.get(number)? {
        return Ok(Place::Here(bytes.value().to_vec()));
    }
    let moved = snapshot.open_table(MOVED)?;
    let place = moved.get(number)?.and_then(|bytes| postcard::from_bytes(bytes.value()).ok());
    Ok(place.map_or(Place::Nowhere, Place::Moved))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::archive::tests::{acceptance, settings};
    use crate::archive::{Archive, Durable};

    /// How many chunks are staged and have moved.
    fn chunks(archive: &Archive) -> (u64, u64) {
        use redb::ReadableTableMetadata;
        let snapshot = archive.snapshot().unwrap();
        let count = |table| snapshot.open_table(table).unwrap().len().unwrap();
        (count(super::STAGED), count(super::MOVED))
    }

    fn noise(seed: u64, len: usize) -> Bytes {
        let mut state = seed + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..len).map(|_| next()).collect::<Vec<u8>>().into()
    }

    #[tokio::test]
    async fn what_was_staged_is_read_the_same_after_it_moved() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let mut stored = Vec::new();
        for (number, size) in (0..).zip([0, 1, 5_000, 70_000, 100_000, 5_000, 131_000, 400_000]) {
            let raw = noise(number, size);
            let id: Durable<_> = archive.accept(acceptance(number, 1, raw.clone())).await.unwrap();
            assert_eq!(archive.raw(id.get()).unwrap().unwrap(), raw);
            stored.push((id.get(), raw));
        }
        for _ in 0..500 {
            if chunks(&archive).0 == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let (staged, moved) = chunks(&archive);
        assert_eq!(staged, 0, "everything has moved");
        assert!(moved >= 6, "{moved}");
        for (id, raw) in &stored {
            assert_eq!(archive.raw(*id).unwrap().unwrap(), raw);
        }
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let raw = noise(99, 5_000);
        let id = archive.accept(acceptance(99, 1, raw.clone())).await.unwrap().get();
        stored.push((id, raw));
        for (id, raw) in &stored {
            assert_eq!(archive.raw(*id).unwrap().unwrap(), raw);
        }
    }
}
