//! One action on many messages, as a job that survives a restart.
//!
//! A step acts on some messages, notes what became of each, and moves the place of the job, all in one
//! transaction: so after a crash the job goes on where it was, and no message is acted on twice or told
//! with another's result. What the messages are is the business of whoever takes the steps.

use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::queue;
use super::stored::{Corrupt, Record};
use super::tables::{BULK_ITEMS, BULKS};
use super::writer::{Batch, Failure, Urgency};
use super::{Action, ActionKind, ActionRefusal, Archive, ArchiveError, Page};
use crate::model::{AppName, MessageId, Timestamp};

/// Jobs that run or wait at one time.
const MAX_RUNNING: usize = 100;
/// Jobs that are kept; the oldest finished ones go when there are more.
const MAX_KEPT: usize = 1_000;
/// Messages of a job that is not kept any longer, which go in one transaction: a job may have had as
/// many as the archive, and mail waits behind each transaction.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkState {
    Running,
    Done,
    Cancelled,
}

impl BulkState {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            BulkState::Running => "running",
            BulkState::Done => "done",
            BulkState::Cancelled => "cancelled",
        }
    }
}

/// A job to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBulk {
    pub kind: ActionKind,
    /// Only say what would be done.
    pub dry_run: bool,
    /// The parameters of the list, as they stand in a URL.
    pub query: String,
    /// What its maker may see; `None` is all.
    pub apps: Option<Vec<AppName>>,
    pub by: String,
    pub at: Timestamp,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Grows with time; no two share it.
    pub id: u64,
    pub what: NewBulk,
    pub state: BulkState,
    /// The last message that was looked at.
    pub after: Option<MessageId>,
    pub done: u64,
    pub refused: u64,
    pub finished_at: Option<Timestamp>,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkOutcome {
    Done,
    /// It would be done; only of a dry run.
    Possible,
    Refused(String),
}

/// One message of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkItem {
    pub message: MessageId,
    pub outcome: BulkOutcome,
}

/// The next messages of a job.
#[derive(Clone, Debug, Default)]
pub struct BulkStep {
    /// Where the job stood when this step was thought of; if it stands elsewhere, nothing is done.
    pub after: Option<MessageId>,
    pub messages: Vec<MessageId>,
    /// Those of them that are not there for the maker of the job.
    pub unseen: Vec<MessageId>,
    /// Where the next step begins; `None` ends the job.
    pub next: Option<MessageId>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredBulk {
    kind: u8,
    dry_run: bool,
    query: String,
    apps: Option<Vec<String>>,
    by: String,
    at: i64,
    state: BulkState,
    after: Option<u128>,
    done: u64,
    refused: u64,
    finished_at: Option<i64>,
}

impl Record for StoredBulk {
    const KIND: &'static str = "bulk action";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredBulkItem {
    message: u128,
    is_done: bool,
    why: Option<String>,
}

impl Record for StoredBulkItem {
    const KIND: &'static str = "item of a bulk action";
}

impl StoredBulk {
    fn new(bulk: &Bulk) -> StoredBulk {
        let what = &bulk.what;
        StoredBulk {
            kind: match what.kind {
                ActionKind::Stop => 0,
                ActionKind::Restart => 1,
                ActionKind::Release => 2,
            },
            dry_run: what.dry_run,
            query: what.query.clone(),
            apps: what.apps.as_ref().map(|apps| apps.iter().map(ToString::to_string).collect()),
            by: what.by.clone(),
            at: what.at.as_millis(),
            state: bulk.state,
            after: bulk.after.map(MessageId::as_u128),
            done: bulk.done,
            refused: bulk.refused,
            finished_at: bulk.finished_at.map(Timestamp::as_millis),
        }
    }

