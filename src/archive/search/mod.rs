//! The search: which messages are an answer to a question, in milliseconds however many there are.
//!
//! A full text index (tantivy, in `DATA/search/`) holds what never changes of a message; where it
//! stands is in memory (`standings`). The index is derived: it is fed from the records by one thread
//! of its own, can be dropped at any time, and is built anew when it can not be opened or was made by
//! another version. What it does not have yet is scanned with the same words, so that a message is
//! found from its 250 on. Every hit is read from the records before it is given out.
//!
//! Not here: lists without a question, which come straight from the records (`list`).

mod document;
mod feeder;
mod find;
mod folder;
mod language;
mod maps;
mod matches;
mod page;
mod patience;
mod predicate;
mod schema;
mod standings;
#[cfg(test)]
mod survival;
mod tail;
#[cfg(test)]
pub(super) mod tests;
mod unmapped;
mod view;
mod wait;
mod why;
mod words;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

pub(super) use feeder::Feeder;
pub use find::{Found, Place, ReadState, SearchOrder, SearchRequest, Tier};
pub use language::{Question, QuestionError};

use super::read::Reader;
use super::writer::Failure;
use super::{Archive, ArchiveError};
use crate::model::MessageId;
use maps::Maps;
use schema::Schema;
use standings::Standings;
use tail::Tail;
use view::View;

/// What the feeding thread and the searches share.
pub(super) struct Shared {
    view: ArcSwapOption<View>,
    standings: Mutex<Standings>,
    tail: RwLock<Tail>,
    schema: Schema,
    progress: Progress,
    maps: Maps,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            view: ArcSwapOption::empty(),
            standings: Mutex::default(),
            tail: RwLock::default(),
            schema: Schema::new(),
            progress: Progress::default(),
            maps: Maps::default(),
        }
    }
}

impl Shared {
    /// A panic while they were held left them older, and the next one brings them up to date.
    fn standings(&self) -> MutexGuard<'_, Standings> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last message that searches see in the index.
    fn watermark(&self) -> MessageId {
        self.view.load().as_ref().map_or(MessageId::MIN, |view| view.watermark.message)
    }
}

/// How far the index is, and whether it is to be built anew.
#[derive(Default)]
struct Progress {
    indexed: AtomicU64,
    total: AtomicU64,
    wanted: AtomicBool,
    is_given_up: AtomicBool,
    wake: Notify,
}

impl Progress {
    fn set(&self, reader: &Reader, at: MessageId, last: MessageId) -> Result<(), Failure> {
        let number = |id: MessageId| -> Result<u64, Failure> {
            let up_to = reader.messages().range(..=id.as_u128())?.next_back();
            let Some(id) = up_to.transpose()?.map(|(id, _)| id.value()) else { return Ok(0) };
            Ok(reader.readable(MessageId::from_u128(id))?.map_or(0, |message| message.sequence.0))
        };
        self.indexed.store(number(at)?, Ordering::Relaxed);
        self.total.store(number(last)?, Ordering::Relaxed);
        Ok(())
    }

    fn is_rebuild_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    fn want(&self) {
        self.indexed.store(0, Ordering::Relaxed);
        self.wanted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn rebuilt(&self) {
        self.wanted.store(false, Ordering::Release);
    }

    /// What was wanted can not be done now; whoever waits for it is told.
    fn abandon(&self) {
        if self.wanted.swap(false, Ordering::AcqRel) {
            self.give_up(true);
        }
    }

    fn give_up(&self, is_given_up: bool) {
        self.is_given_up.store(is_given_up, Ordering::Release);
    }

    async fn wanted(&self) {
        while !self.is_rebuild_wanted() {
            self.wake.notified().await;
        }
    }
}

/// How far the search index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchProgress {
    /// Messages that the index has been through; while it is built anew, of the new one.
    pub indexed: u64,
    /// Messages in the archive.
    pub total: u64,
    /// It is being built anew.
    pub is_rebuilding: bool,
    /// There was trouble that did not go away, and searches scan; the log says which.
    pub is_given_up: bool,
}

impl Archive {
    /// Orders the search index to be built anew; the old one answers until then. An archive without a
    /// folder has no index, and nothing is done.
    pub fn reindex(&self) {
        if self.inner.threads.search.is_none() {
            return;
        }
        self.inner.search.progress.want();
    }

    /// How far it is.
    pub fn search_progress(&self) -> Result<SearchProgress, ArchiveError> {
        let progress = &self.inner.search.progress;
        let total = self.extent()?.messages;
        Ok(SearchProgress {
            indexed: progress.indexed.load(Ordering::Relaxed).min(total),
            total,
            is_rebuilding: progress.is_rebuild_wanted(),
            is_given_up: progress.is_given_up.load(Ordering::Acquire),
        })
    }
}
