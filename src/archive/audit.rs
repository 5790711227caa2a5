//! The two logs of what people and programs did: security and operations.
//!
//! Both are append-only. Each row holds the SHA-256 of the row before it, and the number and digest
//! of the last row stand beside the table: a row that was changed, put in, taken out, moved or cut off
//! is found by `Archive::check_log`. What it can not find: somebody who may write the file, and who
//! writes the chain anew from some row on, or cuts it off and sets the last row's number and digest
//! back. So the check also gives that number and digest: whoever kept them elsewhere sees that.
//!
//! A row about a change is written in the transaction of that change: the edge of a request puts its
//! rows on a `Slip`, and the first change that its task makes carries them. So a change without its
//! row can not be, and where a row can not be written there is no change.
//!
//! Not here: what is worth a row, and how often (`admin`).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::stored::Record;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, MessageNote, Page, queue, tables};
use crate::model::{Digest, Timestamp};

/// Number to `StoredEntry`.
pub(super) const SECURITY: TableDefinition<u64, &[u8]> = TableDefinition::new("security_log");
/// Number to `StoredEntry`.
pub(super) const OPERATIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("operations_log");

/// Longest text in a row; what came from outside is cut there.
const MAX_TEXT_CHARS: usize = 500;
/// Rows that one page looks at: a filter that matches nothing must not read the whole log.
const MAX_LOOKED_AT: usize = 20_000;

tokio::task_local! {
    /// What the changes of this task carry.
    static CURRENT: Slip;
}

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Logins, second factors, denials, accounts.
    Security,
    /// Every call of the admin API.
    Operations,
}

impl Log {
    /// Both.
    pub const ALL: [Log; 2] = [Log::Security, Log::Operations];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Log::Security => "security",
            Log::Operations => "operations",
        }
    }

    fn table(self) -> TableDefinition<'static, u64, &'static [u8]> {
        match self {
            Log::Security => SECURITY,
            Log::Operations => OPERATIONS,
        }
    }

    /// In `META`: number and digest of the last row.
    fn head(self) -> &'static str {
        match self {
            Log::Security => "log.security",
            Log::Operations => "log.operations",
        }
    }
}

/// What is to be written; nothing in it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub at: Timestamp,
    /// A word of ours: `login_failed`, or the method of a call.
    pub what: &'static str,
    /// `user anna`, `token 01J…`; `None` when nobody knows.
    pub by: Option<String>,
    /// Where the call came from.
    pub client: Option<String>,
    /// As the table of routes writes it.
    pub route: Option<String>,
    pub path: Option<String>,
    pub status: Option<u16>,
    pub detail: Option<String>,
    /// How many of them this row stands for.
    pub count: u32,
}

impl NewEntry {
    /// A row that says only what happened and when.
    pub fn of(what: &'static str, at: Timestamp) -> NewEntry {
        NewEntry {
            at,
            what,
            by: None,
            client: None,
            route: None,
            path: None,
            status: None,
            detail: None,
            count: 1,
        }
    }
}

/// A row that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub at: Timestamp,
    pub what: String,
    pub by: Option<String>,
    pub client: Option<String>,
    pub route: Option<String>,
    pub path: Option<String>,
    pub status: Option<u16>,
    pub detail: Option<String>,
    pub count: u32,
    /// SHA-256 of this row; the next one holds it.
    pub digest: Digest,
}

/// What a log is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub by: Option<String>,
}

/// What a check of a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCheck {
    pub rows: u64,
    /// SHA-256 of the last row.
    pub digest: Digest,
    /// The first row that is not as it was written, and why.
    pub broken: Option<(u64, String)>,
}

/// Rows that wait for the change that they tell of; clones share them.
#[derive(Clone, Debug)]
pub struct Slip(Arc<Mutex<Vec<(Log, NewEntry)>>>);

impl Slip {
    /// Rows as they are to read when the change is made.
    pub fn new(entries: Vec<(Log, NewEntry)>) -> Slip {
        Slip(Arc::new(Mutex::new(entries)))
    }

