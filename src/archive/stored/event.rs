//! A stored event.

use serde::{Deserialize, Serialize};

use crate::archive::Event;
use crate::model::{Digest, EventKind, MessageId, Sequence, Timestamp};

use super::state::upstream_name;
use super::{Corrupt, Record};

/// One row of the journal; its key is its sequence number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredEvent {
    message: u128,
    at: i64,
    /// The contract's word, so that no numbering of kinds can ever shift.
    kind: String,
    recipient: Option<u16>,
    by: Option<String>,
    upstream: Option<String>,
    reply: Option<String>,
    detail: Option<String>,
    digest: Option<[u8; 32]>,
}

impl Record for StoredEvent {
    const KIND: &'static str = "event";
}

impl StoredEvent {
    pub(in crate::archive) fn new(event: &Event) -> StoredEvent {
        StoredEvent {
            message: event.message.as_u128(),
            at: event.at.as_millis(),
            kind: event.kind.as_str().to_owned(),
            recipient: event.recipient,
            by: event.by.clone(),
            upstream: event.upstream.as_ref().map(ToString::to_string),
            reply: event.reply.clone(),
            detail: event.detail.clone(),
            digest: event.digest.map(|digest| digest.0),
        }
    }

    /// Whose event it is.
    pub(in crate::archive) fn message(&self) -> u128 {
        self.message
    }

    pub(in crate::archive) fn event(self, sequence: Sequence) -> Result<Event, Corrupt> {
        Ok(Event {
            sequence,
            message: MessageId::from_u128(self.message),
            at: Timestamp::from_millis(self.at),
            kind: EventKind::parse(&self.kind)
                .ok_or_else(|| Corrupt::new("event kind", &self.kind))?,
            recipient: self.recipient,
            by: self.by,
            upstream: self.upstream.as_deref().map(upstream_name).transpose()?,
            reply: self.reply,
            detail: self.detail,
            digest: self.digest.map(Digest),
        })
    }
}
