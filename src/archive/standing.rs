//! Where all recipients of one message stand, and how a change of it is written.
//!
//! Every change of a recipient goes through `save`, which keeps the queue, the status index, the
//! claims and the counters in step with the states in the same transaction.

use std::collections::BTreeSet;

use redb::ReadableTable;

use super::message::Event;
use super::stored::{Corrupt, Record, StoredEvent, StoredProgress, StoredReceipts, StoredStates};
use super::tables;
use super::writer::{Batch, Failure};
use crate::lifecycle::{Input, Note, Progress, Refusal, step};
use crate::model::{MessageId, RecipientState, Sequence, Status, Timestamp};

/// One recipient with what is remembered of its last attempt.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub progress: Progress,
    pub last_upstream: Option<String>,
    pub last_reply: Option<String>,
}

impl Entry {
    /// A recipient that was just accepted.
    pub(super) fn new(state: RecipientState, accepted_at: Timestamp) -> Entry {
        let first_due_at = state.wakes_at().unwrap_or(accepted_at);
        let progress = Progress::new(state, first_due_at);
        Entry { progress, last_upstream: None, last_reply: None }
    }
}

/// All recipients of one message.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub id: MessageId,
    pub entries: Vec<Entry>,
    /// What waits longer than this expires; only an SMS has it.
    pub valid_until: Option<Timestamp>,
}

impl Standing {
    pub(super) fn decode(id: MessageId, bytes: &[u8]) -> Result<Standing, Corrupt> {
        let stored = StoredStates::decode(bytes)?;
        let valid_until = stored.valid_until();
        let entries = stored.recipients.iter().map(|one| {
            Ok(Entry {
                progress: one.progress()?,
                last_upstream: one.last_upstream.clone(),
                last_reply: one.last_reply.clone(),
            })
        });
        let mut entries = entries.collect::<Result<Vec<_>, Corrupt>>()?;
        for receipts in stored.receipts {
            if let Some(entry) = entries.get_mut(receipts.recipient()) {
                receipts.tell(&mut entry.progress);
            }
        }
        for (index, at) in stored.sent_at {
            if let Some(entry) = entries.get_mut(usize::from(index)) {
                entry.progress.sent_at = Some(Timestamp::from_millis(at));
            }
        }
        Ok(Standing { id, entries, valid_until })
    }

    /// Reads it for a change.
    pub(super) fn load(batch: &Batch<'_>, id: MessageId) -> Result<Option<Standing>, Failure> {
        let Some(bytes) = batch.states.get(id.as_u128())? else { return Ok(None) };
        Ok(Some(Standing::decode(id, bytes.value())?))
    }

    pub(super) fn status(&self) -> Status {
        Status::of_message(self.entries.iter().map(|e| e.progress.state.status()))
    }

    /// One transition of one recipient; its event is appended when it is granted. Gives the state
    /// that it leads to.
    pub(super) fn step(
        &mut self,
        batch: &mut Batch<'_>,
        recipient: u16,
        now: Timestamp,
        input: &Input<'_>,
        by: Option<&str>,
    ) -> Result<Result<RecipientState, Refusal>, Failure> {
        self.step_because(batch, recipient, now, input, (by, None))
    }

