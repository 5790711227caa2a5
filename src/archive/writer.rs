//! The one writer of the records file: group commit.
//!
//! It drains its queue, applies what it found in one transaction, commits durably, then answers all.
//! While a commit runs, the next batch gathers. A storage error closes the archive for writing: the
//! transaction is dropped, nobody is answered with success, and the process is to end; nothing is
//! tried again on hope, because a sync that failed once may "succeed" without the data.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use redb::{Database, Durability, Table, WriteTransaction};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::memory::WriterMemory;
use super::stored::{Corrupt, Record};
use super::tables;
use crate::model::Sequence;
use crate::telemetry;

/// Jobs in one transaction at the most.
const MAX_BATCH: usize = 1_000;

/// After an acceptance the next one is likely; so long the queue's own changes wait for it.
const LINGER: Duration = Duration::from_millis(1);
/// And so long while a message is on its way through the volume.
const LINGER_FOR_MESSAGE: Duration = Duration::from_millis(5);
/// An acceptance so long ago says nothing about the next one.
const ACTIVE: Duration = Duration::from_millis(20);

/// It waits in naps and not until a moment: the kernel counts such a moment by its own clock, so where
/// the process is shown another one (libfaketime, to try clocks that jump) the wait would not end, and
/// the queue would stand still with it.
const NAP: Duration = Duration::from_micros(100);

/// What a job does inside the transaction; what it returns is called after the commit.
pub(super) type Change = Box<dyn FnOnce(&mut Batch<'_>) -> Result<Completion, Failure> + Send>;
pub(super) type Completion = Box<dyn FnOnce() + Send>;

/// One change, and whether it may wait for company.
pub(super) struct Job {
    pub change: Change,
    pub urgency: Urgency,
}

/// A commit costs several syncs of the disk, whatever is in it. So the steps of the queue, for which
/// no client waits, ride with the next acceptance where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A client or a person waits.
    Now,
    /// A step of the queue: a claim or a judgement.
    Soon,
}

/// Why a job did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Ends the batch and closes the archive.
    #[error(transparent)]
    Storage(#[from] redb::Error),
    /// Concerns this job alone: it read before it wrote anything.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

macro_rules! storage_failure {
    ($($error:ty),*) => { $(impl From<$error> for Failure {
        fn from(error: $error) -> Failure {
            Failure::Storage(error.into())
        }
    })* };
}
storage_failure!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// One transaction with its tables open, and what the writer knows without looking.
pub(super) struct Batch<'t> {
    pub transaction: &'t WriteTransaction,
    pub messages: Table<'t, u128, &'static [u8]>,
    pub states: Table<'t, u128, &'static [u8]>,
    pub due: Table<'t, (u64, u128), ()>,
    pub claims: Table<'t, u128, ()>,
    pub events: Table<'t, u64, &'static [u8]>,
    pub events_of: Table<'t, (u128, u64), ()>,
    pub by_status: Table<'t, (u8, u128), ()>,
    pub shared: Table<'t, [u8; 32], &'static [u8]>,
    pub paused: Table<'t, &'static str, &'static [u8]>,
    pub memory: &'t mut WriterMemory,
}

impl<'t> Batch<'t> {
    fn open(
        transaction: &'t WriteTransaction,
        memory: &'t mut WriterMemory,
    ) -> Result<Batch<'t>, Failure> {
        Ok(Batch {
            transaction,
            messages: transaction.open_table(tables::MESSAGES)?,
            states: transaction.open_table(tables::STATES)?,
            due: transaction.open_table(tables::DUE)?,
            claims: transaction.open_table(tables::CLAIMS)?,
            events: transaction.open_table(tables::EVENTS)?,
            events_of: transaction.open_table(tables::EVENTS_OF)?,
            by_status: transaction.open_table(tables::BY_STATUS)?,
            shared: transaction.open_table(tables::SHARED)?,
            paused: transaction.open_table(tables::PAUSED)?,
            memory,
        })
    }
}

/// A message between its arrival at the archive and the records writer; counted while it lives.
pub(super) struct OnTheWay(Arc<AtomicUsize>);