    pub(super) fn bulk(self, id: u64) -> Result<Bulk, Corrupt> {
        let kind = match self.kind {
            0 => ActionKind::Stop,
            1 => ActionKind::Restart,
            2 => ActionKind::Release,
            other => return Err(Corrupt::new("bulk action", format!("{other} is no action"))),
        };
        let app = |name: &String| {
            AppName::parse(name).ok_or_else(|| Corrupt::new("bulk action", format!("app {name}")))
        };
        let apps = self.apps.as_ref().map(|apps| apps.iter().map(app).collect());
        let what = NewBulk {
            kind,
            dry_run: self.dry_run,
            query: self.query,
            apps: apps.transpose()?,
            by: self.by,
            at: Timestamp::from_millis(self.at),
        };
        Ok(Bulk {
            id,
            what,
            state: self.state,
            after: self.after.map(MessageId::from_u128),
            done: self.done,
            refused: self.refused,
            finished_at: self.finished_at.map(Timestamp::from_millis),
        })
    }
}

impl Archive {
    /// Begins a job; nothing is done before its first step. `None`: too many are under way.
    pub async fn begin_bulk(&self, what: NewBulk) -> Result<Option<Bulk>, ArchiveError> {
        self.write_recorded(move |batch| begin(batch, what)).await
    }

    /// Acts on the next messages of a job. Gives the job as it stands then; `None` when there is no
    /// such job, or it is not running any more.
    pub async fn step_bulk(&self, id: u64, step: BulkStep) -> Result<Option<Bulk>, ArchiveError> {
        self.write(Urgency::Now, move |batch| take_step(batch, id, &step)).await
    }

    /// Ends a job where it stands; what was done stays done.
    pub async fn cancel_bulk(&self, id: u64, at: Timestamp) -> Result<Option<Bulk>, ArchiveError> {
        let cancel = move |batch: &mut Batch<'_>| {
            let Some(mut bulk) = load(batch, id)? else { return Ok(None) };
            if bulk.state == BulkState::Running {
                (bulk.state, bulk.finished_at) = (BulkState::Cancelled, Some(at));
                save(batch, &bulk)?;
            }
            Ok(Some(bulk))
        };
        self.write_recorded(cancel).await
    }

    /// Takes away what became of the messages of jobs that are not kept any longer, some at a time;
    /// whether there may be more.
    pub async fn forget_bulk_items(&self) -> Result<bool, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Option<u64>, Failure> {
            Ok(forgotten(&snapshot.open_table(BULKS)?, &snapshot.open_table(BULK_ITEMS)?)?)
        };
        match read(&self.snapshot()?)? {
            Some(id) => self.write(Urgency::Soon, move |batch| forget_items(batch, id)).await,
            None => Ok(false),
        }
    }

    /// One job.
    pub fn bulk(&self, id: u64) -> Result<Option<Bulk>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Option<Bulk>, Failure> {
            let Some(bytes) = snapshot.open_table(BULKS)?.get(id)? else { return Ok(None) };
            Ok(Some(StoredBulk::decode(bytes.value())?.bulk(id)?))
        };
        Ok(read(&self.snapshot()?)?)
    }

    /// Jobs before `before` for which `is_seen` says so, the newest first. One that can not be read is
    /// left out.
    pub fn bulks(
        &self,
        before: Option<u64>,
        limit: usize,
        is_seen: impl Fn(&Bulk) -> bool,
    ) -> Result<Page<Bulk, u64>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Page<Bulk, u64>, Failure> {
            let mut items: Vec<Bulk> = Vec::new();
            for row in snapshot.open_table(BULKS)?.range(..before.unwrap_or(u64::MAX))?.rev() {
                let (id, bytes) = row?;
                match StoredBulk::decode(bytes.value()).and_then(|bulk| bulk.bulk(id.value())) {
                    Ok(bulk) if is_seen(&bulk) && items.len() >= limit => {
                        let next = items.last().map(|bulk| bulk.id);
                        return Ok(Page { items, next });
                    }
                    Ok(bulk) if is_seen(&bulk) => items.push(bulk),
                    Ok(_) => {}
                    Err(error) => tracing::error!(id = id.value(), %error, "a job can not be read"),
                }
            }
            Ok(Page { items, next: None })
        };
        Ok(read(&self.snapshot()?)?)
    }

    /// The oldest job that is running and behind `after`. One that can not be read is left out.
    pub fn running_bulk(&self, after: u64) -> Result<Option<Bulk>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Option<Bulk>, Failure> {
            for row in snapshot.open_table(BULKS)?.range(after.saturating_add(1)..)? {
                let (id, bytes) = row?;
                match StoredBulk::decode(bytes.value()).and_then(|bulk| bulk.bulk(id.value())) {
                    Ok(bulk) if bulk.state == BulkState::Running => return Ok(Some(bulk)),
                    Ok(_) => {}
                    Err(error) => tracing::error!(id = id.value(), %error, "a job can not be read"),
                }
            }
            Ok(None)
        };
        Ok(read(&self.snapshot()?)?)
    }

    /// What became of its messages, in the order in which they came.
    pub fn bulk_items(
        &self,
        id: u64,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<BulkItem, u64>, ArchiveError> {
        let read = |snapshot: &ReadTransaction| -> Result<Page<BulkItem, u64>, Failure> {
            let is_dry = match snapshot.open_table(BULKS)?.get(id)? {
                Some(bytes) => StoredBulk::decode(bytes.value())?.dry_run,
                None => false,
            };
            let first = after.map_or(0, |after| after.saturating_add(1));
            let (mut items, mut last) = (Vec::new(), None);
            for row in snapshot.open_table(BULK_ITEMS)?.range((id, first)..=(id, u64::MAX))? {
                let (key, bytes) = row?;
                if items.len() >= limit {
                    return Ok(Page { items, next: last });
                }
                last = Some(key.value().1);
                let stored = StoredBulkItem::decode(bytes.value())?;
                let outcome = match (stored.is_done, is_dry) {
                    (true, false) => BulkOutcome::Done,
                    (true, true) => BulkOutcome::Possible,
                    (false, _) => BulkOutcome::Refused(stored.why.unwrap_or_default()),
                };
                items.push(BulkItem { message: MessageId::from_u128(stored.message), outcome });
            }
            Ok(Page { items, next: None })
        };
        Ok(read(&self.snapshot()?)?)
    }
}

