//! Opening the archive: files, tables, threads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Builder, JoinHandle};

use arc_swap::ArcSwap;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{Order, VolumeThread, has_spare};
use super::files::{Disk, Files, RECORDS};
use super::index::Index;
use super::ledger::Ledger;
use super::memory::WriterMemory;
use super::search::Feeder;
use super::settings::ArchiveSettings;
use super::staging::Staging;
use super::volume::{VolumeWriter, Volumes};
use super::writer::{Closing, Failure, Job, Writer};
use super::{Archive, ArchiveError, Inner, audit, hits, runs, sessions, storage, tables};
use crate::model::{Sequence, Timestamp};

/// The layout of the records file that this version reads and writes.
const SCHEMA_VERSION: u64 = 1;
/// The look-up index gets this part of the cache's size: nobody waits while it is fed, and its pages
/// stay in the cache of the system all the same.
const INDEX_CACHE_SHARE: usize = 2;
/// The cache of each volume: bytes are read once, if at all.
const VOLUME_CACHE_BYTES: usize = 8 << 20;

/// What runs beside the callers.
pub(super) struct Threads {
    writers: Vec<JoinHandle<()>>,
    index: TaskTracker,
    stop_index: CancellationToken,
    pub(super) search: Option<JoinHandle<()>>,
}

impl Threads {
    /// Begins to look up and to count behind the acceptance.
    fn follow(
        &self,
        index: &Index,
        records: &Arc<Database>,
        journal: &watch::Receiver<Sequence>,
        closing: &Closing,
    ) -> Arc<Ledger> {
        let stop = || self.stop_index.clone();
        let fed = index.clone().follow(records.clone(), journal.clone(), closing.clone(), stop());
        self.index.spawn(fed);
        let ledger = Arc::new(Ledger::new(index.database()));
        let (records, journal) = (records.clone(), journal.clone());
        self.index.spawn(ledger.clone().follow(records, journal, closing.clone(), stop()));
        self.index.close();
        ledger
    }
}

impl Archive {
    /// Opens the archive of a data folder, or creates it. Runs inside a tokio runtime.
    pub fn open(settings: &ArchiveSettings) -> Result<Archive, ArchiveError> {
        let disk = Disk::new(&settings.data_dir).map_err(storage("take its folder"))?;
        Archive::open_on(Arc::new(disk), settings)
    }

    pub(super) fn open_on(
        files: Arc<dyn Files>,
        settings: &ArchiveSettings,
    ) -> Result<Archive, ArchiveError> {
        let (database, was_closed) = open_records(&*files, settings)?;
        let index = Index::open(&*files, settings.cache_bytes / INDEX_CACHE_SHARE)?;
        let volumes = Arc::new(Volumes::new(database.clone(), files.clone(), VOLUME_CACHE_BYTES));
        let (memory, last_event_before) = remembered(&database)?;
        let closing = Closing::default();
        let (journal_sender, journal) = watch::channel(memory.last_event());
        // No bound of their own: everybody who sends waits for the answer.
        let (jobs, job_queue) = mpsc::channel();
        let on_the_way = Arc::new(AtomicUsize::new(0));
        let (intake, intake_queue) = mpsc::channel();
        let records = Writer {
            database: database.clone(),
            memory,
            jobs: job_queue,
            on_the_way: on_the_way.clone(),
            journal: journal_sender,
            closing: closing.clone(),
        };
        let lines = (intake_queue, jobs.clone(), closing.clone());
        let volume = volume_thread(settings, &files, &database, &volumes, lines)?;
        let stop_index = CancellationToken::new();
        let search = Arc::new(super::search::Shared::default());
        let feeder = files.search_folder().map(|folder| Feeder {
            shared: search.clone(),
            folder,
            has_room: room_beyond(settings.reserve_bytes, &files),
            database: database.clone(),
            volumes: volumes.clone(),
            on_the_way: on_the_way.clone(),
            journal: journal.clone(),
            closing: closing.clone(),
            stop: stop_index.clone(),
        });
        let feed = |feeder: Feeder| spawn("search-index", move || feeder.run());
        let threads = Threads {
            search: feeder.map(feed).transpose()?,
            writers: vec![
                spawn("volume-writer", move || volume.run())?,
                spawn("records-writer", move || records.run())?,
            ],
            index: TaskTracker::new(),
            stop_index,
        };
        let ledger = threads.follow(&index, &database, &journal, &closing);
        let inner = Inner {
            database,
            volumes,
            index,
            ledger,
            search,
            tellers: ArcSwap::default(),
            files,
            reserve_bytes: settings.reserve_bytes,
            intake,
            jobs,
            on_the_way,
            calls: AtomicU64::new(0),
            journal,
            closing,
            was_closed,
            last_event_before,
            threads,
        };
        Ok(Archive { inner: Arc::new(inner) })
    }