impl OnTheWay {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> OnTheWay {
        count.fetch_add(1, Ordering::Relaxed);
        OnTheWay(count.clone())
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why the archive no longer takes writes; shared by all who ask.
#[derive(Clone, Default)]
pub(super) struct Closing {
    reason: Arc<OnceLock<String>>,
    token: CancellationToken,
}

impl Closing {
    /// The first reason stays.
    pub(super) fn close(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    pub(super) async fn closed(&self) -> String {
        self.token.cancelled().await;
        self.reason().unwrap_or("it was closed").to_owned()
    }
}

/// The writer's loop; ends when every handle of the archive is gone, or at the first failure.
pub(super) struct Writer {
    pub database: Arc<Database>,
    pub memory: WriterMemory,
    pub jobs: Receiver<Job>,
    pub journal: watch::Sender<Sequence>,
    pub closing: Closing,
    /// Messages between their arrival at the archive and this writer.
    pub on_the_way: Arc<AtomicUsize>,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut urgent_at = None;
        while let Ok(first) = self.jobs.recv() {
            let mut batch = self.gather(first, urgent_at);
            if batch.iter().any(|job| job.urgency == Urgency::Now) {
                urgent_at = Some(Instant::now());
            }
            // What failed may have been the other file.
            if self.closing.reason().is_some() {
                return;
            }
            let size = batch.len();
            let mut completions = Vec::with_capacity(size);
            let started = Instant::now();
            // A panic is our bug; it must not leave a batch half applied and answered.
            let outcome =
                catch_unwind(AssertUnwindSafe(|| self.commit(&mut batch, &mut completions)));
            // Whoever waits for an answer is let go only when the reason is known.
            match outcome {
                Ok(Ok(())) => {
                    telemetry::record::commit(started.elapsed(), size);
                    self.journal.send_replace(self.memory.last_event());
                    completions.into_iter().for_each(|complete| complete());
                }
                Ok(Err(failure)) => return self.closing.close(failure.to_string()),
                Err(_) => return self.closing.close("the writer met a bug and stopped".into()),
            }
        }
    }

    /// What goes into one transaction: everything that is there, and where only steps of the queue
    /// are there, the acceptance that is about to come.
    fn gather(&self, first: Job, urgent_at: Option<Instant>) -> VecDeque<Job> {
        let began = Instant::now();
        let is_active = urgent_at.is_some_and(|at| at.elapsed() < ACTIVE);
        let mut is_urgent = first.urgency == Urgency::Now;
        let mut batch = VecDeque::from([first]);
        while batch.len() < MAX_BATCH {
            let patience = match (is_urgent, self.on_the_way.load(Ordering::Relaxed)) {
                (false, 0) if is_active => LINGER,
                (true, _) | (false, 0) => Duration::ZERO,
                (false, _) => LINGER_FOR_MESSAGE,
            };
            let left = patience.saturating_sub(began.elapsed());
            let next = match left.is_zero() {
                true => self.jobs.try_recv().ok(),
                false => match self.jobs.try_recv() {
                    Ok(job) => Some(job),
                    // A message may be on its way by now.
                    Err(TryRecvError::Empty) => {
                        thread::sleep(NAP.min(left));
                        continue;
                    }
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            let Some(job) = next else { break };
            is_urgent |= job.urgency == Urgency::Now;
            batch.push_back(job);
        }
        batch
    }

    fn commit(
        &mut self,
        jobs: &mut VecDeque<Job>,
        completions: &mut Vec<Completion>,
    ) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Two-phase commit, because the content is a stranger's, and an open in milliseconds after
        // a kill whatever the size.
        transaction.set_quick_repair(true);
        {
            let mut batch = Batch::open(&transaction, &mut self.memory)?;
            while let Some(job) = jobs.pop_front() {
                match (job.change)(&mut batch) {
                    Ok(completion) => completions.push(completion),
                    Err(Failure::Corrupt(corrupt)) => {
                        tracing::error!(error = %corrupt, "a record is damaged; its change was left out");
                    }
                    Err(failure @ Failure::Storage(_)) => return Err(failure),
                }
            }
            let counters = batch.memory.counters().encode();
            let mut table = transaction.open_table(tables::META)?;
            table.insert(tables::COUNTERS, &counters[..])?;
        }
        Ok(transaction.commit()?)
    }
}
