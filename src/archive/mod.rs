//! The only room that knows how things are stored.
//!
//! One records file (messages, recipients, queue, events), volumes of bytes, and a look-up index and
//! a search index that can be built anew. Writes go through one writer and are durable when they return; reads run on a
//! snapshot. The rest of the house meets here: after each commit the journal tells the number of the
//! last event.
//!
//! Invariants: bytes are committed with the record that points to them, or before it; message and event
//! numbers have no gaps; what is archived never changes, only where its recipients stand, until it is
//! erased on an order by name; after a storage error nothing more is written and the process is to end.

mod absence;
mod accept;
pub mod accounts;
pub mod audit;
mod bounces;
mod bulk;
mod entries;
mod erase;
mod files;
mod hits;
mod index;
mod keys;
mod leaf;
mod ledger;
mod list;
mod mail_report;
mod memory;
pub mod message;
mod narrowing;
mod notices;
mod numbers;
mod open;
mod outbox;
mod provider_ids;
mod provider_report;
mod queue;
mod read;
mod refusals;
mod repeats;
mod runs;
mod search;
mod sessions;
pub mod settings;
mod staging;
mod standing;
mod stored;
mod suppressions;
mod tables;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod touches;
mod volume;
mod watermark;
mod wipe;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{oneshot, watch};

pub use absence::{Absence, Emptiness, NearMiss};
pub use accounts::{SecondFactorRecord, TokenRecord, UserChange, UserRecord};
pub use audit::{Entry, Log, LogCheck, LogFilter, NewEntry, Slip};
pub use bounces::{PassedBounce, SENDER_IS_TOLD};
pub use bulk::{Bulk, BulkItem, BulkOutcome, BulkState, BulkStep, NewBulk};
pub use entries::{EntriesOf, MAX_ENTRIES_OF_ONE, NewThreadEntry, ThreadEntry};
pub use erase::{Erasure, ErasureKind};
pub use hits::{HitCounts, HitOf, KeptHit, NewHit, ToldHit};
pub use keys::KeyRing;
pub use ledger::Thread;
pub use mail_report::{MailReport, MailReportKind, Recorded, Told};
pub use message::{Acceptance, Attachment, Client, Event, Message, MessagePolicy, NewRecipient};
pub use message::{Part, Recipient, Summary};
pub use narrowing::Narrowing;
pub use outbox::{Delivery, DeliveryKind, NewDelivery, Settled};
pub use provider_report::{ProviderReport, Reported};
pub use queue::{ClaimRequest, Judgement};
pub use read::Content;
pub use runs::{ALIVE_INTERVAL, Gap};
pub use search::{Found, Place, Question, QuestionError, ReadState};
pub use search::{SearchOrder, SearchProgress, SearchRequest, Tier};
pub use sessions::{EndedSessions, SessionChange, SessionRecord};
pub use settings::{ArchiveSettings, StagingLimits};
pub use suppressions::{Ground, ON_THE_LIST, Suppressed, Suppression};
pub use tally::{Dimension, Ranking, Tallies, Tally, TallyPlace, value_of};
pub use touches::Rendering;

pub use crate::lifecycle::OWES_REPORT;
use crate::lifecycle::RetrySchedule;
use crate::model::{
    AppName, Channel, Direction, EventKind, MessageId, RecipientState, Reference, Sequence, Status,
    Tag, Timestamp, UpstreamName,
};
use accept::{Intake, Once, Order as VolumeOrder};
use files::Files;
use volume::Volumes;
use writer::{Batch, Change, Closing, Failure, Job, OnTheWay, Urgency};

/// From this size on compressing and hashing leave the async threads.
const LARGE_MESSAGE_BYTES: usize = 256 << 10;

/// And from this many messages in one call.
const LARGE_CALL: usize = 100;

/// Rows of the queue whose waits are looked at in one transaction.
const SHORTENED_AT_ONCE: usize = 500;

/// The archive; clones share it.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    database: Arc<Database>,
    volumes: Arc<Volumes>,
    index: index::Index,
    ledger: Arc<ledger::Ledger>,
    search: Arc<search::Shared>,
    tellers: ArcSwap<provider_ids::Tellers>,
    files: Arc<dyn Files>,
    reserve_bytes: u64,
    intake: std::sync::mpsc::Sender<VolumeOrder>,
    jobs: std::sync::mpsc::Sender<Job>,
    /// Messages between their arrival here and the records writer.
    on_the_way: Arc<AtomicUsize>,
    /// Calls that brought messages, since the start.
    calls: AtomicU64,
    journal: watch::Receiver<Sequence>,
    closing: Closing,
    was_closed: bool,
    /// Of the processes before this one.
    last_event_before: Option<Timestamp>,
    threads: open::Threads,
}