    /// Ends the writers after what they were given, and closes the files. Does nothing while another
    /// handle of this archive lives.
    pub async fn close(self) {
        let Some(inner) = Arc::into_inner(self.inner) else { return };
        let Inner { database, volumes, index, ledger, intake, jobs, closing, threads, .. } = inner;
        threads.stop_index.cancel();
        threads.index.wait().await;
        drop((intake, jobs));
        let end = move || {
            for writer in threads.search.into_iter().chain(threads.writers) {
                // A writer's panic was told when it happened.
                let _ = writer.join();
            }
            // After an error nothing more is written.
            if closing.reason().is_none()
                && let Err(error) = mark_closed(&database)
            {
                tracing::error!(%error, "the archive's end could not be noted");
            }
            drop((database, volumes, index, ledger));
        };
        let _ = tokio::task::spawn_blocking(end).await;
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ArchiveError> {
    Builder::new().name(name.to_owned()).spawn(run).map_err(storage("start a writer"))
}

/// Where a batch comes from, where its records go, and what ends both.
type Lines = (Receiver<Order>, Sender<Job>, Closing);

fn volume_thread(
    settings: &ArchiveSettings,
    files: &Arc<dyn Files>,
    records: &Arc<Database>,
    volumes: &Arc<Volumes>,
    (intake, jobs, closing): Lines,
) -> Result<VolumeThread, ArchiveError> {
    Ok(VolumeThread {
        writer: VolumeWriter::open(volumes.clone(), settings.volume_bytes)?,
        files: files.clone(),
        reserve_bytes: settings.reserve_bytes,
        staging: Staging::open(records, settings.staging)?,
        records: records.clone(),
        intake,
        jobs,
        closing,
        recent: HashMap::new(),
        wiped: HashSet::new(),
        wipes: Vec::new(),
    })
}

/// Whether the disk has so many bytes beyond the reserve; where it does not say, a write does.
fn room_beyond(reserve_bytes: u64, files: &Arc<dyn Files>) -> Box<dyn Fn(u64) -> bool + Send> {
    let files = files.clone();
    Box::new(move |spare_bytes| {
        files.space().map_or(true, |space| has_spare(space, reserve_bytes, spare_bytes, 0))
    })
}

/// What the writer must know of the records, and when the last event before this start was.
fn remembered(records: &Database) -> Result<(WriterMemory, Option<Timestamp>), ArchiveError> {
    let snapshot = records.begin_read().map_err(storage("read the records"))?;
    Ok((WriterMemory::load(&snapshot)?, runs::last_event(&snapshot)?))
}

fn open_records(
    files: &dyn Files,
    settings: &ArchiveSettings,
) -> Result<(Arc<Database>, bool), ArchiveError> {
    let database = match files.open(RECORDS, settings.cache_bytes) {
        Ok(database) => database,
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            let dir = settings.data_dir.display();
            let why = format!("another process uses the data folder {dir}");
            return Err(storage("open the records")(why));
        }
        Err(error) => return Err(storage("open the records")(error)),
    };
    let (found, was_closed) = prepare_tables(&database)?;
    if found != SCHEMA_VERSION {
        let why = format!(
            "the data folder has layout {found} and this Waybill reads layout {SCHEMA_VERSION}; use a newer Waybill"
        );
        return Err(storage("open the records")(why));
    }
    Ok((Arc::new(database), was_closed))
}

/// The last thing that an orderly end writes.
fn mark_closed(database: &Database) -> Result<(), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(tables::META)?.insert(tables::CLOSED, &b""[..])?;
    Ok(transaction.commit()?)
}

/// Creates what is not there, so that reading never meets a missing table; gives the layout, and
/// whether it was closed in order: its mark goes before anything else can be written. A new archive
/// has lost nothing either.
fn prepare_tables(database: &Database) -> Result<(u64, bool), Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let (version, was_closed) = {
        let mut meta = transaction.open_table(tables::META)?;
        let found = meta.get(tables::SCHEMA)?.map(|bytes| bytes.value().try_into());
        let is_marked = meta.remove(tables::CLOSED)?.is_some();
        match found {
            Some(Ok(bytes)) => (u64::from_be_bytes(bytes), is_marked),
            Some(Err(_)) => (u64::MAX, is_marked),
            None => {
                meta.insert(tables::SCHEMA, &SCHEMA_VERSION.to_be_bytes()[..])?;
                (SCHEMA_VERSION, true)
            }
        }
    };
    if version != SCHEMA_VERSION {
        transaction.abort()?;
        return Ok((version, was_closed));
    }
    transaction.open_table(tables::MESSAGES)?;
    transaction.open_table(tables::STATES)?;
    transaction.open_table(tables::DUE)?;
    transaction.open_table(tables::CLAIMS)?;
    transaction.open_table(tables::EVENTS)?;
    transaction.open_table(tables::EVENTS_OF)?;
    transaction.open_table(tables::BY_STATUS)?;
    transaction.open_table(tables::SHARED)?;
    transaction.open_table(tables::STAGED)?;
    transaction.open_table(tables::MOVED)?;
    transaction.open_table(tables::PAUSED)?;
    transaction.open_table(tables::SMS_NUMBERS)?;
    transaction.open_table(tables::ERASURES)?;
    transaction.open_table(tables::SUPPRESSIONS)?;
    transaction.open_table(tables::ENTRIES)?;
    transaction.open_table(tables::ENTRIES_OF)?;
    transaction.open_table(tables::RUNS)?;
    transaction.open_table(tables::BULKS)?;
    transaction.open_table(tables::BULK_ITEMS)?;
    transaction.open_table(tables::OUTBOX)?;
    transaction.open_table(tables::OUTBOX_DUE)?;
    transaction.open_table(tables::OUTBOX_DEAD)?;
    transaction.open_table(tables::VALIDITY)?;
    transaction.open_table(tables::PARTS)?;
    transaction.open_table(tables::REPEATS)?;
    transaction.open_table(tables::REPEAT_ENDS)?;
    transaction.open_table(hits::HITS)?;
    transaction.open_table(hits::TRACES)?;
    transaction.open_table(hits::TRACKED)?;
    transaction.open_table(hits::RECOUNTED)?;
    transaction.open_table(hits::TOLD)?;
    transaction.open_table(hits::TOLD_AT)?;
    transaction.open_table(audit::SECURITY)?;
    transaction.open_table(audit::OPERATIONS)?;
    transaction.open_table(sessions::SESSIONS)?;
    transaction.commit()?;
    Ok((version, was_closed))
}
