//! What providers report of an SMS: receipts, matched by the provider's id or ours.

use redb::ReadableDatabase;

use super::writer::Failure;
use super::{Archive, ArchiveError, tables};
use crate::model::{FailureReason, MessageId, ReceiptState, Sequence, Timestamp, UpstreamName};

/// One receipt, from a proven origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderReport {
    pub upstream: UpstreamName,
    /// The provider's id of the message or of one part.
    pub provider_id: Option<String>,
    /// Our id, where the provider echoes it; the provider's own id goes before it.
    pub message: Option<MessageId>,
    pub state: ReceiptState,
    pub reason: Option<FailureReason>,
    pub code: Option<String>,
    /// When we got it.
    pub at: Timestamp,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Something changed: a part, or the message.
    Changed(MessageId),
    /// It was known, or comes after the end.
    Unchanged(MessageId),
    /// The attempt that it belongs to is not judged yet, or its id is not known yet: ask again soon.
    TooEarly,
    /// No message of ours.
    Unknown,
}

impl Archive {
    /// Records a receipt: a part's state, `delivered` when all parts are, `failed` when one is
    /// lost. A final state is never left. An attempt whose outcome was unknown is settled by it.
    pub async fn report(&self, _report: ProviderReport) -> Result<Reported, ArchiveError> {
        todo!()
    }

    /// Ends what is pending although its validity is over; gives the messages. Not what is claimed.
    pub async fn expire(&self, _now: Timestamp) -> Result<Vec<MessageId>, ArchiveError> {
        todo!()
    }

    /// The next validity that ends for a message that is still pending.
    pub fn next_validity_end(&self) -> Result<Option<Timestamp>, ArchiveError> {
        todo!()
    }

    /// The SMS with this sequence number.
    pub fn sms_by_sequence(&self, sequence: Sequence) -> Result<Option<MessageId>, ArchiveError> {
        let look = || -> Result<Option<MessageId>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(tables::SMS_NUMBERS)?;
            Ok(table.get(sequence.0)?.map(|id| MessageId::from_u128(id.value())))
        };
        Ok(look()?)
    }
}
