//! Taking content away for good, and leaving what proves that it was there.

use super::{ActionRefusal, Archive, ArchiveError, Message};
use crate::model::{MessageId, Timestamp};

/// How much goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureKind {
    /// The text and the bytes; addresses, times, states, segments, length and digest stay.
    Redact,
    /// The same, and the message is marked as deleted (tombstone).
    Delete,
}

/// An order to erase.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub message: MessageId,
    pub kind: ErasureKind,
    pub by: String,
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Archive {
    /// Overwrites the content. Refused while a recipient is pending.
    pub async fn erase(
        &self,
        _erasure: Erasure,
    ) -> Result<Result<Message, ActionRefusal>, ArchiveError> {
        todo!()
    }
}
