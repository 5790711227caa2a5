//! Volumes: redb files of about 1 GiB that hold bytes and nothing else.
//!
//! A batch of blobs is joined and cut into chunks under a running number; a blob is found again by
//! volume, chunk, offset and length. A chunk is 128 bytes short of a power of two, because redb
//! keeps a value in a power-of-two run of pages; a blob of 512 KiB and more starts its own, larger
//! chunks. A volume that is full is sealed: it is read and never written again.
//! One thread writes; anybody reads. A batch is durable when `append` returns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::files::{Files, volume_name};
use super::staging::{Place, STAGING, find};
use super::{ArchiveError, storage};

const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");

/// 64 KiB less what redb needs to stay within one run of pages.
const CHUNK_BYTES: usize = (64 << 10) - 128;
/// From this size on a blob does not share its chunks.
const LARGE_BLOB_BYTES: usize = 512 << 10;
/// The chunk of a large blob.
const LARGE_CHUNK_BYTES: usize = (1 << 20) - 128;
/// No blob is larger; a length above it in a record is damage, not a reason to allocate.
const MAX_BLOB_BYTES: u64 = 1 << 31;
/// Sealed volumes that are kept open for reading.
const MAX_OPEN_VOLUMES: usize = 16;
/// Level 1 costs 20 microseconds for 10 KiB and saves a third of the disk.
const ZSTD_LEVEL: i32 = 1;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Location {
    volume: u32,
    chunk: u64,
    offset: u32,
    stored_bytes: u64,
    /// Length after decompression.
    pub raw_bytes: u64,
    compressed: bool,
}

/// Bytes in a volume: so many from this chunk on, behind those that are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub volume: u32,
    pub chunk: u64,
    pub skip: u64,
    pub len: u64,
}

impl Location {
    /// The bytes of the blob.
    pub(super) fn stretch(&self) -> Stretch {
        let skip = u64::from(self.offset);
        Stretch { volume: self.volume, chunk: self.chunk, skip, len: self.stored_bytes }
    }
}

/// A blob as it will be stored.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    raw_bytes: u64,
    compressed: bool,
}

impl Packed {
    /// Compresses, unless that does not pay. Runs on the caller's thread, not on the writer's.
    pub(super) fn new(raw: Bytes) -> Packed {
        thread_local! {
            static COMPRESSOR: std::cell::RefCell<Option<zstd::bulk::Compressor<'static>>> =
                std::cell::RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok());
        }
        let raw_bytes = raw.len() as u64;
        let compressed = COMPRESSOR.with_borrow_mut(|compressor| {
            compressor.as_mut().and_then(|compressor| compressor.compress(&raw).ok())
        });
        match compressed {
            Some(bytes) if bytes.len() < raw.len() => {
                Packed { bytes: bytes.into(), raw_bytes, compressed: true }
            }
            Some(_) | None => Packed { bytes: raw, raw_bytes, compressed: false },
        }
    }

    /// Stored as it is.
    pub(super) fn as_is(raw: Bytes) -> Packed {
        Packed { raw_bytes: raw.len() as u64, bytes: raw, compressed: false }
    }

    /// Length as stored.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// All volumes, for reading.
pub(super) struct Volumes {
    /// Holds volume 0.
    records: Arc<Database>,
    files: Arc<dyn Files>,
    cache_bytes: usize,
    open: Mutex<HashMap<u32, Arc<Database>>>,
}

impl Volumes {
    pub(super) fn new(
        records: Arc<Database>,
        files: Arc<dyn Files>,
        cache_bytes: usize,
    ) -> Volumes {
        Volumes { records, files, cache_bytes, open: Mutex::new(HashMap::new()) }
    }

    /// The bytes of a blob, decompressed.
    pub(super) fn read(&self, at: Location) -> Result<Vec<u8>, ArchiveError> {
        let damaged = |why: &str| ArchiveError::Storage {
            operation: "read a volume",
            source: format!("chunk {} of volume {}: {why}", at.chunk, at.volume).into(),
        };
        if at.stored_bytes > MAX_BLOB_BYTES || at.raw_bytes > MAX_BLOB_BYTES {
            return Err(damaged("a length in its record is wrong"));
        }
        let stored = match at.volume {
            STAGING => self.read_staged(at)?,
            number => {
                let Some(database) = self.existing(number)? else {
                    return Err(damaged("there is no such volume"));
                };
                read_chunks(&database, at).map_err(storage("read a volume"))?
            }
        };
        if stored.len() as u64 != at.stored_bytes {
            return Err(damaged("the stored length is wrong"));
        }
        if !at.compressed {
            return Ok(stored);
        }
        // What the frame says of itself, before anything is allocated for it.
        let promised = zstd::zstd_safe::get_frame_content_size(&stored).ok().flatten();
        if promised != Some(at.raw_bytes) {
            return Err(damaged("the compressed bytes are not those of its record"));
        }
        let raw =
            decompress(&stored, at.raw_bytes as usize).map_err(|e| damaged(&e.to_string()))?;
        match raw.len() as u64 == at.raw_bytes {
            true => Ok(raw),
            false => Err(damaged("the decompressed length is wrong")),
        }
    }

