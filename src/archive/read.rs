//! Reading: one message, its bytes, its events, the queue.
//!
//! Reads run on the caller's thread over a snapshot, and never wait for the writer.

use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::hits::Traces;
use super::memory::Counters;
use super::message::{Event, Message, Recipient};
use super::queue::StoredPause;
use super::standing::{Standing, status_key};
use super::stored::{Record, StoredBody, StoredEvent, StoredMessage};
use super::volume::Volumes;
use super::writer::Failure;
use super::{ArchiveError, DueEntry, Page, QueueView, tables};
use crate::model::{
    Digest, Engagement, MessageId, RecipientState, Sequence, Status, Timestamp, UpstreamName,
};

/// How many of the oldest pending messages are looked at for one that is not held.
const OLDEST_LOOKED_AT: usize = 1_000;
/// Wake-up times in the queue's view.
const NEXT_ATTEMPTS: usize = 10;

impl From<Failure> for ArchiveError {
    fn from(failure: Failure) -> ArchiveError {
        match failure {
            Failure::Corrupt(corrupt) => corrupt.into(),
            Failure::Storage(error) => {
                ArchiveError::Storage { operation: "read the records", source: Box::new(error) }
            }
        }
    }
}

/// Where the bytes of a message lie, for one read soon after; not a thing to keep.
#[derive(Clone, Debug)]
pub struct Content {
    body: StoredBody,
    digest: [u8; 32],
}

/// The tables that make up a message, in one snapshot.
pub(super) struct Reader {
    messages: ReadOnlyTable<u128, &'static [u8]>,
    states: ReadOnlyTable<u128, &'static [u8]>,
    traces: Traces,
}

impl Reader {
    pub(super) fn new(snapshot: &ReadTransaction) -> Result<Reader, Failure> {
        Ok(Reader {
            messages: snapshot.open_table(tables::MESSAGES)?,
            states: snapshot.open_table(tables::STATES)?,
            traces: Traces::new(snapshot)?,
        })
    }

    pub(super) fn messages(&self) -> &ReadOnlyTable<u128, &'static [u8]> {
        &self.messages
    }

    pub(super) fn message(&self, id: MessageId) -> Result<Option<Message>, Failure> {
        let Some(stored) = self.messages.get(id.as_u128())? else { return Ok(None) };
        let stored = StoredMessage::decode(stored.value())?;
        Ok(Some(self.assemble(id, &stored)?))
    }

    /// The same with the place of its bytes, at the price of one look.
    pub(super) fn with_content(
        &self,
        id: MessageId,
    ) -> Result<Option<(Message, Content)>, Failure> {
        let Some(stored) = self.messages.get(id.as_u128())? else { return Ok(None) };
        let stored = StoredMessage::decode(stored.value())?;
        let message = self.assemble(id, &stored)?;
        Ok(Some((message, Content { body: stored.body, digest: stored.digest })))
    }

    fn assemble(&self, id: MessageId, stored: &StoredMessage) -> Result<Message, Failure> {
        let mut message = assemble(id, stored, self.standing(id)?)?;
        for (recipient, engagement) in self.traces.of(id)? {
            if let Some(recipient) = message.recipients.get_mut(usize::from(recipient)) {
                recipient.engagement = engagement;
            }
        }
        Ok(message)
    }

    fn standing(&self, id: MessageId) -> Result<Standing, Failure> {
        Ok(match self.states.get(id.as_u128())? {
            Some(states) => Standing::decode(id, states.value())?,
            None => Standing { id, entries: Vec::new(), valid_until: None },
        })
    }

    /// One of many messages: a damaged one is left out, with a line in the log, so that it does not
    /// hide all others.
    pub(super) fn readable(&self, id: MessageId) -> Result<Option<Message>, Failure> {
        match self.message(id) {
            Err(Failure::Corrupt(error)) => {
                tracing::error!(%id, %error, "a message can not be read");
                Ok(None)
            }
            read @ (Ok(_) | Err(Failure::Storage(_))) => read,
        }
    }

    pub(super) fn content(&self, id: MessageId) -> Result<Option<Content>, Failure> {
        let Some(stored) = self.messages.get(id.as_u128())? else { return Ok(None) };
        let stored = StoredMessage::decode(stored.value())?;
        // What was erased has no bytes.
        let content = Content { body: stored.body, digest: stored.digest };
        Ok(stored.redacted_at.is_none().then_some(content))
    }
}

