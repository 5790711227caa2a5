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
    // Appended with version 2.
    automated: Option<bool>,
}

impl Record for StoredEvent {
    const KIND: &'static str = "event";
    const VERSION: u8 = 2;
    const APPENDED: &'static [usize] = &[1];
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
            automated: event.automated,
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
            automated: self.automated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_before_the_judgement_was_noted_is_still_read() {
        let new = StoredEvent {
            message: 7,
            at: 5,
            kind: "opened".into(),
            recipient: Some(0),
            by: None,
            upstream: None,
            reply: None,
            detail: Some("person".into()),
            digest: None,
            automated: Some(false),
        };
        let told = StoredEvent::decode(&new.encode()).unwrap().event(Sequence(1)).unwrap();
        assert_eq!(told.automated, Some(false));
        // The last field was one byte for its presence and one for its value.
        let mut old = new.encode();
        old.truncate(old.len() - 2);
        old[0] = 1;
        let told = StoredEvent::decode(&old).unwrap().event(Sequence(1)).unwrap();
        assert_eq!((told.kind, told.automated), (EventKind::Opened, None));
        assert_eq!(told.detail.as_deref(), Some("person"));
    }
}