fn begin(batch: &mut Batch<'_>, what: NewBulk) -> Result<Option<Bulk>, Failure> {
    let mut bulks = batch.transaction.open_table(BULKS)?;
    let all = bulks.iter()?.map(|row| {
        let (id, bytes) = row?;
        let is_running =
            StoredBulk::decode(bytes.value()).is_ok_and(|bulk| bulk.state == BulkState::Running);
        Ok((id.value(), is_running))
    });
    let all = all.collect::<Result<Vec<(u64, bool)>, redb::StorageError>>()?;
    if all.iter().filter(|(_, is_running)| *is_running).count() >= MAX_RUNNING {
        return Ok(None);
    }
    let surplus = (all.len() + 1).saturating_sub(MAX_KEPT);
    // Their messages go behind them (`forget_bulk_items`).
    for (old, _) in all.iter().filter(|(_, is_running)| !is_running).take(surplus) {
        bulks.remove(*old)?;
    }
    let id = all.last().map_or(0, |(id, _)| *id).saturating_add(1);
    let bulk = Bulk {
        id,
        what,
        state: BulkState::Running,
        after: None,
        done: 0,
        refused: 0,
        finished_at: None,
    };
    bulks.insert(id, &StoredBulk::new(&bulk).encode()[..])?;
    Ok(Some(bulk))
}

/// The first job that is gone and whose messages are still there.
fn forgotten(
    bulks: &impl ReadableTable<u64, &'static [u8]>,
    items: &impl ReadableTable<(u64, u64), &'static [u8]>,
) -> Result<Option<u64>, redb::StorageError> {
    let mut from = 0;
    while let Some(row) = items.range((from, 0)..)?.next() {
        let (id, _) = row?.0.value();
        if bulks.get(id)?.is_none() {
            return Ok(Some(id));
        }
        from = id.saturating_add(1);
    }
    Ok(None)
}

