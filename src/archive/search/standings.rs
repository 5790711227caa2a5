//! Where each message stands, one byte each, in memory: what changes after the acceptance is never
//! in the index, so no change of a status indexes a message again.
//!
//! The place of a message is its sequence number, which has no gaps and grows with its id. The bytes
//! are built from the records at the start and follow the journal; whoever asks catches up first, so
//! they are never older than the snapshot that is asked.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable};

use crate::archive::hits::{RECOUNTED, Traces};
use crate::archive::message::{Message, Recipient};
use crate::archive::read::Reader;
use crate::archive::standing::status_key;
use crate::archive::stored::{Record, StoredEvent};
use crate::archive::tables;
use crate::archive::writer::Failure;
use crate::model::{Cause, MessageId, RecipientState, Sequence, Status};

/// Events that are followed before the rest is built anew: then that costs less.
const MAX_FOLLOWED: u64 = 200_000;

/// What can be asked about where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Status(Status),
    Held,
    Opened,
    Clicked,
    Bounced,
}

/// The status in the lowest three bits, then one bit for each other mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing(u8);

impl Standing {
    const STATUS: u8 = 0b111;
    const HELD: u8 = 1 << 3;
    const OPENED: u8 = 1 << 4;
    const CLICKED: u8 = 1 << 5;
    const BOUNCED: u8 = 1 << 6;

    pub(super) fn of(message: &Message) -> Standing {
        let is_held = |r: &Recipient| matches!(r.state, RecipientState::Held { .. });
        let held = match message.recipients.iter().any(is_held) {
            true => Standing::HELD,
            false => 0,
        };
        let is_bounced = |r: &Recipient| {
            matches!(r.state, RecipientState::Failed { cause: Cause::Bounced { .. }, .. })
        };
        let bounced = match message.recipients.iter().any(is_bounced) {
            true => Standing::BOUNCED,
            false => 0,
        };
        let is_opened = |r: &Recipient| r.engagement.is_opened();
        let is_clicked = |r: &Recipient| r.engagement.is_clicked();
        let marks = Standing::marks(
            message.recipients.iter().any(is_opened),
            message.recipients.iter().any(is_clicked),
        );
        Standing(status_key(message.status()) | held | bounced | marks)
    }

    fn marks(is_opened: bool, is_clicked: bool) -> u8 {
        let opened = if is_opened { Standing::OPENED } else { 0 };
        let clicked = if is_clicked { Standing::CLICKED } else { 0 };
        opened | clicked
    }

    pub(super) fn has(self, mark: Mark) -> bool {
        let bit = match mark {
            Mark::Status(status) => return self.0 & Standing::STATUS == status_key(status),
            Mark::Held => Standing::HELD,
            Mark::Opened => Standing::OPENED,
            Mark::Clicked => Standing::CLICKED,
            Mark::Bounced => Standing::BOUNCED,
        };
        self.0 & bit != 0
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Standings {
    /// By sequence number; the first is not used.
    bytes: Arc<Vec<u8>>,
    until: Sequence,
    /// The last of the changes that no event tells.
    recounted_until: u64,
    is_built: bool,
}

impl Standings {
    /// The one of a message in what `snapshot` gave.
    pub(super) fn get(bytes: &[u8], sequence: u64) -> Standing {
        let place = usize::try_from(sequence).unwrap_or(usize::MAX);
        Standing(bytes.get(place).copied().unwrap_or_default())
    }

    /// As they are now; a change while this is held copies them.
    pub(super) fn snapshot(&self) -> Arc<Vec<u8>> {
        self.bytes.clone()
    }

    /// Brings them up to a snapshot.
    pub(super) fn catch_up(&mut self, snapshot: &ReadTransaction) -> Result<(), Failure> {
        let events = snapshot.open_table(tables::EVENTS)?;
        let recounted = snapshot.open_table(RECOUNTED)?;
        let last = events.last()?.map_or(0, |(number, _)| number.value());
        let last_recounted = recounted.last()?.map_or(0, |(number, _)| number.value());
        if !self.is_built || last.saturating_sub(self.until.0) > MAX_FOLLOWED {
            self.bytes = Arc::new(build(snapshot)?);
            self.is_built = true;
            (self.until, self.recounted_until) = (Sequence(last), last_recounted);
            return Ok(());
        }
        if last <= self.until.0 && last_recounted <= self.recounted_until {
            return Ok(());
        }
        let mut changed = Vec::new();
        for entry in events.range(self.until.0 + 1..=last)? {
            let (number, bytes) = entry?;
            // A damaged event leaves its message as it stood.
            let Ok(stored) = StoredEvent::decode(bytes.value()) else { continue };
            if let Ok(event) = stored.event(Sequence(number.value())) {
                changed.push(event.message);
            }
        }
        for entry in recounted.range(self.recounted_until + 1..)? {
            changed.push(MessageId::from_u128(entry?.1.value()));
        }
        changed.sort_unstable();
        changed.dedup();
        let reader = Reader::new(snapshot)?;
        for id in changed {
            let Some(message) = reader.readable(id)? else { continue };
            self.set(message.sequence.0, Standing::of(&message));
        }
        (self.until, self.recounted_until) = (Sequence(last), last_recounted);
        Ok(())
    }

    fn set(&mut self, sequence: u64, standing: Standing) {
        let Ok(place) = usize::try_from(sequence) else { return };
        let bytes = Arc::make_mut(&mut self.bytes);
        if bytes.len() <= place {
            bytes.resize(place + 1, 0);
        }
        bytes[place] = standing.0;
    }
}

/// From the index of statuses, whose rows are small: the n-th id of all is the message with the
/// number n. Only what is pending or failed is looked at closer: nothing else is held or has bounced.
fn build(snapshot: &ReadTransaction) -> Result<Vec<u8>, Failure> {
    let table = snapshot.open_table(tables::BY_STATUS)?;
    let reader = Reader::new(snapshot)?;
    let marks = Traces::new(snapshot)?.marks()?;
    let mut rows: Vec<(u128, u8)> = Vec::new();
    for status in Status::ALL {
        let key = status_key(status);
        for entry in table.range((key, 0)..=(key, u128::MAX))? {
            let (_, id) = entry?.0.value();
            let mut standing = Standing(key);
            if matches!(status, Status::Pending | Status::Failed)
                && let Some(message) = reader.readable(MessageId::from_u128(id))?
            {
                standing = Standing::of(&message);
            }
            let (is_opened, is_clicked) = marks.get(&id).copied().unwrap_or_default();
            rows.push((id, standing.0 | Standing::marks(is_opened, is_clicked)));
        }
    }
    rows.sort_unstable();
    Ok(std::iter::once(0).chain(rows.into_iter().map(|(_, byte)| byte)).collect())
}
