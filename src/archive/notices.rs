//! What senders are told by mail of what became of theirs: up to where of the journal they were.
//!
//! The messages that tell it and the place in the journal move in one transaction, so that no event is
//! told twice or never. What happened before this was first asked of an archive is told to nobody.

use redb::ReadableTable;

use super::accept::Once;
use super::standing::Standing;
use super::stored::Corrupt;
use super::tables::{META, NOTIFIED_UNTIL};
use super::writer::{Batch, Failure, Urgency};
use super::{Acceptance, Accepted, Archive, ArchiveError, Durable};
use crate::model::{MessageId, RecipientState, Sequence};

impl Archive {
    /// The last event of which senders were told; the first call of all puts it at the journal's end.
    pub async fn notified_until(&self) -> Result<Sequence, ArchiveError> {
        self.write(Urgency::Soon, |batch| {
            if let Some(until) = until(batch)? {
                return Ok(until);
            }
            let end = batch.memory.last_event();
            put(batch, end)?;
            Ok(end)
        })
        .await
    }

    /// Makes the messages durable that tell of the events up to here, and that they were told; gives
    /// their ids, none where that was done before.
    pub async fn notify(
        &self,
        notices: Vec<Acceptance>,
        until: Sequence,
    ) -> Result<Vec<Durable<MessageId>>, ArchiveError> {
        if notices.is_empty() {
            let done = self.write(Urgency::Soon, move |batch| advance(batch, until)).await;
            return done.map(|_| Vec::new());
        }
        match self.accept_once(notices, Once::Journal(until)).await? {
            Accepted::New(ids) => Ok(ids),
            Accepted::Repeated(_) | Accepted::Conflict => Ok(Vec::new()),
        }
    }
}

/// Moves the place; false when it was there before.
pub(super) fn advance(batch: &Batch<'_>, to: Sequence) -> Result<bool, Failure> {
    if until(batch)?.is_some_and(|until| until >= to) {
        return Ok(false);
    }
    put(batch, to)?;
    Ok(true)
}

fn until(batch: &Batch<'_>) -> Result<Option<Sequence>, Failure> {
    let meta = batch.transaction.open_table(META)?;
    let Some(bytes) = meta.get(NOTIFIED_UNTIL)? else { return Ok(None) };
    let bytes = bytes.value().try_into();
    let number = bytes.map_err(|_| Corrupt::new("number", NOTIFIED_UNTIL))?;
    Ok(Some(Sequence(u64::from_be_bytes(number))))
}

fn put(batch: &Batch<'_>, until: Sequence) -> Result<(), Failure> {
    let mut meta = batch.transaction.open_table(META)?;
    meta.insert(NOTIFIED_UNTIL, &until.0.to_be_bytes()[..])?;
    Ok(())
}

/// In words, for the event of the acceptance: that not everybody gets it.
pub(super) fn not_sent(standing: &Standing) -> Option<String> {
    let is_left_out = |state: &RecipientState| matches!(state, RecipientState::NotSent { .. });
    let left_out = standing.entries.iter().filter(|entry| is_left_out(&entry.progress.state));
    let (count, all) = (left_out.count(), standing.entries.len());
    (count > 0).then(|| format!("not sent to {count} of {all} recipients"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{acceptance, settings};

    #[tokio::test]
    async fn what_was_told_is_not_told_again_and_the_past_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let notice = |number| acceptance(number, 1, format!("notice {number}").into());
        archive.accept(notice(0)).await.unwrap();
        assert_eq!(archive.notified_until().await.unwrap(), Sequence(1));
        assert!(archive.notify(vec![notice(1)], Sequence(1)).await.unwrap().is_empty());
        assert_eq!(archive.extent().unwrap().messages, 1);
        assert_eq!(archive.notify(vec![notice(1), notice(2)], Sequence(4)).await.unwrap().len(), 2);
        assert!(archive.notify(vec![notice(1), notice(2)], Sequence(4)).await.unwrap().is_empty());
        assert!(archive.notify(Vec::new(), Sequence(3)).await.unwrap().is_empty());
        archive.close().await;
        let archive = Archive::open(&settings(dir.path())).unwrap();
        assert_eq!(archive.notified_until().await.unwrap(), Sequence(4));
        assert!(archive.notify(vec![notice(3)], Sequence(4)).await.unwrap().is_empty());
        assert!(archive.notify(Vec::new(), Sequence(6)).await.unwrap().is_empty());
        assert_eq!(archive.notified_until().await.unwrap(), Sequence(6));
        assert_eq!(archive.extent().unwrap().messages, 3);
    }
}