    /// A blob that was staged: each of its chunks is still in the records, or in a volume by now.
    fn read_staged(&self, at: Location) -> Result<Vec<u8>, ArchiveError> {
        let mut stored = Vec::new();
        let (mut number, mut offset) = (at.chunk, at.offset as usize);
        while (stored.len() as u64) < at.stored_bytes {
            let chunk = match find(&self.records, number).map_err(storage("read the records"))? {
                Place::Here(bytes) => bytes,
                // What has moved never lies in volume 0 again, so this goes one level deep.
                Place::Moved(place) if place.volume != STAGING => self.read(place)?,
                Place::Moved(_) | Place::Nowhere => break,
            };
            let rest = chunk.get(offset..).unwrap_or_default();
            let left = at.stored_bytes - stored.len() as u64;
            let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if take == 0 {
                break;
            }
            stored.extend_from_slice(&rest[..take]);
            (number, offset) = (number.saturating_add(1), 0);
        }
        Ok(stored)
    }

    /// A volume for reading; a damaged record must not bring new ones to life.
    fn existing(&self, number: u32) -> Result<Option<Arc<Database>>, ArchiveError> {
        if let Some(database) = self.lock().get(&number) {
            return Ok(Some(database.clone()));
        }
        match self.files.size(&volume_name(number)) {
            Some(_) => self.database(number).map(Some),
            None => Ok(None),
        }
    }

    /// Every chunk of every volume.
    #[cfg(test)]
    pub(super) fn chunks_for_tests(&self) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        for number in self.files.volumes().unwrap() {
            let transaction = self.database(number).unwrap().begin_read().unwrap();
            if let Ok(table) = transaction.open_table(CHUNKS) {
                chunks.extend(table.iter().unwrap().map(|row| row.unwrap().1.value().to_vec()));
            }
        }
        chunks
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Database>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self, number: u32) -> Result<Arc<Database>, ArchiveError> {
        let mut open = self.lock();
        if let Some(database) = open.get(&number) {
            return Ok(database.clone());
        }
        let database = self.files.open(&volume_name(number), self.cache_bytes);
        let database = Arc::new(database.map_err(storage("open a volume"))?);
        // No file may be opened twice, so one that somebody reads, or writes, stays. Nobody can begin
        // to, because that takes this lock.
        let unused = |(_, database): &(&u32, &Arc<Database>)| Arc::strong_count(database) == 1;
        if open.len() >= MAX_OPEN_VOLUMES
            && let Some(oldest) = open.iter().filter(unused).map(|(number, _)| *number).min()
        {
            open.remove(&oldest);
        }
        open.insert(number, database.clone());
        Ok(database)
    }
}

/// To make what it needs costs more than to decompress a letter, so each thread keeps its own.
fn decompress(stored: &[u8], raw_bytes: usize) -> std::io::Result<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            std::cell::RefCell::new(zstd::bulk::Decompressor::new().ok());
    }
    DECOMPRESSOR.with_borrow_mut(|decompressor| match decompressor {
        Some(decompressor) => decompressor.decompress(stored, raw_bytes),
        None => zstd::bulk::decompress(stored, raw_bytes),
    })
}

fn read_chunks(database: &Database, at: Location) -> Result<Vec<u8>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(CHUNKS)?;
    let mut stored = Vec::with_capacity(at.stored_bytes.min(LARGE_CHUNK_BYTES as u64) as usize);
    let (mut left, mut offset) = (at.stored_bytes, at.offset as usize);
    for entry in table.range(at.chunk..)? {
        if left == 0 {
            break;
        }
        let (_, chunk) = entry?;
        let rest = chunk.value().get(offset..).unwrap_or_default();
        let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stored.extend_from_slice(&rest[..take]);
        (left, offset) = (left - take as u64, 0);
    }
    Ok(stored)
}

/// The one writer.
pub(super) struct VolumeWriter {
    volumes: Arc<Volumes>,
    number: u32,
    database: Arc<Database>,
    next_chunk: u64,
    /// Bytes in the current volume, roughly: as it was on disk, and what was written since.
    size_bytes: u64,
    limit_bytes: u64,
}