    /// The same, with who does it and why.
    pub(super) fn step_because(
        &mut self,
        batch: &mut Batch<'_>,
        recipient: u16,
        now: Timestamp,
        input: &Input<'_>,
        (by, reason): (Option<&str>, Option<&str>),
    ) -> Result<Result<RecipientState, Refusal>, Failure> {
        let Some(entry) = self.entries.get_mut(usize::from(recipient)) else {
            return Ok(Err(Refusal(format!("there is no recipient {recipient}"))));
        };
        let granted = match step(&entry.progress, now, input) {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let state = granted.next.state.clone();
        entry.progress = granted.next;
        if let Some(mut note) = granted.note {
            note.detail = note.detail.or(reason.map(str::to_owned));
            if note.upstream.is_some() {
                entry.last_upstream = note.upstream.as_ref().map(ToString::to_string);
                entry.last_reply = note.reply.as_ref().map(ToString::to_string);
            }
            StoredEvent::append(batch, event_of(self.id, now, Some(recipient), note, by))?;
        }
        Ok(Ok(state))
    }

    /// Writes it. `before` is what was loaded; `None` for a new message.
    pub(super) fn save(
        &self,
        batch: &mut Batch<'_>,
        before: Option<&Standing>,
    ) -> Result<(), Failure> {
        let id = self.id.as_u128();
        let stored = self.entries.iter().map(|entry| {
            let (upstream, reply) = (entry.last_upstream.clone(), entry.last_reply.clone());
            StoredProgress::new(&entry.progress, upstream, reply)
        });
        let receipts = (0..).zip(&self.entries);
        let receipts =
            receipts.filter_map(|(index, entry)| StoredReceipts::new(index, &entry.progress));
        let sent_at = (0..).zip(&self.entries);
        let sent_at =
            sent_at.filter_map(|(index, entry)| Some((index, entry.progress.sent_at?.as_millis())));
        let (stored, receipts) = (stored.collect(), receipts.collect());
        let stored = StoredStates::new(stored, receipts, self.valid_until, sent_at.collect());
        let bytes = stored.encode();
        batch.states.insert(id, &bytes[..])?;
        self.save_validity(batch, before)?;
        let (was, is) = (before.map(Standing::wakes).unwrap_or_default(), self.wakes());
        for at in was.difference(&is) {
            batch.due.remove((*at, id))?;
        }
        for at in is.difference(&was) {
            batch.due.insert((*at, id), ())?;
        }
        match (before.is_some_and(Standing::is_claimed), self.is_claimed()) {
            (false, true) => drop(batch.claims.insert(id, ())?),
            (true, false) => drop(batch.claims.remove(id)?),
            (false, false) | (true, true) => {}
        }
        let status = status_key(self.status());
        match before.map(|before| status_key(before.status())) {
            Some(earlier) if earlier == status => {}
            Some(earlier) => {
                batch.by_status.remove((earlier, id))?;
                batch.by_status.insert((status, id), ())?;
            }
            None => drop(batch.by_status.insert((status, id), ())?),
        }
        let counters = batch.memory.counters();
        for entry in before.iter().flat_map(|before| &before.entries) {
            counters.leave(&entry.progress.state);
        }
        self.entries.iter().for_each(|entry| counters.enter(&entry.progress.state));
        Ok(())
    }

    /// The row of what expires; the table is touched only where a row comes or goes.
    fn save_validity(
        &self,
        batch: &mut Batch<'_>,
        before: Option<&Standing>,
    ) -> Result<(), Failure> {
        let (was, is) = (before.and_then(Standing::expires), self.expires());
        if was == is {
            return Ok(());
        }
        let id = self.id.as_u128();
        let mut validity = batch.transaction.open_table(tables::VALIDITY)?;
        if let Some(at) = was {
            validity.remove((at, id))?;
        }
        if let Some(at) = is {
            validity.insert((at, id), ())?;
        }
        Ok(())
    }

    /// When what waits of it expires. What is claimed is judged first, and then it waits again or
    /// has come to an end.
    fn expires(&self) -> Option<u64> {
        let waits = |e: &Entry| {
            matches!(e.progress.state, RecipientState::Held { .. } | RecipientState::Due { .. })
        };
        let at = self.valid_until.filter(|_| self.entries.iter().any(waits))?;
        Some(at.as_millis().unsigned_abs())
    }

    fn wakes(&self) -> BTreeSet<u64> {
        let wakes = self.entries.iter().filter_map(|entry| entry.progress.state.wakes_at());
        wakes.map(|at| at.as_millis().unsigned_abs()).collect()
    }

    fn is_claimed(&self) -> bool {
        let claimed = |e: &Entry| matches!(e.progress.state, RecipientState::Claimed { .. });
        self.entries.iter().any(claimed)
    }
}

/// The event that tells a transition; its number is given when it is appended.
pub(super) fn event_of(
    message: MessageId,
    at: Timestamp,
    recipient: Option<u16>,
    note: Note,
    by: Option<&str>,
) -> Event {
    Event {
        sequence: Sequence(0),
        message,
        at,
        kind: note.kind,
        recipient,
        by: by.map(str::to_owned),
        upstream: note.upstream,
        reply: note.reply.map(|reply| reply.to_string()),
        detail: note.detail,
        digest: note.digest,
        automated: note.automated,
    }
}

/// The stored number of a status; it never changes.
pub(super) fn status_key(status: Status) -> u8 {
    match status {
        Status::NotSent => 0,
        Status::Pending => 1,
        Status::Sent => 2,
        Status::Stopped => 3,
        Status::Failed => 4,
    }
}
