//! Up to where the ledger is complete, and what comes next.
//!
//! It follows three tables of the records: events, entries of threads, and messages of which other hits
//! count than before. A mark for each lies in the ledger's own file, beside the rules by which it counts.

use std::collections::BTreeSet;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use redb::{TableDefinition, TableError, WriteTransaction};

use super::entries::{StoredThreadEntry, ThreadEntry};
use super::hits::RECOUNTED;
use super::stored::{Record, StoredEvent};
use super::tables;
use super::writer::Failure;

pub(super) const UNTIL: TableDefinition<u8, u64> = TableDefinition::new("ledger_until");
const EVENTS_UNTIL: u8 = 0;
const ENTRIES_UNTIL: u8 = 1;
/// Beside the watermarks: how the tables are laid out and counted. Another layout is counted anew.
const LAYOUT: u8 = 2;
const LAYOUT_NOW: u64 = 3;
const RECOUNTED_UNTIL: u8 = 3;

/// Rows of each table in one transaction.
const BATCH: usize = 2_000;

/// Up to where it is complete, in each table that it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Until {
    pub(super) events: u64,
    entries: u64,
    recounted: u64,
    is_by_these_rules: bool,
}

impl Until {
    /// Of nothing yet.
    pub(super) fn beginning() -> Until {
        Until { is_by_these_rules: true, ..Until::default() }
    }

    pub(super) fn read(ledger: &Database) -> Result<Until, Failure> {
        match ledger.begin_read()?.open_table(UNTIL) {
            Ok(table) => {
                let of = |key| Ok::<_, Failure>(table.get(key)?.map_or(0, |until| until.value()));
                Ok(Until {
                    events: of(EVENTS_UNTIL)?,
                    entries: of(ENTRIES_UNTIL)?,
                    recounted: of(RECOUNTED_UNTIL)?,
                    is_by_these_rules: of(LAYOUT)? == LAYOUT_NOW,
                })
            }
            Err(TableError::TableDoesNotExist(_)) => Ok(Until::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), Failure> {
        let mut table = transaction.open_table(UNTIL)?;
        table.insert(EVENTS_UNTIL, self.events)?;
        table.insert(ENTRIES_UNTIL, self.entries)?;
        table.insert(RECOUNTED_UNTIL, self.recounted)?;
        table.insert(LAYOUT, LAYOUT_NOW)?;
        Ok(())
    }

    /// The end of what is there.
    pub(super) fn last(sources: &Sources) -> Result<Until, Failure> {
        Ok(Until {
            events: sources.events.last()?.map_or(0, |(number, _)| number.value()),
            entries: sources.entries.last()?.map_or(0, |(number, _)| number.value()),
            recounted: sources.recounted.last()?.map_or(0, |(number, _)| number.value()),
            is_by_these_rules: true,
        })
    }

    /// The records came back from a backup, or older rules counted them.
    pub(super) fn is_of_something_else(&self, last: &Until) -> bool {
        !self.is_by_these_rules
            || self.events > last.events
            || self.entries > last.entries
            || self.recounted > last.recounted
    }
}

/// What it follows, in one snapshot.
pub(super) struct Sources {
    events: ReadOnlyTable<u64, &'static [u8]>,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    recounted: ReadOnlyTable<u64, u128>,
}

/// What comes next in them.
#[derive(Default)]
pub(super) struct News {
    pub(super) messages: BTreeSet<u128>,
    pub(super) entries: Vec<ThreadEntry>,
}

impl Sources {
    pub(super) fn new(snapshot: &ReadTransaction) -> Result<Sources, Failure> {
        Ok(Sources {
            events: snapshot.open_table(tables::EVENTS)?,
            entries: snapshot.open_table(tables::ENTRIES)?,
            recounted: snapshot.open_table(RECOUNTED)?,
        })
    }

    /// The next batch of each; moves `until` behind it.
    pub(super) fn next(&self, until: &mut Until) -> Result<News, Failure> {
        let mut news = News::default();
        for row in self.events.range(until.events.saturating_add(1)..)?.take(BATCH) {
            let (number, bytes) = row?;
            until.events = number.value();
            if let Ok(event) = StoredEvent::decode(bytes.value()) {
                news.messages.insert(event.message());
            }
        }
        for row in self.recounted.range(until.recounted.saturating_add(1)..)?.take(BATCH) {
            let (number, message) = row?;
            until.recounted = number.value();
            news.messages.insert(message.value());
        }
        for row in self.entries.range(until.entries.saturating_add(1)..)?.take(BATCH) {
            let (number, bytes) = row?;
            until.entries = number.value();
            let entry = StoredThreadEntry::decode(bytes.value());
            news.entries.extend(entry.and_then(|entry| entry.entry(until.entries)).ok());
        }
        Ok(news)
    }
}
