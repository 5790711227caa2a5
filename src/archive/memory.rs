//! What the writer knows without looking: the next numbers, the counters, recent Message-IDs.
//!
//! It is read from the file at start. When a transaction fails it is not rolled back: the archive
//! closes then and the next start reads it anew.

use std::collections::{HashMap, VecDeque};

use redb::{ReadTransaction, ReadableTable, TableError};
use serde::{Deserialize, Serialize};

use super::refusals::Refusals;
use super::stored::{Corrupt, Record, StoredEvent, StoredMessage};
use super::tables;
use super::writer::Failure;
use crate::model::{MessageId, RecipientState, Sequence, Status, Timestamp};

/// Message-IDs that are remembered to flag a second submission before the index knows the first.
const RECENT_MESSAGE_IDS: usize = 50_000;
/// Of these, how many are read back at start.
const REMEMBERED_AT_START: usize = 2_000;

/// How many recipients stand where, and what the archive holds; kept right by every transition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub held: u64,
    pub due: u64,
    pub claimed: u64,
    pub sent: u64,
    pub stopped: u64,
    pub failed: u64,
    pub not_sent: u64,
    pub messages: u64,
    /// Bytes as submitted.
    pub raw_bytes: u64,
}

impl Record for Counters {
    const KIND: &'static str = "counter";
}

impl Counters {
    fn of(&mut self, state: &RecipientState) -> &mut u64 {
        match state {
            RecipientState::Held { .. } => &mut self.held,
            RecipientState::Due { .. } => &mut self.due,
            RecipientState::Claimed { .. } => &mut self.claimed,
            RecipientState::Sent { .. } => &mut self.sent,
            RecipientState::Stopped { .. } => &mut self.stopped,
            RecipientState::Failed { .. } => &mut self.failed,
            RecipientState::NotSent { .. } => &mut self.not_sent,
        }
    }

    /// Counts a recipient in.
    pub(super) fn enter(&mut self, state: &RecipientState) {
        *self.of(state) += 1;
    }

    /// Counts a recipient out.
    pub(super) fn leave(&mut self, state: &RecipientState) {
        let count = self.of(state);
        *count = count.saturating_sub(1);
    }

    /// Recipients in a public status.
    pub(super) fn in_status(&self, status: Status) -> u64 {
        match status {
            Status::Pending => self.held + self.due + self.claimed,
            Status::Sent => self.sent,
            Status::Stopped => self.stopped,
            Status::Failed => self.failed,
            Status::NotSent => self.not_sent,
        }
    }
}

/// The writer's memory.
pub(super) struct WriterMemory {
    last_sequence: Sequence,
    last_event: Sequence,
    last_id: MessageId,
    counters: Counters,
    recent: HashMap<u64, MessageId>,
    recent_order: VecDeque<u64>,
    refusals: Refusals,
}

impl WriterMemory {
    /// Reads it from the file.
    pub(super) fn load(transaction: &ReadTransaction) -> Result<WriterMemory, Failure> {
        let mut memory = WriterMemory {
            last_sequence: Sequence(0),
            last_event: Sequence(0),
            last_id: MessageId::MIN,
            counters: Counters::default(),
            recent: HashMap::new(),
            recent_order: VecDeque::new(),
            refusals: Refusals::default(),
        };
        match transaction.open_table(tables::MESSAGES) {
            Ok(table) => {
                if let Some((id, _)) = table.last()? {
                    memory.last_id = MessageId::from_u128(id.value());
                }
                let newest = table.iter()?.rev().take(REMEMBERED_AT_START);
                for (behind, entry) in (0_u64..).zip(newest) {
                    let (id, bytes) = entry?;
                    let id = MessageId::from_u128(id.value());
                    match StoredMessage::decode(bytes.value()) {
                        Ok(message) => memory.recall(id, &message, behind),
                        // One damaged record must not keep all others from leaving.
                        Err(error) => tracing::error!(%id, %error, "a message can not be read"),
                    }
                }
                if memory.last_sequence == Sequence(0) && memory.last_id != MessageId::MIN {
                    return Err(Corrupt::new("message", "none of the newest can be read").into());
                }
            }
            Err(TableError::TableDoesNotExist(_)) => return Ok(memory),
            Err(error) => return Err(error.into()),
        }
        if let Some((number, _)) = transaction.open_table(tables::EVENTS)?.last()? {
            memory.last_event = Sequence(number.value());
        }
        if let Some(bytes) = transaction.open_table(tables::META)?.get(tables::COUNTERS)? {
            memory.counters = Counters::decode(bytes.value())?;
        }
        Ok(memory)
    }

    /// Takes in a message that was there at the start, `behind` places before the last.
    fn recall(&mut self, id: MessageId, message: &StoredMessage, behind: u64) {
        if self.last_sequence == Sequence(0) {
            // The sequence has no gaps, so the number of the last is known even if it is damaged.
            self.last_sequence = Sequence(message.sequence.saturating_add(behind));
        }
        if let Some(message_id) = message.summary().message_id {
            self.remember(message_id_hash(&message_id), id);
        }
    }

    /// The number and the id of the next message.
    pub(super) fn next_message(&mut self, at: Timestamp, random: u128) -> (Sequence, MessageId) {
        self.last_sequence = self.last_sequence.next();
        // A clock that went back must not make ids go back: they are the order of acceptance.
        self.last_id = MessageId::new(at, random).max(self.last_id.successor());
        (self.last_sequence, self.last_id)
    }

    pub(super) fn next_event(&mut self) -> Sequence {
        self.last_event = self.last_event.next();
        self.last_event
    }

    pub(super) fn last_event(&self) -> Sequence {
        self.last_event
    }

    pub(super) fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(super) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Notes a Message-ID; gives the earlier message that had it.
    pub(super) fn remember(&mut self, hash: u64, id: MessageId) -> Option<MessageId> {
        if let Some(earlier) = self.recent.get(&hash) {
            return Some(*earlier);
        }
        if self.recent_order.len() >= RECENT_MESSAGE_IDS
            && let Some(oldest) = self.recent_order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        self.recent.insert(hash, id);
        self.recent_order.push_back(hash);
        None
    }
}

/// 64 bits of BLAKE3 of a Message-ID.
pub(super) fn message_id_hash(message_id: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(message_id.as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}

impl StoredEvent {
    /// Appends one event; its number is the next of the gap-free sequence.
    pub(super) fn append(
        batch: &mut super::writer::Batch<'_>,
        event: super::Event,
    ) -> Result<(), Failure> {
        let number = batch.memory.next_event();
        let bytes = StoredEvent::new(&event).encode();
        batch.events.insert(number.0, &bytes[..])?;
        batch.events_of.insert((event.message.as_u128(), number.0), ())?;
        Ok(())
    }
}