pub(super) fn assemble(
    id: MessageId,
    stored: &StoredMessage,
    standing: Standing,
) -> Result<Message, Failure> {
    let mut recipients = Vec::with_capacity(standing.entries.len());
    for ((name, kind), (index, entry)) in stored.recipients().zip((0u16..).zip(standing.entries)) {
        let progress = entry.progress;
        let sent_at = progress.sent_at();
        recipients.push(Recipient {
            index,
            name,
            kind,
            state: progress.state,
            attempts: progress.attempts,
            first_due_at: progress.first_due_at,
            upstream: entry.last_upstream.as_deref().and_then(UpstreamName::parse),
            reply: entry.last_reply,
            possible_duplicate: progress.possible_duplicate,
            sent_at,
            delivered_at: progress.delivered_at,
            parts: progress.parts,
            engagement: Engagement::default(),
        });
    }
    Ok(Message {
        id,
        sequence: Sequence(stored.sequence),
        leaf: Digest(stored.leaf),
        accepted_at: Timestamp::from_millis(stored.accepted_at),
        direction: stored.direction(),
        app: stored.app()?,
        medium: stored.medium()?,
        client: stored.client(),
        size_bytes: stored.size_bytes,
        digest: Digest(stored.digest),
        summary: stored.summary(),
        recipients,
        references: stored.references(),
        tag: stored.tag(),
        on_behalf_of: stored.on_behalf_of(),
        policy: stored.policy(),
        resend_of: stored.resend_of(),
        duplicate_of: stored.duplicate_of.map(MessageId::from_u128),
        redacted_at: stored.redacted_at.map(Timestamp::from_millis),
        deleted_at: stored.deleted_at.map(Timestamp::from_millis),
    })
}

/// The bytes as submitted, joined again and checked against their digest.
pub(super) fn raw(volumes: &Volumes, content: &Content) -> Result<Bytes, ArchiveError> {
    let StoredBody { own, shared } = &content.body;
    let own = own.map(|at| volumes.read(at)).transpose()?.unwrap_or_default();
    let raw = if shared.is_empty() {
        own
    } else {
        let mut raw = Vec::with_capacity(own.len());
        let mut rest = &own[..];
        for (offset, location) in shared {
            let gap = usize::try_from(*offset).unwrap_or(usize::MAX).saturating_sub(raw.len());
            let (before, after) = rest.split_at(gap.min(rest.len()));
            raw.extend_from_slice(before);
            raw.extend_from_slice(&volumes.read(*location)?);
            rest = after;
        }
        raw.extend_from_slice(rest);
        raw
    };
    match Digest::of(&raw).0 == content.digest {
        true => Ok(raw.into()),
        false => Err(ArchiveError::Storage {
            operation: "read a message",
            source: "its bytes do not match their digest".into(),
        }),
    }
}

pub(super) fn events(
    snapshot: &ReadTransaction,
    id: MessageId,
    after: Option<Sequence>,
    limit: usize,
) -> Result<Page<Event, Sequence>, Failure> {
    let of = snapshot.open_table(tables::EVENTS_OF)?;
    let events = snapshot.open_table(tables::EVENTS)?;
    let first = after.map_or(0, |after| after.0.saturating_add(1));
    let range = (id.as_u128(), first)..=(id.as_u128(), u64::MAX);
    let mut items = Vec::new();
    let mut more = false;
    for entry in of.range(range)? {
        let (_, number) = entry?.0.value();
        if items.len() == limit {
            more = true;
            break;
        }
        if let Some(bytes) = events.get(number)? {
            items.push(StoredEvent::decode(bytes.value())?.event(Sequence(number))?);
        }
    }
    let next = items.last().map(|event: &Event| event.sequence).filter(|_| more);
    Ok(Page { items, next })
}