impl VolumeWriter {
    /// Goes on with the newest volume, or begins the first.
    pub(super) fn open(volumes: Arc<Volumes>, limit_bytes: u64) -> Result<Self, ArchiveError> {
        let numbers = volumes.files.volumes().map_err(storage("list the volumes"))?;
        let number = numbers.last().copied().unwrap_or(1);
        let database = volumes.database(number)?;
        let next_chunk = next_chunk(&database).map_err(storage("open the newest volume"))?;
        let size_bytes = volumes.files.size(&volume_name(number)).unwrap_or(0);
        Ok(VolumeWriter { volumes, number, database, next_chunk, size_bytes, limit_bytes })
    }

    /// Stores a batch in one durable transaction and says where each blob lies.
    pub(super) fn append(&mut self, blobs: &[&Packed]) -> Result<Vec<Location>, ArchiveError> {
        if self.size_bytes >= self.limit_bytes {
            self.seal()?;
        }
        let (chunks, locations) = lay_out(self.number, self.next_chunk, blobs);
        let stored: u64 = chunks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        write_chunks(&self.database, &chunks).map_err(storage("write a volume"))?;
        self.next_chunk = chunks.last().map_or(self.next_chunk, |(number, _)| number + 1);
        self.size_bytes += stored;
        Ok(locations)
    }

    /// Overwrites bytes for good, the one reason for which a sealed volume is written again. A volume
    /// that is not there holds nothing.
    pub(super) fn wipe(&mut self, stretches: &[Stretch]) -> Result<(), ArchiveError> {
        for stretch in stretches {
            if let Some(database) = self.volumes.existing(stretch.volume)? {
                wipe_chunks(&database, *stretch).map_err(storage("overwrite in a volume"))?;
            }
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), ArchiveError> {
        let number = self.number + 1;
        self.database = self.volumes.database(number)?;
        (self.number, self.next_chunk, self.size_bytes) = (number, 0, 0);
        Ok(())
    }
}

/// Joins small blobs into shared chunks; a large one gets chunks of its own.
pub(super) fn lay_out(
    volume: u32,
    next_chunk: u64,
    blobs: &[&Packed],
) -> (Vec<(u64, Vec<u8>)>, Vec<Location>) {
    let mut chunks: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut next = next_chunk;
    let mut shared: Vec<u8> = Vec::new();
    let mut locations = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let is_large = blob.len() >= LARGE_BLOB_BYTES;
        if (is_large || shared.len() >= CHUNK_BYTES) && !shared.is_empty() {
            chunks.push((next, std::mem::take(&mut shared)));
            next += 1;
        }
        locations.push(Location {
            volume,
            chunk: next,
            offset: shared.len() as u32,
            stored_bytes: blob.len() as u64,
            raw_bytes: blob.raw_bytes,
            compressed: blob.compressed,
        });
        if is_large {
            for part in blob.bytes.chunks(LARGE_CHUNK_BYTES) {
                chunks.push((next, part.to_vec()));
                next += 1;
            }
            continue;
        }
        let mut rest = &blob.bytes[..];
        while !rest.is_empty() {
            if shared.len() == CHUNK_BYTES {
                chunks.push((next, std::mem::take(&mut shared)));
                next += 1;
            }
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - shared.len()));
            shared.extend_from_slice(now);
            rest = later;
        }
    }
    if !shared.is_empty() {
        chunks.push((next, shared));
    }
    (chunks, locations)
}

fn write_chunks(database: &Database, chunks: &[(u64, Vec<u8>)]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // Two-phase commit, because the bytes are a stranger's, and a volume that opens in milliseconds
    // after a kill.
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(CHUNKS)?;
        for (number, bytes) in chunks {
            table.insert(number, &bytes[..])?;
        }
    }
    Ok(transaction.commit()?)
}

fn wipe_chunks(database: &Database, stretch: Stretch) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(CHUNKS)?;
        let (mut number, mut skip, mut left) = (stretch.chunk, stretch.skip, stretch.len);
        while left > 0 {
            let Some(mut bytes) = table.get(number)?.map(|bytes| bytes.value().to_vec()) else {
                break;
            };
            let (len, from) = (bytes.len() as u64, skip.min(bytes.len() as u64));
            let take = (len - from).min(left);
            let range = bytes.iter_mut().skip(from as usize).take(take as usize);
            range.for_each(|byte| *byte = 0);
            if take > 0 {
                table.insert(number, &bytes[..])?;
            }
            (number, skip, left) = (number.saturating_add(1), skip - from, left - take);
        }
    }
    Ok(transaction.commit()?)
}