/// Proof that a value is on disk; only the archive's writer can make one.
#[derive(Clone, Copy, Debug)]
pub struct Durable<T>(T);

impl<T: Copy> Durable<T> {
    /// The value.
    pub fn get(&self) -> T {
        self.0
    }
}

/// Why something was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive is closed for writing: {0}")]
    Closed(String),
    #[error("there is too little free space on the disk of the archive")]
    Full,
    #[error("the archive could not {operation}: {source}")]
    Storage {
        operation: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Names the operation of a failure.
fn storage<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    operation: &'static str,
) -> impl FnOnce(E) -> ArchiveError {
    move |source| ArchiveError::Storage { operation, source: source.into() }
}

/// What marks a call that is to be made once, however often it comes: the hash of an
/// `Idempotency-Key` with its app, or of a provider's id with its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatKey {
    pub key: [u8; 32],
    /// Of the call; another call with the same key is a mistake.
    pub fingerprint: [u8; 16],
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Accepted {
    New(Vec<Durable<MessageId>>),
    /// The messages of the first time.
    Repeated(Vec<Durable<MessageId>>),
    /// The key stands for another call.
    Conflict,
}

/// An event that moves no recipient.
#[derive(Clone, Debug)]
pub struct MessageNote {
    pub message: MessageId,
    pub kind: EventKind,
    pub by: Option<String>,
    pub detail: Option<String>,
    pub at: Timestamp,
}

/// What a person does to a message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    Stop,
    Restart,
    Release,
}

/// An action on some recipients of one message.
#[derive(Clone, Debug)]
pub struct Action {
    pub kind: ActionKind,
    pub message: MessageId,
    /// `None`: all for which it is possible.
    pub recipients: Option<Vec<u16>>,
    /// Who: `user anna`, `token 01J…`.
    pub by: String,
    /// Why, for the history; with one, a restart overrides the suppression list.
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefusal {
    #[error("there is no such message")]
    NoSuchMessage,
    #[error("the message has no recipient {0}")]
    NoSuchRecipient(u16),
    /// Nothing that was asked for can be done; the text says why, for each recipient.
    #[error("{0}")]
    TooLate(String),
}

/// What a list of messages is narrowed to; `None` is everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub channel: Option<Channel>,
    pub direction: Option<Direction>,
    pub status: Option<Status>,
    /// Only these apps (a limited token or user); beside `app`.
    pub apps: Option<Vec<AppName>>,
    pub app: Option<AppName>,
    /// The author's or the reverse-path's address, whole, without case.
    pub sender: Option<String>,
    /// A recipient's address, whole, without case.
    pub recipient: Option<String>,
    pub reference: Option<Reference>,
    pub tag: Option<Tag>,
    /// Part of an attachment's name, without case.
    pub attachment: Option<String>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Newest,
    Oldest,
}

/// Part of a list, and where the next part begins.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

/// The queue at a glance.
#[derive(Clone, Debug, Default)]
pub struct QueueView {
    /// Recipients in each status.
    pub recipients: Vec<(Status, u64)>,
    pub held: u64,
    pub claimed: u64,
    /// The oldest message that still has a pending recipient that is not held.
    pub oldest_pending: Option<(MessageId, Timestamp)>,
    /// The next wake-up times, soonest first, at most 10.
    pub next_attempts: Vec<(Timestamp, MessageId)>,
    pub paused: Vec<UpstreamName>,
}

/// How much the archive holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    pub messages: u64,
    /// Bytes as submitted.
    pub raw_bytes: u64,
}

/// A place in the queue: when a message is due, and which.
pub type DueEntry = (Timestamp, MessageId);

