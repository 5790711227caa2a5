//! A message as it is relayed, from its record.

use bytes::Bytes;

use crate::archive::{Archive, ArchiveError, Message};
use crate::model::{Digest, Medium, Outgoing, RecipientState, Sms, SmsBody};
use crate::rewrite::{Trace, render};

/// The bytes for the upstream, from the record and the bytes as submitted.
pub fn relayed(message: &Message, raw: &Bytes) -> Outgoing {
    let envelope = match &message.medium {
        Medium::Mail(envelope) => envelope,
        // What the recipient reads; how a provider is told of it is no part of it.
        Medium::Sms(sms) => return Outgoing::new(vec![content(sms)]),
    };
    let recipient = match envelope.recipients.as_slice() {
        [only] => Some(&only.path),
        _ => None,
    };
    let trace = Trace {
        id: message.id,
        hostname: &message.client.gateway,
        client_helo: &message.client.helo,
        client_address: message.client.address,
        protocol: &message.client.protocol,
        tls: message.client.tls.as_deref(),
        accepted_at: message.accepted_at,
        recipient,
    };
    render(raw, &trace)
}

/// The text of an SMS in UTF-8, or its binary user data.
fn content(sms: &Sms) -> Bytes {
    match &sms.body {
        SmsBody::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        SmsBody::Binary(data) => Bytes::copy_from_slice(data),
    }
}

/// Whether the recomputed bytes are those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Their digest is the one that was recorded with the attempt.
    Proven(Digest),
    /// Nothing was sent to this recipient yet: this is what would be.
    NotSentYet,
    /// The digest that was recorded is another one.
    Differs { recorded: Digest, recomputed: Digest },
}

/// What recipient `index` got, or would get. `None` when there is no such message or recipient.
pub fn sent_to(
    archive: &Archive,
    message: &Message,
    index: u16,
) -> Result<Option<(Outgoing, Proof)>, ArchiveError> {
    let Some(recipient) = message.recipients.get(usize::from(index)) else { return Ok(None) };
    let Some(raw) = archive.raw(message.id)? else { return Ok(None) };
    let outgoing = relayed(message, &raw);
    let recomputed = outgoing.digest;
    let proof = match &recipient.state {
        RecipientState::Sent { digest, .. } if *digest == recomputed => Proof::Proven(recomputed),
        RecipientState::Sent { digest, .. } => Proof::Differs { recorded: *digest, recomputed },
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => Proof::NotSentYet,
    };
    Ok(Some((outgoing, proof)))
}