    /// Runs `work` so that its first change carries the rows.
    pub async fn accompany<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// The rows that no change carried; none when one did.
    pub fn take(&self) -> Vec<(Log, NewEntry)> {
        // A panic while the lock was held left a valid list behind.
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn current() -> Option<Slip> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Inside the transaction of the change; `subject` says what was changed where the path does
    /// not.
    pub(super) fn append(
        &self,
        transaction: &WriteTransaction,
        subject: Option<&str>,
    ) -> Result<(), Failure> {
        for (log, mut entry) in self.take() {
            entry.detail = entry.detail.or_else(|| subject.map(str::to_owned));
            append(transaction, log, &entry)?;
        }
        Ok(())
    }
}

/// Whether a call to the archive changed anything.
pub(super) trait Verdict {
    fn is_change(&self) -> bool;
}

impl Verdict for () {
    fn is_change(&self) -> bool {
        true
    }
}

impl Verdict for bool {
    fn is_change(&self) -> bool {
        *self
    }
}

impl<T> Verdict for Option<T> {
    fn is_change(&self) -> bool {
        self.is_some()
    }
}

impl<T, E> Verdict for Result<T, E> {
    fn is_change(&self) -> bool {
        self.is_ok()
    }
}

impl Archive {
    /// Makes a change whose rows, if this task has any, are written in the same transaction.
    pub(super) async fn write_recorded<T: Verdict + Send + 'static>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let slip = Slip::current();
        let recorded = move |batch: &mut Batch<'_>| {
            let value = change(batch)?;
            if let Some(slip) = slip.filter(|_| value.is_change()) {
                slip.append(batch.transaction, None)?;
            }
            Ok(value)
        };
        self.write(Urgency::Now, recorded).await
    }

    /// Writes rows that no change carries, and what they add to the history of messages.
    pub async fn record(
        &self,
        entries: Vec<(Log, NewEntry)>,
        notes: Vec<MessageNote>,
    ) -> Result<(), ArchiveError> {
        let change = move |batch: &mut Batch<'_>| {
            for (log, entry) in &entries {
                append(batch.transaction, *log, entry)?;
            }
            notes.iter().try_for_each(|note| queue::note(batch, note))
        };
        self.write(Urgency::Now, change).await
    }

    /// Rows of a log, newest first, before a number.
    pub fn log(
        &self,
        log: Log,
        filter: &LogFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Entry, u64>, ArchiveError> {
        let snapshot = self.snapshot()?;
        let read = || -> Result<Page<Entry, u64>, Failure> {
            let table = snapshot.open_table(log.table())?;
            let mut page = Page { items: Vec::new(), next: None };
            let rows = table.range(..before.unwrap_or(u64::MAX))?.rev();
            for (looked_at, row) in rows.enumerate() {
                let (number, bytes) = row?;
                // A page that is full, or took long enough, says where to go on.
                if page.items.len() == limit || looked_at == MAX_LOOKED_AT {
                    page.next = Some(number.value() + 1);
                    break;
                }
                let stored = StoredEntry::decode(bytes.value())?;
                let entry = stored.entry(number.value(), bytes.value());
                if filter.matches(&entry) {
                    page.items.push(entry);
                }
            }
            Ok(page)
        };
        Ok(read()?)
    }

    /// Reads a whole log and checks its chain.
    pub fn check_log(&self, log: Log) -> Result<LogCheck, ArchiveError> {
        let snapshot = self.snapshot()?;
        let check = || -> Result<LogCheck, Failure> {
            let table = snapshot.open_table(log.table())?;
            let meta = snapshot.open_table(tables::META)?;
            let head = meta.get(log.head())?.and_then(|bytes| Head::decode(bytes.value()));
            let head = head.unwrap_or_default();
            let mut last = Head::default();
            for row in table.iter()? {
                let (number, bytes) = row?;
                let broken = match StoredEntry::decode(bytes.value()) {
                    Err(error) => Some(error.to_string()),
                    Ok(_) if number.value() != last.number + 1 => {
                        Some(format!("row {} is missing", last.number + 1))
                    }
                    Ok(stored) if stored.previous != last.digest => {
                        Some(format!("row {} is not as it was written", last.number))
                    }
                    Ok(_) => None,
                };
                last =
                    Head { number: number.value(), digest: digest(number.value(), bytes.value()) };
                if let Some(why) = broken {
                    return Ok(LogCheck {
                        rows: table_len(&table)?,
                        digest: Digest(head.digest),
                        broken: Some((last.number, why)),
                    });
                }
            }
            let whole = last == head;
            let why = || "the last row is not the one that was written last".to_owned();
            let broken = (!whole).then(|| (last.number, why()));
            Ok(LogCheck { rows: last.number, digest: Digest(head.digest), broken })
        };
        Ok(check()?)
    }
}

