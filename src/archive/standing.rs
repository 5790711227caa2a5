//! Where all recipients of one message stand, and how a change of it is written.
//!
//! Every change of a recipient goes through `save`, which keeps the queue, the status index, the
//! claims and the counters in step with the states in the same transaction.

use std::collections::BTreeSet;

use redb::ReadableTable;

use super::message::Event;
use super::stored::{Corrupt, Record, StoredEvent, StoredProgress, StoredStates};
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
        let progress = Progress {
            state,
            attempts: 0,
            rounds: 0,
            first_due_at,
            possible_duplicate: false,
            crashes: 0,
        };
        Entry { progress, last_upstream: None, last_reply: None }
    }
}

/// All recipients of one message.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub id: MessageId,
    pub entries: Vec<Entry>,
}

impl Standing {
    pub(super) fn decode(id: MessageId, bytes: &[u8]) -> Result<Standing, Corrupt> {
        let entries = StoredStates::decode(bytes)?.0.into_iter().map(|stored| {
            Ok(Entry {
                progress: stored.progress()?,
                last_upstream: stored.last_upstream,
                last_reply: stored.last_reply,
            })
        });
        Ok(Standing { id, entries: entries.collect::<Result<Vec<_>, Corrupt>>()? })
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
        let Some(entry) = self.entries.get_mut(usize::from(recipient)) else {
            return Ok(Err(Refusal(format!("there is no recipient {recipient}"))));
        };
        let granted = match step(&entry.progress, now, input) {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let state = granted.next.state.clone();
        entry.progress = granted.next;
        if let Some(note) = granted.note {
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
        let bytes = StoredStates(stored.collect()).encode();
        batch.states.insert(id, &bytes[..])?;
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
