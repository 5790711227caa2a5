//! Numbers and threads, counted behind the acceptance: how many messages of which sender, app, tag,
//! subject and day stand where, and which threads there are, by their last activity.
//!
//! It lies in the file of the look-up index and is fed from the journal by a task of its own. What a
//! message adds to the numbers is kept with its id, so a change of the message takes away what it added
//! before and adds what it is now: the numbers are those of a count over all messages, also after
//! deletes and restarts. Whoever asks feeds what is missing first. A watermark says up to which event
//! it is complete; should the records be older than that, or the tables be laid out as they were once, it
//! is counted anew. What the numbers answer is in `numbers`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};
use redb::{TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::entries::StoredThreadEntry;
use super::message::Message;
use super::read::Reader;
use super::stored::{Record, StoredEvent};
use super::tally::{Dimension, Tally, day, value_of, way};
use super::writer::{Closing, Failure};
use super::{Archive, ArchiveError, tables};
use crate::model::{AppName, MessageId, Sequence, Timestamp};

pub(super) const FACTS: TableDefinition<u128, &[u8]> = TableDefinition::new("facts");
/// Dimension, value, app, channel and direction, day: what is of one value lies together, so that a
/// question holds one value at a time, however many there are.
pub(super) const TOTALS: TableDefinition<(u8, &str, &str, u8, u32), &[u8]> =
    TableDefinition::new("sums");
/// Where the first layout had its totals.
const FIRST_TOTALS: TableDefinition<(u8, &str, u8, u32, &str), &[u8]> =
    TableDefinition::new("totals");
/// App (empty: all) and reference.
const THREADS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("threads");
/// App (empty: all), last activity (ms) and reference.
const ACTIVITY: TableDefinition<(&str, u64, &str), ()> = TableDefinition::new("activity");
const UNTIL: TableDefinition<u8, u64> = TableDefinition::new("ledger_until");
const EVENTS_UNTIL: u8 = 0;
const ENTRIES_UNTIL: u8 = 1;
/// Beside the watermarks: how the tables are laid out. Another layout is counted anew.
const LAYOUT: u8 = 2;
const LAYOUT_NOW: u64 = 2;

/// Events in one transaction.
const BATCH: usize = 2_000;
/// Transactions that one question waits for at the most; behind more it is told what is known.
const BATCHES_OF_A_QUESTION: usize = 20;
/// Pause between batches while it keeps up, so that many messages share a commit.
const PAUSE: Duration = Duration::from_millis(500);

/// What one message is counted as; also how it was counted before it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFact {
    pub app: String,
    pub way: u8,
    day: u32,
    sender: String,
    tag: String,
    subject: String,
    tally: Tally,
}

impl Record for StoredFact {
    const KIND: &'static str = "count";
}

/// Numbers of a thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredThread {
    /// As it was written first.
    reference: String,
    messages: u64,
    entries: u64,
    first_at: u64,
    last_at: u64,
}

impl Record for StoredThread {
    const KIND: &'static str = "thread";
}

/// A thread in the list of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// As it was written first.
    pub reference: String,
    /// What the cursor is made of, beside the time.
    pub canonical: String,
    pub messages: u64,
    pub entries: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

impl StoredFact {
    fn new(message: &Message) -> StoredFact {
        StoredFact {
            app: message.app.to_string(),
            way: way(message.channel(), message.direction),
            day: day(message.accepted_at),
            sender: value_of(message, Dimension::Sender),
            tag: value_of(message, Dimension::Tag),
            subject: value_of(message, Dimension::Subject),
            tally: Tally::of(message),
        }
    }

    fn value(&self, by: Dimension) -> &str {
        match by {
            Dimension::Sender => &self.sender,
            Dimension::Tag => &self.tag,
            Dimension::Subject => &self.subject,
            // They are in the key already.
            Dimension::App | Dimension::Day => "",
        }
    }
}

/// Rows of totals that a batch changes: what is added and what is taken away.
type Changes = BTreeMap<(u8, String, String, u8, u32), (Tally, Tally)>;