fn table_len(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<u64, Failure> {
    Ok(table.last()?.map_or(0, |(number, _)| number.value()))
}

impl LogFilter {
    fn matches(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && self.by.as_ref().is_none_or(|by| entry.by.as_ref() == Some(by))
    }
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    number: u64,
    digest: [u8; 32],
}

impl Head {
    fn encode(self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &self.digest].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Head> {
        let (number, digest) = bytes.split_first_chunk::<8>()?;
        Some(Head { number: u64::from_be_bytes(*number), digest: digest.try_into().ok()? })
    }
}

/// Adds a row at the end. Fails with the file only: a damaged row is `check_log`'s to tell, and must
/// not keep what is still good from being recorded.
pub(super) fn append(
    transaction: &WriteTransaction,
    log: Log,
    entry: &NewEntry,
) -> Result<(), Failure> {
    let mut meta = transaction.open_table(tables::META)?;
    let mut table = transaction.open_table(log.table())?;
    let last = meta.get(log.head())?.and_then(|bytes| Head::decode(bytes.value()));
    let last = last.unwrap_or_default();
    let number = last.number.saturating_add(1);
    let bytes = StoredEntry::new(entry, last.digest).encode();
    table.insert(number, &bytes[..])?;
    let head = Head { number, digest: digest(number, &bytes) };
    meta.insert(log.head(), &head.encode()[..])?;
    Ok(())
}

fn digest(number: u64, bytes: &[u8]) -> [u8; 32] {
    Digest::of_parts([&number.to_be_bytes()[..], bytes]).0
}

/// One row of either log; its key is its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredEntry {
    previous: [u8; 32],
    at: i64,
    what: String,
    by: Option<String>,
    client: Option<String>,
    route: Option<String>,
    path: Option<String>,
    status: Option<u16>,
    detail: Option<String>,
    count: u32,
}

impl Record for StoredEntry {
    const KIND: &'static str = "log row";
}

impl StoredEntry {
    fn new(entry: &NewEntry, previous: [u8; 32]) -> StoredEntry {
        StoredEntry {
            previous,
            at: entry.at.as_millis(),
            what: entry.what.to_owned(),
            by: entry.by.as_deref().map(harmless),
            client: entry.client.as_deref().map(harmless),
            route: entry.route.as_deref().map(harmless),
            path: entry.path.as_deref().map(harmless),
            status: entry.status,
            detail: entry.detail.as_deref().map(harmless),
            count: entry.count,
        }
    }

    fn entry(self, number: u64, bytes: &[u8]) -> Entry {
        Entry {
            number,
            at: Timestamp::from_millis(self.at),
            what: self.what,
            by: self.by,
            client: self.client,
            route: self.route,
            path: self.path,
            status: self.status,
            detail: self.detail,
            count: self.count,
            digest: Digest(digest(number, bytes)),
        }
    }
}