impl Archive {
    /// Makes a message durable, with its recipients, events and queue entry.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Durable<MessageId>, ArchiveError> {
        match self.accept_all(vec![acceptance], None).await? {
            Accepted::New(ids) | Accepted::Repeated(ids) => {
                ids.first().copied().ok_or_else(|| self.closed())
            }
            // Only a key can be in conflict.
            Accepted::Conflict => Err(self.closed()),
        }
    }

    /// Makes the messages of one call durable: all of them, or none. Their sequence numbers follow
    /// each other. With a key, a call that was made before is not made again.
    pub async fn accept_all(
        &self,
        acceptances: Vec<Acceptance>,
        key: Option<RepeatKey>,
    ) -> Result<Accepted, ArchiveError> {
        self.accept_once(acceptances, key.map_or(Once::Nothing, Once::Key)).await
    }

    async fn accept_once(
        &self,
        acceptances: Vec<Acceptance>,
        once: Once,
    ) -> Result<Accepted, ArchiveError> {
        self.check_open()?;
        if acceptances.is_empty() {
            return Ok(Accepted::New(Vec::new()));
        }
        self.inner.calls.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let size: usize = acceptances.iter().map(|acceptance| acceptance.raw.len()).sum();
        let on_the_way = OnTheWay::new(&self.inner.on_the_way);
        let pieces = match size >= LARGE_MESSAGE_BYTES || acceptances.len() >= LARGE_CALL {
            true => {
                let inner = self.inner.clone();
                tokio::task::spawn_blocking(move || inner.prepare_all(acceptances))
                    .await
                    .map_err(storage("prepare a message"))??
            }
            false => self.inner.prepare_all(acceptances)?,
        };
        let slip = Slip::current();
        let intake = Intake { pieces, once, slip, reply, on_the_way };
        // From here the messages may become ours even if the caller goes away.
        if self.inner.intake.send(VolumeOrder::Take(Box::new(intake))).is_err() {
            return Err(self.closed());
        }
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Whether the process before this one closed the archive; a crash did not.
    pub fn was_closed(&self) -> bool {
        self.inner.was_closed
    }

    /// Adds an event to the history of a message, for what moves no recipient: `replied`,
    /// `suppressed`, `viewed`. Of a message that is not there nothing is noted.
    pub async fn note(&self, note: MessageNote) -> Result<(), ArchiveError> {
        self.write(Urgency::Now, move |batch| queue::note(batch, &note)).await
    }

    /// Stop, restart, release.
    pub async fn act(
        &self,
        action: Action,
    ) -> Result<Result<Message, ActionRefusal>, ArchiveError> {
        let id = action.message;
        match self.write_recorded(move |batch| queue::act(batch, &action)).await? {
            Ok(()) => Ok(self.message(id)?.ok_or(ActionRefusal::NoSuchMessage)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Claims what is still due; gives the recipients that were granted. When this returns, the
    /// claim is durable and no stop can win any more.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Vec<u16>, ArchiveError> {
        self.write(Urgency::Soon, move |batch| queue::claim(batch, &request)).await
    }

    /// Records what came of an attempt; gives where each of its recipients stands now, in the order
    /// of the outcomes (`None` for one that was not claimed).
    pub async fn judge(
        &self,
        judgement: Judgement,
        schedule: Arc<RetrySchedule>,
    ) -> Result<Vec<Option<RecipientState>>, ArchiveError> {
        let tellers = self.inner.tellers.load_full();
        let change =
            move |batch: &mut Batch<'_>| queue::judge(batch, &judgement, &schedule, &tellers);
        self.write(Urgency::Soon, change).await
    }

    /// Gives claims back of which nothing was sent.
    pub async fn give_back(
        &self,
        message: MessageId,
        recipients: Vec<u16>,
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        self.write(Urgency::Now, move |batch| queue::give_back(batch, message, &recipients, now))
            .await
    }

    /// Judges what a crash left claimed; called once, before the first claim. Gives the messages.
    pub async fn recover(
        &self,
        schedule: Arc<RetrySchedule>,
        now: Timestamp,
    ) -> Result<Vec<MessageId>, ArchiveError> {
        self.write(Urgency::Now, move |batch| queue::recover(batch, &schedule, now)).await
    }

    /// The clock may have gone back: no retry that is due after `from` waits longer from now than the
    /// schedule says.
    pub async fn shorten_waits(
        &self,
        from: Timestamp,
        schedule: Arc<RetrySchedule>,
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        let mut place = (from, MessageId::MAX);
        loop {
            let rows = read::due(&self.snapshot()?, Some(place), None, SHORTENED_AT_ONCE)?;
            let Some(last) = rows.last().copied() else { return Ok(()) };
            place = last;
            let ids: BTreeSet<MessageId> = rows.into_iter().map(|(_, id)| id).collect();
            let schedule = schedule.clone();
            let shorten =
                move |batch: &mut Batch<'_>| queue::shorten_waits(batch, &ids, &schedule, now);
            self.write(Urgency::Soon, shorten).await?;
        }
    }

    /// Pauses or resumes an upstream; survives a restart. When this returns, no claim through a
    /// paused upstream is granted any more.
    pub async fn set_paused(
        &self,
        upstream: UpstreamName,
        paused: bool,
        by: String,
        at: Timestamp,
    ) -> Result<(), ArchiveError> {
        self.write_recorded(move |batch| queue::set_paused(batch, &upstream, paused, &by, at)).await
    }

    /// Upstreams that are paused.
    pub fn paused(&self) -> Result<Vec<UpstreamName>, ArchiveError> {
        Ok(read::paused(&self.snapshot()?)?)
    }

    /// The queue from a place on (that place left out), up to `now`, soonest first.
    pub fn due(
        &self,
        after: Option<DueEntry>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueEntry>, ArchiveError> {
        Ok(read::due(&self.snapshot()?, after, Some(now), limit)?)
    }

    /// The first place in the queue behind `now`.
    pub fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, ArchiveError> {
        let behind = Some((now, MessageId::MAX));
        Ok(read::due(&self.snapshot()?, behind, None, 1)?.first().map(|(at, _)| *at))
    }

    /// One message.
    pub fn message(&self, id: MessageId) -> Result<Option<Message>, ArchiveError> {
        Ok(read::Reader::new(&self.snapshot()?)?.message(id)?)
    }

    /// Its bytes as submitted.
    pub fn raw(&self, id: MessageId) -> Result<Option<Bytes>, ArchiveError> {
        match read::Reader::new(&self.snapshot()?)?.content(id)? {
            Some(content) => Ok(Some(self.raw_of(&content)?)),
            None => Ok(None),
        }
    }

    /// One message, and where its bytes lie, at the price of one look.
    pub fn message_with_content(
        &self,
        id: MessageId,
    ) -> Result<Option<(Message, Content)>, ArchiveError> {
        Ok(read::Reader::new(&self.snapshot()?)?.with_content(id)?)
    }

    /// The bytes as submitted, checked against their digest.
    pub fn raw_of(&self, content: &Content) -> Result<Bytes, ArchiveError> {
        read::raw(&self.inner.volumes, content)
    }

    /// Its events, oldest first.
    pub fn events(
        &self,
        id: MessageId,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Page<Event, Sequence>, ArchiveError> {
        Ok(read::events(&self.snapshot()?, id, after, limit)?)
    }

    /// Messages that match; the cursor is the last id that the page before looked at.
    pub fn list(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message, MessageId>, ArchiveError> {
        let snapshot = self.snapshot()?;
        Ok(list::list(&snapshot, &self.inner.index, filter, order, after, limit)?)
    }

    /// Depth by status, oldest, next attempts, what is paused.
    pub fn queue(&self) -> Result<QueueView, ArchiveError> {
        Ok(read::queue(&self.snapshot()?)?)
    }

    /// How much there is.
    pub fn extent(&self) -> Result<Extent, ArchiveError> {
        let counters = read::counters(&self.snapshot()?)?;
        Ok(Extent { messages: counters.messages, raw_bytes: counters.raw_bytes })
    }

    /// Bytes on disk by kind of file: `records`, `index`, `search`, `volumes`.
    pub fn disk_usage(&self) -> Vec<(&'static str, u64)> {
        self.inner.files.usage()
    }

    /// The number of the last durable event; told anew after each commit.
    pub fn journal(&self) -> watch::Receiver<Sequence> {
        self.inner.journal.clone()
    }

    /// Whether there is room to accept anything.
    pub fn has_room(&self) -> bool {
        self.has_spare(0, 0)
    }

    /// Whether there is room for messages of so many bytes, and then so much more than that, for what must
    /// leave it to others. On a small disk less is left, as of the reserve.
    pub fn has_spare(&self, spare_bytes: u64, message_bytes: u64) -> bool {
        let reserve = self.inner.reserve_bytes;
        let has_spare =
            |space: files::Space| accept::has_spare(space, reserve, spare_bytes, message_bytes);
        self.inner.files.space().is_ok_and(has_spare)
    }

    /// Returns when a storage error has closed the archive, with the reason.
    pub async fn closed_by_failure(&self) -> String {
        self.inner.closing.closed().await
    }

    /// A snapshot of the records file.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, ArchiveError> {
        self.inner.database.begin_read().map_err(storage("read the records"))
    }

    async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        change: impl FnOnce(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        self.check_open()?;
        let (reply, answer) = oneshot::channel();
        let change: Change = Box::new(move |batch| {
            let value = change(batch)?;
            Ok(Box::new(move || drop(reply.send(value))))
        });
        if self.inner.jobs.send(Job { change, urgency }).is_err() {
            return Err(self.closed());
        }
        answer.await.map_err(|_| self.closed())
    }

    fn check_open(&self) -> Result<(), ArchiveError> {
        match self.inner.closing.reason() {
            Some(reason) => Err(ArchiveError::Closed(reason.to_owned())),
            None => Ok(()),
        }
    }

    /// A dropped reply means that the writer ended, or that it could not make this one change.
    fn closed(&self) -> ArchiveError {
        let reason = self.inner.closing.reason();
        ArchiveError::Closed(
            reason.unwrap_or("this change could not be made; see the log").to_owned(),
        )
    }
}
