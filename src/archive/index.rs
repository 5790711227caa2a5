//! The look-up index: from an address, reference, app, tag or Message-ID to its messages.
//!
//! It lies in a file of its own, is fed behind the acceptance by one background task, and can be
//! built anew from the records at any time: a term's key is scattered, and a scattered key in the
//! accept transaction would cost most of its speed. A watermark says up to which message it is
//! complete; what lies behind it is scanned by `list`. Terms are 64-bit hashes, so a hit is only a
//! candidate: the record decides.

use std::sync::Arc;
use std::time::Duration;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::files::{Files, INDEX};
use super::message::Message;
use super::read::Reader;
use super::writer::{Closing, Failure};
use super::{ArchiveError, storage};
use crate::model::{AppName, MessageId, Reference, Sequence, Tag};

const TERMS: TableDefinition<(u64, u128), ()> = TableDefinition::new("terms");
const WATERMARK: TableDefinition<(), u128> = TableDefinition::new("watermark");

/// Messages in one index transaction.
const BATCH: usize = 2_000;
/// Pause between batches while it keeps up, so that many messages share a commit.
const PAUSE: Duration = Duration::from_millis(300);

/// What a message can be found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term<'a> {
    App(&'a AppName),
    Sender(&'a str),
    Recipient(&'a str),
    Reference(&'a Reference),
    Tag(&'a Tag),
    MessageId(&'a str),
}

impl Term<'_> {
    pub(super) fn hash(&self) -> u64 {
        let (kind, text) = match self {
            Term::App(app) => (b'a', app.as_str().to_owned()),
            Term::Sender(address) => (b's', address.to_lowercase()),
            Term::Recipient(address) => (b'r', address.to_lowercase()),
            Term::Reference(reference) => (b'f', reference.canonical()),
            Term::Tag(tag) => (b't', tag.as_str().to_owned()),
            Term::MessageId(id) => (b'm', (*id).to_owned()),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_be_bytes(first)
    }
}

fn terms(message: &Message) -> Vec<u64> {
    let mut terms = vec![Term::App(&message.app).hash()];
    terms.extend(message.medium.sender().map(|sender| Term::Sender(&sender).hash()));
    if let Some(author) = &message.summary.author {
        terms.push(Term::Sender(&author.address).hash());
    }
    let recipients = message.medium.recipients();
    terms.extend(recipients.iter().map(|recipient| Term::Recipient(recipient).hash()));
    terms.extend(message.references.iter().map(|r| Term::Reference(r).hash()));
    terms.extend(message.tag.iter().map(|tag| Term::Tag(tag).hash()));
    terms.extend(message.summary.message_id.iter().map(|id| Term::MessageId(id).hash()));
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// The index.
#[derive(Clone)]
pub(super) struct Index {
    database: Arc<Database>,
}

impl Index {
    /// Opens it; one that can not be opened is dropped and will be built anew.
    pub(super) fn open(files: &dyn Files, cache_bytes: usize) -> Result<Index, ArchiveError> {
        let database = match files.open(INDEX, cache_bytes) {
            Ok(database) => database,
            Err(error) => {
                tracing::warn!(%error, "the look-up index can not be opened; it is built anew");
                files.remove(INDEX).map_err(storage("remove the damaged look-up index"))?;
                files.open(INDEX, cache_bytes).map_err(storage("create the look-up index"))?
            }
        };
        Ok(Index { database: Arc::new(database) })
    }

    /// The file, for what is counted beside it.
    pub(super) fn database(&self) -> Arc<Database> {
        self.database.clone()
    }

    /// The last message that it knows.
    pub(super) fn watermark(&self) -> Result<MessageId, Failure> {
        let transaction = self.database.begin_read()?;
        match transaction.open_table(WATERMARK) {
            Ok(table) => {
                let id = table.get(())?.map_or(0, |id| id.value());
                Ok(MessageId::from_u128(id))
            }
            Err(TableError::TableDoesNotExist(_)) => Ok(MessageId::MIN),
            Err(error) => Err(error.into()),
        }
    }

    /// Candidates for a term between two ids, both included; ascending, or the other way round.
    pub(super) fn candidates(
        &self,
        term: u64,
        (from, to): (u128, u128),
        newest_first: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<u128, Failure>>>, Failure> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(TERMS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Box::new(std::iter::empty())),
            Err(error) => return Err(error.into()),
        };
        if from > to {
            return Ok(Box::new(std::iter::empty()));
        }
        let range = table.range((term, from)..=(term, to))?;
        let id = |entry: Result<(redb::AccessGuard<'_, (u64, u128)>, _), redb::StorageError>| {
            Ok(entry.map(|(key, _): (_, redb::AccessGuard<'_, ()>)| key.value().1)?)
        };
        Ok(match newest_first {
            true => Box::new(range.rev().map(id)),
            false => Box::new(range.map(id)),
        })
    }

    /// The earliest message with a Message-ID; a candidate, like every hit.
    pub(super) fn earliest(&self, message_id: &str) -> Result<Option<MessageId>, Failure> {
        let term = Term::MessageId(message_id).hash();
        let mut found = self.candidates(term, (0, u128::MAX), false)?;
        Ok(found.next().transpose()?.map(MessageId::from_u128))
    }

    /// Takes in the next messages; gives how many there were.
    fn feed(&self, records: &Database) -> Result<usize, Failure> {
        let snapshot = records.begin_read()?;
        let reader = Reader::new(&snapshot)?;
        let last = reader.messages().last()?.map_or(0, |(id, _)| id.value());
        let mut watermark = self.watermark()?.as_u128();
        if watermark > last {
            // The records are older than the index: they came back from a backup.
            self.clear()?;
            watermark = 0;
        }
        if watermark == last {
            return Ok(0);
        }
        let mut rows = Vec::new();
        let mut fed = 0;
        for entry in reader.messages().range(watermark + 1..)?.take(BATCH) {
            let id = entry?.0.value();
            if let Some(message) = reader.readable(MessageId::from_u128(id))? {
                rows.extend(terms(&message).into_iter().map(|term| (term, id)));
            }
            (watermark, fed) = (id, fed + 1);
        }
        rows.sort_unstable();
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TERMS)?;
            for row in rows {
                table.insert(row, ())?;
            }
            transaction.open_table(WATERMARK)?.insert((), watermark)?;
        }
        transaction.commit()?;
        Ok(fed)
    }

    fn clear(&self) -> Result<(), Failure> {
        let transaction = self.database.begin_write()?;
        transaction.delete_table(TERMS)?;
        transaction.delete_table(WATERMARK)?;
        Ok(transaction.commit()?)
    }

    /// Follows the journal until the archive closes or `stop`. Trouble here stops the index and
    /// nothing else: lists then scan further. A batch that was begun is brought to its end: it holds
    /// both files, and whoever stops this wants them closed.
    pub(super) async fn follow(
        self,
        records: Arc<Database>,
        mut journal: watch::Receiver<Sequence>,
        closing: Closing,
        stop: CancellationToken,
    ) {
        loop {
            let (index, database) = (self.clone(), records.clone());
            let fed = tokio::task::spawn_blocking(move || index.feed(&database)).await;
            let is_behind = match fed {
                Ok(Ok(fed)) => fed == BATCH,
                Ok(Err(error)) => {
                    return tracing::error!(%error, "the look-up index stopped; lists get slower");
                }
                Err(error) => {
                    return tracing::error!(%error, "the look-up index stopped; lists get slower");
                }
            };
            let wait = async {
                if !is_behind {
                    let changed = journal.changed().await;
                    tokio::time::sleep(PAUSE).await;
                    return changed.is_ok();
                }
                true
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
}