/// Text from outside must neither break a line of whoever prints a log, nor turn its direction, nor
/// fill the disk.
fn harmless(text: &str) -> String {
    // The two separators break lines too, for those who read Unicode's.
    let steers = |c: char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| if c.is_control() || steers(c) { '\u{fffd}' } else { c };
    text.chars().take(MAX_TEXT_CHARS).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{at, settings};

    fn entry(detail: &str) -> NewEntry {
        NewEntry { detail: Some(detail.to_owned()), ..NewEntry::of("login", at(1)) }
    }

    async fn three() -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        for detail in ["a", "b\u{202e}\r\n\u{1b}", "c"] {
            archive.record(vec![(Log::Security, entry(detail))], Vec::new()).await.unwrap();
        }
        (dir, archive)
    }

    async fn tamper(
        archive: &Archive,
        change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>) + Send + 'static,
    ) -> Option<(u64, String)> {
        let whole = archive.check_log(Log::Security).unwrap();
        assert_eq!((whole.rows, &whole.broken), (3, &None));
        let apply = archive.write(Urgency::Now, move |batch: &mut Batch<'_>| {
            change(&mut batch.transaction.open_table(SECURITY)?);
            Ok(())
        });
        apply.await.unwrap();
        assert_eq!(archive.check_log(Log::Operations).unwrap().broken, None);
        archive.check_log(Log::Security).unwrap().broken
    }

    #[tokio::test]
    async fn a_row_that_was_changed_or_taken_out_is_found() {
        let (_dir, archive) = three().await;
        let changed = tamper(&archive, |table| {
            let bytes = StoredEntry::new(&entry("x"), [0; 32]).encode();
            table.insert(1, &bytes[..]).unwrap();
        });
        assert_eq!(changed.await.map(|(row, _)| row), Some(2));
        let (_dir, archive) = three().await;
        let removed = tamper(&archive, |table| drop(table.remove(2).unwrap()));
        assert_eq!(removed.await, Some((3, "row 2 is missing".to_owned())));
        let (_dir, archive) = three().await;
        let cut = tamper(&archive, |table| drop(table.remove(3).unwrap()));
        assert_eq!(cut.await.map(|(row, _)| row), Some(2));
        let (_dir, archive) = three().await;
        let moved = tamper(&archive, |table| {
            let row = |number: u64, table: &redb::Table<'_, u64, &'static [u8]>| {
                table.get(number).unwrap().unwrap().value().to_vec()
            };
            let (first, second) = (row(1, table), row(2, table));
            table.insert(1, &second[..]).unwrap();
            table.insert(2, &first[..]).unwrap();
        });
        assert_eq!(moved.await.map(|(row, _)| row), Some(1));
        let (_dir, archive) = three().await;
        let put_in = tamper(&archive, |table| {
            let last = table.get(3).unwrap().unwrap().value().to_vec();
            let own =
                StoredEntry::new(&entry("put in"), StoredEntry::decode(&last).unwrap().previous);
            table.insert(3, &own.encode()[..]).unwrap();
            table.insert(4, &last[..]).unwrap();
        });
        assert_eq!(put_in.await.map(|(row, _)| row), Some(4));
        let (_dir, archive) = three().await;
        let added = tamper(&archive, |table| {
            let own = StoredEntry::new(&entry("added"), [7; 32]);
            table.insert(4, &own.encode()[..]).unwrap();
        });
        assert_eq!(added.await.map(|(row, _)| row), Some(4));
        let (_dir, archive) = three().await;
        let rubbish = tamper(&archive, |table| drop(table.insert(3, &b"x"[..]).unwrap()));
        assert_eq!(rubbish.await.map(|(row, _)| row), Some(3));
    }

    #[tokio::test]
    async fn a_log_is_read_in_pages_and_shows_nothing_that_steers() {
        let (_dir, archive) = three().await;
        let filter = LogFilter::default();
        let first = archive.log(Log::Security, &filter, None, 2).unwrap();
        let details: Vec<_> = first.items.iter().map(|e| e.detail.as_deref().unwrap()).collect();
        assert_eq!(details, ["c", "b\u{fffd}\u{fffd}\u{fffd}\u{fffd}"]);
        let rest = archive.log(Log::Security, &filter, first.next, 2).unwrap();
        assert_eq!((rest.items.len(), rest.items[0].number, rest.next), (1, 1, None));
        let nobody = LogFilter { by: Some("user anna".into()), ..LogFilter::default() };
        assert!(archive.log(Log::Security, &nobody, None, 2).unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn the_first_change_of_a_task_carries_its_rows_and_a_refusal_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let slip = Slip::new(vec![(Log::Operations, entry("a"))]);
        let refuse = |_: &mut Batch<'_>| Ok(Err::<(), ()>(()));
        slip.accompany(archive.write_recorded(refuse)).await.unwrap().unwrap_err();
        assert_eq!(archive.check_log(Log::Operations).unwrap().rows, 0);
        slip.accompany(archive.write_recorded(|_| Ok(()))).await.unwrap();
        slip.accompany(archive.write_recorded(|_| Ok(()))).await.unwrap();
        assert!(slip.take().is_empty());
        assert_eq!(archive.check_log(Log::Operations).unwrap().rows, 1);
    }

    #[tokio::test]
    async fn a_change_whose_row_can_not_be_written_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let upstream = crate::model::UpstreamName::parse("provider").unwrap();
        // A table of another kind in the place of the log.
        let spoil = archive.write(Urgency::Now, |batch: &mut Batch<'_>| {
            let other: TableDefinition<'_, &str, &str> = TableDefinition::new("operations_log");
            batch.transaction.delete_table(OPERATIONS)?;
            drop(batch.transaction.open_table(other)?);
            Ok(())
        });
        spoil.await.unwrap();
        let slip = Slip::new(vec![(Log::Operations, entry("a"))]);
        let pause = archive.set_paused(upstream, true, "user anna".into(), at(2));
        slip.accompany(pause).await.unwrap_err();
        assert!(archive.paused().unwrap().is_empty());
    }
}
