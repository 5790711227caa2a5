//! The thread that feeds the index from the records, behind the acceptance.
//!
//! It follows the journal: new messages are added in the order of their ids, erased ones are taken
//! out. It runs at a low weight, makes way while messages are on their way in, and commits in
//! batches. What it had not committed when the process ended is read again at the next start.
//! Trouble here ends the index and nothing else: the search then scans.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use tantivy::{TantivyError, Term};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::folder::{self, OpenIndex};
use super::view::Watermark;
use super::wait::wait;
use super::{document, tail};
use crate::archive::read::Reader;
use crate::archive::stored::{Record, StoredEvent};
use crate::archive::tables;
use crate::archive::volume::Volumes;
use crate::archive::writer::{Closing, Failure};
use crate::model::{EventKind, MessageId, Sequence};

/// Pause between batches while it keeps up, so that many messages share a commit.
const PAUSE: Duration = Duration::from_millis(700);
/// How often it looks whether a merge has ended.
const MERGE_PAUSE: Duration = Duration::from_millis(500);
/// A merge that takes longer has failed.
const MERGE_TIME: Duration = Duration::from_secs(120);
/// A batch takes no longer, and no more messages.
const BATCH_TIME: Duration = Duration::from_secs(4);
const BATCH: usize = 30_000;
/// The same while the index is built anew: fewer and larger segments are made.
const REBUILD_TIME: Duration = Duration::from_secs(15);
/// A batch goes so long without a look at what came meanwhile, and then at so many at a time.
const SIGN_PAUSE: Duration = Duration::from_millis(150);
const SIGNED_AT_ONCE: usize = 256;
/// With more than this to be indexed, signatures come first.
const BURST: usize = 500;
/// Messages between two looks at whether others wait.
const STRIDE: usize = 16;
/// So long it makes way at one time, and so often in a row.
const WAY: Duration = Duration::from_millis(1);
const WAYS: usize = 5;
/// The weight of this thread and of those that it starts (nice(1)): a tenth of what submissions have.
/// With much less, it would stand still as long as anything else on the machine is busy.
const NICENESS: i32 = 10;
/// An index that can not be written so often in a row is given up until the next start.
const MAX_REBUILDS: usize = 3;
/// Room on the disk that the index leaves free beside the reserve for mail.
const SPARE_BYTES: u64 = 256 << 20;
/// How often it looks whether there is room again.
const SPACE_PAUSE: Duration = Duration::from_secs(20);

/// What it needs.
pub(in crate::archive) struct Feeder {
    pub shared: Arc<Shared>,
    pub folder: PathBuf,
    /// Whether the disk has so many bytes beyond what is kept for mail. Where that can not be told, a
    /// write tells.
    pub has_room: Box<dyn Fn(u64) -> bool + Send>,
    pub database: Arc<Database>,
    pub volumes: Arc<Volumes>,
    pub on_the_way: Arc<AtomicUsize>,
    pub journal: watch::Receiver<Sequence>,
    pub closing: Closing,
    pub stop: CancellationToken,
}

/// Why feeding did not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Records(#[from] Failure),
    #[error(transparent)]
    Index(#[from] TantivyError),
    #[error("the index is of other records")]
    OtherRecords,
    #[error("the disk has no room beyond what is kept for mail")]
    NoSpace,
    #[error("the reader of the index panicked")]
    Panic,
}