/// The number of the next chunk.
fn next_chunk(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(CHUNKS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    Ok(table.last()?.map_or(0, |(number, _)| number.value() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::files::Disk;

    fn volumes(dir: &tempfile::TempDir) -> Arc<Volumes> {
        let records = redb::backends::InMemoryBackend::new();
        let records = Database::builder().create_with_backend(records).unwrap();
        let disk = Arc::new(Disk::new(dir.path()).unwrap());
        Arc::new(Volumes::new(Arc::new(records), disk, 1 << 20))
    }

    fn noise(len: usize, mut seed: u64) -> Bytes {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        };
        (0..len).map(|_| next()).collect::<Vec<u8>>().into()
    }

    #[test]
    fn every_size_comes_back_and_chunks_are_never_reused() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 100, 65_407, 65_408, 65_409, 200_000, 524_288, 3_000_000, 5];
        let blobs: Vec<Bytes> = (0u64..).zip(sizes).map(|(seed, n)| noise(n, seed)).collect();
        let mut found = Vec::new();
        for _ in 0..2 {
            // Reopening must go on behind what is there.
            let mut writer = VolumeWriter::open(volumes(&dir), 1 << 30).unwrap();
            let packed: Vec<Packed> = blobs.iter().cloned().map(Packed::new).collect();
            found.extend(writer.append(&packed.iter().collect::<Vec<_>>()).unwrap());
        }
        let volumes = volumes(&dir);
        for (location, blob) in found.iter().zip(blobs.iter().cycle()) {
            assert_eq!(volumes.read(*location).unwrap(), blob.as_ref());
        }
        assert_ne!(found[1], found[11]);
    }

    #[test]
    fn a_full_volume_is_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = volumes(&dir);
        let mut writer = VolumeWriter::open(volumes.clone(), 100_000).unwrap();
        let blob = noise(60_000, 7);
        let mut append = || writer.append(&[&Packed::new(blob.clone())]).unwrap()[0];
        let locations: Vec<Location> = (0..5).map(|_| append()).collect();
        assert_eq!(locations.iter().map(|l| l.volume).collect::<Vec<_>>(), [1, 1, 2, 2, 3]);
        for location in locations {
            assert_eq!(volumes.read(location).unwrap(), blob.as_ref());
        }
    }

    #[test]
    fn damage_is_an_error_for_this_blob_only() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = volumes(&dir);
        let mut writer = VolumeWriter::open(volumes.clone(), 1 << 30).unwrap();
        let text = Bytes::from("abc ".repeat(1_000));
        let good = writer.append(&[&Packed::new(text.clone())]).unwrap()[0];
        for bad in [
            Location { raw_bytes: u64::MAX, ..good },
            Location { raw_bytes: 10, ..good },
            Location { stored_bytes: good.stored_bytes + 1, ..good },
            Location { chunk: 77, ..good },
            Location { stored_bytes: u64::MAX, ..good },
            Location { raw_bytes: MAX_BLOB_BYTES, ..good },
            Location { volume: 77, ..good },
            Location { offset: 3, stored_bytes: good.stored_bytes - 3, ..good },
        ] {
            assert!(volumes.read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(volumes.read(good).unwrap(), text.as_ref());
        assert_eq!(volumes.files.volumes().unwrap(), [1]);
    }

    #[test]
    fn many_volumes_are_read_at_one_time() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = volumes(&dir);
        let mut writer = VolumeWriter::open(volumes.clone(), 1).unwrap();
        let blob = noise(1_000, 7);
        let mut append = || writer.append(&[&Packed::new(blob.clone())]).unwrap()[0];
        let locations: Vec<Location> = (0..MAX_OPEN_VOLUMES + 6).map(|_| append()).collect();
        std::thread::scope(|scope| {
            for reader in 0..4 {
                let (volumes, locations, blob) = (&volumes, &locations, &blob);
                scope.spawn(move || {
                    for step in 0..60 {
                        let at = locations[(step * (reader + 7)) % locations.len()];
                        assert_eq!(volumes.read(at).unwrap(), blob.as_ref());
                    }
                });
            }
        });
        assert!(volumes.lock().len() <= MAX_OPEN_VOLUMES + 4);
    }

    #[test]
    fn how_full_a_volume_is_is_known_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let large = Packed::new(noise(3 << 20, 7));
        for _ in 0..4 {
            let mut writer = VolumeWriter::open(volumes(&dir), 4 << 20).unwrap();
            writer.append(&[&large]).unwrap();
        }
        assert_eq!(volumes(&dir).files.volumes().unwrap(), [1, 2]);
    }
}
