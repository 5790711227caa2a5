//! What one attempt carries: an envelope, and the bytes of one message.

use crate::model::envelope::DsnReturn;
use crate::model::{EnvelopeRecipient, Outgoing, ReversePath};

/// One message for some of its recipients, on its way to one upstream.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub reverse_path: ReversePath,
    pub recipients: Vec<EnvelopeRecipient>,
    /// The message holds octets above 127, so it needs 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// The client said SMTPUTF8, or an address needs it (RFC 6531).
    pub smtputf8: bool,
    /// What a bounce should bring back (RFC 3461 §4.3).
    pub ret: Option<DsnReturn>,
    /// The client's own envelope id (RFC 3461 §4.4), decoded.
    pub envid: Option<String>,
    pub message: Outgoing,
}

impl Transaction {
    /// Whether an address of the envelope cannot be written in ASCII.
    pub(super) fn has_utf8_address(&self) -> bool {
        self.reverse_path.needs_smtputf8()
            || self.recipients.iter().any(|recipient| recipient.path.needs_smtputf8())
    }

    /// Whether it can only travel with SMTPUTF8.
    pub(super) fn needs_smtputf8(&self) -> bool {
        self.smtputf8 || self.has_utf8_address()
    }
}