fn forget_items(batch: &mut Batch<'_>, id: u64) -> Result<bool, Failure> {
    let mut items = batch.transaction.open_table(BULK_ITEMS)?;
    let first = items.range((id, 0)..=(id, u64::MAX))?.take(FORGOTTEN_AT_ONCE);
    let keys = first.map(|row| Ok(row?.0.value()));
    let keys = keys.collect::<Result<Vec<(u64, u64)>, redb::StorageError>>()?;
    for key in keys {
        items.remove(key)?;
    }
    Ok(true)
}

fn load(batch: &Batch<'_>, id: u64) -> Result<Option<Bulk>, Failure> {
    let bulks = batch.transaction.open_table(BULKS)?;
    let Some(bytes) = bulks.get(id)? else { return Ok(None) };
    Ok(Some(StoredBulk::decode(bytes.value())?.bulk(id)?))
}

fn save(batch: &Batch<'_>, bulk: &Bulk) -> Result<(), Failure> {
    let mut bulks = batch.transaction.open_table(BULKS)?;
    bulks.insert(bulk.id, &StoredBulk::new(bulk).encode()[..])?;
    Ok(())
}

fn take_step(batch: &mut Batch<'_>, id: u64, step: &BulkStep) -> Result<Option<Bulk>, Failure> {
    let Some(mut bulk) = load(batch, id)? else { return Ok(None) };
    if bulk.state != BulkState::Running {
        return Ok(None);
    }
    if bulk.after != step.after {
        return Ok(Some(bulk));
    }
    for message in &step.messages {
        let action = Action {
            kind: bulk.what.kind,
            message: *message,
            recipients: None,
            by: bulk.what.by.clone(),
            reason: None,
            at: step.at,
        };
        let refusal = match bulk.what.dry_run {
            _ if step.unseen.contains(message) => Ok(Err(ActionRefusal::NoSuchMessage)),
            true => queue::would_act(batch, &action),
            false => queue::act(batch, &action),
        };
        let why = match refusal {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => Some(refusal.to_string()),
            // It was read before anything was written.
            Err(Failure::Corrupt(corrupt)) => {
                tracing::error!(id = %message, error = %corrupt, "a message can not be acted on");
                Some("it can not be read".to_owned())
            }
            Err(failure @ Failure::Storage(_)) => return Err(failure),
        };
        let number = bulk.done.saturating_add(bulk.refused);
        let is_done = why.is_none();
        *(if is_done { &mut bulk.done } else { &mut bulk.refused }) += 1;
        let item = StoredBulkItem { message: message.as_u128(), is_done, why };
        let mut items = batch.transaction.open_table(BULK_ITEMS)?;
        items.insert((id, number), &item.encode()[..])?;
    }
    match step.next {
        Some(next) => bulk.after = Some(next),
        None => (bulk.state, bulk.finished_at) = (BulkState::Done, Some(step.at)),
    }
    save(batch, &bulk)?;
    Ok(Some(bulk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::archive::tests::{acceptance, at, settings};
    use crate::model::Status;

    fn new(kind: ActionKind, dry_run: bool) -> NewBulk {
        let by = "user anna".to_owned();
        NewBulk { kind, dry_run, query: "status=pending".into(), apps: None, by, at: at(9) }
    }

    #[tokio::test]
    async fn a_job_goes_on_after_a_restart_and_tells_of_each_message() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let mut ids = Vec::new();
        for number in 0..4 {
            let mail = acceptance(number, 1, Bytes::from("Subject: x\r\n\r\nx\r\n"));
            ids.push(archive.accept(mail).await.unwrap().get());
        }
        let bulk = archive.begin_bulk(new(ActionKind::Stop, false)).await.unwrap().unwrap();
        let step = |after, messages: &[MessageId], next| BulkStep {
            after,
            messages: messages.to_vec(),
            unseen: Vec::new(),
            next,
            at: at(10),
        };
        archive.step_bulk(bulk.id, step(None, &ids[..2], Some(ids[1]))).await.unwrap().unwrap();
        let late = archive.step_bulk(bulk.id, step(None, &ids[..2], None)).await.unwrap().unwrap();
        assert_eq!((late.done, late.refused), (2, 0), "the same step is not taken twice");
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let found = archive.running_bulk(0).unwrap().unwrap();
        assert_eq!((found.after, found.done, &found.what), (Some(ids[1]), 2, &bulk.what));
        let unknown = MessageId::from_u128(7);
        let rest = [ids[1], ids[2], unknown, ids[3]];
        let ended =
            archive.step_bulk(bulk.id, step(Some(ids[1]), &rest, None)).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.done, ended.refused), (BulkState::Done, 4, 2));
        assert_eq!(archive.step_bulk(bulk.id, step(None, &ids, None)).await.unwrap(), None);
        assert_eq!(archive.running_bulk(0).unwrap(), None);
        let first = archive.bulk_items(bulk.id, None, 4).unwrap();
        let second = archive.bulk_items(bulk.id, first.next, 4).unwrap();
        assert_eq!((first.items.len(), second.items.len(), second.next), (4, 2, None));
        assert_eq!(first.items[0].outcome, BulkOutcome::Done);
        assert!(
            matches!(&first.items[2].outcome, BulkOutcome::Refused(why) if why.contains("stopped"))
        );
        assert!(
            matches!(&second.items[0].outcome, BulkOutcome::Refused(why) if why.contains("no such"))
        );
        for id in ids {
            assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Stopped);
        }
    }

    #[tokio::test]
    async fn a_dry_run_changes_nothing_and_a_cancelled_job_does_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let mail = acceptance(1, 1, Bytes::from("Subject: x\r\n\r\nx\r\n"));
        let id = archive.accept(mail).await.unwrap().get();
        let step =
            BulkStep { messages: vec![id], next: Some(id), at: at(10), ..BulkStep::default() };
        let dry = archive.begin_bulk(new(ActionKind::Stop, true)).await.unwrap().unwrap();
        let told = archive.step_bulk(dry.id, step.clone()).await.unwrap().unwrap();
        assert_eq!((told.done, told.refused), (1, 0));
        let items = archive.bulk_items(dry.id, None, 9).unwrap().items;
        assert_eq!(items, [BulkItem { message: id, outcome: BulkOutcome::Possible }]);
        let real = archive.begin_bulk(new(ActionKind::Stop, false)).await.unwrap().unwrap();
        let ended = archive.cancel_bulk(real.id, at(11)).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.finished_at), (BulkState::Cancelled, Some(at(11))));
        assert_eq!(archive.step_bulk(real.id, step).await.unwrap(), None);
        assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::Pending);
        assert_eq!(archive.cancel_bulk(99, at(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_became_of_the_messages_of_an_old_job_goes_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let old = archive.begin_bulk(new(ActionKind::Stop, true)).await.unwrap().unwrap().id;
        let kept = archive.begin_bulk(new(ActionKind::Stop, true)).await.unwrap().unwrap().id;
        assert!(!archive.forget_bulk_items().await.unwrap(), "both are kept");
        let fill = move |batch: &mut Batch<'_>| {
            batch.transaction.open_table(BULKS)?.remove(old)?;
            let mut items = batch.transaction.open_table(BULK_ITEMS)?;
            let item = StoredBulkItem { message: 7, is_done: true, why: None }.encode();
            for number in 0..FORGOTTEN_AT_ONCE as u64 + 1 {
                items.insert((old, number), &item[..])?;
                items.insert((kept, number), &item[..])?;
            }
            Ok(())
        };
        archive.write(Urgency::Now, fill).await.unwrap();
        let left = |id| archive.bulk_items(id, None, usize::MAX).unwrap().items.len();
        assert!(archive.forget_bulk_items().await.unwrap());
        assert_eq!(left(old), 1, "one transaction takes only so many");
        assert!(archive.forget_bulk_items().await.unwrap());
        assert!(!archive.forget_bulk_items().await.unwrap());
        assert_eq!((left(old), left(kept)), (0, FORGOTTEN_AT_ONCE + 1));
    }
}