/// What is done about trouble.
enum Remedy {
    /// The index is built anew, at once.
    Anew,
    /// It stays as it is, and is fed again after a while.
    LaterOn,
    /// Nothing, until a restart or until somebody wants it built anew.
    OnDemand,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fed {
    All,
    /// There is more.
    Part,
    Stopped,
}

/// What ends a wait.
enum News {
    Journal,
    Wanted,
    /// Too much of the index is in memory.
    Crowded,
    End,
}

impl Feeder {
    /// Runs until the archive closes.
    pub(in crate::archive) fn run(mut self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the search index is fed at full weight");
        }
        let mut rebuilds = 0;
        while let Err(trouble) = self.guarded(&mut rebuilds) {
            self.shared.progress.abandon();
            let goes_on = match self.remedy(&trouble, rebuilds) {
                Remedy::Anew => {
                    rebuilds += 1;
                    tracing::warn!(reason = %trouble, "the search index is built anew");
                    self.start_over() || self.give_up("its folder can not be emptied")
                }
                Remedy::LaterOn => {
                    tracing::warn!(reason = %trouble, "the search index waits for room on the disk");
                    self.rest(Some(SPACE_PAUSE))
                }
                Remedy::OnDemand => {
                    rebuilds = 0;
                    self.give_up(&trouble.to_string())
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Waits until somebody wants the index built anew and its folder can be emptied; `false` when
    /// there is to be an end.
    fn give_up(&self, reason: &str) -> bool {
        tracing::error!(
            reason,
            "the search index was given up until a restart or `waybill reindex`; searches get slower"
        );
        loop {
            self.shared.progress.give_up(true);
            self.shared.progress.abandon();
            if !self.rest(None) {
                return false;
            }
            if self.start_over() {
                return true;
            }
        }
    }

    fn remedy(&self, trouble: &Trouble, rebuilds: usize) -> Remedy {
        match trouble {
            Trouble::NoSpace => Remedy::LaterOn,
            // What is there is as good as it was: nothing is thrown away because the disk is full.
            Trouble::Index(_) if !(self.has_room)(SPARE_BYTES) => Remedy::LaterOn,
            Trouble::Records(_) => Remedy::OnDemand,
            Trouble::Index(_) | Trouble::OtherRecords | Trouble::Panic => {
                match rebuilds < MAX_REBUILDS {
                    true => Remedy::Anew,
                    false => Remedy::OnDemand,
                }
            }
        }
    }

    /// Empties the folder; `false` when that can not be done.
    fn start_over(&self) -> bool {
        self.shared.view.store(None);
        match folder::remove(&self.folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the folder of the search index can not be emptied");
                false
            }
        }
    }

    /// Waits for the end of a pause or for somebody who wants the index built anew; `false` when there
    /// is to be an end.
    fn rest(&self, pause: Option<Duration>) -> bool {
        let mut journal = self.journal.clone();
        // The writers end with the last handle of the archive.
        let ended = async { while journal.changed().await.is_ok() {} };
        let woken = async {
            tokio::select! {
                biased;
                goes_on = self.woken() => goes_on,
                () = ended => false,
            }
        };
        wait(woken, pause).unwrap_or(true)
    }

    /// Waits for somebody who wants the index built anew, `true`, or for the end.
    async fn woken(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = self.closing.closed() => false,
            () = self.shared.progress.wanted() => true,
        }
    }

    /// The same as `follow`: where files of the index are torn, tantivy may panic instead of saying so.
    fn guarded(&mut self, rebuilds: &mut usize) -> Result<(), Trouble> {
        let followed = catch_unwind(AssertUnwindSafe(|| self.follow(rebuilds)));
        followed.unwrap_or(Err(Trouble::Panic))
    }

    /// Feeds the index until there is trouble, or an end.
    fn follow(&mut self, rebuilds: &mut usize) -> Result<(), Trouble> {
        let unfinished = self.folder.with_extension("new");
        folder::remove(&unfinished).map_err(TantivyError::from)?;
        let mut index = OpenIndex::open(&self.folder, &self.shared.schema)?;
        self.check(&index)?;
        self.publish(&mut index)?;
        loop {
            if self.shared.progress.is_rebuild_wanted() {
                if self.rebuild(&mut index, &unfinished)? == Fed::Stopped {
                    return Ok(());
                }
                drop(index);
                folder::replace(&self.folder, &unfinished).map_err(TantivyError::from)?;
                index = OpenIndex::open(&self.folder, &self.shared.schema)?;
                self.publish(&mut index)?;
                self.shared.progress.rebuilt();
            }
            let is_behind = match self.feed(&mut index, true)? {
                Fed::Stopped => return Ok(()),
                Fed::Part => true,
                Fed::All => false,
            };
            if !self.relieve(&mut index)? && index.is_merging() {
                self.publish(&mut index)?;
            }
            if !is_behind {
                *rebuilds = 0;
                self.shared.progress.give_up(false);
                if !self.wait(&index) {
                    return Ok(());
                }
            }
        }
    }

    /// Records that came back from a backup do not have what the index has.
    fn check(&self, index: &OpenIndex) -> Result<(), Trouble> {
        let snapshot = self.database.begin_read().map_err(Failure::from)?;
        let reader = Reader::new(&snapshot)?;
        let Watermark { message, event } = index.watermark;
        let place = reader.messages().get(message.as_u128()).map_err(Failure::from)?;
        let is_known = message == MessageId::MIN || place.is_some();
        self.shared.progress.set(&reader, message, last_message(&reader)?)?;
        match is_known && event <= last_event(&snapshot)? {
            true => Ok(()),
            false => Err(Trouble::OtherRecords),
        }
    }

    /// Fills a new index beside the old one, which answers until then and is fed with what comes.
    fn rebuild(&self, old: &mut OpenIndex, unfinished: &std::path::Path) -> Result<Fed, Trouble> {
        folder::remove(unfinished).map_err(TantivyError::from)?;
        let mut index = OpenIndex::open(unfinished, &self.shared.schema)?;
        loop {
            match self.feed(&mut index, false)? {
                Fed::Part => {
                    index.merge_more()?;
                }
                Fed::Stopped => return Ok(Fed::Stopped),
                Fed::All => {
                    if self.merge_all(&mut index, old)? == Fed::Stopped {
                        return Ok(Fed::Stopped);
                    }
                    index.writer.wait_merging_threads()?;
                    return Ok(Fed::All);
                }
            }
            if self.feed(old, true)? == Fed::Stopped {
                return Ok(Fed::Stopped);
            }
            self.relieve(old)?;
        }
    }

    /// Merges as long as there is much: searches begin with an index that is whole.
    fn merge_all(&self, index: &mut OpenIndex, old: &mut OpenIndex) -> Result<Fed, Trouble> {
        let (mut segments, mut moved) = (0, Instant::now());
        loop {
            let left = index.merge_more()?;
            if left != segments {
                (segments, moved) = (left, Instant::now());
            }
            // One that failed has left its segments as they were.
            if !index.is_merging() || moved.elapsed() > MERGE_TIME {
                return Ok(Fed::All);
            }
            // The old one goes on to answer, and takes what comes.
            if self.feed(old, true)? == Fed::Stopped || !self.make_way() {
                return Ok(Fed::Stopped);
            }
            thread::sleep(MERGE_PAUSE);
        }
    }

    /// Lets searches see what is committed, and merges where there is much.
    fn publish(&self, index: &mut OpenIndex) -> Result<(), Trouble> {
        let view = index.view()?;
        index.merge(&view);
        view.open_words(&self.shared.schema)?;
        self.shared.view.store(Some(Arc::new(view)));
        Ok(())
    }

    /// Maps the index anew where searches have too much of it in memory; `true` where they had.
    fn relieve(&self, index: &mut OpenIndex) -> Result<bool, Trouble> {
        if !self.shared.maps.is_too_much() {
            return Ok(false);
        }
        index.map_anew()?;
        self.publish(index)?;
        self.shared.maps.begin_anew();
        Ok(true)
    }

    /// Adds the next messages, takes out what was erased, and commits.
    fn feed(&self, index: &mut OpenIndex, publish: bool) -> Result<Fed, Trouble> {
        if !(self.has_room)(SPARE_BYTES) {
            return Err(Trouble::NoSpace);
        }
        let snapshot = self.database.begin_read().map_err(Failure::from)?;
        self.shared.standings().catch_up(&snapshot)?;
        let reader = Reader::new(&snapshot)?;
        let last = last_message(&reader)?;
        let mut watermark = index.watermark;
        let last_event = last_event(&snapshot)?;
        // A new index meets what was erased before as erased.
        let erased = match watermark.event == Watermark::START.event {
            true => Vec::new(),
            false => erased(&snapshot, watermark.event, last_event)?,
        };
        self.take_out(&reader, index, &erased)?;
        let most = if publish { BATCH_TIME } else { REBUILD_TIME };
        let (begin, mut signed) = (Instant::now(), Instant::now());
        let (mut count, mut is_all) = (0, true);
        let from = watermark.message.as_u128().saturating_add(1);
        let is_burst = publish && has_more(&reader, from, BURST)?;
        if is_burst && self.sign()? == Fed::Stopped {
            return Ok(Fed::Stopped);
        }
        for entry in reader.messages().range(from..).map_err(Failure::from)? {
            if count % STRIDE == 0 && !self.make_way() {
                return Ok(Fed::Stopped);
            }
            if count >= BATCH || begin.elapsed() > most {
                is_all = false;
                break;
            }
            if signed.elapsed() > SIGN_PAUSE {
                if self.sign()? == Fed::Stopped {
                    return Ok(Fed::Stopped);
                }
                if publish {
                    self.relieve(index)?;
                }
                signed = Instant::now();
            }
            let id = MessageId::from_u128(entry.map_err(Failure::from)?.0.value());
            self.add(&reader, index, id)?;
            (watermark.message, count) = (id, count + 1);
        }
        watermark.event = last_event;
        if count > 0 || !erased.is_empty() {
            index.commit(watermark)?;
            if publish {
                self.publish(index)?;
            }
        } else {
            // Nothing to be made durable: these events are looked at again after a restart.
            index.watermark.event = last_event;
        }
        if publish {
            tail::write(&self.shared.tail).forget(watermark.message);
        }
        if publish != self.shared.progress.is_rebuild_wanted() {
            self.shared.progress.set(&reader, watermark.message, last)?;
        }
        Ok(if is_all { Fed::All } else { Fed::Part })
    }

    fn add(&self, reader: &Reader, index: &mut OpenIndex, id: MessageId) -> Result<(), Trouble> {
        if let Some((message, document)) = document::read(reader, &self.volumes, id, |_| true)? {
            let schema = &self.shared.schema;
            index.add(schema.document(id, message.sequence.0, &document))?;
        }
        Ok(())
    }

    /// Makes signatures of what came meanwhile, so that a search need not read it. That comes before the
    /// index, which costs several times as much: in a burst, messages are found because of it.
    fn sign(&self) -> Result<Fed, Trouble> {
        loop {
            if !self.make_way() {
                return Ok(Fed::Stopped);
            }
            let snapshot = self.database.begin_read().map_err(Failure::from)?;
            let reader = Reader::new(&snapshot)?;
            let (tail, watermark) = (&self.shared.tail, self.shared.watermark());
            let signed = tail::catch_up(tail, &reader, &self.volumes, watermark, SIGNED_AT_ONCE)?;
            if signed < SIGNED_AT_ONCE || tail::read(tail).is_full() {
                return Ok(Fed::Part);
            }
        }
    }

    fn take_out(
        &self,
        reader: &Reader,
        index: &OpenIndex,
        erased: &[MessageId],
    ) -> Result<(), Trouble> {
        for id in erased {
            if let Some(message) = reader.readable(*id)? {
                let term = Term::from_field_u64(self.shared.schema.sequence, message.sequence.0);
                index.writer.delete_term(term);
            }
        }
        Ok(())
    }

    /// Lets messages go first that are on their way in; `false` when there is to be an end.
    fn make_way(&self) -> bool {
        for _ in 0..WAYS {
            let is_over = self.journal.has_changed().is_err();
            if is_over || self.stop.is_cancelled() || self.closing.reason().is_some() {
                return false;
            }
            if self.on_the_way.load(Ordering::Relaxed) == 0 {
                break;
            }
            thread::sleep(WAY);
        }
        true
    }

    async fn news(&self, journal: &mut watch::Receiver<Sequence>) -> News {
        tokio::select! {
            biased;
            goes_on = self.woken() => match goes_on {
                true => News::Wanted,
                false => News::End,
            },
            () = self.shared.maps.crowded() => News::Crowded,
            changed = journal.changed() => match changed {
                Ok(()) => News::Journal,
                Err(_) => News::End,
            },
        }
    }

    /// Waits for something to do; `false` when there is to be an end.
    fn wait(&mut self, index: &OpenIndex) -> bool {
        let pause = index.is_merging().then_some(MERGE_PAUSE);
        let mut journal = self.journal.clone();
        let news = wait(self.news(&mut journal), pause);
        self.journal = journal;
        match news {
            None | Some(News::Wanted | News::Crowded) => true,
            Some(News::End) => false,
            Some(News::Journal) => wait(self.woken(), Some(PAUSE)).unwrap_or(true),
        }
    }
}

fn has_more(reader: &Reader, from: u128, count: usize) -> Result<bool, Failure> {
    Ok(reader.messages().range(from..)?.nth(count).transpose()?.is_some())
}

fn last_message(reader: &Reader) -> Result<MessageId, Failure> {
    let last = reader.messages().last()?.map_or(0, |(id, _)| id.value());
    Ok(MessageId::from_u128(last))
}

fn last_event(snapshot: &ReadTransaction) -> Result<Sequence, Failure> {
    let events = snapshot.open_table(tables::EVENTS)?;
    Ok(Sequence(events.last()?.map_or(0, |(number, _)| number.value())))
}

/// Messages whose content was taken away by events behind `after`.
fn erased(
    snapshot: &ReadTransaction,
    after: Sequence,
    last: Sequence,
) -> Result<Vec<MessageId>, Failure> {
    let mut found = Vec::new();
    if after >= last {
        return Ok(found);
    }
    for entry in snapshot.open_table(tables::EVENTS)?.range(after.0 + 1..=last.0)? {
        let (number, bytes) = entry?;
        let Ok(stored) = StoredEvent::decode(bytes.value()) else { continue };
        match stored.event(Sequence(number.value())) {
            Ok(event) if event.kind == EventKind::Deleted => found.push(event.message),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}