pub(super) fn counters(snapshot: &ReadTransaction) -> Result<Counters, Failure> {
    let meta = snapshot.open_table(tables::META)?;
    Ok(match meta.get(tables::COUNTERS)? {
        Some(bytes) => Counters::decode(bytes.value())?,
        None => Counters::default(),
    })
}

pub(super) fn paused(snapshot: &ReadTransaction) -> Result<Vec<UpstreamName>, Failure> {
    let table = snapshot.open_table(tables::PAUSED)?;
    let mut paused = Vec::new();
    for entry in table.iter()? {
        let (name, pause) = entry?;
        // The record is read so that damage is noticed here and not when somebody asks who.
        StoredPause::decode(pause.value())?;
        paused.extend(UpstreamName::parse(name.value()));
    }
    Ok(paused)
}

pub(super) fn queue(snapshot: &ReadTransaction) -> Result<QueueView, Failure> {
    let counters = counters(snapshot)?;
    let reader = Reader::new(snapshot)?;
    let mut next_attempts = Vec::new();
    for entry in snapshot.open_table(tables::DUE)?.iter()?.take(NEXT_ATTEMPTS) {
        let (at, id) = entry?.0.value();
        let at = Timestamp::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        next_attempts.push((at, MessageId::from_u128(id)));
    }
    Ok(QueueView {
        recipients: Status::ALL.map(|status| (status, counters.in_status(status))).to_vec(),
        held: counters.held,
        claimed: counters.claimed,
        oldest_pending: oldest_pending(snapshot, &reader)?,
        next_attempts,
        paused: paused(snapshot)?,
    })
}

/// The oldest message that wants to leave: pending, and not kept back on purpose.
fn oldest_pending(
    snapshot: &ReadTransaction,
    reader: &Reader,
) -> Result<Option<(MessageId, Timestamp)>, Failure> {
    let by_status = snapshot.open_table(tables::BY_STATUS)?;
    let pending = status_key(Status::Pending);
    for entry in by_status.range((pending, 0)..=(pending, u128::MAX))?.take(OLDEST_LOOKED_AT) {
        let (_, id) = entry?.0.value();
        let Some(message) = reader.readable(MessageId::from_u128(id))? else { continue };
        let waits = |r: &Recipient| {
            matches!(r.state, RecipientState::Due { .. } | RecipientState::Claimed { .. })
        };
        if message.recipients.iter().any(waits) {
            return Ok(Some((message.id, message.accepted_at)));
        }
    }
    Ok(None)
}

/// Places in the queue behind `after` and not behind `until`, soonest first.
pub(super) fn due(
    snapshot: &ReadTransaction,
    after: Option<DueEntry>,
    until: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<DueEntry>, Failure> {
    let key = |at: Timestamp, id: MessageId| (at.as_millis().unsigned_abs(), id.as_u128());
    let from = match after {
        Some((at, id)) => Bound::Excluded(key(at, id)),
        None => Bound::Unbounded,
    };
    let to = match until {
        Some(at) => Bound::Included(key(at, MessageId::MAX)),
        None => Bound::Unbounded,
    };
    if let (Bound::Excluded(from), Bound::Included(to)) = (from, to)
        && from >= to
    {
        return Ok(Vec::new());
    }
    let table = snapshot.open_table(tables::DUE)?;
    let mut places = Vec::new();
    for entry in table.range((from, to))?.take(limit) {
        let (at, id) = entry?.0.value();
        let at = Timestamp::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        places.push((at, MessageId::from_u128(id)));
    }
    Ok(places)
}