/// The ledger; fed by one at a time.
pub(super) struct Ledger {
    pub(super) database: Arc<Database>,
    feeding: Mutex<()>,
}

impl Ledger {
    pub(super) fn new(database: Arc<Database>) -> Ledger {
        Ledger { database, feeding: Mutex::new(()) }
    }

    /// How far it has counted, events and entries. `None`: in another layout.
    fn until(&self) -> Result<Option<(u64, u64)>, Failure> {
        match self.database.begin_read()?.open_table(UNTIL) {
            Ok(table) => {
                let of = |key| Ok::<_, Failure>(table.get(key)?.map_or(0, |until| until.value()));
                let until = (of(EVENTS_UNTIL)?, of(ENTRIES_UNTIL)?);
                Ok((of(LAYOUT)? == LAYOUT_NOW).then_some(until))
            }
            Err(TableError::TableDoesNotExist(_)) => Ok(Some((0, 0))),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in the next events and entries; whether there may be more.
    pub(super) fn feed(&self, records: &Database) -> Result<bool, Failure> {
        let _one = self.feeding.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = records.begin_read()?;
        let (events, entries) =
            (snapshot.open_table(tables::EVENTS)?, snapshot.open_table(tables::ENTRIES)?);
        let last_event = events.last()?.map_or(0, |(number, _)| number.value());
        let last_entry = entries.last()?.map_or(0, |(number, _)| number.value());
        // Beyond the last: the records came back from a backup.
        let is_good =
            |(events, entries): &(u64, u64)| *events <= last_event && *entries <= last_entry;
        let (mut until, mut entries_until) = match self.until()?.filter(is_good) {
            Some(until) => until,
            None => {
                self.clear()?;
                (0, 0)
            }
        };
        if (until, entries_until) == (last_event, last_entry) {
            return Ok(false);
        }
        let mut touched = BTreeSet::new();
        for row in events.range(until.saturating_add(1)..)?.take(BATCH) {
            let (number, bytes) = row?;
            until = number.value();
            if let Ok(event) = StoredEvent::decode(bytes.value()) {
                touched.insert(event.message());
            }
        }
        let mut added = Vec::new();
        for row in entries.range(entries_until.saturating_add(1)..)?.take(BATCH) {
            let (number, bytes) = row?;
            entries_until = number.value();
            let entry = StoredThreadEntry::decode(bytes.value());
            added.extend(entry.and_then(|entry| entry.entry(entries_until)).ok());
        }
        let reader = Reader::new(&snapshot)?;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        {
            let mut threads = Threads::open(&transaction)?;
            let mut facts = transaction.open_table(FACTS)?;
            let mut changes = Changes::new();
            for id in touched {
                if let Some(message) = reader.readable(MessageId::from_u128(id))? {
                    let is_new = count(&mut facts, &mut changes, &message)?;
                    for reference in message.references.iter().filter(|_| is_new) {
                        let name = (reference.canonical(), reference.to_string());
                        let at = message.accepted_at;
                        threads.add(Some(&message.app), &name, at, (1, 0))?;
                    }
                }
            }
            for entry in added {
                let reference = &entry.what.reference;
                let name = (reference.canonical(), reference.to_string());
                threads.add(entry.what.app.as_ref(), &name, entry.what.at, (0, 1))?;
            }
            save_totals(&transaction, changes)?;
            let mut table = transaction.open_table(UNTIL)?;
            table.insert(EVENTS_UNTIL, until)?;
            table.insert(ENTRIES_UNTIL, entries_until)?;
            table.insert(LAYOUT, LAYOUT_NOW)?;
        }
        transaction.commit()?;
        Ok((until, entries_until) != (last_event, last_entry))
    }

    /// Follows the journal until the archive closes or `stop`. Trouble here stops the counting and
    /// nothing else.
    pub(super) async fn follow(
        self: Arc<Self>,
        records: Arc<Database>,
        mut journal: watch::Receiver<Sequence>,
        closing: Closing,
        stop: CancellationToken,
    ) {
        loop {
            let _ = journal.borrow_and_update();
            let (ledger, database) = (self.clone(), records.clone());
            let fed = tokio::task::spawn_blocking(move || ledger.feed(&database)).await;
            let is_behind = match fed {
                Ok(Ok(is_behind)) => is_behind,
                Ok(Err(error)) => return tracing::error!(%error, "the numbers are kept no longer"),
                Err(error) => return tracing::error!(%error, "the numbers are kept no longer"),
            };
            let wait = async {
                if is_behind {
                    return true;
                }
                let changed = journal.changed().await;
                tokio::time::sleep(PAUSE).await;
                changed.is_ok()
            };
            let goes_on = tokio::select! {
                biased;
                () = stop.cancelled() => false,
                _ = closing.closed() => false,
                goes_on = wait => goes_on,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn clear(&self) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        transaction.delete_table(FACTS)?;
        transaction.delete_table(TOTALS)?;
        transaction.delete_table(FIRST_TOTALS)?;
        transaction.delete_table(THREADS)?;
        transaction.delete_table(ACTIVITY)?;
        transaction.delete_table(UNTIL)?;
        Ok(transaction.commit()?)
    }
}

/// Counts a message as it is now, and no longer as it was; whether it was never counted before.
fn count(
    facts: &mut Table<'_, u128, &'static [u8]>,
    changes: &mut Changes,
    message: &Message,
) -> Result<bool, Failure> {
    let id = message.id.as_u128();
    let was = facts.get(id)?.map(|bytes| StoredFact::decode(bytes.value())).transpose()?;
    let is = StoredFact::new(message);
    if was.as_ref() == Some(&is) {
        return Ok(false);
    }
    for (fact, is_added) in was.iter().map(|fact| (fact, false)).chain([(&is, true)]) {
        for by in Dimension::ALL {
            let value = fact.value(by).to_owned();
            let key = (by.number(), value, fact.app.clone(), fact.way, fact.day);
            let (added, taken) = changes.entry(key).or_default();
            match is_added {
                true => added.add(fact.tally),
                false => taken.add(fact.tally),
            }
        }
    }
    facts.insert(id, &is.encode()[..])?;
    Ok(was.is_none())
}

fn save_totals(transaction: &WriteTransaction, changes: Changes) -> Result<(), Failure> {
    let mut totals = transaction.open_table(TOTALS)?;
    for ((by, value, app, way, day), (added, taken)) in changes {
        let key = (by, &*value, &*app, way, day);
        let was = totals.get(key)?.map(|bytes| Tally::decode(bytes.value())).transpose()?;
        let mut tally = was.unwrap_or_default();
        tally.add(added);
        tally.take(taken);
        match tally == Tally::default() {
            true => drop(totals.remove(key)?),
            false => drop(totals.insert(key, &tally.encode()[..])?),
        }
    }
    Ok(())
}

/// The two tables of threads, in one transaction.
struct Threads<'t> {
    threads: Table<'t, (&'static str, &'static str), &'static [u8]>,
    activity: Table<'t, (&'static str, u64, &'static str), ()>,
}

impl<'t> Threads<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Threads<'t>, Failure> {
        Ok(Threads {
            threads: transaction.open_table(THREADS)?,
            activity: transaction.open_table(ACTIVITY)?,
        })
    }

    /// One more message or entry, for those who may see all apps and for those who may see this one.
    fn add(
        &mut self,
        app: Option<&AppName>,
        (canonical, written): &(String, String),
        at: Timestamp,
        (messages, entries): (u64, u64),
    ) -> Result<(), Failure> {
        let at = at.as_millis().unsigned_abs();
        for app in std::iter::once("").chain(app.map(AppName::as_str)) {
            let key = (app, &**canonical);
            let was = self.threads.get(key)?.map(|bytes| StoredThread::decode(bytes.value()));
            let was = was.transpose()?;
            if let Some(was) = &was {
                self.activity.remove((app, was.last_at, &**canonical))?;
            }
            let mut is = was.unwrap_or_else(|| StoredThread {
                reference: written.clone(),
                messages: 0,
                entries: 0,
                first_at: at,
                last_at: at,
            });
            is.messages += messages;
            is.entries += entries;
            (is.first_at, is.last_at) = (is.first_at.min(at), is.last_at.max(at));
            self.threads.insert(key, &is.encode()[..])?;
            self.activity.insert((app, is.last_at, &**canonical), ())?;
        }
        Ok(())
    }
}

impl Archive {
    /// Takes in what the ledger does not know yet; whether it knows everything then.
    pub(super) fn catch_up(&self) -> Result<bool, ArchiveError> {
        for _ in 0..BATCHES_OF_A_QUESTION {
            if !self.inner.ledger.feed(&self.inner.database)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Threads that somebody who may see these apps (`None`: all) may see, the newest activity first.
    /// The cursor is the place of the last one.
    pub fn threads(
        &self,
        apps: Option<&[AppName]>,
        after: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<Thread>, ArchiveError> {
        self.catch_up()?;
        Ok(self.inner.ledger.threads(apps, after, limit)?)
    }

    /// The last event that the ledger has counted.
    pub fn counted_until(&self) -> Result<Sequence, ArchiveError> {
        Ok(Sequence(self.inner.ledger.until()?.unwrap_or_default().0))
    }
}

impl Ledger {
    fn threads(
        &self,
        apps: Option<&[AppName]>,
        after: Option<(Timestamp, String)>,
        limit: usize,
    ) -> Result<Vec<Thread>, Failure> {
        let snapshot = self.database.begin_read()?;
        let (activity, threads) =
            match (snapshot.open_table(ACTIVITY), snapshot.open_table(THREADS)) {
                (Ok(activity), Ok(threads)) => (activity, threads),
                (Err(TableError::TableDoesNotExist(_)), _)
                | (_, Err(TableError::TableDoesNotExist(_))) => {
                    return Ok(Vec::new());
                }
                (Err(error), _) | (_, Err(error)) => return Err(error.into()),
            };
        let apps: Vec<&str> = match apps {
            None => vec![""],
            Some(apps) => apps.iter().map(AppName::as_str).collect(),
        };
        let (to_at, to_name) = match &after {
            Some((at, name)) => (at.as_millis().unsigned_abs(), name.as_str()),
            None => (u64::MAX, ""),
        };
        // Each app's threads from the newest on; the newest of all of them comes next.
        let mut lines = Vec::new();
        for app in &apps {
            let range = activity.range((*app, 0, "")..(*app, to_at, to_name))?;
            lines.push(range.rev().map(|row| {
                let (key, _) = row?;
                let (_, at, name) = key.value();
                Ok::<_, Failure>((at, name.to_owned()))
            }));
        }
        let mut heads = Vec::new();
        for line in &mut lines {
            heads.push(line.next().transpose()?);
        }
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((at, canonical)) = heads.iter().flatten().max().cloned() else { break };
            for (head, line) in heads.iter_mut().zip(&mut lines) {
                if head.as_ref().is_some_and(|head| *head == (at, canonical.clone())) {
                    *head = line.next().transpose()?;
                }
            }
            let mut parts = Vec::new();
            for app in &apps {
                let row = threads.get((*app, &*canonical))?;
                parts.extend(row.map(|bytes| StoredThread::decode(bytes.value())).transpose()?);
            }
            // Of a thread of several apps only its newest place counts.
            let Some(last_at) = parts.iter().map(|part| part.last_at).max() else { continue };
            if last_at != at {
                continue;
            }
            let ms = |ms: u64| Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
            let first_at = parts.iter().map(|part| part.first_at).min().unwrap_or(at);
            found.push(Thread {
                reference: parts.iter().map(|p| p.reference.clone()).next().unwrap_or_default(),
                messages: parts.iter().map(|part| part.messages).sum(),
                entries: parts.iter().map(|part| part.entries).sum(),
                canonical,
                first_at: ms(first_at),
                last_at: ms(last_at),
            });
        }
        Ok(found)
    }
}
